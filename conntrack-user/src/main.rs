//! `ctpulse`: arguments in, exit code out. The library does the rest.

use std::process::ExitCode;

use clap::Parser;
use ctpulse::cli::Cli;

fn main() -> ExitCode {
    match ctpulse::command::dispatch(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            ctpulse::logging::say(log::Level::Error, &format!("{error:#}"));
            if error.is::<ctpulse::command::UsageError>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
