//! One of our tables: its strings with their variables expanded, its unknown keys and wrong types
//! reported, and the rest as the struct that `tables` has for it.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue, ValueDeserializer};

use super::environment::expand;
use super::error::{advice, nearest, simplified};
use super::tables::Table;
use super::text::{ConfigText, MOST_PROBLEMS};

/// The character that stands for bytes that are not UTF-8.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Reads `value` as the table `T`; what is wrong with it is reported and left out.
pub(super) fn table<T: Table>(text: &ConfigText<'_>, mut value: Spanned<DeValue<'_>>) -> T {
    let span = value.span();
    let DeValue::Table(table) = value.get_mut() else {
        text.problem(&span, format!("{0} is a table; write {0} on a line of its own", T::NAME));
        return T::default();
    };
    leave_out_guesses(text, table);
    use_own_names::<T>(text, table);
    let unused: Vec<&str> =
        T::UNUSED.iter().copied().filter(|key| table.remove(*key).is_some()).collect();
    if !unused.is_empty() {
        let keys = unused.join(", ");
        text.warn(format!("these keys of {} have no effect here: {keys}", T::NAME));
    }
    expand_table(text, table);
    remove_unknown::<T>(text, table);
    read_flags::<T>(text, table);
    deserialize(text, value, T::NAME)
}

/// Reads `value`, which can have any keys; `name` is for messages.
pub(super) fn read<T>(text: &ConfigText<'_>, mut value: Spanned<DeValue<'_>>, name: &str) -> T
where
    T: for<'de> serde::Deserialize<'de> + Default,
{
    if let DeValue::Table(table) = value.get_mut() {
        leave_out_guesses(text, table);
    }
    expand_strings(text, &mut value);
    deserialize(text, value, name)
}

/// Removes the values that the parser made up where the text is not TOML: the error is reported, and
/// they are nothing that the user wrote.
fn leave_out_guesses(text: &ConfigText<'_>, table: &mut DeTable<'_>) {
    for (key, mut value) in std::mem::take(table) {
        let span = value.span();
        match value.get_mut() {
            DeValue::Table(table) => leave_out_guesses(text, table),
            DeValue::Array(array) if array.iter().any(|value| value.get_ref().is_table()) => {
                for value in array.iter_mut() {
                    if let DeValue::Table(table) = value.get_mut() {
                        leave_out_guesses(text, table);
                    }
                }
            }
            _ if text.is_guess(&span) => continue,
            _ => {}
        }
        table.insert(key, value);
    }
}

/// Deserializes `value`; each part that has another type is reported and left out.
fn deserialize<T>(text: &ConfigText<'_>, mut value: Spanned<DeValue<'_>>, name: &str) -> T
where
    T: for<'de> serde::Deserialize<'de> + Default,
{
    for _ in 0..MOST_PROBLEMS {
        let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(read) => return read,
            Err(error) => error,
        };
        let span = error.span().unwrap_or_else(|| value.span());
        let key = value.get_ref().as_table().and_then(|table| key_at(table, &span));
        let about = match key {
            Some(key) => format!("'{key}' in {name}"),
            None => name.to_owned(),
        };
        text.problem(&span, format!("{about}: {}", in_toml_words(error.message())));
        if !remove_at(value.get_mut(), &span) {
            break;
        }
    }
    T::default()
}

/// Expands the variables of a string that may be another program's: nothing is reported.
pub(super) fn expand_quietly(text: &ConfigText<'_>, string: &str) -> String {
    expand(string, text.environment).map_or_else(|_| string.to_owned(), |expanded| expanded.text)
}

/// Expands the variables in all strings of `value`, keys too.
pub(super) fn expand_strings(text: &ConfigText<'_>, value: &mut Spanned<DeValue<'_>>) {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(string) => {
            if let Some(expanded) = expanded(text, &span, string) {
                *string = expanded.into();
            }
        }
        DeValue::Array(array) => array.iter_mut().for_each(|value| expand_strings(text, value)),
        DeValue::Table(table) => expand_table(text, table),
        _ => {}
    }
}

fn expand_table(text: &ConfigText<'_>, table: &mut DeTable<'_>) {
    for (mut key, mut value) in std::mem::take(table) {
        if let Some(expanded) = expanded(text, &key.span(), key.get_ref()) {
            key = Spanned::new(key.span(), expanded.into());
        }
        expand_strings(text, &mut value);
        insert(text, table, key, value);
    }
}

/// Adds an entry that got another key.
fn insert<'t>(
    text: &ConfigText<'_>,
    table: &mut DeTable<'t>,
    key: Spanned<DeString<'t>>,
    value: Spanned<DeValue<'t>>,
) {
    if table.contains_key(key.get_ref().as_ref()) {
        text.problem(&key.span(), format!("duplicate key '{}'; keep one", key.get_ref()));
    }
    table.insert(key, value);
}

/// `string` with its variables expanded, where it has any.
fn expanded(text: &ConfigText<'_>, span: &Range<usize>, string: &str) -> Option<String> {
    if text.has_replacements && string.contains(REPLACEMENT) {
        text.warn_at(
            span,
            format!("'{string}' has bytes that are not UTF-8, which are read as U+FFFD; save the file as UTF-8"),
        );
    }
    if !string.contains('$') {
        return None;
    }
    let expanded = match expand(string, text.environment) {
        Ok(expanded) => expanded,
        Err(message) => {
            text.problem(span, message);
            return None;
        }
    };
    for name in expanded.unset {
        text.warn_at(
            span,
            format!(
                "the environment variable '{name}' is not set and stays as written; set it, write \
                 ${{{name}:-default}}, or $$ for a plain $"
            ),
        );
    }
    Some(expanded.text)
}

/// Gives keys that Telegraf also takes in another writing (`RoundInterval`) their own name.
fn use_own_names<T: Table>(text: &ConfigText<'_>, table: &mut DeTable<'_>) {
    let names = T::keys();
    let names = names.iter().map(String::as_str).chain(T::UNUSED.iter().copied());
    let names: Vec<&str> = names.filter(|name| T::is_in_any_writing(name)).collect();
    for (mut key, value) in std::mem::take(table) {
        if let Some(name) = names.iter().find(|name| simplified(name) == simplified(key.get_ref()))
        {
            key = Spanned::new(key.span(), (*name).to_owned().into());
        }
        insert(text, table, key, value);
    }
}

fn remove_unknown<T: Table>(text: &ConfigText<'_>, table: &mut DeTable<'_>) {
    let own = T::keys();
    let own = || own.iter().map(String::as_str);
    let all: Vec<&str> = own().chain(T::UNUSED.iter().copied()).collect();
    for (key, value) in std::mem::take(table) {
        let name: &str = key.get_ref();
        if all.contains(&name) {
            table.insert(key, value);
            continue;
        }
        let advice = match (T::of_another_table(name), nearest(name, &all)) {
            (Some(other), _) => format!("it belongs in {other}"),
            (None, Some(near)) => format!("did you mean '{near}'?"),
            (None, None) => advice(name, own()),
        };
        text.problem(&key.span(), format!("unknown key '{name}' in {}; {advice}", T::NAME));
    }
}

/// Reads strings for `true` and `false`: a variable can stand in a string only.
fn read_flags<T: Table>(text: &ConfigText<'_>, table: &mut DeTable<'_>) {
    for key in T::FLAGS {
        let Some(value) = table.get_mut(*key) else { continue };
        let span = value.span();
        let DeValue::String(string) = value.get_ref() else { continue };
        let flag = match string.as_ref() {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => true,
            "0" | "f" | "F" | "false" | "False" | "FALSE" => false,
            _ => continue,
        };
        text.warn_at(
            &span,
            format!("'{key}' in {}: \"{string}\" is read as {flag}; write {key} = {flag}", T::NAME),
        );
        *value = Spanned::new(span, DeValue::Boolean(flag));
    }
}

/// The path of keys to the innermost value that covers `span`.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let key = key.get_ref();
        let inner = value.get_ref().as_table().and_then(|table| key_at(table, span));
        match inner {
            Some(inner) => Some(format!("{key}.{inner}")),
            None => covers(value, span).then(|| key.to_string()),
        }
    })
}

/// Removes the innermost value that covers `span`; whether there was one.
fn remove_at(value: &mut DeValue<'_>, span: &Range<usize>) -> bool {
    match value {
        DeValue::Table(table) => {
            if table.iter_mut().any(|(_, value)| remove_at(value.get_mut(), span)) {
                return true;
            }
            let before = table.len();
            let others = std::mem::take(table).into_iter();
            *table = others.filter(|(_, value)| !covers(value, span)).collect();
            table.len() < before
        }
        DeValue::Array(array) => {
            if array.iter_mut().any(|value| remove_at(value.get_mut(), span)) {
                return true;
            }
            let before = array.len();
            let others = std::mem::replace(array, DeArray::new()).into_iter();
            *array = others.filter(|value| !covers(value, span)).collect();
            array.len() < before
        }
        _ => false,
    }
}

fn covers(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    value.span().start <= span.start && span.end <= value.span().end
}

/// serde's "invalid type: sequence, expected a map" with TOML's names of the types.
fn in_toml_words(message: &str) -> String {
    let types = message.strip_prefix("invalid type: ");
    let Some((found, expected)) = types.and_then(|types| types.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    let found = match found {
        "map" => "a table, or a date".to_owned(),
        "sequence" => "an array".to_owned(),
        value => value.replace('`', "").trim_end_matches(" as i128").to_owned(),
    };
    let expected = match expected {
        "a map" => "a table",
        "a sequence" => "an array",
        other => other,
    };
    let remedy = remedy(&found, expected);
    format!("wrong type: found {found}, expected {expected}{remedy}")
}

/// The valid form of a value that has another type, where it is known.
fn remedy(found: &str, expected: &str) -> String {
    match (found.split_once(' '), expected) {
        (Some(("string" | "integer", value)), "an array") => format!("; write [{value}]"),
        (Some(("integer", value)), "a string") => format!("; write \"{value}\""),
        (Some(("string", _)), "a boolean") => "; write true or false".to_owned(),
        _ => String::new(),
    }
}
