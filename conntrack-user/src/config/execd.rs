//! `[[inputs.execd]]` with ctpulse as its command: how Telegraf starts this program.
//!
//! What the command would do is not decided here: that takes the command line's definitions.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;

use toml::Spanned;
use toml::de::DeValue;

use super::error::{Position, simplified};
use super::tables::ExecdTable;
use super::text::ConfigText;
use super::value;

/// The keys that are read here; the others are Telegraf's.
const OURS: [&str; 3] = ["command", "signal", "data_format"];

/// The subcommands by which the name of this program among other words is known to start it.
pub const SUBCOMMANDS: [&str; 10] =
    ["run", "live", "execd", "config", "doctor", "drops", "top", "report", "completions", "man"];

/// So many letters of a key may be wrong, missing or swapped for it to be taken as misspelt.
const MOST_SLIPS: usize = 2;

/// A value of the table, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value.
    pub value: String,
    /// Its place in the file.
    pub position: Position,
}

/// One `[[inputs.execd]]` that starts ctpulse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecdCommand {
    /// The place of `command` in the file.
    pub position: Position,
    /// The command's words from `ctpulse` on; another program, such as sudo, may come before.
    pub words: Vec<String>,
    /// Telegraf's `signal`, where it is set.
    pub signal: Option<Setting>,
    /// Telegraf's `data_format`, where it is set.
    pub data_format: Option<Setting>,
}

/// Programs that start the one that their arguments name.
const STARTERS: [&str; 16] = [
    "chroot", "chrt", "doas", "env", "exec", "ionice", "ip", "nice", "nohup", "nsenter", "setpriv",
    "stdbuf", "su", "sudo", "taskset", "timeout",
];

/// What an `[[inputs.execd]]` starts, as far as it concerns us.
pub(super) enum Started {
    /// Another program.
    Other,
    /// ctpulse, in a way that cannot be checked, such as a script with other commands in it.
    Unjudged,
    /// ctpulse, in a wrong way, which was reported.
    Wrong,
    /// ctpulse with this command.
    Ours(ExecdCommand),
}

/// What the `[[inputs.execd]]` in `table` starts.
pub(super) fn command(text: &ConfigText<'_>, table: &Spanned<DeValue<'_>>) -> Started {
    let Some(keys) = table.get_ref().as_table() else { return Started::Other };
    let command = keys.iter().find(|(key, _)| is_command(key.get_ref()));
    let Some((_, command)) = command else { return Started::Other };
    if let Some(words) = command.get_ref().as_str() {
        if !words.split_whitespace().any(is_this_program) {
            return Started::Other;
        }
        let problem = "'command' in [[inputs.execd]] is an array of words; write \
                       [\"ctpulse\", \"execd\"]";
        text.problem(&command.span(), problem);
        return Started::Wrong;
    }
    let written = command.get_ref().as_array().into_iter().flatten();
    let written = written.filter_map(|word| word.get_ref().as_str());
    let mut words: Vec<String> = written.map(|word| value::expand_quietly(text, word)).collect();
    if let Some(first) = words.first().filter(|word| is_one_string(word)) {
        let problem = format!(
            "'command' in [[inputs.execd]]: Telegraf would start a program of the name '{first}'; each \
             word is a string of its own: [\"{}\"]",
            first.split_whitespace().collect::<Vec<_>>().join("\", \"")
        );
        text.problem(&command.span(), problem);
        return Started::Wrong;
    }
    let Some(first) = start_of_ours(&words) else {
        let names_us = words.iter().any(|word| may_start_us(word)) || has_starter(&words);
        return if names_us { Started::Unjudged } else { Started::Other };
    };
    if let Some(script) = script(&words[first]) {
        words = script;
        words.drain(..start_of_ours(&words).unwrap_or(0));
    } else {
        words.drain(..first);
    }
    for key in keys.keys() {
        misspelt(text, key);
    }
    let Some(ours) = ours_of(table) else { return Started::Wrong };
    let table: ExecdTable = value::read(text, ours, "[[inputs.execd]]");
    let setting = |value: Spanned<String>| Setting {
        position: text.position(&value.span()),
        value: value.into_inner(),
    };
    let Some(command) = table.command else { return Started::Wrong };
    Started::Ours(ExecdCommand {
        position: text.position(&command.span()),
        words,
        signal: table.signal.map(setting),
        data_format: table.data_format.map(setting),
    })
}

/// The place of the word that starts this program: the first one, or the last one of its name that a
/// subcommand follows. Before it, its name may be that of a user or of a container.
fn start_of_ours(words: &[String]) -> Option<usize> {
    if words.first().is_some_and(|word| is_this_program(word)) {
        return Some(0);
    }
    let is_subcommand = |word: &String| SUBCOMMANDS.contains(&word.as_str());
    let names_us = |at: &usize| is_this_program(&words[*at]);
    let is_followed = |at: &usize| {
        names_us(at) && words.get(at + 1).is_some_and(is_subcommand) && !is_container(&words[..*at])
    };
    let has_options = |at: &usize| {
        let behind = &words[at + 1..];
        names_us(at)
            && behind.first().is_some_and(|next| next.starts_with('-'))
            && (behind.iter().any(is_subcommand) || behind.iter().all(|word| word.starts_with('-')))
    };
    let is_script = |at: &usize| script(&words[*at]).is_some();
    let places = 1..words.len();
    places
        .clone()
        .rfind(|at| is_followed(at) || is_script(at))
        .or_else(|| places.clone().rfind(has_options))
}

/// Whether the word behind these is the name of a container: `docker exec -i NAME COMMAND`.
fn is_container(before: &[String]) -> bool {
    // The shell's own `exec` is the first word.
    let exec = before.iter().position(|word| word == "exec").filter(|exec| *exec > 0);
    exec.is_some_and(|exec| before[exec + 1..].iter().all(|word| word.starts_with('-')))
}

/// Whether a program starts this one, without a subcommand.
fn has_starter(words: &[String]) -> bool {
    let starts = words.first().is_some_and(|first| STARTERS.contains(&name_of(first)));
    let is_started = |at: usize| {
        let is_value = words[at - 1].starts_with('-') && words[at - 1] != "--";
        is_this_program(&words[at])
            && !is_value
            && words.get(at + 1).is_none_or(|next| next.starts_with('-'))
    };
    starts && (1..words.len()).any(is_started)
}

/// Whether a word is a whole command of this program, with blanks in it.
fn is_one_string(word: &str) -> bool {
    let mut words = word.split_whitespace();
    words.next().is_some_and(is_this_program) && words.next().is_some()
}

/// Whether a word is a script that may start this program among other things: a subcommand or an option
/// follows its name, or `exec` is in front of it.
fn may_start_us(word: &str) -> bool {
    let parts = word.split(|c: char| c.is_whitespace() || ";&|()'\"".contains(c));
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.windows(2).any(|pair| {
        let is_followed = SUBCOMMANDS.contains(&pair[1]) || pair[1].starts_with('-');
        is_this_program(pair[0]) && is_followed || pair[0] == "exec" && is_this_program(pair[1])
    })
}

/// Whether the command of a table, or of one of several, may start this program.
pub(super) fn starts_us(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::String(string) => {
            is_this_program(string) || is_one_string(string) || may_start_us(string)
        }
        DeValue::Array(array) => array.iter().any(|value| starts_us(value.get_ref())),
        DeValue::Table(table) => {
            let mut commands = table.iter().filter(|(key, _)| is_command(key.get_ref()));
            commands.any(|(_, value)| starts_us(value.get_ref()))
        }
        _ => false,
    }
}

/// The keys of `table` that are read here; the others are Telegraf's.
fn ours_of<'t>(table: &Spanned<DeValue<'t>>) -> Option<Spanned<DeValue<'t>>> {
    let mut ours = table.clone();
    let DeValue::Table(keys) = ours.get_mut() else { return None };
    let is_ours = |key: &str| OURS.iter().any(|ours| simplified(key) == simplified(ours));
    *keys = std::mem::take(keys).into_iter().filter(|(key, _)| is_ours(key.get_ref())).collect();
    Some(ours)
}

/// Reports a key that is a slip of the pen for one that is read here.
fn misspelt(text: &ConfigText<'_>, key: &Spanned<Cow<'_, str>>) {
    let name = simplified(key.get_ref());
    let near = OURS.into_iter().find(|ours| {
        let ours = simplified(ours);
        name != ours && strsim::damerau_levenshtein(&name, &ours) <= MOST_SLIPS
    });
    if let Some(near) = near {
        let name = key.get_ref();
        let message = format!("unknown key '{name}' in [[inputs.execd]]; did you mean '{near}'?");
        text.problem(&key.span(), message);
    }
}

/// The words of a shell's script that only starts ctpulse (`sh -c "exec ctpulse execd"`). A script
/// with anything else in it, such as quotes or variables, is not judged.
fn script(word: &str) -> Option<Vec<String>> {
    let words: Vec<String> = word.split_whitespace().map(str::to_owned).collect();
    let is_plain = |c: char| c.is_alphanumeric() || c.is_whitespace() || "-_./:,+@%".contains(c);
    let starts_it = words.len() > 1 && start_of_ours(&words).is_some();
    (starts_it && word.chars().all(is_plain)).then_some(words)
}

/// Whether a key is `command`, or a slip of the pen for it.
fn is_command(key: &str) -> bool {
    strsim::damerau_levenshtein(&simplified(key), "command") <= 1
}

/// Whether a word is the path of this program, or the name of its image, which may have a tag.
fn is_this_program(word: &str) -> bool {
    name_of(word).split([':', '@']).next() == Some("ctpulse")
}

/// The last part of a path.
fn name_of(word: &str) -> &str {
    Path::new(word).file_name().and_then(OsStr::to_str).unwrap_or_default()
}
