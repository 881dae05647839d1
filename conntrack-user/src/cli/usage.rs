//! The messages about a wrong command line, in the words and the form of all other errors.
//!
//! clap finds what is wrong; its own text has several paragraphs and another prefix.

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Cli;
use crate::config::nearest;

/// What is wrong with the command line of these `words` and a valid form, in one line. The first word
/// is the program's name.
#[must_use]
pub fn message(error: &clap::Error, words: &[String]) -> String {
    let text = |kind| error.get(kind).and_then(as_text);
    let argument =
        || text(ContextKind::InvalidArg).unwrap_or_else(|| "the command line".to_owned());
    let did_you_mean = |kind, otherwise: String| match text(kind) {
        Some(near) => format!("did you mean '{near}'?"),
        None => otherwise,
    };
    let help = || format!("see '{} --help'", command(words));
    match error.kind() {
        ErrorKind::InvalidValue => {
            let names = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(names)) => names.iter().map(String::as_str).collect(),
                _ => Vec::new(),
            };
            let valid = match names.as_slice() {
                [] => None,
                [only] => Some((*only).to_owned()),
                _ => Some(format!("one of {}", names.join(", "))),
            };
            let value = text(ContextKind::InvalidValue).filter(|value| !value.is_empty());
            match (value, valid) {
                (None, valid) => {
                    let valid = valid.map(|valid| format!(": {valid}")).unwrap_or_default();
                    format!("{} needs a value{valid}", argument())
                }
                (Some(value), valid) => {
                    let valid = valid.map_or_else(String::new, |valid| format!(" is not {valid};"));
                    let near = nearest(&value, &names).or_else(|| beginning(&value, &names));
                    let near = near.map_or_else(help, |near| format!("did you mean '{near}'?"));
                    format!("{}: '{value}'{valid} {near}", option_of(&argument()))
                }
            }
        }
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(ToString::to_string);
            let reason = reason.unwrap_or_else(|| "it is not valid".to_owned());
            format!("{}: {reason}", option_of(&argument()))
        }
        ErrorKind::UnknownArgument if is_negative_number(&argument()) => {
            // clap names the first letters of `-5s` only.
            let argument = argument();
            let at = words.iter().position(|word| word.starts_with(&argument));
            let whole = at.map_or(&argument, |at| &words[at]);
            let option = at.and_then(|at| words.get(at.checked_sub(1)?));
            let option = option.filter(|option| option.starts_with('-'));
            let option = option.map_or_else(String::new, |option| format!("{option}: "));
            format!("{option}'{whole}' is negative; write it without the '-'")
        }
        ErrorKind::UnknownArgument => match owner(&argument()) {
            Some(owner) => format!("{} is an option of '{owner}'; {}", argument(), help()),
            None => {
                let near = did_you_mean(ContextKind::SuggestedArg, help());
                format!("unknown argument '{}'; {near}", argument())
            }
        },
        ErrorKind::InvalidSubcommand => {
            let command = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            let near = did_you_mean(ContextKind::SuggestedSubcommand, help());
            format!("unknown command '{command}'; {near}")
        }
        ErrorKind::ArgumentConflict => match text(ContextKind::PriorArg) {
            Some(prior) if prior == argument() => format!("{prior} can be given only once"),
            Some(prior) if error.get(ContextKind::InvalidArg).is_none() => {
                beside_a_command(&prior, words)
            }
            Some(prior) => {
                let other = text(ContextKind::InvalidArg).unwrap_or_else(|| "a command".to_owned());
                format!("{other} cannot be used with {prior}; remove one")
            }
            None => format!("{} cannot be used with a command", argument()),
        },
        ErrorKind::MissingRequiredArgument => {
            let missing = text(ContextKind::InvalidArg).unwrap_or_default();
            let what = match required_by(&missing, words) {
                Some(option) => format!("{option} needs {missing}"),
                None => format!("'{}' needs {missing}", command(words)),
            };
            format!("{what}; {}", help())
        }
        _ => first_line(error),
    }
}

/// The only name that begins with `value`.
fn beginning<'a>(value: &str, names: &[&'a str]) -> Option<&'a str> {
    let mut names = names.iter().filter(|name| name.starts_with(value));
    let first = names.next()?;
    names.next().is_none().then_some(*first)
}

/// The message about an option of `run` with a word behind it that clap takes for a command.
fn beside_a_command(option: &str, words: &[String]) -> String {
    let commands = Cli::command();
    let name = option_of(option);
    if let Some(command) = called_behind_options(&commands, words) {
        let called = command.get_name();
        return match owner(name) {
            Some(owner) if !has_option(command, name) => {
                format!("{name} is an option of '{owner}', not of 'ctpulse {called}'")
            }
            _ => format!("{name} comes behind the command; write 'ctpulse {called} {name} ...'"),
        };
    }
    if name == "--collect" {
        return "--collect takes one word; write all,percpu".to_owned();
    }
    format!("a command cannot be used with {option}; remove one")
}

/// The command among words that begin with options of `run`, whose values may be names of commands.
fn called_behind_options<'a>(
    commands: &'a clap::Command,
    words: &[String],
) -> Option<&'a clap::Command> {
    let takes_value = |word: &str| {
        let is_it = |known: &&clap::Arg| {
            word.strip_prefix("--").is_some_and(|long| known.get_long() == Some(long))
                || known.get_short().is_some_and(|short| word == format!("-{short}"))
        };
        commands.get_arguments().find(is_it).is_some_and(|known| known.get_action().takes_values())
    };
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        if takes_value(word) {
            words.next();
        } else if let Some(command) = commands.find_subcommand(word) {
            return Some(command);
        }
    }
    None
}

/// Whether a command has the option `--NAME`.
fn has_option(command: &clap::Command, name: &str) -> bool {
    command.get_arguments().any(|option| option.get_long() == name.strip_prefix("--"))
}

/// The words without the argument that the error is about, which may hide others; `None` where it is not
/// about one that can be left out.
pub(crate) fn without_fault(error: &clap::Error, words: &[String]) -> Option<Vec<String>> {
    let has_value = match error.kind() {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => true,
        ErrorKind::UnknownArgument => false,
        _ => return None,
    };
    // As in `--interval <TIME>`.
    let argument = error.get(ContextKind::InvalidArg).and_then(as_text)?;
    let name = argument.split([' ', '=']).next()?;
    let command = Cli::command();
    let command = words.get(1).and_then(|word| command.find_subcommand(word)).unwrap_or(&command);
    let known = command.get_arguments().find(|known| name.strip_prefix("--") == known.get_long());
    let short = known.and_then(clap::Arg::get_short).map(|short| format!("-{short}"));
    let is_it = |word: &String| {
        word.split('=').next() == Some(name)
            || short.as_ref().is_some_and(|short| word.starts_with(short))
    };
    let at = words.iter().position(is_it)?;
    let is_alone = words[at] == name || Some(&words[at]) == short.as_ref();
    let end = if has_value && is_alone { at + 2 } else { at + 1 };
    Some([&words[..at], words.get(end..).unwrap_or_default()].concat())
}

/// The command that has the option, which the one that was called does not have; `run` where several do.
fn owner(argument: &str) -> Option<String> {
    let name = argument.split('=').next().filter(|name| name.starts_with("--"))?;
    let commands = Cli::command();
    let has_it = |command: &&clap::Command| has_option(command, name);
    let mut owners: Vec<_> = commands.get_subcommands().filter(has_it).collect();
    owners.sort_by_key(|command| command.get_name() != "run");
    owners.first().map(|command| format!("ctpulse {}", command.get_name()))
}

/// The given option that requires the missing one. clap does not tell.
fn required_by<'a>(missing: &str, words: &'a [String]) -> Option<&'a str> {
    let requiring: &[&str] = match missing.split(' ').next()? {
        "--output" => &["--rotate"],
        "--rotate" => &["--keep"],
        "--advise" => &["--look", "--recording"],
        "--top" => &["--interval", "-i", "--lines"],
        "--replay" => &["--speed"],
        _ => &[],
    };
    words
        .iter()
        .map(|word| word.split('=').next().unwrap_or(word))
        .find(|word| requiring.contains(word))
}

/// The name of an option without that of its value: `--count` of `--count <N>`.
fn option_of(argument: &str) -> &str {
    argument.split(" <").next().unwrap_or(argument)
}

fn is_negative_number(argument: &str) -> bool {
    argument.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn as_text(value: &ContextValue) -> Option<String> {
    match value {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) if !texts.is_empty() => Some(texts.join(", ")),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        _ => None,
    }
}

/// The command that was called, as in `ctpulse run`. A subcommand is the first word after the program.
fn command(words: &[String]) -> String {
    let command = Cli::command();
    let called = words.get(1).filter(|word| command.find_subcommand(word).is_some());
    called.map_or_else(|| "ctpulse".to_owned(), |name| format!("ctpulse {name}"))
}

/// clap's own text for what has no words here.
fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn wrong(arguments: &str) -> String {
        let words = ["ctpulse"].into_iter().chain(arguments.split_whitespace());
        // An empty word cannot stand between blanks.
        let words: Vec<String> = words.map(|word| word.replace("''", "")).collect();
        message(&Cli::try_parse_from(&words).unwrap_err(), &words)
    }

    #[test]
    fn each_message_proposes_a_valid_form() {
        for (arguments, expected) in [
            ("--count 0", "--count: '0' is less than 1; write a whole number from 1 on"),
            ("--count x", "--count: 'x' is not a number; write a whole number from 1 on"),
            (
                "-s 5",
                "--sample-interval: '5' is not a duration: it has no unit; write 5s for seconds, or 5ms",
            ),
            ("--rotate 5 --output x", "--rotate: '5' is less than 4K; write for example 5M"),
            ("--rotate 5X --output x", "--rotate: 'X' is not a unit; write for example 64M or 1G"),
            (
                "--keep 0 --rotate 1M --output x",
                "--keep: '0' is less than 1; write a whole number from 1 to 10000",
            ),
            ("--ebpf outo", "--ebpf: 'outo' is not one of auto, on, off; did you mean 'auto'?"),
            ("--ebpf maybe", "--ebpf: 'maybe' is not one of auto, on, off; see 'ctpulse --help'"),
            ("--ebpf", "--ebpf <auto|on|off> needs a value: one of auto, on, off"),
            ("--interval", "--interval <DURATION> needs a value"),
            (
                "--collect al",
                "--collect: 'al' is not one of all, percpu, none; did you mean 'all'?",
            ),
            (
                "--sample-intervall 1s",
                "unknown argument '--sample-intervall'; did you mean '--sample-interval'?",
            ),
            ("run --nonsense", "unknown argument '--nonsense'; see 'ctpulse run --help'"),
            ("doctr", "unknown command 'doctr'; did you mean 'doctor'?"),
            ("--once --count 3", "--once cannot be used with --count <N>; remove one"),
            ("--once --once", "--once can be given only once"),
            ("--once extra", "a command cannot be used with --once; remove one"),
            ("--collect all percpu", "--collect takes one word; write all,percpu"),
            (
                "--interval 1s live",
                "--interval comes behind the command; write 'ctpulse live --interval ...'",
            ),
            (
                "--netns run -i 1s live",
                "--netns comes behind the command; write 'ctpulse live --netns ...'",
            ),
            (
                "--output x report f",
                "--output is an option of 'ctpulse run', not of 'ctpulse report'",
            ),
            ("--once live", "--once is an option of 'ctpulse run', not of 'ctpulse live'"),
            (
                "-i 1.5.5s",
                "--interval: '1.5.5s' is not a duration: '1.5.5' is not a number; write for example 10s, \
                 1m30s or 500ms",
            ),
            ("-n -5", "-n: '-5' is negative; write it without the '-'"),
            ("-i -5s", "-i: '-5s' is negative; write it without the '-'"),
            ("--signal STDIN", "--signal is an option of 'ctpulse execd'; see 'ctpulse --help'"),
            ("--advise", "--advise is an option of 'ctpulse doctor'; see 'ctpulse --help'"),
            ("drops --by=source", "--by is an option of 'ctpulse top'; see 'ctpulse drops --help'"),
            ("live --once", "--once is an option of 'ctpulse run'; see 'ctpulse live --help'"),
            ("--rotate 1M", "--rotate needs --output <FILE>; see 'ctpulse --help'"),
            ("-n 1.5", "--count: '1.5' is not a whole number; write a whole number from 1 on"),
            (
                "-n 99999999999999999999",
                "--count: '99999999999999999999' is more than 18446744073709551615; write a whole number from 1 on",
            ),
            (
                "-d 0",
                "--duration: '0' is not a positive time; write for example 10s, 1m30s or 500ms",
            ),
            (
                "drops -d 0s",
                "--duration: '0s' is not a positive time; write for example 10s, 1m30s or 500ms",
            ),
            (
                "drops --top cause -i 0ms",
                "--interval: '0ms' is not a positive time; write for example 10s, 1m30s or 500ms",
            ),
            (
                "doctor --advise --look 0s",
                "--look: '0s' is not a positive time; write for example 10s, 1m30s or 500ms",
            ),
            ("-i ''", "--interval: '' is not a duration; write for example 10s, 1m30s or 500ms"),
            (
                "--format JSON",
                "--format: 'JSON' is not one of influx, json, prometheus, csv, table; did you mean 'json'?",
            ),
            (
                "report --format yaml f",
                "--format: 'yaml' is not one of text, json; see 'ctpulse report --help'",
            ),
            (
                "drops --format yaml",
                "--format: 'yaml' is not one of human, json; see 'ctpulse drops --help'",
            ),
            (
                "execd --signal HUP",
                "--signal: 'HUP' is not one of none, STDIN, SIGHUP, SIGUSR1, SIGUSR2; see 'ctpulse execd --help'",
            ),
            (
                "--format prom",
                "--format: 'prom' is not one of influx, json, prometheus, csv, table; did you mean 'prometheus'?",
            ),
            ("--compat Telegraf", "--compat: 'Telegraf' is not telegraf; did you mean 'telegraf'?"),
            ("--compat other", "--compat: 'other' is not telegraf; see 'ctpulse --help'"),
            ("live --replay", "--replay <FILE> needs a value"),
            ("drops --interval 5s", "--interval needs --top <KEYS>; see 'ctpulse drops --help'"),
            (
                "config",
                "'ctpulse config' needs <--print-default|--check <FILE>>; see 'ctpulse config --help'",
            ),
            ("report", "'ctpulse report' needs <FILE>...; see 'ctpulse report --help'"),
            ("drops --top caus", "--top: 'caus' is not a key; did you mean cause?"),
            (
                "drops --lines x --top cause",
                "--lines: 'x' is not a number; write a whole number from 1 on",
            ),
            ("report --bursts x f", "--bursts: 'x' is not a number; write a whole number"),
        ] {
            assert_eq!(wrong(arguments), expected, "{arguments}");
        }
    }

    #[test]
    fn a_message_is_one_line() {
        for arguments in
            ["--count -1", "--netns", "--netns pid:x", "live --speed x --replay f", "man a b"]
        {
            let message = wrong(arguments);
            assert!(!message.contains('\n') && !message.starts_with("error"), "{message}");
        }
    }
}
