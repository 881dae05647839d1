//! The real binary while things go wrong around it: files that are damaged, cut or unreadable, a
//! process that is stopped for a while, readers that die, and a second agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Running, copy_of, ctpulse, fixture, integer, number, output, roots, text};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(10);

fn statistics_of(root: &Path) -> PathBuf {
    root.join("proc/net/stat/nf_conntrack")
}

/// The one `cpu=all` row of a reading.
fn row(root: &Path) -> String {
    let command = ["--once", "--format", "influx", "--quiet"];
    let found = text(&output(ctpulse().args(command).args(roots(root))).stdout);
    found.lines().find(|line| line.contains("cpu=all")).unwrap_or_else(|| panic!("{found}")).into()
}

/// What was written to a log file so far.
struct Log(tempfile::NamedTempFile);

impl Log {
    fn of(command: &mut Command) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        command.stderr(file.reopen().unwrap());
        Self(file)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.0.path()).unwrap()
    }

    /// How often it has said `words` once it has.
    fn wait_for(&self, words: &str) -> usize {
        let start = Instant::now();
        while !self.text().contains(words) {
            assert!(start.elapsed() < SOON, "never told that {words}: {}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.text().matches(words).count()
    }
}

#[test]
fn unknown_columns_are_kept_under_their_names() {
    let root = copy_of("one-cpu");
    let header = "entries  clashres found new invalid ignore quantum drop";
    let text = format!("{header}\n00000005  1 2 3 4 5 0000beef 7\n");
    fs::write(statistics_of(root.path()), text).unwrap();
    let row = row(root.path());
    assert_eq!(integer(&row, "quantum"), Some(0xbeef), "{row}");
    assert_eq!((integer(&row, "drop"), integer(&row, "entries")), (Some(7), Some(5)), "{row}");
}

#[test]
fn a_line_of_a_mebibyte_loses_no_other_line() {
    let root = copy_of("5.15");
    let path = statistics_of(root.path());
    let whole = fs::read_to_string(&path).unwrap();
    let expected = integer(&row(root.path()), "drop").unwrap();
    // As a row of words, as one word, and as a row of bytes that are no text.
    for long in ["00000001 ".repeat(1 << 17), "f".repeat(1 << 20), "\u{1b}".repeat(1 << 20)] {
        fs::write(&path, format!("{whole}{long}\n")).unwrap();
        let row = row(root.path());
        // Of a row of words the columns that the header names are used.
        let more = u64::from(long.starts_with('0'));
        assert_eq!(integer(&row, "drop"), Some(expected + more));
    }
    // As the header: then there is nothing to go by, and it is said in one line.
    fs::write(&path, format!("entries {}\n{whole}", "x ".repeat(1 << 19))).unwrap();
    let mut command = ctpulse();
    command.args(["--once", "--format", "influx"]).args(roots(root.path()));
    let told = text(&command.output().unwrap().stderr);
    assert!(told.contains("line 1 names 1025 columns; at most 1024 are read"), "{told}");
    assert!(told.len() < 1000, "{told}");
}

#[test]
fn an_unreadable_file_is_reported_once_and_found_again() {
    let root = copy_of("5.15");
    let path = statistics_of(root.path());
    let aside = path.with_extension("aside");
    let mut command = ctpulse();
    command.args(["--interval", "50ms", "--format", "influx"]).args(roots(root.path()));
    let log = Log::of(&mut command);
    fs::rename(&path, &aside).unwrap();
    // It can be opened, and every read fails.
    fs::create_dir(&path).unwrap();
    let running = Running::start(&mut command);
    log.wait_for("cannot read ");
    // The table row goes on without it.
    for _ in 0..10 {
        let line = running.line(SOON).unwrap();
        assert!(line.contains("ip_conntrack_max="), "{line}");
    }
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    let start = Instant::now();
    while !running.line(SOON).unwrap().contains("cpu=all") {
        assert!(start.elapsed() < SOON, "it is not found again");
    }
    log.wait_for("reading ");
    assert_eq!(log.text().lines().count(), 2, "{}", log.text());
}

/// While somebody cuts the file anywhere, again and again, what is read of it is true.
#[test]
fn a_file_truncated_during_a_read_gives_no_wrong_number() {
    let root = copy_of("one-cpu");
    let path = statistics_of(root.path());
    let header = fs::read_to_string(&path).unwrap().lines().next().unwrap().to_owned();
    let columns = header.split_whitespace().count();
    let row = vec!["12345678"; columns].join(" ");
    let whole = format!("{header}\n{row}\n");
    fs::write(&path, &whole).unwrap();
    let mut command = ctpulse();
    command.args(["--interval", "5ms", "--sample-interval", "1ms", "--format", "influx"]);
    command.arg("--quiet").args(roots(root.path()));
    let running = Running::start(&mut command);
    let file = fs::File::options().write(true).open(&path).unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..400 {
        // In place, as the agent has it open.
        file.set_len(random.u64(0..whole.len() as u64)).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        std::os::unix::fs::FileExt::write_all_at(&file, whole.as_bytes(), 0).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut rows = 0;
    while let Some(line) = running.line(Duration::from_millis(200)) {
        rows += usize::from(line.contains("cpu=all"));
        let fields = line.split(' ').nth(1).unwrap().split(',');
        for (name, value) in fields.filter_map(|field| field.split_once('=')) {
            let counted = header.contains(name) || name.starts_with("entries");
            if counted && !name.starts_with("ip_") {
                assert_eq!(integer(&line, name), Some(0x1234_5678), "{name} in {line}");
            }
            assert!(!name.ends_with("_rate") || value == "0", "nothing happened: {line}");
        }
        if rows > 300 {
            return;
        }
    }
    panic!("only {rows} rows");
}

/// A machine that slept, a debugger, a freezer: ticks are missed and told, nothing comes in a
/// burst, and rates are of the time that went by.
#[test]
fn a_stopped_process_continues_with_one_row_and_correct_rates() {
    let root = copy_of("5.15");
    let path = statistics_of(root.path());
    let text = fs::read_to_string(&path).unwrap();
    let mut command = ctpulse();
    command.args(["--interval", "100ms", "--sample-interval", "10ms", "--format", "influx"]);
    let running = Running::start(command.args(roots(root.path())));
    let rows = |number: usize| -> Vec<String> {
        let all = std::iter::from_fn(|| running.line(SOON)).filter(|l| l.contains("cpu=all"));
        all.take(number).collect()
    };
    let before = rows(5).pop().unwrap();
    running.signal(Signal::STOP);
    // What was written before the stop took hold.
    let mut last = before;
    while let Some(line) = running.line(Duration::from_millis(300)) {
        if line.contains("cpu=all") {
            last = line;
        }
    }
    // Meanwhile 0x300 packets are dropped.
    let file = fs::File::options().write(true).open(&path).unwrap();
    let happened = text.replacen(" 000000aa ", " 000003aa ", 1);
    assert_ne!(text, happened);
    std::os::unix::fs::FileExt::write_all_at(&file, happened.as_bytes(), 0).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    running.signal(Signal::CONT);
    let resumed = Instant::now();
    let after = rows(10);
    let took = resumed.elapsed();

    let time = |line: &str| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap();
    let (first, stopped) = (&after[0], (time(&after[0]) - time(&last)) as f64 / 1e9);
    assert!(stopped > 3.0, "stopped for {stopped} s");
    // The rows that were slept through do not follow: ten rows take the time of ten, but for the
    // first, which was due, and the second, which is in time again.
    assert!(took > Duration::from_millis(750), "10 rows within {took:?}");
    for pair in after[1..].windows(2) {
        let apart = (time(&pair[1]) - time(&pair[0])) as f64 / 1e6;
        assert!(apart > 50.0, "rows {apart} ms apart after {stopped} s");
    }
    let missed = |line: &str| integer(line, "samples_missed").unwrap();
    let told = missed(&after[1]) - missed(&last);
    let expected = (stopped * 100.0) as u64;
    assert!(told.abs_diff(expected) < 30, "{told} samples missed of {expected}");
    assert_eq!(integer(first, "rows_lost"), Some(0));
    // The events are in the rate of the row that covers the stop.
    let events = number(first, "drop_rate").unwrap().parse::<f64>().unwrap() * stopped;
    assert!((events - 768.0).abs() < 768.0 * 0.05, "{events} of 768 events in {first}");
    for line in &after[1..] {
        assert_eq!(number(line, "drop_rate"), Some("0"), "{line}");
    }
}

/// The file of another boot: one CPU's counter shows it, the other's is higher than before.
#[test]
fn a_plain_file_that_starts_again_is_reported_and_makes_no_burst() {
    let root = copy_of("5.15");
    let path = statistics_of(root.path());
    let text = |drops: [u32; 4]| {
        let row = |drop: u32| format!("00000005  00000001 00000002 {drop:08x}\n");
        format!("entries  clashres found drop\n{}", drops.map(row).concat())
    };
    fs::write(&path, text([6_000_000, 10, 0, 0])).unwrap();
    let mut command = ctpulse();
    command.args(["--interval", "100ms", "--sample-interval", "10ms", "--format", "influx"]);
    let log = Log::of(command.args(roots(root.path())));
    let running = Running::start(&mut command);
    let row_with = |drops: u64| -> String {
        let rows = std::iter::from_fn(|| running.line(SOON));
        rows.into_iter().find(|row| integer(row, "drop") == Some(drops)).unwrap()
    };
    let is_still = |row: &str| {
        for field in ["drop_rate", "drop_rate_max"] {
            let rate = number(row, field);
            assert!(matches!(rate, None | Some("0")), "{field} in {row}");
        }
    };
    row_with(6_000_010);
    let file = fs::File::options().write(true).open(&path).unwrap();
    let write = |drops| {
        let text = text(drops);
        std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), 0).unwrap();
    };
    write([5_000_000, 500, 0, 0]);
    is_still(&row_with(5_000_500));
    assert_eq!(log.wait_for("started again"), 1);
    is_still(&row_with(5_000_500));
    write([5_000_000, 540, 0, 0]);
    let next = row_with(5_000_540);
    let most = integer(&next, "drop_sample_max").unwrap();
    // Of a sample that is late, be it by less than a tick, its peak is the part that falls into the time of
    // one.
    assert!((1..=40).contains(&most), "{next}");
    assert_eq!(log.text().matches("started again").count(), 1, "{}", log.text());
}

/// `ctpulse | consumer`, where the consumer runs out of memory or is killed.
#[test]
fn a_killed_consumer_ends_the_run_without_an_error() {
    let starved = "ulimit -v 20000; x=; while read -r line; do x=$x$x$line; done";
    let killed = "read -r line; kill -KILL $$";
    for consumer in [starved, killed] {
        let mut command = ctpulse();
        command.args(["--interval", "5ms", "--format", "influx", "--stats"]);
        let mut running =
            Running::start_unread(command.args(roots(&fixture("5.15"))).stderr(Stdio::piped()));
        let rows = running.child.stdout.take().unwrap();
        let mut reader = Command::new("sh");
        reader.args(["-c", consumer]).stdin(rows).stderr(Stdio::null());
        let died = reader.spawn().unwrap().wait().unwrap();
        drop(reader);
        assert!(!died.success(), "the consumer ended well: {consumer}");
        let (status, took) = running.wait();
        assert!(status.success() && took < Duration::from_secs(1), "{status} after {took:?}");
        let mut told = String::new();
        let stderr = running.child.stderr.as_mut().unwrap();
        std::io::Read::read_to_string(stderr, &mut told).unwrap();
        assert_eq!(told.lines().count(), 1, "nothing but --stats: {told}");
    }
}

#[test]
fn two_agents_at_once_have_the_same_counters() {
    let start = || {
        let mut command = ctpulse();
        command.args(["--count", "20", "--interval", "20ms", "--format", "influx"]);
        Running::start(command.args(roots(&fixture("5.15"))))
    };
    let agents = [start(), start()];
    let told = agents.each_ref().map(|agent| {
        let rows = agent.rest();
        assert_eq!(rows.len(), 40);
        assert!(rows.iter().all(|row| integer(row, "samples_missed").unwrap_or(0) < 10));
        integer(&rows[38], "drop")
    });
    assert_eq!(told, [Some(725); 2]);
}

/// The binary in a mount namespace of its own, where the shell's `mounts` come first.
fn under_mounts(mounts: &str, arguments: &[&str]) -> std::process::Output {
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-ec", &format!("{mounts}; exec \"$@\""), "sh"]);
    shell.arg(crate::support::binary()).args(arguments).env_remove("HOST_PROC");
    shell.stdin(Stdio::null()).output().unwrap()
}

/// For [`under_mounts`]: the program has no capability, and cannot ask ctnetlink.
const UNPRIVILEGED: &str = "set -- setpriv --bounding-set=-all \"$@\"";

/// Public reports: under systemd's `ProcSubset=pid`, or in a container that hides files, the module
/// was said to be missing.
#[test]
fn a_hidden_procfs_is_reported() {
    if !crate::support::may_make_namespaces("a_hidden_procfs_is_reported") {
        return;
    }
    let hidden = "mount -t proc -o subset=pid proc /proc";
    let run = ["--count", "1", "--format", "influx", "--source", "procfs", "--ebpf", "off"];
    let found = under_mounts(hidden, &run);
    let told = text(&found.stderr);
    assert_eq!(found.status.code(), Some(1), "{told}");
    assert!(told.contains("/proc (subset=pid) hides the statistics"), "{told}");
    let doctor = under_mounts(hidden, &["doctor"]);
    let told = text(&doctor.stdout);
    assert!(!told.contains("modprobe nf_conntrack)"), "{told}");
    if told.contains("(from ctnetlink)") {
        // ctnetlink makes up for it where its module is loaded already.
        assert!(told.contains("Off:   procfs: /proc is mounted with subset=pid"), "{told}");
        assert_eq!(doctor.status.code(), Some(0), "{told}");
    }
    assert!(!told.contains("All well"), "{told}");
    let unprivileged = format!("{hidden}; {UNPRIVILEGED}");
    let printed = text(&under_mounts(&unprivileged, &["doctor"]).stdout);
    assert_eq!(printed.matches("subset=pid").count(), 2, "once, and in the conclusion: {printed}");
    assert!(printed.contains("ProcSubset=all"), "{printed}");

    // No procfs at all.
    let found = under_mounts("mount -t tmpfs none /proc", &run);
    let printed = text(&found.stderr);
    assert!(printed.contains("procfs is not mounted on /proc"), "{printed}");
    // With the privilege ctnetlink makes up for it, and the reason is printed, too.
    let auto = ["--count", "1", "--format", "influx", "--ebpf", "off"];
    let found = under_mounts("mount -t tmpfs none /proc", &auto);
    let printed = text(&found.stderr);
    assert!(printed.contains("procfs is not mounted on /proc"), "{printed}");
    let doctor = under_mounts("mount -t tmpfs none /proc", &["doctor"]);
    let printed = text(&doctor.stdout);
    assert!(
        printed.contains("mount -t proc proc /proc") && !printed.contains("modprobe"),
        "{printed}"
    );

    // A process of another user, which may be there.
    let nobody = crate::support::Nobody::new();
    let program = nobody.ctpulse().get_program().to_owned();
    let script = format!(
        "mount -t proc -o hidepid=2 proc /proc; exec setpriv --reuid {0} --regid {0} --clear-groups {1}",
        crate::support::NOBODY,
        program.to_string_lossy()
    );
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-ec", &format!("{script} --once --netns pid:1")]);
    let told = text(&shell.output().unwrap().stderr);
    assert!(told.contains("process 1 is not visible: /proc is mounted with hidepid="), "{told}");
    // Nor is the host's, whose process 1 names its namespace.
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-ec", &format!("{script} --once")]).env("HOST_PROC", "/proc");
    let told = text(&shell.output().unwrap().stderr);
    assert!(told.contains("process 1 is not visible: /proc is mounted with hidepid="), "{told}");
}

/// In a container the statistics may be there without the sysctl files.
#[test]
fn count_and_limit_come_from_ctnetlink_where_sysctl_files_are_hidden() {
    let test = "count_and_limit_come_from_ctnetlink_where_sysctl_files_are_hidden";
    let is_there = |path: &str| Path::new(path).exists();
    if !crate::support::may_make_namespaces(test) || !is_there("/proc/net/stat/nf_conntrack") {
        return;
    }
    let hidden = "mount -t tmpfs none /proc/sys/net/netfilter";
    let run = ["--count", "2", "--interval", "50ms", "--format", "influx", "--ebpf", "off"];
    let shown = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap();
    let found = under_mounts(hidden, &run);
    let (rows, told) = (text(&found.stdout), text(&found.stderr));
    assert_eq!(
        rows.matches(&format!("ip_conntrack_max={}", shown.trim())).count(),
        2,
        "{rows}{told}"
    );
    assert_eq!(rows.matches("ip_conntrack_count=").count(), 2, "{rows}");
    assert_eq!(told, "");
    // Who may not ask is told once.
    let unprivileged = format!("{hidden}; {UNPRIVILEGED}");
    let found = under_mounts(&unprivileged, &run);
    let (rows, told) = (text(&found.stdout), text(&found.stderr));
    assert!(!rows.contains("ip_conntrack_max=") && rows.contains("cpu=all"), "{rows}");
    assert_eq!(told.matches("no sysctl file has the table's count and limit").count(), 1, "{told}");
    // The statistics show that the module is loaded.
    let told = text(&under_mounts(&unprivileged, &["doctor"]).stdout);
    assert!(told.contains("CAP_NET_ADMIN, with which ctnetlink is asked"), "{told}");
    assert!(!told.contains("modprobe"), "{told}");
    // Both files have one cause.
    let both = "sysctl: no file gives ip_conntrack_count and ip_conntrack_max";
    assert!(told.contains("1 problem: ") && told.contains(both), "{told}");
}

/// `net` of a mounted /proc is that of whoever reads it.
#[test]
fn another_mount_of_procfs_is_not_taken_for_the_hosts_namespace() {
    if !crate::support::may_make_namespaces(
        "another_mount_of_procfs_is_not_taken_for_the_hosts_namespace",
    ) {
        return;
    }
    let namespace = crate::support::Namespace::new();
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().to_str().unwrap();
    let told_by = |arguments: &[&str], netns: &[&str]| {
        let mut shell = Command::new("unshare");
        let script = format!("mount -t proc proc {host}; exec {} \"$@\"", netns.join(" "));
        shell.args(["--mount", "sh", "-ec", &script, "sh"]).arg(crate::support::binary());
        let found = shell.args(arguments).args(["--proc-root", host]).output().unwrap();
        text(&found.stdout) + &text(&found.stderr)
    };
    let run = |netns: &[&str]| told_by(&["--once", "--format", "influx"], netns);
    let other = ["ip", "netns", "exec", &namespace.name];
    let told = run(&other);
    assert!(
        told.contains("shows the namespace of this process; for the host's set HOST_PROC"),
        "{told}"
    );
    // Nor said of one that shows the same.
    if fs::read_link("/proc/1/ns/net").ok() == fs::read_link("/proc/self/ns/net").ok() {
        assert!(!run(&["env"]).contains("HOST_PROC"));
        assert!(!told_by(&["doctor"], &["env"]).contains("HOST_PROC"));
    }
    // The command to which all messages refer.
    let told = told_by(&["doctor"], &other);
    assert!(told.contains("shows the namespace of this process; for the host's set"), "{told}");
}

/// Starts ctpulse as process 1 of a new namespace; with it the number by which this one sees it.
fn as_process_1(arguments: &[&str]) -> (Running, rustix::process::Pid) {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(crate::support::binary());
    command.args(arguments).stderr(Stdio::piped());
    crate::support::with_default_signals(&mut command);
    let running = Running::start_unread(&mut command);
    let children = format!("/proc/{0}/task/{0}/children", running.child.id());
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < SOON, "no child");
        let child = fs::read_to_string(&children).unwrap_or_default().trim().parse::<i32>();
        // Its name says that it is no longer `unshare`.
        if let Ok(child) = child
            && fs::read_to_string(format!("/proc/{child}/comm")).unwrap() == "ctpulse\n"
        {
            return (running, rustix::process::Pid::from_raw(child).unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `eprintln!` panics, which is an abort in a release.
#[test]
fn standard_error_that_cannot_be_written_ends_nothing() {
    let root = fixture("5.15");
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let rows = directory.path().join("rows.influx");
    let advise = ["doctor", "--advise", "--look", "200ms"].map(PathBuf::from);
    let stats = ["--stats", "--count", "2", "--interval", "20ms", "--ebpf", "off", "--output"];
    let stats = stats.map(PathBuf::from).into_iter().chain([rows]).collect();
    for arguments in [advise.to_vec(), stats] {
        let run = |stderr: Stdio| {
            let mut command = ctpulse();
            command.args(&arguments).args(roots(&root)).stdout(Stdio::null()).stderr(stderr);
            command.status().unwrap().code()
        };
        let expected = run(Stdio::null());
        assert!(expected.is_some_and(|code| code < 100), "{arguments:?}: {expected:?}");
        assert_eq!(run(full().into()), expected, "{arguments:?}");
    }
}

/// A container's process 1 has no default action for signals.
#[test]
fn sampling_as_process_1_ends_on_a_signal() {
    if !crate::support::may_make_namespaces("sampling_as_process_1_ends_on_a_signal") {
        return;
    }
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (mut running, first) = as_process_1(&["doctor", "--advise", "--look", "60s"]);
        let mut line = String::new();
        let stderr = running.child.stderr.as_mut().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stderr), &mut line).unwrap();
        assert!(line.contains("sampling"), "{line}");
        rustix::process::kill_process(first, signal).unwrap();
        let (status, took) = running.wait();
        assert_eq!(status.code(), Some(code), "{status}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

/// Whether the process has installed an action for this signal.
fn handles(process: rustix::process::Pid, signal: Signal) -> bool {
    is_in(process, "SigCgt:", signal)
}

/// Whether the signal is in this mask of the process.
fn is_in(process: rustix::process::Pid, mask: &str, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix(mask)).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal.as_raw() - 1) & 1 == 1
}

/// Until it has an action for it, the kernel discards a signal to process 1 unless it is blocked.
#[test]
fn a_signal_during_the_start_of_process_1_ends_it() {
    if !crate::support::may_make_namespaces("a_signal_during_the_start_of_process_1_ends_it") {
        return;
    }
    let run = vec!["--format", "influx", "--ebpf", "off"];
    let (execd, look) = (vec!["execd"], vec!["doctor", "--advise", "--look", "60s"]);
    for (arguments, codes) in [(run, [0, 0]), (execd, [0, 0]), (look, [143, 130])] {
        for (signal, code) in [Signal::TERM, Signal::INT].into_iter().zip(codes) {
            let (mut running, first) = as_process_1(&arguments);
            let start = Instant::now();
            // The first action of the program, and later it is an action for the signal.
            while !is_in(first, "SigBlk:", Signal::HUP) && !handles(first, signal) {
                assert!(start.elapsed() < SOON, "no signal is held");
            }
            rustix::process::kill_process(first, signal).unwrap();
            let (status, took) = running.wait();
            assert_eq!(status.code(), Some(code), "{arguments:?}, {signal:?}");
            assert!(took < Duration::from_secs(5), "{took:?}");
        }
    }
}

/// open(2) of a FIFO that no process writes lets no signal handler end process 1.
#[test]
fn a_wait_for_the_configuration_as_process_1_ends_on_a_signal() {
    let test = "a_wait_for_the_configuration_as_process_1_ends_on_a_signal";
    if !crate::support::may_make_namespaces(test) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    output(Command::new("mkfifo").arg(&fifo));
    let fifo = fifo.to_str().unwrap();
    let waits = ["--format", "influx", "--config", fifo];
    for (signal, command) in [Signal::TERM, Signal::INT]
        .into_iter()
        .flat_map(|signal| ["run", "execd"].map(|command| (signal, command)))
    {
        let (mut running, first) = as_process_1(&[&[command], &waits[..]].concat());
        let start = Instant::now();
        while !handles(first, signal) {
            assert!(start.elapsed() < SOON, "no action for {signal:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        rustix::process::kill_process(first, signal).unwrap();
        let (status, took) = running.wait();
        assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}");
    }
    // With a writer it starts.
    let arguments = ["--once", "--format", "influx", "--ebpf", "off", "--proc-root"];
    let root = fixture("5.15").join("proc");
    let config = ["--config", fifo];
    let arguments = [&arguments[..], &[root.to_str().unwrap()], &config].concat();
    let (mut running, _) = as_process_1(&arguments);
    fs::write(fifo, "[[inputs.conntrack]]\n").unwrap();
    let mut rows = String::new();
    std::io::Read::read_to_string(running.child.stdout.as_mut().unwrap(), &mut rows).unwrap();
    let (status, _) = running.wait();
    assert!(status.success() && rows.contains("ip_conntrack_count="), "{status}: {rows}");
}
