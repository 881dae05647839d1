//! Gaps in the rows with the sum of the CPUs in which the rows of the CPUs go on, or the reverse: none of
//! their counters is unknown.

use super::super::gaps::{LONGER, Times};
use super::super::summary::{Gap, Gaps};

/// Takes the gaps out of `times` in which other rows go on, which have this span and these gaps; the
/// number of emissions in them.
pub(super) fn fill(times: &mut Times, span: (i64, i64), others: &Gaps) -> u64 {
    let Some(interval) = times.interval else { return 0 };
    // Not all of them are kept.
    let are_known = others.gaps <= others.longest.len() as u64;
    times.not_compared = times.gaps.gaps;
    if !are_known {
        return 0;
    }
    times.not_compared -= times.not_compared.min(times.gaps.longest.len() as u64);
    let reach_ns = (LONGER * interval * 1e9) as i64;
    let goes_on = |gap: &Gap| {
        span.0 <= gap.from_ns.saturating_add(reach_ns)
            && gap.to_ns <= span.1.saturating_add(reach_ns)
            && !others
                .longest
                .iter()
                .any(|other| other.from_ns < gap.to_ns && gap.from_ns < other.to_ns)
    };
    let gaps = &mut times.gaps;
    let listed = std::mem::take(&mut gaps.longest);
    let (filled, left): (Vec<_>, Vec<_>) = listed.into_iter().partition(goes_on);
    let emissions = |gap: &Gap| {
        let seconds = gap.to_ns.saturating_sub(gap.from_ns) as f64 / 1e9;
        ((seconds / interval).round() as u64).saturating_sub(1).max(1)
    };
    let missing: u64 = filled.iter().map(emissions).sum();
    gaps.gaps = gaps.gaps.saturating_sub(filled.len() as u64);
    // The number was added up from rounded times.
    gaps.missing = if gaps.gaps == 0 { 0 } else { gaps.missing.saturating_sub(missing) };
    gaps.longest = left;
    missing
}
