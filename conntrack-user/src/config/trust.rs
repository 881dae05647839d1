//! The rule for the configuration of a process with privileges: only root and the user that runs
//! it may change it.
//!
//! A user who can write the file, or put another one in its place, decides what that process reads
//! and writes. Privileges are root's, or capabilities as a service of another user has them. The
//! user who calls `sudo` could change the file anyway.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::process::{getegid, geteuid};

use super::error::ConfigError;
use crate::confine::capabilities;

/// Who may change a configuration besides root.
struct Trusted {
    user: Option<u32>,
    group: Option<u32>,
}

/// Refuses a file that others may change, where this process has privileges; `metadata` is of the
/// open file.
pub(super) fn check(path: &Path, metadata: &Metadata) -> Result<(), ConfigError> {
    let is_root = geteuid().is_root();
    let is_privileged = is_root || capabilities::held().is_ok_and(|held| !held.is_empty());
    // Only root makes devices, and what is typed at a terminal comes from who is there.
    if !is_privileged || metadata.file_type().is_char_device() {
        return Ok(());
    }
    let trusted = if is_root {
        let caller = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
        Trusted { user: caller, group: None }
    } else {
        Trusted { user: Some(geteuid().as_raw()), group: Some(getegid().as_raw()) }
    };
    let refuse = |what: &Path, problem: (String, &'static str)| ConfigError::Untrusted {
        file: path.display().to_string(),
        reader: if is_root { "root" } else { "a process with capabilities" },
        what: what.display().to_string(),
        problem: problem.0,
        remedy: problem.1,
    };
    if let Some(problem) = problem(metadata, &trusted) {
        return Err(refuse(path, problem));
    }
    // Both where the name stands and where a link leads to.
    for path in [std::path::absolute(path).ok(), path.canonicalize().ok()].into_iter().flatten() {
        for above in path.ancestors().skip(1) {
            if let Some(problem) = above.metadata().ok().and_then(|it| problem(&it, &trusted)) {
                return Err(refuse(above, problem));
            }
        }
    }
    Ok(())
}

/// Returns what lets others change the file, and the command that fixes it.
fn problem(metadata: &Metadata, trusted: &Trusted) -> Option<(String, &'static str)> {
    const STICKY: u32 = 0o1000;
    let (owner, mode) = (metadata.uid(), metadata.mode());
    if owner != 0 && Some(owner) != trusted.user {
        return Some((format!("belongs to user {owner}"), "chown root"));
    }
    // In a sticky directory only the owner of a file can put another one in its place.
    let sticky = metadata.is_dir() && mode & STICKY != 0;
    if mode & 0o002 != 0 && !sticky {
        return Some(("can be written by every user".to_owned(), "chmod o-w"));
    }
    let group = metadata.gid();
    if mode & 0o020 != 0 && group != 0 && Some(group) != trusted.group && !sticky {
        return Some((format!("can be written by group {group}"), "chmod g-w"));
    }
    None
}
