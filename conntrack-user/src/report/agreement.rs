//! A counter, its rates and its peaks in the same rows: numbers that contradict each other are of several
//! sources, or damaged.

use super::rates::Addition;
use crate::text::human::number;

/// Rates and values differ if one has so many times the events of the other, and so many more.
const TIMES: f64 = 2.0;
const MORE: f64 = 10.0;
/// A peak is impossible if its sample has so many times the events of its row. A sample behind a late
/// one is much shorter than its nominal time.
const IMPOSSIBLE: f64 = 100.0;
/// Rows that are shorter than this share of the usual time have the peak of a time before them.
const WHOLE: f64 = 0.75;

/// The events of one counter by its values and by what is beside them.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    counted: f64,
    rated: f64,
    /// Peaks that are impossible.
    impossible: u64,
}

impl Agreement {
    /// Takes a row.
    pub(super) fn take(&mut self, row: &Addition) {
        if let (Some(events), Some(rate), false) = (row.events, row.rate, row.is_gap)
            && events + rate > 0.0
        {
            self.counted += events;
            self.rated += rate * row.seconds;
        }
    }

    /// Whether the row can have this peak. `usual` is the usual time between two rows, in seconds.
    pub(super) fn is_possible(&mut self, peak: f64, usual: Option<f64>, row: &Addition) -> bool {
        let (Some(events), Some(sample)) = (row.events, row.sample_seconds) else { return true };
        let is_whole = usual.is_some_and(|usual| row.seconds >= WHOLE * usual);
        let is_possible = !is_whole || peak * sample <= IMPOSSIBLE * (events + 1.0);
        self.impossible += u64::from(!is_possible);
        is_possible
    }

    /// Returns the contradiction of the counter called `name`, if there is one.
    pub(super) fn contradiction(&self, name: &str) -> Option<String> {
        let Self { counted, rated, impossible } = *self;
        let (less, more) = (counted.min(rated), counted.max(rated));
        if more > TIMES * less && more - less > MORE {
            let [counted, rated] = [counted, rated].map(|events| number(events.round(), 15));
            return Some(format!(
                "{name} counted {counted} by its values and {rated} by its rates"
            ));
        }
        (impossible > 0).then(|| {
            let (times, verb) = match impossible {
                1 => ("1 time".to_owned(), "is"),
                _ => (format!("{} times", number(impossible as f64, 15)), "are"),
            };
            format!(
                "peaks of {name} are {times} more than all events of their row, and {verb} left out"
            )
        })
    }
}
