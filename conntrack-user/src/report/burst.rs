//! The worst rows of one counter, far enough apart to be different bursts.

/// A row with its peak.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) at_ns: i64,
    pub(super) within_seconds: f64,
    pub(super) peak: f64,
    pub(super) mean: f64,
    /// The events in the sample of the peak, if they are few.
    pub(super) few_events: Option<f64>,
    /// It was at least as high.
    pub(super) is_least: bool,
    pub(super) fill_percent: Option<f64>,
}

/// The worst of them.
#[derive(Debug, Default)]
pub(super) struct Worst {
    kept: Vec<Candidate>,
}

impl Worst {
    /// Keeps `new` if it is among the `most` worst. Of two that are less than `apart_ns` from
    /// each other the worse is kept: they are one burst.
    pub(super) fn offer(&mut self, new: Candidate, most: usize, apart_ns: i64) {
        let full = self.kept.len() >= most;
        if new.peak <= 0.0 || (full && self.kept.last().is_none_or(|last| last.peak >= new.peak)) {
            return;
        }
        let near = |old: &Candidate| old.at_ns.abs_diff(new.at_ns) <= apart_ns.unsigned_abs();
        if self.kept.iter().any(|old| near(old) && old.peak >= new.peak) {
            return;
        }
        self.kept.retain(|old| !near(old));
        let at = self.kept.partition_point(|old| old.peak >= new.peak);
        self.kept.insert(at, new);
        self.kept.truncate(most);
    }

    /// The worst first.
    pub(super) fn worst(&self) -> &[Candidate] {
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(peaks: &[(i64, f64)], most: usize) -> Vec<(i64, f64)> {
        let mut worst = Worst::default();
        for (at_ns, peak) in peaks.iter().copied() {
            let new = Candidate {
                at_ns,
                within_seconds: 1.0,
                peak,
                mean: 0.0,
                few_events: None,
                is_least: false,
                fill_percent: None,
            };
            worst.offer(new, most, 2);
        }
        worst.worst().iter().map(|kept| (kept.at_ns, kept.peak)).collect()
    }

    #[test]
    fn the_worst_come_first_and_neighbours_are_one() {
        let rows = [(1, 5.0), (2, 9.0), (3, 8.0), (10, 7.0), (20, 1.0), (30, 6.0), (40, 0.0)];
        assert_eq!(worst(&rows, 3), [(2, 9.0), (10, 7.0), (30, 6.0)]);
        assert_eq!(worst(&rows, 1), [(2, 9.0)]);
        assert!(worst(&rows, 0).is_empty());
    }
}
