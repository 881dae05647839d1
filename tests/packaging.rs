//! What is packaged calls `ctpulse` as it is: each option that a unit, a container or a manifest
//! gives it exists, and what Telegraf is told to run gives rows.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Running, ctpulse, fixture, output, repository, roots, text};

fn packaged(file: &str) -> String {
    fs::read_to_string(repository().join("packaging").join(file)).unwrap()
}

/// The options among these words, without values.
fn options(line: &str) -> Vec<String> {
    let words = line.split(|c: char| c.is_whitespace() || "\"'[],=".contains(c));
    words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
}

#[test]
fn every_option_that_is_packaged_exists() {
    let help = text(&output(ctpulse().args(["run", "--help"])).stdout);
    let starts = ["ExecStart=/usr/bin/ctpulse run", "args: [\"run\""];
    let mut seen = 0;
    for file in ["systemd/ctpulse.service", "systemd/listen.conf", "kubernetes/daemonset.yaml"] {
        let packaged = packaged(file);
        let calls = packaged.lines().filter(|line| starts.iter().any(|start| line.contains(start)));
        for option in calls.flat_map(options) {
            assert!(help.contains(&format!("{option} ")), "{file}: {option}");
            seen += 1;
        }
    }
    assert_eq!(seen, 9, "options of a recording, a listener and a DaemonSet");
}

#[test]
fn what_telegraf_is_told_to_run_gives_rows() {
    // As Telegraf does: by its PATH, asked for a row by a newline.
    let example = packaged("telegraf/ctpulse.conf");
    let line = example.lines().find_map(|line| line.trim().strip_prefix("command = ")).unwrap();
    let words: Vec<String> = serde_json::from_str(line).unwrap();
    assert_eq!(words[0], "ctpulse", "wherever it is installed");
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(ctpulse().get_program(), dir.path().join("ctpulse")).unwrap();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(roots(&fixture("5.15"))).env("PATH", dir.path());
    let mut running = Running::start(command.stdin(Stdio::piped()).stderr(Stdio::null()));
    running.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let row = running.line(Duration::from_secs(30)).unwrap();
    assert!(row.starts_with("conntrack,cpu=all"), "{row}");
}

#[test]
fn the_manifest_takes_no_more_than_probes_and_ctnetlink_do() {
    let manifest = packaged("kubernetes/daemonset.yaml");
    assert!(!manifest.contains('\t'));
    for part in [
        "drop: [\"ALL\"]",
        "add: [\"BPF\", \"PERFMON\", \"NET_ADMIN\"]",
        "privileged: false",
        "readOnlyRootFilesystem: true",
        "hostNetwork: true",
    ] {
        assert!(manifest.contains(part), "{part}");
    }
    assert!(!manifest.contains("hostPath"), "nothing of the node is mounted");
    // What is said of the engines' call is the same set.
    let caps = "--cap-drop ALL --cap-add BPF --cap-add PERFMON --cap-add NET_ADMIN ctpulse";
    let install = fs::read_to_string(repository().join("docs/install.md")).unwrap();
    for said in [packaged("container/Containerfile"), install] {
        let words: Vec<&str> =
            said.split_whitespace().filter(|word| !["#", "\\"].contains(word)).collect();
        assert!(words.join(" ").contains(caps), "{said}");
    }
}
