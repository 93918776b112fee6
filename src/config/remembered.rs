//! The knobs that a run came to, for the next run of the same shape.
//!
//! A run that begins low needs some seconds to find what an earlier one had found already. So a run that moved its documents leaves its
//! knobs in the state folder, and the next one of the same shape begins with them. A shape is what decides which knobs are right: the settings
//! of source and target, the steps, the profile, a limit of the rate, the cores and the size of the memory. Another shape knows nothing of this one.
//!
//! What is remembered is a beginning and no wish: it stays inside the bounds, a knob that somebody fixed stays fixed, and the tuner turns the rest as
//! ever. Credits are not remembered: they are cut by a ceiling, which says something about the machine at that hour.
//!
//! Each shape has a file of its own, written beside and renamed: of two runs that end at once the later one counts, and neither damages the
//! other's. A file that cannot be understood is told of and counts for nothing.

use super::environment::Environment;
use crate::connector::Sink;
use crate::error::{Error, Result};
use crate::model::knobs::{Bounds, Knob, Knobs};
use crate::model::settings::{Origin, Resolved};
use crate::model::units::Count;
use crate::transform::Chain;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// The form of the file. A later one is not understood.
const VERSION: u32 = 1;

/// The settings that decide the shape, beside those of source and target.
const DECIDING: [&str; 2] = ["run.profile", "run.max_rate"];

/// Where the knobs of one shape are kept.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The file.
    path: PathBuf,
    /// The shape, for a person who looks into the file.
    about: String,
}

/// What an earlier run has left for this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The knobs that begin elsewhere because of it, in the order of the data flow.
    pub knobs: Vec<(Knob, u64)>,
    /// What was wrong with it.
    pub warning: Option<String>,
}

/// The content of the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    about: String,
    run: String,
    knobs: BTreeMap<String, u64>,
}

impl Memory {
    /// The memory of a job's shape, in the state folder. `resolved` are the job's settings.
    pub(super) fn of(
        state: &Path,
        about: String,
        resolved: &[Resolved],
        (chain, sink): (&Chain, &dyn Sink),
        environment: &Environment,
    ) -> Memory {
        let decides = |path: &str| {
            path.starts_with("source.") || path.starts_with("target.") || DECIDING.contains(&path)
        };
        let settings = resolved.iter().filter(|setting| decides(&setting.path));
        let mut shape: Vec<String> =
            settings.map(|setting| format!("{}={}", setting.path, setting.value)).collect();
        shape.sort();
        // Of one address or another, which may stand in the environment only.
        shape.push(sink.place());
        shape.extend([chain.id_fingerprint(), chain.steps_fingerprint()].map(str::to_owned));
        shape.push(format!("{} cores, memory class {}", environment.cores(), class(environment.memory())));
        let name = format!("{:016x}.json", xxh3_64(shape.join("\n").as_bytes()));
        Memory { path: state.join("remembered").join(name), about }
    }

    /// Where the knobs are kept, whether or not there are any yet.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the knobs begin with what is remembered of them, and the settings in force say so.
    pub(super) fn warm(&self, knobs: &mut Knobs, bounds: &Bounds, resolved: &mut [Resolved]) -> Remembered {
        let kept = match self.read() {
            Ok(Some(kept)) => kept,
            Ok(None) => return Remembered::default(),
            Err(reason) => {
                let path = self.path.display();
                let warning = format!("{path} {reason}; the run begins low, as if nothing were remembered");
                return Remembered { warning: Some(warning), ..Remembered::default() };
            }
        };
        let mut remembered = Remembered::default();
        for knob in Knob::ALL.into_iter().filter(|knob| is_learned(*knob, bounds)) {
            let Some(value) = kept.knobs.get(knob.as_str()) else { continue };
            let value = bounds.clamp(knob, *value);
            if value != knobs.get(knob) {
                knobs.set(knob, value);
                remembered.knobs.push((knob, value));
            }
            let path = format!("run.{knob}");
            if let Some(line) = resolved.iter_mut().find(|setting| setting.path == path) {
                line.value = value.to_string();
                line.origin = Origin::Remembered(self.path.display().to_string());
            }
        }
        remembered
    }

    /// Keeps the knobs that a run came to, those that the tuner may turn.
    pub fn keep(&self, run: &str, knobs: &Knobs, bounds: &Bounds) -> Result<()> {
        let learned = Knob::ALL.into_iter().filter(|knob| is_learned(*knob, bounds));
        let knobs = learned.map(|knob| (knob.as_str().to_owned(), knobs.get(knob))).collect();
        let kept = Kept { version: VERSION, about: self.about.clone(), run: run.to_owned(), knobs };
        let fail = |cause: io::Error| {
            Error::io("remembering the knobs of this run", cause).with("path", self.path.display())
        };
        let text = serde_json::to_string_pretty(&kept).map_err(|cause| fail(cause.into()))?;
        let beside = self.path.with_extension(format!("{run}.new"));
        let written = self.replace(&beside, &text);
        if written.is_err() {
            // It may not even be there.
            let _ = fs::remove_file(&beside);
        }
        written.map_err(fail)
    }

    fn replace(&self, beside: &Path, text: &str) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::create(beside)?;
        file.write_all(text.as_bytes())?;
        // Or a power loss could leave the new name with nothing in it.
        file.sync_all()?;
        fs::rename(beside, &self.path)
    }

    /// What is kept; an error says what is wrong with the file.
    fn read(&self) -> Result<Option<Kept>, String> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(format!("cannot be read ({cause})")),
        };
        match serde_json::from_str::<Kept>(&text) {
            Ok(kept) if kept.version == VERSION => Ok(Some(kept)),
            Ok(_) => Err("was written by another version of docferry".to_owned()),
            Err(cause) => Err(format!("is damaged ({cause})")),
        }
    }
}

impl Remembered {
    /// The sentence that a run begins with, where it begins elsewhere than it would have.
    pub fn sentence(&self) -> Option<String> {
        if self.knobs.is_empty() {
            return None;
        }
        let knobs: Vec<String> =
            self.knobs.iter().map(|(knob, value)| format!("{knob} {}", Count(*value))).collect();
        Some(format!(
            "beginning with the knobs of the last run of this shape: {}; --cold-start begins low",
            knobs.join(", ")
        ))
    }
}

/// Whether a run can learn what the knob should be.
fn is_learned(knob: Knob, bounds: &Bounds) -> bool {
    knob != Knob::CreditBytes && bounds.least.get(knob) < bounds.most.get(knob)
}

/// The nearest power of two: the same machine does not always show the very same memory.
fn class(bytes: u64) -> u32 {
    (bytes.max(1) as f64).log2().round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knobs(workers: usize, requests: usize) -> Knobs {
        Knobs {
            readers: workers,
            transformers: workers,
            requests_in_flight: requests,
            batch_documents: 2_000,
            request_documents: 100,
            credit_bytes: 1 << 25,
        }
    }

    fn bounds() -> Bounds {
        let least = Knobs { credit_bytes: 1 << 22, ..knobs(1, 1) };
        // The batch and the request are fixed: their least is their most.
        Bounds { least, most: Knobs { transformers: 4, ..knobs(8, 512) } }
    }

    fn memory(folder: &Path) -> Memory {
        let path = folder.join("remembered/0.json");
        Memory { path, about: "a -> b".to_owned() }
    }

    #[test]
    fn what_a_run_came_to_the_next_begins_with_inside_the_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let memory = memory(folder.path());
        let mut begin = knobs(2, 8);
        assert_eq!(
            memory.warm(&mut begin, &bounds(), &mut []),
            Remembered::default(),
            "nothing is there yet"
        );
        let end = Knobs { batch_documents: 9, credit_bytes: 1 << 22, ..knobs(6, 1_000) };
        memory.keep("run", &end, &bounds()).unwrap();
        let mut resolved =
            [Resolved { path: "run.readers".to_owned(), value: "2".to_owned(), origin: Origin::BuiltIn }];
        let remembered = memory.warm(&mut begin, &bounds(), &mut resolved);
        let expected = Knobs { transformers: 4, ..knobs(6, 512) };
        assert_eq!(begin, expected, "fixed knobs and credits stay");
        assert_eq!(resolved[0].value, "6");
        assert!(resolved[0].origin.to_string().ends_with("0.json"), "{}", resolved[0].origin);
        insta::assert_snapshot!(remembered.sentence().unwrap(), @"beginning with the knobs of the last run of this shape: readers 6, transformers 4, requests_in_flight 512; --cold-start begins low");
        let again = memory.warm(&mut begin, &bounds(), &mut resolved);
        assert_eq!(again.sentence(), None, "it would have begun there anyhow");
        let files = fs::read_dir(memory.path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "nothing is left beside the file");
    }

    #[test]
    fn a_file_cut_anywhere_is_told_of_and_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let memory = memory(folder.path());
        memory.keep("run", &knobs(6, 64), &bounds()).unwrap();
        let whole = fs::read(&memory.path).unwrap();
        let later = String::from_utf8(whole.clone()).unwrap().replace("\"version\": 1", "\"version\": 2");
        let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
        for content in cut.chain([later.into_bytes(), b"\xff".to_vec()]) {
            fs::write(&memory.path, &content).unwrap();
            let mut begin = knobs(2, 8);
            let remembered = memory.warm(&mut begin, &bounds(), &mut []);
            assert_eq!((begin, remembered.sentence()), (knobs(2, 8), None));
            assert!(remembered.warning.unwrap().ends_with("as if nothing were remembered"));
        }
    }

    #[test]
    fn runs_that_end_at_once_leave_a_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let memory = memory(folder.path());
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let memory = &memory;
                scope.spawn(move || {
                    for turn in 0..20 {
                        memory.keep(&format!("run{writer}-{turn}"), &knobs(6, 64), &bounds()).unwrap();
                        let mut begin = knobs(2, 8);
                        let remembered = memory.warm(&mut begin, &bounds(), &mut []);
                        assert_eq!((remembered.warning, begin.readers), (None, 6));
                    }
                });
            }
        });
    }

    #[test]
    fn memory_is_of_one_class_where_it_is_nearly_the_same() {
        assert_eq!(class(16 << 30), class(15 << 30));
        assert_ne!(class(16 << 30), class(8 << 30));
        assert_eq!(class(0), 0, "a machine that does not tell");
    }
}
