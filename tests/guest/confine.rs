//! Least privilege in a real kernel: after an agent has given up what it does not need, probes
//! and namespaces are still taken up again.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::events::settled;
use crate::support::{Namespace, Running, ctpulse, integer, text};
use crate::{Modules, SOON, in_guest, track, track_no_more, wait_for};

const USER: u32 = 65534;
const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;
/// `CAP_SYSLOG`, `CAP_PERFMON` and `CAP_BPF`.
const PROBES: u64 = 1 << 34 | 1 << 38 | 1 << 39;

/// An agent with probes as another user, confined; its messages go to `stderr`.
fn agent(stderr: &tempfile::NamedTempFile, arguments: &[&str]) -> Running {
    let agent = ctpulse();
    let mut command = Command::new("sh");
    // Before 5.11 maps are the user's locked memory.
    let script = format!("ulimit -l unlimited; exec {} \"$@\"", agent.get_program().display());
    command.args(["-c", &script, "sh", "--user", "65534:65534", "--ebpf", "on", "--debug"]);
    command.args(["--sample-interval", "20ms"]).args(arguments);
    command.envs(agent.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Running::start(command.stderr(stderr.reopen().unwrap()))
}

/// Panics unless every thread has these capabilities, this user and no way back.
fn assert_confined(running: &Running, kept: u64) {
    let tasks = fs::read_dir(format!("/proc/{}/task", running.child.id())).unwrap();
    for task in tasks {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let value = |key: &str| {
            status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned()
        };
        let set = |key| u64::from_str_radix(&value(key), 16).unwrap();
        let sets = ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:", "CapBnd:"].map(set);
        assert_eq!(sets, [kept, kept, 0, 0, 0], "{status}");
        assert_eq!((value("NoNewPrivs:"), value("Seccomp:")), ("1".into(), "2".into()));
        assert!(value("Uid:").starts_with("65534\t65534\t65534"), "{status}");
    }
}

/// What is needed here, once probes are attached: from level 3 on, which Debian has, perf events
/// are for `CAP_SYS_ADMIN` alone; and where procfs has no column `chainlength`, ctnetlink may be
/// asked.
fn needed() -> u64 {
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    let level: i32 = paranoid.trim().parse().unwrap();
    let statistics = fs::read_to_string(crate::STATISTICS).unwrap();
    let netlink = if statistics.contains("chainlength") { 0 } else { NET_ADMIN };
    if level >= 3 { PROBES | SYS_ADMIN | netlink } else { PROBES | netlink }
}

fn wait_for_message(stderr: &tempfile::NamedTempFile, what: &str) {
    let start = Instant::now();
    while !printed(stderr).contains(what) {
        assert!(start.elapsed() < SOON, "'{what}' is not in: {}", printed(stderr));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn printed(stderr: &tempfile::NamedTempFile) -> String {
    fs::read_to_string(stderr.path()).unwrap()
}

#[test]
fn a_confined_agent_attaches_again_when_the_module_is_loaded_again() {
    in_guest();
    let mut modules = Modules::new();
    track();
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let running = agent(&stderr, &["--format", "influx", "--interval", "200ms"]);
    settled(&running, "", "insert", 0);
    assert_confined(&running, needed());
    let layers =
        printed(&stderr).lines().find(|line| line.contains("confined:")).unwrap().to_owned();
    println!("{layers}");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let landlock = if release.starts_with("5.10.") { "no Landlock (" } else { "Landlock " };
    assert!(layers.contains(landlock), "{layers}");

    track_no_more();
    modules.unload();
    // Probes, or trampolines before the module can be unloaded.
    wait_for_message(&stderr, " detached");
    modules.load();
    track();
    wait_for_message(&stderr, "hooks, counting from 0");
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let sockets: Vec<_> =
        (0..25).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for socket in &sockets {
        socket.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
    }
    let line = settled(&running, "", "insert", 25);
    assert_eq!(integer(&line, "new"), Some(25), "{line}");
    assert_confined(&running, needed());
    track_no_more();
}

#[test]
fn a_confined_agent_takes_up_a_namespace_that_was_replaced() {
    in_guest();
    let namespace = Namespace::new();
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let running = agent(&stderr, &["--interval", "200ms", "--netns", &namespace.name]);
    // The first row comes when the probes are attached.
    settled(&running, "", "insert", 0);
    let (_, sockets) = namespace.udp_flows(10);
    settled(&running, "", "insert", 10);
    assert_confined(&running, needed() | SYS_ADMIN);
    let name = namespace.name.clone();
    drop((sockets, namespace));
    wait_for_message(&stderr, "probes detached");
    let namespace = Namespace::named(name);
    wait_for_message(&stderr, "hooks, counting from 0");
    let (_, _sockets) = namespace.udp_flows(30);
    let line = settled(&running, "", "insert", 30);
    assert_eq!(integer(&line, "entries"), Some(30), "{line}");
}

#[test]
fn a_confined_agent_rotates_its_recording() {
    in_guest();
    track();
    let directory = tempfile::tempdir().unwrap();
    chown(directory.path(), Some(USER), Some(USER)).unwrap();
    let recording = directory.path().join("fw.influx.zst");
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let path = recording.to_str().unwrap();
    let mut running =
        agent(&stderr, &["--interval", "20ms", "--rotate", "4K", "--keep", "2", "--output", path]);
    wait_for("rotated twice", || Path::new(&format!("{path}.2")).exists());
    assert_confined(&running, needed());
    running.signal(rustix::process::Signal::INT);
    assert!(running.wait().0.success(), "{}", printed(&stderr));
    let report = ctpulse().arg("report").arg(&recording).output().unwrap();
    assert!(report.status.success(), "{}", text(&report.stderr));
    track_no_more();
}
