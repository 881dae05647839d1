//! Completion of the command line: what the scripts of `ctpulse completions` ask this program for.
//!
//! The scripts call ctpulse itself with a variable set, so that they never differ from its options
//! and know this host's namespaces and users. clap's engine does the rest.

use std::ffi::OsStr;
use std::io;

use clap::CommandFactory;
use clap_complete::CompleteEnv;
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use clap_complete::env::{self, Shells};

use super::Cli;
use super::bash::Bash;
use super::zsh::Zsh;
use crate::text::sanitize::shown;

/// The variable by which a script asks for candidates; its value is the shell's name.
const VARIABLE: &str = "_CTPULSE_COMPLETE";

/// The shells with scripts. Those of clap for bash and zsh insert names with special characters as they
/// are, and that for bash completes no `--option=VALUE`.
const SHELLS: Shells<'_> = Shells(&[&Bash, &env::Elvish, &env::Fish, &env::Powershell, &Zsh]);

/// The directory with the namespaces that have a name.
const NAMED_NAMESPACES: &str = "/run/netns";

/// Prints candidates and ends the process, where a completion script called it.
pub fn answer_script() {
    let answer = CompleteEnv::with_factory(Cli::command).shells(SHELLS);
    answer.var(VARIABLE).completer("ctpulse").complete();
}

/// The script that makes `shell` ask this program.
///
/// # Errors
/// When the shell has no script.
pub fn script(shell: clap_complete::Shell) -> io::Result<Vec<u8>> {
    let name = shell.to_string();
    let completer = SHELLS.completer(&name).ok_or(io::ErrorKind::Unsupported)?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "ctpulse", "ctpulse", "ctpulse", &mut script)?;
    Ok(script)
}

/// Completes `--netns`: named namespaces, `self`, `pid:`, or a path once there is a `/`.
pub(super) fn namespaces() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let text = current.to_string_lossy();
        if text.contains('/') {
            return PathCompleter::any().complete(current);
        }
        if text.starts_with("pid:") {
            return processes(&text);
        }
        let mut names: Vec<String> = std::fs::read_dir(NAMED_NAMESPACES)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        let forms = [("self", "the namespace of this process"), ("pid:", "of the process N")];
        let forms = forms.map(|(form, help)| candidate(form).help(Some(help.into())));
        let names = names.iter().map(|name| candidate(name));
        names.chain(forms).filter(|it| starts_with(it, &text)).collect()
    })
}

/// The processes of this host whose form `pid:N` begins with `text`, with their names.
fn processes(text: &str) -> Vec<CompletionCandidate> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let offered = numbers.filter(|number| format!("pid:{number}").starts_with(text));
    let named = offered.map(|number| {
        let name = std::fs::read_to_string(format!("/proc/{number}/comm")).unwrap_or_default();
        let name = shown(name.trim_end()).into_owned();
        candidate(&format!("pid:{number}")).help(Some(name.into()))
    });
    named.collect()
}

/// Completes `--user`: the users of this host.
pub(super) fn users() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let names = users.lines().filter_map(|line| line.split(':').next());
        let text = current.to_string_lossy();
        names.map(candidate).filter(|it| starts_with(it, &text)).collect()
    })
}

/// Completes a list of `words` with commas; each of them stands in it once, and `none` alone.
pub(super) fn list(words: &'static [&'static str]) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let text = current.to_string_lossy();
        let (before, last) = text.rsplit_once(',').map_or(("", &*text), |(a, b)| (a, b));
        let is_new = |word: &&&str| {
            !before.split(',').any(|present| present == **word)
                && (before.is_empty() || **word != "none")
        };
        let words = words.iter().filter(is_new).filter(|word| word.starts_with(last));
        let joined = |word: &&str| match before {
            "" => candidate(word),
            _ => candidate(&format!("{before},{word}")),
        };
        words.map(joined).collect()
    })
}

fn candidate(text: &str) -> CompletionCandidate {
    CompletionCandidate::new(text)
}

fn starts_with(candidate: &CompletionCandidate, text: &str) -> bool {
    candidate.get_value().to_string_lossy().starts_with(text)
}
