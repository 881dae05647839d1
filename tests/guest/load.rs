//! Much at once: counts beside other programs on the same functions, and probes that come and go
//! under load.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use conntrack_ebpf::Event;
use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::events::{settled, watch};
use crate::probes::{CPUS, Setting, attach_all, programs, sum};
use crate::support::{Namespace, Running, ctpulse, integer, output, statistics, text};
use crate::{SOON, Stop, in_guest, wait_for};

const CONNECTIONS: u64 = 200_000;

/// Keeps this thread, and those that it starts, on a CPU.
pub(crate) fn pin(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).unwrap();
}

/// As many connections, half of them begun on each CPU, to where packets are swallowed.
fn begin(namespace: &Namespace, connections: u64) {
    let each = connections as u32 / CPUS as u32;
    namespace.inside(|| {
        std::thread::scope(|scope| {
            for cpu in 0..CPUS {
                scope.spawn(move || {
                    pin(cpu);
                    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                    let first = u32::from(Ipv4Addr::new(10, 64 * (1 + cpu as u8), 0, 0));
                    for number in 0..each {
                        let to = Ipv4Addr::from(first + number);
                        assert_eq!(socket.send_to(b"x", (to, 9)).unwrap(), 1);
                    }
                });
            }
        });
    });
}

/// A device that swallows what is sent to [`begin`]'s addresses, and entries that do not expire
/// meanwhile, however slow the machine is.
fn add_sink(namespace: &Namespace) {
    namespace.inside(|| {
        fs::write("/proc/sys/net/netfilter/nf_conntrack_udp_timeout", "86400").unwrap();
    });
    namespace.exec("ip", &["link", "add", "sink", "type", "dummy"]);
    namespace.exec("ip", &["address", "add", "10.0.0.1/8", "dev", "sink"]);
    namespace.exec("ip", &["link", "set", "sink", "up"]);
}

/// The number of connections is that of `cargo xtask vm --connections`, in rounds that fit into the
/// guest's memory.
#[test]
fn every_connection_is_counted_under_load() {
    in_guest();
    let asked = fs::read_to_string("/etc/ctpulse-connections").unwrap_or_default();
    let all: u64 = asked.trim().parse().unwrap_or(20_000);
    let namespace = Namespace::new();
    add_sink(&namespace);
    let _max = Setting::max(2 * CONNECTIONS as u32);
    let _buckets = Setting::new("nf_conntrack_buckets", 65_536);
    let mut command = ctpulse();
    command.args(["--ebpf", "on", "--internal", "--format", "influx", "--interval", "1s"]);
    command.args(["--sample-interval", "20ms", "--netns", &namespace.name]);
    let running = Running::start(&mut command);
    assert!(running.line(SOON).is_some(), "the agent does not start");
    let start = std::time::Instant::now();
    let mut begun = 0;
    while begun < all {
        let round = CONNECTIONS.min(all - begun);
        begin(&namespace, round);
        namespace.exec("conntrack", &["-F"]);
        begun += round;
        let line = settled(&running, "cpu=all", "delete", begun);
        for event in ["insert", "new", "delete", "delete_list"] {
            assert_eq!(integer(&line, event), Some(begun), "{event} in {line}");
        }
        assert_eq!(integer(&line, "entries"), Some(0), "{line}");
        let seconds = start.elapsed().as_secs_f64();
        println!("{begun} connections counted exactly, {seconds:.0} s");
    }
}

#[test]
fn two_hundred_thousand_connections_are_counted_beside_other_programs() {
    in_guest();
    let namespace = Namespace::new();
    add_sink(&namespace);
    let _max = Setting::max(2 * CONNECTIONS as u32);
    let _buckets = Setting::new("nf_conntrack_buckets", 65_536);
    // The same functions, other programs, another process.
    let other = watch(&[&namespace]);
    let events = attach_all(&[&namespace]);

    begin(&namespace, CONNECTIONS);
    let missed = |name: &[&str]| {
        let programs = programs(&events);
        let program = programs.iter().find(|program| name.contains(&program.name)).unwrap();
        program.skipped.unwrap_or(0) + program.missed.unwrap_or(0)
    };
    // As a kprobe and as a trampoline.
    let all_counted = |event, program: &str, traced: &str| {
        let (counted, missed) = (sum(&events, event), missed(&[program, traced]));
        println!("{program}: {counted} counted, {missed} missed");
        assert_eq!(counted + missed, CONNECTIONS, "{program}: {counted} and {missed} missed");
    };
    all_counted(Event::Insert, "hash_insert", "hash_insert_fentry");
    all_counted(Event::Alloc, "alloc_return", "alloc_fexit");
    all_counted(Event::New, "init_return", "begun_fexit");
    assert_eq!(integer(&statistics(&namespace.name), "entries"), Some(CONNECTIONS));
    let line = settled(&other, "", "entries", CONNECTIONS);
    assert_eq!(integer(&line, "insert"), Some(sum(&events, Event::Insert)), "{line}");

    namespace.exec("conntrack", &["-F"]);
    all_counted(Event::DeleteList, "delete_from_lists", "delete_from_lists_fentry");
    all_counted(Event::Delete, "destroy", "destroy_fentry");
    all_counted(Event::Free, "free", "free_fentry");
}

/// The kernel's objects for probes.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    programs: usize,
    maps: usize,
    links: usize,
    kprobes: String,
}

impl Held {
    fn now() -> Self {
        let listed = |object| {
            let listed = output(Command::new("bpftool").args([object, "show", "-j"]));
            text(&listed.stdout).matches("\"id\":").count()
        };
        Self {
            programs: listed("prog"),
            maps: listed("map"),
            links: listed("link"),
            kprobes: fs::read_to_string("/sys/kernel/debug/kprobes/list").unwrap(),
        }
    }
}

/// An agent attaches its probes, connections go on, and it ends.
fn come_and_go(namespace: &str, killed: bool, answered: &AtomicU64) {
    let mut command = ctpulse();
    command.args(["--ebpf", "on", "--format", "influx", "--interval", "50ms", "--quiet"]);
    let mut agent = Running::start(command.args(["--netns", namespace]));
    // Five start at once, on an emulated machine whose CPUs are busy.
    assert!(agent.line(6 * SOON).is_some(), "the agent does not start");
    let so_far = answered.load(Ordering::Relaxed);
    wait_for("traffic", || answered.load(Ordering::Relaxed) > so_far);
    agent.signal(if killed { Signal::KILL } else { Signal::TERM });
    assert_eq!(agent.wait().0.success(), !killed);
}

#[test]
fn probes_come_and_go_twenty_times_under_load() {
    in_guest();
    let namespace = Namespace::new();
    let _max = Setting::max(1_000_000);
    namespace.inside(|| {
        for timeout in ["udp_timeout", "udp_timeout_stream"] {
            fs::write(format!("/proc/sys/net/netfilter/nf_conntrack_{timeout}"), "1").unwrap();
        }
    });
    let before = Held::now();
    // One that stays, which the coming and going of others must not disturb.
    let events = attach_all(&[&namespace]);
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (namespace, stop, answered) = (&namespace, &stop, &answered);
        scope.spawn(move || {
            // Every connection must get its answer while probes are attached and detached.
            namespace.inside(|| {
                let server = UdpSocket::bind("127.0.0.1:0").unwrap();
                server.set_read_timeout(Some(SOON)).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    // From an address of its own, so that each is a new one.
                    let number = answered.load(Ordering::Relaxed) as u32;
                    let client =
                        UdpSocket::bind((Ipv4Addr::from(0x7f10_0000 + number), 0)).unwrap();
                    client.set_read_timeout(Some(SOON)).unwrap();
                    client.send_to(b"x", server.local_addr().unwrap()).unwrap();
                    let (_, from) = server.recv_from(&mut [0]).unwrap();
                    server.send_to(b"y", from).unwrap();
                    client.recv_from(&mut [0]).unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                    // Some hundreds a second; a guest that has nothing left would only be slow.
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        });
        let ending = Stop(stop);
        // Five at a time, so that some come while others go; every other one is killed.
        let agents = (0..5).map(|agent| {
            scope.spawn(move || {
                for cycle in 0..4 {
                    let killed = (agent + cycle) % 2 == 0;
                    come_and_go(&namespace.name, killed, answered);
                }
            })
        });
        let agents: Vec<_> = agents.collect();
        let ended = agents.into_iter().map(|agent| agent.join().is_ok());
        let all_ended = ended.fold(true, |all, one| all & one);
        drop(ending);
        assert!(all_ended);
    });
    let answered = answered.load(Ordering::Relaxed);
    println!("{answered} connections answered meanwhile");
    // A preempted probe makes the kernel skip others on its CPU, as it may where softirqs are threads
    // (PREEMPT_RT): none is missing but those that the kernel has counted.
    let programs = programs(&events);
    // As a kprobe and as a trampoline.
    for (event, names) in [
        (Event::Insert, ["hash_insert", "hash_insert_fentry"]),
        (Event::New, ["init_return", "begun_fexit"]),
        (Event::Alloc, ["alloc_return", "alloc_fexit"]),
    ] {
        let program = programs.iter().find(|program| names.contains(&program.name)).unwrap();
        let (counted, most) = (sum(&events, event), program.skipped.unwrap_or(0));
        let possible = answered.saturating_sub(most)..=answered;
        assert!(possible.contains(&counted), "{}: {counted} of {answered}", program.name);
    }
    drop(events);
    // Programs that are no longer attached are freed a little later.
    wait_for("everything is taken away", || Held::now() == before);

    // And the next one counts as if nothing had been.
    let running = watch(&[&namespace]);
    let _sockets = namespace.udp_flows(30);
    let line = settled(&running, "", "insert", 30);
    assert_eq!((integer(&line, "insert"), integer(&line, "new")), (Some(30), Some(30)), "{line}");
}
