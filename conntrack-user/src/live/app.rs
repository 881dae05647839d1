//! The state of the screen: the rows, and the choices of the keys.

use std::time::Duration;

use super::feed::Batch;
use super::keys::Action;
use super::layout;
use super::state::Screen;
use super::zoom::Zoom;
use crate::tui::SMALLEST;
use crate::tui::messages::Messages;
use crate::tui::theme::Theme;
use crate::tui::ui;

/// The panel on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Panel {
    /// The table, rates, causes and CPUs of one namespace.
    #[default]
    Overview,
    /// All CPUs.
    Cpus,
    /// The keys, and how to read the rest.
    Help,
}

/// A request of a key, beyond the changes in the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A request to the loop.
    Loop(ui::Request),
    /// Rows more often, or a recording faster.
    Faster,
    /// The opposite.
    Slower,
    /// Stop a recording, or let it go on.
    Hold(bool),
    /// One more batch of a recording.
    Step,
}

/// The whole state that a picture is made of.
#[derive(Debug)]
pub struct App {
    screen: Screen,
    /// The state when a live screen was paused.
    frozen: Option<Box<Screen>>,
    /// A recording stands still.
    held: bool,
    is_replay: bool,
    /// Messages that were logged while the screen was on.
    pub messages: Messages,
    /// The panel on the screen.
    pub panel: Panel,
    /// How much time a column spans.
    pub zoom: Zoom,
    /// Columns of the screen.
    pub width: u16,
    /// Lines that the table of CPUs is scrolled by.
    pub scroll: usize,
    /// The order of that table.
    pub cpus_by_number: bool,
    /// The abilities of the terminal.
    pub theme: Theme,
    /// Time between rows.
    pub interval: Duration,
    /// The same in words, for the title; ASCII.
    pub pace: String,
}

impl App {
    /// An app without rows.
    #[must_use]
    pub fn new(theme: Theme, is_replay: bool) -> Self {
        Self {
            screen: Screen::default(),
            frozen: None,
            held: false,
            is_replay,
            messages: Messages::default(),
            panel: Panel::default(),
            zoom: Zoom::default(),
            width: SMALLEST.0,
            scroll: 0,
            cpus_by_number: false,
            theme,
            interval: Duration::from_secs(1),
            pace: String::new(),
        }
    }

    /// The shown state: the current one, or the one when the screen was paused.
    #[must_use]
    pub fn shown(&self) -> &Screen {
        self.frozen.as_deref().unwrap_or(&self.screen)
    }

    /// Whether the picture stands still.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.frozen.is_some() || self.held
    }

    /// Whether a recording is shown.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.is_replay
    }

    /// The message while there is nothing to show.
    #[must_use]
    pub fn waiting(&self) -> &'static str {
        if self.is_replay { "no row yet" } else { "waiting for the first row" }
    }

    /// Takes the rows of one emission.
    pub fn take(&mut self, batch: &Batch) {
        self.screen.take(batch);
        for text in self.screen.new_messages() {
            self.messages.warn(text);
        }
    }

    /// Does what a key asks for; the rest is a request.
    pub fn act(&mut self, action: Action) -> Option<Request> {
        match action {
            Action::Quit => return Some(Request::Loop(ui::Request::Quit)),
            Action::Suspend => return Some(Request::Loop(ui::Request::Suspend)),
            Action::Redraw => return Some(Request::Loop(ui::Request::Redraw)),
            Action::Faster => return Some(Request::Faster),
            Action::Slower => return Some(Request::Slower),
            Action::Step | Action::PauseOrStep if self.is_replay => {
                self.held = true;
                return Some(Request::Step);
            }
            Action::Pause if self.is_replay => {
                self.held = !self.held;
                return Some(Request::Hold(self.held));
            }
            Action::Pause | Action::PauseOrStep => {
                self.frozen = match self.frozen.take() {
                    Some(_) => None,
                    None => Some(Box::new(self.screen.clone())),
                };
            }
            Action::Step => {}
            Action::ZoomIn | Action::ZoomOut => {
                let finer = action == Action::ZoomIn;
                self.zoom = self.zoom.step(finer, self.interval, layout::columns(self.width));
            }
            Action::Next | Action::Previous => {
                let back = action == Action::Previous;
                self.frozen.iter_mut().for_each(|frozen| frozen.select(back));
                self.screen.select(back);
                self.scroll = 0;
            }
            Action::Cpus => self.toggle(Panel::Cpus),
            Action::Help => self.toggle(Panel::Help),
            Action::Back => self.panel = Panel::Overview,
            Action::Order => self.cpus_by_number = !self.cpus_by_number,
            Action::Scroll(lines) => {
                let cpus = self.shown().namespace().map_or(0, |namespace| namespace.cpus.len());
                let to = i64::try_from(self.scroll).unwrap_or(0) + i64::from(lines);
                self.scroll = usize::try_from(to).unwrap_or(0).min(cpus.saturating_sub(1));
            }
        }
        None
    }

    fn toggle(&mut self, panel: Panel) {
        self.panel = if self.panel == panel { Panel::Overview } else { panel };
    }
}
