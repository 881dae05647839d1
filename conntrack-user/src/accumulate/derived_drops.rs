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

use crate::accumulate::Counted;
use crate::accumulate::interval::IntervalStats;
use crate::schema::raw::{EVENTS, Layout};
use conntrack_ebpf::Event;

/// What is known by subtraction only; the number is the index into [`DerivedDrops`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum DerivedDrop {
    /// Packets that were dropped because their entry was dying before it was inserted.
    Dying = 0,
    /// Packets in the kernel's `drop` that no other cause explains.
    Other,
}

impl DerivedDrop {
    /// Each of them, in the order of the indices.
    pub const ALL: [Self; 2] = [Self::Dying, Self::Other];

    /// Whether it is known on a kernel with these columns, where these events are counted.
    #[must_use]
    pub fn is_known(self, layout: &Layout, counted: &Counted) -> bool {
        let has = |column: &str| layout.column(column).is_some();
        // Before 5.10 `insert_failed` was also raised for races that were resolved.
        let since_5_10 = has("clash_resolve") && has("insert_failed") && has("drop");
        let needed: &[Event] = match self {
            Self::Dying => &[Event::ClashDropped],
            Self::Other => &[Event::ClashDropped, Event::TableFull],
        };
        since_5_10 && needed.iter().all(|event| counted[*event as usize])
    }
}

/// Packets by remainder, for all CPUs together, since the event source was attached.
pub type DerivedDrops = [u64; DerivedDrop::ALL.len()];

/// What the subtraction takes.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    insert_failed: u64,
    chaintoolong: u64,
    drop: u64,
    clash: u64,
    table_full: u64,
    tracker: u64,
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

    /// Takes one sample: what each column of `layout` counted since some time, and each event.
    pub fn add(&mut self, layout: &Layout, columns: &[u64], events: &[u64; EVENTS]) {
        let column = |name: &str| layout.column(name).and_then(|at| columns.get(at).copied());
        let now = Sums {
            insert_failed: column("insert_failed").unwrap_or(0),
            chaintoolong: column("chaintoolong").unwrap_or(0),
            drop: column("drop").unwrap_or(0),
            clash: events[Event::ClashDropped as usize],
            table_full: events[Event::TableFull as usize],
            tracker: events[Event::TrackerDropped as usize],
        };
        match self.samples {
            0 => self.first = now,
            1 => {
                let Sums { clash, table_full, tracker, .. } = self.first;
                self.first = Sums { clash, table_full, tracker, ..now };
            }
            _ => self.compare(&now),
        }
        self.samples = (self.samples + 1).min(2);
        self.last = now;
    }

    fn compare(&mut self, now: &Sums) {
        let (first, last) = (self.first, self.last);
        let clash = now.clash - first.clash;
        let chain = now.chaintoolong.saturating_sub(first.chaintoolong);
        let dying = (last.insert_failed - first.insert_failed).saturating_sub(clash + chain);
        let explained = clash + now.table_full - first.table_full + now.tracker - first.tracker;
        self.raise(DerivedDrop::Dying, dying);
        self.raise(DerivedDrop::Other, (last.drop - first.drop).saturating_sub(explained));
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
    use super::*;

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
        attribution.add(&layout(), &[9, 9, failed, drop, chain], &events);
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

    #[test]
    fn it_is_known_only_where_the_causes_are() {
        let mut counted = [true; EVENTS];
        assert!(DerivedDrop::Other.is_known(&layout(), &counted));
        counted[Event::TableFull as usize] = false;
        assert!(!DerivedDrop::Other.is_known(&layout(), &counted));
        assert!(DerivedDrop::Dying.is_known(&layout(), &counted));
        let names = ["entries", "insert_failed", "drop"].map(String::from).to_vec();
        let old = Layout { names, maintained: false };
        assert!(!DerivedDrop::Dying.is_known(&old, &[true; EVENTS]));
    }
}
