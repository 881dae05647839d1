//! The last value of a counter, and what it counted since then.

/// The last value of a counter. Each has a time of its own: a row may lack it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Last {
    at_ns: i64,
    value: f64,
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
    /// Takes the next value of a counter; returns the step from the one in `last`.
    pub(super) fn replace(last: &mut Option<Self>, at_ns: i64, value: f64) -> Option<Step> {
        let before = last.replace(Self { at_ns, value })?;
        let falls = value < before.value;
        Some(Step {
            from_ns: before.at_ns,
            seconds: at_ns.saturating_sub(before.at_ns) as f64 / 1e9,
            events: if falls { value } else { value - before.value },
            falls,
        })
    }
}
