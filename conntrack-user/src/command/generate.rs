//! `ctpulse completions` and `ctpulse man`: made from the command line's own definitions.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap::builder::{Resettable, Str};

use crate::cli::{Cli, ENVIRONMENT, EXAMPLES, EXIT_STATUS, live_keys};
use crate::version::VERSION;

pub(super) fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ctpulse", &mut script);
    print_quietly(&script)
}

pub(super) fn man(output: Option<&Path>) -> anyhow::Result<ExitCode> {
    // The pages tell the program's version only, so that they are the same from every commit;
    // `help` has no page of its own.
    let long_version = Resettable::<Str>::Reset;
    let mut command = Cli::command().version(VERSION).long_version(long_version);
    command = command.disable_help_subcommand(true);
    command.build();
    let Some(dir) = output else {
        return print_quietly(&page(&command)?);
    };
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for command in command.get_subcommands().chain([&command]) {
        let path = dir.join(format!("{}.1", name(command)));
        std::fs::write(&path, page(command)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a command's page is called.
fn name(command: &clap::Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

/// One page: clap's sections, then our own in place of its unformatted last one.
fn page(command: &clap::Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone());
    // clap's own title has no date, and its neighbour is then taken for one. There is none that
    // every build of the same sources would agree on.
    let title = name(command).to_uppercase().replace('-', "\\-");
    writeln!(page, ".TH \"{title}\" 1 \"\" \"ctpulse {VERSION}\" \"User Commands\"")?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    // Set line by line, as in `--help`; hyphens that are typed, not set.
    let preformatted = |text: &str| text.replace('\\', "\\e").replace('-', "\\-");
    let keys = live_keys();
    let keys = (command.get_name() == "live").then_some(("KEYS", keys.as_str()));
    for (heading, text) in keys.into_iter().chain([
        ("EXAMPLES", EXAMPLES),
        ("ENVIRONMENT", ENVIRONMENT),
        ("EXIT STATUS", EXIT_STATUS),
    ]) {
        write!(page, ".SH {heading}\n.nf\n{}\n.fi\n", preformatted(text))?;
    }
    man.render_version_section(&mut page)?;
    Ok(page)
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
