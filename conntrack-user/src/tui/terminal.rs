//! The terminal: whether it can show a picture, entering it, and leaving it on every way out.
//!
//! What has to be undone is kept in one place that every thread can reach, so that a panic of
//! any of them and an end by a signal undo it, too, and only once. Nothing here goes through
//! standard output's lock, which a thread that waits for a stuck terminal may hold.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal};
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::sync::{Mutex, TryLockError};
use std::time::Duration;

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::style::ResetColor;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::SMALLEST;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// Standard output goes elsewhere.
    #[error(
        "live needs a terminal, and standard output is not one; `ctpulse run` writes rows to files \
         and pipes"
    )]
    NotATerminal,
    /// The terminal's kind is not known.
    #[error(
        "live needs a terminal that can move its cursor, and TERM is not set; set it (xterm fits \
         most), or use `ctpulse run`, which prints a line a second"
    )]
    Unset,
    /// The terminal can print lines only.
    #[error(
        "live needs a terminal that can move its cursor, and TERM is dumb; use `ctpulse run`, \
         which prints a line a second"
    )]
    Dumb,
}

/// Whether `output` can show a picture, where `term` is the environment's `TERM`.
///
/// # Errors
/// Why not.
pub fn check(output: &impl IsTerminal, term: Option<&OsStr>) -> Result<(), TerminalError> {
    if !output.is_terminal() {
        return Err(TerminalError::NotATerminal);
    }
    match term {
        None => Err(TerminalError::Unset),
        Some(term) if term.is_empty() => Err(TerminalError::Unset),
        Some(term) if term == "dumb" => Err(TerminalError::Dumb),
        Some(_) => Ok(()),
    }
}

/// The terminal state to restore.
struct Entered {
    tty: File,
    modes: Termios,
}

static ENTERED: Mutex<Option<Entered>> = Mutex::new(None);

/// Whether a picture is on the terminal now.
#[must_use]
pub fn is_entered() -> bool {
    ENTERED.lock().is_ok_and(|entered| entered.is_some())
}

/// Leaves the terminal as it was found, if it was entered. Can be called from any thread.
pub fn leave() {
    let mut entered = match ENTERED.try_lock() {
        Ok(entered) => entered,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        // Another thread enters or leaves right now, which takes no time.
        Err(TryLockError::WouldBlock) => {
            std::thread::sleep(Duration::from_millis(20));
            let Ok(entered) = ENTERED.try_lock() else { return };
            entered
        }
    };
    if let Some(Entered { mut tty, modes }) = entered.take() {
        drop(entered);
        // The modes first: they do not wait for a terminal that is stuck.
        let _ = tcsetattr(&tty, OptionalActions::Now, &modes);
        let _ = execute!(tty, ResetColor, Show, LeaveAlternateScreen);
    }
}

/// Has a panic of any thread leave the terminal before it is reported. The hook also runs where a
/// panic aborts the program.
pub fn leave_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        leave();
        report(panic);
    }));
}

/// A terminal with a picture on it; left when this value goes.
pub struct Display {
    tty: File,
    /// Never dropped: `Terminal::drop` prints to standard error where it cannot show the cursor, and
    /// panics where that is the terminal that hung up. [`leave`] shows the cursor.
    picture: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<File>>>>,
}

impl Display {
    /// Enters the terminal behind `tty`.
    ///
    /// # Errors
    /// The system's.
    pub fn enter(tty: File) -> io::Result<Self> {
        // A picture is written in few pieces.
        let writer = BufWriter::with_capacity(64 << 10, tty.try_clone()?);
        let options = TerminalOptions { viewport: Viewport::Fixed(size(&tty)) };
        let picture = Terminal::with_options(CrosstermBackend::new(writer), options)?;
        let mut display = Self { tty, picture: ManuallyDrop::new(picture) };
        display.enter_again()?;
        Ok(display)
    }

    /// Enters the terminal after it was left, or after another program changed it, and draws
    /// everything again.
    ///
    /// # Errors
    /// The system's.
    pub fn enter_again(&mut self) -> io::Result<()> {
        let mut entered = ENTERED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if entered.is_none() {
            let tty = self.tty.try_clone()?;
            *entered = Some(Entered { tty, modes: tcgetattr(&self.tty)? });
        }
        drop(entered);
        let mut raw = tcgetattr(&self.tty)?;
        raw.make_raw();
        tcsetattr(&self.tty, OptionalActions::Now, &raw)?;
        execute!(self.tty, EnterAlternateScreen, Hide)?;
        self.fit()
    }

    /// Takes the terminal's size, and draws everything again.
    ///
    /// # Errors
    /// The system's.
    pub fn fit(&mut self) -> io::Result<()> {
        self.picture.resize(size(&self.tty))
    }

    /// Columns of the screen.
    pub fn width(&mut self) -> u16 {
        self.picture.current_buffer_mut().area().width
    }

    /// Writes what `draw` changed.
    ///
    /// # Errors
    /// The system's.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        self.picture.draw(|frame| draw(frame.buffer_mut()))?;
        Ok(())
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        leave();
    }
}

/// The whole screen. A serial console does not know its size, and is taken to be of the usual.
fn size(tty: &impl AsFd) -> Rect {
    let (width, height) = match tcgetwinsize(tty) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => SMALLEST,
    };
    Rect { x: 0, y: 0, width, height }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use ratatui::style::Style;
    use rustix::termios::{LocalModes, Winsize, tcsetwinsize};

    use super::*;

    /// The two ends of a terminal of this size, and what is read at the other end.
    fn terminal(ws_col: u16, ws_row: u16) -> (File, File) {
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let tty = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        tcsetwinsize(&tty, Winsize { ws_col, ws_row, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        (master.into(), tty)
    }

    fn read(master: &mut File) -> String {
        let mut buffer = vec![0; 1 << 16];
        let length = master.read(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// Reads until all of `ends` were read: what is written at once may come in pieces.
    fn read_until(master: &mut File, ends: &[&str]) -> String {
        let mut text = String::new();
        while !ends.iter().all(|end| text.contains(end)) {
            text.push_str(&read(master));
        }
        text
    }

    /// One test, because a process has one terminal.
    #[test]
    fn a_panic_of_any_thread_and_an_end_leave_the_terminal_as_it_was() {
        let (mut master, tty) = terminal(80, 24);
        let before = tcgetattr(&tty).unwrap();
        let enter = |master: &mut File| {
            let display = Display::enter(tty.try_clone().unwrap()).unwrap();
            let modes = tcgetattr(&tty).unwrap().local_modes;
            assert!(!modes.intersects(LocalModes::ECHO | LocalModes::ICANON), "{modes:?}");
            assert!(is_entered());
            read_until(master, &["\x1b[?1049h", "\x1b[?25l"]);
            display
        };
        let is_left = |master: &mut File| {
            read_until(master, &["\x1b[?25h", "\x1b[?1049l"]);
            let after = tcgetattr(&tty).unwrap();
            assert_eq!(after.local_modes, before.local_modes);
            assert_eq!(after.input_modes, before.input_modes);
            assert_eq!(after.output_modes, before.output_modes);
            assert!(!is_entered());
        };

        let mut display = enter(&mut master);
        let text = |buffer: &mut Buffer| buffer.set_string(0, 0, "drawn", Style::new());
        display.draw(text).unwrap();
        read_until(&mut master, &["drawn"]);
        drop(display);
        is_left(&mut master);

        leave_on_panic();
        let display = enter(&mut master);
        let elsewhere = std::thread::Builder::new().name("sampler".into());
        let panicked = elsewhere.spawn(|| panic!("provoked by a test")).unwrap().join();
        assert!(panicked.is_err());
        is_left(&mut master);
        // What was undone is not undone again.
        drop(display);
        let nothing = rustix::io::ioctl_fionread(&master).unwrap();
        assert_eq!(nothing, 0);
        // The next test's panic is its own again.
        drop(std::panic::take_hook());

        let (_master, unsized_tty) = terminal(0, 0);
        assert_eq!(size(&unsized_tty), Rect::new(0, 0, 80, 24));
    }

    #[test]
    fn a_terminal_without_a_screen_is_an_error() {
        let (_master, tty) = terminal(80, 24);
        assert!(check(&tty, Some(OsStr::new("xterm"))).is_ok());
        for (term, reported) in [(None, "not set"), (Some(""), "not set"), (Some("dumb"), "dumb")] {
            let error = check(&tty, term.map(OsStr::new)).unwrap_err().to_string();
            assert!(error.contains(reported), "{error}");
        }
        let file = File::open("/dev/null").unwrap();
        assert!(check(&file, Some(OsStr::new("xterm"))).is_err());
    }
}
