//! A job's name: its folder in the state folder, and the word in every message about it.
//!
//! It comes from `--job`, else from the strategy, else from the target, since it is the target that two different
//! migrations must not share. Standard output is no target of its own: docferry twice in one pipe would be one job, so there the
//! source is named too. A derived name is for reading and two targets may meet in one; a run that finds the record of another
//! target under its name is refused when it begins.

use super::STATE_FOLDER;
use super::asked::{Asked, Given};
use crate::model::settings::{Origin, Problem, Resolved};
use std::path::PathBuf;
use xxhash_rust::xxh3::xxh3_64;

/// Folder names end at 255 bytes in most file systems, and a person reads them.
const LONGEST: usize = 80;

/// The location that is standard input or output.
const STANDARD: &str = "-";

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
    pub(crate) fn read(asked: &Asked, strategy: Option<&str>, source: &str, target: &str) -> Place {
        let derived = strategy.map_or_else(|| slug_of_ends(source, target), slug);
        let (name, name_origin) = or(asked.job.as_ref(), &derived);
        let (state, state_origin) = or(asked.state.as_ref(), STATE_FOLDER);
        let mut problems = Vec::new();
        if !is_name(&name) {
            let message = format!(
                "must be 1 to {LONGEST} of a-z 0-9 . _ - and begin with a letter or digit, found {name:?}"
            );
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

/// The name that follows from where documents come from and where they go, each as a person is told it (`file:out.jsonl`).
fn slug_of_ends(source: &str, target: &str) -> String {
    let location = |end: &str| end.split_once(':').map_or(String::new(), |(_, location)| location.to_owned());
    if location(target) != STANDARD {
        return slug(target);
    }
    match location(source).as_str() {
        STANDARD => slug("stdout-from-stdin"),
        "" => slug(&format!("stdout-from-{source}")),
        location => slug(&format!("stdout-from-{location}")),
    }
}

/// `text` as a name: lower case, everything that a folder name should not hold a hyphen. A long one is cut, and ends with a hash of the
/// whole text.
pub(crate) fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        let c = if is_allowed(c) { c } else { '-' };
        if !(c == '-' && slug.ends_with('-')) {
            slug.push(c);
        }
    }
    let slug = slug.trim_start_matches(['.', '-', '_']).trim_end_matches('-');
    match slug.len() {
        0 => "job".to_owned(),
        1..=LONGEST => slug.to_owned(),
        _ => {
            let hash = format!("-{:08x}", xxh3_64(text.as_bytes()) as u32);
            format!("{}{hash}", slug[..LONGEST - hash.len()].trim_end_matches('-'))
        }
    }
}

/// Whether the user's own name may stay as it is.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
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

    #[test]
    fn standard_output_is_named_after_its_source() {
        let name = |source: &str, target: &str| slug_of_ends(source, target);
        assert_eq!(name("file:in.jsonl", "file:-"), "stdout-from-in.jsonl");
        assert_eq!(name("file:-", "file:-"), "stdout-from-stdin");
        assert_eq!(name("null:", "file:-"), "stdout-from-null");
        assert_eq!(name("file:-", "file:out.jsonl"), "file-out.jsonl");
    }

    #[test]
    fn long_names_that_differ_only_behind_the_cut_stay_apart() {
        let [one, other] = ["a", "b"].map(|end| slug(&format!("file:/{}/{end}.jsonl", "deep/".repeat(30))));
        assert!(one != other && is_name(&one) && is_name(&other), "{one} {other}");
        assert_eq!(one.len(), LONGEST);
        assert!(one.starts_with("file-deep-deep-"), "{one}");
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
