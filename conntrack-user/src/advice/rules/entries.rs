//! Rules about what stands in the table, from a look at some of its entries.

use super::super::{ESTABLISHED, Evidence, Finding, SILENCE, Severity, share};
use super::{FILLING, SYSCTL, inside, number, percent};

/// A share of unreplied entries from which on they are worth a word: an ordinary mix has less, a
/// scan or a flood of SYN more. And a fill of the table from which on it matters.
const UNREPLIED: f64 = 0.5;
const HALF: f64 = 0.5;

/// A share of evictable entries below which a full table drops what is new.
const FEW: f64 = 0.1;

/// A share of connections that are silent for hours from which on they are worth a word.
const SILENT: f64 = 0.1;

/// Connections that are silent for hours and keep their entries for days.
pub(super) fn established(evidence: &Evidence) -> Option<Finding> {
    let (entries, fill) = (evidence.entries?, evidence.fill()?);
    let timeout = *evidence.timeouts.get(ESTABLISHED)?;
    let silent = share(entries, entries.silent).filter(|share| *share >= SILENT)?;
    (fill >= HALF).then(|| Finding {
        severity: Severity::Warning,
        title: "silent TCP connections keep their entries".to_owned(),
        evidence: format!(
            "{} of {} entries that were looked at were silent for more than 2 hours and 4 minutes; \
             {ESTABLISHED} is {timeout:.0} s ({:.1} days), and the table was {} full",
            percent(silent),
            number(f64::from(entries.seen)),
            timeout / 86_400.0,
            percent(fill)
        ),
        mend: vec![format!(
            "{}sysctl -w net.netfilter.{ESTABLISHED}={SILENCE} (RFC 5382: at least 2 hours and 4 \
             minutes)",
            inside(evidence)
        )],
        see: SYSCTL,
    })
}

/// Entries that nobody answered: they are what the kernel evicts, and what fills a table for nothing.
pub(super) fn unreplied(evidence: &Evidence) -> Option<Finding> {
    let (entries, fill) = (evidence.entries?, evidence.fill()?);
    let unreplied = share(entries, entries.unreplied).filter(|share| *share >= UNREPLIED)?;
    (fill >= HALF).then(|| Finding {
        severity: Severity::Warning,
        title: "most entries were never answered".to_owned(),
        evidence: format!(
            "{} of {} entries that were looked at are unreplied, {} can be evicted, in a table that \
             is full to {}",
            percent(unreplied),
            number(f64::from(entries.seen)),
            percent(f64::from(entries.evictable) / f64::from(entries.seen)),
            percent(fill)
        ),
        mend: vec![
            format!(
                "{}conntrack -L | grep UNREPLIED shows whose they are: a scan, a flood, or replies \
                 that take another way",
                inside(evidence)
            ),
            format!(
                "shorter timeouts free them sooner: {}sysctl net.netfilter | grep timeout shows \
                 tcp_timeout_syn_sent (120 s by default) and udp_timeout (30 s)",
                inside(evidence)
            ),
        ],
        see: SYSCTL,
    })
}

/// A table that is full of connections which the kernel does not evict.
pub(super) fn assured(evidence: &Evidence) -> Option<Finding> {
    let (entries, fill) = (evidence.entries?, evidence.fill()?);
    let evictable = share(entries, entries.evictable).filter(|share| *share < FEW)?;
    (fill >= FILLING).then(|| Finding {
        severity: Severity::Warning,
        title: "hardly any entry can be evicted".to_owned(),
        evidence: format!(
            "{} of {} entries that were looked at, in a table that is full to {}: what comes when it \
             is full is dropped",
            percent(evictable),
            number(f64::from(entries.seen)),
            percent(fill)
        ),
        mend: vec![
            "these are connections in use, or ones whose end was not seen: a larger \
             nf_conntrack_max, or a shorter nf_conntrack_tcp_timeout_established"
                .to_owned(),
        ],
        see: SYSCTL,
    })
}
