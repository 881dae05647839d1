//! `ctpulse`: arguments in, exit code out. The library does the rest.

use std::process::ExitCode;

use clap::Parser;
use ctpulse::cli::Cli;
use ctpulse::logging;
use ctpulse::plain::shown;

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| refuse(&error));
    match ctpulse::command::dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            logging::say(log::Level::Error, &format!("{error:#}"));
            if error.is::<ctpulse::command::UsageError>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Says what is wrong with the arguments, or the help that they ask for, and ends. What somebody
/// typed, or had typed by a script, is in it.
fn refuse(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    if text.lines().all(|line| shown(line) == line) {
        error.exit();
    }
    text.lines().for_each(|line| eprintln!("{}", shown(line)));
    std::process::exit(error.exit_code());
}
