//! The rules, each about one setting or cause.

mod entries;

use super::{Evidence, Finding, Severity, share};
use crate::settings::Netns;

const SYSCTL: &str = "https://docs.kernel.org/networking/nf_conntrack-sysctl.html";

/// A share of the table from which on it is worth a warning, and from which on it is as good as
/// full: a burst of a few samples fills the rest.
const FILLING: f64 = 0.8;
const FULL: f64 = 0.95;

/// Entries for each bucket above which look-ups are slow; the kernel's own default is 1 from 5.15
/// on and was 4 before (`nf_conntrack_init_start`). Each entry stands in two chains.
const LONG: f64 = 4.0;

/// How long an entry lives at least, in seconds: what a table needs room for at once is what came
/// within that time (`nf_conntrack_udp_timeout`, the shortest of the common ones).
const LIFETIME: f64 = 30.0;

/// Memory of an entry in bytes, about, with the usual extensions.
const ENTRY: f64 = 400.0;

pub(super) const ALL: [fn(&Evidence) -> Option<Finding>; 11] = [
    table,
    undetermined,
    chains_refused,
    races,
    buckets,
    entries::established,
    entries::unreplied,
    entries::assured,
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

/// What stands before a command that is to run in the namespace that was looked into.
fn inside(evidence: &Evidence) -> String {
    let prefix = match &evidence.netns {
        None => return String::new(),
        Some(Netns::Name(name)) => format!("ip netns exec {name} "),
        Some(Netns::Pid(pid)) => format!("nsenter -t {pid} -n "),
        Some(Netns::Path(path)) => format!("nsenter --net={} ", path.display()),
    };
    prefix.escape_debug().to_string()
}

/// What `ctpulse drops` adds up.
const WHOSE: &str = "--top cause,source,port";

/// The command that shows drops one by one, there.
fn drops(evidence: &Evidence, options: &str) -> String {
    let netns = evidence.netns.as_ref().map(|netns| format!(" --netns {netns}"));
    format!("ctpulse drops{} {options}", netns.unwrap_or_default().escape_debug())
}

fn table(evidence: &Evidence) -> Option<Finding> {
    let (peak, max, fill) = (evidence.peak?, evidence.max?, evidence.fill()?);
    let dropped = match evidence.counted.get("drop_table_full") {
        Some(dropped) => *dropped,
        // Without probes what no failed insertion explains, which at a full table is mostly this.
        None if fill >= FULL => undivided(evidence),
        None => 0.0,
    };
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
    // What was turned away would have stood there, too.
    let turned_away = (dropped + evicted) * (LIFETIME / evidence.seconds).min(1.0);
    let wanted = ((peak.max(max) + turned_away).max(2.0 * max) as u64).next_power_of_two();
    let mut mend = vec![format!(
        "sysctl -w net.netfilter.nf_conntrack_max={wanted} or more (in the host's own namespace; \
         some {} MiB when full)",
        number(wanted as f64 * ENTRY / (1 << 20) as f64)
    )];
    if evidence.buckets.is_some_and(|buckets| buckets < wanted as f64 / LONG) {
        mend.push(format!(
            "sysctl -w net.netfilter.nf_conntrack_buckets={wanted} (in the host's own namespace)"
        ));
    }
    mend.push(format!("{} shows whose entries fill it", drops(evidence, WHOSE)));
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

/// Packets of the kernel's `drop` that neither a known cause explains nor a failed insertion: the
/// kernel raises both counters for most of those.
fn undivided(evidence: &Evidence) -> f64 {
    let failed = evidence.count("insert_failed") - evidence.count("chaintoolong");
    let causes = ["drop_clash", "drop_dying", "drop_tracker", "drop_other"];
    let told: f64 = causes.iter().map(|cause| evidence.count(cause)).sum();
    (evidence.count("drop") - failed.max(told)).max(0.0)
}

/// Drops whose cause nobody tells apart, in a table that was not seen full.
fn undetermined(evidence: &Evidence) -> Option<Finding> {
    let dropped = undivided(evidence);
    let is_told = evidence.counted.contains_key("drop_table_full");
    let is_full = evidence.fill().is_some_and(|fill| fill >= FULL);
    if dropped == 0.0 || is_told || is_full {
        return None;
    }
    let fill = evidence.fill().map(|fill| format!(", the table full to {} at most", percent(fill)));
    Some(Finding {
        severity: Severity::Problem,
        title: "packets are dropped, and nothing tells why".to_owned(),
        evidence: format!(
            "{} {}{}",
            number(dropped),
            seconds(evidence),
            fill.unwrap_or_default()
        ),
        mend: vec![
            "with the probes each cause is told (root, or CAP_BPF and CAP_PERFMON; `ctpulse doctor` \
             says what is missing)"
                .to_owned(),
            "the table may be full for moments: --sample-interval 1ms shows the most entries between \
             two rows"
                .to_owned(),
        ],
        see: SYSCTL,
    })
}

fn chains_refused(evidence: &Evidence) -> Option<Finding> {
    let refused = evidence.count("chaintoolong");
    if refused == 0.0 {
        return None;
    }
    let mut mend = Vec::new();
    if let Some(max) = evidence.max.filter(|max| evidence.buckets.is_none_or(|now| now < *max)) {
        let provided = if evidence.buckets.is_some() { "" } else { ", unless there are more" };
        mend.push(format!(
            "sysctl -w net.netfilter.nf_conntrack_buckets={max:.0} (in the host's own namespace\
             {provided})"
        ));
    }
    mend.push(format!(
        "if there are as many buckets as entries, somebody makes addresses collide: {} names them",
        drops(evidence, WHOSE)
    ));
    Some(Finding {
        severity: Severity::Problem,
        title: "hash chains are too long".to_owned(),
        evidence: format!("{} insertions refused {}", number(refused), seconds(evidence)),
        mend,
        see: SYSCTL,
    })
}

fn races(evidence: &Evidence) -> Option<Finding> {
    // A long chain raises it too.
    let failed = (evidence.count("insert_failed") - evidence.count("chaintoolong")).max(0.0);
    let told = evidence.counted.get("drop_clash");
    let lost = told.copied().unwrap_or(failed);
    if lost == 0.0 {
        return None;
    }
    let dns = evidence.ports.get(&("clash", 53)).copied().unwrap_or(0);
    let seen: u64 =
        evidence.ports.iter().filter(|((cause, _), _)| *cause == "clash").map(|(_, n)| *n).sum();
    // Before 5.10 races that were resolved are among those that failed.
    let are_lost = told.is_some() || evidence.counted.contains_key("clash_resolve");
    let what = match told {
        Some(_) => "packets lost to a race",
        None if are_lost => "insertions failed, most often a race",
        None => "insertions failed, or were races that the kernel resolved: it does not tell",
    };
    let mut said = format!("{} {what} {}", number(lost), seconds(evidence));
    if seen > 0 {
        said.push_str(&format!("; {dns} of {seen} that were looked at went to port 53"));
    }
    let mut mend = Vec::new();
    if 2 * dns >= seen {
        let if_so = if seen == 0 { "if these are name look-ups: they" } else { "name look-ups" };
        mend.push(format!(
            "{if_so} send A and AAAA from one socket at once: `options single-request-reopen` \
             (glibc) or `use-vc` in resolv.conf, or a cache on the host itself (NodeLocal DNSCache)"
        ));
    }
    mend.push(
        "where source translation picks the port: nft `masquerade fully-random`, iptables \
         `-j MASQUERADE --random-fully`"
            .to_owned(),
    );
    mend.push(format!("{} shows whose they are", drops(evidence, WHOSE)));
    Some(Finding {
        severity: if are_lost { Severity::Problem } else { Severity::Warning },
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
        mend: vec![format!(
            "{} shows those of the TCP tracker and failed allocations",
            drops(evidence, "--per-packet")
        )],
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

/// Where no rule found anything: mostly since nothing is wrong.
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
    let is_well = lost.iter().all(|name| evidence.count(name) == 0.0);
    Finding {
        severity: if is_well { Severity::Good } else { Severity::Problem },
        title: if is_well { "nothing is wrong" } else { "something is lost" }.to_owned(),
        evidence: format!("{said} {}", seconds(evidence)),
        mend: Vec::new(),
        see: SYSCTL,
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
