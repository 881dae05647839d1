//! The rules, each about one setting or cause.

mod clash;
mod entries;
mod failures;
mod losses;
mod measurement;
mod packets;
mod ports;
mod table;

use super::commands;
use super::{Evidence, Finding, Severity};
use crate::text::human;

pub(super) use self::losses::{dropped, healthy};

/// Kernel documentation of the settings.
const SYSCTL: &str = "https://docs.kernel.org/networking/nf_conntrack-sysctl.html";

/// A share of the table from which on it is worth a warning, and from which on it is as good as
/// full: a burst of a few samples fills the rest.
const FILLING: f64 = 0.8;
const FULL: f64 = 0.95;

/// The keys by which `ctpulse drops` adds up.
const BY_SOURCE: &str = "--top cause,source,port";

/// Rules about the traffic and the table: where none applies, nothing is wrong.
pub(super) const OF_TRAFFIC: [fn(&Evidence) -> Option<Finding>; 17] = [
    table::too_small,
    losses::undetermined,
    table::chains_too_long,
    clash::races_or_ports,
    ports::nearly_used_up,
    table::few_buckets,
    entries::established,
    entries::unreplied,
    entries::assured,
    failures::dying,
    failures::undetermined,
    packets::invalid,
    packets::icmp_errors,
    losses::unexplained,
    losses::by_cause,
    losses::evicted,
    packets::none,
];

/// Rules about the measurement: what it could not see.
pub(super) const OF_MEASUREMENT: [fn(&Evidence) -> Option<Finding>; 3] =
    [measurement::unknown, measurement::probes_missed, measurement::samples_missed];

/// A number in full, with commas.
fn number(value: f64) -> String {
    const WIDEST: usize = 24;
    human::number(value, WIDEST)
}

/// A share of 0 to 1 as `76.8%`.
pub(super) fn percent(share: f64) -> String {
    human::percent(100.0 * share)
}

/// The time that the evidence covers.
fn within(evidence: &Evidence) -> String {
    format!("in {}", human::duration(evidence.seconds))
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
