//! Rows of one series that contradict each other, and what they leave unknown.

use std::collections::VecDeque;

use super::series::ALL;

/// Rows that are kept, to see that a row continues another one than the one before it.
const RECENT: usize = 16;

/// The reason why it is not known what a counter did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// The value is below 0.
    Negative,
    /// The counter rose by nearly 2^32.
    Leap,
    /// Counters started again, so nothing is known of the time since the row before.
    Reset,
    /// The counters continue those of another row than the one before.
    UpAndDown,
    /// Rows of one time have different values.
    SameTime,
}

impl Doubt {
    /// The reason in the place of the counter's meaning.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Negative => "unknown: a value below 0",
            Self::Leap => "unknown: a rise by nearly 2^32",
            Self::Reset => "unknown: counters began again",
            Self::UpAndDown => "unknown: counters go up and down",
            Self::SameTime => "unknown: two values at one time",
        }
    }

    /// The reason where it is about a part of the time that is shown, so short that a warning fits
    /// before it.
    #[must_use]
    pub fn reason_of_a_part(self) -> &'static str {
        match self {
            Self::Negative => "partly unknown: below 0",
            Self::Leap => "partly unknown: rise by 2^32",
            Self::Reset => "partly unknown: began again",
            Self::UpAndDown => "partly unknown: up and down",
            Self::SameTime => "partly unknown: two values",
        }
    }

    /// The reason as a message.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Negative => "a counter is below 0: such values are left out",
            Self::Leap => "a counter rises by nearly 2^32: such values are left out",
            Self::Reset => "counters began again: their events since the row before are not known",
            Self::UpAndDown => {
                "counters go up and down, as rows of several sources with the same tags do: no rates \
                 there"
            }
            Self::SameTime => {
                "rows of one time differ, as those of several sources with the same tags do: no rates \
                 there"
            }
        }
    }
}

/// The counters of one row; NaN is not known.
pub(super) type Totals = [f64; ALL];

/// The last rows of one series.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    /// Latest first.
    rows: VecDeque<(i64, Totals)>,
    /// Rows since counters went back; so many that none is compared, if they never did.
    since_fall: Option<usize>,
}

impl Recent {
    /// Takes the next row; `falls` is whether a counter of it is lower than before. Returns what the
    /// rows leave unknown, and the time of the row that this one continues.
    pub(super) fn take(
        &mut self,
        time_ns: i64,
        totals: &Totals,
        falls: bool,
    ) -> Option<(Doubt, i64)> {
        if self.rows.front().is_some_and(|(last_ns, _)| *last_ns >= time_ns) {
            self.rows.clear();
        }
        self.since_fall = if falls { Some(0) } else { self.since_fall.map(|rows| rows + 1) };
        let is_compared = self.since_fall.is_some_and(|rows| rows < RECENT);
        let continued = is_compared.then(|| self.continued(totals)).flatten();
        if self.rows.len() == RECENT {
            self.rows.pop_back();
        }
        self.rows.push_front((time_ns, *totals));
        match continued {
            Some(from_ns) => Some((Doubt::UpAndDown, from_ns)),
            None => falls.then_some((Doubt::Reset, time_ns)),
        }
    }

    /// Returns the time of the latest row but one that `totals` continue, if those between are not
    /// on the way. Where a counter started again, others are far below their earlier values.
    fn continued(&self, totals: &Totals) -> Option<i64> {
        let mut rows = self.rows.iter();
        let (_, before) = rows.next()?;
        let found = rows.find(|(_, earlier)| {
            let three = || earlier.iter().zip(before).zip(totals);
            !three().any(|((earlier, _), now)| now < earlier)
                && three().any(|((earlier, before), now)| earlier > before || now < before)
        });
        found.map(|(time_ns, _)| *time_ns)
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The doubts of rows with two counters.
    fn doubts(rows: &[(f64, f64)]) -> Vec<Option<(Doubt, i64)>> {
        let mut recent = Recent::default();
        let mut last = (0.0, 0.0);
        let take = |(at, &(drop, found)): (usize, &(f64, f64))| {
            let falls = at > 0 && (drop < last.0 || found < last.1);
            last = (drop, found);
            let mut totals = [f64::NAN; ALL];
            (totals[0], totals[1]) = (drop, found);
            recent.take(at as i64, &totals, falls)
        };
        rows.iter().enumerate().map(take).collect()
    }

    #[test]
    fn a_row_that_continues_an_earlier_one_is_of_another_source() {
        // Two sources.
        let found = doubts(&[(81.0, 900.0), (0.0, 0.0), (82.0, 950.0), (0.0, 0.0), (82.0, 951.0)]);
        let up_and_down = |at| Some((Doubt::UpAndDown, at));
        let expected =
            [None, Some((Doubt::Reset, 1)), up_and_down(0), up_and_down(1), up_and_down(2)];
        assert_eq!(found, expected);
        // Three of them.
        let rows = [(9.0, 90.0), (4.0, 40.0), (6.0, 60.0), (9.0, 91.0), (4.0, 41.0), (6.0, 61.0)];
        assert_eq!(doubts(&rows)[3..], [up_and_down(0), up_and_down(1), up_and_down(2)]);
        // A damaged row.
        assert_eq!(doubts(&[(5.0, 10.0), (5.0, 9120.0), (5.0, 12.0)])[2], up_and_down(0));
        assert_eq!(doubts(&[(5.0, 10.0), (5.0, 1.0), (5.0, 12.0)])[2], up_and_down(0));
    }

    #[test]
    fn counters_that_start_again_are_no_contradiction() {
        let reset = doubts(&[(5.0, 900.0), (5.0, 901.0), (5.0, 2.0), (6.0, 4.0), (8.0, 9.0)]);
        assert_eq!(reset, [None, None, Some((Doubt::Reset, 2)), None, None]);
    }
}
