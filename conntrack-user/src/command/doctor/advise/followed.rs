//! What the advice takes from single rows, beside the report's totals.

use std::collections::HashMap;

use crate::advice::Steadiness;
use crate::recording::{Catalog, Row, SeriesId};
use crate::report::{self, SourceReport};
use crate::schema::field::FieldKind;
use crate::schema::fields::{self, FOUND, INSERT_FAILED};

/// What a field is to the advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldClass {
    Failed,
    Found,
    Counter,
    Other,
}

/// What was seen of a series.
#[derive(Debug, Default)]
struct Seen {
    is_above_zero: bool,
    /// `insert_failed` and `found` of the row before.
    last: Option<(f64, f64)>,
    steadiness: Steadiness,
}

/// Follows the rows of all series.
#[derive(Debug, Default)]
pub(super) struct Followed {
    meanings: Vec<FieldClass>,
    series: HashMap<SeriesId, Seen>,
}

impl Followed {
    pub(super) fn push(&mut self, catalog: &Catalog, row: &Row<'_>) {
        for name in &catalog.fields()[self.meanings.len()..] {
            self.meanings.push(meaning(name));
        }
        let seen = self.series.entry(row.series).or_default();
        let (mut failed, mut found) = (None, None);
        for &(field, value) in row.values {
            let meaning = self.meanings[field.0];
            seen.is_above_zero |= value > 0.0 && meaning != FieldClass::Other;
            match meaning {
                FieldClass::Failed => failed = Some(value),
                FieldClass::Found => found = Some(value),
                FieldClass::Counter | FieldClass::Other => {}
            }
        }
        if let (Some(failed), Some(found)) = (failed, found)
            && let Some((failed_before, found_before)) = seen.last.replace((failed, found))
        {
            // Whichever of both rows is the older one.
            seen.steadiness.take(failed - failed_before, found - found_before);
        }
    }

    /// Whether any counter of a source was above 0.
    pub(super) fn is_any_above_zero(&self, catalog: &Catalog, source: &SourceReport) -> bool {
        self.of(catalog, source).any(|(_, seen)| seen.is_above_zero)
    }

    /// How steady the ports found taken for each failure were, by the rows of the whole namespace.
    pub(super) fn steadiness(&self, catalog: &Catalog, source: &SourceReport) -> Steadiness {
        let mut all = self.of(catalog, source).filter(|(cpu, _)| *cpu == Some("all"));
        all.next().map(|(_, seen)| seen.steadiness).unwrap_or_default()
    }

    /// The series of a source, with the CPU that their rows are of.
    fn of<'a>(
        &'a self,
        catalog: &'a Catalog,
        source: &'a SourceReport,
    ) -> impl Iterator<Item = (Option<&'a str>, &'a Seen)> {
        self.series.iter().filter_map(|(id, seen)| {
            let series = catalog.series(*id);
            let tags = series.tags.iter().filter(|(key, _)| key != "cpu");
            let is_of = series.name == source.name && tags.eq(source.tags.iter());
            is_of.then(|| (series.tag("cpu"), seen))
        })
    }
}

fn meaning(name: &str) -> FieldClass {
    match fields::find(name) {
        Some(field) if *field == INSERT_FAILED => FieldClass::Failed,
        Some(field) if *field == FOUND => FieldClass::Found,
        // The probes' misses say nothing about the traffic.
        Some(field) if field.kind == FieldKind::Own => FieldClass::Other,
        _ if report::is_counter(name) => FieldClass::Counter,
        _ => FieldClass::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_and_rates_are_no_counters() {
        for name in ["entries", "entries_max", "ip_conntrack_max", "drop_rate", "drop_rate_max"] {
            assert_eq!(meaning(name), FieldClass::Other, "{name}");
        }
        assert_eq!(meaning("invalid"), FieldClass::Counter);
    }
}
