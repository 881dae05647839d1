//! The options of `ctpulse report`.

#![allow(clippy::doc_markdown, reason = "doc comments here are help texts, without markup")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

/// Shown by `report --help` and its manual page.
pub const EXAMPLES: &str = "\
ctpulse report fw.influx                       what happened
ctpulse report --window 10s fw.influx.zst      rates as averages over ten seconds
ctpulse report before.influx after.influx      two recordings, with ratios
ctpulse report --merge fw1.influx fw2.influx   two hosts' recordings in one report
ctpulse report --html fw.html fw.influx        with plots, for a browser
ctpulse report --format json fw.influx         for a script";

/// The same: what a script can rely on.
const EXIT: &str = "\
Exit code:
  0  reported; the warnings in it name everything that the rows leave unknown
  1  no row of conntrack could be read
  2  the command line is wrong";

pub(super) fn help() -> String {
    format!("{EXIT}\n\nExamples:\n  {}", EXAMPLES.replace('\n', "\n  "))
}

/// Options of `report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// A recording (- is standard input): line protocol, JSON or CSV, plain or compressed; two are
    /// compared.
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Read all FILEs as one recording, in this order.
    #[arg(long)]
    pub merge: bool,
    /// Rates are averages over this time, or over the recording's interval if that is longer.
    #[arg(long, value_name = "DURATION", value_parser = super::value::time, default_value = "1s")]
    pub window: Duration,
    /// How many bursts of each counter to list.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = super::value::any_number)]
    pub bursts: usize,
    /// Output format.
    #[arg(long, short, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
    /// Also write a page with plots to OUT; it needs nothing but a browser. `-`: write it to standard
    /// output, in place of the text.
    #[arg(long, value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For a person
    Text,
    /// For a program: times in nanoseconds, durations in seconds
    Json,
}
