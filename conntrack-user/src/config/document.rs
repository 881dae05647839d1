//! The tables of one file by name: ours, those of other plugins, and mistakes.
//!
//! The tables of other plugins are not read, and nothing in them is judged; one warning names
//! them, and another each that is not TOML. Telegraf's older names of our own tables are known here.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::dialect::OTHERS;
use super::error::{advice, nearest};
use super::execd::{self, ExecdCommand, Started};
use super::tables::{AgentTable, ConntrackTable};
use super::text::ConfigText;
use super::{syntax, value};

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
    let errors = syntax::errors_of(&text.filled.text, root.get_ref(), errors);
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
    syntax::report(text, &errors, has_input);
    if !tables.ignored.is_empty() {
        let ignored = tables.ignored.join(", ");
        text.warn(format!("only inputs.conntrack is read here; ignored: {ignored}"));
    }
    tables
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
