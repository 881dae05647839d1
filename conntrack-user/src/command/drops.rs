//! `ctpulse drops`: each drop as it happens, with its cause and its connection.
//!
//! The programs put reports into a ring, which is read at intervals until a signal arrives. `--top`
//! prints a table of sums at intervals. Totals come from the programs' counters, which are complete
//! where reports were lost.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use conntrack_ebpf::{Cause, REPORT_WINDOW_BITS};
use rustix::time::{ClockId, clock_gettime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::stream::{HUNG_UP, Turn, is_ignored};
use crate::cli::{DropsArgs, DropsFormat};
use crate::drops::histogram::histogram;
use crate::drops::top::Top;
use crate::drops::totals::Totals;
use crate::drops::{line, totals};
use crate::logging;
use crate::notices::{CannotBegin, StartNotice};
use crate::schema::raw::StatTable;
use crate::settings::Source;
use crate::source::cpu_mask;
use crate::source::ebpf::drops::{DropReport, Reports};
use crate::source::ebpf::probe_table::{HOOKS, Hook};
use crate::source::ebpf::{AttachOptions, Events, EventsError, HookState, check_host};
use crate::source::existence;
use crate::source::namespace::Pinned;
use crate::source::reader::Reader;
use crate::source::roots::Place;

/// The hooks that see drops and evictions.
const NEEDED: [&str; 9] = [
    "gc",
    "delete_list",
    "whose_drop",
    "table_full",
    "alloc",
    "nat_ports",
    "clash",
    "refusals",
    "tracker_drop",
];

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
    // Before the namespaces are opened: what the kernel lacks is the first reason.
    check_host().map_err(|error| CannotBegin::drops(&error))?;
    let namespaces = super::pinned_namespaces(&args.source)?;
    let pinned: Vec<Pinned> = namespaces.iter().map(|(pinned, _)| pinned.clone()).collect();
    let (events, reports) =
        attach(&pinned, args.limit, args.per_packet, args.latency).map_err(without_probes)?;
    let place = Place::resolve(&roots, &super::namespaces(&args.source)[0]);
    let mut statistics = Reader::new(place, Vec::new(), Source::Auto);
    // Without them an unloaded module is not noticed.
    let _ = statistics.open_missing(true, &mut |_| {});
    let view = View {
        namespaces,
        many: args.source.netns.len() > 1,
        format: args.format,
        top: (!args.top.is_empty()).then(|| Top::new(args.top.clone())),
        shown: [0; Cause::ALL.len()],
        unknown: [0; Cause::ALL.len()],
    };
    let turn = super::runtime()?.block_on(watch(args, reports, &events, &mut statistics, view))?;
    Ok(if turn == Turn::HangUp { ExitCode::from(HUNG_UP) } else { ExitCode::SUCCESS })
}

/// Returns the error of `drops` where probes are the reason.
fn without_probes(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(no_probes) => CannotBegin::drops(no_probes).into(),
        None => error,
    }
}

/// Has drops and evictions in these namespaces reported, up to `limit` a second.
pub(super) fn watch_drops(pinned: &[Pinned], limit: u64) -> anyhow::Result<(Events, Reports)> {
    attach(pinned, limit, false, false)
}

fn attach(
    pinned: &[Pinned],
    limit: u64,
    per_packet: bool,
    latency: bool,
) -> anyhow::Result<(Events, Reports)> {
    let cpus = cpu_mask::read("/sys".as_ref()).context("the CPUs are not known")?;
    let hooks: Vec<Hook> = HOOKS.into_iter().filter(|hook| NEEDED.contains(&hook.name)).collect();
    let reports = share(limit, cpus.len());
    let wanted = AttachOptions {
        hooks: &hooks,
        per_packet,
        latency,
        reports,
        ..AttachOptions::new(pinned, cpu_mask::length(&cpus))
    };
    let mut events = Events::attach(&wanted).context("drops cannot be seen")?;
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
    let Some(reports) = events.take_reports()? else {
        let types = events.blind().map(ToString::to_string).unwrap_or_default();
        let others = "a drop does not say its namespace otherwise".to_owned();
        return Err(EventsError::Blind { types, others }.into());
    };
    Ok((events, reports))
}

/// A CPU's share of the limit in one window: one at least, so that none is silent.
fn share(limit: u64, cpus: usize) -> u64 {
    let windows = 1e9 / f64::from(1u32 << REPORT_WINDOW_BITS);
    ((limit as f64 / windows / cpus.max(1) as f64) as u64).max(1)
}

/// The output, and its form.
struct View {
    namespaces: Vec<(Pinned, String)>,
    /// Whether lines name their namespace.
    many: bool,
    format: DropsFormat,
    top: Option<Top>,
    shown: totals::ByCause,
    /// The shown drops whose connection could not be read.
    unknown: totals::ByCause,
}

impl View {
    fn text(&mut self, report: &DropReport, offset_ns: i64) -> Option<String> {
        self.shown[report.cause as usize] += 1;
        self.unknown[report.cause as usize] += u64::from(report.tuple.is_none());
        if let Some(top) = &mut self.top {
            top.add(report);
            return None;
        }
        let time_ns = (report.time_ns as i64).saturating_add(offset_ns);
        let name = self.namespaces.iter().find(|(pinned, _)| pinned.inode == report.inode);
        let name = name.filter(|_| self.many).map(|(_, name)| name.as_str());
        Some(match self.format {
            DropsFormat::Human => line::human(report, time_ns, name),
            DropsFormat::Json => line::json(report, time_ns, name),
        })
    }
}

/// Returns the difference between the time of day and the monotonic clock, in nanoseconds.
fn offset_ns() -> i64 {
    let monotonic = clock_gettime(ClockId::Monotonic);
    let monotonic = monotonic.tv_sec * 1_000_000_000 + monotonic.tv_nsec;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX) - monotonic
}

/// Prints drops until the end of the run.
///
/// # Errors
/// When the probes are gone, or the output cannot be written. A reader that has gone is no error.
async fn watch(
    args: &DropsArgs,
    reports: Reports,
    events: &Events,
    statistics: &mut Reader,
    view: View,
) -> anyhow::Result<Turn> {
    let left = args.count.unwrap_or(u64::MAX);
    let out = BufWriter::new(io::stdout().lock());
    match (Watch { args, reports, events, statistics, view, out, left }).run().await {
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
        Ok(Self {
            interrupt: wait_for(SignalKind::interrupt())?,
            terminate: wait_for(SignalKind::terminate())?,
            hang_up: wait_for(SignalKind::hangup())?,
            has_interrupt,
            has_hang_up,
        })
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
struct Watch<'a> {
    args: &'a DropsArgs,
    reports: Reports,
    events: &'a Events,
    /// The statistics of the module that the probes are in.
    statistics: &'a mut Reader,
    view: View,
    out: BufWriter<StdoutLock<'static>>,
    /// The number of lines that may still be printed.
    left: u64,
}

impl Watch<'_> {
    async fn run(mut self) -> anyhow::Result<Turn> {
        let mut signals = Signals::new()?;
        // A signal that comes after this line ends the run with its totals.
        log::info!("waiting for drops; Ctrl-C ends");
        let over = tokio::time::sleep(self.args.duration.unwrap_or(Duration::MAX));
        tokio::pin!(over);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut alive = tokio::time::interval(ALIVE);
        let mut read = StatTable::default();
        let mut table = tokio::time::interval(self.args.interval.max(LOOK));
        table.tick().await;
        if self.view.top.is_none() && self.args.format == DropsFormat::Human {
            self.print(line::HEADER)?;
        }
        let mut end = None;
        while end.is_none() {
            let mut is_table_due = false;
            tokio::select! {
                _ = look.tick() => {}
                _ = alive.tick(), if self.statistics.has_statistics() => {
                    self.check_module(&mut read)?;
                }
                _ = table.tick(), if self.view.top.is_some() => is_table_due = true,
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
        if self.args.latency {
            let text = histogram(&self.reports.latencies()?);
            write!(self.out, "{text}").context(NOT_WRITTEN)?;
            self.flush()?;
        }
        self.log_totals()?;
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
            && let Some(report) = self.reports.take_next()
        {
            if let Some(text) = self.view.text(&report, offset) {
                self.left -= 1;
                self.print(&text)?;
            }
        }
        Ok(())
    }

    /// Prints the table of `--top`.
    fn print_table(&mut self) -> anyhow::Result<()> {
        match &self.view.top {
            Some(top) => writeln!(self.out, "{}", top.table(self.args.lines)).context(NOT_WRITTEN),
            None => Ok(()),
        }
    }

    /// Logs the totals of the programs' counters, and how far they can be trusted.
    fn log_totals(&mut self) -> anyhow::Result<()> {
        let namespaces = self.view.namespaces.len();
        let counted = Cause::ALL.map(|cause| counted(self.events, cause, namespaces));
        let (shown, unknown) = (self.view.shown, self.view.unknown);
        let totals = Totals { counted, shown, unknown, unreported: self.reports.unreported()? };
        let lines = totals.lines();
        if lines.is_empty() {
            log::info!("no drops and no evictions");
        }
        lines.iter().for_each(|line| log::info!("{line}"));
        match self.events.missed() {
            Some(0) => {}
            Some(missed) => log::warn!(
                "the probes missed {missed} calls of the kernel's functions, so the numbers above are \
                 too low by as many"
            ),
            None => log::info!("how many calls the probes missed is not known on this kernel"),
        }
        Ok(())
    }
}

/// How many there were in all sampled namespaces, on all CPUs.
fn counted(events: &Events, cause: Cause, namespaces: usize) -> u64 {
    (1..=namespaces).map(|slot| events.total(slot, cause.event())).sum()
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
