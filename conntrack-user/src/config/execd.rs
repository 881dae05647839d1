//! `[[inputs.execd]]` with ctpulse as its command: how Telegraf starts this program.
//!
//! What the command would do is not decided here: that takes the command line's definitions.

use std::path::Path;

use toml::Spanned;
use toml::de::DeValue;

use super::error::Position;
use super::tables::ExecdTable;
use super::text::ConfigText;
use super::value;

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
    let words = table.get_ref().as_table()?.get("command")?.get_ref().as_array()?;
    words.iter().filter_map(|word| word.get_ref().as_str()).find(|word| is_this_program(word))?;
    let table: ExecdTable = value::read(text, ours_of(table)?, "[[inputs.execd]]");
    let setting = |value: Spanned<String>| Setting {
        position: text.position(&value.span()),
        value: value.into_inner(),
    };
    let command = table.command?;
    let words = command.get_ref().iter().map(|word| word.get_ref().clone());
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
    let is_ours = |key: &str| matches!(key, "command" | "signal" | "data_format");
    *keys = std::mem::take(keys).into_iter().filter(|(key, _)| is_ours(key.get_ref())).collect();
    Some(ours)
}

fn is_this_program(word: &str) -> bool {
    Path::new(word).file_name().is_some_and(|name| name == "ctpulse")
}
