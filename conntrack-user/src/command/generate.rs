//! `ctpulse completions`, and printing what the program has in it.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::completion_script;

pub(super) fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let script = completion_script(shell).with_context(|| format!("no completions for {shell}"))?;
    print_quietly(&script)
}

/// Prints to standard output; a reader that has gone is no error.
pub(super) fn print_quietly(text: &[u8]) -> anyhow::Result<ExitCode> {
    match io::stdout().write_all(text).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
