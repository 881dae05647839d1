//! NAT that finds no free port, apart from the race of two first packets: the kernel raises the same
//! counters for both.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};

use conntrack_ebpf::Event;
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
use serde_json::Value;

use crate::clash::{HIDDEN, SYN, hidden_sockets_by, race};
use crate::drops::{Drops, UDP_TIMEOUT, of_cause};
use crate::events::{all, settled, watch};
use crate::in_guest;
use crate::probes::{attach, attach_all, hook, sum};
use crate::support::{Namespace, integer, statistics};

/// A range of ports, and how many flows are tried.
const PORTS: std::ops::RangeInclusive<u64> = 20_000..=20_099;
const FLOWS: u16 = 250;
const REFUSED: u64 = FLOWS as u64 - 100;

/// A namespace with one address of each family, whose flows to port 9 leave by this rule.
pub(crate) fn behind(rule: &str) -> Namespace {
    let namespace = Namespace::new();
    namespace.exec("ip", &["link", "add", "sink", "type", "dummy"]);
    namespace.exec("ip", &["address", "add", "10.0.0.1/8", "dev", "sink"]);
    namespace.exec("ip", &["address", "add", "2001:db8::1/64", "dev", "sink", "nodad"]);
    namespace.exec("ip", &["link", "set", "sink", "up"]);
    // No port is free again before the test is over.
    namespace.inside(|| std::fs::write(UDP_TIMEOUT, "600").unwrap());
    let rule = format!("add rule inet t hide {rule}");
    for line in ["add chain inet t hide { type nat hook postrouting priority srcnat; }", &rule] {
        namespace.exec("nft", &line.split(' ').collect::<Vec<_>>());
    }
    namespace
}

/// Sends the first packets of UDP flows to one destination; the source ports of those that were
/// refused, and the sockets.
fn udp_flows(namespace: &Namespace, to: &str) -> (BTreeSet<u64>, Vec<UdpSocket>) {
    let to: SocketAddr = to.parse().unwrap();
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let mut refused = BTreeSet::new();
    let flow = |_| {
        let socket = UdpSocket::bind((any, 0)).unwrap();
        if socket.send_to(b"x", to).is_err() {
            refused.insert(u64::from(socket.local_addr().unwrap().port()));
        }
        socket
    };
    let sockets = namespace.inside(|| (0..FLOWS).map(flow).collect());
    (refused, sockets)
}

/// Sends first packets of TCP connections to one destination, each of them once; the source ports of
/// those that were refused.
fn syns(namespace: &Namespace, to: SocketAddrV4) -> BTreeSet<u64> {
    namespace.inside(|| {
        let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::TCP)).unwrap();
        let is_refused = |port: &u16| {
            let mut syn = SYN;
            syn[..2].copy_from_slice(&port.to_be_bytes());
            sendto(&socket, &syn, SendFlags::empty(), &to).is_err()
        };
        (40_000..40_000 + FLOWS).filter(is_refused).map(u64::from).collect()
    })
}

/// Checks that the rows and `ctpulse drops` have the refused flows as exhausted, and nothing else.
fn assert_exhausted(
    namespace: &Namespace,
    protocol: &str,
    addresses: [&str; 2],
    send: impl FnOnce() -> BTreeSet<u64>,
) {
    let drops = Drops::json(&[namespace]);
    let running = watch(&[namespace]);
    let refused = send();
    assert_eq!(refused.len() as u64, REFUSED);
    let line = settled(&running, "", "drop", REFUSED);
    println!("{line}");
    all(&line, &[("drop", REFUSED), ("insert_failed", REFUSED), ("drop_nat_exhausted", REFUSED)]);
    all(&line, &[("drop_clash", 0), ("drop_other", 0), ("drop_dying", 0)]);
    let (records, printed) = drops.records();
    assert!(printed.contains("150 no NAT port (150 shown)"), "{printed}");
    assert_eq!(records.len() as u64, REFUSED, "{printed}");
    let [source, destination] = addresses.map(Value::from);
    let whose = |record: &&Value| {
        assert_eq!((&record["protocol"], &record["source"]), (&protocol.into(), &source));
        assert_eq!(
            (&record["destination"], &record["nat_destination"]),
            (&destination, &destination)
        );
        assert_eq!(
            (&record["destination_port"], &record["nat_destination_port"]),
            (&9.into(), &9.into())
        );
        assert_eq!(record["nat_source"], source, "the address of the translation: {record}");
        assert!(PORTS.contains(&record["nat_source_port"].as_u64().unwrap()), "{record}");
        record["source_port"].as_u64().unwrap()
    };
    let victims: BTreeSet<u64> = of_cause(&records, "nat_exhausted").iter().map(whose).collect();
    assert_eq!(victims, refused, "{printed}");
}

#[test]
fn exhausted_ports_are_counted_with_their_victims() {
    in_guest();
    let mut sockets = Vec::new();
    for addresses in [["10.0.0.1", "10.1.0.1"], ["2001:db8::1", "2001:db8::9"]] {
        let udp = behind("udp dport 9 masquerade to :20000-20099");
        let to = SocketAddr::new(addresses[1].parse().unwrap(), 9).to_string();
        assert_exhausted(&udp, "udp", addresses, || {
            let (refused, more) = udp_flows(&udp, &to);
            sockets.extend(more);
            refused
        });
    }
    let tcp = behind("tcp dport 9 snat ip to 10.0.0.1:20000-20099");
    assert_exhausted(&tcp, "tcp", ["10.0.0.1", "10.1.0.1"], || {
        syns(&tcp, SocketAddrV4::new([10, 1, 0, 1].into(), 9))
    });
}

/// Packets of a full range beside packets that race for one port, on both CPUs: the senders know which
/// of their packets were refused.
#[test]
fn exhausted_ports_are_no_race_beside_races() {
    const RACES: u64 = 20;
    const ROUNDS: u8 = 150;
    in_guest();
    let (namespace, _) = hidden_sockets_by(
        "udp dport 9 snat ip to 10.0.0.1:20000-20099; \
         udp dport 10 snat ip to 10.0.0.1:30000-30002",
    );
    namespace.inside(|| std::fs::write(UDP_TIMEOUT, "600").unwrap());
    let (refused, held) = udp_flows(&namespace, "10.2.0.1:9");
    assert_eq!(refused.len() as u64, REFUSED);
    // Two ports stay for those that race: one is free for both, and some searches find the held one
    // taken first.
    let holder = namespace.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    for number in 1..=ROUNDS {
        holder.send_to(b"x", (Ipv4Addr::new(10, 1, 0, number), 10)).unwrap();
    }
    let events = attach_all(&[&namespace]);
    let running = watch(&[&namespace]);
    let before = integer(&statistics(&namespace.name), "drop").unwrap();
    let (lost, exhausted, free) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let add = |counter: &AtomicU64, is_true: bool| {
        counter.fetch_add(is_true.into(), Ordering::Relaxed);
    };
    let attempts = race(
        &namespace,
        |cpu, to| {
            // NAT keeps the port that it has given to a source.
            let socket = UdpSocket::bind((HIDDEN[cpu], 0)).unwrap();
            add(&lost, socket.send_to(b"x", (to, 10)).is_err());
            add(&exhausted, socket.send_to(b"x", "10.2.0.1:9").is_err());
            // One that finds a port, unless both take the same one at once.
            add(&free, socket.send_to(b"x", (to, 9)).is_ok());
        },
        || lost.load(Ordering::Relaxed) >= RACES,
    );
    drop(held);
    let [lost, exhausted, free] = [lost, exhausted, free].map(AtomicU64::into_inner);
    println!("{lost} lost races, {exhausted} exhausted of {attempts} rounds");
    assert!(lost >= RACES, "{lost} of {attempts}");
    assert_eq!(exhausted, 2 * u64::from(attempts));
    let refused_free = 2 * u64::from(attempts) - free;
    let line = settled(&running, "", "drop", before + lost + exhausted);
    let counted = [Event::NatExhausted, Event::ClashDropped].map(|event| sum(&events, event));
    assert_eq!(counted, [exhausted, lost + refused_free], "{line}");
    let own = |name| integer(&line, name).unwrap();
    all(&line, &[("drop_nat_exhausted", exhausted), ("drop_clash", lost + refused_free)]);
    all(&line, &[("drop_other", 0), ("drop_dying", 0)]);
    assert_eq!(own("drop"), before + exhausted + lost + refused_free, "{line}");
    assert_eq!(own("insert_failed"), own("drop"), "{line}");
}

/// Without the answers that NAT gets, the packets are counted as lost races, and the cause is unknown.
#[test]
fn without_the_answers_of_nat_the_cause_is_not_counted() {
    in_guest();
    let namespace = behind("udp dport 9 masquerade to :20000-20099");
    let events = attach(&[&namespace], &[hook("clash")], false);
    let (refused, _sockets) = udp_flows(&namespace, "10.1.0.1:9");
    assert_eq!(refused.len() as u64, REFUSED);
    assert_eq!(sum(&events, Event::ClashDropped), REFUSED);
    assert!(events.counts(Event::ClashDropped) && !events.counts(Event::NatExhausted));
}

/// They are all that is found here: no packet is of a connection that exists.
#[test]
fn ports_that_nat_finds_taken_are_counted_as_found_on_request() {
    in_guest();
    for per_packet in [false, true] {
        let namespace = behind("udp dport 9 masquerade to :20000-20099");
        let hooks = ["nat_ports", "clash", "found"].map(hook);
        let events = attach(&[&namespace], &hooks, per_packet);
        let (refused, _sockets) = udp_flows(&namespace, "10.1.0.1:9");
        assert_eq!(refused.len() as u64, sum(&events, Event::NatExhausted));
        let found = integer(&statistics(&namespace.name), "found").unwrap();
        assert!(found >= 100 * REFUSED, "{found}");
        assert_eq!(sum(&events, Event::Found), if per_packet { found } else { 0 });
        assert_eq!(events.host_wide().unplaced, 0);
    }
}
