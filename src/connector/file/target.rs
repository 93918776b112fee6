//! Where a target's files are, and whether they could be written.

use crate::error::{Error, Result};
use crate::model::standard::{Standard, was_closed};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

const CHECKING: &str = "checking the target";

/// The three kinds of targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `-`
    StandardOutput,
    /// A path with an extension: one file.
    File(PathBuf),
    /// A path without: a folder of parts.
    Folder {
        /// The folder.
        path: PathBuf,
        /// What stands after the dot of a part's name.
        extension: String,
    },
}

impl Target {
    /// The target that a path names.
    pub(super) fn new(path: &str, extension: &str) -> Self {
        let is_folder =
            path.ends_with(['/', std::path::MAIN_SEPARATOR]) || Path::new(path).extension().is_none();
        match path {
            "-" => Target::StandardOutput,
            _ if is_folder => Target::Folder { path: path.into(), extension: extension.to_owned() },
            _ => Target::File(path.into()),
        }
    }

    /// The file or folder, if it is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Target::StandardOutput => None,
            Target::File(path) | Target::Folder { path, .. } => Some(path),
        }
    }

    /// A name that tells format and compression of what is written.
    pub(super) fn file_name(&self) -> String {
        match self {
            Target::StandardOutput => String::new(),
            Target::File(path) => path.display().to_string(),
            Target::Folder { extension, .. } => part_name(extension, 0),
        }
    }

    /// The target's parts by lane, each with its name in a mark and its file, for a source of that many partitions.
    pub(super) fn parts(&self, partitions: usize) -> Vec<(String, Option<PathBuf>)> {
        match self {
            Target::StandardOutput => vec![(String::from("-"), None)],
            Target::File(path) => {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                vec![(name.unwrap_or_default(), Some(path.clone()))]
            }
            Target::Folder { path, extension } => (0..partitions)
                .map(|index| part_name(extension, index))
                .map(|name| (name.clone(), Some(path.join(name))))
                .collect(),
        }
    }

    /// The target's name that no working folder changes.
    pub(super) fn absolute(&self) -> io::Result<String> {
        let Some(path) = self.path() else { return Ok(String::from("standard output")) };
        let absolute = match path.file_name() {
            Some(name) => fs::canonicalize(folder_of(path))?.join(name),
            None => fs::canonicalize(path)?,
        };
        Ok(absolute.display().to_string())
    }

    /// Whether it could be written, without changing it.
    pub(super) fn check(&self) -> Result<()> {
        let (path, is_folder) = match self {
            Target::StandardOutput if was_closed(Standard::Output) => {
                return Err(Error::configuration(CHECKING, "standard output is closed")
                    .with("path", "-")
                    .advise("redirect it, or write to null: to discard the documents"));
            }
            Target::StandardOutput => return Ok(()),
            Target::File(path) => (path, false),
            Target::Folder { path, .. } => (path, true),
        };
        let wrong = |message: &str, advice: &'static str| {
            Error::configuration(CHECKING, message).with("path", path.display()).advise(advice)
        };
        let written = match fs::metadata(path) {
            Ok(found) if is_folder && found.is_dir() => probe(path),
            Ok(found) if !found.is_file() && !found.is_dir() => {
                let advice = "write to - for standard output, or to null: to discard the documents";
                return Err(wrong("this is not a regular file", advice));
            }
            Ok(_) if is_folder => {
                return Err(wrong(
                    "this is a file, and a path without an extension is a folder",
                    "add an extension such as .jsonl, or name a folder; standard output is -",
                ));
            }
            Ok(found) if found.is_dir() => {
                return Err(wrong(
                    "this is a folder, and a path with an extension is one file",
                    "name a file inside it",
                ));
            }
            Ok(_) => OpenOptions::new().write(true).open(path).map(drop),
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
            Err(_) if !folder_of(path).is_dir() => {
                return Err(wrong("its folder does not exist", "create the folder first"));
            }
            Err(_) => probe(folder_of(path)),
        };
        written.map_err(|cause| {
            wrong("it cannot be written", "check the path and its permissions").caused_by(cause)
        })
    }

    /// The files that exist of the target, in order: what a run may replace.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut parts = Vec::new();
        for path in self.entries()? {
            match self {
                Target::Folder { .. } => parts.extend(part_number(&path).map(|number| (number, path))),
                _ => parts.push((0, path)),
            }
        }
        parts.sort();
        Ok(parts.into_iter().map(|(_, path)| path).collect())
    }

    /// The files that a reader of the target would take for its own, in order: in a folder also those that only look like parts, as
    /// whoever reads `parts/*.jsonl` does not know which of them this job has written.
    pub(super) fn readable(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = self.files()?;
        files.extend(self.others()?);
        Ok(files)
    }

    /// What is in a folder and only looks like a part, in order.
    pub(super) fn others(&self) -> io::Result<Vec<PathBuf>> {
        let Target::Folder { extension, .. } = self else { return Ok(Vec::new()) };
        let ending = format!(".{extension}");
        let looks_so = |path: &PathBuf| path.to_str().is_some_and(|name| name.ends_with(&ending));
        let is_other = |path: &PathBuf| looks_so(path) && part_number(path).is_none() && path.is_file();
        let mut others: Vec<PathBuf> = self.entries()?.into_iter().filter(is_other).collect();
        others.sort();
        Ok(others)
    }

    /// The file, if it exists, or what is in the folder.
    fn entries(&self) -> io::Result<Vec<PathBuf>> {
        let folder = match self {
            Target::StandardOutput => return Ok(Vec::new()),
            Target::File(path) => return Ok(path.try_exists()?.then(|| path.clone()).into_iter().collect()),
            Target::Folder { path, .. } => path,
        };
        match fs::read_dir(folder) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(cause) => Err(cause),
        }
    }
}

/// Makes the entries of the folder that holds `path` durable.
pub(super) fn sync_folder_of(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    // Only where a folder can be opened like a file. Elsewhere the file system sees to it.
    #[cfg(unix)]
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|cause| Error::io("flushing the target", cause).with("path", folder.display()))?;
    Ok(())
}

/// The folder that holds `path`.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Tries whether a file can be created. There is no other way to know: permissions, read-only disks and quotas each say it
/// differently.
fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".docferry-probe-{}", std::process::id()));
    File::create_new(&path)?;
    fs::remove_file(&path)
}

/// Five digits keep names in the order of parts as far as people look at them.
fn part_name(extension: &str, index: usize) -> String {
    format!("part-{index:05}.{extension}")
}

/// The number in the name of a part, whatever its extension: parts of another extension would be read with the new ones.
fn part_number(path: &Path) -> Option<u64> {
    let (number, _) = path.file_name()?.to_str()?.strip_prefix("part-")?.split_once('.')?;
    // Five digits at least, as they are written.
    if number.len() < 5 { None } else { number.parse().ok() }
}
