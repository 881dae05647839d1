//! How many of the table's entries the kernel could evict, by a sample of them.
//!
//! A dump goes through the table in the order of its buckets, which hold entries by a keyed hash:
//! the first some thousands are a fair sample of all, at the same cost however large the table is.
//! The socket is closed then, which ends the dump.

use super::decode::{Answer, Progress, decode};
use super::error::NetlinkError;
use super::request::Request;
use super::{ATTEMPTS, Netlink};

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

/// Looks at `most` entries of the namespace that this thread is in, or a few more; at all where
/// there are fewer.
///
/// # Errors
/// [`NetlinkError`].
pub fn look(most: u32, silence: Option<Silence>) -> Result<Entries, NetlinkError> {
    let mut attempt = 1;
    loop {
        match look_once(most, silence) {
            Err(error) if error.is_passing() && attempt < ATTEMPTS => attempt += 1,
            looked => return looked,
        }
    }
}

fn look_once(most: u32, silence: Option<Silence>) -> Result<Entries, NetlinkError> {
    let mut netlink = Netlink::open()?;
    let mut answer = Answer::default();
    answer.silence = silence;
    netlink.send(Request::Entries)?;
    while answer.seen().seen < most {
        let length = netlink.receive()?;
        let datagram = &netlink.buffer[..length];
        match decode(datagram, netlink.sequence, Request::Entries, &mut answer) {
            Ok(Progress::More) => {}
            // A table that was resized meanwhile shows some entries twice.
            Ok(Progress::Done) | Err(NetlinkError::Interrupted) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(answer.seen())
}
