//! The program in a pseudo-terminal, and what its screen shows.

#![allow(dead_code, reason = "each user takes a part")]

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

use crate::SOON;

/// The program in a terminal of its own.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    pty: Arc<Pty>,
    pub(crate) screen: Arc<Mutex<vt100::Parser>>,
    /// Everything that was written to it.
    written: Arc<Mutex<Vec<u8>>>,
    /// The other end, so that it does not hang up when the program ends.
    pub(crate) tty: std::fs::File,
    pub(crate) before: Termios,
}

impl Terminal {
    /// Starts a command in a terminal of this size.
    pub(crate) fn spawn(columns: u16, rows: u16, command: Command) -> Self {
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
        let child = command.spawn(pts).unwrap();
        let (pty, screen) = (
            Arc::new(pty),
            Arc::new(Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 0))),
        );
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (from, to, all) = (Arc::clone(&pty), Arc::clone(&screen), Arc::clone(&written));
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = (&*from).read(&mut buffer) {
                to.lock().unwrap().process(&buffer[..length]);
                all.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self { child, pty, screen, written, tty, before }
    }

    pub(crate) fn contents(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Whether a sequence was written, also one that the screen does not show.
    pub(crate) fn has_written(&self, sequence: &str) -> bool {
        let written = self.written.lock().unwrap();
        written.windows(sequence.len()).any(|window| window == sequence.as_bytes())
    }

    /// Waits until the screen is as `wanted`; panics with it when it does not get so.
    pub(crate) fn until(&self, what: &str, mut wanted: impl FnMut(&vt100::Screen) -> bool) {
        let start = Instant::now();
        while start.elapsed() < SOON {
            if wanted(self.screen.lock().unwrap().screen()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{what} does not come; the screen:\n{}", self.contents());
    }

    pub(crate) fn until_shown(&self, text: &str) {
        self.until(text, |screen| screen.contents().contains(text));
    }

    pub(crate) fn until_gone(&self, text: &str) {
        self.until(&format!("the end of {text}"), |screen| !screen.contents().contains(text));
    }

    pub(crate) fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(cells(rows), cells(columns));
        self.pty.resize(Size::new(rows, columns)).unwrap();
    }

    pub(crate) fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
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
    pub(crate) fn assert_restored(&self) {
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

pub(crate) fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
