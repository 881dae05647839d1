//! The rows of one gather, put together.

use super::fields::Meaning;

/// The values of the rows of one gather. They have one time, or times so near to each other that
/// no other row is between them.
#[derive(Debug, Default)]
pub(super) struct Moment {
    /// The time of the first row.
    pub(super) time_ns: i64,
    /// The time of the first row with statistics.
    pub(super) statistics_ns: Option<i64>,
    /// The time of the first row with the table's entries.
    pub(super) table_ns: Option<i64>,
    /// By counter.
    pub(super) counters: Vec<CounterReading>,
    pub(super) has_counters: bool,
    pub(super) has_rates: bool,
    /// ctpulse alone writes peaks.
    pub(super) has_peaks: bool,
    /// A counter is lower in one row than in the one before: not both are of one source.
    pub(super) disagrees: bool,
    /// A counter is higher in one row than in the one before: they were not read at once.
    pub(super) has_risen: bool,
    /// Values of counters beyond the first of each.
    pub(super) repeats: u64,
    /// Of the table's own row: the most, if there are several.
    pub(super) count: Option<f64>,
    pub(super) least_count: Option<f64>,
    pub(super) entries: Option<f64>,
    pub(super) entries_min: Option<f64>,
    pub(super) entries_max: Option<f64>,
    /// The fewest and the most by the statistics, if the rows are those of ctpulse.
    pub(super) own_entries: (Option<f64>, Option<f64>),
    /// The table's limit: the smallest, if there are several.
    pub(super) max: Option<f64>,
    pub(super) largest_max: Option<f64>,
    pub(super) losses: [Option<f64>; 2],
    pub(super) sample_seconds: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CounterReading {
    pub(super) value: Option<f64>,
    /// The smallest of several values, which was read first.
    pub(super) least: f64,
    pub(super) rate: Option<f64>,
    pub(super) peak: Option<f64>,
    /// The largest number of events in one sample.
    pub(super) sample_max: Option<f64>,
}

impl CounterReading {
    pub(super) fn is_empty(&self) -> bool {
        self.value.or(self.rate).or(self.peak).or(self.sample_max).is_none()
    }
}

impl Moment {
    /// Takes a field of a row with this time.
    pub(super) fn set(&mut self, time_ns: i64, meaning: Meaning, value: f64) {
        let highest = |old: &mut Option<f64>| *old = Some(old.map_or(value, |old| old.max(value)));
        let lowest = |old: &mut Option<f64>| *old = Some(old.map_or(value, |old| old.min(value)));
        match meaning {
            Meaning::Counter(at) => {
                let counter = self.counter(at);
                let old = counter.value;
                counter.least = old.map_or(value, |_| counter.least.min(value));
                highest(&mut counter.value);
                if let Some(old) = old {
                    self.disagrees |= value < old;
                    self.has_risen |= value > old;
                    self.repeats += 1;
                }
                self.has_counters = true;
            }
            Meaning::Rate(at) => {
                self.counter(at).rate = Some(value);
                self.has_rates = true;
            }
            Meaning::Peak(at) => {
                highest(&mut self.counter(at).peak);
                self.has_peaks = true;
            }
            Meaning::SampleMax(at) => {
                highest(&mut self.counter(at).sample_max);
                self.has_peaks = true;
            }
            Meaning::SampleSeconds => self.sample_seconds = Some(value),
            Meaning::Count => {
                highest(&mut self.count);
                lowest(&mut self.least_count);
            }
            Meaning::Entries => highest(&mut self.entries),
            Meaning::EntriesMin => lowest(&mut self.entries_min),
            Meaning::EntriesMax => highest(&mut self.entries_max),
            Meaning::OwnEntriesMin => self.own_entries.0 = Some(value),
            Meaning::OwnEntriesMax => self.own_entries.1 = Some(value),
            Meaning::Max => {
                lowest(&mut self.max);
                highest(&mut self.largest_max);
            }
            Meaning::SamplesMissed => self.losses[0] = Some(value),
            Meaning::RowsLost => self.losses[1] = Some(value),
            Meaning::Other | Meaning::Unmet => return,
        }
        let is_statistics = matches!(
            meaning,
            Meaning::Counter(_) | Meaning::Rate(_) | Meaning::Peak(_) | Meaning::SampleMax(_)
        );
        if is_statistics {
            self.statistics_ns.get_or_insert(time_ns);
        } else if matches!(meaning, Meaning::Count) {
            self.table_ns.get_or_insert(time_ns);
        }
    }

    /// Takes the extremes of the statistics as those of the table.
    pub(super) fn take_own_entries(&mut self) {
        let (min, max) = self.own_entries;
        self.entries_min = self.entries_min.into_iter().chain(min).reduce(f64::min);
        self.entries_max = self.entries_max.into_iter().chain(max).reduce(f64::max);
    }

    fn counter(&mut self, at: usize) -> &mut CounterReading {
        if self.counters.len() <= at {
            self.counters.resize(at + 1, CounterReading::default());
        }
        &mut self.counters[at]
    }

    /// How many rows with statistics it has beyond the first.
    pub(super) fn extra_rows(&self) -> u64 {
        let counters = self.counters.iter().filter(|counter| counter.value.is_some()).count();
        let counters = counters.max(1) as u64;
        (self.repeats + counters / 2) / counters
    }

    /// Whether every value is 0, as those are that a query fills in (`fill(0)`).
    pub(super) fn is_blank(&self) -> bool {
        let is_zero = |value: Option<f64>| value.is_none_or(|value| value == 0.0);
        [self.count, self.entries, self.max, self.sample_seconds].into_iter().all(is_zero)
            && self.counters.iter().all(|counter| {
                is_zero(counter.value) && is_zero(counter.rate) && is_zero(counter.peak)
            })
    }

    /// Empties the moment but keeps its memory.
    pub(super) fn clear(&mut self) {
        let mut counters = std::mem::take(&mut self.counters);
        counters.fill(CounterReading::default());
        *self = Self { counters, ..Self::default() };
    }
}
