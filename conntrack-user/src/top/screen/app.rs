//! The state of the screen: the last look, the choices of the keys, and when the next look is due.

use std::time::{Duration, Instant};

use crossterm::event::KeyEvent;

use super::keys::{Action, GROUPINGS, action, action_while_typing};
use super::prompt::{Prompt, Subject, Typed};
use crate::notices::CannotBegin;
use crate::source::ebpf::census::Sample;
use crate::top::key::Key;
use crate::top::look::{Look, LookLine, Query};
use crate::tui::messages::Messages;
use crate::tui::theme::Theme;
use crate::tui::ui::Request;

/// The intervals between looks that the keys go through.
const INTERVALS: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// The shortest interval: a look of a large table takes some hundredths of it.
pub const SHORTEST: Duration = INTERVALS[0];

/// The panel on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Panel {
    /// Who fills the table.
    #[default]
    Table,
    /// The keys, and how to read the rest.
    Help,
}

/// The order of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Most entries first.
    #[default]
    Entries,
    /// The fastest growth first.
    Growth,
}

/// The entries of a namespace by the kernel's count, and their limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fill {
    /// `nf_conntrack_count`.
    pub entries: f64,
    /// `nf_conntrack_max`.
    pub limit: f64,
}

/// A request for a look at the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its number, which its answer has as well.
    pub number: u64,
    /// What is asked.
    pub query: Query,
}

/// The answer to a [`Question`].
#[derive(Debug, Clone)]
pub struct Answer {
    /// The number of the question.
    pub number: u64,
    /// The look, or the error that prevented it.
    pub look: Result<Box<Look>, CannotBegin>,
    /// How full the table is.
    pub fill: Option<Fill>,
}

/// A question without an answer so far.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    number: u64,
    since: Instant,
    /// Its answer is shown: nothing else was asked for meanwhile.
    is_wanted: bool,
}

/// What the screen begins with.
#[derive(Debug)]
pub struct Setup {
    /// What is counted, and on how much of the table.
    pub query: Query,
    /// The time between looks.
    pub interval: Duration,
    /// The abilities of the terminal.
    pub theme: Theme,
    /// The namespaces in words, for the title.
    pub place: String,
    /// The names of namespaces by their inode numbers.
    pub names: Vec<(u32, String)>,
}

/// The whole state that a picture is made of.
#[derive(Debug)]
pub struct TopApp {
    /// What the screen began with; keys change the query and the interval.
    pub setup: Setup,
    /// The sample that is read instead of the whole table.
    part: Sample,
    /// The last look.
    pub look: Option<Box<Look>>,
    /// How full the table is.
    pub fill: Option<Fill>,
    /// Why there was no look the last time.
    pub trouble: Option<CannotBegin>,
    /// Messages that were logged while the screen was on.
    pub messages: Messages,
    /// The panel on the screen.
    pub panel: Panel,
    /// The order of the lines.
    pub order: Order,
    /// The line that is typed.
    pub(super) prompt: Option<Prompt>,
    /// Lines that the table is scrolled by.
    pub scroll: usize,
    is_paused: bool,
    questions: u64,
    waiting: Option<Waiting>,
    next: Option<Instant>,
}

impl TopApp {
    /// An app that looks first at `now`.
    #[must_use]
    pub fn new(setup: Setup, now: Instant) -> Self {
        let part = match setup.query.sample {
            Sample::Whole => Sample::DEFAULT,
            part => part,
        };
        Self {
            setup,
            part,
            look: None,
            fill: None,
            trouble: None,
            messages: Messages::default(),
            panel: Panel::default(),
            order: Order::default(),
            prompt: None,
            scroll: 0,
            is_paused: false,
            questions: 0,
            waiting: None,
            next: Some(now),
        }
    }

    /// Whether the picture stands still.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Whether the table is being read, or will be without a key.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.is_wanted) || self.next.is_some()
    }

    /// The lines of the last look in the order that was chosen.
    #[must_use]
    pub fn lines(&self) -> &[LookLine] {
        self.look.as_ref().map_or(&[], |look| match self.order {
            Order::Entries => &look.heaviest,
            Order::Growth => &look.growing,
        })
    }

    /// When the next look is due; an answer that is waited for comes first.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.next.filter(|_| self.waiting.is_none())
    }

    /// Returns the question that is due.
    pub fn ask(&mut self, now: Instant) -> Option<Question> {
        self.due().filter(|due| *due <= now)?;
        self.questions += 1;
        let number = self.questions;
        self.waiting = Some(Waiting { number, since: now, is_wanted: true });
        self.next = None;
        Some(Question { number, query: self.setup.query.clone() })
    }

    /// Takes an answer.
    pub fn take(&mut self, answer: Answer, now: Instant) {
        let Some(waiting) = self.waiting.take_if(|waiting| waiting.number == answer.number) else {
            return;
        };
        if !waiting.is_wanted {
            return;
        }
        // At most half of the time is spent reading, also where a key asks for more. A process that was
        // stopped meanwhile did not read for so long.
        let took = now.saturating_duration_since(waiting.since).min(10 * self.setup.interval);
        let rest = now + took;
        let next = (waiting.since + self.setup.interval).max(rest);
        let asked_for = self.next.map(|next| next.max(rest));
        self.next = asked_for.or((!self.is_paused).then_some(next));
        self.fill = answer.fill;
        match answer.look {
            Ok(look) => {
                self.look = Some(look);
                self.trouble = None;
                self.scroll = self.scroll.min(self.lines().len().saturating_sub(1));
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    /// Does what a key asks for; the rest is a request to the loop.
    pub fn press(&mut self, event: KeyEvent, now: Instant) -> Option<Request> {
        if self.prompt.is_none() {
            return self.act(action(event)?, now);
        }
        if let Some(action) = action_while_typing(event) {
            return self.act(action, now);
        }
        if let Some(typed) = self.prompt.as_mut().and_then(|prompt| prompt.press(event)) {
            self.prompt = None;
            let selection = &mut self.setup.query.selection;
            match typed {
                Typed::Cancelled => return None,
                Typed::Keys(keys) => selection.keys = keys,
                Typed::Conditions(conditions) => selection.conditions = conditions,
            }
            self.ask_anew(now);
        }
        None
    }

    /// Does what a key asks for.
    pub fn act(&mut self, action: Action, now: Instant) -> Option<Request> {
        match action {
            Action::Quit => return Some(Request::Quit),
            Action::Back if self.panel == Panel::Table => return Some(Request::Quit),
            Action::Suspend => return Some(Request::Suspend),
            Action::Redraw => return Some(Request::Redraw),
            Action::Back => self.panel = Panel::Table,
            Action::Help if self.panel == Panel::Help => self.panel = Panel::Table,
            Action::Help => self.panel = Panel::Help,
            Action::Group(number) => self.group(GROUPINGS[number], now),
            Action::NextGroup => self.group(self.beside(1), now),
            Action::PreviousGroup => self.group(self.beside(GROUPINGS.len() - 1), now),
            Action::TypeGroup => self.prompt = Some(Prompt::new(Subject::Keys, self.keys())),
            Action::TypeConditions => {
                self.prompt = Some(Prompt::new(Subject::Conditions, self.conditions()));
            }
            Action::Order => {
                self.scroll = 0;
                self.order = match self.order {
                    Order::Entries => Order::Growth,
                    Order::Growth => Order::Entries,
                };
            }
            Action::Whole => {
                let query = &mut self.setup.query;
                let is_whole = query.sample == Sample::Whole;
                query.sample = if is_whole { self.part } else { Sample::Whole };
                self.ask_anew(now);
            }
            Action::Pause => self.pause(now),
            Action::ReadNow => self.next = Some(now),
            Action::Faster => {
                self.pace(INTERVALS.iter().rev().find(|i| **i < self.interval()), now);
            }
            Action::Slower => self.pace(INTERVALS.iter().find(|i| **i > self.interval()), now),
            Action::Scroll(lines) => self.scroll_by(lines),
        }
        None
    }

    fn interval(&self) -> Duration {
        self.setup.interval
    }

    /// What the table is grouped by, as it is written.
    pub(super) fn keys(&self) -> String {
        let keys = &self.setup.query.selection.keys;
        keys.iter().map(Key::to_string).collect::<Vec<_>>().join(",")
    }

    /// Which entries are counted, as it is written.
    pub(super) fn conditions(&self) -> String {
        let conditions = &self.setup.query.selection.conditions;
        conditions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    fn group(&mut self, key: Key, now: Instant) {
        self.setup.query.selection.keys = vec![key];
        self.panel = Panel::Table;
        self.ask_anew(now);
    }

    /// The grouping so many places behind the present one.
    fn beside(&self, places: usize) -> Key {
        let keys = &self.setup.query.selection.keys;
        let at = GROUPINGS.iter().position(|grouping| keys[..] == [*grouping]);
        // From another grouping on, the first or the last comes.
        let from = at.unwrap_or(if places == 1 { GROUPINGS.len() - 1 } else { 0 });
        GROUPINGS[(from + places) % GROUPINGS.len()]
    }

    /// Looks at once, with another question than before.
    fn ask_anew(&mut self, now: Instant) {
        self.waiting.iter_mut().for_each(|waiting| waiting.is_wanted = false);
        self.next = Some(now);
        self.scroll = 0;
    }

    fn pause(&mut self, now: Instant) {
        self.is_paused = !self.is_paused;
        if self.is_paused {
            self.waiting.iter_mut().for_each(|waiting| waiting.is_wanted = false);
        }
        self.next = (!self.is_paused).then_some(now);
    }

    fn pace(&mut self, interval: Option<&Duration>, now: Instant) {
        if let Some(interval) = interval {
            self.setup.interval = *interval;
            self.next = self.next.map(|next| next.min(now + *interval));
        }
    }

    fn scroll_by(&mut self, lines: i32) {
        let to = i64::try_from(self.scroll).unwrap_or(0) + i64::from(lines);
        self.scroll = usize::try_from(to).unwrap_or(0).min(self.lines().len().saturating_sub(1));
    }
}

#[cfg(test)]
#[path = "app_tests.rs"]
mod tests;
