//! The loop: events in, at most ten pictures a second out, on a thread of its own.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use crossterm::event::{self, KeyEvent};
use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};

use super::app::{App, Message, Request};
use super::draw::draw;
use super::feed::{Batch, Feed, FeedError};
use super::keys::{Action, action};
use crate::tui::terminal::{Display, leave};

/// The shortest time between two pictures.
const FRAME: Duration = Duration::from_millis(100);

/// The longest time without drawing, so that the age of a message is shown.
const IDLE: Duration = Duration::from_secs(1);

/// How long a stop may take to reach every thread.
const STOPS_WITHIN: Duration = Duration::from_secs(2);

/// Events that may wait; rows find no room when the screen is stuck.
pub const MOST_EVENTS: usize = 256;

/// An event of the loop.
#[derive(Debug)]
pub enum Event {
    /// A key was pressed.
    Key(KeyEvent),
    /// An emission.
    Rows(Batch),
    /// A message was logged.
    Said(Message),
    /// The terminal has another size.
    Resized,
    /// A request to stop the process (SIGTSTP).
    Stop,
    /// The process was stopped and goes on (SIGCONT).
    GoesOn,
    /// The end.
    End,
}

/// Why the loop ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// The terminal cannot be written to or read from.
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
    /// The feed cannot continue.
    #[error(transparent)]
    Feed(#[from] FeedError),
}

/// The loop's parts.
pub struct Ui {
    /// The state of the screen.
    pub app: App,
    /// Where rows come from.
    pub feed: Box<dyn Feed>,
    /// The events.
    pub events: Receiver<Event>,
    /// Where it is shown.
    pub display: Display,
}

impl Ui {
    /// Runs until a request for the end; returns the messages that were only on the screen.
    ///
    /// # Errors
    /// Why it cannot go on. The terminal has been left then.
    pub fn run(mut self) -> Result<Vec<Message>, UiError> {
        self.app.width = self.display.width();
        let start = Instant::now();
        let (mut is_changed, mut frame_at) = (true, start);
        loop {
            let now = Instant::now();
            let app = &mut self.app;
            self.feed.run(now, &mut |batch| {
                app.take(&batch);
                is_changed = true;
            })?;
            is_changed |= self.app.tick(now);
            if is_changed && now >= frame_at {
                self.app.interval = self.feed.interval();
                self.app.pace = self.feed.pace();
                self.display.draw(|buffer| draw(&self.app, buffer))?;
                is_changed = false;
                frame_at = (frame_at + FRAME).max(now + FRAME / 2);
            }
            let next = self.feed.due().unwrap_or(now + IDLE).min(now + IDLE);
            let next = if is_changed { next.min(frame_at) } else { next };
            match self.events.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    is_changed = true;
                    let mut event = Some(event);
                    while let Some(one) = event {
                        if !self.take(one)? {
                            return Ok(self.said_since(start));
                        }
                        event = self.events.try_recv().ok();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(self.said_since(start));
                }
            }
        }
    }

    fn said_since(&self, start: Instant) -> Vec<Message> {
        self.app.messages().filter(|message| message.at >= start).cloned().collect()
    }

    /// Takes one event; `false` at the end.
    fn take(&mut self, event: Event) -> Result<bool, UiError> {
        match event {
            Event::Rows(batch) => self.app.take(&batch),
            Event::Said(message) => self.app.say(message),
            Event::Resized => self.fit()?,
            Event::GoesOn => {
                self.display.enter_again()?;
                self.fit()?;
            }
            Event::Stop => return self.stop(),
            Event::End => return Ok(false),
            Event::Key(key) => match action(key).and_then(|action| self.app.act(action)) {
                None => {}
                Some(Request::Quit) => return Ok(false),
                Some(Request::Faster) => self.feed.faster(),
                Some(Request::Slower) => self.feed.slower(),
                Some(Request::Hold(held)) => self.feed.hold(held),
                Some(Request::Step) => self.feed.step(),
                Some(Request::Redraw) => self.fit()?,
                // As the terminal would: everything that the shell started together.
                Some(Request::Suspend) => {
                    kill_current_process_group(Signal::TSTP).map_err(io::Error::from)?;
                }
            },
        }
        Ok(true)
    }

    fn fit(&mut self) -> io::Result<()> {
        self.display.fit()?;
        self.app.width = self.display.width();
        Ok(())
    }

    /// Stops the process with the terminal restored, and continues after SIGCONT; `false` where the
    /// process must end then.
    fn stop(&mut self) -> Result<bool, UiError> {
        leave();
        kill_process(getpid(), Signal::STOP).map_err(io::Error::from)?;
        // Another thread may take the signal, so this one may still run for a moment: only its
        // counterpart reports that the stop is over.
        let deadline = Instant::now() + STOPS_WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => return Ok(false),
                Ok(Event::GoesOn) | Err(RecvTimeoutError::Timeout) => break,
                Ok(Event::Rows(batch)) => self.app.take(&batch),
                Ok(Event::Said(message)) => self.app.say(message),
                Ok(Event::Key(_) | Event::Resized | Event::Stop) => {}
            }
        }
        self.display.enter_again()?;
        self.fit()?;
        Ok(true)
    }
}

/// Reads keys for as long as there is a terminal, on a thread that ends with the program. `end` is called
/// for a key that ends the program, which the loop may be too busy to take.
///
/// # Errors
/// The system's, when the thread cannot be started.
pub fn read_keys(to: SyncSender<Event>, mut end: impl FnMut() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name("keys".into()).spawn(move || {
        while let Ok(event) = event::read() {
            // The signal reports the new size; there is no other event.
            let event::Event::Key(key) = event else { continue };
            if action(key) == Some(Action::Quit) {
                end();
            }
            if to.send(Event::Key(key)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
