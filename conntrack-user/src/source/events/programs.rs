//! How each attached program fares: what the kernel skipped, and what it spent.
//!
//! Three things can keep a program from seeing a call. Another tracing program ran on that CPU
//! already (`trace_call_bpf`); another probe did (`kprobe_running`), or too many calls of a
//! function were under way for its return probe (`nmissed`). From 6.7 on the kernel tells all of
//! them, of the program and of its link.

#![allow(unsafe_code, reason = "no crate asks the kernel about a link's misses")]

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;

use aya::Ebpf;
use aya_obj::generated::{bpf_attr, bpf_attr__bindgen_ty_9, bpf_cmd, bpf_link_info};

use crate::kernel;
use crate::sample::Program;

/// Since then the kernel counts what it skipped: programs in `trace_call_bpf`, probes in their
/// link. Before, it prints 0 for the former and has no word for the latter.
const MISSES_FROM: kernel::Release = (6, 7);

/// Attached programs and where the kernel tells about them.
#[derive(Debug, Default)]
pub(super) struct Programs(Vec<Attached>);

#[derive(Debug)]
struct Attached {
    name: &'static str,
    /// `/proc/self/fdinfo` of the program.
    info: File,
    /// The link, which lives as long as the program is attached.
    link: Option<RawFd>,
}

impl Programs {
    /// Opens what there is about the programs `names`, all of them attached.
    pub(super) fn open(ebpf: &Ebpf, names: &[&'static str]) -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let tells = kernel::parse_release(&release).unwrap_or_default() >= MISSES_FROM;
        let links = if tells { links() } else { Vec::new() };
        let attached = names.iter().filter_map(|&name| {
            let program = ebpf.program(name)?;
            let descriptor = std::os::fd::AsFd::as_fd(program.fd().ok()?).as_raw_fd();
            let info = File::open(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
            let id = program.info().ok()?.id();
            let link = links.iter().find(|(_, program)| *program == id);
            Some(Attached { name, info, link: link.map(|(link, _)| *link) })
        });
        Self(attached.collect())
    }

    /// Fills in how each program fares.
    pub(super) fn read(&self, programs: &mut Vec<Program>) {
        programs.clear();
        for Attached { name, info, link } in &self.0 {
            let mut buffer = [0; 1024];
            let length = info.read_at(&mut buffer, 0).unwrap_or(0);
            let text = str::from_utf8(&buffer[..length]).unwrap_or_default();
            programs.push(Program {
                name,
                skipped: number(text, "recursion_misses").filter(|_| link.is_some()),
                missed: link.and_then(missed),
                runs: number(text, "run_cnt").unwrap_or(0),
                run_time_ns: number(text, "run_time_ns").unwrap_or(0),
            });
        }
    }
}

/// The number behind `name:` in the text of a descriptor.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}

/// The descriptors of this process that are links of eBPF programs, and the program of each.
fn links() -> Vec<(RawFd, u32)> {
    let descriptors = std::fs::read_dir("/proc/self/fdinfo").into_iter().flatten().flatten();
    let link = |entry: std::fs::DirEntry| {
        let text = std::fs::read_to_string(entry.path()).ok()?;
        number(&text, "link_id")?;
        let program = u32::try_from(number(&text, "prog_id")?).ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, program))
    };
    descriptors.filter_map(link).collect()
}

/// Calls that the link's probe has missed (`bpf_perf_link_fill_kprobe`).
fn missed(link: RawFd) -> Option<u64> {
    // SAFETY: all zeros are a value of these unions of numbers.
    let mut info: bpf_link_info = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
    attributes.info = bpf_attr__bindgen_ty_9 {
        bpf_fd: u32::try_from(link).ok()?,
        info_len: size_of::<bpf_link_info>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which is that long.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            bpf_cmd::BPF_OBJ_GET_INFO_BY_FD,
            &raw mut attributes,
            size_of::<bpf_attr>(),
        )
    };
    // SAFETY: a kprobe's link has filled in this part; for another it is zeros or other numbers.
    let kprobe = unsafe { info.__bindgen_anon_1.perf_event.__bindgen_anon_1.kprobe };
    (result == 0).then_some(kprobe.missed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let text = "prog_type:\t2\nrun_time_ns:\t12\nrun_cnt:\t3\nrecursion_misses:\t1\n";
        assert_eq!(number(text, "run_cnt"), Some(3));
        assert_eq!(number(text, "run_time_ns"), Some(12));
        assert_eq!(number(text, "run"), None);
    }
}
