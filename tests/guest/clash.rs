//! The race of two first packets of one connection: each begins it, and only one can put it into
//! the table.
//!
//! Two threads, each on its own CPU, send the same connection's first packets at the same time (of
//! UDP through one socket, as resolvers do). Between the look-up and the insertion a long chain of rules makes each
//! packet slow, so that the other one gets into it now and then.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use conntrack_ebpf::Event;
use ctpulse::source::ebpf::Events;
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::events::{settled, watch};
use crate::in_guest;
use crate::probes::{CPUS, attach_all, sum};
use crate::support::{Namespace, integer, statistics};

/// How often the slow chain is gone through, and how long it is: longer than an emulator lets one
/// CPU run while the other one waits.
const PASSES: usize = 200;
const RULES: usize = 500;

/// As many clashes are enough.
const ENOUGH: u64 = 3;

const PATIENCE: Duration = Duration::from_secs(60);

/// A namespace with an interface that swallows packets, and a slow way there.
pub(crate) fn slow_namespace(translation: &str) -> Namespace {
    let namespace = Namespace::new();
    namespace.exec("ip", &["link", "add", "sink", "type", "dummy"]);
    namespace.exec("ip", &["address", "add", "10.0.0.1/8", "dev", "sink"]);
    namespace.exec("ip", &["link", "set", "sink", "up"]);
    let mut rules = String::from("table inet t {\n chain slow {\n");
    rules.push_str(&"  udp dport 65000 counter\n".repeat(RULES));
    // After the translation of addresses, and before the insertion.
    rules.push_str(" }\n chain late {\n  type filter hook postrouting priority 200;\n");
    rules.push_str(&"  jump slow\n".repeat(PASSES));
    writeln!(rules, " }}\n{translation}}}").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rules).unwrap();
    namespace.exec("nft", &["-f", file.path().to_str().unwrap()]);
    namespace
}

/// A slow namespace that hides its addresses behind one, and a socket for each CPU: each with an
/// address of its own and all with the same port, which the translation would like to keep.
pub(crate) fn hidden_sockets() -> (Namespace, [UdpSocket; CPUS]) {
    hidden_sockets_by("snat ip to 10.0.0.1")
}

/// The same with other rules of translation.
pub(crate) fn hidden_sockets_by(rules: &str) -> (Namespace, [UdpSocket; CPUS]) {
    let namespace = slow_namespace(&format!(
        " chain hide {{ type nat hook postrouting priority srcnat; {rules}\n }}\n"
    ));
    let sockets = HIDDEN.map(|address| {
        namespace.exec("ip", &["address", "add", &format!("{address}/8"), "dev", "sink"]);
        namespace.inside(|| UdpSocket::bind((address, 53)).unwrap())
    });
    (namespace, sockets)
}

/// Addresses of `hidden_sockets`.
pub(crate) const HIDDEN: [&str; CPUS] = ["10.0.0.2", "10.0.0.3"];

/// Both threads send to the same new destination, one after another, until `enough`.
pub(crate) fn race(
    namespace: &Namespace,
    send: impl Fn(usize, Ipv4Addr) + Sync,
    enough: impl Fn() -> bool + Sync,
) -> u32 {
    let start = Instant::now();
    let barrier = Barrier::new(CPUS);
    let run = |cpu: usize| {
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        sched_setaffinity(None, &cpus).unwrap();
        for number in 1.. {
            // Both have sent the one before; each sees the same.
            barrier.wait();
            let over = enough() || start.elapsed() > PATIENCE;
            barrier.wait();
            if over {
                return number - 1;
            }
            send(cpu, Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 1, 0, 0)) + number));
        }
        0
    };
    namespace.inside(|| {
        std::thread::scope(|scope| {
            let other = scope.spawn(|| run(1));
            let attempts = run(0);
            other.join().unwrap();
            attempts
        })
    })
}

/// Checks that the kernel and the probes count the same races in the namespace, and returns them.
fn agree(namespace: &Namespace, events: &Events) -> (u64, u64) {
    let line = statistics(&namespace.name);
    let field = |name| integer(&line, name).unwrap();
    let (resolved, dropped) = (sum(events, Event::ClashResolved), sum(events, Event::ClashDropped));
    assert_eq!(resolved, field("clash_resolve"), "{line}");
    assert_eq!((dropped, dropped), (field("insert_failed"), field("drop")), "{line}");
    assert_eq!(events.host_wide().unplaced, 0);
    let there = sum(events, Event::Alloc) - sum(events, Event::Free);
    assert_eq!(there, field("entries"), "{line}");
    (resolved, dropped)
}

#[test]
fn races_that_are_resolved_are_those_that_procfs_counts() {
    in_guest();
    let same = "";
    let masquerade =
        " chain hide { type nat hook postrouting priority srcnat; masquerade random\n }\n";
    let destination = " chain to { type nat hook output priority -100; \
                       udp dport 9 dnat ip to numgen inc mod 2 map { 0 : 10.9.0.2, 1 : 10.9.0.3 }\n }\n";
    for (what, translation) in
        [("none", same), ("source", masquerade), ("destination", destination)]
    {
        let namespace = slow_namespace(translation);
        let events = attach_all(&[&namespace]);
        let socket = namespace.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        let attempts = race(
            &namespace,
            |_, to| assert_eq!(socket.send_to(b"x", (to, 9)).unwrap(), 1),
            || sum(&events, Event::ClashResolved) >= ENOUGH,
        );
        let (resolved, dropped) = agree(&namespace, &events);
        println!("translation {what}: {resolved} resolved, {dropped} dropped of {attempts} races");
        assert!(resolved >= ENOUGH, "{what}: {resolved} of {attempts}");
        assert_eq!(sum(&events, Event::New), u64::from(attempts) + resolved + dropped);
    }
}

/// A TCP header: ports 1000 and 9, SYN.
pub(crate) const SYN: [u8; 20] =
    [3, 232, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, 2, 255, 255, 0, 0, 0, 0];

/// TCP does not let the loser through: its packet is dropped.
#[test]
fn races_that_are_lost_are_drops_with_their_cause() {
    in_guest();
    let namespace = slow_namespace("");
    let events = attach_all(&[&namespace]);
    let running = watch(&[&namespace]);
    // One for each thread: sending through a raw socket takes its lock.
    let sockets = namespace.inside(|| {
        [(); CPUS]
            .map(|()| socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::TCP)).unwrap())
    });
    let attempts = race(
        &namespace,
        // The sender of the loser gets an error.
        |cpu, to| {
            _ = sendto(&sockets[cpu], &SYN, SendFlags::empty(), &SocketAddrV4::new(to, 0));
        },
        || sum(&events, Event::ClashDropped) >= ENOUGH,
    );
    let (resolved, dropped) = agree(&namespace, &events);
    println!("{resolved} resolved, {dropped} dropped of {attempts} races");
    assert!(dropped >= ENOUGH, "{dropped} of {attempts}");
    let line = settled(&running, "", "drop", dropped);
    let field = |name| integer(&line, name).unwrap();
    assert_eq!(field("drop_clash"), dropped, "{line}");
    assert_eq!((field("drop_other"), field("drop_dying")), (0, 0), "{line}");
}

/// Two connections of UDP get the same address and port from the translation, since neither is in
/// the table yet: the answers could not be distinguished, so the loser's packet is dropped.
#[test]
fn a_port_that_two_connections_take_is_a_drop() {
    in_guest();
    let (namespace, sockets) = hidden_sockets();
    let events = attach_all(&[&namespace]);
    let attempts = race(
        &namespace,
        // The loser gets an error.
        |cpu, to| _ = sockets[cpu].send_to(b"x", (to, 9)),
        || sum(&events, Event::ClashDropped) >= ENOUGH,
    );
    let (resolved, dropped) = agree(&namespace, &events);
    println!("{resolved} resolved, {dropped} dropped of {attempts} races");
    assert!(dropped >= ENOUGH, "{dropped} of {attempts}");
    assert_eq!(sum(&events, Event::New), 2 * u64::from(attempts));
}
