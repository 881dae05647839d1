//! Builds for aarch64 on x86-64.
//!
//! The workspace's own toolchain has no standard library for aarch64, so that Debian's compiler builds one,
//! from Debian's sources, and Debian's cross compiler links it. Everything is linked statically, so that it
//! runs without any library.

use std::process::Command;

use crate::architecture::Architecture;
use crate::tools;
use crate::workspace;

/// Debian's packages with a compiler, the standard library's sources, a linker and the C library.
const PACKAGES: [&str; 5] =
    ["rustc-web", "cargo-web", "rust-web-src", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];

/// Removes the debug information of aarch64 programs.
pub(crate) const STRIP: &str = "aarch64-linux-gnu-strip";

/// Installs the requirements, and returns why it is impossible here, if it is.
///
/// # Errors
/// An installation was tried and failed.
pub(crate) fn obstacle() -> anyhow::Result<Option<String>> {
    tools::provide_packages(&PACKAGES, "they build aarch64 programs")
}

/// Debian's cargo with a subcommand for aarch64, and a place of its own below `target`: the compiler and the
/// flags differ from those of other builds. `standard` are the crates of the standard library.
pub(crate) fn cargo(subcommand: &str, standard: &str) -> Command {
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo.current_dir(workspace::root()).arg(subcommand);
    for name in ["RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    cargo.env("RUSTC", "/usr/bin/rustc").env("PATH", "/usr/bin:/bin");
    cargo.env("RUSTC_BOOTSTRAP", "1"); // build-std is not stable yet
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    cargo.args(["--target", Architecture::Aarch64.triple(), "-Z"]);
    cargo.arg(format!("build-std={standard}"));
    cargo.arg("--target-dir").arg(workspace::root().join("target/static"));
    cargo
}
