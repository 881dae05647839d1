//! Signals before a command has its handlers.
//!
//! The default action of SIGHUP ends the process, and reading the command line takes milliseconds: a
//! service manager that reloads right after the start would end the run. SIGTERM and SIGINT have no
//! effect on process 1, a container's, until there is a handler. So these signals are held back, as
//! the first action of the program, until the command acts on them.

#![allow(unsafe_code, reason = "no crate in use has a safe call for the mask of signals")]

use std::mem::MaybeUninit;
use std::sync::Mutex;

/// The signals that are held back.
const HELD: [libc::c_int; 3] = [libc::SIGHUP, libc::SIGTERM, libc::SIGINT];

/// Those that this program holds back now, and not the one that started it.
static HELD_HERE: Mutex<Vec<libc::c_int>> = Mutex::new(Vec::new());

/// Holds the signals back. Before other threads start, which inherit this.
pub fn hold() {
    let before = mask(libc::SIG_BLOCK, &HELD);
    // SAFETY: `before` is a set, and `signal` a signal.
    let was_blocked = |signal| unsafe { libc::sigismember(&raw const before, signal) } == 1;
    if let Ok(mut held) = HELD_HERE.lock() {
        held.extend(HELD.into_iter().filter(|signal| !was_blocked(*signal)));
    }
}

/// Makes a file that reaches the limit of its size (`ulimit -f`) an error of the write, as a full disk is.
pub(super) fn hold_limit_of_files() {
    mask(libc::SIG_BLOCK, &[libc::SIGXFSZ]);
}

/// Lets the signals arrive, also those that were held back.
pub(super) fn release() {
    if let Ok(mut held) = HELD_HERE.lock() {
        mask(libc::SIG_UNBLOCK, &std::mem::take(&mut *held));
    }
}

/// Changes the mask of this thread by these signals, and returns the one before.
fn mask(how: libc::c_int, signals: &[libc::c_int]) -> libc::sigset_t {
    let (mut set, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: `sigemptyset` initializes `set`, and `pthread_sigmask` initializes `before`; it fails only
    // for another `how`.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::pthread_sigmask(how, set.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}
