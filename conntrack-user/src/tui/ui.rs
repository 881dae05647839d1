//! The loop: events in, at most ten pictures a second out, on a thread of its own.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use crossterm::event::{self, KeyEvent};
use ratatui::buffer::Buffer;
use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};

use super::messages::{Message, Messages};
use super::terminal::{Display, leave};

/// The shortest time between two pictures.
const FRAME: Duration = Duration::from_millis(100);

/// The longest time without drawing, so that the age of a message is shown.
const IDLE: Duration = Duration::from_secs(1);

/// How long a stop may take to reach every thread.
const STOPS_WITHIN: Duration = Duration::from_secs(2);

/// Events that may wait; news find no room when the screen is stuck.
pub const MOST_EVENTS: usize = 256;

/// An event of the loop.
#[derive(Debug)]
pub enum Event<News> {
    /// A key was pressed.
    Key(KeyEvent),
    /// Something new to show.
    News(News),
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

/// A request of a key to the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// End.
    Quit,
    /// Stop the process.
    Suspend,
    /// Draw everything again.
    Redraw,
}

/// What is on the screen, and what the keys do with it.
pub trait View {
    /// The events from outside that it takes while it is shown.
    type News;

    /// Does what is due, and returns whether the picture changes by that.
    ///
    /// # Errors
    /// Why it cannot go on.
    fn run(&mut self, now: Instant) -> anyhow::Result<bool>;

    /// When something is due next.
    fn due(&self) -> Option<Instant>;

    /// Takes something new.
    fn take(&mut self, news: Self::News);

    /// Does what a key asks for; the rest is a request to the loop.
    fn press(&mut self, key: KeyEvent) -> Option<Request>;

    /// Takes the number of the screen's columns.
    fn fit(&mut self, columns: u16);

    /// Draws into the whole of a buffer.
    fn draw(&mut self, buffer: &mut Buffer);

    /// The messages that are on the screen.
    fn messages(&mut self) -> &mut Messages;
}

/// Why the loop ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// The terminal cannot be written to or read from.
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
    /// There is nothing more to show.
    #[error(transparent)]
    View(anyhow::Error),
}

/// The loop's parts.
pub struct Ui<V: View> {
    /// What is shown.
    pub view: V,
    /// The events.
    pub events: Receiver<Event<V::News>>,
    /// Where it is shown.
    pub display: Display,
}

impl<V: View> Ui<V> {
    /// Runs until a request for the end; returns the messages that were only on the screen.
    ///
    /// # Errors
    /// Why it cannot go on. The terminal has been left then.
    pub fn run(mut self) -> Result<Vec<Message>, UiError> {
        self.view.fit(self.display.width());
        let start = Instant::now();
        let (mut is_changed, mut frame_at) = (true, start);
        loop {
            let now = Instant::now();
            is_changed |= self.view.run(now).map_err(UiError::View)?;
            is_changed |= self.view.messages().tick(now);
            if is_changed && now >= frame_at {
                self.display.draw(|buffer| self.view.draw(buffer))?;
                is_changed = false;
                frame_at = (frame_at + FRAME).max(now + FRAME / 2);
            }
            let next = self.view.due().unwrap_or(now + IDLE).min(now + IDLE);
            let next = if is_changed { next.min(frame_at) } else { next };
            match self.events.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    is_changed = true;
                    let mut event = Some(event);
                    while let Some(one) = event {
                        if !self.take(one)? {
                            return Ok(self.view.messages().since(start));
                        }
                        event = self.events.try_recv().ok();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(self.view.messages().since(start));
                }
            }
        }
    }

    /// Takes one event; `false` at the end.
    fn take(&mut self, event: Event<V::News>) -> Result<bool, UiError> {
        match event {
            Event::News(news) => self.view.take(news),
            Event::Said(message) => self.view.messages().say(message),
            Event::Resized => self.fit()?,
            Event::GoesOn => {
                self.display.enter_again()?;
                self.fit()?;
            }
            Event::Stop => return self.stop(),
            Event::End => return Ok(false),
            Event::Key(key) => match self.view.press(key) {
                None => {}
                Some(Request::Quit) => return Ok(false),
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
        self.view.fit(self.display.width());
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
                Ok(Event::News(news)) => self.view.take(news),
                Ok(Event::Said(message)) => self.view.messages().say(message),
                Ok(Event::Key(_) | Event::Resized | Event::Stop) => {}
            }
        }
        self.display.enter_again()?;
        self.fit()?;
        Ok(true)
    }
}

/// Reads keys for as long as there is a terminal, on a thread that ends with the program. `end` is called
/// for a key that `ends` the program, which the loop may be too busy to take.
///
/// # Errors
/// The system's, when the thread cannot be started.
pub fn read_keys<News: Send + 'static>(
    to: SyncSender<Event<News>>,
    ends: fn(KeyEvent) -> bool,
    mut end: impl FnMut() + Send + 'static,
) -> io::Result<()> {
    std::thread::Builder::new().name("keys".into()).spawn(move || {
        while let Ok(event) = event::read() {
            // The signal reports the new size; there is no other event.
            let event::Event::Key(key) = event else { continue };
            if ends(key) {
                end();
            }
            if to.send(Event::Key(key)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
