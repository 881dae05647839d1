//! Least privilege: a run drops privileges before its threads start, so that no thread has them.
//!
//! Everything is opened and attached first. Then `needs` lists the later needs, and four layers
//! remove the rest: `capabilities`, `no_new_privs`, `landlock` (files) and `seccomp`
//! (system calls). `user` changes to another user before files are made. All of it belongs to the
//! calling thread and is inherited by those that it starts. docs/security.md has the table of
//! what is kept and why; code that needs more later adds it to [`Needs`], one field for each reason.

pub mod capabilities;
mod landlock;
mod needs;
mod seccomp;
pub mod user;

use std::fmt;

use rustix::thread::{CapabilitySet, set_no_new_privs};

pub use needs::{Needs, Rewrites};
pub use user::{UserError, check_form, switch_to};

use crate::settings::Confine;

/// An operation that Landlock prevents.
pub(crate) const OTHER_PROCESSES: &str = "it hides other processes, and their namespace is sampled";

/// The names of the layers.
pub(crate) const LAYERS: [&str; 4] =
    ["reduction of capabilities", "no_new_privs", "Landlock", "seccomp"];

/// Why a layer cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LayerError {
    /// The kernel does not have it, or has it switched off.
    #[error("{0}")]
    Absent(&'static str),
    /// The sampled namespace cannot be reached under it.
    #[error("{0}")]
    InTheWay(&'static str),
    /// The kernel refused.
    #[error("{0}")]
    Refused(String),
}

/// Why a run that must be confined is not.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// Threads that are there already would keep everything.
    #[error("not confined: {0} threads run already")]
    Threads(usize),
    /// A layer is missing.
    #[error("not confined by {0}: {1}")]
    Layer(&'static str, LayerError),
}

/// The result of each layer.
#[derive(Debug)]
pub struct Confined {
    /// The capabilities that are left.
    pub capabilities: Result<CapabilitySet, LayerError>,
    /// No program that is executed gains privileges.
    pub no_new_privs: Result<(), LayerError>,
    /// The version of Landlock that restricts files.
    pub landlock: Result<u32, LayerError>,
    /// System calls are filtered.
    pub seccomp: Result<(), LayerError>,
}

impl Confined {
    /// The layers that are missing, by name, with the reason.
    pub fn missing(self) -> impl Iterator<Item = (&'static str, LayerError)> {
        let errors = [
            self.capabilities.err(),
            self.no_new_privs.err(),
            self.landlock.err(),
            self.seccomp.err(),
        ];
        LAYERS.into_iter().zip(errors).filter_map(|(name, error)| Some((name, error?)))
    }
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.capabilities {
            Ok(kept) => write!(f, "capabilities {}", capabilities::names(*kept))?,
            Err(error) => write!(f, "capabilities as before ({error})")?,
        }
        match &self.no_new_privs {
            Ok(()) => f.write_str("; no_new_privs")?,
            Err(error) => write!(f, "; no no_new_privs ({error})")?,
        }
        match &self.landlock {
            Ok(version) => write!(f, "; Landlock {version}")?,
            Err(error) => write!(f, "; no Landlock ({error})")?,
        }
        match &self.seccomp {
            Ok(()) => f.write_str("; seccomp"),
            Err(error) => write!(f, "; no seccomp ({error})"),
        }
    }
}

/// Confines this thread, and with it those that it will start, to `needs`, and logs what came of it;
/// whether anything was given up.
///
/// # Errors
/// With [`Confine::On`], what is missing.
pub fn confine(how: Confine, needs: &Needs) -> Result<bool, ConfineError> {
    if how == Confine::Off {
        return Ok(false);
    }
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        let error = ConfineError::Threads(threads);
        if how == Confine::On {
            return Err(error);
        }
        log::warn!("{error}");
        return Ok(false);
    }
    // There is little to give up for who has nothing that a run could use.
    let privileged = capabilities::held().is_ok_and(|held| held.intersects(capabilities::EVER));
    let confined = apply(needs);
    log::debug!("confined: {confined}");
    for (layer, error) in confined.missing() {
        if how == Confine::On {
            return Err(ConfineError::Layer(layer, error));
        }
        let level = match error {
            // `doctor` reports it; there is no remedy.
            LayerError::Absent(_) => log::Level::Debug,
            _ if privileged => log::Level::Info,
            _ => log::Level::Debug,
        };
        log::log!(level, "{}", ConfineError::Layer(layer, error));
    }
    Ok(true)
}

/// Applies every layer that the kernel has to the calling thread.
#[must_use]
pub fn apply(needs: &Needs) -> Confined {
    let refused = |errno: rustix::io::Errno| LayerError::Refused(errno.to_string());
    // Each needs what the next takes away.
    let no_new_privs = set_no_new_privs(true).map_err(refused);
    let landlock = landlock::restrict(needs);
    let capabilities = capabilities::keep_only(needs.capabilities()).map_err(refused);
    let seccomp = seccomp::filter(needs);
    Confined { capabilities, no_new_privs, landlock, seccomp }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_printed_once() {
        let error = LayerError::Absent("this kernel has none");
        let error = anyhow::Error::from(ConfineError::Layer("Landlock", error));
        assert_eq!(format!("{error:#}").matches("this kernel has none").count(), 1);
    }
}
