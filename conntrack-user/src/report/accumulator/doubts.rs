//! The events of each counter that may not have happened.

use super::super::completeness::{Completeness, INTERRUPTED};
use super::super::track::Track;
use super::super::unknown::is_often;
use super::SourceAccumulator;
use crate::report::fields::CounterOrigin;

impl SourceAccumulator {
    /// Returns how many of a counter's events may not have happened; `total` is all of them.
    pub(super) fn doubted(
        &self,
        (at, name, total): (usize, &str, f64),
        evidence: &Completeness<'_>,
    ) -> f64 {
        let tracks = self.tracks(at);
        let is_doubtful = evidence.disagreeing > 0
            || evidence.misdated_ns.is_some()
            || self.table_doubts.has_other_statistics()
            || is_often(evidence.resets, evidence.emissions)
            || tracks.iter().any(|track| track.odd() > 0)
            || self.has_own_resets(name, &tracks, evidence)
            || self.is_contradictory(at, name)
            || evidence.needs_a_fuller_table(name, total);
        if is_doubtful {
            return total;
        }
        let least_seconds = INTERRUPTED * evidence.interval_seconds.unwrap_or(0.0);
        let between: f64 =
            tracks.iter().map(|track| track.events_between_parts(least_seconds)).sum();
        let breaks = evidence.breaks.doubted.get(at).copied().unwrap_or(0.0);
        let left_out = self.left_out.doubted(at, total);
        let risen = self.counters.get(at).map_or(0.0, |counter| counter.risen_at_restarts);
        (breaks + between + risen).max(self.sums.doubted(at)).min(total).max(left_out)
    }

    /// Whether a counter of the kernel began again when others did not.
    fn has_own_resets(&self, name: &str, tracks: &[&Track], evidence: &Completeness<'_>) -> bool {
        let is_of_probes = CounterOrigin::of(name).is_of_probes(self.is_of_ctpulse);
        let resets = tracks.iter().map(|track| track.resets()).max().unwrap_or(0);
        !is_of_probes && evidence.least_resets().is_some_and(|least| resets > least)
    }
}
