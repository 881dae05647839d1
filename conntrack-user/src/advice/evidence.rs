//! The numbers that the rules judge.

use std::collections::BTreeMap;

use crate::report::{Doubts, InvalidWindow};
use crate::schema::field::{Field, Raises};
use crate::schema::fields::{
    self, CHAINTOOLONG, CLASH_RESOLVE, DROP, DROP_CHAINTOOLONG, DROP_CLASH, DROP_DYING,
    DROP_NAT_EXHAUSTED, DROP_TRACKER, EARLY_DROP, FOUND, INSERT_FAILED, INVALID, NEW, SEARCHED,
};
use crate::settings::Netns;
use crate::source::netlink::entries::Entries;
use crate::top::nat_ports::NatPorts;

/// The counters without which it cannot be concluded that nothing was lost, nor that nothing is
/// wrong.
const NEEDED: [Field; 3] = [DROP, EARLY_DROP, INSERT_FAILED];
const JUDGED: [Field; 4] = [DROP, EARLY_DROP, INSERT_FAILED, INVALID];

/// Where the numbers come from, which decides what commands can run there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Host {
    /// A recording: its host is another one, and nothing is known of its probes.
    #[default]
    Recorded,
    /// This host, with probes that report drops one by one.
    WithProbes,
    /// This host, without them, and the reason.
    WithoutProbes(String),
}

/// Samples that should have been taken.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Samples {
    /// Those that were left out.
    pub missed: f64,
    /// All of them; absent where the sample interval is not known.
    pub due: Option<f64>,
}

/// The addresses with most entries of the table, each with its share of all (0 to 1).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Holders {
    /// Source addresses of the original direction.
    pub sources: Vec<(String, f64)>,
    /// Destination addresses of the original direction.
    pub destinations: Vec<(String, f64)>,
}

/// The number of ports that NAT found taken for each failed insertion, as the rows show it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FoundForFailures {
    /// Rows with failures.
    pub rows: u64,
    /// The fewest ports for each failure in one of them.
    pub lowest: f64,
    /// The least and the most that each failure brings, apart from what rows without failures
    /// show, too; absent where the rows cannot separate the two.
    pub brought: Option<(f64, f64)>,
    /// Ports found taken each second without failures.
    pub background: f64,
}

/// The measurements that the rules judge.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// Where.
    pub host: Host,
    /// For how long, in seconds.
    pub seconds: f64,
    /// The most entries at any moment.
    pub peak: Option<f64>,
    /// `nf_conntrack_max`, the same for each namespace; 0 for no limit.
    pub max: Option<f64>,
    /// The most entries under any limit and the limit at the end, where a recording has several limits:
    /// `peak` and `max` are of the moment at which the table was fullest.
    pub under_other_limits: Option<(f64, f64)>,
    /// `nf_conntrack_buckets`, of the whole host.
    pub buckets: Option<f64>,
    /// The events of each counter meanwhile, by its name in the schema; a counter that is not
    /// maintained on that host is absent, as far as the source shows.
    pub counted: BTreeMap<String, f64>,
    /// Whether any counter was above 0, since the host was booted or the namespace made.
    pub is_any_above_zero: Option<bool>,
    /// The highest rate of a counter over some ten seconds, or between two rows that are further
    /// apart.
    pub busiest: BTreeMap<String, f64>,
    /// The time with the highest rate of INVALID packets, if that is worth a warning.
    pub invalid: Option<InvalidWindow>,
    /// The INVALID packets of the time in which new connections are counted, where that is known.
    pub invalid_beside_new: Option<InvalidWindow>,
    /// `found` for each of `insert_failed`, row by row.
    pub found_for_failures: FoundForFailures,
    /// Timeouts in seconds, by the name of their sysctl file.
    pub timeouts: BTreeMap<String, f64>,
    /// The namespace that was sampled.
    pub netns: Netns,
    /// A sample of the table's entries, where ctnetlink could be asked.
    pub entries: Option<Entries>,
    /// Who holds most entries, where a census could be taken.
    pub holders: Option<Holders>,
    /// The NAT ports of which most are taken, the fullest first, where a census could be taken.
    pub nat_ports: Vec<NatPorts>,
    /// Why no entries were read from a live table.
    pub entries_unread: Option<String>,
    /// Where drops were reported one by one: their number by cause and destination port.
    pub ports: BTreeMap<(&'static str, u16), u64>,
    /// INVALID packets by their reason, where probes for them could be attached.
    pub reasons: Option<BTreeMap<String, u64>>,
    /// Samples that were missed, where ctpulse took them.
    pub samples: Option<Samples>,
    /// Emissions that are missing, and how many there should be.
    pub missing: (u64, u64),
    /// The unknowns of the measurement, a sentence each.
    pub unknown: Vec<String>,
    /// The events that may not have happened.
    pub doubts: Doubts,
}

impl Evidence {
    /// Returns a counter's events; `None` where it is not counted.
    pub(super) fn counted(&self, counter: &Field) -> Option<f64> {
        self.counted.get(counter.name).copied()
    }

    /// Returns a counter's events; 0 where it is not counted.
    pub(super) fn count(&self, counter: &Field) -> f64 {
        self.counted(counter).unwrap_or(0.0)
    }

    /// Returns the share of the table that was full at the peak, 0 to 1 and a little more.
    pub(super) fn fill(&self) -> Option<f64> {
        let max = self.max.filter(|max| *max > 0.0)?;
        Some(self.peak? / max)
    }

    /// Whether the counters that show losses are there, and two readings of them at least.
    #[must_use]
    pub fn has_statistics(&self) -> bool {
        self.seconds > 0.0 && NEEDED.iter().all(|field| self.counted(field).is_some())
    }

    /// Whether any counter is in the rows.
    pub(super) fn has_any_counter(&self) -> bool {
        !self.counted.is_empty()
    }

    /// Returns the counters that no row has, though it takes them to conclude that nothing is wrong.
    pub(super) fn not_in_rows(&self) -> Vec<&'static str> {
        let missing = JUDGED.iter().filter(|field| self.counted(field).is_none());
        missing.map(|field| field.name).collect()
    }

    /// Returns the races that the kernel resolved: Telegraf has them as `searched` on kernels that
    /// do not count that, nor `new`.
    pub(super) fn races_resolved(&self) -> f64 {
        match self.counted(&CLASH_RESOLVE) {
            Some(resolved) if resolved > 0.0 => resolved,
            _ if self.count(&NEW) > 0.0 => 0.0,
            _ => self.count(&SEARCHED),
        }
    }

    /// Returns the tuples that NAT found taken; `None` where `found` counts lookups of packets:
    /// with `ebpf_per_packet`, and on kernels up to 4.8, which alone maintain `searched` and `new`
    /// together. (Telegraf's `searched` is `clash_resolve` on kernels from 5.10 on, without `new`.)
    pub(super) fn found_taken(&self) -> Option<f64> {
        let is_per_packet = self.counted(&DROP_TRACKER).is_some();
        self.counted(&FOUND).filter(|_| !is_per_packet && !self.is_up_to_4_8())
    }

    /// Whether the kernel is one of those up to 4.8, which count `searched` and `new`.
    pub(super) fn is_up_to_4_8(&self) -> bool {
        self.count(&SEARCHED) > 0.0 && self.count(&NEW) > 0.0
    }

    /// Returns the insertions that were refused because of a long hash chain; `None` where rows do not
    /// have them.
    pub(super) fn long_chains(&self) -> Option<f64> {
        self.counted(&CHAINTOOLONG).or_else(|| self.counted(&DROP_CHAINTOOLONG))
    }

    /// Returns the insertions that failed for other causes than long chains.
    pub(super) fn failed(&self) -> f64 {
        (self.count(&INSERT_FAILED) - self.long_chains().unwrap_or(0.0)).max(0.0)
    }

    /// Returns the failed insertions of entries that were dying, as far as they are certain. From 5.10
    /// on, where `clash_resolve` is counted, a race and NAT without a port raise `drop`, too
    /// (`nf_ct_resolve_clash`), and a dying entry does not. Where rows do not have long chains, these
    /// are among them.
    pub(super) fn dying(&self) -> f64 {
        let is_since_5_10 = self.counted(&CLASH_RESOLVE).is_some();
        let dropped = self.counted(&DROP).filter(|_| is_since_5_10);
        let not_dropped = dropped.map_or(0.0, |dropped| self.failed() - dropped);
        not_dropped.max(self.count(&DROP_DYING))
    }

    /// Returns the packets of the kernel's `drop` that neither a known cause explains nor a failed
    /// insertion: the kernel raises both counters for most of those.
    pub(super) fn undivided(&self) -> f64 {
        let counted = self.count(&DROP_CLASH) + self.count(&DROP_NAT_EXHAUSTED);
        let clashes = (self.failed() - self.dying()).max(counted);
        let others = fields::causes()
            .filter(|field| field.cause.is_some_and(|cause| cause.raises == Raises::Drop));
        let explained: f64 = others.map(|cause| self.count(cause)).sum();
        (self.count(&DROP) - explained - clashes).max(0.0)
    }
}

/// Returns `part` of the entries that were read, 0 to 1; `None` where they are too few to judge.
pub(super) fn share(entries: Entries, part: u32) -> Option<f64> {
    const FEWEST: u32 = 50;
    (entries.seen >= FEWEST).then(|| f64::from(part) / f64::from(entries.seen))
}
