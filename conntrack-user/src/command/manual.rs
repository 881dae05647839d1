//! `ctpulse man`: a page for each command and one for the configuration file, from the definitions
//! of the command line, the fields, the table's columns and the sample configuration.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap::builder::{Resettable, Str};

use super::generate::print_quietly;
use super::roff::Page;
use crate::cli::{
    CAUSES, Cli, DROPS_EXAMPLES, ENVIRONMENT, EXAMPLES, EXIT_STATUS, FILES, REPORT_EXAMPLES,
    TOP_EXAMPLES, live_keys, reasons, top_keys,
};
use crate::config::SAMPLE;
use crate::format::{described_columns, described_fields};
use crate::version::VERSION;

/// The page of the configuration file.
const CONFIGURATION: &str = "ctpulse.conf";

pub(super) fn run(output: Option<&Path>) -> anyhow::Result<ExitCode> {
    let command = command();
    let Some(dir) = output else {
        return print_quietly(command_page(&command)?.as_bytes());
    };
    let pages = command.get_subcommands().chain([&command]);
    let pages =
        pages.map(|command| Ok((format!("man1/{}.1", name(command)), command_page(command)?)));
    let mut pages = pages.collect::<anyhow::Result<Vec<_>>>()?;
    pages.push((format!("man5/{CONFIGURATION}.5"), configuration_page()));
    for (file, page) in pages {
        let path = dir.join(file);
        let above = path.parent().unwrap_or(dir);
        std::fs::create_dir_all(above)
            .with_context(|| format!("cannot make {}", above.display()))?;
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The command line as the pages show it: with the program's version only, so that they are the
/// same from every commit, and without `help`, which has no page.
fn command() -> clap::Command {
    let long_version = Resettable::<Str>::Reset;
    let command = Cli::command().version(VERSION).long_version(long_version);
    let mut command = command.disable_help_subcommand(true);
    command.build();
    command
}

/// The name of a command's page.
fn name(command: &clap::Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

/// The page of a command: clap's sections, then our own in place of its unformatted last one.
fn command_page(command: &clap::Command) -> anyhow::Result<String> {
    let mut roff = Vec::new();
    let man = clap_mangen::Man::new(command.clone());
    man.render_name_section(&mut roff)?;
    man.render_synopsis_section(&mut roff)?;
    man.render_description_section(&mut roff)?;
    man.render_options_section(&mut roff)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut roff)?;
    }
    let mut page = Page::titled(name(command), 1, VERSION, "User Commands");
    page.raw(&String::from_utf8(roff).context("a page is not UTF-8")?);
    let (keys, of_top, reasons) = (live_keys(), top_keys(), reasons());
    let examples = ("EXAMPLES", EXAMPLES);
    let sections: &[(&str, &str)] = match command.get_name() {
        "ctpulse" | "run" => &[examples, ("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT)],
        "execd" | "doctor" | "config" => &[("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT)],
        "live" => &[("KEYS", &keys), ("ENVIRONMENT", ENVIRONMENT)],
        "drops" => &[
            ("CAUSES", CAUSES),
            ("REASONS OF INVALID PACKETS", &reasons),
            ("EXAMPLES", DROPS_EXAMPLES),
            ("ENVIRONMENT", ENVIRONMENT),
        ],
        "report" => &[("EXAMPLES", REPORT_EXAMPLES)],
        "top" => &[("KEYS", &of_top), ("EXAMPLES", TOP_EXAMPLES), ("ENVIRONMENT", ENVIRONMENT)],
        _ => &[],
    };
    if matches!(command.get_name(), "ctpulse" | "run") {
        columns(&mut page);
    }
    if matches!(command.get_name(), "ctpulse" | "run" | "execd") {
        fields(&mut page);
    }
    for (heading, text) in sections {
        page.section(heading);
        page.preformatted(text);
    }
    page.section("EXIT STATUS");
    page.preformatted(EXIT_STATUS);
    see_also(&mut page, name(command));
    Ok(page.into_text())
}

fn columns(page: &mut Page) {
    page.section("COLUMNS");
    page.paragraph(
        "The table that is printed on a terminal has a line for each emission. A value that is not \
         known is shown as -.",
    );
    for (heading, text) in described_columns() {
        page.definition(&[heading], &text);
    }
}

fn fields(page: &mut Page) {
    page.section("FIELDS");
    page.paragraph(
        "The rows are of the measurement conntrack: one with the table's size and its limit, and, \
         with the tag cpu, one of statistics. A counter NAME also has NAME_rate, its events per \
         second over the emission interval, and NAME_rate_max, the highest rate of any sample \
         interval in it.",
    );
    for (field, text) in described_fields() {
        page.definition(&[field], &text);
    }
}

fn see_also(page: &mut Page, own_name: &str) {
    let command = command();
    let pages = [&command].into_iter().chain(command.get_subcommands());
    let names: Vec<String> = pages
        .map(|command| format!("{}(1)", name(command)))
        .chain([format!("{CONFIGURATION}(5)"), "conntrack(8)".to_owned(), "ip-netns(8)".to_owned()])
        .filter(|page| page.split('(').next() != Some(own_name))
        .collect();
    page.section("SEE ALSO");
    page.paragraph(&names.join(", "));
}

/// The page of the configuration file: the sample's comments, each with the keys that follow.
fn configuration_page() -> String {
    let mut page = Page::titled(CONFIGURATION, 5, VERSION, "File Formats");
    page.section("NAME");
    page.raw("ctpulse.conf \\- configuration of ctpulse\n");
    page.section("DESCRIPTION");
    let mut comment: Vec<&str> = Vec::new();
    let mut keys: Vec<String> = Vec::new();
    for line in SAMPLE.lines().chain([""]) {
        let line = line.trim();
        let text = line.strip_prefix("##").map(str::trim);
        let key = line.trim_start_matches("# ");
        // A comment, an empty line or a table ends the keys that belong to the last comment.
        if (text.is_some() || line.is_empty() || key.starts_with('[')) && !keys.is_empty() {
            page.definition(&std::mem::take(&mut keys), &std::mem::take(&mut comment).join("\n"));
        }
        match text {
            Some("") => paragraph(&mut page, &mut comment),
            Some(text) => comment.push(text),
            None if line.is_empty() => paragraph(&mut page, &mut comment),
            None if line.starts_with('[') => {
                page.section(&format!("\"{key}\""));
                paragraph(&mut page, &mut comment);
            }
            None => keys.push(key.to_owned()),
        }
    }
    for (heading, text) in [
        ("FILES", FILES),
        ("ENVIRONMENT", ENVIRONMENT),
        ("EXAMPLES", "ctpulse config --print-default\nctpulse config --check FILE"),
    ] {
        page.section(heading);
        page.preformatted(text);
    }
    see_also(&mut page, CONFIGURATION);
    page.into_text()
}

fn paragraph(page: &mut Page, comment: &mut Vec<&str>) {
    if !comment.is_empty() {
        page.paragraph(&std::mem::take(comment).join("\n"));
    }
}
