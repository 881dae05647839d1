//! The initramfs: our binaries, tools with their libraries, and a kernel's modules.
//!
//! It is two archives (cpio "newc", gzip), which the kernel unpacks one after the other: one
//! that all kernels share, and one with a kernel's modules, unpacked and in load order.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};

use super::kernel::Kernel;
use super::programs::{Libraries, Programs, TOOLS};
use super::{Binaries, Part, tool};
use crate::workspace::run_checked;

/// Modules to load where a kernel has them, with what they depend on. A kernel may have them
/// built in, or lack one: `nft_counter` is a module in 5.10 only.
const MODULES: [&str; 22] = [
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_conntrack_ftp",
    "nf_tables",
    "nft_ct",
    "nft_counter",
    "nft_limit",
    "nft_numgen",
    "nft_objref",
    "nft_connlimit",
    "nft_reject",
    "nft_reject_ipv4",
    "nft_reject_ipv6",
    "nft_reject_inet",
    "nf_nat",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "nft_redir",
    "veth",
    "dummy",
    "sch_netem",
];

/// The modules that mounting a disk needs.
const FOR_DISKS: [&str; 3] = ["virtio_pci", "virtio_blk", "ext4"];

const DIRECTORIES: [&str; 16] = [
    "bin", "dev", "etc", "lib", "lib64", "modules", "proc", "root", "run", "sbin", "sys", "tmp",
    "usr", "usr/bin", "usr/sbin", "var",
];

/// The task of a guest.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work<'a> {
    /// Tests.
    Tests {
        /// The tests with names that contain this.
        filter: &'a str,
        /// How many connections one of them begins, if not a few.
        connections: Option<u64>,
        /// How they attach probes, if not as by default.
        attach: Option<&'a str>,
        /// Seconds after which a test that still runs is killed.
        patience: u64,
    },
    /// Measurements.
    Measurements {
        /// `quick` or `full`.
        length: &'a str,
        /// Those with names that contain this.
        filter: &'a str,
    },
}

/// The part that is the same in the guests of all kernels.
#[derive(Debug)]
pub(crate) struct Image {
    base: Vec<u8>,
    bpftrace: bool,
}

impl Image {
    /// Packs the binaries, the tools and the init.
    ///
    /// # Errors
    /// When a file or a tool is missing.
    pub(super) fn new(
        binaries: &Binaries,
        programs: &Programs,
        work: Work<'_>,
        bpftrace: bool,
    ) -> anyhow::Result<Self> {
        let mut archive = Archive::default();
        DIRECTORIES.iter().for_each(|directory| archive.directory(directory));
        archive.console();
        archive.file("init", 0o755, include_bytes!("init.sh"));
        let (Work::Tests { filter, .. } | Work::Measurements { filter, .. }) = work;
        archive.file("etc/ctpulse-test", 0o644, filter.as_bytes());
        if let Work::Measurements { length, .. } = work {
            archive.file("etc/ctpulse-measure", 0o644, length.as_bytes());
        }
        if let Work::Tests { patience, .. } = work {
            archive.file("etc/ctpulse-patience", 0o644, patience.to_string().as_bytes());
        }
        if let Work::Tests { connections: Some(number), .. } = work {
            archive.file("etc/ctpulse-connections", 0o644, number.to_string().as_bytes());
        }
        if let Work::Tests { attach: Some(how), .. } = work {
            archive.file("etc/ctpulse-attach", 0o644, how.as_bytes());
        }
        let busybox = programs.find("busybox")?;
        let mut files = vec![("bin/busybox".to_owned(), busybox.clone(), read(&busybox)?)];
        for (name, path) in [("guest", &binaries.guest), ("ctpulse", &binaries.ctpulse)] {
            let content = without_debug_info(programs.strip(), path)?;
            files.push((format!("bin/{name}"), path.clone(), content));
        }
        for name in TOOLS.into_iter().chain(bpftrace.then_some("bpftrace")) {
            let path = programs.find(name)?;
            files.push((format!("usr/sbin/{name}"), path.clone(), read(&path)?));
        }
        let mut libraries = Libraries::new();
        for (name, path, content) in &files {
            archive.file(name, 0o755, content);
            programs.add_libraries(path, &mut libraries)?;
        }
        for (name, path) in &libraries {
            archive.file(name, 0o755, &read(path)?);
        }
        Ok(Self { base: gzip(&archive.finish())?, bpftrace })
    }

    /// How much memory a guest with this takes, in MiB: the image stays in it.
    pub(crate) fn memory_mib(&self) -> u32 {
        if self.bpftrace { 2048 } else { 1024 }
    }

    /// The whole initramfs for a part of the tests with a kernel.
    ///
    /// # Errors
    /// When a module cannot be read.
    pub(super) fn with(&self, kernel: &Kernel, part: Part) -> anyhow::Result<Vec<u8>> {
        let mut archive = Archive::default();
        archive.modules(kernel, &MODULES)?;
        archive.file("etc/ctpulse-part", 0o644, part.numbers().as_bytes());
        Ok([&self.base[..], &gzip(&archive.finish())?].concat())
    }
}

/// An initramfs that does no more than mount a disk and start the system on it.
///
/// # Errors
/// When busybox is missing or a module cannot be read.
pub(super) fn for_disk(kernel: &Kernel) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::default();
    DIRECTORIES.iter().for_each(|directory| archive.directory(directory));
    archive.console();
    archive.file("init", 0o755, include_bytes!("disk.sh"));
    archive.file("bin/busybox", 0o755, &read(&Programs::Installed.find("busybox")?)?);
    archive.modules(kernel, &FOR_DISKS)?;
    gzip(&archive.finish())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Reads a binary without its debug information, which would be most of the archive.
fn without_debug_info(strip: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut strip = tool(strip)?;
    let stripped = path.with_extension("stripped");
    strip.args(["--strip-debug", "-o"]).arg(&stripped).arg(path);
    run_checked(&mut strip)?;
    let content = read(&stripped);
    let _ = fs::remove_file(&stripped);
    content
}

/// The name and the content of a module's file, unpacked.
fn module(file: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let name = file.file_name().context("a module without a name")?.to_string_lossy();
    for (ending, program) in [(".xz", "xz"), (".zst", "zstd"), (".gz", "gzip")] {
        if let Some(name) = name.strip_suffix(ending) {
            let mut unpack = tool(program)?;
            let output = unpack.arg("-dc").arg(file).stderr(Stdio::inherit()).output();
            let output = output.with_context(|| format!("cannot start {program}"))?;
            if !output.status.success() {
                bail!("{program} cannot unpack {}", file.display());
            }
            return Ok((name.to_owned(), output.stdout));
        }
    }
    Ok((name.to_string(), read(file)?))
}

fn gzip(content: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut gzip = tool("gzip")?;
    gzip.args(["-1", "-n", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut gzip = gzip.spawn().context("cannot start gzip")?;
    let mut stdin = gzip.stdin.take().context("gzip has no standard input")?;
    let output = std::thread::scope(|scope| {
        let writer = scope.spawn(move || stdin.write_all(content));
        let output = gzip.wait_with_output();
        (output, writer.join())
    });
    match output {
        (Ok(output), Ok(Ok(()))) if output.status.success() => Ok(output.stdout),
        _ => bail!("gzip failed"),
    }
}

/// A cpio archive in the format that an initramfs has; everything in it is root's.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    /// Directories that were made.
    directories: BTreeSet<String>,
}

impl Archive {
    /// A directory and those above it.
    fn directory(&mut self, path: &str) {
        if path.is_empty() || !self.directories.insert(path.to_owned()) {
            return;
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
        self.entry(path, 0o040_755, 0, &[]);
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
        self.entry(path, 0o100_000 | mode, 0, content);
    }

    /// A kernel's modules with what they depend on, and their names in load order.
    fn modules(&mut self, kernel: &Kernel, modules: &[&str]) -> anyhow::Result<()> {
        let mut order: Vec<PathBuf> = Vec::new();
        for module in modules {
            for file in kernel.files_of(module)? {
                if !order.contains(&file) {
                    order.push(file);
                }
            }
        }
        let mut names = String::new();
        for file in &order {
            let (name, content) = module(file)?;
            self.file(&format!("modules/{name}"), 0o644, &content);
            names.push_str(&name);
            names.push('\n');
        }
        self.file("modules/order", 0o644, names.as_bytes());
        Ok(())
    }

    /// /dev/console, which init's standard output is before it can mount anything.
    fn console(&mut self) {
        self.entry("dev/console", 0o020_600, 5 << 8 | 1, &[]);
    }

    /// `device` is major << 8 | minor.
    fn entry(&mut self, path: &str, mode: u32, device: u32, content: &[u8]) {
        self.entries += 1;
        let (size, name_size) = (content.len() as u32, path.len() as u32 + 1);
        let (major, minor) = (device >> 8, device & 0xff);
        let header = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in header {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_the_directories_of_its_files_once() {
        let mut archive = Archive::default();
        archive.file("a/b/file", 0o755, b"12345");
        archive.file("a/b/other", 0o644, b"");
        archive.console();
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap();
        let names: Vec<_> =
            text.split("070701").filter_map(|entry| entry.get(104..)?.split('\0').next()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/file", "a/b/other", "dev/console", "TRAILER!!!"]);
        let file = text.split("070701").find(|entry| entry.contains("a/b/file")).unwrap();
        assert_eq!(&file[8..16], "000081ed");
        assert_eq!(&file[48..56], "00000005");
        // The name and the content each end at a multiple of four bytes.
        let padded = ["a/b/file", "\0\0", "12345", "\0\0\0"].concat();
        assert_eq!(file.get(104..), Some(&padded[..]));
    }
}
