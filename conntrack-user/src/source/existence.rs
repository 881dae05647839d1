//! Whether a network namespace that is asked for exists: a name that was mistyped is an error, not
//! a reason to wait.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{fstatfs, statfs};

use super::mounts;
use super::roots::{Place, names_directory};
use crate::settings::{Netns, OWN_NETNS, Roots};

/// Names that are this far from the mistyped one, by edits to a letter, may be meant.
const NEAR: f64 = 0.4;

/// `NSFS_MAGIC` of `linux/magic.h`.
const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;

/// The most names that an error suggests.
const SUGGESTIONS: usize = 3;

/// Why a namespace cannot be sampled.
#[derive(Debug, thiserror::Error)]
pub enum AbsentNamespace {
    /// No file of that name.
    #[error("there is no network namespace {name} in {}", directory.display())]
    Name {
        /// The name.
        name: String,
        /// Where names are kept.
        directory: PathBuf,
        /// Names that may be meant.
        near: Vec<String>,
        /// Whether the host's names may be elsewhere, in a container.
        is_hidden: bool,
    },
    /// No such path.
    #[error("there is no network namespace {}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Names in its directory that may be meant.
        near: Vec<String>,
    },
    /// No such process.
    #[error("there is no process {pid} in {}, so no network namespace pid:{pid}", proc.display())]
    Process {
        /// Its number.
        pid: u32,
        /// Where procfs is mounted.
        proc: PathBuf,
    },
    /// The process may be there.
    #[error("process {pid} is not visible: {} is mounted with {option}", proc.display())]
    Hidden {
        /// Its number.
        pid: u32,
        /// Where procfs is mounted.
        proc: PathBuf,
        /// The option of the mount.
        option: String,
    },
    /// The file is there, and cannot be opened for another reason than a missing permission.
    #[error("cannot open network namespace {}: {error}", path.display())]
    Unopened {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The file is something else.
    #[error("{} is not a network namespace, but {what}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// The kind of the file.
        what: String,
    },
}

impl AbsentNamespace {
    /// Whether it can be waited for. The number of a future process is not known, and a file
    /// of another kind does not become a namespace.
    #[must_use]
    pub fn may_come(&self) -> bool {
        matches!(self, Self::Name { .. } | Self::Path { .. })
    }

    /// What may be meant and what to do, in sentences of a line of its own.
    #[must_use]
    pub fn details(&self) -> Option<String> {
        let (near, name, is_hidden) = match self {
            Self::Name { near, name, is_hidden, .. } => (near, name.as_str(), *is_hidden),
            Self::Path { near, .. } => (near, "", false),
            Self::Hidden { .. } => {
                return Some(
                    "this option hides the processes of other users (ProtectProc=invisible in a \
                     systemd unit)"
                        .to_owned(),
                );
            }
            Self::Process { .. } | Self::Unopened { .. } | Self::Other { .. } => return None,
        };
        let mut parts = Vec::new();
        if let Ok(number @ 1..) = name.parse::<u32>() {
            parts.push(format!("for the namespace of process {number} write pid:{number}"));
        }
        let lower = name.to_ascii_lowercase();
        let process =
            lower.strip_prefix("pid").map(|rest| rest.trim_start_matches([':', '=', ' ']));
        if let Some(Ok(number @ 1..)) = process.map(str::parse::<u32>) {
            parts.push(format!("did you mean pid:{number}?"));
        }
        if name.contains(',') {
            parts.push(
                "write --netns once for each namespace, or netns = [...] in a file".to_owned(),
            );
        }
        if !near.is_empty() {
            parts.push(format!("did you mean {}?", near.join(" or ")));
        }
        if is_hidden {
            parts.push(
                "to see the host's names, mount its /run/netns, or grant CAP_SYS_PTRACE".to_owned(),
            );
        }
        // What is written wrong would be waited for in vain.
        if parts.is_empty() || !near.is_empty() || is_hidden {
            parts.push("`ctpulse run --wait` waits for it".to_owned());
        }
        Some(parts.join("; ").replace("?;", "?"))
    }
}

/// Checks that `netns` names a network namespace now, as far as this process can see it; of the own
/// one that the host's process 1 is there, if that is asked for (`HOST_PROC`).
///
/// # Errors
/// [`AbsentNamespace`]. A file that may not be opened may be one, and is no error.
pub fn check(roots: &Roots, netns: &Netns) -> Result<(), AbsentNamespace> {
    let netns = match netns {
        Netns::Own if roots.host_proc.is_some() => &Netns::Pid(1),
        Netns::Own => return Ok(()),
        netns => netns,
    };
    let place = Place::resolve(roots, netns);
    let Some(path) = place.enter else { return Ok(()) };
    if let Some(what) = kind_of(&path) {
        return Err(AbsentNamespace::Other { path, what: what.to_owned() });
    }
    match File::open(&path) {
        Ok(file) => is_network(&file, &path),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Err(absent(roots, netns, path))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(AbsentNamespace::Unopened { path, error }),
    }
}

/// What a file is that is no namespace whatever it has; opening some of these would wait, or fail.
fn kind_of(path: &Path) -> Option<&'static str> {
    let kind = std::fs::metadata(path).ok()?.file_type();
    if kind.is_dir() {
        Some("a directory")
    } else if kind.is_fifo() {
        Some("a FIFO")
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else {
        None
    }
}

/// A namespace's file has the name `net:[4026531840]`.
fn is_network(file: &File, path: &Path) -> Result<(), AbsentNamespace> {
    let other = |what: String| Err(AbsentNamespace::Other { path: path.to_owned(), what });
    if fstatfs(file).is_ok_and(|statfs| statfs.f_type != NSFS_MAGIC) {
        return other("another file".to_owned());
    }
    // The descriptor's link names the mount point of a mounted one, whose root has the name.
    let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok();
    let link = link.and_then(|link| mounts::root_at(&link).or(link.to_str().map(str::to_owned)));
    match link.as_deref().and_then(|link| link.split_once(":[")) {
        Some((kind, _)) if kind != "net" => other(format!("a namespace of kind {kind}")),
        _ => Ok(()),
    }
}

fn absent(roots: &Roots, netns: &Netns, path: PathBuf) -> AbsentNamespace {
    match netns {
        Netns::Pid(pid) => {
            let proc = roots.host_proc.clone().unwrap_or_else(|| "/proc".into());
            match mounts::hides_processes(&proc) {
                Some(option) => AbsentNamespace::Hidden { pid: *pid, proc, option },
                None => AbsentNamespace::Process { pid: *pid, proc },
            }
        }
        Netns::Name(name) => {
            let directory = names_directory(roots, name);
            let near = near(name, &directory, is_namespace);
            let is_hidden = roots.host_proc.is_some() && directory == Path::new("/run/netns");
            AbsentNamespace::Name { name: name.clone(), directory, near, is_hidden }
        }
        Netns::Path(_) | Netns::Own => {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let name = name.unwrap_or_default();
            // `name/` is a name that was completed as a directory.
            let directory = directory.map_or_else(|| names_directory(roots, &name), Path::to_owned);
            let near = near(&name, &directory, is_namespace);
            AbsentNamespace::Path { path, near }
        }
    }
}

/// Whether a namespace is mounted there.
fn is_namespace(path: &Path) -> bool {
    statfs(path).is_ok_and(|statfs| statfs.f_type == NSFS_MAGIC)
}

/// The names in `directory` that are most like `name`, of the files that are namespaces.
fn near(name: &str, directory: &Path, is_namespace: impl Fn(&Path) -> bool) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let lower = name.to_lowercase();
    let distance =
        |other: &str| 1.0 - strsim::normalized_damerau_levenshtein(&lower, &other.to_lowercase());
    let mut near: Vec<(f64, String)> = names
        .chain([OWN_NETNS.to_owned()])
        .map(|other| (distance(&other), other))
        .filter(|(distance, other)| {
            *distance <= NEAR
                || other.starts_with(name)
                || !other.is_empty() && name.starts_with(other)
        })
        .collect();
    // Only of these: asking for the file system of any other one may wait, as for a server that is gone.
    near.retain(|(_, name)| name == OWN_NETNS || is_namespace(&directory.join(name)));
    near.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    near.truncate(SUGGESTIONS);
    near.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_mistyped_has_suggestions() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["router1", "router2", "blue", "customer-berlin"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let near = |name: &str| near(name, directory.path(), |_| true);
        assert_eq!(near("roter1"), ["router1", "router2"]);
        assert_eq!(near("customer"), ["customer-berlin"]);
        assert!(near("x").is_empty() && near("zzzz").is_empty());
        assert_eq!(near("BLUE"), ["blue"]);
        assert_eq!(near("slf"), ["self"]);
    }

    #[test]
    fn another_form_of_a_process_or_of_a_list_has_advice() {
        let details = |netns: &str| {
            let absent = check(&Roots::default(), &netns.parse().unwrap()).unwrap_err();
            absent.details().unwrap()
        };
        for (netns, expected) in [
            ("PID:17", "did you mean pid:17?"),
            ("pid=17", "did you mean pid:17?"),
            ("17", "write pid:17"),
            ("a,b", "write --netns once for each namespace"),
        ] {
            assert!(details(netns).contains(expected), "{}", details(netns));
            assert!(!details(netns).contains("--wait"), "{}", details(netns));
        }
        assert!(!details("0").contains("pid:0"));
    }

    #[test]
    fn a_file_of_another_kind_is_no_namespace() {
        let error = |netns: &str| {
            check(&Roots::default(), &netns.parse().unwrap()).unwrap_err().to_string()
        };
        assert_eq!(
            error("/etc/passwd"),
            "/etc/passwd is not a network namespace, but another file"
        );
        assert_eq!(error("/etc"), "/etc is not a network namespace, but a directory");
        assert_eq!(error("/dev/null"), "/dev/null is not a network namespace, but a device");
        // open(2) of a FIFO waits for its writer, and of a socket fails.
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let fifo = path("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert!(error(&fifo).ends_with("is not a network namespace, but a FIFO"));
        let socket = path("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(error(&socket).ends_with("is not a network namespace, but a socket"));
        let circle = path("circle");
        std::os::unix::fs::symlink("circle", &circle).unwrap();
        assert!(error(&circle).starts_with("cannot open network namespace "));
        assert!(error(&format!("/{}", "a".repeat(300))).contains("File name too long"));
        assert_eq!(
            error("/proc/self/ns/uts"),
            "/proc/self/ns/uts is not a network namespace, but a namespace of kind uts"
        );
        // The highest number that a process can have is 2^22.
        assert!(error("pid:4194305").starts_with("there is no process 4194305 in /proc, "));
        assert_eq!(error("/nosuch/x"), "there is no network namespace /nosuch/x");
        assert!(check(&Roots::default(), &"/proc/self/ns/net".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_host_proc_without_process_1_is_an_error() {
        let proc = tempfile::tempdir().unwrap();
        let roots = Roots { host_proc: Some(proc.path().into()), ..Roots::default() };
        let error = check(&roots, &Netns::Own).unwrap_err().to_string();
        assert!(error.starts_with(&format!("there is no process 1 in {}", proc.path().display())));
        assert!(check(&Roots::default(), &Netns::Own).is_ok());
    }
}
