//! Findings and their remedies, from measured numbers: `ctpulse doctor --advise`.
//!
//! Pure: [`Evidence`] comes from some seconds of sampling or from a recording, and each rule
//! makes at most one [`Finding`] of it. Every finding has a number, the good one too. "Nothing is
//! wrong" needs statistics that span the time; without them the finding is [`Severity::Unknown`].

mod commands;
mod doubts;
mod evidence;
mod rules;

pub use self::evidence::{Evidence, FoundForFailures, Holders, Host, Samples};

/// The sysctl file of how long a TCP connection keeps its entry after its last packet.
pub const ESTABLISHED: &str = "nf_conntrack_tcp_timeout_established";

/// The shortest timeout for those that RFC 5382 allows (REQ-5), in seconds.
pub const SILENCE: u32 = 7440;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// There is nothing to do.
    Good,
    /// Nothing is known to be lost yet.
    Warning,
    /// It is not known whether anything is lost.
    Unknown,
    /// Packets or connections are lost.
    Problem,
}

/// One result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The finding in a few words.
    pub title: String,
    /// The numbers behind it.
    pub evidence: String,
    /// The remedies, one a line; empty where there is nothing to do.
    pub remedies: Vec<String>,
    /// Where the setting is documented.
    pub see: &'static str,
}

/// Returns everything that `evidence` shows, the worst first; at least one finding.
#[must_use]
pub fn advise(evidence: &Evidence) -> Vec<Finding> {
    let mut findings = judge(evidence);
    if let (Some(certain), Some(reason)) = (evidence.certain(), evidence.doubts.reasons.first()) {
        doubts::doubt(&mut findings, judge(&certain), reason);
        findings.sort_by_key(|found| std::cmp::Reverse(found.finding.severity));
    }
    findings.into_iter().map(|found| found.finding).collect()
}

/// A finding, and the rule that made it: with other numbers it may have another title.
struct Found {
    /// Its number.
    rule: usize,
    finding: Finding,
}

/// The numbers of the rules that are in no list.
const DROPPED: usize = rules::OF_TRAFFIC.len() + rules::OF_MEASUREMENT.len();
const HEALTHY: usize = DROPPED + 1;

/// Returns what the rules find, as if no number were in doubt.
fn judge(evidence: &Evidence) -> Vec<Found> {
    let of = |rules: &[fn(&Evidence) -> Option<Finding>], first: usize| -> Vec<Found> {
        let found = (first..).zip(rules);
        found.filter_map(|(rule, judge)| Some(Found { rule, finding: judge(evidence)? })).collect()
    };
    let mut findings = of(&rules::OF_TRAFFIC, 0);
    let limits = of(&rules::OF_MEASUREMENT, rules::OF_TRAFFIC.len());
    // No other number, nor the lack of one, makes a drop harmless.
    if findings.iter().all(|found| found.finding.severity < Severity::Problem) {
        let dropped = rules::dropped(evidence);
        findings.extend(dropped.map(|finding| Found { rule: DROPPED, finding }));
    }
    let is_known = limits.iter().all(|limit| limit.finding.severity < Severity::Unknown);
    if findings.is_empty() && is_known {
        findings.push(Found { rule: HEALTHY, finding: rules::healthy(evidence) });
    }
    findings.extend(limits);
    findings.sort_by_key(|found| std::cmp::Reverse(found.finding.severity));
    findings
}
