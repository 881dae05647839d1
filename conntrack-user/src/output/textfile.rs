//! A file that each batch of rows replaces, as the textfile collector of `node_exporter` reads it:
//! one whole exposition at any time.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::recording::refusal;
use crate::source::namespace::{identity, identity_of};

/// A new file is for another user to read, whatever the umask of this one.
const MODE: u32 = 0o644;

/// Names that are tried for the new file.
const MOST_NAMES: u32 = 16;

/// Bytes of a file's name in the name of the new file, which are 255 at most with the number of a
/// process and more.
const LONGEST_STEM: usize = 230;

/// A regular file that is replaced by each batch. It keeps its mode and, as far as this process may
/// give it away, its owner.
pub(super) struct Textfile {
    path: PathBuf,
    /// The file that was there at the start, for writing in place: a confined process may not open
    /// it again.
    old: Option<File>,
    /// The file that was given its name last, locked: so another process finds that it is written.
    latest: Option<File>,
    was_written: bool,
}

impl Textfile {
    /// The file at `path`, or none yet. What killed processes left beside it is removed.
    pub(super) fn new(path: PathBuf) -> Self {
        remove_left(&path);
        let old = OpenOptions::new().write(true).open(&path).ok();
        Self { path, old, latest: None, was_written: false }
    }

    /// The path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a batch was written, so that a failure is not one of the command line.
    pub(super) fn was_written(&self) -> bool {
        self.was_written
    }

    /// Checks that the file can be replaced, or written in place.
    ///
    /// # Errors
    /// The system's, with the directory named where that is what refuses, and a file that another
    /// process replaces.
    pub(super) fn check(&self) -> io::Result<()> {
        self.refuse_another_writer()?;
        match create_beside(&self.path) {
            Ok((new, _locked)) => std::fs::remove_file(new),
            Err(error) if is_refused(&error) && self.old.is_some() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file. One that cannot be replaced, since it is mounted by itself or its
    /// directory takes no new files, is written in place.
    ///
    /// # Errors
    /// The system's, with the directory named where that is what refuses.
    pub(super) fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self.replace(text) {
            // Landlock refuses the rename before the file system does.
            Err(_) if self.path.is_dir() => {
                Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"))
            }
            replaced => {
                self.was_written |= replaced.is_ok();
                replaced
            }
        }
    }

    /// Two processes would replace the rows of each other.
    fn refuse_another_writer(&self) -> io::Result<()> {
        // What was there at the start is locked once it was written in place.
        let in_place = self.old.as_ref().filter(|_| self.was_written);
        let is_ours = self.latest.iter().chain(in_place).any(|file| self.has(file));
        if is_ours || is_left(&self.path) {
            return Ok(());
        }
        Err(io::Error::other(
            "it is written by another process; name another file, or end that one",
        ))
    }

    /// Whether `file` is the one at the path.
    fn has(&self, file: &File) -> bool {
        identity(&self.path).is_ok_and(|now| identity_of(file).is_ok_and(|file| file == now))
    }

    fn replace(&mut self, text: &[u8]) -> io::Result<()> {
        self.refuse_another_writer()?;
        let (new, mut file) = match create_beside(&self.path) {
            Err(error) if is_refused(&error) && self.path.is_file() => {
                return self.write_in_place(text).map_err(|in_place| match in_place.kind() {
                    // Neither may be done: the directory is the reason.
                    io::ErrorKind::PermissionDenied => error,
                    _ => in_place,
                });
            }
            created => created?,
        };
        // Locked before it has its name.
        let replaced = fill(&mut file, &self.path, text)
            .and_then(|()| self.refuse_another_writer())
            .and_then(|()| std::fs::rename(&new, &self.path));
        let Err(error) = replaced else {
            self.old = None;
            self.latest = Some(file);
            return Ok(());
        };
        let _ = std::fs::remove_file(&new);
        // The mount point that a container's engine makes for one file.
        if error.kind() == io::ErrorKind::ResourceBusy && self.path.is_file() {
            return self.write_in_place(text);
        }
        Err(error)
    }

    /// Writes over the old text, so that the file is never empty.
    fn write_in_place(&mut self, text: &[u8]) -> io::Result<()> {
        let old = self.old.take();
        let mut file = match old.filter(|old| self.has(old)) {
            Some(old) => old,
            None => OpenOptions::new().write(true).open(&self.path)?,
        };
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        file.rewind()?;
        file.write_all(text)?;
        file.set_len(text.len() as u64)?;
        self.old = Some(file);
        Ok(())
    }
}

/// Whether a directory takes no new files.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Creates the file that is to take the place of `path`, and locks it. A killed process leaves such
/// a file; in a container the next one has the same number, so the old file is removed unless a
/// process still writes it.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut error = io::Error::from(io::ErrorKind::AlreadyExists);
    for number in 0..MOST_NAMES {
        let new = name_beside(path, number);
        let created = match File::create_new(&new) {
            Err(exists) if exists.kind() == io::ErrorKind::AlreadyExists && is_left(&new) => {
                std::fs::remove_file(&new).and_then(|()| File::create_new(&new))
            }
            created => created,
        };
        match created {
            Ok(file) => {
                // A file system without locks has nothing to show to another process.
                let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
                return Ok((new, file));
            }
            Err(other) if std::fs::symlink_metadata(&new).is_ok() => {
                error = io::Error::new(other.kind(), format!("{} is in the way", new.display()));
            }
            Err(other) => return Err(refusal(&new, other)),
        }
    }
    Err(error)
}

fn name_beside(path: &Path, number: u32) -> PathBuf {
    let mut name = stem(path.file_name().unwrap_or_default()).to_owned();
    name.push(format!(".{}", std::process::id()));
    if number > 0 {
        name.push(format!(".{number}"));
    }
    name.push(".new");
    path.with_file_name(name)
}

/// As much of a file's name as the name of the new file begins with.
fn stem(name: &OsStr) -> &OsStr {
    let name = name.as_bytes();
    OsStr::from_bytes(&name[..name.len().min(LONGEST_STEM)])
}

/// Removes the new files beside `path` whose processes were killed. The file of a process that is
/// there, or that has it locked (one of another container has no number here), is that process's.
fn remove_left(path: &Path) {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let entries = std::fs::read_dir(parent.unwrap_or(Path::new(".")));
    let (Some(name), Ok(entries)) = (path.file_name(), entries) else { return };
    for entry in entries.flatten() {
        let Some(writer) = writer_of(&entry.file_name(), name) else { continue };
        let is_gone = test_kill_process(writer) == Err(Errno::SRCH);
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_symlink());
        if is_gone && is_file && is_left(&entry.path()) {
            let removed = std::fs::remove_file(entry.path());
            log::debug!(
                "removing {}, left by process {writer:?}: {removed:?}",
                entry.path().display()
            );
        }
    }
}

/// The process that made `new` beside the file `name`, where [`name_beside`] gives such a name.
fn writer_of(new: &OsStr, name: &OsStr) -> Option<Pid> {
    let numbers = new.as_bytes().strip_prefix(stem(name).as_bytes())?.strip_prefix(b".")?;
    let numbers = str::from_utf8(numbers.strip_suffix(b".new")?).ok()?;
    let (process, number) = numbers.split_once('.').unwrap_or((numbers, "1"));
    let is_number = number.parse().is_ok_and(|number| (1..MOST_NAMES).contains(&number));
    let is_plain = numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    Pid::from_raw(process.parse().ok().filter(|_| is_number && is_plain)?)
}

/// Whether no process has the file locked, as far as this one may ask.
fn is_left(new: &Path) -> bool {
    let no_wait = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let Ok(file) = OpenOptions::new().read(true).custom_flags(no_wait).open(new) else {
        return true;
    };
    flock(&file, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
}

fn fill(file: &mut File, old: &Path, text: &[u8]) -> io::Result<()> {
    if let Ok(old) = std::fs::metadata(old) {
        // Only root may give a file away; everyone may keep their own.
        let _ = std::os::unix::fs::fchown(&*file, Some(old.uid()), Some(old.gid()));
        file.set_permissions(old.permissions())?;
    } else {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    file.write_all(text)
}
