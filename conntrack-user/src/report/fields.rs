//! What a field's name means to the report.

use std::collections::HashMap;

use super::gather::PAIRED;

/// The parts that a field can play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A counter, by its number.
    Counter(usize),
    /// The average rate of a counter.
    Rate(usize),
    /// The peak rate of a counter.
    Peak(usize),
    /// The largest number of events of a counter in one sample.
    SampleMax(usize),
    /// The length of a sample, in seconds.
    SampleSeconds,
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
    /// Not asked for yet: no row of conntrack had it.
    Unmet,
}

/// Counters that are kept apart; the kernel and the probes have some forty.
const MOST: usize = 96;

/// Numbers for the counters: those of [`PAIRED`], then the others in the order in which they were
/// met.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) names: Vec<String>,
    by_name: HashMap<String, usize>,
    /// Fields that found no room.
    pub(super) left_out: u64,
}

impl Default for Counters {
    fn default() -> Self {
        let names = PAIRED.map(str::to_owned);
        let by_name = names.iter().cloned().zip(0..).collect();
        Self { names: names.to_vec(), by_name, left_out: 0 }
    }
}

impl Counters {
    /// What the field `name` means.
    pub(super) fn meaning(&mut self, name: &str) -> Meaning {
        match name {
            "ip_conntrack_count" => Meaning::Count,
            "entries" => Meaning::Entries,
            "entries_min" | "ip_conntrack_count_min" => Meaning::EntriesMin,
            "entries_max" | "ip_conntrack_count_max" => Meaning::EntriesMax,
            "ip_conntrack_max" => Meaning::Max,
            "samples_missed" => Meaning::SamplesMissed,
            "rows_lost" => Meaning::RowsLost,
            "sample_seconds" => Meaning::SampleSeconds,
            _ if name.starts_with("ip_") || name.starts_with("entries_") => Meaning::Other,
            _ => {
                let suffixes = [
                    ("_rate_max", Meaning::Peak as fn(usize) -> Meaning),
                    ("_sample_max", Meaning::SampleMax),
                    ("_rate", Meaning::Rate),
                ];
                let of = |(suffix, meaning)| Some((name.strip_suffix(suffix)?, meaning));
                let (counter, meaning) =
                    suffixes.into_iter().find_map(of).unwrap_or((name, Meaning::Counter));
                self.number(counter).map_or(Meaning::Other, meaning)
            }
        }
    }

    fn number(&mut self, counter: &str) -> Option<usize> {
        if let Some(number) = self.by_name.get(counter) {
            return Some(*number);
        }
        if self.names.len() >= MOST {
            self.left_out += 1;
            return None;
        }
        let number = self.names.len();
        self.names.push(counter.to_owned());
        self.by_name.insert(counter.to_owned(), number);
        Some(number)
    }
}

/// Whether kernels since 4.9 print this counter as a constant 0, or count only a part of it.
pub(super) fn is_constant_on_some_kernels(name: &str) -> bool {
    ["delete", "delete_list", "ignore", "insert", "new", "searched"].contains(&name)
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

/// Whether the field `name` is a counter, and not a gauge, a rate, a peak, or what ctpulse reports of
/// itself.
#[must_use]
pub fn is_counter(name: &str) -> bool {
    matches!(Counters::default().meaning(name), Meaning::Counter(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_meaning() {
        let mut counters = Counters::default();
        let (first, second) = (PAIRED.len(), PAIRED.len() + 1);
        assert_eq!(counters.meaning("drop_rate_max"), Meaning::Peak(first));
        assert_eq!(counters.meaning("drop"), Meaning::Counter(first));
        assert_eq!(counters.meaning("drop_rate"), Meaning::Rate(first));
        assert_eq!(counters.meaning("a_new_column"), Meaning::Counter(second));
        assert_eq!(
            PAIRED.map(|name| counters.meaning(name)),
            [0, 1, 2, 3, 4, 5, 6].map(Meaning::Counter)
        );
        assert_eq!(counters.meaning("ip_conntrack_buckets"), Meaning::Other);
        assert!(is_counter("drop") && is_counter("a_new_column"));
        for name in ["sample_seconds", "drop_sample_max", "drop_rate", "entries", "rows_lost"] {
            assert!(!is_counter(name), "{name}");
        }
        assert_eq!(counters.meaning("drop_sample_max"), Meaning::SampleMax(first));
        assert_eq!(counters.meaning("sample_seconds"), Meaning::SampleSeconds);
        assert_eq!(counters.meaning("ip_conntrack_count_max"), Meaning::EntriesMax);
        let many = (0..1000).filter(|at| counters.meaning(&at.to_string()) != Meaning::Other);
        let room = MOST - PAIRED.len() - 2;
        assert_eq!(many.count(), room);
        assert_eq!(counters.left_out, 1000 - room as u64);
    }
}
