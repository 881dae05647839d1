//! `cargo xtask package`, `cross`, `test-package` and `test-container`: what people install, and
//! whether it works.
//!
//! `binary` builds the program for a target without any library, `notices` lists whose crates
//! are in it, `documents` copies the documentation and checks its links, `deb` makes and judges the
//! Debian package, `archive` the tarballs and checksums, `container` the image. `test_package` and
//! `test_container` try the results in a `system` of their own. Everything comes out in
//! `target/package`. `crates` packs what `cargo install ctpulse` takes from a registry.

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

use self::binary::Target;
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
    let built = if options.container {
        vec![image()?]
    } else {
        let deb = deb::build()?;
        vec![deb, static_tarball()?]
    };
    archive::checksums(&directory())?;
    for path in built {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The tarball of the static x86-64 binary.
fn static_tarball() -> anyhow::Result<PathBuf> {
    let directory = directory();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let binary = binary::build(Target::X86_64)?;
    binary::run_alone(&binary)?;
    archive::tarball(Target::X86_64, &binary)
}

/// The container image of that binary.
fn image() -> anyhow::Result<PathBuf> {
    container::image(&static_tarball()?)
}

/// Builds the aarch64 binary, and compares what it says of the fixtures with what the x86-64
/// one does.
///
/// # Errors
/// When it cannot be built, or they differ.
pub(crate) fn cross() -> anyhow::Result<ExitCode> {
    if let Some(reason) = binary::obstacle(Target::Aarch64)? {
        eprintln!("xtask: NOT RUN HERE: the build for aarch64 (cargo xtask cross): {reason}");
        return Ok(ExitCode::SUCCESS);
    }
    let directory = directory();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let native = binary::build(Target::X86_64)?;
    let foreign = binary::build(Target::Aarch64)?;
    let compared = binary::compare(&native, &foreign)?;
    println!("aarch64 says what x86-64 says: {compared} outputs are the same to the byte");
    println!("{}", archive::tarball(Target::Aarch64, &foreign)?.display());
    archive::checksums(&directory)?;
    Ok(ExitCode::SUCCESS)
}
