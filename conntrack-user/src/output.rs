//! Rows as text, and where the text goes: a descriptor, a file that each batch replaces, or a
//! recording.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};

use crate::confine::Rewrites;
use crate::format::Encoder;
use crate::metric::Metric;
use crate::recording::RecordingFile;
use crate::sink::{Destination, Emission, Fate};

/// Pipes take writes up to this size whole or not at all (POSIX `PIPE_BUF`, 4,096 on Linux).
const WHOLE_WRITE: usize = 4096;

/// Rows as text.
pub struct Text {
    encoder: Box<dyn Encoder>,
    output: Output,
    buffer: Vec<u8>,
    /// Why nothing can be written now: the disk is full, and somebody may make room.
    full: Option<io::Error>,
    /// Emissions that found no room.
    lost: u64,
}

impl Text {
    /// Text in the encoder's format, to `output`.
    #[must_use]
    pub fn new(encoder: Box<dyn Encoder>, output: Output) -> Self {
        Self { encoder, output, buffer: Vec::new(), full: None, lost: 0 }
    }
}

impl Destination for Text {
    fn wants_whole_batches(&self) -> bool {
        self.encoder.wants_whole_batches()
    }

    fn rewrites(&self) -> Option<Rewrites<'_>> {
        match &self.output.way {
            Way::Lines(_) => None,
            Way::Replace(path) => Some(Rewrites::Replaced(path)),
            Way::Record(file) => file.rotates().map(Rewrites::Aside),
        }
    }

    fn write(&mut self, emissions: Vec<Emission<'_>>) -> io::Result<Fate> {
        let number = emissions.len() as u64;
        let rows: Vec<Metric> = emissions.into_iter().flat_map(|emission| emission.rows).collect();
        self.buffer.clear();
        self.encoder.encode(&rows, &mut self.buffer);
        let written = self.output.write_batch(&self.buffer);
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
                return Ok(Fate::Lost);
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
        Ok(Fate::Written)
    }

    fn finish(&mut self) -> io::Result<()> {
        let finished = self.full.take().map_or_else(|| self.output.finish(), Err);
        finished.map_err(|error| self.cannot(&error))
    }
}

impl Text {
    fn cannot(&self, error: &io::Error) -> io::Error {
        let lost = match self.lost {
            0 => String::new(),
            lost => format!("; {lost} emissions found no room"),
        };
        io::Error::other(format!("cannot write to {}: {error}{lost}", self.output.name))
    }
}

/// Where the bytes go.
pub struct Output {
    /// What error messages call it.
    name: String,
    way: Way,
}

enum Way {
    /// An unbuffered descriptor; writes are whole lines.
    Lines(Box<dyn WriteFd>),
    /// A file that is replaced as a whole by each batch.
    Replace(PathBuf),
    /// A recording, appended to.
    Record(Box<RecordingFile>),
}

trait WriteFd: Write + AsFd + Send {}
impl<T: Write + AsFd + Send> WriteFd for T {}

impl Output {
    /// An output to a descriptor: a file, or a duplicate of standard output; `name` is what
    /// error messages call it.
    pub fn new(name: impl Into<String>, file: impl Write + AsFd + Send + 'static) -> Self {
        Self { name: name.into(), way: Way::Lines(Box::new(file)) }
    }

    /// An output that replaces the regular file `path` by each batch of rows, so that a reader
    /// finds one whole batch there, as the textfile collector of `node_exporter` needs it. The
    /// file keeps its mode and, as far as this process may give it away, its owner.
    #[must_use]
    pub fn replacing(path: PathBuf) -> Self {
        Self { name: path.display().to_string(), way: Way::Replace(path) }
    }

    /// An output to a recording; `name` is what error messages call it.
    #[must_use]
    pub fn recording(name: String, file: RecordingFile) -> Self {
        Self { name, way: Way::Record(Box::new(file)) }
    }

    fn write_batch(&mut self, text: &[u8]) -> io::Result<()> {
        match &mut self.way {
            Way::Record(file) => file.write(text),
            Way::Lines(file) => write_lines(file.as_mut(), text),
            Way::Replace(path) => replace(path, text),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match &mut self.way {
            Way::Record(file) => file.finish(),
            Way::Lines(_) | Way::Replace(_) => Ok(()),
        }
    }
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut new = path.to_owned().into_os_string();
    new.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(new);
    let replaced = write_new(&new, path, text).and_then(|()| std::fs::rename(&new, path));
    if replaced.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
        let _ = std::fs::remove_file(&new);
    }
    replaced
}

/// Writes a file that was not there before, so that nobody else's is touched, with the mode and
/// owner of the one that it will replace.
fn write_new(new: &Path, old: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = std::fs::File::create_new(new)?;
    if let Ok(old) = std::fs::metadata(old) {
        // Only root may give a file away; anybody may keep their own.
        let _ = std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()));
        file.set_permissions(old.permissions())?;
    }
    file.write_all(text)
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
