//! The screen as the loop runs it: its state, and the thread that is asked for looks.

use std::time::Instant;

use anyhow::bail;
use crossterm::event::KeyEvent;
use ratatui::buffer::Buffer;

use super::app::{Answer, Question, TopApp};
use super::draw::draw;
use crate::tui::messages::Messages;
use crate::tui::ui::{Request, View};

/// The screen of `ctpulse top`.
pub struct TopView<Ask> {
    /// The state of the screen.
    pub app: TopApp,
    /// Sends a question to the thread that reads; `false` where that has ended.
    pub ask: Ask,
}

impl<Ask: FnMut(Question) -> bool> View for TopView<Ask> {
    type News = Answer;

    fn run(&mut self, now: Instant) -> anyhow::Result<bool> {
        let Some(question) = self.app.ask(now) else { return Ok(false) };
        if !(self.ask)(question) {
            bail!("the thread that reads the table has ended");
        }
        Ok(true)
    }

    fn due(&self) -> Option<Instant> {
        self.app.due()
    }

    fn take(&mut self, answer: Answer) {
        self.app.take(answer, Instant::now());
    }

    fn press(&mut self, key: KeyEvent) -> Option<Request> {
        self.app.press(key, Instant::now())
    }

    fn fit(&mut self, _columns: u16) {}

    fn draw(&mut self, buffer: &mut Buffer) {
        draw(&self.app, buffer);
    }

    fn messages(&mut self) -> &mut Messages {
        &mut self.app.messages
    }
}
