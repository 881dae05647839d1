//! Recordings with known bursts, the same every time: the fixtures in `fixtures/recordings/` and
//! the long file of the benchmark.
//!
//! A gateway is simulated in samples of 10 ms, with a steady load and bursts at given times; the
//! rows are what `ctpulse` writes for such counters, through its own encoder.

#![allow(dead_code, reason = "each user takes a part")]
#![allow(missing_docs, unreachable_pub, reason = "names say it; this is no library")]

#[path = "truth.rs"]
pub mod truth;

use std::collections::BTreeMap;

use ctpulse::format::{EncoderOptions, Format, encoder};
use ctpulse::metric::{Metric, Name, Value};

/// 2026-11-25 07:10:00 UTC.
pub const START_NS: i64 = 1_795_590_600_000_000_000;
/// The time between two samples.
pub const SAMPLE_MS: u64 = 10;
/// The table's limit.
pub const MAX: u64 = 4000;

/// The counters that stay 0 here.
const WIDE: [&str; 18] = [
    "chaintoolong",
    "clash_resolve",
    "delete",
    "delete_list",
    "drop_chaintoolong",
    "drop_clash",
    "drop_dying",
    "drop_other",
    "expect_create",
    "expect_delete",
    "expect_new",
    "found",
    "icmp_error",
    "ignore",
    "new",
    "search_restart",
    "searched",
    "table_full_evictable",
];

/// A burst of insertions and drops.
#[derive(Debug, Clone, Copy)]
pub struct Burst {
    /// When it begins, in milliseconds after the start.
    pub at_ms: u64,
    pub length_ms: u64,
    pub inserts_per_sample: u64,
    pub drops_per_sample: u64,
}

/// The content of a recording.
#[derive(Debug, Clone)]
pub struct Plan {
    pub interval_ms: u64,
    pub rows: u64,
    pub cpus: usize,
    pub netns: Vec<&'static str>,
    pub bursts: Vec<Burst>,
    /// Rows that are missing, by their number.
    pub missing: std::ops::Range<u64>,
    /// Whether rows have all counters, as from a kernel with probes; otherwise six.
    pub wide: bool,
    /// The row with which ctpulse starts again: no rates, its own counters from 0.
    pub restart: Option<u64>,
}

impl Plan {
    pub fn of(interval_ms: u64, rows: u64) -> Self {
        let (netns, bursts) = (Vec::new(), Vec::new());
        Self {
            interval_ms,
            rows,
            cpus: 0,
            netns,
            bursts,
            missing: 0..0,
            restart: None,
            wide: false,
        }
    }

    /// All rows, emission by emission.
    pub fn emissions(&self) -> impl Iterator<Item = Vec<Metric>> {
        let names = if self.netns.is_empty() { vec![None] } else { self.tags() };
        let mut gateways: Vec<_> = names.into_iter().map(|name| Gateway::new(self, name)).collect();
        (0..self.rows).filter_map(move |row| {
            let rows: Vec<_> = gateways.iter_mut().flat_map(|gateway| gateway.row(row)).collect();
            (!self.missing.contains(&row)).then_some(rows)
        })
    }

    fn tags(&self) -> Vec<Option<&'static str>> {
        self.netns.iter().copied().map(Some).collect()
    }

    /// The recording as text.
    pub fn text(&self, format: Format) -> Vec<u8> {
        let mut encoder = encoder(format, EncoderOptions::default());
        let mut out = Vec::new();
        self.emissions().for_each(|rows| encoder.encode(&rows, &mut out));
        out
    }
}

struct Gateway<'a> {
    plan: &'a Plan,
    netns: Option<&'static str>,
    random: u64,
    counters: BTreeMap<&'static str, u64>,
    entries: u64,
    of_cpus: Vec<BTreeMap<&'static str, u64>>,
}

impl<'a> Gateway<'a> {
    fn new(plan: &'a Plan, netns: Option<&'static str>) -> Self {
        let names = ["drop", "drop_clash", "early_drop", "insert", "insert_failed", "invalid"];
        let more = if plan.wide { &WIDE[..] } else { &[] };
        let names = names.iter().chain(more).copied();
        let counters: BTreeMap<_, _> = names.map(|name| (name, 0)).collect();
        let of_cpus = vec![counters.clone(); plan.cpus];
        Self { plan, netns, random: 1, counters, entries: 400, of_cpus }
    }

    /// A number from 0 to `below` (Knuth's MMIX generator, its upper bits).
    fn random(&mut self, below: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn row(&mut self, row: u64) -> Vec<Metric> {
        if self.plan.restart == Some(row) {
            // The probes' counters start again, the kernel's continue.
            for name in ["insert", "drop_clash"] {
                self.counters.insert(name, 0);
                self.of_cpus.iter_mut().for_each(|cpu| _ = cpu.insert(name, 0));
            }
        }
        let before = self.counters.clone();
        let mut peaks = BTreeMap::new();
        let (mut min, mut max) = (self.entries, self.entries);
        for sample in 0..self.plan.interval_ms / SAMPLE_MS {
            let at_ms = row * self.plan.interval_ms + sample * SAMPLE_MS;
            for (name, events) in self.sample(at_ms) {
                let peak = peaks.entry(name).or_insert(0);
                *peak = events.max(*peak);
            }
            (min, max) = (min.min(self.entries), max.max(self.entries));
        }
        let first = row == 0 || self.plan.restart == Some(row);
        let mut fields = self.fields(&self.counters);
        if !first {
            let seconds = self.plan.interval_ms as f64 / 1e3;
            for (name, value) in &self.counters {
                let rate = value.saturating_sub(before[name]) as f64 / seconds;
                fields.push((format!("{name}_rate").into(), Value::Float(rate)));
                let peak = peaks.get(name).copied().unwrap_or(0) as f64;
                let peak = peak * 1e3 / SAMPLE_MS as f64;
                fields.push((format!("{name}_rate_max").into(), Value::Float(peak)));
            }
        }
        for (name, value) in [("entries_min", min), ("entries_max", max)] {
            fields.push((name.into(), Value::Integer(value)));
        }
        for name in ["rows_lost", "samples_missed"] {
            let missed = if name == "samples_missed" { row / 7 } else { 0 };
            fields.push((name.into(), Value::Integer(missed)));
        }
        let mut rows = vec![self.metric(row, Some("all".to_owned()), fields)];
        for cpu in 0..self.plan.cpus {
            let fields = self.fields(&self.of_cpus[cpu]);
            rows.push(self.metric(row, Some(format!("cpu{cpu}")), fields));
        }
        let level = |name: &str, value: u64| (Name::from(name), Value::Float(value as f64));
        let table = vec![level("ip_conntrack_count", self.entries), level("ip_conntrack_max", MAX)];
        rows.push(self.metric(row, None, table));
        rows
    }

    /// One sample's events.
    fn sample(&mut self, at_ms: u64) -> Vec<(&'static str, u64)> {
        let bursts = self.plan.bursts.iter().filter(|_| self.netns.is_none_or(|n| n != "calm"));
        let bursts = bursts.filter(|b| (b.at_ms..b.at_ms + b.length_ms).contains(&at_ms));
        let (more, drops) = bursts
            .fold((0, 0), |sum, b| (sum.0 + b.inserts_per_sample, sum.1 + b.drops_per_sample));
        let inserts = self.random(6) + more;
        self.entries = (self.entries + inserts).min(MAX);
        // Entries above 400 time out, some in each sample.
        self.entries -= self.entries.saturating_sub(400).div_ceil(40);
        let invalid = u64::from(self.random(50) == 0);
        let events =
            [("insert", inserts), ("drop", drops), ("drop_clash", drops), ("invalid", invalid)];
        for (name, count) in events {
            *self.counters.get_mut(name).unwrap() += count;
            if !self.of_cpus.is_empty() {
                // The first CPU does most of the work.
                let cpu = self.random(4).min(3) as usize % self.of_cpus.len();
                *self.of_cpus[if cpu == 1 { 1 } else { 0 }].get_mut(name).unwrap() += count;
            }
        }
        events.to_vec()
    }

    fn fields(&self, counters: &BTreeMap<&'static str, u64>) -> Vec<(Name, Value)> {
        let counter = |(name, value): (&&str, &u64)| (Name::from(*name), Value::Integer(*value));
        let mut fields: Vec<_> = counters.iter().map(counter).collect();
        fields.push(("entries".into(), Value::Integer(self.entries)));
        fields
    }

    fn metric(&self, row: u64, cpu: Option<String>, mut fields: Vec<(Name, Value)>) -> Metric {
        let mut tags = vec![(Name::from("host"), "gw".to_owned())];
        tags.extend(cpu.map(|cpu| (Name::from("cpu"), cpu)));
        tags.extend(self.netns.map(|netns| (Name::from("netns"), netns.to_owned())));
        tags.sort();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        let end_ms = (row + 1) * self.plan.interval_ms;
        let timestamp_ns = START_NS + end_ms as i64 * 1_000_000;
        Metric { name: "conntrack".into(), tags, fields, timestamp_ns }
    }
}

/// A row as Telegraf writes it after execd: its own tags, another order of fields,
/// whole seconds, and integers as floats (a processor did that).
pub fn through_telegraf(text: &str) -> String {
    let line = |line: &str| {
        let mut parts = line.split(' ');
        let (head, fields, time) =
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let mut head: Vec<_> = head.split(',').collect();
        head[1..].reverse();
        let fields = fields.split(',').rev().map(|field| match field.strip_suffix('i') {
            Some(integer) => format!("{integer}.0"),
            None => field.to_owned(),
        });
        let fields = fields.collect::<Vec<_>>().join(",");
        format!("{},dc=eu\\ west {fields} {}\n", head.join(","), &time[..10])
    };
    text.lines().map(line).collect()
}
