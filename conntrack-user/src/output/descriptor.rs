//! An open descriptor that rows and texts are written to: standard output, a pipe, a device.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::closed::was_closed;

/// Pipes take writes up to this size whole or not at all (POSIX `PIPE_BUF`, 4,096 on Linux).
const WHOLE_WRITE: usize = 4096;

/// Opens a device or a FIFO for writing without waiting, for a reader or for a modem's carrier; writing
/// waits. `flags` are more of open(2).
///
/// # Errors
/// The system's; `ENXIO` for a FIFO that no process reads.
pub(super) fn open_at_once(path: &Path, flags: i32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | flags);
    let file = options.open(path)?;
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// A descriptor, unbuffered; writes are whole lines.
pub(super) struct Descriptor {
    file: File,
    /// The length after the last write, of a regular file that a shell opened (`>> FILE`).
    length: Option<u64>,
}

impl Descriptor {
    /// Takes the descriptor as it is.
    pub(super) fn new(file: File) -> Self {
        let length = length(&file);
        Self { file, length }
    }

    /// What the descriptor is.
    pub(super) fn metadata(&self) -> Option<std::fs::Metadata> {
        self.file.metadata().ok()
    }

    /// Whether it is a regular file, which a shell opened.
    pub(super) fn is_of_file(&self) -> bool {
        self.length.is_some()
    }

    /// Whether another program truncated the file since the last write.
    pub(super) fn was_truncated(&self) -> bool {
        self.length.is_some_and(|before| length(&self.file).is_some_and(|now| now < before))
    }

    /// Goes on at the end of a file that was truncated.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn begin_again(&mut self) -> io::Result<()> {
        // Without O_APPEND the next write would leave a hole from the new end to the old one.
        self.file.seek(SeekFrom::End(0))?;
        self.length = length(&self.file);
        Ok(())
    }

    /// Writes `text`, which consists of whole lines, in pieces of whole lines that a pipe takes at
    /// once: if this process is killed in between, there is no torn line in the pipe.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn write(&mut self, mut text: &[u8]) -> io::Result<()> {
        while !text.is_empty() {
            let mut piece = text.len();
            if piece > WHOLE_WRITE {
                let end = memchr::memrchr(b'\n', &text[..WHOLE_WRITE]);
                let longer = || memchr::memchr(b'\n', text);
                piece = end.or_else(longer).map_or(text.len(), |newline| newline + 1);
            }
            let (now, later) = text.split_at(piece);
            write_all_waiting(&mut self.file, now)?;
            text = later;
        }
        if self.length.is_some() {
            self.length = length(&self.file);
        }
        Ok(())
    }
}

/// Standard output, unbuffered, for the commands that print a text. Writing waits for the reader, also
/// where another process that shares it made it non-blocking.
#[derive(Debug)]
pub struct StandardOutput(File);

impl StandardOutput {
    /// Takes it as the program was started with it.
    ///
    /// # Errors
    /// `EBADF` where it was closed, and the system's.
    pub fn open() -> io::Result<Self> {
        if was_closed(1) {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        Ok(Self(io::stdout().as_fd().try_clone_to_owned()?.into()))
    }
}

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_all_waiting(&mut self.0, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn length(file: &File) -> Option<u64> {
    file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
}

fn write_all_waiting(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Another process that shares the descriptor made it non-blocking.
                poll(&mut [PollFd::new(&file.as_fd(), PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
