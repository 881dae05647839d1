//! `ctpulse live` in a pseudo-terminal: what it shows, its keys, sizes and signals, and the
//! terminal as it was found on every way out.

mod replay;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::SOON;
use crate::support::{ctpulse, fixture, output, roots, text};
use crate::terminal::{self, Terminal};
use rustix::process::Signal;
use rustix::termios::{LocalModes, tcgetattr};

#[test]
fn the_screen_shows_the_table_the_rates_and_their_sources() {
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
fn changed_files_are_shown() {
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
fn the_screen_follows_the_size_of_the_terminal() {
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
fn every_signal_that_ends_live_restores_the_terminal() {
    // All signals except faults and ABRT, which the program raises itself, those that no process can
    // handle, and those that end no process by default.
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

/// A closed SSH session. The end of ratatui's terminal printed to it that the cursor cannot be shown,
/// and panicked because that cannot be printed.
#[test]
fn a_terminal_that_goes_away_is_a_hang_up() {
    let status = terminal::status_after_hang_up("2,849 of");
    assert_eq!(status.code(), Some(129), "{status}");
}

#[test]
fn a_stopped_program_restores_the_terminal_and_continues() {
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
    // SIGKILL cannot be caught, and a shell that takes the terminal meanwhile.
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
fn a_blocked_terminal_does_not_delay_the_end() {
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
fn missing_statistics_are_reported_and_waited_for() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("proc")).unwrap();
    let mut terminal = Terminal::start_in(120, 30, root.path(), &[], &[]);
    terminal.until_shown("has no stat/nf_conntrack");
    terminal.press("q");
    assert!(terminal.wait().success());
    terminal.assert_restored();
    // What was on the screen is not lost with it.
    terminal.until_shown("warning:");
}

/// A name that was mistyped gave an empty dashboard.
#[test]
fn a_namespace_that_does_not_exist_is_an_error() {
    let mut terminal = Terminal::start(200, 24, &["--netns", "ctpulse-never-was"]);
    assert_eq!(terminal.wait().code(), Some(1));
    terminal.until_shown("there is no network namespace ctpulse-never-was in /run/netns");
    assert!(!terminal.screen.lock().unwrap().screen().alternate_screen());
}

#[test]
fn an_unsuitable_terminal_is_an_error() {
    let run = |command: &mut std::process::Command| {
        let found = command.args(roots(&fixture("5.15"))).output().unwrap();
        (found.status.code(), text(&found.stderr))
    };
    let (code, printed) = run(ctpulse().arg("live").env("TERM", "xterm"));
    assert_eq!(code, Some(1));
    assert!(printed.contains("standard output is not one\nctpulse: `ctpulse run`"), "{printed}");
    for (term, wanted) in [("", "TERM is not set"), ("dumb", "TERM is dumb")] {
        let root: PathBuf = fixture("5.15");
        let mut terminal = Terminal::start_in(80, 24, &root, &[], &[("TERM", term)]);
        assert_eq!(terminal.wait().code(), Some(1));
        terminal.until_shown(wanted);
        assert!(!terminal.screen.lock().unwrap().screen().alternate_screen());
    }
}
