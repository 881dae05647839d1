//! Smallest, median, 99th percentile and largest of a stream of values, in bounded memory.
//!
//! Quantiles come from a histogram with two significant digits: within 1 % of a value at that
//! rank. The extremes are exact, with the time of the largest.

use hdrhistogram::Histogram;

use super::summary::Spreading;

/// Values are kept as whole thousandths.
const SCALE: f64 = 1000.0;
/// Significant digits of the histogram.
const DIGITS: u8 = 2;

/// A stream of values.
#[derive(Debug, Default)]
pub(super) struct Spread {
    /// There is none before the first value that is not 0: most counters never move.
    histogram: Option<Histogram<u32>>,
    zeros: u64,
    extremes: Option<(f64, f64)>,
}

impl Spread {
    pub(super) fn record(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        let (min, max) = self.extremes.get_or_insert((value, value));
        (*min, *max) = (min.min(value), max.max(value));
        let scaled = (value * SCALE).round().clamp(0.0, (1u64 << 60) as f64) as u64;
        if scaled == 0 {
            self.zeros += 1;
            return;
        }
        if self.histogram.is_none() {
            self.histogram = Histogram::new(DIGITS).ok();
        }
        if let Some(histogram) = &mut self.histogram {
            // It resizes itself, and the value is far below its end.
            let _ = histogram.record(scaled);
        }
    }

    /// `None` before the first value.
    pub(super) fn summary(&self) -> Option<Spreading> {
        let (min, max) = self.extremes?;
        let quantile = |q: f64| self.quantile(q).clamp(min, max);
        Some(Spreading { min, median: quantile(0.5), p99: quantile(0.99), max })
    }

    fn quantile(&self, quantile: f64) -> f64 {
        let Some(histogram) = &self.histogram else { return 0.0 };
        let (zeros, others) = (self.zeros as f64, histogram.len() as f64);
        let rank = (quantile * (zeros + others)).ceil().max(1.0);
        if rank <= zeros {
            return 0.0;
        }
        // Half a rank less: the histogram rounds up, and the division is not exact.
        histogram.value_at_quantile((rank - zeros - 0.5) / others) as f64 / SCALE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_percent() {
        let mut spread = Spread::default();
        assert_eq!(spread.summary(), None);
        for value in 1..=10_000 {
            spread.record(f64::from(value) * 3.7);
        }
        let found = spread.summary().unwrap();
        assert_eq!((found.min, found.max), (3.7, 37_000.0));
        assert!((found.median / 18_500.0 - 1.0).abs() < 0.01, "{found:?}");
        assert!((found.p99 / 36_630.0 - 1.0).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn zeros_are_values() {
        let mut spread = Spread::default();
        (0..98).for_each(|_| spread.record(0.0));
        assert_eq!(spread.summary().unwrap().p99, 0.0);
        spread.record(5.0);
        spread.record(7.0);
        let found = spread.summary().unwrap();
        assert_eq!((found.median, found.max), (0.0, 7.0));
        assert!((found.p99 - 5.0).abs() < 0.05);
    }

    proptest::proptest! {
        #[test]
        fn quantiles_are_ordered_and_between_the_extremes(
            values in proptest::collection::vec(0.0f64..1e12, 1..200),
        ) {
            let mut spread = Spread::default();
            values.iter().for_each(|value| spread.record(*value));
            let Spreading { min, median, p99, max } = spread.summary().unwrap();
            proptest::prop_assert!(min <= median && median <= p99 && p99 <= max);
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            let exact = sorted[sorted.len().div_ceil(2) - 1];
            proptest::prop_assert!((median - exact).abs() <= exact * 0.01 + 0.001);
        }
    }
}
