//! The program in a pseudo-terminal of this host: what the guests use, too, and `live` with a fixture.

#[path = "../terminal.rs"]
mod shared;

use std::io::Read as _;
use std::process::ExitStatus;

use pty_process::Size;
use pty_process::blocking::{Command, open};

pub(crate) use self::shared::*;
use crate::support::{fixture, roots};

impl Terminal {
    pub(crate) fn start(columns: u16, rows: u16, arguments: &[&str]) -> Self {
        Self::start_in(columns, rows, &fixture("5.15"), arguments, &[])
    }

    pub(crate) fn start_in(
        columns: u16,
        rows: u16,
        root: &std::path::Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = live(root, arguments);
        for (name, value) in environment {
            command = command.env(name, value);
        }
        Self::spawn(columns, rows, command)
    }
}

/// `ctpulse live`, with the files below `root`.
fn live(root: &std::path::Path, arguments: &[&str]) -> Command {
    let command = program(&[]).arg("live").args(arguments);
    if ["--replay", "--netns"].iter().any(|own| arguments.contains(own)) {
        return command;
    }
    command.args(["--ebpf", "off"]).args(roots(root))
}

/// The program, started by `starter`, with nothing of this environment that changes what it shows.
pub(crate) fn program(starter: &[&str]) -> Command {
    // Under `nohup`, or in the background of a shell, signals that are ignored are inherited.
    let mut command = Command::new("env").arg("--default-signal=INT,HUP,QUIT").args(starter);
    command = command.arg(crate::support::binary());
    for variable in ["HOST_PROC", "HOST_SYS", "NO_COLOR", "LC_ALL", "LC_CTYPE"] {
        command = command.env_remove(variable);
    }
    command.env("TERM", "xterm-256color").env("LANG", "C.UTF-8")
}

/// The status of the program after its terminal was closed, once `shown` was on it.
pub(crate) fn status_after_hang_up(shown: &str) -> ExitStatus {
    let (pty, pts) = open().unwrap();
    pty.resize(Size::new(24, 80)).unwrap();
    let child = live(&fixture("5.15"), &[]).spawn(pts).unwrap();
    let mut screen = vt100::Parser::new(cells(24), cells(80), 0);
    let mut buffer = [0; 8192];
    while !screen.screen().contents().contains(shown) {
        let length = (&pty).read(&mut buffer).unwrap();
        screen.process(&buffer[..length]);
    }
    drop(pty);
    crate::support::Running { child, lines: std::sync::mpsc::channel().1 }.wait().0
}
