//! `ctpulse doctor --advise`: samples for some seconds, or reads a recording, and prints findings.
//!
//! A live look is a recording too, made in memory: both are read by the same code and judged by
//! the same rules.

mod followed;
mod look;
mod recorded;

use std::fmt::Write;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::advice::{Evidence, Finding, Severity, advise};
use crate::cli::DoctorArgs;
use crate::command::generate::print_quietly;
use crate::logging;
use crate::text::colour;
use crate::text::sanitize::shown;

/// The exit code where it is not known whether anything is lost.
const UNKNOWN: u8 = 3;

pub(in crate::command) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    logging::start(logging::LogReader::Person, log::LevelFilter::Warn);
    if args.recording.is_none() {
        super::check_namespaces(args)?;
    }
    let evidence = match &args.recording {
        Some(path) => recorded::evidence(path),
        None => look::evidence(args),
    };
    let evidence: Vec<(String, Evidence)> = match evidence {
        Ok(evidence) => evidence,
        // An exit code of 1 would mean that something is lost.
        Err(error) => {
            logging::say(log::Level::Error, &format!("{error:#}"));
            return Ok(ExitCode::from(UNKNOWN));
        }
    };
    let colour = colour::suits(&std::io::stdout());
    let mut text = String::new();
    let mut worst = Severity::Good;
    for (name, evidence) in &evidence {
        if !name.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}");
        }
        let findings = advise(evidence);
        worst = findings.iter().map(|finding| finding.severity).fold(worst, Severity::max);
        findings.iter().for_each(|finding| print(&mut text, finding, colour));
    }
    print_quietly(text.as_bytes())?;
    Ok(match worst {
        Severity::Good | Severity::Warning => ExitCode::SUCCESS,
        Severity::Unknown => ExitCode::from(UNKNOWN),
        Severity::Problem => ExitCode::FAILURE,
    })
}

fn print(text: &mut String, finding: &Finding, colour: bool) {
    let (mark, hue) = match finding.severity {
        Severity::Problem => ("!!", AnsiColor::Red),
        Severity::Unknown => ("??", AnsiColor::Magenta),
        Severity::Warning => ("! ", AnsiColor::Yellow),
        Severity::Good => ("ok", AnsiColor::Green),
    };
    let style = if colour { Style::new().fg_color(Some(hue.into())) } else { Style::new() };
    let Finding { title, evidence, remedies, see, .. } = finding;
    // Reasons may quote names of a file.
    let _ = writeln!(text, "{style}{mark}{style:#}  {title}\n    {}", shown(evidence));
    for remedy in remedies {
        let _ = writeln!(text, "    -> {}", shown(remedy));
    }
    if !remedies.is_empty() {
        let _ = writeln!(text, "    see {see}");
    }
}
