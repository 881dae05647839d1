//! Packets that begin nothing: the tracker refuses them after `init_conntrack` has returned.

use std::net::{Ipv4Addr, SocketAddrV4};

use conntrack_ebpf::Event;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket};

use crate::events::{all, settled, watch};
use crate::probes::{attach_all, sum};
use crate::support::{Namespace, integer, statistics};
use crate::traffic::link;
use crate::{in_guest, track_no_more_in, wait_for};

const SENDER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);

const SYN: u8 = 2;
const ACK: u8 = 16;

/// The Internet checksum of `bytes`, whose length is even.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// Fills in the checksum at `at` of what goes from sender to receiver by `protocol`.
fn with_checksum(mut packet: Vec<u8>, protocol: u8, at: usize) -> Vec<u8> {
    let length = packet.len() as u16;
    let pseudo = [&SENDER.octets()[..], &RECEIVER.octets(), &[0, protocol], &length.to_be_bytes()];
    let sum = checksum(&[&pseudo.concat()[..], &packet].concat());
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn tcp(source_port: u16, destination_port: u16, flags: u8) -> Vec<u8> {
    let mut header = [source_port.to_be_bytes(), destination_port.to_be_bytes()].concat();
    header.extend([0, 0, 0, 9, 0, 0, 0, 9, 5 << 4, flags, 255, 255, 0, 0, 0, 0]);
    with_checksum(header, 6, 16)
}

/// An answer to a ping that was never sent.
fn echo_reply(id: u16) -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 0];
    packet.extend([id.to_be_bytes(), [0, 1]].concat());
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// A datagram with a checksum that is wrong.
fn bad_udp(source_port: u16) -> Vec<u8> {
    let header = [source_port, 9, 8, 0].map(u16::to_be_bytes).concat();
    let mut packet = with_checksum(header, 17, 6);
    packet[7] ^= 1;
    packet
}

/// A network whose second namespace tracks what the first sends, which does not.
fn pair() -> (Namespace, Namespace) {
    let (sender, receiver) = (Namespace::new(), Namespace::new());
    link(&sender, &receiver, 1);
    track_no_more_in(&sender);
    for rule in [
        "add chain inet t in { type filter hook input priority 0; }",
        "add rule inet t in tcp dport 7 drop",
        "add rule inet t in tcp dport 8 reject",
    ] {
        receiver.exec("nft", &rule.split(' ').collect::<Vec<_>>());
    }
    receiver.inside(|| {
        std::fs::write("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", "0").unwrap();
    });
    (sender, receiver)
}

fn send(sender: &Namespace, protocol: rustix::net::Protocol, packets: &[Vec<u8>]) {
    sender.inside(|| {
        let raw = socket(AddressFamily::INET, SocketType::RAW, Some(protocol)).unwrap();
        let to = SocketAddrV4::new(RECEIVER, 0);
        for (number, packet) in packets.iter().enumerate() {
            assert_eq!(sendto(&raw, packet, SendFlags::empty(), &to).unwrap(), packet.len());
            // What comes back would fill the socket's queue.
            if number % 16 == 0 {
                while recv(&raw, &mut [0; 256][..], RecvFlags::DONTWAIT).is_ok() {}
            }
        }
    });
}

/// A flood of stray ACKs was read as as many new connections, while `insert` stood at 0.
#[test]
fn stray_packets_are_not_new_and_rejected_connections_are() {
    const STRAYS: u16 = 200;
    const BEGUN: u16 = 20;
    in_guest();
    let (sender, receiver) = pair();
    let events = attach_all(&[&receiver]);
    let running = watch(&[&receiver]);
    let many = |packet: &dyn Fn(u16) -> Vec<u8>| (0..STRAYS).map(packet).collect::<Vec<_>>();
    send(&sender, ipproto::TCP, &many(&|port| tcp(1000 + port, 9, ACK)));
    send(&sender, ipproto::ICMP, &many(&echo_reply));
    send(&sender, ipproto::UDP, &many(&|port| bad_udp(1000 + port)));
    // The kernel answers a stray ACK with a RST, which begins nothing either.
    let refused = || sum(&events, Event::NewRefused);
    let invalid = || integer(&statistics(&receiver.name), "invalid").unwrap();
    wait_for("refusals", || refused() >= 3 * u64::from(STRAYS) && refused() >= invalid());
    assert_eq!(sum(&events, Event::New), refused(), "{}", statistics(&receiver.name));

    for port in [7, 8] {
        let syns: Vec<_> = (0..BEGUN).map(|from| tcp(2000 + from, port, SYN)).collect();
        send(&sender, ipproto::TCP, &syns);
    }
    let begun = 2 * u64::from(BEGUN);
    let line = settled(&running, "", "delete", begun);
    // Also at rest, of every CPU.
    all(&line, &[("new", begun), ("delete", begun), ("insert", 0), ("entries", 0)]);
    assert_eq!(sum(&events, Event::New), begun + refused(), "{line}");
}
