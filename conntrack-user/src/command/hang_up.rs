//! SIGHUP before a command has its handler.
//!
//! The default action of SIGHUP ends the process, and reading the command line takes milliseconds: a
//! service manager that reloads right after the start would end the run. The signal is held back, as
//! the first action of the program, until the command acts on it.

#![allow(unsafe_code, reason = "no crate in use has a safe call for the mask of signals")]

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this program holds SIGHUP back, and not the one that started it.
static IS_HELD: AtomicBool = AtomicBool::new(false);

/// Holds SIGHUP back. Before other threads start, which inherit this.
pub fn hold() {
    let before = mask(libc::SIG_BLOCK);
    // SAFETY: `before` is a set, and SIGHUP a signal.
    let was_blocked = unsafe { libc::sigismember(&raw const before, libc::SIGHUP) } == 1;
    IS_HELD.store(!was_blocked, Ordering::Relaxed);
}

/// Lets SIGHUP arrive, also one that was held back.
pub(super) fn release() {
    if IS_HELD.swap(false, Ordering::Relaxed) {
        mask(libc::SIG_UNBLOCK);
    }
}

/// Changes the mask of this thread by SIGHUP, and returns the one before.
fn mask(how: libc::c_int) -> libc::sigset_t {
    let (mut set, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: `sigemptyset` initializes `set`, and `pthread_sigmask` initializes `before`; it fails only
    // for another `how`.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGHUP);
        libc::pthread_sigmask(how, set.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}
