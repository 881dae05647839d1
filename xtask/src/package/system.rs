//! A Debian system in QEMU for the tests of the packages.
//!
//! debootstrap makes a clean system, once for each set of packages. A copy of it gets the files of
//! the test and the steps, which systemd starts. The machine boots Debian's kernel 6.12, so that
//! units, containers and probes meet a real systemd and a real kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use super::directory;
use crate::architecture::Architecture;
use crate::workspace::{self, run_checked};
use crate::{tools, vm};

const RELEASE: &str = "bookworm";
const KERNEL: &str = "6.12";

/// What every system has beside the essential: an init, and what steps call.
const INCLUDED: &str = "systemd-sysv,kmod,iproute2,nftables,iputils-ping,dbus";

/// Debian's packages that make the system.
const PACKAGES: [&str; 2] = ["debootstrap", "e2fsprogs"];

const UNIT: &str = "[Unit]\n\
                    Description=The steps of a test\n\
                    After=multi-user.target\n\
                    [Service]\n\
                    Type=oneshot\n\
                    ExecStart=/root/steps.sh\n\
                    TimeoutStartSec=infinity\n";

/// The options of a test in a machine of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct MachineOptions {
    /// Seconds after which a machine that has not ended has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    timeout: u64,
    /// Show the machine's console while it runs
    #[arg(long, short)]
    verbose: bool,
}

/// A system to make and test in.
#[derive(Debug)]
pub(super) struct System {
    /// Debian's packages beside [`INCLUDED`], with commas; they name the cached system too.
    pub(super) packages: &'static str,
    /// The steps, which steps.sh runs.
    pub(super) test: &'static str,
}

/// Installs the requirements of such a system, and returns why it is impossible here, if it is.
///
/// # Errors
/// When an installation was tried and failed.
pub(super) fn obstacle() -> anyhow::Result<Option<String>> {
    if !tools::is_root() {
        return Ok(Some("not root, and only root can create a Debian system".to_owned()));
    }
    let missing = tools::provide_packages(&PACKAGES, "they make a Debian system")?;
    Ok(missing.or(vm::obstacle(Architecture::X86_64)?))
}

impl System {
    /// Creates the system, calls `fill` to put files into its /root, boots it and runs the steps.
    /// Returns whether all of them passed.
    ///
    /// # Errors
    /// The system cannot be created or booted.
    pub(super) fn run(
        &self,
        options: &MachineOptions,
        fill: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let root = self.copy()?;
        let home = root.join("root");
        fill(&home)?;
        let steps = home.join("steps.sh");
        fs::write(&steps, include_bytes!("steps.sh")).context("cannot write the steps")?;
        fs::write(home.join("test.sh"), self.test).context("cannot write the steps")?;
        run_checked(Command::new("chmod").arg("755").arg(&steps))?;
        let units = root.join("etc/systemd/system");
        fs::write(units.join("ctpulse-guest.service"), UNIT).context("cannot write the unit")?;
        let target = units.join("default.target.wants");
        fs::create_dir_all(&target).context("cannot enable the steps")?;
        std::os::unix::fs::symlink(
            "../ctpulse-guest.service",
            target.join("ctpulse-guest.service"),
        )
        .context("cannot enable the steps")?;
        let passed = vm::boot_disk(&vm::Disk {
            root: &root,
            kernel: KERNEL,
            patience: Duration::from_secs(options.timeout),
            verbose: options.verbose,
        });
        fs::remove_dir_all(&root).context("cannot remove the system's copy")?;
        passed
    }

    /// A copy of the clean system; its directory.
    fn copy(&self) -> anyhow::Result<PathBuf> {
        let clean = self.clean()?;
        let root = directory().join("root");
        if root.exists() {
            fs::remove_dir_all(&root).context("cannot remove the last system")?;
        }
        fs::create_dir_all(directory()).context("cannot make target/package")?;
        run_checked(Command::new("cp").arg("-a").arg(&clean).arg(&root))?;
        Ok(root)
    }

    /// The system as debootstrap makes it, kept in `.cache/debian`.
    fn clean(&self) -> anyhow::Result<PathBuf> {
        let cache = workspace::root().join(".cache/debian");
        let name = [RELEASE, self.packages].join("-").replace(',', "-");
        let name = name.trim_end_matches('-');
        let system = cache.join(name);
        if system.is_dir() {
            return Ok(system);
        }
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let partial = cache.join(format!("{name}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial).context("cannot remove a partial system")?;
        }
        eprintln!("xtask: creating a clean Debian system ({name})");
        let included = [INCLUDED, self.packages].join(",");
        let included = included.trim_end_matches(',');
        let mut make = Command::new("debootstrap");
        make.env("PATH", tools::search_path()?);
        make.args(["--variant=minbase", &format!("--include={included}"), RELEASE]).arg(&partial);
        run_checked(make.arg(vm::Apt::mirror()?).stderr(Stdio::inherit()))?;
        let _ = fs::remove_dir_all(partial.join("var/cache/apt/archives"));
        fs::rename(&partial, &system).context("cannot keep the system")?;
        Ok(system)
    }
}
