//! Recording: killed at any moment, taken up again, rotated, compressed, on a full disk.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Running, ctpulse, fixture, not_run_here, output, roots, text};
use serde_json::Value;

/// `run` on a fixture, a row each `interval`, recorded to `path`.
fn recorder(path: &Path, interval: &str) -> Command {
    let mut command = ctpulse();
    command.args(["run", "--interval", interval, "--format", "influx", "--output"]).arg(path);
    command.args(roots(&fixture("5.15")));
    command
}

fn report(path: &Path) -> Value {
    let mut command = ctpulse();
    let found = output(command.args(["report", "--format", "json"]).arg(path));
    serde_json::from_slice(&found.stdout).unwrap()
}

/// Starts `command`, and kills it at a random moment after its first row.
fn kill_at_random(command: &mut Command, path: &Path, random: &mut fastrand::Rng) {
    let before = path.metadata().map_or(0, |metadata| metadata.len());
    let mut running = Running::start_unread(command);
    while path.metadata().map_or(0, |metadata| metadata.len()) <= before {
        assert!(running.child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_micros(random.u64(0..30_000)));
    running.child.kill().unwrap();
    running.child.wait().unwrap();
}

#[test]
fn a_recording_has_complete_rows_after_repeated_kills() {
    let mut random = fastrand::Rng::with_seed(4);
    for name in ["fw.influx", "fw.influx.zst"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let mut rows = 0;
        for round in 0..15 {
            kill_at_random(&mut recorder(&path, "1ms"), &path, &mut random);
            let report = report(&path);
            let read = &report["recording"];
            // At most the last record is missing, and this is reported.
            assert!(read["bad_lines"].as_u64().unwrap() <= 1, "{name}: {read}");
            assert_eq!(read["unreadable"].as_array().unwrap().len(), 0, "{name}: {read}");
            let now = read["rows"].as_u64().unwrap();
            assert!(now > rows, "{name}, round {round}: {now} rows after {rows}");
            rows = now;
        }
        // A last run ends properly, and takes what was torn away.
        output(recorder(&path, "1ms").args(["--count", "3"]));
        let report = report(&path);
        assert_eq!(report["recording"]["bad_lines"], 0, "{report}");
        assert_eq!(report["recording"]["unfinished"].as_array().unwrap().len(), 0);
        assert!(report["recording"]["rows"].as_u64() >= Some(rows + 6));
        assert!(report["sources"][0]["gaps"]["restarts"].as_u64() >= Some(10), "{report}");
    }
}

#[test]
fn an_incomplete_record_is_removed_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fw.influx");
    output(recorder(&path, "1ms").args(["--count", "2"]));
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    let found = output(recorder(&path, "1ms").args(["--count", "1"]));
    let printed = text(&found.stderr);
    assert!(printed.contains("fw.influx ended within a record"), "{printed}");
    assert_eq!(report(&path)["recording"]["bad_lines"], 0);
    // What is no recording is left alone.
    std::fs::write(&path, "dear diary\n").unwrap();
    let refused = recorder(&path, "1ms").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("was not changed: it is not a recording ("),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear diary\n");
}

/// A file of `node_exporter`'s begins with a comment, which line protocol may do as well.
#[test]
fn prometheus_text_is_left_alone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let before =
        "# HELP conntrack_entries x\n# TYPE conntrack_entries gauge\nconntrack_entries 1\n";
    std::fs::write(file.path(), before).unwrap();
    let refused = recorder(file.path(), "100ms").args(["--count", "1"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("was not changed: it is not a recording ("),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), before);
}

#[test]
fn a_recording_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fw.influx");
    let running = Running::start_unread(&mut recorder(&path, "10ms"));
    while !path.is_file() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let second = recorder(&path, "10ms").args(["--count", "1"]).output().unwrap();
    assert!(text(&second.stderr).contains("is written by another process"));
    assert_eq!(second.status.code(), Some(1));
    drop(running);
    // The lock went with its owner, who was killed.
    assert!(recorder(&path, "10ms").args(["--count", "1"]).status().unwrap().success());
}

#[test]
fn a_csv_file_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fw.csv");
    let csv = |path: &Path| {
        let mut command = ctpulse();
        command.args(["--interval", "10ms", "--format", "csv", "--output"]).arg(path);
        command.args(roots(&fixture("5.15")));
        command
    };
    let running = Running::start_unread(&mut csv(&path));
    while path.metadata().map_or(0, |metadata| metadata.len()) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let second = csv(&path).args(["--count", "1"]).output().unwrap();
    assert!(text(&second.stderr).contains("is written by another process"));
    assert_eq!(second.status.code(), Some(1));
    drop(running);
    // A device has as many as like.
    let null = Path::new("/dev/null");
    let _running = Running::start_unread(&mut csv(null));
    assert!(csv(null).args(["--count", "3"]).status().unwrap().success());
}

#[test]
fn rotated_files_are_one_recording() {
    let dir = tempfile::tempdir().unwrap();
    for (name, size, most) in [("fw.influx", "20K", 20 << 10), ("fw.influx.zst", "4K", 5 << 10)] {
        let path = dir.path().join(name);
        let mut command = recorder(&path, "1ms");
        output(command.args(["--count", "600", "--rotate", size, "--keep", "3"]));
        let report = report(&path);
        let files = report["recording"]["files"].as_array().unwrap();
        assert!(files.len() > 1 && files.len() <= 4, "{report}");
        for file in files {
            let length = Path::new(file.as_str().unwrap()).metadata().unwrap().len();
            assert!(length <= most, "{file}: {length}");
        }
        assert_eq!(report["recording"]["bad_lines"], 0);
        assert_eq!(report["sources"][0]["gaps"]["restarts"], 0);
        assert_eq!(report["sources"][0]["gaps"]["backwards"], 0);
    }
}

#[test]
fn compressed_is_smaller_and_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fw.influx.zst");
    output(recorder(&path, "1ms").args(["--count", "300"]));
    let found = report(&path);
    assert_eq!(found["sources"][0]["emissions"], 300);
    let (bytes, length) =
        (found["recording"]["bytes"].as_u64().unwrap(), path.metadata().unwrap().len());
    assert!(length * 4 < bytes, "{length} of {bytes}");
}

#[test]
fn only_line_protocol_and_json_are_recorded() {
    for arguments in [
        ["--format", "csv", "--output", "x.csv", "--rotate", "1M"],
        ["--format", "table", "--output", "x.zst", "--interval", "1s"],
        ["--format", "influx", "--output", "x", "--rotate", "1Q"],
        ["--format", "influx", "--interval", "1s", "--rotate", "1M"],
    ] {
        let found = ctpulse().args(arguments).output().unwrap();
        assert_eq!(found.status.code(), Some(2), "{arguments:?}: {}", text(&found.stderr));
    }
}

#[test]
fn a_full_device_is_reported_and_sampling_continues() {
    let mut command = recorder(Path::new("/dev/full"), "10ms");
    let found = command.args(["--count", "20", "--stats"]).output().unwrap();
    let printed = text(&found.stderr);
    assert!(printed.contains("warning: cannot write to /dev/full: No space left"), "{printed}");
    // The consequence does not fit into the first line.
    assert!(printed.lines().all(|line| line.chars().count() <= 100), "{printed}");
    assert!(printed.contains("\nctpulse:   rows are lost until there is room\n"), "{printed}");
    assert!(printed.contains("20 emissions found no room"), "{printed}");
    assert_eq!(found.status.code(), Some(1));
}

#[test]
fn a_full_disk_loses_whole_rows_and_the_recording_goes_on_when_there_is_room() {
    let name = "a_full_disk_loses_whole_rows_and_the_recording_goes_on_when_there_is_room";
    let dir = tempfile::tempdir().unwrap();
    let Some(_disk) = Disk::mount(dir.path(), name) else { return };
    for name in ["fw.influx", "fw.influx.zst"] {
        let ballast = dir.path().join("ballast");
        std::fs::write(&ballast, vec![1; 30 << 10]).unwrap();
        let path = dir.path().join(name);
        let log = tempfile::NamedTempFile::new().unwrap();
        let printed = || std::fs::read_to_string(log.path()).unwrap();
        let until = |what: &str| {
            for _ in 0..10_000 {
                if printed().contains(what) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            panic!("{name}: not printed that {what}: {}", printed());
        };
        let mut command = recorder(&path, "1ms");
        command.stderr(log.reopen().unwrap());
        let mut running = Running::start_unread(&mut command);
        until("No space left on device");
        std::thread::sleep(Duration::from_millis(50));
        std::fs::remove_file(&ballast).unwrap();
        until("can be written again");
        // It may be full again by now; in the end that is an error.
        running.signal(rustix::process::Signal::TERM);
        running.wait();
        let report = report(&path);
        let read = &report["recording"];
        assert_eq!(read["bad_lines"], 0, "{name}: {read}");
        assert_eq!(read["unreadable"].as_array().unwrap().len(), 0, "{name}: {read}");
        assert!(report["sources"][0]["losses"]["rows_lost"].as_f64() > Some(0.0), "{report}");
        std::fs::remove_file(&path).unwrap();
    }
}

/// A file system of 64 KiB.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path, test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            not_run_here(test, "it needs root to mount a tmpfs");
            return None;
        }
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(at).output();
        let mounted = mounted.unwrap();
        assert!(mounted.status.success(), "{}", text(&mounted.stderr));
        Some(Self(at))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}
