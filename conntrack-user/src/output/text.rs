//! Rows as text, and where the text goes: a descriptor, a file that each batch replaces, or one
//! that is appended to.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::descriptor::Descriptor;
use super::fifo::Fifo;
use super::target::Reopening;
pub use super::target::{NoReader, Target};
use super::textfile::Textfile;
use crate::confine::Rewrites;
use crate::format::Encoder;
use crate::metric::Metric;
use crate::output::{Destination, Emission, WriteOutcome};
use crate::recording::{FileChange, FileError, RecordingFile};

/// How long a file that could not be opened again is left in peace.
const RETRY: Duration = Duration::from_secs(1);

/// How often a batch is written to a file that is truncated at that moment.
const ATTEMPTS: u32 = 3;

/// Rows as text.
pub struct Text {
    encoder: Box<dyn Encoder>,
    output: Output,
    buffer: Vec<u8>,
    /// Why nothing can be written now, such as a full disk; later rows may be.
    failure: Option<io::Error>,
    /// Emissions that were not written.
    lost: u64,
    refused: Option<Refused>,
}

/// A change of the file that could not be followed.
struct Refused {
    change: FileChange,
    at: Instant,
    kind: io::ErrorKind,
    why: String,
}

/// Why a batch was not written.
enum WriteFailure {
    /// Later batches may be written.
    Passing(io::Error),
    /// The run ends.
    Final(io::Error),
}

impl From<io::Error> for WriteFailure {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::Passing(error) } else { Self::Final(error) }
    }
}

impl Text {
    /// Text in the encoder's format, to `output`.
    #[must_use]
    pub fn new(encoder: Box<dyn Encoder>, output: Output) -> Self {
        Self { encoder, output, buffer: Vec::new(), failure: None, lost: 0, refused: None }
    }
}

impl Destination for Text {
    fn wants_whole_batches(&self) -> bool {
        self.encoder.wants_whole_batches()
    }

    fn rewrites(&self) -> Option<Rewrites<'_>> {
        match &self.output.way {
            TextTarget::Lines(_) => None,
            TextTarget::Fifo(fifo) => Some(Rewrites::Reopened(fifo.path())),
            TextTarget::Replace(file) => Some(Rewrites::Replaced(file.path())),
            TextTarget::Append(file) if file.rotates() => Some(Rewrites::Aside(file.path())),
            TextTarget::Append(file) => Some(Rewrites::Reopened(file.path())),
        }
    }

    fn write(&mut self, emissions: Vec<Emission<'_>>) -> io::Result<WriteOutcome> {
        let number = emissions.len() as u64;
        let is_whole = self.wants_whole_batches();
        let rows = emissions.into_iter().flat_map(|Emission { rows, standing, .. }| {
            let standing = if is_whole { standing } else { &[] };
            rows.into_iter().chain(standing.iter().cloned())
        });
        let rows: Vec<Metric> = rows.collect();
        match self.write_rows(&rows) {
            Ok(()) => {}
            Err(WriteFailure::Passing(error)) => {
                self.lose(number, error);
                return Ok(WriteOutcome::Lost);
            }
            Err(WriteFailure::Final(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                if !matches!(self.output.way, TextTarget::Fifo(_)) {
                    return Err(error);
                }
                // The next reader wants the header, too.
                self.encoder.begin_again(None);
                self.lose(number, error);
                return Ok(WriteOutcome::Lost);
            }
            Err(WriteFailure::Final(error)) => return Err(self.cannot(&error)),
        }
        if self.failure.take().is_some() {
            let (name, lost) = (&self.output.name, number_of_emissions(self.lost));
            log::warn!("{name} can be written again; {lost} in all were lost");
        }
        if let Some(notice) = self.encoder.take_notice() {
            log::warn!("{notice}");
        }
        Ok(WriteOutcome::Written)
    }

    fn reopen(&mut self) {
        self.refused = None;
        if self.follow_links() {
            return;
        }
        let name = &self.output.name;
        match &mut self.output.way {
            TextTarget::Fifo(fifo) => {
                if fifo.close_if_replaced() {
                    self.encoder.begin_again(None);
                    log::info!(
                        "{name} was replaced; rows go into the new FIFO once a process reads it"
                    );
                } else {
                    log::info!("{name} is a FIFO; it is opened again when its reader is gone");
                }
            }
            TextTarget::Lines(descriptor) if descriptor.is_of_file() => {
                log::info!(
                    "{name} is a file without a name, so it is not reopened; name it by --output"
                );
            }
            TextTarget::Lines(_) => log::info!("{name} is not a file, so it is not reopened"),
            TextTarget::Replace(_) => {
                log::info!("{name} is replaced by each emission; it needs no reopening");
            }
            TextTarget::Append(file) if file.change().is_none() => {
                log::info!("{name} was not moved; it stays open");
            }
            TextTarget::Append(_) => {
                if let Err(failure) = self.follow_changes() {
                    let (WriteFailure::Passing(error) | WriteFailure::Final(error)) = failure;
                    log::error!("{}", self.cannot(&error));
                }
            }
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        let finished = self.failure.take().map_or_else(|| self.output.finish(), Err);
        finished.map_err(|error| self.cannot(&error))
    }
}

impl Text {
    /// Writes rows as one batch; again where the file was truncated meanwhile.
    fn write_rows(&mut self, rows: &[Metric]) -> Result<(), WriteFailure> {
        for _ in 0..ATTEMPTS {
            self.follow_changes()?;
            self.buffer.clear();
            self.encoder.encode(rows, &mut self.buffer);
            if self.output.write_batch(&self.buffer)? {
                return Ok(());
            }
        }
        // Also a file that was moved and then truncated, which cannot be followed.
        Err(WriteFailure::Passing(io::Error::other("it is truncated while it is written")))
    }

    /// Goes on in another file where the links of the given name were changed. Returns whether they
    /// were, also where rows go on into the old file.
    fn follow_links(&mut self) -> bool {
        let Some(reopening) = self.output.reopening.clone() else { return false };
        let given = reopening.given.display();
        let old = reopening.path.display();
        let target = match reopening.other_target() {
            Ok(None) => return false,
            Ok(Some(target)) => target,
            Err(error) => {
                log::error!("{error:#}; rows go on into {old}");
                return true;
            }
        };
        if let Target::Path { path, .. } = &target
            && self.output.is_now_at(path)
        {
            log::info!("{given} leads to {} now, which is the same file", path.display());
            return true;
        }
        match reopening.open(&target) {
            Ok((output, header)) => {
                let mut old = std::mem::replace(&mut self.output, output);
                // The last frame of the old file; its rows can be read without the end, too.
                let _ = old.finish();
                self.encoder.begin_again(header.as_deref());
                log::info!("{given} leads to {} now; rows follow it", self.output.name);
            }
            Err(error) => {
                let (kind, why) = error
                    .downcast_ref()
                    .map_or_else(|| (io::ErrorKind::Other, format!("{error:#}")), reason);
                log::error!("cannot follow {given}: {why}; rows go on into {old}");
                advise(kind);
            }
        }
        true
    }

    /// Counts emissions that were not written, with a warning when the reason is another one.
    fn lose(&mut self, emissions: u64, error: io::Error) {
        self.lost += emissions;
        let why = error.to_string();
        if self.failure.as_ref().is_none_or(|failure| failure.to_string() != why) {
            let until = match error.kind() {
                io::ErrorKind::BrokenPipe => "one opens it again",
                _ if is_full(&error) => "there is room",
                _ => "it can be written again",
            };
            log::warn!("cannot write to {}: {why}; rows are lost until {until}", self.output.name);
            advise(error.kind());
        }
        self.failure = Some(error);
    }

    /// Begins again where another program moved, removed, truncated or overwrote the file. Where that
    /// cannot be done, rows go on into a file that was moved; otherwise they are lost.
    fn follow_changes(&mut self) -> Result<(), WriteFailure> {
        let name = &self.output.name;
        let file = match &mut self.output.way {
            TextTarget::Lines(descriptor) if descriptor.was_truncated() => {
                descriptor.begin_again()?;
                self.encoder.begin_again(None);
                log::info!("{name} was truncated; it is begun again");
                return Ok(());
            }
            TextTarget::Lines(_) | TextTarget::Fifo(_) | TextTarget::Replace(_) => return Ok(()),
            TextTarget::Append(file) => file,
        };
        let Some(change) = file.change() else {
            self.refused = None;
            return Ok(());
        };
        let same = self.refused.as_ref().filter(|refused| refused.change == change);
        if let Some(refused) = same.filter(|refused| refused.at.elapsed() < RETRY) {
            return refused.outcome();
        }
        match file.begin_again(change) {
            Ok(begun) => {
                self.refused = None;
                self.encoder.begin_again(begun.header.as_deref());
                match change {
                    FileChange::Overwritten => {
                        log::warn!("{name} was {change}; rows follow its text");
                    }
                    FileChange::Truncated => log::info!("{name} was {change}; it is begun again"),
                    FileChange::Moved | FileChange::Removed => {
                        log::info!("{name} was {change}; rows go into a new file of this name");
                    }
                }
                if begun.cut > 0 {
                    log::warn!("{name} ended within a record; its {} bytes are cut off", begun.cut);
                }
                Ok(())
            }
            Err(error) => {
                let (kind, why) = reason(&error);
                let is_new = same.is_none_or(|refused| refused.why != why);
                let refused = Refused { change, at: Instant::now(), kind, why };
                if is_new && change == FileChange::Moved {
                    let why = &refused.why;
                    log::warn!("{name} was moved; rows go on into the old file: {why}");
                    advise(kind);
                }
                self.refused.insert(refused).outcome()
            }
        }
    }

    fn cannot(&self, error: &io::Error) -> io::Error {
        let lost = match (self.lost, is_full(error)) {
            (0, _) => String::new(),
            (lost, true) => format!("; {} found no room", number_of_emissions(lost)),
            (lost, false) => format!("; {} lost", number_of_emissions(lost)),
        };
        io::Error::other(format!("cannot write to {}: {error}{lost}", self.output.name))
    }
}

impl Refused {
    /// Rows may go on into a file that was moved: it has another name.
    fn outcome(&self) -> Result<(), WriteFailure> {
        match self.change {
            FileChange::Moved => Ok(()),
            change => {
                let text = format!("it was {change}, and cannot be begun again: {}", self.why);
                Err(WriteFailure::Passing(io::Error::new(self.kind, text)))
            }
        }
    }
}

fn number_of_emissions(count: u64) -> String {
    if count == 1 { "1 emission".to_owned() } else { format!("{count} emissions") }
}

/// Why a file cannot be opened again.
fn reason(error: &FileError) -> (io::ErrorKind, String) {
    match error {
        FileError::Io(_, error) => (error.kind(), error.to_string()),
        error => (io::ErrorKind::Other, error.to_string()),
    }
}

/// Logs what to do about a file that this process may not open again.
fn advise(kind: io::ErrorKind) {
    // Landlock allows the directory that was there at the start, not another of its name.
    if kind == io::ErrorKind::PermissionDenied {
        log::info!(
            "if privileges for it were given up at the start: restart ctpulse, or run it with --confine off"
        );
    }
}

/// Where the bytes go.
pub struct Output {
    /// What error messages call it.
    name: String,
    way: TextTarget,
    /// How it is opened again, where it has a name.
    pub(super) reopening: Option<Reopening>,
}

enum TextTarget {
    /// A descriptor that is open.
    Lines(Descriptor),
    /// A FIFO of the file system, which another reader may open later.
    Fifo(Fifo),
    /// A file that is replaced as a whole by each batch.
    Replace(Textfile),
    /// A file that is appended to.
    Append(Box<RecordingFile>),
}

impl Output {
    /// An output to a descriptor: a file, or a duplicate of standard output; `name` is what
    /// error messages call it.
    #[must_use]
    pub fn new(name: impl Into<String>, file: File) -> Self {
        Self::named(name.into(), TextTarget::Lines(Descriptor::new(file)))
    }

    /// An output to the FIFO `path`, which was opened as `file`.
    #[must_use]
    pub fn fifo(path: PathBuf, file: File) -> Self {
        Self::named(path.display().to_string(), TextTarget::Fifo(Fifo::new(path, file)))
    }

    /// An output that replaces the regular file `path` by each batch of rows.
    #[must_use]
    pub fn replacing(path: PathBuf) -> Self {
        Self::named(path.display().to_string(), TextTarget::Replace(Textfile::new(path)))
    }

    /// An output to a file that is appended to; `name` is what error messages call it.
    #[must_use]
    pub fn recording(name: String, file: RecordingFile) -> Self {
        Self::named(name, TextTarget::Append(Box::new(file)))
    }

    fn named(name: String, way: TextTarget) -> Self {
        Self { name, way, reopening: None }
    }

    /// Checks that it can be written to as far as that is not known from its opening.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn check(&self) -> io::Result<()> {
        match &self.way {
            TextTarget::Replace(file) => file.check(),
            TextTarget::Lines(_) | TextTarget::Fifo(_) | TextTarget::Append(_) => Ok(()),
        }
    }

    /// Takes over a new name of the file that is open, which its lock keeps from being opened again.
    /// Returns `false` where `path` is another file.
    fn is_now_at(&mut self, path: &Path) -> bool {
        let TextTarget::Append(file) = &mut self.way else { return false };
        if !file.is_now_at(path) {
            return false;
        }
        self.name = path.display().to_string();
        if let Some(reopening) = &mut self.reopening {
            path.clone_into(&mut reopening.path);
        }
        true
    }

    /// Writes a batch; `false` where the file was truncated meanwhile.
    fn write_batch(&mut self, text: &[u8]) -> Result<bool, WriteFailure> {
        match &mut self.way {
            TextTarget::Append(file) => Ok(file.write(text)?),
            TextTarget::Lines(descriptor) => {
                descriptor.write(text)?;
                Ok(true)
            }
            TextTarget::Fifo(fifo) => match fifo.write(text) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(error.into()),
                // It may be made again.
                Err(error) => Err(WriteFailure::Passing(error)),
            },
            TextTarget::Replace(file) => match file.write(text) {
                Ok(()) => Ok(true),
                // The directory may come back, as a recording's may.
                Err(error) if file.was_written() && !is_full(&error) => {
                    Err(WriteFailure::Passing(error))
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match &mut self.way {
            TextTarget::Append(file) => file.finish(),
            TextTarget::Lines(_) | TextTarget::Fifo(_) | TextTarget::Replace(_) => Ok(()),
        }
    }
}

/// Whether there may be room for it later.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
