//! How late ticks are, in a histogram of a fixed size: recording allocates nothing.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Significant digits of the histogram: a quantile is at most 1/16 above the true value, in 8 KiB.
const DIGITS: u8 = 1;

/// The lateness of all ticks.
#[derive(Debug, Clone)]
pub struct Lateness {
    /// Nanoseconds. Its bounds are those of `u64`, so that it never has to grow.
    histogram: Histogram<u64>,
    /// The histogram has only the bucket of the longest.
    max: Duration,
}

impl Default for Lateness {
    fn default() -> Self {
        Self::new()
    }
}

impl Lateness {
    /// Lateness of no ticks.
    #[must_use]
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, u64::MAX, DIGITS).expect("valid bounds");
        Self { histogram, max: Duration::ZERO }
    }

    /// Counts one tick.
    pub fn record(&mut self, lateness: Duration) {
        let nanos = u64::try_from(lateness.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(nanos);
        self.max = self.max.max(lateness);
    }

    /// The number of ticks.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The longest lateness, exactly.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The lateness that the share `quantile` (0 to 1) of all ticks does not exceed, rounded up to
    /// the end of its bucket; zero without ticks.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_quantile(quantile)).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_a_sixteenth_above() {
        let mut lateness = Lateness::new();
        (1..=1000).for_each(|micros| lateness.record(Duration::from_micros(micros)));
        for (quantile, exact) in [(0.5, 500_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            let found = lateness.quantile(quantile).as_nanos() as f64;
            assert!(found >= exact && found <= exact * 17.0 / 16.0, "{quantile}: {found}");
        }
        assert_eq!(lateness.count(), 1000);
        assert_eq!(lateness.max(), Duration::from_millis(1));
    }

    #[test]
    fn every_duration_is_at_most_a_sixteenth_below_its_bucket() {
        for shift in 0..64 {
            for nanos in [1u64 << shift, (1u64 << shift) - 1, (1u64 << shift) + 1] {
                let mut lateness = Lateness::new();
                lateness.record(Duration::from_nanos(nanos));
                // Without the exact maximum, the bucket's end is visible.
                lateness.record(Duration::MAX);
                let found = lateness.quantile(0.5).as_nanos() as u64;
                assert!(found >= nanos && found - nanos <= nanos / 16, "{nanos}: {found}");
            }
        }
    }

    #[test]
    fn durations_beyond_the_bounds_are_counted() {
        let mut lateness = Lateness::new();
        lateness.record(Duration::MAX);
        assert_eq!((lateness.count(), lateness.max()), (1, Duration::MAX));
        assert!(lateness.quantile(0.5) > Duration::from_nanos(u64::MAX / 16 * 15));
    }

    #[test]
    fn quantiles_without_ticks_are_zero() {
        assert_eq!(Lateness::new().quantile(0.99), Duration::ZERO);
    }
}
