//! `--netns pid:N`: the namespace of a process, for as long as the number is its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::PoisonError;
use std::time::Instant;

use ctpulse::source::namespace::identity;
use rustix::process::Signal;

use crate::kernel::{LIMIT, SOON};
use crate::support::{
    Namespace, Running, ctpulse, integer, may_make_namespaces, not_run_here, output, statistics,
};

/// The number that the next process gets is the one after this.
const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// A process in a namespace, which ends with this.
struct Sleeper(Child);

impl Sleeper {
    fn start(namespace: &Namespace) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace.name, "sleep", "60"]);
        let sleeper = Self(command.spawn().unwrap());
        let own = PathBuf::from(format!("/proc/{}/ns/net", sleeper.number()));
        let theirs = identity(&Path::new("/run/netns").join(&namespace.name)).unwrap();
        let start = Instant::now();
        while identity(&own).ok() != Some(theirs) {
            assert!(start.elapsed() < SOON, "the process does not enter its namespace");
            std::thread::yield_now();
        }
        sleeper
    }

    /// Starts one with the number `number`, which no process has now.
    fn start_as(namespace: &Namespace, number: u32) -> Self {
        // Others take numbers meanwhile.
        for _ in 0..500 {
            std::fs::write(LAST_PID, (number - 1).to_string()).unwrap();
            let sleeper = Self::start(namespace);
            if sleeper.number() == number {
                return sleeper;
            }
        }
        panic!("no process could be started as {number}");
    }

    fn number(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The file of another process's namespace needs another capability than entering it.
#[test]
fn the_capability_that_is_missing_for_a_process_is_named() {
    let name = "the_capability_that_is_missing_for_a_process_is_named";
    if !may_make_namespaces(name) {
        return;
    }
    let namespace = Namespace::new();
    let sleeper = Sleeper::start(&namespace);
    let (by_number, by_path) =
        (format!("pid:{}", sleeper.number()), format!("/proc/{}/ns/net", sleeper.number()));
    for (capability, netns, expected) in [
        ("sys_ptrace", &by_path, "missing CAP_SYS_PTRACE to enter "),
        ("sys_admin", &by_path, "missing CAP_SYS_ADMIN to enter "),
        ("sys_ptrace", &by_number, "no ip_conntrack_count: missing CAP_SYS_PTRACE"),
        ("sys_admin", &by_number, "no ip_conntrack_count: missing CAP_SYS_ADMIN"),
    ] {
        let without = format!("-{capability}");
        let run = |arguments: &[&str]| {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set", &without, "--inh-caps", &without]);
            command.arg(crate::support::binary()).args(arguments).args(["--netns", netns]);
            command.output().unwrap()
        };
        let found = run(&["--ebpf", "off", "--once", "--format", "influx"]);
        let told = String::from_utf8_lossy(&found.stderr);
        assert!(told.contains(expected), "{capability}, {netns}: {told}");
        if *netns == by_number {
            let found = run(&["doctor"]);
            let told = String::from_utf8_lossy(&found.stdout);
            let remedy = format!("it needs CAP_{}", capability.to_uppercase());
            assert!(told.contains(&remedy), "{capability}: {told}");
        }
    }
}

#[test]
fn a_process_names_its_namespace() {
    if !may_make_namespaces("a_process_names_its_namespace") {
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    let namespace = Namespace::new();
    let _sockets = namespace.udp_flows(21);
    let sleeper = Sleeper::start(&namespace);
    let line = statistics(&format!("pid:{}", sleeper.number()));
    assert_eq!(integer(&line, "entries"), Some(21));
}

/// The number was followed to the next process that got it.
#[test]
fn an_input_ends_with_its_process_even_if_another_gets_its_number() {
    if !may_make_namespaces("an_input_ends_with_its_process_even_if_another_gets_its_number") {
        return;
    }
    if !Path::new(LAST_PID).exists() {
        let reason = "this kernel has no ns_last_pid (CONFIG_CHECKPOINT_RESTORE)";
        not_run_here("an_input_ends_with_its_process_even_if_another_gets_its_number", reason);
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    let (own, other) = (Namespace::new(), Namespace::new());
    let _sockets = (own.udp_flows(4), other.udp_flows(9));
    for sampled in ["all", "none"] {
        let sleeper = Sleeper::start(&own);
        let number = sleeper.number();
        let config = tempfile::NamedTempFile::new().unwrap();
        let collect = if sampled == "all" { "collect = ['all']" } else { "" };
        let input = format!("[[inputs.conntrack]]\n{collect}\nnetns = 'pid:{number}'\n");
        std::fs::write(config.path(), input).unwrap();
        let stderr = tempfile::NamedTempFile::new().unwrap();
        let mut command = ctpulse();
        command.args(["--interval", "1s", "--format", "influx", "--config"]).arg(config.path());
        let mut running = Running::start(command.stderr(stderr.reopen().unwrap()));
        let first = running.line(SOON).expect("a row");
        drop(sleeper);
        let _another = Sleeper::start_as(&other, number);
        let rows = running.rest();
        let (status, _) = running.wait();
        let messages = std::fs::read_to_string(stderr.path()).unwrap();
        for row in rows.iter().chain([&first]) {
            for other in [" ip_conntrack_count=9,", ",entries=9i,"] {
                assert!(!row.contains(other), "{row}\n{messages}");
            }
        }
        let ended = format!("process {number} has ended");
        assert_eq!(messages.matches(&ended).count(), 1, "{messages}");
        assert!(!messages.contains("was deleted"), "{messages}");
        assert_eq!(status.code(), Some(1), "{messages}");
    }
}

#[test]
fn other_inputs_go_on_when_the_process_of_one_ends() {
    if !may_make_namespaces("other_inputs_go_on_when_the_process_of_one_ends") {
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    let (a, b) = (Namespace::new(), Namespace::new());
    let sleeper = Sleeper::start(&a);
    let pid = format!("pid:{}", sleeper.number());
    let mut command = ctpulse();
    command.args(["--interval", "100ms", "--format", "influx"]);
    let running = Running::start(command.args(["--netns", &pid, "--netns", &b.name]));
    let tag = format!(",netns={pid}");
    let start = Instant::now();
    while !running.line(SOON).unwrap().contains(&tag) {
        assert!(start.elapsed() < SOON, "no row of the process");
    }
    drop(sleeper);
    // Rows of the other alone.
    let mut alone = 0;
    while alone < 20 {
        let row = running.line(SOON).expect("the other input goes on");
        alone = if row.contains(&tag) { 0 } else { alone + 1 };
        assert!(start.elapsed() < SOON, "rows of a process that has ended: {row}");
    }
}

#[test]
fn a_missing_process_is_an_error() {
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let netns = format!("pid:{}", gone.id());
    let mut command = ctpulse();
    command.args(["--interval", "100ms", "--format", "influx", "--netns", &netns]);
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let mut running = Running::start(command.stderr(stderr.reopen().unwrap()));
    let (status, _) = running.wait();
    let messages = std::fs::read_to_string(stderr.path()).unwrap();
    assert_eq!(status.code(), Some(1), "{messages}");
    let said = format!("there is no process {}", gone.id());
    assert_eq!(messages.matches(&said).count(), 1, "{messages}");
    assert_eq!(running.rest(), Vec::<String>::new());
    // The own namespace is there.
    output(ctpulse().args(["--once", "--format", "influx", "--netns", "self"]));
}

/// A reload makes the inputs again, and with them what `pid:N` stood for.
#[test]
fn a_reload_does_not_follow_a_number_to_another_process() {
    let name = "a_reload_does_not_follow_a_number_to_another_process";
    if !may_make_namespaces(name) {
        return;
    }
    if !Path::new(LAST_PID).exists() {
        not_run_here(name, "this kernel has no ns_last_pid (CONFIG_CHECKPOINT_RESTORE)");
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    let (own, other, steady) = (Namespace::new(), Namespace::new(), Namespace::new());
    let _sockets = (own.udp_flows(4), other.udp_flows(9));
    let sleeper = Sleeper::start(&own);
    let number = sleeper.number();
    let config = tempfile::NamedTempFile::new().unwrap();
    let write = |comment: &str| {
        let input = |netns: &str| format!("[[inputs.conntrack]]\nnetns = '{netns}'\n");
        let inputs = input(&format!("pid:{number}")) + &input(&steady.name);
        std::fs::write(config.path(), format!("{comment}\n{inputs}")).unwrap();
    };
    write("# first");
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let messages = || std::fs::read_to_string(stderr.path()).unwrap();
    let wait_for_message = |text: &str, count: usize| {
        let start = Instant::now();
        while messages().matches(text).count() < count {
            assert!(start.elapsed() < SOON, "no '{text}' in {}", messages());
            std::thread::yield_now();
        }
    };
    let mut command = ctpulse();
    command.args(["--interval", "100ms", "--format", "influx", "--config"]).arg(config.path());
    let mut running = Running::start(command.stderr(stderr.reopen().unwrap()));
    let tag = format!(",netns=pid:{number} ");
    while !running.line(SOON).expect("a row").contains(&tag) {}
    drop(sleeper);
    let _another = Sleeper::start_as(&other, number);
    let ended = format!("process {number} has ended");
    wait_for_message(&ended, 1);

    write("# second");
    running.signal(Signal::HUP);
    wait_for_message("is reloaded", 1);
    wait_for_message(&ended, 2);
    running.signal(Signal::TERM);
    for row in running.rest().iter().filter(|row| row.contains(&tag)) {
        assert!(!row.contains(" ip_conntrack_count=9,"), "{row}\n{}", messages());
    }
    running.wait();
}
