//! `cargo xtask fuzz`: the fuzz targets of tests/fuzz, one after the other.
//!
//! cargo-fuzz is built into `.cache/cargo-fuzz`, and the targets with it by the stable compiler:
//! without a sanitizer no nightly one is needed, and the parsers have no `unsafe` that it could
//! watch. Inputs that reach something new, and those that fail, go to `.cache/fuzz`; what of them is
//! worth keeping is copied to tests/fuzz/corpus, which an ordinary test feeds to the same functions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::tools;
use crate::workspace::{self, shown};

const VERSION: &str = "0.13.2";

/// The longest input, in bytes: rows are not longer, and short ones are tried more often.
const LONGEST: u32 = 4096;

/// What `cargo xtask fuzz` can be told.
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
        bail!("no fuzzer can be built here: libFuzzer takes a C++ compiler (apt install g++)");
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

/// The targets, in their order.
fn names(root: &Path, wanted: Option<&str>) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("tests/fuzz/fuzz_targets"))? {
        names.extend(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort_unstable();
    match wanted {
        Some(wanted) if !names.iter().any(|name| name == wanted) => {
            bail!("there is no target '{wanted}'; there are {}", names.join(", "))
        }
        Some(wanted) => Ok(vec![wanted.to_owned()]),
        None => Ok(names),
    }
}

struct Fuzzer {
    program: PathBuf,
    root: PathBuf,
}

impl Fuzzer {
    /// Where a target's new inputs are.
    fn found(&self, name: &str) -> PathBuf {
        self.root.join(".cache/fuzz").join(name)
    }

    /// Runs libFuzzer for `seconds`; how many inputs it tried, or `None` if one failed.
    fn run(&self, name: &str, seconds: u64) -> anyhow::Result<Option<u64>> {
        let (found, kept) = (self.found(name), self.root.join("tests/fuzz/corpus").join(name));
        for directory in [&found, &kept] {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let mut command = Command::new(&self.program);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", self.root.join("target/fuzz"));
        command.args(["run", "--fuzz-dir", "tests/fuzz", "--sanitizer", "none", name]);
        // New inputs go to the first.
        command.arg(&found).arg(&kept);
        command.arg("--").arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
        command.arg(format!("-max_len={LONGEST}")).arg("-timeout=25").arg("-rss_limit_mb=1024");
        command.arg(format!("-artifact_prefix={}/", found.display()));
        let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot start {}", shown(&command)))?;
        let told = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return Ok(Some(executed(&told).unwrap_or(0)));
        }
        eprintln!("{told}");
        if !told.contains("libFuzzer") && !told.contains("INFO: Seed") {
            bail!("`{}` failed ({})", shown(&command), output.status);
        }
        Ok(None)
    }
}

/// How many inputs libFuzzer says that it has tried.
fn executed(told: &str) -> Option<u64> {
    let line = told.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    line?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_inputs_is_in_the_final_statistics() {
        let told = "Done 7 runs\nstat::number_of_executed_units: 123456\nstat::x: 1\n";
        assert_eq!(executed(told), Some(123_456));
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
