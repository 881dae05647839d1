//! Parts of a connection in words: protocols and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The protocols that have a name here, which is that of `/etc/protocols`.
pub(crate) const PROTOCOLS: [(u8, &str); 8] = [
    (1, "icmp"),
    (TCP, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (47, "gre"),
    (58, "icmpv6"),
    (132, "sctp"),
    (136, "udplite"),
];

/// The protocol number of TCP.
pub(crate) const TCP: u8 = 6;

/// `enum tcp_conntrack` of `include/uapi/linux/netfilter/nf_conntrack_tcp.h`, in the words of
/// conntrack-tools.
pub(crate) const TCP_STATES: [&str; 10] = [
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
];

/// The protocol's name, or its number.
pub(crate) fn protocol_name(protocol: u8) -> String {
    let known = PROTOCOLS.iter().find(|(number, _)| *number == protocol);
    known.map_or_else(|| protocol.to_string(), |(_, name)| (*name).to_owned())
}

/// Whether the two numbers of a tuple are ports.
pub(crate) fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}

/// Whether they are an identifier, and a type and a code.
pub(crate) fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, 1 | 58)
}

/// The network of an address, which is itself where it has all bits. `bits` are those of IPv4, of IPv6
/// four times as many.
pub(crate) fn network(address: IpAddr, bits: u8) -> String {
    let masked = mask(address, bits);
    match (bits, masked) {
        (32, _) => masked.to_string(),
        (_, IpAddr::V4(_)) => format!("{masked}/{bits}"),
        (_, IpAddr::V6(_)) => format!("{masked}/{}", 4 * u32::from(bits)),
    }
}

/// The first address of a network of so many bits of IPv4, and four times that of IPv6.
pub(crate) fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - 4 * u32::from(bits)).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

/// The number of a protocol by its name, or as a number.
pub(crate) fn protocol_number(text: &str) -> Option<u8> {
    let text = text.to_ascii_lowercase();
    text.parse().ok().or_else(|| (0..=u8::MAX).find(|number| protocol_name(*number) == text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_have_names_and_numbers() {
        assert_eq!(protocol_number("UDP"), Some(17));
        assert_eq!(protocol_number("89"), Some(89));
        assert_eq!(protocol_number("udpp"), None);
    }

    #[test]
    fn a_network_has_four_times_as_many_bits_for_ipv6() {
        let network = |address: &str, bits| network(address.parse().unwrap(), bits);
        assert_eq!(network("192.0.2.77", 0), "0.0.0.0/0");
        assert_eq!(network("2001:db8:1:2::3", 12), "2001:db8:1::/48");
        assert_eq!(network("2001:db8::3", 32), "2001:db8::3");
    }
}
