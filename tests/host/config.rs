//! `ctpulse config --check`: the real binary on configurations as people have them.
//!
//! Telegraf's forms are tested one by one in `config/telegraf_tests.rs`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Running, binary, ctpulse, fixture, output, repository, roots, text};

const SOON: Duration = Duration::from_secs(20);

/// `config --check` of a file with this text: exit status, standard output and error.
fn checked(config: &[u8], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.conf");
    std::fs::write(&path, config).unwrap();
    let mut command = ctpulse();
    command.args(["config", "--check"]).arg(&path).envs(environment.iter().copied());
    let found = command.output().unwrap();
    let name = path.display().to_string();
    let named = |bytes: &[u8]| text(bytes).replace(&name, "t.conf");
    (found.status.code(), named(&found.stdout), named(&found.stderr))
}

#[test]
fn every_problem_of_a_configuration_is_a_line() {
    let text = "[agent]\ninterval = '10'\nintervall = '1s'\n[[inputs.conntrack]]\ncollect = ['al']\n\
                colect = 1\n[outputs]\nfile = 3\n";
    let (code, printed, problems) = checked(text.as_bytes(), &[]);
    assert_eq!((code, printed.as_str()), (Some(1), ""));
    assert_eq!(
        problems.lines().collect::<Vec<_>>(),
        [
            "ctpulse: warning: t.conf: only inputs.conntrack is read here; ignored: outputs.file",
            "ctpulse: error: t.conf:3:1: unknown key 'intervall' in [agent]; did you mean 'interval'?",
            "ctpulse: error: t.conf:5:12: 'collect' in [[inputs.conntrack]]: \"al\" is not supported; \
             did you mean \"all\"?",
            "ctpulse: error: t.conf:6:1: unknown key 'colect' in [[inputs.conntrack]]; did you mean \
             'collect'?",
        ]
    );
}

#[test]
fn only_the_tables_of_ctpulse_are_checked() {
    let password = "[[outputs.influxdb]]\n  password = '${DB_PASSWORD}'\n[[inputs.conntrack]]\n";
    let latin1 = b"# gr\xfc\xdfe\n[agent]\n  interval = \"10s\"\n[[inputs.conntrack]]\n";
    for (config, value) in [
        (&latin1[..], ""),
        (password.as_bytes(), "a\"b"),
        (password.as_bytes(), "it's"),
        (b"[tags]\n  dc = \"ams\"\n[[inputs.conntrack]]\n", ""),
        (b"[plugins.conntrack]\n", ""),
        (b"[conntrack]\n", ""),
    ] {
        let (code, printed, problems) = checked(config, &[("DB_PASSWORD", value)]);
        assert_eq!((code, problems.as_str()), (Some(0), ""), "{config:?}");
        assert!(printed.ends_with("t.conf: valid\n"), "{printed}");
    }
}

#[test]
fn the_check_covers_a_command_of_execd() {
    let snippet = repository().join("packaging/telegraf/ctpulse.conf");
    let snippet = std::fs::read_to_string(snippet).unwrap();
    let (code, printed, problems) = checked(snippet.as_bytes(), &[]);
    assert_eq!(code, Some(0), "{problems}");
    assert!(
        printed.contains(
            "[[inputs.execd]]: ctpulse execd --signal STDIN --collect all,percpu when Telegraf asks \
             (STDIN): statistics (all, percpu) and table rows, sampled every 100ms"
        ),
        "{printed}"
    );
    assert!(!printed.contains("ignored"), "{printed}");

    let execd = |keys: &str| format!("[[inputs.execd]]\n{keys}\n");
    let input = "[[inputs.conntrack]]\ncolect = []\n";
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.conf");
    std::fs::write(&broken, input).unwrap();
    let with_file = format!("command = ['ctpulse', 'execd', '--config', '{}']", broken.display());
    for (keys, words) in [
        (
            "command = ['ctpulse', 'execd', '--colect', 'all']",
            "t.conf:2:11: 'command' in [[inputs.execd]]: unknown argument '--colect'; did you mean '--collect'?",
        ),
        (
            "command = ['/usr/bin/ctpulse']\nsignal = 'STDIN'",
            "only `ctpulse execd` ends with Telegraf",
        ),
        ("command = ['sudo', 'ctpulse', '--help']", "it prints a text and ends"),
        ("command = ['ctpulse', 'execd', '-s', '5']", "write 5s for seconds"),
        ("command = ['ctpulse', 'execd', '-c', '-']", "standard input is Telegraf's"),
        (
            "command = ['ctpulse', 'execd']\nsignal = 'STDIN'",
            "t.conf:3:10: 'signal' in [[inputs.execd]]: Telegraf's signal is 'STDIN' and the command's --signal 'none'; write --signal STDIN",
        ),
        ("command = ['ctpulse', 'execd', '--signal', 'STDIN']", "Telegraf's signal is 'none'"),
        (
            "command = 'ctpulse execd'",
            "t.conf:2:11: 'command' in [[inputs.execd]] is an array of words; write [\"ctpulse\", \"execd\"]",
        ),
        (
            "command = ['sh', '-c', 'exec ctpulse execd --colect all']",
            "unknown argument '--colect'; did you mean '--collect'?",
        ),
        (
            "command = ['ctpulse', 'execd', '--colect', 'all']\nsignal = 'STDN'",
            "'STDN' is unknown; did you mean 'STDIN'?",
        ),
        (
            "command = ['ctpulse', 'execd']\nsignl = 'STDIN'",
            "t.conf:3:1: unknown key 'signl' in [[inputs.execd]]; did you mean 'signal'?",
        ),
        (
            "command = ['ctpulse', 'execd']\nsignal = 'STDN'",
            "'STDN' is unknown; did you mean 'STDIN'?",
        ),
        (
            "command = ['ctpulse', 'execd']\ndata_format = 'json'",
            "t.conf:3:15: 'data_format' in [[inputs.execd]]: Telegraf reads 'json' and the command writes 'influx'",
        ),
        (with_file.as_str(), "broken.conf:2:1: unknown key 'colect'"),
    ] {
        let (code, _, problems) = checked(execd(keys).as_bytes(), &[]);
        assert_eq!(code, Some(1), "{keys}");
        assert!(problems.contains(words), "{keys}\n{problems}");
    }
    // Telegraf reads other formats, but finds other names in them.
    for (format, is_warned) in [("influx", false), ("json", true), ("csv", true)] {
        let keys = format!(
            "command = ['ctpulse', 'execd', '--format', '{format}']\ndata_format = '{format}'"
        );
        let (code, printed, _) = checked(execd(&keys).as_bytes(), &[]);
        let warned = printed.contains("Telegraf names the measurement, its tags and fields");
        assert_eq!((code, warned), (Some(0), is_warned), "{printed}");
    }
    // A file with two wrong commands has a line for each; another program's is not ours.
    // A key of Telegraf's parsers, and a script that is not judged.
    let others = "command = ['ctpulse', 'execd']\ndata_type = 'integer'\nrestart_delay = '10s'";
    assert_eq!(checked(execd(others).as_bytes(), &[]).0, Some(0));
    let script = execd("command = ['sh', '-c', 'ctpulse execd \"$X\" | tee x']");
    let not_checked =
        "[[inputs.execd]] starts ctpulse by a script, or without execd, and is not checked";
    let (code, printed, _) = checked(script.as_bytes(), &[]);
    assert!(code == Some(0) && printed.contains(not_checked), "{printed}");
    let two = execd("command = ['ctpulse', 'execd', '--x']").repeat(2);
    assert_eq!(checked(two.as_bytes(), &[]).2.lines().count(), 2);
    let words = "'execd', '-i', '5', '--collect=x', '--foo', '--interval=y', '--signal', 'STDN'";
    let several = execd(&format!("command = ['ctpulse', {words}]"));
    let (_, _, problems) = checked(several.as_bytes(), &[]);
    for words in ["'5' is not", "'x' is not", "'--foo'", "'y' is not", "'STDIN'?"] {
        assert!(problems.contains(words), "{words}\n{problems}");
    }
    assert_eq!(problems.lines().count(), 5, "{problems}");
    let other = execd("command = ['gw-stats', '--x']") + "[[inputs.conntrack]]\n";
    assert!(checked(other.as_bytes(), &[]).1.contains("ignored: inputs.execd"));
}

/// The name of the program is also that of a user, a container, a namespace or a file.
#[test]
fn only_the_command_that_starts_ctpulse_is_checked() {
    let execd = |words: &str| format!("[[inputs.execd]]\ncommand = [{words}]\n");
    for words in [
        "'sudo', '-u', 'ctpulse', 'ctpulse', 'execd'",
        "'docker', 'exec', '-i', 'ctpulse', 'ctpulse', 'execd'",
        "'runuser', '-u', 'ctpulse', '--', '/usr/bin/ctpulse', 'execd'",
        "'ip', 'netns', 'exec', 'ctpulse', 'ctpulse', '--quiet', 'execd'",
        "'podman', 'run', '--rm', 'localhost/ctpulse:0.1.0', 'execd'",
        "'${CT:-ctpulse}', 'execd'",
        "'ctpulse', 'execd', '--netns', 'no-such-namespace'",
        "'ctpulse', 'execd', '--user', 'no-such-user'",
    ] {
        let (code, printed, problems) = checked(execd(words).as_bytes(), &[]);
        let is_ours = printed.contains("[[inputs.execd]]: ") || problems.contains("--quiet");
        assert!(is_ours, "{words}: {code:?} {printed}{problems}");
        let absent = words.contains("no-such");
        assert_eq!(printed.contains("no-such"), absent, "{words}: {printed}");
        assert_eq!(printed.contains("warning: "), absent, "{words}: {printed}");
    }
    for words in [
        "'tail', '-F', '/var/log/ctpulse'",
        "'cat', '/run/ctpulse'",
        "'sudo', '-u', 'ctpulse', '/opt/monitor/other'",
        "'sudo', '-u', 'ctpulse', '-g', 'adm', 'other'",
        "'ip', 'netns', 'exec', 'ctpulse', 'tcpdump', '-i', 'any'",
        "'docker', 'exec', '-i', 'ctpulse', 'top'",
    ] {
        let file = execd(words) + "[[inputs.conntrack]]\n";
        let (code, printed, problems) = checked(file.as_bytes(), &[]);
        assert_eq!((code, problems.as_str()), (Some(0), ""), "{words}");
        assert!(printed.contains("ignored: inputs.execd"), "{words}: {printed}");
    }
    for (file, expected) in [
        (execd("'ctpulse execd --signal STDIN'"), "Telegraf would start a program of the name"),
        ("[[inputs.execd]]\ncomand = ['ctpulse', 'execd']\n".to_owned(), "did you mean 'command'?"),
        ("[[inputs.excd]]\ncommand = ['ctpulse', 'execd']\n".to_owned(), "did you mean 'execd'?"),
    ] {
        let (code, _, problems) = checked(file.as_bytes(), &[]);
        assert!(code == Some(1) && problems.contains(expected), "{file}: {problems}");
    }
    let scripts = [
        execd("'sh', '-c', 'HOST_PROC=/host/proc exec ctpulse execd'"),
        execd("'sh', '-c', 'cd /x && ctpulse execd'"),
        execd("'sh', '-c', 'exec ctpulse'"),
        execd("'sudo', 'ctpulse'"),
        execd("'sudo', '-u', 'ctpulse', 'ctpulse', '--interval', '5s'"),
        execd("'env', 'HOST_PROC=/host/proc', 'ctpulse', '-i', '5s'"),
        "[[inputs.exec]]\ncommands = ['ctpulse --once']\n".to_owned(),
    ];
    for file in scripts {
        let (code, printed, problems) = checked(file.as_bytes(), &[]);
        assert!(
            code == Some(0) && printed.contains("is not checked"),
            "{file}: {printed}{problems}"
        );
    }
    // The namespace has the name of the program, too.
    for words in [
        "'ctpulse', 'execd', '--user', 'root', '--netns', 'ctpulse', '--format=influx'",
        "'sudo', '-n', '-u', 'ctpulse', 'ctpulse', 'execd', '--netns', 'ctpulse', '--internal'",
    ] {
        let (code, printed, problems) = checked(execd(words).as_bytes(), &[]);
        assert!(code == Some(0) && printed.contains("[[inputs.execd]]: "), "{words}: {problems}");
    }
    for other in [
        "[[inputs.exec]]\ncommands = ['x']\nname_override = 'ctpulse'\n".to_owned(),
        execd("'sh', '-c', 'pidof ctpulse; /usr/bin/other'"),
    ] {
        let (code, printed, _) = checked((other + "[[inputs.conntrack]]\n").as_bytes(), &[]);
        assert!(code == Some(0) && !printed.contains("is not checked"), "{printed}");
    }
    let twice = execd("'ctpulse', 'execd'").repeat(2);
    assert!(checked(twice.as_bytes(), &[]).1.contains("emits each row twice"));
}

#[test]
fn a_directory_is_no_configuration() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&["config", "--check"][..], &["--once", "--config"]] {
        let refused = ctpulse().args(arguments).arg(dir.path()).output().unwrap();
        let printed = text(&refused.stderr);
        assert!(printed.contains("it is a directory; name one file of it"), "{printed}");
    }
}

/// As Telegraf takes them, in all its releases.
#[test]
fn settings_of_every_input_are_read_as_telegraf_reads_them() {
    let file = "[[inputs.conntrack]]\nlog_level = 'INFO'\nstartup_error_behavior = 'probe'\n\
                time_source = 'collection_end'\n";
    let (code, printed, problems) = checked(file.as_bytes(), &[]);
    assert_eq!((code, problems.as_str()), (Some(0), ""));
    assert_eq!(printed.matches("warning: ").count(), 1, "{printed}");
    assert!(printed.contains("t.conf:4:15: 'time_source' in [[inputs.conntrack]]"), "{printed}");
}

/// A pipe is read once: `--config <(command)`, `/dev/stdin`, a FIFO.
#[test]
fn a_configuration_can_be_a_pipe() {
    let config = "[agent]\nomit_hostname = true\n[[inputs.conntrack]]\ncollect = ['all']\n";
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    output(Command::new("mkfifo").arg(&fifo));
    let run = "\"$0\" --proc-root \"$1\" --once --format influx --ebpf off --config";
    for script in [
        format!("{run} <(printf '%s' \"$2\")"),
        format!("printf '%s' \"$2\" | {run} /dev/stdin"),
        format!("printf '%s' \"$2\" | {run} -"),
        format!("printf '%s' \"$2\" > \"$3\" & {run} \"$3\""),
        "printf '%s' \"$2\" | \"$0\" config --check /dev/stdin".to_owned(),
        "printf '%s' \"$2\" | \"$0\" config --check -".to_owned(),
    ] {
        let mut shell = Command::new("timeout");
        shell.args(["30", "bash", "-c", &script]).arg(binary()).arg(fixture("5.15").join("proc"));
        let printed = text(&output(shell.arg(config).arg(&fifo)).stdout);
        let is_read = printed.contains("cpu=all") || printed.ends_with("/dev/stdin: valid\n");
        assert!(is_read, "{script}\n{printed}");
    }
}

/// open(2) refuses `/dev/stdin` then.
#[test]
fn a_configuration_can_be_a_socket() {
    let (own, mut others) = UnixStream::pair().unwrap();
    others.write_all(b"[[inputs.conntrack]]\n").unwrap();
    drop(others);
    let mut command = ctpulse();
    command.args(["config", "--check", "-"]).stdin(Stdio::from(OwnedFd::from(own)));
    let printed = text(&output(&mut command).stdout);
    assert!(printed.ends_with("/dev/stdin: valid\n"), "{printed}");
}

#[test]
fn a_pipe_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    output(Command::new("mkfifo").arg(&fifo));
    let mut command = ctpulse();
    command.args(["--format", "influx", "--interval", "20ms", "--config"]).arg(&fifo);
    let mut running = Running::start(command.args(roots(&fixture("5.15"))).stderr(Stdio::piped()));
    std::fs::write(&fifo, "[[inputs.conntrack]]\n").unwrap();
    assert!(running.line(SOON).is_some());
    running.signal(Signal::HUP);
    let mut told = BufReader::new(running.child.stderr.take().unwrap()).lines();
    let told = told.find(|line| line.as_ref().unwrap().contains("is a pipe")).unwrap().unwrap();
    assert!(
        told.ends_with("fifo is a pipe, which is read once; the old configuration stays in force")
    );
    running.signal(Signal::TERM);
    let (status, _) = running.wait();
    assert!(status.success(), "{status}");
}

#[test]
fn a_file_for_telegraf_is_not_run() {
    let snippet = repository().join("packaging/telegraf/ctpulse.conf");
    let found = ctpulse().arg("--config").arg(snippet).output().unwrap();
    assert_eq!(found.status.code(), Some(1));
    let printed = text(&found.stderr);
    assert!(printed.contains("has Telegraf start ctpulse ([[inputs.execd]])"), "{printed}");
    assert!(printed.contains("`ctpulse config --check "), "{printed}");
}

/// The file may be for another host.
#[test]
fn what_is_not_on_this_host_is_a_warning_of_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.conf");
    let input = |netns: &str| format!("[[inputs.conntrack]]\nnetns = '{netns}'\n");
    let config = "[agent]\nuser = 'no such'\n".to_owned()
        + &input("/etc/passwd")
        + &input("no-such-namespace")
        + &input("no-such-either")
        + "wait = true\n";
    std::fs::write(&path, config).unwrap();
    let checked = text(&output(ctpulse().args(["config", "--check"]).arg(&path)).stdout);
    for part in [
        "warning: no user 'no such' in /etc/passwd",
        "warning: [conntrack /etc/passwd] /etc/passwd is not a network namespace, but another file",
        "warning: [conntrack no-such-namespace] there is no network namespace no-such-namespace",
    ] {
        assert!(checked.contains(part), "{part}: {checked}");
    }
    assert!(!checked.contains("] there is no network namespace no-such-either"), "{checked}");
    assert!(checked.ends_with("t.conf: valid\n"), "{checked}");
}
