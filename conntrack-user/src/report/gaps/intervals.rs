//! The times between the rows of a series: the interval, also of several inputs whose rows take turns, and which
//! of the times are no interval.

use hdrhistogram::Histogram;

use super::super::coarse::Coarse;
use super::super::summary::{Gap, Gaps};
use super::LONGER;

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
/// Rows come at once if they are nearer to each other than this part of the interval, and of the gap in front.
const AT_ONCE: u64 = 4;
const AT_ONCE_OF_GAP: u64 = 16;
/// Such rows are about equally far apart.
const ALIKE: u64 = 8;
/// The most places with such rows.
const MOST_AT_ONCE: usize = 64;
/// Intervals before the estimate is believed: the first is often cut short.
const ENOUGH: u64 = 8;

/// A longer interval that some of the rows have.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::report) struct OtherInterval {
    pub(in crate::report) seconds: f64,
    pub(in crate::report) rows: u64,
}

/// A shorter interval that some of the rows have.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::report) struct ShorterInterval {
    pub(in crate::report) seconds: f64,
    /// Times among those rows that are longer than this, and shorter than a gap: 256 at most.
    pub(in crate::report) between: u64,
}

/// Rows that were written at one time, behind a gap of about as many.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::report) struct AtOnce {
    pub(in crate::report) gaps: u64,
    pub(in crate::report) rows: u64,
}

/// A time between rows, and the much shorter ones directly behind it.
#[derive(Debug, Clone, Copy, Default)]
struct Behind {
    us: u64,
    rows: u64,
    shortest_us: u64,
    longest_us: u64,
}

impl Behind {
    /// Takes the next time between rows, if it is one of these.
    fn take(&mut self, us: u64) -> bool {
        let is_alike = self.rows == 0 || us / ALIKE <= self.shortest_us;
        if us >= self.us / AT_ONCE_OF_GAP || !is_alike {
            return false;
        }
        self.shortest_us = if self.rows == 0 { us } else { self.shortest_us.min(us) };
        self.longest_us = self.longest_us.max(us);
        self.rows += 1;
        true
    }

    /// Whether these are the rows of a gap.
    fn fill(&self, interval_us: f64) -> bool {
        let missing = self.us as f64 / interval_us - 1.0;
        let is_gap = self.us as f64 > LONGER * interval_us;
        is_gap
            && ((AT_ONCE * self.longest_us) as f64) < interval_us
            && 2.0 * self.rows as f64 >= missing
    }
}

/// The times between rows.
#[derive(Debug)]
pub(super) struct Intervals {
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
    /// The last time between rows that was not much shorter than the one before, and those before it with
    /// shorter ones behind them.
    behind: Behind,
    at_once: Vec<Behind>,
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
    pub(super) estimate_us: Option<f64>,
    /// Rows in an interval, as of that estimate.
    pub(super) rows: f64,
    pub(super) longest: Vec<Gap>,
}

/// The order of rows whose times vary regularly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// The shortest interval of an input.
    interval_us: f64,
    /// Rows of all inputs in that time, on average.
    pub(super) rows: f64,
    /// It is one input, of which a row is missing in each turn.
    pub(super) is_missing: bool,
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
    pub(super) fn new(digits: u8, kept: usize) -> Self {
        Self {
            digits,
            kept,
            histogram: None,
            sums: Default::default(),
            runs: Vec::new(),
            run: 0,
            within: Vec::new(),
            behind: Behind::default(),
            at_once: Vec::new(),
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
    pub(super) fn record(&mut self, between: Gap) {
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
        if !(is_next && self.behind.take(us)) {
            let behind = std::mem::replace(&mut self.behind, Behind { us, ..Behind::default() });
            if behind.rows > 1 && self.at_once.len() < MOST_AT_ONCE {
                self.at_once.push(behind);
            }
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
    pub(super) fn turn(&self) -> Option<Turn> {
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

    pub(super) fn period_us(&self) -> Option<f64> {
        let histogram = self.histogram.as_ref()?;
        self.turn().map(|turn| turn.interval_us).or_else(|| {
            // Of two intervals the first is cut short by the start, as inputs align to the clock.
            let quantile = if histogram.len() == 2 { 1.0 } else { 0.5 };
            let median = histogram.value_at_quantile(quantile) as f64;
            Some(if self.is_irregular(median) { mean_below(histogram, median) } else { median })
        })
    }

    /// Returns the shortest time between two rows in seconds, where these times vary, as with a
    /// `collection_jitter`.
    pub(super) fn shortest_if_irregular(&self, period_us: f64) -> Option<f64> {
        let histogram = self.histogram.as_ref().filter(|_| self.is_irregular(period_us))?;
        let shortest = histogram
            .iter_recorded()
            .map(|bucket| histogram.lowest_equivalent(bucket.value_iterated_to()));
        shortest.filter(|us| *us > 0).min().map(|us| us as f64 / 1e6)
    }

    /// Whether rows come early and late, as with a `collection_jitter`.
    fn is_irregular(&self, period: f64) -> bool {
        let Some((low, high)) = self.histogram.as_ref().map(spread) else { return false };
        low < 0.75 * period && high > 1.25 * period && self.turn().is_none()
    }

    /// Returns the rows that came at once behind gaps of about as many, as where the way to the file was
    /// interrupted and each row has the time of its arrival.
    pub(super) fn at_once(&self, interval_us: Option<f64>) -> AtOnce {
        // Several inputs read at once all the time.
        let interval_us = interval_us.filter(|_| self.turn().is_none());
        let Some(interval_us) = interval_us else { return AtOnce::default() };
        let all = self.at_once.iter().chain([&self.behind]);
        let found = all.filter(|behind| behind.rows > 1 && behind.fill(interval_us));
        found.fold(AtOnce::default(), |sum, behind| AtOnce {
            gaps: sum.gaps + 1,
            rows: sum.rows + behind.rows,
        })
    }

    /// Returns the shortest interval of a part of the rows, if that is shorter than the interval of most. A
    /// gap of that part may be no longer than this one.
    pub(super) fn shorter(&self, interval_us: Option<f64>) -> ShorterInterval {
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
    pub(super) fn gaps(&self, rounded: Option<Coarse>) -> (Gaps, OtherInterval) {
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
