//! Tests of the rules: each finding with its numbers, and none without.

use std::collections::BTreeMap;

use super::super::evidence::{Holders, Host, Samples};
use super::super::{ESTABLISHED, advise};
use super::*;
use crate::report::InvalidWindow;
use crate::schema::field::Raises;
use crate::schema::fields;
use crate::settings::Netns;
use crate::source::netlink::entries::Entries;

pub(super) fn evidence(peak: f64, counted: &[(&str, f64)]) -> Evidence {
    let mut all =
        ["drop", "early_drop", "insert_failed", "invalid"].map(|name| (name, 0.0)).to_vec();
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

pub(super) fn only(evidence: &Evidence) -> Finding {
    let findings = advise(evidence);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.into_iter().next().unwrap()
}

pub(super) fn titles(evidence: &Evidence) -> Vec<String> {
    advise(evidence).into_iter().map(|finding| finding.title).collect()
}

pub(super) fn text(finding: &Finding) -> String {
    format!("{}\n{}\n{}", finding.title, finding.evidence, finding.remedies.join("\n"))
}

#[test]
fn a_healthy_table_is_good_with_its_numbers() {
    let finding = only(&evidence(1000.0, &[("invalid", 4.0)]));
    assert_eq!(finding.severity, Severity::Good);
    assert_eq!(
        finding.evidence,
        "at most 1,000 of 4,000 entries (25.0%), drop 0, early_drop 0, insert_failed 0, invalid 4, \
         in 5 s"
    );
    assert!(finding.remedies.is_empty());
    let mut unread = evidence(1000.0, &[]);
    unread.entries_unread = Some("missing CAP_NET_ADMIN".to_owned());
    assert!(only(&unread).evidence.ends_with("answers are not judged: missing CAP_NET_ADMIN"));
}

/// Nothing is concluded from numbers that are not there.
#[test]
fn without_statistics_that_span_the_time_it_is_unknown() {
    let mut bare = evidence(1000.0, &[]);
    bare.counted.clear();
    let finding = only(&bare);
    assert_eq!(finding.severity, Severity::Unknown);
    assert!(finding.evidence.starts_with("there are no statistics"), "{finding:?}");
    let mut one = evidence(1000.0, &[]);
    one.seconds = 0.0;
    assert_eq!(only(&one).severity, Severity::Unknown);
    assert!(only(&one).evidence.starts_with("there is one reading only"), "{:?}", only(&one));
    for missing in ["drop", "early_drop", "insert_failed", "invalid"] {
        let mut some = evidence(1000.0, &[]);
        some.counted.remove(missing);
        assert_eq!(only(&some).severity, Severity::Unknown, "{missing}");
        let reason = format!("no row has {missing}, so nothing is known of what it counts");
        assert!(only(&some).evidence.starts_with(&reason), "{some:?}");
    }
    let mut torn = evidence(1000.0, &[]);
    torn.unknown = vec!["7 rows could not be paired".to_owned(), "a line is torn".to_owned()];
    assert_eq!(only(&torn).evidence, "7 rows could not be paired; a line is torn (in 5 s)");
    // The fill is known all the same, and a loss is worse than what is unknown.
    bare.peak = Some(3900.0);
    let severities = |evidence: &Evidence| -> Vec<_> {
        advise(evidence).iter().map(|finding| finding.severity).collect()
    };
    assert_eq!(severities(&bare), [Severity::Unknown, Severity::Warning]);
    torn.counted.insert("chaintoolong".to_owned(), 3.0);
    assert_eq!(severities(&torn), [Severity::Problem, Severity::Unknown]);
}

#[test]
fn missed_samples_are_reported_beside_the_result() {
    let mut missed = evidence(1000.0, &[]);
    missed.samples = Some(Samples { missed: 100.0, due: Some(500.0) });
    assert_eq!(titles(&missed), ["samples were missed", "nothing is wrong"]);
    assert!(advise(&missed)[0].evidence.starts_with("100 (20.0%) in 5 s"), "{missed:?}");
    missed.samples = Some(Samples { missed: 49.0, due: Some(500.0) });
    assert_eq!(titles(&missed), ["nothing is wrong"]);
    missed.samples = Some(Samples { missed: 4.0, due: None });
    assert_eq!(titles(&missed), ["nothing is wrong"]);
    missed.samples = Some(Samples { missed: 5.0, due: None });
    assert_eq!(titles(&missed), ["samples were missed", "nothing is wrong"]);
    // The causes that need all calls are absent then.
    let causes = [("drop", 9.0), ("drop_table_full", 2.0), ("events_missed", 3.0)];
    let findings = advise(&evidence(1000.0, &causes));
    assert_eq!(findings[0].title, "the table is too small");
    assert_eq!(findings[1].title, "packets are dropped, and the cause is not known");
    assert_eq!(
        findings[1].evidence,
        "7 in 5 s, the table full to 25.0% at most in any sample, and full in between"
    );
    assert_eq!(findings[2].title, "the probes missed calls");
}

/// Every cause of the catalog, alone: the kernel's own counter has the same packets where it
/// counts that cause, so nothing is left over for another rule.
#[test]
fn a_drop_of_any_cause_is_a_problem() {
    for field in fields::causes() {
        let cause = field.cause.unwrap();
        let count = |counter: Raises| if cause.raises.includes(counter) { 9.0 } else { 0.0 };
        let mut counted = vec![
            ("drop", count(Raises::Drop)),
            ("insert_failed", count(Raises::InsertFailed)),
            (field.name, 9.0),
        ];
        counted.extend(field.copy_of.map(|original| (original, 9.0)));
        let mut of_unknown_size = evidence(1000.0, &counted);
        (of_unknown_size.max, of_unknown_size.buckets) = (None, None);
        for evidence in [evidence(1000.0, &counted), of_unknown_size] {
            let findings = advise(&evidence);
            assert_eq!(findings[0].severity, Severity::Problem, "{}: {findings:#?}", field.name);
            assert!(findings[0].evidence.contains('9'), "{}: {findings:#?}", field.name);
        }
    }
}

/// A failed insertion, a table that was full for a moment or causes that contradict the kernel's
/// counter took drops out of every rule, and the exit code was 0.
#[test]
fn a_drop_is_a_problem_whatever_the_other_counters_are() {
    let mut random = fastrand::Rng::with_seed(1);
    let names: Vec<_> = fields::causes()
        .map(|field| field.name)
        .chain(["insert_failed", "chaintoolong", "clash_resolve", "early_drop", "found", "new"])
        .collect();
    for _ in 0..2000 {
        let mut counted = vec![("drop", random.u32(1..100).into())];
        for name in &names {
            match random.u8(0..4) {
                0 => counted.push((*name, random.u32(1..100).into())),
                1 => counted.push((*name, 0.0)),
                _ => {}
            }
        }
        let peak = [100.0, 4000.0][random.usize(0..2)];
        let findings = advise(&evidence(peak, &counted));
        assert_eq!(findings[0].severity, Severity::Problem, "{counted:?}: {findings:#?}");
    }
    for (failed, peak) in [(300.0, 4000.0), (400.0, 100.0), (0.0, 4000.0)] {
        let counted = [("drop", 300.0), ("insert_failed", failed), ("found", 0.0)];
        let findings = advise(&evidence(peak, &counted));
        assert_eq!(findings[0].severity, Severity::Problem, "{findings:#?}");
        assert!(findings[0].evidence.contains("300"), "{findings:#?}");
    }
}

#[test]
fn unanswered_entries_are_a_finding_at_any_fill() {
    let with = |peak: f64, seen: u32, unreplied: u32, evictable: u32| Evidence {
        entries: Some(Entries { seen, unreplied, evictable, silent: 0 }),
        ..evidence(peak, &[])
    };
    let finding = only(&with(2500.0, 1000, 700, 800));
    assert_eq!(finding.title, "most entries were never answered");
    assert_eq!(
        finding.evidence,
        "70.0% of 1,000 entries that were read are unreplied, 80.0% can be evicted, in a table that \
         is full to 62.5%"
    );
    assert_eq!(only(&with(400.0, 400, 400, 400)).title, "most entries were never answered");
    let mut unlimited = with(400.0, 400, 400, 400);
    unlimited.max = Some(0.0);
    assert_eq!(only(&unlimited).title, "most entries were never answered");
    // An ordinary mix, and too few to judge.
    let finding = only(&with(400.0, 400, 199, 300));
    assert!(finding.evidence.contains(", 49.8% of the entries unreplied, in 5 s"), "{finding:?}");
    assert!(!only(&with(49.0, 49, 49, 49)).evidence.contains("unreplied"));
}

#[test]
fn a_table_of_assured_entries_is_a_finding_beside_a_scan_too() {
    let with = |unreplied: u32, evictable: u32| Evidence {
        entries: Some(Entries { seen: 2000, unreplied, evictable, silent: 0 }),
        ..evidence(3300.0, &[])
    };
    assert_eq!(titles(&with(20, 90)), ["the table is filling", "hardly any entry can be evicted"]);
    // 1,700 idle connections, and a scan in the rest of the table.
    let findings = advise(&with(300, 300));
    assert_eq!(findings[1].title, "most entries cannot be evicted");
    assert!(findings[1].evidence.starts_with("85.0% of 2,000 entries that were read are assured"));
    assert_eq!(titles(&with(300, 1001)), ["the table is filling"]);
}

#[test]
fn an_idle_table_is_not_reported_as_healthy() {
    let finding = only(&evidence(0.0, &[]));
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(finding.title, "no tracked traffic in 5 s");
    let mut still = evidence(0.0, &[]);
    still.is_any_above_zero = Some(false);
    assert_eq!(only(&still).title, "nothing is tracked here");
    assert!(text(&only(&still)).contains("only where a firewall rule asks"), "{still:?}");
    // An idle minute of a gateway that tracks.
    still.is_any_above_zero = Some(true);
    assert_eq!(only(&still).title, "no tracked traffic in 5 s");
    assert!(!text(&only(&still)).contains("only where a firewall rule asks"), "{still:?}");
    // One that is full now and then, between two samples.
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
        "at most 4,000 of 4,000 entries (100%), 3,500 packets dropped, 1,980 entries evicted \
         (12 of the drops although entries could have been evicted: the kernel searches 8 buckets \
         only) in 5 s"
    );
    assert_eq!(
        finding.remedies[0],
        "sysctl -w net.netfilter.nf_conntrack_max=16384 or more (in the host's own namespace; some \
         6 MiB when full)",
        "room for the 5,480 that were turned away, too"
    );
    // Over hours only what stands there at once counts.
    let mut night = evidence(4000.0, &[("early_drop", 12e6)]);
    night.seconds = 36_000.0;
    assert!(only(&night).remedies[0].contains("nf_conntrack_max=16384 "), "{night:?}");
    assert_eq!(only(&evidence(3300.0, &[])).severity, Severity::Warning);
    // Without probes the causes are not distinguished; those of failed insertions are others.
    let counted = [("drop", 9.0), ("insert_failed", 2.0), ("clash_resolve", 0.0)];
    let findings = advise(&evidence(4000.0, &counted));
    assert!(findings[0].evidence.contains(", 7 packets dropped"), "{findings:?}");
    assert!(findings[1].evidence.starts_with("2 insertions failed"), "{findings:?}");
    // With probes a full table is no cause for drops of another.
    let counted = [("drop", 12.0), ("drop_table_full", 0.0), ("drop_clash", 12.0), ("found", 0.0)];
    let findings = advise(&evidence(3840.0, &counted));
    let titles: Vec<&str> = findings.iter().map(|finding| finding.title.as_str()).collect();
    assert_eq!(titles, ["first packets race", "the table is filling"]);
    assert!(!findings[1].evidence.contains("dropped"), "{findings:?}");
}

#[test]
fn evictions_by_the_collector_and_refused_creations_show_a_full_table() {
    let finding = only(&evidence(3900.0, &[("gc_early_drop", 43.0)]));
    assert_eq!(finding.severity, Severity::Problem);
    assert!(finding.evidence.contains(", 43 entries evicted by the garbage collector in"));
    let finding = only(&evidence(4000.0, &[("create_table_full", 1000.0)]));
    assert_eq!(finding.severity, Severity::Problem);
    assert!(finding.evidence.contains(", 1,000 entries of other programs"), "{finding:?}");
    assert!(!finding.evidence.contains("packets dropped"), "{finding:?}");
}

/// Sources that are turned away are not those that fill the table.
#[test]
fn holders_of_entries_are_counted_separately_from_refused_sources() {
    let mut full = evidence(4000.0, &[("drop_table_full", 5.0)]);
    full.host = Host::WithProbes;
    full.netns = Netns::Name("gw".to_owned());
    let remedies = only(&full).remedies;
    let holders = "the sources that hold most entries: ip netns exec gw conntrack -L 2>/dev/null | sed -n \
                   's/.* src=\\([^ ]*\\) dst=\\([^ ]*\\).* src=.*/\\1/p' | sort | uniq -c | sort -rn | \
                   head (conntrack-tools; it dumps the whole table";
    assert!(remedies.iter().any(|remedy| remedy.starts_with(holders)), "{remedies:?}");
    full.holders = Some(Holders {
        sources: vec![("10.0.0.7".to_owned(), 0.87), ("10.0.0.8".to_owned(), 0.05)],
        destinations: Vec::new(),
    });
    let holders = "the sources that hold most entries: 10.0.0.7 (87.0%), 10.0.0.8 (5.0%); ctpulse top \
                   --netns gw --by source,port shows more";
    let by_census = &only(&full).remedies;
    assert!(by_census.iter().any(|remedy| remedy == holders), "{by_census:?}");
    let refused = "ctpulse drops --netns gw --top cause,source,port shows who is turned away or \
                   evicted";
    assert!(remedies.iter().any(|remedy| remedy == refused), "{remedies:?}");
}

#[test]
fn commands_that_cannot_run_on_the_host_are_not_proposed() {
    let all = [
        ("drop", 30.0),
        ("drop_table_full", 5.0),
        ("drop_clash", 5.0),
        ("chaintoolong", 5.0),
        ("drop_other", 5.0),
        ("found", 0.0),
    ];
    let mut evidence = evidence(4000.0, &all);
    let naming = |evidence: &Evidence| {
        let remedies = advise(evidence).into_iter().flat_map(|finding| finding.remedies);
        remedies.filter(|remedy| remedy.contains("ctpulse drops")).collect::<Vec<String>>()
    };
    evidence.host = Host::WithoutProbes("missing CAP_BPF".to_owned());
    assert_eq!(naming(&evidence), Vec::<String>::new());
    assert!(advise(&evidence).iter().any(|finding| text(finding).contains("missing CAP_BPF")));
    evidence.host = Host::Recorded;
    let named = naming(&evidence);
    assert_eq!(named.len(), 4, "{named:?}");
    assert!(
        named.iter().all(|remedy| remedy.contains("where probes can be attached")),
        "{named:?}"
    );
    evidence.host = Host::WithProbes;
    assert_eq!(naming(&evidence).len(), 4);
}

#[test]
fn every_loss_is_a_finding() {
    let finding = only(&evidence(1000.0, &[("drop", 7.0)]));
    assert_eq!(finding.severity, Severity::Problem);
    assert_eq!(finding.title, "packets are dropped, and the cause is not known");
    assert_eq!(finding.evidence, "7 in 5 s, the table full to 25.0% at most");
    // Where not even the table's size is known.
    let mut bare = evidence(0.0, &[("early_drop", 3.0)]);
    (bare.peak, bare.max) = (None, None);
    assert_eq!(only(&bare).severity, Severity::Problem);
    assert_eq!(only(&bare).title, "entries are evicted, and the table's size is not known");
}

/// 400 a second gave "nothing is wrong".
#[test]
fn invalid_packets_are_a_finding_from_a_rate_and_a_share_on() {
    let invalid = |invalid: f64, more: &[(&str, f64)]| {
        only(&evidence(1000.0, &[&[("invalid", invalid)], more].concat()))
    };
    let finding = invalid(2000.0, &[]);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(finding.title, "packets are INVALID");
    assert!(finding.evidence.starts_with("2,000 in 5 s, 400 a second: "), "{finding:?}");
    for step in ["nf_conntrack_log_invalid", "ct state invalid", "asymmetric", "tcp_be_liberal"] {
        assert!(text(&finding).contains(step), "{step}: {finding:?}");
    }
    assert_eq!(invalid(10.0, &[]).severity, Severity::Warning);
    assert_eq!(invalid(9.0, &[]).severity, Severity::Good);
    // Where new connections are counted, a scan's few among many are none.
    assert_eq!(invalid(99.0, &[("new", 100_000.0)]).severity, Severity::Good);
    let finding = invalid(100.0, &[("new", 100_000.0)]);
    assert!(finding.evidence.contains(", 0.1% of the new connections: "), "{finding:?}");
    // Per second of a long recording.
    let mut night = evidence(1000.0, &[("invalid", 35_999.0)]);
    night.seconds = 36_000.0;
    assert_eq!(only(&night).severity, Severity::Good);
    // But not in one minute of it.
    night.invalid = Some(InvalidWindow { seconds: 60.0, packets: 24_000.0, new: None });
    let finding = only(&night);
    assert_eq!(finding.title, "packets are INVALID");
    let worst = "35,999 in 10 h, 1.00 a second; at worst 24,000 in 1 min, 400 a second: ";
    assert!(finding.evidence.starts_with(worst), "{finding:?}");
}

#[test]
fn invalid_packets_have_the_remedies_of_their_reasons() {
    let mut evidence = evidence(1000.0, &[("invalid", 2000.0)]);
    evidence.netns = Netns::Name("gw".to_owned());
    let command = "ctpulse drops --netns gw --invalid";
    let has = |evidence: &Evidence, part: &str| text(&only(evidence)).contains(part);
    for host in [Host::WithProbes, Host::WithoutProbes("missing CAP_BPF".to_owned())] {
        evidence.host = host;
        assert!(!has(&evidence, command) && has(&evidence, "log_invalid"), "{:?}", evidence.host);
    }
    evidence.host = Host::Recorded;
    let there = format!("where probes can be attached, {command} shows");
    assert!(has(&evidence, &there) && has(&evidence, "log_invalid"));

    evidence.host = Host::WithProbes;
    let reasons = [("checksum", 500), ("tcp_window_seq_high", 1500)];
    evidence.reasons = Some(reasons.map(|(name, packets)| (name.to_owned(), packets)).into());
    let finding = only(&evidence);
    let named = "; the reasons: tcp_window_seq_high 75.0%, checksum 25.0%";
    assert!(finding.evidence.ends_with(named), "{finding:?}");
    for part in [&format!("{command} shows")[..], "tcp_be_liberal", "nf_conntrack_checksum=0"] {
        assert!(has(&evidence, part), "{part}: {finding:?}");
    }
    for part in ["asymmetric", "log_invalid"] {
        assert!(!has(&evidence, part), "{part}: {finding:?}");
    }
    // Many packets without a reason: any is possible.
    for (unexplained, is_possible) in [(100, false), (400, true)] {
        evidence.reasons.as_mut().unwrap().insert("unexplained".to_owned(), unexplained);
        assert_eq!(has(&evidence, "asymmetric"), is_possible, "{unexplained}");
    }
    // The kernel has no text for these packets, so any reason is possible.
    evidence.reasons = Some(BTreeMap::new());
    assert!(has(&evidence, "asymmetric") && has(&evidence, "tcp_be_liberal"));
}

/// A name from a recording was printed as a part of a command for root.
#[test]
fn commands_quote_the_names_of_recordings() {
    let mut named = evidence(4000.0, &[("drop_table_full", 5.0), ("invalid", 99.0)]);
    named.netns = Netns::Name("x;reboot$(id)".to_owned());
    let all: Vec<String> = advise(&named).iter().map(text).collect();
    let all = all.join("\n");
    assert!(all.contains("ip netns exec 'x;reboot$(id)' sysctl -w"), "{all}");
    assert!(all.contains("ctpulse drops --netns 'x;reboot$(id)' --top"), "{all}");
    assert!(!all.replace("'x;reboot$(id)'", "").contains("reboot"), "{all}");
}

/// 52 million a second: a table of 819,200 MiB was advised, and one of 2^63 entries.
#[test]
fn a_flood_does_not_propose_a_table_larger_than_memory() {
    for (events, seconds) in [(3e9, 60.0), (1.2e19, 60.0), (3e9, 36_000.0)] {
        let mut flood = evidence(262_144.0, &[("early_drop", events / 20.0), ("drop", events)]);
        (flood.max, flood.buckets, flood.seconds) = (Some(262_144.0), Some(262_144.0), seconds);
        flood.busiest.insert("drop".to_owned(), 5e7);
        let finding = advise(&flood).remove(0);
        assert_eq!(finding.title, "the table is too small");
        assert!(finding.remedies[0].starts_with("a flood: "), "{finding:?}");
        assert!(!text(&finding).contains("nf_conntrack_max="), "{finding:?}");
        assert!(!text(&finding).contains("nf_conntrack_buckets="), "{finding:?}");
    }
    // A large table that grows, and one at the limit of an `int`.
    let mut large = evidence(1.7e9, &[("early_drop", 5.0)]);
    (large.max, large.buckets) = (Some(1.7e9), Some(8e6));
    assert!(advise(&large)[0].remedies[0].contains("nf_conntrack_max=2147483647 or more"));
    large.max = Some(2_147_483_647.0);
    (large.peak, large.buckets) = (large.max, Some(4e9));
    assert!(only(&large).remedies[0].starts_with("nf_conntrack_max cannot be larger"));
    // The worst ten seconds of a night count, not its average.
    let mut night = evidence(4000.0, &[("early_drop", 30_000.0)]);
    night.seconds = 36_000.0;
    night.busiest.insert("early_drop".to_owned(), 1000.0);
    assert!(only(&night).remedies[0].contains("nf_conntrack_max=65536 "), "{night:?}");
}

/// Few of either are no finding, but a part of the result.
#[test]
fn missing_data_is_part_of_a_good_result() {
    let mut some = evidence(1000.0, &[]);
    some.samples = Some(Samples { missed: 3.0, due: Some(500.0) });
    some.missing = (12, 300);
    let finding = only(&some);
    assert_eq!(finding.severity, Severity::Good);
    let end = "; 3 samples were missed, so peaks may have been higher; 12 of 300 emissions are \
               missing, and how full the table was then";
    assert!(finding.evidence.ends_with(end), "{finding:?}");
}

#[test]
fn buckets_and_timeouts_are_judged() {
    let mut few = evidence(100.0, &[]);
    few.buckets = Some(500.0);
    assert!(only(&few).evidence.starts_with("500 buckets for 4,000 entries: 8 for each"));
    let mut long = evidence(2500.0, &[]);
    long.timeouts.insert(ESTABLISHED.to_owned(), 432_000.0);
    long.netns = Netns::Name("gw".to_owned());
    assert_eq!(only(&long).severity, Severity::Good, "the default alone is no finding");
    long.entries = Some(Entries { seen: 1000, unreplied: 0, evictable: 200, silent: 340 });
    let finding = only(&long);
    assert_eq!(
        finding.evidence,
        "34.0% of 1,000 entries that were read were silent for more than 2 hours and 4 minutes; \
         nf_conntrack_tcp_timeout_established is 432000 s (5.0 days), and the table was 62.5% full"
    );
    // The setting is the namespace's own.
    assert!(
        finding.remedies[0]
            .starts_with("ip netns exec gw sysctl -w net.netfilter.nf_conntrack_tcp")
    );
    long.peak = Some(100.0);
    assert_eq!(only(&long).severity, Severity::Good);
}

/// From 5.4 on flushing or deleting entries takes away those in the table only.
#[test]
fn dying_entries_are_not_attributed_to_a_flush() {
    let finding = only(&evidence(100.0, &[("drop_dying", 1.0), ("insert_failed", 1.0)]));
    assert_eq!(finding.title, "entries die before they are inserted");
    assert!(!text(&finding).contains("conntrack -"), "{finding:?}");
}

#[test]
fn findings_are_ordered_by_severity() {
    let mut all = evidence(3500.0, &[("drop_dying", 1.0), ("drop_other", 2.0)]);
    all.buckets = Some(100.0);
    let severities: Vec<_> = advise(&all).iter().map(|finding| finding.severity).collect();
    assert!(severities.is_sorted_by(|a, b| a >= b), "{severities:?}");
    assert_eq!(severities.len(), 4);
}
