//! The programs that the tests call, and how a Debian system gets them.
//!
//! A missing one is installed when we are root and there is apt-get. Otherwise what cannot be
//! tested is said, with the command that helps; the tests say so again when they skip.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use nix::unistd::geteuid;

use crate::workspace::shown;

/// A program that tests call.
struct Tool {
    program: &'static str,
    package: &'static str,
    /// What it is for: completes "no tests of ...".
    serves: &'static str,
}

const TOOLS: [Tool; 4] = [
    Tool { program: "ip", package: "iproute2", serves: "network namespaces" },
    Tool { program: "nft", package: "nftables", serves: "real flows in a namespace" },
    Tool { program: "strace", package: "strace", serves: "the number of reads per tick" },
    Tool {
        program: "conntrack",
        package: "conntrack",
        serves: "agreement with ctnetlink's numbers",
    },
];

/// Debian keeps most of the tools where a user's PATH does not look.
const ADMIN_DIRS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// PATH, with the administrators' directories at its end.
pub(crate) fn search_path() -> anyhow::Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = env::split_paths(&path).collect();
    for dir in ADMIN_DIRS.map(PathBuf::from) {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    env::join_paths(dirs).context("PATH cannot be extended")
}

/// Makes sure that every tool is there, or says what will not be tested.
///
/// # Errors
/// When an installation was tried and failed.
pub(crate) fn provide() -> anyhow::Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    let packages = packages.join(" ");
    if !is_root() || !is_there("apt-get")? {
        let why = if is_root() { "there is no apt-get here" } else { "not root" };
        eprintln!("xtask: WARNING: tools are missing and cannot be installed ({why}).");
        for Tool { program, serves, .. } in missing {
            eprintln!("xtask: WARNING:   no `{program}`: no tests of {serves}");
        }
        eprintln!("xtask: WARNING: to get them: sudo apt-get install {packages}");
        return Ok(());
    }
    for Tool { program, package, serves } in missing {
        eprintln!(
            "xtask: installing {package}: `{program}` is missing; it serves tests of {serves}"
        );
    }
    apt_get(&["update"])?;
    apt_get(&["install -y --no-install-recommends", &packages])
}

/// Runs apt-get with `arguments`, each of them one or more words.
fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.args(arguments.iter().flat_map(|words| words.split(' ')));
    command.env("DEBIAN_FRONTEND", "noninteractive");
    eprintln!("xtask: {}", shown(&command));
    let status = command.status().context("cannot start apt-get")?;
    if !status.success() {
        bail!(
            "`{}` failed ({status}); `cargo test --workspace` runs the tests that need no tools",
            shown(&command)
        );
    }
    Ok(())
}

fn missing() -> anyhow::Result<Vec<&'static Tool>> {
    let path = search_path()?;
    Ok(TOOLS.iter().filter(|tool| !is_in(&path, tool.program)).collect())
}

fn is_there(program: &str) -> anyhow::Result<bool> {
    Ok(is_in(&search_path()?, program))
}

fn is_in(path: &OsStr, program: &str) -> bool {
    env::split_paths(path).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_program_is_found_by_its_directory() {
        assert!(is_in(OsStr::new("/nowhere:/bin:/usr/bin"), "sh"));
        assert!(!is_in(OsStr::new("/nowhere:/proc/self"), "sh"));
        assert!(!is_in(OsStr::new("/"), "usr"));
    }

    #[test]
    fn the_search_path_ends_where_administrators_look() {
        let path = search_path().unwrap();
        assert!(env::split_paths(&path).any(|dir| dir == Path::new("/usr/sbin")));
    }
}
