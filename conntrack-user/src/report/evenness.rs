//! Rows in which each value rises by as much as in the row before, as a query with `fill(linear)` writes
//! them in place of those that are missing: what happened between them is not known.

/// Fewer rows are so by chance.
const FEWEST_ROWS: u64 = 8;
/// So many counters must rise, by so much in each row: few events are the same by chance, too.
const FEWEST_COUNTERS: usize = 2;
const FAST: f64 = 8.0;
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

/// Finds them in the rows of one source.
#[derive(Debug, Default)]
pub(super) struct Evenness {
    /// Rows up to now.
    run: u64,
    from_ns: i64,
    to_ns: i64,
    /// The longest run of them.
    longest: u64,
    found: Even,
    /// Rows with other rises than the row before, until they are enough.
    uneven: u64,
}

/// The values of a row and of the two before it; NaN where they are not known.
pub(super) struct Rows<'a> {
    pub(super) before: &'a [f64],
    pub(super) last: &'a [f64],
    pub(super) now: &'a [f64],
    /// The table's entries in this row and the two before it, the latest first.
    pub(super) entries: [Option<f64>; 3],
}

impl Rows<'_> {
    /// Whether each value rose by as much as in the row before.
    fn are_even(&self) -> bool {
        let is_even = |((before, last), now): ((&f64, &f64), &f64)| !is_bent(*before, *last, *now);
        let entries = self.entries[2].zip(self.entries[1]).zip(self.entries[0]);
        entries.is_none_or(|((before, last), now)| !is_bent(before, last, now))
            && self.before.iter().zip(self.last).zip(self.now).all(is_even)
    }

    /// How many of them rose by many.
    fn rising(&self) -> usize {
        let rises = self.before.iter().zip(self.last).zip(self.now);
        rises.filter(|((_, last), now)| *now - *last >= FAST).count()
    }
}

/// Whether a value rose by another number than before. One that is not known did not.
fn is_bent(before: f64, last: f64, now: f64) -> bool {
    (now - 2.0 * last + before).abs() > ROUNDING
}

impl Evenness {
    /// Takes a row at `time_ns`; the one before it is of `last_ns`.
    pub(super) fn take(&mut self, (last_ns, time_ns): (i64, i64), rows: &Rows<'_>) {
        let is_even = rows.are_even();
        if !is_even && self.uneven < FEWEST_UNEVEN {
            self.uneven += u64::from(rows.rising() > 0);
        }
        if !is_even || rows.rising() < FEWEST_COUNTERS {
            self.end();
            return;
        }
        if self.run == 0 {
            self.from_ns = last_ns;
        }
        self.run += 1;
        self.to_ns = time_ns;
    }

    fn end(&mut self) {
        let run = std::mem::take(&mut self.run);
        if run < FEWEST_ROWS {
            return;
        }
        self.found.rows += run;
        if run > self.longest {
            self.longest = run;
            (self.found.from_ns, self.found.to_ns) = (self.from_ns, self.to_ns);
        }
    }

    /// Returns the rows with even rises, if there are others beside them.
    pub(super) fn conclude(&self) -> Option<Even> {
        let mut all = Self { ..*self };
        all.end();
        (all.found.rows > 0 && all.uneven >= FEWEST_UNEVEN).then_some(all.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in rows, a second apart, of two counters and the table's entries.
    fn found(rows: &[[f64; 3]]) -> Option<Even> {
        let mut evenness = Evenness::default();
        for (second, rows) in (2..).zip(rows.windows(3)) {
            let entries = [2, 1, 0].map(|at| Some(rows[at][2]));
            let [before, last, now] = [0, 1, 2].map(|at| &rows[at][..2]);
            evenness.take((second - 1, second), &Rows { before, last, now, entries });
        }
        evenness.conclude()
    }

    /// Rows that rise unevenly, then `even` rows that rise by `step`, and uneven ones again.
    fn rows(even: usize, step: f64) -> Vec<[f64; 3]> {
        let mut rows = vec![[1000.0, 2000.0, 5000.0]];
        let mut rise = |number: usize, step: &dyn Fn(usize) -> f64| {
            for at in 0..number {
                let [one, other, entries] = rows[rows.len() - 1];
                let step = step(at);
                rows.push([one + step.floor(), other + 2.0 * step.floor(), entries - step.floor()]);
            }
        };
        rise(15, &|at| (at * at) as f64);
        rise(even, &|at| (step * (at + 1) as f64).floor() - (step * at as f64).floor());
        rise(15, &|at| (at * at) as f64 + 3.0);
        rows
    }

    #[test]
    fn rows_that_were_interpolated_are_found() {
        // The first of them is as far from the last uneven one as the second from it.
        assert_eq!(found(&rows(30, 20.0)), Some(Even { rows: 29, from_ns: 16, to_ns: 45 }));
        assert_eq!(found(&rows(30, 20.5)), None, "twice the step is rounded by two");
        assert_eq!(found(&rows(8, 20.0)), None);
        assert_eq!(found(&rows(30, 7.0)), None);
    }

    #[test]
    fn a_steady_load_is_none() {
        let steady = (0..100).map(|at| [f64::from(at) * 20.0, f64::from(at) * 30.0, 5.0]);
        assert_eq!(found(&steady.collect::<Vec<_>>()), None);
    }
}
