//! Why events cannot be counted, with the mend where there is one.

use conntrack_ebpf::names;

use crate::kernel;

/// Where the kernel tells how far it is locked down, if securityfs is mounted.
pub const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Why no event can be counted at all.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// `CONFIG_KPROBE_EVENTS` or `CONFIG_PERF_EVENTS` is off.
    #[error(
        "this kernel has no kprobes (CONFIG_KPROBES is not set; Debian's, Ubuntu's and Fedora's kernels have them)"
    )]
    NoKprobes,
    /// The programs read x86-64's registers.
    #[error("the probes are built for x86-64 only")]
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
    /// Before 5.11 maps count as locked memory.
    #[error(
        "the limit of locked memory is too low for the counters (before 5.11 they count as such); \
         run ulimit -l unlimited, or set LimitMEMLOCK=infinity in a systemd unit"
    )]
    LockedMemory,
    /// Nothing of conntrack is in the kernel (yet).
    #[error("no conntrack function is in this kernel; load the module (modprobe nf_conntrack)")]
    NoFunctions,
    /// Without the kernel's types the namespace of an event is not known.
    #[error(
        "network namespaces cannot be told apart without the kernel's BTF ({types}), and the events \
         of all of them together are not this one's: {others}"
    )]
    Blind {
        /// What is wrong with the types.
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

impl EventsError {
    /// Whether probes may be attached later by the same program: the module is loaded, or the
    /// namespace made.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NoFunctions | Self::NoNamespace)
    }

    /// Tells the common causes of a refusal apart.
    #[must_use]
    pub fn from_refusal(text: String) -> Self {
        // Some kernels then refuse the programs as if they asked for a helper that is not there.
        if is_locked_down() {
            return Self::LockedDown;
        }
        let denied = ["os error 1)", "os error 13)"].iter().any(|code| text.contains(code));
        if !denied {
            return Self::Refused(text);
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let missing = missing_capabilities(&status);
        if !missing.is_empty() {
            return Self::Capability(missing);
        }
        let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
        let paranoid = paranoid.ok().and_then(|text| text.trim().parse().ok());
        if text.contains("perf_event_open")
            && let Some(level) = paranoid.filter(|level| *level > 2)
        {
            return Self::Paranoid(level);
        }
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let counts_as_locked = kernel::parse_release(&release).is_some_and(|is| is < (5, 11));
        if counts_as_locked && (text.contains(names::COUNTERS) || text.contains("map")) {
            return Self::LockedMemory;
        }
        Self::Refused(format!(
            "{text}; the capabilities are there, so a user namespace (a container's root), seccomp or \
             a security module stands in the way"
        ))
    }
}

/// Whether the kernel is locked down against reading its memory.
#[must_use]
pub fn is_locked_down() -> bool {
    let lockdown = std::fs::read_to_string(LOCKDOWN).unwrap_or_default();
    lockdown.contains("[confidentiality]")
}

/// A reason in one line, with everything that caused it; the verifier's log is in it where the
/// kernel gave one.
#[must_use]
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

/// Those of `CAP_BPF` and `CAP_PERFMON` that a process with this `status` lacks;
/// `CAP_SYS_ADMIN` stands for both.
fn missing_capabilities(status: &str) -> String {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
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

    #[test]
    fn a_refusal_that_is_no_matter_of_permission_keeps_its_words() {
        let text = "the verifier says no (os error 22)".to_owned();
        assert!(
            matches!(EventsError::from_refusal(text.clone()), EventsError::Refused(t) if t == text)
        );
    }
}
