//! The errors of a configuration file.
//!
//! Every message names the file, the line and the column as the user's editor counts them,
//! the key, and a valid form. A misspelt name gets the nearest valid one, or, where none is near,
//! the list of all.

use std::fmt;
use std::io;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read; the reason is the operating system's.
    #[error("cannot read {file}: {reason}")]
    Unreadable {
        /// The path as it was given.
        file: String,
        /// The operating system's reason.
        reason: io::Error,
    },
    /// A process with privileges reads it, and others may change it.
    #[error(
        "{file}: refused, since {reader} would follow it and others may change it: {what} \
         {problem}; fix it with `{remedy} {what}`, or keep the file in /etc"
    )]
    Untrusted {
        /// The path as it was given.
        file: String,
        /// The process with the privileges.
        reader: &'static str,
        /// The file, or the directory above it that lets others put another one there.
        what: String,
        /// The owner or the permission that lets others change it.
        problem: String,
        /// The command that fixes it, without its argument.
        remedy: &'static str,
    },
    /// Places in the file are wrong.
    #[error("{}", lines(file, problems).join("\n"))]
    Invalid {
        /// The path as it was given.
        file: String,
        /// All that is wrong, in the order of the file; at least one.
        problems: Vec<Problem>,
        /// The warnings, a line each: one may be the cause of a problem.
        warnings: Vec<String>,
    },
    /// The file is valid, but it asks for no input.
    #[error(
        "{file}: no [[inputs.conntrack]] here, so there is nothing to do; \
         add the line [[inputs.conntrack]], and below it collect = [\"all\"]"
    )]
    NoInput {
        /// The path as it was given.
        file: String,
    },
    /// The file is for Telegraf, which runs ctpulse.
    #[error(
        "{file}: no [[inputs.conntrack]] here; the file has Telegraf start ctpulse \
         ([[inputs.execd]]): give it to Telegraf, and check it with `ctpulse config --check {file}`"
    )]
    ForTelegraf {
        /// The path as it was given.
        file: String,
    },
}

impl ConfigError {
    /// The messages, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Invalid { file, problems, .. } => lines(file, problems),
            other => vec![other.to_string()],
        }
    }

    /// The warnings, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        match self {
            Self::Invalid { warnings, .. } => warnings,
            _ => &[],
        }
    }
}

/// One thing that is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the file, before environment variables were filled in.
    pub position: Position,
    /// The key, what is wrong with it, and a valid form.
    pub message: String,
}

fn lines(file: &str, problems: &[Problem]) -> Vec<String> {
    let line = |problem: &Problem| format!("{file}:{}: {}", problem.position, problem.message);
    problems.iter().map(line).collect()
}

/// A place in a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// More valid names than this are not listed in a message.
const LISTED: usize = 8;

/// The end of a message about an unknown name: the nearest valid one, else all of them, or where they are
/// listed.
pub(super) fn advice<'a>(wrong: &str, valid: impl IntoIterator<Item = &'a str>) -> String {
    let mut valid: Vec<&str> = valid.into_iter().collect();
    if let Some(near) = nearest(wrong, &valid) {
        return format!("did you mean '{near}'?");
    }
    if valid.len() > LISTED {
        return "the valid names are in ctpulse.conf(5)".to_owned();
    }
    valid.sort_unstable();
    format!("valid names: {}", valid.join(", "))
}

/// The valid name that `wrong` probably stands for.
///
/// Telegraf ignores case and `_` in names, so these do not count as differences; of the
/// rest, one in three characters may differ.
pub(crate) fn nearest<'a>(wrong: &str, valid: &[&'a str]) -> Option<&'a str> {
    let wrong = simplified(wrong);
    let distance = |name: &&str| strsim::damerau_levenshtein(&wrong, &simplified(name));
    let near = valid.iter().min_by_key(|name| distance(name))?;
    let longest = near.chars().count().max(wrong.chars().count());
    (distance(near) <= longest / 3).then_some(*near)
}

/// A name without the differences that Telegraf ignores.
pub(super) fn simplified(name: &str) -> String {
    name.replace('_', "").to_lowercase()
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
    fn a_file_without_input_is_an_error_with_the_missing_line() {
        let error = ConfigError::NoInput { file: "c.toml".to_owned() }.to_string();
        assert!(error.starts_with("c.toml: no [[inputs.conntrack]] here"), "{error}");
    }
}
