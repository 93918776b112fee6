//! Whether this process was given its standard input and output.
//!
//! Where one of them is closed (`>&-`), Rust's runtime opens the null device in its place before `main`, so that no other file gets its
//! number. From then on nothing tells it from a null device that the user has named, and documents vanish into it with success.
//! So the look is taken earlier, by a function that the loader calls before the runtime begins.

use std::sync::atomic::{AtomicBool, Ordering};

/// A standard stream that documents may go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// File descriptor 0.
    Input,
    /// File descriptor 1.
    Output,
}

/// By file descriptor.
static CLOSED: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// Whether the process was started without it. Where there is no way to know, it was not.
pub fn was_closed(stream: Standard) -> bool {
    CLOSED[stream as usize].load(Ordering::Relaxed)
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
mod before_main {
    use super::CLOSED;
    use std::sync::atomic::Ordering;

    #[expect(unsafe_code, reason = "the section is where the loader finds what it calls before main")]
    #[used]
    #[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
    #[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
    static LOOK: extern "C" fn() = look;

    /// Runs before the runtime: it uses nothing but one system call and atomic stores.
    extern "C" fn look() {
        for (descriptor, closed) in (0..).zip(&CLOSED) {
            #[expect(unsafe_code, reason = "fcntl has no safe wrapper for a descriptor that may be closed")]
            // SAFETY: F_GETFD takes no pointer and changes nothing; of a closed descriptor it answers an error.
            let answer = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
            closed.store(answer == -1, Ordering::Relaxed);
        }
    }
}
