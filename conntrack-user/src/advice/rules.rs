//! The rules, each about one setting or cause.

use super::{Evidence, Finding, Severity};

const SYSCTL: &str = "https://docs.kernel.org/networking/nf_conntrack-sysctl.html";

/// A share of the table from which on it is worth a warning, and from which on it is as good as
/// full: a burst of a few samples fills the rest.
const FILLING: f64 = 0.8;
const FULL: f64 = 0.95;

/// Entries for each bucket above which look-ups are slow; the kernel's own default is 1 from 5.15
/// on and was 4 before (`nf_conntrack_init_start`). Each entry stands in two chains.
const LONG: f64 = 4.0;

/// Memory of an entry in bytes, about, with the usual extensions.
const ENTRY: f64 = 400.0;

pub(super) const ALL: [fn(&Evidence) -> Option<Finding>; 8] =
    [table, chains_refused, races, buckets, established, dying, unexplained, nothing];

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
    Finding {
        severity: Severity::Good,
        title: "nothing is wrong".to_owned(),
        evidence: format!("{said} {}", seconds(evidence)),
        mend: Vec::new(),
        see: SYSCTL,
    }
}

#[cfg(test)]
mod tests {
    use super::super::advise;
    use super::*;

    fn evidence(peak: f64, counted: &[(&str, f64)]) -> Evidence {
        let mut all = vec![("drop", 0.0), ("early_drop", 0.0), ("insert_failed", 0.0)];
        all.extend_from_slice(counted);
        Evidence {
            seconds: 5.0,
            peak: Some(peak),
            max: Some(4000.0),
            buckets: Some(4000.0),
            counted: all.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
            ..Evidence::default()
        }
    }

    fn only(evidence: &Evidence) -> Finding {
        let findings = advise(evidence);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        findings.into_iter().next().unwrap()
    }

    #[test]
    fn a_healthy_table_is_said_to_be() {
        let finding = only(&evidence(1000.0, &[]));
        assert_eq!(finding.severity, Severity::Good);
        assert_eq!(
            finding.evidence,
            "at most 1,000 of 4,000 entries (25 %), drop 0, early_drop 0, insert_failed 0 in 5.0 s"
        );
        assert!(finding.mend.is_empty());
    }

    #[test]
    fn a_still_table_is_not_called_healthy() {
        let finding = only(&evidence(0.0, &[]));
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(finding.title, "nothing is tracked here");
        // One that is full now and then, between two looks.
        let finding = only(&evidence(891.0, &[("drop_table_full", 45.0)]));
        assert!(finding.evidence.contains("though full in between, 45 packets"), "{finding:?}");
    }

    #[test]
    fn a_full_table_is_too_small_and_a_fuller_one_soon() {
        let counted =
            [("drop_table_full", 3500.0), ("early_drop", 1980.0), ("table_full_evictable", 12.0)];
        let finding = only(&evidence(4000.0, &counted));
        assert_eq!(finding.severity, Severity::Problem);
        assert_eq!(
            finding.evidence,
            "at most 4,000 of 4,000 entries (100 %), 3,500 packets dropped, 1,980 entries evicted \
             (12 of the drops although entries could have been evicted: the kernel looks into 8 \
             buckets only) in 5.0 s"
        );
        assert_eq!(
            finding.mend[0],
            "sysctl -w net.netfilter.nf_conntrack_max=8192 (some 3 MiB when full)"
        );
        assert_eq!(only(&evidence(3300.0, &[])).severity, Severity::Warning);
        // Without probes the causes are not told apart.
        let finding = only(&evidence(4000.0, &[("drop", 7.0)]));
        assert!(finding.evidence.contains("7 packets dropped"), "{finding:?}");
    }

    #[test]
    fn races_say_how_many_were_name_look_ups() {
        let mut some = evidence(100.0, &[("drop_clash", 12.0)]);
        some.ports = [(("clash", 53), 9), (("clash", 80), 1), (("evicted", 53), 5)].into();
        let finding = only(&some);
        assert!(finding.evidence.ends_with("9 of 10 that were looked at went to port 53"));
        assert!(finding.mend[0].contains("single-request-reopen"));
        some.ports = [(("clash", 80), 10)].into();
        assert!(!only(&some).mend[0].contains("single-request"));
        // The kernel's own counter, less what has another cause.
        let failed = [("insert_failed", 5.0), ("chaintoolong", 5.0)];
        let findings = advise(&evidence(100.0, &failed));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].title, "hash chains are too long");
    }

    #[test]
    fn buckets_and_timeouts_are_looked_at() {
        let mut few = evidence(100.0, &[]);
        few.buckets = Some(500.0);
        assert!(only(&few).evidence.starts_with("500 buckets for 4,000 entries: 8 for each"));
        let mut long = evidence(3500.0, &[]);
        long.timeouts.insert("nf_conntrack_tcp_timeout_established".to_owned(), 432_000.0);
        let findings = advise(&long);
        assert_eq!(findings.len(), 2);
        assert!(findings[1].evidence.contains("432000 s (5.0 days)"), "{findings:?}");
        long.peak = Some(100.0);
        assert_eq!(only(&long).severity, Severity::Good);
    }

    #[test]
    fn the_worst_comes_first() {
        let mut all = evidence(3500.0, &[("drop_dying", 1.0), ("drop_other", 2.0)]);
        all.buckets = Some(100.0);
        let severities: Vec<_> = advise(&all).iter().map(|finding| finding.severity).collect();
        assert!(severities.is_sorted_by(|a, b| a >= b), "{severities:?}");
        assert_eq!(severities.len(), 4);
    }
}
