//! The statistics through ctnetlink, for kernels without `/proc/net/stat/nf_conntrack`: a socket
//! that stays open.
//!
//! The kernel answers while the question is sent, so everything is there to be read at once; a
//! read that would have to wait has an incomplete answer. The question itself may wait: messages
//! of ctnetlink share a mutex in the kernel (`nfnl_lock`), so one waits behind another program's
//! that runs, such as `conntrack -F` on a large table. The socket belongs to the network
//! namespace in which it was opened. Every message needs `CAP_NET_ADMIN`, of the sender and of
//! who opened the socket (`netlink_net_capable`), so the capability cannot be dropped in between.

pub mod decode;
pub mod entries;
pub mod error;
pub mod request;
pub mod scan;

use std::os::fd::OwnedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};

use self::decode::{Answer, Progress, decode};
pub use self::error::NetlinkError;
use self::request::Request;
use super::stat_text::Oddities;
use crate::schema::raw::StatTable;

/// The largest datagram that the kernel makes of a dump (`netlink_dump`).
const BUFFER: usize = 32 << 10;

/// How often a question is asked again after its answer was lost or torn.
const ATTEMPTS: u32 = 3;

/// ctnetlink in one network namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    buffer: Box<[u8]>,
    sequence: u32,
    answer: Answer,
    /// Whether the kernel knows the question (since 3.10 or before).
    has_expectations: bool,
}

impl Netlink {
    /// Opens a socket in the namespace that this thread is in; nothing is asked yet.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Self, NetlinkError> {
        let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
        let socket = socket_with(AddressFamily::NETLINK, kind, flags, Some(NETFILTER))
            .map_err(NetlinkError::Socket)?;
        // Connected to the kernel, so no other process can send to it (`netlink_getsockbyportid`).
        connect(&socket, &SocketAddrNetlink::new(0, 0)).map_err(NetlinkError::Socket)?;
        Ok(Self {
            socket,
            buffer: vec![0; BUFFER].into(),
            sequence: 0,
            answer: Answer::default(),
            has_expectations: true,
        })
    }

    /// Asks for everything and makes a table of it. After the first time it allocates nothing.
    ///
    /// # Errors
    /// [`NetlinkError`]; `table` is then empty. One that [is passing](NetlinkError::is_passing)
    /// came up several times in a row.
    pub fn read(&mut self, table: &mut StatTable) -> Result<Oddities, NetlinkError> {
        table.clear();
        table.is_live = true;
        let mut attempt = 1;
        while let Err(error) = self.ask_all() {
            if !error.is_passing() || attempt == ATTEMPTS {
                return Err(error);
            }
            attempt += 1;
            self.drain();
        }
        self.answer.fill(table)
    }

    /// Asks for the number of entries and its limit alone.
    ///
    /// # Errors
    /// [`NetlinkError`]; both are then not known.
    pub fn read_table(&mut self) -> Result<(), NetlinkError> {
        self.answer.clear();
        let asked = self.ask(Request::Table);
        if asked.is_err() {
            self.answer.clear();
            self.drain();
        }
        asked
    }

    /// The number of entries, as it was answered last.
    #[must_use]
    pub fn entries(&self) -> Option<u32> {
        self.answer.entries()
    }

    /// The limit of entries, as it was answered last; kernels before 4.18 do not send it.
    #[must_use]
    pub fn max(&self) -> Option<u32> {
        self.answer.max()
    }

    fn ask_all(&mut self) -> Result<(), NetlinkError> {
        self.answer.clear();
        self.ask(Request::Table)?;
        self.ask(Request::Counters)?;
        if self.has_expectations {
            match self.ask(Request::Expectations) {
                Err(NetlinkError::Unsupported) => self.has_expectations = false,
                asked => asked?,
            }
        }
        Ok(())
    }

    fn ask(&mut self, request: Request) -> Result<(), NetlinkError> {
        self.send(request)?;
        loop {
            let length = self.receive()?;
            let datagram = &self.buffer[..length];
            if decode(datagram, self.sequence, request, &mut self.answer)? == Progress::Done {
                return Ok(());
            }
        }
    }

    fn send(&mut self, request: Request) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let question = request.encode(self.sequence);
        let sent = retry_on_intr(|| send(&self.socket, &question, SendFlags::empty()));
        sent.map(drop).map_err(NetlinkError::of_call)
    }

    /// Reads one datagram into the buffer; its length.
    fn receive(&mut self) -> Result<usize, NetlinkError> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let received = retry_on_intr(|| recv(&self.socket, &mut self.buffer[..], flags));
        match received {
            Ok((_, length)) if length > self.buffer.len() => {
                Err(NetlinkError::Malformed("a datagram is longer than any"))
            }
            Ok((_, length)) => Ok(length),
            Err(Errno::AGAIN) => Err(NetlinkError::Incomplete),
            Err(errno) => Err(NetlinkError::of_call(errno)),
        }
    }

    /// Reads what is left of an answer, which also ends a dump that is under way.
    fn drain(&mut self) {
        while !matches!(self.receive(), Err(NetlinkError::Incomplete | NetlinkError::Talk(_))) {}
    }
}

#[cfg(test)]
impl Netlink {
    /// One that asks the other end of a pair of sockets; without one there is no
    /// answer, as when the kernel has no memory for it.
    pub(crate) fn on(socket: OwnedFd) -> Self {
        Self { socket, ..Self::open().expect("a socket") }
    }
}

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
