//! From successive reads to counters, rates and peaks.
//!
//! [`Accumulator`] takes every sample, widens the kernel's 32-bit counters, notices when they
//! start again, and keeps the largest rate and the table's extremes until the next emission.
//! An emission hands over a [`Window`]: plain numbers, no names formatted, no I/O.
//! Nothing here allocates once the shape of the file is known.

pub mod accepted;
pub mod derived_drops;
pub mod events;
pub mod interval;
pub mod unexplained;

use std::sync::Arc;
use std::time::Duration;

use crate::accumulate::events::{EventAccumulator, EventWindow};
use crate::accumulate::interval::{IntervalStats, SampleWindow};
use crate::accumulate::unexplained::InvalidPackets;
use crate::schema::raw::{Counted, ENTRIES_COLUMN, Layout, ReadTime, StatTable};

/// No kernel path counts one counter on one CPU faster than this (3.7 ns an event), nor as much
/// between two samples, however far apart. A counter of a plain file that seems to have wrapped by
/// more did not wrap: it started again from 0.
const FASTEST_EVENTS_PER_SECOND: f64 = (1u64 << 28) as f64;

/// The numbers of one emission, ready to become rows. Reused from one emission to the next.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// The columns of the statistics file.
    pub layout: Arc<Layout>,
    /// Leading columns that each row has, 0 for a row that could not be read.
    pub filled: Vec<u16>,
    /// The number of each row's CPU; empty where the source does not have it.
    pub cpus: Vec<u32>,
    /// Counters since boot (or since the kernel's last reset), widened to 64 bits, row after
    /// row. Empty when there are no statistics.
    pub totals: Vec<u64>,
    /// Events since the last emission that was handed over (or the first sample), and peaks.
    pub tally: IntervalStats,
    /// The event source's part.
    pub events: EventWindow,
    /// INVALID packets by reason.
    pub invalid: InvalidPackets,
    /// Time over which the tallies count; `None` where the first sample is the only one.
    pub elapsed: Option<Duration>,
    /// Whether the peaks rest on at least one complete sample interval.
    pub has_peaks: bool,
    /// The namespace's number of entries, and the least and the most of the samples; `None`
    /// when nothing was read since the last emission.
    pub entries: Option<Extremes>,
    /// The extremes of the number of entries by its sysctl file, where that alone is sampled.
    pub count: Option<Range>,
    /// The sysctl files' numbers, in the order of their keys.
    pub sysctls: Vec<Option<f64>>,
    /// Real-time clock beside the read, in nanoseconds since 1970; rounded to
    /// `precision`.
    pub timestamp_ns: i64,
    /// Samples and emissions that were missed since the start.
    pub loss: Loss,
}

/// What was missed since the start of one input, counted, so that no number is silently wrong. Only ever
/// grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loss {
    /// Sampling ticks without a sample: the one before ran late, or ctnetlink gave no whole answer.
    pub samples_missed: u64,
    /// Emissions that could not be handed over because the consumer was stuck. Their events are in
    /// the next emission: a lost row loses resolution, never events.
    pub rows_lost: u64,
}

/// A gauge with its extremes over the samples of an emission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extremes {
    /// The last sample's value.
    pub last: u32,
    /// The least of all samples.
    pub min: u32,
    /// The most of all samples.
    pub max: u32,
}

/// The least and the most of the samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Range {
    /// Makes `range` include `value`.
    pub fn widen(range: &mut Option<Self>, value: f64) {
        let known = range.unwrap_or(Self { min: value, max: value });
        *range = Some(Self { min: known.min.min(value), max: known.max.max(value) });
    }
}

/// Takes samples and keeps the numbers of the next emission.
#[derive(Debug)]
pub struct Accumulator {
    /// The nominal time between two samples.
    sample_interval: Duration,
    wants_row_peaks: bool,
    layout: Arc<Layout>,
    filled: Vec<u16>,
    cpus: Vec<u32>,
    previous: Vec<u32>,
    totals: Vec<u64>,
    tally: IntervalStats,
    /// The number of events of each column since the start, over all rows.
    column_sums: Vec<u64>,
    events: EventAccumulator,
    handed_over_at: Option<Duration>,
    /// Time since then for which nothing was counted.
    uncounted: Duration,
    /// The earliest moment at which the sample was read that ended the last sample window.
    window_began: Duration,
    has_peaks: bool,
    entries: Option<Extremes>,
    opened_again: bool,
    restarted: bool,
    /// When the last sample was taken, since the clock's start.
    sampled_at: Option<Duration>,
}

impl Accumulator {
    /// Returns an accumulator for samples about `sample_interval` apart.
    #[must_use]
    pub fn new(sample_interval: Duration, wants_row_peaks: bool) -> Self {
        Self {
            sample_interval,
            wants_row_peaks,
            layout: Arc::default(),
            filled: Vec::new(),
            cpus: Vec::new(),
            previous: Vec::new(),
            totals: Vec::new(),
            tally: IntervalStats::default(),
            column_sums: Vec::new(),
            events: EventAccumulator::new(wants_row_peaks),
            handed_over_at: None,
            uncounted: Duration::ZERO,
            window_began: Duration::ZERO,
            has_peaks: false,
            entries: None,
            opened_again: false,
            restarted: false,
            sampled_at: None,
        }
    }

    /// Takes the event source's counters, [`EVENTS`](crate::schema::raw::EVENTS) for each CPU, read before and after the
    /// statistics of the sample that is added next.
    pub fn add_events(&mut self, before: &[u64], after: &[u64]) {
        self.events.add(before, after);
    }

    /// Takes the number of calls that the event source is known to have missed.
    pub fn note_missed(&mut self, missed: Option<u64>) {
        self.events.note_missed(missed);
    }

    /// An event source was attached that counts `counted`.
    pub fn expect_events(&mut self, counted: Counted) {
        self.events.expect(counted);
    }

    /// The event source is gone: its counters are the kernel's again, or not counted at all.
    pub fn forget_events(&mut self) {
        self.events.forget();
    }

    /// Takes one sample, read at `read` on a monotonic clock.
    pub fn add(&mut self, table: &StatTable, read: impl Into<ReadTime>) {
        let read: ReadTime = read.into();
        let at = read.after;
        let same_columns = Arc::ptr_eq(&self.layout, &table.layout) || self.layout == table.layout;
        let same_rows = self.filled.len() == table.rows() && self.cpus == table.cpus;
        let mut known = self.filled.iter().zip(&table.filled);
        let is_whole = known.all(|(known, now)| now >= known);
        let is_first = !same_columns || !same_rows || self.totals.is_empty();
        if is_first {
            self.begin(table, read);
        } else if std::mem::take(&mut self.opened_again) {
            self.go_on(table, read);
        } else if !table.is_live && self.has_restarted(table, at) {
            self.restarted = true;
            self.go_on(table, read);
        } else {
            self.count(table);
        }
        self.opened_again = false;
        self.sampled_at = Some(at);
        if let Some(now) = table.entries() {
            let known = self.entries.unwrap_or(Extremes { last: now, min: now, max: now });
            let (min, max) = (known.min.min(now), known.max.max(now));
            self.entries = Some(Extremes { last: now, min, max });
        }
        self.events.compare_entries(table.entries(), at);
        let ends_window = self.end_window(read);
        // Without some CPU's row the kernel's side is too low.
        if is_whole && (ends_window || is_first) {
            self.events.compare_drops(&self.column_sums, read, self.sample_interval);
        }
    }

    /// Whether the counters of a plain file have started again since this was last asked.
    pub fn take_restart(&mut self) -> bool {
        std::mem::take(&mut self.restarted)
    }

    /// Whether there was a sample since the last emission that was handed over.
    #[must_use]
    pub fn has_sample(&self) -> bool {
        self.entries.is_some()
    }

    /// The statistics file was opened again: the next sample's counters have no history, so
    /// nothing is counted between them and the last ones. What was counted before and not yet
    /// handed over is kept, unless the file is `another` namespace's.
    pub fn opened_again(&mut self, another: bool) {
        self.opened_again = true;
        if another {
            self.totals.clear();
        }
    }

    /// Goes on with counters that have no history: those of a file that was opened again or replaced.
    fn go_on(&mut self, table: &StatTable, read: ReadTime) {
        self.filled.clone_from(&table.filled);
        self.previous.clone_from(&table.values);
        self.totals.clear();
        self.totals.extend(table.values.iter().map(|&value| u64::from(value)));
        self.tally.forget_window();
        self.window_began = read.before;
        self.uncounted +=
            self.sampled_at.map_or(Duration::ZERO, |last| read.after.saturating_sub(last));
        self.events.kernel_restarted();
    }

    /// The first sample, or one of another shape: counters from here on, rates unknown.
    fn begin(&mut self, table: &StatTable, read: ReadTime) {
        self.layout = Arc::clone(&table.layout);
        self.filled.clone_from(&table.filled);
        self.cpus.clone_from(&table.cpus);
        self.previous.clone_from(&table.values);
        self.totals = table.values.iter().map(|&value| u64::from(value)).collect();
        self.tally = IntervalStats::new(table.rows(), table.columns(), self.wants_row_peaks);
        self.column_sums = vec![0; table.columns()];
        self.events.begin(&table.layout);
        self.has_peaks = false;
        self.entries = None;
        self.handed_over_at = Some(read.after);
        self.uncounted = Duration::ZERO;
        self.window_began = read.before;
    }

    /// Adds the events of every counter since the last sample.
    fn count(&mut self, table: &StatTable) {
        for (row, &filled) in table.filled.iter().enumerate() {
            let known = usize::from(self.filled[row]);
            for column in 0..usize::from(filled) {
                let i = row * self.tally.columns() + column;
                let now = table.values[i];
                if column == ENTRIES_COLUMN || column >= known {
                    // Not a counter, or not known until now.
                    (self.previous[i], self.totals[i]) = (now, u64::from(now));
                } else if now != self.previous[i] {
                    let counted = u64::from(now.wrapping_sub(self.previous[i]));
                    self.previous[i] = now;
                    self.totals[i] += counted;
                    self.column_sums[column] += counted;
                    self.tally.note(i, column, counted);
                }
            }
            self.filled[row] = self.filled[row].max(filled);
        }
    }

    /// Whether a counter started again from 0: the file was replaced by one of another boot, so that no
    /// counter in it has a history. Only plain files need this. The counters of a running kernel are
    /// never zeroed while their file stays open, so there a counter that goes back has wrapped.
    fn has_restarted(&self, table: &StatTable, at: Duration) -> bool {
        let elapsed = self.sampled_at.map_or(0.0, |last| at.saturating_sub(last).as_secs_f64());
        let most = FASTEST_EVENTS_PER_SECOND * elapsed.clamp(0.001, 1.0);
        let columns = self.tally.columns();
        let mut rows = table.filled.iter().zip(&self.filled).enumerate();
        rows.any(|(row, (&now, &known))| {
            let counters = ENTRIES_COLUMN + 1..usize::from(now.min(known));
            counters.map(|column| row * columns + column).any(|i| {
                let (now, before) = (table.values[i], self.previous[i]);
                now < before && f64::from(now.wrapping_sub(before)) > most
            })
        })
    }

    /// Ends a sample window with this sample, whose events may be a peak, unless the window is too
    /// short (a late tick is followed by one on time) or its end too uncertain, because the thread
    /// was delayed while it read. The events then belong to the next window, which is longer. Returns
    /// whether it has ended one.
    fn end_window(&mut self, read: ReadTime) -> bool {
        let longest = read.after.saturating_sub(self.window_began);
        if longest.is_zero() || longest < self.sample_interval / 2 || !read.is_exact_for(longest) {
            return false;
        }
        let window = SampleWindow { longest, sample_interval: self.sample_interval };
        self.tally.end_window(&window);
        self.events.end_window(&window);
        self.has_peaks = true;
        self.window_began = read.before;
        true
    }

    /// Copies the numbers into `window`. Nothing is forgotten until
    /// [`Accumulator::handed_over`], so an emission that finds no room loses no event.
    pub fn fill(&self, window: &mut Window) {
        window.layout = Arc::clone(&self.layout);
        window.filled.clone_from(&self.filled);
        window.cpus.clone_from(&self.cpus);
        window.totals.clone_from(&self.totals);
        self.tally.copy_to(&mut window.tally);
        let (now, then) = (self.sampled_at, self.handed_over_at);
        let entries = self.entries.map(|entries| entries.last);
        self.events.fill(&mut window.events, entries, now, then);
        window.elapsed = match (now, then) {
            (Some(now), Some(then)) => now.checked_sub(then + self.uncounted),
            _ => None,
        };
        window.elapsed = window.elapsed.filter(|elapsed| !elapsed.is_zero());
        window.has_peaks = self.has_peaks;
        window.entries = self.entries;
    }

    /// The window that was filled last is on its way: rates and extremes start again.
    pub fn handed_over(&mut self) {
        self.handed_over_at = self.sampled_at;
        self.uncounted = Duration::ZERO;
        self.tally.clear();
        self.events.handed_over();
        self.has_peaks = false;
        self.entries = None;
    }
}

#[cfg(test)]
mod tests;
