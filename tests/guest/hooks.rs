//! Each hook, and each way of it, against traffic whose numbers are known.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;

use conntrack_ebpf::Event;
use ctpulse::source::ebpf::probe_table::{AttachWhen, HOOKS, Hook, Probe, Variant};
use ctpulse::source::ebpf::{AttachOptions, Events, HookState};
use ctpulse::source::namespace::Pinned;

use crate::events::settled;
use crate::probes::{CPUS, Setting, attach, hook, sum};
use crate::support::{Namespace, Running, ctpulse, integer, number, output, text};
use crate::{SOON, in_guest};

/// 30 flows, 5 entries of ctnetlink, and 10 connections that are begun and refused.
fn insert_35(namespace: &Namespace) -> Vec<UdpSocket> {
    let drop = "{ type filter hook output priority 10; }";
    namespace.exec("nft", &["add", "chain", "inet", "t", "last", drop]);
    namespace.exec("nft", &["add", "rule", "inet", "t", "last", "udp", "dport", "7", "drop"]);
    let (refused, sockets) = namespace.udp_flows(30);
    assert_eq!(refused, 0);
    for port in 1..=5 {
        let source = format!("192.0.2.{port}");
        let create = ["-I", "-p", "udp", "-s", &source, "-d", "192.0.2.9", "--sport", "9"];
        let more = ["--dport", "9", "--timeout", "60"];
        namespace.exec("conntrack", &[&create[..], &more].concat());
    }
    namespace.inside(|| {
        for _ in 0..10 {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let _ = socket.send_to(b"x", "127.0.0.1:7");
        }
    });
    sockets
}

#[test]
fn every_variant_counts_the_same_insertions() {
    in_guest();
    let insert = hook("insert");
    for (number, way) in insert.ways.iter().enumerate() {
        let namespace = Namespace::new();
        let only = Hook { ways: std::slice::from_ref(way), ..insert };
        let events = attach(&[&namespace], &[only], false);
        let _sockets = insert_35(&namespace);
        assert_eq!(sum(&events, Event::Insert), 35, "way {number}");
    }
}

/// Two programs remember calls of one function, each for itself.
#[test]
fn a_function_may_serve_two_hooks() {
    in_guest();
    let namespace = Namespace::new();
    let insert = hook("insert");
    let by_confirm = Hook { ways: &insert.ways[2..], ..insert };
    let hooks = [by_confirm, hook("clash"), hook("refusals")];
    let pinned = [Pinned::open(format!("/run/netns/{}", namespace.name).as_ref()).unwrap()];
    let wanted = AttachOptions { hooks: &hooks, reports: 1, ..AttachOptions::new(&pinned, CPUS) };
    let events = Events::attach(&wanted).unwrap();
    assert!(events.states().all(|(_, state)| state.is_attached()));
    let _sockets = insert_35(&namespace);
    assert_eq!(sum(&events, Event::Insert), 35);
    let refused = [Event::InsertDying, Event::InsertRefused].map(|event| sum(&events, event));
    assert_eq!(refused, [0, 0]);
}

#[test]
fn the_next_variant_is_used_where_a_function_is_missing() {
    in_guest();
    let namespace = Namespace::new();
    let insert = hook("insert");
    let wrong = Probe {
        program: "hash_insert",
        functions: &["__nf_conntrack_hash_outsert"],
        renamed_too: false,
    };
    let wrong: &'static [Probe] = Box::leak(Box::new([wrong]));
    let mut ways = insert.ways.to_vec();
    ways[0] = Variant { probes: wrong, trampolines: &[], needs_types: false };
    let hooks = [Hook { ways: ways.leak(), ..insert }, hook("new")];
    let events = attach(&[&namespace], &hooks, false);
    let states: Vec<_> = events.states().map(|(_, state)| state.clone()).collect();
    assert!(matches!(states[0], HookState::Attached { way: 1, .. }), "{states:?}");
    let printed = events.describe();
    let way = "insert by __nf_conntrack_insert_prepare and nf_conntrack_hash_check_insert, as \
               __nf_conntrack_hash_outsert cannot be probed";
    assert!(printed.contains(way), "{printed}");
    let _sockets = insert_35(&namespace);
    assert_eq!((sum(&events, Event::Insert), sum(&events, Event::New)), (35, 40));
}

#[test]
fn a_missing_function_costs_only_its_own_counters() {
    in_guest();
    let namespace = Namespace::new();
    let hooks = HOOKS.map(|hook| {
        if hook.name != "new" {
            return hook;
        }
        let probe =
            Probe { program: "init_return", functions: &["begin_conntrack"], renamed_too: true };
        let way =
            Variant { probes: Box::leak(Box::new([probe])), trampolines: &[], needs_types: true };
        Hook { ways: vec![way].leak(), ..hook }
    });
    let events = attach(&[&namespace], &hooks, false);
    let missing = |state: &HookState| matches!(state, HookState::NoFunction(_));
    assert_eq!(events.states().filter(|(_, state)| missing(state)).count(), 1);
    assert!(events.counts(Event::Insert) && !events.counts(Event::New));
    let printed = events.describe();
    assert!(printed.contains("no new: this kernel has no function begin_conntrack"), "{printed}");
    let _sockets = namespace.udp_flows(30);
    let counted = [Event::Insert, Event::New, Event::Alloc].map(|event| sum(&events, event));
    assert_eq!(counted, [30, 0, 30]);
}

#[test]
fn hooks_of_the_internal_row_are_attached_only_with_it() {
    in_guest();
    let events = Events::attach(&AttachOptions::new(&[], CPUS)).unwrap();
    let left_out = events.states().filter(|(_, state)| !state.is_attached());
    let left_out: Vec<_> = left_out.map(|(hook, state)| (hook.name, state.clone())).collect();
    let asked_for = HOOKS.iter().filter(|hook| hook.need != AttachWhen::Always);
    let expected: Vec<_> =
        asked_for.map(|hook| (hook.name, HookState::NotAsked(hook.need))).collect();
    assert_eq!(left_out, expected);
    assert!(left_out.iter().any(|(name, _)| *name == "alloc"));
}

#[test]
fn doctor_tries_every_hook() {
    in_guest();
    let namespace = Namespace::new();
    let printed = output(ctpulse().args(["doctor", "--netns", &namespace.name]));
    let printed = text(&printed.stdout);
    for hook in HOOKS {
        let line =
            printed.lines().find(|line| line.trim_start().starts_with(&format!("{} ", hook.name)));
        assert!(line.is_some_and(|line| line.contains("attached to ")), "{}: {printed}", hook.name);
    }
    for field in ["insert", "new", "delete", "drop_table_full"] {
        let start = format!("    {field:<26} events");
        assert!(printed.lines().any(|line| line == start), "{field}: {printed}");
    }
}

/// A packet over loopback is looked up once on its way out, and comes back with its connection.
#[test]
fn packets_are_looked_up_and_ignored() {
    in_guest();
    let namespace = Namespace::new();
    let hooks = [hook("found"), hook("ignore"), hook("tracker_drop")];
    let without = attach(&[&namespace], &[hooks[0], hook("new")], false);
    assert_eq!(without.states().next().unwrap().1, &HookState::NotAsked(AttachWhen::PerPacket));
    drop(without);
    let (_, sockets) = namespace.udp_flows(1);
    let events = attach(&[&namespace], &hooks, true);
    let receiver = sockets[0].local_addr().unwrap();
    for _ in 0..50 {
        sockets[1].send_to(b"x", receiver).unwrap();
    }
    let counted = [Event::Found, Event::Ignored].map(|event| sum(&events, event));
    assert_eq!(counted, [50, 50]);
    // TCP works and nothing of it is dropped by its tracker.
    namespace.inside(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for _ in 0..20 {
            let to = listener.local_addr().unwrap();
            let (one, other) = (std::net::TcpStream::connect(to).unwrap(), listener.accept());
            drop((one, other));
        }
    });
    assert!(sum(&events, Event::Found) > 50 + 20 * 4);
    assert_eq!(sum(&events, Event::TrackerDropped), 0);
    assert_eq!(events.host_wide().unplaced, 0);
}

/// With few entries in many buckets the kernel drops although it could evict; where all entries
/// are assured it could not.
#[test]
fn drops_beside_evictable_entries_are_counted_separately() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let namespace = Namespace::new();
    let events = attach(&[&namespace], &[hook("table_full")], false);
    assert!(events.counts(Event::TableFullEvictable));
    let limit = Setting::max(100);
    let (refused, _sockets) = namespace.udp_flows(400);
    drop(limit);
    let (full, evictable) =
        (sum(&events, Event::TableFull), sum(&events, Event::TableFullEvictable));
    assert_eq!(full, refused as u64);
    assert!(evictable > 0 && evictable < full, "{evictable} of {full}");

    let other = Namespace::new();
    let events = attach(&[&other], &[hook("table_full")], false);
    let streams = other.inside(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let connect = |_| {
            let one = std::net::TcpStream::connect(to).unwrap();
            (one, listener.accept().unwrap())
        };
        (0..50).map(connect).collect::<Vec<_>>()
    });
    let limit = Setting::max(50);
    let (refused, _sockets) = other.udp_flows(100);
    drop(limit);
    let (full, evictable) =
        (sum(&events, Event::TableFull), sum(&events, Event::TableFullEvictable));
    assert_eq!((refused, full, evictable), (100, 100, 0));
    drop(streams);
}

/// The kernel's types hidden behind an empty file while a test runs.
struct NoTypes;

const TYPES: &str = "/sys/kernel/btf/vmlinux";

impl NoTypes {
    fn new() -> Self {
        output(Command::new("mount").args(["--bind", "/dev/null", TYPES]));
        Self
    }
}

impl Drop for NoTypes {
    fn drop(&mut self) {
        output(Command::new("umount").arg(TYPES));
    }
}

/// Without types events are counted for all namespaces together: right where there is one only.
#[test]
fn without_btf_events_are_counted_only_in_a_single_namespace() {
    in_guest();
    let _no_types = NoTypes::new();
    crate::track();
    let mut command = ctpulse();
    command.args(["--ebpf", "on", "--format", "influx", "--interval", "200ms"]);
    let running = Running::start(&mut command);
    assert!(running.line(SOON).is_some(), "the agent does not start");
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sockets: Vec<_> = (0..25).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for socket in &sockets {
        socket.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
    }
    let line = settled(&running, "", "insert", 25);
    // What would have to look into a connection is not counted, and not shown.
    assert_eq!(integer(&line, "insert"), Some(25), "{line}");
    assert_eq!((integer(&line, "new"), number(&line, "new_rate")), (Some(0), None), "{line}");
    drop(running);
    crate::track_no_more();

    let namespace = Namespace::new();
    let printed = ctpulse().args(["--ebpf", "on", "--count", "1"]).output().unwrap();
    assert_eq!(printed.status.code(), Some(1));
    let printed = text(&printed.stderr);
    let where_it_is = format!("/run/netns/{}", namespace.name);
    assert!(printed.contains("BTF") && printed.contains(&where_it_is), "{printed}");
}

#[test]
fn programs_log_their_errors_at_debug_level() {
    in_guest();
    let namespace = Namespace::new();
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let mut command = ctpulse();
    command.args(["--ebpf", "on", "--format", "influx", "--interval", "200ms", "--debug"]);
    command.args(["--netns", &namespace.name]).stderr(stderr.reopen().unwrap());
    let mut running = Running::start(&mut command);
    assert!(running.line(SOON).is_some(), "the agent does not start");
    let limit = Setting::max(20);
    let (refused, _sockets) = namespace.udp_flows(60);
    drop(limit);
    settled(&running, "", "drop_table_full", refused as u64);
    running.signal(rustix::process::Signal::TERM);
    assert!(running.wait().0.success());
    let printed = fs::read_to_string(stderr.path()).unwrap();
    assert!(printed.contains("debug: an allocation failed: -12"), "{printed}");
}
