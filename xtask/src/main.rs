//! `cargo xtask`: the tasks of the README and of CI.
//!
//! Each subcommand has its own module. `test` installs the tools of the tests and runs these, `bench`
//! measures the cost of ctpulse, `vm` runs tests in virtual machines, `soak` is a long run, `fuzz` runs the
//! parsers on generated inputs, `mutants` checks that the tests notice changes of the code, `ebpf` builds
//! and verifies the committed eBPF objects, `deny` and `msrv` check the dependencies and the Rust version,
//! `package` builds the packages, and `pictures` draws the pictures of the README. This file selects one.

mod architecture;
mod bench;
mod cross;
mod deny;
mod ebpf;
mod fuzz;
mod msrv;
mod mutants;
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
    /// Measure the cost of ctpulse and print a table; exit code 1 when a limit is exceeded.
    Bench(bench::Options),
    /// Run the parsers on generated inputs; exit code 1 when one fails.
    Fuzz(fuzz::Options),
    /// Change the code in one place at a time, and check that a test fails; exit code 1 when too many
    /// changes pass. Takes hours: see --shard.
    Mutants(mutants::Options),
    /// Run for 30 minutes at 1,000 samples a second; exit code 1 when memory grows or rows are missing.
    Soak(soak::Options),
    /// Boot Debian's kernels in QEMU and run the in-kernel tests in them.
    Vm(vm::Options),
    /// Build the eBPF objects and their manifest; as root, install the requirements first.
    BuildEbpf,
    /// Check that the committed eBPF objects were built from their sources; exit code 1 if not.
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
    /// Build the binary for aarch64, and compare its output with that of the x86-64 binary.
    Cross,
    /// Install, start, upgrade and purge the Debian package in a virtual machine.
    TestPackage(package::PackageOptions),
    /// Run the container image under podman in a virtual machine.
    TestContainer(package::ContainerOptions),
}

fn main() -> anyhow::Result<ExitCode> {
    match Task::parse() {
        Task::Test => test::run(),
        Task::Bench(options) => bench::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Mutants(options) => mutants::run(&options),
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
