//! The packaged files fit the program: each option in a unit, a container or a manifest exists.

use std::fs;

use crate::support::{ctpulse, output, repository, text};

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
    for file in ["systemd/ctpulse.service", "systemd/listen.conf", "kubernetes/base/daemonset.yaml"]
    {
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
fn the_manifest_grants_only_the_capabilities_of_probes_and_ctnetlink() {
    let manifest = packaged("kubernetes/base/daemonset.yaml");
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
    // The overlay's list replaces this one, so it repeats it.
    let overlay = packaged("kubernetes/sys-admin/capabilities.yaml");
    assert!(overlay.contains("add: [\"BPF\", \"PERFMON\", \"NET_ADMIN\", \"SYS_ADMIN\"]"));
    // It is a patch of the container in that manifest.
    let kustomization = packaged("kubernetes/sys-admin/kustomization.yaml");
    assert!(kustomization.contains("- ../base") && kustomization.contains("capabilities.yaml"));
    for part in ["kind: DaemonSet", "name: ctpulse\n  namespace: ctpulse", "- name: ctpulse\n"] {
        assert!(manifest.contains(part) && overlay.contains(part), "{part}");
    }
}

/// `cargo install ctpulse` takes these from a registry; `cargo xtask package --crates` also builds
/// them.
#[test]
fn the_crates_that_are_installed_can_be_packed() {
    for (name, directory, files) in [
        (
            "conntrack-ebpf",
            "conntrack-ebpf",
            &[
                "object/conntrack.x86_64.bpf.o",
                "object/conntrack.aarch64.bpf.o",
                "object/manifest.toml",
                "build.rs",
            ][..],
        ),
        (
            "ctpulse",
            "conntrack-user",
            &["src/config/sample.toml", "src/report/html/page.css", "build.rs"][..],
        ),
    ] {
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.current_dir(repository()).args(["package", "--list", "--allow-dirty", "--offline"]);
        let listed = text(&output(cargo.args(["--package", name])).stdout);
        for file in files.iter().chain(&["README.md", "LICENSE-MIT", "LICENSE-APACHE"]) {
            assert!(listed.lines().any(|line| line == *file), "{name}: {file}\n{listed}");
        }
        let manifest = fs::read_to_string(repository().join(directory).join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("publish = false"), "{name}");
    }
}
