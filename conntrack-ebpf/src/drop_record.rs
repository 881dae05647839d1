//! Reports of single drops and evictions, and how long insertions take.

use crate::Event;
use crate::numbered::numbered;

numbered! {
    /// Why a packet was lost or an entry evicted; the number goes through the ring.
    enum Cause: u32;
    /// The event that is counted for it.
    fn event() -> Event {
        /// The table was full and nothing could be evicted.
        TableFull => Event::TableFull,
        /// There was no memory for an entry.
        NoMemory => Event::NoMemory,
        /// An entry was evicted to make room for another: no packet was lost, a connection may be.
        Evicted => Event::Evicted,
        /// Two first packets raced, and the loser could not be let through.
        Clash => Event::ClashDropped,
        /// The entry was dying before it was inserted.
        Dying => Event::InsertDying,
        /// The hash chain was too long.
        LongChain => Event::InsertRefused,
        /// The TCP tracker dropped it; where it is asked for per packet.
        Tracker => Event::TrackerDropped,
        /// ctnetlink or BPF could not create an entry in a full table: no packet was lost.
        CreateTableFull => Event::CreateTableFull,
        /// The garbage collector evicted an entry from a table that is almost full: no packet was lost,
        /// a connection may be.
        GcEarlyDrop => Event::GcEarlyDrop,
        /// NAT found no free port.
        NatExhausted => Event::NatExhausted,
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
    /// The reply tuple, which shows what NAT has made of the connection; zeros where there is no
    /// connection yet, or it could not be read.
    pub reply: [u8; TUPLE_BYTES],
}

const _: () = assert!(size_of::<DropRecord>() == 120);

/// What each CPU knows of its reports.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Reporting {
    /// Number of the time window of [`REPORT_WINDOW_BITS`].
    pub window: u64,
    /// Reports in that window.
    pub reported: u64,
    /// By [`Cause`]: drops that were counted and not reported, as the window had enough.
    pub left_out: [u64; Cause::COUNT],
    /// By [`Cause`]: drops for which there was no room in the ring.
    pub lost: [u64; Cause::COUNT],
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
