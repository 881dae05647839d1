//! `ctpulse config`: a sample to start from, and a check that reports what a file would do.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use super::execd_check;
use super::generate::print_quietly;
use super::input_summary::{RowTrigger, described};
use crate::cli::{ConfigArgs, SourceArgs};
use crate::config::{ConfigError, SAMPLE};
use crate::confine::user;
use crate::settings::{Input, Settings};
use crate::source::existence;
use crate::text::sanitize::shown;

pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    match &args.check {
        Some(path) => check(path),
        None => print_quietly(SAMPLE.as_bytes()),
    }
}

/// Names that are not on this host, where a run would be refused. The file may be for another host, so
/// these are warnings.
fn absent_here(settings: &Settings) -> Vec<String> {
    let roots = SourceArgs::default().roots();
    let waiting_for_none = settings.inputs.iter().filter(|input| !input.wait);
    let namespaces = waiting_for_none.filter_map(|input| {
        let absent = existence::check(&roots, &input.netns).err()?;
        Some(format!("[{}] {absent}", input.name()))
    });
    let mut warnings: Vec<String> = namespaces.collect();
    let user = settings.user.as_deref().map(user::check_known);
    warnings.extend(user.and_then(Result::err).map(|error| error.to_string()));
    warnings
}

fn check(path: &Path) -> anyhow::Result<ExitCode> {
    let file = path.display().to_string();
    let loaded = crate::config::read(path)?;
    let inputs = &loaded.settings.inputs;
    if inputs.is_empty() && loaded.execd.is_empty() && loaded.unjudged.is_empty() {
        return Err(ConfigError::NoInput { file }.into());
    }
    let mut text = String::new();
    let mut warnings = loaded.warnings;
    let without_effect = inputs.iter().filter_map(Input::options_without_effect);
    // The same of several inputs once.
    warnings.extend(without_effect.collect::<BTreeSet<_>>());
    warnings.extend(absent_here(&loaded.settings));
    warnings.extend(loaded.unjudged.iter().map(|table| {
        format!("{table} starts ctpulse by a script, or without execd, and is not checked")
    }));
    let mut problems = Vec::new();
    let mut commands = Vec::new();
    for command in &loaded.execd {
        match execd_check::check(command) {
            Ok((line, settings)) => {
                warnings.extend(absent_here(&settings));
                warnings.extend(execd_check::format_warning(command));
                commands.push(line);
            }
            Err(found) => problems.extend(found),
        }
    }
    if (1..commands.len()).any(|at| commands[..at].contains(&commands[at])) {
        let text =
            "two [[inputs.execd]] have the same command, which emits each row twice; remove one";
        warnings.push(text.to_owned());
    }
    for warning in &warnings {
        writeln!(text, "warning: {}", shown(warning))?;
    }
    for input in inputs {
        writeln!(text, "[[inputs.conntrack]]{}", described(input, RowTrigger::AtInterval))?;
    }
    if let Some(address) = loaded.settings.listen {
        writeln!(text, "scrapes are answered at http://{address}/metrics")?;
    }
    for line in commands {
        writeln!(text, "[[inputs.execd]]: {}", shown(&line))?;
    }
    if !problems.is_empty() {
        return Err(ConfigError::Invalid { file, problems, warnings }.into());
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
