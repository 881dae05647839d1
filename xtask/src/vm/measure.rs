//! A guest that measures: the ignored tests of tests/guest, for `cargo xtask bench`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;

use super::image::{Image, Work};
use super::machine::{Accelerator, Hardware};
use super::programs::Programs;
use super::run::{self, Guest, Patience, Shown};
use super::{Binaries, Part, build, kernels, obstacle, turn};
use crate::architecture::Architecture;
use crate::tools;

/// The kernel that is measured.
const KERNEL: &str = "6.12";

/// How long a guest may take: bpftrace's compiler alone runs for minutes where it is emulated.
const PATIENCE: Duration = Duration::from_secs(5400);

/// Runs the measurements whose names contain `filter` on the release build `ctpulse` beside bpftrace in
/// a guest, and returns its lines `NAME number=...`. A failed measurement has no lines, and prints an error on standard error.
///
/// # Errors
/// When no virtual machine can run here, or the guest or its kernel came to harm.
pub(crate) fn measure(
    ctpulse: PathBuf,
    architecture: Architecture,
    quick: bool,
    accelerator: Accelerator,
    filter: &str,
) -> anyhow::Result<Vec<String>> {
    accelerator.check(architecture)?;
    let is_native = architecture == Architecture::X86_64;
    let reason = obstacle(architecture)?;
    let missing = if is_native { tools::provide_for_measuring()? } else { Vec::new() };
    if let Some(reason) = reason {
        bail!("no virtual machine can run here: {reason}");
    }
    if !missing.is_empty() {
        bail!("missing: {}", missing.join(", "));
    }
    let (consoles, _turn) = turn()?;
    let mut cache = kernels(architecture);
    let kernel = cache.get(KERNEL)?;
    let built = build(architecture)?;
    let binaries = if is_native { Binaries { ctpulse, ..built } } else { built };
    let length = if quick { "quick" } else { "full" };
    let work = Work::Measurements { length, filter };
    let image = Image::new(&binaries, &Programs::of(&mut cache)?, work, is_native)?;
    let initramfs = image.with(&kernel, Part::WHOLE)?;
    let guest = Guest {
        name: &kernel.version,
        kernel: &kernel,
        initramfs: &initramfs,
        consoles: &consoles,
    };
    let hardware =
        Hardware { architecture, accelerator, memory_mib: image.memory_mib(), disk: None };
    let run = run::attend(guest, hardware, Patience::whole(PATIENCE), &mut |shown| match shown {
        Shown::Verdict(verdict) => eprintln!("bench: {verdict}"),
        Shown::Line(_) => {}
    })?;
    if !run.is_good() {
        run.show_lines();
    }
    if let Some(trouble) = run.trouble.first() {
        bail!("{}: {trouble}", kernel.version);
    }
    Ok(run.measured)
}
