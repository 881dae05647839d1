//! The evidence from single rows, beside the report's totals.

use std::collections::HashSet;

use crate::recording::{Catalog, Row, SeriesId};
use crate::report::{self, SourceReport};
use crate::schema::field::FieldKind;
use crate::schema::fields;

/// Follows the rows of all series.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// By field: whether it counts traffic.
    of_traffic: Vec<bool>,
    above_zero: HashSet<SeriesId>,
}

impl Followed {
    pub(super) fn push(&mut self, catalog: &Catalog, row: &Row<'_>) {
        for name in &catalog.fields()[self.of_traffic.len()..] {
            self.of_traffic.push(counts_traffic(name));
        }
        let is_above = |(field, value): &(crate::recording::FieldId, f64)| {
            *value > 0.0 && self.of_traffic[field.0]
        };
        if row.values.iter().any(is_above) {
            self.above_zero.insert(row.series);
        }
    }

    /// Whether any counter of a source was above 0.
    pub(super) fn is_any_above_zero(&self, catalog: &Catalog, source: &SourceReport) -> bool {
        self.above_zero.iter().any(|id| {
            let series = catalog.series(*id);
            let tags = series.tags.iter().filter(|(key, _)| key != "cpu");
            series.name == source.name && tags.eq(source.tags.iter())
        })
    }
}

fn counts_traffic(name: &str) -> bool {
    !fields::find(name).is_some_and(|field| field.kind == FieldKind::Own)
        && report::is_counter(name)
}

#[cfg(test)]
mod tests {
    use super::counts_traffic;

    #[test]
    fn gauges_and_rates_are_no_counters() {
        for name in ["entries", "entries_max", "ip_conntrack_max", "drop_rate", "drop_rate_max"] {
            assert!(!counts_traffic(name), "{name}");
        }
        assert!(counts_traffic("invalid"));
    }
}
