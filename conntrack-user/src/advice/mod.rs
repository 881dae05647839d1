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
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    }
    findings
}

/// Returns what the rules find, as if no number were in doubt.
fn judge(evidence: &Evidence) -> Vec<Finding> {
    let of = |rules: &[fn(&Evidence) -> Option<Finding>]| -> Vec<Finding> {
        rules.iter().filter_map(|rule| rule(evidence)).collect()
    };
    let (mut findings, limits) = (of(&rules::OF_TRAFFIC), of(&rules::OF_MEASUREMENT));
    // No other number, nor the lack of one, makes a drop harmless.
    if findings.iter().all(|finding| finding.severity < Severity::Problem) {
        findings.extend(rules::dropped(evidence));
    }
    let is_known = limits.iter().all(|limit| limit.severity < Severity::Unknown);
    if findings.is_empty() && is_known {
        findings.push(rules::healthy(evidence));
    }
    findings.extend(limits);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}
