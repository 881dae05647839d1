//! Every kind of traffic through a router, exactly: UDP and TCP, IPv4 and IPv6, address
//! translation, refusals; and every way in which entries go.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use conntrack_ebpf::Event;
use ctpulse::source::ebpf::Events;

use crate::probes::{Setting, attach_all, count, sum};
use crate::support::{Namespace, integer, statistics};
use crate::{in_guest, wait_for};

const FLOWS: u64 = 12;

/// A client, a router and a server, each in its namespace and each tracking connections.
struct Network {
    client: Namespace,
    router: Namespace,
    server: Namespace,
}

impl Network {
    fn new() -> Self {
        let network =
            Self { client: Namespace::new(), router: Namespace::new(), server: Namespace::new() };
        let Self { client, router, server } = &network;
        link(client, router, 1);
        link(server, router, 2);
        router.inside(|| {
            for forwarding in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                std::fs::write(format!("/proc/sys/net/{forwarding}"), "1").unwrap();
            }
        });
        let nft = |line: &str| router.exec("nft", &line.split(' ').collect::<Vec<_>>());
        nft("add chain inet t translate { type nat hook prerouting priority dstnat; }");
        nft("add rule inet t translate meta nfproto ipv4 udp dport 1001 dnat ip to 10.0.2.2:7");
        nft("add rule inet t translate meta nfproto ipv6 udp dport 1001 dnat ip6 to [fd00:2::2]:7");
        nft("add chain inet t hide { type nat hook postrouting priority srcnat; }");
        nft("add rule inet t hide udp dport 7 masquerade");
        nft("add rule inet t hide tcp dport 7 masquerade random");
        nft("add chain inet t refuse { type filter hook forward priority 0; }");
        nft("add rule inet t refuse tcp dport 666 reject with tcp reset");
        nft("add rule inet t refuse udp dport 666 drop");
        network
    }
}

/// A pair of links between a host (address 2) and the router (address 1) in network `number`.
pub(crate) fn link(host: &Namespace, router: &Namespace, number: u8) {
    let other = format!("v{number}");
    let peer = ["peer", "name", &other, "netns", &router.name];
    host.exec("ip", &[&["link", "add", "up0", "type", "veth"][..], &peer].concat());
    for (namespace, device, end) in [(host, "up0", 2), (router, &other[..], 1)] {
        let addresses = [format!("10.0.{number}.{end}/24"), format!("fd00:{number}::{end}/64")];
        namespace.exec("ip", &["address", "add", &addresses[0], "dev", device]);
        namespace.exec("ip", &["address", "add", &addresses[1], "dev", device, "nodad"]);
        namespace.exec("ip", &["link", "set", device, "up"]);
    }
    for (option, gateway) in
        [("-4", format!("10.0.{number}.1")), ("-6", format!("fd00:{number}::1"))]
    {
        host.exec("ip", &[option, "route", "add", "default", "via", &gateway]);
    }
}

fn udp(to: SocketAddr) -> Vec<UdpSocket> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let one = |_| {
        let socket = UdpSocket::bind(any).unwrap();
        socket.send_to(b"x", to).unwrap();
        socket
    };
    (0..FLOWS).map(one).collect()
}

/// At port 7 of the server, IPv4 first.
struct Servers {
    udp: [UdpSocket; 2],
    tcp: [TcpListener; 2],
}

impl Servers {
    fn new(server: &Namespace) -> Self {
        let at = ["10.0.2.2:7", "[fd00:2::2]:7"];
        server.inside(|| Self {
            udp: at.map(|at| UdpSocket::bind(at).unwrap()),
            tcp: at.map(|at| TcpListener::bind(at).unwrap()),
        })
    }

    /// Answers as many datagrams as flows.
    fn answer(&self, address: IpAddr) {
        let socket = &self.udp[usize::from(address.is_ipv6())];
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for _ in 0..FLOWS {
            let (_, from) = socket.recv_from(&mut [0; 16]).unwrap();
            socket.send_to(b"y", from).unwrap();
        }
    }

    fn connect(&self, client: &Namespace, to: SocketAddr) -> Vec<(TcpStream, TcpStream)> {
        let listener = &self.tcp[usize::from(to.is_ipv6())];
        let connect = |_| {
            let one = client.inside(|| TcpStream::connect(to).unwrap());
            (one, listener.accept().unwrap().0)
        };
        (0..FLOWS).map(connect).collect()
    }
}

/// The events in the router since the last read.
struct Since<'a> {
    events: &'a Events,
    router: &'a Namespace,
    before: [u64; Event::ALL.len()],
    entries: u64,
}

impl<'a> Since<'a> {
    fn new(events: &'a Events, router: &'a Namespace) -> Self {
        let entries = entries(router);
        Self { events, router, before: Event::ALL.map(|event| sum(events, event)), entries }
    }

    /// Compares with what must have happened, and holds the identities: what was allocated and
    /// not freed is there, what was inserted and not taken off is in the table.
    fn expect(&mut self, what: &str, expected: &[(Event, u64)]) {
        let now = Event::ALL.map(|event| sum(self.events, event));
        let grown = |event: Event| now[event as usize] - self.before[event as usize];
        for (event, number) in expected {
            assert_eq!(grown(*event), *number, "{what}: {event:?}");
        }
        let entries = entries(self.router);
        let change = entries as i64 - self.entries as i64;
        let difference = |more, less| grown(more) as i64 - grown(less) as i64;
        assert_eq!(difference(Event::Alloc, Event::Free), change, "{what}: allocations - frees");
        assert_eq!(difference(Event::Insert, Event::DeleteList), change, "{what}: in the table");
        (self.before, self.entries) = (now, entries);
    }
}

fn entries(namespace: &Namespace) -> u64 {
    integer(&statistics(&namespace.name), "entries").unwrap()
}

const BEGUN: [(Event, u64); 5] = [
    (Event::New, FLOWS),
    (Event::Alloc, FLOWS),
    (Event::Insert, FLOWS),
    (Event::Delete, 0),
    (Event::ClashResolved, 0),
];

#[test]
fn every_kind_of_connection_is_counted_once() {
    in_guest();
    let network = Network::new();
    let Network { client, router, server } = &network;
    let servers = Servers::new(server);
    let events = attach_all(&[router, client, server]);
    let mut since = Since::new(&events, router);
    let (mut sockets, mut streams) = (Vec::new(), Vec::new());
    let addresses = ["10.0.2.2", "fd00:2::2"].map(|address| address.parse::<IpAddr>().unwrap());
    let gateways = ["10.0.1.1", "fd00:1::1"].map(|address| address.parse::<IpAddr>().unwrap());
    for (server, gateway) in addresses.into_iter().zip(gateways) {
        // Source translation; the answers belong to what is there.
        sockets.push(client.inside(|| udp((server, 7).into())));
        servers.answer(server);
        since.expect("UDP", &BEGUN);
        // Both translations: the client knows the router only.
        sockets.push(client.inside(|| udp((gateway, 1001).into())));
        servers.answer(server);
        since.expect("UDP to the router", &BEGUN);
        streams.push(servers.connect(client, (server, 7).into()));
        since.expect("TCP", &BEGUN);
    }
    for (mut one, other) in streams.pop().unwrap() {
        drop(other);
        assert_eq!(one.read(&mut [0]).unwrap(), 0);
    }
    since.expect("TCP ended", &[(Event::Insert, 0), (Event::Delete, 0)]);

    // Refused: begun and destroyed, never in the table.
    client.inside(|| {
        for _ in 0..FLOWS {
            let refused = TcpStream::connect("10.0.2.2:666").unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        }
    });
    let refused =
        [(Event::New, FLOWS), (Event::Insert, 0), (Event::Delete, FLOWS), (Event::DeleteList, 0)];
    since.expect("TCP refused by a rule", &refused);
    sockets.push(client.inside(|| udp((addresses[0], 666).into())));
    since.expect("UDP dropped by a rule", &refused);
    // In the table until the server's reset takes it off.
    client.inside(|| {
        for _ in 0..FLOWS {
            TcpStream::connect("10.0.2.2:9").unwrap_err();
        }
    });
    let reset = [(Event::New, FLOWS), (Event::Insert, FLOWS), (Event::DeleteList, FLOWS)];
    since.expect("TCP to a closed port", &reset);

    // The client and the server tracked the same connections, each in its own table; nothing
    // was anywhere else.
    let begun = 6 * FLOWS;
    for (slot, new) in [(1, begun + 3 * FLOWS), (2, begun + 3 * FLOWS), (3, begun + FLOWS)] {
        assert_eq!(count(&events, slot, Event::New), new, "slot {slot}");
    }
    assert_eq!(count(&events, 0, Event::New), 0);
}

#[test]
fn entries_are_counted_for_each_way_of_removal() {
    in_guest();
    let namespace = Namespace::new();
    let events = attach_all(&[&namespace]);
    let mut since = Since::new(&events, &namespace);
    let gone =
        |number| [(Event::Delete, number), (Event::DeleteList, number), (Event::Free, number)];

    let (_, sockets) = namespace.udp_flows(40);
    since.expect("begun", &[(Event::Insert, 40)]);
    for socket in &sockets[1..8] {
        let port = socket.local_addr().unwrap().port().to_string();
        namespace.exec("conntrack", &["-D", "-p", "udp", "--sport", &port]);
    }
    since.expect("conntrack -D", &gone(7));
    namespace.exec("conntrack", &["-F"]);
    since.expect("conntrack -F", &gone(33));

    namespace.inside(|| {
        let timeout = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout";
        std::fs::write(timeout, "1").unwrap();
    });
    let (_, _sockets) = namespace.udp_flows(25);
    since.expect("begun again", &[(Event::Insert, 25)]);
    wait_for("25 entries expire", || {
        // Listing takes away what has expired; else the kernel looks for it now and then.
        namespace.exec("conntrack", &["-L"]);
        entries(&namespace) == 0
    });
    since.expect("expired", &gone(25));
}

/// Few buckets, so that everything in the table can be found when room is made.
#[test]
fn victims_of_a_full_table_are_those_that_procfs_counts() {
    in_guest();
    let namespace = Namespace::new();
    let events = attach_all(&[&namespace]);
    let mut since = Since::new(&events, &namespace);
    let buckets = Setting::new("nf_conntrack_buckets", 16);
    let max = Setting::max(50);
    let (refused, _sockets) = namespace.udp_flows(300);
    drop((max, buckets));
    let refused = refused as u64;
    let line = statistics(&namespace.name);
    let victims = integer(&line, "early_drop").unwrap();
    assert!(victims > 0, "{line}");
    assert_eq!(integer(&line, "drop"), Some(refused), "{line}");
    let expected = [
        (Event::DeleteList, victims),
        (Event::Insert, 300 - refused),
        (Event::TableFull, refused),
        (Event::New, 300 - refused),
    ];
    since.expect("full", &expected);
    let calls = sum(&events, Event::EarlyDrop);
    assert!(calls > 0 && calls <= victims, "{calls} evictions of {victims} victims");
}

#[test]
fn the_namespaces_add_up_to_the_host() {
    in_guest();
    let namespaces = [Namespace::new(), Namespace::new(), Namespace::new()];
    let [one, two, other] = &namespaces;
    let events = attach_all(&[one, two]);
    // The same moment, and each CPU serves all of them in turns.
    let _sockets: Vec<_> = std::thread::scope(|scope| {
        let flows = [(one, 70), (two, 110), (other, 40)];
        let threads = flows.map(|(namespace, flows)| {
            scope.spawn(move || [0; 5].map(|_| namespace.udp_flows(flows / 5)))
        });
        threads.map(|thread| thread.join().unwrap()).into()
    });
    let counted = [1, 2, 0].map(|slot| count(&events, slot, Event::Insert));
    assert_eq!(counted, [70, 110, 40]);
}
