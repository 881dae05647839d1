//! Tests of `rules`: each finding with its numbers, and none without.

use super::super::{ESTABLISHED, advise};
use super::*;
use crate::source::netlink::entries::Entries;

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
fn what_the_entries_are_is_told_where_it_matters() {
    let with = |peak: f64, seen: u32, unreplied: u32, evictable: u32| Evidence {
        entries: Some(Entries { seen, unreplied, evictable, silent: 0 }),
        ..evidence(peak, &[])
    };
    let finding = only(&with(2500.0, 1000, 700, 800));
    assert_eq!(finding.title, "most entries were never answered");
    assert_eq!(
        finding.evidence,
        "70 % of 1,000 entries that were looked at are unreplied, 80 % can be evicted, in a \
         table that is full to 62 %"
    );
    // In an empty table it does no harm, but is told.
    let finding = only(&with(400.0, 400, 280, 300));
    assert_eq!(finding.severity, Severity::Good);
    assert!(finding.evidence.contains(", 70 % of the entries unreplied, in 5.0 s"), "{finding:?}");
    // Too few to tell a share of.
    assert!(!only(&with(99.0, 99, 99, 99)).evidence.contains("unreplied"));
    let findings = advise(&with(3300.0, 1000, 20, 90));
    let titles: Vec<&str> = findings.iter().map(|finding| finding.title.as_str()).collect();
    assert_eq!(titles, ["the table is filling", "hardly any entry can be evicted"]);
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
        "sysctl -w net.netfilter.nf_conntrack_max=16384 or more (in the host's own namespace; some \
         6 MiB when full)",
        "room for the 5,480 that were turned away, too"
    );
    // Over hours only what stands there at once counts.
    let mut night = evidence(4000.0, &[("early_drop", 12e6)]);
    night.seconds = 36_000.0;
    assert!(only(&night).mend[0].contains("nf_conntrack_max=16384 "), "{night:?}");
    assert_eq!(only(&evidence(3300.0, &[])).severity, Severity::Warning);
    // Without probes the causes are not told apart; those of failed insertions are others.
    let counted = [("drop", 9.0), ("insert_failed", 2.0), ("clash_resolve", 0.0)];
    let findings = advise(&evidence(4000.0, &counted));
    assert!(findings[0].evidence.contains(", 7 packets dropped"), "{findings:?}");
    assert!(findings[1].evidence.starts_with("2 insertions failed"), "{findings:?}");
    // With probes a full table is no cause for drops of another.
    let counted = [("drop", 12.0), ("drop_table_full", 0.0), ("drop_clash", 12.0)];
    let findings = advise(&evidence(3840.0, &counted));
    let titles: Vec<&str> = findings.iter().map(|finding| finding.title.as_str()).collect();
    assert_eq!(titles, ["first packets race", "the table is filling"]);
    assert!(!findings[1].evidence.contains("dropped"), "{findings:?}");
}

#[test]
fn no_loss_is_called_healthy() {
    let finding = only(&evidence(1000.0, &[("drop", 7.0)]));
    assert_eq!(finding.severity, Severity::Problem);
    assert_eq!(finding.title, "packets are dropped, and nothing tells why");
    assert_eq!(finding.evidence, "7 in 5.0 s, the table full to 25 % at most");
    // Where not even the table's size is known.
    let mut bare = evidence(0.0, &[("early_drop", 3.0)]);
    (bare.peak, bare.max) = (None, None);
    assert_eq!(only(&bare).severity, Severity::Problem);
    assert_eq!(only(&bare).title, "something is lost");
}

#[test]
fn races_say_how_many_were_name_look_ups() {
    let mut some = evidence(100.0, &[("drop_clash", 12.0)]);
    some.ports = [(("clash", 53), 9), (("clash", 80), 1), (("evicted", 53), 5)].into();
    let finding = only(&some);
    assert!(finding.evidence.ends_with("9 of 10 that were looked at went to port 53"));
    assert!(finding.mend[0].contains("single-request-reopen"));
    some.ports = [(("clash", 80), 10), (("clash", 53), 1)].into();
    assert!(!only(&some).mend[0].contains("single-request"));
    some.ports.clear();
    assert!(only(&some).mend[0].starts_with("if these are name look-ups: they send A and AAAA"));
    // Before 5.10 the kernel counts those that it resolved among them.
    let finding = only(&evidence(100.0, &[("insert_failed", 5.0)]));
    assert_eq!(finding.severity, Severity::Warning);
    assert!(finding.evidence.contains("or were races that the kernel resolved"), "{finding:?}");
    let finding = only(&evidence(100.0, &[("insert_failed", 5.0), ("clash_resolve", 2.0)]));
    assert_eq!(finding.severity, Severity::Problem);
    // The kernel's own counter, less what has another cause.
    let failed = [("insert_failed", 5.0), ("chaintoolong", 5.0)];
    let findings = advise(&evidence(100.0, &failed));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].title, "hash chains are too long");
    assert!(!findings[0].mend[0].contains("buckets="), "there are as many as entries");
    let mut few = evidence(100.0, &failed);
    few.buckets = Some(2000.0);
    assert!(advise(&few)[0].mend[0].contains("nf_conntrack_buckets=4000 "), "{few:?}");
}

#[test]
fn buckets_and_timeouts_are_looked_at() {
    let mut few = evidence(100.0, &[]);
    few.buckets = Some(500.0);
    assert!(only(&few).evidence.starts_with("500 buckets for 4,000 entries: 8 for each"));
    let mut long = evidence(2500.0, &[]);
    long.timeouts.insert(ESTABLISHED.to_owned(), 432_000.0);
    long.netns = Some(Netns::Name("gw".to_owned()));
    assert_eq!(only(&long).severity, Severity::Good, "the default alone is no finding");
    long.entries = Some(Entries { seen: 1000, unreplied: 0, evictable: 200, silent: 340 });
    let finding = only(&long);
    assert_eq!(
        finding.evidence,
        "34 % of 1,000 entries that were looked at were silent for more than 2 hours and 4 minutes; \
         nf_conntrack_tcp_timeout_established is 432000 s (5.0 days), and the table was 62 % full"
    );
    // The setting is the namespace's own.
    assert!(
        finding.mend[0].starts_with("ip netns exec gw sysctl -w net.netfilter.nf_conntrack_tcp")
    );
    long.counted.insert("early_drop".to_owned(), 5.0);
    let whose = "ctpulse drops --netns gw --top cause,source,port shows whose entries fill it";
    assert!(advise(&long)[0].mend.iter().any(|mend| mend == whose), "{long:?}");
    long.counted.clear();
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
