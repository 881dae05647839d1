//! `cargo xtask mutants`: changes the code, one place at a time, and runs the tests on each change.
//!
//! A change that no test notices is a gap in the tests. `.cargo/mutants.toml` lists the code, the tests
//! and, with the reasons, the changes that no test can notice. All mutants take days on a small machine:
//! `--shard` takes an even sample of them. This is no part of CI.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::tools;
use crate::workspace::{self, shown};

const VERSION: &str = "27.1.0";

/// The least share of the mutants that the tests must notice, in percent.
const LEAST_CAUGHT: f64 = 95.0;

/// Options of `cargo xtask mutants`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Test only one of so many equal parts: 0/100 is the first hundredth
    #[arg(long, value_name = "PART/PARTS", default_value = "0/1")]
    shard: String,
    /// Change only files with this glob pattern, such as '**/accumulate/*.rs'
    #[arg(long, value_name = "PATTERN")]
    file: Option<String>,
    /// How many builds run at once
    #[arg(long, default_value_t = 1)]
    jobs: u32,
}

/// Tests the mutants and prints those that no test noticed; exit code 1 when these are too many.
///
/// # Errors
/// cargo-mutants cannot be built or started, or the tests fail without a change.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let program = match tools::find("cargo-mutants")? {
        Some(program) => program,
        None => tools::cargo_program("cargo-mutants", VERSION)?,
    };
    let directory = workspace::root().join("target/mutants");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let mut mutants = std::process::Command::new(program);
    mutants.current_dir(workspace::root()).arg("mutants").arg("--output").arg(&directory);
    // Neighbouring mutants are of one function: parts of equal difficulty take each n-th.
    mutants.args(["--sharding", "round-robin", "--shard", &options.shard]);
    mutants.args(["--jobs", &options.jobs.to_string()]);
    if let Some(pattern) = &options.file {
        mutants.args(["--file", pattern]);
    }
    eprintln!("xtask: {}", shown(&mutants));
    let status = mutants.status().context("cannot start cargo-mutants")?;
    // 2: a mutant was missed; 3: one did not end.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        bail!("`{}` failed ({status}): do the tests pass without a change?", shown(&mutants));
    }
    let outcome = Outcome::read(&directory.join("mutants.out"))?;
    println!("{}", outcome.summary());
    Ok(if outcome.is_enough() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the tests said of the mutants.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// Mutants that a test noticed, or that did not end.
    caught: usize,
    /// Mutants that do not build, which say nothing.
    unviable: usize,
    /// The mutants that no test noticed, each as its place and its change.
    missed: Vec<String>,
}

impl Outcome {
    /// Reads the lists that cargo-mutants wrote.
    ///
    /// # Errors
    /// A list is missing.
    fn read(directory: &Path) -> anyhow::Result<Self> {
        let list = |name: &str| -> anyhow::Result<Vec<String>> {
            let file = directory.join(name);
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            Ok(text.lines().map(str::to_owned).collect())
        };
        Ok(Self {
            caught: list("caught.txt")?.len() + list("timeout.txt")?.len(),
            unviable: list("unviable.txt")?.len(),
            missed: list("missed.txt")?,
        })
    }

    /// The share of the mutants that build and that a test noticed, in percent; `None` without any.
    fn caught_percent(&self) -> Option<f64> {
        let all = self.caught + self.missed.len();
        (all > 0).then(|| 100.0 * self.caught as f64 / all as f64)
    }

    fn is_enough(&self) -> bool {
        self.caught_percent().is_some_and(|caught| caught >= LEAST_CAUGHT)
    }

    fn summary(&self) -> String {
        let all = self.caught + self.missed.len();
        let share = match self.caught_percent() {
            Some(percent) => format!("{} of {all} caught ({percent:.1}%)", self.caught),
            None => "no mutant builds".to_owned(),
        };
        let survivors: String =
            self.missed.iter().map(|place| format!("\nmissed: {place}")).collect();
        format!("mutants: {share}, {} did not build{survivors}", self.unviable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(caught: usize, missed: usize) -> Outcome {
        let missed = (0..missed).map(|line| format!("rows/mod.rs:{line}: replace / with *"));
        Outcome { caught, unviable: 3, missed: missed.collect() }
    }

    #[test]
    fn five_percent_may_be_missed_and_nothing_is_no_success() {
        assert!(outcome(95, 5).is_enough());
        assert!(!outcome(94, 6).is_enough());
        assert!(!outcome(0, 0).is_enough());
    }

    #[test]
    fn the_lists_of_cargo_mutants_become_a_summary() {
        let directory = tempfile::tempdir().unwrap();
        for (name, lines) in [
            ("caught.txt", "a\nb\n"),
            ("timeout.txt", "c\n"),
            ("unviable.txt", ""),
            ("missed.txt", "src/x.rs:1:2: replace < with <= in f\n"),
        ] {
            fs::write(directory.path().join(name), lines).unwrap();
        }
        let outcome = Outcome::read(directory.path()).unwrap();
        assert_eq!(
            outcome.summary(),
            "mutants: 3 of 4 caught (75.0%), 0 did not build\n\
             missed: src/x.rs:1:2: replace < with <= in f"
        );
        fs::remove_file(directory.path().join("missed.txt")).unwrap();
        assert!(Outcome::read(directory.path()).is_err());
    }
}
