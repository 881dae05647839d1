//! The cost of reports of drops beside that of their counters, for `cargo xtask bench`.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Stdio};

use crate::bench::{print_figure, rounds, seconds};
use crate::in_guest;
use crate::probes::Setting;
use crate::program_stats::{Programs, Timing};
use crate::support::{Namespace, ctpulse};

/// Packets of one flood, nearly all of them dropped.
const FLOOD: u32 = 10_000;

/// A subcommand of ours without a reader of its output, and its programs.
struct Watcher {
    child: Child,
    programs: Programs,
}

impl Watcher {
    fn new(namespace: &Namespace, arguments: &[&str], programs: usize) -> Self {
        let before = Programs::read();
        let mut command = ctpulse();
        command.args(arguments).args(["--quiet", "--netns", &namespace.name]);
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let own = || Programs::read().without(&before);
        crate::wait_for("the probes", || own().len() >= programs);
        // The last of them may not be attached yet.
        std::thread::sleep(std::time::Duration::from_millis(500));
        Self { child, programs: own() }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a packet to each of many addresses, of which the table takes one; how many were dropped.
fn flood(namespace: &Namespace) -> f64 {
    namespace.inside(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = |number: u32| Ipv4Addr::from(0x7f10_0000 + number);
        (0..FLOOD).filter(|number| socket.send_to(b"x", (to(*number), 9)).is_err()).count() as f64
    })
}

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn dropped_packets() {
    in_guest();
    let namespace = Namespace::new();
    let _max = Setting::max(1);
    let measure = |arguments: &[&str], programs| {
        let watcher = Watcher::new(&namespace, arguments, programs);
        let mut dropped = 0.0;
        let time = seconds(|| dropped = flood(&namespace));
        let _timing = Timing::new();
        let before = watcher.programs.now();
        let again = flood(&namespace);
        let cost = watcher.programs.now().since(&before).cost();
        (dropped / time, cost.nanoseconds as f64 / again)
    };
    let counting = || measure(&["run", "--ebpf", "on"], 8);
    let reporting = || measure(&["drops", "--format", "json"], 9);
    for round in rounds(1, 6) {
        let (ours, reference) = if round % 2 == 0 {
            (reporting(), counting())
        } else {
            let reference = counting();
            (reporting(), reference)
        };
        print_figure("drops_per_second", &[("ours", ours.0), ("reference", reference.0)]);
        print_figure("drop_cost", &[("ours", ours.1), ("reference", reference.1)]);
    }
}
