//! Probes attached by trampolines: which hooks have them, that they count what kprobes count, also
//! when one interrupts another, and that the module can still be unloaded.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use conntrack_ebpf::Event;
use ctpulse::settings::EbpfAttach;
use ctpulse::source::ebpf::probe_table::HOOKS;
use ctpulse::source::ebpf::{AttachOptions, Attachment, Events, HookState};
use ctpulse::source::namespace::Pinned;

use crate::events::{counts_again, settled};
use crate::load::pin;
use crate::probes::{CPUS, Setting, count, programs, sum};
use crate::support::{Namespace, Running, ctpulse};
use crate::traffic::link;
use crate::{Stop, in_guest, wait_for};

/// Hooks that have kprobes on every kernel: their functions are variadic or copies that a compiler
/// made, or their programs use what those of such a hook remember.
const KPROBES: [&str; 2] = ["invalid", "invalid_new"];

fn attach(namespaces: &[&Namespace], attach: EbpfAttach, reports: u64) -> Events {
    let pinned = namespaces
        .iter()
        .map(|namespace| Pinned::open(format!("/run/netns/{}", namespace.name).as_ref()).unwrap());
    let pinned: Vec<_> = pinned.collect();
    let wanted = AttachOptions {
        per_packet: true,
        internal: true,
        invalid: true,
        reports,
        attach,
        ..AttachOptions::new(&pinned, CPUS)
    };
    Events::attach(&wanted).unwrap()
}

/// Whether the kernel has trampolines in modules, and the programs' helpers (5.17 on). Debian's 6.1 for arm64
/// refuses to attach them (ENOTSUPP): they need direct calls of ftrace, which aarch64 has from 6.4 on.
fn has_trampolines() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let is_old = cfg!(target_arch = "aarch64") && release.starts_with("6.1.");
    !release.starts_with("5.10.") && !is_old
}

#[test]
fn hooks_have_trampolines_where_a_kernel_can_have_them() {
    in_guest();
    let namespace = Namespace::new();
    let events = attach(&[&namespace], EbpfAttach::Trampoline, 1);
    for (hook, state) in events.states() {
        println!("{}: {state}", hook.name);
        let expects_kprobe = KPROBES.contains(&hook.name) || !has_trampolines();
        let is_expected = match state {
            HookState::Attached { by: Attachment::Trampoline, .. } => !expects_kprobe,
            HookState::Attached { by: Attachment::Kprobe(Some(_)), .. } => expects_kprobe,
            _ => false,
        };
        assert!(is_expected, "{}: {state}", hook.name);
    }
    drop(events);
    let events = attach(&[&namespace], EbpfAttach::Kprobe, 1);
    let is_kprobe =
        |state| matches!(state, &HookState::Attached { by: Attachment::Kprobe(None), .. });
    assert!(events.states().all(|(_, state)| is_kprobe(state)));
}

/// New connections, refused ones, a full table, evictions, deletions and packets of known flows.
fn make_traffic(namespace: &Namespace) -> Vec<UdpSocket> {
    let (refused, mut sockets) = namespace.udp_flows(200);
    assert_eq!(refused, 0);
    let limit = Setting::max(100);
    let (_, more) = namespace.udp_flows(150);
    drop(limit);
    sockets.extend(more);
    namespace.inside(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for _ in 0..20 {
            let to = listener.local_addr().unwrap();
            drop((std::net::TcpStream::connect(to).unwrap(), listener.accept()));
        }
    });
    namespace.exec("conntrack", &["-F"]);
    sockets
}

#[test]
fn kprobes_and_trampolines_count_the_same() {
    in_guest();
    for reports in [0, 100] {
        let namespace = Namespace::new();
        let both = [EbpfAttach::Kprobe, EbpfAttach::Trampoline]
            .map(|how| attach(&[&namespace], how, reports));
        let _sockets = make_traffic(&namespace);
        let [kprobes, trampolines] = &both;
        let missed = both.each_ref().map(|events| events.missed().unwrap_or(0));
        for event in Event::ALL {
            // The first says only that there was no answer in the buckets that it looked into.
            if matches!(event, Event::TableFullEvictable) {
                continue;
            }
            // Calls that were missed have no namespace.
            let slot = usize::from(!matches!(event, Event::Unplaced));
            let [one, other] = both.each_ref().map(|events| count(events, slot, event));
            println!("{}: {one} {other}", event.name());
            assert_eq!(one, other, "{}, missed {missed:?}", event.name());
        }
        assert_eq!(missed, [0, 0]);
        assert!(sum(kprobes, Event::TableFull) > 0 && sum(trampolines, Event::Insert) > 200);
    }
}

/// How many connections the processes of one CPU begin in a namespace beside the packets of the other.
const CONNECTIONS: u32 = 6_000;

/// Begins connections from sockets of their own on the first CPU.
fn begin_connections(namespace: &Namespace) {
    namespace.inside(|| {
        pin(0);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = socket.local_addr().unwrap();
        for _ in 0..CONNECTIONS {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            // The kernel may drop one: in a chain that is too long.
            let _ = socket.send_to(b"x", to);
        }
    });
}

/// Packets from the second CPU are received on the first, by interrupts of whatever it does: of the
/// programs, too, which begin and insert connections there, of another namespace and of the same.
#[test]
fn programs_that_interrupt_each_other_count_exactly() {
    in_guest();
    if !has_trampolines() {
        return;
    }
    let (local, receiver, sender) = (Namespace::new(), Namespace::new(), Namespace::new());
    link(&sender, &receiver, 1);
    receiver.exec("sh", &["-c", "echo 1 > /sys/class/net/v1/queues/rx-0/rps_cpus"]);
    receiver.exec(
        "nft",
        &["add", "chain", "inet", "t", "in", "{ type filter hook input priority 0; }"],
    );
    let _max = Setting::max(1_000_000);
    for namespace in [&local, &receiver, &sender] {
        // No entry expires while the numbers are compared.
        let timeout = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout";
        namespace.inside(|| fs::write(timeout, "3600").unwrap());
    }
    let events = attach(&[&local, &receiver, &sender], EbpfAttach::Trampoline, 0);
    let other = attach(&[&local, &receiver, &sender], EbpfAttach::Kprobe, 0);
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let (sender, stop) = (&sender, &stop);
        let sent = scope.spawn(move || {
            sender.inside(|| {
                pin(1);
                let mut sent = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    // From a new port each, to a port that is not in use.
                    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                    sent += u64::from(socket.send_to(b"x", "10.0.1.1:9").is_ok());
                }
                sent
            })
        });
        let stop = Stop(stop);
        begin_connections(&local);
        begin_connections(&receiver);
        drop(stop);
        sent.join().unwrap()
    });
    let of_slots = |event| [1, 2, 3].map(|slot| count(&events, slot, event));
    let mut last = of_slots(Event::New);
    // The receiver works off what was sent.
    wait_for("the end of new connections", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = of_slots(Event::New);
        std::mem::replace(&mut last, now) == now
    });
    for program in programs(&events) {
        println!("{}: {:?} skipped", program.name, program.skipped);
    }
    println!("{sent} sent; {:?} and {:?} missed", events.missed(), other.missed());
    let entries = [&local, &receiver, &sender].map(|namespace| {
        let line = crate::support::statistics(&namespace.name);
        crate::support::integer(&line, "entries").unwrap()
    });
    println!("inserted {:?}, entries {entries:?}", of_slots(Event::Insert));
    assert_eq!(count(&events, 0, Event::Unplaced), 0);
    // Insertions are made with interrupts' work held back, so that none is missed.
    let left = |slot| count(&events, slot, Event::Insert) - count(&events, slot, Event::DeleteList);
    assert_eq!([1, 2, 3].map(left), entries);
    // Allocations are interrupted: a program misses those that interrupt it, and counts that.
    let missed = |program: &str| {
        let programs = programs(&events);
        programs.iter().find(|it| it.name == program).unwrap().skipped.unwrap()
    };
    let calls = |event, program| of_slots(event).iter().sum::<u64>() + missed(program);
    let allocated = calls(Event::Alloc, "alloc_fexit");
    assert_eq!(calls(Event::New, "begun_fexit"), allocated);
    assert_eq!(allocated - calls(Event::Free, "free_fentry"), entries.iter().sum::<u64>());
    // A port that is free again makes no new connection, so not each socket makes one.
    assert!(entries[0] > 0 && entries[1] > entries[0], "{entries:?}");
}

/// Nothing but the probes keeps the module loaded: `auto` gives it free within seconds.
#[test]
fn a_module_that_only_trampolines_use_can_be_unloaded() {
    in_guest();
    let mut modules = crate::Modules::new();
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let mut command = ctpulse();
    command.args(["--ebpf", "on", "--ebpf-attach", "auto", "--format", "influx"]);
    command.args(["--interval", "200ms"]).stderr(stderr.reopen().unwrap());
    let running = Running::start(&mut command);
    settled(&running, "", "insert", 0);
    let users = || fs::read_to_string("/sys/module/nf_conntrack/refcnt").unwrap();
    println!("in use: {}", users().trim());
    let start = Instant::now();
    modules.unload();
    println!("unloaded after {:?}", start.elapsed());
    while running.line(Duration::from_millis(600)).is_some() {}
    modules.load();
    counts_again(&running);
    let log = fs::read_to_string(stderr.path()).unwrap();
    println!("{log}");
    assert_eq!(log.contains("nothing else uses nf_conntrack"), has_trampolines(), "{log}");
}

/// As it is documented: who asks for trampolines in any case keeps the module loaded.
#[test]
fn trampolines_in_any_case_keep_the_module_loaded() {
    in_guest();
    if !has_trampolines() {
        return;
    }
    let hooks: Vec<_> = HOOKS.into_iter().filter(|hook| hook.name == "insert").collect();
    let attach = EbpfAttach::Trampoline;
    let before = fs::read_to_string("/sys/module/nf_conntrack/refcnt").unwrap();
    let wanted = AttachOptions { hooks: &hooks, attach, ..AttachOptions::new(&[], CPUS) };
    let events = Events::attach(&wanted).unwrap();
    let during = fs::read_to_string("/sys/module/nf_conntrack/refcnt").unwrap();
    println!("in use {} times, then {}", before.trim(), during.trim());
    assert_ne!(before, during);
    assert!(!Command::new("rmmod").arg("nf_conntrack").output().unwrap().status.success());
    drop(events);
    wait_for("the module is as free as before", || {
        fs::read_to_string("/sys/module/nf_conntrack/refcnt").unwrap() == before
    });
}
