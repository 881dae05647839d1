//! Network namespaces: entering one to open files in it, and noticing when it is gone.
//!
//! `/proc/net` and `/proc/sys/net` show the namespace of the task that opens them, so the
//! files of another namespace are opened from a thread that entered it. The thread leaves
//! again at once: a thread, like an open statistics file (`seq_open_net` takes a reference),
//! keeps a deleted namespace alive.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, gettid, move_into_link_name_space};

/// A namespace could not be entered or left.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// There is no such namespace (now).
    #[error("network namespace {} does not exist; it is looked for again", .0.display())]
    Missing(PathBuf),
    /// The kernel did not let this process open or enter it.
    #[error(
        "cannot enter network namespace {}: permission denied; run as root, or grant CAP_SYS_ADMIN \
         (setcap cap_sys_admin+ep, or AmbientCapabilities=CAP_SYS_ADMIN in a systemd unit)",
        .0.display()
    )]
    Permission(PathBuf),
    /// The file is something else.
    #[error("{} is not a network namespace", .0.display())]
    Other(PathBuf),
    /// Something else went wrong.
    #[error("cannot enter network namespace {}: {error}", path.display())]
    Enter {
        /// The namespace's file.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// The thread could not go back to its own namespace; it must not go on.
    #[error("cannot return to the own network namespace: {0}")]
    Return(std::io::Error),
}

/// What tells one namespace from another as long as it lives: device and inode of its file.
pub type Identity = (u64, u64);

/// The identity of the namespace that `path` names now.
///
/// # Errors
/// The system's error; `NotFound` when the name, the process or the namespace is gone.
pub fn identity(path: &Path) -> std::io::Result<Identity> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Runs `inside` with this thread in the namespace that `path` names, and comes back.
///
/// # Errors
/// [`NamespaceError`]; `inside` was not run, except for [`NamespaceError::Return`].
pub fn within<T>(path: &Path, inside: impl FnOnce() -> T) -> Result<T, NamespaceError> {
    let fail = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => NamespaceError::Missing(path.to_owned()),
        std::io::ErrorKind::InvalidInput => NamespaceError::Other(path.to_owned()),
        std::io::ErrorKind::PermissionDenied => NamespaceError::Permission(path.to_owned()),
        _ => NamespaceError::Enter { path: path.to_owned(), error },
    };
    let target = File::open(path).map_err(fail)?;
    let own_path = thread_file("ns/net");
    let own = File::open(&own_path)
        .map_err(|error| NamespaceError::Enter { path: own_path.clone(), error })?;
    let network = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(target.as_fd(), network).map_err(|errno| fail(errno.into()))?;
    let result = inside();
    move_into_link_name_space(own.as_fd(), network)
        .map_err(|errno| NamespaceError::Return(errno.into()))?;
    Ok(result)
}

/// `/proc/self/task/TID/NAME` of the calling thread (`/proc/thread-self` is missing before 3.17).
#[must_use]
pub fn thread_file(name: &str) -> PathBuf {
    format!("/proc/self/task/{}/{name}", gettid().as_raw_nonzero()).into()
}
