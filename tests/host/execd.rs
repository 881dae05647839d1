//! The real binary as Telegraf's execd sees it: real pipes, real signals, every `signal`
//! setting, a reader that stalls and one that goes away.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::output::until;
use crate::support::{Running, ctpulse, fixture, integer, lines_of, roots, text};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(10);

fn execd(signal: &str, more: &[&str]) -> Command {
    let mut command = ctpulse();
    command.args(["execd", "--signal", signal]).args(more).args(roots(&fixture("5.15")));
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The two lines of one gather: statistics, then table.
fn gathered(running: &Running) {
    let statistics = running.line(SOON).expect("a statistics line");
    assert!(statistics.starts_with("conntrack,cpu=all chaintoolong=4i,"), "{statistics}");
    assert_eq!(integer(&statistics, "clash_resolve"), Some(275));
    let table = running.line(SOON).expect("a table line");
    assert!(table.starts_with("conntrack ip_conntrack_count=2849,"), "{table}");
}

fn nothing_comes(running: &Running) {
    assert_eq!(running.line(Duration::from_millis(300)), None);
}

/// Whether the process has a thread of this name that sleeps.
fn sleeps(process: u32, name: &str) -> bool {
    let threads =
        std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let statuses =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("status")).ok());
    let of_name = format!("Name:\t{name}\n");
    statuses.into_iter().any(|status| status.starts_with(&of_name) && status.contains("State:\tS"))
}

/// Reads the standard output that `start_unread` left alone.
fn read_from_now_on(running: &mut Running) {
    running.lines = lines_of(running.child.stdout.take().unwrap());
}

#[test]
fn a_newline_is_one_gather() {
    let mut running = Running::start(&mut execd("STDIN", &[]));
    nothing_comes(&running);
    let mut stdin = running.child.stdin.take().unwrap();
    for newlines in [1, 1, 3] {
        stdin.write_all("\n".repeat(newlines).as_bytes()).unwrap();
        (0..newlines).for_each(|_| gathered(&running));
        nothing_comes(&running);
    }
    drop(stdin);
    let (status, took) = running.wait();
    assert!(status.success() && took < Duration::from_secs(1), "{status} after {took:?}");
    assert!(running.rest().is_empty());
}

#[test]
fn requests_before_the_end_are_answered() {
    for _ in 0..5 {
        let mut running = Running::start(&mut execd("STDIN", &[]));
        let mut stdin = running.child.stdin.take().unwrap();
        stdin.write_all(b"\n\n").unwrap();
        drop(stdin);
        assert_eq!(running.rest().len(), 4);
        assert!(running.wait().0.success());
    }
}

/// Telegraf takes each line of standard error as a message.
#[test]
fn each_problem_of_a_configuration_is_a_line() {
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), "[[inputs.conntrack]]\ncolect = 1\nintervall = 2\n").unwrap();
    let path = config.path().to_str().unwrap();
    let found = ctpulse().args(["execd", "--config", path]).output().unwrap();
    let printed = text(&found.stderr);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 2, "{printed}");
    assert!(lines[0].starts_with(&format!("E! {path}:2:1: unknown key 'colect'")), "{printed}");
    assert!(lines[1].starts_with(&format!("E! {path}:3:1: unknown key")), "{printed}");
}

#[test]
fn sampling_may_be_slower_than_the_unused_interval() {
    let mut running = Running::start(&mut execd("STDIN", &["--sample-interval", "5s"]));
    let mut stdin = running.child.stdin.take().unwrap();
    stdin.write_all(b"\n").unwrap();
    gathered(&running);
    drop(stdin);
    assert!(running.wait().0.success());
}

#[test]
fn each_selected_signal_is_one_gather() {
    for (name, signal) in
        [("SIGHUP", Signal::HUP), ("SIGUSR1", Signal::USR1), ("SIGUSR2", Signal::USR2)]
    {
        let mut running = Running::start(&mut execd(name, &[]));
        let stdin = running.child.stdin.take();
        nothing_comes(&running);
        for _ in 0..3 {
            running.signal(signal);
            gathered(&running);
        }
        nothing_comes(&running);
        drop(stdin);
        assert!(running.wait().0.success(), "{name}");
    }
}

#[test]
fn without_a_signal_rows_come_at_the_interval() {
    let mut running = Running::start(&mut execd("none", &["--interval", "50ms"]));
    let mut stdin = running.child.stdin.take().unwrap();
    (0..10).for_each(|_| gathered(&running));
    stdin.write_all(b"\n").unwrap();
    running.signal(Signal::TERM);
    let (status, took) = running.wait();
    assert!(status.success() && took < Duration::from_secs(1), "{status} after {took:?}");
    // Whatever was handed over was flushed, in whole pairs of lines.
    assert_eq!(running.rest().len() % 2, 0);
}

#[test]
fn no_line_carries_a_host_tag() {
    let mut running = Running::start(&mut execd("none", &["--interval", "50ms"]));
    let _stdin = running.child.stdin.take();
    for _ in 0..6 {
        let line = running.line(SOON).unwrap();
        assert!(!line.contains("host="), "{line}");
    }
}

#[test]
fn a_stalled_reader_loses_rows_but_no_events_and_is_reported() {
    let copy = crate::support::copy_of("5.15");
    let mut command = ctpulse();
    command.args(["execd", "--interval", "5ms", "--sample-interval", "5ms"]);
    command.args(roots(copy.path())).stdin(Stdio::piped());
    let mut running = Running::start_unread(&mut command);
    let _stdin = running.child.stdin.take();
    // The pipe takes 64 KiB, the ring 64 windows; 5 s are 1,000 rows.
    std::thread::sleep(Duration::from_secs(5));
    let path = copy.path().join("proc/net/stat/nf_conntrack");
    let before = std::fs::read_to_string(&path).unwrap();
    // CPU 0: drop (00000aa -> 00001aa): 256 packets lost while no process reads.
    let after = before.replacen(" 000000aa ", " 000001aa ", 1);
    assert_ne!(before, after);
    std::fs::write(&path, after).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    read_from_now_on(&mut running);
    let mut events = 0.0;
    let (mut last, mut rows_lost, mut drops) = (0, 0, 0);
    for _ in 0..1000 {
        let line = running.line(SOON).expect("rows go on");
        if !line.contains("cpu=all") {
            continue;
        }
        let now: i64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        if let Some(rate) = crate::support::number(&line, "drop_rate") {
            events += rate.parse::<f64>().unwrap() * (now - last) as f64 / 1e9;
        }
        assert!(now > last, "in order");
        (last, rows_lost) = (now, integer(&line, "rows_lost").unwrap());
        drops = integer(&line, "drop").unwrap();
    }
    assert!(rows_lost > 100, "a stall of 5 s at 5 ms loses rows: {rows_lost}");
    assert_eq!(drops, 725 + 256);
    // Rates times the time between rows are the events; the clocks differ by a little.
    assert!((events - 256.0).abs() < 256.0 * 0.05, "{events} of 256 events in the rates");
}

#[test]
fn sigterm_ends_execd_even_without_a_reader() {
    let mut running = Running::start_unread(&mut execd(
        "none",
        &["--interval", "1ms", "--sample-interval", "1ms"],
    ));
    let _stdin = running.child.stdin.take();
    std::thread::sleep(Duration::from_millis(1500));
    running.signal(Signal::TERM);
    let (status, took) = running.wait();
    assert!(status.success() && took < Duration::from_secs(1), "{status} after {took:?}");
    // What the pipe holds ends in a whole line.
    read_from_now_on(&mut running);
    assert!(!running.rest().is_empty());
}

#[test]
fn a_closed_output_ends_execd_without_an_error() {
    let mut running = Running::start_unread(&mut execd("none", &["--interval", "10ms"]));
    let _stdin = running.child.stdin.take();
    drop(running.child.stdout.take());
    let (status, _) = running.wait();
    let mut stderr = Vec::new();
    std::io::Read::read_to_end(&mut running.child.stderr.take().unwrap(), &mut stderr).unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(text(&stderr), "");
}

/// Some runtimes make all their pipes so.
#[test]
fn standard_input_may_be_non_blocking() {
    let (own, mut parents) = UnixStream::pair().unwrap();
    own.set_nonblocking(true).unwrap();
    let mut running = Running::start(execd("STDIN", &[]).stdin(Stdio::from(OwnedFd::from(own))));
    // Only one that waits for its input has read it in vain.
    until("the thread waits", || sleeps(running.child.id(), "stdin"));
    parents.write_all(b"\n").unwrap();
    gathered(&running);
    drop(parents);
    assert!(running.wait().0.success());
}

/// Its configuration would be what Telegraf writes to it: nothing, for ever.
#[test]
fn a_configuration_from_standard_input_is_an_error() {
    for name in ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let mut running = Running::start(&mut execd("STDIN", &["--config", name]));
        let (status, _) = running.wait();
        let mut printed = String::new();
        let mut stderr = running.child.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut stderr, &mut printed).unwrap();
        assert_eq!(status.code(), Some(1), "{name}: {printed}");
        assert!(printed.starts_with("E! standard input is Telegraf's"), "{name}: {printed}");
    }
}

#[test]
fn standard_input_that_cannot_be_read_is_an_error() {
    let directory = std::fs::File::open("/").unwrap();
    let mut running = Running::start(execd("none", &[]).stdin(Stdio::from(directory)));
    let (status, _) = running.wait();
    let mut printed = String::new();
    std::io::Read::read_to_string(&mut running.child.stderr.take().unwrap(), &mut printed).unwrap();
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(printed.contains("cannot read standard input"), "{printed}");
}

#[test]
fn log_lines_have_telegrafs_prefixes() {
    let empty = tempfile::tempdir().unwrap();
    std::fs::create_dir(empty.path().join("proc")).unwrap();
    let mut command = ctpulse();
    command.args(["execd", "--interval", "50ms"]).args(roots(empty.path()));
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(&mut command);
    std::thread::sleep(Duration::from_millis(500));
    drop(running.child.stdin.take());
    assert!(running.wait().0.success());
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut running.child.stderr.take().unwrap(), &mut stderr).unwrap();
    // Once each, although ten intervals went by.
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(lines[0].starts_with("W! ") && lines[0].contains("devices/system/cpu/possible"));
    assert!(lines[1].starts_with("W! [conntrack] /"), "{stderr}");
    assert!(lines[1].ends_with(" has no stat/nf_conntrack"), "{stderr}");
}
