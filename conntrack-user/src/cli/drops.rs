//! The options of `ctpulse drops`.

#![allow(clippy::doc_markdown, reason = "doc comments here are help texts, without markup")]

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::SourceArgs;
use crate::drops::top::{GroupBy, NAMES};
use crate::schema::invalid::Reason;

/// Shown by `drops --help` and its manual page.
pub const EXAMPLES: &str = "\
ctpulse drops                            each drop of this namespace, a line each
ctpulse drops --netns router1 -d 30s     half a minute of another one
ctpulse drops --top cause,source,port    the heaviest, again every second
ctpulse drops --top source/24            by network
ctpulse drops --top nat,destination,port   where NAT has no free port
ctpulse drops --latency -d 10s           how long insertions take, too
ctpulse drops --invalid                  each INVALID packet, with the reason
ctpulse drops --invalid --top reason,source,port
                                         the heaviest of those
ctpulse drops --format json | jq .cause  for a script";

/// The same.
pub const CAUSES: &str = "\
table full       nothing could be evicted
evicted          an entry made room for another
lost a race      two first packets of one connection
no NAT port      NAT found no free port; the line has the last one that it tried
chain too long   the hash chain has no room
entry dying      the entry was removed before it was inserted
no memory        for an entry
tracker          the protocol tracker refused the packet (with --per-packet)";

/// The reasons of INVALID packets with their explanations, for the same.
#[must_use]
pub fn reasons() -> String {
    let width = Reason::ALL.iter().map(|reason| reason.name().len()).max().unwrap_or_default();
    let line = |reason: &Reason| format!("{:width$}  {}", reason.name(), reason.words());
    Reason::ALL.iter().map(line).collect::<Vec<_>>().join("\n")
}

pub(super) fn help() -> String {
    let indented = |text: &str| text.replace('\n', "\n  ");
    format!(
        "Examples:\n  {}\n\nCauses:\n  {}\n\nReasons of INVALID packets (an unknown text of the \
         kernel is printed itself):\n  {}",
        indented(EXAMPLES),
        indented(CAUSES),
        indented(&reasons())
    )
}

/// Options of `drops`.
#[derive(Debug, Clone, Args)]
pub struct DropsArgs {
    /// Print each INVALID packet with its reason, instead of drops.
    ///
    /// Such a packet belongs to no connection, or does not fit its connection. Conntrack lets it pass;
    /// firewall rules usually drop it. The probes run for refused packets, for a few that the trackers
    /// accept after all, and for the first packet of each TCP connection. At the end the number of
    /// packets of each reason is printed, and the rest of the kernel's `invalid` and `icmp_error`, for
    /// which the kernel has no text.
    #[arg(long, conflicts_with_all = ["per_packet", "latency"])]
    pub invalid: bool,
    /// Add up by these instead, with commas: cause (or reason, with --invalid), protocol, source,
    /// destination, port, nat (the source address after NAT), or a network such as source/24 (of IPv6
    /// four times as many bits).
    #[arg(long, value_name = "KEYS", value_delimiter = ',', add = super::complete::list(&NAMES))]
    pub top: Vec<GroupBy>,
    /// How many lines --top prints.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = super::value::lines, requires = "top")]
    pub lines: usize,
    /// Time between two tables of --top.
    #[arg(long, short, value_name = "DURATION", value_parser = super::value::time, default_value = "1s", requires = "top")]
    pub interval: Duration,
    /// Maximum number of drops to print each second, of all CPUs together. Each CPU may print at
    /// least one in 8 ms.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = super::value::at_least_one)]
    pub limit: u64,
    /// Also drops by the TCP tracker, which cost two probes for each TCP packet.
    #[arg(long)]
    pub per_packet: bool,
    /// Also measure the time of each insertion (in __nf_conntrack_confirm), including refused ones,
    /// and print the distribution at the end. This costs two reads of the clock for each new
    /// connection. The wait for the locks of the table is included and cannot be separated, because
    /// the functions that take them are inlined.
    #[arg(long)]
    pub latency: bool,
    /// Stop after this many lines.
    #[arg(long, short = 'n', value_name = "N", value_parser = super::value::at_least_one, conflicts_with = "top")]
    pub count: Option<u64>,
    /// Stop after this time.
    #[arg(long, short, value_name = "DURATION", value_parser = super::value::time)]
    pub duration: Option<Duration>,
    /// What a line looks like.
    #[arg(long, short, value_enum, default_value_t = DropsFormat::Human, conflicts_with = "top")]
    pub format: DropsFormat,
    /// Where the kernel's files are.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Log more.
    #[arg(long, conflicts_with = "quiet")]
    pub debug: bool,
    /// Log errors only, and no totals.
    #[arg(long, short)]
    pub quiet: bool,
}

/// How `drops` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DropsFormat {
    /// A line of text for each drop.
    Human,
    /// A JSON object on a line.
    Json,
}
