//! A guest that boots a whole system from a disk, for `cargo xtask test-package`.
//!
//! The disk is an ext4 file system made of a directory, without mounting anything. The
//! system reports the results of its tests like all guests (see `console`).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::kernel::Kernel;
use super::machine::{Accelerator, Hardware};
use super::run::{self, Guest, Patience, Shown};
use super::{image, kernels, obstacle, print_result, tool, turn};
use crate::architecture::Architecture;
use crate::workspace::run_checked;

/// The size of the disk. Unwritten parts take no space.
const SIZE: &str = "2G";

/// MiB of memory.
const MEMORY: u32 = 1024;

/// A system to boot.
#[derive(Debug)]
pub(crate) struct Disk<'a> {
    /// The directory that is the disk's content. The kernel's modules are put into it.
    pub(crate) root: &'a Path,
    /// The kernel, as `cargo xtask vm --kernel` takes it.
    pub(crate) kernel: &'a str,
    /// How long it may take.
    pub(crate) patience: Duration,
    /// Show the console.
    pub(crate) verbose: bool,
}

/// Boots a system that starts its tests by itself. Returns whether at least one test ran and all
/// passed.
///
/// # Errors
/// When no virtual machine can run here, or the disk cannot be made.
pub(crate) fn boot_disk(disk: &Disk<'_>) -> anyhow::Result<bool> {
    if let Some(reason) = obstacle(Architecture::X86_64)? {
        bail!("no virtual machine can run here: {reason}");
    }
    let (consoles, _turn) = turn()?;
    let kernel = kernels(Architecture::X86_64).get(disk.kernel)?;
    let file = consoles.join("disk");
    make(&file, disk.root, &kernel)?;
    let start = Instant::now();
    let initramfs = image::for_disk(&kernel)?;
    let name = &kernel.version;
    let mut show = |shown: Shown<'_>| match shown {
        Shown::Line(line) if disk.verbose => eprintln!("{name}: {line}"),
        Shown::Line(_) => {}
        Shown::Verdict(verdict) => println!("{verdict}"),
    };
    let hardware = Hardware {
        architecture: Architecture::X86_64,
        accelerator: Accelerator::Tcg,
        memory_mib: MEMORY,
        disk: Some(&file),
    };
    let guest = Guest { name, kernel: &kernel, initramfs: &initramfs, consoles: &consoles };
    let run = run::attend(guest, hardware, Patience::whole(disk.patience), &mut show)?;
    print_result(name, &run, start);
    Ok(run.is_good())
}

/// Writes the file system.
fn make(file: &Path, root: &Path, kernel: &Kernel) -> anyhow::Result<()> {
    let modules = root.join("lib/modules");
    fs::create_dir_all(&modules).with_context(|| format!("cannot make {}", modules.display()))?;
    let mut copy = tool("cp")?;
    run_checked(copy.arg("-a").arg(kernel.modules()).arg(&modules))?;
    let _ = fs::remove_file(file);
    let mut format = tool("mke2fs")?;
    format.args(["-q", "-t", "ext4", "-d"]).arg(root).arg(file).arg(SIZE);
    run_checked(&mut format)?;
    Ok(())
}
