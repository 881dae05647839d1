//! The cost of each loaded program of a probe as the kernel measures it: its runs and their time
//! (`kernel.bpf_stats_enabled`).

use std::collections::BTreeMap;
use std::fs;
use std::ops::{Add, Sub};
use std::process::Command;

use crate::support::output;

/// Has the kernel take the time while this lives; that costs something itself.
pub(crate) struct Timing;

impl Timing {
    pub(crate) fn new() -> Self {
        set("1");
        Self
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        set("0");
    }
}

fn set(value: &str) {
    fs::write("/proc/sys/kernel/bpf_stats_enabled", value).unwrap();
}

/// Runs and their time, of a program or of several together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) runs: u64,
    pub(crate) nanoseconds: u64,
}

impl Cost {
    fn per_run(self) -> f64 {
        self.nanoseconds as f64 / self.runs as f64
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { runs: self.runs + other.runs, nanoseconds: self.nanoseconds + other.nanoseconds }
    }
}

impl Sub for Cost {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { runs: self.runs - other.runs, nanoseconds: self.nanoseconds - other.nanoseconds }
    }
}

/// The programs of kprobes and trampolines in the kernel by their number, each with its name.
#[derive(Debug, Clone)]
pub(crate) struct Programs(BTreeMap<u64, (String, Cost)>);

impl Programs {
    pub(crate) fn read() -> Self {
        let listed = output(Command::new("bpftool").args(["prog", "show", "-j"])).stdout;
        let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed).unwrap();
        let is_probe = |program: &&serde_json::Value| {
            program["type"] == "kprobe" || program["type"] == "tracing"
        };
        let program = |program: &serde_json::Value| {
            let number = |name: &str| program[name].as_u64().unwrap_or(0);
            let cost = Cost { runs: number("run_cnt"), nanoseconds: number("run_time_ns") };
            let name = program["name"].as_str().unwrap_or_default().to_owned();
            (number("id"), (name, cost))
        };
        Self(listed.iter().filter(is_probe).map(program).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that are not in `others`.
    pub(crate) fn without(&self, others: &Self) -> Self {
        let mut kept = self.clone();
        kept.0.retain(|id, _| !others.0.contains_key(id));
        kept
    }

    /// Those that `names` holds.
    pub(crate) fn named(&self, names: &[&str]) -> Self {
        let mut kept = self.clone();
        // The kernel keeps 15 characters.
        kept.0.retain(|_, (name, _)| names.iter().any(|known| known.starts_with(&**name)));
        kept
    }

    /// The same programs as they are now.
    pub(crate) fn now(&self) -> Self {
        let mut now = Self::read();
        now.0.retain(|id, _| self.0.contains_key(id));
        now
    }

    /// The total cost of these programs.
    pub(crate) fn cost(&self) -> Cost {
        self.0.values().map(|(_, cost)| *cost).fold(Cost::default(), Add::add)
    }

    /// The cost of each program since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        for (id, (_, cost)) in &mut since.0 {
            *cost = *cost - before.0.get(id).map_or(Cost::default(), |(_, cost)| *cost);
        }
        since
    }

    /// Whether each ran so often at least.
    pub(crate) fn all_ran(&self, runs: u64) -> bool {
        self.0.values().all(|(_, cost)| cost.runs >= runs)
    }
}

/// Nanoseconds per run: the mean over the programs, of each the median over the batches. The
/// guest's CPUs share a thread of the host, and a program that runs when they change pays for the
/// other CPU's turn.
pub(crate) fn run_time(batches: &[&Programs]) -> f64 {
    let ids: Vec<u64> = batches[0].0.keys().copied().collect();
    let medians = ids.iter().map(|id| {
        let mut times: Vec<f64> = batches.iter().map(|batch| batch.0[id].1.per_run()).collect();
        times.sort_by(f64::total_cmp);
        println!("{}: {times:.0?}", batches[0].0[id].0);
        times[times.len() / 2]
    });
    medians.sum::<f64>() / ids.len() as f64
}
