//! The crates as a registry would have them: each that `cargo install ctpulse` needs is packed, and
//! built from the packed sources.

use std::fs;
use std::process::Stdio;

use anyhow::{Context, ensure};

use crate::workspace::{self, run_checked, shown};

/// The crates in the order of their dependence, each with files that it cannot be without.
const CRATES: [(&str, &[&str]); 2] = [
    (
        "conntrack-ebpf",
        &[
            "object/conntrack.x86_64.bpf.o",
            "object/conntrack.aarch64.bpf.o",
            "README.md",
            "LICENSE-MIT",
            "LICENSE-APACHE",
            "build.rs",
        ],
    ),
    ("ctpulse", &["README.md", "LICENSE-MIT", "LICENSE-APACHE", "build.rs"]),
];

/// Packs the crates and builds ctpulse from the packed ones, with nothing else of the workspace.
///
/// # Errors
/// When a file is missing, or a packed crate does not build.
pub(super) fn verify() -> anyhow::Result<()> {
    for (name, files) in CRATES {
        let mut list = workspace::cargo();
        list.args(["package", "--list", "--locked", "--allow-dirty", "--package", name]);
        let listed = run_checked(&mut list)?;
        for file in files {
            ensure!(listed.lines().any(|line| line == *file), "{name}: {file} is not packed");
        }
    }
    let mut package = workspace::cargo();
    package.args(["package", "--locked", "--allow-dirty"]);
    package.args(CRATES.iter().flat_map(|(name, _)| ["--package", *name]));
    // A new directory for each run: cargo serves the packed crates from a registry inside it, keeps
    // what it unpacked from there in CARGO_HOME under the path of that registry and the version, and
    // would take the sources of an earlier run for those of this one.
    let parent = workspace::root().join("target");
    let target = fs::create_dir_all(&parent).and_then(|()| tempfile::tempdir_in(&parent));
    let target = target.context("cannot make the directory for the crates")?;
    package.env("CARGO_TARGET_DIR", target.path());
    eprintln!("xtask: {}", shown(&package));
    run_checked(package.stderr(Stdio::inherit())).map(|_| ())
}
