//! The rates of single CPUs, and what they add up to.

use super::counter::Last;
use super::doubt::{Doubt, Totals};
use super::series::{ALL, RATES, SERIES};
use crate::metric::{Metric, Value};
use crate::schema::fields::ENTRIES;
use crate::schema::measure::Measure;

/// Over how many seconds the rates of a CPU are smoothed.
const SMOOTHED_SECONDS: f64 = 10.0;

/// One CPU's rates, smoothed over the last ten seconds; NaN is not known.
#[derive(Debug, Clone)]
pub struct CpuRates {
    /// Its number.
    pub number: u32,
    /// Events per second, in the order of [`SERIES`].
    pub rates: [f32; RATES],
    last: [Option<Last>; ALL],
    at_ns: i64,
}

impl CpuRates {
    pub(super) fn new(number: u32, at_ns: i64) -> Self {
        Self { number, rates: [f32::NAN; RATES], last: [None; ALL], at_ns }
    }

    /// Forgets the rates, which contradicting rows gave.
    pub(super) fn forget(&mut self) {
        self.rates.fill(f32::NAN);
    }

    /// Takes the CPU's next row, and adds its part to `sum`.
    pub(super) fn take(&mut self, row: &Metric, sum: &mut CpuSum, is_live: bool) {
        let seconds = (row.timestamp_ns - self.at_ns) as f64 / 1e9;
        let share = (1.0 - (-seconds / SMOOTHED_SECONDS).exp()) as f32;
        sum.cpus += 1;
        let entries = row.field(ENTRIES.name).and_then(number);
        sum.entries = sum.entries.into_iter().chain(entries).reduce(f64::max);
        self.at_ns = row.timestamp_ns;
        for (at, series) in SERIES.iter().enumerate() {
            let total = row.field(series.field.name).and_then(number);
            sum.is_present[at] |= total.is_some();
            let last = &mut self.last[at];
            let doubt = total.filter(|_| !is_live);
            let doubt = doubt.and_then(|total| Last::doubt(last, row.timestamp_ns, total));
            sum.doubts[at] = sum.doubts[at].max(doubt);
            let total = total.filter(|_| doubt.is_none());
            sum.totals[at] += total.unwrap_or(f64::NAN);
            let step = total.and_then(|total| Last::replace(last, row.timestamp_ns, total));
            if let Some(step) = step {
                sum.falls |= step.falls;
                *sum.events[at].get_or_insert(0.0) += step.events;
                let (first, last) = sum.from_ns[at].get_or_insert((step.from_ns, step.from_ns));
                (*first, *last) = ((*first).min(step.from_ns), (*last).max(step.from_ns));
            }
            let Some(smooth) = self.rates.get_mut(at) else { continue };
            let by_total = step.and_then(|step| step.rate());
            match row.field(series.of(Measure::Rate)).and_then(number).or(by_total) {
                Some(rate) if rate < 0.0 || doubt.is_some() => *smooth = f32::NAN,
                Some(rate) if smooth.is_nan() => *smooth = rate as f32,
                Some(rate) => *smooth += (rate as f32 - *smooth) * share,
                None => *smooth = f32::NAN,
            }
        }
    }
}

/// The sum of the rows of single CPUs of one gather.
#[derive(Debug, Clone, Copy)]
pub(super) struct CpuSum {
    /// Events since the row before of each CPU.
    pub(super) events: [Option<f64>; ALL],
    /// The times of the earliest and the latest of those rows.
    pub(super) from_ns: [Option<(i64, i64)>; ALL],
    pub(super) is_present: [bool; ALL],
    /// The sum of the counters; NaN where a CPU's row lacks one.
    pub(super) totals: Totals,
    /// Values that are not believed.
    pub(super) doubts: [Option<Doubt>; ALL],
    /// A counter of a CPU is lower than before.
    pub(super) falls: bool,
    /// Rows of one CPU and one time contradict each other.
    pub(super) disagrees: bool,
    /// CPUs with a row.
    pub(super) cpus: usize,
    /// Entries of the whole table; each CPU's row has them.
    pub(super) entries: Option<f64>,
}

impl Default for CpuSum {
    fn default() -> Self {
        Self {
            events: [None; ALL],
            from_ns: [None; ALL],
            is_present: [false; ALL],
            totals: [0.0; ALL],
            doubts: [None; ALL],
            falls: false,
            disagrees: false,
            cpus: 0,
            entries: None,
        }
    }
}

/// The number of a value, if it is known.
pub(super) fn number(value: Value) -> Option<f64> {
    match value {
        Value::Integer(v) => Some(v as f64),
        Value::Float(v) => Some(v),
        Value::NotMaintained | Value::Unknown => None,
    }
}

/// The integer in a field of a row, if it is there and known.
pub(super) fn integer(row: &Metric, field: &str) -> Option<u64> {
    row.field(field).and_then(number).map(|v| v as u64)
}
