//! The layout that the eBPF programs and user space share: counters, map and global names.
//!
//! Fixed-width integers and `repr(C)` only, sizes asserted at compile time. The kernel side adds
//! to the counters, user space maps them into its memory and reads; neither ever writes what the
//! other writes.

#![no_std]

mod call_record;
mod census_run;
mod drop_record;
mod event;
mod invalid_record;
pub mod names;
mod numbered;

pub use call_record::{
    CALL_NS, CALL_VALUES, Call, GC_RUN_NS, NEAR_BYTES, NESTED_CALL_NS, Now, is_near,
};
pub use census_run::{CENSUS_STEPS, CensusEntry, CensusRun, TUPLE_WORDS, end};
pub use drop_record::{
    Cause, DropRecord, LATENCY_BUCKETS, Latency, REPORT_WINDOW_BITS, Reporting, TUPLE_BYTES,
};
pub use event::{Counters, Event, MAX_EVENTS};
pub use invalid_record::{
    InvalidKey, InvalidRecord, InvalidReporting, InvalidText, MOST_INVALID_COUNTS, MOST_TEXTS,
    NO_TEXT, PACKET_BYTES, REFUSED_BITS, TEXT_BYTES, UNKNOWN, UNREAD_TEXT,
};

/// The offset of what a kernel was built without.
pub const ABSENT: u32 = u32::MAX;
