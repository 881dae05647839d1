//! The statistics of each attached program: skipped calls, runs and their time.
//!
//! Three things can keep a program from seeing a call. Another tracing program ran on that CPU
//! already (`trace_call_bpf`); another probe did (`kprobe_running`), or too many calls of a
//! function were under way for its return probe (`nmissed`). From 6.7 on the kernel counts all of
//! them, in the program and in its link. A trampoline misses only the calls that interrupt itself,
//! which the kernel counts in the program.

#![allow(unsafe_code, reason = "no crate asks the kernel about misses without an allocation")]

use std::os::fd::{AsFd, AsRawFd, RawFd};

use aya::Ebpf;
use aya_obj::generated::{bpf_attr, bpf_attr__bindgen_ty_9, bpf_cmd, bpf_link_info, bpf_prog_info};

use super::trampoline::Trampoline;
use crate::schema::maintained;
use crate::schema::raw::Program;

/// Since this release the kernel counts skipped calls: of programs in `trace_call_bpf`, of probes in
/// their link. Before, it prints 0 for the former and nothing for the latter.
const MISSES_FROM: maintained::Release = (6, 7);

/// Attached programs and the descriptors of their statistics.
#[derive(Debug, Default)]
pub(super) struct Programs(Vec<AttachedProgram>);

/// The descriptors live as long as the program is attached.
#[derive(Debug)]
struct AttachedProgram {
    name: &'static str,
    program: RawFd,
    misses: Misses,
}

/// Where the kernel counts the calls that a program misses.
#[derive(Debug, Clone, Copy)]
enum Misses {
    /// Nowhere: a kprobe before 6.7.
    Unknown,
    /// A kprobe: in the program and in this link.
    OfProgramAndLink(RawFd),
    /// A trampoline (5.12 on): in the program, where it interrupted itself. Nothing else keeps it from
    /// a call.
    OfProgram,
}

impl Programs {
    /// Finds the descriptors of the kprobes `names`, all of them attached, and of the trampolines.
    pub(super) fn open(ebpf: &Ebpf, names: &[&'static str], trampolines: &[Trampoline]) -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let counts = maintained::parse_release(&release).unwrap_or_default() >= MISSES_FROM;
        let links = if counts { links() } else { Vec::new() };
        let attached = names.iter().filter_map(|&name| {
            let program = ebpf.program(name)?;
            let id = program.info().ok()?.id();
            let program = program.fd().ok()?.as_fd().as_raw_fd();
            let link = links.iter().find(|(_, program)| *program == id);
            let misses = link.map_or(Misses::Unknown, |(link, _)| Misses::OfProgramAndLink(*link));
            Some(AttachedProgram { name, program, misses })
        });
        let traced = trampolines.iter().map(|Trampoline { name, program, .. }| AttachedProgram {
            name,
            program: program.as_raw_fd(),
            misses: Misses::OfProgram,
        });
        Self(attached.chain(traced).collect())
    }

    /// Reads the statistics of each program.
    pub(super) fn read(&self, programs: &mut Vec<Program>) {
        programs.clear();
        programs.extend(self.0.iter().map(AttachedProgram::read));
    }

    /// Returns how many calls those programs missed of which the kernel counts that.
    pub(super) fn missed(&self) -> u64 {
        let missed = self.0.iter().map(|attached| {
            let Program { skipped, missed, .. } = attached.read();
            skipped.unwrap_or(0).wrapping_add(missed.unwrap_or(0))
        });
        missed.fold(0, u64::wrapping_add)
    }

    /// Whether the kernel counts the calls that each of them misses.
    pub(super) fn count_missed(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|attached| attached.misses.are_counted())
    }
}

impl Misses {
    fn are_counted(self) -> bool {
        !matches!(self, Self::Unknown)
    }
}

impl AttachedProgram {
    fn read(&self) -> Program {
        let info = program_info(self.program);
        let skipped = info.filter(|_| self.misses.are_counted()).map(|info| info.recursion_misses);
        Program {
            name: self.name,
            skipped,
            missed: match self.misses {
                Misses::Unknown => None,
                Misses::OfProgramAndLink(link) => missed(link),
                Misses::OfProgram => Some(0),
            },
            runs: info.map_or(0, |info| info.run_cnt),
            run_time_ns: info.map_or(0, |info| info.run_time_ns),
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

/// Reads the statistics of a program.
fn program_info(program: RawFd) -> Option<bpf_prog_info> {
    // SAFETY: all zeros are a value of this structure of numbers.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is that long, and of numbers only; its pointers to arrays have length 0.
    unsafe { object_info(program, (&raw mut info).cast(), size_of::<bpf_prog_info>()) }
        .then_some(info)
}

/// Calls that the link's probe has missed (`bpf_perf_link_fill_kprobe`).
fn missed(link: RawFd) -> Option<u64> {
    // SAFETY: all zeros are a value of these unions of numbers.
    let mut info: bpf_link_info = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is that long, and of numbers only.
    let is_known = unsafe { object_info(link, (&raw mut info).cast(), size_of::<bpf_link_info>()) };
    // SAFETY: a kprobe's link has filled in this part; for another it is zeros or other numbers.
    let kprobe = unsafe { info.__bindgen_anon_1.perf_event.__bindgen_anon_1.kprobe };
    is_known.then_some(kprobe.missed)
}

/// Has the kernel fill in `info` about the object of a descriptor; returns whether it did.
///
/// # Safety
/// `info` is `length` bytes that may take any value.
unsafe fn object_info(descriptor: RawFd, info: *mut u8, length: usize) -> bool {
    // SAFETY: all zeros are a value of these unions of numbers.
    let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
    let (Ok(bpf_fd), Ok(info_len)) = (u32::try_from(descriptor), u32::try_from(length)) else {
        return false;
    };
    attributes.info = bpf_attr__bindgen_ty_9 { bpf_fd, info_len, info: info as u64 };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which is that long.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            bpf_cmd::BPF_OBJ_GET_INFO_BY_FD,
            &raw mut attributes,
            size_of::<bpf_attr>(),
        )
    };
    result == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_complete_name() {
        let text = "prog_type:\t2\nrun_time_ns:\t12\nrun_cnt:\t3\nrecursion_misses:\t1\n";
        assert_eq!(number(text, "run_cnt"), Some(3));
        assert_eq!(number(text, "run_time_ns"), Some(12));
        assert_eq!(number(text, "run"), None);
    }
}
