//! Untrusted input: configurations that other users may change, and names that they chose.
//! docs/security.md has the promises.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use std::time::Duration;

use crate::support::{
    NOBODY, Namespace, Nobody, Running, ctpulse, may_make_namespaces, not_run_here, output, text,
};
use rustix::process::Signal;

#[test]
fn a_configuration_that_others_may_change_is_refused_for_root() {
    if !rustix::process::geteuid().is_root() {
        let test = "a_configuration_that_others_may_change_is_refused_for_root";
        not_run_here(test, "it needs root; `cargo xtask test` as root runs it");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.toml");
    fs::write(&path, "[[inputs.conntrack]]\n").unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let check = |path: &Path| {
        let mut check = ctpulse();
        check.env_remove("SUDO_UID").args(["config", "--check"]).arg(path).output().unwrap()
    };
    let refused = |path: &Path, why: &str| {
        let output = check(path);
        let printed = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{printed}");
        assert!(
            printed.contains(": refused, since root would follow it and others may change it: "),
            "{printed}"
        );
        assert!(printed.contains(why), "{why}: {printed}");
        let mut run = ctpulse();
        run.env_remove("SUDO_UID").args(["--count", "1", "--config"]).arg(path);
        assert_eq!(run.output().unwrap().status.code(), Some(1));
    };
    let name = path.display().to_string();
    mode(&path, 0o644);
    assert!(check(&path).status.success());
    mode(&path, 0o664); // its group is root's
    assert!(check(&path).status.success());
    mode(&path, 0o666);
    refused(&path, &format!("{name} can be written by every user; fix it with `chmod o-w {name}`"));
    mode(&path, 0o660);
    chown(&path, Some(0), Some(NOBODY)).unwrap();
    refused(&path, &format!("can be written by group 65534; fix it with `chmod g-w {name}`"));
    mode(&path, 0o600);
    chown(&path, Some(NOBODY), Some(0)).unwrap();
    refused(&path, &format!("{name} belongs to user 65534; fix it with `chown root {name}`"));
    let mut by_sudo = ctpulse();
    by_sudo.env("SUDO_UID", "65534").args(["config", "--check"]).arg(&path);
    assert!(by_sudo.output().unwrap().status.success(), "the caller could change it anyway");
    chown(&path, Some(0), Some(0)).unwrap();
    assert!(check(&path).status.success());

    // Nor a pipe in its place, which is read to its end.
    let pipe = directory.path().join("pipe.toml");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from(0o600),
        0,
    )
    .unwrap();
    chown(&pipe, Some(NOBODY), Some(0)).unwrap();
    // Both ends stay open, so that a reader does not wait to open it.
    let _held = fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let mut limited = Command::new("timeout");
    limited.arg("10").arg(ctpulse().get_program()).args(["config", "--check"]).arg(&pipe);
    let refused_pipe = limited.env_remove("SUDO_UID").output().unwrap();
    let printed = text(&refused_pipe.stderr);
    assert_eq!(refused_pipe.status.code(), Some(1), "{printed}");
    assert!(printed.contains("belongs to user 65534"), "{printed}");

    // A service of another user with capabilities, as the packaged one is; without any it may.
    let as_service = |capabilities: &str, path: &Path| {
        let nobody = Nobody::new();
        let mut service = Command::new("setpriv");
        service.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        service.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
        service.arg(nobody.ctpulse().get_program()).args(["config", "--check"]).arg(path);
        let output = service.output().unwrap();
        (output.status.success(), text(&output.stderr))
    };
    mode(directory.path(), 0o755);
    mode(&path, 0o666);
    let (accepted, printed) = as_service("-all,+net_admin", &path);
    let why =
        "refused, since a process with capabilities would follow it and others may change it: ";
    assert!(!accepted && printed.contains(why), "{printed}");
    assert!(as_service("-all", &path).0);
    mode(&path, 0o644);
    assert!(as_service("-all,+net_admin", &path).0);

    let above = directory.path().display().to_string();
    mode(directory.path(), 0o777);
    refused(&path, &format!("{above} can be written by every user"));
    mode(directory.path(), 0o1777); // as /tmp is
    assert!(check(&path).status.success());
    mode(directory.path(), 0o700);
    chown(directory.path(), Some(NOBODY), None).unwrap();
    refused(&path, &format!("{above} belongs to user 65534"));
    // A link from a place of root's own leads there all the same.
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link.toml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    refused(&link, &format!("{above} belongs to user 65534"));
}

#[test]
fn names_from_outside_are_escaped_in_messages_and_output() {
    let harmful = "a\u{1b}[2J\u{9b}31m\u{202e}\u{200b}b";
    let is_safe = |text: &str| {
        !text.contains(|c: char| {
            c.is_control() && c != '\n'
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        })
    };
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("c.toml");
    let quoted = "a\\u001b[2J\\u009b31m\\u202e\\u200bb\\nconntrack x=1i";
    let tags = format!("{{ '{}' = \"{quoted}\" }}", "k");
    fs::write(
        &config,
        format!(
            "[global_tags]\n\"g\\u001b\" = \"{quoted}\"\n[agent]\nhostname = \"{quoted}\"\n\
             [[inputs.conntrack]]\nalias = \"{quoted}\"\nname_suffix = \"\\u001b[2J\"\n\
             collect = ['all']\ninterval = '10ms'\ntags = {tags}\n\
             files = [\"nf_conntrack_count\", \"nf_\\u001b[2J\"]\n"
        ),
    )
    .unwrap();
    let roots = crate::support::roots(&crate::support::fixture("5.15"));
    for format in ["influx", "json", "prometheus", "csv", "table"] {
        let mut run = ctpulse();
        run.args(["--count", "2", "--format", format, "--config"]).arg(&config).args(&roots);
        let output = output(&mut run);
        let (rows, printed) = (text(&output.stdout), text(&output.stderr));
        assert!(is_safe(&rows) && !rows.is_empty(), "{format}: {rows:?}");
        assert!(is_safe(&printed), "{format}: {printed:?}");
        assert!(!rows.contains("\nconntrack x="), "{format}: {rows:?}");
    }
    let checked = output(ctpulse().args(["config", "--check"]).arg(&config));
    assert!(is_safe(&text(&checked.stdout)), "{:?}", text(&checked.stdout));
    assert_eq!(text(&checked.stdout).lines().count(), 2);

    for arguments in [
        vec!["--netns", harmful, "--count", "1"],
        vec!["--netns", harmful, "--wait", "--count", "1", "--duration", "100ms"],
        vec!["drops", "--netns", harmful],
        vec!["doctor", "--netns", harmful],
        vec!["--config", harmful],
        vec!["--output", harmful, "--format", "prometheus", "--rotate", "4K"],
        vec!["--proc-root", harmful],
        vec!["--interval", harmful],
        vec![harmful],
        vec!["--user", harmful],
        vec!["report", harmful],
        vec!["live", "--replay", harmful],
    ] {
        let mut run = ctpulse();
        let output = run.args(&arguments).current_dir(directory.path()).output().unwrap();
        let (out, printed) = (text(&output.stdout), text(&output.stderr));
        assert!(is_safe(&out) && is_safe(&printed), "{arguments:?}: {out:?} {printed:?}");
        assert!(!output.status.success() && out.len() + printed.len() > 10, "{arguments:?}");
    }
}

/// A name that was mistyped made `run` wait for ever, and `live` show an empty dashboard.
#[test]
fn a_namespace_that_does_not_exist_is_an_error_with_the_nearest_names() {
    let test = "a_namespace_that_does_not_exist_is_an_error_with_the_nearest_names";
    if !may_make_namespaces(test) {
        return;
    }
    let namespace = Namespace::new();
    let mistyped = format!("{}x", namespace.name);
    let meant = format!("there is no network namespace {mistyped} in /run/netns\n");
    let config = tempfile::NamedTempFile::new().unwrap();
    fs::write(config.path(), format!("[[inputs.conntrack]]\nnetns = '{mistyped}'\n")).unwrap();
    let config = config.path().to_str().unwrap();
    let refused = |arguments: &[&str], words: &[&str]| {
        let mut command = Command::new("timeout");
        command.arg("20").arg(crate::support::binary()).args(arguments);
        let found = command.stdin(std::process::Stdio::null()).output().unwrap();
        let printed = text(&found.stderr);
        assert_eq!(found.status.code(), Some(1), "{arguments:?}: {printed}");
        let errors =
            printed.lines().filter(|line| line.contains("error: ") || line.starts_with("E! "));
        assert_eq!(errors.count(), 1, "{arguments:?}: {printed}");
        assert!(words.iter().all(|word| printed.contains(word)), "{arguments:?}: {printed}");
    };
    for command in ["run", "drops", "doctor", "execd"] {
        refused(&[command, "--netns", &mistyped], &[&meant, "did you mean ", &namespace.name]);
        refused(&[command, "--netns", "/etc/passwd"], &["/etc/passwd is not a network namespace"]);
        refused(&[command, "--netns", "pid:4194305"], &["there is no process 4194305"]);
        if command == "run" {
            // Neither can come to be.
            refused(
                &[command, "--netns", "/etc/passwd", "--wait"],
                &["is not a network namespace"],
            );
            refused(&[command, "--netns", "pid:4194305", "--wait"], &["there is no process"]);
        }
    }
    let both = ["--once", "--netns", &mistyped, "--netns", "pid:4194305"];
    let told = text(&ctpulse().args(both).output().unwrap().stderr);
    assert_eq!(told.lines().filter(|line| line.contains(": error: ")).count(), 2, "{told}");
    refused(&["doctor", "--advise", "--netns", &mistyped], &[&meant]);
    for command in ["run", "execd"] {
        refused(&[command, "--config", config], &[&meant]);
    }
}

#[test]
fn a_missing_namespace_is_waited_for_on_request() {
    let test = "a_missing_namespace_is_waited_for_on_request";
    if !may_make_namespaces(test) {
        return;
    }
    let name = format!("ctpulse-later-{}", std::process::id());
    let config = tempfile::NamedTempFile::new().unwrap();
    let text = format!("[[inputs.conntrack]]\nnetns = '{name}'\nwait = true\ncollect = ['all']\n");
    fs::write(config.path(), text).unwrap();
    let by_option = ["--netns", name.as_str(), "--wait"];
    let by_config = ["--config", config.path().to_str().unwrap()];
    for arguments in [&by_option[..], &by_config[..]] {
        let mut run = ctpulse();
        run.args(["--format", "influx", "--interval", "50ms", "--ebpf", "off"]).args(arguments);
        let mut running = Running::start(&mut run);
        assert_eq!(running.line(Duration::from_millis(300)), None);
        let _namespace = Namespace::named(name.clone());
        let line = running.line(Duration::from_secs(20));
        assert!(line.is_some_and(|line| line.starts_with("conntrack,cpu=all")), "{arguments:?}");
        running.signal(Signal::TERM);
        assert!(running.wait().0.success());
    }
}

/// Emissions without a value before that used up `--count`, and `--once` did not wait.
#[test]
fn emissions_are_counted_from_the_first_row_of_a_namespace_that_is_waited_for() {
    let test = "emissions_are_counted_from_the_first_row_of_a_namespace_that_is_waited_for";
    if !may_make_namespaces(test) {
        return;
    }
    let (name, other) = (format!("ctpulse-count-{}", std::process::id()), Namespace::new());
    for (more, rows) in [
        (&["--once", "--format", "influx"][..], 1),
        (&["--count", "2", "--format", "influx"], 2),
        // The rows of all inputs are one batch.
        (&["--count", "2", "--format", "prometheus", "--netns", &other.name], 2),
    ] {
        let mut run = ctpulse();
        run.args(["--interval", "50ms", "--ebpf", "off", "--wait", "--netns", &name]).args(more);
        let mut running = Running::start(&mut run);
        if rows == 1 || more.len() == 4 {
            assert_eq!(running.line(Duration::from_millis(300)), None, "{more:?}");
        } else {
            assert!(running.line(Duration::from_secs(20)).is_some(), "{more:?}");
        }
        let _namespace = Namespace::named(name.clone());
        let (status, _) = running.wait();
        assert!(status.success(), "{more:?}: {status}");
        let printed = running.rest();
        let statistics = |line: &&String| match more.contains(&"prometheus") {
            true => line.starts_with("conntrack_drop_total{") && line.contains(&name),
            false => line.starts_with("conntrack,cpu=all"),
        };
        assert_eq!(printed.iter().filter(statistics).count(), rows, "{more:?}: {printed:?}");
    }
    let found = ctpulse().args(["--once", "--wait"]).output().unwrap();
    assert_eq!(found.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&found.stderr).contains("--wait waits for a network namespace")
    );
}

/// A container that has the host's /proc and not its /run/netns.
#[test]
fn a_name_of_the_host_is_found_through_host_proc() {
    if !may_make_namespaces("a_name_of_the_host_is_found_through_host_proc") {
        return;
    }
    let namespace = Namespace::new();
    let directory = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        // The shell is process 1; a mount namespace of its own is the container's.
        let script = r#"mount -t proc proc "$HOST_PROC"
            unshare --mount sh -ec '
                mount -t proc proc /proc; mount -t tmpfs none /run/netns; exec "$@"' sh "$@""#;
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "--pid", "--fork", "sh", "-ec", script, "sh"]);
        shell.arg(crate::support::binary());
        shell.args(["--count", "1", "--format", "influx", "--ebpf", "off", "--netns", name]);
        shell.env("HOST_PROC", directory.path()).output().unwrap()
    };
    let found = run(&namespace.name);
    let (rows, printed) = (text(&found.stdout), text(&found.stderr));
    assert!(found.status.success() && rows.contains("cpu=all"), "{rows}{printed}");
    let mistyped = run(&format!("{}x", namespace.name));
    assert_eq!(mistyped.status.code(), Some(1));
    assert!(text(&mistyped.stderr).contains(&namespace.name), "{}", text(&mistyped.stderr));
}

#[test]
fn the_soft_limit_of_open_files_is_raised() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -Sn 64; exec \"$@\"", "sh"]).arg(crate::support::binary());
    shell
        .args(["--interval", "20ms", "--format", "influx"])
        .args(crate::support::roots(&crate::support::fixture("5.15")));
    let running = Running::start(&mut shell);
    assert!(running.line(Duration::from_secs(60)).is_some());
    let limits = fs::read_to_string(format!("/proc/{}/limits", running.child.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<_> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{files}");
}
