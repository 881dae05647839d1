//! The rows `conntrack_invalid` against the kernel's `invalid` and `icmp_error`.

use std::collections::BTreeMap;

use ctpulse::source::release;
use serde_json::Value;

use crate::invalid::{Kind, Scene, first_packets, other_protocols, udp, within_connections};
use crate::support::{Running, ctpulse};
use crate::{SOON, in_guest, wait_for};

/// Packets by protocol and reason.
type Packets = BTreeMap<(String, String), u64>;

/// Sends the packets of a kind, and waits until the router has judged them.
fn send(scene: &Scene, kind: &Kind) {
    kind.connection.iter().for_each(|connection| scene.open(*connection));
    let refused = || scene.counter("invalid") + scene.counter("icmp_error");
    let (before, forwarded) = (refused(), scene.forwarded());
    kind.packets.iter().for_each(|packet| scene.send(packet));
    wait_for(kind.name, || match kind.refused() {
        0 => scene.forwarded() >= forwarded + kind.packets.len() as u64,
        more => refused() >= before + more,
    });
}

fn expected(kinds: &[Kind]) -> Packets {
    let rest = ("all".to_owned(), "unexplained".to_owned());
    let mut packets = Packets::from([(rest.clone(), 0)]);
    for kind in kinds {
        let protocol = match kind.packets[0].protocol.as_raw().get() {
            1 => "icmp",
            6 => "tcp",
            17 => "udp",
            132 => "sctp",
            other => panic!("{other}"),
        };
        for reason in &kind.reasons {
            *packets.entry((protocol.to_owned(), (*reason).to_owned())).or_default() += 1;
        }
        *packets.entry(rest.clone()).or_default() += kind.unexplained;
    }
    packets
}

/// Takes the number of a row, which never falls, for its namespace. Returns false for another row.
fn take(rows: &mut BTreeMap<String, Packets>, line: &str) -> bool {
    let row: Value = serde_json::from_str(line).unwrap();
    if row["name"] != "conntrack_invalid" {
        return false;
    }
    let tag = |name: &str| row["tags"][name].as_str().unwrap().to_owned();
    let packets = row["fields"]["packets"].as_u64().unwrap();
    let of_namespace = rows.entry(tag("netns")).or_default();
    let before = of_namespace.insert((tag("protocol"), tag("reason")), packets);
    assert!(before.is_none_or(|before| before <= packets), "{before:?}: {line}");
    true
}

/// Two namespaces share the probes. Packets that are accepted are in no row.
#[test]
fn rows_by_reason_add_up_to_the_counters_of_the_kernel() {
    in_guest();
    let release = release::read("/proc/sys/kernel/osrelease".as_ref()).unwrap();
    let kinds = [within_connections(release < (6, 1)), first_packets(), other_protocols()].concat();
    let (scene, other) = (Scene::new(), Scene::new());
    // The flow that an error is about.
    let before = scene.forwarded();
    scene.send(&udp(4005, 8));
    wait_for("the flow", || scene.forwarded() > before);
    let counters = || scene.counter("invalid") + scene.counter("icmp_error");
    let before = counters();
    let names = [&scene, &other].map(|scene| scene.router.name.clone());
    let mut command = ctpulse();
    command.args(["--ebpf", "on", "--ebpf-invalid", "--interval", "200ms", "--format", "json"]);
    names.iter().for_each(|name| _ = command.args(["--netns", name]));
    let running = Running::start(&mut command);
    let mut rows = BTreeMap::new();
    let mut next = || {
        while !take(&mut rows, &running.line(SOON).expect("a row")) {}
        rows.clone()
    };
    while next().len() < 2 {}
    let nothing = expected(&[]);
    assert_eq!(next(), BTreeMap::from(names.clone().map(|name| (name, nothing.clone()))));
    let stray = &first_packets()[0];
    let mut strays = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        send(&scene, kind);
        if at % 8 == 0 {
            send(&other, stray);
            strays.push(stray.clone());
        }
    }
    let grown = counters() - before;
    let expected = [expected(&kinds), expected(&strays)];
    println!("{grown} packets");
    assert_eq!(expected[0].values().sum::<u64>(), grown);
    let sums = |rows: &BTreeMap<String, Packets>| {
        names.clone().map(|name| rows[&name].values().sum::<u64>())
    };
    let all = expected.each_ref().map(|of| of.values().sum::<u64>());
    while std::iter::zip(sums(&next()), all).any(|(found, all)| found < all) {}
    // Nothing is added when it is at rest.
    (0..200).for_each(|_| _ = next());
    let rows = next();
    println!("{rows:#?}");
    assert_eq!(rows, std::iter::zip(names, expected).collect());
}
