//! The settings of both ends.

use crate::connector::cosmos::account::{self, Account, Named, Role};
use crate::connector::cosmos::container::Shape;
use crate::connector::cosmos::limits::DOCUMENT_BYTES;
use crate::connector::cosmos::{CosmosSink, CosmosSource, MaxRu};
use crate::connector::registry::Connector;
use crate::connector::sink::Sink;
use crate::connector::source::Source;
use crate::model::settings::{Origin, Section};

/// The line in the registry.
pub const CONNECTOR: Connector = Connector {
    name: "cosmos",
    about: "a container of Azure Cosmos DB for NoSQL; keys come from the environment (COSMOS_KEY)",
    location: "container",
    source_settings: &[
        ("container", "the container; in a URI //ACCOUNT/DATABASE/CONTAINER"),
        ("database", "its database"),
        ("endpoint", "the account's address, or \"emulator\" (default: COSMOS_ENDPOINT)"),
    ],
    target_settings: &[
        ("container", "the container; in a URI //ACCOUNT/DATABASE/CONTAINER"),
        ("database", "its database"),
        ("endpoint", "the account's address, or \"emulator\" (default: COSMOS_ENDPOINT)"),
        ("mode", "upsert, insert, replace or delete"),
        ("create", "create database and container where they are missing"),
        ("partition_key", "one to three paths such as /tenant; an existing container must have them"),
        ("throughput", "request units per second of a container that is created; 0 is the database's"),
        ("autoscale", "the most request units per second, where they scale by themselves; 0 is no"),
        (
            "ttl",
            "seconds that documents live in a container that is created; -1: as each says; 0 is for ever",
        ),
        ("indexing_policy", "JSON text, for a container that is created"),
        ("vector_policy", "JSON text, for a container that is created"),
        ("request_documents", "most documents in a request"),
        ("request_bytes", "most bytes in a request"),
        (
            "max_ru",
            "most request units per second, as 5000, or as a share of the container's, as \"80%\"; also --max-ru",
        ),
        ("priority", "high or low: who is throttled first (default: as the account says)"),
        ("throughput_bucket", "the container's bucket of throughput to be taken from, 1 to 5; 0 is none"),
        ("on_lossy_number", "reject, keep or string: what becomes of a number that a double cannot hold"),
        ("encoder", "auto, bulk, batch or point: how documents are put into requests"),
    ],
    source: Some(source_from_settings),
    sink: Some(sink_from_settings),
};

/// What is done with each document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It replaces an older one.
    #[default]
    Upsert,
    /// It must be new; one that is there already and equal counts as written.
    Insert,
    /// It must be there.
    Replace,
    /// It is removed.
    Delete,
}

impl Mode {
    const WORDS: [(&'static str, Self); 4] = [
        ("upsert", Self::Upsert),
        ("insert", Self::Insert),
        ("replace", Self::Replace),
        ("delete", Self::Delete),
    ];
}

/// What becomes of a number that Cosmos would change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLossyNumber {
    /// Its document is rejected.
    #[default]
    Reject,
    /// It is sent as it is.
    Keep,
    /// It is sent as a string.
    String,
}

impl OnLossyNumber {
    const WORDS: [(&'static str, Self); 3] =
        [("reject", Self::Reject), ("keep", Self::Keep), ("string", Self::String)];
}

/// The settings that decide what a document looks like in the container, in the words in which they are set. A checkpoint holds them.
pub(super) fn layout(mode: Mode, on_lossy_number: OnLossyNumber) -> String {
    fn word<T: PartialEq>(words: &[(&'static str, T)], chosen: &T) -> &'static str {
        words.iter().find(|(_, meant)| meant == chosen).map_or("", |(word, _)| word)
    }
    let mode = word(&Mode::WORDS, &mode);
    format!("mode={mode} on_lossy_number={}", word(&OnLossyNumber::WORDS, &on_lossy_number))
}

/// How documents are put into requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoder {
    /// Whatever is cheapest for the request at hand.
    #[default]
    Auto,
    /// One request for documents of one physical partition.
    Bulk,
    /// One atomic request for documents of one key.
    Batch,
    /// A request a document.
    Point,
}

/// How the service ranks our requests where it must refuse some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Refused last.
    High,
    /// Refused first.
    Low,
}

/// Which container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The account.
    pub account: Account,
    /// The database.
    pub database: String,
    /// The container.
    pub container: String,
}

impl Place {
    /// For a person: the same text however it was spelled.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.account.name(), self.database, self.container)
    }
}

/// What a sink is made with.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetOptions {
    /// Where.
    pub place: Place,
    /// What is done with each document.
    pub mode: Mode,
    /// The container to be made where there is none; without it a missing container is refused.
    pub create: bool,
    /// What the container is to be like.
    pub shape: Shape,
    /// Most documents in a request.
    pub request_documents: usize,
    /// Most bytes in a request.
    pub request_bytes: usize,
    /// The most request units per second that a run may spend.
    pub max_ru: Option<MaxRu>,
    /// How the service ranks the requests.
    pub priority: Option<Priority>,
    /// The bucket of throughput.
    pub throughput_bucket: Option<u32>,
    /// What becomes of numbers that Cosmos would change.
    pub on_lossy_number: OnLossyNumber,
    /// How documents are put into requests.
    pub encoder: Encoder,
}

/// Documents in a request: the service takes no more.
const REQUEST_DOCUMENTS: u64 = 100;

/// Bytes in a request: what Microsoft's own bulk writers keep to, because many index terms in one request end in time-outs.
const REQUEST_BYTES: u64 = 220_201;

impl TargetOptions {
    /// The built-in settings for a container.
    pub fn new(place: Place) -> Self {
        Self {
            place,
            mode: Mode::default(),
            create: false,
            shape: Shape::default(),
            request_documents: REQUEST_DOCUMENTS as usize,
            request_bytes: REQUEST_BYTES as usize,
            max_ru: None,
            priority: None,
            throughput_bucket: None,
            on_lossy_number: OnLossyNumber::default(),
            encoder: Encoder::default(),
        }
    }
}

fn source_from_settings(section: &mut Section) -> Option<Box<dyn Source>> {
    let place = place(section, Role::Source)?;
    Some(Box::new(CosmosSource::new(place)))
}

fn sink_from_settings(section: &mut Section) -> Option<Box<dyn Sink>> {
    let place = place(section, Role::Target);
    let mode = section.choice("mode", &Mode::WORDS, "upsert");
    let create = section.boolean_or("create", false);
    let shape = Shape::read(section);
    let request_documents = section.count_or("request_documents", 1..=REQUEST_DOCUMENTS, REQUEST_DOCUMENTS);
    let request_bytes = section.bytes_or("request_bytes", 1..=DOCUMENT_BYTES as u64, REQUEST_BYTES);
    let wanted = "request units per second such as 5000, or a share such as \"80%\"";
    let max_ru = section.parsed("max_ru", wanted, MaxRu::parse);
    let priorities = [("as-account", None), ("high", Some(Priority::High)), ("low", Some(Priority::Low))];
    let priority = section.choice("priority", &priorities, "as-account");
    let bucket = section.count_or("throughput_bucket", 0..=5, 0);
    let on_lossy_number = section.choice("on_lossy_number", &OnLossyNumber::WORDS, "reject");
    let encoders = [
        ("auto", Encoder::Auto),
        ("bulk", Encoder::Bulk),
        ("batch", Encoder::Batch),
        ("point", Encoder::Point),
    ];
    let encoder = section.choice("encoder", &encoders, "auto");
    Some(Box::new(CosmosSink::new(TargetOptions {
        place: place?,
        mode: mode?,
        create,
        shape: shape?,
        request_documents: request_documents as usize,
        request_bytes: request_bytes as usize,
        max_ru,
        priority: priority?,
        throughput_bucket: (bucket > 0).then_some(bucket as u32),
        on_lossy_number: on_lossy_number?,
        encoder: encoder?,
    })))
}

/// Account, database and container: each by its name, or all in one as a URI has them.
fn place(section: &mut Section, role: Role) -> Option<Place> {
    let container = section.text_required("container");
    let database = section.text("database");
    let endpoint = section.text("endpoint");
    let container = container?;
    let Some(path) = container.strip_prefix("//") else {
        let is_flag = is_of_command_line(section, "endpoint");
        let named = endpoint.as_deref().map(|text| Named { text, is_flag });
        let account = account::read(section, role, named);
        if database.is_none() {
            section.problem("database", "is missing");
        }
        let is_named = [("database", database.as_deref()), ("container", Some(container.as_str()))]
            .map(|(kind, name)| name.is_some_and(|name| can_be_name(section, kind, kind, name)));
        let account = account?;
        return is_named.iter().all(|is| *is).then(|| Place {
            account,
            database: database.unwrap_or_default(),
            container,
        });
    };
    let [account, in_path, name] = path.split('/').collect::<Vec<_>>()[..] else {
        let found = if account::may_hold_secret(&container) { "another text" } else { &container };
        let message = format!("is {found:?}; must be //ACCOUNT/DATABASE/CONTAINER, or a name");
        section.problem("container", message);
        return None;
    };
    for (name, given) in [("database", &database), ("endpoint", &endpoint)] {
        if given.is_some() {
            section.problem(name, "stands beside a URI that names it; give one of the two");
        }
    }
    let named = Named { text: account, is_flag: is_of_command_line(section, "container") };
    let account = account::read(section, role, Some(named));
    let is_named = [("database", in_path), ("container", name)]
        .map(|(kind, name)| can_be_name(section, "container", kind, name));
    let account = account?;
    let place = || Place { account, database: in_path.to_owned(), container: name.to_owned() };
    is_named.iter().all(|is| *is).then(place)
}

/// Characters of a name.
const NAME_CHARACTERS: usize = 255;

/// Whether a database or a container can have this name; why not is noted. What an address cannot carry would reach the service as another path than
/// the one that was signed, and its answer would speak of a wrong key.
fn can_be_name(section: &mut Section, setting: &'static str, kind: &str, name: &str) -> bool {
    let is_illegal = |character: &char| matches!(character, '/' | '\\' | '?' | '#') || character.is_control();
    let length = name.chars().count();
    let why = match name.chars().find(is_illegal) {
        _ if name.is_empty() => "is empty".to_owned(),
        Some(found) => format!("holds {found:?}, which no address can carry"),
        None if name.starts_with(char::is_whitespace) => "begins with a blank".to_owned(),
        None if name.ends_with(char::is_whitespace) => "ends with a blank".to_owned(),
        None if matches!(name, "." | "..") => format!("is {name:?}, which in an address is another place"),
        None if length > NAME_CHARACTERS => {
            format!("has {length} characters, the service takes {NAME_CHARACTERS}")
        }
        None => return true,
    };
    section.problem(setting, format!("the name of the {kind} {why}"));
    false
}

/// Whether the setting was given by a flag, or by the variable that stands for one.
fn is_of_command_line(section: &mut Section, name: &'static str) -> bool {
    let origin = section.raw(name).map(|setting| setting.origin);
    matches!(origin, Some(Origin::Flag(_) | Origin::Environment(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::{Setting, Value};

    /// What the settings of a source are refused for.
    fn refused(entries: &[(&str, &str)]) -> Vec<String> {
        let setting = |text: &str| Setting { value: Value::Text(text.to_owned()), origin: Origin::BuiltIn };
        let entries = entries.iter().map(|(name, text)| ((*name).to_owned(), setting(text))).collect();
        let mut section = Section::new("source", Origin::BuiltIn, entries);
        let source = source_from_settings(&mut section);
        let problems: Vec<String> = section.finish().1.iter().map(ToString::to_string).collect();
        assert_eq!(source.is_none(), !problems.is_empty());
        problems
    }

    #[test]
    fn a_name_that_no_address_can_carry_is_refused_before_anything_is_sent() {
        let named = |database, container| {
            refused(&[("endpoint", "emulator"), ("database", database), ("container", container)])
        };
        for (name, why) in [
            ("", "is empty"),
            ("a/b", "holds '/', which no address can carry"),
            ("a\\b", "holds '\\\\', which no address can carry"),
            ("a?", "holds '?', which no address can carry"),
            ("#a", "holds '#', which no address can carry"),
            ("a\tb", "holds '\\t', which no address can carry"),
            (" a", "begins with a blank"),
            ("a ", "ends with a blank"),
            ("..", "is \"..\", which in an address is another place"),
        ] {
            assert_eq!(named(name, "c"), [format!("source.database: the name of the database {why}")]);
            assert_eq!(named("d", name), [format!("source.container: the name of the container {why}")]);
        }
        // Characters, not bytes; what only looks strange is left to the service.
        let longest = "é".repeat(255);
        for name in [longest.as_str(), "a b", "a..b", "_a-1"] {
            assert_eq!(named(name, name), [""; 0], "{name}");
        }
        assert_eq!(
            named("d", &format!("{longest}a")),
            ["source.container: the name of the container has 256 characters, the service takes 255"]
        );
        assert_eq!(
            refused(&[("container", "//emulator/a?/..")]),
            [
                "source.container: the name of the database holds '?', which no address can carry",
                "source.container: the name of the container is \"..\", which in an address is another place"
            ]
        );
        assert_eq!(
            refused(&[("container", "//emulator//c")]),
            ["source.container: the name of the database is empty"]
        );
    }

    #[test]
    fn a_checkpoint_holds_the_words_of_the_settings() {
        // A later version must write the same, or nobody's run could be gone on with.
        assert_eq!(layout(Mode::Upsert, OnLossyNumber::Reject), "mode=upsert on_lossy_number=reject");
        assert_eq!(layout(Mode::Delete, OnLossyNumber::String), "mode=delete on_lossy_number=string");
    }
}
