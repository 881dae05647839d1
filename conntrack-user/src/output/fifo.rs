//! A FIFO of the file system, which processes open for reading one after the other.
//!
//! Bytes that a reader left stay in the pipe as long as any process has it open. So it is closed here when
//! its reader is gone, and opened again by its name: the next reader begins with whole rows, and a FIFO
//! that was made again is found.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::descriptor::{Descriptor, open_at_once};

/// A FIFO to write to.
pub(super) struct Fifo {
    path: PathBuf,
    /// None while no process reads it.
    open: Option<Descriptor>,
}

impl Fifo {
    /// Takes the FIFO `path` as it was opened.
    pub(super) fn new(path: PathBuf, file: File) -> Self {
        Self { path, open: Some(Descriptor::new(file)) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes whole lines.
    ///
    /// # Errors
    /// `BrokenPipe` where no process reads it; the system's, where it cannot be opened again.
    pub(super) fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let mut descriptor = match self.open.take() {
            Some(descriptor) => descriptor,
            None => Descriptor::new(open_for_reader(&self.path)?),
        };
        let written = descriptor.write(text);
        let is_unread =
            written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        if is_unread && self.may_open() {
            return Err(unread());
        }
        self.open = Some(descriptor);
        written.map_err(|error| if is_unread { unread() } else { error })
    }

    /// Closes it where another FIFO, or none, has its name by now. Returns whether that is so.
    pub(super) fn close_if_replaced(&mut self) -> bool {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let named = std::fs::symlink_metadata(&self.path).map(identity).ok();
        let opened = self.open.as_ref().and_then(Descriptor::metadata).map(identity);
        let is_replaced = opened.is_some() && opened != named;
        if is_replaced {
            self.open = None;
        }
        is_replaced
    }

    /// Whether it can be opened again, which privileges that were given up may have been needed for. To
    /// open it would give a reader that comes at this moment the end of the file.
    fn may_open(&self) -> bool {
        let refused = accessat(CWD, &self.path, Access::WRITE_OK, AtFlags::EACCESS).err();
        refused.is_none_or(|errno| errno == Errno::NOENT)
    }
}

fn unread() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "no process reads it any more")
}

/// Opens a FIFO that a process has open for reading.
fn open_for_reader(path: &Path) -> io::Result<File> {
    let file =
        open_at_once(path, libc::O_NOFOLLOW).map_err(|error| match error.raw_os_error() {
            Some(libc::ENXIO) => unread(),
            _ => error,
        })?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("it is no FIFO any more"));
    }
    Ok(file)
}
