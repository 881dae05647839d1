//! An input that writes no row gives the reason once, and one that does says nothing.

use std::fs;

use crate::support::{ctpulse, fixture, roots, text};

#[test]
fn an_input_that_never_writes_a_row_gives_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.conf");
    for (keys, expected) in [
        ("files = ['nf_nosuch']", "nothing is written: nothing that it collects is there"),
        ("namepass = ['cpu']", "its filters (namepass, fieldexclude, tagpass ...) leave no row"),
        ("fieldexclude = ['*']", "leave no row"),
        // The row of the program's own figures is none of the table.
        ("internal = true\nnamepass = ['internal_*']", "leave no row"),
        ("collect = ['all']\n[inputs.conntrack.tagpass]\ncpu = ['cpu9']", "leave no row"),
        // Rates come with the second row.
        ("collect = ['all']\nfieldinclude = ['*_rate']", ""),
        ("", ""),
    ] {
        fs::write(&path, format!("[[inputs.conntrack]]\ninterval = '20ms'\n{keys}\n")).unwrap();
        let mut command = ctpulse();
        command.args(["--count", "5", "--format", "influx", "--config"]).arg(&path);
        let printed = text(&command.args(roots(&fixture("5.15"))).output().unwrap().stderr);
        let times = printed.matches("nothing is written: ").count();
        assert_eq!(times, usize::from(!expected.is_empty()), "{keys}: {printed}");
        assert!(printed.contains(expected), "{keys}: {printed}");
    }
}
