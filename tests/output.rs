//! The real binary's outputs: files that are appended to or replaced, devices, errors that name
//! the file, and a terminal that hangs up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;
use std::time::Duration;

use support::{Running, ctpulse, fixture, output, roots, text};

#[test]
fn a_file_is_appended_to_and_csv_has_its_header_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.csv");
    for _ in 0..2 {
        let mut command = ctpulse();
        command.args(["--once", "--format", "csv", "--output"]).arg(&path);
        output(command.args(roots(&fixture("5.15"))));
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1 + 2 + 2);
    assert_eq!(text.matches("timestamp,").count(), 1);
}

#[test]
fn a_csv_file_of_another_kernel_goes_on_under_its_header() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.csv");
    let run = |name: &str, path: &Path| {
        let mut command = ctpulse();
        command.args(["--once", "--format", "csv", "--output"]).arg(path);
        command.args(roots(&fixture(name))).output().unwrap()
    };
    assert!(run("5.15", &path).status.success());
    let second = run("3.10-rhel7", &path);
    assert!(text(&second.stderr).contains("delete_list_rate"), "{}", text(&second.stderr));
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let found = reader.headers().unwrap().iter().position(|name| name == "found").unwrap();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!((&rows[0][found], &rows[2][found]), ("1588", "1084532850"));
    // And what is no such file is not touched.
    std::fs::write(&path, "dear diary\n").unwrap();
    let refused = run("5.15", &path);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("does not start with a CSV header"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear diary\n");
}

#[test]
fn a_prometheus_file_is_one_exposition_at_any_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ct.prom");
    let mut command = ctpulse();
    command.args(["--count", "3", "--interval", "20ms", "--format", "prometheus", "--output"]);
    output(command.arg(&path).args(roots(&fixture("5.15"))));
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("# TYPE conntrack_drop_total counter").count(), 1, "{text}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn only_an_exposition_or_nothing_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let run = |path: &Path| {
        let mut command = ctpulse();
        command.args(["--once", "--format", "prometheus", "--output"]).arg(path);
        command.args(roots(&fixture("5.15"))).output().unwrap()
    };
    // A device is written to, through a link too, and stays one.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    assert!(run(&link).status.success());
    let kind = std::fs::metadata("/dev/null").unwrap().file_type();
    assert!(std::os::unix::fs::FileTypeExt::is_char_device(&kind));
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    // Another file is left alone.
    let diary = dir.path().join("diary");
    std::fs::write(&diary, "dear diary\n").unwrap();
    assert_eq!(run(&diary).status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&diary).unwrap(), "dear diary\n");
    // An own one keeps its mode.
    let own = dir.path().join("own.prom");
    assert!(run(&own).status.success());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o604);
    std::fs::set_permissions(&own, mode).unwrap();
    assert!(run(&own).status.success());
    let mode = std::os::unix::fs::PermissionsExt::mode(&own.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o604);
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    for arguments in [
        vec!["--once", "--format", "influx", "--output", "/dev/full"],
        vec!["--once", "--format", "prometheus", "--output", "/nosuch/ct.prom"],
    ] {
        let found = ctpulse().args(&arguments).args(roots(&fixture("5.15"))).output().unwrap();
        let told = text(&found.stderr);
        assert_eq!(found.status.code(), Some(1), "{told}");
        assert!(told.contains(&format!("cannot write to {}", arguments[4])), "{told}");
    }
}

#[test]
fn nohup_is_respected() {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_ctpulse")]);
    command.args(["--interval", "20ms", "--format", "influx"]).args(roots(&fixture("5.15")));
    let mut running = Running::start(&mut command);
    assert!(running.line(Duration::from_secs(10)).is_some());
    running.signal(rustix::process::Signal::HUP);
    for _ in 0..20 {
        assert!(running.line(Duration::from_secs(10)).is_some());
    }
    running.signal(rustix::process::Signal::TERM);
    assert!(running.wait().0.success());
}
