//! The validated settings that everything else runs on: what `config` and the command line
//! become, and the only form in which options reach the sources, the sampler and the sinks.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::metric::filter::Filter;
use crate::schema::fields::{COUNT, LIMIT};
use crate::text::sanitize::shown;

/// Telegraf's default directories for the sysctl files (`dirs`).
pub const DEFAULT_DIRS: [&str; 2] = ["/proc/sys/net/ipv4/netfilter", "/proc/sys/net/netfilter"];

/// Telegraf's default sysctl files (`files`). The fields have the names of the files of old kernels.
pub const DEFAULT_FILES: [&str; 4] =
    [COUNT.name, LIMIT.name, "nf_conntrack_count", "nf_conntrack_max"];

/// Telegraf's default `interval` of the agent.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// The sampling interval where none is set: ten reads a second show a burst that an average
/// over seconds hides, at a cost too small to see.
pub const DEFAULT_SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// The shortest `sample_interval` and `interval` that are accepted.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// Everything that a run needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// One entry for each `[[inputs.conntrack]]`, at least one.
    pub inputs: Vec<Input>,
    /// Tags for every row (`[global_tags]`); a row's own tag wins.
    pub global_tags: BTreeMap<String, String>,
    /// Value of the `host` tag of a standalone run (`[agent] hostname`, else the system's);
    /// `None` with `omit_hostname`. Under execd Telegraf adds its own.
    pub host: Option<String>,
    /// Where the kernel's files are.
    pub roots: Roots,
    /// Where `run` answers scrapes (`[agent] listen`, `--listen`).
    pub listen: Option<SocketAddr>,
    /// `[agent] debug` / `quiet`, or the option of the command line.
    pub log_level: log::LevelFilter,
    /// Whether a run drops the privileges that it does not need (`[agent] confine`).
    pub confine: Confine,
    /// The user that a run becomes (`[agent] user`), as a name or `UID:GID`.
    pub user: Option<String>,
}

/// Where the kernel's files are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roots {
    /// `--proc-root DIR`: `DIR/net/stat/...` and `DIR/sys/net/...` are read as plain files.
    pub proc_root: Option<PathBuf>,
    /// `HOST_PROC`: the host's /proc mounted in a container; its process 1 names the namespace.
    pub host_proc: Option<PathBuf>,
    /// `--sys-root DIR` or `HOST_SYS`; otherwise `/sys`. The CPU mask is read from it.
    pub sys_root: Option<PathBuf>,
}

/// One `[[inputs.conntrack]]`.
#[derive(Debug, Clone)]
pub struct Input {
    /// Rows of the statistics file to emit (`collect`); neither means the table row only.
    pub collect: Collect,
    /// Directories of the sysctl files, in order; a later one wins (`dirs`).
    pub dirs: Vec<PathBuf>,
    /// Names of the sysctl files (`files`); one without `_` is skipped.
    pub files: Vec<String>,
    /// Time between emitted rows (`interval`), at least [`SHORTEST_INTERVAL`].
    pub interval: Duration,
    /// Time between reads of the statistics file (`sample_interval`), between
    /// [`SHORTEST_INTERVAL`] and `interval`.
    pub sample_interval: Duration,
    /// Emit on multiples of `interval` of the wall clock (`[agent] round_interval`).
    pub round_interval: bool,
    /// Each emission is delayed by a random time below this (`collection_jitter`).
    pub collection_jitter: Duration,
    /// Shifts the schedule of emissions (`collection_offset`).
    pub collection_offset: Duration,
    /// The configured `precision`; zero where it is not set. See [`Input::rounding`].
    pub precision: Duration,
    /// The network namespace that is sampled.
    pub netns: Netns,
    /// Whether to wait for the namespace where it is not there at the start (`wait`).
    pub wait: bool,
    /// Whether rows carry a `netns` tag: more than one namespace was asked for.
    pub netns_tag: bool,
    /// `compat = "telegraf"`: its plugin's numbers, number for number, and no additions.
    pub compat_telegraf: bool,
    /// Where the statistics are read from (`source`).
    pub source: Source,
    /// Whether probes count what the kernel does not (`ebpf`).
    pub ebpf: Ebpf,
    /// Also those probes that cost something for each packet (`ebpf_per_packet`).
    pub ebpf_per_packet: bool,
    /// Rows of INVALID packets by reason (`ebpf_invalid`).
    pub ebpf_invalid: bool,
    /// Rows of the entries by protocol and state, so often (`composition`); `None` for no such rows.
    pub composition: Option<Duration>,
    /// How probes are attached (`ebpf_attach`); `None` for the default.
    pub ebpf_attach: Option<EbpfAttach>,
    /// Rates and bursts also on the `cpu=cpuN` rows (`percpu_rates`).
    pub percpu_rates: bool,
    /// A row `internal_ctpulse` about the event source and what was missed (`internal`).
    pub internal: bool,
    /// The name of this input in log lines: `alias`, or `conntrack` when there is none.
    pub alias: Option<String>,
    /// The lowest level that this input logs (`log_level`), if it has its own.
    pub log_level: Option<log::LevelFilter>,
    /// Name changes, tags and the pass and drop lists, in Telegraf's order.
    pub filter: Filter,
}

/// The statistics rows that `collect` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collect {
    /// `"all"`: the row `cpu=all`.
    pub all: bool,
    /// `"percpu"`: one row `cpu=cpuN` per possible CPU.
    pub percpu: bool,
}

/// `source`: where the statistics are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Source {
    /// From procfs; from ctnetlink where procfs has less and the privileges allow it
    #[default]
    Auto,
    /// From procfs alone
    Procfs,
    /// From ctnetlink alone
    Netlink,
}

/// `ebpf`: whether probes count what the kernel does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Ebpf {
    /// Where the kernel and the privileges allow it
    #[default]
    Auto,
    /// Yes, or end with the reason
    On,
    /// No
    Off,
}

/// `ebpf_attach`: how probes are attached to the functions of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum EbpfAttach {
    /// By kprobes
    #[default]
    Kprobe,
    /// By trampolines (fentry, fexit), and by kprobes where a kernel has no trampoline for a function
    Trampoline,
    /// By trampolines where they do not keep the module loaded that nothing else uses
    Auto,
}

impl EbpfAttach {
    /// The environment variable that has the default.
    const VARIABLE: &str = "CTPULSE_EBPF_ATTACH";

    /// The default: what the environment says, or else kprobes.
    #[must_use]
    pub fn from_environment() -> Self {
        let value = std::env::var(Self::VARIABLE).unwrap_or_default();
        <Self as clap::ValueEnum>::from_str(&value, false).unwrap_or_else(|_| {
            if !value.is_empty() {
                let value = shown(&value);
                log::warn!(
                    "{}='{value}' is not kprobe, trampoline or auto; kprobes are attached",
                    Self::VARIABLE
                );
            }
            Self::default()
        })
    }

    /// The default of a command that does not watch whether the module is used: kprobes for `auto`.
    #[must_use]
    pub fn unwatched() -> Self {
        match Self::from_environment() {
            Self::Auto => Self::Kprobe,
            other => other,
        }
    }
}

/// `confine`: whether a run drops the privileges that it does not need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Confine {
    /// As far as the kernel can
    #[default]
    Auto,
    /// Wholly, or end with what is missing
    On,
    /// No
    Off,
}

/// A network namespace as the user names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Netns {
    /// `self`: the namespace that this process runs in, or with `HOST_PROC` that of the host's
    /// process 1. This is also the namespace where the user names none.
    #[default]
    Own,
    /// A name as `ip netns` keeps them, below `/run/netns`.
    Name(String),
    /// `pid:N`: the namespace of a process.
    Pid(u32),
    /// A path to a namespace file.
    Path(PathBuf),
}

/// The name of the own namespace, on the command line, in a configuration and as a tag's value.
pub const OWN_NETNS: &str = "self";

impl Netns {
    /// Returns whether this is the process's own namespace.
    #[must_use]
    pub fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

impl std::str::FromStr for Netns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(pid) = text.strip_prefix("pid:") {
            return match pid.parse() {
                Ok(pid) if pid > 0 => Ok(Self::Pid(pid)),
                _ => Err(format!("'{pid}' is not a process number; write pid:1234")),
            };
        }
        match text {
            OWN_NETNS => Ok(Self::Own),
            "" => Err("an empty namespace name; write PATH, pid:N or NAME".to_owned()),
            "." | ".." => Err(format!("'{text}' is not a namespace name")),
            path if path.contains('/') => Ok(Self::Path(path.into())),
            name => Ok(Self::Name(name.to_owned())),
        }
    }
}

impl std::fmt::Display for Netns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Own => f.write_str(OWN_NETNS),
            Self::Name(name) => f.write_str(name),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An address to listen on: `127.0.0.1:9466`, `[::1]:9466`, or a port alone (`9466`, `:9466`), which
/// is this host's own IPv4 loopback: an address for other hosts must be explicit.
///
/// # Errors
/// A sentence on what is wrong and how to write it.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        if let Ok(port) = port.parse() {
            return Ok((Ipv4Addr::LOCALHOST, port).into());
        }
        return Err(format!("'{port}' is not a port, which is a number up to 65535"));
    }
    text.parse().map_err(|_| {
        format!(
            "'{text}' is not an address and a port; write for example 127.0.0.1:9466, [::1]:9466, or \
             :9466 for the first; 0.0.0.0:9466 for every host that reaches this one"
        )
    })
}

impl Input {
    /// Returns the name of this input in log lines and on the health page.
    #[must_use]
    pub fn name(&self) -> String {
        self.alias.clone().unwrap_or_else(|| match &self.netns {
            Netns::Own => "conntrack".into(),
            netns => format!("conntrack {netns}"),
        })
    }

    /// An input with Telegraf's defaults and no `collect`, as an empty `[[inputs.conntrack]]`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            collect: Collect::default(),
            dirs: DEFAULT_DIRS.iter().map(PathBuf::from).collect(),
            files: DEFAULT_FILES.iter().map(ToString::to_string).collect(),
            interval,
            sample_interval: DEFAULT_SAMPLE_INTERVAL.min(interval),
            round_interval: true,
            collection_jitter: Duration::ZERO,
            collection_offset: Duration::ZERO,
            precision: Duration::ZERO,
            netns: Netns::Own,
            wait: false,
            netns_tag: false,
            compat_telegraf: false,
            source: Source::Auto,
            ebpf: Ebpf::Auto,
            ebpf_per_packet: false,
            ebpf_invalid: false,
            composition: None,
            ebpf_attach: None,
            percpu_rates: false,
            internal: false,
            alias: None,
            log_level: None,
            filter: Filter::default(),
        }
    }

    /// Whether it has a place for events: Telegraf's rows have not, nor has the row of the table alone.
    #[must_use]
    pub fn has_events(&self) -> bool {
        self.without_events().is_none()
    }

    /// The reason why its rows have no numbers of probes; `None` where they have them.
    fn without_events(&self) -> Option<&'static str> {
        if self.compat_telegraf {
            Some("compat is telegraf")
        } else if self.ebpf == Ebpf::Off {
            Some("ebpf is off")
        } else if !self.collect.all && !self.collect.percpu {
            Some("rows have no statistics")
        } else {
            None
        }
    }

    /// Returns a warning of options for probes that were set where nothing of probes is in its rows, and of
    /// the composition of the table where rows are Telegraf's.
    #[must_use]
    pub fn options_without_effect(&self) -> Option<String> {
        let why = self.without_events()?;
        let options = [
            ("ebpf_per_packet", self.ebpf_per_packet),
            ("ebpf_invalid", self.ebpf_invalid),
            ("ebpf_attach", self.ebpf_attach.is_some()),
            ("composition", self.composition.is_some() && self.compat_telegraf),
        ];
        let set: Vec<&str> =
            options.into_iter().filter_map(|(name, is_set)| is_set.then_some(name)).collect();
        let have = if set.len() == 1 { "has" } else { "have" };
        (!set.is_empty()).then(|| format!("{why}: {} {have} no effect", set.join(", ")))
    }

    /// Whether it has rows of INVALID packets by reason.
    #[must_use]
    pub fn has_invalid_rows(&self) -> bool {
        self.ebpf_invalid && self.has_events()
    }

    /// Returns the time between two walks over the table, if it has rows of them: at least the interval,
    /// since each walk has an emission. Telegraf's rows have none.
    #[must_use]
    pub fn composition_interval(&self) -> Option<Duration> {
        let every = self.composition.filter(|_| !self.compat_telegraf)?;
        Some(every.max(self.interval))
    }

    /// Returns the unit to which timestamps are rounded; zero keeps nanoseconds.
    ///
    /// Where `precision` is not set, Telegraf takes the largest unit that the interval reaches;
    /// here only `compat = "telegraf"` does, since rows within a second should differ.
    #[must_use]
    pub fn rounding(&self) -> Duration {
        let units = [Duration::from_secs(1), Duration::from_millis(1), Duration::from_micros(1)];
        if self.precision.is_zero() && self.compat_telegraf {
            units.into_iter().find(|unit| self.interval >= *unit).unwrap_or_default()
        } else {
            self.precision
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Ebpf, EbpfAttach, Input, parse_listen};

    #[test]
    fn options_of_probes_without_a_place_for_their_counts_are_named() {
        let mut input = Input::new(Duration::from_secs(1));
        assert_eq!(input.options_without_effect(), None);
        input.ebpf_invalid = true;
        let warning = |input: &Input| input.options_without_effect().unwrap();
        assert_eq!(warning(&input), "rows have no statistics: ebpf_invalid has no effect");
        input.collect.percpu = true;
        assert_eq!(input.options_without_effect(), None);
        (input.ebpf_attach, input.ebpf) = (Some(EbpfAttach::Auto), Ebpf::Off);
        assert_eq!(warning(&input), "ebpf is off: ebpf_invalid, ebpf_attach have no effect");
        (input.ebpf, input.compat_telegraf) = (Ebpf::Auto, true);
        assert!(warning(&input).starts_with("compat is telegraf: "));
        let mut input = Input::new(Duration::from_secs(1));
        (input.composition, input.ebpf) = (Some(Duration::from_secs(10)), Ebpf::Off);
        assert_eq!(input.options_without_effect(), None);
        input.compat_telegraf = true;
        assert_eq!(warning(&input), "compat is telegraf: composition has no effect");
    }

    #[test]
    fn a_port_without_an_address_is_loopback() {
        for (text, address) in [
            ("9466", "127.0.0.1:9466"),
            (":9466", "127.0.0.1:9466"),
            (":0", "127.0.0.1:0"),
            ("192.0.2.1:9466", "192.0.2.1:9466"),
            ("[::1]:9466", "[::1]:9466"),
            ("[::]:9466", "[::]:9466"),
        ] {
            assert_eq!(parse_listen(text).unwrap().to_string(), address, "{text}");
        }
        for text in ["", ":", "65536", ":99999", "::1:9466", "127.0.0.1", "localhost:9466", "*:1"] {
            let error = parse_listen(text).unwrap_err();
            assert!(error.contains(" is not a"), "{text}: {error}");
        }
    }
}
