//! The tables of one file by name: ours, those of other plugins, and mistakes.
//!
//! The tables of other plugins are not read, and nothing in them is judged; one warning names
//! them, and another each that is not TOML. Telegraf's older names of our own tables are known here.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::dialect::OTHERS;
use super::error::{advice, nearest};
use super::execd::{self, ExecdCommand, Started};
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
    /// The tables of other plugins that start ctpulse in a way that is not checked.
    pub unjudged: Vec<String>,
    /// The names of other plugins, for the warning.
    ignored: Vec<String>,
}

/// Reads the tables; what is wrong is reported to `text`.
pub(super) fn tables(text: &ConfigText<'_>) -> Tables {
    let (root, errors) = DeTable::parse_recoverable(&text.filled.text);
    let errors = syntax_errors_of(root.get_ref(), errors);
    text.syntax_errors.replace(errors.iter().map(|error| error.region.clone()).collect());
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
    report_syntax_errors(text, &errors, has_input);
    if !tables.ignored.is_empty() {
        let ignored = tables.ignored.join(", ");
        text.warn(format!("only inputs.conntrack is read here; ignored: {ignored}"));
    }
    tables
}

/// A place that is not TOML, and the parser's message.
struct SyntaxError {
    span: Range<usize>,
    /// The text that the parser may have read in another way than it was meant, with its end.
    region: RangeInclusive<usize>,
    message: String,
}

/// The parser's errors. An array or an inline table without an end takes in the lines behind it: the
/// error is where it begins, and those in it are left out.
fn syntax_errors_of(root: &DeTable<'_>, errors: Vec<toml::de::Error>) -> Vec<SyntaxError> {
    let error = |error: toml::de::Error| {
        let span = error.span().unwrap_or(0..0);
        SyntaxError { region: span.start..=span.start, span, message: error.message().to_owned() }
    };
    let mut errors: Vec<SyntaxError> = errors.into_iter().map(error).collect();
    let unclosed = |error: &SyntaxError| match error.message.as_str() {
        "unclosed array, expected `]`" => Some(("array", ']')),
        "unclosed inline table, expected `}`" => Some(("inline table", '}')),
        _ => None,
    };
    let found = errors.iter().find_map(|error| {
        let (what, end) = unclosed(error)?;
        let begin = outermost_until(root, error.span.start)?;
        let message = format!("the {what} is not closed; write {end} at its end");
        Some(SyntaxError { span: begin..begin, region: begin..=error.span.end, message })
    });
    if let Some(error) = found {
        errors.retain(|other| !error.region.contains(&other.span.start));
        errors.push(error);
        errors.sort_by_key(|error| error.span.start);
    }
    errors
}

/// Where the outermost array or inline table begins that ends at `end`.
fn outermost_until(table: &DeTable<'_>, end: usize) -> Option<usize> {
    fn of_value(value: &Spanned<DeValue<'_>>, end: usize) -> Option<usize> {
        match value.get_ref() {
            DeValue::Array(_) | DeValue::Table(_) if value.span().end == end => {
                Some(value.span().start)
            }
            DeValue::Array(array) => array.iter().find_map(|value| of_value(value, end)),
            DeValue::Table(table) => outermost_until(table, end),
            _ => None,
        }
    }
    table.iter().find_map(|(_, value)| of_value(value, end))
}

/// Reports what is not TOML: a problem in our tables, and in those of other plugins a warning, since
/// Telegraf's parser may take it. Without an input it may be the reason why there is none.
fn report_syntax_errors(text: &ConfigText<'_>, errors: &[SyntaxError], has_input: bool) {
    let mut last_line = 0;
    let mut warned: Vec<String> = Vec::new();
    for SyntaxError { span, message, .. } in errors {
        let other = text.sections.other_plugin(span.start).filter(|_| has_input);
        // What follows on the same line is a consequence.
        let line = text.position(span).line;
        match other {
            _ if line == last_line => {}
            Some(header) if warned.contains(&header) => {}
            Some(header) => {
                text.warn_at(
                    span,
                    format!("{header} is no TOML and not read: {message}; Telegraf may accept it"),
                );
                warned.push(header);
            }
            None => text.problem(span, not_toml(text, message, span)),
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
    } else if message == "duplicate key" && ["agent", "global_tags", "tags"].contains(&key) {
        format!(" '{key}'; Telegraf has one such table: write the keys of both into it")
    } else if message == "duplicate key" {
        format!(" '{key}'; keep one, or write [[...]] around the name of a table that repeats")
    } else if message.starts_with("cannot extend value of type") {
        "; Telegraf continues an inline table: write a header ([...]) in its place".to_owned()
    } else if message.starts_with("unexpected key") && starts_with_key(&file[before.len()..]) {
        "; Telegraf takes it: write each key on a line of its own".to_owned()
    } else if message.starts_with("missing comma between key") {
        "; Telegraf takes it without: write the comma".to_owned()
    } else if message.starts_with("string values must be quoted") {
        unquoted(key)
    } else {
        String::new()
    };
    format!("this is not valid TOML: {message}{advice}")
}

/// The advice for a text without quotes, or in those of a word processor.
fn unquoted(text: &str) -> String {
    let quotes = ['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{ab}', '\u{bb}'];
    let bare = text.trim_matches(quotes);
    match bare {
        "" => String::new(),
        _ if bare.contains(['"', '\n']) => String::new(),
        _ if bare == text => format!("; write \"{bare}\""),
        _ => format!("; write \"{bare}\", with straight quotes"),
    }
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
                let started = execd::command(text, &table);
                is_ours |= !matches!(started, Started::Other);
                match started {
                    Started::Ours(command) => tables.execd.push(command),
                    Started::Unjudged => tables.unjudged.push(format!("[[{section}.execd]]")),
                    Started::Wrong | Started::Other => {}
                }
            });
        } else if plugin == "exec" && execd::starts_us(value.get_ref()) {
            tables.unjudged.push(format!("[[{section}.exec]]"));
            is_ours = true;
        } else if nearest(plugin, &["execd"]).is_some()
            && plugin != "exec"
            && execd::starts_us(value.get_ref())
        {
            let message =
                format!("unknown plugin '{plugin}' in [{section}]; did you mean 'execd'?");
            text.problem(&name.span(), message);
            continue;
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
