//! The rates of single CPUs, and what they add up to.

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
    totals: [Option<u64>; ALL],
    at_ns: i64,
}

impl CpuRates {
    pub(super) fn new(number: u32, at_ns: i64) -> Self {
        Self { number, rates: [f32::NAN; RATES], totals: [None; ALL], at_ns }
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
            let total = integer(row, series.field.name);
            let before = self.totals[at];
            self.totals[at] = total.or(before);
            // A counter that goes back started again from 0.
            let change =
                total.zip(before).map(|(total, before)| (total.checked_sub(before), total));
            let events = change.map(|(more, total)| more.unwrap_or(total));
            sum.is_present[at] |= total.is_some();
            if let Some(events) = events {
                *sum.events[at].get_or_insert(0) += events;
            }
            let Some(smooth) = self.rates.get_mut(at) else { continue };
            let by_total = change.and_then(|(more, _)| more).filter(|_| seconds > 0.0);
            let by_total = by_total.map(|events| events as f64 / seconds);
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
    pub(super) events: [Option<u64>; ALL],
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
