//! The dashboard as the loop runs it: the state of the screen, and the feed of its rows.

use std::time::Instant;

use crossterm::event::KeyEvent;
use ratatui::buffer::Buffer;

use super::app::{App, Request};
use super::draw::draw;
use super::feed::{Batch, Feed};
use super::keys::{Action, action};
use crate::tui::messages::Messages;
use crate::tui::ui::{self, View};

/// The dashboard.
pub struct LiveView {
    /// The state of the screen.
    pub app: App,
    /// Where rows come from.
    pub feed: Box<dyn Feed>,
}

/// Whether a key ends the program.
#[must_use]
pub fn ends(key: KeyEvent) -> bool {
    action(key) == Some(Action::Quit)
}

impl View for LiveView {
    type News = Batch;

    fn run(&mut self, now: Instant) -> anyhow::Result<bool> {
        let (app, mut is_changed) = (&mut self.app, false);
        self.feed.run(now, &mut |batch| {
            app.take(&batch);
            is_changed = true;
        })?;
        Ok(is_changed)
    }

    fn due(&self) -> Option<Instant> {
        self.feed.due()
    }

    fn take(&mut self, rows: Batch) {
        self.app.take(&rows);
    }

    fn press(&mut self, key: KeyEvent) -> Option<ui::Request> {
        match self.app.act(action(key)?)? {
            Request::Loop(request) => return Some(request),
            Request::Faster => self.feed.faster(),
            Request::Slower => self.feed.slower(),
            Request::Hold(held) => self.feed.hold(held),
            Request::Step => self.feed.step(),
        }
        None
    }

    fn fit(&mut self, columns: u16) {
        self.app.width = columns;
    }

    fn draw(&mut self, buffer: &mut Buffer) {
        self.app.interval = self.feed.interval();
        self.app.pace = self.feed.pace();
        draw(&self.app, buffer);
    }

    fn messages(&mut self) -> &mut Messages {
        &mut self.app.messages
    }
}
