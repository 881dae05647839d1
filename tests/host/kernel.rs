//! The real binary on this host's kernel, in network namespaces that the tests make.
//!
//! Needs root, `ip` and `nft`. Where they are missing the tests print `NOT RUN HERE`.

mod netlink;
mod process;

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::support::{
    Namespace, Running, ctpulse, integer, may_make_namespaces, output, statistics, text,
};

/// All namespaces share the table's limit: a test that changes it takes the lock for writing, the
/// other tests for reading.
static LIMIT: RwLock<()> = RwLock::new(());

const SOON: Duration = Duration::from_secs(10);

#[test]
fn each_flow_is_one_entry() {
    if !may_make_namespaces("each_flow_is_one_entry") {
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    let namespace = Namespace::new();
    let _sockets = namespace.assert_flows_are_entries();
    // Another namespace sees none of them, and the own one neither.
    let other = Namespace::new();
    assert_eq!(integer(&statistics(&other.name), "entries"), Some(0));
}

#[test]
fn the_table_row_is_the_namespaces_own() {
    if !may_make_namespaces("the_table_row_is_the_namespaces_own") {
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    let namespace = Namespace::new();
    let _sockets = namespace.udp_flows(37);
    let name = &namespace.name;
    // By name and by path alike.
    for netns in [name.clone(), format!("/run/netns/{name}")] {
        let output = output(ctpulse().args(["--once", "--format", "influx", "--netns", &netns]));
        let text = text(&output.stdout);
        let table = text.lines().find(|line| line.contains(" ip_conntrack_count=")).unwrap();
        assert!(table.contains(" ip_conntrack_count=37,"), "{table}");
    }
}

#[test]
fn two_namespaces_are_distinguished_by_a_tag() {
    if !may_make_namespaces("two_namespaces_are_distinguished_by_a_tag") {
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    let (a, b) = (Namespace::new(), Namespace::new());
    let _sockets = (a.udp_flows(5), b.udp_flows(9));
    let arguments = ["--once", "--format", "influx", "--netns", &a.name, "--netns", &b.name];
    let text = text(&output(ctpulse().args(arguments)).stdout);
    for (namespace, flows) in [(&a, 5), (&b, 9)] {
        let tag = format!(",netns={}", namespace.name);
        let line = text.lines().find(|l| l.contains("cpu=all") && l.contains(&tag)).unwrap();
        assert_eq!(integer(line, "entries"), Some(flows));
    }
}

#[test]
fn a_namespace_that_is_deleted_is_reported_once_and_found_again() {
    if !may_make_namespaces("a_namespace_that_is_deleted_is_reported_once_and_found_again") {
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    let namespace = Namespace::new();
    let name = namespace.name.clone();
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let mut command = ctpulse();
    command.args(["--format", "influx", "--interval", "50ms", "--netns", &name]);
    command.stderr(stderr.reopen().unwrap());
    let running = Running::start(&mut command);
    assert!(running.line(SOON).is_some());
    drop(namespace);
    // Nothing comes any more, and the namespace is not kept alive by open files.
    let start = Instant::now();
    while running.line(Duration::from_millis(500)).is_some() {
        assert!(start.elapsed() < SOON, "rows of a namespace that was deleted");
    }
    let _again = Namespace::named(name);
    let line = running.line(SOON).expect("rows come again");
    assert!(line.starts_with("conntrack"), "{line}");
    let printed = std::fs::read_to_string(stderr.path()).unwrap();
    assert_eq!(printed.matches("was deleted").count(), 1, "{printed}");
    assert_eq!(printed.matches("reading /proc/").count(), 1, "{printed}");
}

#[test]
fn a_namespace_that_is_replaced_has_no_history() {
    if !may_make_namespaces("a_namespace_that_is_replaced_has_no_history") {
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    // Only what ctnetlink inserts is counted as `insert` by this kernel.
    let insert = |namespace: &Namespace, entries: u16| {
        for port in 1..=entries {
            let port = port.to_string();
            let tuple = ["-I", "-p", "udp", "-s", "10.0.0.1", "-d", "10.0.0.2", "-t", "60"];
            let ports = ["--sport", port.as_str(), "--dport", "53"];
            namespace.exec("conntrack", &[&tuple[..], &ports].concat());
        }
    };
    let (a, b) = (Namespace::new(), Namespace::new());
    insert(&a, 2);
    insert(&b, 9);
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("ns");
    std::os::unix::fs::symlink(format!("/run/netns/{}", a.name), &link).unwrap();
    let mut command = ctpulse();
    command.args(["--format", "influx", "--interval", "50ms", "--sample-interval", "5ms"]);
    let running = Running::start(command.arg("--netns").arg(&link));
    let rows = |insert: u64| {
        let start = Instant::now();
        while start.elapsed() < SOON {
            let line = running.line(SOON).unwrap();
            if !line.contains("cpu=all") {
                continue;
            }
            for field in ["insert_rate", "insert_rate_max"] {
                let rate = crate::support::number(&line, field).unwrap_or("0");
                assert_eq!(rate, "0", "nothing was inserted meanwhile: {line}");
            }
            if integer(&line, "insert") == Some(insert) {
                return;
            }
        }
        panic!("insert={insert} never came");
    };
    rows(2);
    let new = dir.path().join("new");
    std::os::unix::fs::symlink(format!("/run/netns/{}", b.name), &new).unwrap();
    std::fs::rename(&new, &link).unwrap();
    (0..5).for_each(|_| rows(9));
}

/// Applications' send errors are the growth of `drop` when the table is full. The limit is the
/// host's, so this runs only where the host itself tracks nothing.
#[test]
fn send_errors_are_the_growth_of_drop() {
    const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
    if !may_make_namespaces("send_errors_are_the_growth_of_drop") {
        return;
    }
    let _limit = LIMIT.write().unwrap_or_else(PoisonError::into_inner);
    let count = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap();
    if count.trim() != "0" {
        let reason = "this host tracks connections, and the limit is the host's";
        assert!(std::env::var_os("CI").is_none(), "it must run in CI, but {reason}");
        crate::support::not_run_here("send_errors_are_the_growth_of_drop", reason);
        return;
    }
    struct Restore(String);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = std::fs::write(MAX, &self.0);
        }
    }
    let namespace = Namespace::new();
    let line = statistics(&namespace.name);
    let before = (integer(&line, "drop").unwrap(), integer(&line, "early_drop").unwrap());
    let limit = Restore(std::fs::read_to_string(MAX).unwrap());
    std::fs::write(MAX, "50").unwrap();
    let (refused, _sockets) = namespace.udp_flows(300);
    drop(limit);
    let line = statistics(&namespace.name);
    let after = (integer(&line, "drop").unwrap(), integer(&line, "early_drop").unwrap());
    assert!(refused > 0, "300 flows do not fit into 50 entries");
    assert_eq!(after.0 - before.0, refused as u64, "{line}");
    assert_eq!(integer(&line, "entries").unwrap() + (after.1 - before.1), 300 - refused as u64);
}
