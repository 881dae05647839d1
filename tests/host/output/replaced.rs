//! Outputs that other programs replace: their directory, their content, or the name itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::output::{Log, Writer, csv_rows, length, recorded, until};
use crate::support::{self, Running, ctpulse, fixture, output, roots, text};

/// Landlock allows the directory of the start, not another one of the same name: all rows went into
/// a file without a name, with one warning of another reason and with success.
#[test]
fn rows_lost_with_a_removed_directory_are_an_error() {
    for (name, format) in [
        ("f.influx", "influx"),
        ("f.influx.zst", "influx"),
        ("f.csv", "csv"),
        ("a.prom", "prometheus"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("dd");
        let path = directory.join(name);
        fs::create_dir(&directory).unwrap();
        let start =
            |options: &[&str]| Writer::start(&path, &[&["--format", format][..], options].concat());
        let mut writer = start(&[]);
        writer.until("the directory is removed", || fs::remove_dir_all(&directory).is_ok());
        let lost = "rows are lost until it can be written again";
        writer.until_logged(&format!("there is no directory {}; {lost}", directory.display()));
        fs::create_dir(&directory).unwrap();
        writer.until("rows again, or the reason", || {
            length(&path) > 0
                || writer.log().contains("restart ctpulse, or run it with --confine off")
        });
        let is_written = length(&path) > 0; // a kernel without Landlock
        writer.running.signal(Signal::TERM);
        let status = writer.running.wait().0;
        assert_eq!(status.success(), is_written, "{name}: {}", writer.log());
        let lost = writer.log().matches(" emissions lost").count();
        assert_eq!(lost > 0, !is_written, "{name}: {}", writer.log());
        // A run that is not confined makes a new file.
        fs::remove_dir_all(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
        let writer = start(&["--confine", "off"]);
        writer.until("the directory is removed", || fs::remove_dir_all(&directory).is_ok());
        writer.until_logged("there is no directory");
        fs::create_dir(&directory).unwrap();
        writer.until("rows in a new file", || length(&path) > 0);
        writer.end();
    }
}

/// `zstd -q > FILE` and the like: what is longer than what was written was not noticed.
#[test]
fn content_that_another_program_replaced_is_continued_in_its_own_format() {
    for (name, format) in [("f.influx", "influx"), ("f.influx.zst", "influx"), ("f.csv", "csv")] {
        let dir = tempfile::tempdir().unwrap();
        let rows = |path: &Path| if format == "csv" { csv_rows(path) } else { recorded(path) };
        // Longer than the run below ever gets.
        let other = dir.path().join(format!("other-{name}"));
        let mut command = ctpulse();
        command.args(["--count", "400", "--interval", "2ms", "--sample-interval", "2ms"]);
        command.args(["--collect", "all,percpu", "--format", format, "--output"]).arg(&other);
        output(command.args(roots(&fixture("5.15"))));
        let (path, before) = (dir.path().join(name), rows(&other));
        let writer = Writer::start(&path, &["--format", format]);
        // In place and at once, so that no row comes between the truncation and the text.
        let text = fs::read(&other).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &text, 0).unwrap();
        writer.until_logged("was overwritten by another program; rows follow its text");
        let length_then = length(&path);
        writer.until("rows", || length(&path) > length_then);
        writer.end();
        assert!(rows(&path) > before, "{name}");
    }
}

/// Foreign content is not touched; rows are written again once the file is removed.
#[test]
fn content_of_another_kind_is_kept_and_does_not_end_the_run() {
    let dir = tempfile::tempdir().unwrap();
    for (name, format) in [("f.influx", "influx"), ("f.influx.zst", "influx"), ("f.csv", "csv")] {
        let path = dir.path().join(name);
        let writer = Writer::start(&path, &["--format", format]);
        let diary = "dear diary\n".repeat(100_000);
        let file = fs::File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, diary.as_bytes(), 0).unwrap();
        writer.until_logged("it was overwritten by another program, and cannot be begun again: ");
        writer.until_logged("rows are lost until it can be written again");
        assert_eq!(fs::read_to_string(&path).unwrap(), diary, "{name}");
        fs::remove_file(&path).unwrap();
        writer.until_logged(&format!("{name} can be written again"));
        writer.end();
        assert!(if format == "csv" { csv_rows(&path) } else { recorded(&path) } > 0, "{name}");
    }
}

/// A file that another one replaces by rename(2) has no name any more, either.
#[test]
fn rows_are_not_written_to_a_file_without_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let (path, diary) = (dir.path().join("f.influx"), dir.path().join("diary"));
    let mut writer = Writer::start(&path, &["--format", "influx"]);
    fs::write(&diary, "dear diary\n").unwrap();
    fs::rename(&diary, &path).unwrap();
    writer.until_logged("it was removed, and cannot be begun again: ");
    writer.running.signal(Signal::TERM);
    assert_eq!(writer.running.wait().0.code(), Some(1), "{}", writer.log());
    assert_eq!(fs::read_to_string(&path).unwrap(), "dear diary\n");
}

/// The open file cannot be followed to its new name: without a bound that was an endless loop.
#[test]
fn a_moved_and_truncated_file_ends_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let (path, aside) = (dir.path().join("f.influx"), dir.path().join("aside"));
    let mut writer = Writer::start(&path, &["--format", "influx"]);
    // In one step, so that no new file is begun in between.
    fs::create_dir(&aside).unwrap();
    let exchange = rustix::fs::RenameFlags::EXCHANGE;
    rustix::fs::renameat_with(rustix::fs::CWD, &path, rustix::fs::CWD, &aside, exchange).unwrap();
    writer.until_logged("rows go on into the old file");
    fs::File::options().write(true).open(&aside).unwrap().set_len(0).unwrap();
    writer.until_logged("it is truncated while it is written; rows are lost");
    writer.running.signal(Signal::TERM);
    assert_eq!(writer.running.wait().0.code(), Some(1), "{}", writer.log());
}

#[test]
fn what_keeps_a_recording_from_rotation_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("f");
    fs::create_dir(dir.path().join("f.1")).unwrap();
    let mut command = ctpulse();
    command.args(["--count", "200", "--interval", "2ms", "--sample-interval", "2ms"]);
    command.args(["--format", "influx", "--rotate", "4K", "--keep", "1", "--confine", "off"]);
    command.arg("--output").arg(&recording).args(roots(&fixture("5.15")));
    let stderr = text(&output(&mut command).stderr);
    assert_eq!(stderr.matches("f.1 cannot be made: it is a directory").count(), 1, "{stderr}");
    assert_eq!(fs::read_to_string(&recording).unwrap().matches("cpu=all").count(), 200);
}

/// A file that a container's engine mounts by itself cannot be put aside (EBUSY).
#[test]
fn a_recording_that_cannot_be_rotated_is_continued() {
    let test = "a_recording_that_cannot_be_rotated_is_continued";
    if !support::may_make_namespaces(test) {
        return;
    }
    for name in ["f.influx", "f.influx.zst"] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("m")).unwrap();
        fs::write(dir.path().join("source"), "").unwrap();
        fs::write(dir.path().join("m").join(name), "").unwrap();
        // The file of an earlier rotation keeps its name.
        let aside = dir.path().join(format!("m/{name}.1"));
        fs::write(&aside, "aside").unwrap();
        let script = format!("mount --bind source m/{name} && exec \"$@\"");
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "sh", "-c", &script, "sh"]).arg(support::binary());
        shell.args(["--count", "200", "--interval", "2ms", "--sample-interval", "2ms"]);
        shell.args(["--format", "influx", "--rotate", "4K", "--keep", "2"]);
        shell.args(["--output", &format!("m/{name}")]).args(roots(&fixture("5.15")));
        let found = output(shell.current_dir(dir.path()));
        let stderr = text(&found.stderr);
        assert_eq!(stderr.matches("cannot rotate").count(), 1, "{stderr}");
        assert!(stderr.contains("it may be mounted by itself"), "{stderr}");
        let source = dir.path().join(format!("source-{name}"));
        fs::rename(dir.path().join("source"), &source).unwrap();
        assert!(recorded(&source) >= 200);
        assert!(length(&source) > 4096 || name.ends_with("zst"));
        assert_eq!(fs::read_to_string(&aside).unwrap(), "aside");
        assert_eq!(fs::read_dir(dir.path().join("m")).unwrap().count(), 2);
    }
}

/// A link to the current file, which another program changes.
#[test]
fn sighup_follows_a_link_that_was_changed() {
    for (name, format) in [
        ("o.influx", "influx"),
        ("o.influx.zst", "influx"),
        ("o.csv", "csv"),
        ("o.prom", "prometheus"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a").join(name), dir.path().join("b").join(name));
        for path in [&a, &b] {
            fs::create_dir(path.parent().unwrap()).unwrap();
        }
        let link = dir.path().join(name);
        let lead_to = |target: &Path| {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(target, &link).unwrap();
        };
        lead_to(&a);
        let writer = Writer::start(&link, &["--format", format, "--confine", "off"]);
        let hang_up = || writer.running.signal(Signal::HUP);
        lead_to(&b);
        hang_up();
        writer.until("rows in the other file", || length(&b) > 0);
        if format != "prometheus" {
            // The file that is written, under another name.
            let moved = a.with_file_name("moved");
            fs::rename(&b, &moved).unwrap();
            lead_to(&moved);
            hang_up();
            writer.until_logged("which is the same file");
            let before = length(&moved);
            writer.until("more rows", || length(&moved) > before);
            fs::rename(&moved, &b).unwrap();
            lead_to(&b);
            hang_up();
            writer.until_logged(&format!("leads to {} now, which is the same file", b.display()));
        }
        // A file that cannot be opened leaves the old one.
        lead_to(&dir.path().join("nosuch").join(name));
        hang_up();
        writer.until_logged(&format!("rows go on into {}", b.display()));
        let before = b.metadata().unwrap().modified().unwrap();
        writer.until("more rows", || b.metadata().unwrap().modified().unwrap() > before);
        writer.end();
        for path in [&a, &b] {
            match format {
                "influx" => assert!(recorded(path) > 0, "{name}"),
                "csv" => assert!(csv_rows(path) > 0, "{name}"),
                _ => assert!(length(path) > 0, "{name}"),
            }
        }
    }
}

/// A file that a shell opened has no name here, but its truncation (logrotate's `copytruncate`) can be
/// seen.
#[test]
fn a_truncated_standard_output_gets_its_header_again() {
    for (redirection, output) in [(">>", "-"), (">", "-"), (">>", "/dev/stdout")] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.csv");
        let mut shell = Command::new("sh");
        let script = format!("exec \"$@\" {redirection}f.csv");
        shell.args(["-c", &script, "sh"]).arg(support::binary());
        shell.args(["--interval", "20ms", "--format", "csv", "--output", output]);
        shell.args(roots(&fixture("5.15"))).current_dir(dir.path());
        support::with_default_signals(&mut shell);
        let log = Log::of(&mut shell);
        let mut running = Running::start_unread(&mut shell);
        until("rows", || length(&path) > 2000);
        running.signal(Signal::HUP);
        log.wait_for("standard output is a file without a name, so it is not reopened");
        fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        log.wait_for("standard output was truncated; it is begun again");
        until("rows again", || length(&path) > 2000);
        running.signal(Signal::TERM);
        assert!(running.wait().0.success());
        assert!(csv_rows(&path) > 0);
    }
}
