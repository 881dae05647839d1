//! An agent that is not root: the capabilities that it needs, and its messages without them.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;

use crate::events::settled;
use crate::in_guest;
use crate::support::{Running, ctpulse, integer, text};

/// The agent as an ordinary user with these capabilities (as `setpriv` names them) and this limit
/// of locked memory.
fn unprivileged(capabilities: &str, locked_memory: &str) -> Command {
    let agent = ctpulse();
    let mut command = Command::new("sh");
    let script = format!(
        "ulimit -l {locked_memory}; exec /usr/sbin/setpriv --reuid 65534 --regid 65534 --clear-groups \
         --bounding-set=-all,{capabilities} --inh-caps=-all,{capabilities} \
         --ambient-caps=-all,{capabilities} {} \"$@\"",
        agent.get_program().to_str().unwrap()
    );
    command.args(["-c", &script, "sh", "--format", "influx"]);
    command
}

/// Returns the error of an agent that requires probes and cannot attach them.
fn refusal(capabilities: &str, locked_memory: &str) -> String {
    let mut command = unprivileged(capabilities, locked_memory);
    let refused = command.args(["--ebpf", "on", "--count", "1"]).output().unwrap();
    let printed = text(&refused.stderr);
    println!("{printed}");
    assert_eq!(refused.status.code(), Some(1), "{printed}");
    assert!(printed.lines().count() >= 2, "the reason, and the details: {printed}");
    assert!(printed.lines().next().unwrap().len() <= 100, "{printed}");
    assert!(refused.stdout.is_empty());
    printed
}

/// A setting of the kernel while a test runs.
struct Sysctl(&'static str, String);

impl Sysctl {
    fn new(path: &'static str, value: &str) -> Self {
        let before = fs::read_to_string(path).unwrap();
        fs::write(path, value).unwrap();
        Self(path, before)
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        fs::write(self.0, self.1.trim()).unwrap();
    }
}

#[test]
fn two_capabilities_are_enough() {
    in_guest();
    let _paranoid = Sysctl::new("/proc/sys/kernel/perf_event_paranoid", "2");
    crate::track();
    let mut command = unprivileged("+bpf,+perfmon", "unlimited");
    command.args(["--ebpf", "on", "--interval", "200ms"]);
    let running = Running::start(&mut command);
    settled(&running, "", "insert", 0);
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sockets: Vec<_> = (0..25).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for socket in &sockets {
        socket.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
    }
    let line = settled(&running, "", "insert", 25);
    assert_eq!((integer(&line, "insert"), integer(&line, "new")), (Some(25), Some(25)), "{line}");
    crate::track_no_more();
}

#[test]
fn missing_capabilities_are_named_with_their_remedy() {
    in_guest();
    let paranoid = Sysctl::new("/proc/sys/kernel/perf_event_paranoid", "2");
    let mend = ["setcap cap_bpf,cap_perfmon+ep", "AmbientCapabilities=CAP_BPF CAP_PERFMON"];
    for (has, lacks) in [
        ("+chown", "missing CAP_BPF and CAP_PERFMON;"),
        ("+bpf", "missing CAP_PERFMON;"),
        ("+perfmon", "missing CAP_BPF;"),
    ] {
        let printed = refusal(has, "unlimited");
        assert!(printed.contains(lacks), "{printed}");
        assert!(mend.iter().all(|mend| printed.contains(mend)), "{printed}");
    }
    drop(paranoid);

    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    if release.starts_with("5.10.") {
        // Only before 5.11 are maps locked memory.
        let printed = refusal("+bpf,+perfmon", "64");
        assert!(printed.contains("ulimit -l unlimited"), "{printed}");
        assert!(printed.contains("LimitMEMLOCK=infinity"), "{printed}");
    }

    // Without any of it the kernel's own counters go on, with one line that says why.
    let mut command = unprivileged("+chown", "unlimited");
    let auto = command.args(["--count", "1"]).output().unwrap();
    assert!(auto.status.success());
    assert!(text(&auto.stdout).contains("cpu=all"));
    let printed = text(&auto.stderr);
    assert_eq!(printed.lines().count(), 1, "{printed}");
    assert!(printed.contains("missing CAP_BPF and CAP_PERFMON"), "{printed}");
}
