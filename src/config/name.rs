//! A job's name: its folder in the state folder, and the word in every message about it.
//!
//! It comes from `--job`, else from the strategy, else from the target, since it is the target that two different
//! migrations must not share.

use super::STATE_FOLDER;
use super::asked::{Asked, Given};
use crate::model::settings::{Origin, Problem, Resolved};
use std::path::PathBuf;

/// A job's name and the state folder.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) state: PathBuf,
    pub(crate) resolved: Vec<Resolved>,
    pub(crate) problems: Vec<Problem>,
}

impl Place {
    /// What the flags say, else what follows from the strategy's file name or the target.
    pub(crate) fn read(asked: &Asked, strategy: Option<&str>, target: &str) -> Place {
        let derived = slug(strategy.unwrap_or(target));
        let (name, name_origin) = or(asked.job.as_ref(), &derived);
        let (state, state_origin) = or(asked.state.as_ref(), STATE_FOLDER);
        let mut problems = Vec::new();
        if !is_name(&name) {
            let message =
                format!("must be 1 to 80 of a-z 0-9 . _ - and begin with a letter or digit, found {name:?}");
            problems.push(Problem { origin: name_origin.clone(), path: "job".to_owned(), message });
        }
        let line = |path: &str, value: &str, origin| Resolved {
            path: path.to_owned(),
            value: format!("{value:?}"),
            origin,
        };
        let resolved = vec![line("job", &name, name_origin), line("state", &state, state_origin)];
        Place { name, state: PathBuf::from(state), resolved, problems }
    }
}

fn or(given: Option<&Given>, built_in: &str) -> (String, Origin) {
    match given {
        Some(given) => (given.text.clone(), given.origin.clone()),
        None => (built_in.to_owned(), Origin::BuiltIn),
    }
}

/// `text` as a name: lower case, everything that a folder name should not hold a hyphen.
pub(crate) fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        let c = if is_allowed(c) { c } else { '-' };
        if !(c == '-' && slug.ends_with('-')) {
            slug.push(c);
        }
        // Folder names end at 255 bytes in most file systems, and a person reads them.
        if slug.len() == 80 {
            break;
        }
    }
    let slug = slug.trim_start_matches(['.', '-', '_']).trim_end_matches('-');
    if slug.is_empty() { "job".to_owned() } else { slug.to_owned() }
}

/// Whether the user's own name may stay as it is.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=80).contains(&text.len())
        && text.chars().all(is_allowed)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn targets_become_names() {
        assert_eq!(slug("sqlite:/tmp/My Movies.db"), "sqlite-tmp-my-movies.db");
        assert_eq!(slug("file:../out.jsonl"), "file-..-out.jsonl");
        assert_eq!(slug("null:"), "null");
        assert_eq!(slug("../.."), "job");
    }

    proptest! {
        #[test]
        fn every_slug_is_a_name_and_stays(text in ".*") {
            let once = slug(&text);
            prop_assert!(is_name(&once), "{}", once);
            prop_assert_eq!(slug(&once), once);
        }
    }
}
