//! One file: its text with the way back to what the user wrote, and its tables by name.
//!
//! Which tables there can be is decided here: ours, those of other plugins (ignored with one
//! warning), and mistakes. All errors about a place in the file are made here.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::environment::{Environment, Substituted, substitute};
use super::error::{ConfigError, Position, advice, nearest};
use super::tables::{AgentTable, ConntrackTable, Table, UNUSED_AGENT_KEYS};
use crate::format::human::printable;

/// The top-level tables that mean something here.
const OURS: [&str; 3] = ["agent", "global_tags", "inputs"];

/// Telegraf's other top-level tables.
const OTHERS: [&str; 4] = ["aggregators", "outputs", "processors", "secretstores"];

/// The text of a configuration file.
pub(super) struct Source<'a> {
    file_name: &'a str,
    original: &'a str,
    substituted: Substituted,
}

/// What a file holds for us.
pub(super) struct Tables {
    pub global_tags: BTreeMap<String, String>,
    pub agent: AgentTable,
    pub inputs: Vec<ConntrackTable>,
    pub warnings: Vec<String>,
}

impl<'a> Source<'a> {
    /// Takes a file's text and fills the environment's variables in.
    pub(super) fn new(
        file_name: &'a str,
        text: &'a str,
        environment: Environment<'_>,
    ) -> Result<Self, ConfigError> {
        let original = text.strip_prefix('\u{feff}').unwrap_or(text);
        match substitute(original, environment) {
            Ok(substituted) => Ok(Self { file_name, original, substituted }),
            Err(error) => Err(ConfigError::Invalid {
                file: file_name.to_owned(),
                position: Position::of(original, error.offset),
                message: printable(&error.message),
            }),
        }
    }

    /// The error `message` about the text at `span`.
    pub(super) fn error(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        ConfigError::Invalid {
            file: self.file_name.to_owned(),
            position: Position::of(self.original, self.substituted.original(span.start)),
            message: printable(&message.into()),
        }
    }

    /// The error `problem` about the value of `key` in the table `T`.
    pub(super) fn value_error<T: Table>(
        &self,
        span: Range<usize>,
        key: &str,
        problem: impl std::fmt::Display,
    ) -> ConfigError {
        self.error(span, format!("'{key}' in {}: {problem}", T::NAME))
    }

    /// The warning `message` about the text at `span`.
    pub(super) fn warning(&self, span: Range<usize>, message: impl Into<String>) -> String {
        self.error(span, message).to_string()
    }

    /// Reads the tables.
    pub(super) fn tables(&self) -> Result<Tables, ConfigError> {
        let root = DeTable::parse(&self.substituted.text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let mut message = format!("this is not valid TOML: {}", error.message());
            if let ("duplicate key", Some(key)) =
                (error.message(), self.substituted.text.get(span.clone()))
            {
                message.push_str(&format!(
                    " '{key}'; keep one, or write [[...]] around the name of a table that repeats"
                ));
            }
            self.error(span, message)
        })?;
        let mut tables = Tables {
            global_tags: BTreeMap::new(),
            agent: AgentTable::default(),
            inputs: Vec::new(),
            warnings: self.environment_warnings(),
        };
        let mut ignored = Vec::new();
        for (name, value) in root.into_inner() {
            match name.get_ref().as_ref() {
                "agent" => {
                    let (agent, unused) = self.agent(value)?;
                    tables.agent = agent;
                    tables.warnings.extend(unused);
                }
                "global_tags" => tables.global_tags = self.read(value, "[global_tags]")?,
                "inputs" => tables.inputs = self.inputs(value, &mut ignored)?,
                other if OTHERS.contains(&other) => match value.get_ref().as_table() {
                    Some(plugins) => ignored.extend(
                        plugins.keys().map(|plugin| format!("{other}.{}", plugin.get_ref())),
                    ),
                    None => ignored.push(other.to_owned()),
                },
                unknown => {
                    let advice = advice(unknown, OURS.into_iter().chain(OTHERS));
                    let message = format!("unknown table or key '{unknown}'; {advice}");
                    return Err(self.error(name.span(), message));
                }
            }
        }
        if !ignored.is_empty() {
            tables.warnings.push(format!(
                "{}: only inputs.conntrack is read here; ignored: {}",
                self.file_name,
                ignored.join(", ")
            ));
        }
        Ok(tables)
    }

    fn environment_warnings(&self) -> Vec<String> {
        let place = |offset| Position::of(self.original, offset);
        let warnings = self.substituted.warnings.iter();
        warnings.map(|(at, text)| format!("{}:{}: {text}", self.file_name, place(*at))).collect()
    }

    /// Reads `[agent]`, with a warning about the keys that have no meaning here.
    fn agent(
        &self,
        mut value: Spanned<DeValue<'_>>,
    ) -> Result<(AgentTable, Option<String>), ConfigError> {
        let mut unused = Vec::new();
        if let DeValue::Table(table) = value.get_mut() {
            unused.extend(UNUSED_AGENT_KEYS.into_iter().filter(|key| table.remove(*key).is_some()));
        }
        let warning = (!unused.is_empty()).then(|| {
            let keys = unused.join(", ");
            format!("{}: these keys of [agent] have no effect here: {keys}", self.file_name)
        });
        Ok((self.table(value, &UNUSED_AGENT_KEYS)?, warning))
    }

    /// Reads every `[[inputs.conntrack]]`; the names of other inputs go to `ignored`.
    fn inputs(
        &self,
        value: Spanned<DeValue<'_>>,
        ignored: &mut Vec<String>,
    ) -> Result<Vec<ConntrackTable>, ConfigError> {
        let span = value.span();
        let DeValue::Table(plugins) = value.into_inner() else {
            return Err(self.error(span, "'inputs' is a table; write [[inputs.conntrack]]"));
        };
        let mut inputs = Vec::new();
        let mut misspelt = None;
        for (name, value) in plugins {
            if name.get_ref() == "conntrack" {
                let span = value.span();
                match value.into_inner() {
                    DeValue::Array(tables) => {
                        for table in tables {
                            inputs.push(self.table(table, &[])?);
                        }
                    }
                    single => inputs.push(self.table(Spanned::new(span, single), &[])?),
                }
                continue;
            }
            if nearest(name.get_ref(), &["conntrack"]).is_some() {
                misspelt = Some(name.clone());
            }
            ignored.push(format!("inputs.{}", name.get_ref()));
        }
        match misspelt {
            Some(name) if inputs.is_empty() => {
                let message = format!(
                    "unknown plugin '{}' in [inputs]; did you mean 'conntrack'?",
                    name.get_ref()
                );
                Err(self.error(name.span(), message))
            }
            _ => Ok(inputs),
        }
    }

    /// Reads one of our tables. `also_valid` are names that were taken out before.
    fn table<T: Table>(
        &self,
        value: Spanned<DeValue<'_>>,
        also_valid: &[&str],
    ) -> Result<T, ConfigError> {
        let Some(table) = value.get_ref().as_table() else {
            let message = format!("{} is a table; write its name like this on a line", T::NAME);
            return Err(self.error(value.span(), message));
        };
        let valid = T::keys();
        let valid = || valid.iter().map(String::as_str).chain(also_valid.iter().copied());
        let unknown = table.keys().filter(|key| valid().all(|name| name != key.get_ref()));
        if let Some(unknown) = unknown.min_by_key(|key| key.span().start) {
            let key = unknown.get_ref();
            let message = format!("unknown key '{key}' in {}; {}", T::NAME, advice(key, valid()));
            return Err(self.error(unknown.span(), message));
        }
        self.read(value, T::NAME)
    }

    /// Reads a value whose keys, if it has any, are known to be right.
    fn read<T>(&self, value: Spanned<DeValue<'_>>, table_name: &str) -> Result<T, ConfigError>
    where
        T: for<'de> serde::Deserialize<'de>,
    {
        let whole = value.clone();
        T::deserialize(ValueDeserializer::from(value)).map_err(|error| {
            let span = error.span().unwrap_or_else(|| whole.span());
            let key = whole.get_ref().as_table().and_then(|table| key_at(table, &span));
            let about = match key {
                Some(key) => format!("'{key}' in {table_name}"),
                None => table_name.to_owned(),
            };
            self.error(span, format!("{about}: {}", in_toml_words(error.message())))
        })
    }
}

/// The path of keys to the innermost value that covers `span`.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let key = key.get_ref();
        let inner = value.get_ref().as_table().and_then(|table| key_at(table, span));
        let here = value.span().start <= span.start && span.end <= value.span().end;
        match inner {
            Some(inner) => Some(format!("{key}.{inner}")),
            None => here.then(|| key.to_string()),
        }
    })
}

/// serde's "invalid type: sequence, expected a map" with TOML's names of the types.
fn in_toml_words(message: &str) -> String {
    let types = message.strip_prefix("invalid type: ");
    let Some((found, expected)) = types.and_then(|types| types.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    let found = match found {
        "map" => "a table or a date".to_owned(),
        "sequence" => "an array".to_owned(),
        value => value.replace('`', "").trim_end_matches(" as i128").to_owned(),
    };
    let expected = match expected {
        "a map" => "a table",
        "a sequence" => "an array",
        other => other,
    };
    format!("wrong type: found {found}, expected {expected}")
}
