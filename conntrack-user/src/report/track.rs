//! What one counter counted, from values that come in any order.
//!
//! A track keeps the values that it has seen as stretches of time: for each its first and its last
//! value, and the events between them. Stretches grow at both ends, so a file that is read
//! backwards, or in pieces in the wrong order, gives the same total as one in order. A value within
//! a stretch changes nothing as long as the counter only rose there; where it did not, the track
//! counts the value as one that it could not order.

/// Telegraf's plugin keeps the kernel's 32 bits.
const WRAP: f64 = 4_294_967_296.0;
/// A wrap is believed if this many events or fewer explain it.
const WRAP_BELIEVED: f64 = 268_435_456.0;
/// Stretches that are kept apart; beyond them the two that are nearest to each other become one.
const MOST: usize = 16;

/// The events between two values of a counter, and whether it started again.
pub(super) fn events(before: f64, after: f64) -> (f64, bool) {
    if after >= before {
        return (after - before, false);
    }
    let wrapped = after + WRAP - before;
    if before < WRAP && wrapped < WRAP_BELIEVED { (wrapped, false) } else { (after, true) }
}

/// How far apart two times may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// Rows no further apart than this were read together: a counter cannot start again between
    /// them.
    pub(super) near_ns: i64,
    /// Rows further apart than this have a gap between them, which other rows may fill later.
    pub(super) far_ns: i64,
}

/// What a value adds to its neighbour in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    /// The earlier of the two times, and the later.
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
    pub(super) events: f64,
    /// The counter started again.
    pub(super) is_reset: bool,
    /// There is a gap between the two.
    pub(super) is_gap: bool,
}

impl Step {
    pub(super) fn seconds(&self) -> f64 {
        self.to_ns.saturating_sub(self.from_ns) as f64 / 1e9
    }
}

/// Values that are neighbours in time, without a gap.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    first: (i64, f64),
    last: (i64, f64),
    events: f64,
    resets: u64,
    first_reset_ns: Option<i64>,
    values: u64,
    /// It grew at its beginning.
    is_backwards: bool,
    /// The value before the last one.
    before_last: f64,
    /// The value before the counter started again, if it did with the last one.
    before_reset: Option<f64>,
}

/// What one counter counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Track {
    /// By time, apart from each other.
    stretches: Vec<Stretch>,
    /// The stretch that the last value belongs to.
    at: usize,
    values: u64,
    late: u64,
    unordered: u64,
    disagreeing: u64,
    odd: u64,
    jumps_back: u64,
    largest: f64,
}

impl Track {
    /// Takes the counter's value at a time; what it adds to the value that is next to it in time,
    /// if that is known.
    pub(super) fn take(&mut self, time_ns: i64, value: f64, reach: Reach) -> Option<Step> {
        self.largest = self.largest.max(value);
        let next = self.stretches.get(self.at + 1).map(|next| next.first.0);
        let before = self.at.checked_sub(1).map(|at| self.stretches[at].last.0);
        let Some(here) = self.stretches.get_mut(self.at) else {
            self.begin(0, time_ns, value);
            return None;
        };
        if time_ns > here.last.0 && next.is_none_or(|next| time_ns < next) {
            let step = step(here.last, (time_ns, value), reach);
            if step.is_gap {
                self.begin(self.at + 1, time_ns, value);
            } else if step.events < 0.0 {
                // Rows that were read together came in the wrong order.
                self.disagreeing += 1;
                here.last.0 = time_ns;
                return None;
            } else {
                self.odd += u64::from(here.is_odd(value, step));
                here.before_last = here.last.1;
                here.last = (time_ns, value);
                here.grow(step);
                self.values += 1;
            }
            return Some(step);
        }
        let is_backwards = here.is_backwards || here.values == 1;
        if is_backwards && time_ns < here.first.0 && before.is_none_or(|before| time_ns > before) {
            let step = step((time_ns, value), here.first, reach);
            if step.is_gap {
                self.begin(self.at, time_ns, value);
                self.stretches[self.at].is_backwards = true;
            } else if step.events < 0.0 {
                self.disagreeing += 1;
                here.first.0 = time_ns;
                return None;
            } else {
                here.first = (time_ns, value);
                here.is_backwards = true;
                here.grow(step);
                self.values += 1;
            }
            return Some(step);
        }
        self.place(time_ns, value, reach);
        None
    }

    /// Takes a value that does not belong at the end of the stretch of the one before.
    fn place(&mut self, time_ns: i64, value: f64, reach: Reach) {
        let at = self.stretches.partition_point(|stretch| stretch.last.0 < time_ns);
        let Some(found) = self.stretches.get_mut(at).filter(|found| time_ns >= found.first.0)
        else {
            self.jumps_back += u64::from(at <= self.at);
            self.begin(at, time_ns, value);
            return;
        };
        if time_ns == found.last.0 {
            if value > found.last.1 {
                found.events += value - found.last.1;
                found.last.1 = value;
            }
            self.disagreeing += u64::from(value < found.last.1);
        } else if time_ns == found.first.0 {
            self.disagreeing += u64::from(value != found.first.1);
        } else if found.values == 2 {
            let parts = [(found.first, (time_ns, value)), ((time_ns, value), found.last)];
            let steps = parts.map(|(from, to)| step(from, to, reach));
            found.events = steps.iter().map(|step| step.events.max(0.0)).sum();
            found.resets = steps.iter().filter(|step| step.is_reset).count() as u64;
            found.values += 1;
            self.values += 1;
        } else {
            self.late += 1;
            let fits = found.resets == 0 && (found.first.1..=found.last.1).contains(&value);
            self.unordered += u64::from(!fits);
        }
    }

    /// Begins a stretch in front of that at `at`.
    fn begin(&mut self, at: usize, time_ns: i64, value: f64) {
        let (first, last) = ((time_ns, value), (time_ns, value));
        let new = Stretch {
            first,
            last,
            events: 0.0,
            resets: 0,
            first_reset_ns: None,
            values: 1,
            is_backwards: false,
            before_last: 0.0,
            before_reset: None,
        };
        if self.stretches.is_empty() {
            self.stretches.reserve_exact(1);
        }
        self.stretches.insert(at, new);
        self.at = at;
        self.values += 1;
        if self.stretches.len() > MOST {
            self.join_nearest();
        }
    }

    /// Makes one stretch of the two that are nearest to each other.
    fn join_nearest(&mut self) {
        let apart = |pair: &[Stretch]| pair[1].first.0.saturating_sub(pair[0].last.0);
        let pairs = self.stretches.windows(2).enumerate();
        // The one that grows now goes on growing.
        let others = pairs.filter(|(at, _)| *at != self.at && at + 1 != self.at);
        let Some((at, _)) = others.min_by_key(|(_, pair)| apart(pair)) else { return };
        let next = self.stretches.remove(at + 1);
        let joined = &mut self.stretches[at];
        let (events, is_reset) = events(joined.last.1, next.first.1);
        joined.last = next.last;
        joined.events += events + next.events;
        joined.resets += u64::from(is_reset) + next.resets;
        let here = is_reset.then_some(next.first.0);
        joined.first_reset_ns = joined.first_reset_ns.or(here).or(next.first_reset_ns);
        joined.values += next.values;
        joined.is_backwards = false;
        self.at -= usize::from(self.at > at);
    }

    /// Each two stretches that are neighbours: the end of the first, the beginning of the second.
    fn joints(&self) -> impl Iterator<Item = ((i64, f64), (i64, f64))> {
        self.stretches.windows(2).map(|pair| (pair[0].last, pair[1].first))
    }

    /// The events between the first and the last value.
    pub(super) fn total(&self) -> f64 {
        let within: f64 = self.stretches.iter().map(|stretch| stretch.events).sum();
        within + self.joints().map(|(from, to)| events(from.1, to.1).0).sum::<f64>()
    }

    /// How often the counter started again in a gap.
    pub(super) fn resets_in_gaps(&self) -> u64 {
        self.joints().filter(|(from, to)| events(from.1, to.1).1).count() as u64
    }

    /// How often the counter started again.
    pub(super) fn resets(&self) -> u64 {
        let within: u64 = self.stretches.iter().map(|stretch| stretch.resets).sum();
        within + self.resets_in_gaps()
    }

    /// The time of the first value after the counter started again.
    pub(super) fn first_reset_ns(&self) -> Option<i64> {
        let within = self.stretches.iter().filter_map(|stretch| stretch.first_reset_ns);
        let between = self.joints().filter(|(from, to)| events(from.1, to.1).1);
        within.chain(between.map(|(_, to)| to.0)).min()
    }

    /// The times of the first and the last value.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        Some((self.stretches.first()?.first.0, self.stretches.last()?.last.0))
    }

    /// The times on both sides of each gap that is left.
    pub(super) fn gaps(&self) -> impl Iterator<Item = (i64, i64)> {
        self.joints().map(|(from, to)| (from.0, to.0))
    }

    /// Different times that were seen, but for values that came late.
    pub(super) fn values(&self) -> u64 {
        self.values
    }

    /// Values that came too late for rates, but not for the total.
    pub(super) fn late(&self) -> u64 {
        self.late
    }

    /// Values that came so late that the total may be wrong.
    pub(super) fn unordered(&self) -> u64 {
        self.unordered
    }

    /// Values that are lower than another of the same moment.
    pub(super) fn disagreeing(&self) -> u64 {
        self.disagreeing
    }

    /// Values that are wrong, or after which a counter started again with about the same.
    pub(super) fn odd(&self) -> u64 {
        self.odd
    }

    /// How often values went on at an earlier time.
    pub(super) fn jumps_back(&self) -> u64 {
        self.jumps_back
    }

    /// The first value.
    pub(super) fn first(&self) -> f64 {
        self.stretches.first().map_or(0.0, |stretch| stretch.first.1)
    }

    /// The largest value.
    pub(super) fn largest(&self) -> f64 {
        self.largest
    }
}

impl Stretch {
    /// Whether the counter did not start again but a value is wrong: it rises beyond the value
    /// before, or falls to no less than the value before that.
    fn is_odd(&mut self, value: f64, step: Step) -> bool {
        let before =
            std::mem::replace(&mut self.before_reset, step.is_reset.then_some(self.last.1));
        let is_spike = step.is_reset && self.before_last > 0.0 && value >= self.before_last;
        is_spike || before.is_some_and(|before| value >= before)
    }

    fn grow(&mut self, step: Step) {
        self.events += step.events;
        self.values += 1;
        if step.is_reset {
            self.resets += 1;
            let first = self.first_reset_ns.unwrap_or(step.to_ns);
            self.first_reset_ns = Some(first.min(step.to_ns));
        }
    }
}

/// What lies between two values. Between rows that were read together a decrease is negative.
fn step(from: (i64, f64), to: (i64, f64), reach: Reach) -> Step {
    let apart_ns = to.0.saturating_sub(from.0);
    let (mut events, mut is_reset) = events(from.1, to.1);
    if is_reset && apart_ns <= reach.near_ns {
        (events, is_reset) = (to.1 - from.1, false);
    }
    let is_gap = apart_ns > reach.far_ns;
    Step { from_ns: from.0, to_ns: to.0, events, is_reset, is_gap }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REACH: Reach = Reach { near_ns: 0, far_ns: i64::MAX };

    fn track(values: &[(i64, f64)], reach: Reach) -> Track {
        let mut track = Track::default();
        values.iter().for_each(|(time_ns, value)| _ = track.take(*time_ns, *value, reach));
        track
    }

    #[test]
    fn a_total_is_the_same_forwards_backwards_and_in_pieces() {
        let values: Vec<_> =
            (0..100).map(|at| (at, [at, at - 50][usize::from(at >= 50)] as f64)).collect();
        let (first, second) = values.split_at(40);
        let reversed: Vec<_> = values.iter().rev().copied().collect();
        let twice: Vec<_> = values.iter().flat_map(|value| [*value; 2]).collect();
        for order in [values.clone(), reversed, [second, first].concat(), twice] {
            let track = track(&order, REACH);
            assert_eq!((track.total(), track.resets()), (98.0, 1), "{track:?}");
            assert_eq!((track.unordered(), track.values()), (0, 100));
            assert_eq!(track.span(), Some((0, 99)));
        }
    }

    #[test]
    fn wraps_and_resets_differ() {
        let wrapped = track(&[(0, WRAP - 10.0), (1, 5.0)], REACH);
        assert_eq!((wrapped.total(), wrapped.resets()), (15.0, 0));
        let reset = track(&[(0, 1e9), (1, 5.0)], REACH);
        assert_eq!((reset.total(), reset.resets()), (5.0, 1));
    }

    #[test]
    fn rows_that_were_read_together_are_no_reset() {
        let reach = Reach { near_ns: 10, ..REACH };
        let values = [(0, 100.0), (5, 99.0), (1000, 110.0), (1001, 109.0), (2000, 120.0)];
        let found = track(&values, reach);
        assert_eq!((found.total(), found.resets(), found.disagreeing()), (20.0, 0, 2));
    }

    #[test]
    fn what_fills_a_gap_later_is_in_its_place() {
        let reach = Reach { near_ns: 0, far_ns: 10 };
        let mut values: Vec<_> = (0..50).map(|at| (at, at as f64)).collect();
        values.extend((70..100).map(|at| (at, (at - 60) as f64)));
        values.extend((50..70).map(|at| (at, [at, at - 60][usize::from(at >= 60)] as f64)));
        let found = track(&values, reach);
        assert_eq!((found.total(), found.resets(), found.unordered()), (59.0 + 39.0, 1, 0));
    }

    #[test]
    fn a_single_wrong_value_is_counted() {
        for (values, odd) in [
            ([100.0, 110.0, 12.0, 130.0], 1),
            ([100.0, 110.0, 9120.0, 130.0], 1),
            ([100.0, 110.0, 3.0, 20.0], 0),
            ([100.0, 110.0, 120.0, 130.0], 0),
        ] {
            let values: Vec<_> =
                values.into_iter().enumerate().map(|(t, v)| (t as i64, v)).collect();
            assert_eq!(track(&values, REACH).odd(), odd, "{values:?}");
        }
    }

    #[test]
    fn what_cannot_be_ordered_is_counted() {
        let mut values: Vec<_> = (0..50).map(|at| (at, at as f64)).collect();
        values.push((20, 77.0));
        values.push((21, 21.0));
        let found = track(&values, REACH);
        assert_eq!((found.late(), found.unordered(), found.total()), (2, 1, 49.0));
    }

    proptest! {
        /// Whatever the order: without a reset the total is exact, and memory is bounded.
        #[test]
        fn a_rising_counter_is_exact_in_any_order(
            rises in proptest::collection::vec(0u32..5, 2..200), seed: u64, far_ns in 1i64..50,
        ) {
            let mut sum = 0.0;
            let mut values: Vec<(i64, f64)> = Vec::new();
            for (at, rise) in rises.iter().enumerate() {
                sum += f64::from(*rise);
                values.push((at as i64 * 3, sum));
            }
            let expected = sum - values[0].1;
            fastrand::Rng::with_seed(seed).shuffle(&mut values);
            let found = track(&values, Reach { near_ns: 0, far_ns });
            prop_assert_eq!(found.total(), expected);
            prop_assert_eq!((found.unordered(), found.resets()), (0, 0));
            prop_assert!(found.stretches.len() <= MOST);
        }
    }
}
