//! The event source's side of merging: its counters since it was attached, what they counted
//! since the last hand-over, and how they stand to the kernel's own.
//!
//! As `merge`, nothing here allocates once the number of CPUs is known.

use std::time::Duration;

use conntrack_ebpf::Event;

use crate::accumulate::derived_drops::{Attribution, DerivedDrops};
use crate::accumulate::interval::{IntervalStats, SampleWindow};
use crate::schema::provenance::DropColumns;
use crate::schema::raw::{Counted, EVENTS, HostWide, Program};

/// The event source's part of a window.
#[derive(Debug, Clone, Default)]
pub struct EventWindow {
    /// Which events are counted; once known it stays, so that the rows keep their fields.
    pub counted: Counted,
    /// Counters since the source was attached, [`EVENTS`] per CPU in the order of the rows; empty
    /// without one.
    pub totals: Vec<u64>,
    /// Events since the last hand-over, or since the source was attached if that was later, and
    /// peaks.
    pub tally: IntervalStats,
    /// What is left over of the kernel's counters, since the source was attached.
    pub remainders: DerivedDrops,
    /// The same since the last hand-over.
    pub remainder_tally: IntervalStats,
    /// Time over which the tallies count.
    pub elapsed: Option<Duration>,
    /// Entries less the source's allocations plus frees, both since it was attached: 0 at rest,
    /// off by what is under way while busy, and further off by what the probes missed. `None`
    /// without the two events.
    pub drift: Option<i64>,
    /// Calls that the probes are known to have missed since they were attached; `None` where that
    /// is not known.
    pub missed: Option<u64>,
    /// Whether some of them were missed since the last hand-over, so that what is left over of the
    /// kernel's counters is not known for that time.
    pub has_new_misses: bool,
    /// The source's programs; empty unless asked for.
    pub programs: Vec<Program>,
    /// What it knows for all namespaces together only; `None` unless asked for.
    pub host_wide: Option<HostWide>,
}

/// What changes the number of entries.
const MOVING: [usize; 2] = [Event::Alloc as usize, Event::Free as usize];

/// Takes the event source's counters and keeps what the next emission needs.
#[derive(Debug)]
pub struct EventAccumulator {
    wants_row_peaks: bool,
    counted: Counted,
    totals: Vec<u64>,
    /// What all CPUs together counted since the first read.
    sums: [u64; EVENTS],
    tally: IntervalStats,
    attribution: Attribution,
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
            sums: [0; EVENTS],
            tally: IntervalStats::default(),
            attribution: Attribution::new(),
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
        *self = Self::new(self.wants_row_peaks);
    }

    /// Takes the counters, [`EVENTS`] for each CPU.
    pub(crate) fn add(&mut self, now: &[u64]) {
        if self.totals.len() != now.len() {
            let counted = self.counted;
            *self = Self { counted, ..Self::new(self.wants_row_peaks) };
            self.totals.extend_from_slice(now);
            self.tally = IntervalStats::new(now.len() / EVENTS, EVENTS, self.wants_row_peaks);
            return;
        }
        self.is_moving = false;
        for (i, (now, total)) in now.iter().zip(&mut self.totals).enumerate() {
            let counted = now.wrapping_sub(*total);
            if counted != 0 {
                *total = *now;
                self.sums[i % EVENTS] += counted;
                self.is_moving |= MOVING.contains(&(i % EVENTS));
                self.tally.note(i, i % EVENTS, counted);
            }
        }
    }

    /// Takes the number of calls that the probes are known to have missed since they were attached.
    pub(crate) fn note_missed(&mut self, missed: Option<u64>) {
        if missed.unwrap_or(0) > self.missed.unwrap_or(0) {
            self.has_new_misses = true;
            self.attribution.begin_anew();
        }
        self.missed = missed;
    }

    /// Compares with the kernel's side of the same sample: what each column counted since some
    /// time, and the table's entries.
    pub(crate) fn compare(
        &mut self,
        drop_columns: &DropColumns,
        columns: &[u64],
        entries: Option<u32>,
        at: Duration,
    ) {
        if self.totals.is_empty() {
            return;
        }
        self.attribution.add(drop_columns, columns, &self.sums);
        self.first = self.first.or(entries.map(|_| at));
        // Entries were read before the events: only where nothing moved are they of one moment.
        let was_at_rest = self.balance.is_some_and(|(_, at_rest)| at_rest);
        if !was_at_rest && (self.balance.is_none() || !self.is_moving) {
            let at_rest = self.balance.is_some();
            self.balance = entries.map(|entries| (self.balance_of(entries), at_rest));
        }
    }

    fn balance_of(&self, entries: u32) -> i64 {
        let sum = |event: Event| self.sums[event as usize].cast_signed();
        i64::from(entries) - sum(Event::Alloc) + sum(Event::Free)
    }

    /// A sample window ends.
    pub(crate) fn end_window(&mut self, window: &SampleWindow) {
        self.tally.end_window(window);
        self.attribution.tally.end_window(window);
    }

    /// The kernel's counters have no history from here on, and nothing that rests on them.
    pub(crate) fn begin(&mut self) {
        self.tally.clear();
        self.tally.forget_window();
        self.attribution = Attribution::new();
    }

    pub(crate) fn handed_over(&mut self) {
        self.tally.clear();
        self.attribution.handed_over();
        self.has_new_misses = false;
    }

    /// Copies what is known at `now`; the last hand-over was `then`.
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
        window.has_new_misses = self.has_new_misses;
        window.remainders = self.attribution.totals;
        self.attribution.tally.copy_to(&mut window.remainder_tally);
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn counters(alloc: u64, free: u64) -> Vec<u64> {
        let mut counters = vec![0; EVENTS];
        counters[Event::Alloc as usize] = alloc;
        counters[Event::Free as usize] = free;
        counters
    }

    /// A window that found no room is followed by one that covers its time, too.
    #[test]
    fn misses_are_new_until_they_are_handed_over() {
        let mut events = EventAccumulator::new(false);
        let mut window = EventWindow::default();
        let mut fill = |events: &mut EventAccumulator, missed| {
            events.note_missed(missed);
            events.fill(&mut window, None, None, None);
            (window.missed, window.has_new_misses)
        };
        assert_eq!(fill(&mut events, Some(0)), (Some(0), false));
        assert_eq!(fill(&mut events, Some(3)), (Some(3), true));
        assert_eq!(fill(&mut events, Some(3)), (Some(3), true));
        events.handed_over();
        assert_eq!(fill(&mut events, Some(3)), (Some(3), false));
        assert_eq!(fill(&mut events, None), (None, false));
    }

    #[test]
    fn drift_is_what_the_identity_is_off_by() {
        let mut events = EventAccumulator::new(false);
        events.expect([true; EVENTS]);
        events.add(&counters(50, 40));
        events.compare(&DropColumns::default(), &[0], Some(7), SECOND);
        events.add(&counters(80, 45));
        events.compare(&DropColumns::default(), &[0], Some(30), 2 * SECOND);
        let mut window = EventWindow::default();
        events.fill(&mut window, Some(30), Some(2 * SECOND), Some(SECOND));
        assert_eq!(window.drift, Some(-2));
    }

    /// Attached while connections come: the first comparison is off by what was under way.
    #[test]
    fn drift_is_put_right_at_the_first_rest() {
        let mut events = EventAccumulator::new(false);
        events.expect([true; EVENTS]);
        let mut window = EventWindow::default();
        let mut drift = |alloc, entries| {
            events.add(&counters(alloc, 0));
            events.compare(&DropColumns::default(), &[0], Some(entries), SECOND);
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
    fn a_source_that_came_later_is_not_averaged_over_the_time_before() {
        let mut events = EventAccumulator::new(false);
        events.expect([true; EVENTS]);
        events.compare(&DropColumns::default(), &[0], Some(0), SECOND);
        events.add(&counters(0, 0));
        events.compare(&DropColumns::default(), &[0], Some(0), 9 * SECOND);
        let mut window = EventWindow::default();
        events.fill(&mut window, Some(0), Some(9 * SECOND), Some(SECOND));
        assert_eq!(window.elapsed, None);
        events.add(&counters(10, 0));
        events.compare(&DropColumns::default(), &[0], Some(10), 10 * SECOND);
        events.fill(&mut window, Some(10), Some(10 * SECOND), Some(SECOND));
        assert_eq!(window.elapsed, Some(SECOND));
        assert_eq!(window.tally.events[Event::Alloc as usize], 10);
    }
}
