//! Notices about the begin, its failure, the loss and the return of sampling: one plain line each, short
//! enough for a terminal. `ctpulse doctor` has the details.

use std::fmt;
use std::io;
use std::path::Path;

use log::Level;

use crate::confine::ConfineError;
use crate::sampling::channel::Notice;
use crate::schema::fields::COUNT;
use crate::schema::labelled::ENTRIES_BY_STATE;
use crate::source::ebpf::census::CensusError;
use crate::source::ebpf::{EventsError, HookCount};
use crate::source::mounts;
use crate::source::namespace::NamespaceError;
use crate::source::netlink::NetlinkError;
use crate::source::procfs::StatError;
use crate::source::stat_text::StatTextError;
use crate::source::sysctl::SysctlError;

/// A notice at the start of a run.
#[derive(Debug)]
pub enum StartNotice<'a> {
    /// Probes are attached.
    Probes(HookCount),
    /// There are none.
    NoProbes(&'a EventsError),
    /// The numbers of the CPUs are not known.
    NoCpuNumbers(&'a Path),
    /// `--proc-root` is another mount of procfs.
    OwnProcfs(&'a Path),
    /// Neither a sysctl file nor ctnetlink has the table's count or limit, or both.
    WithoutTable {
        /// Whether the count is lacking.
        count: bool,
        /// Whether the limit is.
        limit: bool,
    },
    /// The table cannot be read for `composition`.
    NoComposition(&'a CensusError),
    /// `--proc-root` has no entries for `composition`.
    NoEntries,
}

impl StartNotice<'_> {
    /// Logs it.
    pub(crate) fn log(&self) {
        log::log!(self.level(), "{self}");
    }

    /// How urgent it is.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Probes(_) | Self::NoProbes(_) => Level::Info,
            Self::NoCpuNumbers(_)
            | Self::OwnProcfs(_)
            | Self::WithoutTable { .. }
            | Self::NoComposition(_)
            | Self::NoEntries => Level::Warn,
        }
    }
}

impl fmt::Display for StartNotice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probes(hooks) => write!(f, "probes are on, attached to {hooks}"),
            Self::NoProbes(error) => {
                let why = without_probes(error);
                write!(f, "probes are off: {why}; new, delete, drop causes unknown")
            }
            Self::NoCpuNumbers(path) => {
                write!(f, "CPUs are numbered in order of rows: cannot read {}", path.display())
            }
            Self::OwnProcfs(path) => write!(
                f,
                "{} shows the namespace of this process; for the host's set HOST_PROC",
                path.display()
            ),
            Self::WithoutTable { count, limit } => {
                let what = match (count, limit) {
                    (true, false) => "count",
                    (false, true) => "limit",
                    _ => "count and limit",
                };
                write!(f, "no sysctl file has the table's {what} (see ctpulse doctor)")
            }
            Self::NoComposition(error) => {
                write!(f, "no rows {}: {}", ENTRIES_BY_STATE.name, without_census(error))
            }
            Self::NoEntries => {
                write!(f, "no rows {}: --proc-root has no entries", ENTRIES_BY_STATE.name)
            }
        }
    }
}

/// Why something that was asked for cannot begin, in one line, and another line with the details and
/// the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}")]
pub struct CannotBegin {
    line: String,
    /// The second line.
    pub details: String,
}

impl CannotBegin {
    /// A run for which probes are required.
    #[must_use]
    pub fn without_probes(error: &EventsError) -> Self {
        let line = format!("probes are off: {}; ebpf on requires them", without_probes(error));
        Self { line, details: error.to_string() }
    }

    /// `ctpulse drops`, which has nothing else than probes; `subject` is what it would show.
    #[must_use]
    pub fn drops(subject: &str, error: &EventsError) -> Self {
        let line = format!("{subject} cannot be seen: probes are off: {}", without_probes(error));
        Self { line, details: error.to_string() }
    }

    /// `ctpulse top`, which reads the table by an eBPF program.
    #[must_use]
    pub fn top(error: &CensusError) -> Self {
        let line = format!("the table cannot be read: {}", without_census(error));
        Self { line, details: error.to_string() }
    }

    /// A run that is to be confined by every layer.
    #[must_use]
    pub fn unconfined(error: &ConfineError) -> Self {
        let details = "confine on requires each of capabilities, no_new_privs, Landlock and seccomp; \
                       auto goes on without what is missing";
        Self { line: error.to_string(), details: details.to_owned() }
    }

    /// Finds this error in another one, however it was passed on.
    #[must_use]
    pub fn find(error: &anyhow::Error) -> Option<&Self> {
        error.chain().find_map(|error| {
            // The cause in an error of the system is none of its sources.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            error.downcast_ref().or_else(|| inner?.downcast_ref())
        })
    }
}

/// Why there are no probes, in a few words.
pub(crate) fn without_probes(error: &EventsError) -> String {
    let why = match error {
        EventsError::NoKprobes => "this kernel has no kprobes",
        EventsError::Architecture => "they are for x86-64 and aarch64 only",
        EventsError::LockedDown => "this kernel is locked down",
        EventsError::Capability(missing) => return format!("missing {missing}"),
        EventsError::Paranoid(level) => return format!("perf_event_paranoid is {level}"),
        EventsError::Seccomp => "a seccomp filter refuses bpf",
        EventsError::UserNamespace => "this is a user namespace",
        EventsError::SecurityModule(_) => "a security module refuses bpf",
        EventsError::LockedMemory => "the limit of locked memory",
        EventsError::NoFunctions => "nf_conntrack is not loaded",
        EventsError::Unused => "nothing else uses nf_conntrack",
        EventsError::Blind { .. } => "no BTF to tell namespaces apart",
        EventsError::Cpus(_) => "the CPUs are not known",
        EventsError::NotWanted => "they are not wanted",
        EventsError::NoNamespace => "the namespace is not visible",
        EventsError::Refused(_) => "the kernel refused them",
        EventsError::Symbols(_) if mounts::hides_files("/proc".as_ref()) => {
            "/proc (subset=pid) hides kallsyms"
        }
        EventsError::Symbols(_) => "/proc/kallsyms cannot be read",
    };
    why.to_owned()
}

/// Why the table's entries cannot be read, in a few words.
pub(crate) fn without_census(error: &CensusError) -> String {
    let why = match error {
        CensusError::Refused(EventsError::Refused(_)) => "the kernel refused the program",
        CensusError::Refused(error) => return without_probes(error),
        CensusError::Types(_) => "this kernel shows no BTF",
        CensusError::Layout => "the entries have an unknown layout",
        CensusError::HiddenTable => "missing CAP_SYSLOG, or kptr_restrict is 2",
        CensusError::NoVariables => "this kernel does not show the table's address",
        CensusError::Unloaded
        | CensusError::Resized
        | CensusError::NotRun
        | CensusError::Unreadable => return error.to_string(),
    };
    why.to_owned()
}

impl Notice {
    /// How urgent it is.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Found(_)
            | Self::Netlink
            | Self::Detached
            | Self::Attached(_)
            | Self::NotAttached(EventsError::Unused) => Level::Info,
            Self::Lost(_)
            | Self::Sysctl(_)
            | Self::Odd(_)
            | Self::Restarted
            | Self::ReasonsUnread(_)
            | Self::NotAttached(_)
            | Self::Foreign(_) => Level::Warn,
            Self::Ended(_) => Level::Error,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(error) => f.write_str(&lost(error)),
            Self::Ended(error) => write!(f, "{}; this input has ended", lost(error)),
            Self::Found(source) => write!(f, "reading {source}"),
            Self::Netlink => {
                f.write_str("the statistics come from ctnetlink")?;
                if mounts::hides_files("/proc".as_ref()) {
                    f.write_str(": /proc (subset=pid) hides their file")
                } else if !mounts::is_procfs("/proc".as_ref()) {
                    f.write_str(": procfs is not mounted on /proc")
                } else {
                    Ok(())
                }
            }
            Self::Sysctl(error) => write!(f, "{}; it is left out", sysctl(error)),
            Self::Odd(odd) => {
                write!(
                    f,
                    "statistics: {} bad, {} short, {} long rows",
                    odd.bad_rows, odd.short_rows, odd.long_rows
                )?;
                match odd.bad_rows {
                    0 => Ok(()),
                    _ => write!(f, "; the first bad line is {}", odd.first_bad_line),
                }
            }
            Self::Restarted => {
                f.write_str("the statistics file started again; nothing is counted for that time")
            }
            Self::ReasonsUnread(error) => {
                write!(f, "cannot read the reasons of INVALID packets: {}", reason(error))
            }
            Self::Detached => f.write_str("probes detached, as there are no statistics"),
            Self::Attached(hooks) => write!(f, "probes attached to {hooks}, counting from 0"),
            Self::NotAttached(EventsError::Unused) => {
                f.write_str("trampolines detached: nothing else uses nf_conntrack")
            }
            Self::NotAttached(error) => {
                write!(f, "probes cannot be attached: {}", without_probes(error))
            }
            Self::Foreign(missing) => {
                write!(f, "no {}: missing {missing}", COUNT.name)
            }
        }
    }
}

/// Why there are no statistics.
fn lost(error: &StatError) -> String {
    match error {
        StatError::Missing(net) => missing(net),
        StatError::Read { path, error } => {
            format!("cannot read {}: {}", path.display(), reason(error))
        }
        StatError::Text { error: StatTextError::NotAHeader(start), .. } => {
            let start: String = start.chars().take(20).collect();
            format!("line 1 of the statistics is no header: '{start}'")
        }
        StatError::Text { error, .. } => format!("statistics: {error}"),
        StatError::TooLong(_) => "the statistics are longer than any kernel's".to_owned(),
        StatError::Netlink(error) if error.is_lasting() => {
            format!("{}: ctnetlink: {}", without_statistics(), netlink(error))
        }
        StatError::Netlink(error) => netlink(error),
        StatError::Neither { net, netlink: error } => {
            let why = hidden(net).unwrap_or("only count and limit: no file, and");
            let separator = if hidden(net).is_some() { ";" } else { "" };
            format!("{why}{separator} ctnetlink: {}", netlink(error))
        }
        StatError::Namespace(error) => namespace(error),
        StatError::NamespaceGone(path) => {
            format!("{} was deleted; waiting for it", path.display())
        }
    }
}

/// Why none of the files of the directory `net` is there, where procfs is the reason.
fn hidden(net: &Path) -> Option<&'static str> {
    if !net.starts_with("/proc") {
        None
    } else if mounts::hides_files("/proc".as_ref()) {
        Some("/proc (subset=pid) hides the statistics")
    } else if !Path::new("/proc/self").exists() {
        // A confined run may not ask for the type of a file system.
        Some("procfs is not mounted on /proc")
    } else {
        None
    }
}

/// The remaining data without statistics: the sysctl files, unless procfs hides these, too.
fn without_statistics() -> &'static str {
    if mounts::hides_files("/proc".as_ref()) {
        "no statistics, and /proc hides count and limit"
    } else {
        "only count and limit"
    }
}

/// Why there is no statistics file.
fn missing(net: &Path) -> String {
    if let Some(why) = hidden(net) {
        return why.to_owned();
    }
    if net.starts_with("/proc") && Path::new("/proc/sys/net/netfilter/nf_conntrack_max").exists() {
        return "this kernel is built without CONFIG_NF_CONNTRACK_PROCFS".to_owned();
    }
    if net.starts_with("/proc") {
        return format!("no {}/stat/nf_conntrack: nf_conntrack is not loaded", net.display());
    }
    format!("{} has no stat/nf_conntrack", net.display())
}

fn netlink(error: &NetlinkError) -> String {
    match error {
        NetlinkError::Refused => "missing CAP_NET_ADMIN".to_owned(),
        NetlinkError::Unsupported => "no nf_conntrack_netlink".to_owned(),
        NetlinkError::NotLoaded => "nf_conntrack is not loaded".to_owned(),
        NetlinkError::Socket(_) => "no netlink socket".to_owned(),
        error => error.to_string(),
    }
}

fn namespace(error: &NamespaceError) -> String {
    match error {
        NamespaceError::Missing(path) => {
            format!("waiting for {}", path.display())
        }
        NamespaceError::Permission { path, missing } => {
            format!("missing {missing} to enter {}", path.display())
        }
        NamespaceError::Enter { path, error } => {
            format!("cannot enter {}: {}", path.display(), reason(error))
        }
        NamespaceError::Return(error) => {
            format!("cannot return to its own network namespace: {}", reason(error))
        }
        NamespaceError::NoProcess(number) => format!("there is no process {number}"),
        NamespaceError::ProcessEnded(number) => format!("process {number} has ended"),
        error @ NamespaceError::Other(_) => error.to_string(),
    }
}

/// Names the file without its directory, which is always the same.
fn sysctl(error: &SysctlError) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    match error {
        SysctlError::Read { path, error } => {
            format!("cannot read {}: {}", name(path).unwrap_or_default(), reason(error))
        }
        SysctlError::NotANumber { path, text } => {
            format!("{} holds '{text}', not a number", name(path).unwrap_or_default())
        }
    }
}

/// The system's words without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rustix::io::Errno;

    use super::*;
    use crate::confine::{LAYERS, LayerError, OTHER_PROCESSES};
    use crate::source::ebpf::btf::BtfError;
    use crate::source::reader::StatSource;
    use crate::source::stat_text::Oddities;

    /// The longest reason for which a kernel has no Landlock.
    const NONE: &str = "this kernel has none: it came in 5.13";

    /// A terminal's line, with the prefix of the longest level and the name of an input.
    const LONGEST: usize = 100;

    /// One of each kind: a new kind does not compile until it stands here.
    fn all_of_events() -> Vec<EventsError> {
        use EventsError as E;
        let next = |error: Option<&E>| match error {
            None => Some(E::NoKprobes),
            Some(E::NoKprobes) => Some(E::Architecture),
            Some(E::Architecture) => Some(E::LockedDown),
            Some(E::LockedDown) => Some(E::Capability("CAP_BPF and CAP_PERFMON".to_owned())),
            Some(E::Capability(_)) => Some(E::Paranoid(4)),
            Some(E::Paranoid(_)) => Some(E::Seccomp),
            Some(E::Seccomp) => Some(E::UserNamespace),
            Some(E::UserNamespace) => Some(E::SecurityModule("apparmor".to_owned())),
            Some(E::SecurityModule(_)) => Some(E::LockedMemory),
            Some(E::LockedMemory) => Some(E::NoFunctions),
            Some(E::NoFunctions) => Some(E::Unused),
            Some(E::Unused) => {
                Some(E::Blind { types: "(no (BTF))".repeat(9), others: "x".repeat(200) })
            }
            Some(E::Blind { .. }) => Some(E::Cpus("x".repeat(200))),
            Some(E::Cpus(_)) => Some(E::NotWanted),
            Some(E::NotWanted) => Some(E::NoNamespace),
            Some(E::NoNamespace) => Some(E::Refused("(the (verifier's log))".repeat(50))),
            Some(E::Refused(_)) => Some(E::Symbols(io::Error::from_raw_os_error(13))),
            Some(E::Symbols(_)) => None,
        };
        let mut all: Vec<EventsError> = Vec::new();
        while let Some(error) = next(all.last()) {
            all.push(error);
        }
        all
    }

    fn all_of_statistics() -> Vec<StatError> {
        let path = || PathBuf::from("/proc/net/stat/nf_conntrack");
        let namespace = || PathBuf::from("/run/netns/customer-berlin");
        let denied = || io::Error::from_raw_os_error(13);
        let texts = [
            StatTextError::Empty,
            StatTextError::NotAHeader("<html>".to_owned()),
            StatTextError::TooManyColumns(1025),
        ];
        let netlinks = [
            NetlinkError::Refused,
            NetlinkError::Unsupported,
            NetlinkError::NotLoaded,
            NetlinkError::Socket(Errno::AFNOSUPPORT),
            NetlinkError::Kernel(Errno::NOMEM),
            NetlinkError::Talk(Errno::NOMEM),
            NetlinkError::Reloaded,
            NetlinkError::Overrun,
            NetlinkError::Interrupted,
            NetlinkError::Incomplete,
            NetlinkError::Malformed("a datagram is longer than any"),
        ];
        let namespaces = [
            NamespaceError::Missing(namespace()),
            NamespaceError::Permission { path: namespace(), missing: "CAP_SYS_ADMIN" },
            NamespaceError::Permission {
                path: "/proc/4194304/ns/net".into(),
                missing: "CAP_SYS_ADMIN, CAP_SYS_PTRACE",
            },
            NamespaceError::Other(namespace()),
            NamespaceError::Enter { path: namespace(), error: denied() },
            NamespaceError::Return(denied()),
            NamespaceError::NoProcess(4_194_304),
            NamespaceError::ProcessEnded(4_194_304),
        ];
        let mut all = vec![
            StatError::Missing("/proc/net".into()),
            StatError::Missing("/host/net".into()),
            StatError::Read { path: path(), error: denied() },
            StatError::TooLong(path()),
            StatError::NamespaceGone(namespace()),
        ];
        all.extend(texts.map(|error| StatError::Text { path: path(), error }));
        let refused = [NetlinkError::Refused, NetlinkError::Unsupported];
        all.extend(refused.map(|netlink| StatError::Neither { net: "/proc/net".into(), netlink }));
        all.extend(netlinks.map(StatError::Netlink));
        all.extend(namespaces.map(StatError::Namespace));
        all
    }

    #[test]
    fn every_notice_is_one_plain_line() {
        let denied = || io::Error::from_raw_os_error(13);
        let sysctl: PathBuf = "/proc/sys/net/netfilter/nf_conntrack_count".into();
        let mut notices: Vec<Notice> = all_of_statistics().into_iter().map(Notice::Lost).collect();
        notices
            .extend(all_of_statistics().into_iter().filter(StatError::is_final).map(Notice::Ended));
        notices.extend(all_of_events().into_iter().map(Notice::NotAttached));
        notices.extend([
            Notice::Found(StatSource::Netlink),
            Notice::Found(StatSource::Procfs(
                "/proc/self/task/4194304/net/stat/nf_conntrack".into(),
            )),
            Notice::Netlink,
            Notice::Sysctl(SysctlError::Read { path: sysctl.clone(), error: denied() }),
            Notice::Sysctl(SysctlError::NotANumber { path: sysctl, text: "1 2".to_owned() }),
            Notice::Odd(Oddities { bad_rows: 1, first_bad_line: 2, short_rows: 3, long_rows: 4 }),
            Notice::Restarted,
            Notice::ReasonsUnread(denied()),
            Notice::Detached,
            Notice::Attached(HookCount { attached: 11, of: 14 }),
            Notice::Foreign("CAP_SYS_ADMIN, CAP_SYS_PTRACE"),
        ]);
        let line = |level, text: String| {
            let level = if level == Level::Warn { "warning: " } else { "" };
            format!("ctpulse: {level}{text}")
        };
        let of_input = |notice: &Notice| line(notice.level(), format!("[conntrack] {notice}"));
        let mut lines: Vec<String> = notices.iter().map(of_input).collect();
        let events = all_of_events();
        let mut starts: Vec<StartNotice<'_>> = events.iter().map(StartNotice::NoProbes).collect();
        starts.extend([
            StartNotice::Probes(HookCount { attached: 14, of: 14 }),
            StartNotice::Probes(HookCount { attached: 11, of: 14 }),
            StartNotice::NoCpuNumbers("/sys/devices/system/cpu/possible".as_ref()),
            StartNotice::OwnProcfs("/host/proc".as_ref()),
            StartNotice::WithoutTable { count: true, limit: true },
            StartNotice::NoEntries,
        ]);
        lines.extend(starts.iter().map(|start| line(start.level(), start.to_string())));
        let of_layer =
            |layer| ConfineError::Layer(layer, LayerError::Refused(Errno::PERM.to_string()));
        let of_landlock = [LayerError::Absent(NONE), LayerError::InTheWay(OTHER_PROCESSES)];
        let of_landlock = of_landlock.map(|error| ConfineError::Layer("Landlock", error));
        let unconfined = LAYERS.map(of_layer).into_iter().chain(of_landlock);
        let mut errors: Vec<_> = unconfined.map(|error| CannotBegin::unconfined(&error)).collect();
        errors.push(CannotBegin::unconfined(&ConfineError::Threads(1000)));
        errors.extend(events.iter().map(CannotBegin::without_probes));
        for subject in ["drops", "INVALID packets"] {
            errors.extend(events.iter().map(|error| CannotBegin::drops(subject, error)));
        }
        let refused = all_of_events().into_iter().map(CensusError::Refused);
        let types = CensusError::Types(BtfError::Malformed(1000));
        let census: Vec<CensusError> = refused
            .chain([
                types,
                CensusError::Layout,
                CensusError::HiddenTable,
                CensusError::NoVariables,
                CensusError::Unloaded,
                CensusError::Resized,
                CensusError::NotRun,
                CensusError::Unreadable,
            ])
            .collect();
        let of_start = census.iter().map(StartNotice::NoComposition);
        lines.extend(of_start.map(|start| line(start.level(), start.to_string())));
        errors.extend(census.iter().map(CannotBegin::top));
        lines.extend(errors.iter().map(|error| format!("ctpulse: error: {error}")));
        let is_plain = |line: &String| {
            let nested = line.split('(').skip(1).any(|inner| !inner.contains(')'));
            line.len() <= LONGEST && !nested && !line.contains('\n')
        };
        let bad: Vec<_> = lines.iter().filter(|line| !is_plain(line)).collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }

    #[test]
    fn an_error_is_found_however_it_was_passed_on() {
        let error = || CannotBegin::drops("drops", &EventsError::NoKprobes);
        let of_system = anyhow::Error::from(io::Error::other(error()));
        let passed_on =
            [anyhow::Error::from(error()), of_system.context("cannot start"), error().into()];
        for passed_on in &passed_on {
            assert_eq!(CannotBegin::find(passed_on), Some(&error()));
        }
        assert_eq!(CannotBegin::find(&anyhow::anyhow!("another")), None);
    }
}
