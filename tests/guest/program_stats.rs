//! What the kernel says that each loaded kprobe program has cost: its runs and their time, which
//! it takes itself (`kernel.bpf_stats_enabled`).

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
    pub(crate) fn per_run(self) -> f64 {
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

/// The kprobe programs in the kernel by their number, each with its name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Programs(BTreeMap<u64, (String, Cost)>);

impl Programs {
    pub(crate) fn read() -> Self {
        let listed = output(Command::new("bpftool").args(["prog", "show", "-j"])).stdout;
        let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed).unwrap();
        let kprobes = listed.iter().filter(|program| program["type"] == "kprobe");
        let program = |program: &serde_json::Value| {
            let number = |name: &str| program[name].as_u64().unwrap_or(0);
            let cost = Cost { runs: number("run_cnt"), nanoseconds: number("run_time_ns") };
            let name = program["name"].as_str().unwrap_or_default().to_owned();
            (number("id"), (name, cost))
        };
        Self(kprobes.map(program).collect())
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

    /// What these programs have cost by now, in all.
    pub(crate) fn cost(&self) -> Cost {
        let now = Self::read();
        let costs =
            self.0.keys().map(|id| now.0.get(id).map_or(Cost::default(), |(_, cost)| *cost));
        costs.fold(Cost::default(), Add::add)
    }
}
