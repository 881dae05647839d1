//! Measurements of the event source under new connections: what the probes take of the rate at
//! which they can begin, and whether one is lost at the highest.

use std::fs;
use std::process::Command;
use std::time::Duration;

use ctpulse::schema::raw::Program;
use ctpulse::settings::EbpfAttach;
use ctpulse::source::ebpf::probe_table::Probe;
use ctpulse::source::ebpf::{AttachOptions, Events};
use ctpulse::source::namespace::Pinned;

use crate::bench::{LIFE, bpftrace, in_guest_or_asked, print_figure, rounds, seconds};
use crate::events::watch;
use crate::program_stats::Timing;
use crate::support::{Namespace, integer, text};
use crate::{flows, in_guest, probes};

/// What counts beside the connections of a round.
#[derive(Debug, Clone, Copy)]
enum Counting {
    Nothing,
    Ours(EbpfAttach),
    /// The same functions as ours.
    Bpftrace,
}

impl Counting {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "off",
            Self::Ours(EbpfAttach::Kprobe) => "kprobe",
            Self::Ours(_) => "trampoline",
            Self::Bpftrace => "bpftrace",
        }
    }
}

/// A rate of connections, by what counts them meanwhile.
struct Rates<'a> {
    figure: &'a str,
    rounds: std::ops::Range<usize>,
    /// Begins so many connections in the namespace.
    begin: fn(&Namespace, u16),
    internal: bool,
    /// What is compared, in turns.
    counting: &'a [Counting],
}

const KPROBES: Counting = Counting::Ours(EbpfAttach::Kprobe);
const TRAMPOLINES: Counting = Counting::Ours(EbpfAttach::Trampoline);
const BOTH: [Counting; 3] = [Counting::Nothing, KPROBES, TRAMPOLINES];

/// Connections per second: begun, and in their whole life, in which they are taken out of the table
/// again.
fn compare(rates: &Rates<'_>) {
    const CONNECTIONS: u16 = 6000;
    in_guest_or_asked();
    let _room = flows::make_room();
    let namespace = Namespace::new();
    let pinned = [Pinned::open(format!("/run/netns/{}", namespace.name).as_ref()).unwrap()];
    let live = || {
        let begun = seconds(|| (rates.begin)(&namespace, CONNECTIONS));
        let flushed = seconds(|| flows::flush(&namespace));
        [begun, begun + flushed].map(|seconds| f64::from(CONNECTIONS) / seconds)
    };
    let measure = |counting: Counting| match counting {
        Counting::Nothing => live(),
        Counting::Ours(attach) => {
            let internal = rates.internal;
            let wanted = AttachOptions { internal, attach, ..AttachOptions::new(&pinned, 2) };
            let _events = Events::attach(&wanted).unwrap();
            live()
        }
        Counting::Bpftrace => {
            let _bpftrace = bpftrace(&LIFE[..4], "");
            live()
        }
    };
    live();
    for round in rates.rounds.clone() {
        let mut order = rates.counting.to_vec();
        order.rotate_left(round % rates.counting.len());
        let measured: Vec<_> = order.iter().map(|it| (it.name(), measure(*it))).collect();
        let numbers = |part: usize| -> Vec<_> {
            measured.iter().map(|(name, rates)| (*name, rates[part])).collect()
        };
        print_figure(rates.figure, &numbers(0));
        print_figure(&format!("{}_whole_life", rates.figure), &numbers(1));
    }
}

impl<'a> Rates<'a> {
    fn new(figure: &'a str, begin: fn(&Namespace, u16)) -> Self {
        Self { figure, rounds: rounds(4, 12), begin, internal: false, counting: &BOTH }
    }
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn connections_of_new_sockets() {
    compare(&Rates::new("connections_of_new_sockets", flows::new_sockets));
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn connections_of_one_socket() {
    compare(&Rates::new("connections_of_one_socket", flows::new_addresses));
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn connections_of_tcp() {
    compare(&Rates::new("connections_of_tcp", flows::new_streams));
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn connections_with_internal() {
    let rates = Rates::new("connections_with_internal", flows::new_sockets);
    compare(&Rates { internal: true, rounds: rounds(2, 6), ..rates });
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn connections_beside_bpftrace() {
    let rates = Rates::new("connections_beside_bpftrace", flows::new_sockets);
    let counting = [KPROBES, TRAMPOLINES, Counting::Bpftrace];
    compare(&Rates { counting: &counting, rounds: rounds(1, 5), ..rates });
}

/// The kernel's account of the programs of each hook that every connection passes.
#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn run_time_of_each_hook() {
    const CONNECTIONS: u16 = 2000;
    in_guest_or_asked();
    let _room = flows::make_room();
    let namespace = Namespace::new();
    let pinned = [Pinned::open(format!("/run/netns/{}", namespace.name).as_ref()).unwrap()];
    let shapes = [EbpfAttach::Kprobe, EbpfAttach::Trampoline];
    for _ in rounds(1, 5) {
        let attached = shapes.map(|attach| {
            let wanted = AttachOptions { attach, ..AttachOptions::new(&pinned, 2) };
            let events = Events::attach(&wanted).unwrap();
            let timing = Timing::new();
            flows::new_sockets(&namespace, CONNECTIONS);
            flows::flush(&namespace);
            drop(timing);
            probes::programs(&events)
        });
        for name in ["insert", "new", "delete", "delete_list"] {
            let variant = probes::hook(name).ways[0];
            let of = |programs: &[Program], probes: &[Probe]| -> f64 {
                let programs =
                    programs.iter().filter(|it| probes.iter().any(|p| p.program == it.name));
                programs.map(|it| it.run_time_ns as f64).sum::<f64>() / f64::from(CONNECTIONS)
            };
            let [kprobe, trampoline] =
                [of(&attached[0], variant.probes), of(&attached[1], variant.trampolines)];
            print_figure(
                &format!("run_time_of_{name}"),
                &[("kprobe", kprobe), ("trampoline", trampoline)],
            );
        }
    }
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn losses() {
    const CONNECTIONS: u16 = 40_000;
    in_guest();
    let _room = flows::make_room();
    for _ in rounds(1, 3) {
        let namespace = Namespace::new();
        let running = watch(&[&namespace]);
        let printed = tempfile::NamedTempFile::new().unwrap();
        let mut conntrack = Command::new("ip");
        conntrack.args(["netns", "exec", &namespace.name, "conntrack", "-E", "-e", "NEW"]);
        conntrack.stdout(printed.reopen().unwrap());
        let mut conntrack = Child(conntrack.spawn().unwrap());
        let lines = || text(&fs::read(printed.path()).unwrap()).lines().count() as f64;
        std::thread::sleep(Duration::from_secs(2));
        let seconds = seconds(|| flows::new_addresses(&namespace, CONNECTIONS));
        // Until nothing comes any more.
        let mut before = -1.0;
        while lines() > before {
            before = lines();
            std::thread::sleep(Duration::from_secs(2));
        }
        let mut inserted = 0;
        while let Some(line) = running.line(Duration::ZERO) {
            if line.contains("cpu=all") {
                inserted = integer(&line, "insert").unwrap();
            }
        }
        conntrack.end();
        let of = f64::from(CONNECTIONS);
        print_figure(
            "losses",
            &[
                ("ours", of - inserted as f64),
                ("reference", of - lines()),
                ("of", of),
                ("per_second", of / seconds),
            ],
        );
    }
}

/// A child that ends with this value.
struct Child(std::process::Child);

impl Child {
    fn end(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}
