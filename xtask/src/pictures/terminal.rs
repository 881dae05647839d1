//! `ctpulse live --replay` in a pseudo-terminal, up to the end of the recording.

use std::io::Read;
use std::num::NonZero;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail};
use pty_process::Size;
use vt100::{Parser, Screen};

use crate::workspace;

const ROWS: NonZero<u16> = NonZero::new(24).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(100).unwrap();

/// The speed of the replay: ten minutes in a moment.
const SPEED: &str = "1000";

/// The header has this text from the last row on.
const AT_THE_END: &str = "at the end";

/// The program writes this after each picture. Between two of them a screen is half drawn.
const END_OF_PICTURE: &[u8] = b"\x1b[?25l";

/// The longest time without output.
const PATIENCE: Duration = Duration::from_secs(60);

/// Replays `recording` and returns the screen that shows its last row.
///
/// # Errors
/// The program cannot be started, or ends or stalls before the last row.
pub(super) fn last_screen(ctpulse: &Path, recording: &str) -> anyhow::Result<Screen> {
    let (mut pty, pts) = pty_process::blocking::open().context("cannot open a pseudo-terminal")?;
    pty.resize(Size::new(ROWS.get(), COLUMNS.get())).context("cannot set its size")?;
    let mut child = pty_process::blocking::Command::new(ctpulse)
        .args(["live", "--replay", recording, "--speed", SPEED])
        .current_dir(workspace::root())
        .env_remove("NO_COLOR")
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8")
        .spawn(pts)
        .with_context(|| format!("cannot start {}", ctpulse.display()))?;
    let (to_screen, written) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        // A closed pseudo-terminal reads as an error.
        while let Ok(length @ 1..) = pty.read(&mut buffer) {
            if to_screen.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    let screen = until_the_end(&written);
    // It has nothing to save, and waits for a key otherwise.
    child.kill().context("cannot end ctpulse live")?;
    child.wait().context("cannot wait for ctpulse live")?;
    screen
}

/// The first complete picture that shows the end of the recording.
fn until_the_end(written: &mpsc::Receiver<Vec<u8>>) -> anyhow::Result<Screen> {
    let mut parser = Parser::new(ROWS, COLUMNS, 0);
    let mut pending = Vec::new();
    loop {
        let Ok(bytes) = written.recv_timeout(PATIENCE) else {
            let screen = parser.screen().contents();
            bail!("`ctpulse live` ended or stalled before the end of the recording:\n{screen}");
        };
        pending.extend(bytes);
        while let Some(end) = end_of_picture(&pending) {
            parser.process(&pending[..end]);
            pending.drain(..end);
            if parser.screen().contents().contains(AT_THE_END) {
                return Ok(parser.screen().clone());
            }
        }
    }
}

/// The length of the first complete picture in `bytes`.
fn end_of_picture(bytes: &[u8]) -> Option<usize> {
    let start = bytes.windows(END_OF_PICTURE.len()).position(|part| part == END_OF_PICTURE)?;
    Some(start + END_OF_PICTURE.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replayed(parts: &[&str]) -> anyhow::Result<Screen> {
        let (to, from) = mpsc::channel();
        for part in parts {
            to.send(part.as_bytes().to_vec()).unwrap();
        }
        drop(to);
        until_the_end(&from)
    }

    #[test]
    fn a_half_drawn_picture_is_not_returned() {
        let screen = replayed(&["\x1b[Hat the end", "\x1b[2;1Hlast\x1b[?2", "5l\x1b[2;1Hmore"]);
        assert_eq!(screen.unwrap().contents().trim_end(), "at the end\nlast");
    }

    #[test]
    fn an_end_before_the_last_row_is_an_error_with_the_screen() {
        let error = replayed(&["\x1b[Hno such file\x1b[?25l"]).unwrap_err().to_string();
        assert!(error.contains("before the end") && error.contains("no such file"), "{error}");
    }
}
