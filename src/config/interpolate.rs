//! `${NAME}` and `${NAME:-default}` in texts of a settings file.
//!
//! It happens after the file is parsed, so a variable's content can never change a file's structure. As in a shell, the default
//! holds for an empty variable too. `$${` is a literal `${`; a `$` before anything else is a `$`.

use super::environment::Environment;

/// `text` with its variables replaced, or what is wrong with it.
pub(crate) fn interpolate(text: &str, environment: &Environment) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let malformed = || "${ must be followed by a name and }; a literal ${ is written $${".to_owned();
        let (inside, after) = after.split_once('}').ok_or_else(malformed)?;
        let (name, default) = inside.split_once(":-").map_or((inside, None), |(n, d)| (n, Some(d)));
        if !is_name(name) {
            return Err(malformed());
        }
        match (environment.get(name), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => {
                return Err(format!(
                    "the environment variable {name} is not defined; ${{{name}:-value}} gives it a default"
                ));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(text: &str) -> Result<String, String> {
        interpolate(text, &Environment::of(&[("A", "1"), ("EMPTY", ""), ("LOOP", "${A}")], 1))
    }

    #[test]
    fn variables_defaults_and_literals() {
        assert_eq!(with("x${A}y${B:-two}z${EMPTY:-e}").unwrap(), "x1ytwoze");
        assert_eq!(with("$5 $${A} $").unwrap(), "$5 ${A} $");
        assert_eq!(with("${LOOP}").unwrap(), "${A}", "a variable's content is not looked into");
        assert_eq!(with("${B:-}").unwrap(), "");
        for wrong in ["${B}", "${", "${}", "${1}", "${A", "${A B}"] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn text_without_variables_stays(text in "[^$]*") {
            prop_assert_eq!(with(&text).unwrap(), text);
        }

        #[test]
        fn no_text_panics(text in ".*[$][{]?.*") {
            let _ = with(&text);
        }
    }
}
