//! The tables of one file by name: ours, those of other plugins, and mistakes.
//!
//! The tables of other plugins are not read, and nothing in them is judged; one warning names
//! them, and another each that is not TOML. Telegraf's older names of our own tables are known here.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::dialect::OTHERS;
use super::error::{advice, nearest};
use super::execd::{self, ExecdCommand};
use super::tables::{AgentTable, ConntrackTable};
use super::text::ConfigText;
use super::value;

/// The top-level tables that mean something here.
const OURS: [&str; 3] = ["agent", "global_tags", "inputs"];

/// What a file holds for us.
#[derive(Default)]
pub(super) struct Tables {
    pub global_tags: BTreeMap<String, String>,
    pub agent: AgentTable,
    pub inputs: Vec<ConntrackTable>,
    pub execd: Vec<ExecdCommand>,
    /// The names of other plugins, for the warning.
    ignored: Vec<String>,
}

/// Reads the tables; what is wrong is reported to `text`.
pub(super) fn tables(text: &ConfigText<'_>) -> Tables {
    let (root, errors) = DeTable::parse_recoverable(&text.filled.text);
    let mut tables = Tables::default();
    let mut old_tags = BTreeMap::new();
    for (name, value) in root.into_inner() {
        match name.get_ref().as_ref() {
            "agent" => tables.agent = value::table(text, value),
            "global_tags" => tables.global_tags = value::read(text, value, "[global_tags]"),
            "tags" => old_tags = value::read(text, value, "[tags]"),
            section @ ("inputs" | "plugins") => inputs(text, section, value, &mut tables),
            other if OTHERS.contains(&other) => match value.get_ref().as_table() {
                Some(plugins) => tables
                    .ignored
                    .extend(plugins.keys().map(|plugin| format!("{other}.{}", plugin.get_ref()))),
                None => tables.ignored.push(other.to_owned()),
            },
            unknown => top_level_input(text, &name, unknown, value, &mut tables),
        }
    }
    // Telegraf reads the old name first.
    for (tag, value) in old_tags {
        tables.global_tags.entry(tag).or_insert(value);
    }
    let has_input = !tables.inputs.is_empty() || !tables.execd.is_empty();
    syntax_errors(text, &errors, has_input);
    if !tables.ignored.is_empty() {
        let ignored = tables.ignored.join(", ");
        text.warn(format!("only inputs.conntrack is read here; ignored: {ignored}"));
    }
    tables
}

/// Reports what is not TOML: a problem in our tables, and in those of other plugins a warning, since
/// Telegraf's parser may take it. Without an input it may be the reason why there is none.
fn syntax_errors(text: &ConfigText<'_>, errors: &[toml::de::Error], has_input: bool) {
    let mut last_line = 0;
    let mut warned: Vec<String> = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let other = text.sections.other_plugin(span.start).filter(|_| has_input);
        // What follows on the same line is a consequence.
        let line = text.position(&span).line;
        match other {
            _ if line == last_line => {}
            Some(header) if warned.contains(&header) => {}
            Some(header) => {
                let message = error.message();
                text.warn_at(&span, format!("{header} is no TOML and not read: {message}"));
                warned.push(header);
            }
            None => text.problem(&span, not_toml(text, error.message(), &span)),
        }
        last_line = line;
    }
}

/// The message about what is not TOML, and that Telegraf's parser takes it where it does.
fn not_toml(text: &ConfigText<'_>, message: &str, span: &Range<usize>) -> String {
    let file = text.filled.text.as_str();
    let key = file.get(span.clone()).unwrap_or_default();
    let before = file.get(..span.start).unwrap_or_default();
    let advice = if message == "duplicate key" && has_inline_table(before, key) {
        format!(
            " '{key}'; Telegraf joins an inline table with another table of its name: write one \
             table with the keys of both"
        )
    } else if message == "duplicate key" {
        format!(" '{key}'; keep one, or write [[...]] around the name of a table that repeats")
    } else if message.starts_with("cannot extend value of type") {
        "; Telegraf continues an inline table: write a header ([...]) in its place".to_owned()
    } else if message.starts_with("unexpected key") && starts_with_key(&file[before.len()..]) {
        "; Telegraf takes it: write each key on a line of its own".to_owned()
    } else if message.starts_with("missing comma between key") {
        "; Telegraf takes it without: write the comma".to_owned()
    } else {
        String::new()
    };
    format!("this is not valid TOML: {message}{advice}")
}

/// Whether `key` has an inline table as its value in a line of `text`.
fn has_inline_table(text: &str, key: &str) -> bool {
    text.lines().any(|line| {
        let value = line.trim_start().strip_prefix(key).map(str::trim_start);
        let value = value.and_then(|rest| rest.strip_prefix('=')).map(str::trim_start);
        value.is_some_and(|value| value.starts_with('{'))
    })
}

/// Whether `text` starts with a key and `=`.
fn starts_with_key(text: &str) -> bool {
    let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let rest = text.trim_start_matches(is_key);
    rest.len() < text.len() && rest.trim_start().starts_with('=')
}

/// Reads the inputs of `[inputs]`, or `[plugins]` as Telegraf called it before 0.10; the name of
/// one that may be a misspelt `conntrack`.
fn inputs(text: &ConfigText<'_>, section: &str, value: Spanned<DeValue<'_>>, tables: &mut Tables) {
    let span = value.span();
    let DeValue::Table(plugins) = value.into_inner() else {
        text.problem(&span, format!("'{section}' is a table; write [[inputs.conntrack]]"));
        return;
    };
    for (name, value) in plugins {
        let plugin: &str = name.get_ref();
        if plugin == "conntrack" {
            each_table(value, |table| tables.inputs.push(value::table(text, table)));
            continue;
        }
        let mut is_ours = false;
        if plugin == "execd" {
            each_table(value, |table| {
                let command = execd::command(text, &table);
                is_ours |= command.is_some();
                tables.execd.extend(command);
            });
        } else if nearest(plugin, &["conntrack"]).is_some() {
            let message =
                format!("unknown plugin '{plugin}' in [{section}]; did you mean 'conntrack'?");
            text.problem(&name.span(), message);
            continue;
        }
        if !is_ours {
            tables.ignored.push(format!("{section}.{plugin}"));
        }
    }
}

/// Hands over a table, or each of several.
fn each_table<'t>(value: Spanned<DeValue<'t>>, mut take: impl FnMut(Spanned<DeValue<'t>>)) {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(tables) => tables.into_iter().for_each(take),
        single => take(Spanned::new(span, single)),
    }
}

/// Reads a top-level table of another name, which for Telegraf is an input: `[conntrack]`.
fn top_level_input(
    text: &ConfigText<'_>,
    name: &Spanned<impl AsRef<str>>,
    unknown: &str,
    value: Spanned<DeValue<'_>>,
    tables: &mut Tables,
) {
    let is_table = value.get_ref().is_table();
    if unknown == "conntrack" && is_table {
        tables.inputs.push(value::table(text, value));
        return;
    }
    let known = OURS.into_iter().chain(OTHERS);
    let near = nearest(unknown, &known.clone().chain(["conntrack"]).collect::<Vec<_>>());
    let advice = match near {
        Some("conntrack") => "write [[inputs.conntrack]]".to_owned(),
        None if is_table => {
            tables.ignored.push(format!("inputs.{unknown}"));
            return;
        }
        _ => advice(unknown, known),
    };
    text.problem(&name.span(), format!("unknown table or key '{unknown}'; {advice}"));
}
