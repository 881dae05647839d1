//! The event source's counters: since it was attached, since the last hand-over, and compared with the
//! kernel's own.
//!
//! Nothing here allocates once the number of CPUs is known.

use std::time::Duration;

use conntrack_ebpf::Event;

use crate::accumulate::derived_drops::{BothSides, DerivedDropAccumulator, DerivedWindow};
use crate::accumulate::interval::{IntervalStats, SampleWindow};
use crate::schema::provenance::DropColumns;
use crate::schema::raw::{Counted, EVENTS, HostWide, Layout, Program, ReadTime};

/// The event source's part of a window.
#[derive(Debug, Clone, Default)]
pub struct EventWindow {
    /// Which events are counted: all false while no source is attached.
    pub counted: Counted,
    /// Counters since the source was attached, [`EVENTS`] per CPU in the order of the rows; empty
    /// without one.
    pub totals: Vec<u64>,
    /// Events since the last hand-over, or since the source was attached if that was later, and
    /// peaks.
    pub tally: IntervalStats,
    /// The rest of the kernel's counters, which the source does not explain; `None` until two samples
    /// were compared, and where calls were missed since the last hand-over.
    pub derived: Option<DerivedWindow>,
    /// Time over which the tally counts.
    pub elapsed: Option<Duration>,
    /// Entries less the source's allocations plus frees, both since it was attached: 0 at rest,
    /// off by the entries under way while busy, and further off by the calls that probes missed. `None`
    /// without the two events.
    pub drift: Option<i64>,
    /// Calls that the probes are known to have missed since they were attached; `None` where that
    /// is not known.
    pub missed: Option<u64>,
    /// The source's programs; empty unless asked for.
    pub programs: Vec<Program>,
    /// Counters that it has for all namespaces together only; `None` unless asked for.
    pub host_wide: Option<HostWide>,
}

/// The events that change the number of entries.
const MOVING: [usize; 2] = [Event::Alloc as usize, Event::Free as usize];

/// Takes the event source's counters and keeps what the next emission needs.
#[derive(Debug)]
pub struct EventAccumulator {
    wants_row_peaks: bool,
    counted: Counted,
    totals: Vec<u64>,
    /// The counters over all CPUs, read before the last sample and after it.
    before: [u64; EVENTS],
    after: [u64; EVENTS],
    tally: IntervalStats,
    derived: DerivedDropAccumulator,
    missed: Option<u64>,
    has_new_misses: bool,
    /// The time of the first read.
    first: Option<Duration>,
    /// Entries less allocations plus frees when these began to be compared, and whether that was
    /// at rest, where it is exact.
    balance: Option<(i64, bool)>,
    /// Whether a connection was allocated or freed since the last sample.
    is_moving: bool,
}

impl EventAccumulator {
    pub(crate) fn new(wants_row_peaks: bool) -> Self {
        Self {
            wants_row_peaks,
            counted: Counted::default(),
            totals: Vec::new(),
            before: [0; EVENTS],
            after: [0; EVENTS],
            tally: IntervalStats::default(),
            derived: DerivedDropAccumulator::default(),
            missed: None,
            has_new_misses: false,
            first: None,
            balance: None,
            is_moving: false,
        }
    }

    /// A source was attached that counts `counted`.
    pub(crate) fn expect(&mut self, counted: Counted) {
        self.counted = counted;
    }

    /// The source is gone, and nothing is counted until another is expected.
    pub(crate) fn forget(&mut self) {
        self.reset(Counted::default());
    }

    fn reset(&mut self, counted: Counted) {
        let mut derived = std::mem::take(&mut self.derived);
        derived.reset();
        *self = Self { counted, derived, ..Self::new(self.wants_row_peaks) };
    }

    /// Takes the counters, [`EVENTS`] for each CPU, read before and after the kernel's.
    pub(crate) fn add(&mut self, before: &[u64], after: &[u64]) {
        if self.totals.len() == after.len() {
            self.is_moving = false;
            for (i, (now, total)) in after.iter().zip(&mut self.totals).enumerate() {
                let counted = now.wrapping_sub(*total);
                if counted != 0 {
                    *total = *now;
                    self.is_moving |= MOVING.contains(&(i % EVENTS));
                    self.tally.note(i, i % EVENTS, counted);
                }
            }
        } else {
            self.reset(self.counted);
            self.totals.extend_from_slice(after);
            self.tally = IntervalStats::new(after.len() / EVENTS, EVENTS, self.wants_row_peaks);
        }
        (self.before, self.after) = (over_all_cpus(before), over_all_cpus(after));
    }

    /// Takes the number of calls that the probes are known to have missed since they were attached.
    pub(crate) fn note_missed(&mut self, missed: Option<u64>) {
        if missed.unwrap_or(0) > self.missed.unwrap_or(0) {
            self.has_new_misses = true;
            self.derived.take_back();
        }
        self.missed = missed;
    }

    /// Compares with the table's number of `entries` of the same sample, read `at` that time.
    pub(crate) fn compare_entries(&mut self, entries: Option<u32>, at: Duration) {
        if self.totals.is_empty() {
            return;
        }
        self.first = self.first.or(entries.map(|_| at));
        // Entries were read before the events: only where nothing moved are they of one moment.
        let was_at_rest = self.balance.is_some_and(|(_, at_rest)| at_rest);
        if !was_at_rest && (self.balance.is_none() || !self.is_moving) {
            let at_rest = self.balance.is_some();
            self.balance = entries.map(|entries| (self.balance_of(entries), at_rest));
        }
    }

    fn balance_of(&self, entries: u32) -> i64 {
        let sum = |event: Event| self.after[event as usize].cast_signed();
        i64::from(entries) - sum(Event::Alloc) + sum(Event::Free)
    }

    /// Compares with the number of events of each of the kernel's columns, of the same sample. The
    /// sample ends a window or is the first one.
    pub(crate) fn compare_drops(
        &mut self,
        columns: &[u64],
        read: ReadTime,
        sample_interval: Duration,
    ) {
        let cpus = self.totals.len() / EVENTS;
        if cpus > 0 {
            let (before, after) = (&self.before, &self.after);
            let sides = BothSides { columns, before, after, cpus: cpus as u64 };
            self.derived.add(&sides, read, sample_interval);
        }
    }

    /// A sample window ends.
    pub(crate) fn end_window(&mut self, window: &SampleWindow) {
        self.tally.end_window(window);
    }

    /// The kernel's counters of `layout` have no history from here on, and nothing that rests on them.
    pub(crate) fn begin(&mut self, layout: &Layout) {
        self.tally.clear();
        self.tally.forget_window();
        self.derived = DerivedDropAccumulator::new(DropColumns::of(layout));
    }

    /// The kernel's counters started again: nothing is compared across this moment.
    pub(crate) fn kernel_restarted(&mut self) {
        self.derived.take_back();
    }

    pub(crate) fn handed_over(&mut self) {
        self.tally.clear();
        self.derived.handed_over();
        self.has_new_misses = false;
    }

    /// Copies the numbers as of `now`; the last hand-over was `then`.
    pub(crate) fn fill(
        &self,
        window: &mut EventWindow,
        entries: Option<u32>,
        now: Option<Duration>,
        then: Option<Duration>,
    ) {
        window.counted = self.counted;
        window.totals.clone_from(&self.totals);
        self.tally.copy_to(&mut window.tally);
        window.missed = self.missed;
        window.derived = self.derived.window().filter(|_| !self.has_new_misses);
        window.elapsed = match (now, then, self.first) {
            (Some(now), Some(then), Some(first)) => now.checked_sub(then.max(first)),
            _ => None,
        };
        window.elapsed = window.elapsed.filter(|elapsed| !elapsed.is_zero());
        window.drift = entries.and_then(|entries| self.drift(entries));
    }

    fn drift(&self, entries: u32) -> Option<i64> {
        let counts = |event: Event| self.counted[event as usize];
        let (balance, _) = self.balance.filter(|_| counts(Event::Alloc) && counts(Event::Free))?;
        Some(self.balance_of(entries) - balance)
    }
}

/// Returns each event's counter over all CPUs.
fn over_all_cpus(counters: &[u64]) -> [u64; EVENTS] {
    let mut sums = [0u64; EVENTS];
    for cpu in counters.chunks_exact(EVENTS) {
        for (sum, counter) in sums.iter_mut().zip(cpu) {
            *sum = sum.wrapping_add(*counter);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Takes counters that stood still while the kernel was read.
    fn add(events: &mut EventAccumulator, counters: &[u64]) {
        events.add(counters, counters);
    }

    fn counters(alloc: u64, free: u64) -> Vec<u64> {
        let mut counters = vec![0; EVENTS];
        counters[Event::Alloc as usize] = alloc;
        counters[Event::Free as usize] = free;
        counters
    }

    /// A window that found no room is followed by a window that covers its time, too.
    #[test]
    fn missed_calls_are_new_until_they_are_handed_over() {
        let mut events = EventAccumulator::new(false);
        let mut window = EventWindow::default();
        let mut fill = |events: &mut EventAccumulator, missed| {
            events.note_missed(missed);
            events.fill(&mut window, None, None, None);
            (window.missed, events.has_new_misses)
        };
        assert_eq!(fill(&mut events, Some(0)), (Some(0), false));
        assert_eq!(fill(&mut events, Some(3)), (Some(3), true));
        assert_eq!(fill(&mut events, Some(3)), (Some(3), true));
        events.handed_over();
        assert_eq!(fill(&mut events, Some(3)), (Some(3), false));
        assert_eq!(fill(&mut events, None), (None, false));
    }

    /// The row that could not be handed over is part of the next one.
    #[test]
    fn derived_drops_are_unknown_until_new_misses_are_handed_over() {
        let names = ["insert_failed", "drop"].map(String::from).to_vec();
        let mut events = EventAccumulator::new(false);
        events.begin(&Layout { names, maintained: false });
        let mut taken = 0;
        let mut known = |events: &mut EventAccumulator| {
            for _ in 0..3 {
                taken += 1;
                add(events, &counters(0, 0));
                events.compare_drops(&[0, 0], ReadTime::from(SECOND * taken), SECOND);
            }
            let mut window = EventWindow::default();
            events.fill(&mut window, None, None, None);
            window.derived.is_some()
        };
        assert!(known(&mut events));
        events.note_missed(Some(1));
        assert!(!known(&mut events));
        events.handed_over();
        assert!(known(&mut events));
    }

    #[test]
    fn drift_is_the_error_of_the_balance() {
        let mut events = EventAccumulator::new(false);
        events.expect([true; EVENTS]);
        add(&mut events, &counters(50, 40));
        events.compare_entries(Some(7), SECOND);
        add(&mut events, &counters(80, 45));
        events.compare_entries(Some(30), 2 * SECOND);
        let mut window = EventWindow::default();
        events.fill(&mut window, Some(30), Some(2 * SECOND), Some(SECOND));
        assert_eq!(window.drift, Some(-2));
    }

    /// Attached while connections come: the first comparison is off by those under way.
    #[test]
    fn drift_is_corrected_at_the_first_sample_without_events() {
        let mut events = EventAccumulator::new(false);
        events.expect([true; EVENTS]);
        let mut window = EventWindow::default();
        let mut drift = |alloc, entries| {
            add(&mut events, &counters(alloc, 0));
            events.compare_entries(Some(entries), SECOND);
            events.fill(&mut window, Some(entries), None, None);
            window.drift
        };
        // Three came between the two readings.
        assert_eq!(drift(13, 10), Some(0));
        assert_eq!(drift(20, 20), Some(3));
        assert_eq!(drift(20, 20), Some(0));
        assert_eq!(drift(25, 25), Some(0));
        // One was missed.
        assert_eq!(drift(26, 27), Some(1));
        assert_eq!(drift(26, 27), Some(1));
    }

    #[test]
    fn rates_of_a_later_source_are_over_its_own_time() {
        let mut events = EventAccumulator::new(false);
        events.expect([true; EVENTS]);
        events.compare_entries(Some(0), SECOND);
        add(&mut events, &counters(0, 0));
        events.compare_entries(Some(0), 9 * SECOND);
        let mut window = EventWindow::default();
        events.fill(&mut window, Some(0), Some(9 * SECOND), Some(SECOND));
        assert_eq!(window.elapsed, None);
        add(&mut events, &counters(10, 0));
        events.compare_entries(Some(10), 10 * SECOND);
        events.fill(&mut window, Some(10), Some(10 * SECOND), Some(SECOND));
        assert_eq!(window.elapsed, Some(SECOND));
        assert_eq!(window.tally.events[Event::Alloc as usize], 10);
    }
}
