//! The few queries that the emulator knows, told by their words.

/// What a query selects of the documents; there is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selected {
    /// `SELECT * FROM c`, or `SELECT VALUE c FROM c`.
    Documents,
    /// `SELECT c.id, c.name FROM c`.
    Fields(Vec<String>),
    /// `SELECT VALUE COUNT(1) FROM c`.
    Count,
    /// `SELECT VALUE [{"item": COUNT(1)}] FROM c`: what clients ask each partition to add the counts up.
    CountItem,
}

impl Selected {
    pub(super) fn is_aggregate(&self) -> bool {
        matches!(self, Selected::Count | Selected::CountItem)
    }
}

/// Reads a query; `None` if it is another one.
pub(super) fn parse(text: &str) -> Option<Selected> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [select, inner @ .., from, alias] = &words[..] else { return None };
    if !select.eq_ignore_ascii_case("select") || !from.eq_ignore_ascii_case("from") || !is_name(alias) {
        return None;
    }
    match inner {
        ["*"] => Some(Selected::Documents),
        [value, rest @ ..] if value.eq_ignore_ascii_case("value") => {
            let what = rest.concat().to_ascii_lowercase();
            match what.as_str() {
                "count(1)" => Some(Selected::Count),
                r#"[{"item":count(1)}]"# => Some(Selected::CountItem),
                _ if *rest == [*alias] => Some(Selected::Documents),
                _ => None,
            }
        }
        _ => {
            let joined = inner.concat();
            let field = |field: &str| {
                field.strip_prefix(alias)?.strip_prefix('.').filter(|name| is_name(name)).map(str::to_owned)
            };
            joined.split(',').map(field).collect::<Option<_>>().map(Selected::Fields)
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_queries_are_told_from_others() {
        let fields =
            |names: &[&str]| Some(Selected::Fields(names.iter().map(|name| (*name).to_owned()).collect()));
        assert_eq!(parse("SELECT * FROM c"), Some(Selected::Documents));
        assert_eq!(parse("select *\n from root"), Some(Selected::Documents));
        assert_eq!(parse("SELECT VALUE c FROM c"), Some(Selected::Documents));
        assert_eq!(parse("SELECT c.id FROM c"), fields(&["id"]));
        assert_eq!(parse("SELECT c.id , c._ts FROM c"), fields(&["id", "_ts"]));
        assert_eq!(parse("SELECT VALUE COUNT(1) FROM c"), Some(Selected::Count));
        assert_eq!(parse("SELECT VALUE [{\"item\": COUNT(1)}]\nFROM c"), Some(Selected::CountItem));
        for other in [
            "",
            "SELECT",
            "SELECT d.id FROM c",
            "SELECT * FROM c WHERE c.a = 1",
            "SELECT c.a.b FROM c",
            "SELECT VALUE c.id FROM c",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
