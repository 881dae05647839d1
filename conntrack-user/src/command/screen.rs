//! A full-screen program: its signals, its threads, and its end.
//!
//! The main thread waits for signals, and the UI has a thread of its own that may be stuck in the
//! terminal. The terminal is restored in any order of their ends.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use crossterm::event::KeyEvent;
use log::{Level, LevelFilter};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;

use super::stream::{PATIENCE, RunEvent, is_ignored, on_signal};
use crate::logging;
use crate::text::colour;
use crate::tui::messages::Message;
use crate::tui::terminal::{self, Display};
use crate::tui::theme::Theme;
use crate::tui::ui::{Event, Ui, UiError, View, read_keys};

/// The thread of the UI.
pub(super) type UiThread = JoinHandle<Result<Vec<Message>, UiError>>;

/// Starts the log: on the screen while there is one, and on standard error otherwise.
pub(super) fn start_log<News: Send + 'static>(level: LevelFilter, to_ui: &SyncSender<Event<News>>) {
    let said = to_ui.clone();
    logging::start_diverted(level, move |level, text| {
        let is_warning = level <= Level::Warn;
        let message = Message { text: text.to_owned(), is_warning, at: Instant::now() };
        // Without room it is lost; there is more of the same on the screen then.
        let _ = said.try_send(Event::Said(message));
        terminal::is_entered()
    });
    terminal::leave_on_panic();
}

/// Enters the terminal, and shows `view` there on a thread of its own. `ends` are the keys that end the
/// program where the screen is stuck.
pub(super) fn start<V>(
    view: V,
    events: Receiver<Event<V::News>>,
    (to, to_ui): (&UnboundedSender<RunEvent>, &SyncSender<Event<V::News>>),
    ends: fn(KeyEvent) -> bool,
) -> anyhow::Result<UiThread>
where
    V: View<News: Send + 'static> + Send + 'static,
{
    let display = Display::enter(standard_output()?).context("cannot enter the terminal")?;
    let ui = Ui { view, events, display };
    let (end, to) = (to.clone(), to.clone());
    // Also where the UI waits for a recording that does not go on.
    read_keys(to_ui.clone(), ends, move || _ = end.send(RunEvent::End))?;
    let run = move || {
        let ended = ui.run();
        let _ = to.send(RunEvent::End);
        ended
    };
    Ok(std::thread::Builder::new().name("ui".into()).spawn(run)?)
}

/// Logs the warnings that were on the screen only.
pub(super) fn repeat(said: &[Message]) {
    for message in said.iter().filter(|message| message.is_warning) {
        logging::say(Level::Warn, &message.text);
    }
}

/// Signals that end a process unless it handles them, and would leave the terminal in raw mode. Faults
/// and ABRT come from inside, KILL cannot be handled, and PIPE is ignored from the start.
const ENDING: [Signal; 16] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TRAP,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::STKFLT,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::VTALARM,
    Signal::PROF,
    Signal::IO,
    Signal::POWER,
    Signal::SYS,
];

/// So do the real-time signals, but for those that the C library keeps for itself.
const REALTIME: RangeInclusive<i32> = if cfg!(target_env = "musl") { 35..=64 } else { 34..=64 };

/// Connects the signals that end the program or concern the UI.
pub(super) fn wait_for_signals<News: Send + 'static>(
    to: &UnboundedSender<RunEvent>,
    to_ui: &SyncSender<Event<News>>,
) -> anyhow::Result<()> {
    for number in ENDING.iter().map(|signal| signal.as_raw()).chain(REALTIME) {
        let kind = SignalKind::from_raw(number);
        match kind {
            _ if is_ignored(kind) => {}
            _ if kind == SignalKind::hangup() => on_signal(kind, to, || RunEvent::HangUp)?,
            _ => on_signal(kind, to, || RunEvent::End)?,
        }
    }
    let kind = |signal: Signal| SignalKind::from_raw(signal.as_raw());
    forward(SignalKind::window_change(), to_ui, || Event::Resized)?;
    forward(kind(Signal::TSTP), to_ui, || Event::Stop)?;
    forward(kind(Signal::CONT), to_ui, || Event::GoesOn)
}

/// Returns the abilities of the terminal by its environment; with `ascii` it can only show ASCII.
pub(super) fn theme(ascii: bool) -> Theme {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let is_utf8 = ["utf-8", "utf8"].iter().any(|name| locale.to_lowercase().contains(name));
    // The console's font has no eighths of a block.
    let is_console = set("TERM").is_some_and(|term| term == "linux");
    Theme { colour: colour::is_permitted(), ascii: ascii || is_console || !is_utf8 }
}

/// Standard output without its lock and buffer.
fn standard_output() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// Sends the UI an event whenever the signal `kind` arrives.
fn forward<News: Send + 'static>(
    kind: SignalKind,
    to: &SyncSender<Event<News>>,
    event: fn() -> Event<News>,
) -> anyhow::Result<()> {
    let mut signals = signal(kind).context("cannot wait for signals")?;
    let to = to.clone();
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            // Without room the screen is stuck, and this thread must not be.
            let _ = to.try_send(event());
        }
    });
    Ok(())
}

/// Ends the UI; one that is stuck in its terminal is left behind, and the terminal left for it.
pub(super) fn end<News>(
    ui: UiThread,
    to: &SyncSender<Event<News>>,
) -> anyhow::Result<Vec<Message>> {
    let deadline = Instant::now() + PATIENCE;
    while !ui.is_finished() && Instant::now() < deadline {
        let _ = to.try_send(Event::End);
        std::thread::sleep(Duration::from_millis(1));
    }
    if !ui.is_finished() {
        // On a thread: what it writes may be stuck as well.
        let leaving = std::thread::spawn(terminal::leave);
        let deadline = Instant::now() + PATIENCE / 2;
        while !leaving.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        return Ok(Vec::new());
    }
    match ui.join() {
        // A terminal that hung up is the usual end of a connection.
        Ok(Err(UiError::Terminal(error))) if is_hang_up(&error) => Ok(Vec::new()),
        Ok(ended) => Ok(ended?),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
        || error.kind() == io::ErrorKind::BrokenPipe
}
