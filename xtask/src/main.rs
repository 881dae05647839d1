//! `cargo xtask`: everything that the README and CI call.
//!
//! Each subcommand has a module of its own: `test` installs what the tests need and runs them,
//! `bench` measures ctpulse against the least that its work can cost. This file only picks one.

mod bench;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// Tests and measures this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Run every test; as root, install the tools that they need first.
    Test,
    /// Measure ctpulse against its bars and print a table; exit code 1 when one is missed.
    Bench(bench::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    match Task::parse() {
        Task::Test => test::run(),
        Task::Bench(options) => bench::run(&options),
    }
}
