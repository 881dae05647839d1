//! The keys with their effects, and their list in the help.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::top::key::Key;

/// The groupings that the keys go through; the digits 1 to 9 and 0 choose one.
pub const GROUPINGS: [Key; 10] = [
    Key::SOURCE,
    Key::Source(24),
    Key::DESTINATION,
    Key::Port,
    Key::Protocol,
    Key::State,
    Key::Nat,
    Key::Zone,
    Key::Mark,
    Key::Namespace,
];

/// All keys with their effects, in the order of the help.
pub const KEYS: [(&str, &str); 12] = [
    ("q, Esc, Ctrl-C", "quit"),
    ("1 2 3 4 5", "group by source, source/24, destination, port, protocol"),
    ("6 7 8 9 0", "group by state, nat, zone, mark, namespace"),
    ("g G, Tab", "next or previous grouping, also by Right and Left"),
    ("b", "type what to group by, as for --by: source,port"),
    ("w f /", "type which entries are counted, as for --where"),
    ("o", "order: most entries first, or fastest growth first"),
    ("e", "read the whole table, or a sample of a large one"),
    ("p, space", "pause: the picture stands still; r reads once"),
    ("r, + -", "read now; read more often, less often"),
    ("? h", "this help, and back; Up, Down, PgUp and PgDn scroll the table"),
    ("Ctrl-Z, Ctrl-L", "suspend; draw again"),
];

/// The effect of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// End the program.
    Quit,
    /// Back from the help, or end.
    Back,
    /// One of [`GROUPINGS`], by its place.
    Group(usize),
    /// The next grouping.
    NextGroup,
    /// The one before.
    PreviousGroup,
    /// Type a grouping.
    TypeGroup,
    /// Type conditions.
    TypeConditions,
    /// The other order.
    Order,
    /// The whole table, or a sample.
    Whole,
    /// Pause or go on.
    Pause,
    /// Read the table now.
    ReadNow,
    /// Read more often.
    Faster,
    /// Read less often.
    Slower,
    /// Scroll by so many lines.
    Scroll(i32),
    /// The help, or back.
    Help,
    /// Stop the process, as the shell's Ctrl-Z does.
    Suspend,
    /// Draw everything again.
    Redraw,
}

/// Whether a key ends the program, whatever is on the screen.
#[must_use]
pub fn ends(event: KeyEvent) -> bool {
    event.kind != KeyEventKind::Release && control(event) == Some(Action::Quit)
}

/// The action of a key with Control.
fn control(event: KeyEvent) -> Option<Action> {
    match event.code {
        _ if !event.modifiers.contains(KeyModifiers::CONTROL) => None,
        KeyCode::Char('c') => Some(Action::Quit),
        KeyCode::Char('z') => Some(Action::Suspend),
        KeyCode::Char('l') => Some(Action::Redraw),
        _ => None,
    }
}

/// The action of a key that has one also while something is typed.
#[must_use]
pub fn action_while_typing(event: KeyEvent) -> Option<Action> {
    if event.kind == KeyEventKind::Release { None } else { control(event) }
}

/// The action of a key that was pressed.
#[must_use]
pub fn action(event: KeyEvent) -> Option<Action> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        return control(event);
    }
    Some(match event.code {
        KeyCode::Char('q' | 'Q') => Action::Quit,
        KeyCode::Esc => Action::Back,
        KeyCode::Char('0') => Action::Group(9),
        KeyCode::Char(digit @ '1'..='9') => Action::Group(digit as usize - '1' as usize),
        KeyCode::Char('g') | KeyCode::Tab | KeyCode::Right => Action::NextGroup,
        KeyCode::Char('G') | KeyCode::BackTab | KeyCode::Left => Action::PreviousGroup,
        KeyCode::Char('b' | 'B') => Action::TypeGroup,
        KeyCode::Char('w' | 'W' | 'f' | 'F' | '/') => Action::TypeConditions,
        KeyCode::Char('o' | 'O' | 's' | 'S') => Action::Order,
        KeyCode::Char('e' | 'E') => Action::Whole,
        KeyCode::Char('p' | 'P' | ' ') => Action::Pause,
        KeyCode::Char('r' | 'R') => Action::ReadNow,
        KeyCode::Char('+' | '=') => Action::Faster,
        KeyCode::Char('-' | '_') => Action::Slower,
        KeyCode::Char('?' | 'h' | 'H') => Action::Help,
        KeyCode::Up | KeyCode::Char('k') => Action::Scroll(-1),
        KeyCode::Down | KeyCode::Char('j') => Action::Scroll(1),
        KeyCode::PageUp => Action::Scroll(-10),
        KeyCode::PageDown => Action::Scroll(10),
        KeyCode::Home => Action::Scroll(i32::MIN),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str) -> KeyEvent {
        let plain = |code| KeyEvent::new(code, KeyModifiers::NONE);
        match name {
            "space" => plain(KeyCode::Char(' ')),
            "Tab" => plain(KeyCode::Tab),
            "Esc" => plain(KeyCode::Esc),
            _ => match name.strip_prefix("Ctrl-") {
                Some(letter) => KeyEvent::new(
                    KeyCode::Char(letter.to_lowercase().remove(0)),
                    KeyModifiers::CONTROL,
                ),
                None => plain(KeyCode::Char(name.chars().next().unwrap())),
            },
        }
    }

    #[test]
    fn every_key_of_the_help_does_something() {
        for (names, what) in KEYS {
            for name in names.split([' ', ',']).filter(|name| !name.is_empty()) {
                assert!(action(event(name)).is_some(), "{name}: {what}");
            }
        }
    }

    /// The help lists the groupings in the order of the digits.
    #[test]
    fn each_digit_groups_by_what_the_help_says() {
        let lines = KEYS.iter().filter(|(keys, _)| keys.starts_with(['1', '6']));
        let (mut digits, mut names) = (Vec::new(), Vec::new());
        for (keys, what) in lines {
            digits.extend(keys.split(' '));
            names.extend(what.strip_prefix("group by ").unwrap().split(", "));
        }
        let chosen: Vec<String> = digits
            .into_iter()
            .map(|digit| match action(event(digit)) {
                Some(Action::Group(number)) => GROUPINGS[number].to_string(),
                other => panic!("{digit}: {other:?}"),
            })
            .collect();
        assert_eq!(chosen, names);
    }

    #[test]
    fn only_control_c_ends_whatever_is_on_the_screen() {
        assert!(ends(event("Ctrl-C")));
        assert!(!ends(event("q")) && !ends(event("Esc")) && !ends(event("Ctrl-Z")));
        assert_eq!(action_while_typing(event("q")), None);
        assert_eq!(action_while_typing(event("Ctrl-C")), Some(Action::Quit));
    }
}
