//! A file that only grows, by whole pieces.
//!
//! What is appended is there wholly or not at all, as long as the process lives. A write that fails half way (a full disk) leaves a part of its piece
//! behind; what came after that part could not be read again, however well it was written. So the file is cut back to where it was, and
//! while that does not succeed nothing more is written. A kill can still leave a part: it is the last thing in the file, and whoever
//! opens it cuts it off.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Write};

/// What can be written to at its end, and cut.
pub(super) trait Medium: Write + Debug + Send + Sync {
    /// Makes it so long.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Medium for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// A file that is appended to.
#[derive(Debug)]
pub(super) struct Appended {
    medium: Box<dyn Medium>,
    /// How long it is, as far as it is whole.
    length: u64,
    /// There is more in it than that: it has to be cut before anything is written.
    is_torn: bool,
}

impl Appended {
    /// A file that was opened to append to it and has this length.
    pub(super) fn new(medium: impl Medium + 'static, length: u64) -> Self {
        Self { medium: Box::new(medium), length, is_torn: false }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Appends all of `piece`, with one call where the system takes it so, or nothing.
    pub(super) fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.cut()?;
        }
        let written = self.medium.write_all(piece);
        match written {
            Ok(()) => self.length += piece.len() as u64,
            Err(_) => self.cut_to(self.length),
        }
        written
    }

    /// Takes back what was appended since the file had this length: now or, where that fails, before the next piece.
    pub(super) fn cut_to(&mut self, length: u64) {
        self.length = length;
        self.is_torn = true;
        // That it failed is noted. What is told is why there was something to cut.
        let _ = self.cut();
    }

    fn cut(&mut self) -> io::Result<()> {
        self.medium.cut(self.length)?;
        self.is_torn = false;
        Ok(())
    }
}

/// A disk that runs full.
#[cfg(test)]
pub(super) mod full {
    use super::*;
    use std::fs::OpenOptions;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// What is left of the disk; a test changes it meanwhile.
    #[derive(Debug)]
    pub(in super::super) struct Disk {
        pub(in super::super) room: AtomicUsize,
        pub(in super::super) can_cut: AtomicBool,
    }

    /// A file on it: takes what there is room for and then fails, as a file does.
    #[derive(Debug)]
    struct Tight(File, Arc<Disk>);

    impl Disk {
        /// A disk with this much room and the file at `path` on it, ready to be appended to.
        pub(in super::super) fn with(path: &Path, room: usize) -> (Arc<Self>, Appended) {
            let file = OpenOptions::new().append(true).create(true).open(path).unwrap();
            let length = file.metadata().unwrap().len();
            let disk = Arc::new(Self { room: AtomicUsize::new(room), can_cut: AtomicBool::new(true) });
            let appended = Appended::new(Tight(file, Arc::clone(&disk)), length);
            (disk, appended)
        }

        pub(in super::super) fn set_room(&self, room: usize) {
            self.room.store(room, Ordering::Relaxed);
        }
    }

    impl Write for Tight {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            let room = self.1.room.load(Ordering::Relaxed);
            if room == 0 && !piece.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let written = self.0.write(&piece[..piece.len().min(room)])?;
            self.1.room.store(room - written, Ordering::Relaxed);
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    impl Medium for Tight {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            if !self.1.can_cut.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.0.cut(length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::full::Disk;
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn half_a_piece_is_cut_off_before_anything_follows_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "before ").unwrap();
        let (disk, mut appended) = Disk::with(&path, 4 + 5);
        appended.append(b"one ").unwrap();
        let refused = appended.append(b"too long").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read(&path).unwrap(), b"before one ");
        disk.set_room(100);
        appended.append(b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"before one two");
        assert_eq!(appended.length(), 14);
    }

    #[test]
    fn nothing_is_written_behind_half_a_piece_that_cannot_be_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (disk, mut appended) = Disk::with(&path, 3);
        disk.can_cut.store(false, Ordering::Relaxed);
        assert_eq!(appended.append(b"lost").unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.set_room(100);
        for _ in 0..2 {
            assert_eq!(appended.append(b"refused").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(std::fs::read(&path).unwrap(), b"los");
        }
        disk.can_cut.store(true, Ordering::Relaxed);
        appended.append(b"kept").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"kept");
    }

    #[test]
    fn what_was_appended_can_be_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (_, mut appended) = Disk::with(&path, 100);
        appended.append(b"one").unwrap();
        appended.append(b"two").unwrap();
        appended.cut_to(3);
        appended.append(b"three").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"onethree");
    }
}
