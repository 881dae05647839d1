//! `ctpulse config`: a sample to start from, and a check that reports what a file would do.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use super::execd_check;
use super::generate::print_quietly;
use crate::cli::ConfigArgs;
use crate::config::{ConfigError, SAMPLE};
use crate::settings::Input;
use crate::text::sanitize::shown;

pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    match &args.check {
        Some(path) => check(path),
        None => print_quietly(SAMPLE.as_bytes()),
    }
}

fn check(path: &Path) -> anyhow::Result<ExitCode> {
    let file = path.display().to_string();
    let loaded = crate::config::read(path)?;
    let inputs = &loaded.settings.inputs;
    if inputs.is_empty() && loaded.execd.is_empty() {
        return Err(ConfigError::NoInput { file }.into());
    }
    let mut text = String::new();
    for warning in &loaded.warnings {
        writeln!(text, "warning: {}", shown(warning))?;
    }
    for input in inputs {
        writeln!(text, "[[inputs.conntrack]]{}", described(input, RowTrigger::AtInterval))?;
    }
    if let Some(address) = loaded.settings.listen {
        writeln!(text, "scrapes are answered at http://{address}/metrics")?;
    }
    let mut problems = Vec::new();
    for command in &loaded.execd {
        match execd_check::check(command) {
            Ok(line) => writeln!(text, "[[inputs.execd]]: {}", shown(&line))?,
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(ConfigError::Invalid { file, problems }.into());
    }
    if !inputs.is_empty() && !loaded.execd.is_empty() {
        writeln!(
            text,
            "warning: Telegraf would emit conntrack twice, by its own input and by ctpulse; remove \
             [[inputs.conntrack]]"
        )?;
    }
    writeln!(text, "{}: valid", shown(&file))?;
    print_quietly(text.as_bytes())
}

/// When rows come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RowTrigger {
    AtInterval,
    WhenAsked,
}

/// What an input reads, and how often.
pub(super) fn described(input: &Input, when: RowTrigger) -> String {
    let alias = input.alias.as_ref().map(|alias| format!(" '{}'", shown(alias)));
    let netns = input.netns.as_ref();
    let netns = netns.map(|netns| format!(" in netns {}", shown(&netns.to_string())));
    let rows = match (input.collect.all, input.collect.percpu) {
        (true, true) => "statistics (all, percpu) and table",
        (true, false) => "statistics (all) and table",
        (false, true) => "statistics (percpu) and table",
        (false, false) => "table",
    };
    let interval = match when {
        RowTrigger::AtInterval => format!(" every {:?}", input.interval),
        RowTrigger::WhenAsked => String::new(),
    };
    format!(
        "{}{}: {rows} rows{interval}, sampled every {:?}{}",
        alias.unwrap_or_default(),
        netns.unwrap_or_default(),
        input.sample_interval,
        if input.compat_telegraf { ", as Telegraf's own plugin" } else { "" },
    )
}
