//! The program without any library, for x86-64 and aarch64.
//!
//! Both are linked with glibc's static archive, so that they run on a system of any age, and in
//! a container that has nothing else. x86-64 is built by the workspace's own toolchain, and aarch64
//! by Debian's (`cross`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::architecture::Architecture;
use crate::workspace::{self, run_checked, shown};
use crate::{cross, tools};

/// Runs aarch64 programs.
const EMULATOR: &str = "qemu-aarch64";
/// Debian's package with it.
const EMULATORS: &str = "qemu-user";

/// Debian's package with the C library that a binary is linked with.
pub(super) fn c_library(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "libc6-dev",
        Architecture::Aarch64 => "libc6-dev-arm64-cross",
    }
}

/// Installs the requirements of a build, and returns why it is impossible here, if it is.
///
/// # Errors
/// When an installation was tried and failed.
pub(super) fn obstacle(architecture: Architecture) -> anyhow::Result<Option<String>> {
    if architecture == Architecture::X86_64 {
        return Ok(None);
    }
    let emulator = tools::provide_packages(&[EMULATORS], "they run aarch64 programs")?;
    Ok(cross::obstacle()?.or(emulator))
}

/// Builds the release binary; its path.
///
/// # Errors
/// When the build fails, or the binary asks for a library.
pub(super) fn build(architecture: Architecture) -> anyhow::Result<PathBuf> {
    let place = workspace::root().join("target/static");
    let mut cargo = match architecture {
        Architecture::X86_64 => native(&place),
        Architecture::Aarch64 => cross::cargo("build", "std,panic_abort"),
    };
    cargo.args(["--release", "--locked", "--package", "ctpulse", "--bin", "ctpulse"]);
    eprintln!("xtask: {}", shown(&cargo));
    run_checked(cargo.stdout(Stdio::null()).stderr(Stdio::inherit()))?;
    let binary = place.join(architecture.triple()).join("release/ctpulse");
    check(&binary, architecture)?;
    Ok(binary)
}

/// The workspace's own cargo, which builds into a place of its own: the flags differ from other builds.
fn native(place: &Path) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--target", Architecture::X86_64.triple(), "--target-dir"]).arg(place);
    cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    cargo
}

/// Checks that a binary is for `architecture` and needs no library and no loader.
fn check(binary: &Path, architecture: Architecture) -> anyhow::Result<()> {
    use object::read::elf::{FileHeader, ProgramHeader};
    use object::{Endianness, elf};

    let data = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let header = elf::FileHeader64::<Endianness>::parse(&*data)?;
    let endian = header.endian()?;
    let machine = match architecture {
        Architecture::X86_64 => elf::EM_X86_64,
        Architecture::Aarch64 => elf::EM_AARCH64,
    };
    if header.e_machine(endian) != machine {
        bail!("{} is for another machine", binary.display());
    }
    for segment in header.program_headers(endian, &*data)? {
        if segment.p_type(endian) == elf::PT_INTERP {
            bail!("{} is not static: it names a loader", binary.display());
        }
        let Some(entries) = segment.dynamic(endian, &*data)? else { continue };
        if entries.iter().any(|entry| entry.d_tag.get(endian) == elf::DT_NEEDED) {
            bail!("{} is not static: it names a library", binary.display());
        }
    }
    Ok(())
}

/// Runs the binary where there is nothing else: no library, no user, no /etc.
///
/// # Errors
/// When it does not read the one thing that is there, a fixture.
pub(super) fn run_alone(binary: &Path) -> anyhow::Result<()> {
    if !tools::is_root() {
        eprintln!("xtask: NOT RUN HERE: the static binary in an empty root: not root");
        return Ok(());
    }
    let root = workspace::root().join("target/package/empty");
    fs::create_dir_all(&root).context("cannot make an empty root")?;
    fs::copy(binary, root.join("ctpulse")).context("cannot copy the binary")?;
    let fixture = workspace::root().join("fixtures/5.15/proc");
    run_checked(Command::new("cp").arg("-r").arg(fixture).arg(&root))?;
    let mut alone = Command::new("chroot");
    alone.env_clear().env("PATH", tools::search_path()?).arg(&root);
    alone.args(["/ctpulse", "--once", "--format", "influx", "--proc-root", "/proc"]);
    let message = run_checked(&mut alone);
    fs::remove_dir_all(&root).context("cannot remove the empty root")?;
    if !message?.contains("ip_conntrack_count=") {
        bail!("the static binary does not read a fixture in an empty root");
    }
    println!("the static binary runs in an empty root");
    Ok(())
}

/// Runs both binaries on every fixture in every format, and on every recording; how many outputs
/// were compared.
///
/// # Errors
/// When one fails, or they differ.
pub(super) fn compare(native: &Path, foreign: &Path) -> anyhow::Result<usize> {
    let fixtures = workspace::root().join("fixtures");
    let mut compared = 0;
    let mut both = |arguments: &[&str]| -> anyhow::Result<()> {
        let emulator = tools::find(EMULATOR)?.context("there is no qemu-aarch64 here")?;
        let ours = output(Command::new(native).args(arguments))?;
        let theirs = output(Command::new(emulator).arg(foreign).args(arguments))?;
        if ours.is_empty() {
            bail!("`ctpulse {}` prints nothing", arguments.join(" "));
        }
        if ours != theirs {
            bail!(
                "`ctpulse {}` differs:\n--- x86-64\n{ours}--- aarch64\n{theirs}",
                arguments.join(" ")
            );
        }
        compared += 1;
        Ok(())
    };
    for entry in fs::read_dir(&fixtures).context("there are no fixtures")? {
        let root = entry.context("the fixtures cannot be read")?.path();
        let (procfs, sysfs) = (root.join("proc"), root.join("sys"));
        if !procfs.is_dir() {
            continue;
        }
        let (procfs, sysfs) = (procfs.to_string_lossy(), sysfs.to_string_lossy());
        for format in ["influx", "json", "prometheus", "csv"] {
            for compat in [&[][..], &["--compat", "telegraf"][..]] {
                let of = ["--once", "--collect", "all,percpu", "--format", format];
                let roots = ["--proc-root", &procfs, "--sys-root", &sysfs];
                both(&[&of[..], &roots[..], compat].concat())?;
            }
        }
    }
    for recording in ["burst", "mixed"] {
        let path = fixtures.join(format!("recordings/{recording}.influx"));
        let path = path.to_string_lossy();
        both(&["report", &path, "--format", "text"])?;
        both(&["report", &path, "--format", "json"])?;
    }
    Ok(compared)
}

/// The output of a command, with T instead of the time of the read, which always differs.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let text = run_checked(command)?;
    let mut plain = String::new();
    let is_time = |word: &str| word.len() == 19 && word.bytes().all(|byte| byte.is_ascii_digit());
    for (word, end) in words(&text) {
        plain.push_str(if is_time(word) { "T" } else { word });
        plain.extend(end);
    }
    Ok(plain)
}

/// Runs of letters and digits, each with the character behind it.
fn words(text: &str) -> impl Iterator<Item = (&str, Option<char>)> {
    text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()).map(|piece| {
        match piece.char_indices().next_back() {
            Some((at, last)) if !last.is_ascii_alphanumeric() => (&piece[..at], Some(last)),
            _ => (piece, None),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_are_left_out() {
        let text =
            "a=1i 1795418322367478882\n{\"timestamp\":1795418322367478882,\"b\":17954183223}";
        let printed = output(Command::new("printf").arg("%s").arg(text)).unwrap();
        assert_eq!(printed, "a=1i T\n{\"timestamp\":T,\"b\":17954183223}");
    }

    #[test]
    fn a_binary_with_libraries_is_not_static() {
        let this = std::env::current_exe().unwrap();
        let message = check(&this, Architecture::X86_64).unwrap_err().to_string();
        assert!(message.contains("not static") || message.contains("another machine"), "{message}");
    }
}
