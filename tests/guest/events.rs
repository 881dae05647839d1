//! The event source in a real kernel: what the probes count is what happened, and what procfs
//! shows as 0 moves.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::probes::Setting;
use crate::support::{Namespace, Running, ctpulse, integer, number, output, text};
use crate::{SOON, in_guest};

/// A running agent with probes, looking into one namespace or more.
pub(crate) fn watch(namespaces: &[&Namespace]) -> Running {
    let mut command = ctpulse();
    command.args(["--ebpf", "on", "--format", "influx", "--interval", "200ms"]);
    command.args(["--sample-interval", "20ms", "--collect", "all,percpu"]);
    for namespace in namespaces {
        command.args(["--netns", &namespace.name]);
    }
    let running = Running::start(&mut command);
    // The first row comes when the probes are attached.
    assert!(running.line(SOON).is_some(), "the agent does not start");
    running
}

/// Reads `cpu=all` rows (of the namespace, where it is tagged) until one has `field` at least
/// `least`, and then the one after it, so that what has happened is in it.
pub(crate) fn settled(running: &Running, tag: &str, field: &str, least: u64) -> String {
    let start = Instant::now();
    let mut reached = false;
    let mut last = String::new();
    while start.elapsed() < SOON {
        let Some(line) = running.line(SOON) else { break };
        if !line.contains("cpu=all") || !line.contains(tag) {
            continue;
        }
        if reached {
            return line;
        }
        reached = integer(&line, field).is_some_and(|value| value >= least);
        last = line;
    }
    panic!("{field} never reached {least}: {last}");
}

pub(crate) fn all(line: &str, fields: &[(&str, u64)]) {
    for (field, expected) in fields {
        assert_eq!(integer(line, field), Some(*expected), "{field} in {line}");
    }
}

#[test]
fn insertions_and_deletions_are_counted_exactly() {
    in_guest();
    let namespace = Namespace::new();
    let running = watch(&[&namespace]);
    let (refused, _sockets) = namespace.udp_flows(300);
    assert_eq!(refused, 0);
    let line = settled(&running, "", "insert", 300);
    let procfs = namespace.inside(|| fs::read_to_string("/proc/thread-self/net/stat/nf_conntrack"));
    eprintln!("procfs: {}\nctpulse: {line}", procfs.unwrap());
    all(&line, &[("entries", 300), ("insert", 300), ("new", 300), ("delete", 0)]);
    all(&line, &[("delete_list", 0), ("drop_table_full", 0), ("drop_clash", 0)]);

    namespace.exec("conntrack", &["-F"]);
    let line = settled(&running, "", "delete", 300);
    all(&line, &[("entries", 0), ("insert", 300), ("delete", 300), ("delete_list", 300)]);
}

#[test]
fn a_burst_of_insertions_is_seen_in_the_peak() {
    in_guest();
    let namespace = Namespace::new();
    let running = watch(&[&namespace]);
    let (mut sockets, mut last) = (Vec::new(), String::new());
    let start = Instant::now();
    while start.elapsed() < SOON {
        sockets.extend(namespace.udp_flows(50).1);
        let rate = |line: &str, field| {
            number(line, field).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
        };
        while !last.contains("cpu=all") || rate(&last, "insert_rate") == 0.0 {
            last = running.line(SOON).unwrap();
        }
        assert!(rate(&last, "new_rate") > 0.0, "{last}");
        // A peak is a lower bound: its window has the time of two readings in it. After a reading that took
        // long, as on a busy machine, the row has no peak; the next burst has one.
        if rate(&last, "insert_rate_max") >= rate(&last, "insert_rate") {
            return;
        }
        last.clear();
    }
    panic!("no row has a peak above its rate: {last}");
}

#[test]
fn single_cpus_add_up() {
    in_guest();
    let namespace = Namespace::new();
    let running = watch(&[&namespace]);
    let _sockets = namespace.udp_flows(250);
    settled(&running, "", "insert", 250);
    let mut sum = 0;
    for cpu in ["cpu=cpu0", "cpu=cpu1"] {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < SOON);
            let line = running.line(SOON).unwrap();
            if line.contains(cpu) {
                sum += integer(&line, "insert").unwrap();
                break;
            }
        }
    }
    assert_eq!(sum, 250);
}

#[test]
fn application_procfs_and_probes_agree_on_a_full_table() {
    in_guest();
    let namespace = Namespace::new();
    let running = watch(&[&namespace]);
    let limit = Setting::max(50);
    let (refused, _sockets) = namespace.udp_flows(300);
    drop(limit);
    assert!(refused > 0);
    let refused = refused as u64;
    let line = settled(&running, "", "drop", refused);
    all(&line, &[("drop", refused), ("drop_table_full", refused)]);
    // Nothing is left to be explained otherwise.
    all(&line, &[("drop_other", 0), ("drop_dying", 0), ("drop_clash", 0)]);
    // What was not refused was inserted; what is not there any more was evicted.
    let early = integer(&line, "early_drop").unwrap();
    all(&line, &[("insert", 300 - refused), ("entries", 300 - refused - early)]);
    all(&line, &[("delete_list", early)]);
}

#[test]
fn two_namespaces_are_counted_apart() {
    in_guest();
    let (a, b, other) = (Namespace::new(), Namespace::new(), Namespace::new());
    let running = watch(&[&a, &b]);
    let _sockets = (a.udp_flows(70), b.udp_flows(110), other.udp_flows(40));
    for (namespace, flows) in [(&a, 70), (&b, 110)] {
        let tag = format!("netns={}", namespace.name);
        let line = settled(&running, &tag, "insert", flows);
        all(&line, &[("insert", flows), ("new", flows), ("entries", flows)]);
    }
}

#[test]
fn a_connection_that_is_refused_is_new_and_not_inserted() {
    in_guest();
    let namespace = Namespace::new();
    namespace.exec(
        "nft",
        &["add", "chain", "inet", "t", "last", "{ type filter hook output priority 10; }"],
    );
    namespace.exec("nft", &["add", "rule", "inet", "t", "last", "udp", "dport", "7", "drop"]);
    let running = watch(&[&namespace]);
    namespace.inside(|| {
        for _ in 0..20 {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let _ = socket.send_to(b"x", "127.0.0.1:7");
        }
    });
    let line = settled(&running, "", "delete", 20);
    all(&line, &[("new", 20), ("insert", 0), ("delete", 20), ("delete_list", 0), ("entries", 0)]);
}

/// How many programs of probes the kernel holds.
fn programs() -> usize {
    let listed = Command::new("bpftool").args(["prog", "show"]).output();
    let listed = text(&listed.unwrap().stdout);
    ["kprobe", "tracing"].map(|kind| listed.matches(kind).count()).into_iter().sum()
}

#[test]
fn a_killed_process_leaves_no_probes() {
    in_guest();
    let namespace = Namespace::new();
    let before = programs();
    let mut running = watch(&[&namespace]);
    assert!(programs() > before);
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let start = Instant::now();
    while programs() > before && start.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(programs(), before);
}

#[test]
fn probes_are_attached_again_when_the_module_is_loaded_again() {
    in_guest();
    let mut modules = crate::Modules::new();
    let mut command = ctpulse();
    command.args(["--ebpf", "on", "--format", "influx", "--interval", "200ms"]);
    let running = Running::start(&mut command);
    settled(&running, "", "insert", 0);
    modules.unload();
    while running.line(Duration::from_millis(600)).is_some() {}
    modules.load();
    counts_again(&running);
}

/// Another text in place of `/proc/kallsyms`, until this value goes.
pub(crate) struct Symbols {
    _file: tempfile::NamedTempFile,
}

const SYMBOLS: &str = "/proc/kallsyms";

impl Symbols {
    /// The lines that `changed` makes of the kernel's.
    pub(crate) fn changed(changed: impl FnOnce(String) -> String) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), changed(fs::read_to_string(SYMBOLS).unwrap())).unwrap();
        output(Command::new("mount").arg("--bind").arg(file.path()).arg(SYMBOLS));
        Self { _file: file }
    }

    /// With a copy of a function, as a compiler makes it (`f.constprop.0`).
    fn with_a_copy_of(function: &str) -> Self {
        Self::changed(|mut symbols| {
            let is_it = |line: &&str| line.split_whitespace().nth(2) == Some(function);
            let line = symbols.lines().find(is_it).unwrap();
            let copy = line.replacen(function, &format!("{function}.constprop.0"), 1);
            symbols.push_str(&format!("{copy}\n"));
            symbols
        })
    }
}

impl Drop for Symbols {
    fn drop(&mut self) {
        output(Command::new("umount").arg(SYMBOLS));
    }
}

/// The module that is loaded again is another build: one of its functions has copies now.
#[test]
fn hooks_left_out_when_probes_are_attached_again_are_reported() {
    in_guest();
    let mut modules = crate::Modules::new();
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let mut command = ctpulse();
    command.args(["--ebpf", "on", "--format", "influx", "--interval", "200ms"]);
    let running = Running::start(command.stderr(stderr.reopen().unwrap()));
    settled(&running, "", "insert", 0);
    let log = || fs::read_to_string(stderr.path()).unwrap();
    assert!(!log().contains("no clash"), "{}", log());
    let _copies = Symbols::with_a_copy_of("nf_ct_resolve_clash");
    modules.unload();
    modules.load();
    let attached = |line: &&str| line.contains("probes attached to ");
    crate::wait_for("attached again", || log().lines().any(|line| attached(&line)));
    let log = log();
    let warning = "warning: no clash: this kernel has 2 copies of the function";
    assert_eq!(log.matches(warning).count(), 1, "{log}");
    let notice = log.lines().find(attached).unwrap();
    assert!(notice.contains(" of ") && notice.ends_with(" hooks, counting from 0"), "{log}");
}

/// Each of them would cost every connection once more. One of the inputs notices seconds after the
/// others that the module is there again, as on a machine whose threads wait for a CPU: on Debian's
/// 6.12 with `PREEMPT_RT` two inputs once attached 16 programs, not 8.
#[test]
fn inputs_share_the_probes_that_are_attached_again() {
    in_guest();
    let namespaces = [Namespace::new(), Namespace::new(), Namespace::new()];
    let mut modules = crate::Modules::new();
    let mut config = String::from("[agent]\n");
    for (namespace, interval) in namespaces.iter().zip(["200ms", "200ms", "3s"]) {
        config.push_str(&format!(
            "[[inputs.conntrack]]\nnetns = \"{}\"\nebpf = \"on\"\ncollect = [\"all\"]\ninterval = \"{interval}\"\n\
             sample_interval = \"{interval}\"\n",
            namespace.name
        ));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), config).unwrap();
    let mut command = ctpulse();
    let running = Running::start(command.args(["--format", "influx", "--config"]).arg(file.path()));
    assert!(running.line(SOON).is_some(), "the agent does not start");
    let before = programs();
    namespaces.iter().for_each(crate::track_no_more_in);
    modules.unload();
    // The slow input has noticed, too.
    while running.line(Duration::from_secs(5)).is_some() {}
    modules.load();
    namespaces.iter().for_each(Namespace::track);
    let tags = namespaces.each_ref().map(|namespace| format!("netns={}", namespace.name));
    // Rates of what only probes count come once they are there.
    let mut waiting: Vec<&String> = tags.iter().collect();
    let start = Instant::now();
    while !waiting.is_empty() {
        assert!(start.elapsed() < SOON, "no probes for {waiting:?}");
        let line = running.line(SOON).unwrap();
        if line.contains(",new_rate=") {
            waiting.retain(|tag| !line.contains(*tag));
        }
    }
    let flows = [30, 45, 60];
    let _sockets: Vec<_> =
        namespaces.iter().zip(flows).map(|(one, flows)| one.udp_flows(flows)).collect();
    for (tag, flows) in tags.iter().zip(flows) {
        let line = settled(&running, tag, "insert", flows as u64);
        all(&line, &[("insert", flows as u64), ("new", flows as u64)]);
    }
    assert_eq!(programs(), before);
}

/// An agent that is there before the module.
#[test]
fn probes_are_attached_once_the_module_is_loaded() {
    in_guest();
    let mut modules = crate::Modules::new();
    modules.unload();
    let on = ctpulse().args(["--ebpf", "on", "--count", "1"]).output().unwrap();
    assert_eq!(on.status.code(), Some(1));
    assert!(text(&on.stderr).contains("modprobe nf_conntrack"), "{}", text(&on.stderr));

    let mut command = ctpulse();
    command.args(["--format", "influx", "--interval", "200ms"]);
    let running = Running::start(&mut command);
    while running.line(Duration::from_millis(1000)).is_some() {}
    modules.load();
    counts_again(&running);
}

/// Waits for the probes of an agent in this namespace, and lets them count.
pub(crate) fn counts_again(running: &Running) {
    crate::track();
    // Rates of what only probes count come once they are there.
    let start = Instant::now();
    while !running.line(SOON).unwrap().contains(",new_rate=") {
        assert!(start.elapsed() < SOON, "no probes");
    }
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sockets = Vec::new();
    for _ in 0..25 {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
        sockets.push(socket);
    }
    let line = settled(running, "", "insert", 25);
    all(&line, &[("insert", 25), ("new", 25)]);
    crate::track_no_more();
}

/// The value of a field of the row about ctpulse itself, once `done` returns true.
fn internal(running: &Running, done: impl Fn(&str) -> bool) -> String {
    let start = Instant::now();
    while start.elapsed() < SOON {
        let line = running.line(SOON).unwrap();
        if line.starts_with("internal_ctpulse,") && done(&line) {
            return line;
        }
    }
    panic!("the row about ctpulse itself never came to that");
}

#[test]
fn allocations_less_frees_are_the_change_of_entries() {
    in_guest();
    let namespace = Namespace::new();
    let mut command = ctpulse();
    command.args(["--ebpf", "on", "--format", "influx", "--interval", "200ms", "--internal"]);
    let running = Running::start(command.args(["--netns", &namespace.name]));
    internal(&running, |_| true);
    let _sockets = namespace.udp_flows(120);
    let line = internal(&running, |line| integer(line, "events_alloc") >= Some(120));
    all(&line, &[("events_alloc", 120), ("events_free", 0), ("events_insert", 120)]);
    assert_eq!(number(&line, "drift"), Some("0"), "{line}");
    namespace.exec("conntrack", &["-F"]);
    let line = internal(&running, |line| integer(line, "events_free") >= Some(120));
    all(&line, &[("events_alloc", 120), ("events_free", 120)]);
    assert_eq!(number(&line, "drift"), Some("0"), "{line}");
    // Kernels count skipped and missed calls of kprobes from 6.7 on, and of trampolines always; here there
    // were none.
    let is_traced = line.contains("begun_fexit");
    let programs = if is_traced {
        ["begun_fexit", "hash_insert_fentry"]
    } else {
        ["init_return", "hash_insert"]
    };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let is_old = release.starts_with("5.10.") || release.starts_with("6.1.");
    for what in
        programs.iter().flat_map(|name| ["skipped", "missed"].map(|is| format!("{name}_{is}")))
    {
        let expected = (is_traced || !is_old).then_some(0);
        assert_eq!(integer(&line, &what), expected, "{what} in {line}");
    }
}
