//! The options of `ctpulse top`.

#![allow(clippy::doc_markdown, reason = "doc comments here are help texts, without markup")]

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::SourceArgs;
use crate::top::condition::Condition;
use crate::top::key::Key;
use crate::top::screen::keys::KEYS;

/// Shown by `top --help` and its manual page.
pub const EXAMPLES: &str = "\
ctpulse top                                 the sources with most entries; a screen on a terminal
ctpulse top --once                          the same, printed once
ctpulse top --by destination,port           the services
ctpulse top --by source/24 --where unreplied   networks that are not answered
ctpulse top --by state --where protocol=tcp    states of TCP connections
ctpulse top --by nat,destination,port       who takes the ports of which address
ctpulse top --all-namespaces --by namespace    namespaces of this host
ctpulse top --exact --format json | jq .entries   the whole table, for a script
ctpulse top --interval 10s --count 6        six times, ten seconds apart";

/// The keys of the screen, a line each.
#[must_use]
pub fn top_keys() -> String {
    KEYS.map(|(key, what)| format!("{key:<16} {what}")).join("\n")
}

pub(super) fn help() -> String {
    let indented = |text: &str| text.replace('\n', "\n  ");
    format!(
        "Keys of the screen:\n  {}\n\nExamples:\n  {}",
        indented(&top_keys()),
        indented(EXAMPLES)
    )
}

/// The keys of `--by`, for completion.
const NAMES: [&str; 13] = [
    "source",
    "destination",
    "port",
    "protocol",
    "state",
    "zone",
    "mark",
    "namespace",
    "nat",
    "unreplied",
    "assured",
    "offloaded",
    "expired",
];

/// What a condition of `--where` begins with, for completion.
const CONDITIONS: [&str; 12] = [
    "source=",
    "destination=",
    "port=",
    "protocol=",
    "state=",
    "zone=",
    "mark=",
    "nat=",
    "unreplied",
    "assured",
    "offloaded",
    "expired",
];

/// Options of `top`.
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// Add up by these, with commas: source, destination, port, protocol, state, zone, mark,
    /// namespace, nat (the translated source address), unreplied, assured, offloaded, expired, or a
    /// network such as source/24 (of IPv6 four times as many bits).
    #[arg(long, short, value_name = "KEYS", value_delimiter = ',', default_value = "source", add = super::complete::list(&NAMES))]
    pub by: Vec<Key>,
    /// Count only entries for which this holds: protocol=udp, source=10.0.0.0/8, port=53,
    /// state=SYN_SENT, nat=203.0.113.1, zone=7, mark=0x7, unreplied, assured, offloaded, expired.
    ///
    /// With commas, or given more than once, all of them must hold. KEY!=VALUE and not-assured are
    /// the opposite.
    #[arg(long = "where", value_name = "CONDITIONS", value_delimiter = ',', add = super::complete::list(&CONDITIONS))]
    pub conditions: Vec<Condition>,
    /// How many lines to print; a screen shows as many as fit.
    #[arg(long, short, value_name = "N", default_value_t = 10, value_parser = super::value::lines)]
    pub lines: usize,
    /// Read one of N buckets of the table, from a random place on; numbers are then estimates with
    /// their 95 % interval [default: 65,536 buckets, or all of a smaller table].
    #[arg(long, value_name = "1/N", value_parser = super::value::part, conflicts_with = "exact")]
    pub sample: Option<u32>,
    /// Read the whole table.
    #[arg(long, short)]
    pub exact: bool,
    /// Count the entries of all network namespaces of this host.
    #[arg(long, conflicts_with = "netns")]
    pub all_namespaces: bool,
    /// Read the table once and print it, as in a pipe, instead of a screen.
    #[arg(long, conflicts_with_all = ["interval", "count"])]
    pub once: bool,
    /// Read the table again after this time, until interrupted [default on a screen: 2s; at least 1s].
    #[arg(long, short, value_name = "DURATION", value_parser = super::value::time)]
    pub interval: Option<Duration>,
    /// Print the table N times instead of a screen.
    #[arg(long, short = 'n', value_name = "N", value_parser = super::value::at_least_one, requires = "interval")]
    pub count: Option<u64>,
    /// What is printed; json is printed on a terminal, too.
    #[arg(long, short, value_enum, default_value_t = TopFormat::Human)]
    pub format: TopFormat,
    /// Draw the screen with ASCII characters only [default: where the locale has no UTF-8].
    #[arg(long)]
    pub ascii: bool,
    /// Where the kernel's files are.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Log how the table was read.
    #[arg(long, conflicts_with = "quiet")]
    pub debug: bool,
    /// Log errors only.
    #[arg(long, short)]
    pub quiet: bool,
}

/// How `top` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TopFormat {
    /// A table.
    Human,
    /// A JSON object on a line for each time the table is read.
    Json,
}

#[cfg(test)]
mod tests {
    #[test]
    fn completion_knows_each_key() {
        assert_eq!(super::NAMES, crate::top::key::KEYS.map(|(name, _)| name));
    }
}
