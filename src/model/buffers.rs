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

/// Capacities are rounded up to this, so that a buffer fits the next batch although its size varies.
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
    let fits = |buffer: &Vec<u8>| (capacity..=wanted).contains(&buffer.capacity());
    match kept.iter().rposition(fits) {
        Some(at) => kept.swap_remove(at),
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
