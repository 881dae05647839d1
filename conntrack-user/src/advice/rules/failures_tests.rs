//! Tests of the rules about failed insertions that are neither races nor NAT without a port.

use super::super::super::advise;
use super::super::tests::{evidence, only, text, titles};
use super::*;

/// The numbers of a kernel of 5.15 or later, with `more` from probes.
fn failing(failed: f64, dropped: f64, more: &[(&str, f64)]) -> Evidence {
    let counted = [
        ("insert_failed", failed),
        ("drop", dropped),
        ("clash_resolve", 0.0),
        ("chaintoolong", 0.0),
        ("found", 0.0),
    ];
    evidence(1000.0, &[&counted, more].concat())
}

/// 200 entries that died were "nothing is wrong" where the probes missed calls, and races without
/// probes.
#[test]
fn failures_that_are_not_in_drop_are_dying_entries() {
    let probes = [("drop_clash", 0.0), ("drop_nat_exhausted", 0.0), ("events_missed", 119.0)];
    for more in [&probes[..], &[]] {
        let found = &advise(&failing(200.0, 0.0, more))[0];
        assert_eq!(found.title, "entries die before they are inserted", "{found:?}");
        assert!(found.evidence.starts_with("200 packets lost in 5 s: insertions failed that drop"));
        assert_eq!(found.severity, Severity::Problem);
    }
    // As many as drop has may be races.
    let found = advise(&failing(200.0, 20.0, &[]));
    assert_eq!(found[0].title, "first packets race");
    assert!(found[0].evidence.starts_with("20 insertions failed, and their packets were lost"));
    assert!(found[1].evidence.starts_with("180 packets lost"), "{found:?}");
    // Of kernels from 5.15 on without that column it may be another cause.
    let mut without = failing(200.0, 0.0, &[("clash_resolve", 7.0)]);
    without.counted.remove("chaintoolong");
    let found = only(&without);
    assert_eq!(found.title, "entries die before they are inserted, or hash chains are too long");
    assert!(found.evidence.contains("; chaintoolong is not in the rows"), "{found:?}");
    // Long chains explain them.
    let chains = failing(200.0, 0.0, &[("chaintoolong", 200.0), ("drop_clash", 0.0)]);
    assert_eq!(titles(&chains), ["hash chains are too long"]);
    // Counted ones are said without a reason.
    let counted = only(&failing(9.0, 0.0, &[("drop_clash", 0.0), ("drop_dying", 9.0)]));
    assert_eq!(counted.evidence, "9 packets lost in 5 s");
}

#[test]
fn failures_that_no_probe_saw_are_not_left_out() {
    let found = advise(&failing(
        200.0,
        100.0,
        &[("drop_table_full", 100.0), ("drop_clash", 0.0), ("events_missed", 5.0)],
    ));
    let unknown = found
        .iter()
        .find(|finding| finding.title == "insertions fail, and the cause is not known")
        .unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(unknown.severity, Severity::Problem);
    assert!(unknown.evidence.starts_with("100 of insert_failed in 5 s are of no cause"));
    assert!(text(unknown).contains("; the probes missed calls"), "{unknown:?}");
    // Before 5.10 they may be races that were resolved.
    let mut old = failing(200.0, 0.0, &[("drop_clash", 0.0)]);
    old.counted.remove("clash_resolve");
    old.counted.remove("chaintoolong");
    assert_eq!(only(&old).severity, Severity::Unknown);
    old.host = Host::WithProbes;
    assert_eq!(advise(&old)[0].severity, Severity::Warning);
    // The probes count the others from 5.10 on, with some delay.
    let late = failing(200.0, 198.0, &[("drop_clash", 190.0), ("drop_dying", 0.0)]);
    assert!(!titles(&late).iter().any(|title| title.starts_with("insertions fail")), "{late:?}");
}
