//! An input that writes no row gives the reason once, and one that does says nothing.

use std::fs;

use crate::support::{copy_of, ctpulse, roots, text};

#[test]
fn an_input_that_never_writes_a_row_gives_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.conf");
    let root = copy_of("5.15");
    let bad = root.path().join("proc/sys/net/netfilter/nf_conntrack_bad");
    fs::write(bad, "abc").unwrap();
    for (keys, expected) in [
        ("files = ['nf_nosuch']", "nothing is written: nothing that it collects is there"),
        ("namepass = ['cpu']", "its filters (namepass, fieldexclude, tagpass ...) leave no row"),
        ("fieldexclude = ['*']", "leave no row"),
        // The row of the program's own figures is none of the table.
        ("internal = true\nnamepass = ['internal_*']", "leave no row"),
        ("collect = ['all']\n[inputs.conntrack.tagpass]\ncpu = ['cpu9']", "leave no row"),
        // Another warning is not the reason.
        ("files = ['nf_conntrack_count', 'nf_conntrack_bad']\nnamepass = ['cpu']", "leave no row"),
        // Rates come with the second row.
        ("collect = ['all']\nfieldinclude = ['*_rate']", ""),
        ("", ""),
    ] {
        fs::write(&path, format!("[[inputs.conntrack]]\ninterval = '20ms'\n{keys}\n")).unwrap();
        let mut command = ctpulse();
        command.args(["--count", "5", "--format", "influx", "--config"]).arg(&path);
        let printed = text(&command.args(roots(root.path())).output().unwrap().stderr);
        let times = printed.matches("nothing is written: ").count();
        assert_eq!(times, usize::from(!expected.is_empty()), "{keys}: {printed}");
        assert!(printed.contains(expected), "{keys}: {printed}");
    }
}
