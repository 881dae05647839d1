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

/// Finds them in the rows of one source.
#[derive(Debug, Default)]
pub(super) struct Reread {
    /// The time of the last fall, and the values in front of it; NaN where they are not known.
    fallen: Option<(i64, Vec<f64>)>,
    found: Option<Repetition>,
}

impl Reread {
    /// Takes that counters began again in the row of `at_ns`, and the values of the row before.
    pub(super) fn fall(&mut self, at_ns: i64, from: &[f64]) {
        let high = from.iter().filter(|value| **value >= HIGH).count();
        self.fallen = (high >= FEWEST).then(|| (at_ns, from.to_vec()));
    }

    /// Takes the values of a row without a fall. Returns the time of the fall if they are those in front of
    /// it again.
    pub(super) fn take(&mut self, time_ns: i64, now: &[f64]) -> Option<i64> {
        let is_same = |(value, now): (&f64, &f64)| value == now || value.is_nan() || now.is_nan();
        let (_, values) = self.fallen.as_ref()?;
        if values.len() != now.len() || !values.iter().zip(now).all(is_same) {
            return None;
        }
        let (from_ns, _) = self.fallen.take()?;
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
        reread.fall(5, &[100.0, 200.0, 300.0, 0.0]);
        assert_eq!(reread.take(6, &[99.0, 200.0, 300.0, 0.0]), None);
        assert_eq!(reread.take(7, &[100.0, 200.0, 300.0, 0.0]), Some(5));
        assert_eq!(reread.take(8, &[100.0, 200.0, 300.0, 0.0]), None);
        assert_eq!(reread.conclude(), Some(Repetition { times: 1, from_ns: 5, to_ns: 7 }));
    }

    #[test]
    fn few_events_are_the_same_by_chance() {
        let mut reread = Reread::default();
        reread.fall(5, &[100.0, 7.0, 7.0, 7.0]);
        assert_eq!(reread.take(7, &[100.0, 7.0, 7.0, 7.0]), None);
        assert_eq!(reread.conclude(), None);
    }
}
