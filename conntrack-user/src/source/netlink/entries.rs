//! How many of the table's entries the kernel could evict, from a look at some of them.
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

/// What was seen of the entries that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entries {
    /// Those that were looked at.
    pub seen: u32,
    /// Of those: never answered (conntrack-tools calls them `[UNREPLIED]`).
    pub unreplied: u32,
    /// Of those: not assured, so evicted when the table is full (`early_drop_list`).
    pub evictable: u32,
}

impl Entries {
    /// Takes the status of one more.
    pub(super) fn note(&mut self, status: u32) {
        self.seen += 1;
        self.unreplied += u32::from(status & SEEN_REPLY == 0);
        self.evictable += u32::from(status & ASSURED == 0);
    }
}

/// Looks at `most` entries of the namespace that this thread is in, or a few more; at all where
/// there are fewer.
///
/// # Errors
/// [`NetlinkError`].
pub fn look(most: u32) -> Result<Entries, NetlinkError> {
    let mut attempt = 1;
    loop {
        match look_once(most) {
            Err(error) if error.is_passing() && attempt < ATTEMPTS => attempt += 1,
            looked => return looked,
        }
    }
}

fn look_once(most: u32) -> Result<Entries, NetlinkError> {
    let mut netlink = Netlink::open()?;
    let mut answer = Answer::default();
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
