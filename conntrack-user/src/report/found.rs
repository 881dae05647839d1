//! The ports that NAT found taken (`found`) for each insertion that failed.
//!
//! Searches that succeed find taken ports, too: a background, which rows with few failures or none
//! show. So `found` of each row is fitted by least squares as a constant, a part for its length and
//! a part for its failures.

/// Rows from which on a fit is possible.
const FEWEST: f64 = 4.0;

/// Rows without failures from which on the most of them is a bound.
const FEWEST_QUIET: u64 = 3;

/// The least deviation of the failures, by their mean, from a number that is the same in each row
/// or each second. Where they vary less they cannot be separated from a background.
const VARIED: f64 = 0.01;

/// Sums over the rows of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FoundByFailures {
    rows: f64,
    /// Rows with failures.
    failing_rows: u64,
    /// The fewest ports found taken for each failure in one of these.
    lowest: f64,
    /// The length of the rows with failures, and the ports found taken in them.
    failing: (f64, f64),
    /// Rows without failures, and the most ports found taken each second in one of them.
    quiet: (u64, f64),
    seconds: f64,
    failed: f64,
    found: f64,
    seconds_squared: f64,
    seconds_failed: f64,
    seconds_found: f64,
    failed_squared: f64,
    failed_found: f64,
    found_squared: f64,
}

/// The result of the fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoundFit {
    /// Ports found taken for each failure: the least.
    pub low: f64,
    /// Ports found taken for each failure: the most.
    pub high: f64,
    /// Ports found taken each second without failures.
    pub per_second: f64,
}

impl FoundByFailures {
    /// Takes one row: its length, its failures and the ports that were found taken meanwhile.
    pub fn add(&mut self, seconds: f64, failed: f64, found: f64) {
        if failed > 0.0 {
            let ratio = found / failed;
            self.lowest = if self.failing_rows == 0 { ratio } else { self.lowest.min(ratio) };
            self.failing_rows += 1;
            self.failing = (self.failing.0 + seconds, self.failing.1 + found);
        } else if seconds > 0.0 {
            self.quiet = (self.quiet.0 + 1, self.quiet.1.max(found / seconds));
        }
        self.rows += 1.0;
        self.seconds += seconds;
        self.failed += failed;
        self.found += found;
        self.seconds_squared += seconds * seconds;
        self.seconds_failed += seconds * failed;
        self.seconds_found += seconds * found;
        self.failed_squared += failed * failed;
        self.failed_found += failed * found;
        self.found_squared += found * found;
    }

    /// Returns the rows with failures.
    #[must_use]
    pub fn failing_rows(&self) -> u64 {
        self.failing_rows
    }

    /// Returns the fewest ports found taken for each failure in one row with failures.
    #[must_use]
    pub fn lowest(&self) -> f64 {
        self.lowest
    }

    /// Returns the ports found taken for each failure beyond the most that rows without failures
    /// had. Traffic may bring both failures and successful searches that find ports taken, so an
    /// average over such rows is not enough.
    fn beyond_quiet(&self) -> f64 {
        match self.quiet {
            (..FEWEST_QUIET, _) => f64::INFINITY,
            (_, most) => (self.failing.1 - most * self.failing.0) / self.failed,
        }
    }

    /// Returns the fit; `None` where the rows are too few, or the failures are as even as time, so
    /// that nothing separates what they bring from a background.
    #[must_use]
    pub fn fit(&self) -> Option<FoundFit> {
        if self.rows < FEWEST || self.failed == 0.0 {
            return None;
        }
        // Sums over the deviations from the mean, then from what the length of a row explains.
        let about_mean = |sum: f64, a: f64, b: f64| sum - a * b / self.rows;
        let lengths = about_mean(self.seconds_squared, self.seconds, self.seconds);
        let failed_by_length = about_mean(self.seconds_failed, self.seconds, self.failed);
        let found_by_length = about_mean(self.seconds_found, self.seconds, self.found);
        let are_even = lengths <= self.seconds_squared * f64::EPSILON * self.rows;
        let explained = |a: f64, b: f64| if are_even { 0.0 } else { a * b / lengths };
        let failed_squared = about_mean(self.failed_squared, self.failed, self.failed)
            - explained(failed_by_length, failed_by_length);
        let failed_found = about_mean(self.failed_found, self.failed, self.found)
            - explained(failed_by_length, found_by_length);
        let found_squared = about_mean(self.found_squared, self.found, self.found)
            - explained(found_by_length, found_by_length);
        let mean = self.failed / self.rows;
        if failed_squared < self.rows * (VARIED * mean).powi(2) {
            return None;
        }
        let per_failure = failed_found / failed_squared;
        let freedom = self.rows - 3.0;
        let variance = (found_squared - per_failure * failed_found).max(0.0) / freedom;
        // Near to the 95 % quantile of Student's distribution, however few rows there are.
        let reach = 2.0 * (1.0 + 2.0 / freedom) * (variance / failed_squared).sqrt();
        Some(FoundFit {
            low: (per_failure - reach).min(self.beyond_quiet()).max(0.0),
            high: (per_failure + reach).max(0.0),
            per_second: ((self.found - per_failure * self.failed) / self.seconds).max(0.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: impl IntoIterator<Item = (f64, f64)>) -> FoundByFailures {
        let mut sums = FoundByFailures::default();
        rows.into_iter().for_each(|(failed, found)| sums.add(1.0, failed, found));
        sums
    }

    #[test]
    fn successful_searches_are_not_attributed_to_failures() {
        let mut random = fastrand::Rng::with_seed(1);
        let rows = (0..1200)
            .map(|row| (f64::from(u8::from(row % 10 == 0)), (90 + random.u32(0..=20)) as f64));
        let fit = of(rows).fit().unwrap();
        assert!(fit.low < 0.2 && fit.high < 3.0, "{fit:?}");
        assert!((fit.per_second - 100.0).abs() < 1.0, "{fit:?}");
    }

    #[test]
    fn failures_that_find_ports_taken_are_found_over_a_background() {
        let rows = (0..100).map(|row| {
            let failed = f64::from(row % 3);
            (failed, 50.0 + f64::from(row % 7) + 100.0 * failed)
        });
        let fit = of(rows).fit().unwrap();
        assert!(fit.low > 95.0 && fit.high < 105.0, "{fit:?}");
    }

    #[test]
    fn failures_of_rows_with_different_lengths_are_compared() {
        let mut sums = FoundByFailures::default();
        for row in 0..200 {
            let (seconds, failed) = (f64::from(1 + row % 5), f64::from(row % 3));
            sums.add(seconds, failed, 50.0 * seconds + 8.0 * failed);
        }
        let fit = sums.fit().unwrap();
        assert!((fit.low - 8.0).abs() < 0.01 && (fit.high - 8.0).abs() < 0.01, "{fit:?}");
        assert!((fit.per_second - 50.0).abs() < 0.01, "{fit:?}");
    }

    /// More traffic brings more races, and more ports found taken by searches that succeed.
    #[test]
    fn ports_found_by_traffic_are_not_attributed_to_failures() {
        let mut random = fastrand::Rng::with_seed(1);
        let rows = (0..600).map(|_| {
            let traffic = random.u32(0..100);
            let races = (0..traffic).filter(|_| random.u32(0..50) == 0).count();
            (races as f64, f64::from(3 * traffic))
        });
        let fit = of(rows).fit().unwrap();
        assert!(fit.low == 0.0 && fit.high > 20.0, "{fit:?}");
    }

    #[test]
    fn a_constant_share_of_failures_cannot_be_separated() {
        assert_eq!(of([(10.0, 80.0); 300]).fit(), None);
        let mut jittered = FoundByFailures::default();
        (0..300).for_each(|row| {
            let seconds = 1.0 + f64::from(row % 7) / 10.0;
            jittered.add(seconds, 10.0 * seconds, 80.0 * seconds);
        });
        assert_eq!(jittered.fit(), None);
        assert_eq!(of([(0.0, 80.0); 300]).fit(), None);
        assert_eq!(of([(1.0, 100.0), (0.0, 0.0), (2.0, 200.0)]).fit(), None, "too few rows");
    }
}
