//! The rows of one time, put together.

use super::fields::Meaning;

/// Telegraf's plugin keeps the kernel's 32 bits.
const WRAP: f64 = 4_294_967_296.0;
/// A wrap is believed if this many events or fewer explain it.
const WRAP_BELIEVED: f64 = 268_435_456.0;

/// What the rows of one time say.
#[derive(Debug, Default)]
pub(super) struct Moment {
    pub(super) time_ns: i64,
    /// By counter: value, rate, peak.
    pub(super) counters: Vec<Reading>,
    pub(super) has_rates: bool,
    /// Of the table's own row.
    pub(super) count: Option<f64>,
    pub(super) entries: Option<f64>,
    pub(super) entries_min: Option<f64>,
    pub(super) entries_max: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) losses: [Option<f64>; 2],
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    pub(super) value: Option<f64>,
    pub(super) rate: Option<f64>,
    pub(super) peak: Option<f64>,
}

/// The events between two values of a counter, and whether it began anew.
pub(super) fn events(before: f64, after: f64) -> (f64, bool) {
    if after >= before {
        return (after - before, false);
    }
    let wrapped = after + WRAP - before;
    if before < WRAP && wrapped < WRAP_BELIEVED { (wrapped, false) } else { (after, true) }
}

impl Moment {
    pub(super) fn set(&mut self, meaning: Meaning, value: f64) {
        match meaning {
            Meaning::Counter(at) => self.counter(at).value = Some(value),
            Meaning::Rate(at) => {
                self.counter(at).rate = Some(value);
                self.has_rates = true;
            }
            Meaning::Peak(at) => self.counter(at).peak = Some(value),
            Meaning::Count => self.count = Some(value),
            Meaning::Entries => self.entries = Some(value),
            Meaning::EntriesMin => self.entries_min = Some(value),
            Meaning::EntriesMax => self.entries_max = Some(value),
            Meaning::Max => self.max = Some(value),
            Meaning::SamplesMissed => self.losses[0] = Some(value),
            Meaning::RowsLost => self.losses[1] = Some(value),
            Meaning::Other => {}
        }
    }

    fn counter(&mut self, at: usize) -> &mut Reading {
        if self.counters.len() <= at {
            self.counters.resize(at + 1, Reading::default());
        }
        &mut self.counters[at]
    }

    /// Empties the moment but keeps its memory.
    pub(super) fn clear(&mut self, time_ns: i64) {
        let mut counters = std::mem::take(&mut self.counters);
        counters.fill(Reading::default());
        *self = Self { time_ns, counters, ..Self::default() };
    }
}
