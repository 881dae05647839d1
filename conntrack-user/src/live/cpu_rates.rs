//! The rates of single CPUs, and what they add up to.

use super::counter::Last;
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

    /// Takes the CPU's next row, and adds its part to `sum`.
    pub(super) fn take(&mut self, row: &Metric, sum: &mut CpuSum) {
        let seconds = (row.timestamp_ns - self.at_ns) as f64 / 1e9;
        let share = (1.0 - (-seconds / SMOOTHED_SECONDS).exp()) as f32;
        sum.cpus += 1;
        let entries = row.field(ENTRIES.name).and_then(number);
        sum.entries = sum.entries.into_iter().chain(entries).reduce(f64::max);
        self.at_ns = row.timestamp_ns;
        for (at, series) in SERIES.iter().enumerate() {
            let total = row.field(series.field.name).and_then(number);
            sum.is_present[at] |= total.is_some();
            let step =
                total.and_then(|total| Last::replace(&mut self.last[at], row.timestamp_ns, total));
            if let Some(step) = step {
                *sum.events[at].get_or_insert(0.0) += step.events;
                sum.from_ns[at] = sum.from_ns[at].into_iter().chain([step.from_ns]).min();
            }
            let Some(smooth) = self.rates.get_mut(at) else { continue };
            let by_total = step.and_then(|step| step.rate());
            match row.field(series.of(Measure::Rate)).and_then(number).or(by_total) {
                Some(rate) if smooth.is_nan() => *smooth = rate as f32,
                Some(rate) => *smooth += (rate as f32 - *smooth) * share,
                None => *smooth = f32::NAN,
            }
        }
    }
}

/// The sum of the rows of single CPUs of one gather.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CpuSum {
    /// Events since the row before of each CPU.
    pub(super) events: [Option<f64>; ALL],
    /// The time of the earliest of those rows.
    pub(super) from_ns: [Option<i64>; ALL],
    pub(super) is_present: [bool; ALL],
    /// CPUs with a row.
    pub(super) cpus: usize,
    /// Entries of the whole table; each CPU's row has them.
    pub(super) entries: Option<f64>,
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
