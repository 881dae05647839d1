//! `cargo xtask test`: the tools first, then every test of the workspace.
//!
//! Tests that need root look for `CTPULSE_TEST_ROOT=1`, which is set here when we are; without
//! it they say on stderr that they did not run.

use std::process::ExitCode;

use anyhow::Context;

use crate::{tools, workspace};

/// Runs the tests and exits as cargo does.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    tools::provide()?;
    let mut tests = workspace::cargo();
    tests.args(["test", "--workspace", "--locked"]).env("PATH", tools::search_path()?);
    if tools::is_root() {
        tests.env("CTPULSE_TEST_ROOT", "1");
    } else {
        tests.env_remove("CTPULSE_TEST_ROOT");
        eprintln!("xtask: WARNING: not root: tests in network namespaces of their own do not run");
    }
    eprintln!("xtask: cargo test --workspace --locked");
    let status = tests.status().context("cannot start cargo")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
