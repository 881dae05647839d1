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
        &["object/conntrack.bpf.o", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "build.rs"],
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
    // Beside the packages that people install, which have a directory of this name.
    let target = workspace::root().join("target/crates");
    fs::create_dir_all(&target).context("cannot make the directory for the crates")?;
    package.env("CARGO_TARGET_DIR", target);
    eprintln!("xtask: {}", shown(&package));
    run_checked(package.stderr(Stdio::inherit())).map(|_| ())
}
