//! `cargo xtask fuzz`: runs the fuzz targets of tests/fuzz, one after the other.
//!
//! cargo-fuzz is built into `.cache/cargo-fuzz`, and it builds the targets with the stable compiler. A
//! sanitizer would need a nightly compiler, and the parsers have no `unsafe` for it to check. Inputs that
//! reach new code, and inputs that fail, are written to `.cache/fuzz`. Copy the useful ones to
//! tests/fuzz/corpus: the test `corpus` runs the same functions on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::tools;
use crate::workspace::{self, shown};

const VERSION: &str = "0.13.2";

/// The maximum length of an input in bytes. Rows are not longer, and the fuzzer tries more short inputs.
const LONGEST: u32 = 4096;

/// Options of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Run this target only, instead of all of them
    target: Option<String>,
}

/// Runs the targets and prints how many inputs each was given; exit code 1 when one failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let root = workspace::root();
    let names = names(&root, options.target.as_deref())?;
    if tools::find("c++")?.is_none() {
        bail!("the fuzzer cannot be built here: libFuzzer needs a C++ compiler (apt install g++)");
    }
    let fuzzer = Fuzzer { program: tools::cargo_program("cargo-fuzz", VERSION)?, root };
    let mut lines = Vec::new();
    let mut all_held = true;
    for name in names {
        eprintln!("fuzz: {name}, {} s", options.seconds);
        let tried = fuzzer.run(&name, options.seconds)?;
        lines.push(match tried {
            Some(inputs) => format!("{name:12}  {inputs:>12} inputs"),
            None => format!("{name:12}  FAILED, see {}", fuzzer.found(&name).display()),
        });
        all_held &= tried.is_some();
    }
    println!("{}", lines.join("\n"));
    Ok(if all_held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the names of the targets in order, or only the given one.
fn names(root: &Path, only: Option<&str>) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("tests/fuzz/fuzz_targets"))? {
        names.extend(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort_unstable();
    match only {
        Some(only) if !names.iter().any(|name| name == only) => {
            bail!("unknown target '{only}'; the targets are {}", names.join(", "))
        }
        Some(only) => Ok(vec![only.to_owned()]),
        None => Ok(names),
    }
}

struct Fuzzer {
    program: PathBuf,
    root: PathBuf,
}

impl Fuzzer {
    /// The directory of the new inputs of a target.
    fn found(&self, name: &str) -> PathBuf {
        self.root.join(".cache/fuzz").join(name)
    }

    /// Runs libFuzzer for `seconds`. Returns the number of inputs, or `None` if one failed.
    fn run(&self, name: &str, seconds: u64) -> anyhow::Result<Option<u64>> {
        let (found, kept) = (self.found(name), self.root.join("tests/fuzz/corpus").join(name));
        for directory in [&found, &kept] {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let mut command = Command::new(&self.program);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", self.root.join("target/fuzz"));
        command.args(["run", "--fuzz-dir", "tests/fuzz", "--sanitizer", "none", name]);
        // libFuzzer writes new inputs to the first directory.
        command.arg(&found).arg(&kept);
        command.arg("--").arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
        command.arg(format!("-max_len={LONGEST}")).arg("-timeout=25").arg("-rss_limit_mb=1024");
        command.arg(format!("-artifact_prefix={}/", found.display()));
        let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot start {}", shown(&command)))?;
        let log = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return Ok(Some(executed(&log).unwrap_or(0)));
        }
        eprintln!("{log}");
        if !log.contains("libFuzzer") && !log.contains("INFO: Seed") {
            bail!("`{}` failed ({})", shown(&command), output.status);
        }
        Ok(None)
    }
}

/// The number of inputs that libFuzzer reports in its final statistics.
fn executed(log: &str) -> Option<u64> {
    let line = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    line?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_inputs_is_in_the_final_statistics() {
        let log = "Done 7 runs\nstat::number_of_executed_units: 123456\nstat::x: 1\n";
        assert_eq!(executed(log), Some(123_456));
        assert_eq!(executed("Done 7 runs"), None);
    }

    #[test]
    fn targets_are_known_by_their_files() {
        let root = workspace::root();
        assert!(names(&root, None).unwrap().contains(&"stat_text".to_owned()));
        assert_eq!(names(&root, Some("btf")).unwrap(), ["btf"]);
        assert!(names(&root, Some("nosuch")).unwrap_err().to_string().contains("stat_text"));
    }
}
