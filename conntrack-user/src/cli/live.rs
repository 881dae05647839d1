//! The options of `ctpulse live`, and its keys.

#![allow(clippy::doc_markdown, reason = "doc comments here are help texts, without markup")]

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{SampleArgs, more_help};
use crate::live::keys::{KEYS, Key};
use crate::live::replay::SPEEDS;

pub(super) const INTERVAL: &str = "Time between rows, such as 250ms; the keys + and - change it \
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

pub(super) fn help() -> String {
    format!("Keys:\n  {}\n\n{}", live_keys().replace('\n', "\n  "), more_help())
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
                              "ebpf_invalid", "ebpf_attach", "proc_root", "sys_root", "netns"],
    )]
    pub replay: Option<PathBuf>,
    /// How many times as fast as it was recorded [default: 1].
    #[arg(long, value_name = "TIMES", requires = "replay", value_parser = parse_speed)]
    pub speed: Option<f64>,
    /// Draw with ASCII characters only [default: where the locale has no UTF-8].
    #[arg(long)]
    pub ascii: bool,
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed: &f64| SPEEDS.contains(speed));
    speed.ok_or_else(|| {
        format!("'{text}' is not a number from {} to {}", SPEEDS.start(), SPEEDS.end())
    })
}
