//! The headers of a packet, from its first bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::tuple::Tuple;

/// The parts of a packet's headers that describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketHeader {
    /// Addresses, and ports as far as they are in the packet.
    pub tuple: Tuple,
    /// The flags of TCP, where they are in the packet.
    pub tcp_flags: Option<u8>,
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// Extension headers of IPv6 that have their length in their second byte.
const EXTENSIONS: [u8; 3] = [0, 43, 60];

/// How many of them are skipped.
const MOST_EXTENSIONS: usize = 4;

/// Returns the headers at the beginning of `bytes`; `None` where that is no IP packet.
#[must_use]
pub fn header_of(bytes: &[u8]) -> Option<PacketHeader> {
    match bytes.first()? >> 4 {
        4 => ipv4(bytes),
        6 => ipv6(bytes),
        _ => None,
    }
}

fn ipv4(bytes: &[u8]) -> Option<PacketHeader> {
    let header: &[u8; 20] = bytes.first_chunk()?;
    let length = usize::from(header[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let address = |at: usize| Some(Ipv4Addr::from(*header.get(at..)?.first_chunk::<4>()?).into());
    let payload = bytes.get(length..total.min(bytes.len())).unwrap_or_default();
    let tuple = Tuple {
        protocol: header[9],
        source: address(12)?,
        destination: address(16)?,
        source_port: 0,
        destination_port: 0,
    };
    Some(with_payload(tuple, payload))
}

fn ipv6(bytes: &[u8]) -> Option<PacketHeader> {
    let header: &[u8; 40] = bytes.first_chunk()?;
    let address = |at: usize| Some(Ipv6Addr::from(*header.get(at..)?.first_chunk::<16>()?).into());
    let total = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
    let mut payload = bytes.get(40..total.min(bytes.len())).unwrap_or_default();
    let mut protocol = header[6];
    for _ in 0..MOST_EXTENSIONS {
        let (true, Some([next, length])) = (EXTENSIONS.contains(&protocol), payload.first_chunk())
        else {
            break;
        };
        let length = 8 + 8 * usize::from(*length);
        (protocol, payload) = (*next, payload.get(length..).unwrap_or_default());
    }
    let tuple = Tuple {
        protocol,
        source: address(8)?,
        destination: address(24)?,
        source_port: 0,
        destination_port: 0,
    };
    Some(with_payload(tuple, payload))
}

/// Adds the ports, or the type, the code and the identifier of ICMP.
fn with_payload(mut tuple: Tuple, payload: &[u8]) -> PacketHeader {
    let word = |at: usize| {
        let bytes = payload.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u16::from_be_bytes(*bytes))
    };
    (tuple.source_port, tuple.destination_port) = match tuple.protocol {
        TCP | UDP | UDP_LITE | DCCP | SCTP => (word(0), word(2)),
        ICMP | ICMPV6 => (word(4), word(0)),
        _ => (0, 0),
    };
    let tcp_flags = payload.get(13).copied().filter(|_| tuple.protocol == TCP);
    PacketHeader { tuple, tcp_flags }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4_packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let total = (20 + payload.len()) as u16;
        let mut bytes = vec![0x45, 0];
        bytes.extend(total.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 192, 0, 2, 53]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_tcp_header_has_ports_and_flags() {
        let mut tcp = [0; 20];
        tcp[..4].copy_from_slice(&[4, 210, 0, 53]);
        tcp[13] = 0x12;
        let header = header_of(&ipv4_packet(TCP, &tcp)).unwrap();
        let Tuple { protocol, source, destination, source_port, destination_port } = header.tuple;
        assert_eq!((protocol, source_port, destination_port), (6, 1234, 53));
        assert_eq!(
            (source.to_string(), destination.to_string()),
            ("10.0.0.1".into(), "192.0.2.53".into())
        );
        assert_eq!(header.tcp_flags, Some(0x12));
    }

    /// The bytes behind the packet are of the buffer that it lies in.
    #[test]
    fn bytes_behind_a_short_packet_are_not_read() {
        let mut bytes = ipv4_packet(TCP, &[4, 210]);
        bytes.extend([255; 40]);
        let header = header_of(&bytes).unwrap();
        assert_eq!((header.tuple.source_port, header.tuple.destination_port), (1234, 0));
        assert_eq!(header.tcp_flags, None);
    }

    #[test]
    fn icmp_has_type_code_and_identifier() {
        let header = header_of(&ipv4_packet(ICMP, &[8, 1, 0, 0, 0, 7, 0, 0])).unwrap();
        assert_eq!((header.tuple.destination_port, header.tuple.source_port), (0x0801, 7));
    }

    #[test]
    fn extension_headers_of_ipv6_are_skipped() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 16, 60, 64];
        bytes.extend(Ipv6Addr::LOCALHOST.octets());
        bytes.extend(Ipv6Addr::LOCALHOST.octets());
        bytes.extend([UDP, 0, 1, 4, 0, 0, 0, 0]);
        bytes.extend([4, 210, 0, 53, 0, 8, 0, 0]);
        let header = header_of(&bytes).unwrap();
        assert_eq!(header.tuple.protocol, UDP);
        assert_eq!((header.tuple.source_port, header.tuple.destination_port), (1234, 53));
        assert_eq!(header.tuple.source.to_string(), "::1");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100),
        ) {
            let _ = header_of(&bytes);
        }
    }
}
