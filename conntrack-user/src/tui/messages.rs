//! Messages that were logged while the screen was on.

use std::collections::VecDeque;
use std::collections::vec_deque::Iter;
use std::time::{Duration, Instant};

/// Messages that are kept.
const MOST: usize = 100;

/// How long a warning stands where there is no room for a list.
const WARNING_STANDS: Duration = Duration::from_secs(8);

/// A message that was logged while the screen was on.
#[derive(Debug, Clone)]
pub struct Message {
    /// The text; it may quote names from outside and is escaped where it is drawn.
    pub text: String,
    /// Whether it is a warning or an error.
    pub is_warning: bool,
    /// When it was logged.
    pub at: Instant,
}

/// The last messages.
#[derive(Debug)]
pub struct Messages {
    list: VecDeque<Message>,
    now: Instant,
}

impl Default for Messages {
    fn default() -> Self {
        Self { list: VecDeque::new(), now: Instant::now() }
    }
}

impl Messages {
    /// Takes a message.
    pub fn say(&mut self, message: Message) {
        if self.list.len() == MOST {
            self.list.pop_front();
        }
        self.list.push_back(message);
    }

    /// Takes a warning of this moment.
    pub fn warn(&mut self, text: String) {
        self.say(Message { text, is_warning: true, at: self.now });
    }

    /// The messages, oldest first.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, Message> {
        self.list.iter()
    }

    /// Those from a moment on.
    #[must_use]
    pub fn since(&self, start: Instant) -> Vec<Message> {
        self.iter().filter(|message| message.at >= start).cloned().collect()
    }

    /// A recent warning.
    #[must_use]
    pub fn urgent(&self) -> Option<&str> {
        let last = self.list.iter().rev().find(|message| message.is_warning)?;
        let fresh = self.now.saturating_duration_since(last.at) < WARNING_STANDS;
        fresh.then_some(last.text.as_str())
    }

    /// Sets the time. Returns whether the screen changes by that.
    pub fn tick(&mut self, now: Instant) -> bool {
        let before = self.urgent().is_some();
        self.now = now;
        before != self.urgent().is_some()
    }
}
