//! Times that are coarser than the rows: whole seconds of rows that are 2.5 s or 0.3 s apart.
//!
//! The rounded times of rows with a steady interval stay within one unit of a straight line. Where rows
//! are missing, the times leave that line with each of them.

use super::track::Step;

/// Units that times are rounded to, in nanoseconds: each is a multiple of the next.
/// Programs that round to less do so where rows come more rarely by far.
const UNITS_NS: [i64; 4] = [3_600_000_000_000, 60_000_000_000, 10_000_000_000, 1_000_000_000];
/// Times between rows of more units than this are as exact as rates need them.
const MOST_UNITS: i64 = 20;
/// So many times of each of both lengths are no accident of missing rows.
const ENOUGH: u64 = 6;
/// So many rows in succession are on one line, on average, until a gap; and the square of it until the
/// times leave the line otherwise.
const LENGTH: u64 = 16;
/// An interval that is so near to a multiple of the unit, by the unit, is that multiple.
const NEAR: f64 = 0.08;
/// Rows come early or late by this share of the unit, besides the rounding.
const JITTER: f64 = 0.02;
/// One of so many times at least has several rows if these come more often than their times tell.
const SHARED: u64 = 4;
/// In one of so many of these at least the values differ, or each row is there twice.
const RISEN: u64 = 8;

/// Times that are no finer than the rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Coarse {
    /// All times are multiples of this.
    pub(super) unit_seconds: f64,
    /// The mean time between two rows.
    pub(super) interval_seconds: f64,
}

impl Coarse {
    /// Whether several rows have one time.
    pub(super) fn is_shared(&self) -> bool {
        self.interval_seconds < self.unit_seconds
    }

    /// The longest time between two neighbouring rows by their times, in seconds.
    pub(super) fn longest_seconds(&self) -> f64 {
        ((self.interval_seconds / self.unit_seconds).floor() + 1.0) * self.unit_seconds
    }

    /// By which share rates of rows are too high at most: their time is longer than it seems.
    pub(super) fn excess(&self) -> f64 {
        let units = self.interval_seconds / self.unit_seconds;
        if self.is_shared() {
            // One that comes a little early has the time of those before it.
            let most = (1.0 / units * (1.0 + NEAR / 2.0)).floor() + 1.0;
            most * units - 1.0
        } else {
            units / units.floor() - 1.0
        }
    }

    /// By which share they are too low at most: their time is shorter than it seems. Rows of one time
    /// have the mean rate of them all.
    pub(super) fn shortfall(&self) -> f64 {
        1.0 - self.interval_seconds / self.longest_seconds()
    }
}

/// Rows in succession whose times are on one line.
#[derive(Debug, Clone, Copy)]
struct Line {
    steps: u64,
    ns: i64,
    /// The shortest and the longest interval with which its times are possible, in nanoseconds.
    least: f64,
    most: f64,
    /// The lengths of its steps, which are one unit apart, and how often each came.
    lengths: [(i64, u64); 2],
}

impl Default for Line {
    fn default() -> Self {
        Self { steps: 0, ns: 0, least: 0.0, most: f64::INFINITY, lengths: [(0, 0); 2] }
    }
}

impl Line {
    /// Takes steps of one length; whether they are on it, or `None` if no neighbouring rows are so far
    /// apart.
    fn take(&mut self, length_ns: i64, number: u64, unit_ns: i64) -> Option<bool> {
        let [one, other] = &mut self.lengths;
        let is_near = |length: i64| length.abs_diff(length_ns) == unit_ns.unsigned_abs();
        let own = match (one.1, other.1) {
            (0, _) => one,
            _ if one.0 == length_ns => one,
            (_, 0) if is_near(one.0) => other,
            _ if other.1 > 0 && other.0 == length_ns => other,
            _ => return None,
        };
        *own = (length_ns, own.1 + number);
        self.steps += number;
        self.ns = self.ns.saturating_add(length_ns.saturating_mul(number as i64));
        let (ns, steps, unit) =
            (self.ns as f64, self.steps as f64, unit_ns as f64 * (1.0 + JITTER));
        self.least = self.least.max((ns - unit) / steps);
        self.most = self.most.min((ns + unit) / steps);
        Some(self.least <= self.most)
    }

    /// The interval in nanoseconds, if it is known to be no multiple of the unit.
    fn interval(&self, unit_ns: i64) -> Option<f64> {
        let are_enough = self.lengths.iter().all(|(_, number)| *number >= ENOUGH);
        let units = (self.least + self.most) / 2.0 / unit_ns as f64;
        let is_between = (NEAR..=1.0 - NEAR).contains(&units.fract());
        let is_one = (self.most / unit_ns as f64).floor() == (self.least / unit_ns as f64).floor();
        (are_enough && is_between && is_one).then_some(units * unit_ns as f64)
    }
}

/// The times of one series as multiples of a unit.
#[derive(Debug, Default)]
pub(super) struct Grid {
    /// The place of the unit in [`UNITS_NS`]; beyond its end times are fine.
    unit: usize,
    /// The times of the step before.
    last: (i64, i64),
    length_ns: i64,
    /// How many steps of this length came since the last one of another length.
    same: u64,
    line: Line,
    best: Line,
    steps: u64,
    changes: u64,
    /// Changes to a step of many units.
    long: u64,
    /// Steps that ended a line as gaps do, and those that left one.
    broken: u64,
    left: u64,
    /// Rows that have the time of another one, times with such rows, and those of them with different
    /// values.
    extra: u64,
    shared: u64,
    risen: u64,
    /// As of the steps so far.
    known: Option<Coarse>,
}

impl Grid {
    /// Takes the time between two rows.
    #[inline]
    pub(super) fn take(&mut self, step: Step) {
        if self.unit >= UNITS_NS.len() {
            return;
        }
        // Most rows are as far apart as those before.
        if step.from_ns == self.last.1
            && step.to_ns.saturating_sub(step.from_ns) == self.length_ns
            && self.length_ns > 0
        {
            self.last = (step.from_ns, step.to_ns);
            self.same += 1;
            return;
        }
        self.change(step);
    }

    #[inline(never)]
    fn change(&mut self, step: Step) {
        let length_ns = step.to_ns.saturating_sub(step.from_ns);
        let last = std::mem::replace(&mut self.last, (step.from_ns, step.to_ns));
        let is_next = self.length_ns > 0 && (last.1 == step.from_ns || last.0 == step.to_ns);
        self.take_same();
        let has_unit = |unit: i64| length_ns % unit == 0 && (is_next || step.from_ns % unit == 0);
        let first = self.unit;
        while UNITS_NS.get(self.unit).is_some_and(|unit| !has_unit(*unit)) {
            self.unit += 1;
        }
        self.changes += 1;
        let is_long = UNITS_NS.get(self.unit).is_some_and(|unit| length_ns > MOST_UNITS * unit);
        self.long += u64::from(is_long);
        if self.long >= LENGTH && 2 * self.long > self.changes {
            self.unit = UNITS_NS.len();
        }
        if self.unit != first {
            (self.line, self.best, self.known) = (Line::default(), Line::default(), None);
            (self.steps, self.broken, self.left, self.long) = (0, 0, 0, 0);
        }
        if !is_next {
            self.end_line();
        }
        self.length_ns = length_ns;
        self.take_steps(1);
        if self.changes.is_power_of_two() || self.changes.is_multiple_of(64) {
            self.known = self.conclude();
        }
    }

    /// Returns the unit of all times in seconds, if it matters.
    pub(super) fn unit_seconds(&self) -> Option<f64> {
        UNITS_NS.get(self.unit).map(|unit| *unit as f64 / 1e9)
    }

    fn take_same(&mut self) {
        match std::mem::take(&mut self.same) {
            0 => {}
            same => self.take_steps(same),
        }
    }

    /// Takes steps of the last length.
    fn take_steps(&mut self, number: u64) {
        let Some(unit_ns) = UNITS_NS.get(self.unit) else { return };
        self.steps += number;
        match self.line.take(self.length_ns, number, *unit_ns) {
            Some(true) => return,
            Some(false) => self.left += 1,
            None => self.broken += 1,
        }
        self.end_line();
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.steps > self.best.steps {
            self.best = line;
        }
    }

    /// Takes rows that have the time of another one; whether their values differ.
    pub(super) fn share(&mut self, rows: u64, has_risen: bool) {
        self.extra += rows;
        self.shared += 1;
        self.risen += u64::from(has_risen);
    }

    /// The longest time between two neighbouring rows, in nanoseconds, as far as known.
    pub(super) fn longest_ns(&self) -> i64 {
        self.known.map_or(0, |coarse| (coarse.longest_seconds() * 1e9) as i64)
    }

    /// The interval in seconds, if times are coarser than that.
    pub(super) fn interval(&self) -> Option<f64> {
        Some(self.known?.interval_seconds)
    }

    fn conclude(&self) -> Option<Coarse> {
        let unit_ns = *UNITS_NS.get(self.unit)?;
        let line = if self.line.steps > self.best.steps { &self.line } else { &self.best };
        if line.lengths[0].0 > MOST_UNITS * unit_ns
            || self.steps < LENGTH * self.broken
            || self.steps < LENGTH * LENGTH * self.left
        {
            return None;
        }
        let interval_seconds = line.interval(unit_ns)? / 1e9;
        Some(Coarse { unit_seconds: unit_ns as f64 / 1e9, interval_seconds })
    }

    /// Concludes at the end of the rows, of which the times are so far apart. Other rows that are `finer`
    /// seconds apart show that these are missing.
    pub(super) fn finish(
        &mut self,
        interval: Option<f64>,
        times: u64,
        finer: Option<f64>,
    ) -> Option<Coarse> {
        self.take_same();
        self.known = self.conclude().filter(|coarse| {
            finer.is_none_or(|finer| finer > (1.0 - NEAR) * coarse.interval_seconds)
        });
        self.known.or_else(|| {
            let unit_seconds = *UNITS_NS.get(self.unit)? as f64 / 1e9;
            let is_unit = interval.is_some_and(|own| (own / unit_seconds - 1.0).abs() < 0.01);
            let are_shared = SHARED * self.shared >= times && RISEN * self.risen >= self.shared;
            // The first and the last time have all of their rows or some of them.
            let steps = times as f64 - 0.5;
            let interval_seconds = unit_seconds * steps / (steps + self.extra as f64);
            (is_unit && are_shared && self.risen > 0)
                .then_some(Coarse { unit_seconds, interval_seconds })
        })
    }

    /// How many rows have the time of another one.
    pub(super) fn extra(&self) -> u64 {
        self.extra
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    /// What the times of rows show that are so far apart and rounded to a second.
    fn coarse(times_s: impl Iterator<Item = f64>) -> Option<Coarse> {
        let times: Vec<_> = times_s.map(|time| time.round() as i64 * SECOND_NS).collect();
        let mut grid = Grid::default();
        for pair in times.windows(2).filter(|pair| pair[0] < pair[1]) {
            let (from_ns, to_ns) = (pair[0], pair[1]);
            grid.take(Step { from_ns, to_ns, events: 0.0, is_reset: false, is_gap: false });
        }
        grid.finish(None, times.len() as u64, None)
    }

    fn every(seconds: f64) -> impl Iterator<Item = f64> {
        (0..240).map(move |row| 7.3 + seconds * f64::from(row))
    }

    #[test]
    fn rounded_times_are_on_a_line() {
        for seconds in [1.2, 1.5, 1.7, 2.5, 3.3, 7.5, 10.5] {
            let found = coarse(every(seconds)).unwrap_or_else(|| panic!("{seconds}"));
            assert!((found.interval_seconds / seconds - 1.0).abs() < 0.01, "{seconds} {found:?}");
            assert_eq!(found.unit_seconds, 1.0);
        }
        for seconds in [1.0, 2.0, 10.0, 60.0] {
            assert_eq!(coarse(every(seconds)), None);
        }
    }

    #[test]
    fn rows_that_are_missing_are_not_on_a_line() {
        let mut random = fastrand::Rng::with_seed(5);
        for share in [2, 5, 10, 30, 100] {
            for _ in 0..50 {
                let rows = every(1.0).filter(|_| random.u32(0..share) > 0).collect::<Vec<_>>();
                assert_eq!(coarse(rows.into_iter()), None, "{share}");
            }
        }
        // One gap in rows with coarse times changes nothing.
        let found = coarse(every(2.5).filter(|at| !(200.0..300.0).contains(at))).unwrap();
        assert!((found.interval_seconds - 2.5).abs() < 0.01);
    }

    #[test]
    fn rates_are_too_high_or_too_low_by_the_rounding() {
        let of = |interval_seconds: f64| Coarse { unit_seconds: 1.0, interval_seconds };
        for (interval, too_high, too_low) in
            [(2.5, 0.25, 1.0 - 2.5 / 3.0), (1.2, 0.2, 0.4), (0.3, 0.2, 0.7), (0.65, 0.3, 0.35)]
        {
            assert!((of(interval).excess() - too_high).abs() < 1e-9, "{interval}");
            assert!((of(interval).shortfall() - too_low).abs() < 1e-9, "{interval}");
        }
    }
}
