//! The program in a pseudo-terminal, and what its screen shows.

use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, Termios, tcgetattr};

use super::SOON;
use crate::support::{fixture, roots};

/// The program in a terminal of its own.
pub(super) struct Terminal {
    pub(super) child: Child,
    pty: Arc<Pty>,
    pub(super) screen: Arc<Mutex<vt100::Parser>>,
    /// The other end, so that it does not hang up when the program ends.
    pub(super) tty: std::fs::File,
    pub(super) before: Termios,
}

impl Terminal {
    pub(super) fn start(columns: u16, rows: u16, arguments: &[&str]) -> Self {
        Self::start_in(columns, rows, &fixture("5.15"), arguments, &[])
    }

    pub(super) fn start_in(
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
        let mut command = live(root, arguments);
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

    pub(super) fn contents(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the screen is as `wanted`; panics with it when it does not get so.
    pub(super) fn until(&self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        let start = Instant::now();
        while start.elapsed() < SOON {
            if wanted(self.screen.lock().unwrap().screen()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{what} does not come; the screen:\n{}", self.contents());
    }

    pub(super) fn until_shown(&self, text: &str) {
        self.until(text, |screen| screen.contents().contains(text));
    }

    pub(super) fn until_gone(&self, text: &str) {
        self.until(&format!("the end of {text}"), |screen| !screen.contents().contains(text));
    }

    pub(super) fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(super) fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(cells(rows), cells(columns));
        self.pty.resize(Size::new(rows, columns)).unwrap();
    }

    pub(super) fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap()
    }

    pub(super) fn wait(&mut self) -> ExitStatus {
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
    pub(super) fn assert_restored(&self) {
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

/// The command, with nothing of this environment that changes what it shows.
fn live(root: &std::path::Path, arguments: &[&str]) -> Command {
    // Under `nohup`, or in the background of a shell, signals that are ignored are inherited.
    let mut command = Command::new("env").arg("--default-signal=INT,HUP,QUIT");
    command = command.arg(crate::support::binary()).arg("live").args(arguments);
    if !["--replay", "--netns"].iter().any(|own| arguments.contains(own)) {
        command = command.args(["--ebpf", "off"]).args(roots(root));
    }
    for variable in ["HOST_PROC", "HOST_SYS", "NO_COLOR", "LC_ALL", "LC_CTYPE"] {
        command = command.env_remove(variable);
    }
    command.env("TERM", "xterm-256color").env("LANG", "C.UTF-8")
}

/// The status of the program after its terminal was closed, once `shown` was on it.
pub(super) fn status_after_hang_up(shown: &str) -> ExitStatus {
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

pub(super) fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
