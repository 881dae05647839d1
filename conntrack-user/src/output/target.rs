//! What `--output` names: whatever open(2) takes.
//!
//! `/dev/stdout`, `/dev/fd/N` and links to them name an open descriptor, which is taken as it is: a
//! socket, such as the journal's, cannot be opened again, and a file that a shell opened for reading
//! is not for writing. Other links lead to the file that is written, also where that is not there yet.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::FromRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{OFlags, fcntl_getfl};

use super::descriptor::open_at_once;
use super::text::Output;
use crate::closed::was_closed;
use crate::format::{Format, is_own_exposition};
use crate::recording::{Content, RecordingFile, Rotation, is_compressed, refusal};
use crate::source::mounts;

/// What messages call descriptor 1.
const STANDARD_OUTPUT: &str = "standard output";

/// As many links as the kernel follows (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;

/// A FIFO that no process reads: open(2) would wait for a reader, whatever signal comes.
#[derive(Debug, thiserror::Error)]
#[error("{} is a FIFO, and no process has opened it for reading", .0.display())]
pub struct NoReader(PathBuf);

/// Where rows are to go.
#[derive(Debug)]
pub enum Target {
    /// An open descriptor, and what messages call it.
    Descriptor(String, File),
    /// A file.
    Path {
        /// The file, with no link in the way.
        path: PathBuf,
        /// The name that was given, whose links may lead to another file later.
        given: PathBuf,
    },
}

/// What is needed to open an output again by its given name.
#[derive(Debug, Clone)]
pub(super) struct Reopening {
    pub(super) path: PathBuf,
    pub(super) given: PathBuf,
    format: Format,
    rotation: Option<Rotation>,
}

impl Reopening {
    /// Finds the file to which the given name leads now, if that is another one than before.
    ///
    /// # Errors
    /// See [`Target::resolve`].
    pub(super) fn other_target(&self) -> anyhow::Result<Option<Target>> {
        let target = Target::resolve(Some(&self.given))?;
        Ok(match &target {
            Target::Path { path, .. } if *path == self.path => None,
            // The links of a directory that was removed are not known.
            Target::Path { path, .. } if !has_directory(path) && !has_directory(&self.path) => None,
            _ => Some(target),
        })
    }

    /// Opens another target in the same way; with it the header of a CSV file that goes on.
    ///
    /// # Errors
    /// See [`Target::open`], and a textfile that cannot be replaced.
    pub(super) fn open(&self, target: &Target) -> anyhow::Result<(Output, Option<String>)> {
        let opened = target.open(self.format, self.rotation)?;
        opened.0.check()?;
        Ok(opened)
    }
}

fn has_directory(path: &Path) -> bool {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.is_none_or(Path::is_dir)
}

impl Target {
    /// The target that `output` names; standard output for `-` or without one.
    ///
    /// # Errors
    /// A descriptor that is not open for writing, the name of a directory, or links that lead in a
    /// circle.
    pub fn resolve(output: Option<&Path>) -> anyhow::Result<Self> {
        let Some(output) = output.filter(|output| *output != Path::new("-")) else {
            return descriptor(1, STANDARD_OUTPUT.to_owned());
        };
        if output.as_os_str().is_empty() {
            bail!("--output is empty; write a file, or - for standard output");
        }
        let mut path = output.to_owned();
        for _ in 0..MOST_LINKS {
            if let Some(number) = descriptor_of(&path) {
                if is_compressed(output) {
                    bail!("{} is not a regular file, which .zst needs", output.display());
                }
                return descriptor(number, output.display().to_string());
            }
            if names_a_directory(&path) && !path.is_dir() {
                bail!(
                    "cannot write to {}: a name that ends in / is a directory's; name a file",
                    output.display()
                );
            }
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new(".")).to_owned();
            match std::fs::read_link(&path) {
                // A confined run may not ask for the type of a file system.
                Ok(_) if parent.starts_with("/proc") || mounts::is_procfs(&parent) => {
                    // The descriptor of another process, such as /proc/1/fd/1: its text is no path.
                    return foreign_descriptor(&path, output);
                }
                Ok(target) => {
                    refuse_planted(&path, &parent)?;
                    path = parent.join(target);
                }
                Err(_) => {
                    // The way to it may have links, too.
                    for link in parent.ancestors().filter(|directory| directory.is_symlink()) {
                        refuse_planted(link, link.parent().unwrap_or(Path::new(".")))?;
                    }
                    match (parent.canonicalize(), path.file_name()) {
                        (Ok(parent), Some(name)) if parent.join(name) != path => {
                            path = parent.join(name);
                        }
                        _ => return Ok(Self::Path { path, given: output.to_owned() }),
                    }
                }
            }
        }
        bail!("cannot write to {}: its links lead in a circle", output.display())
    }

    /// Whether it is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Descriptor(_, file) if file.is_terminal())
    }

    /// Opens it for rows in `format`, to be replaced by each batch where that needs it; with it the
    /// header of a CSV file that goes on.
    ///
    /// # Errors
    /// [`NoReader`], or what is wrong with the file or its directory.
    pub fn open(
        &self,
        format: Format,
        rotation: Option<Rotation>,
    ) -> anyhow::Result<(Output, Option<String>)> {
        let (path, given) = match self {
            Self::Descriptor(name, _) if rotation.is_some() => {
                bail!("{name} cannot be rotated; name a file")
            }
            Self::Descriptor(name, file) => {
                let file = file.try_clone().with_context(|| format!("cannot write to {name}"))?;
                return Ok((Output::new(name.clone(), file), None));
            }
            Self::Path { path, given } => (path, given),
        };
        let (path, given) = (path.clone(), given.clone());
        let (mut output, header) = open_path(path.clone(), &given, format, rotation)?;
        output.reopening = Some(Reopening { path, given, format, rotation });
        Ok((output, header))
    }
}

/// Opens a path, to which the name `given` leads; see [`Target::open`].
fn open_path(
    path: PathBuf,
    given: &Path,
    format: Format,
    rotation: Option<Rotation>,
) -> anyhow::Result<(Output, Option<String>)> {
    let kind = std::fs::metadata(&path).map(|metadata| metadata.file_type());
    if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) {
        bail!("cannot write to {}: it is a directory", path.display());
    }
    if kind.as_ref().map_or(true, std::fs::FileType::is_file) {
        return regular(path, given, format, rotation);
    }
    if rotation.is_some() || is_compressed(&path) || is_compressed(given) {
        bail!("{} is not a regular file, which --rotate and .zst need", given.display());
    }
    let kind = kind?;
    let file = open_special(&path, &kind)?;
    let name = path.display().to_string();
    let output = if kind.is_fifo() { Output::fifo(path, file) } else { Output::new(name, file) };
    Ok((output, None))
}

/// What a descriptor of another process has open.
fn foreign_descriptor(path: &Path, output: &Path) -> anyhow::Result<Target> {
    if is_compressed(output) {
        bail!("{} is not a regular file, which .zst needs", output.display());
    }
    let kind = std::fs::metadata(path)
        .with_context(|| format!("cannot write to {}", output.display()))?
        .file_type();
    Ok(Target::Descriptor(output.display().to_string(), open_special(path, &kind)?))
}

/// Refuses a link of another user in a directory that everyone may write, as the kernel does with
/// `fs.protected_symlinks`: `may_follow_link`. It is followed here, so the kernel does not see it.
fn refuse_planted(link: &Path, parent: &Path) -> anyhow::Result<()> {
    const STICKY_AND_WRITABLE: u32 = 0o1002;
    let (Ok(link_of), Ok(parent_of)) = (std::fs::symlink_metadata(link), std::fs::metadata(parent))
    else {
        return Ok(());
    };
    let is_open = parent_of.mode() & STICKY_AND_WRITABLE == STICKY_AND_WRITABLE;
    let own = rustix::process::geteuid().as_raw();
    if is_open && link_of.uid() != own && link_of.uid() != parent_of.uid() {
        bail!(
            "cannot write to {}: it is a link of another user in a directory that everyone may write",
            link.display()
        );
    }
    Ok(())
}

/// Opens a device or a FIFO.
fn open_special(path: &Path, kind: &std::fs::FileType) -> anyhow::Result<File> {
    let opened = match open_at_once(path, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) && kind.is_fifo() => {
            return Err(NoReader(path.to_owned()).into());
        }
        Err(_) if kind.is_socket() => Err(io::Error::other("it is a socket")),
        opened => opened.map_err(|error| refusal(path, error)),
    };
    opened.with_context(|| format!("cannot write to {}", path.display()))
}

/// A regular file, or one that will be.
fn regular(
    path: PathBuf,
    given: &Path,
    format: Format,
    rotation: Option<Rotation>,
) -> anyhow::Result<(Output, Option<String>)> {
    let name = path.display().to_string();
    if format == Format::Prometheus {
        let old = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            old => old
                .map_err(|error| refusal(&path, error))
                .with_context(|| format!("cannot read {name}"))?,
        };
        if !old.is_empty() && !is_own_exposition(&String::from_utf8_lossy(&old)) {
            bail!(
                "{name} has other text than metrics of this ctpulse, and would be replaced; remove it, or \
                 use another file"
            );
        }
        return Ok((Output::replacing(path), None));
    }
    if is_compressed(given) != is_compressed(&path) {
        log::warn!(
            "{} is a link to {name}, and only one of the two names ends in .zst; rows are written as {name} \
             says: give both the same suffix",
            given.display()
        );
    }
    let content = Content::of(format, &path);
    let (file, begun) = RecordingFile::append(path, content, rotation)?;
    if begun.cut > 0 {
        log::warn!("{name} ended within a record; its {} bytes are cut off", begun.cut);
    }
    Ok((Output::recording(name, file), begun.header))
}

/// Whether only a directory may have this name, as open(2) has it.
fn names_a_directory(path: &Path) -> bool {
    let name = path.as_os_str().as_bytes();
    name.ends_with(b"/") || name.ends_with(b"/.")
}

/// The number of the own descriptor that a path names.
fn descriptor_of(path: &Path) -> Option<u32> {
    match path.to_str()? {
        "/dev/stdin" => return Some(0),
        "/dev/stdout" => return Some(1),
        "/dev/stderr" => return Some(2),
        _ => {}
    }
    let number = path.file_name().and_then(OsStr::to_str)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) || !lists_descriptors(path.parent()?) {
        return None;
    }
    // A number that is too large is not that of an open descriptor either.
    Some(number.parse().unwrap_or(u32::MAX))
}

/// Whether the own descriptors are in `directory`: `/dev/fd`, `/proc/self/fd`, `/proc/PID/task/TID/fd`.
fn lists_descriptors(directory: &Path) -> bool {
    // Also where procfs is not mounted.
    if [Path::new("/dev/fd"), Path::new("/proc/self/fd")].contains(&directory) {
        return true;
    }
    let (Ok(directory), Ok(own)) =
        (directory.canonicalize(), Path::new("/proc/self").canonicalize())
    else {
        return false;
    };
    directory.ends_with("fd") && directory.starts_with(own)
}

/// The open descriptor `number`, which messages call `name`.
fn descriptor(number: u32, name: String) -> anyhow::Result<Target> {
    let name = if number == 1 { STANDARD_OUTPUT.to_owned() } else { name };
    let copy = if was_closed(number) {
        Err(io::Error::from_raw_os_error(libc::EBADF))
    } else {
        duplicate(number)
    };
    let file = match copy {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => match number {
            u32::MAX => bail!("cannot write to {name}: it is not open"),
            number => bail!("cannot write to {name}: descriptor {number} is not open"),
        },
        file => file.with_context(|| format!("cannot write to {name}"))?,
    };
    let access = fcntl_getfl(&file).map(|flags| flags & OFlags::ACCMODE);
    if access.is_ok_and(|access| access != OFlags::WRONLY && access != OFlags::RDWR) {
        bail!("cannot write to {name}: descriptor {number} is not open for writing");
    }
    Ok(Target::Descriptor(name, file))
}

#[allow(unsafe_code, reason = "a number from the command line has no owner in this program")]
fn duplicate(number: u32) -> io::Result<File> {
    let number = i32::try_from(number).unwrap_or(-1);
    // SAFETY: fcntl(2) takes any number; one that is not open gives EBADF.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, so this is its only owner.
    Ok(unsafe { File::from_raw_fd(copy) })
}
