//! INVALID packets of every kind that can be sent, one kind after another: `ctpulse drops --invalid`
//! against the kernel's `invalid` and `icmp_error`.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};

use ctpulse::source::ebpf::invalid::Text;
use ctpulse::source::ebpf::probe_table::HOOKS;
use ctpulse::source::ebpf::{AttachOptions, Events};
use ctpulse::source::namespace::Pinned;
use ctpulse::source::release;
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType, ipproto, sendto, socket};
use serde_json::Value;

use crate::drops::{Drops, UDP_TIMEOUT};
use crate::probes::CPUS;
use crate::support::Namespace;
use crate::traffic::link;
use crate::{in_guest, track_no_more_in, wait_for};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// An address of the client's network that no host has.
const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 77);

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// The first sequence numbers of client and server.
const CLIENT_START: u32 = 1_000_000;
const SERVER_START: u32 = 5_000_000;
/// More than any window and than `MAXACKWINDOW`.
const FAR: u32 = 500_000;

/// The Internet checksum of `bytes`.
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !sum as u16
}

/// A packet without its IP header.
#[derive(Clone)]
pub(crate) struct Packet {
    from: Ipv4Addr,
    to: Ipv4Addr,
    pub(crate) protocol: Protocol,
    payload: Vec<u8>,
}

impl Packet {
    fn new(from: Ipv4Addr, to: Ipv4Addr, protocol: Protocol, payload: Vec<u8>) -> Self {
        Self { from, to, protocol, payload }
    }

    /// Fills in the checksum at `at`, over the pseudo header, too.
    fn with_checksum(mut self, at: usize) -> Self {
        let protocol = self.protocol.as_raw().get() as u8;
        let length = (self.payload.len() as u16).to_be_bytes();
        let pseudo = [&self.from.octets()[..], &self.to.octets(), &[0, protocol], &length];
        let sum = checksum(&[&pseudo.concat()[..], &self.payload].concat());
        self.payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        self
    }

    /// Spoils the byte at `at`.
    fn spoiled(mut self, at: usize) -> Self {
        self.payload[at] ^= 1;
        self
    }

    /// Cuts the packet off behind `length` bytes.
    fn cut(mut self, length: usize) -> Self {
        self.payload.truncate(length);
        self
    }
}

/// A connection of TCP, by the client's port.
#[derive(Clone, Copy)]
pub(crate) struct Tcp(u16);

impl Tcp {
    fn segment(self, is_client: bool, flags: u8, seq: u32, ack: u32, data: usize) -> Packet {
        let ports = if is_client { [self.0, 80] } else { [80, self.0] };
        let mut bytes = ports.map(u16::to_be_bytes).concat();
        bytes.extend(seq.to_be_bytes());
        bytes.extend(ack.to_be_bytes());
        bytes.extend([5 << 4, flags, 255, 255, 0, 0, 0, 0]);
        bytes.extend(vec![0; data]);
        let (from, to) = if is_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        Packet::new(from, to, ipproto::TCP, bytes).with_checksum(16)
    }

    /// From the client, in sequence but for `seq` and `ack` more.
    fn client(self, flags: u8, seq: u32, ack: u32, data: usize) -> Packet {
        let seq = (CLIENT_START + 1).wrapping_add(seq);
        self.segment(true, flags, seq, (SERVER_START + 1).wrapping_add(ack), data)
    }

    fn server(self, flags: u8, seq: u32, ack: u32, data: usize) -> Packet {
        let seq = (SERVER_START + 1).wrapping_add(seq);
        self.segment(false, flags, seq, (CLIENT_START + 1).wrapping_add(ack), data)
    }

    fn syn(self) -> Packet {
        self.segment(true, SYN, CLIENT_START, 0, 0)
    }

    /// The three packets that open the connection.
    fn opening(self) -> Vec<Packet> {
        let answer = self.segment(false, SYN | ACK, SERVER_START, CLIENT_START + 1, 0);
        vec![self.syn(), answer, self.client(ACK, 0, 0, 0)]
    }
}

pub(crate) fn udp(port: u16, length: u16) -> Packet {
    let bytes = [port, 53, length, 0].map(u16::to_be_bytes).concat();
    Packet::new(CLIENT, SERVER, ipproto::UDP, bytes).with_checksum(6)
}

fn icmp(from: Ipv4Addr, to: Ipv4Addr, kind: u8, rest: &[u8]) -> Packet {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(rest);
    let sum = checksum(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    Packet::new(from, to, ipproto::ICMP, bytes)
}

/// "Port unreachable" about a datagram of the client.
fn unreachable(to: Ipv4Addr, port: u16) -> Packet {
    let mut inner = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    inner.extend(CLIENT.octets());
    inner.extend(SERVER.octets());
    let sum = checksum(&inner);
    inner[10..12].copy_from_slice(&sum.to_be_bytes());
    inner.extend(udp(port, 8).payload);
    icmp(SERVER, to, 3, &[&[0; 4], &inner[..]].concat())
}

/// A header of SCTP, with a checksum that is wrong, and a chunk.
fn sctp(port: u16) -> Packet {
    let mut bytes = [port.to_be_bytes(), 80u16.to_be_bytes()].concat();
    bytes.extend([0, 0, 0, 0, 1, 2, 3, 4]);
    bytes.extend([1, 0, 0, 20]);
    bytes.extend([0; 16]);
    Packet::new(CLIENT, SERVER, ipproto::SCTP, bytes)
}

/// A router that tracks what a client and a server send to each other. These two send packets by
/// themselves only, and no answer of their kernels disturbs a connection.
pub(crate) struct Scene {
    client: (Namespace, BTreeMap<u32, OwnedFd>),
    server: (Namespace, BTreeMap<u32, OwnedFd>),
    pub(crate) router: Namespace,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let (client, router, server) = (Namespace::new(), Namespace::new(), Namespace::new());
        link(&client, &router, 1);
        link(&server, &router, 2);
        for host in [&client, &server] {
            track_no_more_in(host);
            host.exec("nft", &["add", "table", "inet", "t"]);
            let chain = "{ type filter hook input priority 0; policy drop; }";
            host.exec("nft", &["add", "chain", "inet", "t", "in", chain]);
        }
        router.inside(|| {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            fs::write("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", "0").unwrap();
            fs::write(UDP_TIMEOUT, "600").unwrap();
        });
        let with_sockets = |namespace: Namespace| {
            let sockets = namespace.inside(|| {
                [ipproto::TCP, ipproto::UDP, ipproto::ICMP, ipproto::SCTP].map(|protocol| {
                    let raw = socket(AddressFamily::INET, SocketType::RAW, Some(protocol));
                    (protocol.as_raw().get(), raw.unwrap())
                })
            });
            (namespace, BTreeMap::from(sockets))
        };
        Self { client: with_sockets(client), server: with_sockets(server), router }
    }

    pub(crate) fn send(&self, packet: &Packet) {
        let (_, sockets) = if packet.from == SERVER { &self.server } else { &self.client };
        let raw = &sockets[&packet.protocol.as_raw().get()];
        let to = SocketAddrV4::new(packet.to, 0);
        let sent = sendto(raw, &packet.payload, SendFlags::empty(), &to).unwrap();
        assert_eq!(sent, packet.payload.len());
    }

    /// The sum of a counter over all CPUs of the router.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let text = self
            .router
            .inside(|| fs::read_to_string("/proc/thread-self/net/stat/nf_conntrack").unwrap());
        let mut lines = text.lines();
        let column = lines.next().unwrap().split_whitespace().position(|word| word == name);
        let value = |line: &str| {
            let word = line.split_whitespace().nth(column.unwrap()).unwrap();
            u64::from_str_radix(word, 16).unwrap()
        };
        lines.map(value).sum()
    }

    /// Packets that the router has forwarded.
    pub(crate) fn forwarded(&self) -> u64 {
        // sysfs shows the devices of the namespace that it was mounted in.
        let text = self.router.inside(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap());
        let sent = |line: &str| {
            let (device, counters) = line.split_once(':')?;
            let sent: u64 = counters.split_whitespace().nth(9)?.parse().ok()?;
            ["v1", "v2"].contains(&device.trim()).then_some(sent)
        };
        text.lines().filter_map(sent).sum::<u64>()
    }

    pub(crate) fn open(&self, connection: Tcp) {
        for packet in connection.opening() {
            let before = self.forwarded();
            self.send(&packet);
            wait_for("a packet of the opening", || self.forwarded() > before);
        }
    }
}

/// The probes see each call, with its text.
#[test]
fn calls_for_invalid_packets_are_counted_by_text() {
    in_guest();
    let scene = Scene::new();
    let pinned = [Pinned::open(format!("/run/netns/{}", scene.router.name).as_ref()).unwrap()];
    let wanted = AttachOptions {
        hooks: &HOOKS,
        reports: 100,
        invalid: true,
        ..AttachOptions::new(&pinned, CPUS)
    };
    let mut events = Events::attach(&wanted).unwrap();
    for (hook, state) in events.states() {
        println!("{}: {state}", hook.name);
    }
    let mut reports = events.take_invalid().unwrap().unwrap();
    let connection = Tcp(2000);
    scene.open(connection);
    for packet in [
        connection.client(ACK | PSH, FAR, 0, 10),
        Tcp(2001).client(ACK, 0, 0, 0),
        udp(2002, 8).spoiled(6),
        icmp(CLIENT, SERVER, 30, &[0; 4]),
    ] {
        scene.send(&packet);
    }
    wait_for("the counters", || scene.counter("invalid") + scene.counter("icmp_error") >= 4);
    let mut texts = BTreeMap::new();
    for count in reports.counts().unwrap() {
        let text = match &count.text {
            Text::Known(text) => text.to_string(),
            other => format!("{other:?}"),
        };
        texts.insert((count.protocol, text), count.calls);
    }
    while let Some(report) = reports.take_next() {
        println!("{report:?}");
    }
    println!("{texts:?} {:?}", reports.unreported());
    assert_eq!(texts.values().sum::<u64>(), 4, "{texts:?}");
}

/// Packets of one kind, and the expected reports.
#[derive(Clone)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// A connection that is opened before.
    pub(crate) connection: Option<Tcp>,
    pub(crate) packets: Vec<Packet>,
    /// The reason of each packet that is INVALID; empty where all of them are accepted.
    pub(crate) reasons: Vec<&'static str>,
    /// INVALID packets without a text.
    pub(crate) unexplained: u64,
    /// Whether they are counted in `icmp_error` instead of `invalid`.
    is_icmp_error: bool,
}

impl Kind {
    fn new(name: &'static str, packets: Vec<Packet>, reasons: &[&'static str]) -> Self {
        let reasons = reasons.to_vec();
        Self { name, connection: None, packets, reasons, unexplained: 0, is_icmp_error: false }
    }

    /// In an open connection.
    fn within(
        name: &'static str,
        port: u16,
        packets: impl FnOnce(Tcp) -> Vec<Packet>,
        reasons: &[&'static str],
    ) -> Self {
        let connection = Tcp(port);
        Self { connection: Some(connection), ..Self::new(name, packets(connection), reasons) }
    }

    fn icmp(name: &'static str, packet: Packet, reasons: &[&'static str]) -> Self {
        Self { is_icmp_error: true, ..Self::new(name, vec![packet], reasons) }
    }

    /// Without a text.
    fn silent(self) -> Self {
        Self { unexplained: self.packets.len() as u64, ..self }
    }

    pub(crate) fn refused(&self) -> u64 {
        self.reasons.len() as u64 + self.unexplained
    }
}

/// The kinds of TCP within a connection. Kernels before 6.1 refuse what is below the window.
pub(crate) fn within_connections(is_old: bool) -> Vec<Kind> {
    let below = |reason: &'static str| if is_old { vec![reason] } else { Vec::new() };
    vec![
        Kind::within(
            "data over the window",
            2000,
            |tcp| vec![tcp.client(ACK | PSH, FAR, 0, 10)],
            &["tcp_window_seq_high"],
        ),
        Kind::within(
            "an ACK of data that were not sent",
            2001,
            |tcp| vec![tcp.client(ACK, 0, FAR, 0)],
            &["tcp_window_ack_high"],
        ),
        Kind::within(
            "old data",
            2002,
            |tcp| vec![tcp.client(ACK | PSH, FAR.wrapping_neg(), 0, 10)],
            &below("tcp_window_seq_low"),
        ),
        Kind::within(
            "an old ACK",
            2003,
            |tcp| vec![tcp.client(ACK, 0, FAR.wrapping_neg(), 0)],
            &below("tcp_window_ack_low"),
        ),
        Kind::within(
            "a bad checksum",
            2004,
            |tcp| vec![tcp.client(ACK | PSH, 0, 0, 10).spoiled(25)],
            &["checksum"],
        ),
        Kind::within("a SYN", 2005, |tcp| vec![tcp.syn()], &[]),
        Kind::within(
            "a SYN/ACK of the client",
            2006,
            |tcp| vec![tcp.client(SYN | ACK, 0, 0, 0)],
            &["tcp_state"],
        ),
        Kind::within(
            "a RST below the window",
            2007,
            |tcp| vec![tcp.client(RST, FAR.wrapping_neg(), 0, 0)],
            &["tcp_rst"],
        ),
        Kind::within(
            "a RST over the window",
            2008,
            |tcp| vec![tcp.client(RST, FAR, 0, 0)],
            &["tcp_window_seq_high"],
        ),
        Kind::within(
            "FINs of both sides over the window",
            2009,
            |tcp| vec![tcp.client(FIN | ACK, FAR, 0, 0), tcp.server(FIN | ACK, FAR, 0, 0)],
            &["tcp_window_seq_high"; 2],
        ),
        Kind::within(
            "SYN and FIN",
            2010,
            |tcp| vec![tcp.client(SYN | FIN, 0, 0, 0)],
            &["tcp_flags"],
        ),
        Kind::within("no flags", 2011, |tcp| vec![tcp.client(0, 0, 0, 0)], &["tcp_flags"]),
    ]
}

/// First packets, and such as have no connection at all.
pub(crate) fn first_packets() -> Vec<Kind> {
    let first = |name, port, flags| {
        Kind::new(name, vec![Tcp(port).client(flags, 0, 0, 0)], &["no_connection"])
    };
    let long_header = {
        let mut packet = Tcp(3004).syn();
        packet.payload[12] = 15 << 4;
        packet.payload[16..18].fill(0);
        packet.with_checksum(16)
    };
    vec![
        first("a stray ACK", 3000, ACK),
        first("a SYN/ACK first", 3001, SYN | ACK),
        first("a RST first", 3002, RST),
        first("a FIN first", 3003, FIN | ACK),
        Kind::new("a header that is longer than the packet", vec![long_header], &["truncated"]),
        Kind::new(
            "a FIN before the answer",
            vec![Tcp(3005).syn(), Tcp(3005).client(FIN | ACK, 0, 0, 0)],
            &["tcp_state"],
        ),
        Kind::new("a SYN with a bad checksum", vec![Tcp(3006).syn().spoiled(5)], &["checksum"]),
        Kind::new("10 bytes of TCP", vec![Tcp(3007).syn().cut(10)], &[]).silent(),
        Kind::new("2 bytes of TCP", vec![Tcp(3008).syn().cut(2)], &[]).silent(),
    ]
}

pub(crate) fn other_protocols() -> Vec<Kind> {
    let ping = icmp(CLIENT, SERVER, 8, &[0, 9, 0, 1]);
    vec![
        Kind::new("6 bytes of UDP", vec![udp(4000, 8).cut(6)], &["truncated"]),
        Kind::new("UDP with a wrong length", vec![udp(4001, 100)], &["truncated"]),
        Kind::new("UDP with a bad checksum", vec![udp(4002, 8).spoiled(6)], &["checksum"]),
        Kind::new("SCTP with a bad checksum", vec![sctp(4003)], &["checksum"]),
        Kind::new("6 bytes of SCTP", vec![sctp(4004).cut(6)], &["truncated"]),
        Kind::new("an answer without a request", vec![icmp(CLIENT, SERVER, 0, &[0, 7, 0, 1])], &[])
            .silent(),
        Kind::icmp("ICMP with a bad checksum", ping.clone().spoiled(6), &["checksum"]),
        Kind::icmp("ICMP of type 30", icmp(CLIENT, SERVER, 30, &[0; 4]), &["icmp_type"]),
        Kind::icmp("4 bytes of ICMP", ping.cut(4), &["truncated"]),
        Kind::icmp(
            "an ICMP error for another host",
            unreachable(NOBODY, 4005),
            &["icmp_addresses"],
        ),
        Kind::icmp("an ICMP error of an unknown flow", unreachable(CLIENT, 4006), &[]).silent(),
    ]
}

/// Each kind alone: the counters of the kernel, and the reports of `ctpulse drops --invalid`.
#[test]
fn each_kind_of_invalid_packet_has_its_reason() {
    in_guest();
    let release = release::read("/proc/sys/kernel/osrelease".as_ref()).unwrap();
    let kinds = [within_connections(release < (6, 1)), first_packets(), other_protocols()].concat();
    let scene = Scene::new();
    // The flow that the first error is about.
    let before = scene.forwarded();
    scene.send(&udp(4005, 8));
    wait_for("the flow", || scene.forwarded() > before);
    let drops = Drops::json_of(&[&scene.router], &["--invalid"]);
    let human = Drops::new(&[&scene.router], &["--invalid"]);
    let top = Drops::new(&[&scene.router], &["--invalid", "--top", "reason,protocol"]);
    let mut expected = Vec::new();
    let (mut invalid, mut icmp_error, mut unexplained) = (0, 0, 0);
    for kind in &kinds {
        kind.connection.iter().for_each(|connection| scene.open(*connection));
        let counters = || ["invalid", "icmp_error"].map(|name| scene.counter(name));
        let (before, forwarded) = (counters(), scene.forwarded());
        kind.packets.iter().for_each(|packet| scene.send(packet));
        let refused = kind.refused();
        let sum = |[a, b]: [u64; 2]| a + b;
        if refused == 0 {
            let sent = kind.packets.len() as u64;
            wait_for(kind.name, || scene.forwarded() >= forwarded + sent);
        } else {
            wait_for(kind.name, || sum(counters()) >= sum(before) + refused);
        }
        let [of_invalid, of_error] = counters();
        let counted = [of_invalid - before[0], of_error - before[1]];
        let wanted = if kind.is_icmp_error { [0, refused] } else { [refused, 0] };
        assert_eq!(counted, wanted, "{}", kind.name);
        expected.extend(kind.reasons.iter().map(|reason| (kind.name, *reason)));
        invalid += counted[0];
        icmp_error += counted[1];
        unexplained += kind.unexplained;
    }
    let (records, printed) = drops.records();
    println!("{printed}");
    let (lines, same) = human.end();
    println!("{}\n{same}", lines.join("\n"));
    assert_eq!(lines.len(), 1 + records.len(), "a header and a line for each");
    println!("{}", top.end().0.join("\n"));
    let text = |record: &Value, field: &str| record[field].as_str().unwrap_or("").to_owned();
    let reasons: Vec<_> = records.iter().map(|record| text(record, "reason")).collect();
    for (record, (name, reason)) in records.iter().zip(&expected) {
        println!("{name}: {record}");
        assert_eq!(text(record, "reason"), *reason, "{name}: {record}");
    }
    assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
    assert_eq!(records.len() as u64, invalid + icmp_error - unexplained);
    let of_errors = kinds.iter().filter(|kind| kind.is_icmp_error);
    let unexplained_errors: u64 = of_errors.map(|kind| kind.unexplained).sum();
    for (counter, counted, rest) in [
        ("invalid", invalid, unexplained - unexplained_errors),
        ("icmp_error", icmp_error, unexplained_errors),
    ] {
        let line =
            format!("{counter} {counted}: {} with a reason, unexplained {rest}\n", counted - rest);
        assert!(printed.contains(&line), "{line}{printed}");
    }
}
