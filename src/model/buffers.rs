//! Large buffers, kept for the next batch instead of being given back to the system.
//!
//! A batch's buffer has one or two megabytes and lives for milliseconds. An allocator hands memory of that size back to the kernel, which
//! must clear every page before it gives it out again: that took a quarter of the CPU of a file-to-file run, and left several
//! times the credits resident. So a few buffers wait here. What is kept is bounded, and small next to the credits.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Smaller buffers are what allocators are good at.
const LEAST: usize = 64 * 1024;

/// Bytes kept at most: a few batches.
const MOST_KEPT: usize = 8 << 20;

/// A buffer that is larger than it needs to be, by no more than one part in this, is taken all the same: sizes vary from batch to batch.
const SPARE: usize = 4;

/// New capacities are rounded up to this.
const STEP: usize = 128 * 1024;

static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

fn kept() -> MutexGuard<'static, Vec<Vec<u8>>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An empty buffer of at least `capacity`, and not much more.
pub fn take(capacity: usize) -> Vec<u8> {
    if capacity < LEAST {
        return Vec::with_capacity(capacity);
    }
    let wanted = capacity.next_multiple_of(STEP);
    let mut kept = kept();
    let most = wanted + wanted / SPARE;
    let fits = |(_, buffer): &(usize, &Vec<u8>)| (capacity..=most).contains(&buffer.capacity());
    // Of equal ones the last that was given: it is the most likely to be in the processor's cache.
    let found = kept.iter().enumerate().rev().filter(fits).min_by_key(|(_, buffer)| buffer.capacity());
    match found.map(|(at, _)| at) {
        Some(at) => kept.remove(at),
        None => {
            drop(kept);
            Vec::with_capacity(wanted)
        }
    }
}

/// Keeps a buffer for a later [`take`], if there is room.
pub fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() < LEAST {
        return;
    }
    buffer.clear();
    let mut kept = kept();
    let mut total: usize = kept.iter().map(Vec::capacity).sum::<usize>() + buffer.capacity();
    // Sizes change when knobs do: the oldest ones go.
    while total > MOST_KEPT && !kept.is_empty() {
        total -= kept.remove(0).capacity();
    }
    if total <= MOST_KEPT {
        kept.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_taken_again_if_it_fits() {
        // An odd size, so that no other test's buffer fits.
        let size = 5 * STEP;
        let mut buffer = take(size - 7);
        assert!(buffer.is_empty() && (size - 7..=size).contains(&buffer.capacity()));
        buffer.push(1);
        give(buffer);
        assert!(take(size - 1000).is_empty());
        assert!(take(MOST_KEPT + 1).capacity() > MOST_KEPT);
        give(Vec::with_capacity(MOST_KEPT + 1));
        assert!(kept().iter().map(Vec::capacity).sum::<usize>() <= MOST_KEPT);
    }
}
