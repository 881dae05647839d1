//! INVALID packets with their reasons.

use std::collections::BTreeMap;

use super::{Names, Rate, Reporter, attach_hooks, blind, log_missed};
use crate::cli::{DropsArgs, DropsFormat};
use crate::drops::invalid::line;
use crate::drops::invalid::totals::{KernelCounters, Totals};
use crate::drops::top::{Subject, Top};
use crate::schema::fields::{ICMP_ERROR, INVALID};
use crate::schema::raw::StatTable;
use crate::settings::Source;
use crate::source::ebpf::invalid::{InvalidCount, InvalidReport, InvalidReports};
use crate::source::ebpf::invalid_reason::{Judgement, judge};
use crate::source::ebpf::probe_table::{AttachWhen, HOOKS, Hook};
use crate::source::ebpf::{AttachOptions, Events};
use crate::source::namespace::Pinned;
use crate::source::reader::Reader;
use crate::source::roots::Place;
use crate::text::connection::is_icmp;

/// The reports of INVALID packets, and their form.
pub(super) struct InvalidReporter {
    events: Events,
    reports: InvalidReports,
    names: Names,
    format: DropsFormat,
    top: Option<Top>,
    shown: u64,
    kernel: Vec<KernelReader>,
    /// The programs' counters at the time of the first read of the kernel's.
    before: Vec<InvalidCount>,
}

impl InvalidReporter {
    /// Attaches the probes, and reads the kernel's counters.
    ///
    /// # Errors
    /// When the probes cannot be attached.
    pub(super) fn new(args: &DropsArgs, names: Names) -> anyhow::Result<Self> {
        let (events, mut reports) = attach(&names.pinned(), args.limit)?;
        let roots = args.source.roots();
        let places = crate::command::namespaces(&args.source).iter();
        let places = places.map(|name| Place::resolve(&roots, name));
        let kernel = places.map(KernelReader::new).collect();
        let before = reports.counts()?;
        Ok(Self {
            events,
            reports,
            names,
            format: args.format,
            top: (!args.top.is_empty()).then(|| Top::new(args.top.clone(), "reason")),
            shown: 0,
            kernel,
            before,
        })
    }

    fn text(&mut self, report: &InvalidReport, offset_ns: i64) -> Option<String> {
        let Judgement::Invalid(reason) = judge(&report.text) else { return None };
        self.shown += 1;
        if let Some(top) = &mut self.top {
            top.add(&Subject { cause: &reason, tuple: report.tuple().as_ref(), translated: None });
            return None;
        }
        let time_ns = (report.time_ns as i64).saturating_add(offset_ns);
        let name = self.names.of(report.inode);
        Some(match self.format {
            DropsFormat::Human => line::human(report, &reason, time_ns, name),
            DropsFormat::Json => line::json(report, &reason, time_ns, name),
        })
    }
}

/// The packets that the kernel's `invalid` counts in some namespaces, by their reason.
pub(in crate::command) struct InvalidReasons {
    _events: Events,
    reports: InvalidReports,
}

impl InvalidReasons {
    /// Attaches the probes.
    ///
    /// # Errors
    /// When the probes cannot be attached.
    pub(in crate::command) fn watch(pinned: &[Pinned]) -> anyhow::Result<Self> {
        let (events, reports) = attach(pinned, 1)?;
        Ok(Self { _events: events, reports })
    }

    /// The number of packets of each reason, without ICMP, which `icmp_error` counts.
    ///
    /// # Errors
    /// The kernel's.
    pub(in crate::command) fn counts(mut self) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut counts = BTreeMap::new();
        let counted = self.reports.counts()?;
        for count in counted.iter().filter(|count| !is_icmp(count.protocol)) {
            if let Judgement::Invalid(reason) = judge(&count.text) {
                *counts.entry(reason.into_owned()).or_default() += count.calls;
            }
        }
        Ok(counts)
    }
}

fn attach(pinned: &[Pinned], limit: u64) -> anyhow::Result<(Events, InvalidReports)> {
    let is_needed = |hook: &Hook| hook.need == AttachWhen::Invalid;
    let hooks: Vec<Hook> = HOOKS.into_iter().filter(is_needed).collect();
    let Rate { reports, cpus } = Rate::new(limit)?;
    let wanted =
        AttachOptions { hooks: &hooks, reports, invalid: true, ..AttachOptions::new(pinned, cpus) };
    let mut events = attach_hooks(&wanted, "INVALID packets cannot be seen")?;
    match events.take_invalid()? {
        Some(reports) => Ok((events, reports)),
        None => Err(blind(&events).into()),
    }
}

impl Reporter for InvalidReporter {
    const SUBJECT: &'static str = "INVALID packets";
    const HEADER: &'static str = line::HEADER;

    fn take_next(&mut self, offset_ns: i64) -> Option<Option<String>> {
        let report = self.reports.take_next()?;
        Some(self.text(&report, offset_ns))
    }

    fn top(&self) -> Option<&Top> {
        self.top.as_ref()
    }

    fn log_totals(&mut self) -> anyhow::Result<()> {
        // The kernel's first, as at the start.
        let kernel = self.kernel.iter_mut().map(KernelReader::events);
        let kernel = kernel.reduce(|a, b| Some(a?.plus(b?))).flatten();
        let counts = since(&self.before, self.reports.counts()?);
        let unreported = self.reports.unreported()?;
        let totals = Totals { counts, shown: self.shown, unreported, kernel };
        totals.lines().iter().for_each(|line| log::info!("{line}"));
        log_missed(&self.events);
        Ok(())
    }
}

/// Counts the calls since `before`.
fn since(before: &[InvalidCount], mut counts: Vec<InvalidCount>) -> Vec<InvalidCount> {
    let key = |count: &InvalidCount| (count.text.clone(), count.inode, count.protocol);
    for count in &mut counts {
        let first = before.iter().find(|first| key(first) == key(count));
        count.calls -= first.map_or(0, |first| first.calls);
    }
    counts
}

/// The kernel's counters of one namespace.
struct KernelReader {
    reader: Reader,
    first: StatTable,
}

impl KernelReader {
    fn new(place: Place) -> Self {
        let mut reader = Reader::new(place, Vec::new(), Source::Auto);
        let mut first = StatTable::default();
        // Without them the totals say so.
        let _ = reader.open_missing(true, &mut |_| {});
        let _ = reader.read_stat(&mut first);
        Self { reader, first }
    }

    /// The events since the first read.
    fn events(&mut self) -> Option<KernelCounters> {
        let mut now = StatTable::default();
        self.reader.read_stat(&mut now).ok()?;
        Some(KernelCounters {
            invalid: events(&self.first, &now, INVALID.name)?,
            icmp_error: events(&self.first, &now, ICMP_ERROR.name)?,
        })
    }
}

/// The events of a counter between two reads, on all CPUs. The counters have 32 bits.
fn events(first: &StatTable, last: &StatTable, counter: &str) -> Option<u64> {
    let values = |table: &StatTable| {
        let column = table.layout.column(counter)?;
        let rows = table.values.chunks_exact(table.columns());
        Some(rows.map(|row| row[column]).collect::<Vec<u32>>())
    };
    let (first, last) = (values(first)?, values(last)?);
    let pairs = last.iter().zip(&first);
    (first.len() == last.len())
        .then(|| pairs.map(|(last, first)| u64::from(last.wrapping_sub(*first))).sum())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::schema::raw::Layout;
    use crate::source::ebpf::invalid::Text;

    fn table(values: &[u32]) -> StatTable {
        let names = ["entries", "invalid"].map(ToOwned::to_owned).to_vec();
        StatTable {
            layout: Arc::new(Layout { names, maintained: false }),
            values: values.to_vec(),
            filled: vec![2; values.len() / 2],
            ..StatTable::default()
        }
    }

    #[test]
    fn events_are_of_all_cpus_and_survive_a_wrap() {
        let (first, last) = (table(&[1, u32::MAX, 1, 5]), table(&[9, 2, 9, 6]));
        assert_eq!(events(&first, &last, "invalid"), Some(4));
        assert_eq!(events(&first, &last, "icmp_error"), None);
        assert_eq!(events(&first, &table(&[9, 2]), "invalid"), None);
        assert_eq!(events(&StatTable::default(), &last, "invalid"), None);
    }

    #[test]
    fn calls_before_the_first_read_are_not_counted() {
        let count = |text: &str, calls| InvalidCount {
            text: Text::Known(text.into()),
            inode: 1,
            protocol: 6,
            calls,
        };
        let counts = since(&[count("a", 2)], vec![count("a", 5), count("b", 1)]);
        assert_eq!(counts, [count("a", 3), count("b", 1)]);
    }
}
