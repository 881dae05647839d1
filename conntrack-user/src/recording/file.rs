//! The file that a recording is written to: appended to, rotated, and whole at any time.
//!
//! A batch of rows is one write. One that does not fit on the disk is taken back, and what a
//! killed process left of one is cut off at the next start, so a batch is there or absent. A
//! name that ends in `.zst` compresses: each batch then ends in a flushed block of whole lines.
//!
//! Other programs may rename, remove, truncate or overwrite the file (logrotate does): that is noticed
//! before the next batch, which then begins a new file, or continues what the file holds now.

use std::cmp::Ordering;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FlockOperation, accessat, flock};

use super::content::Content;
use super::packing::Packing;
use super::rotated;
use crate::source::namespace::{Identity, identity, identity_of};

/// When to put a file aside, and how many of those to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// In bytes. A file is put aside before it grows beyond this (if compressed, once it has).
    pub size: u64,
    /// Files that are kept beside the one that is written, at least 1.
    pub keep: u32,
}

/// Why a file cannot be appended to.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system's reason.
    #[error("cannot write to {}", .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// It holds something else.
    #[error("{} was not changed: {why}; write to another file", path.display())]
    OtherContent {
        /// The file.
        path: PathBuf,
        /// What it holds.
        why: String,
    },
    /// Another process holds its lock.
    #[error("{} is written by another process", .0.display())]
    Locked(PathBuf),
}

/// A change of the file by another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileChange {
    /// Its name is another file's, or no file's.
    Moved,
    /// It has no name any more.
    Removed,
    /// It is shorter than what was written.
    Truncated,
    /// It is longer than what was written.
    Overwritten,
}

impl std::fmt::Display for FileChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Moved => "moved",
            Self::Removed => "removed",
            Self::Truncated => "truncated",
            Self::Overwritten => "overwritten by another program",
        })
    }
}

/// How a file that was opened goes on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Bytes of a torn record that were cut off.
    pub cut: u64,
    /// The header that a CSV file has.
    pub header: Option<String>,
}

/// A recording that is being written, or another text that is appended to.
pub struct RecordingFile {
    path: PathBuf,
    content: Content,
    file: File,
    identity: Identity,
    /// The length of the complete part of the file, in bytes.
    length: u64,
    rotation: Option<Rotation>,
    packing: Option<Packing>,
    /// Why it is not rotated though it is due.
    unrotated: Option<String>,
}

impl RecordingFile {
    /// Opens `path` to append to it.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn append(
        path: PathBuf,
        content: Content,
        rotation: Option<Rotation>,
    ) -> Result<(Self, Begun), FileError> {
        let result = open(&path).and_then(|file| {
            let identity = identity_of(&file)?;
            let (path, length) = (path.clone(), 0);
            let (packing, unrotated) = (None, None);
            let mut this =
                Self { path, content, file, identity, length, rotation, packing, unrotated };
            let begun = this.begin()?;
            Ok((this, begun))
        });
        result.map_err(|error| explained(path, error))
    }

    /// Takes up the open file where what it holds is whole.
    fn begin(&mut self) -> io::Result<Begun> {
        let before = self.file.metadata()?.len();
        let found = self.content.examine(&mut self.file)?;
        if found.length < before {
            self.file.set_len(found.length)?;
        }
        self.length = found.length;
        self.packing = self.content.is_compressed().then(|| Packing::after(found.within_a_frame));
        Ok(Begun { cut: before - found.length, header: found.header })
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether files are put aside at the path.
    #[must_use]
    pub fn rotates(&self) -> bool {
        self.rotation.is_some()
    }

    /// Takes over `path` where it is another name of the open file.
    pub fn is_now_at(&mut self, path: &Path) -> bool {
        let is_same = identity(path).is_ok_and(|now| now == self.identity);
        if is_same {
            path.clone_into(&mut self.path);
        }
        is_same
    }

    /// Returns a change of the file by another program since the last write.
    #[must_use]
    pub fn change(&self) -> Option<FileChange> {
        let open = self.file.metadata().ok()?;
        match identity(&self.path) {
            Ok(now) if now == self.identity => {
                match open.len().cmp(&self.length) {
                    Ordering::Less => Some(FileChange::Truncated),
                    // Text that is not read again may be added to.
                    Ordering::Greater if self.content != Content::Other => {
                        Some(FileChange::Overwritten)
                    }
                    Ordering::Equal | Ordering::Greater => None,
                }
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => None,
            // Also where another file has the name already.
            _ if std::os::unix::fs::MetadataExt::nlink(&open) == 0 => Some(FileChange::Removed),
            Ok(_) | Err(_) => Some(FileChange::Moved),
        }
    }

    /// Begins again after a change: the path's file, or the same one where it was truncated or
    /// overwritten.
    ///
    /// # Errors
    /// See [`FileError`]; the file that was open stays so.
    pub fn begin_again(&mut self, change: FileChange) -> Result<Begun, FileError> {
        if matches!(change, FileChange::Truncated | FileChange::Overwritten) {
            return self.begin().map_err(|error| explained(self.path.clone(), error));
        }
        let permissions = self.file.metadata().map(|metadata| metadata.permissions());
        let (new, begun) = Self::append(self.path.clone(), self.content, self.rotation)?;
        if let (Ok(permissions), 0) = (permissions, new.length) {
            // Another user's file keeps the mode that it was given.
            let _ = new.file.set_permissions(permissions);
        }
        // The last frame of the old file; its rows can be read without the end, too.
        let _ = self.finish();
        *self = new;
        Ok(begun)
    }

    /// Appends `text`, which consists of whole lines: all of it or nothing. `false` where another
    /// program truncated the file meanwhile: then the text is not in it.
    ///
    /// # Errors
    /// The system's. The file then is as it was before, unless that fails as well.
    pub fn write(&mut self, text: &[u8]) -> io::Result<bool> {
        if self.rotation.is_some_and(|rotation| self.is_due(rotation, text.len() as u64)) {
            self.rotate_if_possible();
        }
        match &mut self.packing {
            None => self.write_whole(text),
            Some(packing) => {
                let within = packing.is_within_a_frame();
                let bytes = packing.pack(text)?;
                let written = self.write_whole(&bytes);
                if written.is_err() {
                    // What follows must not refer to what is not there.
                    self.packing = Some(Packing::after(within));
                }
                written
            }
        }
    }

    /// Ends the file: a compressed one gets the end of its frame.
    ///
    /// # Errors
    /// The system's; every row is in the file all the same.
    pub fn finish(&mut self) -> io::Result<()> {
        let is_own = self.file.metadata()?.len() == self.length;
        // What another program wrote must not get the end of a frame that it overwrote.
        let Some(packing) = self.packing.as_mut().filter(|_| is_own) else { return Ok(()) };
        let within = packing.is_within_a_frame();
        let end = packing.end()?;
        if end.is_empty() {
            return Ok(());
        }
        let written = self.write_whole(&end);
        if written.is_err() {
            self.packing = Some(Packing::after(within));
        }
        written.map(drop)
    }

    fn write_whole(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let written = self.file.write_all(bytes);
        if let Err(error) = written {
            // If this fails too, the torn record is cut off at the next start.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        let (added, length) = (bytes.len() as u64, self.file.metadata()?.len());
        if length < self.length + added {
            // At the end, since the file is open to append to; of a compressed one it would be the
            // middle of a frame, of a CSV file rows without a header.
            self.file.set_len(length.saturating_sub(added))?;
            return Ok(false);
        }
        // If it is longer, another program wrote, too: `change` finds that before the next batch.
        self.length += added;
        Ok(true)
    }

    fn is_due(&self, rotation: Rotation, more: u64) -> bool {
        let next = if self.packing.is_some() { self.length } else { self.length + more - 1 };
        self.length > 0 && next >= rotation.size
    }

    /// Rotates. A file that cannot be put aside, such as one that is mounted by itself, grows on.
    fn rotate_if_possible(&mut self) {
        let Err(error) = self.rotate() else {
            self.unrotated = None;
            return;
        };
        let why = match error.kind() {
            io::ErrorKind::ResourceBusy => format!("{error} (it may be mounted by itself)"),
            _ => error.to_string(),
        };
        if self.unrotated.as_ref() != Some(&why) {
            let name = self.path.display();
            log::warn!("cannot rotate {name}: {why}; it grows beyond the size of --rotate");
        }
        self.unrotated = Some(why);
    }

    /// Puts the file aside as `path.1`, the one of that name as `path.2` and so on.
    fn rotate(&mut self) -> io::Result<()> {
        let aside = rotated(&self.path, 0);
        if aside.exists() {
            // A process was killed before it had moved the others.
            self.shift()?;
        }
        let permissions = self.file.metadata()?.permissions();
        // First, since this may be refused: then the others stay where they are.
        put_aside(&self.path, &aside)?;
        let new = self.finish().and_then(|()| open(&self.path));
        if new.is_err() {
            // The file that is open is the one to write to, until a new one can be made.
            let _ = std::fs::rename(&aside, &self.path);
        }
        let old = std::mem::replace(&mut self.file, new?);
        if let Err(error) = self.shift() {
            // The rows of this file would be in none that a report reads.
            self.file = old;
            std::fs::rename(&aside, &self.path)?;
            return Err(error);
        }
        self.identity = identity_of(&self.file)?;
        self.file.set_permissions(permissions)?;
        self.length = self.file.metadata()?.len();
        Ok(())
    }

    /// Moves each file that was put aside to the next number; the last one is replaced.
    fn shift(&self) -> io::Result<()> {
        let keep = self.rotation.map_or(1, |rotation| rotation.keep);
        for number in (0..keep).rev() {
            let from = rotated(&self.path, number);
            if from.exists() {
                put_aside(&from, &rotated(&self.path, number + 1))?;
            }
        }
        Ok(())
    }
}

/// Renames a part of a recording.
///
/// # Errors
/// The system's, with the name where a directory has it.
fn put_aside(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to).map_err(|error| {
        if to.is_dir() {
            let why = format!("{} cannot be made: it is a directory", to.display());
            return io::Error::new(error.kind(), why);
        }
        error
    })
}

fn explained(path: PathBuf, error: io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::WouldBlock => FileError::Locked(path),
        io::ErrorKind::InvalidData => FileError::OtherContent { path, why: error.to_string() },
        _ => {
            let error = refusal(&path, error);
            FileError::Io(path, error)
        }
    }
}

/// The first directory on the way to `directory`, and this one, that the user may not search.
fn closed_directory(directory: &Path) -> Option<&Path> {
    let may_enter = |directory: &&Path| {
        let name = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        accessat(CWD, name, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
    };
    let above: Vec<&Path> = directory.ancestors().collect();
    above.into_iter().rev().find(|directory| !may_enter(directory))
}

/// `error` of opening or making `path`, with the directory named where that is what refuses.
pub fn refusal(path: &Path, error: io::Error) -> io::Error {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    let shown = directory.display();
    let is_removed = path.is_relative() && std::env::current_dir().is_err();
    let text = match error.kind() {
        io::ErrorKind::NotFound if is_removed => "the current directory was removed".to_owned(),
        io::ErrorKind::NotFound if !directory.exists() => {
            format!("there is no directory {shown}")
        }
        io::ErrorKind::NotADirectory => format!("{shown} is not a directory"),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem if !path.exists() => {
            match closed_directory(directory) {
                Some(closed) => {
                    format!("the directory {} cannot be entered: {error}", closed.display())
                }
                None => format!("the directory {shown} takes no new files: {error}"),
            }
        }
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    if !file.metadata()?.is_file() {
        // A FIFO would be filled until nothing can be written.
        return Err(io::Error::other("it is no regular file"));
    }
    lock(&file)?;
    Ok(file)
}

/// Makes this process the only one that writes a file; the lock ends with it.
fn lock(file: &File) -> io::Result<()> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => Err(error.into()),
        // A file system without locks.
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
