//! What the table consists of: the entries of a census by their properties.

use crate::source::ebpf::census::Entry;

/// Properties of all entries that were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Composition {
    /// Entries.
    pub entries: u64,
    /// Of those: without a reply.
    pub unreplied: u64,
    /// Of those: not evicted when the table is full.
    pub assured: u64,
    /// Of those: forwarded by a flow table.
    pub offloaded: u64,
    /// Of those: their time is over, and they are not collected yet.
    pub expired: u64,
}

impl Composition {
    /// Adds an entry.
    pub fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        self.unreplied += u64::from(entry.is_unreplied());
        self.assured += u64::from(entry.is_assured());
        self.offloaded += u64::from(entry.is_offloaded());
        self.expired += u64::from(entry.is_expired);
    }
}
