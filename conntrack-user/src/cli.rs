//! The command line: what can be typed, and the help that teaches it.
//!
//! Arguments only; `command` acts on them. Completions and man pages are made from the same
//! definitions.

#![allow(clippy::doc_markdown, reason = "doc comments here are help texts, without markup")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::config::parse_duration;
use crate::format::Format;
use crate::live::keys::{KEYS, Key};
use crate::live::replay::SPEEDS;
use crate::settings::{Collect, Ebpf, Netns};

/// High-frequency sampler of Linux connection tracking (netfilter conntrack).
///
/// Reads what the kernel counts many times a second and streams it: table fill, insertions,
/// drops, races, per CPU, with the bursts that an average over seconds hides. On a terminal it
/// prints a table, into a pipe InfluxDB line protocol. Reading needs no privilege; --netns and
/// the probes (--ebpf) do.
#[derive(Debug, Parser)]
#[command(
    name = "ctpulse",
    version,
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
ctpulse                                  watch this host, a line a second
ctpulse --once --format json             one reading, for a script
ctpulse --sample-interval 5ms            find bursts of a few milliseconds
ctpulse --netns self --netns router1     two namespaces, told apart by a tag
ctpulse --config telegraf.conf           what Telegraf's own file gives
ctpulse --duration 1h --output fw.influx record an hour
ctpulse live                             a dashboard in the terminal
ctpulse doctor                           what this kernel can tell";

/// The same.
pub const ENVIRONMENT: &str = "\
HOST_PROC   the host's /proc as mounted in a container; its process 1 is the host
HOST_SYS    the host's /sys, for the CPU mask
NO_COLOR    no colours on a terminal";

/// The same.
pub const EXIT_STATUS: &str = "\
0   all well
1   something could not be read or written
2   the command line is wrong";

fn more_help() -> String {
    let sections =
        [("Examples", EXAMPLES), ("Environment", ENVIRONMENT), ("Exit status", EXIT_STATUS)];
    let section =
        |(heading, text): (&str, &str)| format!("{heading}:\n  {}", text.replace('\n', "\n  "));
    sections.map(section).join("\n\n")
}

const LIVE_INTERVAL: &str = "Time between rows, such as 250ms; the keys + and - change it \
                             [default: 500ms]";

/// The keys of `live`, a line each.
#[must_use]
pub fn live_keys() -> String {
    let key = |key: &Key| match key.replay {
        Some(true) => format!("{:<16} {} (--replay)", key.name, key.what),
        _ => format!("{:<16} {}", key.name, key.what),
    };
    KEYS.iter().map(key).collect::<Vec<String>>().join("\n")
}

fn live_help() -> String {
    format!("Keys:\n  {}\n\n{}", live_keys().replace('\n', "\n  "), more_help())
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
    #[command(after_long_help = live_help())]
    #[command(mut_arg("interval", |arg| arg.help(LIVE_INTERVAL).long_help(LIVE_INTERVAL)))]
    Live(LiveArgs),
    /// Run as a Telegraf execd plugin: line protocol on standard output, no host tag.
    ///
    /// Ends when standard input is closed or on SIGTERM. Give the same --signal as Telegraf's
    /// `signal` setting.
    Execd(ExecdArgs),
    /// Print a commented sample configuration, or check a file.
    Config(ConfigArgs),
    /// Say what this kernel and host can tell, what is missing, and what to do about it.
    ///
    /// Exit code 0 when all is well, 1 when something is missing.
    Doctor(DoctorArgs),
    /// Print a completion script for a shell.
    ///
    /// For example: ctpulse completions bash > /etc/bash_completion.d/ctpulse
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one per command into a directory.
    Man {
        /// Where to write ctpulse.1, ctpulse-run.1 and the others.
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
    /// Can be given more than once; each row then carries a `netns` tag. Needs CAP_SYS_ADMIN.
    #[arg(
        long,
        value_name = "PATH|pid:N|NAME",
        conflicts_with = "proc_root",
        help_heading = "Sources"
    )]
    pub netns: Vec<Netns>,
}

/// How to sample; shared by `run`, `execd` and `live`.
#[derive(Debug, Clone, Default, Args)]
pub struct SampleArgs {
    /// A Telegraf configuration; other plugins in it are ignored.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Time between rows, such as 1s or 250ms [default: 1s, or the configuration's].
    #[arg(long, short, value_name = "DURATION", value_parser = parse_duration)]
    pub interval: Option<Duration>,
    /// Time between reads, down to 1ms; shorter than --interval it finds bursts
    /// [default: 100ms, at most the interval].
    #[arg(long, short, value_name = "DURATION", value_parser = parse_duration)]
    pub sample_interval: Option<Duration>,
    /// Probes that count what today's kernels do not (insert, new, delete, why packets were
    /// dropped) [default: auto]. Needs CAP_BPF and CAP_PERFMON, or root.
    #[arg(long, value_enum, value_name = "WHETHER")]
    pub ebpf: Option<Ebpf>,
    /// Also count found, ignore and drop_tracker: up to five probes for each packet.
    #[arg(long)]
    pub ebpf_per_packet: bool,
    /// Where the kernel's files are.
    #[command(flatten)]
    pub source: SourceArgs,
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
    #[arg(long, value_name = "LIST", value_parser = parse_collect)]
    pub collect: Option<Collect>,
    /// Telegraf's exact numbers, faults included, and none of the additions.
    #[arg(long, value_enum, value_name = "WHOSE")]
    pub compat: Option<Compat>,
    /// Rates and bursts on the per-CPU rows too.
    #[arg(long)]
    pub percpu_rates: bool,
    /// A row `internal_ctpulse` about the probes: what they counted, missed, and how long it took.
    #[arg(long)]
    pub internal: bool,
}

/// Options of `run`.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// What to collect.
    #[command(flatten)]
    pub collect: CollectArgs,
    /// Stop after this many emissions.
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Stop after this time.
    #[arg(long, short, value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Print one reading and stop (no rates: they need two).
    #[arg(long, conflicts_with_all = ["count", "duration"])]
    pub once: bool,
    /// Output format [default: table on a terminal, influx otherwise].
    #[arg(long, short, value_enum)]
    pub format: Option<Format>,
    /// Append to FILE instead of standard output; as prometheus, replace FILE by each batch.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// At the end, say on standard error how many ticks there were and how late they ran.
    #[arg(long)]
    pub stats: bool,
}

/// Options of `live`.
#[derive(Debug, Clone, Args)]
pub struct LiveArgs {
    /// How to sample.
    #[command(flatten)]
    pub sample: SampleArgs,
    /// Show a recording of `ctpulse run --output FILE` (influx or json) instead of this host.
    ///
    /// Gaps of more than a few rows are not waited for. The space bar steps, + and - change the
    /// speed.
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        conflicts_with_all = ["config", "interval", "sample_interval", "ebpf", "ebpf_per_packet",
                              "proc_root", "sys_root", "netns"],
    )]
    pub replay: Option<PathBuf>,
    /// How many times as fast as it was recorded [default: 1].
    #[arg(long, value_name = "TIMES", requires = "replay", value_parser = parse_speed)]
    pub speed: Option<f64>,
    /// Draw with ASCII characters only [default: where the locale has no UTF-8].
    #[arg(long)]
    pub ascii: bool,
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
    /// Check FILE: what is wrong, where, and what it would do.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub check: Option<PathBuf>,
}

/// Options of `doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Where the kernel's files are.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Whose numbers to reproduce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compat {
    /// Telegraf's inputs.conntrack.
    Telegraf,
}

/// Telegraf's `signal` settings of an execd plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Signal {
    /// Nothing: rows come at the own interval.
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

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed: &f64| SPEEDS.contains(speed));
    speed.ok_or_else(|| {
        format!("'{text}' is not a number from {} to {}", SPEEDS.start(), SPEEDS.end())
    })
}

fn parse_collect(text: &str) -> Result<Collect, String> {
    let mut collect = Collect::default();
    for word in text.split(',') {
        match word.trim() {
            "all" => collect.all = true,
            "percpu" => collect.percpu = true,
            "none" if text.trim() == "none" => {}
            "none" => return Err("'none' stands alone".to_owned()),
            other => return Err(format!("'{other}' is not one of all, percpu, none")),
        }
    }
    Ok(collect)
}
