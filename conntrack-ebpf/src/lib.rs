//! The layout that the eBPF programs and user space share: counters, map and global names.
//!
//! Fixed-width integers and `repr(C)` only, sizes asserted at compile time. The kernel side adds
//! to the counters, user space maps them into its memory and reads; neither ever writes what the
//! other writes.

#![no_std]

/// What the programs count; the number is the index into [`Counters::events`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Event {
    /// An entry was put into the table (`__nf_conntrack_hash_insert`).
    Insert = 0,
    /// A connection began that no expectation foretold (`init_conntrack`).
    New,
    /// A connection began that an expectation foretold (`init_conntrack`).
    ExpectNew,
    /// A connection was destroyed, inserted before or not (`nf_ct_destroy`), unless its tracker
    /// refused it.
    Delete,
    /// An entry was taken off the table (`__nf_ct_delete_from_lists`).
    DeleteList,
    /// A connection was allocated (`__nf_conntrack_alloc`).
    Alloc,
    /// An allocation failed; counted for all namespaces together, since a failure names none.
    AllocFailed,
    /// A connection was freed (`nf_conntrack_free`).
    Free,
    /// A packet was dropped, as the table was full and nothing could be evicted (`early_drop`
    /// returned false).
    TableFull,
    /// The same, and entries that could have been evicted stood elsewhere in the table.
    TableFullEvictable,
    /// The table was full and something was evicted (`early_drop` returned true); the kernel's
    /// own `early_drop` counts the victims.
    EarlyDrop,
    /// Two packets raced and the loser was let through (`nf_ct_resolve_clash`).
    ClashResolved,
    /// Two packets raced and the loser was dropped (`nf_ct_resolve_clash`).
    ClashDropped,
    /// The TCP tracker had a packet dropped (`nf_conntrack_tcp_packet`); asked for per packet.
    TrackerDropped,
    /// A look-up found an entry (`__nf_conntrack_find_get`), or NAT found a tuple taken
    /// (`nf_conntrack_tuple_taken`); asked for per packet.
    Found,
    /// A packet was tracked already, or exempt (`nf_conntrack_in`); asked for per packet.
    Ignored,
    /// A call returned whose beginning was forgotten, so that its namespace is not known; it is
    /// counted in slot 0, where this is too.
    Unplaced,
    /// An entry was evicted to make room (`early_drop` took it off the table); with reports.
    Evicted,
    /// A packet was dropped because its entry was dying (`__nf_conntrack_confirm`); with reports.
    InsertDying,
    /// A packet was dropped because its hash chain was too long (`__nf_conntrack_confirm`); with
    /// reports.
    InsertRefused,
    /// There was no memory for an entry, though the table had room; with reports.
    NoMemory,
    /// ctnetlink or BPF could not create an entry, as the table was full and nothing could be
    /// evicted (`early_drop` returned false); no packet was dropped.
    CreateTableFull,
    /// The garbage collector evicted an entry before its time (`gc_worker` took it off the table).
    GcEarlyDrop,
    /// The tracker refused the first packet of a connection that [`Event::New`] counted
    /// (`nf_ct_destroy` of an entry without a timeout); [`Event::Delete`] does not count it.
    NewRefused,
}

impl Event {
    /// Every event, in the order of the indices.
    pub const ALL: [Self; 24] = [
        Self::Insert,
        Self::New,
        Self::ExpectNew,
        Self::Delete,
        Self::DeleteList,
        Self::Alloc,
        Self::AllocFailed,
        Self::Free,
        Self::TableFull,
        Self::TableFullEvictable,
        Self::EarlyDrop,
        Self::ClashResolved,
        Self::ClashDropped,
        Self::TrackerDropped,
        Self::Found,
        Self::Ignored,
        Self::Unplaced,
        Self::Evicted,
        Self::InsertDying,
        Self::InsertRefused,
        Self::NoMemory,
        Self::CreateTableFull,
        Self::GcEarlyDrop,
        Self::NewRefused,
    ];
}

/// The counters of one CPU and one slot, in events since the programs were loaded.
///
/// 256 bytes, whole cache lines, so that CPUs do not share one.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(256))]
pub struct Counters {
    /// Indexed by [`Event`]; the rest is padding.
    pub events: [u64; 30],
    /// The kernel's address of the namespace that this CPU counted here last, inverted so that 0
    /// is none; with more than two slots only slot 0 has it, for all of them.
    pub last_net: u64,
    /// With more than two slots, in slot 0: the slot of that namespace.
    pub last_slot: u64,
}

const _: () = assert!(size_of::<Counters>() == 256);
const _: () = assert!(Event::ALL.len() <= 30);

/// The number of values that an entry probe can leave for the return probe.
pub const CALL_VALUES: usize = 4;

/// A call that is under way, as an entry probe leaves it for the return probe.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Call {
    /// Its place on the stack, and which function's it is; 0 for none.
    pub key: u64,
    /// What the entry probe knew.
    pub values: [u64; CALL_VALUES],
    /// When it began, in nanoseconds of `CLOCK_MONOTONIC`.
    pub began_ns: u64,
    /// The task that was running: a function returns, and calls others, in the task that called it.
    pub task: u64,
    /// Computed from all of the above, so that a record that two CPUs wrote at once is not used.
    pub check: u64,
}

const _: () = assert!(size_of::<Call>() == 64);

/// The longest time between the entry and the return of one call. The functions take microseconds;
/// a preempted task or a virtual machine's CPU that has to wait can make that much longer. An older
/// record was left by a call whose return no probe saw.
pub const CALL_NS: u64 = 1_000_000_000;

/// The longest time between the entry of a function and that of another one that it calls. Shorter
/// than [`CALL_NS`], since a record that was left behind is found by any call near it on the stack.
pub const NESTED_CALL_NS: u64 = 100_000_000;

/// The longest run of the garbage collector, which works for 10 ms and may wait long for a CPU
/// while packets flood the host.
pub const GC_RUN_NS: u64 = 10_000_000_000;

/// How far below a call on the stack another one may be to count as made by it: 1 KiB.
pub const NEAR_BYTES: u64 = 1024;

/// The task that runs and the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The address of the running task's `struct task_struct`; an interrupt runs in the task that it
    /// interrupts.
    pub task: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
}

impl Call {
    /// The record of a call that begins now.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: u64, values: [u64; CALL_VALUES], now: Now) -> Self {
        let Now { task, time_ns } = now;
        Self { key, values, began_ns: time_ns, task, check: check(key, values, now) }
    }

    /// The values, if this is the record of the call `key`, whole, and the call can be under way
    /// (see [`Call::is_under_way`]).
    #[inline(always)]
    #[must_use]
    pub fn values_of(&self, key: u64, now: Now, longest_ns: u64) -> Option<[u64; CALL_VALUES]> {
        let began = Now { task: self.task, time_ns: self.began_ns };
        let is_whole = self.key == key && self.check == check(key, self.values, began);
        (is_whole && self.is_under_way(now, longest_ns)).then_some(self.values)
    }

    /// Whether the call can be under way: the same task runs, and it began at most `longest_ns` ago.
    #[inline(always)]
    #[must_use]
    pub const fn is_under_way(&self, now: Now, longest_ns: u64) -> bool {
        self.task == now.task && now.time_ns.wrapping_sub(self.began_ns) <= longest_ns
    }
}

/// Whether a function whose frame begins at the address `stack` is near enough below the frame at
/// `caller` (0 for none) to be called from there.
#[inline(always)]
#[must_use]
pub const fn is_near(caller: u64, stack: u64) -> bool {
    caller != 0 && caller.wrapping_sub(stack) < NEAR_BYTES
}

#[inline(always)]
const fn check(key: u64, [a, b, c, d]: [u64; CALL_VALUES], began: Now) -> u64 {
    let values = a.rotate_left(16) ^ b.rotate_left(32) ^ c.rotate_left(48) ^ d.rotate_left(8);
    key ^ values ^ began.time_ns.rotate_left(24) ^ began.task.rotate_left(40)
}

/// Why a packet was lost or an entry evicted; the number goes through the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Cause {
    /// The table was full and nothing could be evicted.
    TableFull = 0,
    /// There was no memory for an entry.
    NoMemory,
    /// An entry was evicted to make room for another: no packet was lost, a connection may be.
    Evicted,
    /// Two first packets raced, and the loser could not be let through.
    Clash,
    /// The entry was dying before it was inserted.
    Dying,
    /// The hash chain was too long.
    LongChain,
    /// The TCP tracker said so; where it is asked for per packet.
    Tracker,
    /// ctnetlink or BPF could not create an entry in a full table: no packet was lost.
    CreateTableFull,
    /// The garbage collector evicted an entry from a table that is almost full: no packet was lost,
    /// a connection may be.
    GcEarlyDrop,
}

impl Cause {
    /// Every cause, in the order of the numbers.
    pub const ALL: [Self; 9] = [
        Self::TableFull,
        Self::NoMemory,
        Self::Evicted,
        Self::Clash,
        Self::Dying,
        Self::LongChain,
        Self::Tracker,
        Self::CreateTableFull,
        Self::GcEarlyDrop,
    ];

    /// What is counted for each of them.
    #[must_use]
    pub const fn event(self) -> Event {
        match self {
            Self::TableFull => Event::TableFull,
            Self::NoMemory => Event::NoMemory,
            Self::Evicted => Event::Evicted,
            Self::Clash => Event::ClashDropped,
            Self::Dying => Event::InsertDying,
            Self::LongChain => Event::InsertRefused,
            Self::Tracker => Event::TrackerDropped,
            Self::CreateTableFull => Event::CreateTableFull,
            Self::GcEarlyDrop => Event::GcEarlyDrop,
        }
    }
}

/// Room for a `struct nf_conntrack_tuple` (40 bytes in 5.10 to 7.3).
pub const TUPLE_BYTES: usize = 48;

/// One drop or eviction, as it goes through the ring.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct DropRecord {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// A [`Cause`].
    pub cause: u32,
    /// The CPU.
    pub cpu: u32,
    /// The inode number of the network namespace; 0 where it could not be read.
    pub inode: u32,
    /// The conntrack zone.
    pub zone: u32,
    /// The original tuple, as it lies in the kernel's memory; zeros where it could not be read.
    pub tuple: [u8; TUPLE_BYTES],
}

const _: () = assert!(size_of::<DropRecord>() == 72);

/// What each CPU knows of its reports.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Reporting {
    /// Number of the time window of [`REPORT_WINDOW_BITS`].
    pub window: u64,
    /// Reports in that window.
    pub reported: u64,
    /// By [`Cause`]: drops that were counted and not reported, as the window had enough.
    pub left_out: [u64; Cause::ALL.len()],
    /// By [`Cause`]: drops for which there was no room in the ring.
    pub lost: [u64; Cause::ALL.len()],
}

/// How long insertions took on one CPU.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Latency {
    /// How many took 2^n nanoseconds or more, and less than twice that; the last has all longer
    /// ones too.
    pub buckets: [u64; LATENCY_BUCKETS],
}

/// Up to one second.
pub const LATENCY_BUCKETS: usize = 30;

/// log2 of the nanoseconds of a window (8.4 ms) that has a share of the reports: a flood is
/// sampled all along, not at each second's beginning.
pub const REPORT_WINDOW_BITS: u32 = 23;

/// The offset of what a kernel was built without.
pub const ABSENT: u32 = u32::MAX;

/// Names of maps and globals in the object.
pub mod names {
    /// The map of counters: an array of [`crate::Counters`] that user space maps into its memory.
    /// CPU `c` counts slot `s` at index `c * SLOTS + s`; slot 0 is for every namespace that has
    /// no slot of its own.
    pub const COUNTERS: &str = "COUNTERS";
    /// The map from a namespace's inode number (`u32`) to its slot (`u32`), for more than one.
    pub const NAMESPACES: &str = "NAMESPACES";
    /// The array of one [`crate::Call`]: the run of the garbage collector that is under way.
    pub const GC_RUN: &str = "GC_RUN";
    /// The array of [`crate::Call`]s, `1 << CALL_BITS` of them.
    pub const CALLS: &str = "CALLS";
    /// Global `u32`: log2 of the number of calls, at most 20.
    pub const CALL_BITS: &str = "CALL_BITS";
    /// The ring of [`crate::DropRecord`]s.
    pub const DROPS: &str = "DROPS";
    /// The array of one [`crate::Reporting`] for each CPU.
    pub const REPORTING: &str = "REPORTING";
    /// The array of one [`crate::Latency`] for each CPU.
    pub const LATENCIES: &str = "LATENCIES";
    /// Global `u32`: 1 where the time of insertions is taken.
    pub const TAKE_LATENCY: &str = "TAKE_LATENCY";
    /// Global `u64`: how many drops one CPU may report in one window, 0 for none at all.
    pub const REPORTS: &str = "REPORTS";
    /// The ring of `aya-log`.
    pub const DIAGNOSTICS: &str = "AYA_LOGS";
    /// Global `u8`: the highest level (`log::Level` as a number) of diagnostics, 0 for none.
    pub const DIAGNOSTICS_LEVEL: &str = "AYA_LOG_LEVEL";
    /// Global `u32`: slots per CPU.
    pub const SLOTS: &str = "SLOTS";
    /// Global `u32`: the inode number of the namespace of slot 1, if there is one namespace; 0
    /// where there are more, or the offsets below are not known: slot 0 then counts everything.
    pub const NAMESPACE: &str = "NAMESPACE";
    /// Global `u32`: 1 where [`NAMESPACES`] is to be asked instead.
    pub const MANY: &str = "MANY";
    /// Global `u32`: byte offset of `ct_net.net` in `struct nf_conn`.
    pub const NF_CONN_NET: &str = "NF_CONN_NET";
    /// Global `u32`: byte offset of `status` in `struct nf_conn`.
    pub const NF_CONN_STATUS: &str = "NF_CONN_STATUS";
    /// Global `u32`: byte offset of `tuplehash` in `struct nf_conn`.
    pub const NF_CONN_TUPLEHASH: &str = "NF_CONN_TUPLEHASH";
    /// Global `u32`: size of `struct nf_conntrack_tuple_hash`, of which a connection has two.
    pub const TUPLE_HASH_SIZE: &str = "TUPLE_HASH_SIZE";
    /// Global `u32`: byte offset of `hnnode` in `struct nf_conntrack_tuple_hash`.
    pub const TUPLE_HASH_NODE: &str = "TUPLE_HASH_NODE";
    /// Global `u32`: byte offset of `tuple.dst.dir` in `struct nf_conntrack_tuple_hash`.
    pub const TUPLE_HASH_DIR: &str = "TUPLE_HASH_DIR";
    /// Global `u32`: byte offset of `ns.inum` in `struct net`.
    pub const NET_INUM: &str = "NET_INUM";
    /// Global `u32`: byte offset of `tuple` in `struct nf_conntrack_tuple_hash`.
    pub const TUPLE_HASH_TUPLE: &str = "TUPLE_HASH_TUPLE";
    /// Global `u32`: byte offset of `timeout` in `struct nf_conn`.
    pub const NF_CONN_TIMEOUT: &str = "NF_CONN_TIMEOUT";
    /// Global `u32`: byte offset of `zone.id` in `struct nf_conn`, [`crate::ABSENT`] without zones.
    pub const NF_CONN_ZONE: &str = "NF_CONN_ZONE";
    /// Global `u32`: byte offset of `ext` in `struct nf_conn`, [`crate::ABSENT`] where extensions
    /// have no generation.
    pub const NF_CONN_EXT: &str = "NF_CONN_EXT";
    /// Global `u32`: byte offset of `gen_id` in `struct nf_ct_ext`.
    pub const EXT_GENERATION: &str = "EXT_GENERATION";
    /// Global `u64`: the address of `nf_conntrack_ext_genid`, 0 where it is hidden.
    pub const GENERATION: &str = "GENERATION";
    /// Global `u32`: byte offset of `_nfct` in `struct sk_buff`.
    pub const SK_BUFF_NFCT: &str = "SK_BUFF_NFCT";
    /// Global `u32`: byte offset of `net` in `struct nf_hook_state`.
    pub const HOOK_STATE_NET: &str = "HOOK_STATE_NET";
    /// Global `u64`: the address of `nf_conntrack_hash`, 0 where it is hidden.
    pub const TABLE: &str = "TABLE";
    /// Global `u64`: the address of `nf_conntrack_htable_size`, 0 where it is hidden.
    pub const TABLE_SIZE: &str = "TABLE_SIZE";
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u64 = 0xffff_c900_0000_3e00 | 2;
    const VALUES: [u64; CALL_VALUES] = [1, 2, 3, 4];
    const START: Now = Now { task: 0xffff_8881_0000_1000, time_ns: 5_000_000_000 };

    fn after(nanoseconds: u64) -> Now {
        Now { time_ns: START.time_ns + nanoseconds, ..START }
    }

    #[test]
    fn a_return_finds_the_values_of_its_own_call_only() {
        let call = Call::new(KEY, VALUES, START);
        assert_eq!(call.values_of(KEY, START, CALL_NS), Some(VALUES));
        assert_eq!(call.values_of(KEY ^ 8, START, CALL_NS), None);
        let torn = Call { values: [1, 2, 3, 5], ..call };
        assert_eq!(torn.values_of(KEY, START, CALL_NS), None);
        let torn = Call { task: call.task + 64, ..call };
        let other = Now { task: torn.task, ..START };
        assert_eq!(torn.values_of(KEY, other, CALL_NS), None);
    }

    /// No probe saw the return, and another call of the function is at the same place of the stack.
    #[test]
    fn a_record_that_a_missed_return_left_is_not_used() {
        let call = Call::new(KEY, VALUES, START);
        for longest in [CALL_NS, NESTED_CALL_NS] {
            assert_eq!(call.values_of(KEY, after(longest), longest), Some(VALUES));
            assert_eq!(call.values_of(KEY, after(longest + 1), longest), None);
        }
        let later = Call { began_ns: call.began_ns + 1, ..call };
        assert_eq!(later.values_of(KEY, after(CALL_NS), CALL_NS), None);
    }

    /// Stacks are used again: by a later task, and by all tasks of a CPU for its interrupts.
    #[test]
    fn a_record_of_another_task_is_not_used() {
        let call = Call::new(KEY, VALUES, START);
        let other = Now { task: START.task + 64, ..START };
        assert_eq!(call.values_of(KEY, other, CALL_NS), None);
        assert!(!call.is_under_way(other, GC_RUN_NS));
    }

    #[test]
    fn a_deletion_is_of_the_garbage_collector_only_while_that_runs_around_it() {
        let caller = KEY & !7;
        assert!(is_near(caller, caller - 200));
        // Another stack, a deeper call, a caller of the collector, no run.
        assert!(!is_near(caller, caller + 0x4000));
        assert!(!is_near(caller, caller - NEAR_BYTES));
        assert!(!is_near(caller, caller + 8));
        assert!(!is_near(0, caller - 200));
        let run = Call::new(caller, VALUES, START);
        assert!(run.is_under_way(after(GC_RUN_NS), GC_RUN_NS));
        assert!(!run.is_under_way(after(GC_RUN_NS + 1), GC_RUN_NS));
    }
}
