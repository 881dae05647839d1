//! A line that is typed: what to group by, or which entries to count.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::top::condition::Condition;
use crate::top::key::Key;

/// The longest line in characters.
const LONGEST: usize = 400;

/// What is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// What to group by.
    Keys,
    /// Which entries are counted.
    Conditions,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Typed {
    /// What to group by.
    Keys(Vec<Key>),
    /// Which entries are counted.
    Conditions(Vec<Condition>),
    /// Nothing is to change.
    Cancelled,
}

/// A line that is being typed.
#[derive(Debug, Clone)]
pub(super) struct Prompt {
    pub(super) subject: Subject,
    pub(super) text: String,
    /// Why the line is not valid, with the valid form.
    pub(super) error: Option<String>,
}

impl Prompt {
    /// A prompt with the present values.
    pub(super) fn new(subject: Subject, text: String) -> Self {
        Self { subject, text, error: None }
    }

    /// The words before the line.
    pub(super) fn label(&self) -> &'static str {
        match self.subject {
            Subject::Keys => "group by: ",
            Subject::Conditions => "only where: ",
        }
    }

    /// Takes a key; returns what the line says at its end.
    pub(super) fn press(&mut self, event: KeyEvent) -> Option<Typed> {
        let is_control = event.modifiers.contains(KeyModifiers::CONTROL);
        match event.code {
            _ if event.kind == KeyEventKind::Release => return None,
            KeyCode::Esc => return Some(Typed::Cancelled),
            KeyCode::Enter => match self.parse() {
                Ok(typed) => return Some(typed),
                Err(error) => {
                    self.error = Some(error);
                    return None;
                }
            },
            KeyCode::Char('u') if is_control => self.text.clear(),
            KeyCode::Char('w') if is_control => self.delete_last_item(),
            KeyCode::Char('h') if is_control => _ = self.text.pop(),
            KeyCode::Backspace => _ = self.text.pop(),
            KeyCode::Char(c) if !is_control && (c == ' ' || c.is_ascii_graphic()) => {
                if self.text.len() < LONGEST {
                    self.text.push(c);
                }
            }
            _ => return None,
        }
        self.error = None;
        None
    }

    /// Deletes back to the comma before.
    fn delete_last_item(&mut self) {
        let text = self.text.trim_end_matches([' ', ',']);
        let end = text.rfind(',').map_or(0, |comma| comma + 1);
        self.text.truncate(end);
    }

    fn parse(&self) -> Result<Typed, String> {
        let items = || self.text.split(',').map(str::trim).filter(|item| !item.is_empty());
        match self.subject {
            Subject::Keys if items().next().is_none() => {
                Err("nothing to group by; write for example source or source,port".to_owned())
            }
            Subject::Keys => items().map(str::parse).collect::<Result<_, _>>().map(Typed::Keys),
            Subject::Conditions => {
                items().map(str::parse).collect::<Result<_, _>>().map(Typed::Conditions)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(prompt: &mut Prompt, code: KeyCode, modifiers: KeyModifiers) -> Option<Typed> {
        prompt.press(KeyEvent::new(code, modifiers))
    }

    fn write(prompt: &mut Prompt, text: &str) {
        for c in text.chars() {
            assert_eq!(press(prompt, KeyCode::Char(c), KeyModifiers::NONE), None);
        }
    }

    fn enter(prompt: &mut Prompt) -> Option<Typed> {
        press(prompt, KeyCode::Enter, KeyModifiers::NONE)
    }

    #[test]
    fn a_line_is_typed_and_corrected() {
        let mut prompt = Prompt::new(Subject::Conditions, "unreplied".to_owned());
        write(&mut prompt, ", port=53,portt");
        press(&mut prompt, KeyCode::Backspace, KeyModifiers::NONE);
        assert_eq!(prompt.text, "unreplied, port=53,port");
        press(&mut prompt, KeyCode::Char('w'), KeyModifiers::CONTROL);
        assert_eq!(prompt.text, "unreplied, port=53,");
        let conditions = ["unreplied", "port=53"].map(|text| text.parse().unwrap());
        assert_eq!(enter(&mut prompt), Some(Typed::Conditions(conditions.to_vec())));
        press(&mut prompt, KeyCode::Char('w'), KeyModifiers::CONTROL);
        assert_eq!(prompt.text, "unreplied,");
        press(&mut prompt, KeyCode::Char('u'), KeyModifiers::CONTROL);
        assert_eq!(enter(&mut prompt), Some(Typed::Conditions(Vec::new())));
    }

    #[test]
    fn an_error_stays_until_the_line_is_changed() {
        let mut prompt = Prompt::new(Subject::Keys, String::new());
        write(&mut prompt, "sorce");
        assert_eq!(enter(&mut prompt), None);
        assert!(prompt.error.as_ref().unwrap().contains("did you mean source?"), "{prompt:?}");
        press(&mut prompt, KeyCode::Char('u'), KeyModifiers::CONTROL);
        assert_eq!(prompt.error, None);
        assert_eq!(enter(&mut prompt), None);
        assert!(prompt.error.as_ref().unwrap().contains("nothing to group by"), "{prompt:?}");
        write(&mut prompt, "source/24,port");
        assert_eq!(enter(&mut prompt), Some(Typed::Keys(vec![Key::Source(24), Key::Port])));
        assert_eq!(press(&mut prompt, KeyCode::Esc, KeyModifiers::NONE), Some(Typed::Cancelled));
    }

    #[test]
    fn only_printable_ascii_is_taken_and_not_without_end() {
        let mut prompt = Prompt::new(Subject::Conditions, String::new());
        write(&mut prompt, "a\u{1b}\u{202e}é名\u{7f}b");
        assert_eq!(prompt.text, "ab");
        write(&mut prompt, &"x".repeat(2 * LONGEST));
        assert_eq!(prompt.text.len(), LONGEST);
    }
}
