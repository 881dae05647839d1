//! The check of an `[[inputs.execd]]` that starts ctpulse: whether this program takes the command,
//! and whether it agrees with what Telegraf expects of it.

use clap::{Parser, ValueEnum};

use super::input_summary::{RowTrigger, described};
use crate::cli::{Cli, Command, ExecdArgs, Signal, usage};
use crate::config::{ConfigError, ExecdCommand, Position, Problem, Setting, nearest};
use crate::format::Format;
use crate::settings::Settings;

/// Telegraf's `signal` and `data_format` where they are not set.
const DEFAULT_SIGNAL: &str = "none";
const DEFAULT_DATA_FORMAT: &str = "influx";

/// The effect of the command, and its settings. Namespaces and users that are not on this host are no
/// problem, because the file may be for another one.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn check(command: &ExecdCommand) -> Result<(String, Settings), Vec<Problem>> {
    let about_command = |text: String| problem(command.position, "command", &text);
    // Without the command's arguments, what Telegraf expects is only judged by itself.
    let unknown = || unknown_signal(command).into_iter().chain(unknown_format(command));
    let cli = parse(&command.words).map_err(|texts| {
        texts.into_iter().map(about_command).chain(unknown()).collect::<Vec<_>>()
    })?;
    let Some(Command::Execd(mut args)) = cli.command else {
        let text = "only `ctpulse execd` ends with Telegraf and leaves the host tag to it; write \
                    [\"ctpulse\", \"execd\", ...]";
        return Err(std::iter::once(about_command(text.to_owned())).chain(unknown()).collect());
    };
    let mut problems = Vec::new();
    problems.extend(signal_problem(command, &args));
    problems.extend(format_problem(command, &args));
    if let Err(error) = super::execd::refuse_standard_input(&args) {
        problems.push(about_command(error.to_string()));
        return Err(problems);
    }
    let (waits, is_named) =
        (args.collect.sample.wait, !args.collect.sample.source.netns.is_empty());
    args.collect.sample.wait |= is_named;
    let settings = match super::settings(&args.collect, args.signal != Signal::None) {
        Ok((mut settings, _)) => {
            // Where the command names none, they are those of its own file.
            settings.inputs.iter_mut().filter(|_| is_named).for_each(|input| input.wait = waits);
            settings
        }
        Err(error) => {
            let lines = match error.downcast_ref::<ConfigError>() {
                Some(error) => error.lines(),
                None => vec![format!("{error:#}")],
            };
            problems.extend(lines.into_iter().map(about_command));
            return Err(problems);
        }
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let (when, rows) = match args.signal {
        Signal::None => (String::new(), RowTrigger::AtInterval),
        _ => (format!(" when Telegraf asks ({})", value_name(&args.signal)), RowTrigger::WhenAsked),
    };
    let inputs: Vec<String> = settings.inputs.iter().map(|input| described(input, rows)).collect();
    Ok((format!("{}{when}{}", command.words.join(" "), inputs.join(" and")), settings))
}

/// What Telegraf makes of another format than its own: not the measurement of `inputs.conntrack`.
pub(super) fn format_warning(command: &ExecdCommand) -> Option<String> {
    let (format, _) = setting(command, command.data_format.as_ref(), DEFAULT_DATA_FORMAT);
    (format != DEFAULT_DATA_FORMAT).then(|| {
        format!(
            "with data_format = \"{format}\" Telegraf names the measurement, its tags and fields \
             otherwise than inputs.conntrack; leave it out, and --format in the command"
        )
    })
}

/// Reads the command line, or says all that is wrong with its arguments: clap finds one after another.
fn parse(words: &[String]) -> Result<Cli, Vec<String>> {
    let (mut words, mut texts) = (words.to_vec(), Vec::new());
    loop {
        match Cli::try_parse_from(&words) {
            Ok(cli) if texts.is_empty() => return Ok(cli),
            Ok(_) => return Err(texts),
            Err(error) if error.use_stderr() => {
                texts.push(usage::message(&error, &words));
                let Some(others) = usage::without_fault(&error, &words) else { return Err(texts) };
                words = others;
            }
            Err(_) => {
                let text = "it prints a text and ends; write [\"ctpulse\", \"execd\"]";
                texts.push(text.to_owned());
                return Err(texts);
            }
        }
    }
}

fn problem(position: Position, key: &str, text: &str) -> Problem {
    Problem { position, message: format!("'{key}' in [[inputs.execd]]: {text}") }
}

/// Telegraf asks for rows by `signal`, and `--signal` waits for one: the same.
fn signal_problem(command: &ExecdCommand, args: &ExecdArgs) -> Option<Problem> {
    if let Some(unknown) = unknown_signal(command) {
        return Some(unknown);
    }
    let (expected, position) = setting(command, command.signal.as_ref(), DEFAULT_SIGNAL);
    let own = value_name(&args.signal);
    (own != expected).then(|| {
        let text = format!(
            "Telegraf's signal is '{expected}' and the command's --signal '{own}'; write \
             --signal {expected} in the command, or signal = \"{own}\""
        );
        problem(position, "signal", &text)
    })
}

/// A `signal` that Telegraf does not have.
fn unknown_signal(command: &ExecdCommand) -> Option<Problem> {
    let (expected, position) = setting(command, command.signal.as_ref(), DEFAULT_SIGNAL);
    let names: Vec<String> = Signal::value_variants().iter().map(value_name).collect();
    let text = unknown_value(expected, &names)?;
    Some(problem(position, "signal", &text))
}

/// A `data_format` that ctpulse does not write.
fn unknown_format(command: &ExecdCommand) -> Option<Problem> {
    let (expected, position) = setting(command, command.data_format.as_ref(), DEFAULT_DATA_FORMAT);
    let names: Vec<String> = Format::value_variants().iter().map(value_name).collect();
    let text = unknown_value(expected, &names)?;
    Some(problem(position, "data_format", &text))
}

fn unknown_value(value: &str, names: &[String]) -> Option<String> {
    if names.iter().any(|name| name == value) {
        return None;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let advice = match nearest(value, &names) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("valid: {}", names.join(", ")),
    };
    Some(format!("'{value}' is unknown; {advice}"))
}

fn format_problem(command: &ExecdCommand, args: &ExecdArgs) -> Option<Problem> {
    let (expected, position) = setting(command, command.data_format.as_ref(), DEFAULT_DATA_FORMAT);
    let own = value_name::<Format>(&args.format);
    (own != expected).then(|| {
        let text = format!(
            "Telegraf reads '{expected}' and the command writes '{own}'; write data_format = \
             \"influx\", and no --format in the command"
        );
        problem(position, "data_format", &text)
    })
}

/// The value of a setting and its place, which is the command's where it is not set.
fn setting<'a>(
    command: &ExecdCommand,
    setting: Option<&'a Setting>,
    default: &'a str,
) -> (&'a str, Position) {
    match setting {
        Some(setting) => (&setting.value, setting.position),
        None => (default, command.position),
    }
}

/// The name of a value on the command line.
fn value_name<T: ValueEnum>(value: &T) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::config::SUBCOMMANDS;

    #[test]
    fn a_command_is_known_by_each_subcommand() {
        let cli = Cli::command();
        let names: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, SUBCOMMANDS);
    }
}
