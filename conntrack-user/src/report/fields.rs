//! What a field's name means to the report.

use std::collections::HashMap;

/// The parts that a field can play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A counter, by its number.
    Counter(usize),
    /// The average rate of a counter.
    Rate(usize),
    /// The peak rate of a counter.
    Peak(usize),
    /// Entries at the time of the row, by the table itself.
    Count,
    /// The same by the statistics, or their sum over CPUs.
    Entries,
    /// The fewest since the row before.
    EntriesMin,
    /// The most since the row before.
    EntriesMax,
    /// The table's limit.
    Max,
    /// Ticks left out.
    SamplesMissed,
    /// Emissions without room.
    RowsLost,
    /// Nothing.
    Other,
}

/// Numbers for the counters, in the order in which they were met.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) names: Vec<String>,
    by_name: HashMap<String, usize>,
}

impl Counters {
    /// What the field `name` means.
    pub(super) fn meaning(&mut self, name: &str) -> Meaning {
        match name {
            "ip_conntrack_count" => Meaning::Count,
            "entries" => Meaning::Entries,
            "entries_min" => Meaning::EntriesMin,
            "entries_max" => Meaning::EntriesMax,
            "ip_conntrack_max" => Meaning::Max,
            "samples_missed" => Meaning::SamplesMissed,
            "rows_lost" => Meaning::RowsLost,
            _ if name.starts_with("ip_") || name.starts_with("entries_") => Meaning::Other,
            _ => match name.strip_suffix("_rate_max") {
                Some(counter) => Meaning::Peak(self.number(counter)),
                None => match name.strip_suffix("_rate") {
                    Some(counter) => Meaning::Rate(self.number(counter)),
                    None => Meaning::Counter(self.number(name)),
                },
            },
        }
    }

    fn number(&mut self, counter: &str) -> usize {
        if let Some(number) = self.by_name.get(counter) {
            return *number;
        }
        let number = self.names.len();
        self.names.push(counter.to_owned());
        self.by_name.insert(counter.to_owned(), number);
        number
    }
}

/// Whether a row with this field is conntrack's, whatever its measurement is called now.
pub(super) fn is_telling(name: &str) -> bool {
    ["insert_failed", "early_drop", "ip_conntrack_count", "ip_conntrack_max"].iter().any(
        |telling| {
            name.strip_prefix(telling)
                .is_some_and(|rest| rest.is_empty() || rest == "_rate" || rest == "_rate_max")
        },
    )
}

/// The causes of drops, worst first, in words.
pub(super) const CAUSES: [(&str, &str); 6] = [
    ("drop_table_full", "the table was full and nothing could be evicted"),
    ("drop_chaintoolong", "a hash chain was too long"),
    ("drop_clash", "a race between two first packets"),
    ("drop_dying", "the entry was dying before it was inserted"),
    ("drop_tracker", "the TCP tracker said so"),
    ("drop_other", "none of these"),
];

/// Where a counter stands in a list: what is lost first, then what is done, then the rest.
pub(super) fn rank(name: &str) -> usize {
    const FIRST: [&str; 20] = [
        "drop",
        "drop_table_full",
        "table_full_evictable",
        "drop_clash",
        "drop_chaintoolong",
        "chaintoolong",
        "drop_dying",
        "drop_tracker",
        "drop_other",
        "early_drop",
        "insert_failed",
        "clash_resolve",
        "invalid",
        "new",
        "insert",
        "delete",
        "delete_list",
        "found",
        "ignore",
        "search_restart",
    ];
    FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_meaning() {
        let mut counters = Counters::default();
        assert_eq!(counters.meaning("drop_rate_max"), Meaning::Peak(0));
        assert_eq!(counters.meaning("drop"), Meaning::Counter(0));
        assert_eq!(counters.meaning("drop_rate"), Meaning::Rate(0));
        assert_eq!(counters.meaning("a_new_column"), Meaning::Counter(1));
        assert_eq!(counters.meaning("ip_conntrack_buckets"), Meaning::Other);
        assert!(is_telling("early_drop_rate") && !is_telling("drop") && !is_telling("early_drops"));
    }
}
