//! What a checkpoint notes of a target: enough to know it again, and to return to exactly that moment.
//!
//! Files are appended to, so returning means cutting off what came later. The hash over the ends of the noted length tells
//! whether the file is still the one that was noted; it is compared before anything is cut.

use crate::connector::file::fingerprint::fingerprint;
use crate::error::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

/// A target at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The absolute path of the file or folder.
    pub(super) path: String,
    /// Its files that hold something, by name. Of a target of one file that is the file itself.
    pub(super) parts: BTreeMap<String, PartMark>,
}

/// One file at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartMark {
    /// Bytes that belong to it.
    pub(super) length: u64,
    /// The hash of the first and last of them.
    pub(super) hash: String,
    /// Uncompressed bytes of the frame that is not complete yet, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tail: Option<String>,
    /// Nothing more belongs to it: its end is among those bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) ended: bool,
}

impl Mark {
    /// What a checkpoint's `target_state` notes of the target at `path`, if it notes anything.
    pub(super) fn of(target_state: &serde_json::Value, path: &str) -> Option<Mark> {
        let mark = Mark::deserialize(target_state).ok()?;
        (mark.path == path).then_some(mark)
    }
}

impl PartMark {
    /// A file of which `length` bytes, with that hash, are written and `tail` is not; with its end, or without.
    pub(super) fn new(length: u64, hash: String, tail: &[u8], ended: bool) -> Self {
        let tail = (!tail.is_empty()).then(|| STANDARD.encode(tail));
        Self { length, hash, tail, ended }
    }

    /// The bytes that were not written yet.
    pub(super) fn tail(&self) -> Result<Vec<u8>> {
        STANDARD.decode(self.tail.as_deref().unwrap_or_default()).map_err(|cause| {
            Error::configuration("preparing the target", "the checkpoint's note of the target is damaged")
                .caused_by(cause)
        })
    }

    /// Whether the file still begins with what was noted. A missing one does if nothing was.
    pub(super) fn proves(&self, path: &Path) -> io::Result<bool> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(self.length == 0),
            Err(cause) => return Err(cause),
        };
        Ok(file.metadata()?.len() >= self.length && fingerprint(&mut file, self.length)? == self.hash)
    }
}
