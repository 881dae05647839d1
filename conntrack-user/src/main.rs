//! `ctpulse`: arguments in, exit code out. The library does the rest.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use ctpulse::cli::{Cli, answer_script, usage};
use ctpulse::command::{UsageError, error_lines, hang_up};
use ctpulse::logging;
use ctpulse::output::StandardOutput;
use log::Level;

/// The exit status of a wrong command line.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    answer_script();
    hang_up::hold();
    match Cli::try_parse() {
        Ok(cli) => ctpulse::command::dispatch(cli).unwrap_or_else(|error| report(&error)),
        Err(error) if error.use_stderr() => {
            let words: Vec<String> =
                std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
            say(&logging::divided(Level::Error, &usage::message(&error, &words)));
            ExitCode::from(WRONG_USAGE)
        }
        // A help text or the version.
        Err(text) => match print(&text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let error = format!("cannot write to standard output: {error}");
                logging::say(Level::Error, &error);
                ExitCode::FAILURE
            }
            _ => ExitCode::SUCCESS,
        },
    }
}

fn print(text: &clap::Error) -> io::Result<()> {
    // Where it was closed, clap would print to what was opened in its place.
    StandardOutput::open()?;
    text.print()?;
    io::stdout().flush()
}

/// Prints an error, a line for each problem, and returns the exit status that it means.
fn report(error: &anyhow::Error) -> ExitCode {
    say(&error_lines(error));
    if error.is::<UsageError>() { ExitCode::from(WRONG_USAGE) } else { ExitCode::FAILURE }
}

fn say(lines: &[(Level, String)]) {
    lines.iter().for_each(|(level, line)| logging::say(*level, line));
}
