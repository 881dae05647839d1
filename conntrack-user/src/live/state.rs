//! What the screen knows: the rows that came, by namespace. Pure: rows in, numbers out.
//!
//! Nothing here grows with time. A namespace is known by the tags of its rows; their text comes
//! from outside and is escaped where it is drawn.

use crate::metric::{Metric, Value};
use crate::rows::self_metrics;
use crate::schema::field::Field;
use crate::schema::fields::{
    COUNT, DRIFT, ENTRIES, ENTRIES_MAX, ENTRIES_MIN, HOST_ALLOC_FAILED, HOST_UNPLACED, LIMIT,
    PROGRAM_MISSED, PROGRAM_SKIPPED, ROWS_LOST, SAMPLE_SECONDS, SAMPLES_MISSED,
};
use crate::schema::measure::Measure;
use crate::schema::provenance::Origin;

use super::history::{EntriesLevel, FEW, History, RateSample};
use super::series::{ALL, DROP, INSERT, NEW, RATES, SERIES, Series};

/// Namespaces (of all hosts of a recording) that are followed; rows of more are counted.
const MOST_NAMESPACES: usize = 64;
/// CPUs of one namespace that are followed: as many as a kernel can have.
const MOST_CPUS: usize = 8192;
/// Over how many seconds the rates of a CPU are smoothed.
const CPU_SECONDS: f64 = 10.0;
/// The time over which the growth of the table is measured, in nanoseconds.
const GROWTH_NS: i64 = 5_000_000_000;
/// How long after the last one events are still said to happen, in nanoseconds.
const ALARM_NS: i64 = 3_000_000_000;

/// The present reading of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Reading {
    /// Not known (yet).
    #[default]
    Unknown,
    /// This kernel does not count it, and nothing else does.
    NotCounted,
    /// Events per second since the row before.
    Rate(f64),
}

/// The present state of one counter.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Current {
    /// Its rate.
    pub now: Reading,
    /// Events since the first row.
    pub since_start: Option<u64>,
    /// Where it comes from; `None` where nothing gives it, or where a recording has no origin.
    pub origin: Option<Origin>,
    total: Option<u64>,
}

/// One CPU's rates, smoothed over the last ten seconds; NaN is not known.
#[derive(Debug, Clone)]
pub struct CpuRates {
    /// Its number.
    pub number: u32,
    /// Events per second, in the order of [`SERIES`].
    pub rates: [f32; RATES],
}

/// What was missed since the start, as far as it is known.
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

/// One network namespace (of one host).
#[derive(Debug, Clone)]
pub struct Namespace {
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
    /// What was missed.
    pub misses: Misses,
    /// The nominal time between two samples, in seconds.
    pub sample_seconds: Option<f64>,
    /// Entries by the last row of the table.
    counted: Option<f64>,
}

impl Namespace {
    fn new(row: &Metric) -> Self {
        let tag = |key| row.tag(key).map(ToOwned::to_owned);
        Self {
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
        }
    }

    fn is_of(&self, row: &Metric) -> bool {
        self.host.as_deref() == row.tag("host") && self.netns.as_deref() == row.tag("netns")
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

    fn take_statistics(&mut self, row: &Metric) {
        let elapsed = self.history.last().map(|last| row.timestamp_ns - last.end_ns);
        let has_rates = row.field(SERIES[DROP].of(Measure::Rate)).is_some();
        let mut samples = [RateSample::UNKNOWN; ALL];
        for ((series, current), sample) in SERIES.iter().zip(&mut self.current).zip(&mut samples) {
            current.now = reading(row, series, current.total, elapsed, has_rates);
            if let Some(total) = integer(row, series.field.name) {
                // A counter that goes back started again from 0.
                let more =
                    current.total.map_or(0, |before| total.checked_sub(before).unwrap_or(total));
                current.since_start = Some(current.since_start.unwrap_or(0) + more);
                current.total = Some(total);
            }
            if let Reading::Rate(rate) = current.now {
                let peak = row.field(series.of(Measure::PeakRate)).and_then(number).unwrap_or(rate);
                let few = integer(row, series.of(Measure::PeakCount));
                let few = few.filter(|count| *count < FEW).unwrap_or(0);
                *sample = RateSample { mean: rate as f32, peak: peak as f32, few: few as u8 };
            }
        }
        let level = self.level(row);
        self.count = Some(level.last).filter(|last| !last.is_nan());
        self.misses.samples = integer(row, SAMPLES_MISSED.name).or(self.misses.samples);
        self.misses.rows = integer(row, ROWS_LOST.name).or(self.misses.rows);
        self.sample_seconds =
            row.field(SAMPLE_SECONDS.name).and_then(number).or(self.sample_seconds);
        self.at_ns = row.timestamp_ns;
        self.history.push(row.timestamp_ns, level, samples);
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

    fn take_table(&mut self, row: &Metric) {
        let number = |field: Field| row.field(field.name).and_then(number);
        if let Some(count) = number(COUNT) {
            (self.counted, self.count) = (Some(count), Some(count));
        }
        self.max = number(LIMIT).or(self.max);
    }

    fn take_cpu(&mut self, label: &str, row: &Metric, elapsed: Option<i64>) {
        let Some(cpu_number) = label.strip_prefix("cpu").and_then(|n| n.parse().ok()) else {
            return;
        };
        let at = match self.cpus.binary_search_by_key(&cpu_number, |cpu| cpu.number) {
            Ok(at) => at,
            Err(_) if self.cpus.len() == MOST_CPUS => return,
            Err(at) => {
                self.cpus.insert(at, CpuRates { number: cpu_number, rates: [f32::NAN; RATES] });
                at
            }
        };
        let seconds = elapsed.map_or(0.0, |ns| ns as f64 / 1e9);
        let share = (1.0 - (-seconds / CPU_SECONDS).exp()) as f32;
        for (series, smooth) in SERIES[..RATES].iter().zip(&mut self.cpus[at].rates) {
            match row.field(series.of(Measure::Rate)).and_then(number) {
                Some(rate) if smooth.is_nan() => *smooth = rate as f32,
                Some(rate) => *smooth += (rate as f32 - *smooth) * share,
                None => *smooth = f32::NAN,
            }
        }
    }

    fn take_internal(&mut self, row: &Metric) {
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

/// Reads from a row a counter that stood at `before`, `elapsed` nanoseconds ago.
fn reading(
    row: &Metric,
    series: &Series,
    before: Option<u64>,
    elapsed: Option<i64>,
    has_rates: bool,
) -> Reading {
    let rate = row.field(series.of(Measure::Rate));
    match (row.field(series.field.name), rate.and_then(number)) {
        (Some(Value::NotMaintained), _) => Reading::NotCounted,
        (_, Some(rate)) => Reading::Rate(rate),
        (Some(Value::Unknown), None) => Reading::Unknown,
        _ if rate.is_some() => Reading::Unknown,
        // Telegraf's documented counters are on every row, the causes are not.
        (None, None) => Reading::NotCounted,
        (Some(total), None) => match (number(total), before, elapsed) {
            // Line protocol has a 0 for a counter that is not counted, but no rate.
            (Some(0.0), ..) if has_rates => Reading::NotCounted,
            // A recording that has no rates: the difference over the time is the same.
            (Some(total), Some(before), Some(elapsed @ 1..)) if total >= before as f64 => {
                Reading::Rate((total - before as f64) * 1e9 / elapsed as f64)
            }
            _ => Reading::Unknown,
        },
    }
}

fn number(value: Value) -> Option<f64> {
    match value {
        Value::Integer(v) => Some(v as f64),
        Value::Float(v) => Some(v),
        Value::NotMaintained | Value::Unknown => None,
    }
}

fn integer(row: &Metric, field: &str) -> Option<u64> {
    row.field(field).and_then(number).map(|v| v as u64)
}

/// All namespaces, and the one that is shown.
#[derive(Debug, Clone, Default)]
pub struct Screen {
    /// In the order in which their first rows came.
    pub namespaces: Vec<Namespace>,
    /// Index of the one that is shown.
    pub selected: usize,
    /// Rows of namespaces that are too many to be followed.
    pub rows_unplaced: u64,
}

impl Screen {
    /// The namespace that is shown, once it has a row.
    #[must_use]
    pub fn namespace(&self) -> Option<&Namespace> {
        self.namespaces.get(self.selected)
    }

    /// Goes to the next namespace, or with `back` to the one before.
    pub fn select(&mut self, back: bool) {
        let count = self.namespaces.len().max(1);
        self.selected = (self.selected + if back { count - 1 } else { 1 }) % count;
    }

    /// Takes the rows of one emission: those of one input, or of one moment of a recording.
    pub fn take(&mut self, rows: &[Metric], origins: &[Option<Origin>; ALL]) {
        // How long before this emission each namespace had its last row.
        let before: Vec<Option<i64>> =
            self.namespaces.iter().map(|n| n.history.last().map(|last| last.end_ns)).collect();
        let is_table =
            |row: &Metric| row.name != self_metrics::MEASUREMENT && row.tag("cpu").is_none();
        // The rows of the table come before those that need its count.
        let (tables, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| is_table(row));
        for row in tables.into_iter().chain(others) {
            let Some(at) = self.place(row) else {
                self.rows_unplaced += 1;
                continue;
            };
            let namespace = &mut self.namespaces[at];
            match row.tag("cpu") {
                _ if row.name == self_metrics::MEASUREMENT => namespace.take_internal(row),
                Some("all") => {
                    namespace.take_statistics(row);
                    for (current, origin) in namespace.current.iter_mut().zip(origins) {
                        current.origin = *origin;
                    }
                }
                Some(cpu) => {
                    let before = before.get(at).copied().flatten();
                    let elapsed = before.map(|before| row.timestamp_ns - before);
                    namespace.take_cpu(cpu, row, elapsed);
                }
                None => namespace.take_table(row),
            }
        }
    }

    /// The index of the namespace that a row is of.
    fn place(&mut self, row: &Metric) -> Option<usize> {
        let known = self.namespaces.iter().position(|namespace| namespace.is_of(row));
        known.or_else(|| {
            (self.namespaces.len() < MOST_NAMESPACES).then(|| {
                self.namespaces.push(Namespace::new(row));
                self.namespaces.len() - 1
            })
        })
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
