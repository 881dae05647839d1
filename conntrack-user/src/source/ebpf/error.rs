//! Why events cannot be counted, with the remedy where there is one.

use aya::maps::MapError;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::refusal::{Object, Refusal, explain};
use crate::schema::maintained;

/// Where the kernel shows how far it is locked down, if securityfs is mounted.
pub(crate) const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Why no event can be counted at all.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// `CONFIG_KPROBE_EVENTS` or `CONFIG_PERF_EVENTS` is off.
    #[error(
        "this kernel has no kprobes: CONFIG_KPROBES is not set; Debian's, Ubuntu's and Fedora's kernels \
         have them"
    )]
    NoKprobes,
    /// The programs read the registers of x86-64 and aarch64.
    #[error(
        "the probes are built for x86-64 and aarch64 only; `--ebpf off` uses the kernel's counters alone"
    )]
    Architecture,
    /// The kernel is locked down against reading its memory.
    #[error(
        "this kernel is locked down (confidentiality), which forbids probes; see \
         /sys/kernel/security/lockdown"
    )]
    LockedDown,
    /// The process lacks capabilities.
    #[error(
        "missing {0}; run as root, or grant them: setcap cap_bpf,cap_perfmon+ep ctpulse, or \
         AmbientCapabilities=CAP_BPF CAP_PERFMON in a systemd unit (before 5.8: CAP_SYS_ADMIN)"
    )]
    Capability(String),
    /// A distribution's kernel reserves perf events for `CAP_SYS_ADMIN`.
    #[error(
        "kernel.perf_event_paranoid is {0}, at which this kernel refuses perf events to CAP_PERFMON \
         too; set it to 2 (sysctl kernel.perf_event_paranoid=2), or grant CAP_SYS_ADMIN"
    )]
    Paranoid(i32),
    /// A container's engine or a service manager filters system calls.
    #[error(
        "a seccomp filter (Seccomp: 2 in /proc/self/status) refuses bpf(2) or perf_event_open(2); for \
         a container grant --cap-add SYS_ADMIN, with which the engine's own filter allows them, or use \
         --security-opt seccomp=unconfined; in a systemd unit SystemCallFilter=bpf perf_event_open"
    )]
    Seccomp,
    /// Root of a container without privileges outside of it.
    #[error(
        "this is a user namespace (/proc/self/uid_map), in which no capability is enough for bpf(2); \
         run the container as root (rootful) or the program outside of it"
    )]
    UserNamespace,
    /// `AppArmor`, `SELinux` or another one.
    #[error(
        "a security module refuses bpf(2) or perf_event_open(2): {0}; run it without that profile \
         (--security-opt apparmor=unconfined or label=disable), see the kernel's log for its name"
    )]
    SecurityModule(String),
    /// Before 5.11 maps count as locked memory.
    #[error(
        "the limit of locked memory is too low for the counters (before 5.11 they count as such); \
         run ulimit -l unlimited, or set LimitMEMLOCK=infinity in a systemd unit"
    )]
    LockedMemory,
    /// Nothing of conntrack is in the kernel (yet).
    #[error("no conntrack function is in this kernel; load the module (modprobe nf_conntrack)")]
    NoFunctions,
    /// Nothing but trampolines keeps the module loaded.
    #[error(
        "nothing else uses nf_conntrack any more, and trampolines would keep it from being unloaded; \
         kprobes do not"
    )]
    Unused,
    /// Without the kernel's types the namespace of an event is not known.
    #[error(
        "network namespaces cannot be printed apart without the kernel's BTF ({types}), and the events \
         of all of them together are not this one's: {others}"
    )]
    Blind {
        /// The error in the types.
        types: String,
        /// The other namespaces, or why they are not known.
        others: String,
    },
    /// How many CPUs there are is not known.
    #[error("the CPUs are not known: {0}")]
    Cpus(String),
    /// Nothing that is sampled has a place for events.
    #[error(
        "plain files (--proc-root), compat and `collect` without statistics have no place for events"
    )]
    NotWanted,
    /// The sampled namespace cannot be seen now.
    #[error(
        "its network namespace is not there, or may not be looked at (that of another process takes \
         CAP_SYS_PTRACE)"
    )]
    NoNamespace,
    /// The kernel refused a program or map; the verifier's log is in it where there is one.
    #[error("the kernel refused the programs: {0}")]
    Refused(String),
    /// The kernel's symbols could not be read.
    #[error("cannot read /proc/kallsyms: {0}")]
    Symbols(std::io::Error),
}

impl From<MapError> for EventsError {
    fn from(error: MapError) -> Self {
        Self::Refused(explain(&error))
    }
}

impl EventsError {
    /// Whether probes may be attached later by the same program: the module is loaded, or the
    /// namespace made.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NoFunctions | Self::NoNamespace)
    }

    /// Distinguishes the common causes of a refusal.
    #[must_use]
    pub fn from_refusal(refusal: Refusal) -> Self {
        // Some kernels then refuse the programs as if they asked for a helper that is not there.
        if is_locked_down() {
            return Self::LockedDown;
        }
        match refusal.errno {
            Some(Errno::PERM | Errno::ACCESS) => Self::of_denial(&refusal, &Surroundings::read()),
            _ => Self::Refused(refusal.text),
        }
    }

    /// Why a process in these surroundings was not permitted what `refusal` has.
    fn of_denial(refusal: &Refusal, around: &Surroundings) -> Self {
        let missing = missing_capabilities(&around.status);
        if !missing.is_empty() {
            return Self::Capability(missing);
        }
        if !around.uid_map.split_whitespace().eq(["0", "0", "4294967295"]) {
            return Self::UserNamespace;
        }
        let paranoid = around.paranoid.trim().parse::<i32>().ok();
        if refusal.object == Object::PerfEvent
            && let Some(level) = paranoid.filter(|level| *level > 2)
        {
            return Self::Paranoid(level);
        }
        let counts_as_locked =
            maintained::parse_release(&around.release).is_some_and(|is| is < (5, 11));
        if counts_as_locked && around.has_memory_limit && refusal.object == Object::Map {
            return Self::LockedMemory;
        }
        if value(&around.status, "Seccomp:") == Some("2") {
            return Self::Seccomp;
        }
        let profile = around.profile.trim_end_matches(['\0', '\n']);
        if !matches!(profile, "" | "unconfined" | "kernel") {
            return Self::SecurityModule(profile.to_owned());
        }
        Self::Refused(format!(
            "{refusal}; the capabilities are there, and no seccomp filter or user namespace is: a \
             security module may stand in the way (see the kernel's log)"
        ))
    }
}

/// The conditions beside capabilities that decide on permissions.
#[derive(Debug, Default)]
struct Surroundings {
    /// `/proc/self/status`.
    status: String,
    /// `/proc/self/uid_map`, one line in the first user namespace.
    uid_map: String,
    /// The profile of a security module.
    profile: String,
    /// `kernel.perf_event_paranoid`.
    paranoid: String,
    /// The kernel's release.
    release: String,
    /// Whether locked memory is limited.
    has_memory_limit: bool,
}

impl Surroundings {
    fn read() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            status: read("/proc/self/status"),
            uid_map: read("/proc/self/uid_map"),
            profile: read("/proc/self/attr/current"),
            paranoid: read("/proc/sys/kernel/perf_event_paranoid"),
            release: rustix::system::uname().release().to_string_lossy().into_owned(),
            has_memory_limit: getrlimit(Resource::Memlock).current.is_some(),
        }
    }
}

/// The value behind `key` in a status.
fn value<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

/// Whether the kernel is locked down against reading its memory.
#[must_use]
pub(crate) fn is_locked_down() -> bool {
    let lockdown = std::fs::read_to_string(LOCKDOWN).unwrap_or_default();
    lockdown.contains("[confidentiality]")
}

/// Those of `CAP_BPF` and `CAP_PERFMON` that a process with this `status` lacks;
/// `CAP_SYS_ADMIN` stands for both.
fn missing_capabilities(status: &str) -> String {
    let effective = value(status, "CapEff:").and_then(|mask| u64::from_str_radix(mask, 16).ok());
    let has = |bit: u32| effective.unwrap_or(0) >> bit & 1 == 1;
    if has(21) {
        return String::new();
    }
    let needed = [(39, "CAP_BPF"), (38, "CAP_PERFMON")];
    let missing: Vec<&str> =
        needed.iter().filter(|(bit, _)| !has(*bit)).map(|(_, name)| *name).collect();
    missing.join(" and ")
}

#[cfg(test)]
mod tests {
    use aya::maps::MapError;
    use aya::programs::ProgramError;
    use aya::sys::SyscallError;

    use super::*;

    #[test]
    fn capabilities_that_are_missing_are_named() {
        let missing = |mask: &str| missing_capabilities(&format!("Name:\tx\nCapEff:\t{mask}\n"));
        assert_eq!(missing("0000000000000000"), "CAP_BPF and CAP_PERFMON");
        assert_eq!(missing("0000008000000000"), "CAP_PERFMON");
        assert_eq!(missing("000000c000000000"), "");
        assert_eq!(missing("0000000000200000"), "");
        assert_eq!(missing("nonsense"), "CAP_BPF and CAP_PERFMON");
    }

    /// Public reports from containers, where the message named a map ("COUNTERS", "DROPS"): what is
    /// refused first is not the reason.
    #[test]
    fn a_denial_has_the_cause_in_its_environment() {
        let status = |seccomp| format!("CapEff:\t000000c000000000\nSeccomp:\t{seccomp}\n");
        let around = |status: String| Surroundings {
            status,
            uid_map: "         0          0 4294967295\n".to_owned(),
            profile: "unconfined\n".to_owned(),
            paranoid: "2\n".to_owned(),
            release: "6.1.0-56-amd64".to_owned(),
            has_memory_limit: true,
        };
        let of = |around: &Surroundings| {
            let name = "COUNTERS".to_owned();
            let error = MapError::CreateError { name, io_error: Errno::PERM.into() };
            EventsError::of_denial(&Refusal::of_map(&error), around)
        };
        assert!(matches!(of(&around(status(2))), EventsError::Seccomp));
        assert!(of(&around(status(2))).to_string().contains("seccomp=unconfined"));
        let rootless = Surroundings { uid_map: "0 1000 1\n".to_owned(), ..around(status(2)) };
        assert!(matches!(of(&rootless), EventsError::UserNamespace));
        assert!(of(&rootless).to_string().contains("run the container as root (rootful)"));
        let old = Surroundings { release: "5.10.0-46-amd64".to_owned(), ..around(status(2)) };
        assert!(matches!(of(&old), EventsError::LockedMemory));
        let old = Surroundings { has_memory_limit: false, ..old };
        assert!(matches!(of(&old), EventsError::Seccomp));
        let profile = "docker-default (enforce)\n".to_owned();
        let profiled = Surroundings { profile, ..around(status(0)) };
        assert!(
            matches!(of(&profiled), EventsError::SecurityModule(name) if name == "docker-default (enforce)")
        );
        assert!(of(&profiled).to_string().contains("--security-opt apparmor=unconfined"));
        assert!(matches!(of(&around(status(0))), EventsError::Refused(_)));
        let io_error = Errno::ACCESS.into();
        let perf = ProgramError::from(SyscallError { call: "perf_event_open", io_error });
        let perf = Refusal::of_program(&perf);
        let paranoid = Surroundings { paranoid: "3\n".to_owned(), ..around(status(2)) };
        let denied = EventsError::of_denial(&perf, &paranoid);
        assert!(matches!(denied, EventsError::Paranoid(3)));
        assert!(denied.to_string().contains("sysctl kernel.perf_event_paranoid=2"));
    }

    #[test]
    fn a_refusal_for_another_reason_than_permission_keeps_its_text() {
        let name = "COUNTERS".to_owned();
        let error = MapError::CreateError { name, io_error: Errno::INVAL.into() };
        let refusal = Refusal::of_map(&error);
        let text = refusal.to_string();
        assert!(text.contains("COUNTERS") && text.contains("os error 22"), "{text}");
        let error = EventsError::from_refusal(refusal);
        assert!(matches!(error, EventsError::Refused(t) if t == text));
    }
}
