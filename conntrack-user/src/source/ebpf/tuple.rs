//! One direction of a connection, from a `struct nf_conntrack_tuple` in the kernel's memory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::offsets::TupleLayout;

/// `NFPROTO_IPV4` and `NFPROTO_IPV6` (`include/uapi/linux/netfilter.h`).
pub(super) const IPV4: u16 = 2;
pub(super) const IPV6: u16 = 10;

/// `IPPROTO_ICMP` and `IPPROTO_ICMPV6` (`include/uapi/linux/in.h`, `in6.h`).
pub(super) const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// The IP protocol.
    pub protocol: u8,
    /// Who sends in this direction.
    pub source: IpAddr,
    /// Who receives.
    pub destination: IpAddr,
    /// The source port, or of ICMP the identifier; 0 for what has none.
    pub source_port: u16,
    /// The destination port, or of ICMP type (high byte) and code; 0 for what has none.
    pub destination_port: u16,
}

impl Tuple {
    /// Returns this direction as it is after NAT, of which the answers in `reply` are; `None` where NAT
    /// changes nothing.
    #[must_use]
    pub fn translated(&self, reply: &Self) -> Option<Self> {
        let translated = match self.protocol {
            // The identifier is the same in both directions, and an answer has another type.
            ICMP | ICMPV6 => Self {
                source: reply.destination,
                destination: reply.source,
                source_port: reply.source_port,
                ..*self
            },
            _ => Self {
                protocol: self.protocol,
                source: reply.destination,
                destination: reply.source,
                source_port: reply.destination_port,
                destination_port: reply.source_port,
            },
        };
        (translated != *self).then_some(translated)
    }
}

/// The tuple in a `struct nf_conntrack_tuple`; `None` where it is empty, or of another family.
pub(super) fn tuple_of(bytes: &[u8], layout: &TupleLayout) -> Option<Tuple> {
    fn field<const N: usize>(bytes: &[u8], at: u32) -> Option<[u8; N]> {
        bytes.get(at as usize..)?.first_chunk().copied()
    }
    let address = |at: u32| match u16::from_ne_bytes(field(bytes, layout.family)?) {
        IPV4 => Some(Ipv4Addr::from(field::<4>(bytes, at)?).into()),
        IPV6 => Some(Ipv6Addr::from(field::<16>(bytes, at)?).into()),
        _ => None,
    };
    let [protocol] = field(bytes, layout.protocol)?;
    Some(Tuple {
        protocol,
        source: address(layout.source)?,
        destination: address(layout.destination)?,
        source_port: u16::from_be_bytes(field(bytes, layout.source_port)?),
        destination_port: u16::from_be_bytes(field(bytes, layout.destination_port)?),
    })
}
