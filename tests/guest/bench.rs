//! Measurements of the event source in a real kernel, which `cargo xtask bench` asks a guest for.
//!
//! Each prints its numbers round by round, in lines that xtask/src/vm/console.rs reads;
//! xtask/src/bench/events.rs judges them. The compared programs take turns, in an alternating
//! order, since a guest is emulated and its clock is that of a busy host.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use ctpulse::source::ebpf::probe_table::{AttachWhen, HOOKS, Hook};
use ctpulse::source::ebpf::symbols::{Found, Symbols};
use ctpulse::source::ebpf::types::Types;

use crate::flows::{self, Flow};
use crate::in_guest;
use crate::probes::attach;
use crate::program_stats::{Programs, Timing, run_time};
use crate::support::{Namespace, Running, ctpulse, integer};

/// How long bpftrace may take until its probes are attached.
const LONG: Duration = Duration::from_secs(300);

/// The programs that run in the life of every connection, the last two with `--internal` only.
pub(crate) const LIFE: [&str; 6] =
    ["hash_insert", "init_return", "destroy", "delete_from_lists", "alloc_return", "free"];

/// `quick` or `full`, where `cargo xtask bench --host` asks for a measurement on the host.
fn on_host() -> Option<String> {
    std::env::var("CTPULSE_BENCH_HOST").ok()
}

/// Panics where a measurement could do harm: neither in a guest, nor asked for on this host.
pub(crate) fn in_guest_or_asked() {
    if on_host().is_none() {
        in_guest();
    }
}

/// Prints numbers under the name of a figure; in a guest in a line of the kernel's log, which is never
/// torn.
pub(crate) fn print_figure(figure: &str, numbers: &[(&str, f64)]) {
    let numbers: Vec<_> = numbers.iter().map(|(name, number)| format!("{name}={number}")).collect();
    let line = format!("ctpulse-guest: measured {figure} {}\n", numbers.join(" "));
    match on_host() {
        Some(_) => print!("{line}"),
        None => fs::write("/dev/kmsg", format!("<1>{line}")).unwrap(),
    }
}

/// Returns whether a run of seconds is asked for.
fn is_quick() -> bool {
    let length = on_host().unwrap_or_else(|| fs::read_to_string("/etc/ctpulse-measure").unwrap());
    length.trim() == "quick"
}

/// How often to measure.
pub(crate) fn rounds(quick: usize, full: usize) -> std::ops::Range<usize> {
    0..if is_quick() { quick } else { full }
}

pub(crate) fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// A `bpftrace` that counts the calls of the same functions as our `programs`, and its own
/// programs in the kernel. `key` is put before `= count()`; `CONNECTION` in it is the connection.
pub(crate) fn bpftrace(programs: &[&str], key: &str) -> (Running, Programs) {
    let (symbols, offsets) =
        (Symbols::read().unwrap(), Types::of_running_kernel().unwrap().offsets);
    let ways = HOOKS.iter().filter_map(|hook| hook.ways.first());
    let probes = ways.flat_map(|way| way.probes).filter(|probe| programs.contains(&probe.program));
    let script: Vec<String> = probes
        .map(|probe| {
            let Found::One(function) = symbols.find(probe.functions, probe.renamed_too) else {
                panic!("{} is not there, or more than once", probe.program);
            };
            let (kind, connection) = match probe.program {
                "init_return" => ("kretprobe", format!("(retval - {})", offsets.nf_conn_tuplehash)),
                "alloc_return" => ("kretprobe", "retval".to_owned()),
                _ => ("kprobe", "arg0".to_owned()),
            };
            let key = key.replace("CONNECTION", &connection);
            format!("{kind}:{function} {{ @{key} = count(); }}")
        })
        .collect();
    assert_eq!(script.len(), programs.len());
    let before = Programs::read();
    let running = Running::start(Command::new("bpftrace").args(["-e", &script.join("\n")]));
    let start = Instant::now();
    loop {
        let ours = Programs::read().without(&before);
        if ours.len() == programs.len() {
            return (running, ours);
        }
        assert!(start.elapsed() < LONG, "bpftrace does not attach: {ours:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

const BY_NAMESPACE: &str = "[((struct nf_conn *)CONNECTION)->ct_net.net->ns.inum]";

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn run_time_per_event() {
    in_guest();
    let _room = flows::make_room();
    let namespace = Namespace::new();
    let _timing = Timing::new();
    for round in rounds(1, 3) {
        // On one function probes run in the order in which they were attached.
        let mut order = ["ours", "keyed", "bare"];
        order.rotate_left(round);
        let start = |who: &str| match who {
            "ours" => {
                let before = Programs::read();
                let mut command = ctpulse();
                command.args(["--ebpf", "on", "--internal", "--netns", &namespace.name]);
                let running = Running::start(command.args(["--format", "influx"]));
                assert!(running.line(LONG).is_some());
                (running, Programs::read().without(&before).named(&LIFE))
            }
            "keyed" => bpftrace(&LIFE, BY_NAMESPACE),
            _ => bpftrace(&LIFE, ""),
        };
        let counting = order.map(|who| (who, start(who)));
        let connections = |count| {
            flows::new_sockets(&namespace, count);
            flows::flush(&namespace);
        };
        // Once for what the first time costs, and for probes that were not attached yet.
        connections(3000);
        std::thread::sleep(Duration::from_secs(1));
        let batches = rounds(5, 15).map(|_| {
            let now = || counting.each_ref().map(|(_, (_, programs))| programs.now());
            let before = now();
            connections(500);
            let after = now();
            [0, 1, 2].map(|at| after[at].since(&before[at]))
        });
        let batches: Vec<[Programs; 3]> = batches.collect();
        let printed = [0, 1, 2].map(|at| {
            let own: Vec<&Programs> = batches.iter().map(|batch| &batch[at]).collect();
            for programs in &own {
                assert!(programs.all_ran(500), "not all were counting: {programs:?}");
            }
            (order[at], run_time(&own))
        });
        print_figure("run_time", &printed);
    }
}

/// CPU time of one sample, at 1,000 a second and a few connections in each row.
#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn cpu_per_sample() {
    in_guest();
    let _room = flows::make_room();
    let namespace = Namespace::new();
    let length = Duration::from_secs(if is_quick() { 3 } else { 8 });
    let sample = |ebpf: &str| {
        flows::flush(&namespace);
        let mut command = ctpulse();
        command.args(["--ebpf", ebpf, "--format", "influx", "--netns", &namespace.name]);
        command.args(["--sample-interval", "1ms", "--interval", "500ms"]);
        let running = Running::start(&mut command);
        let start = reading(&running);
        flows::trickle(&namespace, length);
        while running.line(Duration::ZERO).is_some() {}
        let end = reading(&running);
        let milliseconds = (end.timestamp - start.timestamp) / 1e6;
        let ticks = milliseconds - (end.missed - start.missed);
        (end.cpu - start.cpu) / 1e3 / ticks
    };
    for round in rounds(2, 4) {
        let (ours, reference) = if round % 2 == 0 {
            let ours = sample("on");
            (ours, sample("off"))
        } else {
            let reference = sample("off");
            (sample("on"), reference)
        };
        print_figure("cpu_per_sample", &[("ours", ours), ("reference", reference)]);
    }
}

/// The CPU time and the missed samples of an agent at a row.
struct Reading {
    /// Nanoseconds.
    timestamp: f64,
    /// Nanoseconds of CPU time.
    cpu: f64,
    missed: f64,
}

fn reading(running: &Running) -> Reading {
    let line = loop {
        let line = running.line(LONG).unwrap();
        if line.contains("cpu=all") {
            break line;
        }
    };
    let threads = fs::read_dir(format!("/proc/{}/task", running.child.id())).unwrap();
    let cpu = threads.map(|thread| {
        let printed = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        printed.split(' ').next().unwrap().parse::<f64>().unwrap()
    });
    Reading {
        cpu: cpu.sum(),
        timestamp: line.rsplit(' ').next().unwrap().parse().unwrap(),
        missed: integer(&line, "samples_missed").unwrap_or(0) as f64,
    }
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn time_to_attach() {
    in_guest_or_asked();
    let namespace = Namespace::new();
    let first_row = |ebpf: &str, attach: &str| {
        let mut command = ctpulse();
        command.args(["--ebpf", ebpf, "--format", "influx", "--netns", &namespace.name]);
        command.args(["--internal", "--ebpf-attach", attach]);
        let mut running = None;
        let seconds = seconds(|| {
            let started = running.insert(Running::start(&mut command));
            assert!(started.line(LONG).is_some());
        });
        // It ends, and takes its probes away, out of the time.
        drop(running);
        seconds * 1e3
    };
    first_row("on", "kprobe");
    for _ in rounds(1, 5) {
        let without = first_row("off", "kprobe");
        let [kprobe, trampoline] =
            ["kprobe", "trampoline"].map(|how| first_row("on", how) - without);
        print_figure("attach", &[("kprobe", kprobe), ("trampoline", trampoline)]);
    }
}

fn packet_hooks() -> Vec<Hook> {
    HOOKS.into_iter().filter(|hook| hook.need == AttachWhen::PerPacket).collect()
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn packets() {
    const DATAGRAMS: u32 = 20_000;
    /// Few enough that most of them are on one turn of the emulated CPU.
    const BATCH: u32 = 500;
    in_guest();
    let namespace = Namespace::new();
    let flow = Flow::new(&namespace);
    flow.datagrams(DATAGRAMS);
    for round in rounds(2, 16) {
        let rate = || f64::from(DATAGRAMS) / seconds(|| flow.datagrams(DATAGRAMS));
        let with = || {
            let before = Programs::read();
            let _events = attach(&[&namespace], &packet_hooks(), true);
            let programs = Programs::read().without(&before);
            let rate = rate();
            let _timing = Timing::new();
            for _ in rounds(3, 5) {
                let before = programs.now();
                flow.datagrams(BATCH);
                let cost = programs.now().since(&before).cost();
                let each = |total: u64| total as f64 / f64::from(BATCH);
                print_figure(
                    "packet_cost",
                    &[("ours", each(cost.nanoseconds)), ("runs", each(cost.runs))],
                );
            }
            rate
        };
        let (ours, reference) = if round % 2 == 0 {
            (with(), rate())
        } else {
            let reference = rate();
            (with(), reference)
        };
        print_figure("packets_per_second", &[("ours", ours), ("reference", reference)]);
    }
}
