//! One QEMU process, and its console line by line.
//!
//! Emulation takes one thread: with several, QEMU 7.2 lets a guest kernel crash while its code
//! is patched under load, as probes do. KVM is used only on request. The process is killed when this value goes, and by the
//! kernel if this program is killed.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use anyhow::{Context, ensure};

use super::tool;
use crate::architecture::Architecture;

/// The kernel's command line, behind the console: that takes warnings, and a fault ends the guest at once.
const COMMAND_LINE: &str = "loglevel=5 printk.devkmsg=on oops=panic panic=-1 ctpulse.guest=1";

/// The device of hardware virtualisation.
const KVM: &str = "/dev/kvm";

/// How QEMU executes the guest's instructions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Accelerator {
    /// Emulated in one thread; works everywhere
    #[default]
    Tcg,
    /// Emulated with a clock of 2 ns for each guest instruction: measurements do not depend on the load
    /// of this machine. Debian's 5.10 does not boot so
    Icount,
    /// Executed by the CPU; many times faster, needs /dev/kvm
    Kvm,
}

impl Accelerator {
    /// The arguments for QEMU.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Tcg => &["-accel", "tcg,thread=single"],
            Self::Icount => &["-accel", "tcg,thread=single", "-icount", "shift=1,sleep=off"],
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
        }
    }

    /// Checks that this machine has it.
    ///
    /// # Errors
    /// When `/dev/kvm` cannot be opened, or the guest is of another architecture than this machine.
    pub(crate) fn check(self, architecture: Architecture) -> anyhow::Result<()> {
        if self == Self::Kvm {
            ensure!(
                architecture == Architecture::X86_64,
                "--accel kvm: this machine cannot execute arm64; without --accel the guest is emulated"
            );
            let opened = File::options().read(true).write(true).open(KVM);
            ensure!(
                opened.is_ok(),
                "--accel kvm: cannot open {KVM}: {}; without --accel the guest is emulated",
                opened.err().map(|error| error.to_string()).unwrap_or_default()
            );
        }
        Ok(())
    }
}

/// The program that emulates an architecture, the machine, and the name of its serial line.
fn emulated(architecture: Architecture) -> (&'static str, &'static [&'static str], &'static str) {
    match architecture {
        Architecture::X86_64 => ("qemu-system-x86_64", &[], "ttyS0"),
        Architecture::Aarch64 => {
            ("qemu-system-aarch64", &["-M", "virt", "-cpu", "cortex-a72"], "ttyAMA0")
        }
    }
}

/// The machine of a guest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hardware<'a> {
    /// What it is.
    pub(crate) architecture: Architecture,
    /// How its instructions are executed.
    pub(crate) accelerator: Accelerator,
    /// Memory in MiB.
    pub(crate) memory_mib: u32,
    /// A disk image, which the guest does not change.
    pub(crate) disk: Option<&'a Path>,
}

/// Input from a console.
#[derive(Debug)]
pub(crate) enum Line {
    /// A line without its end.
    Text(String),
    /// The machine has stopped, with this status.
    End(String),
    /// The deadline has come first; the machine has been killed.
    Late,
}

/// A running virtual machine.
#[derive(Debug)]
pub(crate) struct Machine {
    qemu: Child,
    lines: Receiver<Vec<u8>>,
    console: File,
    late: bool,
}

impl Machine {
    /// Boots `kernel` with `initramfs` on `hardware`; the console is written to the file `console`
    /// too.
    ///
    /// # Errors
    /// When QEMU cannot be started or the file cannot be made.
    pub(crate) fn boot(
        kernel: &Path,
        initramfs: &Path,
        hardware: Hardware<'_>,
        console: &Path,
    ) -> anyhow::Result<Self> {
        let file = File::create(console);
        let file = file.with_context(|| format!("cannot write {}", console.display()))?;
        // setpriv becomes QEMU, so the child is QEMU itself.
        let mut qemu = tool("setpriv")?;
        let (program, machine, serial) = emulated(hardware.architecture);
        qemu.args(["--pdeathsig", "KILL", program]).args(machine);
        qemu.args(hardware.accelerator.arguments());
        qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
        let command_line = format!("console={serial} {COMMAND_LINE}");
        qemu.args(["-append", &command_line, "-nographic", "-no-reboot", "-nic", "none"]);
        qemu.args(["-smp", "2", "-m", &hardware.memory_mib.to_string()]);
        if let Some(disk) = hardware.disk {
            let drive = format!("if=virtio,format=raw,snapshot=on,file={}", disk.display());
            qemu.args(["-drive", &drive]);
        }
        qemu.stdout(Stdio::piped()).stderr(file.try_clone().context("cannot share the console")?);
        let mut qemu = qemu.spawn().context("cannot start setpriv")?;
        let stdout = qemu.stdout.take().context("QEMU has no standard output")?;
        Ok(Self { qemu, lines: lines_of(stdout), console: file, late: false })
    }

    /// The next line, or how it ended. At `deadline` the machine is killed, and the lines that
    /// were on their way come before [`Line::Late`].
    ///
    /// # Errors
    /// When the console's file cannot be written.
    pub(crate) fn line(&mut self, deadline: Instant) -> anyhow::Result<Line> {
        loop {
            let received = if self.late {
                self.lines.recv().map_err(RecvTimeoutError::from)
            } else {
                let left = deadline.saturating_duration_since(Instant::now());
                self.lines.recv_timeout(left)
            };
            match received {
                Ok(line) => {
                    self.console.write_all(&line).context("cannot write the console")?;
                    let line = String::from_utf8_lossy(&line);
                    return Ok(Line::Text(line.trim_end_matches(['\r', '\n']).to_owned()));
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.late = true;
                    self.qemu.kill().context("cannot kill QEMU")?;
                }
                Err(RecvTimeoutError::Disconnected) if self.late => return Ok(Line::Late),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.qemu.wait().context("cannot wait for QEMU")?;
                    return Ok(Line::End(format!("QEMU: {status}")));
                }
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn lines_of(stdout: ChildStdout) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        loop {
            let mut line = Vec::new();
            if !matches!(stdout.read_until(b'\n', &mut line), Ok(1..)) || send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulation_has_one_thread_and_is_the_default() {
        assert_eq!(Accelerator::default().arguments(), ["-accel", "tcg,thread=single"]);
        assert!(Accelerator::Tcg.check(Architecture::X86_64).is_ok());
        assert!(Accelerator::Kvm.arguments().contains(&"kvm"));
    }
}
