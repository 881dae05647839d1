//! The consumer's side: windows become rows, rows are filtered, encoded and written.
//!
//! One thread serves all inputs. It is the only one that writes to the output, so a line is
//! never torn by another, and the only one that may block there.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use log::Level;
use rustix::event::{PollFd, PollFlags, poll};

use crate::filter::Filter;
use crate::format::Encoder;
use crate::handoff::{Notice, Outbox};
use crate::internal;
use crate::logging::INPUT_TARGET;
use crate::loss::Loss;
use crate::metric::Metric;
use crate::recording::RecordingFile;
use crate::rows::RowBuilder;
use crate::source::procfs::StatError;

/// Pipes take writes up to this size whole or not at all (POSIX `PIPE_BUF`, 4,096 on Linux).
const WHOLE_WRITE: usize = 4096;

/// One input's way from windows to rows.
#[derive(Debug)]
pub struct Lane {
    /// What log lines call the input.
    pub name: String,
    /// The lowest level that the input logs.
    pub log_level: log::LevelFilter,
    /// The sampler's hand-over.
    pub outbox: Outbox,
    /// Makes the rows.
    pub rows: RowBuilder,
    /// Changes and drops them.
    pub filter: Filter,
    /// Rows that were made and not yet written.
    pub rows_waiting: Option<Vec<Metric>>,
    /// What has been said of what was missed.
    pub told_loss: Loss,
    /// Emissions that found the disk full.
    pub not_written: u64,
    /// Emissions written so far.
    pub written: u64,
}

/// How a sink ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything was written.
    Drained,
    /// Whoever read the output has gone.
    ReaderGone,
}

/// The rows of one emission on their way out.
pub struct Emission<'a> {
    /// The rows, which share a timestamp.
    pub rows: Vec<Metric>,
    /// What made them, which knows where their numbers come from.
    pub builder: &'a RowBuilder,
}

/// What takes rows.
pub trait Destination: Send {
    /// Whether the rows of all inputs must come together.
    fn wants_whole_batches(&self) -> bool {
        false
    }

    /// Takes the rows of one emission, or of one for each input.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] when nobody wants them any more; otherwise what went wrong.
    fn write(&mut self, emissions: Vec<Emission<'_>>) -> io::Result<Fate>;

    /// Nothing more comes.
    ///
    /// # Errors
    /// What went wrong at the end, or still is.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What became of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They were taken.
    Written,
    /// There is no room for them, which was said; there may be for later ones.
    Lost,
}

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

/// What the sink works on until it is told to stop.
pub struct Sink {
    /// The inputs.
    pub lanes: Vec<Lane>,
    /// Where the rows go.
    pub destination: Box<dyn Destination>,
    /// Emissions to write per input; `None` for no end.
    pub count: Option<u64>,
    /// Set when the samplers have ended: write what is left and end.
    pub draining: Arc<AtomicBool>,
    /// Rows with a value written so far.
    pub rows: Arc<AtomicU64>,
    /// Called when the run has come to its end: every input has written as many emissions as were
    /// asked for, nobody reads the output any more, or it cannot be written.
    pub on_end: Box<dyn Fn() + Send>,
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

impl Sink {
    /// Serves the inputs until draining is asked for and nothing is left.
    ///
    /// # Errors
    /// The output's error; an output that nobody reads any more is none.
    pub fn run(mut self) -> io::Result<Ending> {
        let mut count_told = false;
        loop {
            let draining = self.draining.load(Ordering::Acquire);
            let mut idle = true;
            for at in 0..self.lanes.len() {
                self.lanes[at].tell_notices();
                while self.count.is_none_or(|count| self.lanes[at].written < count)
                    && self.lanes[at].take_rows()
                {
                    idle = false;
                    if let Err(error) = self.write(at) {
                        (self.on_end)();
                        if error.kind() == io::ErrorKind::BrokenPipe {
                            return Ok(Ending::ReaderGone);
                        }
                        return Err(error);
                    }
                }
            }
            let reached = |count| self.lanes.iter().all(|lane| lane.written >= count);
            if !count_told && self.count.is_some_and(reached) {
                (self.on_end)();
                count_told = true;
            }
            if draining && idle {
                return self.destination.finish().map(|()| Ending::Drained);
            }
            if idle {
                std::thread::park();
            }
        }
    }

    /// Writes the rows of one lane, or those of all lanes once each of them has some. What is lost
    /// since there is no room is counted in later rows.
    fn write(&mut self, at: usize) -> io::Result<()> {
        let lanes = if !self.destination.wants_whole_batches() {
            &mut self.lanes[at..=at]
        } else if self.lanes.iter().all(|lane| lane.rows_waiting.is_some()) {
            &mut self.lanes[..]
        } else {
            return Ok(());
        };
        let mut emissions = Vec::new();
        for lane in &mut *lanes {
            let rows = lane.rows_waiting.take().unwrap_or_default();
            emissions.push(Emission { rows, builder: &lane.rows });
            lane.written += 1;
        }
        let of_conntrack = |row: &&Metric| row.has_values() && row.name != internal::MEASUREMENT;
        let rows = emissions.iter().flat_map(|emission| &emission.rows);
        let valued = rows.filter(of_conntrack).count();
        if let Fate::Lost = self.destination.write(emissions)? {
            lanes.iter_mut().for_each(|lane| lane.not_written += 1);
            return Ok(());
        }
        self.rows.fetch_add(valued as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl Lane {
    /// Makes rows of the next window, if there is one.
    fn take_rows(&mut self) -> bool {
        let Ok(mut window) = self.outbox.windows.pop() else { return false };
        let loss = window.loss;
        window.loss.rows_lost += self.not_written;
        let rows = self.rows.rows(&window).into_iter();
        let mut rows: Vec<Metric> = rows.filter_map(|row| self.filter.apply(row)).collect();
        rows.extend(self.rows.internal_row(&window).map(|row| self.filter.tag(row)));
        self.rows_waiting = Some(rows);
        // The ring has room for every window there is.
        let _ = self.outbox.spent.push(window);
        if let Some(notice) = self.rows.take_notice() {
            self.log(Level::Warn, format_args!("{notice}"));
        }
        if loss.rows_lost > self.told_loss.rows_lost {
            let lost = loss.rows_lost - self.told_loss.rows_lost;
            let what = "emissions found no room because the output was stuck; their events are \
                        in the rates of the next row";
            self.log(Level::Warn, format_args!("{lost} {what}"));
        }
        if loss.samples_missed > self.told_loss.samples_missed {
            let missed = loss.samples_missed - self.told_loss.samples_missed;
            self.log(
                Level::Debug,
                format_args!("{missed} ticks were left out: one before ran late"),
            );
        }
        self.told_loss = loss;
        true
    }

    fn log(&self, level: Level, text: std::fmt::Arguments<'_>) {
        if level <= self.log_level {
            log::log!(target: INPUT_TARGET, level, "[{}] {text}", self.name);
        }
    }

    fn tell_notices(&mut self) {
        while let Ok(notice) = self.outbox.notices.pop() {
            match notice {
                Notice::Lost(error @ StatError::Missing(_)) => self.log(
                    Level::Warn,
                    format_args!(
                        "{error}: the nf_conntrack module is not loaded, or this kernel is built \
                         without CONFIG_NF_CONNTRACK_PROCFS (`ctpulse doctor` tells which); \
                         looking again"
                    ),
                ),
                Notice::Lost(error) => self.log(Level::Warn, format_args!("{error}")),
                Notice::Found(path) => {
                    self.log(Level::Info, format_args!("reading {} again", path.display()));
                }
                Notice::Sysctl(error) => {
                    self.log(Level::Warn, format_args!("{error}; the field is left out"));
                }
                Notice::Odd(odd) => self.log(
                    Level::Warn,
                    format_args!(
                        "the statistics file has {} unreadable, {} short and {} long rows (first \
                         unreadable line: {}); what could be read is used",
                        odd.bad_rows, odd.short_rows, odd.long_rows, odd.first_bad_line
                    ),
                ),
                Notice::Detached => self.log(
                    Level::Info,
                    format_args!(
                        "probes detached: there are no statistics rows for their counters to stand on"
                    ),
                ),
                Notice::Attached => {
                    self.log(Level::Info, format_args!("probes attached, counting from 0"));
                }
                Notice::NotAttached(error) => self.log(
                    Level::Warn,
                    format_args!(
                        "probes cannot be attached ({error}); what they count is unknown"
                    ),
                ),
                Notice::Foreign => self.log(
                    Level::Warn,
                    format_args!(
                        "the network namespace cannot be entered without CAP_SYS_ADMIN: \
                         ip_conntrack_count and other per-namespace files are left out (`entries` \
                         has the count)"
                    ),
                ),
            }
        }
    }
}
