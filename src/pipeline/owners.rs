//! Of the documents with one (key, id) one is under way at a time, the oldest.
//!
//! A document owns its (key, id) from the moment it is cut for a request until it has met its end, across retries and wherever it is sent.
//! A later one with the same (key, id) waits for it aside, so it holds up nobody else. The owners are those of all lanes: when a lane
//! closes, a document in the lane that took over still waits for the one that is under way in the closed lane.

use crate::model::request::LaneId;
use crate::pipeline::chunk::Piece;
use std::collections::hash_map::{Entry, HashMap};
use std::collections::vec_deque::VecDeque;
use std::hash::{BuildHasherDefault, Hasher};

/// Every (key, id) that is owned, with those who wait for it and the lane of each.
#[derive(Debug, Default)]
pub(super) struct Owners {
    waiting: HashMap<u64, VecDeque<(LaneId, Piece)>, BuildHasherDefault<IdentityHasher>>,
}

impl Owners {
    /// Whether document `index` of `piece` owns its (key, id) from now on; else it waits aside.
    pub(super) fn claim(&mut self, lane: LaneId, piece: &Piece, index: u32) -> bool {
        match self.waiting.entry(piece.chunk.identities[index as usize]) {
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                true
            }
            Entry::Occupied(mut owned) => {
                owned.get_mut().push_back((lane, piece.single(index)));
                false
            }
        }
    }

    /// The owner has met its end: returns the next in line, which owns the (key, id) now.
    pub(super) fn release(&mut self, identity: u64) -> Option<(LaneId, Piece)> {
        let mut waiting = self.waiting.remove(&identity)?;
        let next = waiting.pop_front()?;
        self.waiting.insert(identity, waiting);
        Some(next)
    }
}

/// Identities are hashes already.
#[derive(Debug, Default)]
pub(super) struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
