//! Counters that fall together and later are back where they were: rows of another source, or of another
//! time, are among those of this one, and no counter began again.

/// So many counters must come back together.
const FEWEST: usize = 3;

/// Follows the rows of one source.
#[derive(Debug, Default)]
pub(super) struct Returns {
    time_ns: i64,
    now: Vec<f64>,
    /// The values of the last row and of the one before it; NaN where they are not known.
    last: Vec<f64>,
    before: Vec<f64>,
    /// The values in front of the last fall of those that fell, and the time of it.
    fallen: Option<(Vec<f64>, i64)>,
    /// How often counters were back, and the time of the first fall before that.
    found: u64,
    first_ns: Option<i64>,
}

impl Returns {
    /// Takes the values of a row's counters, in the same order each time; those of a counter that begins
    /// again by itself are `None`. Rows that are not in the order of time are no comparison.
    pub(super) fn take(&mut self, time_ns: i64, values: impl Iterator<Item = Option<f64>>) {
        self.now.clear();
        self.now.extend(values.map(|value| value.unwrap_or(f64::NAN)));
        if time_ns <= self.time_ns {
            self.before.clear();
            self.fallen = None;
        } else {
            self.compare(time_ns);
        }
        self.time_ns = time_ns;
        std::mem::swap(&mut self.before, &mut self.last);
        std::mem::swap(&mut self.last, &mut self.now);
    }

    /// How often counters were back, and the time of the first row before that.
    pub(super) fn found(&self) -> Option<(u64, i64)> {
        Some((self.found, self.first_ns?))
    }

    fn compare(&mut self, time_ns: i64) {
        let steps = || self.last.iter().zip(&self.now);
        if steps().filter(|(last, now)| now < last).count() >= FEWEST {
            if self.is_behind_a_peak() {
                self.note(self.time_ns);
            } else {
                let fell = |(last, now): (&f64, &f64)| if now < last { *last } else { f64::NAN };
                let fell = steps().map(fell).collect();
                self.fallen = Some((fell, time_ns));
            }
        } else if let Some((fallen, from_ns)) = &self.fallen
            && self.is_back_at(fallen)
        {
            let from_ns = *from_ns;
            self.fallen = None;
            self.note(from_ns);
        }
    }

    fn note(&mut self, from_ns: i64) {
        self.found += 1;
        self.first_ns.get_or_insert(from_ns);
    }

    /// Whether the last row alone was higher than the one before it and this one, which go on from each
    /// other.
    fn is_behind_a_peak(&self) -> bool {
        let rows = || self.before.iter().zip(&self.last).zip(&self.now);
        let is_peak = |((before, last), now): &((&f64, &f64), &f64)| {
            **before > 0.0 && before < last && now >= before && *now - *before <= *last - *now
        };
        rows().filter(is_peak).count() >= FEWEST && !rows().any(|((before, _), now)| now < before)
    }

    /// Whether the counters have come to these values from far below, all of them in one step.
    fn is_back_at(&self, fallen: &[f64]) -> bool {
        let rows = || fallen.iter().zip(&self.last).zip(&self.now);
        let leaps = |((fallen, last), now): &((&f64, &f64), &f64)| {
            last < fallen && now >= fallen && *now - *last >= *fallen / 2.0
        };
        rows().filter(leaps).count() >= FEWEST && !rows().any(|((fallen, _), now)| now < fallen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often the counters of these rows, a second apart, were back.
    fn found(rows: &[[f64; 4]]) -> Option<(u64, i64)> {
        let mut returns = Returns::default();
        for (time_ns, row) in (1..).zip(rows) {
            returns.take(time_ns, row.iter().map(|value| Some(*value)));
        }
        returns.found()
    }

    fn row(value: f64) -> [f64; 4] {
        [value, 2.0 * value, 3.0 * value, 0.0]
    }

    #[test]
    fn rows_of_another_source_are_found() {
        // Lower, for one row and for three; higher, for one row.
        let lower = [100.0, 101.0, 7.0, 102.0, 103.0].map(row);
        assert_eq!(found(&lower), Some((1, 3)));
        let stay = [100.0, 101.0, 7.0, 8.0, 9.0, 106.0].map(row);
        assert_eq!(found(&stay), Some((1, 3)));
        let higher = [100.0, 101.0, 9000.0, 102.0, 103.0].map(row);
        assert_eq!(found(&higher), Some((1, 3)));
        let both = [100.0, 7.0, 102.0, 8.0, 104.0].map(row);
        assert_eq!(found(&both), Some((2, 2)));
    }

    #[test]
    fn counters_that_began_again_are_not_back() {
        // They grow past the old values step by step, or each by itself.
        let slow: Vec<_> = (0..60).map(|at| row(f64::from(at % 30) * 5.0)).collect();
        assert_eq!(found(&slow), None);
        let apart = [[50.0, 60.0, 70.0, 1.0], [0.0; 4], [80.0, 0.0, 0.0, 0.0]];
        assert_eq!(found(&[&apart[..], &[[80.0, 90.0, 100.0, 0.0]]].concat()), None);
        // A reboot, and another one soon after.
        assert_eq!(found(&[100.0, 101.0, 3.0, 4.0, 2.0, 3.0].map(row)), None);
    }

    #[test]
    fn rows_that_are_not_in_order_are_not_compared() {
        let mut returns = Returns::default();
        for (time_ns, value) in [(1, 100.0), (2, 101.0), (2, 5.0), (3, 102.0)] {
            returns.take(time_ns, row(value).into_iter().map(Some));
        }
        assert_eq!(returns.found(), None);
    }
}
