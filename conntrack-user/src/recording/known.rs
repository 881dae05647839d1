//! The field names of conntrack's rows, by which rows of a renamed measurement are recognized, and the
//! values of their tag `cpu`.

use crate::schema::field::{Field, FieldKind, RowKind};
use crate::schema::fields;
use crate::schema::measure::Measure;

/// Whether conntrack's rows have a field of this name.
pub(crate) fn is_known(name: &str) -> bool {
    field(name).is_some_and(|field| field.row != RowKind::Own)
}

/// Whether only conntrack's rows have a field of this name.
pub(crate) fn is_unmistakable(name: &str) -> bool {
    field(name).is_some_and(|field| field.is_unmistakable)
}

/// Whether conntrack's rows have a counter of this name: neither a measure of one nor a gauge.
pub(super) fn is_counter(name: &str) -> bool {
    let is_counter = |field: &Field| {
        field.row == RowKind::Statistics
            && matches!(field.kind, FieldKind::Counter | FieldKind::DerivedDrop(_))
    };
    fields::find(name).is_some_and(is_counter)
}

/// Whether a value of the tag `cpu` stands for the sum of all CPUs, as `all` or without one.
pub(crate) fn is_all_cpus(tag: &str) -> bool {
    tag.is_empty() || tag.eq_ignore_ascii_case("all")
}

/// Returns the number in `cpu7`, also in other letters, or in `7` as other programs write it.
pub(crate) fn cpu_number(tag: &str) -> Option<usize> {
    let digits = match tag.get(..3) {
        Some(prefix) if prefix.eq_ignore_ascii_case("cpu") => &tag[3..],
        _ => tag,
    };
    digits.parse().ok()
}

/// Returns the field that a name belongs to, by itself or as one of its measures.
fn field(name: &str) -> Option<&'static Field> {
    fields::find(Measure::split(name).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_field_is_known() {
        for (field, _) in crate::format::described_fields() {
            assert!(is_known(&field), "{field}");
        }
    }

    #[test]
    fn rates_and_peaks_are_known_as_their_counters_are() {
        for field in ["drop", "drop_rate", "drop_rate_max", "drop_sample_max", "entries"] {
            assert!(is_known(field) && !is_unmistakable(field), "{field}");
        }
        assert!(is_unmistakable("early_drop_rate") && is_unmistakable("ip_conntrack_max"));
        assert!(!is_known("early_drops") && !is_known("usage_idle") && !is_known("_rate"));
        assert!(!is_known("drift"), "of the row about ctpulse");
        assert!(is_counter("drop") && is_counter("drop_other"));
        for field in ["drop_rate", "entries", "entries_max", "ip_conntrack_max", "rows_lost"] {
            assert!(!is_counter(field), "{field}");
        }
    }
}
