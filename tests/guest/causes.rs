//! What fills a table and what a full one refuses, told apart: packets, entries of ctnetlink, and what
//! the garbage collector takes.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use conntrack_ebpf::Event;
use ctpulse::source::ebpf::probe_table::{Hook, Variant};
use serde_json::Value;

use crate::drops::{Drops, UDP_TIMEOUT, of_cause};
use crate::events::{all, settled, watch};
use crate::probes::{Setting, attach, attach_all, hook, sum};
use crate::support::{Namespace, integer, number, output, statistics, text};
use crate::{Stop, in_guest, wait_for};

/// Has ctnetlink create entries; how many it could not.
fn create(namespace: &Namespace, entries: u16) -> u64 {
    let create = |port: u16| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace.name, "conntrack", "-I", "-p", "udp"]);
        command.args(["-s", "192.0.2.1", "-d", "192.0.2.9", "--timeout", "60"]);
        command.args(["--sport", &(1000 + port).to_string(), "--dport", "9"]);
        let created = command.output().unwrap();
        let refused = text(&created.stderr).contains("not enough memory");
        assert!(created.status.success() || refused, "{}", text(&created.stderr));
        u64::from(refused)
    };
    (0..entries).map(create).sum()
}

/// ctnetlink's allocations are refused in the same function as those of packets, and drop nothing: the
/// kernel's `drop` does not count them.
#[test]
fn entries_that_ctnetlink_cannot_create_are_no_dropped_packets() {
    in_guest();
    let namespace = Namespace::new();
    let events = attach_all(&[&namespace]);
    let drops = Drops::json(&[&namespace]);
    let running = watch(&[&namespace]);
    let max = Setting::max(50);
    let (first, _sockets) = namespace.udp_flows(200);
    let refused = create(&namespace, 40);
    let (second, _more) = namespace.udp_flows(100);
    drop(max);
    let dropped = (first + second) as u64;
    assert!(first > 0 && second > 0 && refused > 0, "{first}, {refused}, {second}");

    let line = settled(&running, "", "drop", dropped);
    all(&line, &[("drop", dropped), ("drop_table_full", dropped), ("drop_other", 0)]);
    all(&line, &[("create_table_full", refused), ("drop_clash", 0), ("drop_dying", 0)]);
    let failed = events.host_wide();
    assert_eq!((failed.alloc_failed, failed.refused_full), (dropped + refused, dropped + refused));

    let (records, told) = drops.records();
    assert_eq!(of_cause(&records, "table_full").len() as u64, dropped, "{told}");
    let not_created = of_cause(&records, "create_table_full");
    assert_eq!(not_created.len() as u64, refused, "{told}");
    for record in not_created {
        assert_eq!(
            (&record["source"], &record["destination_port"]),
            (&"192.0.2.1".into(), &9.into())
        );
    }
    assert!(!told.contains("without their connection"), "{told}");
}

/// Expired entries are no room that the kernel left unused: it passes over them, too.
#[test]
fn expired_entries_are_not_evictable() {
    in_guest();
    let namespace = Namespace::new();
    let events = attach(&[&namespace], &[hook("table_full")], false);
    // An entry is expired as soon as it is there.
    namespace.inside(|| std::fs::write(UDP_TIMEOUT, "0").unwrap());
    let limit = Setting::max(200);
    let (refused, _sockets) = namespace.udp_flows(600);
    drop(limit);
    assert!(refused > 100, "{refused}");
    assert_eq!(sum(&events, Event::TableFull), refused as u64);
    assert_eq!(sum(&events, Event::TableFullEvictable), 0);
}

/// Destinations of UDP entries that have not expired.
fn alive(namespace: &Namespace) -> BTreeSet<String> {
    let mut list = Command::new("ip");
    list.args(["netns", "exec", &namespace.name, "conntrack", "-L", "-p", "udp"]);
    let text = text(&output(&mut list).stdout);
    let destination = |line: &str| Some(line.split_once("dst=")?.1.split(' ').next()?.to_owned());
    text.lines().filter_map(destination).collect()
}

/// As many connections as `numbers`, each to an address of its own.
fn connect(socket: &UdpSocket, numbers: std::ops::Range<u32>) -> BTreeSet<String> {
    let to = |number| Ipv4Addr::from(0x7f10_0000 + number);
    let sent = numbers.filter(|number| socket.send_to(b"x", (to(*number), 9)).is_ok());
    sent.map(|number| to(number).to_string()).collect()
}

/// In a table that stays full the garbage collector evicts, too, at its next run (after a minute at
/// most, on 5.10 after two): these entries are in no counter of the kernel. Those that have expired
/// are collected and not evicted.
#[test]
fn entries_that_the_garbage_collector_evicts_are_counted() {
    const PATIENCE: Duration = Duration::from_secs(240);
    in_guest();
    let namespace = Namespace::new();
    let drops = Drops::json(&[&namespace]);
    let running = watch(&[&namespace]);
    let timeout =
        |seconds: &str| namespace.inside(|| std::fs::write(UDP_TIMEOUT, seconds).unwrap());
    let socket = namespace.inside(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    timeout("1");
    let expiring = connect(&socket, 0..200);
    assert_eq!(expiring.len(), 200);
    timeout("1000");
    // They expire by time, and whoever asked whether they have would take them away.
    std::thread::sleep(Duration::from_millis(1500));
    let max = Setting::max(1000);
    let mut lasting = connect(&socket, 200..2200);
    let mut next = 2200;
    let start = Instant::now();
    loop {
        let line = running.line(crate::SOON).unwrap();
        if !line.contains("cpu=all") {
            continue;
        }
        if integer(&line, "gc_early_drop").unwrap() > 0 {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{line}");
        // A packet that is refused is what makes the collector evict.
        lasting.extend(connect(&socket, next..next + 4));
        next += 4;
    }
    drop(max);
    // It may be under way.
    let evicted = || integer(&settled(&running, "", "gc_early_drop", 1), "gc_early_drop").unwrap();
    let mut last = evicted();
    wait_for("the end of the collector's run", || {
        let now = evicted();
        std::mem::replace(&mut last, now) == now
    });
    let line = settled(&running, "", "gc_early_drop", last);
    let field = |name| integer(&line, name).unwrap();
    println!("{line}");

    let (records, told) = drops.records();
    let by_gc = of_cause(&records, "gc_early_drop");
    assert_eq!(by_gc.len() as u64, field("gc_early_drop"), "{told}");
    let whose = |record: &&Value| record["destination"].as_str().unwrap().to_owned();
    let by_gc: BTreeSet<String> = by_gc.iter().map(whose).collect();
    assert_eq!(by_gc.len() as u64, field("gc_early_drop"), "{told}");
    assert!(by_gc.is_subset(&lasting), "{told}");
    assert_eq!(of_cause(&records, "evicted").len() as u64, field("early_drop"), "{told}");
    // Nothing but the collector and early_drop has taken what had not expired.
    assert_eq!(field("insert"), (expiring.len() + lasting.len()) as u64, "{line}");
    let gone = lasting.difference(&alive(&namespace)).count() as u64;
    assert_eq!(gone, field("early_drop") + field("gc_early_drop"), "{line}");
    assert_eq!(field("insert") - field("delete_list"), field("entries"), "{line}");
}

/// `ctpulse drops` starts while packets are dropped: each report has its connection from the first on.
#[test]
fn drops_that_are_under_way_at_the_start_have_their_connection() {
    in_guest();
    let namespace = Namespace::new();
    let max = Setting::max(1);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let (records, told) = std::thread::scope(|scope| {
        scope.spawn(|| {
            namespace.inside(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    let to = Ipv4Addr::from(0x7f10_0000 + number as u32 % 0xe_0000);
                    let _ = socket.send_to(b"x", (to, 9));
                }
            });
        });
        let ending = Stop(&stop);
        wait_for("a flood", || sent.load(Ordering::Relaxed) > 1000);
        let drops = Drops::json(&[&namespace]);
        let attached = sent.load(Ordering::Relaxed);
        wait_for("more of it", || sent.load(Ordering::Relaxed) > attached + 500);
        drop(ending);
        drops.records()
    });
    drop(max);
    let full = of_cause(&records, "table_full");
    let unknown = full.iter().filter(|record| record["source"].is_null()).count();
    println!("{unknown} of {} without a connection; {told}", full.len());
    assert!(full.len() > 100, "{told}");
    assert_eq!(unknown, 0, "{told}");
    assert!(!told.contains("no memory"), "{told}");
}

/// A return of which no probe saw the beginning is a call that was missed, on every kernel.
#[test]
fn calls_that_are_missed_are_known() {
    in_guest();
    let namespace = Namespace::new();
    let whole = hook("table_full");
    let only_return =
        Variant { probes: &whole.ways[0].probes[1..], trampolines: &[], needs_types: false };
    let hooks = [Hook { ways: vec![only_return].leak(), ..whole }, hook("insert")];
    let events = attach(&[&namespace], &hooks, false);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let counts = !release.starts_with("5.10.") && !release.starts_with("6.1.");
    assert_eq!(events.counts_missed(), counts);
    assert_eq!(events.missed(), counts.then_some(0));
    assert_eq!(events.describe().contains("probes miss is not known"), !counts);
    let limit = Setting::max(20);
    let (refused, _sockets) = namespace.udp_flows(60);
    drop(limit);
    let calls = refused as u64 + integer(&statistics(&namespace.name), "early_drop").unwrap();
    // A call evicts one entry or more.
    let missed = events.missed().unwrap();
    assert!((refused as u64..=calls).contains(&missed), "{missed} of {refused} to {calls}");
    assert_eq!(sum(&events, Event::TableFull), 0);
}

/// The field is there where the kernel counts, and 0 after traffic of which nothing was missed.
#[test]
fn rows_say_how_many_calls_were_missed() {
    in_guest();
    let namespace = Namespace::new();
    let running = watch(&[&namespace]);
    let _sockets = namespace.udp_flows(100);
    let line = settled(&running, "", "insert", 100);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    // 6.1 counts what trampolines miss, and 6.7 what kprobes miss.
    let by_trampoline = std::env::var("CTPULSE_EBPF_ATTACH").is_ok_and(|how| how == "trampoline");
    let is_old = release.starts_with("5.10.");
    let counts = !is_old && (by_trampoline || !release.starts_with("6.1."));
    assert_eq!(number(&line, "events_missed"), counts.then_some("0i"), "{line}");
    let doctor = output(crate::support::ctpulse().args(["doctor", "--netns", &namespace.name]));
    let doctor = text(&doctor.stdout);
    let missed = doctor.lines().find(|line| line.trim_start().starts_with("missed calls"));
    let missed = missed.unwrap_or_else(|| panic!("{doctor}"));
    // It tries every hook, and some have kprobes only.
    let counts = !is_old && !release.starts_with("6.1.");
    assert_eq!(missed.contains("not known"), !counts, "{missed}");
}
