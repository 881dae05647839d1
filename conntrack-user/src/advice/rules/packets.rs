//! Rules about packets: INVALID ones, and none at all.

use std::collections::BTreeMap;

use super::super::evidence::Host;
use super::commands::{inside, invalid_packets};
use crate::report::InvalidWindow;
use crate::schema::invalid::Reason;
use crate::schema::labelled::{OTHER, UNEXPLAINED};
use crate::text::human;
use crate::text::sanitize::shown;

use super::{Evidence, Finding, SYSCTL, Severity, number, percent, within};
use crate::schema::fields::{ICMP_ERROR, INVALID, NEW};

/// Packets that the trackers refuse: a firewall usually drops them, with no counter of its own.
/// Over a long time the average may hide them, so the worst part of it is judged, too.
pub(super) fn invalid(evidence: &Evidence) -> Option<Finding> {
    let packets = evidence.count(&INVALID);
    let counted = evidence.counted(&NEW);
    // Probes may have been attached for a part of the time.
    let new = evidence.invalid_beside_new.map_or(counted, |it| it.new_in(evidence.seconds));
    let all = InvalidWindow { seconds: evidence.seconds, packets, new };
    let worst = evidence.invalid.filter(|worst| worst.rate() > all.rate());
    let judged = Some(all).filter(InvalidWindow::is_storm).or(worst)?;
    let rate = number(all.rate());
    let mut text = format!("{} {}, {rate} a second", number(packets), within(evidence));
    let share = evidence.invalid_beside_new.unwrap_or(judged).share();
    if let Some(share) = share.filter(|share| *share < 1.0 && worst.is_none()) {
        text.push_str(&format!(", {} of the new connections", percent(share)));
    }
    if let Some(worst) = worst {
        text.push_str(&format!(
            "; at worst {} in {}, {} a second",
            number(worst.packets),
            human::duration(worst.seconds),
            number(worst.rate())
        ));
        if let Some(share) = worst.share().filter(|share| *share < 1.0) {
            text.push_str(&format!(", {} of the new connections then", percent(share)));
        }
    }
    Some(Finding {
        severity: Severity::Warning,
        title: "packets are INVALID".to_owned(),
        evidence: format!(
            "{text}: they belong to no connection, or do not fit theirs{}",
            reasons(evidence)
        ),
        remedies: invalid_remedies(evidence),
        see: SYSCTL,
    })
}

/// How many reasons are named.
const REASONS: usize = 3;

/// Returns the most frequent reasons with their shares; nothing where none is known.
fn reasons(evidence: &Evidence) -> String {
    let Some(reasons) = evidence.reasons.as_ref().filter(|reasons| !reasons.is_empty()) else {
        return String::new();
    };
    let sum = reasons.values().sum::<u64>().max(1) as f64;
    let mut heaviest: Vec<_> = reasons.iter().collect();
    heaviest.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let share = |(reason, packets): &(&String, &u64)| {
        format!("{} {}", shown(reason), percent(**packets as f64 / sum))
    };
    let shares: Vec<String> = heaviest.iter().take(REASONS).map(share).collect();
    format!("; the reasons: {}", shares.join(", "))
}

/// The share of packets without a reason from which on any reason is possible.
const WITHOUT_REASON: f64 = 0.1;

/// Whether packets have one of these reasons, or it is not known which they have.
fn may_have(evidence: &Evidence, wanted: &[Reason]) -> bool {
    let Some(reasons) = evidence.reasons.as_ref().filter(|reasons| !reasons.is_empty()) else {
        return true;
    };
    lacks_reasons(reasons) || wanted.iter().any(|reason| reasons.contains_key(reason.name()))
}

/// Whether many packets have no reason.
fn lacks_reasons(reasons: &BTreeMap<String, u64>) -> bool {
    let without: u64 = [UNEXPLAINED, OTHER].iter().filter_map(|name| reasons.get(*name)).sum();
    without as f64 > reasons.values().sum::<u64>() as f64 * WITHOUT_REASON
}

/// Remedies for the reasons that the packets have, or for all where the reasons are not known.
fn invalid_remedies(evidence: &Evidence) -> Vec<String> {
    let inside = inside(evidence);
    let mut remedies = Vec::from_iter(invalid_packets(evidence));
    if evidence.reasons.as_ref().is_none_or(lacks_reasons) {
        remedies.extend(logging(evidence));
    }
    if may_have(evidence, &[Reason::NoConnection]) {
        remedies.push(
            "if replies or acknowledgements take another way (asymmetric routes, a second gateway, \
             a failover): route both directions through this host, or do not track them (nft \
             `notrack`)"
                .to_owned(),
        );
    }
    if may_have(evidence, &[Reason::TcpWindowSeqHigh, Reason::TcpWindowAckHigh]) {
        remedies.push(format!(
            "if the reason is the TCP window (`SEQ is over`, `ACK is over`): {inside}sysctl -w \
             net.netfilter.nf_conntrack_tcp_be_liberal=1 accepts them"
        ));
    }
    if evidence.reasons.is_some() && may_have(evidence, &[Reason::Checksum]) {
        remedies.push(format!(
            "if the checksums are wrong only here, since a virtual network card leaves them out: \
             {inside}sysctl -w net.netfilter.nf_conntrack_checksum=0 does not test them; otherwise the \
             path damages packets"
        ));
    }
    remedies
}

/// Remedies that need the kernel's log.
fn logging(evidence: &Evidence) -> [String; 2] {
    let inside = inside(evidence);
    let everywhere = if evidence.netns.is_own() {
        ""
    } else {
        " (with net.netfilter.nf_log_all_netns=1 on the host)"
    };
    [
        format!(
            "the reason of each, in the kernel's log{everywhere}: {inside}sysctl -w \
             net.netfilter.nf_conntrack_log_invalid=255; 0 ends it. It needs a logger: modprobe \
             nf_log_syslog (before Linux 5.13: nf_log_ipv4 and nf_log_ipv6)"
        ),
        format!(
            "the packets themselves, before the rule that drops them: {inside}nft insert rule \
             inet TABLE CHAIN ct state invalid limit rate 10/second log prefix '\"invalid \"'"
        ),
    ]
}

/// ICMP packets that leave conntrack as INVALID ones do, in a counter of their own (`nf_conntrack_in`).
pub(super) fn icmp_errors(evidence: &Evidence) -> Option<Finding> {
    let packets = evidence.count(&ICMP_ERROR);
    let all = InvalidWindow { seconds: evidence.seconds, packets, new: None };
    all.is_storm().then(|| Finding {
        severity: Severity::Warning,
        title: "ICMP packets are INVALID".to_owned(),
        evidence: format!(
            "{} {}, {} a second: they report an error of a connection that is not in the table, or \
             their checksum or type is wrong",
            number(packets),
            within(evidence),
            number(all.rate())
        ),
        remedies: vec![format!(
            "the packets themselves: {}nft insert rule inet TABLE CHAIN meta l4proto {{ icmp, icmpv6 }} \
             ct state invalid limit rate 10/second log prefix '\"invalid icmp \"'",
            inside(evidence)
        )],
        see: SYSCTL,
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
