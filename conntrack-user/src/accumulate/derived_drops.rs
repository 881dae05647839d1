//! Drop causes that only a subtraction gives: the kernel's counter less the drops that are explained
//! by probes or by another column.
//!
//! From 5.10 on `__nf_conntrack_confirm` raises `insert_failed` for a lost race, a long chain and an
//! entry that is dying (or has stale extensions): [`DerivedDrop::Dying`] is the rest after the first
//! two. `drop` is raised for a full table, a lost race, and rarely for a tracker's verdict, a sequence
//! number that cannot be adjusted or a failed allocation: [`DerivedDrop::Other`] is the rest after the
//! first three.
//!
//! # Two sides of a running machine
//!
//! The two sides cannot be read at one moment. So a sample reads the probes' counters before and after
//! the kernel's: the number of explained drops at the kernel's read is between the two, and each
//! sample gives a lower and an upper bound of the rest (`Bounds`).
//!
//! A packet is on one side only while its CPU is between the two counters: a CPU has at most one such
//! packet at a time, for at most `LONGEST_UNDER_WAY`. `nf_ct_resolve_clash` raises the kernel's
//! counters before its probe does, the other explained drops are counted by their probe first. The
//! bounds leave room for these packets where the counters have moved in that time.
//!
//! The rest only grows, so each lower bound holds from then on and each upper bound holds until then.
//! The total is the highest lower bound less the lowest upper bound since the comparison began.
//! Therefore it
//!
//! * never goes back, and is never above the true number since the comparison began;
//! * is behind by at most the explained drops that were counted during two reads, that of the last
//!   sample and that of the first one, and by four for each CPU;
//! * is exact when neither `insert_failed` nor a probe has counted for twice that time, if the same held
//!   when the comparison began.
//!
//! A peak is the lower bound at the end of a window less the upper bound at its beginning, over the
//! longest time that the window can have had: never above the true rate of that window. Drops with
//! which the total catches up are in no peak.
//!
//! A call that a probe missed would be taken for another cause. So where calls were missed since the
//! last hand-over, the drops that were found since then are taken back and a new comparison begins
//! (`DerivedDropAccumulator::take_back`). Misses that the kernel does not count make the total too
//! high.

use std::time::Duration;

use crate::accumulate::interval::{Peak, SampleWindow};
use crate::schema::field::DerivedDrop;
use crate::schema::fields::{IN_DROP, IN_INSERT_FAILED};
use crate::schema::provenance::DropColumns;
use crate::schema::raw::{EVENTS, ReadTime};

/// The longest time for which a packet is counted on one side only. It takes some microseconds, but the
/// CPU of a virtual machine may be taken away meanwhile, and kernels with `CONFIG_PREEMPT` let other
/// tasks run.
const LONGEST_UNDER_WAY: Duration = Duration::from_millis(20);

/// The drops of one cause, for all CPUs together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DerivedCount {
    /// Packets since the comparison began.
    pub total: u64,
    /// Packets since the last hand-over.
    pub events: u64,
    /// The busiest window since then.
    pub peak: Peak,
}

/// The derived drops of a window.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DerivedWindow {
    /// By [`DerivedDrop`].
    pub drops: [DerivedCount; DerivedDrop::ALL.len()],
    /// Time over which the events count; `None` where nothing was compared since the last hand-over,
    /// so that rates and peaks are unknown.
    pub elapsed: Option<Duration>,
}

/// One sample of both sides, over all CPUs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BothSides<'a> {
    /// The number of events of each column since some time.
    pub columns: &'a [u64],
    /// The probes' counters, read before the columns.
    pub before: &'a [u64; EVENTS],
    /// The same, read after the columns.
    pub after: &'a [u64; EVENTS],
    /// The number of CPUs.
    pub cpus: u64,
}

/// The counters of one sample that the subtraction takes.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    insert_failed: u64,
    chaintoolong: u64,
    drop: u64,
    before: Explained,
    after: Explained,
}

/// The packets whose cause the probes have counted.
#[derive(Debug, Clone, Copy, Default)]
struct Explained {
    /// Those in `insert_failed`, such as lost races: the kernel counts them before the probe does.
    failures: u64,
    /// Those in `drop`.
    drops: u64,
    /// Those in `drop` alone, such as a full table: the probe counts them before the kernel does.
    probe_first: u64,
}

impl Explained {
    fn of(events: &[u64; EVENTS]) -> Self {
        let mut sums = Self::default();
        for (event, count) in events.iter().enumerate() {
            let add = |sum: &mut u64, is_in: bool| {
                *sum = sum.wrapping_add(if is_in { *count } else { 0 });
            };
            add(&mut sums.failures, IN_INSERT_FAILED[event]);
            add(&mut sums.drops, IN_DROP[event]);
            add(&mut sums.probe_first, IN_DROP[event] && !IN_INSERT_FAILED[event]);
        }
        sums
    }
}

/// Bounds of the true rest at the moment at which the kernel was read, from a zero that is the same for
/// all samples.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    low: i64,
    high: i64,
}

impl Sums {
    fn of(at: DropColumns, sides: &BothSides<'_>) -> Self {
        let column = |at: Option<usize>| at.and_then(|at| sides.columns.get(at).copied());
        Self {
            insert_failed: column(at.insert_failed).unwrap_or(0),
            chaintoolong: column(at.chaintoolong).unwrap_or(0),
            drop: column(at.drop).unwrap_or(0),
            before: Explained::of(sides.before),
            after: Explained::of(sides.after),
        }
    }

    /// Returns the bounds of each rest, by [`DerivedDrop`]; `older` is a sample that is
    /// older than any packet under way.
    fn bounds(&self, older: &Self, cpus: u64) -> [Bounds; DerivedDrop::ALL.len()] {
        let under_way = |now: u64, then: u64| now.saturating_sub(then).min(cpus).cast_signed();
        // Lost races that the kernel has counted and the probe has not: each has raised this, too.
        let kernel_first = under_way(self.insert_failed, older.insert_failed);
        // And the other way round.
        let probe_first = under_way(self.before.probe_first, older.after.probe_first);
        // The kernel raises this before `insert_failed`.
        let chain_first = under_way(self.chaintoolong, older.chaintoolong);

        let rest = |of: u64, explained: u64| of.wrapping_sub(explained).cast_signed();
        let not_long = self.insert_failed.wrapping_sub(self.chaintoolong);
        let dying = Bounds {
            low: rest(not_long, self.after.failures) - kernel_first,
            high: rest(not_long, self.before.failures) + chain_first,
        };
        let other = Bounds {
            low: rest(self.drop, self.after.drops) - kernel_first,
            high: rest(self.drop, self.before.drops) + probe_first,
        };
        [dying, other]
    }
}

/// The comparison of one cause.
#[derive(Debug, Clone, Copy, Default)]
struct Comparison {
    /// Drops that earlier comparisons found.
    earlier: u64,
    highest_low: i64,
    lowest_high: i64,
    /// The upper bounds where the present window began, and the present row.
    window_began: i64,
    row_began: i64,
    total_at_hand_over: u64,
    peak: Peak,
}

impl Comparison {
    fn total(&self) -> u64 {
        let found = self.highest_low.saturating_sub(self.lowest_high);
        self.earlier + u64::try_from(found).unwrap_or(0)
    }

    fn begin(&mut self, bounds: Bounds) {
        (self.highest_low, self.lowest_high) = (bounds.low, bounds.high);
        (self.window_began, self.row_began) = (bounds.high, bounds.high);
    }

    /// Ends a window. Steady drops among many explained ones are too few in a window to be seen
    /// there, so that the row until now is a window, too.
    fn end_window(&mut self, bounds: Bounds, window: &SampleWindow, row: &SampleWindow) {
        self.highest_low = self.highest_low.max(bounds.low);
        self.lowest_high = self.lowest_high.min(bounds.high);
        for (began, window) in [(self.window_began, window), (self.row_began, row)] {
            if let Ok(counted @ 1..) = u64::try_from(bounds.low.saturating_sub(began)) {
                self.peak.take(counted, window);
            }
        }
        self.window_began = bounds.high;
    }

    fn handed_over(&mut self) {
        self.total_at_hand_over = self.total();
        self.row_began = self.window_began;
        self.peak = Peak::default();
    }

    fn take_back(&mut self) {
        let known = self.total_at_hand_over;
        *self = Self { earlier: known, total_at_hand_over: known, ..Self::default() };
    }

    fn count(&self) -> DerivedCount {
        let total = self.total();
        DerivedCount { total, events: total - self.total_at_hand_over, peak: self.peak }
    }
}

/// Compares both sides at the end of each sample window.
#[derive(Debug, Default)]
pub(crate) struct DerivedDropAccumulator {
    /// `None` on kernels without these counters.
    columns: Option<DropColumns>,
    /// A sample that is older than any packet under way.
    older: Option<Sums>,
    /// A later sample, and when it was read: it is the older one when it is old enough.
    newer: Option<(Sums, ReadTime)>,
    comparisons: [Comparison; DerivedDrop::ALL.len()],
    /// When the last sample was read; `None` until a comparison has begun.
    compared: Option<ReadTime>,
    /// When the sample was read at which the present row began.
    row_began: Option<ReadTime>,
    /// Whether two samples were compared.
    is_known: bool,
}

impl DerivedDropAccumulator {
    /// Returns an accumulator for the kernel's counters in these columns. The comparison begins
    /// [`LONGEST_UNDER_WAY`] after the first sample.
    pub(crate) fn new(columns: DropColumns) -> Self {
        let has_both = columns.insert_failed.is_some() && columns.drop.is_some();
        Self { columns: has_both.then_some(columns), ..Self::default() }
    }

    /// Forgets the totals, for other probes.
    pub(crate) fn reset(&mut self) {
        *self = Self { columns: self.columns, ..Self::default() };
    }

    /// Takes a sample that ends a window, or the very first one. `sample_interval` is the nominal time
    /// between two samples.
    pub(crate) fn add(&mut self, sides: &BothSides<'_>, read: ReadTime, sample_interval: Duration) {
        let Some(columns) = self.columns else { return };
        let now = Sums::of(columns, sides);
        if self.newer.is_none_or(|(_, newer)| read.before >= newer.after + LONGEST_UNDER_WAY) {
            self.older = self.newer.replace((now, read)).map(|(sums, _)| sums);
        }
        // A packet that was under way when the probes were attached is explained by none of them: nothing
        // is compared until it is through.
        let Some(older) = self.older else { return };
        let bounds = now.bounds(&older, sides.cpus);
        let comparisons = self.comparisons.iter_mut().zip(bounds);
        if let (Some(window_began), Some(row_began)) = (self.compared.replace(read), self.row_began)
        {
            let since = |began: ReadTime| SampleWindow {
                longest: read.after.saturating_sub(began.before),
                sample_interval,
            };
            let (window, row) = (since(window_began), since(row_began));
            comparisons.for_each(|(comparison, bounds)| {
                comparison.end_window(bounds, &window, &row);
            });
            self.is_known = true;
        } else {
            self.row_began = Some(read);
            comparisons.for_each(|(comparison, bounds)| comparison.begin(bounds));
        }
    }

    /// Starts a row after the last window was handed over.
    pub(crate) fn handed_over(&mut self) {
        self.comparisons.iter_mut().for_each(Comparison::handed_over);
        self.row_began = self.compared;
    }

    /// Takes back the drops that were found since the last hand-over, and begins a new comparison, as
    /// after the probes were attached.
    pub(crate) fn take_back(&mut self) {
        self.comparisons.iter_mut().for_each(Comparison::take_back);
        (self.older, self.newer) = (None, None);
        (self.compared, self.row_began) = (None, None);
        self.is_known = false;
    }

    /// Returns the drops that are known; `None` until two samples were compared.
    pub(crate) fn window(&self) -> Option<DerivedWindow> {
        if !self.is_known {
            return None;
        }
        let elapsed = self.compared.zip(self.row_began);
        let elapsed = elapsed.map(|(now, then)| now.after.saturating_sub(then.after));
        Some(DerivedWindow {
            drops: self.comparisons.map(|comparison| comparison.count()),
            elapsed: elapsed.filter(|elapsed| !elapsed.is_zero()),
        })
    }
}

#[cfg(test)]
mod machine;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tests;
