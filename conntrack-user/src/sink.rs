//! The consumer's side: windows become rows, rows are filtered, encoded and written.
//!
//! One thread serves all inputs. It is the only one that writes to the output, so a line is
//! never torn by another, and the only one that may block there.

use std::collections::HashSet;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use log::Level;
use rustix::event::{PollFd, PollFlags, poll};

use crate::filter::Filter;
use crate::format::Encoder;
use crate::metric::Metric;
use crate::rows::RowBuilder;
use crate::sampler::{Notice, Outbox};
use crate::source::procfs::StatError;
use crate::source::sysctl::SysctlError;

/// Pipes take writes up to this size whole or not at all (POSIX `PIPE_BUF`, 4,096 on Linux).
const WHOLE_WRITE: usize = 4096;

/// One input's way from windows to rows.
#[derive(Debug)]
pub struct Lane {
    /// What log lines call the input.
    pub name: String,
    /// The lowest level that the input logs, if it has its own.
    pub log_level: Option<log::LevelFilter>,
    /// The sampler's hand-over.
    pub outbox: Outbox,
    /// Makes the rows.
    pub rows: RowBuilder,
    /// Changes and drops them.
    pub filter: Filter,
    /// Emissions written so far.
    pub written: u64,
}

/// Why the sink ended, or what it has to say meanwhile.
#[derive(Debug)]
pub enum Event {
    /// Every input has written as many emissions as were asked for.
    CountReached,
    /// Nobody reads the output any more (EPIPE).
    ConsumerGone,
    /// The output cannot be written.
    WriteFailed(io::Error),
}

/// What the sink works on until it is told to stop.
pub struct Sink {
    /// The inputs.
    pub lanes: Vec<Lane>,
    /// The output's format.
    pub encoder: Box<dyn Encoder>,
    /// Where the bytes go.
    pub output: Output,
    /// Emissions to write per input; `None` for no end.
    pub count: Option<u64>,
    /// Set when the samplers have ended: write what is left and end.
    pub draining: Arc<AtomicBool>,
    /// Bytes written so far.
    pub bytes: Arc<AtomicU64>,
    /// Told what ends the run.
    pub on_event: Box<dyn Fn(Event) + Send>,
}

/// An unbuffered output whose writes are whole lines.
pub struct Output(Box<dyn WriteFd>);

trait WriteFd: Write + AsFd + Send {}
impl<T: Write + AsFd + Send> WriteFd for T {}

impl Output {
    /// An output to a descriptor: a file, or a duplicate of standard output.
    pub fn new(file: impl Write + AsFd + Send + 'static) -> Self {
        Self(Box::new(file))
    }

    /// Writes `text`, which consists of whole lines, in pieces of whole lines that a pipe takes
    /// at once: whoever ends this process in between leaves no torn line there.
    ///
    /// # Errors
    /// The system's error; a descriptor that would block is waited for.
    fn write_lines(&mut self, mut text: &[u8]) -> io::Result<()> {
        while !text.is_empty() {
            let mut piece = text.len();
            if piece > WHOLE_WRITE {
                let end = text[..WHOLE_WRITE].iter().rposition(|&byte| byte == b'\n');
                let longer = || text.iter().position(|&byte| byte == b'\n');
                piece = end.or_else(longer).map_or(text.len(), |newline| newline + 1);
            }
            let (now, later) = text.split_at(piece);
            self.write_all_waiting(now)?;
            text = later;
        }
        Ok(())
    }

    fn write_all_waiting(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.0.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Somebody who shares the descriptor made it non-blocking.
                    poll(&mut [PollFd::new(&self.0.as_fd(), PollFlags::OUT)], None)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Sink {
    /// Serves the inputs until draining is asked for and nothing is left, or the output fails.
    pub fn run(mut self) {
        let mut text = Vec::new();
        let mut told = HashSet::new();
        let mut count_told = false;
        loop {
            let draining = self.draining.load(Ordering::Acquire);
            let mut idle = true;
            for lane in &mut self.lanes {
                while let Ok(notice) = lane.outbox.notices.pop() {
                    lane.tell(&notice, &mut told);
                }
                while self.count.is_none_or(|count| lane.written < count) {
                    let Ok(window) = lane.outbox.windows.pop() else { break };
                    idle = false;
                    let rows = lane.rows.rows(&window).into_iter();
                    // The ring has room for every window there is.
                    let _ = lane.outbox.spent.push(window);
                    let rows: Vec<Metric> = rows.filter_map(|row| lane.filter.apply(row)).collect();
                    text.clear();
                    self.encoder.encode(&rows, &mut text);
                    if let Err(error) = self.output.write_lines(&text) {
                        (self.on_event)(if error.kind() == io::ErrorKind::BrokenPipe {
                            Event::ConsumerGone
                        } else {
                            Event::WriteFailed(error)
                        });
                        return;
                    }
                    lane.written += 1;
                    self.bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
                    if let Some(notice) = self.encoder.take_notice() {
                        log::warn!("{notice}");
                    }
                }
            }
            let reached = |count| self.lanes.iter().all(|lane| lane.written >= count);
            if !count_told && self.count.is_some_and(reached) {
                (self.on_event)(Event::CountReached);
                count_told = true;
            }
            if draining && idle {
                return;
            }
            if idle {
                std::thread::park();
            }
        }
    }
}

impl Lane {
    /// Logs a notice; one about the same file is told once.
    fn tell(&self, notice: &Notice, told: &mut HashSet<(String, PathBuf)>) {
        let level = if matches!(notice, Notice::Found(_)) { Level::Info } else { Level::Warn };
        if self.log_level.is_some_and(|lowest| level > lowest) {
            return;
        }
        if let Notice::Sysctl(SysctlError::Read { path, .. } | SysctlError::NotANumber { path, .. }) =
            notice
            && !told.insert((self.name.clone(), path.clone()))
        {
            return;
        }
        let name = &self.name;
        match notice {
            Notice::Lost(error @ StatError::Missing(_)) => log::warn!(
                "[{name}] {error}: the nf_conntrack module is not loaded, or this kernel is built \
                 without CONFIG_NF_CONNTRACK_PROCFS (`ctpulse doctor` tells which); looking again"
            ),
            Notice::Lost(error) => log::warn!("[{name}] {error}"),
            Notice::Found(path) => log::info!("[{name}] reading {}", path.display()),
            Notice::Sysctl(error) => log::warn!("[{name}] {error}; the field is left out"),
            Notice::Odd(odd) => log::warn!(
                "[{name}] the statistics file has {} unreadable, {} short and {} long rows{}; \
                 what could be read is used",
                odd.bad_rows,
                odd.short_rows,
                odd.long_rows,
                if odd.first_bad_line == 0 {
                    String::new()
                } else {
                    format!(" (the first unreadable one is line {})", odd.first_bad_line)
                },
            ),
            Notice::Foreign => log::warn!(
                "[{name}] the host's network namespace cannot be entered without CAP_SYS_ADMIN: \
                 ip_conntrack_count and other per-namespace files are left out (`entries` has \
                 the count)"
            ),
        }
    }
}
