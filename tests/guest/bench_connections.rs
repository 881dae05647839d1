//! Measurements of the event source under new connections: what the probes take of the rate at
//! which they can begin, and whether one is lost at the highest.

use std::fs;
use std::process::Command;
use std::time::Duration;

use ctpulse::source::ebpf::{AttachOptions, Events};
use ctpulse::source::namespace::Pinned;

use crate::bench::{LIFE, bpftrace, rounds, seconds, tell};
use crate::events::watch;
use crate::flows;
use crate::in_guest;
use crate::support::{Namespace, integer, text};

/// The reference of a rate, and the compared program.
struct Rates<'a> {
    figure: &'a str,
    rounds: std::ops::Range<usize>,
    /// Begins so many connections in the namespace.
    begin: fn(&Namespace, u16),
    internal: bool,
    /// Whether bpftrace counts in the reference; otherwise no program counts there.
    bpftrace: bool,
}

/// Connections per second: begun, and in their whole life, in which they are taken out of the table
/// again.
fn compare(rates: Rates<'_>) {
    const CONNECTIONS: u16 = 6000;
    in_guest();
    flows::make_room();
    let namespace = Namespace::new();
    let pinned = [Pinned::open(format!("/run/netns/{}", namespace.name).as_ref()).unwrap()];
    let live = || {
        let begun = seconds(|| (rates.begin)(&namespace, CONNECTIONS));
        let flushed = seconds(|| flows::flush(&namespace));
        [begun, begun + flushed].map(|seconds| f64::from(CONNECTIONS) / seconds)
    };
    let ours = || {
        let wanted = AttachOptions { internal: rates.internal, ..AttachOptions::new(&pinned, 2) };
        let _events = Events::attach(&wanted).unwrap();
        live()
    };
    let reference = || {
        let _bpftrace = rates.bpftrace.then(|| bpftrace(&LIFE[..4], ""));
        live()
    };
    live();
    for round in rates.rounds {
        let (ours, reference) = if round % 2 == 0 {
            let ours = ours();
            (ours, reference())
        } else {
            let reference = reference();
            (ours(), reference)
        };
        tell(rates.figure, &[("ours", ours[0]), ("reference", reference[0])]);
        let whole_life = format!("{}_whole_life", rates.figure);
        tell(&whole_life, &[("ours", ours[1]), ("reference", reference[1])]);
    }
}

impl<'a> Rates<'a> {
    fn new(figure: &'a str, begin: fn(&Namespace, u16)) -> Self {
        Self { figure, rounds: rounds(2, 20), begin, internal: false, bpftrace: false }
    }
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn connections_of_new_sockets() {
    compare(Rates::new("connections_of_new_sockets", flows::new_sockets));
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn connections_of_one_socket() {
    compare(Rates::new("connections_of_one_socket", flows::new_addresses));
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn connections_of_tcp() {
    compare(Rates::new("connections_of_tcp", flows::new_streams));
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn connections_with_internal() {
    let rates = Rates::new("connections_with_internal", flows::new_sockets);
    compare(Rates { internal: true, ..rates });
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn connections_beside_bpftrace() {
    let rates = Rates::new("connections_beside_bpftrace", flows::new_sockets);
    compare(Rates { bpftrace: true, rounds: rounds(1, 10), ..rates });
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn losses() {
    const CONNECTIONS: u16 = 40_000;
    in_guest();
    flows::make_room();
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
        tell(
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
