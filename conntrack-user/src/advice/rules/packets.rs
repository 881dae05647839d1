//! Rules about packets: INVALID ones, those of entries that were dying, and none at all.

use super::super::evidence::Host;
use super::commands::inside;
use super::{Evidence, Finding, SYSCTL, Severity, number, percent, within};
use crate::schema::fields::{DROP_DYING, INVALID, NEW};

/// INVALID packets a second from which on they are worth a warning, and the share of the new
/// connections that they have to reach, too, where these are counted: scans bring a few to every
/// large gateway.
const INVALID_RATE: f64 = 1.0;
const INVALID_SHARE: f64 = 0.001;

/// Fewer are chance.
const FEWEST_INVALID: f64 = 10.0;

/// Packets that the trackers refuse: a firewall usually drops them, with no counter of its own.
pub(super) fn invalid(evidence: &Evidence) -> Option<Finding> {
    let invalid = evidence.count(&INVALID);
    let rate = invalid / evidence.seconds.max(f64::MIN_POSITIVE);
    let new = evidence.counted(&NEW).filter(|new| *new > 0.0);
    let share = new.map(|new| invalid / new);
    if invalid < FEWEST_INVALID
        || rate < INVALID_RATE
        || share.is_some_and(|share| share < INVALID_SHARE)
    {
        return None;
    }
    let mut text = format!("{} {}, {} a second", number(invalid), within(evidence), number(rate));
    if let Some(share) = share.filter(|share| *share < 1.0) {
        text.push_str(&format!(", {} of the new connections", percent(share)));
    }
    let inside = inside(evidence);
    let everywhere = match evidence.netns {
        Some(_) => " (with net.netfilter.nf_log_all_netns=1 on the host)",
        None => "",
    };
    Some(Finding {
        severity: Severity::Warning,
        title: "packets are INVALID".to_owned(),
        evidence: format!("{text}: they belong to no connection, or do not fit theirs"),
        remedies: vec![
            format!(
                "the reason of each, in the kernel's log{everywhere}: {inside}sysctl -w \
                 net.netfilter.nf_conntrack_log_invalid=255; 0 ends it"
            ),
            format!(
                "the packets themselves, before the rule that drops them: {inside}nft insert rule \
                 inet TABLE CHAIN ct state invalid limit rate 10/second log prefix '\"invalid \"'"
            ),
            "if replies or acknowledgements take another way (asymmetric routes, a second gateway, \
             a failover): route both directions through this host, or do not track them (nft \
             `notrack`)"
                .to_owned(),
            format!(
                "if the reason is the TCP window (`SEQ is over`, `ACK is over`): {inside}sysctl -w \
                 net.netfilter.nf_conntrack_tcp_be_liberal=1 accepts them"
            ),
        ],
        see: SYSCTL,
    })
}

/// Entries that are taken away between the first packet's lookup and its insertion. The probes
/// show it from 5.10 on, where neither `conntrack -F` nor `-D` can be the cause: they take away
/// entries that are in the table.
pub(super) fn dying(evidence: &Evidence) -> Option<Finding> {
    let lost = evidence.count(&DROP_DYING);
    (lost > 0.0).then(|| Finding {
        severity: Severity::Problem,
        title: "entries die before they are inserted".to_owned(),
        evidence: format!("{} packets lost {}", number(lost), within(evidence)),
        remedies: vec![
            "a module of connection tracking (a helper such as nf_conntrack_ftp, NAT) is unloaded, \
             or a network namespace ends, while connections begin: keep firewall restarts from \
             unloading modules (rmmod, modprobe -r)"
                .to_owned(),
        ],
        see: "rmmod(8), modprobe(8)",
    })
}

/// No entry, and no counter that moved.
pub(super) fn none(evidence: &Evidence) -> Option<Finding> {
    let is_still = evidence.has_statistics()
        && evidence.peak == Some(0.0)
        && evidence.counted.values().all(|count| *count == 0.0);
    if !is_still {
        return None;
    }
    let seconds = within(evidence);
    let (title, text) = match evidence.is_any_above_zero {
        Some(true) => (
            format!("no tracked traffic {seconds}"),
            format!(
                "0 entries, and no counter moved {seconds}; packets were tracked before: some \
                 counters are above 0"
            ),
        ),
        Some(false) => (
            "nothing is tracked here".to_owned(),
            format!("0 entries, and no counter was ever above 0 {seconds}"),
        ),
        None => (
            format!("no tracked traffic {seconds}"),
            format!("0 entries, and no counter moved {seconds}"),
        ),
    };
    let mut remedies = Vec::new();
    if evidence.is_any_above_zero != Some(true) {
        remedies.push(
            "the kernel tracks only where a firewall rule asks for it (such as nft `ct state`)"
                .to_owned(),
        );
        remedies.push("connections may pass another network namespace (`--netns`)".to_owned());
    }
    if evidence.host != Host::Recorded {
        remedies.push("if there should be traffic now: --look 60s waits longer for it".to_owned());
    }
    Some(Finding { severity: Severity::Warning, title, evidence: text, remedies, see: SYSCTL })
}
