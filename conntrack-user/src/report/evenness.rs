//! Rows in which each value rises by as much as in the rows before, as a query with `fill(linear)` writes
//! them in place of those that are missing: what happened between them is not known.

/// Fewer rows are so by chance.
const FEWEST_ROWS: u64 = 8;
/// So many counters must rise by different numbers, each by so much in each row: few events are the same by
/// chance, too, and `drop` and `insert_failed` may be one number.
const FEWEST_COUNTERS: usize = 2;
const FAST: f64 = 8.0;
/// Where the table's entries are not known, so many must.
const FEWEST_WITHOUT_ENTRIES: usize = 3;
/// The rise of a whole number between two rows is rounded down or up.
const ROUNDING: f64 = 1.0;
/// A load that is the same all the time has no others that rise beside these.
const FEWEST_UNEVEN: u64 = 10;

/// Rows with even rises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Even {
    /// How many there are.
    pub(super) rows: u64,
    /// The first and the last of the longest time with them.
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
}

/// The values of a row and of the two before it; NaN where they are not known.
pub(super) struct Rows<'a> {
    pub(super) before: &'a [f64],
    pub(super) last: &'a [f64],
    pub(super) now: &'a [f64],
    /// The table's entries in this row and the ones before, the latest first.
    pub(super) entries: [Option<f64>; 3],
}

impl Rows<'_> {
    /// Whether each value rose by as much as in the row before.
    fn are_even(&self) -> bool {
        let is_even = |((before, last), now): ((&f64, &f64), &f64)| {
            let bend = now - 2.0 * last + before;
            bend.abs() <= ROUNDING || bend.is_nan()
        };
        !self.before.is_empty() && self.before.iter().zip(self.last).zip(self.now).all(is_even)
    }
}

/// The smallest and the largest rise of a value in a run of rows.
#[derive(Debug, Clone, Copy)]
struct Rises {
    least: f64,
    most: f64,
}

impl Rises {
    const NONE: Self = Self { least: f64::INFINITY, most: f64::NEG_INFINITY };

    /// Takes a rise if it is the same number as the others, but for rounding, or not known; whether it is.
    fn take(&mut self, rise: f64) -> bool {
        let (least, most) = (self.least.min(rise), self.most.max(rise));
        let is_same = most - least <= ROUNDING || rise.is_nan();
        if is_same {
            *self = Self { least, most };
        }
        is_same
    }
}

/// Finds them in the rows of one source.
#[derive(Debug, Default)]
pub(super) struct Evenness {
    /// Rows of the run up to now, their times, and the time between two of them.
    run: u64,
    from_ns: i64,
    to_ns: i64,
    step_ns: i64,
    /// The time between the row before and the one in front of it.
    last_step_ns: i64,
    /// The rises in it of each counter, and of the entries.
    rises: Vec<Rises>,
    entries: Option<Rises>,
    /// The longest run.
    longest: u64,
    found: Even,
    /// Rows with other rises than the row before, until they are enough.
    uneven: u64,
}

impl Evenness {
    /// Takes a row at `time_ns`; the one before it is of `last_ns`.
    pub(super) fn take(&mut self, (last_ns, time_ns): (i64, i64), rows: &Rows<'_>) {
        let step_ns = time_ns.saturating_sub(last_ns);
        let before_step_ns = std::mem::replace(&mut self.last_step_ns, step_ns);
        if self.run > 0 {
            if step_ns == self.step_ns
                && self.go_on(rows.last, rows.now, [rows.entries[1], rows.entries[0]])
            {
                self.run += 1;
                self.to_ns = time_ns;
                return;
            }
            self.end();
        }
        // Most rows are so, and are found at their first counter that moves.
        if step_ns != before_step_ns || !rows.are_even() {
            if self.uneven < FEWEST_UNEVEN {
                let mut steps = rows.last.iter().zip(rows.now);
                self.uneven += u64::from(steps.any(|(last, now)| now - last >= FAST));
            }
            return;
        }
        (self.run, self.step_ns) = (2, step_ns);
        (self.from_ns, self.to_ns) = (last_ns.saturating_sub(step_ns), time_ns);
        self.rises.clear();
        self.rises.resize(rows.now.len(), Rises::NONE);
        self.entries = Some(Rises::NONE);
        self.go_on(rows.before, rows.last, [rows.entries[2], rows.entries[1]]);
        self.go_on(rows.last, rows.now, [rows.entries[1], rows.entries[0]]);
    }

    /// Takes a row into the run; whether each value rises by as much as in its other rows.
    fn go_on(&mut self, last: &[f64], now: &[f64], entries: [Option<f64>; 2]) -> bool {
        match (entries, &mut self.entries) {
            ([Some(last), Some(now)], Some(rises)) => {
                if !rises.take(now - last) {
                    return false;
                }
            }
            _ => self.entries = None,
        }
        last.iter().zip(now).zip(&mut self.rises).all(|((last, now), rises)| rises.take(now - last))
    }

    /// Whether the rises of the run are no accident.
    fn shows(&self) -> bool {
        let mut fast: Vec<f64> = self.rises.iter().map(|rises| rises.least).collect();
        fast.retain(|rise| *rise >= FAST && rise.is_finite());
        fast.sort_by(f64::total_cmp);
        fast.dedup_by(|a, b| (*a - *b).abs() <= ROUNDING);
        let needed = match self.entries {
            // A full table stays as it is, under a generator's load, too.
            Some(rises) if rises.least.abs().max(rises.most.abs()) == 0.0 => return false,
            Some(_) => FEWEST_COUNTERS,
            None => FEWEST_WITHOUT_ENTRIES,
        };
        self.run >= FEWEST_ROWS && fast.len() >= needed
    }

    fn end(&mut self) {
        if self.run >= FEWEST_ROWS && self.shows() {
            self.found.rows += self.run;
            if self.run > self.longest {
                self.longest = self.run;
                (self.found.from_ns, self.found.to_ns) = (self.from_ns, self.to_ns);
            }
        }
        self.run = 0;
    }

    /// Returns the rows with even rises, if there are others beside them.
    pub(super) fn conclude(&self) -> Option<Even> {
        let mut found = self.found;
        if self.shows() {
            found.rows += self.run;
            if self.run > self.longest {
                (found.from_ns, found.to_ns) = (self.from_ns, self.to_ns);
            }
        }
        (found.rows > 0 && self.uneven >= FEWEST_UNEVEN).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in rows, at these times, of two counters and the table's entries.
    fn found(rows: &[[f64; 3]], time: impl Fn(usize) -> i64) -> Option<Even> {
        let mut evenness = Evenness::default();
        for (at, rows) in rows.windows(3).enumerate() {
            let entries = [2, 1, 0].map(|at| Some(rows[at][2]));
            let [before, last, now] = [0, 1, 2].map(|at| &rows[at][..2]);
            evenness.take((time(at + 1), time(at + 2)), &Rows { before, last, now, entries });
        }
        evenness.conclude()
    }

    /// Rows that rise unevenly, then `even` rows, and uneven ones again.
    fn rows(even: usize, step: impl Fn(usize) -> f64) -> Vec<[f64; 3]> {
        let mut rows = vec![[1000.0, 2000.0, 5000.0]];
        let mut rise = |number: usize, step: &dyn Fn(usize) -> f64| {
            for at in 0..number {
                let [one, other, entries] = rows[rows.len() - 1];
                let step = step(at);
                rows.push([one + step, other + 3.0 * step, entries - step]);
            }
        };
        rise(15, &|at| (at * at) as f64);
        rise(even, &step);
        rise(15, &|at| (at * at) as f64 + 3.0);
        rows
    }

    #[test]
    fn rows_that_were_interpolated_are_found() {
        let even = Some(Even { rows: 30, from_ns: 15, to_ns: 45 });
        assert_eq!(found(&rows(30, |_| 20.0), |at| at as i64), even);
        assert_eq!(found(&rows(8, |_| 20.0), |at| at as i64).unwrap().rows, 8);
        assert_eq!(found(&rows(7, |_| 20.0), |at| at as i64), None);
        assert_eq!(found(&rows(30, |_| 2.0), |at| at as i64), None);
    }

    /// A load that grows, rows of unequal times, and counters that are one number in a full table.
    #[test]
    fn other_loads_are_no_interpolation() {
        assert_eq!(found(&rows(40, |at| 20.0 + at as f64 / 2.0), |at| at as i64), None);
        assert_eq!(found(&rows(30, |_| 20.0), |at| (3 * at / 2) as i64), None);
        let full: Vec<_> = rows(30, |_| 20.0).into_iter().map(|[a, b, _]| [a, b, 9.0]).collect();
        assert_eq!(found(&full, |at| at as i64), None);
        let same: Vec<_> = rows(30, |_| 20.0).into_iter().map(|[a, _, c]| [a, a, c]).collect();
        assert_eq!(found(&same, |at| at as i64), None);
        let steady = (0..100).map(|at| [f64::from(at) * 20.0, f64::from(at) * 60.0, f64::from(at)]);
        assert_eq!(found(&steady.collect::<Vec<_>>(), |at| at as i64), None);
    }
}
