//! The statistics through ctnetlink: what procfs shows, number by number, on every kernel; and an
//! agent that has nothing else, with probes, without privileges, and while the module goes and
//! comes.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use crate::events::{all, counts_again, settled};
use crate::load::pin;
use crate::probes::{CPUS, Setting};
use crate::support::{Namespace, Running, ctpulse, integer, output, text};
use crate::{Modules, SOON, in_guest, track, track_no_more};

/// An agent that finds nothing below `/proc/net`: a file system of its own is mounted over it, which
/// goes with the process. `more` is put in there, or before the agent's start.
fn without_procfs(more: &str, arguments: &[&str]) -> Command {
    let agent = ctpulse();
    let script = format!("mount -t tmpfs none /proc/$$/net; {more} exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-ec", &script, "sh"]).arg(agent.get_program()).args(arguments);
    command.args(["--format", "influx"]);
    command.envs(agent.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// The agent is an ordinary user with these capabilities, as `setpriv` names them.
fn ordinary_user(capabilities: &str) -> String {
    format!(
        "set -- /usr/sbin/setpriv --reuid 65534 --regid 65534 --clear-groups \
         --bounding-set=-all{capabilities} --inh-caps=-all{capabilities} \
         --ambient-caps=-all{capabilities} \"$@\";"
    )
}

/// The fields of one reading by the rows' tags, without the time.
fn rows(namespace: &Namespace, source: &str) -> BTreeMap<String, String> {
    let arguments = ["--once", "--format", "influx", "--collect", "all,percpu"];
    let mut command = ctpulse();
    command.args(arguments).args(["--netns", &namespace.name, "--source", source]);
    let text = text(&output(&mut command).stdout);
    let row = |line: &str| {
        let mut parts = line.split(' ').map(str::to_owned);
        (parts.next().unwrap(), parts.next().unwrap())
    };
    text.lines().map(row).collect()
}

#[test]
fn both_sources_agree_on_every_cpu() {
    in_guest();
    let namespace = Namespace::new();
    let limit = Setting::max(50);
    let mut sockets = Vec::new();
    for cpu in 0..CPUS {
        // The threads that it starts are on the same CPU.
        let flows = std::thread::scope(|scope| {
            let on_cpu = || {
                pin(cpu);
                namespace.udp_flows(150)
            };
            scope.spawn(on_cpu).join().unwrap()
        });
        sockets.push(flows);
    }
    drop(limit);
    let tuple = ["-I", "-p", "udp", "-s", "10.0.0.1", "-d", "10.0.0.2", "-t", "60"];
    namespace.exec("conntrack", &[&tuple[..], &["--sport", "1", "--dport", "53"]].concat());
    let (procfs, netlink) = (rows(&namespace, "procfs"), rows(&namespace, "netlink"));
    println!("{procfs:#?}");
    assert_eq!(procfs.len(), 2 + CPUS);
    assert_eq!(procfs, netlink);
    let of = |tags: &str| {
        let (tags, fields) = procfs.iter().find(|(row, _)| row.contains(tags)).unwrap();
        format!("{tags} {fields}")
    };
    assert!(integer(&of("cpu=all"), "early_drop") > Some(0), "{procfs:?}");
    assert_eq!(integer(&of("cpu=all"), "insert"), Some(1));
    for cpu in ["cpu=cpu0", "cpu=cpu1"] {
        assert!(integer(&of(cpu), "drop") > Some(0), "{procfs:?}");
    }
}

#[test]
fn probes_count_beside_ctnetlink() {
    in_guest();
    let arguments = ["--ebpf", "on", "--interval", "200ms", "--sample-interval", "20ms"];
    let running = Running::start(&mut without_procfs("", &arguments));
    assert!(running.line(SOON).is_some(), "the agent does not start");
    counts_again(&running);
}

#[test]
fn probes_count_beside_ctnetlink_in_another_namespace() {
    in_guest();
    let namespace = Namespace::new();
    let mut command = ctpulse();
    command.args(["--ebpf", "on", "--format", "influx", "--interval", "200ms"]);
    command.args(["--source", "netlink", "--netns", &namespace.name]);
    let running = Running::start(&mut command);
    assert!(running.line(SOON).is_some(), "the agent does not start");
    let limit = Setting::max(50);
    let (refused, _sockets) = namespace.udp_flows(300);
    drop(limit);
    let refused = refused as u64;
    let line = settled(&running, "", "drop", refused);
    let early = integer(&line, "early_drop").unwrap();
    all(&line, &[("drop", refused), ("drop_table_full", refused), ("drop_other", 0)]);
    all(&line, &[("insert", 300 - refused), ("entries", 300 - refused - early)]);
}

#[test]
fn ctnetlink_needs_one_capability_and_names_it() {
    in_guest();
    track();
    let more = ["--ebpf", "off"];
    let arguments = [&more[..], &["--count", "3", "--interval", "300ms"]].concat();
    let granted = output(&mut without_procfs(&ordinary_user(",+net_admin"), &arguments));
    let printed = text(&granted.stderr);
    assert!(printed.lines().count() == 1 && printed.contains("come from ctnetlink"), "{printed}");
    assert!(text(&granted.stdout).contains("cpu=all"));
    let refused = output(&mut without_procfs(&ordinary_user(""), &arguments));
    let printed = text(&refused.stderr);
    println!("{printed}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
    assert!(printed.contains("missing CAP_NET_ADMIN"), "{printed}");
    let debug = [&arguments[..], &["--debug"]].concat();
    let printed = text(&output(&mut without_procfs(&ordinary_user(""), &debug)).stderr);
    for part in ["setcap cap_net_admin+ep", "AmbientCapabilities="] {
        assert!(printed.contains(part), "{printed}");
    }
    let rows = text(&refused.stdout);
    assert_eq!(rows.lines().count(), 3, "{rows}");
    assert!(rows.lines().all(|line| line.contains("ip_conntrack_max=")), "{rows}");
    track_no_more();
}

/// A kernel whose procfs lacks a column for an attribute of ctnetlink, as a backport may.
#[test]
fn ctnetlink_is_asked_where_it_has_more_than_procfs() {
    in_guest();
    track();
    let header = "entries  searched found new invalid ignore delete delete_list insert \
                  insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete \
                  search_restart";
    let words = ["00000001 "; 17].concat();
    let file = "/proc/$$/net/stat/nf_conntrack";
    let older = format!("mkdir /proc/$$/net/stat; printf '{header}\\n{words}\\n' > {file};");
    let more = ["--ebpf", "off"];
    let arguments = [&more[..], &["--count", "2", "--interval", "200ms"]].concat();
    let read = |source: &str| {
        let arguments = [&arguments[..], &["--source", source]].concat();
        let found = output(&mut without_procfs(&older, &arguments));
        (text(&found.stderr), text(&found.stdout))
    };
    let (printed, rows) = read("auto");
    assert!(printed.lines().count() == 1 && printed.contains("come from ctnetlink"), "{printed}");
    assert!(rows.contains("clash_resolve=") && !rows.contains("searched=1i"), "{rows}");
    let (printed, rows) = read("procfs");
    assert_eq!(printed, "");
    assert!(!rows.contains("clash_resolve=") && rows.contains("drop=1i"), "{rows}");
    track_no_more();
}

#[test]
fn a_module_that_comes_again_is_found_through_ctnetlink() {
    in_guest();
    let mut modules = Modules::new();
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let mut command = without_procfs("", &["--ebpf", "on", "--interval", "200ms"]);
    command.stderr(stderr.reopen().unwrap());
    let running = Running::start(&mut command);
    settled(&running, "", "insert", 0);
    modules.unload();
    while running.line(Duration::from_millis(600)).is_some() {}
    modules.load();
    counts_again(&running);
    let printed = std::fs::read_to_string(stderr.path()).unwrap();
    println!("{printed}");
    assert_eq!(printed.matches("warning: ").count(), 1, "{printed}");
    assert_eq!(printed.matches("reading ctnetlink").count(), 1, "{printed}");
}
