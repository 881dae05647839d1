//! Which counters the dashboard follows, in what order and in what words.
//!
//! The order is that of the screen: what comes first is still there on the smallest one.

/// A counter of the schema that is followed over time.
#[derive(Debug, Clone, Copy)]
pub struct Series {
    /// The field with the total.
    pub field: &'static str,
    /// The field with the mean rate, in events per second.
    pub rate: &'static str,
    /// The field with the largest rate of one sample.
    pub peak: &'static str,
    /// The field with the largest number of events in one sample.
    pub count: &'static str,
    /// What it counts, in a few words.
    pub meaning: &'static str,
    /// What is happening while it counts, where that is a worry.
    pub alarm: Option<&'static str>,
}

macro_rules! series {
    ($($field:literal $(as $rated:literal)? $meaning:literal $alarm:expr;)*) => {
        [$(Series {
            field: $field,
            rate: series!(@ "_rate" $field $($rated)?),
            peak: series!(@ "_rate_max" $field $($rated)?),
            count: series!(@ "_sample_max" $field $($rated)?),
            meaning: $meaning,
            alarm: $alarm,
        }),*]
    };
    (@ $suffix:literal $field:literal) => { concat!($field, $suffix) };
    (@ $suffix:literal $field:literal $rated:literal) => { concat!($rated, $suffix) };
}

/// How many counters are shown as rates.
pub const RATES: usize = 12;
/// How many causes of drops are told apart.
pub const CAUSES: usize = 6;
/// All of them, and the one that qualifies a cause.
pub const ALL: usize = RATES + CAUSES + 1;

/// Index of `insert` in [`SERIES`].
pub const INSERT: usize = 0;
/// Index of `drop`.
pub const DROP: usize = 2;
/// Index of `table_full_evictable`, which counts a part of `drop_table_full`.
pub const EVICTABLE: usize = ALL - 1;

/// Rates first, then the causes of drops. Each refused insertion of a long chain is a packet
/// lost, so the rate of the one is that of the other.
pub const SERIES: [Series; ALL] = series! {
    "insert" "entries put into the table" None;
    "delete" "connections destroyed" None;
    "drop" "packets dropped" Some("DROPPING");
    "insert_failed" "insertions that failed" Some("FAILING");
    "early_drop" "entries evicted to make room" Some("EVICTING");
    "clash_resolve" "insertion races resolved" None;
    "new" "connections begun" None;
    "chaintoolong" "refused, hash chain too long" Some("REFUSING");
    "invalid" "packets that cannot be tracked" None;
    "found" "look-ups and NAT ports taken" None;
    "search_restart" "look-ups started again" None;
    "icmp_error" "packets refused as malformed" None;
    "drop_table_full" "table full" None;
    "drop_clash" "race not resolvable" None;
    "drop_chaintoolong" as "chaintoolong" "hash chain too long" None;
    "drop_dying" "entry was dying" None;
    "drop_tracker" "TCP tracker" None;
    "drop_other" "other" None;
    "table_full_evictable" "evictable elsewhere" None;
};

/// The indices of the causes of drops.
pub const CAUSE_INDICES: std::ops::Range<usize> = RATES..RATES + CAUSES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_indices_are_those_of_their_names() {
        assert_eq!(SERIES[INSERT].field, "insert");
        assert_eq!(SERIES[DROP].field, "drop");
        assert_eq!(SERIES[EVICTABLE].field, "table_full_evictable");
        assert!(SERIES[CAUSE_INDICES].iter().all(|cause| cause.field.starts_with("drop_")));
        assert!(SERIES[..RATES].iter().all(|rate| !rate.field.starts_with("drop_")));
    }
}
