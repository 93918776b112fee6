//! One file being written.
//!
//! A part is appended to and never changed before its end, so a failure of any kind is mended by cutting the file back. What counts
//! as written is what has been *answered*: a request whose answer nobody waited for is overwritten by the next one, and a
//! checkpoint does not contain it.
//!
//! A file is open exactly while it holds bytes that are not durable. So a flush knows what to do, and a folder of ten
//! thousand parts needs as many descriptors and buffers as parts were written to since the last flush.

use crate::connector::file::fingerprint::fingerprint;
use crate::connector::file::mark::PartMark;
use crate::connector::file::sheet::{Layout, Output, Sheet};
use crate::error::{Error, Result};
use crate::model::request::Request;
use std::fs::{File, OpenOptions};
use std::io::{self, Cursor};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Parts of one target that may be open between two flushes, a quarter of the usual limit of descriptors in a process.
const MOST_OPEN: usize = 256;

/// What the parts of one target have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) layout: Layout,
    /// A file has been created since the last flush: its folder is to be made durable too.
    pub(super) created: AtomicBool,
    /// Cloned into every open part: its count is how many there are.
    open: Arc<()>,
}

impl Shared {
    /// For parts of this layout.
    pub(super) fn new(layout: Layout) -> Self {
        Self { layout, created: AtomicBool::new(false), open: Arc::default() }
    }
}

/// One file, or standard output.
#[derive(Debug)]
pub(super) struct Part {
    /// `None` is standard output.
    path: Option<PathBuf>,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

/// What has been answered, and the means to write more.
#[derive(Debug, Default)]
struct State {
    extent: Extent,
    /// Of the newest write that was asked for: an older one that has not begun yet is not waited for by anybody.
    turn: u64,
    open: Option<Open>,
    /// The mark of `extent`, until it changes.
    noted: Option<PartMark>,
}

/// How much a part holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Extent {
    /// Bytes of the file.
    written: u64,
    /// Uncompressed bytes behind them that do not fill a frame yet.
    tail: Vec<u8>,
    /// What stands after the last document is among them: nothing more may come.
    ended: bool,
}

impl Extent {
    /// `written` bytes of a file, and a `tail` that is not in it; its end is there too, or not.
    pub(super) fn new(written: u64, tail: Vec<u8>, ended: bool) -> Self {
        Self { written, tail, ended }
    }

    fn is_empty(&self) -> bool {
        self.written == 0 && self.tail.is_empty() && !self.ended
    }
}

/// A part that holds bytes that are not durable.
#[derive(Debug)]
struct Open {
    output: Output,
    /// Uncompressed bytes on their way, reused from request to request.
    pending: Vec<u8>,
    /// Grows with every write: a sync that another write overtook has not made the part durable.
    writes: u64,
    _counted: Arc<()>,
}

impl Part {
    /// A part that holds `extent`, in the file at `path` or on standard output.
    pub(super) fn new(path: Option<PathBuf>, shared: Arc<Shared>, extent: Extent) -> Self {
        Self { path, shared, state: Mutex::new(State { extent, ..State::default() }) }
    }

    /// The right to write next. Whoever holds an older one has lost it.
    pub(super) fn turn(&self) -> u64 {
        let mut state = self.state();
        state.turn += 1;
        state.turn
    }

    /// Writes a request, and returns what the part holds once it is answered.
    pub(super) fn append(&self, turn: u64, request: &Request) -> Result<Extent> {
        self.write(turn, |sheet| {
            for segment in &request.segments {
                sheet.put_all(&segment.documents, segment.range.clone())?;
            }
            sheet.store(false)
        })
    }

    /// The part holds this from now on.
    pub(super) fn accept(&self, extent: Extent) {
        let mut state = self.state();
        state.extent = extent;
        state.noted = None;
    }

    /// Writes what stands after the last document and what does not fill a frame, unless that has been done. From then on the part
    /// holds no document in memory.
    pub(super) fn end(&self) -> Result<()> {
        if self.state().extent.ended {
            return Ok(());
        }
        let extent = self.write(self.turn(), |sheet| {
            sheet.end();
            sheet.store(true)?;
            // A request that nobody waited for may have left something behind the end.
            sheet.cut()
        })?;
        self.accept(Extent { ended: true, ..extent });
        if let Some(open) = &mut self.state().open {
            open.pending = Vec::new();
        }
        Ok(())
    }

    /// Ends the part and makes it durable.
    pub(super) fn finish(&self) -> Result<()> {
        self.end()?;
        self.sync()
    }

    /// What to note of the part, or nothing if it is empty.
    pub(super) fn mark(&self) -> Result<Option<PartMark>> {
        let mut state = self.state();
        let State { extent, open, noted, .. } = &mut *state;
        if extent.is_empty() {
            return Ok(None);
        }
        if noted.is_none() {
            // The ends of a file that was written to a moment ago are in memory: this does not wait for a disk.
            let hash = match (open, &self.path) {
                _ if extent.written == 0 => fingerprint(&mut Cursor::new([]), 0),
                (Some(Open { output: Output::File(file), .. }), _) => fingerprint(file, extent.written),
                (_, Some(path)) => {
                    File::open(path).and_then(|mut file| fingerprint(&mut file, extent.written))
                }
                (_, None) => return Ok(None),
            };
            let hash = hash.map_err(|cause| self.failed(cause))?;
            *noted = Some(PartMark::new(extent.written, hash, &extent.tail, extent.ended));
        }
        Ok(noted.clone())
    }

    /// Makes durable what the part holds.
    pub(super) fn sync(&self) -> Result<()> {
        let (mut output, writes) = {
            let state = self.state();
            let Some(open) = &state.open else { return Ok(()) };
            (open.output.try_clone().map_err(|cause| self.failed(cause))?, open.writes)
        };
        // Without the lock: requests go on while the disk works.
        output.sync().map_err(|cause| self.failed(cause))?;
        self.state().open.take_if(|open| open.writes == writes);
        Ok(())
    }

    /// Writes to the part, and cuts the file back if that fails. Returns what it holds then; that is not accepted yet.
    fn write(&self, turn: u64, work: impl FnOnce(&mut Sheet<'_>) -> io::Result<()>) -> Result<Extent> {
        let mut state = self.state();
        if state.turn != turn {
            return Err(Error::internal("writing the target", "a later write was asked for"));
        }
        let State { extent, open, .. } = &mut *state;
        if extent.ended {
            return Err(Error::internal("writing the target", "a document came behind the end of its part"));
        }
        let open = match open {
            Some(open) => open,
            None => open.insert(self.open(extent).map_err(|cause| self.failed(cause))?),
        };
        open.writes += 1;
        open.pending.clear();
        open.pending.extend_from_slice(&extent.tail);
        let layout = self.shared.layout;
        let mut sheet = Sheet::new(layout, &mut open.output, &mut open.pending, extent.written);
        if let Err(cause) = sheet.turn_to(extent.written).and_then(|()| work(&mut sheet)) {
            // If this fails too, the next request overwrites what is there, and a resume cuts it off.
            let _ = sheet.turn_to(extent.written).and_then(|()| sheet.cut());
            return Err(self.failed(cause));
        }
        let extent = Extent::new(sheet.written(), open.pending.clone(), false);
        drop(state);
        if Arc::strong_count(&self.shared.open) > MOST_OPEN {
            self.sync()?;
        }
        Ok(extent)
    }

    fn open(&self, extent: &Extent) -> io::Result<Open> {
        let output = match &self.path {
            None => Output::Stdout(io::stdout()),
            Some(path) => {
                let is_new = extent.written == 0;
                let file =
                    OpenOptions::new().read(true).write(true).create(is_new).truncate(false).open(path)?;
                if file.metadata()?.len() < extent.written {
                    return Err(io::Error::other("the file has become shorter while it was written to"));
                }
                if is_new {
                    self.shared.created.store(true, Ordering::Release);
                }
                Output::File(file)
            }
        };
        Ok(Open { output, pending: Vec::new(), writes: 0, _counted: Arc::clone(&self.shared.open) })
    }

    fn failed(&self, cause: io::Error) -> Error {
        let error = Error::io("writing the target", cause);
        match &self.path {
            Some(path) => error.with("path", path.display()),
            None => error.with("path", "standard output"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What has been accepted is right even if a write panicked on its way.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
