//! One network namespace on the screen: its rows in, numbers out.

use super::counter::{Last, Step};
use super::cpu_rates::{CpuRates, CpuSum, integer, number};
use super::history::{EntriesLevel, FEW, History, RateSample};
use super::series::{ALL, DROP, INSERT, NEW, RATES, SERIES, Series};
use crate::metric::{Metric, Name, Value};
use crate::schema::field::Field;
use crate::schema::fields::{
    COUNT, DRIFT, ENTRIES, ENTRIES_MAX, ENTRIES_MIN, HOST_ALLOC_FAILED, HOST_UNPLACED, LIMIT,
    PROGRAM_MISSED, PROGRAM_SKIPPED, ROWS_LOST, SAMPLE_SECONDS, SAMPLES_MISSED,
};
use crate::schema::measure::Measure;
use crate::schema::provenance::Origin;

/// CPUs of one namespace that are followed: as many as a kernel can have.
const MOST_CPUS: usize = 8192;
/// The time over which the growth of the table is measured, in nanoseconds.
const GROWTH_NS: i64 = 5_000_000_000;
/// So many intervals without statistics, and nothing is known of the counters any more.
const SILENT_INTERVALS: i64 = 3;
/// How long after the last one events are still shown as happening, in nanoseconds.
const ALARM_NS: i64 = 3_000_000_000;

/// The present reading of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Reading {
    /// Not known (yet).
    #[default]
    Unknown,
    /// This kernel does not count it, and nothing else does.
    NotCounted,
    /// The rows of a recording do not have it, so nothing is known of it.
    Absent,
    /// Events per second since the row before.
    Rate(f64),
}

/// The present state of one counter.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Current {
    /// Its rate.
    pub now: Reading,
    /// Events since the first row.
    pub since_start: Option<f64>,
    /// Where it comes from; `None` where nothing gives it, or where a recording has no origin.
    pub origin: Option<Origin>,
    last: Option<Last>,
}

/// The missed samples and calls since the start, where they are known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Misses {
    /// Sampling ticks that were left out.
    pub samples: Option<u64>,
    /// Rows that found no room.
    pub rows: Option<u64>,
    /// Calls that probes missed or were skipped at; `None` where the kernel does not count them.
    pub probes: Option<u64>,
    /// Events of all namespaces together whose own was not known.
    pub unplaced: Option<u64>,
    /// Refused allocations of all namespaces together.
    pub alloc_failed: Option<u64>,
    /// Entries less allocations plus frees.
    pub drift: Option<f64>,
}

/// How full a table is, in the words that the screen uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FillStep {
    /// Below 80 %.
    Room,
    /// From 80 % on.
    Filling,
    /// From 95 % on.
    AlmostFull,
    /// No room at all.
    Full,
}

impl FillStep {
    /// The step of a share in percent.
    #[must_use]
    pub fn of(percent: f64) -> Self {
        match percent {
            p if p >= 100.0 => Self::Full,
            p if p >= 95.0 => Self::AlmostFull,
            p if p >= 80.0 => Self::Filling,
            _ => Self::Room,
        }
    }

    /// The word for it; empty where there is room.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Room => "",
            Self::Filling => "filling",
            Self::AlmostFull => "almost full",
            Self::Full => "FULL",
        }
    }
}

/// One network namespace (of one host): the rows of one measurement with the same tags, but for
/// `cpu`.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// The measurement.
    pub name: String,
    /// Tags besides `host`, `netns` and `cpu`.
    pub other_tags: Vec<(Name, String)>,
    /// Value of the `host` tag.
    pub host: Option<String>,
    /// Value of the `netns` tag.
    pub netns: Option<String>,
    /// Time of the last row, in nanoseconds since 1970.
    pub at_ns: i64,
    /// The last minutes.
    pub history: History,
    /// Entries in the table now.
    pub count: Option<f64>,
    /// Entries that there is room for.
    pub max: Option<f64>,
    /// The counters, in the order of [`SERIES`].
    pub current: [Current; ALL],
    /// The CPUs, by number; none where no row is of a single CPU.
    pub cpus: Vec<CpuRates>,
    /// The missed samples and calls.
    pub misses: Misses,
    /// The nominal time between two samples, in seconds.
    pub sample_seconds: Option<f64>,
    /// Entries by the last row of the table.
    counted: Option<f64>,
    /// The time of the last statistics.
    statistics_ns: Option<i64>,
    /// The time between the last two of them.
    interval_ns: i64,
    /// Rows have the sum over all CPUs.
    has_sum: bool,
    /// The sum over the CPUs' own rows of this gather, and whether the one before had every CPU.
    sum: CpuSum,
    was_whole: bool,
    /// Events of the CPUs since the last row with the sum.
    pending: [f64; ALL],
}

impl Namespace {
    pub(super) fn new(row: &Metric) -> Self {
        let tag = |key| row.tag(key).map(ToOwned::to_owned);
        Self {
            name: row.name.clone(),
            other_tags: other_tags(row).cloned().collect(),
            host: tag("host"),
            netns: tag("netns"),
            at_ns: row.timestamp_ns,
            history: History::default(),
            count: None,
            max: None,
            current: [Current::default(); ALL],
            cpus: Vec::new(),
            misses: Misses::default(),
            sample_seconds: None,
            counted: None,
            statistics_ns: None,
            interval_ns: 0,
            has_sum: false,
            sum: CpuSum::default(),
            was_whole: false,
            pending: [0.0; ALL],
        }
    }

    /// Whether a row is of the same host and namespace, as those of ctpulse about itself are.
    pub(super) fn is_near(&self, row: &Metric) -> bool {
        self.host.as_deref() == row.tag("host") && self.netns.as_deref() == row.tag("netns")
    }

    pub(super) fn is_of(&self, row: &Metric) -> bool {
        self.name == row.name && self.is_near(row) && other_tags(row).eq(self.other_tags.iter())
    }

    /// Share of the table that is taken, in percent.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        let max = self.max.filter(|max| *max > 0.0)?;
        Some(self.count? / max * 100.0)
    }

    /// How fast the table grows, in entries per second.
    #[must_use]
    pub fn growth(&self) -> Option<f64> {
        self.history.growth(GROWTH_NS)
    }

    /// Seconds until the table is full if it goes on growing as it does; `None` when it does not.
    #[must_use]
    pub fn seconds_to_full(&self) -> Option<f64> {
        let room = self.max? - self.count?;
        let growth = self.growth().filter(|growth| *growth > 0.0)?;
        Some(room / growth).filter(|seconds| *seconds >= 0.0)
    }

    /// Whether the counter `series` counted anything within the last three seconds.
    #[must_use]
    pub fn is_happening(&self, series: usize) -> bool {
        let recent = self.history.summary(series, self.at_ns.saturating_sub(ALARM_NS));
        recent.peak.or(recent.mean).is_some_and(|rate| rate > 0.0)
    }

    /// The counter that shows best how the work is spread over the CPUs: the first that any of
    /// them counts, insertions before all others.
    #[must_use]
    pub fn spread(&self) -> Option<usize> {
        let sum = |series: usize| self.cpus.iter().map(|cpu| cpu.rates[series]).sum::<f32>();
        let order = [INSERT, NEW, DROP].into_iter().chain(DROP + 1..RATES);
        order.into_iter().find(|series| sum(*series) >= 0.01)
    }

    /// Takes the row of all CPUs. `is_live` is whether it is one of this program's samplers, which
    /// leave out only what is not counted.
    pub(super) fn take_statistics(&mut self, row: &Metric, is_live: bool) {
        let time_ns = row.timestamp_ns;
        let has_rates = row.field(SERIES[DROP].of(Measure::Rate)).is_some();
        if has_rates && !is_live {
            self.skip_gap(time_ns);
        }
        let mut samples = [RateSample::UNKNOWN; ALL];
        for (at, series) in SERIES.iter().enumerate() {
            let (current, sample) = (&mut self.current[at], &mut samples[at]);
            let total = row.field(series.field.name).and_then(number);
            let step = total.and_then(|total| Last::replace(&mut current.last, time_ns, total));
            current.now = reading(row, series, step.as_ref(), has_rates);
            if current.now == Reading::Absent && is_live {
                current.now = Reading::NotCounted;
            }
            if total.is_some() {
                let more = step.map_or(0.0, |step| step.events);
                current.since_start = Some(current.since_start.unwrap_or(0.0) + more);
            }
            if let Reading::Rate(rate) = current.now {
                // Of rows that are missing in a recording, the counter has the events, and the rate
                // of this row has not.
                let is_open = |step: &Step| self.history.is_unknown_since(at, step.from_ns);
                let whole = step.filter(|step| !is_live && is_open(step));
                let whole = whole.and_then(|step| {
                    Some((step.rate()?, self.history.number_since(step.from_ns)))
                });
                let (mean, back) = whole.unwrap_or((rate, 0));
                let peak = row.field(series.of(Measure::PeakRate)).and_then(number);
                let peak = peak.unwrap_or(rate).max(mean);
                let few = integer(row, series.of(Measure::PeakCount));
                let few = few.filter(|count| *count < FEW).unwrap_or(0) as u8;
                *sample = RateSample { mean: mean as f32, peak: peak as f32, few, back };
            }
        }
        let level = self.level(row);
        self.count = Some(level.last).filter(|last| !last.is_nan());
        self.misses.samples = integer(row, SAMPLES_MISSED.name).or(self.misses.samples);
        self.misses.rows = integer(row, ROWS_LOST.name).or(self.misses.rows);
        self.sample_seconds =
            row.field(SAMPLE_SECONDS.name).and_then(number).or(self.sample_seconds);
        self.has_sum = true;
        self.pending = [0.0; ALL];
        self.push(row.timestamp_ns, level, samples);
    }

    /// Begins the time that a row's own rates cover behind a gap: they are those of one interval.
    fn skip_gap(&mut self, time_ns: i64) {
        let is_gap =
            self.elapsed(time_ns).is_some_and(|ns| ns >= SILENT_INTERVALS * self.interval_ns);
        let from_ns = time_ns.saturating_sub(self.interval_ns);
        let is_open = self.history.last().is_some_and(|last| last.end_ns < from_ns);
        if is_gap && is_open && self.interval_ns > 0 {
            self.history.push(from_ns, EntriesLevel::UNKNOWN, [RateSample::UNKNOWN; ALL]);
        }
    }

    /// The time since the last statistics.
    fn elapsed(&self, time_ns: i64) -> Option<i64> {
        self.statistics_ns.map(|before| time_ns - before)
    }

    fn push(&mut self, time_ns: i64, level: EntriesLevel, samples: [RateSample; ALL]) {
        self.interval_ns = self.elapsed(time_ns).filter(|ns| *ns > 0).unwrap_or(self.interval_ns);
        self.statistics_ns = Some(time_ns);
        self.history.push(time_ns, level, samples);
    }

    /// Takes the end of a gather: what its rows show together.
    pub(super) fn end_gather(&mut self) {
        let mut sum = std::mem::take(&mut self.sum);
        let is_whole = sum.cpus > 0 && sum.cpus == self.cpus.len();
        let has_statistics = self.statistics_ns == Some(self.at_ns);
        if !self.has_sum && sum.cpus > 0 {
            self.take_sum(&sum, is_whole && self.was_whole);
        } else if !has_statistics && sum.cpus > 0 {
            for (pending, events) in self.pending.iter_mut().zip(&mut sum.events) {
                *pending += events.unwrap_or(0.0);
                *events = events.map(|_| *pending);
            }
            if self.is_silent() {
                // The sum has ended: the CPUs' rows have all events since then.
                self.has_sum = false;
                self.current.iter_mut().for_each(|current| current.last = None);
                self.take_sum(&sum, is_whole && self.was_whole);
            }
        } else if !has_statistics && self.is_silent() {
            self.take_silence();
        }
        self.was_whole = is_whole;
    }

    /// Whether there are no statistics any more. Those of one gather may come in two parts, so it
    /// takes some intervals.
    fn is_silent(&self) -> bool {
        let elapsed = self.elapsed(self.at_ns);
        elapsed.is_none_or(|elapsed| elapsed >= SILENT_INTERVALS * self.interval_ns.max(1))
    }

    /// Takes the sum over the CPUs where no row has it. The events of each CPU are those since its
    /// last row, so a rate needs every CPU in this gather and in the one before.
    fn take_sum(&mut self, sum: &CpuSum, are_all_there: bool) {
        let since_ns = self.statistics_ns.filter(|_| are_all_there);
        let mut samples = [RateSample::UNKNOWN; ALL];
        for (at, (current, sample)) in self.current.iter_mut().zip(&mut samples).enumerate() {
            if sum.is_present[at] {
                let more = sum.events[at].unwrap_or(0.0);
                current.since_start = Some(current.since_start.unwrap_or(0.0) + more);
            }
            current.now = if sum.is_present[at] { Reading::Unknown } else { Reading::Absent };
            let (Some(events), Some(since_ns)) = (sum.events[at], since_ns) else { continue };
            // A row of a CPU may lack the counter.
            let from_ns = sum.from_ns[at].map_or(since_ns, |from_ns| from_ns.min(since_ns));
            let elapsed = self.at_ns.saturating_sub(from_ns);
            if elapsed > 0 {
                let rate = events * 1e9 / elapsed as f64;
                current.now = Reading::Rate(rate);
                let back = self.history.number_since(from_ns);
                *sample = RateSample { mean: rate as f32, peak: rate as f32, few: 0, back };
            }
        }
        self.count = self.counted.or(sum.entries).or(self.count);
        let level = self.count.map_or(EntriesLevel::UNKNOWN, EntriesLevel::still);
        self.push(self.at_ns, level, samples);
    }

    /// Takes a gather without statistics.
    fn take_silence(&mut self) {
        self.current.iter_mut().for_each(|current| current.now = Reading::Absent);
        let level = self.counted.map_or(EntriesLevel::UNKNOWN, EntriesLevel::still);
        self.history.push(self.at_ns, level, [RateSample::UNKNOWN; ALL]);
    }

    /// The table's level by a row of statistics. Where Telegraf's plugin wrote it, `entries` are the
    /// sum over all CPUs: the table's own row has the number. Extremes are in our rows only, whose
    /// `entries` are no sum and were read at the same moment as the counters.
    fn level(&self, row: &Metric) -> EntriesLevel {
        let number = |field: Field| row.field(field.name).and_then(number);
        let entries = number(ENTRIES);
        let ours = entries.filter(|_| number(ENTRIES_MAX).is_some());
        ours.or(self.counted).or(entries).map_or(EntriesLevel::UNKNOWN, |last| EntriesLevel {
            last,
            min: number(ENTRIES_MIN).unwrap_or(last),
            max: number(ENTRIES_MAX).unwrap_or(last),
        })
    }

    pub(super) fn take_table(&mut self, row: &Metric) {
        let number = |field: Field| row.field(field.name).and_then(number);
        if let Some(count) = number(COUNT) {
            (self.counted, self.count) = (Some(count), Some(count));
        }
        self.max = number(LIMIT).or(self.max);
    }

    pub(super) fn take_cpu(&mut self, label: &str, row: &Metric) {
        let Some(cpu_number) = label.strip_prefix("cpu").and_then(|n| n.parse().ok()) else {
            return;
        };
        let at = match self.cpus.binary_search_by_key(&cpu_number, |cpu| cpu.number) {
            Ok(at) => at,
            Err(_) if self.cpus.len() == MOST_CPUS => return,
            Err(at) => {
                self.cpus.insert(at, CpuRates::new(cpu_number, row.timestamp_ns));
                at
            }
        };
        self.cpus[at].take(row, &mut self.sum);
    }

    pub(super) fn take_internal(&mut self, row: &Metric) {
        let misses = &mut self.misses;
        misses.samples = integer(row, SAMPLES_MISSED.name).or(misses.samples);
        misses.rows = integer(row, ROWS_LOST.name).or(misses.rows);
        misses.unplaced = integer(row, HOST_UNPLACED.name).or(misses.unplaced);
        misses.alloc_failed = integer(row, HOST_ALLOC_FAILED.name).or(misses.alloc_failed);
        misses.drift = row.field(DRIFT.name).and_then(number);
        let missed = row.fields.iter().filter_map(|(key, value)| {
            let of_a_probe = key.ends_with(PROGRAM_SKIPPED.suffix)
                || key.ends_with(PROGRAM_MISSED.suffix) && **key != *SAMPLES_MISSED.name;
            number(*value).filter(|_| of_a_probe)
        });
        misses.probes = missed.reduce(|a, b| a + b).map(|sum| sum as u64);
    }
}

/// Reads a counter from a row. `step` is what the counter did since its last value.
fn reading(row: &Metric, series: &Series, step: Option<&Step>, has_rates: bool) -> Reading {
    let rate = row.field(series.of(Measure::Rate));
    match (row.field(series.field.name), rate.and_then(number)) {
        (Some(Value::NotMaintained), _) => Reading::NotCounted,
        (_, Some(rate)) => Reading::Rate(rate),
        (Some(Value::Unknown), None) => Reading::Unknown,
        _ if rate.is_some() => Reading::Unknown,
        (None, None) => Reading::Absent,
        // Line protocol has a 0 for a counter that is not counted, but no rate.
        (Some(total), None) if has_rates && number(total) == Some(0.0) => Reading::NotCounted,
        // A recording that has no rates: the difference over the time is the same.
        (Some(_), None) => step.and_then(Step::rate).map_or(Reading::Unknown, Reading::Rate),
    }
}

/// The tags by which namespaces differ, besides host and namespace.
fn other_tags(row: &Metric) -> impl Iterator<Item = &(Name, String)> {
    row.tags.iter().filter(|(key, _)| !["cpu", "host", "netns"].contains(&&**key))
}
