//! Drops and evictions with their causes.

use conntrack_ebpf::Cause;

use super::{Names, Rate, Reporter, attach_hooks, blind, log_missed};
use crate::cli::{DropsArgs, DropsFormat};
use crate::drops::histogram::histogram;
use crate::drops::top::{Subject, Top};
use crate::drops::totals::{self, Totals};
use crate::drops::{cause_words, line};
use crate::source::ebpf::drops::Reports;
use crate::source::ebpf::probe_table::{HOOKS, Hook};
use crate::source::ebpf::{AttachOptions, Events};
use crate::source::namespace::Pinned;

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

/// Has drops and evictions in these namespaces reported, up to `limit` a second.
pub(in crate::command) fn watch_drops(
    pinned: &[Pinned],
    limit: u64,
) -> anyhow::Result<(Events, Reports)> {
    attach(pinned, limit, false, false)
}

fn attach(
    pinned: &[Pinned],
    limit: u64,
    per_packet: bool,
    latency: bool,
) -> anyhow::Result<(Events, Reports)> {
    let hooks: Vec<Hook> = HOOKS.into_iter().filter(|hook| NEEDED.contains(&hook.name)).collect();
    let Rate { reports, cpus } = Rate::new(limit)?;
    let wanted = AttachOptions {
        hooks: &hooks,
        per_packet,
        latency,
        reports,
        ..AttachOptions::new(pinned, cpus)
    };
    let mut events = attach_hooks(&wanted, "drops cannot be seen")?;
    match events.take_reports()? {
        Some(reports) => Ok((events, reports)),
        None => Err(blind(&events).into()),
    }
}

/// The reports of drops and evictions, and their form.
pub(super) struct CauseReporter {
    events: Events,
    reports: Reports,
    names: Names,
    format: DropsFormat,
    top: Option<Top>,
    has_latency: bool,
    shown: totals::ByCause,
    /// The shown drops whose connection could not be read.
    unknown: totals::ByCause,
}

impl CauseReporter {
    /// Attaches the probes.
    ///
    /// # Errors
    /// When the probes cannot be attached.
    pub(super) fn new(args: &DropsArgs, names: Names) -> anyhow::Result<Self> {
        let (events, reports) = attach(&names.pinned(), args.limit, args.per_packet, args.latency)?;
        Ok(Self {
            events,
            reports,
            names,
            format: args.format,
            top: (!args.top.is_empty()).then(|| Top::new(args.top.clone(), "cause")),
            has_latency: args.latency,
            shown: [0; Cause::ALL.len()],
            unknown: [0; Cause::ALL.len()],
        })
    }

    /// How many there were in all sampled namespaces, on all CPUs.
    fn counted(&self, cause: Cause) -> u64 {
        let namespaces = self.names.namespaces.len();
        (1..=namespaces).map(|slot| self.events.total(slot, cause.event())).sum()
    }
}

impl Reporter for CauseReporter {
    const SUBJECT: &'static str = "drops";
    const HEADER: &'static str = line::HEADER;

    fn take_next(&mut self, offset_ns: i64) -> Option<Option<String>> {
        let report = self.reports.take_next()?;
        self.shown[report.cause as usize] += 1;
        self.unknown[report.cause as usize] += u64::from(report.tuple.is_none());
        if let Some(top) = &mut self.top {
            top.add(&Subject {
                cause: cause_words(report.cause),
                tuple: report.tuple.as_ref(),
                translated: report.translated.as_ref(),
            });
            return Some(None);
        }
        let time_ns = (report.time_ns as i64).saturating_add(offset_ns);
        let name = self.names.of(report.inode);
        Some(Some(match self.format {
            DropsFormat::Human => line::human(&report, time_ns, name),
            DropsFormat::Json => line::json(&report, time_ns, name),
        }))
    }

    fn top(&self) -> Option<&Top> {
        self.top.as_ref()
    }

    fn last_text(&mut self) -> anyhow::Result<String> {
        Ok(if self.has_latency { histogram(&self.reports.latencies()?) } else { String::new() })
    }

    fn log_totals(&mut self) -> anyhow::Result<()> {
        let counted = Cause::ALL.map(|cause| self.counted(cause));
        let (shown, unknown) = (self.shown, self.unknown);
        let totals = Totals { counted, shown, unknown, unreported: self.reports.unreported()? };
        let lines = totals.lines();
        if lines.is_empty() {
            log::info!("no drops and no evictions");
        }
        lines.iter().for_each(|line| log::info!("{line}"));
        log_missed(&self.events);
        Ok(())
    }
}
