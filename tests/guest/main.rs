//! The real binary in a kernel of its own: what `cargo xtask vm` runs in a virtual machine.
//!
//! These tests unload kernel modules and change limits of the whole system, so each of them
//! refuses to run where the kernel's command line does not mark such a guest. The modules that its
//! init loaded are in `/modules`, in the order of `/modules/order`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod advice;
mod bench;
mod bench_connections;
mod bench_drops;
mod causes;
mod census;
mod clash;
mod composition;
mod confine;
mod drops;
mod events;
mod faults;
mod flows;
mod helper;
mod hooks;
mod invalid;
mod invalid_rows;
mod live;
mod load;
mod nat;
mod netlink;
mod privileges;
mod probes;
mod program_stats;
mod strays;
#[path = "../support.rs"]
mod support;
#[path = "../terminal.rs"]
mod terminal;
mod top;
mod traffic;
mod trampolines;
mod without_return;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{Namespace, Running, ctpulse, output, text};

const SOON: Duration = Duration::from_secs(60);
/// The user id of `nobody`.
const NOBODY: u32 = 65534;
const STATISTICS: &str = "/proc/net/stat/nf_conntrack";

/// Ends the threads that read a flag, also when a test fails: a scope waits for its threads.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Panics where a test could do harm.
fn in_guest() {
    let command_line = fs::read_to_string("/proc/cmdline").unwrap();
    assert!(
        command_line.split_whitespace().any(|word| word == "ctpulse.guest=1"),
        "this is no guest of `cargo xtask vm`, and these tests unload kernel modules"
    );
}

/// Calls `done` until it returns true; panics with `what` after a while. The longer it takes the rarer
/// it asks, since both share one emulated CPU.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
    let start = Instant::now();
    while !done() {
        let waited = start.elapsed();
        assert!(waited < SOON, "{what}: not within {SOON:?}");
        std::thread::sleep((waited / 10).clamp(PAUSE.0, PAUSE.1));
    }
}

fn nft(arguments: &str) {
    output(Command::new("nft").args(arguments.split(' ')));
}

/// Whether `/proc/kallsyms` has variables (`CONFIG_KALLSYMS_ALL`), without which the table's address is not
/// known: Debian's 6.1 for arm64 has functions only.
fn shows_variables() -> bool {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap();
    let shows =
        symbols.lines().any(|line| line.split_whitespace().nth(2) == Some("nf_conntrack_hash"));
    if !shows {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert!(
            cfg!(target_arch = "aarch64") && release.starts_with("6.1."),
            "no variables: {release}"
        );
        println!("NOT RUN HERE: /proc/kallsyms of this kernel has no variables");
    }
    shows
}

/// Has connections tracked outside of any test's namespace.
fn track() {
    nft("add table inet t");
    nft("add chain inet t out { type filter hook output priority 0; }");
    nft("add rule inet t out ct state new counter");
}

fn track_no_more() {
    nft("delete table inet t");
}

/// Deletes the rule for which the namespace tracks connections, so that the module can be unloaded.
fn track_no_more_in(namespace: &Namespace) {
    namespace.exec("nft", &["delete", "table", "inet", "t"]);
}

#[test]
fn this_is_a_guest() {
    in_guest();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version = fs::read_to_string("/proc/sys/kernel/version").unwrap();
    println!("Linux {} {}", release.trim(), version.trim());
    assert!(Path::new(STATISTICS).exists(), "nf_conntrack is not loaded");
    let version = text(&output(ctpulse().arg("--version")).stdout);
    assert!(version.starts_with("ctpulse "), "{version}");
}

/// The modules that NAT, limits, rejections and links of other tests need are there.
#[test]
fn rules_and_links_can_be_made() {
    in_guest();
    let (a, b) = (Namespace::new(), Namespace::new());
    let peer = ["peer", "name", "v0", "netns", b.name.as_str()];
    a.exec("ip", &[&["link", "add", "v0", "type", "veth"][..], &peer].concat());
    for rules in [
        "add chain inet t nat { type nat hook prerouting priority dstnat; }",
        "add rule inet t nat udp dport 1000 redirect to :2000",
        "add rule inet t nat udp dport 1001 dnat ip to 192.0.2.1:53",
        "add rule inet t nat tcp dport 1001 dnat ip6 to [2001:db8::1]:53",
        "add chain inet t source { type nat hook postrouting priority srcnat; }",
        "add rule inet t source oifname v0 ip saddr 192.0.2.2 snat ip to 192.0.2.3-192.0.2.9",
        "add rule inet t source oifname v0 masquerade random",
        "add chain inet t in { type filter hook input priority filter; }",
        "add rule inet t in tcp dport 1 reject with tcp reset",
        "add rule inet t in tcp dport 2 reject with icmpx type admin-prohibited",
        "add rule inet t in limit rate 10/second numgen inc mod 2 0 ct count over 5 drop",
    ] {
        a.exec("nft", &rules.split(' ').collect::<Vec<_>>());
    }
}

#[test]
fn procfs_counts_flows() {
    in_guest();
    let namespace = Namespace::new();
    namespace.assert_flows_are_entries();
}

/// The netfilter modules of this guest; those that were taken out come back when this goes.
struct Modules {
    /// In load order.
    files: Vec<String>,
    unloaded: bool,
}

impl Modules {
    /// The modules, which probes of commands that are made from now on do not keep loaded.
    fn new() -> Self {
        support::ATTACHES_UNTIL_UNUSED.store(true, Ordering::Relaxed);
        let order = fs::read_to_string("/modules/order").unwrap();
        let files = order.lines().filter(|file| file.starts_with("nf"));
        Self { files: files.map(str::to_owned).collect(), unloaded: false }
    }

    fn unload(&mut self) {
        self.unloaded = true;
        for file in self.files.iter().rev() {
            let name = file.strip_suffix(".ko").unwrap().replace('-', "_");
            if !Path::new("/sys/module").join(&name).exists() {
                continue;
            }
            // Rules that are gone keep their modules for a moment: the kernel frees them later.
            wait_for(&format!("rmmod {name}"), || {
                Command::new("rmmod").arg(&name).output().unwrap().status.success()
            });
        }
        assert!(!Path::new(STATISTICS).exists());
    }

    fn load(&mut self) {
        self.unloaded = false;
        for file in &self.files {
            output(Command::new("insmod").arg(Path::new("/modules").join(file)));
        }
    }
}

impl Drop for Modules {
    fn drop(&mut self) {
        if self.unloaded {
            for file in &self.files {
                let _ = Command::new("insmod").arg(Path::new("/modules").join(file)).output();
            }
        }
    }
}

#[test]
fn a_module_that_is_unloaded_is_reported_once_and_found_again() {
    in_guest();
    let mut modules = Modules::new();
    track();
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let mut command = ctpulse();
    command.args(["--interval", "100ms", "--format", "influx"]);
    command.stderr(stderr.reopen().unwrap());
    let mut running = Running::start(&mut command);
    let printed = || fs::read_to_string(stderr.path()).unwrap();
    let row = || {
        wait_for("a row of the statistics", || {
            running.line(SOON).is_some_and(|line| line.starts_with("conntrack,cpu=all"))
        });
    };
    row();

    track_no_more();
    modules.unload();
    wait_for("a warning", || printed().contains("nf_conntrack"));
    // Nothing comes any more, neither rows nor a second warning.
    while running.line(Duration::from_millis(500)).is_some() {}
    let before = printed();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(running.line(Duration::ZERO), None);
    assert_eq!(printed(), before);

    modules.load();
    row();
    running.signal(rustix::process::Signal::INT);
    assert!(running.wait().0.success());
    let printed = printed();
    println!("{printed}");
    let lines = |parts: [&str; 2]| {
        printed.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    };
    assert_eq!(lines(["reading ", STATISTICS]), 1, "{printed}");
    assert_eq!(lines(["warning: ", "nf_conntrack is not loaded"]), 1, "{printed}");
    assert_eq!(lines(["warning: ", ""]), 1, "{printed}");
}
