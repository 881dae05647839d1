//! What to change, from what was measured: `ctpulse doctor --advise`.
//!
//! Pure: [`Evidence`] comes from a look of some seconds or from a recording, and each rule makes a
//! [`Finding`] of it or none. No finding without a number; what is well is said with its numbers
//! too. The documentation that a finding names is the kernel's.

mod rules;

use std::collections::BTreeMap;

use crate::settings::Netns;
use crate::source::netlink::entries::Entries;

/// The sysctl file of how long a TCP connection keeps its entry after its last packet.
pub const ESTABLISHED: &str = "nf_conntrack_tcp_timeout_established";

/// The shortest timeout for those that RFC 5382 allows (REQ-5), in seconds.
pub const SILENCE: u32 = 7440;

/// What was measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// How long, in seconds.
    pub seconds: f64,
    /// The most entries at any moment.
    pub peak: Option<f64>,
    /// `nf_conntrack_max`, the same for each namespace; 0 for no limit.
    pub max: Option<f64>,
    /// `nf_conntrack_buckets`, of the whole host.
    pub buckets: Option<f64>,
    /// What each counter counted meanwhile, by its name in the schema; what is not counted on that
    /// host is absent.
    pub counted: BTreeMap<String, f64>,
    /// Timeouts in seconds, by the name of their sysctl file.
    pub timeouts: BTreeMap<String, f64>,
    /// The namespace that was looked into, if it is not the own one.
    pub netns: Option<Netns>,
    /// What some of the entries are like, where ctnetlink could be asked.
    pub entries: Option<Entries>,
    /// Where drops were seen one by one: their number by cause and destination port.
    pub ports: BTreeMap<(&'static str, u16), u64>,
}

impl Evidence {
    fn count(&self, counter: &str) -> f64 {
        self.counted.get(counter).copied().unwrap_or(0.0)
    }

    /// The share of the table that was full at the peak, 0 to 1 and a little more.
    fn fill(&self) -> Option<f64> {
        let max = self.max.filter(|max| *max > 0.0)?;
        Some(self.peak? / max)
    }
}

/// `part` of those that were looked at, 0 to 1; `None` where they are too few to tell.
fn share(entries: Entries, part: u32) -> Option<f64> {
    const FEWEST: u32 = 100;
    (entries.seen >= FEWEST).then(|| f64::from(part) / f64::from(entries.seen))
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing to do.
    Good,
    /// Nothing is lost yet.
    Warning,
    /// Packets or connections are lost.
    Problem,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a few words.
    pub title: String,
    /// The numbers that say so.
    pub evidence: String,
    /// What helps, one thing a line; nothing where there is nothing to do.
    pub mend: Vec<String>,
    /// Where the setting is documented.
    pub see: &'static str,
}

/// Everything that `evidence` shows, the worst first; at least one finding.
#[must_use]
pub fn advise(evidence: &Evidence) -> Vec<Finding> {
    let mut findings: Vec<Finding> = rules::ALL.iter().filter_map(|rule| rule(evidence)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    if findings.is_empty() {
        findings.push(rules::healthy(evidence));
    }
    findings
}
