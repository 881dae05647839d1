//! What the programs count, and the counters.

use crate::numbered::numbered;

numbered! {
    /// What the programs count; the number is the index into [`Counters::events`].
    enum Event: usize;
    /// Its name in fields and messages.
    fn name() -> &'static str {
        /// An entry was put into the table (`__nf_conntrack_hash_insert`).
        Insert => "insert",
        /// A connection began (`init_conntrack`).
        New => "new",
        /// An expectation foretold a connection that [`Event::New`] counts (`init_conntrack`).
        ExpectNew => "expect_new",
        /// A connection was destroyed, inserted before or not (`nf_ct_destroy`), unless its tracker
        /// refused it.
        Delete => "delete",
        /// An entry was taken off the table (`__nf_ct_delete_from_lists`).
        DeleteList => "delete_list",
        /// A connection was allocated (`__nf_conntrack_alloc`).
        Alloc => "alloc",
        /// An allocation failed; counted for all namespaces together, since a failure names none.
        AllocFailed => "alloc_failed",
        /// A connection was freed (`nf_conntrack_free`).
        Free => "free",
        /// A packet was dropped, as the table was full and nothing could be evicted (`early_drop`
        /// returned false).
        TableFull => "table_full",
        /// The same, and entries that could have been evicted stood elsewhere in the table.
        TableFullEvictable => "table_full_evictable",
        /// The table was full and something was evicted (`early_drop` returned true); the kernel's
        /// own `early_drop` counts the victims.
        EarlyDrop => "early_drop",
        /// Two packets raced and the loser was let through (`nf_ct_resolve_clash`).
        ClashResolved => "clash_resolved",
        /// Two packets raced and the loser was dropped (`nf_ct_resolve_clash`), or, where that is not
        /// counted apart, [`Event::NatExhausted`].
        ClashDropped => "clash_dropped",
        /// The TCP tracker had a packet dropped (`nf_conntrack_tcp_packet`); asked for per packet.
        TrackerDropped => "tracker_dropped",
        /// A look-up found an entry (`__nf_conntrack_find_get`), or NAT found a tuple taken
        /// (`nf_conntrack_tuple_taken`); asked for per packet.
        Found => "found",
        /// A packet was tracked already, or exempt (`nf_conntrack_in`); asked for per packet.
        Ignored => "ignored",
        /// A call returned whose beginning was forgotten, so that its namespace is not known; it is
        /// counted in slot 0, where this is too.
        Unplaced => "unplaced",
        /// An entry was evicted to make room (`early_drop` took it off the table); with reports.
        Evicted => "evicted",
        /// A packet was dropped because its entry was dying (`__nf_conntrack_confirm`); with reports.
        InsertDying => "insert_dying",
        /// A packet was dropped because its hash chain was too long (`__nf_conntrack_confirm`); with
        /// reports.
        InsertRefused => "insert_refused",
        /// There was no memory for an entry, though the table had room; with reports.
        NoMemory => "no_memory",
        /// ctnetlink or BPF could not create an entry, as the table was full and nothing could be
        /// evicted (`early_drop` returned false); no packet was dropped.
        CreateTableFull => "create_table_full",
        /// The garbage collector evicted an entry before its time (`gc_worker` took it off the table).
        GcEarlyDrop => "gc_early_drop",
        /// The tracker refused the first packet of a connection that [`Event::New`] counted
        /// (`nf_ct_destroy` of an entry without a timeout); [`Event::Delete`] does not count it.
        NewRefused => "new_refused",
        /// A packet was dropped, as NAT had found no free port for its connection
        /// (`nf_conntrack_tuple_taken`, then `nf_ct_resolve_clash`).
        NatExhausted => "nat_exhausted",
    }
}

/// Room for events in [`Counters`]: with the two words behind them 256 bytes.
pub const MAX_EVENTS: usize = 30;

/// The counters of one CPU and one slot, in events since the programs were loaded.
///
/// 256 bytes, whole cache lines, so that CPUs do not share one.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(256))]
pub struct Counters {
    /// Indexed by [`Event`]; the rest is padding.
    pub events: [u64; MAX_EVENTS],
    /// The kernel's address of the namespace that this CPU counted here last, inverted so that 0
    /// is no namespace.
    pub last_net: u64,
    /// With more than two slots, in slot 0: the slot that this CPU counted in last.
    pub last_slot: u64,
}

const _: () = assert!(size_of::<Counters>() == 256);
const _: () = assert!(Event::COUNT <= MAX_EVENTS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_events_have_one_name() {
        for event in Event::ALL {
            let same = Event::ALL.into_iter().filter(|other| other.name() == event.name());
            assert_eq!(same.count(), 1, "{event:?}");
        }
    }
}
