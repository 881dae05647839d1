//! `ctpulse drops`: each drop as it happens, with its cause and its connection.
//!
//! The programs put reports into a ring, which is looked into now and then until a signal comes; what
//! is added up is printed every so often. Totals come from the programs' counters, which miss nothing that a report
//! may.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use conntrack_ebpf::{Cause, REPORT_WINDOW_BITS};
use log::LevelFilter;
use rustix::time::{ClockId, clock_gettime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::stream::{HUNG_UP, Turn, is_ignored};
use crate::cli::{DropsArgs, DropsFormat};
use crate::drops::histogram::histogram;
use crate::drops::top::Top;
use crate::drops::totals::Totals;
use crate::drops::{line, totals};
use crate::logging;
use crate::notices::StartNotice;
use crate::schema::raw::StatTable;
use crate::settings::Source;
use crate::source::cpu_mask;
use crate::source::ebpf::drops::{DropReport, Reports};
use crate::source::ebpf::probe_table::{HOOKS, Hook};
use crate::source::ebpf::{AttachOptions, Events, HookState};
use crate::source::namespace::Pinned;
use crate::source::procfs::StatError;
use crate::source::reader::Reader;
use crate::source::roots::Place;
use crate::source::stat_text::Oddities;

/// The hooks that see drops and evictions.
const NEEDED: [&str; 8] =
    ["gc", "delete_list", "whose_drop", "table_full", "alloc", "clash", "refusals", "tracker_drop"];

/// How often the ring is looked into: at once for a person, seldom for the machine.
const LOOK: Duration = Duration::from_millis(25);

/// How often it is looked whether the module that the probes are in is still there: an unloaded one
/// takes them along without a word.
const ALIVE: Duration = Duration::from_millis(500);

pub(super) fn run(args: &DropsArgs) -> anyhow::Result<ExitCode> {
    let level = match (args.debug, args.quiet) {
        (true, _) => LevelFilter::Debug,
        (_, true) => LevelFilter::Error,
        _ => LevelFilter::Info,
    };
    logging::start(logging::LogReader::Person, level);
    let namespaces = super::pinned_namespaces(&args.source)?;
    let pinned: Vec<Pinned> = namespaces.iter().map(|(pinned, _)| pinned.clone()).collect();
    let (events, reports) = attach(&pinned, args.limit, args.per_packet, args.latency)?;
    log::info!("waiting for drops; Ctrl-C ends");
    let place = Place::resolve(&args.source.roots(), &super::namespaces(&args.source)[0]);
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
        let why = events.blind().map(ToString::to_string).unwrap_or_default();
        bail!("the namespace of a drop is unknown without the kernel's BTF ({why})");
    };
    Ok((events, reports))
}

/// A CPU's share of the limit in one window: one at least, so that none is silent.
fn share(limit: u64, cpus: usize) -> u64 {
    let windows = 1e9 / f64::from(1u32 << REPORT_WINDOW_BITS);
    ((limit as f64 / windows / cpus.max(1) as f64) as u64).max(1)
}

/// What is printed, and how.
struct View {
    namespaces: Vec<(Pinned, String)>,
    /// Whether lines must say which namespace they are of.
    many: bool,
    format: DropsFormat,
    top: Option<Top>,
    shown: totals::ByCause,
    /// Those of them whose connection could not be read.
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

/// What is added to the monotonic clock's nanoseconds to have the time of day.
fn offset_ns() -> i64 {
    let monotonic = clock_gettime(ClockId::Monotonic);
    let monotonic = monotonic.tv_sec * 1_000_000_000 + monotonic.tv_nsec;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX) - monotonic
}

async fn watch(
    args: &DropsArgs,
    mut reports: Reports,
    events: &Events,
    statistics: &mut Reader,
    mut view: View,
) -> anyhow::Result<Turn> {
    let mut out = BufWriter::new(io::stdout().lock());
    let wait_for = |kind| signal(kind).context("cannot wait for signals");
    let [ends, hangs_up] =
        [SignalKind::interrupt(), SignalKind::hangup()].map(|kind| !is_ignored(kind));
    let mut interrupt = wait_for(SignalKind::interrupt())?;
    let mut terminate = wait_for(SignalKind::terminate())?;
    let mut hangup = wait_for(SignalKind::hangup())?;
    let mut turn = Turn::End;
    let over = tokio::time::sleep(args.duration.unwrap_or(Duration::MAX));
    tokio::pin!(over);
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alive = tokio::time::interval(ALIVE);
    let mut read = StatTable::default();
    let mut table = tokio::time::interval(args.interval.max(LOOK));
    table.tick().await;
    let header = view.top.is_none() && args.format == DropsFormat::Human;
    if header && is_gone(writeln!(out, "{}", line::HEADER))? {
        return Ok(Turn::End);
    }
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut going = true;
    while going {
        let mut due = false;
        tokio::select! {
            _ = look.tick() => {}
            _ = alive.tick(), if statistics.has_statistics() => {
                let alive = statistics.check().and_then(|()| statistics.read_stat(&mut read));
                if let Err(error) = alive.or_else(unless_passing) {
                    bail!("the probes have gone with what they were in ({error}); start again");
                }
            }
            _ = table.tick(), if view.top.is_some() => due = true,
            () = &mut over => going = false,
            _ = interrupt.recv(), if ends => going = false,
            _ = terminate.recv() => going = false,
            _ = hangup.recv(), if hangs_up => {
                turn = Turn::HangUp;
                going = false;
            }
        }
        let offset = offset_ns();
        while left > 0
            && let Some(report) = reports.take_next()
        {
            if let Some(text) = view.text(&report, offset) {
                left -= 1;
                if is_gone(writeln!(out, "{text}"))? {
                    return Ok(Turn::End);
                }
            }
        }
        going &= left > 0;
        if let Some(top) = &view.top
            && (due || !going)
            && is_gone(writeln!(out, "{}", top.table(args.lines)))?
        {
            return Ok(Turn::End);
        }
        if is_gone(out.flush())? {
            return Ok(Turn::End);
        }
    }
    if args.latency
        && is_gone(write!(out, "{}", histogram(&reports.latencies()?)).and(out.flush()))?
    {
        return Ok(Turn::End);
    }
    let counted = Cause::ALL.map(|cause| counted(events, cause, view.namespaces.len()));
    let unreported = reports.unreported()?;
    let totals = Totals { counted, shown: view.shown, unknown: view.unknown, unreported };
    let lines = totals.lines();
    if lines.is_empty() {
        log::info!("no drops and no evictions");
    }
    lines.iter().for_each(|line| log::info!("{line}"));
    match events.missed() {
        Some(0) => {}
        Some(missed) => log::warn!(
            "the probes missed {missed} calls of the kernel's functions, so the numbers above are \
             too low by as many"
        ),
        None => log::info!("how many calls the probes missed is not known on this kernel"),
    }
    Ok(turn)
}

fn unless_passing(error: StatError) -> Result<Oddities, StatError> {
    if error.is_passing() { Ok(Oddities::default()) } else { Err(error) }
}

/// Whether the reader has gone, which is no error.
fn is_gone(written: io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        written => written.map(|()| false).context("cannot write to standard output"),
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
