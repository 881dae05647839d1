//! The real binary on fixtures: golden outputs of every format, exit codes, the words of its
//! errors.
//!
//! `CTPULSE_BLESS=1 cargo test --test host cli::` writes the golden texts anew; look at the diff.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{
    Running, copy_of, ctpulse, fixture, integer, output, repository, roots, text,
};

/// A configuration without a host name, so that golden texts are the same everywhere.
fn nameless() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "[agent]\nomit_hostname = true\n[[inputs.conntrack]]\ncollect = ['all', 'percpu']\n\
                files = ['nf_conntrack_count', 'nf_conntrack_max', 'ip_conntrack_count', \
                'ip_conntrack_max', 'nf_conntrack_buckets']\n";
    std::fs::write(file.path(), text).unwrap();
    file
}

/// One reading of a fixture, with the timestamp replaced by `T`.
fn once(fixture_name: &str, format: &str, more: &[&str]) -> String {
    let config = nameless();
    let mut command = ctpulse();
    command.args(["--once", "--format", format, "--config"]).arg(config.path());
    command.args(roots(&fixture(fixture_name))).args(more);
    let text = text(&output(&mut command).stdout);
    without_time(&text)
}

/// A root without any conntrack.
fn nothing() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("proc")).unwrap();
    root
}

fn without_time(text: &str) -> String {
    let line = |line: &str| {
        // Influx ends in it, JSON and CSV carry it in the middle, a table begins with it.
        let nanoseconds = line.split(|c: char| !c.is_ascii_digit()).find(|w| w.len() == 19);
        let mut line = nanoseconds.map_or(line.to_owned(), |time| line.replace(time, "T"));
        let clock = |line: &str| {
            let b = line.as_bytes();
            b.len() > 8 && b[2] == b':' && b[5] == b':' && b[0].is_ascii_digit()
        };
        if clock(&line) {
            line.replace_range(..8, "HH:MM:SS");
        }
        line + "\n"
    };
    text.lines().map(line).collect()
}

fn golden(name: &str, found: &str) {
    let path = repository().join("tests/golden").join(name);
    if std::env::var_os("CTPULSE_BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == found, "{} differs; found:\n{found}", path.display());
}

#[test]
fn every_era_in_line_protocol() {
    for entry in std::fs::read_dir(repository().join("fixtures")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !fixture(&name).join("proc").exists() || name.starts_with("cpus-") {
            continue;
        }
        golden(&format!("{name}.influx"), &once(&name, "influx", &[]));
    }
}

#[test]
fn every_format_of_one_kernel() {
    for format in ["json", "csv", "prometheus", "table"] {
        golden(&format!("5.15.{format}"), &once("5.15", format, &[]));
    }
}

#[test]
fn many_cpus_have_a_row_each() {
    for (name, cpus) in [("cpus-128", 128), ("one-cpu", 1)] {
        let text = once(name, "influx", &[]);
        assert_eq!(text.lines().count(), 1 + cpus + 1, "{name}");
        assert!(text.contains(&format!("cpu=cpu{} ", cpus - 1)), "{name}");
    }
}

#[test]
fn a_kernel_with_4096_cpus_is_sampled() {
    let root = copy_of("one-cpu");
    let mut file = String::from(
        std::fs::read_to_string(root.path().join("proc/net/stat/nf_conntrack"))
            .unwrap()
            .lines()
            .next()
            .unwrap(),
    );
    for cpu in 0..4096 {
        file.push_str(&format!("\n00000007  {}", vec![format!("{cpu:08x}"); 16].join(" ")));
    }
    std::fs::write(root.path().join("proc/net/stat/nf_conntrack"), file + "\n").unwrap();
    std::fs::write(root.path().join("sys/devices/system/cpu/possible"), "0-4095\n").unwrap();
    let arguments = ["--once", "--format", "influx", "--collect", "all,percpu"];
    let text = text(&output(ctpulse().args(arguments).args(roots(root.path()))).stdout);
    let all = text.lines().find(|line| line.contains("cpu=all")).unwrap();
    assert_eq!(integer(all, "drop"), Some((0..4096).sum()));
    assert_eq!(integer(all, "entries"), Some(7));
    let last = text.lines().find(|line| line.contains("cpu=cpu4095,")).unwrap();
    assert_eq!(integer(last, "drop"), Some(4095));
}

#[test]
fn telegrafs_documented_example() {
    let found = once("telegraf-example", "influx", &["--compat", "telegraf", "--collect", "all"]);
    let expected = "conntrack,cpu=all delete=0i,delete_list=0i,drop=2i,early_drop=0i,\
        entries=5568i,expect_create=0i,expect_delete=0i,expect_new=0i,found=7i,icmp_error=1962i,\
        ignore=2586413402i,insert=0i,insert_failed=2i,invalid=46853i,new=0i,\
        search_restart=453336i,searched=0i T\n\
        conntrack ip_conntrack_buckets=65536,ip_conntrack_count=464,ip_conntrack_max=262144 T\n";
    assert_eq!(found, expected);
    let correct = once("telegraf-example", "influx", &["--collect", "all"]);
    assert!(correct.contains(",entries=464i,"), "{correct}");
}

#[test]
fn a_host_tag_is_added_when_standalone() {
    let mut command = ctpulse();
    command.args(["--once", "--format", "influx"]).args(roots(&fixture("5.15")));
    let text = text(&output(&mut command).stdout);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert!(text.starts_with(&format!("conntrack,cpu=all,host={host} ")), "{text}");
    assert!(text.contains(&format!("\nconntrack,host={host} ip_conntrack_count=")), "{text}");
}

#[test]
fn rates_begin_with_the_second_row() {
    let arguments = ["--count", "3", "--interval", "40ms", "--sample-interval", "10ms"];
    let mut command = ctpulse();
    command.args(arguments).args(["--format", "influx"]).args(roots(&fixture("5.15")));
    let text = text(&output(&mut command).stdout);
    let rows: Vec<&str> = text.lines().filter(|line| line.contains("cpu=all")).collect();
    assert_eq!(rows.len(), 3);
    let has = |row: &str, field: &str| crate::support::number(row, field).map(str::to_owned);
    assert_eq!(has(rows[0], "drop_rate"), None);
    for row in &rows[1..] {
        assert_eq!(has(row, "drop_rate").as_deref(), Some("0"));
        assert_eq!(has(row, "drop_rate_max").as_deref(), Some("0"));
        assert_eq!(has(row, "entries_max").as_deref(), Some("2849i"));
        assert_eq!(has(row, "new_rate"), None);
    }
}

#[test]
fn a_missing_source_is_an_error_in_every_format() {
    let empty = nothing();
    for format in ["influx", "json", "prometheus", "csv", "table"] {
        let mut command = ctpulse();
        command.args(["--count", "1", "--format", format]).args(roots(empty.path()));
        assert_eq!(command.output().unwrap().status.code(), Some(1), "{format}");
    }
}

#[test]
fn without_kprobes_the_counters_of_the_kernel_are_sampled() {
    let kprobes =
        ["/sys/bus/event_source/devices/kprobe/type", "/sys/kernel/tracing/kprobe_events"];
    if kprobes.iter().any(|path| Path::new(path).exists()) {
        crate::support::not_run_here(
            "without_kprobes_the_counters_of_the_kernel_are_sampled",
            "there are kprobes",
        );
        return;
    }
    let arguments = ["--count", "2", "--interval", "50ms", "--format", "influx"];
    let auto = output(ctpulse().args(arguments));
    let printed = text(&auto.stderr);
    assert_eq!(printed.lines().count(), 1, "{printed}");
    assert!(
        printed.contains("ctpulse: probes are off: this kernel has no kprobes; new, delete"),
        "{printed}"
    );
    assert!(text(&auto.stdout).contains("cpu=all"));
    // What is off and why, and then the details.
    let details = "ctpulse: this kernel has no kprobes: CONFIG_KPROBES is not set";
    let run = [&arguments[..], &["--ebpf", "on"]].concat();
    for (arguments, error) in [
        (run.as_slice(), "probes are off: this kernel has no kprobes; ebpf on requires them"),
        (&["drops"], "drops cannot be seen: probes are off: this kernel has no kprobes"),
        // A namespace that cannot be opened is not the reason.
        (
            &["drops", "--proc-root", "/proc"],
            "drops cannot be seen: probes are off: this kernel has no kprobes",
        ),
    ] {
        let found = ctpulse().args(arguments).output().unwrap();
        let printed = text(&found.stderr);
        assert_eq!(found.status.code(), Some(1), "{arguments:?}: {printed}");
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines[0], format!("ctpulse: error: {error}"), "{arguments:?}");
        assert!(lines.len() > 1 && lines[1].starts_with(details), "{arguments:?}: {printed}");
        assert!(lines.iter().all(|line| line.chars().count() <= 100), "{printed}");
        assert!(found.stdout.is_empty(), "{arguments:?}");
    }
    let absent = ["--netns", "no-such-namespace", "--wait", "--duration", "300ms"];
    let found = ctpulse().args(absent).args(["--format", "influx"]).output().unwrap();
    let printed = text(&found.stderr);
    assert!(
        printed.contains("probes are off: this kernel has no kprobes; new, delete"),
        "{printed}"
    );
    let off = output(ctpulse().args(arguments).args(["--ebpf", "off"]));
    assert_eq!(text(&off.stderr), "");
}

#[test]
fn a_help_text_that_cannot_be_written_is_an_error() {
    for arguments in [&["--help"][..], &["--version"], &["report", "--help"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let found = ctpulse().args(arguments).stdout(full).output().unwrap();
        let told = text(&found.stderr);
        assert_eq!(found.status.code(), Some(1), "{arguments:?}");
        assert!(told.starts_with("ctpulse: error: cannot write to standard output: "), "{told}");
    }
}

/// `top` needs the address of the table, and names what hides it.
#[test]
fn a_kernel_without_variables_in_kallsyms_is_named_by_top() {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let has = |name: &str| symbols.lines().any(|line| line.split_whitespace().nth(2) == Some(name));
    if has("nf_conntrack_hash") || !has("nf_conntrack_alloc") {
        let reason = "the kernel shows nf_conntrack_hash, or has no conntrack";
        crate::support::not_run_here(
            "a_kernel_without_variables_in_kallsyms_is_named_by_top",
            reason,
        );
        return;
    }
    let found = ctpulse().arg("top").output().unwrap();
    let printed = text(&found.stderr);
    assert_eq!(found.status.code(), Some(1), "{printed}");
    let first =
        "ctpulse: error: the table cannot be read: this kernel does not show the table's address\n";
    assert!(printed.starts_with(first), "{printed}");
    assert!(printed.contains("CONFIG_KALLSYMS_ALL is not set"), "{printed}");
}

#[test]
fn a_cpu_mask_that_does_not_match_is_reported_once() {
    let root = copy_of("5.15");
    std::fs::write(root.path().join("sys/devices/system/cpu/possible"), "0-1\n").unwrap();
    let mut command = ctpulse();
    command.args(["--count", "3", "--interval", "20ms", "--format", "influx"]);
    command.args(["--collect", "all,percpu"]).args(roots(root.path()));
    let found = output(&mut command);
    let told = text(&found.stderr);
    assert_eq!(told.matches("4 rows of statistics for 2 possible CPUs").count(), 1, "{told}");
    assert!(text(&found.stdout).contains("cpu=cpu3,"));
}

#[test]
fn the_log_level_of_an_input_has_precedence() {
    let root = copy_of("5.15");
    std::fs::write(root.path().join("sys/devices/system/cpu/possible"), "0\n").unwrap();
    let config = tempfile::NamedTempFile::new().unwrap();
    for (quiet, level, told) in [(true, "warn", true), (false, "error", false)] {
        let lines = format!(
            "[agent]\nquiet = {quiet}\n[[inputs.conntrack]]\ncollect = ['percpu']\n\
             log_level = '{level}'\n"
        );
        std::fs::write(config.path(), lines).unwrap();
        let mut command = ctpulse();
        command.args(["--once", "--format", "influx", "--config"]).arg(config.path());
        let found = output(command.args(roots(root.path())));
        assert_eq!(text(&found.stderr).contains("4 rows of statistics"), told, "{level}");
    }
}

#[test]
fn missing_files_are_an_error_with_a_remedy() {
    let empty = nothing();
    let found = ctpulse().arg("--once").args(roots(empty.path())).output().unwrap();
    assert_eq!(found.status.code(), Some(1));
    let told = text(&found.stderr);
    assert!(told.contains("nothing could be read (`ctpulse doctor` has the reason)"), "{told}");
    assert!(told.contains("/proc/net has no stat/nf_conntrack"), "{told}");
}

#[test]
fn a_wrong_command_line_gets_short_lines_with_a_valid_form() {
    for (arguments, code, words) in [
        (vec!["--interval", "0.5ms"], 2, "--interval is 500us; the shortest is 1ms"),
        (vec!["--interval", "fast"], 2, "'fast' is not a duration"),
        (vec!["-s", "5"], 2, "'5' is not a duration: it has no unit; write 5s for seconds"),
        (vec!["--count", "0"], 2, "'0' is less than 1; write a whole number from 1 on"),
        (vec!["--format", "jsn"], 2, "did you mean 'json'?"),
        (vec!["--format", "JSON"], 2, "did you mean 'json'?"),
        (vec!["report", "--format", "yaml", "f"], 2, "see 'ctpulse report --help'"),
        (vec!["--duration", "0"], 2, "'0' is not a positive time; write for example 10s"),
        (vec!["doctor", "--advise", "--look", "0s"], 2, "'0s' is not a positive time; write"),
        (vec!["--interval", ""], 2, "'' is not a duration; write for example 10s"),
        (vec!["--once", "--user", "1:"], 2, "'1:' is not UID:GID as numbers"),
        (vec!["--once", "--user", "99999999999:1"], 2, "is not UID:GID as numbers"),
        (vec!["--once", "--user", ""], 2, "the name of the user is empty"),
        (vec!["--once", "--user", "4294967294"], 1, "write UID:GID, such as 4294967294:"),
        (vec!["--intervall", "1s"], 2, "did you mean '--interval'?"),
        (vec!["--sample-interval", "2s"], 2, "sample at least once per row"),
        (vec!["--collect", "every"], 2, "'every' is not one of all, percpu, none"),
        (vec!["--once", "--count", "3"], 2, "cannot be used with"),
        (vec!["--netns", "pid:x"], 2, "'x' is not a process number; write pid:1234"),
        (vec!["--netns", "a", "--proc-root", "/x"], 2, "cannot be used with"),
        (vec!["--source", "netlink", "--proc-root", "/"], 2, "use --source procfs"),
        (vec!["--source", "netlink", "--compat", "telegraf"], 2, "use --source procfs"),
        (vec!["--config", "/nonexistent.conf"], 1, "/nonexistent.conf"),
        (vec!["drops", "--top", "x"], 2, "'x' is not a key; 'ctpulse drops --help' lists them"),
        (vec!["top", "--by", "x"], 2, "'x' is not a key; write source, destination"),
        (vec!["top", "--by", "sources"], 2, "'sources' is not a key; did you mean source?"),
        (vec!["top", "--where", "x"], 2, "'x' is not a condition; write KEY=VALUE or KEY!=VALUE"),
        (vec!["--intervall\x1b[2J"], 2, "'--intervall\\u{1b}[2J'"),
    ] {
        let found = ctpulse().args(&arguments).output().unwrap();
        let printed = text(&found.stderr);
        assert_eq!(found.status.code(), Some(code), "{arguments:?}: {printed}");
        // A remedy for which the first line has no room is in the next one.
        let message = printed.replace("\nctpulse: ", "; ");
        assert!(message.contains(words), "{arguments:?}: {printed}");
        assert!(printed.starts_with("ctpulse: error: "), "{arguments:?}: {printed}");
        let are_short = printed.lines().all(|line| line.chars().count() <= 100);
        assert!(are_short && message.lines().count() == 1, "{arguments:?}: {printed}");
        assert!(found.stdout.is_empty());
    }
}

#[test]
fn an_invalid_configuration_is_reported_with_place_and_valid_form() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.conf");
    std::fs::write(&path, "[agent]\n[[inputs.conntrack]]\n  colect = ['all']\n").unwrap();
    for arguments in [vec!["config", "--check"], vec!["--config"]] {
        let found = ctpulse().args(&arguments).arg(&path).output().unwrap();
        let printed = text(&found.stderr);
        assert_eq!(found.status.code(), Some(1));
        let expected = format!("{}:3:3: unknown key 'colect'", path.display());
        assert!(printed.contains(&expected) && printed.contains("'collect'"), "{printed}");
    }
}

#[test]
fn the_sample_configuration_checks_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sample.conf");
    std::fs::write(&path, output(ctpulse().args(["config", "--print-default"])).stdout).unwrap();
    let checked = output(ctpulse().args(["config", "--check"]).arg(&path));
    assert!(text(&checked.stdout).ends_with("sample.conf: valid\n"));
    let mut command = ctpulse();
    command.args(["--once", "--format", "influx", "--config"]).arg(&path);
    assert!(!output(command.args(roots(&fixture("5.15")))).stdout.is_empty());
}

#[test]
fn the_packaged_configurations_are_valid() {
    let service = repository().join("packaging/ctpulse.conf");
    assert!(
        text(&output(ctpulse().args(["config", "--check"]).arg(&service)).stdout)
            .ends_with("packaging/ctpulse.conf: valid\n")
    );
    for entry in std::fs::read_dir(repository().join("packaging/telegraf")).unwrap() {
        let path = entry.unwrap().path();
        let toml: toml::Table = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let execd = &toml["inputs"]["execd"][0];
        // The command in it is one that this binary takes.
        let command: Vec<&str> = execd["command"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap())
            .collect();
        // Found by Telegraf's PATH, whether a package or cargo installed it.
        assert_eq!(command[0], "ctpulse");
        let mut child = ctpulse();
        child.args(&command[1..]).args(roots(&fixture("5.15"))).stdin(Stdio::null());
        assert!(output(&mut child).status.success(), "{}", path.display());
        assert_eq!(execd["data_format"].as_str(), Some("influx"));
        let signal = command.iter().position(|word| *word == "--signal").map(|at| command[at + 1]);
        assert_eq!(execd["signal"].as_str(), signal);
    }
}

#[test]
fn a_missing_file_is_reported_once_and_found_again() {
    let root = copy_of("5.15");
    let stat = root.path().join("proc/net/stat/nf_conntrack");
    let text_of_it = std::fs::read_to_string(&stat).unwrap();
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let mut command = ctpulse();
    command.args(["--interval", "50ms", "--format", "influx"]).args(roots(root.path()));
    let running = Running::start(command.stderr(stderr.reopen().unwrap()));
    let statistics = |present: bool| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            let tables = (0..4).map(|_| running.line(Duration::from_secs(10)).unwrap());
            let mut tables = tables;
            if tables.any(|line| line.contains("cpu=all")) == present {
                return;
            }
        }
        panic!("statistics rows present={present} never came");
    };
    statistics(true);
    // First there is nothing in it, for a while, then it is not there.
    std::fs::write(&stat, "").unwrap();
    statistics(false);
    std::thread::sleep(Duration::from_millis(500));
    std::fs::remove_file(&stat).unwrap();
    std::fs::write(&stat, text_of_it).unwrap();
    statistics(true);
    drop(running);
    let told = std::fs::read_to_string(stderr.path()).unwrap();
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("the file is empty") && told.contains("reading "), "{told}");
}

#[test]
fn the_doctor_distinguishes_the_kernels() {
    let doctor = |name: &str| {
        let found = ctpulse().arg("doctor").args(roots(&fixture(name))).output().unwrap();
        (found.status.code(), text(&found.stdout))
    };
    let (code, told) = doctor("5.15");
    assert_eq!(code, Some(0), "{told}");
    for words in [
        "clash_resolve              kernel, column clashres",
        "new                        none: this kernel prints a constant 0",
        "searched                   none: the kernel gave it up in 4.9",
        "insert                     kernel, column insert; counts only what ctnetlink",
        "Works: the table's count and limit, the kernel's statistics",
        "Off:   probes: not tried",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    let (code, told) = doctor("3.10-rhel7");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("new                        kernel, column new\n"), "{told}");
    let empty = nothing();
    let found = ctpulse().arg("doctor").args(roots(empty.path())).output().unwrap();
    assert_eq!(found.status.code(), Some(1));
    assert!(text(&found.stdout).contains("-> load the module (modprobe nf_conntrack)"));
}

#[test]
fn help_and_manual_come_from_one_definition() {
    let help = text(&output(ctpulse().arg("--help")).stdout);
    let manual = text(&output(ctpulse().arg("man")).stdout);
    for option in ["sample-interval", "netns", "collect", "once"] {
        assert!(help.contains(&format!("--{option}")), "{option}");
        assert!(manual.contains(&option.replace('-', "\\-")), "{option}");
    }
}

#[test]
fn the_files_of_this_host_are_read() {
    if !Path::new("/proc/net/stat/nf_conntrack").exists() {
        crate::support::not_run_here(
            "the_files_of_this_host_are_read",
            "no conntrack statistics on this host",
        );
        return;
    }
    let found = text(&output(ctpulse().args(["--once", "--format", "influx"])).stdout);
    let max = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap();
    assert!(found.contains(&format!("ip_conntrack_max={}", max.trim())), "{found}");
}
