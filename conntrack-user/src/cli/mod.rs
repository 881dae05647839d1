//! The command line: its arguments and its help.
//!
//! Arguments only; `command` acts on them. Completions, manual pages and messages about a wrong
//! command line come from the same definitions.

#![allow(clippy::doc_markdown, reason = "doc comments here are help texts, without markup")]

mod bash;
mod complete;
mod drops;
mod live;
mod report;
mod top;
pub mod usage;
mod value;
mod zsh;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

pub use complete::{answer_script, script as completion_script};
pub use drops::{CAUSES, DropsArgs, DropsFormat, EXAMPLES as DROPS_EXAMPLES, reasons};
pub use live::{LiveArgs, live_keys};
pub use report::{EXAMPLES as REPORT_EXAMPLES, ReportArgs, ReportFormat};
pub use top::{EXAMPLES as TOP_EXAMPLES, TopArgs, TopFormat, top_keys};

use crate::format::Format;
use crate::settings::{Collect, Confine, Ebpf, EbpfAttach, Netns, Source, parse_listen};
use crate::version;

/// High-frequency sampler of Linux connection tracking (netfilter conntrack).
///
/// Reads the kernel's counters up to 1,000 times a second and writes the fill of the table,
/// insertions, drops and races, also for each CPU, with the bursts that an average over seconds
/// hides. On a terminal it prints a table, into a pipe InfluxDB line protocol. Reading needs no
/// privilege; --netns and the probes (--ebpf) do.
#[derive(Debug, Parser)]
#[command(
    name = "ctpulse",
    version = version::LINE.as_str(),
    long_version = version::LINES.as_str(),
    propagate_version = true,
    args_conflicts_with_subcommands = true
)]
#[command(after_long_help = more_help())]
pub struct Cli {
    /// What to do; without one, `run`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of `run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Shown by `--help` and the manual page.
pub const EXAMPLES: &str = "\
ctpulse                                   watch this host, a line a second
ctpulse --once --format json              one reading, for a script
ctpulse --sample-interval 5ms             find bursts of a few milliseconds
ctpulse --netns self --netns router1      two namespaces, distinguished by a tag
ctpulse --config telegraf.conf            what Telegraf's own file gives
ctpulse --duration 1h --output fw.influx  record an hour
ctpulse --listen :9466                    for Prometheus, on loopback
ctpulse drops                             each drop with its cause and its connection
ctpulse top                               who fills the table
ctpulse report fw.influx                  summarize a recording
ctpulse live                              a dashboard in the terminal
ctpulse doctor                            the data that this kernel provides
ctpulse doctor --advise                   what to change, after sampling for 5 s";

/// The same.
pub const ENVIRONMENT: &str = "\
HOST_PROC             the host's /proc as mounted in a container; its process 1 is the host
HOST_SYS              the host's /sys, for the CPU mask
CTPULSE_EBPF_ATTACH   the default of --ebpf-attach
NO_COLOR              no colours on a terminal";

/// The same.
pub const EXIT_STATUS: &str = "\
0   success; of config --check: the file is valid
1   something could not be read or written, or the configuration is not valid; of doctor:
    there is a problem (!!), such as statistics, count or limit that cannot be read; with
    --advise packets are lost
2   the command line is wrong
3   of doctor --advise: it is not known whether packets are lost
129 SIGHUP ended live, drops or top
130, 143 SIGINT or SIGTERM ended doctor or report as process 1";

/// Shown by the manual pages.
pub const FILES: &str = "\
/etc/ctpulse/ctpulse.conf     the configuration of the service; ctpulse.conf(5)
/var/lib/ctpulse              the recording of the service
/proc/net/stat/nf_conntrack   the kernel's statistics, a line for each CPU
/proc/sys/net/netfilter       the number of entries and its limit
/run/netns                    network namespaces that have a name";

fn more_help() -> String {
    let sections =
        [("Examples", EXAMPLES), ("Environment", ENVIRONMENT), ("Exit status", EXIT_STATUS)];
    let section =
        |(heading, text): (&str, &str)| format!("{heading}:\n  {}", text.replace('\n', "\n  "));
    sections.map(section).join("\n\n")
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stream metrics until interrupted (the default).
    #[command(after_long_help = more_help())]
    Run(RunArgs),
    /// Watch the table, rates, drops and CPUs on a dashboard in the terminal.
    ///
    /// Bars are means, the thin lines above them the peak of one sample, so that a burst of a
    /// few milliseconds is seen beside the load. Needs a terminal of 80x24; a smaller one has the
    /// numbers only.
    #[command(after_long_help = live::help())]
    #[command(mut_arg("interval", |arg| arg.help(live::INTERVAL).long_help(live::INTERVAL)))]
    Live(LiveArgs),
    /// Run as a Telegraf execd plugin: line protocol on standard output, no host tag.
    ///
    /// Ends when standard input is closed or on SIGTERM. Give the same --signal as Telegraf's
    /// `signal` setting.
    Execd(ExecdArgs),
    /// Print a commented sample configuration, or check a file.
    ///
    /// A check reports everything that is wrong, with file, line and key, and what a valid file
    /// would do: its inputs, and each [[inputs.execd]] by which Telegraf starts ctpulse. The exit
    /// status is 0 for a valid file and 1 for another.
    Config(ConfigArgs),
    /// Report the data that this kernel and host provide, what is missing, and the remedies.
    ///
    /// Exit code 1 when there is a problem (!!), such as statistics, a count or a limit that cannot be
    /// read, or when a --netns does not exist; else 0. Probes that are off leave it 0; the last lines say
    /// so.
    Doctor(DoctorArgs),
    /// Print each packet that conntrack drops and each entry that it evicts, with the cause.
    ///
    /// With --invalid, each INVALID packet with the reason.
    ///
    /// Needs the probes: root, or CAP_BPF and CAP_PERFMON. The packet path never waits: past
    /// --limit drops are left out, spread over time, and the totals at the end stay exact.
    #[command(after_long_help = drops::help())]
    Drops(DropsArgs),
    /// Show who fills the table: entries by source, destination, port, state, NAT address and others.
    ///
    /// On a terminal a screen shows them again every 2 s, with the change since the look before, and
    /// keys choose what is counted and how (? lists the keys). In a pipe, with --once and with
    /// --format json they are printed once.
    ///
    /// Reads the kernel's table without its locks and without a dump: a run of an eBPF program for
    /// each few hundred buckets, with preemption off for some 50 microseconds. A large table is
    /// sampled, and each share then has its 95 % interval. Needs root, or CAP_BPF, CAP_PERFMON and
    /// CAP_SYSLOG; no probe is attached. Entries of NAT clashes (IPS_NAT_CLASH, which live for a
    /// second) are left out.
    #[command(after_long_help = top::help())]
    Top(TopArgs),
    /// Summarize recordings: rates, bursts, fill, drop causes, gaps, misses.
    ///
    /// A recording is what `run --output FILE` wrote as influx or json, or what Telegraf wrote
    /// from `execd`; plain or zstd, of any length. What `--rotate` put aside (FILE.1, FILE.2, ...)
    /// is found and read with it. One FILE is reported; two are compared, before and after a
    /// change; with --merge any number is read as one recording, in the order given.
    ///
    /// Totals, extremes and peaks are exact unless a warning limits them; median and p99 are within
    /// 1 %.
    #[command(after_long_help = report::help())]
    Report(ReportArgs),
    /// Print a completion script for a shell.
    ///
    /// For example: ctpulse completions bash > /etc/bash_completion.d/ctpulse
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one per command and one of the configuration.
    Man {
        /// Write DIR/man1/ctpulse.1, DIR/man1/ctpulse-run.1 and the others, and
        /// DIR/man5/ctpulse.conf.5.
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        output: Option<PathBuf>,
    },
}

/// Where the kernel's files are; for every command that reads them.
#[derive(Debug, Clone, Default, Args)]
pub struct SourceArgs {
    /// Read DIR/net/stat/... and DIR/sys/net/... instead of /proc.
    ///
    /// In a container with the host's /proc mounted, set HOST_PROC instead: it also knows that
    /// the host's namespace is the one of the host's process 1.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Sources")]
    pub proc_root: Option<PathBuf>,
    /// Read the CPU mask below DIR instead of /sys (or HOST_SYS).
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Sources")]
    pub sys_root: Option<PathBuf>,
    /// Look into another network namespace: a path, pid:N, a name of `ip netns`, or self.
    ///
    /// Can be given more than once; rows then have a tag with its name. Needs CAP_SYS_ADMIN.
    #[arg(
        long,
        value_name = "PATH|pid:N|NAME",
        add = complete::namespaces(),
        conflicts_with = "proc_root",
        help_heading = "Sources"
    )]
    pub netns: Vec<Netns>,
}

/// How to sample; shared by `run`, `execd` and `live`.
#[derive(Debug, Clone, Default, Args)]
pub struct SampleArgs {
    /// A Telegraf configuration, or - for standard input; other plugins in it are ignored.
    #[arg(long, short, value_name = "FILE", value_parser = value::input(), value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Time between rows, such as 1s or 250ms [default: 1s, with --listen 15s, or the
    /// configuration's].
    #[arg(long, short, value_name = "DURATION", value_parser = value::duration)]
    pub interval: Option<Duration>,
    /// Time between reads, down to 1ms; shorter than --interval it finds bursts
    /// [default: 100ms, at most the interval].
    #[arg(long, short, value_name = "DURATION", value_parser = value::duration)]
    pub sample_interval: Option<Duration>,
    /// Where the statistics are read from [default: auto]. procfs needs no privilege; netlink
    /// needs CAP_NET_ADMIN, and is there on kernels that are built without the file.
    #[arg(
        long = "source",
        value_enum,
        value_name = "auto|procfs|netlink",
        help_heading = "Sources"
    )]
    pub stat_source: Option<Source>,
    /// Probes that count what today's kernels do not (insert, new, delete, why packets were
    /// dropped) [default: auto]. Needs CAP_BPF and CAP_PERFMON, or root.
    #[arg(long, value_enum, value_name = "auto|on|off")]
    pub ebpf: Option<Ebpf>,
    /// Also count found, ignore and drop_tracker: up to five probes for each packet, which took
    /// about 20 % of a UDP flow's packets per second (emulated; docs/speed.md).
    #[arg(long)]
    pub ebpf_per_packet: bool,
    /// Also write rows of INVALID packets by protocol and reason (conntrack_invalid): a probe for each
    /// such packet, and two for each new TCP connection.
    #[arg(long)]
    pub ebpf_invalid: bool,
    /// How probes are attached [default: kprobe]. Trampolines cost less and keep the module loaded;
    /// auto takes kprobes where nothing else uses the module.
    #[arg(long, value_enum, value_name = "kprobe|trampoline|auto")]
    pub ebpf_attach: Option<EbpfAttach>,
    /// Where the kernel's files are.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Wait for a --netns that does not exist yet; without it that is an error. One that is deleted
    /// later is waited for in any case. --once and --count count from its first row.
    #[arg(long, help_heading = "Sources")]
    pub wait: bool,
    /// Log more.
    #[arg(long, conflicts_with = "quiet")]
    pub debug: bool,
    /// Log errors only.
    #[arg(long, short)]
    pub quiet: bool,
}

/// What to collect; shared by `run` and `execd`.
#[derive(Debug, Clone, Default, Args)]
pub struct CollectArgs {
    /// How to sample.
    #[command(flatten)]
    pub sample: SampleArgs,
    /// Statistics rows: all, percpu, both with a comma, or none [default: all].
    #[arg(long, value_name = "LIST", value_parser = value::collect, add = complete::list(&value::ROWS))]
    pub collect: Option<Collect>,
    /// Telegraf's exact numbers, faults included, and none of the additions.
    #[arg(long, value_enum, value_name = "telegraf")]
    pub compat: Option<Compat>,
    /// Rates and bursts on the per-CPU rows too.
    #[arg(long)]
    pub percpu_rates: bool,
    /// A row `internal_ctpulse` about the probes: what they counted, missed, and how long it took.
    #[arg(long)]
    pub internal: bool,
    /// Also write rows of the table's entries by protocol and state (conntrack_entries), with one walk
    /// over the whole table in this time, such as 10s. Needs CAP_BPF, CAP_PERFMON and CAP_SYSLOG, or root.
    #[arg(long, value_name = "DURATION", value_parser = value::time)]
    pub composition: Option<Duration>,
    /// Give up privileges that are not needed any more [default: auto]: capabilities, system calls,
    /// files (docs/security.md).
    #[arg(long, value_enum, value_name = "auto|on|off")]
    pub confine: Option<Confine>,
    /// Run as this user from before the output is opened. Needs root; required capabilities are kept.
    #[arg(long, value_name = "NAME|UID:GID", value_parser = value::user, add = complete::users())]
    pub user: Option<String>,
}

/// Options of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// What to collect.
    #[command(flatten)]
    pub collect: CollectArgs,
    /// Stop after this many emissions.
    #[arg(long, short = 'n', value_name = "N", value_parser = value::at_least_one)]
    pub count: Option<u64>,
    /// Stop after this time.
    #[arg(long, short, value_name = "DURATION", value_parser = value::time)]
    pub duration: Option<Duration>,
    /// Take one sample, print it and stop (no rates: they need two samples).
    #[arg(long, conflicts_with_all = ["count", "duration"])]
    pub once: bool,
    /// Output format [default: table on a terminal, influx otherwise].
    #[arg(long, short, value_enum)]
    pub format: Option<Format>,
    /// Append to FILE instead of standard output (also -); as prometheus, replace FILE by each batch.
    ///
    /// As influx or json FILE is a recording for `ctpulse report`: after a crash the next run
    /// goes on behind the last whole row. A name that ends in .zst compresses it. Devices, pipes and
    /// /dev/fd/N are written to as they are. A FILE that is moved, removed or truncated is created again
    /// with the next row; SIGHUP does so at once, and reads the configuration again.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Put FILE aside as FILE.1 before it grows beyond SIZE, such as 500K, 64M or 1G.
    #[arg(long, value_name = "SIZE", value_parser = value::size, requires = "output")]
    pub rotate: Option<u64>,
    /// How many files put aside to keep; the oldest is removed.
    #[arg(
        long,
        value_name = "N",
        requires = "rotate",
        default_value_t = 5,
        value_parser = value::files
    )]
    pub keep: u32,
    /// Answer scrapes at http://ADDR:PORT/metrics, and report at /healthz whether samples come.
    ///
    /// ADDR is 127.0.0.1, `[::1]` or one that others reach, such as 0.0.0.0; without it 127.0.0.1.
    /// Rows are then written only where --output or --format asks for them. A scrape sees the
    /// latest row. Set --interval slightly longer than the interval of the scrapes, so that no burst
    /// is missed.
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = parse_listen, conflicts_with = "once")]
    pub listen: Option<SocketAddr>,
    /// At the end, print to standard error how many ticks there were and how late they ran.
    #[arg(long)]
    pub stats: bool,
}

/// Options of `execd`.
#[derive(Debug, Clone, Args)]
pub struct ExecdArgs {
    /// What asks for a row: the same as the `signal` setting of Telegraf's [[inputs.execd]].
    #[arg(long, value_enum, ignore_case = true, default_value_t = Signal::None)]
    pub signal: Signal,
    /// Output format, to match Telegraf's `data_format`.
    #[arg(long, short, value_enum, default_value_t = Format::Influx)]
    pub format: Format,
    /// What to collect.
    #[command(flatten)]
    pub collect: CollectArgs,
}

/// Options of `config`.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct ConfigArgs {
    /// Print a commented sample configuration.
    #[arg(long)]
    pub print_default: bool,
    /// Check FILE (- is standard input): everything that is wrong and where, or what the file would do.
    #[arg(long, value_name = "FILE", value_parser = value::input(), value_hint = ValueHint::FilePath)]
    pub check: Option<PathBuf>,
}

/// Options of `doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Sample for some seconds and print findings, their numbers and what to change.
    ///
    /// Exit code 0: nothing is wrong, or only warnings; 1: packets or connections are lost; 2:
    /// wrong usage; 3: unknown, since something could not be read or concluded. Probes tell the
    /// causes of drops apart.
    #[arg(long)]
    pub advise: bool,
    /// How long --advise samples.
    #[arg(long, value_name = "DURATION", value_parser = value::time, default_value = "5s", requires = "advise")]
    pub look: Duration,
    /// Let --advise judge a recording (of `run --output FILE`) instead of this host.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "advise", conflicts_with_all = ["look", "netns", "proc_root"])]
    pub recording: Option<PathBuf>,
    /// How probes are tried: as in `ctpulse run` [default: kprobe].
    #[arg(long, value_enum, value_name = "kprobe|trampoline|auto", conflicts_with = "advise")]
    pub ebpf_attach: Option<EbpfAttach>,
    /// Where the kernel's files are.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// The program whose numbers are reproduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compat {
    /// Telegraf's inputs.conntrack.
    Telegraf,
}

/// Telegraf's `signal` settings of an execd plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Signal {
    /// Nothing: rows are written at the configured interval.
    #[value(name = "none")]
    None,
    /// A newline on standard input is one row.
    #[value(name = "STDIN")]
    Stdin,
    /// SIGHUP is one row.
    #[value(name = "SIGHUP")]
    Hup,
    /// SIGUSR1 is one row.
    #[value(name = "SIGUSR1")]
    Usr1,
    /// SIGUSR2 is one row.
    #[value(name = "SIGUSR2")]
    Usr2,
}
