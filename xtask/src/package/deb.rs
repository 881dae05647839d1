//! The Debian package: its files beside the binary, cargo-deb, and lintian.
//!
//! `[package.metadata.deb]` in conntrack-user/Cargo.toml lists the files and their places. Manual pages and
//! completions come from the binary itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::{directory, documents, notices};
use crate::tools;
use crate::workspace::{self, run_checked, shown};

const CARGO_DEB: &str = "3.8.0";

/// The directory of the generated files.
fn generated_directory() -> PathBuf {
    directory().join("generated")
}

/// Builds and judges the package; its path.
///
/// # Errors
/// When it cannot be built, or lintian finds an error or a warning.
pub(super) fn build() -> anyhow::Result<PathBuf> {
    generate()?;
    let cargo_deb = cargo_deb()?;
    let mut deb = Command::new(&cargo_deb);
    deb.current_dir(workspace::root().join("conntrack-user"));
    deb.args(["--no-build", "--locked", "--quiet", "--output"]).arg(directory());
    deb.env("SOURCE_DATE_EPOCH", changelog_time()?);
    eprintln!("xtask: {}", shown(&deb));
    let path = PathBuf::from(run_checked(deb.stderr(Stdio::inherit()))?.trim());
    judge(&path)?;
    Ok(path)
}

/// Writes the manual pages, completions and notices, unless they exist.
///
/// # Errors
/// When the binary cannot be built.
pub(super) fn generated() -> anyhow::Result<PathBuf> {
    if !generated_directory().join("third-party.txt").is_file() {
        generate()?;
    }
    Ok(generated_directory())
}

/// Builds the release binary and has it write its manual pages and completions.
fn generate() -> anyhow::Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release", "--locked", "--package", "ctpulse", "--bin", "ctpulse"]);
    eprintln!("xtask: {}", shown(&cargo));
    run_checked(cargo.stderr(Stdio::inherit()))?;
    let binary = workspace::release_dir()?.join("ctpulse");
    let place = generated_directory();
    if place.exists() {
        fs::remove_dir_all(&place).context("cannot remove the generated files")?;
    }
    run_checked(Command::new(&binary).args(["man", "--output"]).arg(place.join("man")))?;
    for (shell, name) in [("bash", "ctpulse.bash"), ("zsh", "_ctpulse"), ("fish", "ctpulse.fish")] {
        let script = run_checked(Command::new(&binary).args(["completions", shell]))?;
        write(&place.join(name), &script)?;
    }
    documents::copy(&place.join("doc"))?;
    write(&place.join("third-party.txt"), &notices::text()?)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// cargo-deb, installed into `.cache` where it is not yet.
fn cargo_deb() -> anyhow::Result<PathBuf> {
    let place = workspace::root().join(".cache/cargo-deb").join(CARGO_DEB);
    let program = place.join("bin/cargo-deb");
    if !program.is_file() {
        eprintln!("xtask: installing cargo-deb {CARGO_DEB}: it builds the Debian package");
        let mut cargo = workspace::cargo();
        cargo.args(["install", "cargo-deb", "--version", CARGO_DEB, "--locked", "--root"]);
        cargo.arg(&place).env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_TARGET");
        run_checked(cargo.stdout(Stdio::null()).stderr(Stdio::inherit()))?;
    }
    Ok(program)
}

/// The time of the newest entry of Debian's changelog, in seconds since 1970: all files in the
/// package are as old, so that it is the same whenever it is built.
fn changelog_time() -> anyhow::Result<String> {
    let changelog = workspace::root().join("packaging/debian/changelog");
    let text = fs::read_to_string(&changelog).context("there is no Debian changelog")?;
    let version = format!("ctpulse ({}-", env!("CARGO_PKG_VERSION"));
    if !text.starts_with(&version) {
        bail!("the newest entry of {} is not {version}1)", changelog.display());
    }
    let line = text.lines().find(|line| line.starts_with(" -- ")).unwrap_or_default();
    let (_, date) = line.rsplit_once("  ").context("the changelog's newest entry has no date")?;
    Ok(run_checked(Command::new("date").args(["+%s", "--date", date]))?.trim().to_owned())
}

/// Checks the package with lintian.
fn judge(package: &Path) -> anyhow::Result<()> {
    if let Some(reason) = tools::provide_packages(&["lintian"], "it judges the Debian package")? {
        eprintln!("xtask: NOT RUN HERE: lintian on the package: {reason}");
        return Ok(());
    }
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning"]).arg(package);
    let output = lintian.output().context("cannot start lintian")?;
    let report = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("lintian reports problems of the package:\n{}", report.trim_end());
    }
    print!("{report}");
    println!("lintian: no error and no warning in {}", package.display());
    Ok(())
}
