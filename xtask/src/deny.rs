//! `cargo xtask deny`: checks the dependencies with cargo-deny, by the rules in deny.toml.
//!
//! Licences, bans and sources need nothing but Cargo.lock. The advisories need their database, which
//! not every machine can fetch: then this check prints `NOT RUN HERE`, as does the whole command where
//! cargo-deny can neither be found nor built.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;

use crate::tools;
use crate::workspace::{self, run_checked, shown};

const VERSION: &str = "0.20.2";

/// How long the database of advisories may take to come.
const FETCH_SECONDS: &str = "120";

/// Runs the checks; exit code 1 when one fails.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let program = match cargo_deny() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("xtask: NOT RUN HERE: the checks of deny.toml: {error:#}");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let mut rules = deny(&program, &["check", "bans", "licenses", "sources"]);
    let mut all_passed = passes(&mut rules)?;
    // Without a network it may wait for ever.
    let mut fetch = Command::new("timeout");
    fetch.current_dir(workspace::root()).arg(FETCH_SECONDS).arg(&program);
    match run_checked(fetch.args(["--locked", "fetch", "db"])) {
        Ok(_) => {
            let advisories = ["check", "--disable-fetch", "advisories"];
            all_passed &= passes(&mut deny(&program, &advisories))?;
        }
        Err(error) => {
            // The program's last line has the cause.
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default();
            eprintln!("xtask: NOT RUN HERE: the check of advisories: {reason}");
        }
    }
    Ok(if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The installed cargo-deny, of any version, or one of our own.
fn cargo_deny() -> anyhow::Result<PathBuf> {
    match tools::find("cargo-deny")? {
        Some(program) => Ok(program),
        None => tools::cargo_program("cargo-deny", VERSION),
    }
}

fn deny(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace::root()).arg("--locked").args(arguments);
    command
}

fn passes(command: &mut Command) -> anyhow::Result<bool> {
    eprintln!("xtask: {}", shown(command));
    Ok(command.status().with_context(|| format!("cannot start `{}`", shown(command)))?.success())
}
