//! The times of one series' rows: how far they are apart, and the places where rows are missing.
//!
//! The interval is the median time between two rows, so it is known for certain only at the end;
//! until then an estimate decides which stretches of time are no windows for rates. Where two
//! inputs write one series, their rows alternate: then it is the time between every second row.

use hdrhistogram::Histogram;

use super::summary::{Gap, Gaps};
use super::track::{Reach, Step, Track};

/// Longer than this many intervals is a gap: at least one emission is missing.
const LONGER: f64 = 1.5;
/// Intervals before the estimate is believed: the first is often cut short.
const ENOUGH: u64 = 8;
/// How many gaps are kept, the longest.
const KEPT: usize = 10;
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
    /// Times of rows with which ctpulse was started again: as many as gaps are kept.
    restarts: Vec<i64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            times: Track::default(),
            estimate: Intervals::new(2),
            intervals: Intervals::new(3),
            restarts: Vec::new(),
        }
    }
}

impl Clock {
    /// Takes the time of a row; the time between it and its neighbour, if that is known.
    pub(super) fn take(&mut self, time_ns: i64) -> Option<Step> {
        let step = self.times.take(time_ns, 0.0, self.reach())?;
        let between = Gap { from_ns: step.from_ns, to_ns: step.to_ns, restart: false };
        self.estimate.record(between);
        if !step.is_gap {
            self.intervals.record(between);
        }
        Some(step)
    }

    /// ctpulse was started again before the row of this time.
    pub(super) fn restarted(&mut self, time_ns: i64) {
        if self.restarts.len() < KEPT {
            self.restarts.push(time_ns);
        }
    }

    /// How far rows are apart that belong together, and rows with a gap between them.
    pub(super) fn reach(&self) -> Reach {
        match self.estimate.estimate_us {
            Some(us) => Reach {
                near_ns: NEAR_NS.min((us * 250.0) as i64),
                far_ns: (us * 1000.0 * LONGER) as i64,
            },
            None => Reach { near_ns: SURELY_NEAR_NS, far_ns: i64::MAX },
        }
    }

    /// The interval in seconds as far as it is known.
    pub(super) fn interval(&self) -> Option<f64> {
        let us = self.estimate.estimate_us.or_else(|| self.estimate.period_us())?;
        Some(us / 1e6)
    }

    /// The rows with different times.
    pub(super) fn emissions(&self) -> u64 {
        self.times.values()
    }

    /// The times of the first and the last row.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        self.times.span()
    }

    /// There are no more rows: what is to be said of interval and gaps.
    pub(super) fn finish(&mut self) -> (Option<f64>, Gaps) {
        for (from_ns, to_ns) in self.times.gaps() {
            self.intervals.record(Gap { from_ns, to_ns, restart: false });
        }
        let mut gaps = self.intervals.gaps();
        for gap in &mut gaps.longest {
            gap.restart = self.restarts.contains(&gap.to_ns);
        }
        (self.intervals.period_us().map(|us| us / 1e6), gaps)
    }
}

/// The times between rows.
#[derive(Debug)]
struct Intervals {
    /// Significant digits of the histograms.
    digits: u8,
    /// In microseconds.
    histogram: Option<Histogram<u32>>,
    /// From each row to the next but one.
    pairs: Option<Histogram<u32>>,
    last: Option<Gap>,
    estimate_us: Option<f64>,
    longest: Vec<Gap>,
}

impl Intervals {
    fn new(digits: u8) -> Self {
        let (histogram, pairs, longest) = (None, None, Vec::new());
        Self { digits, histogram, pairs, last: None, estimate_us: None, longest }
    }

    /// Takes the time between two rows.
    fn record(&mut self, between: Gap) {
        let us = |from_ns: i64, to_ns: i64| (to_ns.abs_diff(from_ns) / 1000).max(1);
        let [histogram, pairs] = [&mut self.histogram, &mut self.pairs].map(|histogram| {
            if histogram.is_none() {
                *histogram = Histogram::new(self.digits).ok();
            }
            histogram
        });
        let (Some(histogram), Some(pairs)) = (histogram, pairs) else { return };
        // They resize themselves, and no time is too long for them.
        let _ = histogram.record(us(between.from_ns, between.to_ns));
        if let Some(last) = self.last {
            if last.to_ns == between.from_ns {
                let _ = pairs.record(us(last.from_ns, between.to_ns));
            } else if last.from_ns == between.to_ns {
                let _ = pairs.record(us(between.from_ns, last.to_ns));
            }
        }
        self.last = Some(between);
        let count = histogram.len();
        if count.is_power_of_two() || count.is_multiple_of(4096) {
            self.estimate_us = self.period_us().filter(|_| count >= ENOUGH);
        }
        let length = |gap: &Gap| gap.to_ns.abs_diff(gap.from_ns);
        let at = self.longest.partition_point(|old| length(old) >= length(&between));
        if at < KEPT {
            self.longest.insert(at, between);
            self.longest.truncate(KEPT);
        }
    }

    fn period_us(&self) -> Option<f64> {
        let histogram = self.histogram.as_ref()?;
        let at = |histogram: &Histogram<u32>, q| histogram.value_at_quantile(q) as f64;
        let pairs = self.pairs.as_ref().filter(|pairs| pairs.len() >= ENOUGH / 2);
        if let Some(pairs) = pairs
            && at(histogram, 0.9) > LONGER * at(histogram, 0.1)
            && at(pairs, 0.9) < 1.1 * at(pairs, 0.1)
        {
            return Some(at(pairs, 0.5));
        }
        // Of two intervals the first is cut short by the start, as inputs align to the clock.
        Some(at(histogram, if histogram.len() == 2 { 1.0 } else { 0.5 }))
    }

    /// Reports the gaps.
    fn gaps(&self) -> Gaps {
        let mut gaps = Gaps::default();
        let (Some(period), Some(histogram)) = (self.period_us(), &self.histogram) else {
            return gaps;
        };
        for bucket in histogram.iter_recorded() {
            let intervals = bucket.value_iterated_to() as f64 / period;
            if intervals > LONGER {
                let count = bucket.count_since_last_iteration();
                gaps.gaps += count;
                gaps.missing += (intervals.round() as u64).saturating_sub(1).max(1) * count;
            }
        }
        let is_gap = |gap: &&Gap| (gap.to_ns - gap.from_ns) as f64 / 1e3 > LONGER * period;
        gaps.longest = self.longest.iter().filter(is_gap).copied().collect();
        gaps
    }
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
            let (interval, gaps) = clock.finish();
            assert_eq!((gaps.gaps, gaps.missing, gaps.longest.len()), (2, 4, 2));
            assert_eq!(gaps.longest[0].to_ns - gaps.longest[0].from_ns, 4_000_000_000);
            assert!((interval.unwrap() - 1.0).abs() < 0.001);
        }
    }

    #[test]
    fn the_first_of_two_intervals_is_cut_short() {
        let (interval, gaps) = clock(&[0.107, 0.5], false).finish();
        assert!((interval.unwrap() - 0.5).abs() < 0.001, "{interval:?}");
        assert_eq!(gaps.gaps, 0);
    }

    #[test]
    fn two_inputs_that_alternate_have_no_gaps() {
        let apart: Vec<_> = (0..60).flat_map(|_| [0.3, 0.7]).collect();
        let (interval, gaps) = clock(&apart, false).finish();
        assert!((interval.unwrap() - 1.0).abs() < 0.001, "{interval:?}");
        assert_eq!(gaps.gaps, 0);
    }

    #[test]
    fn two_inputs_that_read_at_once_have_no_gaps_either() {
        let apart: Vec<_> = (0..60).flat_map(|_| [0.000_02, 0.999_98]).collect();
        let (interval, gaps) = clock(&apart, false).finish();
        assert!((interval.unwrap() - 1.0).abs() < 0.001, "{interval:?}");
        assert_eq!(gaps.gaps, 0);
    }

    /// The first rows of a recording may have another interval than all others.
    #[test]
    fn another_interval_at_the_beginning_is_no_lasting_mistake() {
        let apart: Vec<_> = [0.25; 10].into_iter().chain([10.0; 500]).collect();
        let (interval, gaps) = clock(&apart, false).finish();
        assert!((interval.unwrap() / 10.0 - 1.0).abs() < 0.001, "{interval:?}");
        assert_eq!(gaps.gaps, 0);
    }

    #[test]
    fn a_row_that_comes_later_closes_its_gap() {
        let mut clock = clock(&[1.0; 20], false);
        for second in (23..40).chain([21, 22, 5, 6]) {
            clock.take(second * 1_000_000_000);
        }
        assert_eq!((clock.emissions(), clock.finish().1.gaps), (40, 0));
    }
}
