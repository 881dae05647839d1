//! The programs that the tests call and the packages that the eBPF build takes, and how a Debian
//! system gets them.
//!
//! What is missing is installed when we are root and there is apt-get. Otherwise what cannot be
//! tested is said, with the command that helps; the tests say so again when they skip.

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
    /// What it is for: completes "no tests of ...".
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

/// What the tests on this host call.
const FOR_TESTS: [Tool; 7] = [IP, NFT, STRACE, CONNTRACK, ZSH, FISH, GROFF];

/// What it takes to make virtual machines, and what runs in them.
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

/// What the measurements in a virtual machine are held against.
const FOR_MEASURING: [Tool; 1] =
    [Tool { program: "bpftrace", package: "bpftrace", serves: "cost against bpftrace" }];

const fn for_vm(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package, serves: "kernels in virtual machines" }
}

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

/// Makes sure that every tool of the tests is there, or says what will not be tested.
///
/// # Errors
/// When an installation was tried and failed.
pub(crate) fn provide() -> anyhow::Result<()> {
    provide_each(&FOR_TESTS).map(|_| ())
}

/// Has Debian's Prometheus unpacked in `.cache/prometheus`, where its tests look: installed, it
/// would start a server. What stands in the way of that is said.
///
/// # Errors
/// When it was tried and failed.
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
        .with_context(|| format!("cannot make {}", directory.display()))?;
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

/// The same for `cargo xtask vm`; the programs that are missing all the same.
///
/// # Errors
/// When an installation was tried and failed.
pub(crate) fn provide_for_vm() -> anyhow::Result<Vec<&'static str>> {
    provide_each(&FOR_VM)
}

/// The same for the measurements in a virtual machine.
///
/// # Errors
/// When an installation was tried and failed.
pub(crate) fn provide_for_measuring() -> anyhow::Result<Vec<&'static str>> {
    provide_each(&FOR_MEASURING)
}

/// Installs those of Debian's `packages` that are missing, and says so with the reason; what
/// stands in the way of that. Packages that the system has are never removed for it.
///
/// # Errors
/// When an installation was tried and failed.
pub(crate) fn provide_packages(packages: &[&str], why: &str) -> anyhow::Result<Option<String>> {
    if !is_there("dpkg-query")? {
        return Ok(Some(format!("{} are Debian's packages", packages.join(", "))));
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
        let reason = if is_root() { "there is no apt-get here" } else { "not root" };
        return Ok(Some(format!("{reason}; it takes: sudo apt-get install {missing}")));
    }
    eprintln!("xtask: installing {missing}: {why}");
    apt_get(&["update"])?;
    apt_get(&["install -y --no-install-recommends --no-remove", &missing])?;
    Ok(None)
}

/// The path of a program.
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
        install.args(["install", "--locked", name, "--version", version, "--root"]);
        install.arg(&directory);
        eprintln!("xtask: {}", shown(&install));
        if !install.status().context("cannot start cargo")?.success() {
            bail!("`{}` failed: {name} cannot be built here", shown(&install));
        }
    }
    Ok(program)
}

/// Installs what is missing if that is possible; what is missing still.
fn provide_each(tools: &[Tool]) -> anyhow::Result<Vec<&'static str>> {
    let missing = missing(tools)?;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let programs = missing.iter().map(|tool| tool.program).collect();
    let packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    let packages = packages.join(" ");
    if !is_root() || !is_there("apt-get")? {
        let why = if is_root() { "there is no apt-get here" } else { "not root" };
        eprintln!("xtask: WARNING: tools are missing and cannot be installed ({why}).");
        for Tool { program, serves, .. } in missing {
            eprintln!("xtask: WARNING:   no `{program}`: no tests of {serves}");
        }
        eprintln!("xtask: WARNING: to get them: sudo apt-get install {packages}");
        return Ok(programs);
    }
    for Tool { program, package, serves } in missing {
        eprintln!(
            "xtask: installing {package}: `{program}` is missing; it serves tests of {serves}"
        );
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
