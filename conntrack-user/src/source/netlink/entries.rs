//! The number of the table's entries that the kernel could evict, of those that were read.

/// Bits of `CTA_STATUS` (`linux/netfilter/nf_conntrack_common.h`).
const SEEN_REPLY: u32 = 1 << 1;
const ASSURED: u32 = 1 << 2;

/// Properties of the entries that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entries {
    /// Entries that were read.
    pub seen: u32,
    /// Of those: never answered (conntrack-tools calls them `[UNREPLIED]`).
    pub unreplied: u32,
    /// Of those: not assured, so evicted when the table is full (`early_drop_list`).
    pub evictable: u32,
    /// Of those: TCP connections without a packet for longer than was asked for.
    pub silent: u32,
}

/// Identifies a connection that has been silent for long, by how long its entry is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// The setting `nf_conntrack_tcp_timeout_established`, in seconds.
    pub timeout: u32,
    /// How long is long, in seconds.
    pub long: u32,
}

/// Timeouts beyond this, in seconds, have established TCP connections only (by default others
/// have 600 s at most; SCTP's and DCCP's are rare).
const ESTABLISHED: u32 = 3600;

impl Entries {
    /// Takes one more, with its status and how long it is kept yet.
    pub(super) fn note(&mut self, status: u32, left: Option<u32>, silence: Option<Silence>) {
        self.seen += 1;
        let is_silent = |silence: Silence| {
            left.is_some_and(|left| {
                left > ESTABLISHED && left.saturating_add(silence.long) < silence.timeout
            })
        };
        self.silent += u32::from(silence.is_some_and(is_silent));
        self.unreplied += u32::from(status & SEEN_REPLY == 0);
        self.evictable += u32::from(status & ASSURED == 0);
    }
}
