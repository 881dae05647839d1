//! The times of one series' rows: how far they are apart, and the places where rows are missing.
//!
//! The interval is the median time between two rows, so it is known for certain only at the end;
//! until then an estimate decides which stretches of time are no windows for rates. Where several
//! inputs write one series, their rows take turns: then it is the shortest interval of an input, which
//! may be the time between every second (third, ...) row. If one time in each turn is twice as long as the
//! others, a row is missing regularly instead.

mod intervals;

use self::intervals::Intervals;
pub(super) use self::intervals::{AtOnce, OtherInterval, ShorterInterval};
use super::coarse::{Coarse, Grid};
use super::summary::{Gap, Gaps};
use super::track::{Fall, Reach, Step, Track};

/// Longer than this many intervals is a gap: at least one emission is missing.
pub(super) const LONGER: f64 = 1.5;
/// How many gaps are listed, the longest.
pub(super) const LISTED: usize = 10;
/// How many are kept for rows of CPUs that may fill them, the longest.
const KEPT: usize = 512;
/// Rows of one gather are at most this far apart, in nanoseconds, and a quarter of the interval.
const NEAR_NS: i64 = 5_000_000;
/// The same before the interval is known: rows come no more often.
const SURELY_NEAR_NS: i64 = 999_999;

/// When the rows of one series came.
#[derive(Debug)]
pub(super) struct Clock {
    /// Every time, as a counter that stands still.
    times: Track,
    /// Between all rows, as they came.
    estimate: Intervals,
    /// Between rows without a gap; gaps that other rows did not fill are added at the end.
    intervals: Intervals,
    grid: Grid,
    /// Times of rows with which ctpulse was started again: as many as gaps are kept.
    restarts: Vec<i64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            times: Track::default(),
            estimate: Intervals::new(2, LISTED),
            intervals: Intervals::new(3, KEPT),
            grid: Grid::default(),
            restarts: Vec::new(),
        }
    }
}

impl Clock {
    /// Takes the time of a row; the time between it and its neighbour, if that is known.
    pub(super) fn take(&mut self, time_ns: i64) -> Option<Step> {
        let step = self.times.take(time_ns, 0.0, self.reach());
        if let Some((from_ns, to_ns)) = self.times.take_joined() {
            // No row can fill it any more.
            self.intervals.record(Gap { from_ns, to_ns, restart: false });
        }
        let step = step?;
        let between = Gap { from_ns: step.from_ns, to_ns: step.to_ns, restart: false };
        self.estimate.record(between);
        self.grid.take(step);
        if !step.is_gap {
            self.intervals.record(between);
        }
        Some(step)
    }

    /// So many rows have the time of the last one, too; whether their values differ.
    pub(super) fn share(&mut self, rows: u64, has_risen: bool) {
        self.grid.share(rows, has_risen);
    }

    /// The times on both sides of each gap, if the rows came in order.
    pub(super) fn gaps_in_order(&self) -> Option<Vec<(i64, i64)>> {
        let is_in_order = self.times.late() == 0 && self.times.jumps_back() == 0;
        is_in_order.then(|| self.gaps())
    }

    /// The times on both sides of each gap. Before the interval is known, no time between rows is one:
    /// those are among the longest.
    pub(super) fn gaps(&self) -> Vec<(i64, i64)> {
        let far_ns = self.interval().map_or(f64::INFINITY, |seconds| LONGER * seconds * 1e9);
        let longest = self.estimate.longest.iter().map(|gap| (gap.from_ns, gap.to_ns));
        let longest = longest.filter(|(from, to)| to.saturating_sub(*from) as f64 > far_ns);
        let mut gaps: Vec<_> = self.times.gaps().chain(longest).collect();
        gaps.sort_unstable();
        gaps.dedup();
        gaps
    }

    /// Rows that came too late to know whether there are gaps.
    pub(super) fn late(&self) -> u64 {
        self.times.late()
    }

    /// The rows that are missing here where there are others, which have these gaps, by the interval.
    pub(super) fn missing_alone(&self, others: &[(i64, i64)], interval: Option<f64>) -> u64 {
        let Some(interval_ns) = interval.filter(|seconds| *seconds > 0.0) else { return 0 };
        let interval_ns = interval_ns * 1e9;
        let gaps = self
            .times
            .gaps()
            .filter(|(from, to)| to.saturating_sub(*from) as f64 > LONGER * interval_ns);
        let missing = gaps.map(|(from, to)| {
            let both =
                others.iter().map(|(a, b)| (*b).min(to).saturating_sub((*a).max(from)).max(0));
            let both = both.fold(0, i64::saturating_add);
            let alone =
                (to.saturating_sub(from).saturating_sub(both) as f64 / interval_ns).round() as u64;
            // Of the times in the gap there is one less than intervals.
            if both == 0 { alone.saturating_sub(1) } else { alone }
        });
        missing.sum()
    }

    /// Takes back that ctpulse was started again before the row of this time. Returns whether that was
    /// known.
    pub(super) fn retract_restart(&mut self, time_ns: i64) -> bool {
        let known = self.restarts.len();
        self.restarts.retain(|restart_ns| *restart_ns != time_ns);
        self.restarts.len() < known
    }

    /// ctpulse was started again before the row of this time.
    pub(super) fn restarted(&mut self, time_ns: i64) {
        if self.restarts.len() < LISTED {
            self.restarts.push(time_ns);
        }
    }

    /// How far rows are apart that belong together, and rows with a gap between them.
    pub(super) fn reach(&self) -> Reach {
        match self.estimate.estimate_us {
            Some(us) => Reach {
                near_ns: NEAR_NS.min((us * 250.0) as i64),
                far_ns: ((us * 1000.0 * LONGER) as i64).max(self.grid.longest_ns()),
                fall: Fall::MayWrap,
            },
            None => Reach { near_ns: SURELY_NEAR_NS, far_ns: i64::MAX, fall: Fall::MayWrap },
        }
    }

    /// The interval in seconds, where it is known.
    pub(super) fn interval(&self) -> Option<f64> {
        if let Some(seconds) = self.grid.interval() {
            return Some(seconds);
        }
        let us = self.estimate.estimate_us.or_else(|| self.estimate.period_us())?;
        Some(us / 1e6)
    }

    /// The usual time between two rows in seconds: of several inputs, whose rows take turns, a part of
    /// the interval.
    pub(super) fn usual(&self) -> Option<f64> {
        if let Some(seconds) = self.grid.interval() {
            return Some(seconds);
        }
        let rows = match self.estimate.estimate_us {
            Some(_) => self.estimate.rows,
            None => self.estimate.turn().map_or(1.0, |turn| turn.rows),
        };
        Some(self.interval()? / rows)
    }

    /// The interval in seconds, once there are enough rows to believe it.
    pub(super) fn believed(&self) -> Option<f64> {
        Some(self.estimate.estimate_us? / 1e6)
    }

    /// The rows with different times.
    pub(super) fn emissions(&self) -> u64 {
        self.times.values()
    }

    /// The times of the first and the last row.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        self.times.span()
    }

    /// Reports interval and gaps at the end of the rows. There are other rows of the same gathers that are
    /// `finer` seconds apart.
    pub(super) fn finish(&mut self, finer: Option<f64>) -> Times {
        for (from_ns, to_ns) in self.times.gaps() {
            self.intervals.record(Gap { from_ns, to_ns, restart: false });
        }
        let interval = self.intervals.period_us().map(|us| us / 1e6);
        let coarse = self.grid.finish(interval, self.emissions(), finer);
        let rounded = coarse.filter(|coarse| !coarse.is_shared());
        let (mut gaps, other) = self.intervals.gaps(rounded);
        let shorter = self.intervals.shorter(interval.map(|seconds| seconds * 1e6));
        let at_once = self.estimate.at_once(interval.map(|seconds| seconds * 1e6));
        let missing_regularly = self.estimate.turn().is_some_and(|turn| turn.is_missing);
        for gap in &mut gaps.longest {
            gap.restart = self.restarts.contains(&gap.to_ns);
        }
        let mut sharing = 0;
        if let Some(coarse) = coarse.filter(Coarse::is_shared) {
            let rows = coarse.unit_seconds / coarse.interval_seconds;
            gaps.missing = (gaps.missing as f64 * rows).round() as u64;
            sharing = self.grid.extra();
        }
        let shortest = interval.and_then(|it| self.intervals.shortest_if_irregular(it * 1e6));
        gaps.early_excess = self.grid.unit_seconds().zip(shortest).map(|(unit, it)| unit / it);
        let interval = coarse.map(|coarse| coarse.interval_seconds).or(interval);
        Times {
            interval,
            gaps,
            missing_regularly,
            other,
            shorter,
            at_once,
            coarse,
            sharing,
            not_compared: 0,
        }
    }
}

/// The conclusions from the times of a series' rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    /// In seconds.
    pub(super) interval: Option<f64>,
    pub(super) gaps: Gaps,
    /// One row in each few is missing, or it is no gap but the turn of several inputs.
    pub(super) missing_regularly: bool,
    pub(super) other: OtherInterval,
    pub(super) shorter: ShorterInterval,
    pub(super) at_once: AtOnce,
    /// The times are no finer than the rows.
    pub(super) coarse: Option<Coarse>,
    /// Rows that have the time of another one then.
    pub(super) sharing: u64,
    /// Gaps of which it is not known whether other rows go on in them.
    pub(super) not_compared: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that has seen rows so many seconds apart, forwards or backwards.
    fn clock(apart: &[f64], is_backwards: bool) -> Clock {
        let mut times = vec![0];
        for seconds in apart {
            times.push(times[times.len() - 1] + (seconds * 1e9) as i64);
        }
        if is_backwards {
            times.reverse();
        }
        let mut clock = Clock::default();
        times.iter().for_each(|time_ns| _ = clock.take(*time_ns));
        clock
    }

    #[test]
    fn missing_emissions_are_counted_and_placed() {
        for is_backwards in [false, true] {
            let apart =
                [0.3, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.0, 1.0, 1.01, 2.0, 0.99, 1.0];
            let mut clock = clock(&apart, is_backwards);
            assert_eq!(clock.emissions(), 16);
            let Times { interval, gaps, .. } = clock.finish(None);
            assert_eq!((gaps.gaps, gaps.missing, gaps.longest.len()), (2, 4, 2));
            assert_eq!(gaps.longest[0].to_ns - gaps.longest[0].from_ns, 4_000_000_000);
            assert!((interval.unwrap() - 1.0).abs() < 0.001);
        }
    }

    #[test]
    fn the_first_of_two_intervals_is_cut_short() {
        let Times { interval, gaps, .. } = clock(&[0.107, 0.5], false).finish(None);
        assert!((interval.unwrap() - 0.5).abs() < 0.001, "{interval:?}");
        assert_eq!(gaps.gaps, 0);
    }

    #[test]
    fn two_inputs_that_alternate_have_no_gaps() {
        let apart: Vec<_> = (0..60).flat_map(|_| [0.3, 0.7]).collect();
        let Times { interval, gaps, .. } = clock(&apart, false).finish(None);
        assert!((interval.unwrap() - 1.0).abs() < 0.001, "{interval:?}");
        assert_eq!(gaps.gaps, 0);
    }

    /// It was that of 2 s, and an outage of 3 s was none.
    #[test]
    fn inputs_of_different_intervals_have_the_shortest() {
        for (first, second, offset) in [
            (1.0, 2.0, 0.1),
            (1.0, 3.0, 0.1),
            (1.0, 3.0, 0.5),
            (1.0, 4.0, 0.3),
            (1.0, 1.5, 0.0),
            (2.0, 3.0, 0.5),
            (10.0, 15.0, 0.0),
            (10.0, 30.0, 3.7),
        ] {
            for outage in [0.0, 3.0 * first] {
                let is_there =
                    |time: &f64| *time < 200.0 * first || *time >= 200.0 * first + outage;
                let of =
                    |every: f64, from: f64| (0..400).map(move |at| f64::from(at) * every + from);
                let times = of(first, 0.0).chain(of(second, offset));
                let times = times.filter(|time| *time < 399.0 * first).filter(is_there);
                let mut times: Vec<f64> = times.collect();
                times.sort_by(f64::total_cmp);
                times.dedup();
                let apart: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
                let Times { interval, gaps, .. } = clock(&apart, false).finish(None);
                let what = format!("{first} {second} {offset} {outage}");
                assert!((interval.unwrap() / first - 1.0).abs() < 0.01, "{what}: {interval:?}");
                assert_eq!(gaps.gaps, u64::from(outage > 0.0), "{what}");
            }
        }
    }

    #[test]
    fn two_inputs_that_read_at_once_have_no_gaps() {
        let apart: Vec<_> = (0..60).flat_map(|_| [0.000_02, 0.999_98]).collect();
        let Times { interval, gaps, .. } = clock(&apart, false).finish(None);
        assert!((interval.unwrap() - 1.0).abs() < 0.001, "{interval:?}");
        assert_eq!(gaps.gaps, 0);
    }

    /// The first rows of a recording may have another interval than all others.
    #[test]
    fn a_different_interval_at_the_start_does_not_change_the_result() {
        let apart: Vec<_> = [0.25; 10].into_iter().chain([10.0; 500]).collect();
        let Times { interval, gaps, .. } = clock(&apart, false).finish(None);
        assert!((interval.unwrap() / 10.0 - 1.0).abs() < 0.001, "{interval:?}");
        assert_eq!(gaps.gaps, 0);
    }

    /// A gap of 8 s among rows of 1 s was none, as most rows were 10 s apart.
    #[test]
    fn a_gap_of_a_part_with_a_shorter_interval_is_known() {
        for (apart, expected) in [
            ([[10.0; 12].to_vec(), [1.0; 7].to_vec(), [8.0].to_vec(), [1.0; 3].to_vec()], 1),
            ([[10.0; 20].to_vec(), [1.0; 6].to_vec(), [2.0].to_vec(), [1.0; 4].to_vec()], 1),
            ([[10.0; 20].to_vec(), [1.0; 9].to_vec(), [10.0].to_vec(), [1.0; 4].to_vec()], 0),
            // The edges of the part are as long as they are.
            ([[60.0; 20].to_vec(), [25.0].to_vec(), [10.0; 9].to_vec(), [35.0, 60.0].to_vec()], 0),
            ([[10.0; 20].to_vec(), [9.0].to_vec(), [8.0].to_vec(), [10.0; 4].to_vec()], 0),
        ] {
            for is_backwards in [false, true] {
                let shorter = clock(&apart.concat(), is_backwards).finish(None).shorter;
                assert_eq!(shorter.between, expected, "{apart:?}");
            }
        }
    }

    #[test]
    fn rows_that_come_at_once_behind_a_gap_are_counted() {
        let at_once = |gap: f64, behind: &[f64]| {
            let apart = [&[10.0; 90], &[gap][..], behind, &[10.0; 9]].concat();
            let AtOnce { gaps, rows } = clock(&apart, false).finish(None).at_once;
            (gaps, rows)
        };
        assert_eq!(at_once(600.0, &[0.01; 59]), (1, 59));
        assert_eq!(at_once(40.0, &[0.3, 0.2, 0.4]), (1, 3));
        // Fewer than are missing, and rows in time.
        assert_eq!(at_once(600.0, &[0.01; 9]), (0, 0));
        assert_eq!(at_once(600.0, &[10.0; 59]), (0, 0));
    }

    #[test]
    fn a_row_that_comes_later_closes_its_gap() {
        let mut clock = clock(&[1.0; 20], false);
        for second in (23..40).chain([21, 22, 5, 6]) {
            clock.take(second * 1_000_000_000);
        }
        assert_eq!((clock.emissions(), clock.finish(None).gaps.gaps), (40, 0));
    }
}
