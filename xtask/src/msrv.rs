//! `cargo xtask msrv`: checks that the workspace builds with its minimum supported Rust version, the
//! `rust-version` in Cargo.toml.
//!
//! Where the toolchain in use is of that release, the other steps of CI are the proof. Otherwise the
//! release is taken from rustup, if it is installed.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::workspace::{self, run_checked, shown};

/// Checks the build; exit code 1 when it fails.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let declared = declared()?;
    let used = run_checked(Command::new("rustc").arg("--version"))?;
    if is_of(&used, &declared) {
        eprintln!("msrv: {} is the declared minimum, Rust {declared}", used.trim());
        return Ok(ExitCode::SUCCESS);
    }
    let Some(toolchain) = installed(&declared) else {
        eprintln!(
            "xtask: NOT RUN HERE: the build with Rust {declared}: `rustup toolchain install \
             {declared}` installs it"
        );
        return Ok(ExitCode::SUCCESS);
    };
    let mut check = Command::new("rustup");
    check.current_dir(workspace::root()).args(["run", &toolchain, "cargo", "check"]);
    check.args(["--workspace", "--all-targets", "--locked"]);
    // Beside the builds of the other toolchain, which stay valid.
    check.env("CARGO_TARGET_DIR", workspace::root().join("target/msrv"));
    eprintln!("xtask: {}", shown(&check));
    let status = check.status().context("cannot start rustup")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The `rust-version` of the workspace.
fn declared() -> anyhow::Result<String> {
    let file = workspace::root().join("Cargo.toml");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let manifest: toml::Table = text.parse().context("Cargo.toml is not valid")?;
    let package = manifest.get("workspace").and_then(|table| table.get("package"));
    match package.and_then(|table| table.get("rust-version")).and_then(toml::Value::as_str) {
        Some(version) => Ok(version.to_owned()),
        None => bail!("Cargo.toml has no workspace.package.rust-version"),
    }
}

/// Whether the output of `rustc --version` is of the release `declared`, in any patch version.
fn is_of(used: &str, declared: &str) -> bool {
    let version = used.split(' ').nth(1).unwrap_or_default();
    version == declared || version.starts_with(&format!("{declared}."))
}

/// The name of rustup's toolchain of the release `declared`, if it is installed.
fn installed(declared: &str) -> Option<String> {
    let listed = run_checked(Command::new("rustup").args(["toolchain", "list"])).ok()?;
    let mut names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names.find(|name| is_of(&format!("rustc {name}"), declared)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_version_is_of_its_release_and_another_release_is_not() {
        assert!(is_of("rustc 1.95.0 (f2d3ce0bd 2026-03-21)\n", "1.95"));
        assert!(is_of("rustc 1.95.1-x86_64-unknown-linux-gnu", "1.95"));
        assert!(!is_of("rustc 1.96.0 (x)", "1.95"));
        assert!(!is_of("rustc 1.9.5 (x)", "1.95"));
        assert!(!is_of("", "1.95"));
    }

    #[test]
    fn documents_and_workflow_name_the_declared_release() {
        let declared = declared().unwrap();
        for (file, text) in [
            ("README.md", format!("Rust {declared} or newer")),
            (".github/workflows/ci.yml", format!("--default-toolchain {declared}")),
        ] {
            let contents = fs::read_to_string(workspace::root().join(file)).unwrap();
            assert!(contents.contains(&text), "{file} lacks '{text}'");
        }
    }
}
