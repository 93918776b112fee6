//! The files that a pattern such as `data/**/*.jsonl` matches.
//!
//! A pattern is matched part by part, as shells do: `*` does not pass a separator, `**` stands for any number of folders, and no wildcard
//! matches a leading dot. Folders are listed here and only names are left to the matcher, since a file system holds names that are no
//! text: one that does not match is nobody's business, and one that matches shall be refused by whoever reads it, not passed over.

use glob::{MatchOptions, Pattern, PatternError};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf, is_separator};

/// As in a shell, a wildcard does not match a leading dot.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// One part of a pattern, between two separators.
enum Part {
    /// The root, `..` or a name without wildcards.
    Plain(OsString),
    /// A name with wildcards.
    Wild(Pattern),
    /// `**`
    Folders,
}

/// The files that match, in the order of their paths; the outer error says what is wrong with the pattern, the inner one which folder
/// cannot be read.
pub(super) fn files(pattern: &str) -> Result<Result<Vec<PathBuf>, (PathBuf, io::Error)>, PatternError> {
    // As a whole first, for the place in its message.
    Pattern::new(pattern)?;
    let mut parts = Vec::new();
    for component in Path::new(pattern).components() {
        parts.push(match (component, component.as_os_str().to_str()) {
            (Component::CurDir, _) => continue,
            (Component::Normal(_), Some("**")) => Part::Folders,
            (Component::Normal(_), Some(name)) if super::names::is_pattern(name) => {
                Part::Wild(Pattern::new(name)?)
            }
            _ => Part::Plain(component.as_os_str().to_owned()),
        });
    }
    let mut found = Vec::new();
    Ok(walk(Path::new(""), &parts, &mut found).map(|()| {
        // With a separator at its end a pattern asks for folders.
        found.retain(|path| path.is_file() && !pattern.ends_with(is_separator));
        found.sort();
        found.dedup();
        found
    }))
}

/// Adds what matches `parts` in the folder.
fn walk(folder: &Path, parts: &[Part], found: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let Some((part, rest)) = parts.split_first() else {
        found.push(folder.to_owned());
        return Ok(());
    };
    match part {
        Part::Plain(name) => walk(&folder.join(name), rest, found),
        Part::Wild(pattern) => {
            for name in names(folder)? {
                let path = folder.join(&name);
                if pattern.matches_with(&name.to_string_lossy(), OPTIONS)
                    && (rest.is_empty() || path.is_dir())
                {
                    walk(&path, rest, found)?;
                }
            }
            Ok(())
        }
        Part::Folders => {
            walk(folder, rest, found)?;
            for name in names(folder)? {
                let path = folder.join(&name);
                if !name.to_string_lossy().starts_with('.') && path.is_dir() && !leads_back(folder, &path) {
                    walk(&path, parts, found)?;
                }
            }
            Ok(())
        }
    }
}

/// What is in the folder, if it is one.
fn names(folder: &Path) -> Result<Vec<OsString>, (PathBuf, io::Error)> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let names = match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect(),
        Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(cause) => Err(cause),
    };
    names.map_err(|cause| (folder.to_owned(), cause))
}

/// Whether the entry of the folder is a link to a folder above it: following it would have no end.
fn leads_back(folder: &Path, entry: &Path) -> bool {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match (fs::canonicalize(folder), fs::canonicalize(entry)) {
        (Ok(folder), Ok(entry)) => folder.starts_with(entry),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What matches, as names below the folder.
    fn matching(folder: &Path, pattern: &str) -> Vec<String> {
        let found = files(&format!("{}/{pattern}", folder.display())).unwrap().unwrap();
        let short = |path: PathBuf| path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        found.into_iter().map(short).collect()
    }

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in ["b.jsonl", "a.jsonl", ".c.jsonl", "x/a.jsonl", "x/y/a.jsonl", ".z/a.jsonl", "[d].jsonl"]
        {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn matches_as_a_shell_does() {
        let folder = tree();
        let matching = |pattern| matching(folder.path(), pattern);
        assert_eq!(matching("*.jsonl"), ["[d].jsonl", "a.jsonl", "b.jsonl"]);
        assert_eq!(matching(".*"), [".c.jsonl"]);
        assert_eq!(matching("*/a.jsonl"), ["x/a.jsonl"]);
        assert_eq!(matching("**/a.jsonl"), ["a.jsonl", "x/a.jsonl", "x/y/a.jsonl"]);
        assert_eq!(matching("**/**/y/*"), ["x/y/a.jsonl"]);
        assert_eq!(matching("x/../x/./?.jsonl"), ["x/../x/a.jsonl"]);
        assert_eq!(matching("[[]d].json*"), ["[d].jsonl"]);
        assert_eq!(matching("[ab].jsonl"), ["a.jsonl", "b.jsonl"]);
        let none: [&str; 0] = [];
        for pattern in ["*/", "**", "no/*", "a.jsonl/*", "x/*/a.jsonl/**/b"] {
            assert_eq!(matching(pattern), none, "{pattern}");
        }
        assert!(files("a**").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_text_match_and_links_that_lead_back_are_not_followed() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tree();
        fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"\xff.jsonl")), "").unwrap();
        std::os::unix::fs::symlink("..", folder.path().join("x/up")).unwrap();
        std::os::unix::fs::symlink("x/y", folder.path().join("w")).unwrap();
        assert_eq!(matching(folder.path(), "?.jsonl"), ["a.jsonl", "b.jsonl", "\u{fffd}.jsonl"]);
        assert_eq!(matching(folder.path(), "**/a.json"), [""; 0]);
        assert_eq!(
            matching(folder.path(), "**/a.jsonl"),
            ["a.jsonl", "w/a.jsonl", "x/a.jsonl", "x/y/a.jsonl"]
        );
    }
}
