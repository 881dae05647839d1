//! Why packets were dropped, where neither the kernel's counters nor the probes tell alone: what
//! is left of the one when the other is taken off.
//!
//! From 5.10 on `__nf_conntrack_confirm` raises `insert_failed` for a lost race, a long chain and
//! an entry that is dying (or whose extensions are stale), so the last is what the first two
//! leave. `drop` is raised for a full table, a lost race, and rarely for a tracker's verdict, a
//! sequence number that cannot be adjusted or a failed allocation: the rest.
//!
//! Both sides are read one after the other while packets are under way, so the kernel's number of
//! one sample is compared with the probes' of the next: a remainder may come a sample late.
//!
//! A call that a probe missed would be left over as something else. So where calls were missed since
//! the last hand-over, what was found since then is taken back and the comparison begins anew
//! ([`Attribution::begin_anew`]): a remainder that is handed over never goes back, and leaves out
//! what it cannot know. Misses that the kernel does not count make it too high.

use crate::accumulate::interval::IntervalStats;
use crate::schema::field::DerivedDrop;
use crate::schema::fields::{IN_DROP, IN_INSERT_FAILED};
use crate::schema::provenance::DropColumns;
use crate::schema::raw::{Counted, EVENTS};

/// Packets by remainder, for all CPUs together, since the event source was attached.
pub type DerivedDrops = [u64; DerivedDrop::ALL.len()];

/// What the subtraction takes.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    insert_failed: u64,
    chaintoolong: u64,
    drop: u64,
    /// The packets in `insert_failed` whose cause the probes counted.
    failures_explained: u64,
    /// The packets in `drop` whose cause the probes counted.
    drops_explained: u64,
}

/// Follows both sides, sample by sample.
#[derive(Debug, Default)]
pub struct Attribution {
    /// The probes' side at the first sample, the kernel's at the second: what a packet under way
    /// between the two sides of the first has raised is in neither.
    first: Sums,
    /// How many samples there were, up to two.
    samples: u8,
    /// At the last sample.
    last: Sums,
    /// What was found before the first sample.
    before: DerivedDrops,
    /// What was found when the last window was handed over.
    handed_over: DerivedDrops,
    /// What was found so far.
    pub totals: DerivedDrops,
    /// The same since the last hand-over, as one row.
    pub tally: IntervalStats,
}

impl Attribution {
    /// An attribution that starts with the next sample.
    #[must_use]
    pub fn new() -> Self {
        Self { tally: IntervalStats::new(1, DerivedDrop::ALL.len(), false), ..Self::default() }
    }

    /// Takes one sample: what each column counted since some time, and each event.
    pub fn add(&mut self, at: &DropColumns, columns: &[u64], events: &[u64; EVENTS]) {
        let column = |at: Option<usize>| at.and_then(|at| columns.get(at).copied()).unwrap_or(0);
        let sum = |explaining: &Counted| {
            events.iter().zip(explaining).map(|(count, is_one)| count * u64::from(*is_one)).sum()
        };
        let now = Sums {
            insert_failed: column(at.insert_failed),
            chaintoolong: column(at.chaintoolong),
            drop: column(at.drop),
            failures_explained: sum(&IN_INSERT_FAILED),
            drops_explained: sum(&IN_DROP),
        };
        match self.samples {
            0 => self.first = now,
            1 => {
                let Sums { failures_explained, drops_explained, .. } = self.first;
                self.first = Sums { failures_explained, drops_explained, ..now };
            }
            _ => self.compare(&now),
        }
        self.samples = (self.samples + 1).min(2);
        self.last = now;
    }

    fn compare(&mut self, now: &Sums) {
        let (first, last) = (self.first, self.last);
        let failures = now.failures_explained - first.failures_explained;
        let chain = now.chaintoolong.saturating_sub(first.chaintoolong);
        let dying = (last.insert_failed - first.insert_failed).saturating_sub(failures + chain);
        let drops = now.drops_explained - first.drops_explained;
        self.raise(DerivedDrop::Dying, dying);
        self.raise(DerivedDrop::Other, (last.drop - first.drop).saturating_sub(drops));
    }

    /// The last window is on its way.
    pub fn handed_over(&mut self) {
        self.handed_over = self.totals;
        self.tally.clear();
    }

    /// Takes back what was found since the last hand-over, and compares from the next sample on.
    pub fn begin_anew(&mut self) {
        (self.totals, self.before) = (self.handed_over, self.handed_over);
        self.tally.clear();
        self.tally.forget_window();
        self.samples = 0;
    }

    fn raise(&mut self, remainder: DerivedDrop, found: u64) {
        let to = self.before[remainder as usize] + found;
        let total = &mut self.totals[remainder as usize];
        if let Some(more) = to.checked_sub(*total).filter(|more| *more > 0) {
            *total = to;
            self.tally.note(remainder as usize, remainder as usize, more);
        }
    }
}

#[cfg(test)]
mod tests {
    use conntrack_ebpf::Event;

    use super::*;
    use crate::schema::raw::Layout;

    fn layout() -> Layout {
        let names = ["entries", "clash_resolve", "insert_failed", "drop", "chaintoolong"];
        Layout { names: names.map(String::from).to_vec(), maintained: false }
    }

    /// `insert_failed`, `drop` and `chaintoolong`; lost races and full tables.
    fn add(attribution: &mut Attribution, kernel: [u64; 3], probes: [u64; 2]) -> DerivedDrops {
        let [failed, drop, chain] = kernel;
        let mut events = [0; EVENTS];
        events[Event::ClashDropped as usize] = probes[0];
        events[Event::TableFull as usize] = probes[1];
        attribution.add(&DropColumns::of(&layout()), &[9, 9, failed, drop, chain], &events);
        attribution.totals
    }

    #[test]
    fn what_no_cause_explains_is_left_over() {
        let mut attribution = Attribution::new();
        assert_eq!(add(&mut attribution, [100, 200, 10], [7, 8]), [0, 0]);
        assert_eq!(add(&mut attribution, [100, 200, 10], [7, 8]), [0, 0]);
        // 3 races, 1 long chain, 2 dying; 5 times full, 4 for other reasons.
        add(&mut attribution, [106, 212, 11], [10, 13]);
        assert_eq!(add(&mut attribution, [106, 212, 11], [10, 13]), [2, 4]);
        assert_eq!(attribution.tally.events, [2, 4]);
    }

    #[test]
    fn a_drop_whose_probe_has_not_returned_yet_is_explained_in_time() {
        let mut attribution = Attribution::new();
        add(&mut attribution, [0, 0, 0], [0, 0]);
        add(&mut attribution, [0, 0, 0], [0, 0]);
        // The kernel has counted the race, the probe has not; a sample later it has.
        assert_eq!(add(&mut attribution, [1, 1, 0], [0, 0]), [0, 0]);
        assert_eq!(add(&mut attribution, [1, 1, 0], [1, 0]), [0, 0]);
        // The probe has counted and the kernel's number was read before.
        assert_eq!(add(&mut attribution, [1, 1, 0], [2, 0]), [0, 0]);
        assert_eq!(add(&mut attribution, [2, 2, 0], [2, 0]), [0, 0]);
    }

    #[test]
    fn a_drop_between_the_two_sides_of_the_first_sample_is_nobodys() {
        let mut attribution = Attribution::new();
        // Read from the kernel, then dropped, then read from the probes.
        add(&mut attribution, [0, 0, 0], [1, 1]);
        add(&mut attribution, [1, 2, 0], [1, 1]);
        add(&mut attribution, [1, 2, 0], [1, 1]);
        assert_eq!(add(&mut attribution, [1, 2, 0], [1, 1]), [0, 0]);
    }

    /// 100 times full, of which the probes missed 40, and two drops of another cause before.
    #[test]
    fn what_probes_missed_is_left_out_and_not_taken_for_another_cause() {
        let mut attribution = Attribution::new();
        for _ in 0..2 {
            add(&mut attribution, [0, 0, 0], [0, 0]);
        }
        add(&mut attribution, [0, 2, 0], [0, 0]);
        assert_eq!(add(&mut attribution, [0, 2, 0], [0, 0]), [0, 2]);
        attribution.handed_over();
        add(&mut attribution, [0, 102, 0], [0, 60]);
        assert_eq!(add(&mut attribution, [0, 102, 0], [0, 60]), [0, 42]);
        attribution.begin_anew();
        assert_eq!((attribution.totals, &attribution.tally.events[..]), ([0, 2], &[0, 0][..]));
        // What comes later is known again.
        for _ in 0..3 {
            assert_eq!(add(&mut attribution, [0, 102, 0], [0, 60]), [0, 2]);
        }
        add(&mut attribution, [0, 113, 0], [0, 70]);
        assert_eq!(add(&mut attribution, [0, 113, 0], [0, 70]), [0, 3]);
        assert_eq!(attribution.tally.events, [0, 1]);
    }
}
