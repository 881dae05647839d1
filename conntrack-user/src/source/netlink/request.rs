//! The four requests to ctnetlink, and their encoding.
//!
//! A netlink header, then `struct nfgenmsg` (`linux/netfilter/nfnetlink.h`) and no attributes:
//! none of the four needs any.

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer};

/// Length of `struct nfgenmsg`: family, version, and a 16-bit number.
pub(super) const NFGENMSG: usize = 4;

/// Length of a request.
const LENGTH: usize = 16 + NFGENMSG;

/// A question to ctnetlink (`linux/netfilter/nfnetlink_conntrack.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// `IPCTNL_MSG_CT_GET_STATS`: entries of the socket's namespace, and their limit.
    Table,
    /// `IPCTNL_MSG_CT_GET_STATS_CPU`: the counters, a message per possible CPU.
    Counters,
    /// `IPCTNL_MSG_EXP_GET_STATS_CPU`: those of expectations, a message per possible CPU.
    Expectations,
    /// `IPCTNL_MSG_CT_GET`: the entries, in the order of their buckets.
    Entries,
}

impl Request {
    /// `(subsystem << 8) | message`.
    fn kind(self) -> u16 {
        match self {
            Self::Table => 0x105,
            Self::Counters => 0x104,
            Self::Expectations => 0x203,
            Self::Entries => 0x101,
        }
    }

    /// Whether a message of type `kind` answers this. The answer about expectations comes under
    /// the other subsystem's number (`ctnetlink_exp_stat_fill_info`), entries come as new ones
    /// (`ctnetlink_fill_info`).
    pub(super) fn is_answered_by(self, kind: u16) -> bool {
        match self {
            Self::Table | Self::Counters => kind == self.kind(),
            Self::Expectations => kind == self.kind() || kind == 0x103,
            Self::Entries => kind == 0x100,
        }
    }

    /// Whether the answer is many messages and one that ends them.
    pub(super) fn is_dump(self) -> bool {
        self != Self::Table
    }

    /// The bytes to send.
    pub(super) fn encode(self, sequence: u32) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let mut message = NetlinkBuffer::new(&mut bytes[..]);
        message.set_length(LENGTH as u32);
        message.set_message_type(self.kind());
        message.set_flags(NLM_F_REQUEST | if self.is_dump() { NLM_F_DUMP } else { 0 });
        message.set_sequence_number(sequence);
        bytes
    }
}
