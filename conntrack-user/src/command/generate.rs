//! `ctpulse completions`, and printing what the program has in it.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::completion_script;
use crate::output::StandardOutput;

pub(super) fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let script = completion_script(shell).with_context(|| format!("no completions for {shell}"))?;
    print_quietly(&script)
}

/// Prints to standard output; a reader that has gone is no error.
pub(super) fn print_quietly(text: &[u8]) -> anyhow::Result<ExitCode> {
    match StandardOutput::open().and_then(|mut out| out.write_all(text)) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
