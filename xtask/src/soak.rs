//! `cargo xtask soak`: one long run at 1,000 samples a second, watched from outside.
//!
//! The run records, compressed and rotated, a row a second of everything and of each CPU. What
//! must not grow is read from `/proc/PID` once a second; what must not be missing is counted in
//! the recording and compared with the numbers that the run reported. The short form, which
//! `cargo xtask test` runs, shows that all of this works and would find a steep leak.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::bench::measure::{Stats, status_kib};
use crate::bench::table::{Figure, Table};
use crate::workspace::{self, run_checked, shown};

/// Options of `cargo xtask soak`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The length of the run
    #[arg(long, default_value_t = 30.0, value_parser = minutes)]
    minutes: f64,
    /// Run the unoptimised build of the tests
    #[arg(long)]
    dev: bool,
}

/// A number of minutes from some seconds on.
fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse::<f64>().ok().filter(|minutes| (0.1..=100_000.0).contains(minutes));
    minutes.ok_or_else(|| format!("'{text}' is not a number of minutes from 0.1 on"))
}

impl Options {
    /// Some seconds, with the build of the tests.
    pub(crate) fn short() -> Self {
        Self { minutes: 0.2, dev: true }
    }
}

const PER_SECOND: f64 = 1000.0;

/// The part of the samples due that must have been taken: a loaded machine misses some.
const TAKEN: f64 = 0.5;

/// The limit of the growth: allocators and the page cache of libraries vary by less than this.
const GROWTH_KIB: f64 = 256.0;

/// Runs, watches, and prints the table; exit code 1 when something grew or is missing.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let ctpulse = if options.dev { workspace::built_by_tests()? } else { build()? };
    let directory = workspace::root().join("target/soak");
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", directory.display()));
        }
        _ => fs::create_dir_all(&directory)?,
    }
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let recording = directory.join("soak.influx.zst");
    eprintln!("soak: {:.0} s at {PER_SECOND}/s into {}", length.as_secs_f64(), recording.display());
    eprintln!("soak: statistics: {}", statistics(&ctpulse)?);
    let soaked = soak(&ctpulse, &recording, length)?;
    eprintln!("soak: probes: {}", soaked.probes);
    let read = read(&ctpulse, &recording)?;
    let mut table = Table::default();
    table.add("soak", figures(&soaked, &read));
    print!("{table}");
    Ok(if table.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build() -> anyhow::Result<PathBuf> {
    let mut build = workspace::cargo();
    build.args(["build", "--release", "--locked", "--package", "ctpulse", "--bin", "ctpulse"]);
    eprintln!("soak: {}", shown(&build));
    if !build.status().context("cannot start cargo")?.success() {
        bail!("`{}` failed", shown(&build));
    }
    Ok(workspace::release_dir()?.join("ctpulse"))
}

/// The source of the statistics, as `doctor` prints it.
fn statistics(ctpulse: &Path) -> anyhow::Result<String> {
    let mut doctor = Command::new(ctpulse);
    // Where statistics are missing it fails, and this line has the reason.
    let output = doctor.arg("doctor").output().with_context(|| shown(&doctor))?;
    let log = String::from_utf8_lossy(&output.stdout);
    let line = log.lines().find_map(|line| line.get(4..)?.strip_prefix("statistics "));
    Ok(line
        .with_context(|| format!("`{}` prints no line about them", shown(&doctor)))?
        .trim()
        .into())
}

/// The line that a run printed about its probes at its start.
fn probes(log: &str) -> String {
    let of_probes = ["probes are on", "probes are off"];
    let is_of_probes = |line: &&str| of_probes.iter().any(|start| line.contains(start));
    log.lines().find(is_of_probes).unwrap_or("no line about them").to_owned()
}

/// The resources of a process.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Held {
    resident_kib: f64,
    descriptors: usize,
    threads: f64,
}

impl Held {
    /// Reads the resources of the process `pid`.
    fn of(pid: u32) -> anyhow::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
        Ok(Self {
            resident_kib: status_kib(&status, "VmRSS:").context("it has ended")?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            threads: threads.context("it has no threads")?.trim().parse()?,
        })
    }
}

/// The observations of a run.
#[derive(Debug)]
struct Soaked {
    /// From the first sample to the end.
    length: Duration,
    /// Once a second, after the run had a tenth of its time (a minute at most) to settle.
    held: Vec<Held>,
    stats: Stats,
    /// The line about the probes.
    probes: String,
}

fn soak(ctpulse: &Path, recording: &Path, length: Duration) -> anyhow::Result<Soaked> {
    let mut command = Command::new(ctpulse);
    command.args(["run", "--sample-interval", "1ms", "--interval", "1s", "--stats"]);
    command.args(["--collect", "all,percpu", "--ebpf", "auto", "--format", "influx"]);
    // So small that files are put aside all the time.
    command.args(["--rotate", "16K", "--keep", "10000", "--output"]).arg(recording);
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", shown(&command)))?;
    let settled = (length / 10).min(Duration::from_secs(60));
    let mut held = Vec::new();
    let mut watched = Ok(());
    while start.elapsed() < length && watched.is_ok() {
        sleep(Duration::from_secs(1));
        match Held::of(child.id()) {
            Ok(now) if start.elapsed() > settled => held.push(now),
            Ok(_) => {}
            Err(error) => watched = Err(error),
        }
    }
    // It may have exited by itself; its status shows this.
    let _ = kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM);
    let length = start.elapsed();
    let mut log = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        std::io::Read::read_to_string(&mut stderr, &mut log)?;
    }
    let status = child.wait()?;
    eprint!("{log}");
    watched.with_context(|| format!("`{}` cannot be watched", shown(&command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(&command));
    }
    let line = log.lines().find(|line| line.starts_with("ticks="));
    let stats = Stats::parse(line.context("it printed no line `ticks=`")?);
    Ok(Soaked { length, held, stats, probes: probes(&log) })
}

/// The output of `report` for the recording.
fn read(ctpulse: &Path, recording: &Path) -> anyhow::Result<Value> {
    let mut report = Command::new(ctpulse);
    let text = run_checked(report.args(["report", "--format", "json"]).arg(recording))?;
    Ok(serde_json::from_str(&text)?)
}

fn figures(soaked: &Soaked, report: &Value) -> anyhow::Result<Vec<Figure>> {
    let [first, .., last] = &soaked.held[..] else { bail!("it was too short to be watched") };
    let most = |of: fn(&Held) -> f64| soaked.held.iter().map(of).fold(0.0, f64::max);
    let resident = most(|held| held.resident_kib);
    let descriptors = |held: &Held| held.descriptors as f64;
    let seconds = soaked.length.as_secs_f64();
    let (ticks, missed) = (soaked.stats.get("ticks")?, soaked.stats.get("missed")?);
    let due = PER_SECOND * seconds;
    let unaccounted = due - ticks - missed;
    let source = &report["sources"][0];
    let number = |value: &Value| value.as_f64().with_context(|| format!("no number: {value}"));
    let emissions = number(&source["emissions"])?;
    let bad_lines = number(&report["recording"]["bad_lines"])?;
    let lost = soaked.stats.get("rows_lost")? + number(&source["losses"]["rows_lost"])?;
    let reported = number(&source["losses"]["samples_missed"])?;
    Ok(vec![
        Figure::value("seconds", "s", seconds),
        Figure::value("resident memory, at most", "MiB", resident / 1024.0),
        Figure::value("its growth", "KiB", resident - first.resident_kib).below(GROWTH_KIB),
        Figure::value("descriptors, growth", "", descriptors(last) - descriptors(first))
            .at_most(0.0),
        Figure::value("descriptors, at most", "", most(|held| held.descriptors as f64)),
        Figure::value("threads, growth", "", last.threads - first.threads).at_most(0.0),
        Figure::ratio("samples, of those due", "", ticks, due).at_least_times(TAKEN),
        Figure::value("samples missed", "", missed),
        // A start and an end take some milliseconds.
        Figure::value("samples unaccounted for", "", unaccounted.abs()).at_most(PER_SECOND / 10.0),
        Figure::value("misses not reported in the rows", "", missed - reported).at_most(PER_SECOND),
        Figure::value("rows lost", "", lost).at_most(0.0),
        Figure::value("emissions in the recording", "", emissions),
        Figure::value("emissions missing there", "", seconds.floor() - emissions).at_most(1.0),
        Figure::value("bad lines there", "", bad_lines).at_most(0.0),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Whether a run of 100 s that ended with this would pass.
    fn passes(last: Held, stats: &str, reported: f64, emissions: u32) -> bool {
        let first = Held { resident_kib: 5000.0, descriptors: 14, threads: 4.0 };
        let soaked = Soaked {
            length: Duration::from_secs(100),
            held: vec![first, last],
            stats: Stats::parse(stats),
            probes: String::new(),
        };
        let losses = json!({ "rows_lost": 0.0, "samples_missed": reported });
        let report = json!({
            "recording": { "bad_lines": 0 },
            "sources": [{ "emissions": emissions, "losses": losses }],
        });
        let mut table = Table::default();
        table.add("soak", figures(&soaked, &report));
        table.is_ok()
    }

    #[test]
    fn what_grows_or_is_missing_does_not_pass() {
        let same = Held { resident_kib: 5100.0, descriptors: 14, threads: 4.0 };
        let stats = "ticks=99900 missed=100 rows_lost=0";
        assert!(passes(same, stats, 100.0, 101));
        assert!(!passes(Held { resident_kib: 5300.0, ..same }, stats, 100.0, 101));
        assert!(!passes(Held { descriptors: 15, ..same }, stats, 100.0, 101));
        assert!(!passes(Held { threads: 5.0, ..same }, stats, 100.0, 101));
        assert!(!passes(same, "ticks=99000 missed=100 rows_lost=0", 100.0, 101));
        assert!(!passes(same, "ticks=98000 missed=2000 rows_lost=0", 100.0, 101));
        assert!(passes(same, "ticks=51000 missed=49000 rows_lost=0", 49000.0, 101));
        assert!(!passes(same, "ticks=49000 missed=51000 rows_lost=0", 51000.0, 101));
        assert!(!passes(same, "ticks=99900 missed=100 rows_lost=1", 100.0, 101));
        assert!(!passes(same, stats, 100.0, 98));
    }

    #[test]
    fn what_is_said_of_probes_is_found() {
        let log = "ctpulse: probes are on, attached to 9 hooks\nticks=1";
        assert_eq!(probes(log), "ctpulse: probes are on, attached to 9 hooks");
        let log = "ctpulse: probes are off: this kernel has no kprobes; new, delete unknown";
        assert_eq!(probes(log), log);
    }
}
