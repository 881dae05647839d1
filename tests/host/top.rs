//! `ctpulse top` in a pseudo-terminal on this host, without the privilege to read the table. `tests/guest`
//! has its screen.

use crate::support::{ctpulse, text};
use crate::terminal::{Terminal, program};

/// Starts the program without any capability.
fn without_capabilities() -> &'static [&'static str] {
    match rustix::process::geteuid().is_root() {
        true => &["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
        false => &[],
    }
}

#[test]
fn a_table_that_cannot_be_read_is_an_error_before_the_screen_is_entered() {
    let mut terminal = Terminal::spawn(200, 24, program(without_capabilities()).arg("top"));
    assert_eq!(terminal.wait().code(), Some(1));
    terminal.until_shown("ctpulse: error: the table cannot be read: ");
    assert!(!terminal.has_written("\x1b[?1049h"), "{}", terminal.contents());
    terminal.assert_restored();
}

#[test]
fn an_interval_that_is_too_short_for_the_screen_is_a_wrong_command_line() {
    let short = ["top", "--interval", "999ms"];
    let mut terminal = Terminal::spawn(200, 24, program(without_capabilities()).args(short));
    assert_eq!(terminal.wait().code(), Some(2));
    terminal.until_shown("--interval is 999ms; the shortest of the screen is 1s");
    terminal.assert_restored();
    // Nothing else than the table is in the way of these.
    for more in [&["--interval", "999ms", "--count", "2"][..], &["--once"], &["--format", "json"]] {
        let command = program(without_capabilities()).arg("top").args(more);
        let mut terminal = Terminal::spawn(200, 24, command);
        assert_eq!(terminal.wait().code(), Some(1), "{more:?}");
        terminal.until_shown("ctpulse: error: the table cannot be read: ");
    }
}

#[test]
fn one_pass_and_several_exclude_each_other() {
    for more in [["--interval", "2s"], ["--count", "2"]] {
        let found = ctpulse().args(["top", "--once"]).args(more).output().unwrap();
        assert_eq!(found.status.code(), Some(2), "{}", text(&found.stderr));
        assert!(text(&found.stderr).contains("--once"), "{}", text(&found.stderr));
    }
}
