//! `ctpulse config`: a sample to start from, and a check that says what a file would do.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use super::generate::print_quietly;
use crate::cli::ConfigArgs;
use crate::config::SAMPLE;
use crate::plain::shown;

pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    match &args.check {
        Some(path) => check(path),
        None => print_quietly(SAMPLE.as_bytes()),
    }
}

fn check(path: &Path) -> anyhow::Result<ExitCode> {
    let loaded = crate::config::load(path)?;
    let mut text = String::new();
    for warning in &loaded.warnings {
        writeln!(text, "warning: {}", shown(warning))?;
    }
    for input in &loaded.settings.inputs {
        let rows = match (input.collect.all, input.collect.percpu) {
            (true, true) => "statistics (all, percpu) and table",
            (true, false) => "statistics (all) and table",
            (false, true) => "statistics (percpu) and table",
            (false, false) => "table",
        };
        writeln!(
            text,
            "[[inputs.conntrack]]{}{}: {rows} rows every {:?}, sampled every {:?}{}",
            input.alias.as_ref().map(|alias| format!(" '{}'", shown(alias))).unwrap_or_default(),
            input
                .netns
                .as_ref()
                .map(|netns| format!(" in netns {}", shown(&netns.to_string())))
                .unwrap_or_default(),
            input.interval,
            input.sample_interval,
            if input.compat_telegraf { ", as Telegraf's own plugin" } else { "" },
        )?;
    }
    if let Some(address) = loaded.settings.listen {
        writeln!(text, "scrapes are answered at http://{address}/metrics")?;
    }
    writeln!(text, "{}: all well", shown(&path.display().to_string()))?;
    print_quietly(text.as_bytes())
}
