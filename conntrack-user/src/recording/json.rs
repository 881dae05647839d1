//! One row as JSON, in the shape of Telegraf's json serializer and of `--format json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::known::is_known;
use super::time::{self, Units};
use super::{BadLine, Catalog, FieldId, RecordedSeries, SeriesId};

#[derive(Deserialize)]
struct JsonRow {
    fields: BTreeMap<String, Scalar>,
    name: String,
    #[serde(default)]
    tags: Option<BTreeMap<String, Scalar>>,
    timestamp: Option<Scalar>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Integer(i64),
    Number(f64),
    Text(String),
    Other(IgnoredAny),
}

impl Scalar {
    /// The number, which other programs may have put in quotes.
    fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            Self::Text(text) => number_of(text.trim()),
            Self::Other(_) => None,
        }
    }

    fn time_ns(&self, units: &mut Units) -> Option<i64> {
        match self {
            Self::Integer(time) => units.nanoseconds_of_json(*time),
            Self::Number(time) => time::nanoseconds_of_fraction(*time),
            Self::Text(text) => time::parse(text, units),
            Self::Other(_) => None,
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Self::Integer(value) => Some(value.to_string()),
            Self::Number(value) => Some(value.to_string()),
            Self::Text(text) => Some(text),
            Self::Other(_) => None,
        }
    }
}

/// Returns the number of a text. The kernel's hexadecimal numbers begin with zeros, and some of them
/// have no letter.
fn number_of(text: &str) -> Option<f64> {
    if let [b'0', b'0'..=b'9', ..] = text.as_bytes() {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Returns what an object is that is no row.
fn no_row(object: &[u8], error: &serde_json::Error) -> BadLine {
    let members: BTreeMap<String, IgnoredAny> = serde_json::from_slice(object).unwrap_or_default();
    let has = |names: [&str; 2]| names.iter().all(|name| members.contains_key(*name));
    if has(["log", "stream"]) {
        BadLine::ContainerLog
    } else if has(["cause", "netns_inode"]) {
        BadLine::Drop
    } else if has(["recording", "sources"]) {
        BadLine::Report
    } else {
        BadLine::Json(error.to_string())
    }
}

/// Reads `object` into `values`; the series, and the time in nanoseconds. `units` is that of its file.
pub(super) fn parse(
    object: &[u8],
    units: &mut Units,
    catalog: &mut Catalog,
    values: &mut Vec<(FieldId, f64)>,
) -> Result<(SeriesId, i64), BadLine> {
    let row: JsonRow = serde_json::from_slice(object).map_err(|error| no_row(object, &error))?;
    for (key, value) in row.fields {
        if let Some(value) = value.number() {
            values.push((catalog.field_id(key.as_bytes(), || key.clone())?, value));
        } else if let (Scalar::Text(text), true) = (&value, is_known(&key)) {
            let field = catalog.field_id(key.as_bytes(), || key.clone())?;
            catalog.note_text(field, text);
        }
    }
    let time_ns = match row.timestamp {
        None | Some(Scalar::Other(_)) => return Err(BadLine::NoTime),
        Some(time) => time.time_ns(units).ok_or(BadLine::Time)?,
    };
    let tags = row.tags.into_iter().flatten().filter_map(|(key, value)| Some((key, value.text()?)));
    let series = RecordedSeries { name: row.name, tags: tags.collect() };
    Ok((catalog.series_id(series)?, time_ns))
}
