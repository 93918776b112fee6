//! The files that travel inside the binary: strategies, profiles and presets, as data.
//!
//! All are found the same way: a name of this table first, else a path. Adding one is a file and a line here; `list` prints
//! each file's own `about`.

use super::document;
use super::environment::Environment;
use crate::model::settings::{Origin, Value, nearest};
use std::borrow::Cow;
use std::path::Path;

/// One kind of shipped file.
#[derive(Clone, Copy, Debug)]
pub struct Shelf {
    /// What one of them is called.
    pub word: &'static str,
    /// Its folder at the top of the repository.
    pub folder: &'static str,
    /// The files.
    pub files: &'static [Shipped],
}

/// A file inside the binary.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its name without `.toml`.
    pub name: &'static str,
    /// Its content.
    pub text: &'static str,
}

/// One migration each: source, steps, target.
pub const STRATEGIES: Shelf = Shelf {
    word: "strategy",
    folder: "strategies",
    files: &[
        #[cfg(feature = "cosmos")]
        Shipped { name: "quickstart", text: include_str!("../../strategies/quickstart.toml") },
        Shipped { name: "quickstart-sqlite", text: include_str!("../../strategies/quickstart-sqlite.toml") },
        Shipped { name: "movies-to-sqlite", text: include_str!("../../strategies/movies-to-sqlite.toml") },
        Shipped { name: "movies-to-jsonl", text: include_str!("../../strategies/movies-to-jsonl.toml") },
        Shipped { name: "flights-to-sqlite", text: include_str!("../../strategies/flights-to-sqlite.toml") },
        Shipped { name: "flights-to-jsonl", text: include_str!("../../strategies/flights-to-jsonl.toml") },
    ],
};

/// How the auto-tuner behaves, from careful to bold.
pub const PROFILES: Shelf = Shelf {
    word: "profile",
    folder: "profiles",
    files: &[
        Shipped { name: "conservative", text: include_str!("../../profiles/conservative.toml") },
        BALANCED,
        Shipped { name: "aggressive", text: include_str!("../../profiles/aggressive.toml") },
    ],
};

/// The profile of a user who named none: the machine stays usable and the target unharmed.
pub const BALANCED: Shipped =
    Shipped { name: "balanced", text: include_str!("../../profiles/balanced.toml") };

/// What a profile leaves open, for the place that docferry runs in.
pub const PRESETS: Shelf = Shelf {
    word: "preset",
    folder: "profiles/presets",
    files: &[
        Shipped { name: "development", text: include_str!("../../profiles/presets/development.toml") },
        Shipped { name: "testing", text: include_str!("../../profiles/presets/testing.toml") },
        Shipped { name: "production", text: include_str!("../../profiles/presets/production.toml") },
    ],
};

/// A file of a shelf, or one of the user's own.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// How messages name it.
    pub(crate) path: String,
    /// Its name without folder and `.toml`.
    pub(crate) stem: String,
    /// Its content.
    pub(crate) text: Cow<'static, str>,
    /// It came out of the binary.
    pub(crate) is_shipped: bool,
}

impl Shelf {
    /// The shipped file of that name, else the file at that path, else what to say.
    pub(crate) fn open(&self, wanted: &str) -> Result<Opened, String> {
        if let Some(file) = self.files.iter().find(|file| file.name == wanted) {
            return Ok(self.shipped(file));
        }
        let path = Path::new(wanted);
        let is_path =
            wanted.ends_with(".toml") || wanted.contains(['/', '\\']) || path.try_exists().unwrap_or(false);
        if !is_path {
            return Err(self.unknown(wanted));
        }
        let text =
            std::fs::read_to_string(path).map_err(|cause| format!("{wanted:?} cannot be read: {cause}"))?;
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Opened { path: wanted.to_owned(), stem, text: text.into(), is_shipped: false })
    }

    /// A file of this shelf.
    pub(crate) fn shipped(&self, file: &Shipped) -> Opened {
        let path = format!("{}/{}.toml", self.folder, file.name);
        Opened { path, stem: file.name.to_owned(), text: file.text.into(), is_shipped: true }
    }

    fn unknown(&self, wanted: &str) -> String {
        let names: Vec<&str> = self.files.iter().map(|file| file.name).collect();
        let hint =
            nearest(wanted, &names).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        let word = self.word;
        let file = format!("{wanted}.toml");
        let own = match Path::new(&file).is_file() {
            true => format!("there is a file {file:?}: name it so"),
            false => format!("a file of your own is a path with .toml{hint}"),
        };
        format!("unknown {word} {wanted:?}, shipped are {}; {own}", names.join(", "))
    }
}

impl Shipped {
    /// The line that the file says about itself.
    pub fn about(&self) -> String {
        let nothing_defined = Environment::of(&[], 1);
        let (entries, _) = document::read(self.name, self.text, &nothing_defined);
        match entries.into_iter().find(|(name, _)| name == "about") {
            Some((_, setting)) => match setting.value {
                Value::Text(about) => about,
                _ => String::new(),
            },
            None => String::new(),
        }
    }
}

impl Opened {
    /// The file's beginning, for problems that have no better place.
    pub(crate) fn origin(&self) -> Origin {
        Origin::File { path: self.path.clone(), line: 1, column: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_file_says_what_it_is() {
        for shelf in [STRATEGIES, PROFILES, PRESETS] {
            for file in shelf.files {
                let about = file.about();
                assert!(
                    (10..=100).contains(&about.len()) && !about.ends_with('.'),
                    "{}: {about:?}",
                    file.name
                );
            }
        }
    }

    #[test]
    fn every_file_of_the_folders_is_shipped() {
        for shelf in [STRATEGIES, PROFILES, PRESETS] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(shelf.folder);
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
            // Without the connector for Cosmos there is no quickstart into it.
            let left_out = usize::from(shelf.folder == "strategies" && !cfg!(feature = "cosmos"));
            assert_eq!(files.count(), shelf.files.len() + left_out, "{}", shelf.folder);
        }
    }

    #[test]
    fn an_unknown_name_is_told_from_a_missing_file() {
        insta::assert_snapshot!(PROFILES.open("agressive").unwrap_err(), @r#"unknown profile "agressive", shipped are conservative, balanced, aggressive; a file of your own is a path with .toml; did you mean "aggressive"?"#);
        assert!(STRATEGIES.open("./no.toml").unwrap_err().starts_with("\"./no.toml\" cannot be read: "));
    }
}
