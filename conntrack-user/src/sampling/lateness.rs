//! How late ticks are: a histogram with a fixed size, so that recording costs no allocation.

use std::time::Duration;

/// Steps per power of two: a quantile is at most 1/16 above the true value.
const STEPS: usize = 16;
const BUCKETS: usize = 64 * STEPS;

/// A log-linear histogram of durations, from nanoseconds to centuries in 8 KiB.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
    count: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty histogram.
    #[must_use]
    pub fn new() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), count: 0, max: Duration::ZERO }
    }

    /// Counts one duration.
    pub fn record(&mut self, lateness: Duration) {
        let nanos = u64::try_from(lateness.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(lateness);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest, exactly.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The duration below or at which the share `quantile` (0 to 1) of all lies, rounded up to
    /// the bucket's end; zero when nothing was counted.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Duration {
        let rank = (quantile.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_bound(index)).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < STEPS as u64 {
        return nanos as usize;
    }
    let exponent = nanos.ilog2() as usize;
    let step = (nanos >> (exponent - 4)) as usize & (STEPS - 1);
    (exponent - 3) * STEPS + step
}

fn upper_bound(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let (exponent, step) = (bucket / STEPS + 3, (bucket % STEPS) as u64);
    ((STEPS as u64 + step) << (exponent - 4)).saturating_add((1 << (exponent - 4)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_a_sixteenth_above() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        for (quantile, exact) in [(0.5, 500_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            let found = histogram.quantile(quantile).as_nanos() as f64;
            assert!(found >= exact && found <= exact * 17.0 / 16.0, "{quantile}: {found}");
        }
        assert_eq!(histogram.count(), 1000);
        assert_eq!(histogram.max(), Duration::from_millis(1));
    }

    #[test]
    fn every_duration_falls_in_a_bucket_that_ends_at_or_above_it() {
        for shift in 0..64 {
            for nanos in [1u64 << shift, (1u64 << shift) - 1, (1u64 << shift) + 1] {
                assert!(upper_bound(bucket(nanos)) >= nanos, "{nanos}");
            }
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn an_empty_histogram_says_zero() {
        assert_eq!(Histogram::new().quantile(0.99), Duration::ZERO);
    }
}
