//! Tests of the bounds and of the comparison, sample by sample.

use conntrack_ebpf::Event;

use super::*;
use crate::schema::raw::Layout;

const SECOND: Duration = Duration::from_secs(1);

fn layout() -> Layout {
    let names = ["entries", "clash_resolve", "insert_failed", "drop", "chaintoolong"];
    Layout { names: names.map(String::from).to_vec(), maintained: false }
}

/// Lost races and full tables.
fn events([clash, full]: [u64; 2]) -> [u64; EVENTS] {
    let mut events = [0; EVENTS];
    events[Event::ClashDropped as usize] = clash;
    events[Event::TableFull as usize] = full;
    events
}

/// Samples once a second.
struct Samples {
    derived: DerivedDropAccumulator,
    taken: u32,
}

impl Samples {
    fn new() -> Self {
        Self { derived: DerivedDropAccumulator::new(DropColumns::of(&layout())), taken: 0 }
    }

    /// Probes that were attached at rest.
    fn at_rest() -> Self {
        let mut samples = Self::new();
        samples.add_still([0; 3], [0; 2]);
        samples.add_still([0; 3], [0; 2]);
        samples
    }

    /// Takes a sample of `insert_failed`, `drop` and `chaintoolong`, with the probes' counters before
    /// and after them; returns the totals.
    fn add(&mut self, before: [u64; 2], kernel: [u64; 3], after: [u64; 2]) -> Option<[u64; 2]> {
        let [failed, drop, chain] = kernel;
        let columns = [9, 9, failed, drop, chain];
        let (before, after) = (events(before), events(after));
        let sides = BothSides { columns: &columns, before: &before, after: &after, cpus: 1 };
        self.taken += 1;
        self.derived.add(&sides, ReadTime::from(SECOND * self.taken), SECOND);
        self.totals()
    }

    /// The same, where nothing is counted meanwhile.
    fn add_still(&mut self, kernel: [u64; 3], probes: [u64; 2]) -> Option<[u64; 2]> {
        self.add(probes, kernel, probes)
    }

    fn totals(&self) -> Option<[u64; 2]> {
        Some(self.derived.window()?.drops.map(|drop| drop.total))
    }
}

#[test]
fn drops_without_a_cause_are_exact_between_packets() {
    let mut samples = Samples::new();
    for _ in 0..2 {
        assert_eq!(samples.add_still([0, 0, 0], [0, 0]), None, "nothing is compared yet");
    }
    assert_eq!(samples.add_still([0, 0, 0], [0, 0]), Some([0, 0]));
    // 3 races, 1 long chain, 2 dying; 5 times full, 4 for other reasons. One lost race may be under way.
    assert_eq!(samples.add_still([6, 12, 1], [3, 5]), Some([1, 3]));
    assert_eq!(samples.add_still([6, 12, 1], [3, 5]), Some([2, 4]));
    let window = samples.derived.window().unwrap();
    assert_eq!((window.drops.map(|drop| drop.events), window.elapsed), ([2, 4], Some(3 * SECOND)));
}

#[test]
fn a_drop_whose_probe_has_not_returned_has_a_cause() {
    let mut samples = Samples::at_rest();
    // The kernel has counted the race, the probe has not; a sample later it has.
    assert_eq!(samples.add_still([1, 1, 0], [0, 0]), Some([0, 0]));
    assert_eq!(samples.add_still([1, 1, 0], [1, 0]), Some([0, 0]));
    // The probe has counted a full table, the kernel has not.
    assert_eq!(samples.add_still([1, 1, 0], [1, 1]), Some([0, 0]));
    assert_eq!(samples.add_still([1, 2, 0], [1, 1]), Some([0, 0]));
    // Races and full tables while the kernel is read.
    assert_eq!(samples.add([1, 1], [2, 3, 0], [3, 2]), Some([0, 0]));
    assert_eq!(samples.add_still([3, 5, 0], [3, 2]), Some([0, 0]));
    assert_eq!(samples.add_still([3, 5, 0], [3, 2]), Some([0, 0]));
}

#[test]
fn a_drop_during_a_sample_is_not_counted_as_drop_other() {
    for before in [[1, 1], [0, 1], [0, 0]] {
        let mut samples = Samples::at_rest();
        // Some were dropped before the kernel was read, and one of each after it.
        let explained = [before[0], before[1]].map(|count| 2 * count);
        samples.add(before, [before[0], before[0] + before[1], 0], explained);
        let kernel = [explained[0], explained[0] + explained[1], 0];
        for _ in 0..3 {
            assert_eq!(samples.add_still(kernel, explained), Some([0, 0]), "{before:?}");
        }
    }
}

/// 100 times full, of which the probes missed 40, and two drops of another cause before.
#[test]
fn missed_calls_are_not_counted_as_another_cause() {
    let mut samples = Samples::at_rest();
    assert_eq!(samples.add_still([0, 2, 0], [0, 0]), Some([0, 2]));
    samples.derived.handed_over();
    assert_eq!(samples.add_still([0, 102, 0], [0, 60]), Some([0, 42]));
    samples.derived.take_back();
    assert_eq!(samples.totals(), None);
    // What comes later is known again.
    for _ in 0..2 {
        assert_eq!(samples.add_still([0, 102, 0], [0, 60]), None);
    }
    assert_eq!(samples.add_still([0, 102, 0], [0, 60]), Some([0, 2]));
    assert_eq!(samples.add_still([0, 113, 0], [0, 70]), Some([0, 3]));
    let window = samples.derived.window().unwrap();
    assert_eq!((window.drops[1].events, window.elapsed), (1, Some(2 * SECOND)));
}

/// A packet that was under way when the probes were attached is still under way soon after.
#[test]
fn the_comparison_begins_after_the_packets_in_flight() {
    let mut derived = DerivedDropAccumulator::new(DropColumns::of(&layout()));
    let mut add = |drop, ms| {
        let (columns, none) = ([9, 9, 0, drop, 0], events([0, 0]));
        let sides = BothSides { columns: &columns, before: &none, after: &none, cpus: 1 };
        derived.add(&sides, ReadTime::from(Duration::from_millis(ms)), SECOND / 1000);
        derived.window().map(|window| window.drops[1].total)
    };
    assert_eq!([(0, 0), (0, 19), (1, 20)].map(|(drop, ms)| add(drop, ms)), [None; 3]);
    assert_eq!([(1, 21), (3, 22)].map(|(drop, ms)| add(drop, ms)), [Some(0), Some(2)]);
}

/// A lost race that the kernel has counted and the probe has not, for many samples.
#[test]
fn a_delayed_packet_is_not_counted_as_drop_other() {
    let mut derived = DerivedDropAccumulator::new(DropColumns::of(&layout()));
    let mut add = |race, ms| {
        let (columns, none) = ([9, 9, race, race, 0], events([0, 0]));
        let sides = BothSides { columns: &columns, before: &none, after: &none, cpus: 1 };
        derived.add(&sides, ReadTime::from(Duration::from_millis(ms)), SECOND / 1000);
        derived.window().map(|window| window.drops.map(|drop| drop.total))
    };
    (0..30).for_each(|ms| _ = add(0, ms));
    assert!((30..50).all(|ms| add(1, ms) == Some([0, 0])));
}

/// A hand-over without a sample since the last one leaves nothing to rate.
#[test]
fn rates_are_over_the_time_that_was_compared() {
    let mut samples = Samples::at_rest();
    samples.derived.handed_over();
    samples.add_still([0, 7, 0], [0, 0]);
    let window = samples.derived.window().unwrap();
    assert_eq!((window.drops[1].events, window.elapsed), (7, Some(SECOND)));
    assert_eq!((window.drops[1].peak.rate, window.drops[1].peak.count), (7.0, 7));
    samples.derived.handed_over();
    let window = samples.derived.window().unwrap();
    assert_eq!((window.drops[1].total, window.drops[1].events, window.elapsed), (7, 0, None));
}

#[test]
fn the_comparison_needs_both_counters() {
    let names = ["entries", "insert_failed", "drop"].map(String::from).to_vec();
    let old = Layout { names, maintained: false };
    assert!(DerivedDropAccumulator::new(DropColumns::of(&old)).columns.is_some());
    assert!(DerivedDropAccumulator::new(DropColumns::default()).columns.is_none());
}
