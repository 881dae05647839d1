//! Rows of a recorded file, as `ctpulse run --output FILE` writes them: line protocol or JSON
//! lines, with timestamps in nanoseconds.
//!
//! A line that cannot be read is counted and told, and loses no other.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::metric::{Metric, Name, Value};

/// Rows in the order in which they were recorded.
pub trait Rows: Send {
    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    fn next_row(&mut self) -> io::Result<Option<Metric>>;
}

/// A file of lines.
#[derive(Debug)]
pub struct LinesFile {
    path: PathBuf,
    lines: BufReader<File>,
    text: Vec<u8>,
    number: u64,
    bad_lines: u64,
}

impl LinesFile {
    /// Opens a file.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn open(path: &Path) -> io::Result<Self> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(named)?;
        if file.metadata().map_err(named)?.is_dir() {
            return Err(named(io::ErrorKind::IsADirectory.into()));
        }
        let lines = BufReader::with_capacity(1 << 18, file);
        Ok(Self { path: path.to_owned(), lines, text: Vec::new(), number: 0, bad_lines: 0 })
    }

    fn tell_bad(&mut self) {
        self.bad_lines += 1;
        if self.bad_lines == 1 {
            let (path, number) = (self.path.display(), self.number);
            log::warn!("{path}:{number}: neither line protocol nor JSON of a row; left out");
        }
    }
}

impl Rows for LinesFile {
    fn next_row(&mut self) -> io::Result<Option<Metric>> {
        loop {
            self.text.clear();
            if self.lines.read_until(b'\n', &mut self.text)? == 0 {
                if self.bad_lines > 1 {
                    let path = self.path.display();
                    log::warn!("{path}: {} lines could not be read", self.bad_lines);
                }
                return Ok(None);
            }
            self.number += 1;
            let Ok(line) = std::str::from_utf8(&self.text) else {
                self.tell_bad();
                continue;
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match if line.starts_with('{') { from_json(line) } else { from_line_protocol(line) } {
                Some(row) => return Ok(Some(row)),
                None => self.tell_bad(),
            }
        }
    }
}

/// A row in Telegraf's JSON shape.
#[derive(Deserialize)]
struct JsonRow {
    name: String,
    tags: BTreeMap<String, String>,
    fields: BTreeMap<String, serde_json::Number>,
    timestamp: i64,
}

fn from_json(line: &str) -> Option<Metric> {
    let row: JsonRow = serde_json::from_str(line).ok()?;
    let value = |number: &serde_json::Number| match number.as_u64() {
        Some(integer) => Some(Value::Integer(integer)),
        None => number.as_f64().map(Value::Float),
    };
    let fields = row.fields.iter().map(|(key, number)| Some((key.as_str(), value(number)?)));
    let fields = fields.collect::<Option<Vec<_>>>()?;
    let tags = row.tags.iter().map(|(key, value)| (key.as_str(), value.clone()));
    let tags: Vec<_> = tags.collect();
    Some(metric(row.name, &tags, fields, row.timestamp))
}

fn from_line_protocol(line: &str) -> Option<Metric> {
    let (key, rest) = split_unescaped(line, ' ')?;
    let (fields, timestamp) = split_unescaped(rest, ' ')?;
    let mut parts = all_unescaped(key, ',');
    let name = unescaped(parts.next()?);
    let pair = |part| split_unescaped(part, '=').map(|(key, value)| (unescaped(key), value));
    let tags: Vec<(String, &str)> = parts.map(pair).collect::<Option<_>>()?;
    let fields: Vec<(String, &str)> =
        all_unescaped(fields, ',').map(pair).collect::<Option<_>>()?;
    // Text, true and false are no numbers of ours; the row's numbers are.
    let fields = fields.iter().filter_map(|(key, text)| Some((key.as_str(), number(text)?)));
    let fields: Vec<_> = fields.collect();
    let tags = tags.iter().map(|(key, value)| (key.as_str(), unescaped(value)));
    let tags: Vec<_> = tags.collect();
    (!fields.is_empty()).then_some(())?;
    Some(metric(name, &tags, fields, timestamp.trim().parse().ok()?))
}

fn number(text: &str) -> Option<Value> {
    match text.strip_suffix(['i', 'u']) {
        Some(integer) => integer.parse().ok().map(Value::Integer),
        None => text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Float),
    }
}

fn metric(
    name: String,
    tags: &[(&str, String)],
    mut fields: Vec<(&str, Value)>,
    timestamp_ns: i64,
) -> Metric {
    fields.sort_by_key(|(key, _)| *key);
    fields.dedup_by_key(|(key, _)| *key);
    let fields = fields.into_iter().map(|(key, value)| (Name::from(key), value)).collect();
    let mut metric = Metric { name, tags: Vec::new(), fields, timestamp_ns };
    tags.iter().for_each(|(key, value)| metric.add_tag(&Name::from(*key), value));
    metric
}

/// Splits at the first `at` that no backslash escapes.
fn split_unescaped(text: &str, at: char) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    let place = text.char_indices().find(|(_, c)| {
        let found = *c == at && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        found
    });
    place.map(|(place, _)| (&text[..place], &text[place + at.len_utf8()..]))
}

fn all_unescaped(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (part, after) =
            split_unescaped(text, at).map_or((text, None), |(part, after)| (part, Some(after)));
        rest = after;
        Some(part)
    })
}

/// Without the backslashes before what they escape; others stay.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(' ' | ',' | '=' | '\\')) => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::format::{Encoder, Influx, Json};

    fn rows_of(bytes: &[u8]) -> Vec<Metric> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut rows = LinesFile::open(file.path()).unwrap();
        std::iter::from_fn(|| rows.next_row().unwrap()).collect()
    }

    #[test]
    fn what_the_formats_write_is_read_back() {
        let fields = vec![("drop", Value::Integer(7)), ("drop_rate", Value::Float(0.5))];
        let tags = vec![("cpu", "all".to_owned()), ("netns", r"a b,c=d\e".to_owned())];
        let row = metric("conntrack".to_owned(), &tags, fields, 1_795_418_322_367_478_882);
        for mut encoder in [Box::new(Influx) as Box<dyn Encoder>, Box::new(Json)] {
            let mut text = Vec::new();
            encoder.encode(&[row.clone(), row.clone()], &mut text);
            assert_eq!(rows_of(&text), [row.clone(), row.clone()]);
        }
    }

    #[test]
    fn a_bad_line_loses_no_other() {
        let good = "conntrack,cpu=all drop=7i,odd=\"x\" 12\n";
        let bad = "\n# a comment\nnonsense\nconntrack drop=7i\n{\"name\":1}\n\u{0}\n";
        let mut text = [good, bad, good].concat().into_bytes();
        text.extend(b"\xff\xfe\nconntrack,cpu=all dro");
        let rows = rows_of(&text);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].field("drop"), Some(Value::Integer(7)));
        assert_eq!((rows[0].fields.len(), rows[0].timestamp_ns), (1, 12));
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        for path in ["/nonexistent/fw.influx", "/tmp"] {
            let error = LinesFile::open(Path::new(path)).unwrap_err().to_string();
            assert!(error.starts_with(path), "{error}");
        }
    }
}
