//! Findings from numbers that may be those of another source.

use super::evidence::{Evidence, FoundForFailures};
use super::{Finding, Found, Severity};
use crate::schema::field::Field;
use crate::schema::fields::{FOUND, INSERT_FAILED, INVALID};

impl Evidence {
    /// Returns the evidence without the events that may not have happened, and without a fill that may be
    /// that of another table, if there are any.
    pub(super) fn certain(&self) -> Option<Self> {
        let doubtful = &self.doubts.events;
        if doubtful.is_empty() && !self.doubts.is_fill_doubtful {
            return None;
        }
        let mut certain = self.clone();
        if self.doubts.is_fill_doubtful {
            (certain.peak, certain.max) = (None, None);
        }
        for (name, events) in doubtful {
            if let Some(count) = certain.counted.get_mut(name) {
                *count = (*count - events).max(0.0);
            }
            certain.busiest.remove(name);
        }
        let is_doubtful = |field: &Field| doubtful.contains_key(field.name);
        if is_doubtful(&INVALID) {
            certain.invalid = None;
        }
        if [FOUND, INSERT_FAILED].iter().any(is_doubtful) {
            certain.found_for_failures = FoundForFailures::default();
        }
        Some(certain)
    }
}

/// Makes those of the findings unknown that are not among `certain`, the findings without what is in doubt
/// for this reason.
pub(super) fn doubt(findings: &mut Vec<Found>, certain: Vec<Found>, reason: &str) {
    for Found { rule, finding } in findings.iter_mut() {
        let is_same =
            |other: &&Found| other.rule == *rule && other.finding.severity >= finding.severity;
        match certain.iter().find(is_same).map(|same| &same.finding) {
            Some(same) if same.evidence == finding.evidence => *finding = same.clone(),
            Some(same) => {
                let evidence = format!(
                    "{}; some of this is in doubt. Without that: {}",
                    finding.evidence, same.evidence
                );
                *finding = Finding { evidence, ..same.clone() };
            }
            None => {
                finding.severity = Severity::Unknown;
                finding.evidence = format!("{}; this is in doubt: {reason}", finding.evidence);
            }
        }
    }
    // No doubt makes another loss harmless.
    let is_new = |other: &Found| findings.iter().all(|found| found.rule != other.rule);
    let others: Vec<_> = certain
        .into_iter()
        .filter(|other| other.finding.severity == Severity::Problem && is_new(other))
        .collect();
    findings.extend(others);
}
