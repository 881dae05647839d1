//! Which of the first three descriptors were closed when the program was started. The runtime opens
//! /dev/null in their place before `main`, so that rows would be written there without an error.

#![allow(unsafe_code, reason = "nothing else runs before the runtime")]

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

/// A bit for each of them.
static CLOSED: AtomicU8 = AtomicU8::new(0);

// SAFETY: the section is a list of functions without arguments that are called before `main`; this one
// only calls fcntl(2) and writes an atomic.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    for number in 0..3 {
        // SAFETY: fcntl(2) takes any number; one that is not open gives EBADF.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            CLOSED.fetch_or(1 << number, Ordering::Relaxed);
        }
    }
}

/// Whether descriptor `number` was closed at the start.
pub(crate) fn was_closed(number: u32) -> bool {
    // The linker keeps the list's element only with something that refers to it.
    std::hint::black_box(&LOOK);
    number < 3 && CLOSED.load(Ordering::Relaxed) >> number & 1 == 1
}

/// Whether `path` is a name of standard input.
pub(crate) fn is_standard_input(path: &Path) -> bool {
    ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"].iter().any(|name| path == Path::new(name))
}

/// Checks that `path` is not the name of a standard input that was closed at the start.
///
/// # Errors
/// That it is.
pub(crate) fn check_input(path: &Path) -> io::Result<()> {
    if is_standard_input(path) && was_closed(0) {
        return Err(io::Error::other("standard input is not open"));
    }
    Ok(())
}
