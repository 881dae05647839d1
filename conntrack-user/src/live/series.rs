//! The counters that the dashboard follows, in the order of the screen.
//!
//! The catalog declares them. Rates come first, of which the smallest screen shows the first ones,
//! then the causes of drops, then the parts of causes.

use crate::schema::field::{Field, LiveGroup, LiveSeries};
use crate::schema::fields::{self, FIELDS};
use crate::schema::measure::Measure;

/// How many counters are shown as rates.
pub const RATES: usize = COUNTS[0];
/// How many causes of drops are distinguished.
pub const CAUSES: usize = COUNTS[1];
/// All of them, and the parts of causes.
pub const ALL: usize = RATES + CAUSES + COUNTS[2];

/// The index of `insert` in [`SERIES`].
pub const INSERT: usize = position(&fields::INSERT);
/// The index of `new`.
pub const NEW: usize = position(&fields::NEW);
/// The index of `drop`.
pub const DROP: usize = position(&fields::DROP);
/// The indices of the causes of drops.
pub const CAUSE_INDICES: std::ops::Range<usize> = RATES..RATES + CAUSES;

/// The counters: rates by their position, then causes and parts in the order of the catalog.
pub const SERIES: [Series; ALL] = {
    let mut series: [Option<Series>; ALL] = [None; ALL];
    let (mut at, mut cause, mut part) = (0, RATES, RATES + CAUSES);
    while at < FIELDS.len() {
        let field = &FIELDS[at];
        at += 1;
        let Some(live) = field.live else { continue };
        let position = match live.group {
            LiveGroup::Rates(position) => position,
            LiveGroup::Causes => {
                cause += 1;
                cause - 1
            }
            LiveGroup::PartOf(_) => {
                part += 1;
                part - 1
            }
        };
        assert!(series[position].is_none(), "two counters have one position");
        series[position] = Some(Series { field, live });
    }
    let mut all = [series[0].expect("a counter"); ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = series[at].expect("a counter at each position");
        at += 1;
    }
    all
};

/// How many rates, causes and parts of causes the catalog has.
const COUNTS: [usize; 3] = {
    let mut counts = [0; 3];
    let mut at = 0;
    while at < FIELDS.len() {
        if let Some(live) = FIELDS[at].live {
            counts[match live.group {
                LiveGroup::Rates(_) => 0,
                LiveGroup::Causes => 1,
                LiveGroup::PartOf(_) => 2,
            }] += 1;
        }
        at += 1;
    }
    counts
};

/// A counter that is followed over time.
#[derive(Debug, Clone, Copy)]
pub struct Series {
    /// The counter.
    pub field: &'static Field,
    /// Its place on the screen, and words for it.
    pub live: LiveSeries,
}

impl Series {
    /// Returns the name of the field with one of its measures. A copy of another counter takes the
    /// rates of that one, which older recordings have, too.
    #[must_use]
    pub fn of(&self, measure: Measure) -> &'static str {
        let original = self.field.copy_of.and_then(fields::find);
        match measure {
            Measure::Total => self.field.name,
            _ => original.unwrap_or(self.field).of(measure),
        }
    }
}

/// Returns the position of one of the rates.
const fn position(field: &Field) -> usize {
    match field.live {
        Some(LiveSeries { group: LiveGroup::Rates(position), .. }) => position,
        _ => panic!("the counter is not shown as a rate"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_indices_are_those_of_their_names() {
        assert_eq!(SERIES[INSERT].field.name, "insert");
        assert_eq!(SERIES[NEW].field.name, "new");
        assert_eq!(SERIES[DROP].field.name, "drop");
        assert_eq!(SERIES[ALL - 1].field.name, "table_full_evictable");
        assert!(SERIES[CAUSE_INDICES].iter().all(|cause| cause.field.cause.is_some()));
        assert!(SERIES[..RATES].iter().all(|rate| rate.field.cause.is_none()));
    }

    #[test]
    fn a_copy_has_the_rates_of_its_original() {
        let copy = SERIES.iter().find(|series| series.field.copy_of.is_some()).unwrap();
        assert_eq!(copy.of(Measure::Total), "drop_chaintoolong");
        assert_eq!(copy.of(Measure::PeakRate), "chaintoolong_rate_max");
    }
}
