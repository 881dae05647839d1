//! `cargo xtask`: everything that the README and CI call.
//!
//! Each subcommand has a module of its own: `test` installs what the tests need and runs them,
//! `bench` measures ctpulse against the least that its work can cost, `vm` runs tests in kernels
//! of their own, `soak` runs for long, `fuzz` feeds the parsers, `ebpf` makes the committed eBPF
//! object and proves it, `package` makes what people install. This file only picks one.

mod bench;
mod deny;
mod ebpf;
mod fuzz;
mod msrv;
mod package;
mod pictures;
mod soak;
mod test;
mod tools;
mod vm;
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
    /// Give the parsers inputs that nobody thought of; exit code 1 when one fails.
    Fuzz(fuzz::Options),
    /// Run for long at 1,000 samples a second; exit code 1 when something grows or is missing.
    Soak(soak::Options),
    /// Boot Debian's kernels in QEMU and run the in-kernel tests in them.
    Vm(vm::Options),
    /// Build the eBPF object and its manifest; as root, install what that takes first.
    BuildEbpf,
    /// Prove that the committed eBPF object is its sources'; exit code 1 when it is not.
    CheckEbpf,
    /// Check licences, sources, duplicates and advisories of the dependencies (deny.toml).
    Deny,
    /// Check that the workspace builds with the Rust release that Cargo.toml declares.
    Msrv,
    /// Build the Debian package and the static binary's tarball, or the container image, and their
    /// checksums.
    Package(package::Options),
    /// Draw the pictures in README.md from the program and a recording.
    Pictures(pictures::Options),
    /// Build the binary for aarch64, and compare what it says with what the x86-64 one does.
    Cross,
    /// Install, start, upgrade and purge the Debian package in a machine of its own.
    TestPackage(package::PackageOptions),
    /// Run the container image under podman in a machine of its own.
    TestContainer(package::ContainerOptions),
}

fn main() -> anyhow::Result<ExitCode> {
    match Task::parse() {
        Task::Test => test::run(),
        Task::Bench(options) => bench::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Vm(options) => vm::run(&options),
        Task::BuildEbpf => ebpf::build(),
        Task::CheckEbpf => ebpf::check(),
        Task::Deny => deny::run(),
        Task::Msrv => msrv::run(),
        Task::Package(options) => package::package(&options),
        Task::Pictures(options) => pictures::run(&options),
        Task::Cross => package::cross(),
        Task::TestPackage(options) => package::test_package(&options),
        Task::TestContainer(options) => package::test_container(&options),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Task;

    #[test]
    fn every_subcommand_is_well_formed() {
        Task::command().debug_assert();
    }
}
