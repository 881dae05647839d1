//! Stretches of time within which a counter's values have no gap, and the increase between two values.

use super::wrap::{Pace, WRAP, leaps, shortened, wrapped, wrapped_beside_others};

/// A value and its time.
pub(crate) type Point = (i64, f64);

/// Returns the events between two values of a counter, and whether it started again at 0. `pace` is asked for
/// where it went back.
fn events(from: Point, to: Point, fall: Fall, pace: impl Fn() -> Pace) -> (f64, bool) {
    if fall == Fall::BeganAgain && from.1 > 0.0 {
        // However high it has come since then.
        return (to.1, true);
    }
    if to.1 >= from.1 {
        return (to.1 - from.1, false);
    }
    let wrapped = match fall {
        Fall::Wraps => wrapped_beside_others(from, to, pace()),
        Fall::Shortened => shortened(from, to),
        Fall::MayWrap => wrapped(from, to, pace()),
        Fall::Resets | Fall::BeganAgain | Fall::BeganAgainBehindZeros => None,
    };
    match wrapped {
        Some(events) => (events, false),
        None => (to.1, true),
    }
}

/// What the other counters of a row say of a counter that went back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::report) enum Fall {
    /// Nothing: it may have wrapped.
    #[default]
    MayWrap,
    /// Others did not, and those that did were high: it wrapped, if by no more events than can be.
    Wraps,
    /// ctpulse, which adds up wraps, was started again: the counter has the kernel's 32 bits again.
    Shortened,
    /// Others began again, so it did not wrap.
    Resets,
    /// Several others began again: so did each counter of the row, even one that did not go back.
    BeganAgain,
    /// Several others are above 0 again, and lower than before rows with 0: so did each that was 0
    /// until now. One that was above 0 in the meantime began again earlier.
    BeganAgainBehindZeros,
}

/// How far apart two times may be.
#[derive(Debug, Clone, Copy)]
pub(in crate::report) struct Reach {
    /// Rows no further apart than this were read together: a counter cannot start again between
    /// them.
    pub(in crate::report) near_ns: i64,
    /// Rows further apart than this have a gap between them, which other rows may fill later.
    pub(in crate::report) far_ns: i64,
    /// What a counter that goes back does.
    pub(in crate::report) fall: Fall,
}

/// The increase from a value to its neighbour in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct Step {
    /// The earlier of the two times, and the later.
    pub(in crate::report) from_ns: i64,
    pub(in crate::report) to_ns: i64,
    pub(in crate::report) events: f64,
    /// The counter started again.
    pub(in crate::report) is_reset: bool,
    /// There is a gap between the two.
    pub(in crate::report) is_gap: bool,
}

impl Step {
    pub(in crate::report) fn seconds(&self) -> f64 {
        self.to_ns.saturating_sub(self.from_ns) as f64 / 1e9
    }
}

/// Values that are neighbours in time, without a gap.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) first: Point,
    pub(super) last: Point,
    /// How many values of the counter came before it.
    pub(super) arrival: u64,
    pub(super) events: f64,
    pub(super) resets: u64,
    pub(super) first_reset_ns: Option<i64>,
    pub(super) values: u64,
    /// It grew at its beginning.
    pub(super) is_backwards: bool,
    /// How a counter that is lower than before came to that.
    pub(super) begins: Fall,
    /// The value that this was concluded from.
    pub(super) begins_behind: Point,
    /// The value before the last one.
    pub(super) before_last: f64,
    /// The value before the counter started again, if it did with the last one.
    pub(super) before_reset: Option<f64>,
    /// Zeros behind the last value.
    pub(super) zeros: Option<Box<Zeros>>,
    /// The value behind zeros with which the stretch begins, if it grows backwards; the first
    /// value is the first of the zeros then.
    pub(super) behind_zeros: Option<Box<Zeros>>,
}

/// Rows with 0 beside rows with more. The value on their other side decides whether the counter
/// began again, or a query filled a gap with them.
#[derive(Debug, Clone)]
pub(super) struct Zeros {
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
    pub(super) number: u64,
    /// The value behind them.
    pub(super) behind: Point,
}

/// The place between two stretches.
pub(super) struct Joint {
    pub(super) from: Point,
    pub(super) to: Point,
    pub(super) events: f64,
    pub(super) is_reset: bool,
    /// Zeros between them that are no values of the counter.
    pub(super) filled: u64,
}

impl Joint {
    pub(super) fn of(before: &Stretch, behind: &Stretch) -> Self {
        let to = behind.behind_zeros.as_ref().map_or(behind.first, |zeros| zeros.behind);
        let fall = match behind.begins {
            // Other rows may have filled a part of the gap since then.
            Fall::BeganAgain if behind.begins_behind != before.last => Fall::Resets,
            Fall::Wraps if behind.begins_behind != before.last => Fall::MayWrap,
            fall => fall,
        };
        let pace = || pace_of([before, behind]);
        let (events, is_reset) = events(before.last, to, fall, pace);
        let zeros = before.zeros.iter().chain(&behind.behind_zeros);
        let are_values = is_reset || before.last.1 == 0.0;
        let filled = if are_values { 0 } else { zeros.map(|zeros| zeros.number).sum() };
        Self { from: (before.to_ns(), before.last.1), to, events, is_reset, filled }
    }
}

impl Stretch {
    /// Takes a value that is the same as the last one, if it comes behind that without a gap.
    pub(super) fn stand_still(&mut self, point: Point, reach: Reach) -> Option<Step> {
        let apart_ns = point.0.saturating_sub(self.last.0);
        let is_next = apart_ns > 0
            && apart_ns <= reach.far_ns
            && point.1 == self.last.1
            && reach.fall != Fall::BeganAgain;
        if !is_next || self.zeros.is_some() {
            return None;
        }
        let from_ns = std::mem::replace(&mut self.last.0, point.0);
        (self.before_last, self.before_reset) = (point.1, None);
        self.values += 1;
        Some(Step { from_ns, to_ns: point.0, events: 0.0, is_reset: false, is_gap: false })
    }

    /// The time of its last value, or of the zeros behind that.
    pub(super) fn to_ns(&self) -> i64 {
        self.zeros.as_ref().map_or(self.last.0, |zeros| zeros.to_ns)
    }

    /// Whether the counter did not start again but a value is wrong: it rises beyond the value
    /// before, falls to no less than the value before that, or rises faster than a kernel counts.
    /// Where other counters began again with it (`fall`), a fall is no reason to doubt the value.
    pub(super) fn is_odd(&mut self, point: Point, step: Step, fall: Fall) -> bool {
        let is_doubtful = step.is_reset && fall != Fall::BeganAgain;
        let before = std::mem::replace(&mut self.before_reset, is_doubtful.then_some(self.last.1));
        let is_spike = is_doubtful && self.before_last > 0.0 && point.1 >= self.before_last;
        let leaps = step.events >= WRAP / 2.0 && leaps(self.last, point);
        is_spike || leaps || before.is_some_and(|before| point.1 >= before)
    }

    pub(super) fn grow(&mut self, step: Step) {
        self.events += step.events;
        self.values += 1;
        if step.is_reset {
            self.resets += 1;
            let first = self.first_reset_ns.unwrap_or(step.to_ns);
            self.first_reset_ns = Some(first.min(step.to_ns));
        }
    }
}

/// How fast the counter rose within stretches.
pub(super) fn pace_of<'a>(stretches: impl IntoIterator<Item = &'a Stretch>) -> Pace {
    let mut pace = Pace::default();
    for stretch in stretches {
        pace.add(stretch.events, (stretch.first.0, stretch.last.0), stretch.values - 1);
    }
    pace
}

/// The increase between two values. Between rows that were read together a decrease is negative. `pace` is
/// how fast the counter rose until now.
pub(super) fn step(from: Point, to: Point, reach: Reach, pace: Pace) -> Step {
    let apart_ns = to.0.saturating_sub(from.0);
    let (mut events, mut is_reset) = events(from, to, reach.fall, || pace);
    if is_reset && apart_ns <= reach.near_ns {
        (events, is_reset) = (to.1 - from.1, false);
    }
    let is_gap = apart_ns > reach.far_ns;
    Step { from_ns: from.0, to_ns: to.0, events, is_reset, is_gap }
}
