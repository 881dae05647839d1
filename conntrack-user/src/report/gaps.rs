//! The interval of a recording, and the places where it is longer.
//!
//! The interval is the median time between two emissions, so it is known for certain only at
//! the end; until then an estimate decides which stretches of time are no windows for rates.

use hdrhistogram::Histogram;

use super::summary::{Gap, Gaps};

/// Longer than this many intervals is a gap: at least one emission is missing.
const LONGER: f64 = 1.5;
/// Intervals before the estimate is believed: the first is often cut short.
const ENOUGH: u64 = 8;
/// How many gaps are kept, the longest.
const KEPT: usize = 10;

/// The times between emissions.
#[derive(Debug, Default)]
pub(super) struct Intervals {
    /// In microseconds.
    histogram: Option<Histogram<u32>>,
    estimate_us: Option<f64>,
    longest: Vec<Gap>,
}

impl Intervals {
    /// Takes the time between two emissions; whether it is a gap by what is known so far.
    pub(super) fn record(&mut self, between: Gap) -> bool {
        let us = (between.to_ns - between.from_ns).unsigned_abs() / 1000;
        if self.histogram.is_none() {
            self.histogram = Histogram::new(3).ok();
        }
        let Some(histogram) = &mut self.histogram else { return false };
        // It resizes itself, and no time is too long for it.
        let _ = histogram.record(us.max(1));
        let count = histogram.len();
        if count.is_power_of_two() || count.is_multiple_of(4096) {
            self.estimate_us = (count >= ENOUGH).then(|| histogram.value_at_quantile(0.5) as f64);
        }
        let length = |gap: &Gap| gap.to_ns - gap.from_ns;
        let at = self.longest.partition_point(|old| length(old) >= length(&between));
        if at < KEPT {
            self.longest.insert(at, between);
            self.longest.truncate(KEPT);
        }
        self.estimate_us.is_some_and(|estimate| us as f64 > LONGER * estimate)
    }

    /// The interval in seconds as far as it is known.
    pub(super) fn estimate(&self) -> Option<f64> {
        let us = self.estimate_us.or_else(|| self.median_us())?;
        Some(us / 1e6)
    }

    /// The median in seconds.
    pub(super) fn median(&self) -> Option<f64> {
        Some(self.median_us()? / 1e6)
    }

    fn median_us(&self) -> Option<f64> {
        let histogram = self.histogram.as_ref()?;
        Some(histogram.value_at_quantile(0.5) as f64)
    }

    /// Fills in what there is to say of gaps.
    pub(super) fn finish(&self, gaps: &mut Gaps) {
        let (Some(median), Some(histogram)) = (self.median_us(), &self.histogram) else { return };
        for bucket in histogram.iter_recorded() {
            let intervals = bucket.value_iterated_to() as f64 / median;
            if intervals > LONGER {
                let count = bucket.count_since_last_iteration();
                gaps.gaps += count;
                gaps.missing += (intervals.round() as u64).saturating_sub(1).max(1) * count;
            }
        }
        let is_gap = |gap: &&Gap| (gap.to_ns - gap.from_ns) as f64 / 1e3 > LONGER * median;
        gaps.longest = self.longest.iter().filter(is_gap).copied().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_emissions_are_counted_and_placed() {
        let mut intervals = Intervals::default();
        let (mut at, mut told) = (0, Vec::new());
        for seconds in [0.3, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.0, 1.0, 1.01, 2.0, 0.99] {
            let to_ns = at + (seconds * 1e9) as i64;
            told.push(intervals.record(Gap { from_ns: at, to_ns, restart: false }));
            at = to_ns;
        }
        assert_eq!(told.iter().filter(|gap| **gap).count(), 2, "{told:?}");
        let mut gaps = Gaps::default();
        intervals.finish(&mut gaps);
        assert_eq!((gaps.gaps, gaps.missing, gaps.longest.len()), (2, 4, 2));
        assert_eq!(gaps.longest[0].to_ns - gaps.longest[0].from_ns, 4_000_000_000);
        assert!((intervals.median().unwrap() - 1.0).abs() < 0.001);
    }
}
