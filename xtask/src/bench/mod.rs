//! `cargo xtask bench`: ctpulse against the least that its work can cost.
//!
//! Every figure is a ratio to a reference that runs in the same invocation, in turns with
//! ctpulse, or an absolute bar. `measure` runs processes and takes numbers, `events` has those of
//! the probes from a virtual machine, `host` has a few of them from this machine's kernel, `table` compares them with their limits and prints them; this file selects the measurements and
//! their length. None of it runs in
//! `cargo test`: a test that asserts a time fails on a busy machine.

mod events;
mod host;
mod live;
pub(crate) mod measure;
mod report;
pub(crate) mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, bail};

use self::measure::{Finished, Stats, first_byte, resident, run_to_end};
use self::table::{Figure, Table};
use crate::architecture::Architecture;
use crate::tools;
use crate::vm;
use crate::workspace::{self, shown};

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Take seconds instead of minutes, to check that everything runs: the numbers are noisy, and an
    /// exceeded limit does not fail
    #[arg(long)]
    quick: bool,
    /// Measure only the cost of the probes, in a virtual machine
    #[arg(long)]
    probes: bool,
    /// Measure only those costs of the probes whose tests in tests/guest contain this in their name
    #[arg(long, value_name = "TEST", requires = "probes")]
    only: Option<String>,
    /// Measure the cost of the probes on this machine's own kernel, as root, and print a block to paste.
    /// Connections are opened in a network namespace of its own; the limit of the table is raised for all
    /// namespaces meanwhile
    #[arg(long, value_name = "WHAT", value_parser = ["events"], conflicts_with_all = ["probes"])]
    host: Option<String>,
    /// The architecture of the virtual machine. On arm64 there is no bpftrace to compare with, and ctpulse is
    /// the build of the tests: measure with --only connections
    #[arg(long, value_enum, default_value_t, requires_if("arm64", "only"))]
    arch: Architecture,
    /// How QEMU executes the virtual machine's instructions: by default counted, so that no figure
    /// depends on the load of this machine
    #[arg(long, value_enum, default_value_t = vm::Accelerator::Icount)]
    accel: vm::Accelerator,
}

/// How long and how often to measure.
struct Plan {
    /// Runs of each of the two samplers.
    pairs: usize,
    /// Length of one such run.
    run: Duration,
    /// When resident memory is read first, and how long after that again.
    settle: Duration,
    minute: Duration,
    /// Number of starts; the figure is their median.
    starts: usize,
    /// Length of the recording that is reported on, and how often it is.
    recording: u64,
    reports: usize,
}

const FULL: Plan = Plan {
    pairs: 3,
    run: Duration::from_secs(20),
    settle: Duration::from_secs(10),
    minute: Duration::from_secs(60),
    starts: 20,
    recording: 1 << 30,
    reports: 3,
};

const QUICK: Plan = Plan {
    pairs: 1,
    run: Duration::from_secs(3),
    settle: Duration::from_secs(2),
    minute: Duration::from_secs(3),
    starts: 3,
    recording: 32 << 20,
    reports: 1,
};

/// Builds, measures and prints the table.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    // A guest for another architecture has the build of the tests.
    if options.arch == Architecture::X86_64 {
        build()?;
    }
    let release = workspace::release_dir()?;
    let bench = Bench {
        plan: if options.quick { &QUICK } else { &FULL },
        ctpulse: release.join("ctpulse"),
        examples: release.join("examples"),
    };

    let mut table = Table::default();
    if options.host.is_some() {
        events::add(&mut table, Ok(host::measure(&bench.ctpulse, options.quick)?), true);
        print!("{}{table}", host::heading()?);
        return Ok(verdict(&table, options));
    }
    if !options.probes {
        table.add("sampling at 1,000/s", bench.sampling());
        table.add("parse", bench.parsing());
        table.add("resident memory", bench.memory());
        table.add("first row from exec", bench.first_row());
        table.add("live", live::figures(&bench.ctpulse, bench.plan.run));
        let programs = report::Programs {
            ctpulse: &bench.ctpulse,
            examples: &bench.examples,
            scratch: release,
        };
        table.add("report", report::figures(&programs, bench.plan.recording, bench.plan.reports));
    }
    eprintln!("bench: the probes, in a virtual machine");
    let only = options.only.as_deref().unwrap_or_default();
    let (ctpulse, arch) = (bench.ctpulse.clone(), options.arch);
    let reported = vm::measure(ctpulse, arch, options.quick, options.accel, only);
    events::add(&mut table, reported, !only.is_empty());
    print!("{table}");
    Ok(verdict(&table, options))
}

/// The exit code, and that it does not count.
fn verdict(table: &Table, options: &Options) -> ExitCode {
    if options.quick {
        println!("--quick: the numbers are noisy, and no limit counts");
    }
    if table.is_ok() || options.quick { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn build() -> anyhow::Result<()> {
    let targets = ["--bin", "ctpulse", "--examples"];
    let mut build = workspace::cargo();
    build.args(["build", "--release", "--locked", "--package", "ctpulse"]).args(targets);
    eprintln!("bench: {}", shown(&build));
    if !build.status().context("cannot start cargo")?.success() {
        bail!("`{}` failed", shown(&build));
    }
    Ok(())
}

/// The programs to measure and the plan.
struct Bench {
    plan: &'static Plan,
    ctpulse: PathBuf,
    examples: PathBuf,
}

impl Bench {
    /// CPU per sample and lateness, ctpulse and the bare loop in turns; as root ctnetlink, too.
    fn sampling(&self) -> anyhow::Result<Vec<Figure>> {
        let seconds = format!("{}s", self.plan.run.as_secs());
        let (mut ours, mut bare, mut netlink) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 1..=self.plan.pairs {
            eprintln!("bench: {seconds} at 1,000/s, pair {pair} of {}", self.plan.pairs);
            let mut ctpulse = self.sampler();
            ours.push(run_to_end(ctpulse.args(["--stats", "--duration", &seconds]))?);
            let mut reference = Command::new(self.examples.join("bare_loop"));
            bare.push(run_to_end(reference.args(["1ms", &seconds]))?);
            if tools::is_root() {
                let mut asking = self.sampler();
                asking.args(["--source", "netlink", "--stats", "--duration", &seconds]);
                netlink.push(run_to_end(&mut asking)?);
            }
        }
        let (ours, bare) = (Sampled::median(&ours)?, Sampled::median(&bare)?);
        let expected = self.plan.run.as_millis();
        let mut figures = vec![
            Figure::ratio("CPU per sample", "µs", ours.cpu_us, bare.cpu_us).at_most_times(1.3),
            Figure::ratio("lateness of ticks, p50", "µs", ours.late_p50_us, bare.late_p50_us),
            Figure::ratio("lateness of ticks, p99", "µs", ours.late_p99_us, bare.late_p99_us)
                .at_most_times(1.2),
            Figure::pair(&format!("ticks missed of {expected}"), "", ours.missed, bare.missed),
        ];
        if !netlink.is_empty() {
            let name = "CPU per sample, ctnetlink and procfs";
            let netlink = Sampled::median(&netlink)?;
            figures.push(Figure::ratio(name, "µs", netlink.cpu_us, ours.cpu_us));
        }
        Ok(figures)
    }

    /// Parsing a statistics file, against scanning its bytes for newlines.
    fn parsing(&self) -> anyhow::Result<Vec<Figure>> {
        eprintln!("bench: parsing");
        let fixture = |name: &str| -> PathBuf {
            workspace::root().join("fixtures").join(name).join("proc/net/stat/nf_conntrack")
        };
        let mut parse = Command::new(self.examples.join("parse_bench"));
        parse.args(["captured-6.12.115-deb12-cloud", "cpus-128"].map(fixture));
        let output = parse.output().with_context(|| format!("cannot start {}", shown(&parse)))?;
        if !output.status.success() {
            bail!("{}: {}", shown(&parse), String::from_utf8_lossy(&output.stderr).trim());
        }
        let mut figures = Vec::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let stats = Stats::parse(line);
            let name = format!("parse of {} CPUs", stats.get("rows")?);
            let (parse, scan) = (stats.get("parse_ns")?, stats.get("scan_ns")?);
            figures.push(Figure::ratio(&name, "ns", parse, scan));
        }
        Ok(figures)
    }

    /// Resident memory of a long run, and how much it still grows.
    fn memory(&self) -> anyhow::Result<Vec<Figure>> {
        let Plan { settle, minute, .. } = *self.plan;
        eprintln!("bench: resident memory, {} s", (settle + minute).as_secs());
        let kib = resident(&mut self.sampler(), &[settle, settle + minute])?;
        let [before, after] = kib[..] else { bail!("{} readings instead of 2", kib.len()) };
        let (settle, minute) = (settle.as_secs(), minute.as_secs());
        Ok(vec![
            Figure::value(&format!("resident after {} s", settle + minute), "MiB", after / 1024.0)
                .at_most(8.0),
            Figure::value(&format!("its growth in the last {minute} s"), "KiB", after - before)
                .below(128.0),
        ])
    }

    /// Time from exec to the first byte of the first row.
    fn first_row(&self) -> anyhow::Result<Vec<Figure>> {
        eprintln!("bench: {} starts", self.plan.starts);
        let mut times = Vec::new();
        for _ in 0..self.plan.starts {
            let mut ctpulse = Command::new(&self.ctpulse);
            // The duration only ends a run that never prints a row.
            ctpulse.args(["run", "--format", "influx", "--interval", "1s", "--duration", "5s"]);
            times.push(first_byte(&mut ctpulse)?.as_secs_f64() * 1e3);
        }
        Ok(vec![Figure::value("first row from exec", "ms", median(times)?).at_most(20.0)])
    }

    /// ctpulse at 1,000 samples a second, its rows formatted and thrown away.
    fn sampler(&self) -> Command {
        let mut command = Command::new(&self.ctpulse);
        command.args(["run", "--sample-interval", "1ms", "--interval", "1s"]);
        command.args(["--format", "influx", "--output"]).arg(Path::new("/dev/null"));
        command
    }
}

/// The numbers of one sampler, each the median of its runs.
struct Sampled {
    cpu_us: f64,
    late_p50_us: f64,
    late_p99_us: f64,
    missed: f64,
}

impl Sampled {
    fn median(runs: &[Finished]) -> anyhow::Result<Self> {
        let of = |take: &dyn Fn(&Finished) -> anyhow::Result<f64>| {
            median(runs.iter().map(take).collect::<anyhow::Result<Vec<f64>>>()?)
        };
        Ok(Self {
            cpu_us: of(&|run| Ok(run.cpu.as_secs_f64() * 1e6 / run.stats.get("ticks")?))?,
            late_p50_us: of(&|run| run.stats.get("lateness_p50_us"))?,
            late_p99_us: of(&|run| run.stats.get("lateness_p99_us"))?,
            missed: of(&|run| run.stats.get("missed"))?,
        })
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> anyhow::Result<f64> {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => bail!("nothing was measured"),
        even if even % 2 == 0 => Ok(f64::midpoint(values[even / 2 - 1], values[even / 2])),
        odd => Ok(values[odd / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_order_and_outliers() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]).unwrap(), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 90.0]).unwrap(), 3.0);
        assert!(median(Vec::new()).is_err());
    }
}
