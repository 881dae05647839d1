//! `--ebpf-invalid` where no probe is attached: the rows have a place, and no value.

use crate::support::{ctpulse, fixture, output, roots, text};

fn rows(arguments: &[&str]) -> String {
    let mut command = ctpulse();
    command
        .args(["--count", "1", "--interval", "50ms"])
        .args(arguments)
        .args(roots(&fixture("5.15")));
    text(&output(&mut command).stdout)
}

/// A file of CSV keeps its columns, and the probes may be attached later.
#[test]
fn csv_has_the_columns_of_reasons_before_there_is_a_reason() {
    let header = |arguments: &[&str]| {
        let text = rows(&[&["--format", "csv"], arguments].concat());
        text.lines().next().unwrap_or_default().to_owned()
    };
    let columns = |header: &str| {
        ["protocol", "reason", "packets", "packets_rate"]
            .map(|name| header.split(',').filter(|column| *column == name).count())
    };
    assert_eq!(columns(&header(&["--ebpf-invalid"])), [1; 4]);
    let [none, off] = [header(&[]), header(&["--ebpf-invalid", "--ebpf", "off"])];
    assert_eq!((columns(&none), none), ([0; 4], off));
    let compat = header(&["--ebpf-invalid", "--compat", "telegraf"]);
    assert_eq!(columns(&compat), [0; 4]);
}

#[test]
fn without_probes_no_packets_are_written() {
    for format in ["influx", "json", "prometheus", "table"] {
        let [with, without] = [&["--ebpf-invalid"][..], &[]];
        let rows = [with, without].map(|more| rows(&[&["--format", format], more].concat()));
        // The times differ.
        assert!(!rows[0].contains("unexplained"), "{format}: {}", rows[0]);
        assert_eq!(rows[0].lines().count(), rows[1].lines().count(), "{format}");
    }
}

#[test]
fn rows_of_reasons_without_a_place_are_a_warning() {
    let said = |arguments: &[&str]| {
        let mut command = ctpulse();
        command.args(["--once", "--ebpf-invalid"]).args(arguments).args(roots(&fixture("5.15")));
        text(&output(&mut command).stderr)
    };
    let warning = |why: &str| format!("warning: {why}: ebpf_invalid has no effect\n");
    assert!(said(&["--ebpf", "off"]).contains(&warning("ebpf is off")));
    assert!(said(&["--compat", "telegraf"]).contains(&warning("compat is telegraf")));
    assert!(!said(&[]).contains("no effect"));
}
