//! Least privilege: what the real binary's threads have given up, and what is refused from inside.
//! docs/security.md has the promises.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::{
    NOBODY, Namespace, Nobody, Running, ctpulse, may_make_namespaces, not_run_here, output, text,
};
use ctpulse::confine::{Needs, apply};
use ctpulse::source::netlink::Netlink;
use rustix::thread::LinkNameSpaceType;

const SOON: Duration = Duration::from_secs(20);
/// `CAP_SYS_ADMIN`, as `/proc/PID/status` has it.
const SYS_ADMIN: u64 = 1 << 21;

fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        not_run_here(test, "it needs root; `cargo xtask test` as root runs it");
    }
    is_root
}

/// Returns the value of `key` in `/proc` of each thread of a process, with the thread's name.
fn threads(pid: u32, key: &str) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let thread = |task: std::io::Result<fs::DirEntry>| {
        let task = task.unwrap().path();
        let status = fs::read_to_string(task.join("status")).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let name = fs::read_to_string(task.join("comm")).unwrap();
        (name.trim().to_owned(), value.unwrap_or_else(|| panic!("no {key}")).trim().to_owned())
    };
    let mut threads: Vec<_> = tasks.map(thread).collect();
    threads.sort();
    threads
}

/// Panics unless all threads of the process, of which there are `names`, are confined and keep
/// just these capabilities.
fn assert_confined(pid: u32, names: &[&str], kept: u64) {
    let of = |key: &str| threads(pid, key);
    // The first row may be there before the last thread is.
    let start = std::time::Instant::now();
    let found = || of("Pid").into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    while found() != names {
        assert!(start.elapsed() < SOON, "{:?} in place of {names:?}", found());
        std::thread::sleep(Duration::from_millis(10));
    }
    for (key, expected) in
        [("CapEff", kept), ("CapPrm", kept), ("CapInh", 0), ("CapAmb", 0), ("CapBnd", 0)]
    {
        for (name, value) in of(key) {
            assert_eq!(u64::from_str_radix(&value, 16), Ok(expected), "{key} of {name}");
        }
    }
    for (key, expected) in [("NoNewPrivs", "1"), ("Seccomp", "2")] {
        for (name, value) in of(key) {
            assert_eq!(value, expected, "{key} of {name}");
        }
    }
}

/// A started agent that has written its first row.
fn running(command: &mut Command) -> Running {
    let running = Running::start(command);
    assert!(running.line(SOON).is_some(), "no row");
    running
}

#[test]
fn every_thread_of_run_has_given_up_everything() {
    if !is_root("every_thread_of_run_has_given_up_everything") {
        return;
    }
    let mut run = ctpulse();
    run.args(["--format", "influx", "--interval", "50ms", "--ebpf", "off", "--debug"]);
    let running = running(run.stderr(Stdio::null()));
    assert_confined(running.child.id(), &["ctpulse", "sampler", "sink"], 0);
}

#[test]
fn every_thread_of_execd_has_given_up_everything() {
    if !is_root("every_thread_of_execd_has_given_up_everything") {
        return;
    }
    let mut execd = ctpulse();
    execd.args(["execd", "--interval", "50ms", "--ebpf", "off"]).stdin(Stdio::piped());
    let running = running(&mut execd);
    assert_confined(running.child.id(), &["ctpulse", "sampler", "sink", "stdin"], 0);
}

#[test]
fn only_what_another_namespace_needs_is_kept() {
    if !may_make_namespaces("only_what_another_namespace_needs_is_kept") {
        return;
    }
    let namespace = Namespace::new();
    let mut run = ctpulse();
    run.args(["--format", "influx", "--interval", "50ms", "--ebpf", "off"]);
    let mut running = running(run.args(["--netns", &namespace.name]));
    assert_confined(running.child.id(), &["ctpulse", "sampler", "sink"], SYS_ADMIN);
    // And it is enough: the namespace is replaced by another one of its name.
    let name = namespace.name.clone();
    drop(namespace);
    while running.line(Duration::from_millis(500)).is_some_and(|line| line.contains("cpu=all")) {}
    let namespace = Namespace::named(name);
    let (refused, _sockets) = namespace.udp_flows(7);
    assert_eq!(refused, 0);
    let start = std::time::Instant::now();
    while !running.line(SOON).unwrap().contains(" ip_conntrack_count=7") {
        assert!(start.elapsed() < SOON, "the new namespace is not read");
    }
    running.signal(rustix::process::Signal::INT);
    assert!(running.wait().0.success());
}

#[test]
fn confinement_is_absent_when_off_and_complete_when_on() {
    if !is_root("confinement_is_absent_when_off_and_complete_when_on") {
        return;
    }
    let mut run = ctpulse();
    run.args(["--format", "influx", "--interval", "50ms", "--ebpf", "off"]);
    let off = running(run.args(["--confine", "off"]));
    assert!(threads(off.child.id(), "Seccomp").iter().all(|(_, value)| value == "0"));
    assert!(threads(off.child.id(), "NoNewPrivs").iter().all(|(_, value)| value == "0"));

    let mut run = ctpulse();
    run.args(["--format", "influx", "--ebpf", "off", "--count", "2", "--interval", "50ms"]);
    let on = run.args(["--confine", "on", "--debug"]).output().unwrap();
    let printed = text(&on.stderr);
    if printed.contains("not confined by Landlock: ") {
        assert_eq!(on.status.code(), Some(1), "{printed}");
        assert!(printed.contains("auto goes on without what is missing"), "{printed}");
        not_run_here("confinement_is_absent_when_off_and_complete_when_on (Landlock)", &printed);
    } else {
        assert!(on.status.success() && text(&on.stdout).lines().count() == 4, "{printed}");
        assert!(
            printed.contains("confined: capabilities none; no_new_privs; Landlock "),
            "{printed}"
        );
    }
}

/// The layer and the reason first, in a line of a terminal, then the remedy.
#[test]
fn a_layer_that_is_in_the_way_of_a_process_is_named_in_a_short_line() {
    let test = "a_layer_that_is_in_the_way_of_a_process_is_named_in_a_short_line";
    if !is_root(test) {
        return;
    }
    let process = Running::start_unread(Command::new("sleep").arg("60"));
    let netns = format!("pid:{}", process.child.id());
    let mut run = ctpulse();
    run.args(["--ebpf", "off", "--count", "1", "--confine", "on", "--netns", &netns]);
    let told = text(&run.output().unwrap().stderr);
    assert!(told.starts_with("ctpulse: error: not confined by Landlock: "), "{told}");
    assert!(told.lines().all(|line| line.len() <= 100), "{told}");
    assert!(told.contains("auto goes on without"), "{told}");
}

#[test]
fn a_run_as_another_user_has_only_what_that_user_has() {
    if !is_root("a_run_as_another_user_has_only_what_that_user_has") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let recording = directory.path().join("fw.influx.zst");
    // With a group that it must not keep.
    let mut run = Command::new("setpriv");
    run.args(["--groups", "12345"]).arg(ctpulse().get_program()).stdin(Stdio::null());
    run.args(["--user", "65534:65534", "--interval", "2ms", "--sample-interval", "1ms"]);
    run.args(["--ebpf", "off", "--rotate", "4K", "--keep", "3", "--output"]).arg(&recording);
    crate::support::with_default_signals(&mut run);
    let mut running = Running::start(&mut run);
    let third = directory.path().join("fw.influx.zst.3");
    let start = std::time::Instant::now();
    while !third.exists() {
        assert!(start.elapsed() < SOON, "not rotated");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = running.child.id();
    assert_confined(pid, &["ctpulse", "sampler", "sink"], 0);
    for (name, value) in threads(pid, "Uid").into_iter().chain(threads(pid, "Gid")) {
        assert_eq!(value, ["65534"; 4].join("\t"), "{name}");
    }
    assert!(threads(pid, "Groups").iter().all(|(_, value)| value.is_empty()));
    running.signal(rustix::process::Signal::INT);
    assert!(running.wait().0.success());
    for file in fs::read_dir(directory.path()).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().uid(), NOBODY);
    }
    output(ctpulse().arg("report").arg(&recording));

    // The files of other users are not written, even when root started the program.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(directory.path(), Some(0), Some(0)).unwrap();
    let mut run = ctpulse();
    run.args(["--user", "65534:65534", "--count", "1", "--output"]);
    let refused = run.arg(directory.path().join("other.influx")).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("Permission denied"), "{}", text(&refused.stderr));
}

/// `doctor` reports the privileges that a run has.
#[test]
fn doctor_reports_the_privileges_of_a_run() {
    let layers = |text: &str, label: &str| {
        let line = text.lines().find(|line| line.contains(label));
        let line = line.unwrap_or_else(|| panic!("no '{label}' in {text}"));
        line.split_once("capabilities ").unwrap().1.to_owned()
    };
    let doctor = text(&ctpulse().arg("doctor").output().unwrap().stdout);
    let mut run = ctpulse();
    run.args(["--format", "influx", "--count", "2", "--interval", "50ms", "--debug"]);
    let had = text(&output(&mut run).stderr);
    assert_eq!(layers(&doctor, "a run would have "), layers(&had, " confined: "));
}

#[test]
fn an_unusable_user_is_an_error() {
    let run = |user: &str| ctpulse().args(["--user", user, "--count", "1"]).output().unwrap();
    // The group counts as well: the user 65534 with root's group is not the requested user.
    if rustix::process::geteuid().is_root() {
        let directory = tempfile::tempdir().unwrap();
        let made = directory.path().join("made.influx");
        output(ctpulse().args(["--user", "0:65534", "--count", "1", "--output"]).arg(&made));
        assert_eq!(made.metadata().unwrap().gid(), NOBODY);
    }
    let nobody = run("no-such-user");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("no user 'no-such-user' in /etc/passwd"));
    if rustix::process::geteuid().is_root() {
        let nobody = Nobody::new();
        let mut other = nobody.ctpulse();
        let refused = other.args(["--user", "1:1", "--count", "1"]).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("only root can"), "{}", text(&refused.stderr));
    }
}

/// A dropped privilege is needed to create a new file: the old file is continued.
#[test]
fn a_file_that_cannot_be_created_again_is_reported_and_the_old_file_continues() {
    if !is_root("a_file_that_cannot_be_created_again_is_reported_and_the_old_file_continues") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (path, aside) = (directory.path().join("f.influx"), directory.path().join("aside"));
    fs::write(&path, "").unwrap();
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut run = ctpulse();
    run.args([
        "--format",
        "influx",
        "--interval",
        "20ms",
        "--ebpf",
        "off",
        "--user",
        "65534:65534",
    ]);
    let _running =
        Running::start_unread(run.arg("--output").arg(&path).stderr(log.reopen().unwrap()));
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let start = std::time::Instant::now();
        while !is_so() {
            let printed = fs::read_to_string(log.path()).unwrap();
            assert!(start.elapsed() < SOON, "never: {what}: {printed}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let length = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    until("rows", &|| length(&path) > 0);
    fs::rename(&path, &aside).unwrap();
    let warning = format!(
        "rows go on into the old file: the directory {} takes no new files: Permission denied",
        directory.path().display()
    );
    until(&warning, &|| {
        let printed = fs::read_to_string(log.path()).unwrap();
        printed.contains(&warning) && printed.contains("given up at the start")
    });
    let before = length(&aside);
    until("rows in the old file", &|| length(&aside) > before);
    // Once there is a file that this user may write, it is written.
    fs::write(&path, "").unwrap();
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    until("rows in the new file", &|| length(&path) > 0);
}

#[test]
fn an_ordinary_user_needs_no_privileges_and_gets_one_line() {
    if !is_root("an_ordinary_user_needs_no_privileges_and_gets_one_line") {
        return;
    }
    let rows = |command: &mut Command| {
        let output = output(command.args(["--count", "3", "--interval", "50ms"]));
        let (rows, printed) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(rows.lines().filter(|row| row.contains("cpu=all")).count(), 3, "{rows}");
        assert_eq!(rows.lines().filter(|row| row.contains("ip_conntrack_max=")).count(), 3);
        printed
    };
    let nobody = Nobody::new();
    let printed = rows(nobody.ctpulse().args(["--format", "influx"]));
    assert_eq!(printed.lines().count(), 1, "{printed}");
    assert!(
        printed.contains("probes are off: missing CAP_BPF and CAP_PERFMON;")
            || printed.contains("probes are off: this kernel has no kprobes;"),
        "{printed}"
    );
    let printed = rows(nobody.ctpulse().args(["--format", "influx", "--ebpf", "off"]));
    assert_eq!(printed, "");
}

/// The acts of an intruder in a process that is confined as an agent with `--netns` and a rotated
/// recording is; run by the tests below in a process of its own.
#[test]
#[ignore = "the tests below run it"]
fn intruder() {
    let Ok(order) = std::env::var("CTPULSE_INTRUDER") else { return };
    let [directory, what, path] = *order.split('|').collect::<Vec<_>>() else { panic!("{order}") };
    let path = Path::new(path);
    let mut needs = Needs::nothing();
    needs.namespaces = true;
    needs.directory = Some(directory.into());
    needs.renames = true;
    // A scraper's connection, as an agent with a listener and ctnetlink has it.
    let connection = (what == "connect").then(|| {
        (needs.netlink, needs.listener) = (true, true);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        (std::net::TcpStream::connect(to).unwrap(), to)
    });
    needs.netlink |= what == "netlink";
    println!("{}", apply(&needs));
    let enter = |kind| {
        let file = fs::File::open(path)?;
        Ok(rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind))?)
    };
    let tcp = || {
        let (family, kind) = (rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM);
        rustix::net::socket(family, kind, None)
    };
    let done: std::io::Result<()> = match what {
        "nothing" => Ok(()),
        "thread" => std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join().unwrap()),
        "execute" => Err(Command::new(path).exec()),
        "spawn" => Command::new(path).status().map(|_| ()),
        "socket" => tcp().map(|_| ()).map_err(Into::into),
        "netlink" => Netlink::open().map(|_| ()).map_err(std::io::Error::other),
        "connect" => {
            let (stream, to) = connection.unwrap();
            rustix::net::connect(&stream, &to).map_err(Into::into)
        }
        "read" => fs::read(path).map(|_| ()),
        "write" => fs::write(path, "x"),
        "rename" => fs::rename(path, path.with_extension("1")),
        "link" => std::os::unix::fs::symlink("/", path),
        "chroot" => std::os::unix::fs::chroot(path),
        "network" => enter(LinkNameSpaceType::Network),
        "mounts" => enter(LinkNameSpaceType::Mount),
        "abort" => std::process::abort(),
        other => panic!("{other}"),
    };
    if let Err(error) = done {
        println!("REFUSED: {error}");
        std::process::exit(7);
    }
    println!("DONE");
}

fn intrude(directory: &Path, what: &str, path: &Path) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "confine::intruder", "--ignored", "--nocapture", "--test-threads", "1"]);
    let order = format!("{}|{what}|{}", directory.display(), path.display());
    child.env("CTPULSE_INTRUDER", order).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn an_intruder_is_refused_and_the_agent_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (inside, outside) = (directory.path().join("in"), directory.path().join("out"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(inside.join("file"), "x").unwrap();
    fs::write(outside.join("file"), "x").unwrap();
    let intrude = |what: &str, path: &Path| {
        let output = intrude(&inside, what, path);
        (output.status, text(&output.stdout))
    };
    let (_, layers) = intrude("nothing", Path::new(""));
    let landlock = layers.contains("; Landlock ");
    assert!(layers.contains("; seccomp\n") && layers.contains("DONE"), "{layers}");

    let root = rustix::process::geteuid().is_root();
    for (what, path) in [
        ("thread", "".into()),
        ("read", "/proc/net/stat/nf_conntrack".into()),
        ("read", "/sys/devices/system/cpu/possible".into()),
        ("write", inside.join("new")),
        ("rename", inside.join("file")),
        ("netlink", "".into()),
        ("network", "/proc/self/ns/net".into()),
    ] {
        if what == "network" && !root {
            continue;
        }
        let (status, printed) = intrude(what, &path);
        assert!(printed.contains("DONE"), "{what} {}: {status} {printed}", path.display());
    }
    // The process ends at once, by a signal that names the reason.
    for (what, path) in [("execute", "/bin/true"), ("socket", ""), ("chroot", "/")] {
        let (status, printed) = intrude(what, Path::new(path));
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{what}: {status} {printed}");
    }
    let (status, _) = intrude("abort", Path::new(""));
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}");
    // As a kernel without the call would.
    for (what, path) in [
        ("spawn", Path::new("/bin/true")),
        ("link", &inside.join("link")),
        ("connect", Path::new("")),
        ("mounts", Path::new("/proc/self/ns/mnt")),
    ] {
        let (status, printed) = intrude(what, path);
        assert!(
            printed.contains("REFUSED: Function not implemented"),
            "{what}: {status} {printed}"
        );
    }
    if !landlock {
        not_run_here("an_intruder_is_refused_and_the_agent_is_not (Landlock)", layers.trim());
        return;
    }
    for (what, path) in [
        ("read", Path::new("/etc/passwd")),
        ("read", &outside.join("file")),
        ("write", &outside.join("file")),
        ("write", &outside.join("new")),
        ("write", Path::new("/proc/self/comm")),
        ("rename", &outside.join("file")),
    ] {
        let (status, printed) = intrude(what, path);
        assert!(printed.contains("REFUSED: Permission denied"), "{what}: {status} {printed}");
    }
}
