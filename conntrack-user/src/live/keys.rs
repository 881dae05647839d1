//! The keys with their effects, and their list in the help.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// One line of the help.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The key or keys.
    pub name: &'static str,
    /// Their effect.
    pub what: &'static str,
    /// Only in a replay, or only without one.
    pub replay: Option<bool>,
}

const fn key(name: &'static str, what: &'static str) -> Key {
    Key { name, what, replay: None }
}

/// All keys, in the order of the help.
pub const KEYS: [Key; 11] = [
    key("q, Ctrl-C", "quit"),
    Key { replay: Some(false), ..key("p, space", "pause the picture; what happens is kept") },
    Key { replay: Some(true), ..key("p", "pause, go on") },
    Key { replay: Some(true), ..key("space, .", "one step; pauses") },
    Key { replay: Some(false), ..key("+ -", "rows more often, less often") },
    Key { replay: Some(true), ..key("+ -", "faster, slower") },
    key("< >", "shorter or longer time in a column"),
    key("n N, Tab", "next or previous network namespace"),
    key("c", "table of all CPUs; arrows and PgUp PgDn scroll, s sorts"),
    key("? h, Esc", "this help, and back"),
    key("Ctrl-Z, Ctrl-L", "suspend; draw again"),
];

/// The effect of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// End the program.
    Quit,
    /// Pause or go on.
    Pause,
    /// Space: pauses a live picture, steps a recording.
    PauseOrStep,
    /// One batch of a recording.
    Step,
    /// Rows more often; a recording faster.
    Faster,
    /// Rows less often; a recording slower.
    Slower,
    /// Less time in a column.
    ZoomIn,
    /// More time in a column.
    ZoomOut,
    /// The next namespace.
    Next,
    /// The one before.
    Previous,
    /// The table of CPUs, or back.
    Cpus,
    /// Another order of that table.
    Order,
    /// The help, or back.
    Help,
    /// Back to the overview.
    Back,
    /// Scroll by so many lines.
    Scroll(i32),
    /// Stop the process, as the shell's Ctrl-Z does.
    Suspend,
    /// Draw everything again.
    Redraw,
}

/// The action of a key that was pressed.
#[must_use]
pub fn action(event: KeyEvent) -> Option<Action> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        return match event.code {
            KeyCode::Char('c') => Some(Action::Quit),
            KeyCode::Char('z') => Some(Action::Suspend),
            KeyCode::Char('l') => Some(Action::Redraw),
            _ => None,
        };
    }
    Some(match event.code {
        KeyCode::Char('q' | 'Q') => Action::Quit,
        KeyCode::Char('p' | 'P') => Action::Pause,
        KeyCode::Char(' ') => Action::PauseOrStep,
        KeyCode::Char('.') => Action::Step,
        KeyCode::Char('+' | '=') => Action::Faster,
        KeyCode::Char('-' | '_') => Action::Slower,
        KeyCode::Char('<' | ',') | KeyCode::Left => Action::ZoomIn,
        KeyCode::Char('>') | KeyCode::Right => Action::ZoomOut,
        KeyCode::Char('n') | KeyCode::Tab => Action::Next,
        KeyCode::Char('N') | KeyCode::BackTab => Action::Previous,
        KeyCode::Char('c' | 'C') => Action::Cpus,
        KeyCode::Char('s' | 'S') => Action::Order,
        KeyCode::Char('?' | 'h' | 'H') => Action::Help,
        KeyCode::Esc => Action::Back,
        KeyCode::Up | KeyCode::Char('k') => Action::Scroll(-1),
        KeyCode::Down | KeyCode::Char('j') => Action::Scroll(1),
        KeyCode::PageUp => Action::Scroll(-20),
        KeyCode::PageDown => Action::Scroll(20),
        KeyCode::Home => Action::Scroll(i32::MIN),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
        action(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn every_key_of_the_help_does_something() {
        for key in KEYS {
            for name in key.name.split([' ', ',']).filter(|name| !name.is_empty()) {
                let (code, modifiers) = match name {
                    "space" => (KeyCode::Char(' '), KeyModifiers::NONE),
                    "Tab" => (KeyCode::Tab, KeyModifiers::NONE),
                    "Esc" => (KeyCode::Esc, KeyModifiers::NONE),
                    _ => match name.strip_prefix("Ctrl-") {
                        Some(letter) => {
                            let letter = letter.to_lowercase().remove(0);
                            (KeyCode::Char(letter), KeyModifiers::CONTROL)
                        }
                        None => (KeyCode::Char(name.chars().next().unwrap()), KeyModifiers::NONE),
                    },
                };
                assert!(pressed(code, modifiers).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn with_control_a_letter_is_another_key() {
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::NONE), Some(Action::Cpus));
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Action::Quit));
        assert_eq!(pressed(KeyCode::Char('p'), KeyModifiers::CONTROL), None);
    }
}
