//! Whether a counter that is lower than before wrapped, and by how many events.

use super::stretch::Point;

/// Telegraf's plugin keeps the kernel's 32 bits, or the sum of such counters of CPUs.
pub(in crate::report) const WRAP: f64 = 4_294_967_296.0;
/// A wrap is believed if this many events or fewer explain it,
const FEW: f64 = 1_048_576.0;
/// or so many times those that the counter has had so far in such a time,
const TIMES: f64 = 8.0;
/// up to this many,
const MANY: f64 = 268_435_456.0;
/// or so many times those, between rows without a gap,
const TIMES_OF_MANY: f64 = 4.0;
/// up to this many.
const MOST: f64 = 2_147_483_648.0;
/// Rows are so many times as far apart as those before where there is a gap.
const GAP: f64 = 4.0;
/// Where other counters show that this one wrapped, so many times its usual events are believed.
const TIMES_BESIDE: f64 = 16.0;
/// The counters of no more CPUs than this wrap between two values.
const MOST_WRAPS: f64 = 4.0;
/// And no more than this many a second.
const MOST_A_SECOND: f64 = 16_777_216.0;

/// How fast a counter has risen so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pace {
    events: f64,
    seconds: f64,
    /// Times between rows.
    rows: f64,
}

impl Pace {
    /// Adds the events between two times, that of a value and that of the one so many values behind it.
    pub(crate) fn add(&mut self, events: f64, (from_ns, to_ns): (i64, i64), values: u64) {
        self.events += events;
        self.rows += values as f64;
        self.seconds += to_ns.saturating_sub(from_ns) as f64 / 1e9;
    }

    /// Takes the events between two values out of it.
    pub(super) fn remove(&mut self, events: f64, from: Point, to: Point) {
        self.events -= events;
        self.seconds -= seconds(from, to);
        self.rows -= 1.0;
    }

    /// The events of so many seconds.
    fn events_in(&self, seconds: f64) -> f64 {
        if self.seconds > 0.0 { self.events / self.seconds * seconds } else { 0.0 }
    }

    /// Whether the events of such a time are more than 32 bits hold.
    pub(super) fn is_beyond_wrap(&self, apart_ns: i64) -> bool {
        self.events_in(apart_ns as f64 / 1e9) >= WRAP
    }

    /// The most events between two values that are believed because of those before, so many times as many.
    fn most(&self, from: Point, to: Point, times: f64) -> f64 {
        let apart = seconds(from, to);
        let is_gap = apart * self.rows > GAP * self.seconds;
        if is_gap { 0.0 } else { (times * self.events_in(apart)).min(MOST) }
    }

    /// The most events that are believed between two values with a wrap.
    fn believed(&self, from: Point, to: Point) -> f64 {
        let seconds = seconds(from, to);
        let usual = self.events_in(seconds);
        let most = (TIMES * usual).clamp(FEW, MANY).max(self.most(from, to, TIMES_OF_MANY));
        most.min(MOST_A_SECOND * seconds.max(1.0))
    }
}

/// Returns the events between two values if the counter may have wrapped between them, after it has risen
/// at this pace.
pub(crate) fn wrapped(from: Point, to: Point, pace: Pace) -> Option<f64> {
    wrapped_within(from, to, pace.believed(from, to))
}

/// The same whatever the pace was.
pub(super) fn may_wrap(from: Point, to: Point) -> Option<f64> {
    let most = MOST.min(MOST_A_SECOND * seconds(from, to).max(1.0));
    wrapped_within(from, to, most)
}

/// The same where other counters of the row show that none began again.
pub(super) fn wrapped_beside_others(from: Point, to: Point, pace: Pace) -> Option<f64> {
    wrapped_within(from, to, pace.most(from, to, TIMES_BESIDE).max(possible(from, to)))
}

/// Returns the events between two values if the first one had more than the kernel's 32 bits, for each
/// CPU of a sum, and the second one has lost them, however many wraps those were.
pub(super) fn shortened(from: Point, to: Point) -> Option<f64> {
    let events = (to.1 - from.1).rem_euclid(WRAP);
    (events < possible(from, to)).then_some(events)
}

/// Whether a counter rises by nearly 2^32, as with a -1 that was written as a number without a sign,
/// or faster than a kernel can count, by half of that or more.
pub(crate) fn leaps(from: Point, to: Point) -> bool {
    let rise = to.1 - from.1;
    let is_too_fast = rise >= WRAP / 2.0 && rise > MOST_A_SECOND * seconds(from, to).max(1.0);
    // The way back would be a wrap.
    let (high, low) = ((from.0, to.1), (to.0, from.1));
    is_too_fast || (rise > 0.0 && wrapped_within(high, low, possible(high, low)).is_some())
}

fn seconds(from: Point, to: Point) -> f64 {
    to.0.saturating_sub(from.0) as f64 / 1e9
}

/// The most events between two values, whatever the counter did before.
fn possible(from: Point, to: Point) -> f64 {
    MANY.min(MOST_A_SECOND * seconds(from, to).max(1.0))
}

/// The events of a wrap if they are no more than so many.
fn wrapped_within(from: Point, to: Point, most: f64) -> Option<f64> {
    // Several CPUs may wrap at once.
    let wraps = ((from.1 - to.1) / WRAP).ceil();
    if wraps > MOST_WRAPS {
        return None;
    }
    let events = to.1 + WRAP * wraps - from.1;
    (0.0..most).contains(&events).then_some(events)
}
