//! `cargo xtask test-package`: the life of the Debian package in a machine of its own.
//!
//! debootstrap makes a clean Debian system, once. Into a copy of it go the package, an older one,
//! and `guest.sh`, which systemd starts: it installs, starts, upgrades, removes and purges. The
//! machine boots Debian's kernel 6.12 in QEMU, so that the unit is started by a real systemd and
//! its probes are attached to a real kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context;

use super::{deb, directory};
use crate::workspace::{self, run_checked};
use crate::{tools, vm};

const RELEASE: &str = "bookworm";
const KERNEL: &str = "6.12";

/// What the system has beside the essential: an init, and what the steps call.
const INCLUDED: &str = "systemd-sysv,kmod,iproute2,nftables,iputils-ping,dbus";

/// Debian's packages that make the system.
const PACKAGES: [&str; 2] = ["debootstrap", "e2fsprogs"];

const UNIT: &str = "[Unit]\n\
                    Description=The life of the package\n\
                    After=multi-user.target\n\
                    [Service]\n\
                    Type=oneshot\n\
                    ExecStart=/root/guest.sh\n\
                    TimeoutStartSec=infinity\n";

/// A line that the older package's configuration has beside, so that dpkg has to choose.
const OLD_LINE: &str = "\n# A line of the old package.\n";

/// What `cargo xtask test-package` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A package to test, instead of building one
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
    /// Seconds after which a machine that has not ended has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
    /// Show the machine's console while it runs
    #[arg(long, short)]
    verbose: bool,
}

/// Builds the package and leads it through its life; fails when a step does.
///
/// # Errors
/// When the package or the machine cannot be made.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut reason = tools::provide_packages(&PACKAGES, "they make the system of the package")?;
    if !tools::is_root() {
        reason = Some("not root, which a Debian system is made as".to_owned());
    }
    if let Some(reason) = reason.or(vm::obstacle()?) {
        eprintln!("xtask: NOT RUN HERE: the life of the package: {reason}");
        return Ok(ExitCode::SUCCESS);
    }
    let package = options.package.clone().map_or_else(deb::build, Ok)?;
    let root = system(&package)?;
    let passed = vm::boot_disk(&vm::Disk {
        root: &root,
        kernel: KERNEL,
        patience: Duration::from_secs(options.timeout),
        verbose: options.verbose,
    });
    fs::remove_dir_all(&root).context("cannot remove the system's copy")?;
    Ok(if passed? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A Debian system with both packages and the steps; its directory.
fn system(package: &Path) -> anyhow::Result<PathBuf> {
    let clean = clean_system()?;
    let root = directory().join("root");
    if root.exists() {
        fs::remove_dir_all(&root).context("cannot remove the last system")?;
    }
    run_checked(Command::new("cp").arg("-a").arg(&clean).arg(&root))?;
    let home = root.join("root");
    fs::copy(package, home.join("new.deb")).context("cannot copy the package")?;
    older(package, &home.join("old.deb"))?;
    let script = home.join("guest.sh");
    fs::write(&script, include_bytes!("guest.sh")).context("cannot write the steps")?;
    run_checked(Command::new("chmod").arg("755").arg(&script))?;
    let units = root.join("etc/systemd/system");
    fs::write(units.join("ctpulse-guest.service"), UNIT).context("cannot write the steps' unit")?;
    let wanted = units.join("default.target.wants");
    fs::create_dir_all(&wanted).context("cannot have the steps started")?;
    std::os::unix::fs::symlink("../ctpulse-guest.service", wanted.join("ctpulse-guest.service"))
        .context("cannot have the steps started")?;
    Ok(root)
}

/// The system as debootstrap makes it, kept in `.cache/debian`.
fn clean_system() -> anyhow::Result<PathBuf> {
    let cache = workspace::root().join(".cache/debian");
    let system = cache.join(RELEASE);
    if system.is_dir() {
        return Ok(system);
    }
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let partial = cache.join(format!("{RELEASE}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial).context("cannot remove a partial system")?;
    }
    eprintln!("xtask: making a clean Debian system of {RELEASE}");
    let mut make = Command::new("debootstrap");
    make.env("PATH", tools::search_path()?);
    make.args(["--variant=minbase", &format!("--include={INCLUDED}"), RELEASE]).arg(&partial);
    run_checked(make.arg(vm::Apt::mirror()?).stderr(Stdio::inherit()))?;
    let _ = fs::remove_dir_all(partial.join("var/cache/apt/archives"));
    fs::rename(&partial, &system).context("cannot keep the system")?;
    Ok(system)
}

/// The same package with a lower version and a line more in its configuration.
fn older(package: &Path, old: &Path) -> anyhow::Result<()> {
    let tree = directory().join("old");
    if tree.exists() {
        fs::remove_dir_all(&tree).context("cannot remove the last package's tree")?;
    }
    run_checked(Command::new("dpkg-deb").arg("-R").arg(package).arg(&tree))?;
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).context("the package has no control file")?;
    let older = |line: &str| {
        let is_version = line.starts_with("Version: ");
        format!("{}\n", if is_version { "Version: 0.0.1-1" } else { line })
    };
    fs::write(&control, text.lines().map(older).collect::<String>())
        .context("cannot write the older control file")?;
    let configuration = tree.join("etc/ctpulse/ctpulse.conf");
    let text = fs::read_to_string(&configuration).context("the package has no configuration")?;
    fs::write(&configuration, text + OLD_LINE).context("cannot write the older configuration")?;
    run_checked(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(old))?;
    fs::remove_dir_all(&tree).context("cannot remove the package's tree")
}
