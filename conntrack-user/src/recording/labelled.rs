//! Rows of measurements with labels, and the source that they are of.

use super::{Catalog, RecordedSeries, Row};
use crate::rows::MEASUREMENT;
use crate::schema::labelled::{LabelledMeasurement, find};

/// The labels of a row, with their names.
type Labels = Vec<(String, String)>;

/// Returns the measurement of a row with labels, the series of its source's own rows, and its labels.
pub(crate) fn source_of(
    catalog: &Catalog,
    row: Row<'_>,
) -> Option<(&'static LabelledMeasurement, RecordedSeries, Labels)> {
    let series = catalog.series(row.series);
    let has_field = |name: &str| row.values.iter().any(|(id, _)| catalog.fields()[id.0] == name);
    let measurement = find(|tag| series.tag(tag).is_some(), has_field)?;
    let is_label = |key: &str| measurement.labels.contains(&key);
    let (labels, tags) = series.tags.iter().cloned().partition(|(key, _)| is_label(key));
    // With `name_override` both have the same name.
    let name = series.name.replacen(measurement.name, MEASUREMENT, 1);
    Some((measurement, RecordedSeries { name, tags }, labels))
}
