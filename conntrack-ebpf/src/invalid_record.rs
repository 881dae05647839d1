//! Records of packets that a protocol tracker judged: INVALID ones, and some that it accepts.

/// Room for a text of the kernel, with the 0 at its end: the longest one has 68 bytes (5.10 to 7.3).
pub const TEXT_BYTES: usize = 80;

/// Room for the beginning of a packet: an IPv6 header and a TCP header without options, or an IPv4
/// header with most of its options and the ports.
pub const PACKET_BYTES: usize = 80;

/// How many texts are read at most. Kernels from 5.10 to 7.3 have fewer than 40.
pub const MOST_TEXTS: u32 = 128;

/// How many counters there are at most, of a text, a protocol and a namespace each.
pub const MOST_INVALID_COUNTS: u32 = 2048;

/// How many connections the trackers can refuse at once without one hiding another (a power of two).
pub const REFUSED_BITS: u32 = 10;

/// The text of a first packet that `tcp_new` refused without one.
pub const NO_TEXT: u64 = 0;

/// The text of packets whose text could not be read, or for which there was no room.
pub const UNREAD_TEXT: u64 = 1;

/// The hook or the direction of a packet whose hook or direction is unknown.
pub const UNKNOWN: u8 = u8::MAX;

/// One call for a packet, as it goes through the ring.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct InvalidRecord {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// The address of the text, [`NO_TEXT`] or [`UNREAD_TEXT`].
    pub text: u64,
    /// The CPU.
    pub cpu: u32,
    /// The inode number of the network namespace.
    pub inode: u32,
    /// The index of the packet's device; 0 where it has none yet, as a packet of the host itself.
    pub ifindex: u32,
    /// The bytes of `packet` that are of the packet.
    pub packet_length: u32,
    /// The conntrack zone.
    pub zone: u16,
    /// The number of the Netfilter hook (`enum nf_inet_hooks`), or [`UNKNOWN`].
    pub hook: u8,
    /// The IP protocol.
    pub protocol: u8,
    /// 0 for the original direction of the connection, 1 for the reply, [`UNKNOWN`] without a connection.
    pub direction: u8,
    /// Zeros.
    pub padding: [u8; 3],
    /// The original tuple of the connection, as it lies in the kernel's memory; zeros without one.
    pub tuple: [u8; crate::TUPLE_BYTES],
    /// The packet from its IP header on.
    pub packet: [u8; PACKET_BYTES],
}

const _: () = assert!(size_of::<InvalidRecord>() == 168);

/// The key of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct InvalidKey {
    /// See [`InvalidRecord::text`].
    pub text: u64,
    /// The inode number of the network namespace.
    pub inode: u32,
    /// The IP protocol.
    pub protocol: u32,
}

const _: () = assert!(size_of::<InvalidKey>() == 16);

/// A text of the kernel, with zeros behind it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct InvalidText {
    /// The text.
    pub bytes: [u8; TEXT_BYTES],
}

/// What each CPU knows of its records.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct InvalidReporting {
    /// Number of the time window of [`crate::REPORT_WINDOW_BITS`].
    pub window: u64,
    /// Records in that window.
    pub reported: u64,
    /// Packets that were counted and not reported, as the window had enough.
    pub left_out: u64,
    /// Packets that were counted, and for which there was no room in the ring.
    pub lost: u64,
    /// Packets that were not even counted, as there were too many counters or a packet's memory could
    /// not be read.
    pub uncounted: u64,
}
