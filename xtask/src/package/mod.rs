//! `cargo xtask package`, `cross`, `test-package` and `test-container`: builds and
//! tests the packages.
//!
//! `binary` builds the program without libraries for a target, `notices` lists its crates with their
//! licences, `documents` copies the documentation and checks its links, `deb` builds and checks the Debian
//! package, `archive` builds the tarballs and checksums, and `container` builds the image. `test_package`
//! and `test_container` test the results in a `system` in QEMU. All results are in `target/package`.
//! `crates` packs the crates that `cargo install ctpulse` takes from a registry.

mod archive;
mod binary;
mod container;
mod crates;
mod deb;
mod documents;
mod notices;
mod system;
mod test_container;
mod test_package;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::architecture::Architecture;
use crate::workspace;

pub(crate) use self::test_container::{Options as ContainerOptions, run as test_container};
pub(crate) use self::test_package::{Options as PackageOptions, run as test_package};

/// The options of `cargo xtask package`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Build only the container image, for `podman load` or `docker load`
    #[arg(long)]
    container: bool,
    /// Pack the crates as a registry would have them, and build ctpulse from these
    #[arg(long, conflicts_with = "container")]
    crates: bool,
}

/// Where packages come out.
fn directory() -> PathBuf {
    workspace::root().join("target/package")
}

/// Builds the Debian package and the static x86-64 binary, or the container image; their checksums.
///
/// # Errors
/// When something cannot be built, or lintian finds an error.
pub(crate) fn package(options: &Options) -> anyhow::Result<ExitCode> {
    if options.crates {
        crates::verify()?;
        return Ok(ExitCode::SUCCESS);
    }
    let built =
        if options.container { vec![image()?] } else { vec![debian_package()?, static_tarball()?] };
    for path in built {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The Debian package, with its checksum.
fn debian_package() -> anyhow::Result<PathBuf> {
    let package = deb::build()?;
    archive::checksums(&directory())?;
    Ok(package)
}

/// The tarball of the static x86-64 binary, with its checksum.
fn static_tarball() -> anyhow::Result<PathBuf> {
    let directory = directory();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let binary = binary::build(Architecture::X86_64)?;
    binary::run_alone(&binary)?;
    let tarball = archive::tarball(Architecture::X86_64, &binary)?;
    archive::checksums(&directory)?;
    Ok(tarball)
}

/// The container image of that binary, with its checksum.
fn image() -> anyhow::Result<PathBuf> {
    let image = container::image(&static_tarball()?)?;
    archive::checksums(&directory())?;
    Ok(image)
}

/// Builds the aarch64 binary, and compares its output for the fixtures with that of the x86-64 binary.
///
/// # Errors
/// The binary cannot be built, or the outputs differ.
pub(crate) fn cross() -> anyhow::Result<ExitCode> {
    if let Some(reason) = binary::obstacle(Architecture::Aarch64)? {
        eprintln!("xtask: NOT RUN HERE: the build for aarch64 (cargo xtask cross): {reason}");
        return Ok(ExitCode::SUCCESS);
    }
    let directory = directory();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let native = binary::build(Architecture::X86_64)?;
    let foreign = binary::build(Architecture::Aarch64)?;
    let compared = binary::compare(&native, &foreign)?;
    println!("{compared} outputs on aarch64 and x86-64 are identical");
    println!("{}", archive::tarball(Architecture::Aarch64, &foreign)?.display());
    archive::checksums(&directory)?;
    Ok(ExitCode::SUCCESS)
}
