//! `ctpulse live` in a pseudo-terminal: what it shows, its keys, sizes and signals, and the
//! terminal as it was found on every way out.

use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{ctpulse, fixture, output, roots, text};
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, Termios, tcgetattr};

const SOON: Duration = Duration::from_secs(10);

/// The program in a terminal of its own.
struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// The other end, so that it does not hang up when the program ends.
    tty: std::fs::File,
    before: Termios,
}

impl Terminal {
    fn start(columns: u16, rows: u16, arguments: &[&str]) -> Self {
        Self::start_in(columns, rows, &fixture("5.15"), arguments, &[])
    }

    fn start_in(
        columns: u16,
        rows: u16,
        root: &std::path::Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(rows, columns)).unwrap();
        let name = rustix::pty::ptsname(&pty, Vec::new()).unwrap();
        let tty = std::fs::File::options()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOCTTY.bits() as i32)
            .open(name.to_str().unwrap())
            .unwrap();
        let before = tcgetattr(&tty).unwrap();
        // Under `nohup`, or in the background of a shell, signals that are ignored are inherited.
        let mut command = Command::new("env").arg("--default-signal=INT,HUP,QUIT");
        command = command.arg(crate::support::binary()).arg("live").args(arguments);
        if !["--replay", "--netns"].iter().any(|own| arguments.contains(own)) {
            command = command.args(["--ebpf", "off"]).args(roots(root));
        }
        for variable in ["HOST_PROC", "HOST_SYS", "NO_COLOR", "LC_ALL", "LC_CTYPE"] {
            command = command.env_remove(variable);
        }
        command = command.env("TERM", "xterm-256color").env("LANG", "C.UTF-8");
        for (name, value) in environment {
            command = command.env(name, value);
        }
        let child = command.spawn(pts).unwrap();
        let (pty, screen) = (
            Arc::new(pty),
            Arc::new(Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 0))),
        );
        let (from, to) = (Arc::clone(&pty), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = (&*from).read(&mut buffer) {
                to.lock().unwrap().process(&buffer[..length]);
            }
        });
        Self { child, pty, screen, tty, before }
    }

    fn contents(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the screen is as `wanted`; panics with it when it does not get so.
    fn until(&self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        let start = Instant::now();
        while start.elapsed() < SOON {
            if wanted(self.screen.lock().unwrap().screen()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{what} does not come; the screen:\n{}", self.contents());
    }

    fn until_shown(&self, text: &str) {
        self.until(text, |screen| screen.contents().contains(text));
    }

    fn until_gone(&self, text: &str) {
        self.until(&format!("the end of {text}"), |screen| !screen.contents().contains(text));
    }

    fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(cells(rows), cells(columns));
        self.pty.resize(Size::new(rows, columns)).unwrap();
    }

    fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap()
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        while start.elapsed() < SOON {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end; the screen:\n{}", self.contents());
    }

    /// Alternate screen left, cursor shown, modes and echo as they were.
    fn assert_restored(&self) {
        self.until("the normal screen", |screen| {
            !screen.alternate_screen() && !screen.hide_cursor()
        });
        let after = tcgetattr(&self.tty).unwrap();
        assert!(after.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON));
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
    }
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_shows_the_table_the_rates_and_where_they_come_from() {
    let mut terminal = Terminal::start(80, 24, &[]);
    terminal.until_shown("Table  2,849 of 262,144 entries");
    terminal.until_shown("clash_resolve  kernel      0");
    for shown in ["Drops by cause", "hash chain too long", "Missed  samples 0", "q quit"] {
        assert!(terminal.contents().contains(shown), "{}", terminal.contents());
    }
    assert!(terminal.screen.lock().unwrap().screen().alternate_screen());
    assert!(!tcgetattr(&terminal.tty).unwrap().local_modes.contains(LocalModes::ECHO));
    terminal.press("q");
    assert!(terminal.wait().success());
    terminal.assert_restored();
}

#[test]
fn what_the_files_say_next_is_shown() {
    let root = crate::support::copy_of("5.15");
    let mut terminal = Terminal::start_in(120, 40, root.path(), &["--interval", "100ms"], &[]);
    terminal.until_shown("Table  2,849 of");
    terminal.until_shown("clash_resolve  kernel      0");
    // Every CPU's row repeats the number of entries; one of them drops 100 packets.
    let path = root.path().join("proc/net/stat/nf_conntrack");
    let before = std::fs::read_to_string(&path).unwrap();
    let header: Vec<&str> = before.lines().next().unwrap().split_whitespace().collect();
    let drop = header.iter().position(|name| *name == "drop").unwrap();
    let mut lines: Vec<String> = before.lines().map(ToOwned::to_owned).collect();
    for (at, line) in lines.iter_mut().enumerate().skip(1) {
        let mut words: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
        words[0] = format!("{:08x}", 255_000);
        if at == 1 {
            let dropped = u32::from_str_radix(&words[drop], 16).unwrap() + 100;
            words[drop] = format!("{dropped:08x}");
        }
        *line = words.join(" ");
    }
    // The file is kept open and read from its start again.
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    terminal.until_shown("Table  255,000 of 262,144 entries  97.3% almost full");
    terminal.until_shown("DROPPING packets dropped");
    terminal.until_shown("kernel's drop");
    terminal.press("q");
    assert!(terminal.wait().success());
}

#[test]
fn keys_change_what_is_shown() {
    let mut terminal = Terminal::start(100, 30, &[]);
    terminal.until_shown("2,849 of");
    terminal.press("?");
    terminal.until_shown("Ctrl-Z, Ctrl-L");
    terminal.press("?c");
    terminal.until_shown("CPUs, events/s over 10 s");
    terminal.press("\x1b");
    terminal.until_shown("Drops by cause");
    terminal.press("p");
    terminal.until_shown("PAUSED");
    terminal.press(" ");
    terminal.until_gone("PAUSED");
    terminal.until_shown("row 500ms, sample 100ms");
    terminal.press("-");
    terminal.until_shown("row 1s, sample 100ms");
    terminal.press("++++");
    terminal.until_shown("row 100ms, sample 100ms");
    terminal.until_shown(", 2 s a column");
    terminal.press("<");
    terminal.until_shown(", 1 s a column");
    terminal.press("\x03");
    assert!(terminal.wait().success());
    terminal.assert_restored();
}

#[test]
fn it_follows_the_size_of_the_terminal() {
    let mut terminal = Terminal::start(80, 24, &[]);
    terminal.until_shown("q quit");
    terminal.resize(200, 60);
    terminal.until("the last line", |screen| {
        screen.rows(0, 200).last().is_some_and(|line| line.starts_with("q quit"))
            && screen.contents().contains("chaintoolong   kernel")
    });
    terminal.resize(50, 12);
    terminal.until_shown("needs 80x24, this is 50x12");
    terminal.until_shown("Table  2,849");
    terminal.resize(20, 3);
    terminal.until_shown("needs 80x24");
    terminal.resize(120, 40);
    terminal.until_shown("Messages");
    terminal.until_gone("needs");
    terminal.press("q");
    assert!(terminal.wait().success());
    terminal.assert_restored();
}

#[test]
fn every_signal_that_ends_it_leaves_the_terminal() {
    // All that there are, but for faults and ABRT (which are this program's own), for what nobody
    // can handle, and for what ends no process by default.
    let others = [
        Signal::ILL,
        Signal::ABORT,
        Signal::BUS,
        Signal::FPE,
        Signal::KILL,
        Signal::SEGV,
        Signal::PIPE,
        Signal::CHILD,
        Signal::CONT,
        Signal::STOP,
        Signal::TSTP,
        Signal::TTIN,
        Signal::TTOU,
        Signal::URG,
        Signal::WINCH,
    ];
    let named = (1..32).filter_map(Signal::from_named_raw);
    let ending: Vec<_> = named.filter(|signal| !others.contains(signal)).collect();
    assert_eq!(ending.len(), 31 - others.len());
    // The first and the last of the real-time signals.
    for number in ending.iter().map(|signal| signal.as_raw()).chain([35, 64]) {
        let mut terminal = Terminal::start(80, 24, &[]);
        terminal.until_shown("2,849 of");
        let id = terminal.child.id().to_string();
        output(std::process::Command::new("kill").args([&format!("-{number}"), &id]));
        // A terminal that hung up is no success.
        let code = if number == Signal::HUP.as_raw() { 129 } else { 0 };
        assert_eq!(terminal.wait().code(), Some(code), "signal {number}");
        terminal.assert_restored();
    }
}

#[test]
fn a_stop_gives_the_terminal_back_and_it_goes_on() {
    let mut terminal = Terminal::start(80, 24, &[]);
    terminal.until_shown("2,849 of");
    let stopped = |terminal: &Terminal| {
        let start = Instant::now();
        while terminal.state() != 'T' && start.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(terminal.state(), 'T');
        terminal.assert_restored();
    };
    let goes_on = |terminal: &Terminal| {
        terminal.signal(Signal::CONT);
        terminal.until("the picture", |screen| {
            let is_raw = !tcgetattr(&terminal.tty).unwrap().local_modes.contains(LocalModes::ECHO);
            is_raw && screen.alternate_screen() && screen.contents().contains("2,849 of")
        });
    };
    terminal.signal(Signal::TSTP);
    stopped(&terminal);
    goes_on(&terminal);
    terminal.press("\x1a");
    stopped(&terminal);
    goes_on(&terminal);
    // One that nobody can catch, and a shell that takes the terminal meanwhile.
    terminal.signal(Signal::STOP);
    rustix::termios::tcsetattr(
        &terminal.tty,
        rustix::termios::OptionalActions::Now,
        &terminal.before,
    )
    .unwrap();
    goes_on(&terminal);
    terminal.press("q");
    assert!(terminal.wait().success());
    terminal.assert_restored();
}

#[test]
fn a_terminal_that_takes_nothing_delays_no_end() {
    let mut terminal = Terminal::start(200, 60, &["--interval", "100ms"]);
    terminal.until_shown("2,849 of");
    rustix::termios::tcflow(&terminal.tty, rustix::termios::Action::OOff).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    terminal.signal(Signal::TERM);
    let start = Instant::now();
    assert!(terminal.wait().success());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    rustix::termios::tcflow(&terminal.tty, rustix::termios::Action::OOn).unwrap();
    let after = tcgetattr(&terminal.tty).unwrap();
    assert_eq!(after.local_modes, terminal.before.local_modes);
}

#[test]
fn colours_are_optional_and_so_is_utf_8() {
    let root = fixture("5.15");
    let is_coloured = |terminal: &Terminal| {
        let screen = terminal.screen.lock().unwrap();
        let (rows, columns) = screen.screen().size();
        let cells =
            (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column)));
        cells
            .filter_map(|(row, column)| screen.screen().cell(row, column))
            .any(|cell| cell.fgcolor() != vt100::Color::Default)
    };
    let coloured = Terminal::start_in(80, 24, &root, &[], &[]);
    coloured.until_shown("clash_resolve  kernel      0");
    assert!(is_coloured(&coloured));
    let plain = [("NO_COLOR", "1"), ("LANG", "C")];
    let plain = Terminal::start_in(80, 24, &root, &[], &plain);
    plain.until_shown("clash_resolve  kernel      0");
    assert!(!is_coloured(&plain));
    assert!(plain.contents().is_ascii(), "{}", plain.contents());
}

#[test]
fn without_statistics_it_says_so_and_waits() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("proc")).unwrap();
    let mut terminal = Terminal::start_in(120, 30, root.path(), &[], &[]);
    terminal.until_shown("nf_conntrack is not loaded");
    terminal.press("q");
    assert!(terminal.wait().success());
    terminal.assert_restored();
    // What was on the screen is not lost with it.
    terminal.until_shown("warning:");
}

/// A name that was mistyped gave an empty dashboard.
#[test]
fn a_namespace_that_never_was_is_an_error() {
    let mut terminal = Terminal::start(200, 24, &["--netns", "ctpulse-never-was"]);
    assert_eq!(terminal.wait().code(), Some(1));
    terminal.until_shown("there is no network namespace ctpulse-never-was in /run/netns");
    assert!(!terminal.screen.lock().unwrap().screen().alternate_screen());
}

#[test]
fn what_cannot_show_it_is_told() {
    let run = |command: &mut std::process::Command| {
        let found = command.args(roots(&fixture("5.15"))).output().unwrap();
        (found.status.code(), text(&found.stderr))
    };
    let (code, told) = run(ctpulse().arg("live").env("TERM", "xterm"));
    assert_eq!(code, Some(1));
    assert!(told.contains("standard output is not one; `ctpulse run`"), "{told}");
    for (term, wanted) in [("", "TERM is not set"), ("dumb", "TERM is dumb")] {
        let root: PathBuf = fixture("5.15");
        let mut terminal = Terminal::start_in(80, 24, &root, &[], &[("TERM", term)]);
        assert_eq!(terminal.wait().code(), Some(1));
        terminal.until_shown(wanted);
        assert!(!terminal.screen.lock().unwrap().screen().alternate_screen());
    }
}

/// A recording of the fixture: 40 rows, 100 ms apart.
fn recorded(format: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = ctpulse();
    command.args(["--count", "40", "--interval", "100ms", "--collect", "all,percpu"]);
    command.args(["--internal", "--ebpf", "off", "--format", format, "--output"]);
    output(command.arg(file.path()).args(roots(&fixture("5.15"))));
    file
}

#[test]
fn a_recording_is_shown_at_its_pace_faster_and_step_by_step() {
    for format in ["influx", "json"] {
        let file = recorded(format);
        let path = file.path().to_str().unwrap();
        let start = Instant::now();
        let mut terminal = Terminal::start(100, 30, &["--replay", path]);
        terminal.until_shown("replay 1 x");
        terminal.until_shown("Table  2,849 of 262,144 entries");
        terminal.until_shown("clash_resolve              0");
        terminal.press("p");
        terminal.until_shown("PAUSED");
        let clock = |terminal: &Terminal| terminal.contents().lines().next().unwrap().to_owned();
        let held = clock(&terminal);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(clock(&terminal), held);
        // Eleven steps are more than a second of the recording.
        terminal.press("...........");
        terminal.until("another second", |screen| !screen.contents().starts_with(&held));
        assert!(terminal.contents().contains("PAUSED"));
        terminal.press("p");
        terminal.until_shown("replay 1 x, at the end");
        // 3.9 s of rows, of which those that were stepped over took no time.
        assert!(start.elapsed() > Duration::from_secs(2), "{:?}", start.elapsed());
        terminal.press("q");
        assert!(terminal.wait().success());
        terminal.assert_restored();

        let start = Instant::now();
        let terminal = Terminal::start(100, 30, &["--replay", path, "--speed", "100"]);
        terminal.until_shown("replay 100 x, at the end");
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
}

/// One truth in several forms: 5 drops and 3 failed insertions a second on two CPUs. With fields on
/// several lines `insert_failed` was one that "this kernel does not count", and with each line
/// twice, with rows of single CPUs only, or beside another series, every counter was unknown.
#[test]
fn a_recording_is_shown_the_same_in_every_form() {
    let rows = |tags: &str| -> Vec<String> {
        let of_second = |second: u64| {
            let of = |cpu: &str, drop: u64, failed: u64| {
                let (drop, failed) = (1000 + drop * second, 2000 + failed * second);
                let fields =
                    format!("drop={drop}i,early_drop=0i,entries=100i,insert_failed={failed}i");
                format!("conntrack,cpu={cpu}{tags} {fields} {}000000000\n", 1_795_590_600 + second)
            };
            [of("all", 5, 3), of("cpu0", 4, 1), of("cpu1", 1, 2)]
        };
        (0..60).flat_map(of_second).collect()
    };
    let plain = rows(",host=gw");
    let apart = |line: &String| -> Vec<String> {
        let [series, fields, time] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        fields.split(',').map(|field| format!("{series} {field} {time}")).collect()
    };
    let field_a_line: Vec<_> = plain.iter().flat_map(apart).collect();
    let mut by_field = field_a_line.clone();
    by_field.sort_by_key(|line| {
        let mut words = line.split(' ').map(str::to_owned);
        let (series, field) = (words.next(), words.next().unwrap());
        (series, field.split('=').next().map(str::to_owned))
    });
    let of_cpus = plain.iter().filter(|line| !line.contains("cpu=all")).cloned().collect();
    let twice = plain.iter().flat_map(|line| [line.clone(), line.clone()]).collect();
    let other =
        |second: u64| format!("queue,cpu=all drop=7i {}000000000\n", 1_795_590_600 + second);
    let beside = plain.iter().cloned().chain((0..60).map(other)).collect();
    let two_tags = rows(",dc=a,host=gw").into_iter().zip(rows(",dc=b,host=gw"));
    let two_tags = two_tags.flat_map(|(a, b)| [a, b]).collect();
    for (form, lines) in [
        ("plain", plain),
        ("a field a line", field_a_line),
        ("by field", by_field),
        ("CPUs only", of_cpus),
        ("twice", twice),
        ("beside another", beside),
        ("two tags", two_tags),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines.concat()).unwrap();
        let path = file.path().to_str().unwrap();
        let mut terminal = Terminal::start(130, 45, &["--replay", path, "--speed", "1024"]);
        terminal.until_shown("at the end");
        terminal.until(form, |screen| {
            let contents = screen.contents();
            let numbers = |field: &str| {
                let line = contents.lines().find(|line| line.starts_with(field));
                let words = line.unwrap_or_default().split_whitespace().skip(1).take(3);
                words.collect::<Vec<_>>().join(" ")
            };
            numbers("drop ") == "5 5 5"
                && numbers("insert_failed ") == "3 3 3"
                && contents.contains("07:10:59 UTC")
                && contents.contains("CPUs, drop/s over 10 s")
                && contents.contains("cpu0 80.0%")
                && contents.contains("unknown: not in the rows")
                && !contents.contains("this kernel does not count it")
        });
        terminal.press("q");
        assert!(terminal.wait().success());
    }
}

#[test]
fn a_file_that_is_no_recording_is_told() {
    let diary = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(diary.path(), "dear diary\n").unwrap();
    let diary = diary.path().to_str().unwrap();
    for (path, told) in [("/nonexistent", "/nonexistent"), (diary, "no row of conntrack")] {
        let mut terminal = Terminal::start(200, 24, &["--replay", path]);
        assert_eq!(terminal.wait().code(), Some(1));
        terminal.until_shown(told);
    }
}
