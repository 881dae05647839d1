//! The programs that the tests call, the packages that the eBPF build needs, and their installation on
//! Debian.
//!
//! Missing ones are installed as root where apt-get exists. Otherwise a warning lists the tests that
//! cannot run, with the command that installs the tools; these tests print `NOT RUN HERE`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use nix::unistd::geteuid;

use crate::workspace::{self, run_checked, shown};

/// A program that tests call.
struct Tool {
    program: &'static str,
    package: &'static str,
    /// The subject of these tests: completes "no tests of ...".
    serves: &'static str,
}

const IP: Tool = Tool { program: "ip", package: "iproute2", serves: "network namespaces" };
const NFT: Tool = Tool { program: "nft", package: "nftables", serves: "real flows in a namespace" };
const CONNTRACK: Tool = Tool {
    program: "conntrack",
    package: "conntrack",
    serves: "agreement with ctnetlink's numbers",
};
const STRACE: Tool =
    Tool { program: "strace", package: "strace", serves: "the number of reads per tick" };

const ZSH: Tool = Tool { program: "zsh", package: "zsh", serves: "completions in zsh" };
const FISH: Tool = Tool { program: "fish", package: "fish", serves: "completions in fish" };
const GROFF: Tool = Tool { program: "groff", package: "groff-base", serves: "manual pages" };

/// The tools of the tests on this host.
const FOR_TESTS: [Tool; 7] = [IP, NFT, STRACE, CONNTRACK, ZSH, FISH, GROFF];

/// The tools that create virtual machines, and those that run in them.
const FOR_VM: [Tool; 10] = [
    IP,
    NFT,
    CONNTRACK,
    for_vm("qemu-system-x86_64", "qemu-system-x86"),
    for_vm("busybox", "busybox-static"),
    for_vm("modprobe", "kmod"),
    for_vm("xz", "xz-utils"),
    for_vm("zstd", "zstd"),
    for_vm("bpftool", "bpftool"),
    for_vm("dpkg-deb", "dpkg"),
];

/// The reference of the measurements in a virtual machine.
const FOR_MEASURING: [Tool; 1] =
    [Tool { program: "bpftrace", package: "bpftrace", serves: "cost against bpftrace" }];

const fn for_vm(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package, serves: "kernels in virtual machines" }
}

/// Debian installs most of the tools in directories that are not in a user's PATH.
const ADMIN_DIRS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Returns whether the process runs as root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// Returns PATH with the administrators' directories appended.
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

/// Installs the missing tools of the tests, or warns about the tests that cannot run.
///
/// # Errors
/// An installation failed.
pub(crate) fn provide() -> anyhow::Result<()> {
    provide_each(&FOR_TESTS).map(|_| ())
}

/// Unpacks Debian's Prometheus into `.cache/prometheus`, where its tests search it. Installing the
/// package would start a server. A warning reports why this is impossible.
///
/// # Errors
/// The download failed.
pub(crate) fn provide_prometheus() -> anyhow::Result<()> {
    let directory = workspace::root().join(".cache/prometheus");
    if directory.join("usr/bin/promtool").is_file() || is_there("promtool")? {
        return Ok(());
    }
    if !is_root() || !is_there("apt-get")? {
        eprintln!(
            "xtask: WARNING: no `promtool`: no tests of alerts and of a real server's scrapes"
        );
        return Ok(());
    }
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    apt_get(&["update"])?;
    let mut download = Command::new("apt-get");
    run_checked(download.args(["-qq", "download", "prometheus"]).current_dir(&directory))?;
    for entry in fs::read_dir(&directory)? {
        let package = entry?.path();
        if package.extension().is_some_and(|end| end == "deb") {
            run_checked(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&directory))?;
            fs::remove_file(package)?;
        }
    }
    Ok(())
}

/// Installs the tools of `cargo xtask vm`, and returns the programs that are still missing.
///
/// # Errors
/// An installation failed.
pub(crate) fn provide_for_vm() -> anyhow::Result<Vec<&'static str>> {
    provide_each(&FOR_VM)
}

/// Installs the tools of the measurements in a virtual machine, and returns the missing ones.
///
/// # Errors
/// An installation failed.
pub(crate) fn provide_for_measuring() -> anyhow::Result<Vec<&'static str>> {
    provide_each(&FOR_MEASURING)
}

/// Installs the missing ones of Debian's `packages`, and prints the reason `why`. Returns why this is
/// impossible, if it is. Installed packages are never removed.
///
/// # Errors
/// An installation failed.
pub(crate) fn provide_packages(packages: &[&str], why: &str) -> anyhow::Result<Option<String>> {
    if !is_there("dpkg-query")? {
        return Ok(Some(format!(
            "not a Debian system, and the packages {} are needed",
            packages.join(", ")
        )));
    }
    let mut missing = Vec::new();
    for package in packages {
        let mut query = Command::new("dpkg-query");
        query.args(["--show", "--showformat", "${db:Status-Status}", package]);
        let output = query.output().context("cannot start dpkg-query")?;
        if output.stdout != b"installed" {
            missing.push(*package);
        }
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let missing = missing.join(" ");
    if !is_root() || !is_there("apt-get")? {
        let reason = if is_root() { "apt-get is missing" } else { "not root" };
        return Ok(Some(format!("{reason}; to install them: sudo apt-get install {missing}")));
    }
    eprintln!("xtask: installing {missing}: {why}");
    apt_get(&["update"])?;
    apt_get(&["install -y --no-install-recommends --no-remove", &missing])?;
    Ok(None)
}

/// Returns the path of a program.
pub(crate) fn find(program: &str) -> anyhow::Result<Option<PathBuf>> {
    let path = search_path()?;
    Ok(env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file()))
}

/// Returns the path of a cargo subcommand, and builds it into `.cache` where it is missing.
///
/// # Errors
/// It cannot be built, for example because the registry cannot be reached.
pub(crate) fn cargo_program(name: &str, version: &str) -> anyhow::Result<PathBuf> {
    let directory = workspace::root().join(".cache").join(name).join(version);
    let program = directory.join("bin").join(name);
    if !program.is_file() {
        let mut install = workspace::cargo();
        // Unoptimised: these programs run for seconds, and CI builds them in each fresh clone.
        install.args(["install", "--debug", "--locked", name, "--version", version, "--root"]);
        install.arg(&directory);
        eprintln!("xtask: {}", shown(&install));
        if !install.status().context("cannot start cargo")?.success() {
            bail!("`{}` failed: {name} cannot be built here", shown(&install));
        }
    }
    Ok(program)
}

/// Installs the missing tools if possible, and returns the programs that are still missing.
fn provide_each(tools: &[Tool]) -> anyhow::Result<Vec<&'static str>> {
    let missing = missing(tools)?;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let programs = missing.iter().map(|tool| tool.program).collect();
    let packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    let packages = packages.join(" ");
    if !is_root() || !is_there("apt-get")? {
        let why = if is_root() { "apt-get is missing" } else { "not root" };
        eprintln!("xtask: WARNING: tools are missing and cannot be installed ({why}).");
        for Tool { program, serves, .. } in missing {
            eprintln!("xtask: WARNING:   no `{program}`: no tests of {serves}");
        }
        eprintln!("xtask: WARNING: to install them: sudo apt-get install {packages}");
        return Ok(programs);
    }
    for Tool { program, package, serves } in missing {
        eprintln!("xtask: installing {package}: tests of {serves} need `{program}`");
    }
    let hint = "`cargo test --workspace` runs the tests that need no tools";
    apt_get(&["update"]).context(hint)?;
    apt_get(&["install -y --no-install-recommends", &packages]).context(hint)?;
    Ok(Vec::new())
}

/// Runs apt-get with `arguments`, each of them one or more words.
fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.args(arguments.iter().flat_map(|words| words.split(' ')));
    command.env("DEBIAN_FRONTEND", "noninteractive");
    eprintln!("xtask: {}", shown(&command));
    let status = command.status().context("cannot start apt-get")?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(&command));
    }
    Ok(())
}

fn missing(tools: &[Tool]) -> anyhow::Result<Vec<&Tool>> {
    let path = search_path()?;
    Ok(tools.iter().filter(|tool| !is_in(&path, tool.program)).collect())
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
