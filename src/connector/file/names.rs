//! The names by which checkpoints and documents know a file.
//!
//! A partition is named `name:offset`: the offset at which it begins makes the parts of one file unequal, and the last colon always
//! stands before it, so the name can be read back. A name is as short as it can be without two inputs sharing one, so that moving a
//! folder to another machine, or spelling its path in another way, changes no position. What a resume compares speaks of inputs under
//! these names too: as long as they are the same, the positions of a checkpoint mean what they meant.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

/// The partition that begins at `start`.
pub(super) fn partition_id(name: &str, start: u64) -> String {
    format!("{name}:{start}")
}

/// The name of the input that a partition belongs to.
#[inline]
pub(super) fn input_name(partition_id: &str) -> &str {
    partition_id.rsplit_once(':').map_or(partition_id, |(name, _)| name)
}

/// What a path is called: relative to the leading folder without wildcards of the pattern that it matched, or the bare file name.
pub(super) fn short_name(path: &Path, pattern: Option<&str>) -> Option<String> {
    let path = without_dots(path);
    let name = match pattern {
        Some(pattern) => path.strip_prefix(leading_folder(pattern)).unwrap_or(&path),
        None => Path::new(path.file_name()?),
    };
    name.to_str().map(str::to_owned)
}

/// The whole path as a name, without what does not change where it leads (`./`).
pub(super) fn full_name(path: &Path) -> Option<String> {
    without_dots(path).to_str().map(str::to_owned)
}

/// Whether `path` would be taken for a pattern.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The short names, or where two inputs share one, the full names of all: equal files in different folders must not be taken
/// for one.
pub(super) fn distinct(short: Vec<String>, full: Vec<String>) -> Vec<String> {
    let different: HashSet<&String> = short.iter().collect();
    if different.len() == short.len() { short } else { full }
}

fn leading_folder(pattern: &str) -> PathBuf {
    without_dots(Path::new(pattern))
        .components()
        .take_while(|component| !component.as_os_str().to_str().is_some_and(is_pattern))
        .collect()
}

fn without_dots(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_relative_to_the_fixed_folder() {
        let short = |path: &str, pattern| short_name(Path::new(path), pattern).unwrap();
        assert_eq!(short("data/2024/a.jsonl", Some("./data/*/a.jsonl")), "2024/a.jsonl");
        assert_eq!(short("a.jsonl", Some("*.jsonl")), "a.jsonl");
        assert_eq!(short("/data/a.jsonl", None), "a.jsonl");
        let (a, b) = (String::from("a/x"), String::from("b/x"));
        assert_eq!(distinct(vec!["x".into(), "x".into()], vec![a.clone(), b.clone()]), [a, b]);
    }

    proptest! {
        #[test]
        fn a_partition_id_gives_its_name_back(name in ".{0,12}", start: u64) {
            let id = partition_id(&name, start);
            prop_assert_eq!(input_name(&id), name);
        }
    }
}
