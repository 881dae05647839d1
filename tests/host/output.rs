//! The real binary's outputs: files that are appended to or replaced, devices, errors that name
//! the file, and a terminal that hangs up.

mod fifo;
mod refused;
mod replaced;
mod silent;
mod textfile;

use std::path::Path;
use std::time::Duration;

use crate::support::{Running, ctpulse, fixture, output, roots, text};

/// A line of a textfile of an earlier run.
const OLD_METRIC: &str =
    "# HELP conntrack_x Kernel value x, which ctpulse has no description of.\n";

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
    let unnamed = ctpulse().args(["--once", "--output", "/nosuch/ct.influx"]).output().unwrap();
    assert!(text(&unnamed.stderr).contains("there is no directory /nosuch"));
    let directory = ctpulse().args(["--once", "--output", "/"]).output().unwrap();
    assert!(text(&directory.stderr).contains("cannot write to /: it is a directory"));
}

/// Public reports: `--output /dev/stdout` and bash's `>(command)` were "a link to nothing".
#[test]
fn every_kind_of_output_file_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("/dev/stdout", &link).unwrap();
    let dangling = dir.path().join("dangling");
    std::os::unix::fs::symlink("rows", &dangling).unwrap();
    let run = |script: &str| {
        let mut shell = std::process::Command::new("bash");
        shell
            .args(["-c", script, "bash"])
            .arg(crate::support::binary())
            .args(["--once", "--format"]);
        shell.arg("influx").args(roots(&fixture("5.15"))).current_dir(dir.path());
        shell.env("LINK", &link).stdin(std::process::Stdio::null());
        let found = output(&mut shell);
        let rows = |text: &str| text.matches("cpu=all").count();
        (rows(&text(&found.stdout)), rows(&text(&found.stderr)))
    };
    for (script, to_stdout, to_stderr) in [
        ("\"$@\" --output -", 1, 0),
        ("\"$@\" --output /dev/stdout", 1, 0),
        ("\"$@\" --output /dev/stdout | cat", 1, 0),
        ("\"$@\" --output \"$LINK\" | cat", 1, 0),
        ("\"$@\" --output /dev/stderr", 0, 1),
        ("\"$@\" --output /dev/fd/1 | cat", 1, 0),
        ("\"$@\" --output /proc/self/fd/5 5>&2", 0, 1),
        // Of another process, as a container's /proc/1/fd/1.
        ("exec 5>&2; \"$@\" --output /proc/$$/fd/5; :", 0, 1),
        (
            "sleep 60 | cat & reader=$!; \"$@\" --output /proc/$(jobs -p)/fd/1; kill $(jobs -p)",
            1,
            0,
        ),
        // The command may end after bash does.
        ("\"$@\" --output >(cat >&2; :) && wait $!", 0, 1),
        ("\"$@\" --output dangling && cat rows", 1, 0),
        ("\"$@\" --output dangling --format csv >/dev/null 2>&1; cat rows", 1, 0),
    ] {
        assert_eq!(run(script), (to_stdout, to_stderr), "{script}");
    }
    assert!(file.is_file());
    let closed = ctpulse().args(["--once", "--output", "/dev/fd/77"]).output().unwrap();
    assert!(text(&closed.stderr).contains("cannot write to /dev/fd/77: descriptor 77 is not open"));
    let closed = ctpulse().args(["--once", "--output", "/dev/fd/99999999999"]).output().unwrap();
    assert!(text(&closed.stderr).contains("cannot write to /dev/fd/99999999999: it is not open"));
}

/// A file that reaches the limit of its size is full: the signal ended the run within a record.
#[test]
fn a_limit_of_the_size_of_files_ends_no_run() {
    let dir = tempfile::tempdir().unwrap();
    let script = "ulimit -f 8; exec \"$@\"";
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", script, "bash"]).arg(crate::support::binary());
    shell.args(["--count", "200", "--interval", "10ms", "--sample-interval", "10ms"]);
    shell.args(["--format", "influx", "--output", "rows.influx"]).current_dir(dir.path());
    let found = shell.args(roots(&fixture("5.15"))).output().unwrap();
    let (printed, rows) =
        (text(&found.stderr), std::fs::read(dir.path().join("rows.influx")).unwrap());
    assert_eq!(found.status.code(), Some(1), "{printed}");
    assert!(
        printed.contains("File too large") && printed.contains("rows are lost until there is room")
    );
    assert!(rows.len() <= 8192 && rows.ends_with(b"\n"), "{}", rows.len());
}

/// The kernel's `fs.protected_symlinks` does not see a link that this program follows itself.
#[test]
fn a_link_that_another_user_planted_is_refused() {
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    std::fs::write(&victim, "").unwrap();
    let open = dir.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o1777)).unwrap();
    let link = open.join("rows.influx");
    symlink(&victim, &link).unwrap();
    // The same on the way to a file.
    let way = open.join("way");
    symlink(dir.path(), &way).unwrap();
    let run = |output: &Path| {
        let mut command = ctpulse();
        command.args(["--once", "--format", "influx", "--output"]).arg(output);
        command.args(roots(&fixture("5.15"))).output().unwrap()
    };
    assert!(run(&link).status.success() && run(&way.join("victim")).status.success());
    let length = std::fs::metadata(&victim).unwrap().len();
    let give_away = |link: &Path| lchown(link, Some(65_534), Some(65_534));
    if give_away(&link).and_then(|()| give_away(&way)).is_err() {
        let test = "a_link_that_another_user_planted_is_refused";
        return crate::support::not_run_here(test, "this user cannot give a link away");
    }
    for output in [link, way.join("victim"), way.join("new.influx")] {
        let refused = run(&output);
        assert_eq!(refused.status.code(), Some(1));
        let printed = text(&refused.stderr);
        assert!(printed.contains("a link of another user"), "{printed}");
    }
    assert_eq!(std::fs::metadata(&victim).unwrap().len(), length);
    assert!(!dir.path().join("new.influx").exists());
}

/// What a service writes is read by the collector's user, whatever the umask.
#[test]
fn a_new_textfile_can_be_read_by_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "umask 0077; exec \"$@\"", "sh"]).arg(crate::support::binary());
    shell.args(["--once", "--format", "prometheus", "--output", "ct.prom"]);
    output(shell.args(roots(&fixture("5.15"))).current_dir(dir.path()));
    let mode = dir.path().join("ct.prom").metadata().unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o644);
}

/// A file that a container's engine mounts by itself cannot be replaced (EBUSY); below a read-only
/// root there is no room beside it (EROFS).
#[test]
fn a_mounted_textfile_is_written_in_place() {
    let test = "a_mounted_textfile_is_written_in_place";
    if !rustix::process::geteuid().is_root() {
        crate::support::not_run_here(test, "it needs root to mount a file");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("ro/ct.prom"));
    std::fs::create_dir(dir.path().join("ro")).unwrap();
    for read_only in [false, true] {
        std::fs::write(&source, OLD_METRIC.repeat(10_000)).unwrap();
        std::fs::write(&target, "").unwrap();
        let remount = if read_only {
            "mount -t tmpfs -o size=64k none ro && touch ro/ct.prom &&"
        } else {
            ""
        };
        let protect = if read_only { "&& mount -o remount,ro,bind ro" } else { "" };
        let script = format!("{remount} mount --bind source ro/ct.prom {protect} && exec \"$@\"");
        let mut shell = std::process::Command::new("unshare");
        shell.args(["--mount", "sh", "-c", &script, "sh"]).arg(crate::support::binary());
        shell.args(["--count", "3", "--interval", "20ms", "--format", "prometheus"]);
        shell.args(["--output", "ro/ct.prom"]);
        output(shell.args(roots(&fixture("5.15"))).current_dir(dir.path()));
        let text = std::fs::read_to_string(&source).unwrap();
        assert_eq!(text.matches("# TYPE conntrack_drop_total counter").count(), 1, "{text}");
        assert!(!text.contains("conntrack_x"), "read-only {read_only}: {text}");
    }
}

/// Waits for a condition.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a command writes to standard error.
struct Log(tempfile::NamedTempFile);

impl Log {
    fn of(command: &mut std::process::Command) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        command.stderr(file.reopen().unwrap());
        Self(file)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.0.path()).unwrap()
    }

    /// Waits for a message, which may continue in the next line.
    fn wait_for(&self, words: &str) {
        let start = std::time::Instant::now();
        while !self.text().replace("\nctpulse:   ", "; ").contains(words) {
            assert!(start.elapsed() < Duration::from_secs(20), "never: {words}\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A `ctpulse` that writes a row each 20 ms, and what it logged.
struct Writer {
    running: Running,
    log: Log,
}

impl Writer {
    fn start(path: &Path, arguments: &[&str]) -> Self {
        let mut command = ctpulse();
        command.args(["--interval", "20ms", "--output"]).arg(path).args(arguments);
        let log = Log::of(command.args(roots(&fixture("5.15"))));
        let running = Running::start_unread(&mut command);
        let writer = Self { running, log };
        writer.until("rows come", || length(path) > 0);
        writer
    }

    fn log(&self) -> String {
        self.log.text()
    }

    fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = std::time::Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(20), "never: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn until_logged(&self, words: &str) {
        self.log.wait_for(words);
    }

    fn end(mut self) {
        self.running.signal(rustix::process::Signal::TERM);
        assert!(self.running.wait().0.success(), "{}", self.log());
    }
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// Rows that `report` finds in a recording, of which no line may be bad.
fn recorded(path: &Path) -> u64 {
    let mut report = ctpulse();
    let found = output(report.args(["report", "--format", "json"]).arg(path));
    let report: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(report["recording"]["bad_lines"], 0, "{report}");
    assert!(report["recording"]["unreadable"].as_array().unwrap().is_empty(), "{report}");
    report["recording"]["rows"].as_u64().unwrap()
}

/// Rows under the one header of a CSV file.
fn csv_rows(path: &Path) -> u64 {
    let mut reader = csv::Reader::from_path(path).unwrap();
    assert_eq!(&reader.headers().unwrap()[0], "timestamp");
    reader.records().map(|row| assert!(row.unwrap()[0].len() == 19)).count() as u64
}

/// logrotate with `nocreate` or with `copytruncate`, and somebody who removes the file.
#[test]
fn a_moved_removed_or_truncated_file_is_created_again() {
    for (name, format) in [("f.influx", "influx"), ("f.influx.zst", "influx"), ("f.csv", "csv")] {
        let dir = tempfile::tempdir().unwrap();
        let rows = |path: &Path| if format == "csv" { csv_rows(path) } else { recorded(path) };
        let (path, aside) = (dir.path().join(name), dir.path().join(format!("old-{name}")));
        let writer = Writer::start(&path, &["--format", format]);
        std::fs::rename(&path, &aside).unwrap();
        writer.until_logged("was moved; rows go into a new file of this name");
        writer.until("rows in the new file", || length(&path) > 0);
        assert!(rows(&aside) > 0, "{name}");
        std::fs::remove_file(&path).unwrap();
        writer.until_logged("was removed; rows go into a new file of this name");
        writer.until("rows in the new file", || length(&path) > 0);
        std::fs::copy(&path, &aside).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        writer.until_logged("was truncated; it is begun again");
        writer.until("rows in the truncated file", || length(&path) > 0);
        writer.end();
        assert!(rows(&path) > 0, "{name}");
    }
}

/// Nothing is lost where the new file cannot be written.
#[test]
fn rows_continue_in_the_old_file_where_the_new_file_is_of_another_program() {
    let dir = tempfile::tempdir().unwrap();
    let (path, aside) = (dir.path().join("f.influx"), dir.path().join("old.influx"));
    let writer = Writer::start(&path, &["--format", "influx"]);
    let other = dir.path().join("other");
    std::fs::write(&other, "dear diary\n").unwrap();
    std::fs::rename(&path, &aside).unwrap();
    std::fs::rename(&other, &path).unwrap();
    writer.until_logged("rows go on into the old file");
    let before = length(&aside);
    writer.until("rows in the old file", || length(&aside) > before);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear diary\n");
    std::fs::remove_file(&path).unwrap();
    writer.until("rows in a new file", || length(&path) > 0);
    writer.end();
    assert!(recorded(&path) > 0 && recorded(&aside) > 0);
}

/// Public reports: SIGHUP of logrotate or `systemctl reload` ended the program with success.
#[test]
fn sighup_reopens_the_output_and_reads_the_configuration_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, config) = (dir.path().join("f.influx"), dir.path().join("c.conf"));
    let input = "[[inputs.conntrack]]\ncollect = ['all']\n";
    let write = |text: &str| std::fs::write(&config, text).unwrap();
    write(input);
    let arguments = ["--format", "influx", "--config", config.to_str().unwrap()];
    let writer = Writer::start(&path, &arguments);
    let hang_up = || writer.running.signal(rustix::process::Signal::HUP);
    hang_up();
    writer.until_logged("c.conf is unchanged");
    writer.until_logged("f.influx was not moved; it stays open");
    write(&format!("{input}[inputs.conntrack.tags]\nrack = 'r7'\n"));
    std::fs::rename(&path, dir.path().join("aside")).unwrap();
    hang_up();
    writer.until_logged("c.conf is reloaded");
    let tagged = || std::fs::read_to_string(&path).is_ok_and(|text| text.contains(",rack=r7"));
    writer.until("rows with the new tag", tagged);
    // What is wrong, or may not be any more, changes nothing.
    write("[[inputs.conntrack]]\ncolect = ['all']\n[agent]\ninterval = 'x'\n");
    hang_up();
    writer.until_logged("c.conf is not reloaded; the old configuration stays in force");
    let log = writer.log();
    let errors: Vec<_> = log.lines().filter(|line| line.contains(": error: ")).collect();
    // A line for each problem, and one for the consequence.
    assert!(errors.len() == 3 && errors[0].contains("c.conf:2:1: unknown key 'colect'"), "{log}");
    assert!(errors[1].contains("c.conf:4:12: 'interval' in [agent]: "), "{log}");
    write(&format!("[agent]\nuser = 'nobody'\n{input}"));
    hang_up();
    writer.until_logged("user needs a restart");
    writer.until("without the tag", || {
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines()
            .last()
            .is_some_and(|line| line.starts_with("conntrack") && !line.contains("rack="))
    });
    writer.end();
    assert!(recorded(&path) > 0);
}

/// Public reports: a reload to `ebpf = "on"` ended the run where probes cannot be attached.
#[test]
fn a_configuration_that_cannot_start_leaves_the_old_one_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let (path, config) = (dir.path().join("f.influx"), dir.path().join("c.conf"));
    for confine in ["off", "auto"] {
        let write = |ebpf: &str, more: &str| {
            let text = format!("[[inputs.conntrack]]\ncollect = ['all']\nebpf = '{ebpf}'\n{more}");
            std::fs::write(&config, text).unwrap();
        };
        write("off", "");
        let arguments = ["--format", "influx", "--config", config.to_str().unwrap()];
        let writer = Writer::start(&path, &[&arguments[..], &["--confine", confine]].concat());
        // Plain files have no probes on any host.
        write("on", "");
        writer.running.signal(rustix::process::Signal::HUP);
        writer.until_logged("c.conf is not reloaded; the old configuration stays in force");
        assert!(!writer.log().contains("c.conf is reloaded"), "{}", writer.log());
        let before = length(&path);
        writer.until("more rows", || length(&path) > before + 1000);
        write("off", "[inputs.conntrack.tags]\nrack = 'r7'\n");
        writer.running.signal(rustix::process::Signal::HUP);
        writer.until_logged("c.conf is reloaded");
        writer.end();
        assert!(recorded(&path) > 0);
        std::fs::remove_file(&path).unwrap();
    }
}

/// The same where nothing shows before the attempt that probes cannot be attached.
#[test]
fn a_pipeline_that_does_not_start_leaves_the_old_configuration_in_force() {
    let name = "a_pipeline_that_does_not_start_leaves_the_old_configuration_in_force";
    if !crate::support::may_make_namespaces(name) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.conf");
    let write = |ebpf: &str| {
        let text = format!("[[inputs.conntrack]]\ncollect = ['all']\nebpf = '{ebpf}'\n");
        std::fs::write(&config, text).unwrap();
    };
    write("off");
    // A kernel that has kprobes, as far as the check before the attempt can see.
    let devices = "/sys/bus/event_source/devices";
    let script = format!(
        "mount -t tmpfs none {devices}; mkdir {devices}/kprobe; echo 6 > {devices}/kprobe/type; \
         exec \"$@\""
    );
    let mut shell = std::process::Command::new("unshare");
    shell.args(["--mount", "sh", "-ec", &script, "sh"]).arg(crate::support::binary());
    shell.args(["--interval", "20ms", "--format", "influx", "--confine", "off", "--config"]);
    shell.arg(&config).args(roots(&fixture("5.15")));
    crate::support::with_default_signals(&mut shell);
    let log = Log::of(&mut shell);
    let mut running = Running::start(&mut shell);
    assert!(running.line(Duration::from_secs(20)).is_some(), "{}", log.text());
    write("on");
    running.signal(rustix::process::Signal::HUP);
    log.wait_for("c.conf is not reloaded; the old configuration stays in force");
    assert!(log.text().contains("they are not wanted; ebpf on requires them"), "{}", log.text());
    for _ in 0..100 {
        assert!(running.line(Duration::from_secs(20)).is_some(), "{}", log.text());
    }
    write("auto");
    running.signal(rustix::process::Signal::HUP);
    log.wait_for("c.conf is reloaded");
    running.signal(rustix::process::Signal::TERM);
    assert!(running.wait().0.success(), "{}", log.text());
}

/// An output that does not take the rows is not there for a new configuration either.
#[test]
fn a_reload_with_a_stuck_output_does_not_end_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.conf");
    let write = |rack: &str| {
        let tags = format!("[inputs.conntrack.tags]\nrack = '{rack}'\n");
        let text = format!("[[inputs.conntrack]]\ncollect = ['percpu']\n{tags}");
        std::fs::write(&config, text).unwrap();
    };
    write("r6");
    let mut command = ctpulse();
    command.args(["--interval", "1s", "--format", "influx", "--config"]).arg(&config);
    let log = Log::of(command.args(roots(&fixture("cpus-4096"))));
    let mut running = Running::start_unread(&mut command);
    // One emission is longer than the pipe, so its write does not end.
    let stdout = running.child.stdout.take().unwrap();
    until("rows in the pipe", || rustix::io::ioctl_fionread(&stdout).unwrap() > 0);
    write("r7");
    let hang_up = || running.signal(rustix::process::Signal::HUP);
    hang_up();
    log.wait_for("c.conf is not reloaded; the old configuration stays in force");
    assert!(log.text().contains("error: the output is stuck"), "{}", log.text());
    let lines = crate::support::lines_of(stdout);
    for number in 0u64.. {
        if number % 10_000 == 0 {
            // Refused as long as the reader has not caught up.
            hang_up();
        }
        let line = lines.recv_timeout(Duration::from_secs(20)).expect("a row with the new tag");
        if line.contains(",rack=r7") {
            break;
        }
    }
    running.signal(rustix::process::Signal::TERM);
    drop(lines);
    assert!(running.wait().0.success(), "{}", log.text());
}

/// Starts `command`, which writes rows, and checks that SIGHUP changes nothing.
fn goes_on_after_sighup(command: &mut std::process::Command) {
    let mut running = Running::start(command);
    assert!(running.line(Duration::from_secs(10)).is_some());
    running.signal(rustix::process::Signal::HUP);
    for _ in 0..20 {
        assert!(running.line(Duration::from_secs(10)).is_some());
    }
    running.signal(rustix::process::Signal::TERM);
    assert!(running.wait().0.success());
}

/// Without a file or a configuration there is nothing to do, and no reason to end.
#[test]
fn sighup_does_not_end_a_run() {
    let mut command = ctpulse();
    command.args(["--interval", "20ms", "--format", "influx"]).args(roots(&fixture("5.15")));
    goes_on_after_sighup(&mut command);
}

#[test]
fn sighup_ignored_at_the_start_stays_ignored() {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(crate::support::binary());
    command.args(["--interval", "20ms", "--format", "influx"]).args(roots(&fixture("5.15")));
    goes_on_after_sighup(&mut command);
}

/// As `nohup` does with SIGHUP, a shell ignores SIGINT for a job in the background.
#[test]
fn sigint_ignored_at_the_start_stays_ignored() {
    for subcommand in ["run", "execd"] {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "trap '' INT; exec \"$@\"", "sh"]).arg(crate::support::binary());
        command.args([subcommand, "--interval", "20ms", "--format", "influx"]);
        command.args(roots(&fixture("5.15"))).stdin(std::process::Stdio::piped());
        let mut running = Running::start(&mut command);
        assert!(running.line(Duration::from_secs(10)).is_some());
        running.signal(rustix::process::Signal::INT);
        for _ in 0..20 {
            assert!(running.line(Duration::from_secs(10)).is_some(), "{subcommand}");
        }
        running.signal(rustix::process::Signal::TERM);
        assert!(running.wait().0.success());
    }
}

/// And the tests themselves, started so, do not hand it on.
#[test]
fn children_of_the_tests_have_the_default_signals() {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' INT HUP; exec \"$@\"", "sh"]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "output::ignored_signals_of_a_child", "--ignored", "--nocapture"]);
    let found = text(&output(&mut command).stdout);
    let mask = found.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    let mask = u64::from_str_radix(mask, 16).unwrap();
    assert_eq!(mask & (1 << (libc::SIGINT - 1) | 1 << (libc::SIGHUP - 1)), 0, "{mask:x}");
}

#[test]
#[ignore = "the test above runs it with signals ignored"]
fn ignored_signals_of_a_child() {
    let mut child = std::process::Command::new("cat");
    crate::support::with_default_signals(&mut child);
    println!("{}", text(&output(child.arg("/proc/self/status")).stdout));
}
