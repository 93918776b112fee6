//! The `docferry` command: hand the command line over, end with the code that comes back.

use std::process::ExitCode;

fn main() -> ExitCode {
    give_large_buffers_back();
    ExitCode::from(docferry::cli::dispatch::run(std::env::args_os()))
}

/// Buffers of a megabyte and more get a mapping of their own, which goes back to the system when they are freed.
///
/// Left to itself glibc learns from large buffers that are freed to keep the next ones in its heaps, one a thread, where they are
/// lost to fragmentation: documents that double in transform left 60 MiB resident where 35 MiB are enough.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_large_buffers_back() {
    #[expect(unsafe_code, reason = "mallopt only sets a number, and no other thread runs yet")]
    // SAFETY: called once, before any thread is started; both arguments are plain integers.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_large_buffers_back() {}
