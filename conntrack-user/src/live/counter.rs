//! The last value of a counter, and what it counted since then.

use super::doubt::Doubt;
use crate::report::{Pace, leaps, wrapped};

/// The last value of a counter. Each has a time of its own: a row may lack it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Last {
    at_ns: i64,
    value: f64,
    /// How fast the counter rose so far.
    pace: Pace,
    /// A later value that is not believed, unless the counter goes on from there.
    held: Option<f64>,
}

/// What a counter did between two of its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    /// The time of the earlier value, in nanoseconds since 1970.
    pub(super) from_ns: i64,
    /// The time between them.
    pub(super) seconds: f64,
    /// The events; those since 0 of a counter that started again.
    pub(super) events: f64,
    /// The counter went back, so it started again from 0.
    pub(super) falls: bool,
}

impl Step {
    /// Returns the events per second, if they are known.
    pub(super) fn rate(&self) -> Option<f64> {
        (!self.falls && self.seconds > 0.0).then(|| self.events / self.seconds)
    }
}

impl Last {
    /// Returns the doubt about the next value of a counter, if there is one. Such a value is not to be
    /// taken.
    pub(super) fn doubt(last: &mut Option<Self>, at_ns: i64, value: f64) -> Option<Doubt> {
        if value.is_nan() || value < 0.0 {
            return Some(Doubt::Negative);
        }
        // A -1 that was written as a number without a sign.
        if value == f64::from(u32::MAX) {
            return Some(Doubt::Leap);
        }
        let last = last.as_mut()?;
        if !leaps((last.at_ns, last.value), (at_ns, value)) {
            return None;
        }
        if last.held.is_some_and(|held| value > held) {
            *last = Self { at_ns, value, held: None, ..*last };
        } else {
            last.held.get_or_insert(value);
        }
        Some(Doubt::Leap)
    }

    /// Whether a value of a later time is below this one, and the counter did not wrap.
    pub(super) fn is_above(&self, at_ns: i64, value: f64) -> bool {
        self.step(at_ns, value).falls
    }

    /// Takes the next value of a counter; returns the step from the one in `last`.
    pub(super) fn replace(last: &mut Option<Self>, at_ns: i64, value: f64) -> Option<Step> {
        let pace = last.map_or(Pace::default(), |last| last.pace);
        let before = last.replace(Self { at_ns, value, pace, held: None })?;
        let step = before.step(at_ns, value);
        if let Some(last) = last {
            last.pace.add(step.events, (step.from_ns, at_ns), 1);
        }
        Some(step)
    }

    fn step(&self, at_ns: i64, value: f64) -> Step {
        let wrapped = || wrapped((self.at_ns, self.value), (at_ns, value), self.pace);
        let rise = Some(value - self.value).filter(|rise| *rise >= 0.0).or_else(wrapped);
        Step {
            from_ns: self.at_ns,
            seconds: at_ns.saturating_sub(self.at_ns) as f64 / 1e9,
            events: rise.unwrap_or(value),
            falls: rise.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reboot of a counter that stood still below 2^32 was a wrap, and 15 million events.
    #[test]
    fn a_fall_is_judged_by_the_rises_before_it() {
        let falls = |rise: f64, high: f64, low: f64| {
            let mut last = None;
            for at in 0..5 {
                let value = high - rise * (4 - at) as f64;
                Last::replace(&mut last, at * 10_000_000_000, value);
            }
            Last::replace(&mut last, 50_000_000_000, low).unwrap().falls
        };
        assert!(falls(0.0, 4.28e9, 0.0));
        assert!(!falls(1.5e7, 4.28e9, 0.0));
        assert!(!falls(10.0, 4_294_967_290.0, 4.0));
    }
}
