//! The field names of conntrack's rows, by which they are known whatever their measurement is
//! called.

/// Counters and gauges that `ctpulse` and Telegraf's plugin write.
const FIELDS: [&str; 39] = [
    "chaintoolong",
    "clash_resolve",
    "create_table_full",
    "delete",
    "delete_list",
    "drop",
    "drop_chaintoolong",
    "drop_clash",
    "drop_dying",
    "drop_other",
    "drop_table_full",
    "drop_tracker",
    "early_drop",
    "entries",
    "entries_max",
    "entries_min",
    "events_missed",
    "expect_create",
    "expect_delete",
    "expect_new",
    "found",
    "gc_early_drop",
    "icmp_error",
    "ignore",
    "insert",
    "insert_failed",
    "invalid",
    "ip_conntrack_buckets",
    "ip_conntrack_count",
    "ip_conntrack_max",
    "new",
    "rows_lost",
    "sample_seconds",
    "samples_missed",
    "search_restart",
    "searched",
    "table_full_evictable",
    "ip_conntrack_count_max",
    "ip_conntrack_count_min",
];

/// Names that nothing but conntrack has.
const UNMISTAKABLE: [&str; 4] =
    ["insert_failed", "early_drop", "ip_conntrack_count", "ip_conntrack_max"];

/// A field's name without what a rate or a peak adds to its counter's.
fn base(field: &str) -> &str {
    ["_rate_max", "_sample_max", "_rate"]
        .iter()
        .find_map(|suffix| field.strip_suffix(suffix))
        .unwrap_or(field)
}

/// Whether conntrack's rows have a field of this name.
pub(crate) fn is_known(field: &str) -> bool {
    FIELDS.contains(&base(field))
}

/// Whether only conntrack's rows have a field of this name.
pub(crate) fn is_unmistakable(field: &str) -> bool {
    UNMISTAKABLE.contains(&base(field))
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
    }
}
