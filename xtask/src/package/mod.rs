//! `cargo xtask package`, `cross` and `test-package`: what people install, and whether it does.
//!
//! `binary` builds the program for a target without any library, `notices` lists whose crates
//! are in it, `documents` copies the documentation and checks its links, `deb` makes and judges the
//! Debian package, `archive` the tarballs and checksums, `guest` installs, upgrades and purges the package in a machine of its own. Everything comes
//! out in `target/package`.

mod archive;
mod binary;
mod deb;
mod documents;
mod guest;
mod notices;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use self::binary::Target;
use crate::workspace;

pub(crate) use self::guest::Options as GuestOptions;

/// Where packages come out.
fn directory() -> PathBuf {
    workspace::root().join("target/package")
}

/// Builds the Debian package and the static x86-64 binary; their checksums.
///
/// # Errors
/// When something cannot be built, or lintian finds an error.
pub(crate) fn package() -> anyhow::Result<ExitCode> {
    let directory = directory();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let deb = deb::build()?;
    let binary = binary::build(Target::X86_64)?;
    binary::run_alone(&binary)?;
    let archive = archive::tarball(Target::X86_64, &binary)?;
    archive::checksums(&directory)?;
    for path in [deb, archive] {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
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

/// Installs, upgrades, removes and purges the Debian package in a machine of its own.
///
/// # Errors
/// When the machine cannot be made.
pub(crate) fn test(options: &GuestOptions) -> anyhow::Result<ExitCode> {
    guest::run(options)
}
