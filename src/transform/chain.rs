//! The steps of a strategy, compiled together: one validating pass, one borrowed index, one rendering.

use crate::model::json::{self, Index};
use crate::model::settings::{Section, Setting, Value};
use crate::transform::draft::{Draft, DraftMemory};
use crate::transform::id::IdRule;
use crate::transform::names::Names;
use crate::transform::{STEPS, Step, Verdict};

/// The steps of a strategy, ready to run on any number of threads.
#[derive(Debug)]
pub struct Chain {
    names: Names,
    steps: Vec<Box<dyn Step>>,
    id: Option<IdRule>,
    id_fingerprint: String,
    steps_fingerprint: String,
}

/// The memory of one worker, kept from document to document.
#[derive(Debug, Default)]
pub struct Scratch {
    index: Index,
    rendered: Index,
    draft: DraftMemory,
    position: String,
}

impl Scratch {
    /// What is known of the document that was applied last, as it came.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The same of what the steps made of it.
    pub fn index_of(&mut self, rendered: &[u8]) -> Option<&Index> {
        json::index(rendered, &mut self.rendered).is_ok().then_some(&self.rendered)
    }
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transformed {
    /// It goes to the target: as it came, or as it was appended to the output.
    Kept {
        /// A step changed it, and its new text was appended.
        changed: bool,
        /// It holds a key twice at its top level.
        duplicates: bool,
    },
    /// A step chose not to keep it.
    Dropped,
    /// It is not a JSON object.
    Malformed {
        /// What is wrong.
        reason: &'static str,
        /// The byte of the document where it is.
        offset: usize,
    },
    /// A step refused it.
    Rejected(String),
}

impl Chain {
    /// Reads the id rule (`[id]`) and the steps (`[[transform]]`) of a strategy. Problems go into the section; the chain is then without
    /// what they befell.
    pub fn from_settings(strategy: &mut Section) -> Chain {
        let mut names = Names::default();
        let mut id_section = strategy.table("id");
        let id = IdRule::from_settings(&mut id_section, &mut names);
        strategy.absorb(id_section);
        let id_fingerprint = strategy.raw("id").map(|setting| setting.value.to_string()).unwrap_or_default();
        let mut steps_fingerprint = String::new();
        let tables = match strategy.raw("transform") {
            None => Vec::new(),
            Some(Setting { value: Value::List(tables), .. }) => tables,
            Some(one) => vec![one],
        };
        let mut steps = Vec::new();
        for (number, table) in tables.iter().enumerate() {
            let Value::Table(entries) = &table.value else {
                strategy.problem(
                    "transform",
                    format!("step {number} must be a table, found {}", table.value.kind()),
                );
                continue;
            };
            let mut section =
                Section::new(format!("transform[{number}]"), table.origin.clone(), entries.clone());
            if let Some(step) = make_step(&mut section, entries, &mut names) {
                steps.push(step);
            }
            strategy.absorb(section);
            steps_fingerprint.push_str(&table.value.to_string());
        }
        Chain { names, steps, id, id_fingerprint, steps_fingerprint }
    }

    /// A chain without steps: documents are validated and go out as they came.
    pub fn empty() -> Chain {
        Chain {
            names: Names::default(),
            steps: Vec::new(),
            id: None,
            id_fingerprint: String::new(),
            steps_fingerprint: String::new(),
        }
    }

    /// Whether documents only pass through.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.id.is_none()
    }

    /// A text that is equal for equal id rules: a resume compares it.
    pub fn id_fingerprint(&self) -> &str {
        &self.id_fingerprint
    }

    /// A text that is equal for equal steps: a resume compares it.
    pub fn steps_fingerprint(&self) -> &str {
        &self.steps_fingerprint
    }

    /// Validates a document and runs the steps. A changed document is appended to `out`. `position_id` writes the text that stands for the document's
    /// place, and is called only if the id rule asks for it.
    pub fn apply(
        &self,
        document: &[u8],
        position_id: impl FnOnce(&mut String),
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Transformed {
        if let Err(malformed) = json::index(document, &mut scratch.index) {
            return Transformed::Malformed { reason: malformed.reason, offset: malformed.at };
        }
        let mut draft = Draft::begin(document, &scratch.index, &self.names, &mut scratch.draft);
        for step in &self.steps {
            match step.edit(&mut draft) {
                Verdict::Keep => {}
                Verdict::Drop => return Transformed::Dropped,
                Verdict::Reject(reason) => return Transformed::Rejected(reason),
            }
        }
        if let Some(id) = &self.id {
            scratch.position.clear();
            if id.is_position() {
                position_id(&mut scratch.position);
            }
            if let Verdict::Reject(reason) = id.edit(&mut draft, &scratch.position) {
                return Transformed::Rejected(reason);
            }
        }
        if draft.is_overgrown() {
            return Transformed::Rejected("the steps make more than 4 GiB of it".to_owned());
        }
        let changed = draft.is_touched();
        if changed {
            draft.render(out);
        }
        let duplicates = draft.has_duplicates();
        scratch.index.is_unique = !duplicates;
        Transformed::Kept { changed, duplicates }
    }
}

/// The one step that a `[[transform]]` table names.
fn make_step(
    section: &mut Section,
    entries: &[(String, Setting)],
    names: &mut Names,
) -> Option<Box<dyn Step>> {
    // Every kind is asked for, so that the section reports an unknown one with the nearest name.
    let given: Vec<_> = STEPS.iter().filter_map(|kind| Some((kind, section.raw(kind.name)?))).collect();
    match given.as_slice() {
        [(kind, setting)] => {
            (kind.make)(setting, names).map_err(|error| section.problem(kind.name, error)).ok()
        }
        [_, (second, _), ..] => {
            section.problem(
                second.name,
                "a [[transform]] table holds one step; write another table for the next",
            );
            None
        }
        [] => {
            if entries.is_empty() {
                let known: Vec<&str> = STEPS.iter().map(|kind| kind.name).collect();
                section.problem("step", format!("is missing; allowed are {}", known.join(", ")));
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::Origin;

    fn text(text: &str) -> Setting {
        Setting { value: Value::Text(text.to_owned()), origin: Origin::BuiltIn }
    }

    fn table(entries: &[(&str, Setting)]) -> Setting {
        let entries = entries.iter().map(|(name, setting)| ((*name).to_owned(), setting.clone())).collect();
        Setting { value: Value::Table(entries), origin: Origin::BuiltIn }
    }

    fn list(entries: Vec<Setting>) -> Setting {
        Setting { value: Value::List(entries), origin: Origin::BuiltIn }
    }

    fn chain(steps: Vec<Setting>, id: &[(&str, Setting)]) -> (Chain, Vec<String>) {
        let entries = vec![("id".to_owned(), table(id)), ("transform".to_owned(), list(steps))];
        let mut strategy = Section::new("", Origin::BuiltIn, entries);
        let chain = Chain::from_settings(&mut strategy);
        (chain, strategy.finish().1.iter().map(ToString::to_string).collect())
    }

    fn apply(chain: &Chain, document: &str) -> (Transformed, String) {
        let mut out = Vec::new();
        let place = |out: &mut String| out.push_str("a.jsonl@7");
        let transformed = chain.apply(document.as_bytes(), place, &mut Scratch::default(), &mut out);
        (transformed, String::from_utf8(out).unwrap())
    }

    #[test]
    fn five_steps_and_an_id_edit_one_draft() {
        let steps = vec![
            table(&[("rename", table(&[("name", text("customer")), ("on", text("created"))]))]),
            table(&[("remove", list(vec![text("_etag")]))]),
            table(&[("cast", table(&[("quantity", text("integer"))]))]),
            table(&[("set", table(&[("label", text("{city}-{status:-none} {{x}}"))]))]),
            table(&[("filter", text("status != 'cancelled'"))]),
        ];
        let (chain, problems) = chain(steps, &[("from", text("position"))]);
        assert_eq!(problems, [""; 0]);
        let document = r#"{"name":"A","_etag":"x", "quantity": "12","city":"K\u00f6ln \"x\"","on":1.10}"#;
        let (transformed, out) = apply(&chain, document);
        assert_eq!(transformed, Transformed::Kept { changed: true, duplicates: false });
        assert_eq!(
            out,
            r#"{"customer":"A", "quantity": 12,"city":"K\u00f6ln \"x\"","created":1.10,"label":"K\u00f6ln \"x\"-none {x}","id":"a.jsonl@7"}"#
        );
        assert_eq!(apply(&chain, r#"{"status":"cancelled","city":""}"#).0, Transformed::Dropped);
        assert_eq!(
            apply(&chain, "{}").0,
            Transformed::Rejected("set \"label\": field \"city\" is missing".to_owned())
        );
        assert_eq!(
            apply(&chain, r#"{"city":null}"#).0,
            Transformed::Rejected("set \"label\": field \"city\" is null".to_owned())
        );
        assert_eq!(apply(&chain, "[]").0, Transformed::Malformed { reason: "not a JSON object", offset: 0 });
    }

    #[test]
    fn without_steps_a_document_stays_and_its_duplicates_are_noticed() {
        let document = r#"{"a":1,"a":2}"#;
        let expected = Transformed::Kept { changed: false, duplicates: true };
        assert_eq!(apply(&Chain::empty(), document), (expected, String::new()));
        let mut scratch = Scratch::default();
        for (document, is_unique) in [(r#"{"a":1,"b":2}"#, true), (document, false), (r#"{"a":1}"#, true)] {
            Chain::empty().apply(document.as_bytes(), |_| (), &mut scratch, &mut Vec::new());
            assert_eq!(scratch.index().is_unique, is_unique, "{document}");
        }
    }

    #[test]
    fn an_id_from_a_field_is_text_and_stays_if_it_is_already() {
        let (from_number, _) = chain(vec![], &[("field", text("n"))]);
        assert_eq!(apply(&from_number, r#"{"n":12}"#).1, r#"{"n":12,"id":"12"}"#);
        let (same, _) = chain(vec![], &[("field", text("id"))]);
        assert_eq!(
            apply(&same, r#"{"id":"\u0041"}"#).0,
            Transformed::Kept { changed: false, duplicates: false }
        );
        assert_eq!(apply(&same, r#"{"id":5}"#).1, r#"{"id":"5"}"#);
        assert_eq!(
            apply(&same, r#"{"id":null}"#).0,
            Transformed::Rejected("id: field \"id\" is null".to_owned())
        );
        assert_eq!(apply(&same, "{}").0, Transformed::Rejected("id: field \"id\" is missing".to_owned()));
    }

    /// The expected hashes are what other implementations of SHA-256 give for the canonical text.
    #[test]
    fn an_id_from_a_hash_is_the_same_for_all_spellings() {
        let fields = list(vec![text("country"), text("number")]);
        let (of_fields, problems) = chain(vec![], &[("hash", fields)]);
        assert_eq!(problems, [""; 0]);
        let expected = r#""id":"cfee0c6aea099099328c777d3a912222"}"#;
        for document in
            [r#"{"country":"DE","number":7,"x":1}"#, r#"{"x":2,"number":7.0,"country":"\u0044E"}"#]
        {
            assert!(apply(&of_fields, document).1.ends_with(expected), "{}", apply(&of_fields, document).1);
        }
        assert!(!apply(&of_fields, r#"{"country":"DE","number":"7"}"#).1.ends_with(expected));
        let null = Transformed::Rejected("id: field \"number\" is null".to_owned());
        assert_eq!(apply(&of_fields, r#"{"country":"DE","number":null}"#).0, null);

        let (of_content, _) = chain(vec![], &[("from", text("content"))]);
        let expected = r#""id":"6cb2cc6559964eaad077d0889e761f31"}"#;
        for document in [
            r#"{"b":[1.50,{"z":1,"a":null}],"a":"\u00e9"}"#,
            "{ \"a\":\"é\", \"b\":[1.5,{\"a\":null,\"z\":1}]}",
        ] {
            let (_, out) = apply(&of_content, document);
            assert!(out.ends_with(expected), "{out}");
            // What has the id already keeps it: the id is no part of what is hashed.
            assert_eq!(apply(&of_content, &out).1, out);
        }
    }

    #[test]
    fn another_id_that_is_there_is_no_silent_loss() {
        let with = |existing: &str| {
            let rule = [("field", text("n")), ("existing", text(existing))];
            chain(vec![], &rule).0
        };
        let document = r#"{"id":"old","n":"new"}"#;
        let Transformed::Rejected(reason) = apply(&with("reject"), document).0 else { panic!("it is taken") };
        assert!(
            reason.starts_with("id: the document has another \"id\" already; rename or remove"),
            "{reason}"
        );
        assert_eq!(apply(&with("replace"), document).1, r#"{"id":"new","n":"new"}"#);
        let kept = Transformed::Kept { changed: false, duplicates: false };
        assert_eq!(apply(&with("keep"), document).0, kept);
        assert_eq!(apply(&with("keep"), r#"{"id":"old"}"#).0, kept, "the field is not asked for");
        assert_eq!(apply(&with("keep"), r#"{"id":null,"n":"new"}"#).1, r#"{"id":"new","n":"new"}"#);
        assert_eq!(apply(&with("reject"), r#"{"id":12,"n":"12"}"#).1, r#"{"id":"12","n":"12"}"#, "the same");
        let renamed = table(&[("rename", table(&[("id", text("oldId"))]))]);
        let (chain, _) = chain(vec![renamed], &[("field", text("n"))]);
        assert_eq!(apply(&chain, document).1, r#"{"oldId":"old","n":"new","id":"new"}"#);
    }

    #[test]
    fn problems_name_the_step() {
        let steps = vec![
            table(&[("renam", table(&[]))]),
            table(&[("remove", text("a")), ("keep", list(vec![]))]),
            table(&[("cast", table(&[("a", text("int"))]))]),
            table(&[]),
            table(&[("set", table(&[("a", text("{b"))]))]),
        ];
        let (_, problems) = chain(steps, &[("from", text("place")), ("fields", text("x"))]);
        assert_eq!(
            problems,
            [
                "id.from: is \"place\", allowed are \"position\" and \"content\"; or give field, template or hash",
                "id.fields: unknown setting; did you mean \"field\"?",
                "transform[0].renam: unknown setting; did you mean \"rename\"?",
                "transform[1].keep: a [[transform]] table holds one step; write another table for the next",
                "transform[2].cast: the type of \"a\" is \"int\", allowed are integer, number, boolean, text",
                "transform[3].step: is missing; allowed are rename, remove, keep, set, cast, filter, default",
                "transform[4].set: in template \"{b\": unmatched brace at column 1; write {{ or }} for a brace",
            ]
        );
    }
}
