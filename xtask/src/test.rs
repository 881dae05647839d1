//! `cargo xtask test`: compares the eBPF object's manifest with its sources, installs the tools, runs
//! every test of the workspace, compares the pictures in README.md with the program's output, runs
//! a short soak, and then the tests in virtual machines.
//!
//! Tests that need root check for `CTPULSE_TEST_ROOT=1`, which is set here for root. Without it they
//! print on standard error that they did not run.

use std::process::ExitCode;

use anyhow::Context;

use crate::architecture::Architecture;
use crate::{ebpf, pictures, soak, tools, vm, workspace};

/// Runs the tests and exits as cargo does, or else as `cargo xtask vm`.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    ebpf::check_digests()?;
    tools::provide()?;
    tools::provide_prometheus()?;
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
    if pictures::check(&workspace::built_by_tests()?)? != ExitCode::SUCCESS {
        return Ok(ExitCode::FAILURE);
    }
    if soak::run(&soak::Options::short())? != ExitCode::SUCCESS {
        return Ok(ExitCode::FAILURE);
    }
    if let Some(reason) = vm::obstacle(Architecture::X86_64)? {
        eprintln!("xtask: NOT RUN HERE: the tests in virtual machines (cargo xtask vm): {reason}");
        return Ok(ExitCode::SUCCESS);
    }
    vm::run(&vm::Options::brief())
}
