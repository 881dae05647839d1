//! Rows that were read a second time, as by a program that reads its file from the start again when it is
//! restarted, and gives each row the time at which it reads it. The counters fall, and are later exactly
//! where they were.

/// So many counters must be where they were, at values that are no accident.
const FEWEST: usize = 3;
const HIGH: f64 = 8.0;

/// Rows that repeat earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repetition {
    /// How often that happened.
    pub(super) times: u64,
    /// The first of these rows, and the one that is the same as the row before them.
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
}

/// Falls that are kept, since rows that are read twice may have falls of their own.
const MOST_FALLS: usize = 4;

/// A fall of counters.
#[derive(Debug)]
struct Fall {
    at_ns: i64,
    /// The values in front of it, and behind it; NaN where they are not known.
    from: Vec<f64>,
    to: Vec<f64>,
}

impl Fall {
    /// Whether these are the values in front of it again, and the counters have come there step by step: those of
    /// another source are there at once.
    fn is_repeated(&self, last: &[f64], now: &[f64]) -> bool {
        let is_same = |(value, now): (&f64, &f64)| value == now || value.is_nan() || now.is_nan();
        let climbs = || now.iter().zip(&self.to).zip(last);
        self.from.len() == now.len()
            && self.from.iter().zip(now).all(is_same)
            && !climbs().any(|((now, to), last)| now - last > (now - to).abs() / 2.0)
    }
}

/// Finds them in the rows of one source.
#[derive(Debug, Default)]
pub(super) struct Reread {
    falls: Vec<Fall>,
    found: Option<Repetition>,
}

impl Reread {
    /// Takes that counters began again in the row of `at_ns`, and the values of the row before and of this one.
    pub(super) fn fall(&mut self, at_ns: i64, from: &[f64], to: &[f64]) {
        if from.iter().filter(|value| **value >= HIGH).count() < FEWEST {
            return;
        }
        if self.falls.len() == MOST_FALLS {
            self.falls.remove(0);
        }
        self.falls.push(Fall { at_ns, from: from.to_vec(), to: to.to_vec() });
    }

    /// Takes the values of a row without a fall, and of the row before. Returns the time of a fall if they are those
    /// in front of it again.
    pub(super) fn take(&mut self, time_ns: i64, last: &[f64], now: &[f64]) -> Option<i64> {
        let at = self.falls.iter().position(|fall| fall.is_repeated(last, now))?;
        let from_ns = self.falls[at].at_ns;
        self.falls.truncate(at);
        let found = Repetition { times: 0, from_ns, to_ns: time_ns };
        self.found.get_or_insert(found).times += 1;
        Some(from_ns)
    }

    /// Returns what was found.
    pub(super) fn conclude(&self) -> Option<Repetition> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_before_a_fall_show_a_repetition() {
        let mut reread = Reread::default();
        reread.fall(5, &[100.0, 200.0, 300.0, 0.0], &[1.0, 2.0, 3.0, 0.0]);
        // Another fall among the rows that are read twice.
        reread.fall(6, &[50.0, 60.0, 70.0, 0.0], &[2.0, 3.0, 4.0, 0.0]);
        let almost = [99.0, 199.0, 299.0, 0.0];
        assert_eq!(reread.take(7, &[90.0, 190.0, 290.0, 0.0], &almost), None);
        let old = [100.0, 200.0, 300.0, 0.0];
        assert_eq!(reread.take(8, &almost, &old), Some(5));
        assert_eq!(reread.take(9, &old, &old), None);
        assert_eq!(reread.conclude(), Some(Repetition { times: 1, from_ns: 5, to_ns: 8 }));
    }

    /// Rows of two idle hosts take turns: each is at its old values at once.
    #[test]
    fn another_source_is_no_repetition() {
        let mut reread = Reread::default();
        let (one, other) = ([1000.0, 2000.0, 3000.0], [800.0, 900.0, 950.0]);
        reread.fall(5, &one, &other);
        assert_eq!(reread.take(6, &other, &one), None);
        assert_eq!(reread.conclude(), None);
    }

    #[test]
    fn few_events_are_the_same_by_chance() {
        let mut reread = Reread::default();
        reread.fall(5, &[100.0, 7.0, 7.0, 7.0], &[1.0, 1.0, 1.0, 1.0]);
        assert_eq!(reread.take(7, &[99.0, 7.0, 7.0, 7.0], &[100.0, 7.0, 7.0, 7.0]), None);
    }
}
