//! `cargo xtask test`: whether the eBPF object is the sources' by its manifest, the tools, then
//! every test of the workspace, a short soak, then those that run in virtual machines.
//!
//! Tests that need root look for `CTPULSE_TEST_ROOT=1`, which is set here when we are; without
//! it they say on stderr that they did not run.

use std::process::ExitCode;

use anyhow::Context;

use crate::{ebpf, soak, tools, vm, workspace};

/// Runs the tests and exits as cargo does, or else as `cargo xtask vm`.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    ebpf::check_digests()?;
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
    if !status.success() {
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
    }
    if soak::run(&soak::Options::short())? != ExitCode::SUCCESS {
        return Ok(ExitCode::FAILURE);
    }
    if let Some(reason) = vm::obstacle()? {
        eprintln!("xtask: NOT RUN HERE: the tests in virtual machines (cargo xtask vm): {reason}");
        return Ok(ExitCode::SUCCESS);
    }
    vm::run(&vm::Options::default())
}
