//! Network namespaces: entering one to open files in it, and noticing when it is gone.
//!
//! `/proc/net` and `/proc/sys/net` show the namespace of the task that opens them, so the
//! files of another namespace are opened from a thread that entered it. The thread leaves
//! again at once: a thread, like an open statistics file (`seq_open_net` takes a reference),
//! keeps a deleted namespace alive. [`Pinned`] does so on purpose.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, LinkNameSpaceType, gettid, move_into_link_name_space};

use super::opened;

/// A namespace could not be entered or left.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// There is no such namespace (now).
    #[error("network namespace {} does not exist; it is looked for again", .0.display())]
    Missing(PathBuf),
    /// The kernel did not let this process open or enter it.
    #[error(
        "cannot enter network namespace {}: permission denied; run as root, or grant {missing} \
         (setcap, or AmbientCapabilities= in a systemd unit)",
        path.display()
    )]
    Permission {
        /// The namespace's file.
        path: PathBuf,
        /// The capabilities that are missing.
        missing: &'static str,
    },
    /// It was to be that of a process, and there was none.
    #[error("there is no process {0}, so there is nothing to sample")]
    NoProcess(u32),
    /// It was that of a process.
    #[error(
        "process {0} has ended, and with it the sampling of its network namespace: the number may \
         be given to another process"
    )]
    ProcessEnded(u32),
    /// The file is something else.
    #[error("{} is not a network namespace", .0.display())]
    Other(PathBuf),
    /// Something else went wrong.
    #[error("cannot enter network namespace {}: {error}", path.display())]
    Enter {
        /// The namespace's file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The thread could not go back to its own namespace; it must not go on.
    #[error("cannot return to its own network namespace: {0}")]
    Return(io::Error),
}

/// Identifies a namespace as long as it lives: device and inode of its file.
pub type Identity = (u64, u64);

/// The identity of the namespace that `path` names now.
///
/// # Errors
/// The system's error; `NotFound` when the name, the process or the namespace is gone.
pub fn identity(path: &Path) -> io::Result<Identity> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The same of an open file.
///
/// # Errors
/// The system's error.
pub fn identity_of(file: &File) -> io::Result<Identity> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// A process by its number, as it was when it was named: the number may become another's.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number.
    pub number: u32,
    /// `ns/net` below its open directory in procfs, which shows nothing once the process has
    /// ended; `None` where there was no such process.
    namespace: Option<(PathBuf, Arc<File>)>,
}

impl Process {
    /// Holds the process `number` below `proc_root`, if there is one.
    #[must_use]
    pub fn hold(proc_root: &Path, number: u32) -> Self {
        let directory = File::open(proc_root.join(number.to_string())).ok();
        let namespace = directory.map(|directory| {
            let path = format!("/proc/self/fd/{}/ns/net", directory.as_raw_fd());
            (PathBuf::from(path), Arc::new(directory))
        });
        Self { number, namespace }
    }

    /// Whether the number still means this process.
    ///
    /// # Errors
    /// [`NamespaceError::NoProcess`] or [`NamespaceError::ProcessEnded`] when it does not.
    pub fn check(&self) -> Result<(), NamespaceError> {
        let Some((path, _)) = &self.namespace else {
            return Err(NamespaceError::NoProcess(self.number));
        };
        match std::fs::metadata(path) {
            Err(error) if has_ended(&error) => Err(NamespaceError::ProcessEnded(self.number)),
            // Others may not see its namespace, but procfs knows the process.
            _ => Ok(()),
        }
    }
}

/// The processes that the inputs of a run name by number. A reload of the configuration makes new
/// inputs, and a number must not come to mean another process by that.
#[derive(Debug, Clone, Default)]
pub struct HeldProcesses(Vec<Process>);

impl HeldProcesses {
    /// Holds `processes` from now on, each as it was held before where it was, and no others.
    pub fn replace<'a>(&mut self, processes: impl Iterator<Item = &'a mut Process>) {
        let before = std::mem::take(&mut self.0);
        for process in processes {
            if let Some(held) = before.iter().find(|held| held.number == process.number) {
                process.clone_from(held);
            }
            self.0.push(process.clone());
        }
    }
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Process {}

fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// A namespace that stays alive as long as this does: neither its inode number nor its address
/// in the kernel becomes another's.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// Its inode number, which no other namespace has at the same time.
    pub inode: u32,
    _file: Arc<File>,
}

impl Pinned {
    /// Holds the namespace that `path` names now.
    ///
    /// # Errors
    /// The system's error, also when the file is something else than a namespace.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = opened::open(path)?;
        let inode = u32::try_from(file.metadata()?.ino());
        let inode = inode.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(Self { inode, _file: Arc::new(file) })
    }
}

/// Another network namespace than the one with the inode number `own`, as far as processes and
/// mounts show; `None` where they show that there is no other.
///
/// # Errors
/// When a process does not show its namespace to this one.
pub fn another_than(own: u32) -> io::Result<Option<String>> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let is_other = |link: &str| {
        let inode = link.strip_prefix("net:[").and_then(|rest| rest.strip_suffix(']'));
        inode.is_some_and(|inode| inode != own.to_string())
    };
    // Fields: ID, parent, device, root, mount point, ...; the root of a namespace's is its name.
    let mut mounts = mounts.lines().map(|line| line.split(' ').skip(3));
    let mounted = mounts.find_map(|mut fields| {
        let (root, point) = (fields.next()?, fields.next()?);
        is_other(root).then(|| format!("{root} is mounted at {point}"))
    });
    if mounted.is_some() {
        return Ok(mounted);
    }
    for process in std::fs::read_dir("/proc")? {
        let process = process?;
        let name = process.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        else {
            continue;
        };
        match std::fs::read_link(process.path().join("ns/net")) {
            Ok(link) if link.to_str().is_some_and(is_other) => {
                return Ok(Some(format!("process {pid} is in {}", link.display())));
            }
            // It has ended, or is about to.
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Ok(None)
}

/// Runs `inside` with this thread in the namespace that `path` names, and comes back.
///
/// # Errors
/// [`NamespaceError`]; `inside` was not run, except for [`NamespaceError::Return`].
pub fn within<T>(path: &Path, inside: impl FnOnce() -> T) -> Result<T, NamespaceError> {
    let fail = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => NamespaceError::Missing(path.to_owned()),
        io::ErrorKind::InvalidInput => NamespaceError::Other(path.to_owned()),
        _ => NamespaceError::Enter { path: path.to_owned(), error },
    };
    let refused = |missing| NamespaceError::Permission { path: path.to_owned(), missing };
    let target = opened::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            missing_to_open(path).map_or_else(|| fail(error), refused)
        }
        _ => fail(error),
    })?;
    let own_path = thread_file("ns/net");
    let own = File::open(&own_path)
        .map_err(|error| NamespaceError::Enter { path: own_path.clone(), error })?;
    let network = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(target.as_fd(), network).map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS => refused(ADMIN),
        errno => fail(errno.into()),
    })?;
    let result = inside();
    move_into_link_name_space(own.as_fd(), network)
        .map_err(|errno| NamespaceError::Return(errno.into()))?;
    Ok(result)
}

/// The capability to enter a namespace.
const ADMIN: &str = "CAP_SYS_ADMIN";

/// The missing capabilities without which the file of a namespace cannot be opened; `None` where all are
/// there, and a security module or a user namespace refuses it. That of another process needs one of its
/// own, and opening it comes first.
fn missing_to_open(path: &Path) -> Option<&'static str> {
    let is_of_process = path.parent().is_some_and(|parent| parent.ends_with("ns"));
    let held = rustix::thread::capabilities(None).map(|sets| sets.effective);
    let held = held.unwrap_or(CapabilitySet::empty());
    let lacks = |needed| !held.contains(needed);
    match (lacks(CapabilitySet::SYS_ADMIN), is_of_process && lacks(CapabilitySet::SYS_PTRACE)) {
        (true, true) => Some("CAP_SYS_ADMIN, CAP_SYS_PTRACE"),
        (true, false) => Some(ADMIN),
        (false, true) => Some("CAP_SYS_PTRACE"),
        (false, false) => None,
    }
}

/// `/proc/self/task/TID/NAME` of the calling thread (`/proc/thread-self` is missing before 3.17).
#[must_use]
pub fn thread_file(name: &str) -> PathBuf {
    format!("/proc/self/task/{}/{name}", gettid().as_raw_nonzero()).into()
}
