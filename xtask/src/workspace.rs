//! The workspace that this program belongs to: its root, its cargo, its release binaries.
//!
//! This module does not depend on the tasks.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The root directory of the workspace, from the variable that cargo sets. The directory at compile
/// time is the fallback, since it is wrong after the checkout was moved.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR");
    let package = package.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or(package.clone(), Path::to_path_buf)
}

/// The cargo that started this program, in the root directory of the workspace.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// The directory of release builds. It is beside the profile of this program, which is correct for
/// every setting of the target directory.
pub(crate) fn release_dir() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let target = program.parent().and_then(Path::parent);
    Ok(target.with_context(|| format!("{} is in no directory", program.display()))?.join("release"))
}

/// The `ctpulse` of `cargo test`. Another build with other features would take a minute more.
///
/// # Errors
/// `cargo test` has not built it yet.
pub(crate) fn built_by_tests() -> anyhow::Result<PathBuf> {
    let ctpulse = release_dir()?.with_file_name("debug").join("ctpulse");
    if !ctpulse.is_file() {
        bail!("{} is missing; `cargo test` builds it", ctpulse.display());
    }
    Ok(ctpulse)
}

/// `command` as a user would type it, the program without its directory.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = OsString::from(program.file_name().unwrap_or(program.as_os_str()));
    for argument in command.get_args() {
        line.push(" ");
        line.push(argument);
    }
    line.to_string_lossy().into_owned()
}

/// Runs a command to its end and returns its standard output. An error contains its standard error,
/// unless the command redirects it.
///
/// # Errors
/// The command cannot be started, or fails.
pub(crate) fn run_checked(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({})\n{}", shown(command), output.status, stderr.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
