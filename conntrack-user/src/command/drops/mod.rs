//! `ctpulse drops`: each drop as it happens, with its cause and its connection, or with `--invalid` each
//! INVALID packet.
//!
//! The programs put reports into a ring, which is read at intervals until a signal arrives. `--top`
//! prints a table of sums at intervals. Totals come from the programs' counters, which are complete
//! where reports were lost.

mod causes;
mod invalid;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use conntrack_ebpf::REPORT_WINDOW_BITS;
use rustix::time::{ClockId, clock_gettime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::stream::{HUNG_UP, Turn, is_ignored};
use crate::cli::{DropsArgs, DropsFormat};
use crate::drops::top::Top;
use crate::logging;
use crate::notices::{CannotBegin, StartNotice};
use crate::output::StandardOutput;
use crate::schema::raw::StatTable;
use crate::settings::Source;
use crate::source::cpu_mask;
use crate::source::ebpf::probe_table::Hook;
use crate::source::ebpf::{AttachOptions, Events, EventsError, HookState, check_host};
use crate::source::existence;
use crate::source::namespace::Pinned;
use crate::source::reader::Reader;
use crate::source::roots::Place;

use causes::CauseReporter;
pub(super) use causes::watch_drops;
pub(super) use invalid::InvalidReasons;
use invalid::InvalidReporter;

/// How often the ring is read: without a visible delay, and at a low cost.
const LOOK: Duration = Duration::from_millis(25);

/// How often the module with the probed functions is checked: the kernel detaches the probes of an
/// unloaded module without a message.
const ALIVE: Duration = Duration::from_millis(500);

/// The context of a failed write.
const NOT_WRITTEN: &str = "cannot write to standard output";

pub(super) fn run(args: &DropsArgs) -> anyhow::Result<ExitCode> {
    let level = super::log_level(args.debug, args.quiet);
    logging::start(logging::LogReader::Person, level);
    let roots = args.source.roots();
    for name in super::namespaces(&args.source) {
        existence::check(&roots, name)?;
    }
    let subject = if args.invalid { InvalidReporter::SUBJECT } else { CauseReporter::SUBJECT };
    // Before the namespaces are opened: what the kernel lacks is the first reason.
    check_host().map_err(|error| CannotBegin::drops(subject, &error))?;
    let names = Names::new(args)?;
    let turn = if args.invalid {
        let reporter = InvalidReporter::new(args, names);
        run_with(args, reporter.map_err(|error| without_probes(subject, error))?)
    } else {
        let reporter = CauseReporter::new(args, names);
        run_with(args, reporter.map_err(|error| without_probes(subject, error))?)
    }?;
    Ok(if turn == Turn::HangUp { ExitCode::from(HUNG_UP) } else { ExitCode::SUCCESS })
}

fn run_with(args: &DropsArgs, reporter: impl Reporter) -> anyhow::Result<Turn> {
    let place = Place::resolve(&args.source.roots(), &super::namespaces(&args.source)[0]);
    let mut statistics = Reader::new(place, Vec::new(), Source::Auto);
    // Without them an unloaded module is not noticed.
    let _ = statistics.open_missing(true, &mut |_| {});
    super::runtime()?.block_on(watch(args, reporter, &mut statistics))
}

/// Returns the error of `drops` where probes are the reason.
fn without_probes(subject: &str, error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(no_probes) => CannotBegin::drops(subject, no_probes).into(),
        None => error,
    }
}

/// The sampled namespaces and their names.
struct Names {
    namespaces: Vec<(Pinned, String)>,
    /// Whether lines name their namespace.
    many: bool,
}

impl Names {
    fn new(args: &DropsArgs) -> anyhow::Result<Self> {
        let namespaces = super::pinned_namespaces(&args.source)?;
        Ok(Self { namespaces, many: args.source.netns.len() > 1 })
    }

    fn pinned(&self) -> Vec<Pinned> {
        self.namespaces.iter().map(|(pinned, _)| pinned.clone()).collect()
    }

    /// The name that a line has, of the namespace with this inode number.
    fn of(&self, inode: u32) -> Option<&str> {
        let name = self.namespaces.iter().find(|(pinned, _)| pinned.inode == inode);
        name.filter(|_| self.many).map(|(_, name)| name.as_str())
    }
}

/// The limit of reports, and one more than the highest CPU number.
struct Rate {
    /// Of each CPU in one window.
    reports: u64,
    cpus: usize,
}

impl Rate {
    fn new(limit: u64) -> anyhow::Result<Self> {
        let cpus = cpu_mask::read("/sys".as_ref()).context("the CPUs are not known")?;
        Ok(Self { reports: share(limit, cpus.len()), cpus: cpu_mask::length(&cpus) })
    }
}

/// A CPU's share of the limit in one window: one at least, so that none is silent.
fn share(limit: u64, cpus: usize) -> u64 {
    let windows = 1e9 / f64::from(1u32 << REPORT_WINDOW_BITS);
    ((limit as f64 / windows / cpus.max(1) as f64) as u64).max(1)
}

/// Attaches hooks, and logs those that cannot be attached.
fn attach_hooks(wanted: &AttachOptions<'_>, cannot: &'static str) -> anyhow::Result<Events> {
    let events = Events::attach(wanted).context(cannot)?;
    events.log_diagnostics();
    let asked = |(_, state): &(&Hook, &HookState)| !matches!(state, HookState::NotAsked(_));
    let asked = events.states().filter(asked);
    let hooks = events.hook_count();
    if hooks.attached < hooks.of {
        log::warn!("{}", StartNotice::Probes(hooks));
    }
    for (hook, state) in asked.filter(|(_, state)| !state.is_attached()) {
        log::debug!("no {}: {state}", hook.name);
    }
    if let Some(warning) = events.confuses_refusals() {
        log::warn!("{warning}");
    }
    Ok(events)
}

/// The error where the kernel's types are not known.
fn blind(events: &Events) -> EventsError {
    let types = events.blind().map(ToString::to_string).unwrap_or_default();
    let others = "a drop does not say its namespace otherwise".to_owned();
    EventsError::Blind { types, others }
}

/// Logs how many calls the probes missed.
fn log_missed(events: &Events) {
    match events.missed() {
        Some(0) => {}
        Some(missed) => log::warn!(
            "the probes missed {missed} calls of the kernel's functions, so the numbers above are \
             too low by as many"
        ),
        None => log::info!("how many calls the probes missed is not known on this kernel"),
    }
}

/// Returns the difference between the time of day and the monotonic clock, in nanoseconds.
fn offset_ns() -> i64 {
    let monotonic = clock_gettime(ClockId::Monotonic);
    let monotonic = monotonic.tv_sec * 1_000_000_000 + monotonic.tv_nsec;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX) - monotonic
}

/// The reports of one kind, and the form in which they are printed.
trait Reporter {
    /// What is reported, in messages.
    const SUBJECT: &'static str;

    /// The columns of the lines for a person.
    const HEADER: &'static str;

    /// Takes the next report; `None` without one. Returns its line, or nothing for a report that is only
    /// in the table or not printed at all.
    fn take_next(&mut self, offset_ns: i64) -> Option<Option<String>>;

    /// The sums of `--top`.
    fn top(&self) -> Option<&Top>;

    /// Returns the text for standard output at the end.
    ///
    /// # Errors
    /// The kernel's.
    fn last_text(&mut self) -> anyhow::Result<String> {
        Ok(String::new())
    }

    /// Logs the totals of the programs' counters, and how far they can be trusted.
    ///
    /// # Errors
    /// The kernel's.
    fn log_totals(&mut self) -> anyhow::Result<()>;
}

/// Prints reports until the end of the run.
///
/// # Errors
/// When the probes are gone, or the output cannot be written. A reader that has gone is no error.
async fn watch(
    args: &DropsArgs,
    reporter: impl Reporter,
    statistics: &mut Reader,
) -> anyhow::Result<Turn> {
    let left = args.count.unwrap_or(u64::MAX);
    let out = StandardOutput::open().context("cannot write to standard output")?;
    let out = BufWriter::new(out);
    match (Watch { args, reporter, statistics, out, left }).run().await {
        Err(error) if is_broken_pipe(&error) => Ok(Turn::End),
        turn => turn,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The signals of a run. Those that were ignored at the start stay without effect.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    has_interrupt: bool,
    has_hang_up: bool,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let wait_for = |kind| signal(kind).context("cannot wait for signals");
        // Before the handlers, which replace the disposition.
        let [has_interrupt, has_hang_up] =
            [SignalKind::interrupt(), SignalKind::hangup()].map(|kind| !is_ignored(kind));
        let signals = Self {
            interrupt: wait_for(SignalKind::interrupt())?,
            terminate: wait_for(SignalKind::terminate())?,
            hang_up: wait_for(SignalKind::hangup())?,
            has_interrupt,
            has_hang_up,
        };
        crate::command::hang_up::release();
        Ok(signals)
    }

    /// Waits for a signal that ends the run.
    async fn next(&mut self) -> Turn {
        tokio::select! {
            _ = self.interrupt.recv(), if self.has_interrupt => Turn::End,
            _ = self.terminate.recv() => Turn::End,
            _ = self.hang_up.recv(), if self.has_hang_up => Turn::HangUp,
        }
    }
}

/// A run of `ctpulse drops` with its output.
struct Watch<'a, R> {
    args: &'a DropsArgs,
    reporter: R,
    /// The statistics of the module that the probes are in.
    statistics: &'a mut Reader,
    out: BufWriter<StandardOutput>,
    /// The number of lines that may still be printed.
    left: u64,
}

impl<R: Reporter> Watch<'_, R> {
    async fn run(mut self) -> anyhow::Result<Turn> {
        let mut signals = Signals::new()?;
        // A signal that comes after this line ends the run with its totals.
        log::info!("waiting for {}; Ctrl-C ends", R::SUBJECT);
        let over = tokio::time::sleep(self.args.duration.unwrap_or(Duration::MAX));
        tokio::pin!(over);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut alive = tokio::time::interval(ALIVE);
        let mut read = StatTable::default();
        let mut table = tokio::time::interval(self.args.interval.max(LOOK));
        table.tick().await;
        let has_table = self.reporter.top().is_some();
        if !has_table && self.args.format == DropsFormat::Human {
            self.print(R::HEADER)?;
        }
        let mut end = None;
        while end.is_none() {
            let mut is_table_due = false;
            tokio::select! {
                _ = look.tick() => {}
                _ = alive.tick(), if self.statistics.has_statistics() => {
                    self.check_module(&mut read)?;
                }
                _ = table.tick(), if has_table => is_table_due = true,
                () = &mut over => end = Some(Turn::End),
                turn = signals.next() => end = Some(turn),
            }
            self.print_reports()?;
            end = end.or((self.left == 0).then_some(Turn::End));
            if is_table_due || end.is_some() {
                self.print_table()?;
            }
            self.flush()?;
        }
        let text = self.reporter.last_text()?;
        write!(self.out, "{text}").context(NOT_WRITTEN)?;
        self.flush()?;
        self.reporter.log_totals()?;
        Ok(end.unwrap_or(Turn::End))
    }

    fn print(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.out, "{line}").context(NOT_WRITTEN)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.out.flush().context(NOT_WRITTEN)
    }

    /// Checks that the module is still loaded: an unloaded one takes the probes along.
    fn check_module(&mut self, read: &mut StatTable) -> anyhow::Result<()> {
        match self.statistics.check().and_then(|()| self.statistics.read_stat(read)) {
            Err(error) if !error.is_passing() => {
                bail!("the probes have gone with what they were in ({error}); start again");
            }
            _ => Ok(()),
        }
    }

    /// Prints the reports that have arrived, up to the number of lines that are left.
    fn print_reports(&mut self) -> anyhow::Result<()> {
        let offset = offset_ns();
        while self.left > 0
            && let Some(text) = self.reporter.take_next(offset)
        {
            if let Some(text) = text {
                self.left -= 1;
                self.print(&text)?;
            }
        }
        Ok(())
    }

    /// Prints the table of `--top`.
    fn print_table(&mut self) -> anyhow::Result<()> {
        match self.reporter.top() {
            Some(top) => writeln!(self.out, "{}", top.table(self.args.lines)).context(NOT_WRITTEN),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cpu_has_a_share_of_the_limit() {
        // 119 windows a second.
        assert_eq!(share(2000, 2), 8);
        assert_eq!(share(1_000_000, 4), 2097);
        assert_eq!(share(1, 64), 1);
    }
}
