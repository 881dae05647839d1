//! Parts of one recording that come in another order than they were written in, with a reset among them.

use ctpulse::report::{Report, SourceReport};
use serde_json::Value;

use super::forms::{report_of, totals};
use crate::recordings::truth::{Form, Kind, ONLY_ALL, ONLY_CPUS, Row, Truth};
use crate::support::{ctpulse, output};

const PARTS: usize = 16;
const SECONDS: usize = 300;

fn source(rows: &[Row]) -> SourceReport {
    let Report { mut sources, .. } = report_of(&Form::Lines.write(rows));
    assert_eq!(sources.len(), 1);
    sources.remove(0)
}

/// A burst of drops long before the reset, so that this counter is low behind it.
fn truth(reset: usize) -> Truth {
    let truth = Truth::of(2, PARTS * SECONDS, |second, cpu| {
        let lost = if (100..150).contains(&second) { 3 } else { 0 };
        let late = u64::from(second > 4500);
        [lost, late, 3 + (second + cpu) as u64 % 4, lost, u64::from(second % 7 == 0), 0]
    });
    truth.with_reset(reset)
}

/// The parts in the order of a shell's `x.*`, from the last to the first, and others.
fn orders() -> Vec<(&'static str, Vec<usize>)> {
    let reversed = (0..PARTS).rev().collect();
    let mut by_name: Vec<usize> = (0..PARTS).collect();
    by_name.sort_by_key(usize::to_string);
    let halves = (PARTS / 2..PARTS).chain(0..PARTS / 2).collect();
    let even_first = (0..PARTS).step_by(2).chain((1..PARTS).step_by(2)).collect();
    let mut orders = vec![
        ("reversed", reversed),
        ("by name", by_name),
        ("halves", halves),
        ("even", even_first),
    ];
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..4 {
        let mut shuffled: Vec<usize> = (0..PARTS).collect();
        random.shuffle(&mut shuffled);
        orders.push(("shuffled", shuffled));
    }
    orders
}

/// What a counter did at the beginning of a part was concluded from rows that were no neighbours:
/// 1,670 packets were INVALID, and not 1,143.
#[test]
fn a_reset_among_parts_in_another_order_changes_no_total() {
    let whole: Kind = |_| true;
    let kinds = [("whole", whole), ("all", ONLY_ALL), ("CPUs", ONLY_CPUS)];
    // Within a part, with the first row of one, and with the second.
    for reset in [2250, 2100, 2101] {
        let truth = truth(reset);
        let rows = truth.rows(0);
        for (kind, keep) in kinds {
            for (which, order) in orders() {
                let part = |part: &usize| {
                    let of_part = |row: &&Row| row.second() as usize / SECONDS == *part;
                    rows.iter().filter(of_part).filter(|row| keep(row)).cloned().collect::<Vec<_>>()
                };
                let found = source(&order.iter().flat_map(part).collect::<Vec<_>>());
                let what = format!("{kind} {which} {reset} {order:?}: {:?}", found.unknown);
                assert_eq!(totals(&found), truth.totals(), "{what}");
                assert_eq!(found.gaps.resets, 1, "{what}");
                let is_wrong =
                    |said: &String| said.contains("went back") || said.contains("in 1 gap");
                assert!(!found.unknown.iter().any(is_wrong), "{what}");
            }
        }
    }
}

/// `report --merge fw.influx*` read each rotated part twice.
#[test]
fn a_part_that_is_named_beside_its_recording_is_read_once() {
    let truth = truth(2250);
    let directory = tempfile::tempdir().unwrap();
    let names = ["fw.influx", "fw.influx.1", "fw.influx.2"].map(|name| directory.path().join(name));
    for (name, seconds) in names.iter().zip([3000..4800, 1500..3000, 0..1500]) {
        let rows: Vec<_> =
            truth.rows(0).into_iter().filter(|row| seconds.contains(&row.second())).collect();
        std::fs::write(name, Form::Lines.write(&rows)).unwrap();
    }
    let mut command = ctpulse();
    command.args(["report", "--merge", "--format", "json"]).args(&names);
    let found: Value = serde_json::from_slice(&output(&mut command).stdout).unwrap();
    assert_eq!(found["recording"]["files"].as_array().unwrap().len(), 3);
    assert_eq!(found["recording"]["rows"], 4 * 4800);
    assert_eq!(found["sources"][0]["unknown"], serde_json::json!([]));
}
