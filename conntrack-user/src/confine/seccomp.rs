//! seccomp: which system calls may still be made.
//!
//! Two filters. The first ends the process at a call that only an intruder makes (running a
//! program, mounting, loading modules, ...): the kernel's log and the service manager then say
//! `SIGSYS`, and no intruder continues in the process. The second allows the
//! calls that follow and answers every other one as a kernel without it would (`ENOSYS`): the C
//! libraries know what to do then, so a newer one costs a detour and not the agent.
//!
//! The allowed calls are those that `strace` shows of every mode, with what other C libraries,
//! architectures and an abort use instead; tests/host/confine.rs runs the modes.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op,
    SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
};

use super::{LayerError, Needs};

/// Without regard to their arguments, in every run.
const ALWAYS: &[c_long] = &[
    // Files that are open, and opening those that appear.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_ftruncate,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Threads, and waiting.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_ppoll,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_recvfrom,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // The rest.
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
];

/// The same where older calls have numbers of their own.
#[cfg(target_arch = "x86_64")]
const ALWAYS_HERE: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_readlink,
    libc::SYS_access,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
];
#[cfg(not(target_arch = "x86_64"))]
const ALWAYS_HERE: &[c_long] = &[];

#[cfg(target_arch = "x86_64")]
const RENAMEAT: c_long = libc::SYS_renameat;
/// asm-generic/unistd.h; libc has no name for it.
#[cfg(not(target_arch = "x86_64"))]
const RENAMEAT: c_long = 38;

/// Files are made.
const MAKING: &[c_long] = &[libc::SYS_fchmod, libc::SYS_flock];

/// Files are put aside and replaced.
const REWRITING: &[c_long] = &[
    RENAMEAT,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_fchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// Connections are taken and answered (tokio's).
const LISTENER: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
];

/// The programs of probes and of the census are loaded again, and the latter is run.
const PROGRAMS: c_long = libc::SYS_bpf;

/// Probes are attached again.
const PROBES: c_long = libc::SYS_perf_event_open;

/// Calls that do not happen by accident.
const FATAL: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kill,
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_unshare,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_mknodat,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_memfd_create,
    libc::SYS_personality,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    libc::SYS_sethostname,
];

const AF_NETLINK: u64 = libc::AF_NETLINK as u64;
const NETLINK_NETFILTER: u64 = libc::NETLINK_NETFILTER as u64;
/// Length of `struct sockaddr_nl`.
const NETLINK_ADDRESS: u64 = size_of::<libc::sockaddr_nl>() as u64;
/// asm-generic/ioctls.h: whether it is a terminal, how large, and not to wait.
const TCGETS: u64 = 0x5401;
const TIOCGWINSZ: u64 = 0x5413;
const FIONBIO: u64 = 0x5421;
/// `PERF_EVENT_IOC_*`: `_IO('$', n)`, and of `SET_BPF` `_IOW('$', 8, u32)`.
const PERF_ENABLE: u64 = 0x2400;
const PERF_DISABLE: u64 = 0x2401;
const PERF_SET_BPF: u64 = 0x4004_2408;

/// Filters this thread's calls for good.
pub(super) fn filter(needs: &Needs) -> Result<(), LayerError> {
    let refused = |error: Error| LayerError::Refused(error.to_string());
    let (fatal, allowed) = (fatal(needs).map_err(refused)?, allowed(needs).map_err(refused)?);
    // The second one does not let a third be installed, so the order matters.
    apply_filter(&fatal).and_then(|()| apply_filter(&allowed)).map_err(|error| match error {
        Error::Seccomp(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            LayerError::Absent("this kernel has none (CONFIG_SECCOMP_FILTER is not set)")
        }
        error => refused(error),
    })
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn fatal(needs: &Needs) -> Result<BpfProgram, Error> {
    let mut rules: Rules = FATAL.iter().map(|&call| (call, Vec::new())).collect();
    if !needs.probes {
        rules.insert(PROBES, Vec::new());
    }
    if !needs.probes && !needs.census {
        rules.insert(PROGRAMS, Vec::new());
    }
    if needs.netlink {
        rules.insert(libc::SYS_socket, vec![when(0, Length::Dword, Op::Ne, AF_NETLINK)?]);
        rules.remove(&libc::SYS_connect);
    }
    if !needs.namespaces {
        rules.insert(libc::SYS_setns, Vec::new());
    }
    compile(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}

fn allowed(needs: &Needs) -> Result<BpfProgram, Error> {
    let mut rules: Rules = ALWAYS.iter().chain(ALWAYS_HERE).map(|&call| (call, vec![])).collect();
    // No memory becomes code.
    let executable = libc::PROT_EXEC as u64;
    let no_code = SeccompCondition::new(2, Length::Dword, Op::MaskedEq(executable), 0)?;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![SeccompRule::new(vec![no_code.clone()])?]);
    }
    // Threads, no processes. (The flags of clone3 lie in memory; without it clone is called.)
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![when(0, Length::Qword, Op::MaskedEq(thread), thread)?]);
    // An abort: a signal to this process alone.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![when(0, Length::Dword, Op::Eq, own)?]);
    if cfg!(target_env = "musl") {
        rules.insert(libc::SYS_tkill, Vec::new());
    }
    // Names of threads and of memory, and how exactly a thread sleeps.
    let prctls = [libc::PR_SET_NAME, libc::PR_SET_VMA, libc::PR_SET_TIMERSLACK];
    let prctls = prctls.into_iter().map(|what| when(0, Length::Dword, Op::Eq, what as u64));
    rules.insert(libc::SYS_prctl, prctls.collect::<Result<_, _>>()?);
    // Limits are asked for, none is set.
    rules.insert(libc::SYS_prlimit64, vec![when(2, Length::Qword, Op::Eq, 0)?]);
    // The signal handler's word to the main thread, over a pair that is connected.
    rules.insert(libc::SYS_sendto, vec![when(4, Length::Qword, Op::Eq, 0)?]);
    let mut ioctls = vec![TCGETS, TIOCGWINSZ, FIONBIO];
    if needs.probes {
        rules.insert(PROBES, Vec::new());
        ioctls.extend([PERF_ENABLE, PERF_DISABLE, PERF_SET_BPF]);
    }
    if needs.probes || needs.census {
        rules.insert(PROGRAMS, Vec::new());
    }
    let ioctls = ioctls.into_iter().map(|request| when(1, Length::Dword, Op::Eq, request));
    rules.insert(libc::SYS_ioctl, ioctls.collect::<Result<_, _>>()?);
    if needs.netlink {
        let is = |number, value| SeccompCondition::new(number, Length::Dword, Op::Eq, value);
        let conditions = vec![is(0, AF_NETLINK)?, is(2, NETLINK_NETFILTER)?];
        rules.insert(libc::SYS_socket, vec![SeccompRule::new(conditions)?]);
        // To such an address: one of the internet is longer (`sockaddr_nl` has 12 bytes), so a
        // scraper's connection does not become one that leads out.
        rules.insert(libc::SYS_connect, vec![when(2, Length::Dword, Op::Eq, NETLINK_ADDRESS)?]);
    }
    if needs.namespaces {
        let network = libc::CLONE_NEWNET as u64;
        rules.insert(libc::SYS_setns, vec![when(1, Length::Dword, Op::Eq, network)?]);
    }
    if needs.listener {
        rules.extend(LISTENER.iter().map(|&call| (call, Vec::new())));
    }
    if needs.directory.is_some() {
        rules.extend(MAKING.iter().map(|&call| (call, Vec::new())));
    }
    if needs.renames {
        rules.extend(REWRITING.iter().map(|&call| (call, Vec::new())));
    }
    let absent = u32::try_from(libc::ENOSYS).unwrap_or_default();
    compile(rules, SeccompAction::Errno(absent), SeccompAction::Allow)
}

/// Matches where the argument `number` compares so with `value`.
fn when(number: u8, length: Length, op: Op, value: u64) -> Result<SeccompRule, Error> {
    Ok(SeccompRule::new(vec![SeccompCondition::new(number, length, op, value)?])?)
}

fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    then: SeccompAction,
) -> Result<BpfProgram, Error> {
    let architecture = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, otherwise, then, architecture)?.try_into()?)
}
