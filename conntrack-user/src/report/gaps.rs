//! The times of one series' rows: how far they are apart, and the places where rows are missing.
//!
//! The interval is the median time between two rows, so it is known for certain only at the end;
//! until then an estimate decides which stretches of time are no windows for rates. Where several
//! inputs write one series, their rows take turns: then it is the shortest interval of an input, which
//! may be the time between every second (third, ...) row. If one time in each turn is twice as long as the
//! others, a row is missing regularly instead.

use hdrhistogram::Histogram;

use super::coarse::{Coarse, Grid};
use super::summary::{Gap, Gaps};
use super::track::{Fall, Reach, Step, Track};

/// Longer than this many intervals is a gap: at least one emission is missing.
pub(super) const LONGER: f64 = 1.5;
/// The same where rows are irregular (`collection_jitter`): each may be almost an interval late.
const LONGER_IF_IRREGULAR: f64 = 2.0;
/// The most rows after which the times between rows of several inputs repeat: those of 2 s and 3 s write
/// five rows in 6 s.
const MOST_ROWS: usize = 6;
/// How far a time may be from one or two intervals, by the interval, if rows are missing regularly.
const NEAR_MULTIPLE: f64 = 0.03;
/// So many of all times are one or two intervals then.
const MOSTLY: f64 = 0.9;
/// So many times of one length in succession are an interval, and no gaps.
const LEAST_RUN: u64 = 5;
/// The most different intervals that are kept.
const MOST_RUNS: usize = 16;
/// The most times that are longer than those on both sides of them.
const MOST_WITHIN: usize = 256;
/// Intervals before the estimate is believed: the first is often cut short.
const ENOUGH: u64 = 8;
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
        let interval = coarse.map(|coarse| coarse.interval_seconds).or(interval);
        Times {
            interval,
            gaps,
            missing_regularly,
            other,
            shorter,
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
    /// The times are no finer than the rows.
    pub(super) coarse: Option<Coarse>,
    /// Rows that have the time of another one then.
    pub(super) sharing: u64,
    /// Gaps of which it is not known whether other rows go on in them.
    pub(super) not_compared: u64,
}

/// A longer interval that some of the rows have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OtherInterval {
    pub(super) seconds: f64,
    pub(super) rows: u64,
}

/// A shorter interval that some of the rows have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ShorterInterval {
    pub(super) seconds: f64,
    /// Times among those rows that are longer than this, and shorter than a gap: 256 at most.
    pub(super) between: u64,
}

/// The times between rows.
#[derive(Debug)]
struct Intervals {
    /// Significant digits of the histograms.
    digits: u8,
    /// In microseconds.
    histogram: Option<Histogram<u32>>,
    /// From each row to the second, third, fourth ... behind it, where the time between rows varies.
    sums: [Option<Histogram<u32>>; MOST_ROWS - 1],
    /// Times between rows that were the same several times in succession: each is an interval of
    /// its own.
    runs: Vec<u64>,
    /// How many times the time between rows is the same as before, up to now.
    run: u64,
    /// A time between two shorter ones that are the same, and these.
    within: Vec<(u64, u64)>,
    /// How often the time between rows was another one than the time before.
    varied: u64,
    /// Rows since then.
    since_varied: usize,
    /// The last times between rows that are neighbours, in microseconds, the latest first.
    chain: [u64; MOST_ROWS],
    chained: usize,
    last: Option<Gap>,
    /// How many of the longest are kept.
    kept: usize,
    estimate_us: Option<f64>,
    /// Rows in an interval, as of that estimate.
    rows: f64,
    longest: Vec<Gap>,
}

/// The order of rows whose times vary regularly.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// The shortest interval of an input.
    interval_us: f64,
    /// Rows of all inputs in that time, on average.
    rows: f64,
    /// It is one input, of which a row is missing in each turn.
    is_missing: bool,
}

/// Whether two times between rows are the same, but for a sixteenth.
fn are_same(a: u64, b: u64) -> bool {
    a.abs_diff(b) <= a.min(b) / 16
}

/// A tenth of all times is shorter, and a tenth longer.
fn spread(histogram: &Histogram<u32>) -> (f64, f64) {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64;
    (at(0.1), at(0.9))
}

/// The mean of all times but for gaps.
fn mean_below(histogram: &Histogram<u32>, median: f64) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for bucket in histogram.iter_recorded() {
        let value = bucket.value_iterated_to() as f64;
        if value < 2.1 * median {
            sum += value * bucket.count_since_last_iteration() as f64;
            count += bucket.count_since_last_iteration() as f64;
        }
    }
    if count > 0.0 { sum / count } else { median }
}

/// How many of the times are nearly this one.
fn near(histogram: &Histogram<u32>, us: f64) -> u64 {
    let is_near = |other: u64| (other as f64 - us).abs() <= NEAR_MULTIPLE * us;
    let buckets = histogram.iter_recorded().filter(|bucket| is_near(bucket.value_iterated_to()));
    buckets.map(|bucket| bucket.count_since_last_iteration()).sum()
}

/// Whether nearly all times are one interval, but for one in `rows`, which is two: a single row is missing
/// regularly. Of inputs that take turns more times may be as long as two of the shortest.
fn are_one_or_two(histogram: &Histogram<u32>, interval: f64, rows: usize) -> bool {
    let (one, two) = (near(histogram, interval), near(histogram, 2.0 * interval));
    let regularly = histogram.len() as f64 / rows as f64;
    (one + two) as f64 >= MOSTLY * histogram.len() as f64 && two as f64 <= regularly / MOSTLY + 1.0
}

impl Intervals {
    fn new(digits: u8, kept: usize) -> Self {
        Self {
            digits,
            kept,
            histogram: None,
            sums: Default::default(),
            runs: Vec::new(),
            run: 0,
            within: Vec::new(),
            varied: 0,
            since_varied: MOST_ROWS,
            chain: [0; MOST_ROWS],
            chained: 0,
            last: None,
            estimate_us: None,
            rows: 1.0,
            longest: Vec::new(),
        }
    }

    /// Takes the time between two rows.
    fn record(&mut self, between: Gap) {
        let us = (between.to_ns.abs_diff(between.from_ns) / 1000).max(1);
        let digits = self.digits;
        let record = |histogram: &mut Option<Histogram<u32>>, us| {
            if histogram.is_none() {
                *histogram = Histogram::new(digits).ok();
            }
            // It resizes itself, and no time is too long for it.
            let _ = histogram.as_mut().map(|histogram| histogram.record(us));
        };
        record(&mut self.histogram, us);
        let is_next = self
            .last
            .is_some_and(|last| last.to_ns == between.from_ns || last.from_ns == between.to_ns);
        self.chain.rotate_right(1);
        self.chain[0] = us;
        self.chained = if is_next { (self.chained + 1).min(MOST_ROWS) } else { 1 };
        let is_same = are_same(us, self.chain[1]);
        if self.chained > 1 && is_same {
            self.run += 1;
        } else {
            self.end_run();
        }
        if self.chained > 1 && !is_same {
            self.varied += 1;
            self.since_varied = 0;
        }
        let [behind, us_between, before, ..] = self.chain;
        if self.chained > 2
            && self.within.len() < MOST_WITHIN
            && us_between as f64 > LONGER * before as f64
            && self.estimate_us.is_none_or(|usual| us_between as f64 <= LONGER * usual)
            && are_same(before, behind)
        {
            self.within.push((us_between, before));
        }
        // Regular rows need no sums.
        if self.since_varied < MOST_ROWS {
            self.since_varied += 1;
            for (at, sums) in self.sums.iter_mut().enumerate().take(self.chained.saturating_sub(1))
            {
                record(sums, self.chain[..at + 2].iter().sum());
            }
        }
        self.last = Some(between);
        let count = self.histogram.as_ref().map_or(0, Histogram::len);
        if count.is_power_of_two() || count.is_multiple_of(4096) {
            self.estimate_us = self.period_us().filter(|_| count >= ENOUGH);
            self.rows = self.turn().map_or(1.0, |turn| turn.rows);
        }
        let length = |gap: &Gap| gap.to_ns.abs_diff(gap.from_ns);
        let is_full = self.longest.len() >= self.kept;
        // Most times are no longer than the longest.
        if is_full && self.longest.last().is_some_and(|last| length(last) >= length(&between)) {
            return;
        }
        let at = self.longest.partition_point(|old| length(old) >= length(&between));
        self.longest.insert(at, between);
        self.longest.truncate(self.kept);
    }

    /// Ends a series of times that are the same.
    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run) + 1;
        let us = self.chain[1];
        let is_known = self.runs.iter().any(|other| are_same(*other, us));
        if run >= LEAST_RUN && !is_known && self.runs.len() < MOST_RUNS {
            self.runs.push(us);
        }
    }

    /// Whether times of this length follow one another.
    fn is_other_interval(&self, us: u64) -> bool {
        let is_open = self.run + 1 >= LEAST_RUN && are_same(self.chain[0], us);
        is_open || self.runs.iter().any(|other| are_same(*other, us))
    }

    /// The shortest interval of several inputs, or the interval of rows that are missing regularly.
    fn turn(&self) -> Option<Turn> {
        let histogram = self.histogram.as_ref()?;
        let (low, high) = spread(histogram);
        if high < 1.1 * low || self.varied < histogram.len() / 4 {
            return None;
        }
        // Were the times irregular, then those of several rows would be as well.
        let is_even = |sums: &Histogram<u32>| {
            let (least, most) = spread(sums);
            most < 1.1 * least && 2.0 * (most - least) < high - low
        };
        let known = |sums: &&Histogram<u32>| sums.len() >= ENOUGH / 2 && is_even(sums);
        let mut sums = self.sums.iter().zip(2..);
        let (period_us, rows) = sums.find_map(|(sums, rows)| {
            let sums = sums.as_ref().filter(known)?;
            Some((sums.value_at_quantile(0.5) as f64, rows))
        })?;
        Some(if are_one_or_two(histogram, low, rows) {
            Turn { interval_us: low, rows: 1.0, is_missing: true }
        } else {
            let times = self.times_in(period_us, rows, histogram);
            let (interval_us, rows) = (period_us / times as f64, rows as f64 / times as f64);
            Turn { interval_us, rows, is_missing: false }
        })
    }

    /// How often the input with the shortest interval writes, of `rows` rows in the period. Between two of
    /// its rows there may be others, so that its interval is a sum.
    fn times_in(&self, period_us: f64, rows: usize, histogram: &Histogram<u32>) -> usize {
        let has_interval = |times: &usize| {
            let interval_us = period_us / *times as f64;
            let all = std::iter::once(histogram).chain(self.sums.iter().flatten());
            let found: u64 = all.map(|histogram| near(histogram, interval_us)).sum();
            let expected = histogram.len() as f64 * *times as f64 / rows as f64;
            found as f64 >= MOSTLY * expected
        };
        (2..rows).rev().find(has_interval).unwrap_or(1)
    }

    fn period_us(&self) -> Option<f64> {
        let histogram = self.histogram.as_ref()?;
        self.turn().map(|turn| turn.interval_us).or_else(|| {
            // Of two intervals the first is cut short by the start, as inputs align to the clock.
            let quantile = if histogram.len() == 2 { 1.0 } else { 0.5 };
            let median = histogram.value_at_quantile(quantile) as f64;
            Some(if self.is_irregular(median) { mean_below(histogram, median) } else { median })
        })
    }

    /// Whether rows come early and late, as with a `collection_jitter`.
    fn is_irregular(&self, period: f64) -> bool {
        let Some((low, high)) = self.histogram.as_ref().map(spread) else { return false };
        low < 0.75 * period && high > 1.25 * period && self.turn().is_none()
    }

    /// Returns the shortest interval of a part of the rows, if that is shorter than the interval of most. A
    /// gap of that part may be no longer than this one.
    fn shorter(&self, interval_us: Option<f64>) -> ShorterInterval {
        let none = ShorterInterval::default();
        let Some(interval_us) = interval_us else { return none };
        if self.turn().is_some() || self.is_irregular(interval_us) {
            return none;
        }
        let open = (self.run + 1 >= LEAST_RUN).then_some(self.chain[0]);
        let is_shorter = |us: &u64| LONGER * (*us as f64) < interval_us;
        let shorter: Vec<u64> = self.runs.iter().copied().chain(open).filter(is_shorter).collect();
        let is_between = |(between, around): &&(u64, u64)| {
            let is_own = are_same(*between, interval_us as u64) || self.is_other_interval(*between);
            let is_of_part = shorter.iter().any(|us| are_same(*around, *us));
            is_of_part && *between as f64 <= LONGER * interval_us && !is_own
        };
        let mut between = self.within.iter().filter(is_between);
        let Some((_, us)) = between.next() else { return none };
        let between = 1 + between.count() as u64;
        ShorterInterval { seconds: *us as f64 / 1e6, between }
    }

    /// Returns the gaps, and the times between rows that are another interval. Neighbouring rows are as far
    /// apart as `rounded` times allow.
    fn gaps(&self, rounded: Option<Coarse>) -> (Gaps, OtherInterval) {
        let mut gaps = Gaps::default();
        let mut other = OtherInterval::default();
        let period =
            rounded.map(|coarse| coarse.interval_seconds * 1e6).or_else(|| self.period_us());
        let (Some(period), Some(histogram)) = (period, &self.histogram) else {
            return (gaps, other);
        };
        let longer = match rounded {
            Some(coarse) => LONGER.max(1.01 * coarse.longest_seconds() / coarse.interval_seconds),
            None if self.is_irregular(period) => LONGER_IF_IRREGULAR,
            None => LONGER,
        };
        for bucket in histogram.iter_recorded() {
            let us = bucket.value_iterated_to();
            let intervals = us as f64 / period;
            let count = bucket.count_since_last_iteration();
            if intervals > longer && self.is_other_interval(us) {
                if count > other.rows {
                    other.seconds = us as f64 / 1e6;
                }
                other.rows += count;
            } else if intervals > longer {
                gaps.gaps += count;
                gaps.missing += (intervals.round() as u64).saturating_sub(1).max(1) * count;
            } else if intervals > LONGER && rounded.is_none() {
                gaps.undecided += count;
            }
        }
        let is_gap = |gap: &&Gap| {
            let us = gap.to_ns.abs_diff(gap.from_ns) / 1000;
            us as f64 > longer * period && !self.is_other_interval(us)
        };
        gaps.longest = self.longest.iter().filter(is_gap).copied().collect();
        (gaps, other)
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
    fn a_row_that_comes_later_closes_its_gap() {
        let mut clock = clock(&[1.0; 20], false);
        for second in (23..40).chain([21, 22, 5, 6]) {
            clock.take(second * 1_000_000_000);
        }
        assert_eq!((clock.emissions(), clock.finish(None).gaps.gaps), (40, 0));
    }
}
