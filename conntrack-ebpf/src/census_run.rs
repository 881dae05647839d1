//! The census: what one run of its program is asked for, and the entries that it read.

/// Steps of one run, each of which is one node of a chain, or the end of a chain and the head of the
/// next. So many keep preemption off for some 50 microseconds.
pub const CENSUS_STEPS: u32 = 256;

/// Words of a `struct nf_conntrack_tuple` (40 bytes in 5.10 to 7.3).
pub const TUPLE_WORDS: usize = 5;

/// Why a run ended.
pub mod end {
    /// It read all buckets that were asked for.
    pub const COMPLETE: u32 = 1;
    /// It made [`CENSUS_STEPS`](super::CENSUS_STEPS) steps.
    pub const STEPS: u32 = 2;
    /// Its time was over.
    pub const TIME: u32 = 3;
    /// The table was resized since the run before, or during this one: what was read is void.
    pub const RESIZED: u32 = 4;
    /// The table cannot be read.
    pub const UNREADABLE: u32 = 5;
}

/// An entry of the table, as the kernel's memory has it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct CensusEntry {
    /// The tuple of the original direction.
    pub original: [u64; TUPLE_WORDS],
    /// The tuple of the reply direction.
    pub reply: [u64; TUPLE_WORDS],
    /// When it expires, in jiffies (the low 32 bits).
    pub timeout: u32,
    /// `status`: `IPS_*` bits.
    pub status: u32,
    /// The mark; 0 on kernels without it.
    pub mark: u32,
    /// The inode number of its network namespace; 0 where it could not be read.
    pub inode: u32,
    /// Its conntrack zone.
    pub zone: u16,
    /// `proto.tcp.state`, meaningful for TCP only.
    pub tcp_state: u8,
    /// Zeros.
    pub padding: [u8; 5],
}

const _: () = assert!(size_of::<CensusEntry>() == 104);

/// The one element of the census's map: the state of a run, and what it read.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct CensusRun {
    /// The number that the run was given: another one is of a run that the kernel did not make.
    pub serial: u64,
    /// The address of the node that is next, or the end of a chain.
    pub node: u64,
    /// The address of the table.
    pub table: u64,
    /// The address of the last entry's `struct net`, whose inode number is `inode`.
    pub net: u64,
    /// How long the run took, in nanoseconds.
    pub time_ns: u64,
    /// Why the run ended: one of [`end`].
    pub end: u32,
    /// Buckets of the table.
    pub buckets: u32,
    /// Buckets that the run was asked for.
    pub wanted: u32,
    /// Buckets that were read whole; -1 before the first.
    pub done: u32,
    /// The bucket that is read.
    pub bucket: u32,
    /// Entries in `entries`.
    pub read: u32,
    /// Those of them in buckets that were read whole.
    pub whole: u32,
    /// How often the bucket's chain ended in another one, since the bucket was begun.
    pub retries: u32,
    /// How often a chain ended in another one: entries moved, and the bucket was read again.
    pub moved: u32,
    /// Buckets that were given up after that.
    pub lost: u32,
    /// Nodes and entries that could not be read.
    pub unreadable: u32,
    /// Nodes of entries that are not in the table (yet): the memory is being used again.
    pub unconfirmed: u32,
    /// The kernel's clock in jiffies (the low 32 bits).
    pub jiffies: u32,
    /// The inode number of `net`.
    pub inode: u32,
    /// What was read.
    pub entries: [CensusEntry; CENSUS_STEPS as usize],
}
