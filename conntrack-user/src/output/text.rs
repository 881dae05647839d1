//! Rows as text, and where the text goes: a descriptor, a file that each batch replaces, or one
//! that is appended to.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

pub use super::target::Target;
use super::textfile;
use crate::confine::Rewrites;
use crate::format::Encoder;
use crate::metric::Metric;
use crate::output::{Destination, Emission, WriteOutcome};
use crate::recording::{FileError, RecordingFile};

/// Pipes take writes up to this size whole or not at all (POSIX `PIPE_BUF`, 4,096 on Linux).
const WHOLE_WRITE: usize = 4096;

/// How long a file that could not be opened again is left in peace.
const RETRY: Duration = Duration::from_secs(1);

/// Rows as text.
pub struct Text {
    encoder: Box<dyn Encoder>,
    output: Output,
    buffer: Vec<u8>,
    /// Why nothing can be written now: the disk is full, and somebody may make room.
    full: Option<io::Error>,
    /// Emissions that found no room.
    lost: u64,
    /// When the file that took the place of the open one could not be opened.
    refused: Option<Instant>,
}

impl Text {
    /// Text in the encoder's format, to `output`.
    #[must_use]
    pub fn new(encoder: Box<dyn Encoder>, output: Output) -> Self {
        Self { encoder, output, buffer: Vec::new(), full: None, lost: 0, refused: None }
    }
}

impl Destination for Text {
    fn wants_whole_batches(&self) -> bool {
        self.encoder.wants_whole_batches()
    }

    fn rewrites(&self) -> Option<Rewrites<'_>> {
        match &self.output.way {
            TextTarget::Lines(_) => None,
            TextTarget::Replace(path) => Some(Rewrites::Replaced(path)),
            TextTarget::Append(file) if file.rotates() => Some(Rewrites::Aside(file.path())),
            TextTarget::Append(file) => Some(Rewrites::Reopened(file.path())),
        }
    }

    fn write(&mut self, emissions: Vec<Emission<'_>>) -> io::Result<WriteOutcome> {
        let number = emissions.len() as u64;
        let rows: Vec<Metric> = emissions.into_iter().flat_map(|emission| emission.rows).collect();
        let written = self.write_rows(&rows);
        let name = &self.output.name;
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(error),
            Err(error) if is_full(&error) => {
                self.lost += number;
                if self.full.is_none() {
                    log::warn!(
                        "cannot write to {name}: {error}; rows are lost until there is room"
                    );
                }
                self.full = Some(error);
                return Ok(WriteOutcome::Lost);
            }
            Err(error) => return Err(self.cannot(&error)),
            Ok(()) => {}
        }
        if self.full.take().is_some() {
            let lost = self.lost;
            log::warn!("{name} can be written again; {lost} emissions in all found no room");
        }
        if let Some(notice) = self.encoder.take_notice() {
            log::warn!("{notice}");
        }
        Ok(WriteOutcome::Written)
    }

    fn reopen(&mut self) {
        let TextTarget::Append(file) = &self.output.way else { return };
        self.refused = None;
        if file.change().is_none() {
            log::info!("{} is still the file that is written", self.output.name);
        } else if let Err(error) = self.follow_changes() {
            log::error!("{error}");
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        let finished = self.full.take().map_or_else(|| self.output.finish(), Err);
        finished.map_err(|error| self.cannot(&error))
    }
}

impl Text {
    /// Writes rows as one batch; once more where the file was truncated meanwhile.
    fn write_rows(&mut self, rows: &[Metric]) -> io::Result<()> {
        loop {
            self.follow_changes()?;
            self.buffer.clear();
            self.encoder.encode(rows, &mut self.buffer);
            if self.output.write_batch(&self.buffer)? {
                return Ok(());
            }
        }
    }

    /// Begins anew where another program moved, removed or truncated the file. Where the new file
    /// cannot be opened, rows go on into the open one, unless that is what was truncated.
    fn follow_changes(&mut self) -> io::Result<()> {
        let TextTarget::Append(file) = &mut self.output.way else { return Ok(()) };
        let Some(change) = file.change() else { return Ok(()) };
        if self.refused.is_some_and(|at| at.elapsed() < RETRY) {
            return Ok(());
        }
        let name = &self.output.name;
        match file.begin_anew(change) {
            Ok(begun) => {
                self.refused = None;
                self.encoder.begin_anew(begun.header.as_deref());
                log::info!("{name} was {change}; it is begun anew");
            }
            Err(error) if change == crate::recording::FileChange::Truncated => {
                return Err(io::Error::other(error));
            }
            Err(error) => {
                if self.refused.is_none() {
                    log::warn!(
                        "{name} was {change}; rows go on into the old file: {}",
                        reason(&error)
                    );
                }
                self.refused = Some(Instant::now());
            }
        }
        Ok(())
    }

    fn cannot(&self, error: &io::Error) -> io::Error {
        let lost = match self.lost {
            0 => String::new(),
            lost => format!("; {lost} emissions found no room"),
        };
        io::Error::other(format!("cannot write to {}: {error}{lost}", self.output.name))
    }
}

/// Why a file cannot be opened again, with what may be in the way.
fn reason(error: &FileError) -> String {
    match error {
        FileError::Io(_, error) if error.kind() == io::ErrorKind::PermissionDenied => format!(
            "{error}; privileges for it may have been given up at the start (--confine off keeps them)"
        ),
        FileError::Io(_, error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Where the bytes go.
pub struct Output {
    /// What error messages call it.
    name: String,
    way: TextTarget,
}

enum TextTarget {
    /// An unbuffered descriptor; writes are whole lines.
    Lines(Box<dyn WriteFd>),
    /// A file that is replaced as a whole by each batch.
    Replace(PathBuf),
    /// A file that is appended to.
    Append(Box<RecordingFile>),
}

trait WriteFd: Write + AsFd + Send {}
impl<T: Write + AsFd + Send> WriteFd for T {}

impl Output {
    /// An output to a descriptor: a file, or a duplicate of standard output; `name` is what
    /// error messages call it.
    pub fn new(name: impl Into<String>, file: impl Write + AsFd + Send + 'static) -> Self {
        Self { name: name.into(), way: TextTarget::Lines(Box::new(file)) }
    }

    /// An output that replaces the regular file `path` by each batch of rows.
    #[must_use]
    pub fn replacing(path: PathBuf) -> Self {
        Self { name: path.display().to_string(), way: TextTarget::Replace(path) }
    }

    /// An output to a file that is appended to; `name` is what error messages call it.
    #[must_use]
    pub fn recording(name: String, file: RecordingFile) -> Self {
        Self { name, way: TextTarget::Append(Box::new(file)) }
    }

    /// Writes a batch; `false` where the file was truncated meanwhile.
    fn write_batch(&mut self, text: &[u8]) -> io::Result<bool> {
        match &mut self.way {
            TextTarget::Append(file) => file.write(text),
            TextTarget::Lines(file) => write_lines(file.as_mut(), text).map(|()| true),
            TextTarget::Replace(path) => textfile::replace(path, text).map(|()| true),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match &mut self.way {
            TextTarget::Append(file) => file.finish(),
            TextTarget::Lines(_) | TextTarget::Replace(_) => Ok(()),
        }
    }
}

/// Writes `text`, which consists of whole lines, in pieces of whole lines that a pipe takes at
/// once: whoever ends this process in between leaves no torn line there.
fn write_lines(file: &mut dyn WriteFd, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        let mut piece = text.len();
        if piece > WHOLE_WRITE {
            let end = memchr::memrchr(b'\n', &text[..WHOLE_WRITE]);
            let longer = || memchr::memchr(b'\n', text);
            piece = end.or_else(longer).map_or(text.len(), |newline| newline + 1);
        }
        let (now, later) = text.split_at(piece);
        write_all_waiting(file, now)?;
        text = later;
    }
    Ok(())
}

fn write_all_waiting(file: &mut dyn WriteFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Somebody who shares the descriptor made it non-blocking.
                poll(&mut [PollFd::new(&file.as_fd(), PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether somebody may make room for what could not be written.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
