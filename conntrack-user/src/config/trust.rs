//! Who may change a configuration that root runs: nobody but root.
//!
//! Whoever can write the file, or put another one in its place, decides what a process with root's
//! rights reads and writes. The user who calls by `sudo` could do that anyway.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;

use super::error::ConfigError;

/// Refuses a file that others than root may change, where root reads it; `metadata` is of the
/// open file.
pub(super) fn check(path: &Path, metadata: &Metadata) -> Result<(), ConfigError> {
    if !geteuid().is_root() || !metadata.is_file() {
        return Ok(());
    }
    let caller = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
    let refuse = |what: &Path, problem: (String, &'static str)| ConfigError::Untrusted {
        file: path.display().to_string(),
        what: what.display().to_string(),
        problem: problem.0,
        mend: problem.1,
    };
    if let Some(problem) = problem(metadata, caller) {
        return Err(refuse(path, problem));
    }
    // Both where the name stands and where a link leads to.
    for path in [std::path::absolute(path).ok(), path.canonicalize().ok()].into_iter().flatten() {
        for above in path.ancestors().skip(1) {
            if let Some(problem) = above.metadata().ok().and_then(|it| problem(&it, caller)) {
                return Err(refuse(above, problem));
            }
        }
    }
    Ok(())
}

/// What lets others change it, and the command against it.
fn problem(metadata: &Metadata, caller: Option<u32>) -> Option<(String, &'static str)> {
    const STICKY: u32 = 0o1000;
    let (owner, mode) = (metadata.uid(), metadata.mode());
    if owner != 0 && Some(owner) != caller {
        return Some((format!("belongs to user {owner}"), "chown root"));
    }
    // In a sticky directory only the owner of a file can put another one in its place.
    let sticky = metadata.is_dir() && mode & STICKY != 0;
    if mode & 0o002 != 0 && !sticky {
        return Some(("can be written by everybody".to_owned(), "chmod o-w"));
    }
    let group = metadata.gid();
    if mode & 0o020 != 0 && group != 0 && !sticky {
        return Some((format!("can be written by group {group}"), "chmod g-w"));
    }
    None
}
