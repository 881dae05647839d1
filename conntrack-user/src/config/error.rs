//! What can be wrong with a configuration file, and how it is said.
//!
//! Every message names the file, the line and the column as the user's editor counts them,
//! the key, and what to write instead. A misspelt name gets the nearest valid one, or, where
//! none is near, the list of all.

use std::fmt;
use std::io;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read; the reason is the operating system's.
    #[error("{file}: cannot read this configuration file: {reason}")]
    Unreadable {
        /// The path as it was given.
        file: String,
        /// What the operating system said.
        reason: io::Error,
    },
    /// A process with privileges reads it, and others may change it.
    #[error(
        "{file}: refused, since {reader} would do what it says: {what} {problem}; mend it with \
         `{mend} {what}`, or keep the file in /etc"
    )]
    Untrusted {
        /// The path as it was given.
        file: String,
        /// Who has the privileges.
        reader: &'static str,
        /// The file, or the directory above it that lets others put another one there.
        what: String,
        /// What lets others change it.
        problem: String,
        /// The command against it, without its argument.
        mend: &'static str,
    },
    /// Something at one place in the file is wrong.
    #[error("{file}:{position}: {message}")]
    Invalid {
        /// The path as it was given.
        file: String,
        /// Where in the file, before environment variables were filled in.
        position: Position,
        /// The key, what is wrong with it, and what to write instead.
        message: String,
    },
    /// Nothing in the file is wrong, but it asks for no input.
    #[error(
        "{file}: no [[inputs.conntrack]] here, so there is nothing to do; \
         add the line [[inputs.conntrack]], and below it collect = [\"all\"]"
    )]
    NoInput {
        /// The path as it was given.
        file: String,
    },
}

/// A place in a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line; the first is 1.
    pub line: usize,
    /// The character in the line, not the byte; the first is 1.
    pub column: usize,
}

impl Position {
    /// The place of the byte `offset` of `text`; an offset beyond the end is the end.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.bytes().filter(|&byte| byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The end of a message about an unknown name: the nearest valid one, else all of them.
pub(super) fn advice<'a>(wrong: &str, valid: impl IntoIterator<Item = &'a str>) -> String {
    let mut valid: Vec<&str> = valid.into_iter().collect();
    if let Some(near) = nearest(wrong, &valid) {
        return format!("did you mean '{near}'?");
    }
    valid.sort_unstable();
    format!("valid names: {}", valid.join(", "))
}

/// The valid name that `wrong` was probably meant to be.
///
/// Telegraf ignores case and `_` in names, so these do not count as differences; of the
/// rest, one in three characters may differ.
pub(super) fn nearest<'a>(wrong: &str, valid: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.replace('_', "").to_lowercase();
    let wrong = plain(wrong);
    let distance = |name: &&str| strsim::damerau_levenshtein(&wrong, &plain(name));
    let near = valid.iter().min_by_key(|name| distance(name))?;
    let longest = near.chars().count().max(wrong.chars().count());
    (distance(near) <= longest / 3).then_some(*near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "a\n\u{fc}\u{fc}b\r\nc";
        let place = |offset| Position::of(text, offset).to_string();
        assert_eq!(place(0), "1:1");
        assert_eq!(place(6), "2:3");
        assert_eq!(place(3), "2:1", "inside a character is its start");
        assert_eq!(place(9), "3:1");
        assert_eq!(place(1000), "3:2");
    }

    #[test]
    fn a_near_name_is_suggested_and_far_ones_are_listed() {
        assert_eq!(advice("colect", ["collect", "dirs"]), "did you mean 'collect'?");
        assert_eq!(
            advice("RoundInterval", ["interval", "round_interval"]),
            "did you mean 'round_interval'?"
        );
        assert_eq!(advice("servers", ["files", "dirs"]), "valid names: dirs, files");
        assert_eq!(nearest("", &["dirs"]), None);
    }

    #[test]
    fn a_file_without_input_says_what_to_add() {
        let error = ConfigError::NoInput { file: "c.toml".to_owned() }.to_string();
        assert!(error.starts_with("c.toml: no [[inputs.conntrack]] here"), "{error}");
    }
}
