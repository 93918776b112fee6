//! What the kernel tells in files of text, below a root that a test may choose.
//!
//! A file that is missing, or does not say what it should, is an answer that there is none: kernels, containers and sandboxes differ, and no run may fail because
//! it is not measured.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// More than any of these files has; what is longer is none of them.
const LONGEST: u64 = 1 << 20;

/// Room for most of them, so that they are read at once.
const USUAL: usize = 8 << 10;

/// The place of `path`, which is absolute, below `root`.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// A file's bytes.
pub(super) fn bytes(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL);
    File::open(path).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A file's text.
pub(super) fn text(path: &Path) -> Option<String> {
    String::from_utf8(bytes(path)?).ok()
}

/// A file that holds a number.
pub(super) fn number(path: &Path) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

/// The number behind `name` in a file of lines with a name and a number.
pub(super) fn named(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// A tree of files: each with its text, its folders made.
    pub(in crate::observe) fn tree(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), files);
        root
    }

    pub(in crate::observe) fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn what_is_missing_or_something_else_is_none() {
        let root = tree(&[("n", " 12\n"), ("max", "max\n"), ("names", "a 1\nab 2\nc x\n")]);
        let at = |name: &str| root.path().join(name);
        assert_eq!([number(&at("n")), number(&at("max")), number(&at("none"))], [Some(12), None, None]);
        assert_eq!(number(root.path()), None, "a folder");
        fs::write(at("binary"), [0xff, 0xfe]).unwrap();
        assert_eq!((text(&at("binary")), bytes(&at("binary")).map(|b| b.len())), (None, Some(2)));
        let names = text(&at("names")).unwrap();
        assert_eq!([named(&names, "a"), named(&names, "ab"), named(&names, "c")], [Some(1), Some(2), None]);
        assert_eq!(below(Path::new("/root"), Path::new("/proc/x")), Path::new("/root/proc/x"));
    }
}
