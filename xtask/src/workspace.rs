//! The workspace that this program belongs to: its root, its cargo, its release binaries.
//!
//! Nothing here knows what is built or why.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The workspace's root directory: cargo names it when it runs us. What the compiler was told
/// is older, and wrong once the checkout has moved.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR");
    let package = package.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or(package.clone(), Path::to_path_buf)
}

/// The cargo that runs us, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Where cargo puts release builds: beside the profile that this program was built in, which
/// is right for every way to set the target directory.
pub(crate) fn release_dir() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let target = program.parent().and_then(Path::parent);
    Ok(target.with_context(|| format!("{} is in no directory", program.display()))?.join("release"))
}

/// `command` as one would type it, the program without its directory.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = OsString::from(program.file_name().unwrap_or(program.as_os_str()));
    for argument in command.get_args() {
        line.push(" ");
        line.push(argument);
    }
    line.to_string_lossy().into_owned()
}

/// Runs a command to its end; what it printed. Its standard error is told when it fails, unless
/// the command sends it elsewhere.
///
/// # Errors
/// When the command cannot be started or fails.
pub(crate) fn run_checked(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({})\n{}", shown(command), output.status, told.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
