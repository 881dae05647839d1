//! The start of a run: early signals, outputs without a reader, and names that cannot be opened.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::output::{Log, until};
use crate::support::{self, Running, ctpulse, fixture, roots, text};

fn fifo(directory: &Path) -> PathBuf {
    let path = directory.join("fifo");
    support::output(Command::new("mkfifo").arg(&path));
    path
}

/// A run that writes to a FIFO without a reader.
fn waiting(fifo: &Path, arguments: &[&str]) -> (Running, Log) {
    waiting_with("influx", fifo, arguments)
}

/// The same, in this format.
fn waiting_with(format: &str, fifo: &Path, arguments: &[&str]) -> (Running, Log) {
    let mut command = ctpulse();
    command.args(["--interval", "20ms", "--format", format, "--output"]).arg(fifo);
    command.args(arguments).args(roots(&fixture("5.15")));
    let log = Log::of(&mut command);
    let running = Running::start_unread(&mut command);
    log.wait_for("waiting for a reader");
    (running, log)
}

#[test]
fn a_signal_ends_a_run_that_waits_for_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = fifo(dir.path());
    for signal in [Signal::TERM, Signal::INT] {
        let (mut running, log) = waiting(&fifo, &[]);
        running.signal(signal);
        let (status, _) = running.wait();
        assert!(status.success(), "{signal:?}: {status}\n{}", log.text());
    }
    // A bounded run that wrote nothing has failed.
    for arguments in [["--duration", "200ms"], ["--count", "1"]] {
        let (mut running, log) = waiting(&fifo, &arguments);
        if arguments[0] == "--count" {
            running.signal(Signal::TERM);
        }
        assert_eq!(running.wait().0.code(), Some(1), "{arguments:?}");
        assert!(log.text().contains("no process opened the output for reading"), "{}", log.text());
    }
}

/// Without handlers signals do not reach a container's process 1.
#[test]
fn a_signal_ends_process_1_that_waits_for_a_reader() {
    let test = "a_signal_ends_process_1_that_waits_for_a_reader";
    if !support::may_make_namespaces(test) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(support::binary());
    command.args(["--format", "influx", "--output"]).arg(fifo(dir.path()));
    command.args(roots(&fixture("5.15")));
    support::with_default_signals(&mut command);
    let log = Log::of(&mut command);
    let mut running = Running::start_unread(&mut command);
    log.wait_for("waiting for a reader");
    let children = format!("/proc/{0}/task/{0}/children", running.child.id());
    let child = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(child).unwrap(), Signal::TERM).unwrap();
    assert!(running.wait().0.success(), "{}", log.text());
}

#[test]
fn rows_are_written_once_a_fifo_has_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = fifo(dir.path());
    let (mut running, log) = waiting(&fifo, &["--count", "3"]);
    // A reload changes nothing, and is done as soon as there is something to reload.
    running.signal(Signal::HUP);
    until("a second line", || log.text().matches("waiting for a reader").count() == 2);
    let read = std::fs::read_to_string(&fifo).unwrap();
    assert_eq!(read.matches("cpu=all").count(), 3, "{read}");
    assert!(running.wait().0.success());
    assert!(log.text().contains("no configuration to read again"), "{}", log.text());
}

/// `Restart=on-failure` would not start a run again that ended with its reader.
#[test]
fn a_fifo_outlives_its_readers() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = fifo(dir.path());
    let (mut running, log) = waiting(&fifo, &[]);
    let read_a_row = || {
        let mut line = String::new();
        BufReader::new(std::fs::File::open(&fifo).unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("conntrack") && line.ends_with('\n'), "{line}");
    };
    for readers in 1..=2 {
        read_a_row();
        until("the reader's end", || {
            log.text().matches("no process reads it any more").count() == readers
        });
    }
    let mut last = std::fs::File::open(&fifo).unwrap();
    until("rows again", || log.text().matches("can be written again").count() == 2);
    running.signal(Signal::TERM);
    let mut rest = String::new();
    last.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("cpu=all"), "{rest}");
    assert!(running.wait().0.success(), "{}", log.text());
}

/// The next reader got what the last one had left, from the middle of a line on, and CSV without a header.
#[test]
fn each_reader_of_a_fifo_begins_with_the_header() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path());
    let (running, log) = waiting_with("csv", &path, &[]);
    for readers in 1..=3 {
        let mut reader = std::fs::File::open(&path).unwrap();
        let mut start = [0; 100];
        reader.read_exact(&mut start).unwrap();
        assert!(text(&start).starts_with("timestamp,measurement,"), "{}", text(&start));
        if readers == 2 {
            // One of the same name takes its place.
            std::fs::remove_file(&path).unwrap();
            fifo(dir.path());
        }
        drop(reader);
        until("the reader's end", || {
            log.text().matches("no process reads it any more").count() == readers
        });
    }
    running.signal(Signal::TERM);
    let ended = "rows are lost until one opens it again";
    assert_eq!(log.text().matches(ended).count(), 3, "{}", log.text());
}

#[test]
fn sighup_finds_a_fifo_that_was_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path());
    let (mut running, log) = waiting(&path, &[]);
    let mut old = std::fs::File::open(&path).unwrap();
    running.signal(Signal::HUP);
    log.wait_for("is a FIFO; it is opened again when its reader is gone");
    std::fs::remove_file(&path).unwrap();
    fifo(dir.path());
    running.signal(Signal::HUP);
    log.wait_for("was replaced; rows go into the new FIFO once a process reads it");
    // It has come to its end.
    old.read_to_end(&mut Vec::new()).unwrap();
    let mut line = String::new();
    let mut reader = BufReader::new(std::fs::File::open(&path).unwrap());
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("conntrack"), "{line}");
    running.signal(Signal::TERM);
    reader.read_to_end(&mut Vec::new()).unwrap();
    assert!(running.wait().0.success(), "{}", log.text());
}

/// The runtime opens /dev/null in place of a descriptor that is closed.
#[test]
fn standard_output_that_is_closed_is_an_error() {
    for arguments in ["--count 1", "--count 1 --output /dev/stdout", "execd"] {
        let mut command = Command::new("sh");
        let script = format!("exec \"$0\" {arguments} \"$@\" >&-");
        command.args(["-c", &script]).arg(support::binary()).args(roots(&fixture("5.15")));
        let ended = command.stdin(std::process::Stdio::null()).output().unwrap();
        let printed = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments}: {printed}");
        assert!(printed.contains("standard output: descriptor 1 is not open"), "{printed}");
    }
}

/// open(2) waited for its writer, and no signal ended that.
#[test]
fn a_fifo_in_the_place_of_a_kernels_file_is_not_waited_for() {
    for file in ["proc/sys/kernel/osrelease", "sys/devices/system/cpu/possible"] {
        let root = support::copy_of("5.15");
        let path = root.path().join(file);
        std::fs::remove_file(&path).unwrap();
        support::output(Command::new("mkfifo").arg(&path));
        for arguments in [&["--once", "--format", "influx"][..], &["doctor"]] {
            let mut command = Command::new("timeout");
            command.args(["-s", "KILL", "30"]).arg(support::binary()).args(arguments);
            let ended = command.args(roots(root.path())).output().unwrap();
            assert!(ended.status.code().is_some(), "{file} {arguments:?}");
            assert!(text(&ended.stdout).contains("conntrack"), "{}", text(&ended.stderr));
        }
    }
}

fn recording() -> PathBuf {
    support::repository().join("fixtures/recordings/burst.influx")
}

/// They printed to what the runtime had opened in its place.
#[test]
fn a_text_for_standard_output_that_is_closed_is_an_error() {
    let report = format!("report {}", recording().display());
    for arguments in
        ["--help", "--version", "man", "config --print-default", "completions bash", &report]
    {
        let script = format!("exec \"$0\" {arguments} >&-");
        let ended =
            Command::new("sh").args(["-c", &script]).arg(support::binary()).output().unwrap();
        let printed = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments}: {printed}");
        assert!(printed.contains("cannot write to standard output: Bad file"), "{printed}");
    }
}

/// It was taken for one that is at its end.
#[test]
fn standard_input_that_is_closed_is_an_error() {
    for arguments in ["execd", "report -", "config --check /dev/stdin", "--once -c -"] {
        let script = format!("exec \"$0\" {arguments} <&-");
        let ended =
            Command::new("sh").args(["-c", &script]).arg(support::binary()).output().unwrap();
        let printed = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments}: {printed}");
        assert!(printed.contains("standard input is not open"), "{arguments}: {printed}");
    }
}

/// A pipe that another process shares is full before the text ends.
#[test]
fn a_text_is_whole_where_standard_output_is_non_blocking() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut command = ctpulse();
    command.args(["report", "--html", "-"]).arg(recording()).stdout(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    until("the pipe is full", || rustix::io::ioctl_fionread(&reader).unwrap() >= 1 << 16);
    let mut page = String::new();
    reader.read_to_string(&mut page).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(page.trim_end().ends_with("</html>"), "{}", page.len());
}

/// A configuration that is read from a FIFO, so that a test can wait until the program reads it. It is
/// read more than once, and again by a reload.
struct Configuration {
    path: PathBuf,
    has_ended: Arc<AtomicBool>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Configuration {
    const TEXT: &[u8] = b"[[inputs.conntrack]]\n";

    fn new(directory: &Path) -> Self {
        Self { path: fifo(directory), has_ended: Arc::default(), writer: None }
    }

    /// Calls `action` while the program reads the file for the first time, and has it read on.
    fn during_the_first_read(&mut self, action: impl FnOnce()) {
        let mut first = std::fs::File::options().write(true).open(&self.path).unwrap();
        action();
        // The program may have ended by now.
        let _ = first.write_all(Self::TEXT);
        drop(first);
        let (path, has_ended) = (self.path.clone(), Arc::clone(&self.has_ended));
        self.writer = Some(std::thread::spawn(move || {
            while !has_ended.load(Ordering::Relaxed) {
                let mut options = std::fs::File::options();
                options.write(true).custom_flags(libc::O_NONBLOCK);
                if let Ok(mut file) = options.open(&path) {
                    let _ = file.write_all(Self::TEXT);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }));
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        let _ = self.writer.take().map(std::thread::JoinHandle::join);
    }
}

/// `systemctl reload` right after the start: SIGHUP ended the run, and systemd takes that for a clean
/// exit.
#[test]
fn a_reload_before_the_configuration_is_read_does_not_end_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Configuration::new(dir.path());
    let mut command = ctpulse();
    command.args(["--interval", "20ms", "--format", "influx", "--config"]).arg(&config.path);
    let log = Log::of(command.args(roots(&fixture("5.15"))));
    let mut running = Running::start(&mut command);
    config.during_the_first_read(|| running.signal(Signal::HUP));
    log.wait_for("fifo is ");
    assert!(running.line(Duration::from_secs(10)).is_some(), "{}", log.text());
    running.signal(Signal::TERM);
    assert!(running.wait().0.success());
}

/// The same of Telegraf's first request.
#[test]
fn a_request_before_the_configuration_is_read_does_not_end_execd() {
    for (name, signal) in [("SIGHUP", Signal::HUP), ("SIGUSR1", Signal::USR1)] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Configuration::new(dir.path());
        let mut command = ctpulse();
        command.args(["execd", "--signal", name, "--config"]).arg(&config.path);
        command.args(roots(&fixture("5.15"))).stdin(std::process::Stdio::piped());
        let mut running = Running::start(&mut command);
        config.during_the_first_read(|| running.signal(signal));
        assert!(running.line(Duration::from_secs(10)).is_some(), "{name}");
        running.signal(Signal::TERM);
        assert!(running.wait().0.success());
    }
}

/// A file that a shell opened for reading was opened again for writing.
#[test]
fn a_descriptor_that_is_not_open_for_writing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("diary");
    for (output, redirection) in [
        ("/dev/fd/7", "7<diary"),
        ("/dev/stdin", "<diary"),
        ("/proc/self/fd/7", "7<diary"),
        ("/proc/thread-self/fd/7", "7<diary"),
        ("/dev/fd/../fd/7", "7<diary"),
        ("link", "7<diary"),
        ("-", "1<diary"),
        ("/dev/stderr", "7>&2 2<diary"),
    ] {
        std::fs::write(&file, "").unwrap();
        let _ = std::fs::remove_file(dir.path().join("link"));
        std::os::unix::fs::symlink("/dev/fd/7", dir.path().join("link")).unwrap();
        let mut shell = Command::new("bash");
        let script = format!("\"$@\" --output {output} {redirection}");
        shell.args(["-c", &script, "bash"]).arg(support::binary());
        shell.args(["--once", "--format", "influx"]).args(roots(&fixture("5.15")));
        let found = shell.current_dir(dir.path()).output().unwrap();
        let stderr = text(&found.stderr);
        assert_eq!(found.status.code(), Some(1), "{script}: {stderr}");
        let is_silent = output == "/dev/stderr"; // there is nowhere to write the message
        assert!(is_silent || stderr.contains("is not open for writing"), "{script}: {stderr}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "", "{script}");
    }
    // As a shell opened it: at its offset, not at the end.
    let mut shell = Command::new("bash");
    shell.args(["-c", "\"$@\" --output /dev/fd/7 7<>diary", "bash"]).arg(support::binary());
    shell.args(["--once", "--format", "influx"]).args(roots(&fixture("5.15")));
    std::fs::write(&file, "x").unwrap();
    support::output(shell.current_dir(dir.path()));
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("conntrack"));
}

/// As open(2) has it.
#[test]
fn a_name_that_ends_in_a_slash_makes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("newfile/", dir.path().join("link")).unwrap();
    for output in ["newfile/", "newfile/.", "newfile//", "link"] {
        for format in ["influx", "prometheus", "csv"] {
            let mut command = ctpulse();
            command.args(["--once", "--format", format, "--output", output]);
            command.args(roots(&fixture("5.15"))).current_dir(dir.path());
            let found = command.output().unwrap();
            let stderr = text(&found.stderr);
            assert_eq!(found.status.code(), Some(1), "{output}: {stderr}");
            let expected =
                format!("cannot write to {output}: a name that ends in / is a directory's");
            assert!(stderr.contains(&expected), "{stderr}");
            assert!(!dir.path().join("newfile").exists(), "{output}");
        }
    }
}

/// The rows that are left at the end are lost: that is no success.
#[test]
fn a_reader_that_does_not_read_at_the_end_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path());
    // Open, and never read.
    let _reader = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut command = ctpulse();
    command.args(["--duration", "1s", "--interval", "2ms", "--collect", "all,percpu"]);
    command.args(["--format", "influx", "--output"]).arg(&path).args(roots(&fixture("cpus-128")));
    let ended = command.output().unwrap();
    let told = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("the output is stuck"), "{told}");
}
