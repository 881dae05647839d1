//! `[[inputs.execd]]` with ctpulse as its command: how Telegraf starts this program.
//!
//! What the command would do is not decided here: that takes the command line's definitions.

use std::borrow::Cow;
use std::path::Path;

use toml::Spanned;
use toml::de::DeValue;

use super::error::{Position, simplified};
use super::tables::ExecdTable;
use super::text::ConfigText;
use super::value;

/// The keys that are read here; the others are Telegraf's.
const OURS: [&str; 3] = ["command", "signal", "data_format"];

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

/// The command of the `[[inputs.execd]]` in `table`, where it is ctpulse.
pub(super) fn command(text: &ConfigText<'_>, table: &Spanned<DeValue<'_>>) -> Option<ExecdCommand> {
    let keys = table.get_ref().as_table()?;
    let (_, command) = keys.iter().find(|(key, _)| is_command(key.get_ref()))?;
    if let Some(words) = command.get_ref().as_str() {
        if words.split_whitespace().any(is_this_program) {
            let problem = "'command' in [[inputs.execd]] is an array of words; write \
                           [\"ctpulse\", \"execd\"]";
            text.problem(&command.span(), problem);
        }
        return None;
    }
    let words = command.get_ref().as_array()?;
    let mut words = words.iter().filter_map(|word| word.get_ref().as_str());
    words.find(|word| is_this_program(word) || script(word).is_some())?;
    for key in keys.keys() {
        misspelt(text, key);
    }
    let table: ExecdTable = value::read(text, ours_of(table)?, "[[inputs.execd]]");
    let setting = |value: Spanned<String>| Setting {
        position: text.position(&value.span()),
        value: value.into_inner(),
    };
    let command = table.command?;
    let words = command.get_ref().iter().flat_map(|word| {
        let word = word.get_ref();
        script(word).unwrap_or_else(|| vec![word.clone()])
    });
    Some(ExecdCommand {
        position: text.position(&command.span()),
        words: words.skip_while(|word| !is_this_program(word)).collect(),
        signal: table.signal.map(setting),
        data_format: table.data_format.map(setting),
    })
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
    let starts_it = words.len() > 1 && words.iter().any(|word| is_this_program(word));
    (starts_it && word.chars().all(is_plain)).then_some(words)
}

fn is_command(key: &str) -> bool {
    simplified(key) == "command"
}

fn is_this_program(word: &str) -> bool {
    Path::new(word).file_name().is_some_and(|name| name == "ctpulse")
}
