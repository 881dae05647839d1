//! `cargo xtask pictures`: the pictures in README.md, made from the program and a fixture.
//!
//! `terminal` runs `ctpulse live --replay` in a pseudo-terminal and returns its last screen,
//! `screen` draws a screen as SVG, and `page` takes the plots out of the page of `report --html`.
//! The same program and the same recording give the same bytes, so `--check` compares the
//! committed files with the output.

mod page;
mod screen;
mod terminal;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::workspace::{self, run_checked, shown};

/// The recording in both pictures.
const RECORDING: &str = "fixtures/recordings/burst.influx";

/// The directory of the pictures, from the repository's root.
const DIRECTORY: &str = "docs/images";

/// Options of `cargo xtask pictures`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Write nothing; exit with 1 where a committed picture differs from the program's output
    #[arg(long)]
    check: bool,
}

/// A picture: its file name and its SVG text.
struct Picture {
    name: &'static str,
    svg: String,
}

/// Builds the program, draws the pictures, then writes or compares them.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let ctpulse = build()?;
    if options.check {
        return check(&ctpulse);
    }
    let directory = workspace::root().join(DIRECTORY);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    for Picture { name, svg } in draw(&ctpulse)? {
        let file = directory.join(name);
        fs::write(&file, svg).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("pictures: {DIRECTORY}/{name} written");
    }
    Ok(ExitCode::SUCCESS)
}

/// Compares the committed pictures with the output of `ctpulse`; exit code 1 when one differs.
pub(crate) fn check(ctpulse: &Path) -> anyhow::Result<ExitCode> {
    let differing = differing(&workspace::root().join(DIRECTORY), &draw(ctpulse)?);
    for name in &differing {
        eprintln!("pictures: {DIRECTORY}/{name} differs from the program's output");
    }
    if differing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("pictures: run `cargo xtask pictures`, view the files, and commit them");
    Ok(ExitCode::FAILURE)
}

/// The names of the pictures that `directory` lacks or has with other contents.
fn differing(directory: &Path, pictures: &[Picture]) -> Vec<&'static str> {
    let is_other = |picture: &&Picture| {
        fs::read_to_string(directory.join(picture.name)).ok().as_ref() != Some(&picture.svg)
    };
    pictures.iter().filter(is_other).map(|picture| picture.name).collect()
}

fn draw(ctpulse: &Path) -> anyhow::Result<[Picture; 2]> {
    let screen = terminal::last_screen(ctpulse, RECORDING)?;
    let live = screen::svg(&screen, &format!("ctpulse live --replay {RECORDING}"));
    let report = page::svg(&report(ctpulse)?)?;
    Ok([Picture { name: "live.svg", svg: live }, Picture { name: "report.svg", svg: report }])
}

/// Builds the program without optimisation.
fn build() -> anyhow::Result<PathBuf> {
    let mut build = workspace::cargo();
    build.args(["build", "--locked", "--package", "ctpulse", "--bin", "ctpulse"]);
    if !build.status().context("cannot start cargo")?.success() {
        bail!("`{}` failed", shown(&build));
    }
    Ok(workspace::release_dir()?.with_file_name("debug").join("ctpulse"))
}

/// The page of `ctpulse report --html`.
fn report(ctpulse: &Path) -> anyhow::Result<String> {
    let file = workspace::root().join("target/pictures.html");
    let mut report = Command::new(ctpulse);
    report.current_dir(workspace::root()).args(["report", RECORDING, "--html"]).arg(&file);
    run_checked(&mut report)?;
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_and_a_changed_picture_differ() {
        let directory = tempfile::tempdir().unwrap();
        let picture = |name, svg: &str| Picture { name, svg: svg.to_owned() };
        let pictures = [picture("a", "1"), picture("b", "2"), picture("c", "3")];
        fs::write(directory.path().join("a"), "1").unwrap();
        fs::write(directory.path().join("b"), "1").unwrap();
        assert_eq!(differing(directory.path(), &pictures), ["b", "c"]);
    }
}
