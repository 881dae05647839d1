//! One row as JSON, in the shape of Telegraf's json serializer and of `--format json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{BadLine, Catalog, FieldId, Series, SeriesId};

#[derive(Deserialize)]
struct Row {
    fields: BTreeMap<String, Scalar>,
    name: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    timestamp: Option<Scalar>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Integer(i64),
    Number(f64),
    Other(IgnoredAny),
}

/// Reads `line` into `values`; the series, and the time in whatever unit it has.
pub(super) fn parse(
    line: &[u8],
    catalog: &mut Catalog,
    values: &mut Vec<(FieldId, f64)>,
) -> Result<(SeriesId, i64), BadLine> {
    let row: Row =
        serde_json::from_slice(line).map_err(|error| BadLine::Json(error.to_string()))?;
    for (key, value) in row.fields {
        let value = match value {
            Scalar::Integer(value) => value as f64,
            Scalar::Number(value) => value,
            Scalar::Other(_) => continue,
        };
        values.push((catalog.field_id(key.as_bytes(), || key.clone())?, value));
    }
    let time = match row.timestamp {
        Some(Scalar::Integer(time)) => time,
        // Telegraf's fractions of a unit: below what the unit promises.
        Some(Scalar::Number(time)) => time as i64,
        Some(Scalar::Other(_)) | None => return Err(BadLine::NoTime),
    };
    let series = Series { name: row.name, tags: row.tags.into_iter().collect() };
    Ok((catalog.series_id(series)?, time))
}
