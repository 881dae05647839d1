//! Reads some entries of the table.
//!
//! A dump goes through the table in the order of its buckets, which hold entries by a keyed hash:
//! the first few thousand are a fair sample of all, at the same cost however large the table is.
//! The socket is closed then, which ends the dump.

use super::decode::{Answer, Progress, decode};
use super::entries::{Entries, Silence};
use super::error::NetlinkError;
use super::request::Request;
use super::{ATTEMPTS, Netlink};

/// Reads `most` entries of the namespace that this thread is in, or a few more; all of them where
/// there are fewer.
///
/// # Errors
/// [`NetlinkError`].
pub fn scan(most: u32, silence: Option<Silence>) -> Result<Entries, NetlinkError> {
    let mut attempt = 1;
    loop {
        match scan_once(most, silence) {
            Err(error) if error.is_passing() && attempt < ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

fn scan_once(most: u32, silence: Option<Silence>) -> Result<Entries, NetlinkError> {
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
