//! Rules about the entries in the table, from a sample of them.

use super::super::evidence::share;
use super::super::{ESTABLISHED, SILENCE};
use super::commands::{self, Side, holders, inside};
use super::{Evidence, FILLING, Finding, SYSCTL, Severity, number, percent};

/// A share of unreplied entries from which on it is a finding, however full the table is: an
/// ordinary mix has less; a scan, a flood of SYN or lost replies more.
const UNREPLIED: f64 = 0.5;

/// A share of entries that cannot be evicted from which on it is a finding, and one of those that
/// can below which there are hardly any.
const MOST: f64 = 0.5;
const FEW: f64 = 0.1;

/// A share of connections that are silent for hours from which on it is a finding, and the fill of
/// the table from which on they are in the way.
const SILENT: f64 = 0.1;
const HALF: f64 = 0.5;

/// Connections that are silent for hours and keep their entries for days.
pub(super) fn established(evidence: &Evidence) -> Option<Finding> {
    let (entries, fill) = (evidence.entries?, evidence.fill()?);
    let timeout = *evidence.timeouts.get(ESTABLISHED)?;
    let silent = share(entries, entries.silent).filter(|share| *share >= SILENT)?;
    (fill >= HALF).then(|| Finding {
        severity: Severity::Warning,
        title: "silent TCP connections keep their entries".to_owned(),
        evidence: format!(
            "{} of {} entries that were read were silent for more than 2 hours and 4 minutes; \
             {ESTABLISHED} is {timeout:.0} s ({:.1} days), and the table was {} full",
            percent(silent),
            number(f64::from(entries.seen)),
            timeout / 86_400.0,
            percent(fill)
        ),
        remedies: vec![format!(
            "{}sysctl -w net.netfilter.{ESTABLISHED}={SILENCE} (RFC 5382: at least 2 hours and 4 \
             minutes)",
            inside(evidence)
        )],
        see: SYSCTL,
    })
}

/// Entries without an answer: the peer does not reply, or its replies take another way.
pub(super) fn unreplied(evidence: &Evidence) -> Option<Finding> {
    let entries = evidence.entries?;
    let unreplied = share(entries, entries.unreplied).filter(|share| *share >= UNREPLIED)?;
    let fill =
        evidence.fill().map(|fill| format!(", in a table that is full to {}", percent(fill)));
    let inside = inside(evidence);
    Some(Finding {
        severity: Severity::Warning,
        title: "most entries were never answered".to_owned(),
        evidence: format!(
            "{} of {} entries that were read are unreplied, {} can be evicted{}",
            percent(unreplied),
            number(f64::from(entries.seen)),
            percent(f64::from(entries.evictable) / f64::from(entries.seen)),
            fill.unwrap_or_default()
        ),
        remedies: vec![
            format!(
                "{}: a scan or a flood, servers that do not answer, one-way traffic (syslog, \
                 NetFlow), or replies that are lost or take another way",
                commands::unreplied(evidence)
            ),
            format!(
                "shorter timeouts free them sooner: {inside}sysctl net.netfilter | grep timeout \
                 shows tcp_timeout_syn_sent (120 s by default) and udp_timeout (30 s)"
            ),
        ],
        see: SYSCTL,
    })
}

/// A table that is full of connections which the kernel does not evict.
pub(super) fn assured(evidence: &Evidence) -> Option<Finding> {
    let (entries, fill) = (evidence.entries?, evidence.fill()?);
    let evictable = share(entries, entries.evictable)?;
    if fill < FILLING || 1.0 - evictable < MOST {
        return None;
    }
    let title = match evictable < FEW {
        true => "hardly any entry can be evicted",
        false => "most entries cannot be evicted",
    };
    Some(Finding {
        severity: Severity::Warning,
        title: title.to_owned(),
        evidence: format!(
            "{} of {} entries that were read are assured, {} can be evicted, in a table that is full \
             to {}: once none can, new connections are dropped",
            percent(1.0 - evictable),
            number(f64::from(entries.seen)),
            percent(evictable),
            percent(fill)
        ),
        remedies: vec![
            "these are connections in use, or ones that ended unseen: a larger nf_conntrack_max, or \
             a shorter nf_conntrack_tcp_timeout_established"
                .to_owned(),
            holders(evidence, Side::Source, "the sources that hold most entries"),
        ],
        see: SYSCTL,
    })
}
