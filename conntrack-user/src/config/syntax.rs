//! What is not TOML: where it begins, and what to write in its place.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::text::ConfigText;

/// Characters without a width.
const UNSEEN: [char; 8] =
    ['\u{ad}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{2060}', '\u{feff}'];

/// A place that is not TOML, and the parser's message.
pub(super) struct SyntaxError {
    span: Range<usize>,
    /// The text that the parser may have read in another way than it was meant, with its end.
    pub(super) region: RangeInclusive<usize>,
    message: String,
}

/// The parser's errors. An array or an inline table without an end takes in the lines behind it: the
/// error is where it begins, and those in it are left out.
pub(super) fn errors_of(
    text: &str,
    root: &DeTable<'_>,
    errors: Vec<toml::de::Error>,
) -> Vec<SyntaxError> {
    let error = |error: toml::de::Error| {
        let span = error.span().unwrap_or(0..0);
        SyntaxError { region: span.start..=span.start, span, message: error.message().to_owned() }
    };
    let mut errors: Vec<SyntaxError> = errors.into_iter().map(error).collect();
    errors.iter_mut().for_each(|error| begin_at_quotes(text, error));
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

/// A string of several lines without an end takes in the rest of the file: the error is where it
/// begins.
fn begin_at_quotes(text: &str, error: &mut SyntaxError) {
    let quotes = match error.message.as_str() {
        message if message.starts_with("invalid multi-line basic string") => "\"\"\"",
        message if message.starts_with("invalid multi-line literal string") => "'''",
        _ => return,
    };
    let end = error.span.end.min(text.len());
    if !text[end..].trim().is_empty() {
        return;
    }
    let Some(begin) = text[..end].rfind(quotes) else { return };
    error.message = format!("the string is not closed; write {quotes} at its end");
    error.region = begin..=end;
    error.span = begin..begin;
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
/// Telegraf's parser may accept it. Without an input it may be the reason for that.
pub(super) fn report(text: &ConfigText<'_>, errors: &[SyntaxError], has_input: bool) {
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
        unquoted(text.line(span), key)
    } else {
        unseen(text.line(span))
    };
    format!("this is not valid TOML: {message}{advice}")
}

/// The advice about a character of `line`, in front of a comment, that an editor does not show.
fn unseen(line: &str) -> String {
    let is_unseen = |c: char| {
        let is_blank = c.is_whitespace() && ![' ', '\t', '\r'].contains(&c);
        c.is_control() && c != '\t' && c != '\r' || is_blank || UNSEEN.contains(&c)
    };
    let code = line.split('#').next().unwrap_or_default();
    let Some(found) = code.chars().find(|c| is_unseen(*c)) else { return String::new() };
    let number = u32::from(found);
    format!("; the line has the character U+{number:04X}, which editors do not show: remove it")
}

/// The advice for a text without quotes, or in those of a word processor, in `line` as it was written.
fn unquoted(line: &str, text: &str) -> String {
    if text.is_empty() && line.contains('$') {
        return "; a variable of this line is empty: set it, or write a value".to_owned();
    }
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
