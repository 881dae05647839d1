//! The rules, each about one setting or cause.

use super::{Evidence, Finding, Severity, share};

const SYSCTL: &str = "https://docs.kernel.org/networking/nf_conntrack-sysctl.html";

/// A share of the table from which on it is worth a warning, and from which on it is as good as
/// full: a burst of a few samples fills the rest.
const FILLING: f64 = 0.8;
const FULL: f64 = 0.95;

/// Entries for each bucket above which look-ups are slow; the kernel's own default is 1 from 5.15
/// on and was 4 before (`nf_conntrack_init_start`). Each entry stands in two chains.
const LONG: f64 = 4.0;

/// A share of unreplied entries from which on they are worth a word: an ordinary mix has less, a
/// scan or a flood of SYN more. And a fill of the table from which on it matters.
const UNREPLIED: f64 = 0.5;
const HALF: f64 = 0.5;

/// A share of evictable entries below which a full table drops what is new.
const FEW: f64 = 0.1;

/// Memory of an entry in bytes, about, with the usual extensions.
const ENTRY: f64 = 400.0;

pub(super) const ALL: [fn(&Evidence) -> Option<Finding>; 10] = [
    table,
    chains_refused,
    races,
    buckets,
    established,
    unreplied,
    assured,
    dying,
    unexplained,
    nothing,
];

/// A number as people read it.
fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn seconds(evidence: &Evidence) -> String {
    format!("in {:.1} s", evidence.seconds)
}

fn table(evidence: &Evidence) -> Option<Finding> {
    let (peak, max, fill) = (evidence.peak?, evidence.max?, evidence.fill()?);
    let dropped = evidence.count("drop_table_full");
    // Without probes the kernel's sum of all causes, which at a full table is mostly this one.
    let dropped = if dropped == 0.0 && fill >= FULL { evidence.count("drop") } else { dropped };
    let evicted = evidence.count("early_drop");
    let severity = match fill {
        _ if dropped + evicted > 0.0 => Severity::Problem,
        FILLING.. => Severity::Warning,
        _ => return None,
    };
    let mut said =
        format!("at most {} of {} entries ({})", number(peak), number(max), percent(fill));
    if fill < FULL && dropped + evicted > 0.0 {
        said.push_str(" when it was looked at, though full in between");
    }
    for (count, what) in [(dropped, "packets dropped"), (evicted, "entries evicted")] {
        if count > 0.0 {
            said.push_str(&format!(", {} {what}", number(count)));
        }
    }
    let avoidable = evidence.count("table_full_evictable");
    if avoidable > 0.0 && dropped > 0.0 {
        said.push_str(&format!(
            " ({} of the drops although entries could have been evicted: the kernel looks into 8 \
             buckets only)",
            number(avoidable)
        ));
    }
    let twice = ((2.0 * peak.max(max)) as u64).next_power_of_two();
    let mut mend = vec![format!(
        "sysctl -w net.netfilter.nf_conntrack_max={twice} (some {} MiB when full)",
        number(twice as f64 * ENTRY / (1 << 20) as f64)
    )];
    if evidence.buckets.is_some_and(|buckets| buckets < twice as f64 / LONG) {
        mend.push(format!(
            "sysctl -w net.netfilter.nf_conntrack_buckets={twice} (in the host's own namespace)"
        ));
    }
    mend.push("ctpulse drops --top cause,source,port shows whose entries fill it".to_owned());
    Some(Finding {
        severity,
        title: match severity {
            Severity::Problem => "the table is too small".to_owned(),
            _ => "the table is filling".to_owned(),
        },
        evidence: format!("{said} {}", seconds(evidence)),
        mend,
        see: SYSCTL,
    })
}

fn chains_refused(evidence: &Evidence) -> Option<Finding> {
    let refused = evidence.count("chaintoolong");
    if refused == 0.0 {
        return None;
    }
    let mut mend = Vec::new();
    if let Some(max) = evidence.max {
        mend.push(format!(
            "sysctl -w net.netfilter.nf_conntrack_buckets={max:.0} (in the host's own namespace)"
        ));
    }
    mend.push(
        "if chains are short (see the buckets), somebody makes addresses collide: ctpulse drops \
         --top cause,source names them"
            .to_owned(),
    );
    Some(Finding {
        severity: Severity::Problem,
        title: "hash chains are too long".to_owned(),
        evidence: format!("{} insertions refused {}", number(refused), seconds(evidence)),
        mend,
        see: SYSCTL,
    })
}

fn races(evidence: &Evidence) -> Option<Finding> {
    let lost = match evidence.counted.get("drop_clash") {
        Some(lost) => *lost,
        // A long chain raises it too.
        None => (evidence.count("insert_failed") - evidence.count("chaintoolong")).max(0.0),
    };
    if lost == 0.0 {
        return None;
    }
    let dns = evidence.ports.get(&("clash", 53)).copied().unwrap_or(0);
    let seen: u64 =
        evidence.ports.iter().filter(|((cause, _), _)| *cause == "clash").map(|(_, n)| *n).sum();
    let mut said = format!("{} packets lost to a race {}", number(lost), seconds(evidence));
    if seen > 0 {
        said.push_str(&format!("; {dns} of {seen} that were looked at went to port 53"));
    }
    let mut mend = Vec::new();
    if seen == 0 || dns > 0 {
        mend.push(
            "name look-ups send A and AAAA from one socket at once: `options single-request-reopen` \
             (glibc) or `use-vc` in resolv.conf, or a cache on the host itself (NodeLocal DNSCache)"
                .to_owned(),
        );
    }
    mend.push("masquerade random-fully, where source translation picks the port".to_owned());
    mend.push("ctpulse drops --top cause,source,port shows whose they are".to_owned());
    Some(Finding {
        severity: Severity::Problem,
        title: "first packets race".to_owned(),
        evidence: said,
        mend,
        see: "nft(8), `masquerade fully-random`; resolv.conf(5)",
    })
}

fn buckets(evidence: &Evidence) -> Option<Finding> {
    let (max, buckets) = (evidence.max.filter(|max| *max > 0.0)?, evidence.buckets?);
    let (possible, now) = (max / buckets, evidence.peak.unwrap_or(0.0) / buckets);
    if buckets <= 0.0 || possible <= LONG {
        return None;
    }
    Some(Finding {
        severity: Severity::Warning,
        title: "there are few buckets for the table's size".to_owned(),
        evidence: format!(
            "{} buckets for {} entries: {possible:.0} for each bucket when full, {now:.1} at the \
             peak, each in two chains",
            number(buckets),
            number(max)
        ),
        mend: vec![format!(
            "sysctl -w net.netfilter.nf_conntrack_buckets={max:.0} (in the host's own namespace)"
        )],
        see: SYSCTL,
    })
}

fn established(evidence: &Evidence) -> Option<Finding> {
    const FILE: &str = "nf_conntrack_tcp_timeout_established";
    const DAY: f64 = 86_400.0;
    let (timeout, fill) = (*evidence.timeouts.get(FILE)?, evidence.fill()?);
    if timeout <= DAY || fill < FILLING {
        return None;
    }
    Some(Finding {
        severity: Severity::Warning,
        title: "dead TCP connections keep their entries for days".to_owned(),
        evidence: format!(
            "{FILE} is {timeout:.0} s ({:.1} days), and the table was {} full",
            timeout / DAY,
            percent(fill)
        ),
        mend: vec![format!(
            "sysctl -w net.netfilter.{FILE}=7440 (RFC 5382: at least 2 hours and 4 minutes)"
        )],
        see: SYSCTL,
    })
}

fn dying(evidence: &Evidence) -> Option<Finding> {
    let lost = evidence.count("drop_dying");
    (lost > 0.0).then(|| Finding {
        severity: Severity::Problem,
        title: "entries die before they are inserted".to_owned(),
        evidence: format!("{} packets lost {}", number(lost), seconds(evidence)),
        mend: vec![
            "something flushes the table while connections begin: look for `conntrack -F`, \
             `conntrack -D` and firewall reloads"
                .to_owned(),
        ],
        see: "conntrack(8)",
    })
}

fn unexplained(evidence: &Evidence) -> Option<Finding> {
    let other = evidence.count("drop_other");
    (other > 0.0).then(|| Finding {
        severity: Severity::Problem,
        title: "packets are dropped for a cause that is not told apart".to_owned(),
        evidence: format!("{} {}", number(other), seconds(evidence)),
        mend: vec![
            "ctpulse drops --per-packet shows those of the TCP tracker and failed allocations"
                .to_owned(),
        ],
        see: SYSCTL,
    })
}

/// Entries that nobody answered: they are what the kernel evicts, and what fills a table for nothing.
fn unreplied(evidence: &Evidence) -> Option<Finding> {
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
            "conntrack -L | grep UNREPLIED shows whose they are: a scan, a flood, or replies that \
             take another way"
                .to_owned(),
            "shorter timeouts free them sooner: nf_conntrack_tcp_timeout_syn_sent (120 s) and \
             nf_conntrack_udp_timeout (30 s)"
                .to_owned(),
        ],
        see: SYSCTL,
    })
}

/// A table that is full of connections which the kernel does not evict.
fn assured(evidence: &Evidence) -> Option<Finding> {
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
            "these are connections in use, or ones whose end was not seen: a larger table, or a \
             shorter nf_conntrack_tcp_timeout_established"
                .to_owned(),
        ],
        see: SYSCTL,
    })
}

fn nothing(evidence: &Evidence) -> Option<Finding> {
    let is_still = evidence.peak == Some(0.0) && evidence.counted.values().all(|n| *n == 0.0);
    is_still.then(|| Finding {
        severity: Severity::Warning,
        title: "nothing is tracked here".to_owned(),
        evidence: format!("0 entries, and no counter moved {}", seconds(evidence)),
        mend: vec![
            "the kernel tracks only where a firewall rule asks for it (such as nft `ct state`)"
                .to_owned(),
            "if connections pass elsewhere: --netns NAME looks into another network namespace"
                .to_owned(),
        ],
        see: SYSCTL,
    })
}

/// Where no rule found anything.
pub(super) fn healthy(evidence: &Evidence) -> Finding {
    let mut said = match (evidence.peak, evidence.max, evidence.fill()) {
        (Some(peak), Some(max), Some(fill)) => {
            format!("at most {} of {} entries ({}), ", number(peak), number(max), percent(fill))
        }
        (Some(peak), ..) => format!("at most {} entries, ", number(peak)),
        _ => String::new(),
    };
    let lost = ["drop", "early_drop", "insert_failed", "chaintoolong"];
    let counted: Vec<String> = lost
        .iter()
        .filter_map(|name| Some(format!("{name} {}", number(*evidence.counted.get(*name)?))))
        .collect();
    said.push_str(&counted.join(", "));
    let looked_at = evidence.entries.and_then(|seen| share(seen, seen.unreplied));
    if let Some(unreplied) = looked_at {
        said.push_str(&format!(", {} of the entries unreplied,", percent(unreplied)));
    }
    Finding {
        severity: Severity::Good,
        title: "nothing is wrong".to_owned(),
        evidence: format!("{said} {}", seconds(evidence)),
        mend: Vec::new(),
        see: SYSCTL,
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
