//! The total of one counter, from values in any order.
//!
//! A track keeps the values that it has seen as stretches of time: for each its first and its last
//! value, and the events between them. Stretches grow at both ends, so a file that is read
//! backwards, or in pieces in the wrong order, gives the same total as one in order. A value within
//! a stretch changes nothing as long as the counter only rose there; where it did not, the track
//! counts the value as one that it could not order.

mod falls;
mod open_falls;
mod stretch;
mod wrap;

pub(super) use self::falls::{Falls, RowReach, settle};
use self::open_falls::OpenFalls;
pub(crate) use self::stretch::Point;
pub(super) use self::stretch::{Fall, Reach, Step};
use self::stretch::{Joint, Stretch, Zeros, pace_of, step};
pub(super) use self::wrap::WRAP;
use self::wrap::wrapped_beside_others;
pub(crate) use self::wrap::{Pace, leaps, wrapped};

/// Stretches that are kept apart; beyond them the two that are nearest to each other become one.
const MOST: usize = 16;

/// Values no further apart than this are those of one counter: no kernel counts more a second.
const NEAR: f64 = 16_777_216.0;

/// The track of one counter.
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
    filled: u64,
    jumps_back: u64,
    open_falls: OpenFalls,
    /// The times on both sides of the place where stretches were joined last.
    joined: Option<(i64, i64)>,
    /// The value that was taken last.
    latest: f64,
    largest: f64,
    /// Events of a first time whose values came from the largest on: those of a source that is
    /// read backwards, or no events but values of several sources.
    lowered: f64,
    /// The same for values that came from the smallest on.
    risen: f64,
    /// The first events, if the counter began with 0.
    rise_from_zero: f64,
}

impl Track {
    /// Takes the counter's value at a time; what it adds to the value that is next to it in time,
    /// if that is known.
    #[inline]
    pub(super) fn take(&mut self, time_ns: i64, value: f64, reach: Reach) -> Option<Step> {
        // Most counters of most rows did not move.
        if value == self.latest
            && self.at + 1 == self.stretches.len()
            && let Some(here) = self.stretches.last_mut()
            && let Some(step) = here.stand_still((time_ns, value), reach)
        {
            self.values += 1;
            return Some(step);
        }
        self.take_any(time_ns, value, reach)
    }

    /// The same for a value that is not the one before it.
    #[inline(never)]
    fn take_any(&mut self, time_ns: i64, value: f64, reach: Reach) -> Option<Step> {
        self.latest = value;
        let was_zero = self.largest == 0.0;
        self.largest = self.largest.max(value);
        let Some(here) = self.stretches.get(self.at) else {
            self.begin(0, (time_ns, value), reach);
            return None;
        };
        if time_ns > here.to_ns() && self.is_in_front_of_next(time_ns) {
            let step = self.append((time_ns, value), reach);
            if was_zero && value > 0.0 {
                self.rise_from_zero = value;
            }
            return step;
        }
        if time_ns < here.first.0 && self.grows_backwards(time_ns) {
            return self.prepend((time_ns, value), reach);
        }
        // A part that goes on where an earlier one ends.
        if let Some(at) = self.behind(time_ns).filter(|at| {
            let before = &self.stretches[*at];
            time_ns > before.to_ns() && time_ns.saturating_sub(before.to_ns()) <= reach.far_ns
        }) {
            self.jumps_back += u64::from(at < self.at);
            self.at = at;
            return self.append((time_ns, value), reach);
        }
        let here = &self.stretches[self.at];
        let is_twice = |zeros: &Zeros| (zeros.from_ns..=zeros.to_ns).contains(&time_ns);
        if value > 0.0 || !here.zeros.as_deref().is_some_and(is_twice) {
            self.place(time_ns, value, reach);
        }
        None
    }

    /// Takes a value behind the last one.
    fn append(&mut self, point: Point, mut reach: Reach) -> Option<Step> {
        let pace = self.pace_where(|here| point.1 < here.last.1);
        let here = self.stretches.get_mut(self.at)?;
        if reach.fall == Fall::BeganAgainBehindZeros {
            let was_zero = here.zeros.is_some();
            reach.fall = if was_zero { Fall::BeganAgain } else { Fall::Resets };
        }
        let from_ns = here.to_ns();
        let is_wrap = || match reach.fall {
            Fall::Wraps => wrapped_beside_others(here.last, point, pace).is_some(),
            Fall::MayWrap => wrapped(here.last, point, pace).is_some(),
            _ => false,
        };
        let is_open = reach.fall != Fall::BeganAgain;
        if point.1 == 0.0 && here.last.1 > 0.0 && is_open && !is_wrap() {
            let behind = here.last;
            let new = || Zeros { from_ns: point.0, to_ns: point.0, number: 0, behind };
            let zeros = here.zeros.get_or_insert_with(|| Box::new(new()));
            (zeros.to_ns, zeros.number) = (point.0, zeros.number + 1);
            here.values += 1;
            self.values += 1;
            let is_gap = point.0.saturating_sub(from_ns) > reach.far_ns;
            return Some(Step { from_ns, to_ns: point.0, events: 0.0, is_reset: false, is_gap });
        }
        let mut step = step((from_ns, here.last.1), point, reach, pace);
        if step.is_gap {
            self.begin(self.at + 1, point, reach);
            return Some(step);
        }
        self.open_falls.take((here.last, point), reach.fall, step);
        if step.events < 0.0 {
            // Rows that were read together came in the wrong order.
            self.disagreeing += 1;
            here.last.0 = point.0;
            return None;
        }
        if let Some(zeros) = here.zeros.take() {
            if step.is_reset {
                here.first_reset_ns.get_or_insert(zeros.from_ns);
            } else {
                self.filled += zeros.number;
                (step.from_ns, step.is_gap) = (here.last.0, true);
            }
        } else {
            self.odd += u64::from(here.is_odd(point, step, reach.fall));
        }
        here.before_last = here.last.1;
        here.last = point;
        here.grow(step);
        self.values += 1;
        Some(step)
    }

    /// Takes a value in front of the first one.
    fn prepend(&mut self, point: Point, reach: Reach) -> Option<Step> {
        let pace = self.pace_where(|here| here.first.1 < point.1);
        let here = self.stretches.get_mut(self.at)?;
        let to_ns = here.first.0;
        let is_gap = to_ns.saturating_sub(point.0) > reach.far_ns;
        let is_open = reach.fall != Fall::BeganAgain;
        if point.1 == 0.0
            && !is_gap
            && is_open
            && (here.first.1 > 0.0 || here.behind_zeros.is_some())
        {
            let behind = here.first;
            let new = || Zeros { from_ns: point.0, to_ns: point.0, number: 0, behind };
            let zeros = here.behind_zeros.get_or_insert_with(|| Box::new(new()));
            (zeros.from_ns, zeros.number) = (point.0, zeros.number + 1);
            (here.first, here.is_backwards) = (point, true);
            here.values += 1;
            self.values += 1;
            let from_ns = point.0;
            return Some(Step { from_ns, to_ns, events: 0.0, is_reset: false, is_gap: false });
        }
        let to = here.behind_zeros.as_ref().map_or(here.first, |zeros| zeros.behind);
        let mut step = step(point, to, reach, pace);
        if is_gap {
            (here.begins, here.begins_behind) = (reach.fall, point);
            self.begin(self.at, point, Reach { fall: Fall::MayWrap, ..reach });
            self.stretches[self.at].is_backwards = true;
            return Some(Step { is_gap, ..step });
        }
        self.open_falls.take((point, to), reach.fall, step);
        if step.events < 0.0 {
            self.disagreeing += 1;
            here.first.0 = point.0;
            return None;
        }
        step.is_gap = false;
        if let Some(zeros) = here.behind_zeros.take() {
            if step.is_reset {
                (step.from_ns, step.to_ns) = (point.0, to_ns);
            } else {
                self.filled += zeros.number;
                step.is_gap = true;
            }
        }
        (here.first, here.is_backwards) = (point, true);
        here.grow(step);
        self.values += 1;
        Some(step)
    }

    /// Takes a smaller value of the time of the first one: of several of one time, that was read
    /// first. It came behind the others if `is_backwards`.
    pub(super) fn begin_lower(&mut self, time_ns: i64, value: f64, is_backwards: bool) {
        let Some(first) = self.stretches.get_mut(self.at) else { return };
        if first.first.0 == time_ns && value < first.first.1 && first.behind_zeros.is_none() {
            first.events += first.first.1 - value;
            let lowered = if is_backwards { &mut self.lowered } else { &mut self.risen };
            *lowered += first.first.1 - value;
            first.first.1 = value;
        }
    }

    /// How fast the counter rose so far.
    fn pace(&self) -> Pace {
        pace_of(&self.stretches)
    }

    /// The same where the current stretch `falls`: it is not asked for elsewhere.
    fn pace_where(&self, falls: impl Fn(&Stretch) -> bool) -> Pace {
        let is_asked_for = self.stretches.get(self.at).is_some_and(falls);
        if is_asked_for { self.pace() } else { Pace::default() }
    }

    /// Whether a value is behind a higher one in time.
    pub(super) fn is_below(&self, point: Point) -> bool {
        self.neighbours(point).is_some_and(|(from, to)| to == point && to.1 < from.1)
    }

    /// The two values that a value at a time is between, or at the end of, in their order.
    fn neighbours(&self, point: Point) -> Option<(Point, Point)> {
        let here = self.stretches.get(self.at)?;
        if point.0 > here.last.0 && self.is_in_front_of_next(point.0) {
            return Some((here.last, point));
        }
        if point.0 < here.first.0 && self.grows_backwards(point.0) {
            return Some((point, here.first));
        }
        let before = &self.stretches[self.behind(point.0)?];
        Some((before.last, point))
    }

    /// Whether a time is in front of the stretch behind the current one.
    fn is_in_front_of_next(&self, time_ns: i64) -> bool {
        self.stretches.get(self.at + 1).is_none_or(|next| time_ns < next.first.0)
    }

    /// Whether a time in front of the current stretch belongs to it, as it grows backwards.
    fn grows_backwards(&self, time_ns: i64) -> bool {
        let is_behind_others =
            || self.at.checked_sub(1).is_none_or(|at| time_ns > self.stretches[at].last.0);
        let here = self.stretches.get(self.at);
        here.is_some_and(|here| here.is_backwards || here.values == 1) && is_behind_others()
    }

    /// The stretch that a time comes behind, if it is in none and not in front of all.
    fn behind(&self, time_ns: i64) -> Option<usize> {
        let at = self.stretches.partition_point(|stretch| stretch.last.0 < time_ns);
        if self.stretches.get(at).is_some_and(|next| next.first.0 <= time_ns) {
            return None;
        }
        at.checked_sub(1)
    }

    /// The time of the first of the rows with 0 directly in front of a later value, if there are any.
    fn zeros_in_front_of(&self, point: Point) -> Option<i64> {
        let here = self.stretches.get(self.at)?;
        let is_here = point.0 > here.last.0 && self.is_in_front_of_next(point.0);
        let at = if is_here { self.at } else { self.behind(point.0)? };
        let zeros = self.stretches[at].zeros.as_deref()?;
        (zeros.to_ns < point.0).then_some(zeros.from_ns)
    }

    /// Takes a value that does not belong at the end of the stretch of the one before.
    fn place(&mut self, time_ns: i64, value: f64, reach: Reach) {
        let at = self.stretches.partition_point(|stretch| stretch.last.0 < time_ns);
        let pace = self.pace_where(|_| true);
        let Some(found) = self.stretches.get_mut(at).filter(|found| time_ns >= found.first.0)
        else {
            self.jumps_back += u64::from(at <= self.at);
            self.begin(at, (time_ns, value), reach);
            return;
        };
        if time_ns == found.last.0 {
            if value > found.last.1 {
                found.events += value - found.last.1;
                found.last.1 = value;
            }
            self.disagreeing += u64::from(value < found.last.1);
        } else if time_ns == found.first.0 {
            if found.is_backwards && value < found.first.1 {
                // Several rows of one time, read from the last one on.
                found.events += found.first.1 - value;
                found.first.1 = value;
                return;
            }
            self.disagreeing += u64::from(value != found.first.1);
        } else if found.values == 2 && found.zeros.is_none() && found.behind_zeros.is_none() {
            let parts = [(found.first, (time_ns, value)), ((time_ns, value), found.last)];
            // The other counters of the row are compared with other neighbours.
            let reach = Reach { fall: Fall::MayWrap, ..reach };
            let steps = parts.map(|(from, to)| step(from, to, reach, pace));
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
    fn begin(&mut self, at: usize, point: Point, reach: Reach) {
        let before = at.checked_sub(1).and_then(|at| self.stretches.get(at));
        let behind = before.map_or((i64::MIN, 0.0), |before| before.last);
        let new = Stretch {
            first: point,
            last: point,
            arrival: self.values,
            events: 0.0,
            resets: 0,
            first_reset_ns: None,
            values: 1,
            is_backwards: false,
            begins: reach.fall,
            begins_behind: behind,
            before_last: 0.0,
            before_reset: None,
            zeros: None,
            behind_zeros: None,
        };
        if self.stretches.is_empty() {
            self.stretches.reserve_exact(1);
        }
        if let Some(before) = at.checked_sub(1).and_then(|at| self.stretches.get_mut(at))
            && before.to_ns() >= point.0
        {
            // The zeros are those of a later stretch.
            before.zeros = None;
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
        let joint = Joint::of(joined, &next);
        self.joined = Some((joint.from.0, joint.to.0));
        self.filled += joint.filled;
        joined.last = next.last;
        joined.events += joint.events + next.events;
        joined.resets += u64::from(joint.is_reset) + next.resets;
        let here = joint.is_reset.then_some(joint.to.0);
        joined.first_reset_ns = joined.first_reset_ns.or(here).or(next.first_reset_ns);
        joined.values += next.values;
        joined.is_backwards = false;
        joined.zeros = next.zeros;
        self.at -= usize::from(self.at > at);
    }

    /// The two values beside each place where stretches meet that were not neighbours when the later one
    /// began, as the rows between came later.
    pub(super) fn new_neighbours(&self) -> impl Iterator<Item = (Point, Point)> {
        let pairs = self.stretches.windows(2).filter(|pair| {
            let are_values = pair[0].zeros.is_none() && pair[1].behind_zeros.is_none();
            are_values && pair[1].begins_behind != pair[0].last
        });
        pairs.map(|pair| (pair[0].last, pair[1].first))
    }

    /// Takes the times between which no value has a place any more, once.
    pub(super) fn take_joined(&mut self) -> Option<(i64, i64)> {
        self.joined.take()
    }

    /// Settles how the counter came from one value to another, its new neighbour.
    pub(super) fn settle(&mut self, (from, to): (Point, Point), fall: Fall) {
        let at = self.stretches.partition_point(|stretch| stretch.first.0 < to.0);
        let before = at.checked_sub(1).map(|at| self.stretches[at].last);
        if let Some(behind) = self.stretches.get_mut(at).filter(|_| before == Some(from)) {
            (behind.begins, behind.begins_behind) = (fall, from);
        }
    }

    /// The increase between each two neighbouring stretches.
    fn joints(&self) -> impl Iterator<Item = Joint> {
        self.stretches.windows(2).map(|pair| Joint::of(&pair[0], &pair[1]))
    }

    /// The events between the first and the last value.
    pub(super) fn total(&self) -> f64 {
        let within: f64 = self.stretches.iter().map(|stretch| stretch.events).sum();
        // Zeros in front of everything are values of a counter that begins.
        let first = self.stretches.first().and_then(|stretch| stretch.behind_zeros.as_ref());
        let first = first.map_or(0.0, |zeros| zeros.behind.1);
        let is_backwards = self.stretches.iter().any(|stretch| stretch.is_backwards);
        let lowered = if is_backwards { 0.0 } else { self.lowered };
        let joints: f64 = self.joints().map(|joint| joint.events).sum();
        first - lowered + within + joints + self.open_falls.settled(self.pace()).events
    }

    /// The events among several values of the first time, which are none if these are of several
    /// sources.
    pub(super) fn risen_at_first(&self) -> f64 {
        self.risen
    }

    /// How often the counter started again between two stretches.
    fn resets_between(&self) -> u64 {
        self.joints().filter(|joint| joint.is_reset).count() as u64
    }

    /// How often the counter started again in a gap of more than so many seconds.
    pub(super) fn resets_in_gaps(&self, least_seconds: f64) -> u64 {
        let is_gap =
            |joint: &Joint| joint.to.0.saturating_sub(joint.from.0) as f64 / 1e9 > least_seconds;
        self.joints().filter(|joint| joint.is_reset && is_gap(joint)).count() as u64
    }

    /// Whether the counter had so many events in a gap, if it went on as in all other rows, that 32 bits wrap.
    pub(super) fn may_wrap_in_gaps(&self) -> bool {
        let pace = self.pace();
        self.gaps().any(|(from_ns, to_ns)| pace.is_beyond_wrap(to_ns.saturating_sub(from_ns)))
    }

    /// How often the counter started again.
    pub(super) fn resets(&self) -> u64 {
        let within: u64 = self.stretches.iter().map(|stretch| stretch.resets).sum();
        let resets = within + self.resets_between() + u64::from(self.last_zeros().is_some());
        resets.saturating_add_signed(self.open_falls.settled(self.pace()).resets)
    }

    /// The time of the first value after the counter started again.
    pub(super) fn first_reset_ns(&self) -> Option<i64> {
        let within = self.stretches.iter().filter_map(|stretch| stretch.first_reset_ns);
        let between = self.joints().filter(|joint| joint.is_reset);
        let last = self.last_zeros().map(|zeros| zeros.from_ns);
        within.chain(between.map(|joint| joint.to.0)).chain(last).min()
    }

    /// The zeros at the end.
    fn last_zeros(&self) -> Option<&Zeros> {
        self.stretches.last()?.zeros.as_deref()
    }

    /// How many zeros there are behind the last other value.
    pub(super) fn zeros_at_end(&self) -> u64 {
        self.last_zeros().map_or(0, |zeros| zeros.number)
    }

    /// Zeros between values that go on, which no counter has.
    pub(super) fn filled(&self) -> u64 {
        self.filled + self.joints().map(|joint| joint.filled).sum::<u64>()
    }

    /// The times of the first and the last value.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        Some((self.stretches.first()?.first.0, self.stretches.last()?.to_ns()))
    }

    /// The times on both sides of each gap that is left.
    pub(super) fn gaps(&self) -> impl Iterator<Item = (i64, i64)> {
        self.joints().map(|joint| (joint.from.0, joint.to.0))
    }

    /// The events between parts that came in another order than that of their times, and are further
    /// apart than so many seconds.
    pub(super) fn events_between_parts(&self, least_seconds: f64) -> f64 {
        let is_other = |pair: &&[Stretch]| {
            let apart_ns = pair[1].first.0.saturating_sub(pair[0].to_ns());
            let is_gap = apart_ns as f64 / 1e9 > least_seconds;
            is_gap && pair[0].arrival > pair[1].arrival && !pair[0].is_backwards
        };
        let other = self.stretches.windows(2).filter(is_other);
        other.map(|pair| Joint::of(&pair[0], &pair[1]).events).sum()
    }

    /// The first and the last value of each stretch of time without a gap.
    pub(super) fn ends(&self) -> impl Iterator<Item = (Point, Point)> {
        self.stretches.iter().map(|stretch| (stretch.first, stretch.last))
    }

    /// Whether the value is no lower than the one that was taken last, if that is above 0.
    pub(super) fn is_no_lower(&self, value: f64) -> bool {
        self.latest > 0.0 && value >= self.latest
    }

    /// What a value adds to the last one, if that has the same time: their events have no time of their own.
    pub(super) fn rise_at(&self, time_ns: i64, value: f64) -> Option<Step> {
        let here = self.stretches.get(self.at).filter(|here| here.zeros.is_none())?;
        (here.last.0 == time_ns && value > here.last.1).then_some(Step {
            from_ns: time_ns,
            to_ns: time_ns,
            events: value - here.last.1,
            is_reset: false,
            is_gap: false,
        })
    }

    /// The last value and the one in front of it, if it has about this time.
    pub(super) fn last_step(&self, time_ns: i64, near_ns: i64) -> Option<(f64, f64)> {
        let here = self.stretches.get(self.at).filter(|here| here.zeros.is_none())?;
        if here.last.0.abs_diff(time_ns) > near_ns.unsigned_abs() {
            return None;
        }
        let from = match here.values {
            1 => self.stretches.get(self.at.checked_sub(1)?)?.last.1,
            _ => here.before_last,
        };
        Some((from, here.last.1))
    }

    /// Whether the value is near the one that was taken last.
    pub(super) fn is_near(&self, value: f64) -> bool {
        self.values > 0 && (value - self.latest).abs() < NEAR
    }

    /// Whether this is the value that was taken last.
    pub(super) fn is_latest(&self, value: f64) -> bool {
        value == self.latest
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

    /// The first events of a counter that began with 0.
    pub(super) fn rise_from_zero(&self) -> f64 {
        let first = self.stretches.first().and_then(|stretch| stretch.behind_zeros.as_ref());
        first.map_or(self.rise_from_zero, |zeros| zeros.behind.1)
    }

    /// The last value.
    pub(super) fn last(&self) -> f64 {
        self.stretches.last().map_or(0.0, |stretch| stretch.last.1)
    }

    /// The largest value.
    pub(super) fn largest(&self) -> f64 {
        self.largest
    }
}

#[cfg(test)]
mod tests;
