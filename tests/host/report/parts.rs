//! Parts of one recording that come in another order than they were written in, with a reset among them.

use serde_json::Value;

use crate::recordings::truth::{Form, Row, Truth};
use crate::support::{ctpulse, output};

const PARTS: usize = 16;
const SECONDS: usize = 300;

/// A burst of drops long before the reset, so that this counter is low behind it.
fn truth(reset: usize) -> Truth {
    let truth = Truth::of(2, PARTS * SECONDS, |second, cpu| {
        let lost = if (100..150).contains(&second) { 3 } else { 0 };
        let late = u64::from(second > 4500);
        [lost, late, 3 + (second + cpu) as u64 % 4, lost, u64::from(second % 7 == 0), 0]
    });
    truth.with_reset(reset)
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
