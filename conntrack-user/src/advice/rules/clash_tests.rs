//! Tests of the rules about failed insertions: exhausted ports, races, and mixtures of both.

use super::super::super::advise;
use super::super::super::evidence::FoundForFailures;
use super::super::tests::{evidence, only, text};
use super::*;

/// Evidence of failures, and what each of them brought of `found`, with what error.
fn failed(failed: f64, found: f64, brought: Option<(f64, f64)>) -> Evidence {
    let counted = [
        ("drop", failed),
        ("insert_failed", failed),
        ("clash_resolve", 0.0),
        ("chaintoolong", 0.0),
        ("found", found),
    ];
    let mut evidence = evidence(1000.0, &counted);
    evidence.found_for_failures =
        FoundForFailures { rows: 5, lowest: 0.0, brought, background: 0.0 };
    evidence
}

/// Numbers of `found` for each failure as they were measured with 100 ports, and in races.
#[test]
fn exhausted_ports_are_distinguished_from_races() {
    let exhausted = only(&failed(150.0, 15_000.0, Some((100.0, 100.0))));
    assert_eq!(exhausted.title, "NAT runs out of ports");
    assert_eq!(exhausted.severity, Severity::Problem);
    assert_eq!(
        exhausted.evidence,
        "150 insertions failed, and their packets were lost in 5 s; NAT found 15,000 ports taken, \
         100 for each: at least 40.3% are exhausted ports (the failures brought 100 each beyond what \
         rows with few or none show, and a search that fails tries up to 248), and all of them if a \
         range of about 100 ports is exhausted; otherwise the rest are races (which find none taken)"
    );
    for remedy in ["more source addresses", "wider range of ports", "shorter timeouts", "fewer"] {
        assert!(text(&exhausted).contains(remedy), "{exhausted:?}");
    }
    assert!(text(&exhausted).contains("races:"), "up to 59.7% may be some: {exhausted:?}");
    let wide = only(&failed(150.0, 37_200.0, Some((248.0, 248.0))));
    assert_eq!(wide.title, "NAT runs out of ports");
    let nearly = only(&failed(150.0, 37_000.0, Some((240.0, 246.0))));
    assert!(nearly.evidence.contains("at least 96.8% are"), "{nearly:?}");
    assert!(!text(&nearly).contains("-> races"), "{nearly:?}");
    let crowded = only(&failed(10.0, 45_000.0, Some((2000.0, 6000.0))));
    assert!(crowded.evidence.contains("searches that succeeded"), "{crowded:?}");
    let race = only(&failed(300.0, 42.0, Some((0.1, 0.2))));
    assert_eq!(race.title, "first packets race");
    assert!(text(&race).contains("fully-random") && !text(&race).contains("NAT ports:"));
    // One port: a mixture or a range of one.
    let one = only(&failed(20.0, 20.0, Some((1.0, 1.0))));
    assert_eq!(one.title, "NAT runs out of ports, and first packets may race");
    let some = only(&failed(100.0, 50.0, Some((0.5, 0.5))));
    assert_eq!(some.title, "first packets race, and NAT may run out of ports");
    assert!(some.evidence.contains("at most 50.0% are exhausted ports"), "{some:?}");
    for finding in [exhausted, one, some, crowded] {
        assert!(!text(&finding).contains("random"), "no cure for ports that ran out: {finding:?}");
    }
}

/// Where both are counted, `found` decides nothing: neither the much of it beside races, nor the little
/// of it beside exhaustion.
#[test]
fn counted_causes_need_no_conclusion() {
    let counted = |exhausted: f64, races: f64, found: f64| {
        let drop = exhausted + races;
        let mut evidence = failed(drop, found, Some((found / drop, found / drop)));
        for (name, count) in [("drop_nat_exhausted", exhausted), ("drop_clash", races)] {
            evidence.counted.insert(name.to_owned(), count);
        }
        evidence
    };
    let finding = |exhausted, races, found| only(&counted(exhausted, races, found));
    let what = "packets lost before their entry was inserted in 5 s";
    let exhausted = finding(150.0, 0.0, 20.0);
    assert_eq!(exhausted.title, "NAT runs out of ports");
    assert_eq!(exhausted.evidence, format!("150 {what}: no port was free for any of them"));
    let whose = "--top nat,destination,port shows the address whose ports run out";
    assert!(text(&exhausted).contains(whose), "{exhausted:?}");
    assert!(!text(&exhausted).contains("-> races") && !text(&exhausted).contains("random"));
    let race = finding(0.0, 12.0, 3000.0);
    assert_eq!(race.title, "first packets race");
    assert_eq!(race.evidence, format!("12 {what}: all of them lost a race"));
    assert!(text(&race).contains("fully-random") && !text(&race).contains("NAT ports"));
    let both = finding(150.0, 1.0, 15_000.0);
    assert_eq!(both.title, "NAT runs out of ports, and first packets race");
    let numbers = "no port was free for 150 of them, and 1 lost a race";
    assert_eq!(both.evidence, format!("151 {what}: {numbers}"));
    assert!(text(&both).contains("NAT ports:") && text(&both).contains("races:"), "{both:?}");
    assert!(!text(&both).contains("random"), "{both:?}");
    // Neither of them: no finding, though `found` has grown.
    assert_eq!(only(&counted(0.0, 0.0, 100.0)).severity, Severity::Good);
    // Fields that are filtered out.
    let mut alone = counted(150.0, 5.0, 9.0);
    alone.counted.remove("drop_clash");
    assert!(only(&alone).evidence.ends_with(numbers.replace(" 1 ", " 5 ").as_str()));
    alone.counted.remove("insert_failed");
    alone.counted.insert("drop".to_owned(), 150.0);
    assert_eq!(advise(&alone)[0].title, "NAT runs out of ports");
}

/// One failure of ten is an exhausted range: 24.8 ports for each, which was advised as exhaustion
/// alone.
#[test]
fn a_mixture_has_a_share_and_the_remedies_of_both() {
    let mixed = only(&failed(990.0, 24_552.0, Some((24.8, 24.8))));
    assert_eq!(mixed.title, "NAT runs out of ports, and first packets may race");
    assert!(mixed.evidence.contains("at least 10.0% are exhausted ports"), "{mixed:?}");
    assert!(text(&mixed).contains("NAT ports:") && text(&mixed).contains("races:"), "{mixed:?}");
}

/// 4,460 races behind a busy NAT were "at least 78.0% are exhausted ports": both followed the load.
#[test]
fn many_races_that_were_resolved_leave_the_cause_open() {
    let mut races = failed(4460.0, 900_000.0, Some((193.0, 200.0)));
    assert_eq!(only(&races).title, "NAT runs out of ports");
    races.counted.insert("clash_resolve".to_owned(), 87_775.0);
    // Ports that run out bring all of them.
    assert_eq!(only(&races).title, "NAT runs out of ports");
    races.found_for_failures.background = 60_000.0;
    let races = only(&races);
    assert_eq!(races.title, "first packets race, or NAT runs out of ports");
    assert!(!races.evidence.contains("at least"), "{races:?}");
}

/// Searches that succeed find taken ports, whether insertions fail or not.
#[test]
fn ports_found_by_successful_searches_are_not_counted_for_failures() {
    let mut races = failed(119.0, 119_918.0, Some((0.0, 1.4)));
    races.found_for_failures.background = 23_980.0;
    let finding = only(&races);
    assert_eq!(finding.title, "first packets race, and NAT may run out of ports");
    let numbers = "1,008 for each (23,980 a second without failures, too): rows with few \
                   failures or none show as many, so the failures brought at most 1.40 each";
    assert!(finding.evidence.contains(numbers), "{finding:?}");
    assert!(text(&finding).contains("fully-random"), "{finding:?}");
    // Telegraf's rows do not have it.
    let mut without = races.clone();
    without.counted.remove("chaintoolong");
    assert!(only(&without).evidence.contains("; chaintoolong is not in the rows"), "{without:?}");
    // Other races are known to have happened, by ctpulse's name or by Telegraf's.
    for counter in ["clash_resolve", "searched"] {
        races.counted.insert("clash_resolve".to_owned(), 0.0);
        races.counted.insert(counter.to_owned(), 2443.0);
        let finding = only(&races);
        assert_eq!(finding.title, "first packets race", "{counter}");
        assert!(finding.evidence.ends_with("the kernel resolved 2,443 other races"), "{finding:?}");
    }
    // The background varies too much to know.
    let vague = only(&failed(119.0, 119_918.0, Some((0.0, 90.0))));
    assert_eq!(vague.title, "first packets race, or NAT runs out of ports");
    // All rows are the same, so there is nothing to compare.
    for (found, resolved, title) in [
        (2392.0, 897.0, "first packets race, or NAT runs out of ports"),
        (2392.0, 0.0, "first packets race, or NAT runs out of ports"),
        (29_900.0, 0.0, "NAT runs out of ports, or first packets race"),
        (29_900.0, 897.0, "first packets race, or NAT runs out of ports"),
        (299_000.0, 0.0, "first packets race, or NAT runs out of ports"),
    ] {
        let mut even = failed(299.0, found, None);
        even.counted.insert("clash_resolve".to_owned(), resolved);
        let finding = only(&even);
        assert_eq!(finding.title, title, "{finding:?}");
        assert!(finding.evidence.contains("the rows do not show how many"), "{finding:?}");
        assert!(text(&finding).contains("NAT ports:") && text(&finding).contains("races:"));
    }
}

/// It was found twice, once for certain and once in doubt.
#[test]
fn a_finding_with_another_title_without_what_is_in_doubt_is_one() {
    let mut evidence = failed(483.0, 300.0, Some((0.5, 0.6)));
    assert_eq!(only(&evidence).title, "first packets race, and NAT may run out of ports");
    evidence.doubts.reasons = vec!["a reset".to_owned()];
    for name in ["drop", "insert_failed", "found"] {
        evidence.doubts.events.insert(name.to_owned(), 4.0);
    }
    let finding = only(&evidence);
    assert_eq!(finding.title, "first packets race, or NAT runs out of ports");
    assert_eq!(finding.severity, Severity::Problem);
    let text = &finding.evidence;
    assert!(text.starts_with("483 ") && text.contains("in doubt. Without that: 479 "), "{text}");
}

/// Telegraf's recording of eight ports that ran out: 8.1 for each failure, in every row.
#[test]
fn a_small_range_differs_from_a_mixture_by_its_constant_number() {
    let mut eight = failed(452.0, 3661.0, Some((8.0, 8.1)));
    let mixed = "NAT runs out of ports, and first packets may race";
    assert_eq!(only(&eight).title, mixed);
    eight.found_for_failures.lowest = 8.0;
    let finding = only(&eight);
    assert_eq!(finding.title, "NAT runs out of ports");
    assert!(finding.evidence.contains("a range of about 8 ports is exhausted"), "{finding:?}");
    assert!(!text(&finding).contains("-> races") && !text(&finding).contains("random"));
    // Races in one of the rows, too few rows, and races that the kernel resolved.
    eight.found_for_failures.lowest = 4.0;
    assert_eq!(only(&eight).title, mixed);
    (eight.found_for_failures.lowest, eight.found_for_failures.rows) = (8.0, 2);
    assert_eq!(only(&eight).title, mixed);
    eight.found_for_failures.rows = 16;
    eight.counted.insert("clash_resolve".to_owned(), 3.0);
    assert_eq!(only(&eight).title, mixed);
}

/// Up to 4.8 and with `ebpf_per_packet` it counts lookups of packets.
#[test]
fn found_is_used_only_where_it_counts_taken_ports() {
    let failed = [("drop", 9.0), ("insert_failed", 9.0), ("found", 9e6)];
    let title = |more: &[(&str, f64)]| {
        let mut evidence = evidence(100.0, &[&failed[..], more].concat());
        evidence.found_for_failures.brought = Some((1e6, 1e6));
        only(&evidence).title
    };
    let unknown = "first packets race, or NAT runs out of ports";
    let crowded = "NAT runs out of ports, and first packets may race";
    assert_eq!(title(&[]), crowded);
    assert_eq!(title(&[("searched", 5.0), ("new", 5.0)]), unknown);
    assert_eq!(title(&[("drop_tracker", 0.0)]), unknown);
    // Telegraf reads clash_resolve as `searched`, and `new` is 0 there.
    assert_eq!(title(&[("searched", 5.0), ("new", 0.0)]), crowded);
    // The probes' count of lost packets, and the same rule.
    let clash = [("drop", 9.0), ("drop_clash", 9.0), ("new", 5.0), ("found", 900.0)];
    let mut clash = evidence(100.0, &clash);
    clash.found_for_failures.brought = Some((100.0, 100.0));
    assert_eq!(only(&clash).title, "NAT runs out of ports");
}

#[test]
fn races_report_the_share_of_name_lookups() {
    let mut some = evidence(100.0, &[("drop_clash", 12.0), ("found", 0.0)]);
    some.ports = [(("clash", 53), 9), (("clash", 80), 1), (("evicted", 53), 5)].into();
    let finding = only(&some);
    assert!(finding.evidence.ends_with("; 9 of 10 that were reported went to port 53"));
    assert!(finding.remedies[0].contains("single-request-reopen"));
    some.ports = [(("clash", 80), 10), (("clash", 53), 1)].into();
    assert!(!only(&some).remedies[0].contains("single-request"));
    some.ports.clear();
    assert!(
        only(&some).remedies[0].starts_with("races: if these are name lookups: they send A and")
    );
    // Before 5.10 the kernel counts those that it resolved among them, and not in `drop`.
    let mut resolved = evidence(100.0, &[("insert_failed", 5.0), ("drop", 0.0), ("found", 0.0)]);
    resolved.host = Host::WithProbes;
    let finding = only(&resolved);
    assert_eq!(finding.severity, Severity::Warning);
    assert!(finding.evidence.contains("perhaps races that the kernel resolved"), "{finding:?}");
    // The rows of a recording do not show the release.
    resolved.host = Host::Recorded;
    assert_eq!(only(&resolved).severity, Severity::Unknown);
    // Kernels up to 4.8 alone count both.
    let old = [("insert_failed", 5.0), ("searched", 9.0), ("new", 9.0)];
    let finding = only(&Evidence { host: Host::Recorded, ..evidence(100.0, &old) });
    assert!(finding.evidence.contains("lost up to Linux 4.6 and are not in drop"), "{finding:?}");
    let lost = [("insert_failed", 5.0), ("clash_resolve", 2.0), ("found", 0.0)];
    assert_eq!(only(&evidence(100.0, &lost)).severity, Severity::Problem);
    let lost = [("insert_failed", 5.0), ("drop", 5.0), ("found", 0.0)];
    assert_eq!(only(&evidence(100.0, &lost)).severity, Severity::Problem);
    // The kernel's own counter, less what has another cause.
    let failed = [("insert_failed", 5.0), ("chaintoolong", 5.0)];
    let finding = only(&evidence(100.0, &failed));
    assert_eq!(finding.title, "hash chains are too long");
    assert!(!finding.remedies[0].contains("buckets="), "there are as many as entries");
    let mut few = evidence(100.0, &failed);
    few.buckets = Some(2000.0);
    assert!(advise(&few)[0].remedies[0].contains("nf_conntrack_buckets=4000 "), "{few:?}");
    few.max = Some(0.0);
    assert!(!advise(&few)[0].remedies[0].contains("buckets="), "no limit is no number of buckets");
}
