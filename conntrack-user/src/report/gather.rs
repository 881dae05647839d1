//! Counters that mean something together, compared gather by gather.

use super::found::FoundByFailures;
use super::invalid::{InvalidStorms, InvalidWindow};
use super::track::Step;
use crate::schema::field::Field;
use crate::schema::fields::{
    CHAINTOOLONG, DROP_CLASH, DROP_DYING, FOUND, INSERT_FAILED, INVALID, NEW,
};

/// The counters that are compared. They have the first numbers of all counters.
pub(super) const PAIRED: [Field; 7] =
    [DROP_CLASH, INSERT_FAILED, CHAINTOOLONG, DROP_DYING, FOUND, INVALID, NEW];

/// The increase of each of [`PAIRED`] between two gathers, where it is known.
#[derive(Debug, Default)]
pub(super) struct Paired([Option<Between>; PAIRED.len()]);

/// The increase of one counter between two gathers.
#[derive(Debug, Clone, Copy)]
struct Between {
    from_ns: i64,
    to_ns: i64,
    is_gap: bool,
    events: f64,
}

impl Paired {
    /// Takes the `events` of the counter `number`, if it is one of these.
    pub(super) fn set(&mut self, number: usize, step: Step, events: f64) {
        let Step { from_ns, to_ns, is_gap, .. } = step;
        if let Some(pair) = self.0.get_mut(number).filter(|_| !step.is_reset) {
            *pair = Some(Between { from_ns, to_ns, is_gap, events });
        }
    }
}

/// The evidence from the gathers of one source.
#[derive(Debug, Clone, Default)]
pub(super) struct Compared {
    pub(super) found: FoundByFailures,
    pub(super) invalid: InvalidStorms,
}

impl Compared {
    /// Returns the evidence that the counters with these numbers are no part of.
    pub(super) fn without(&self, counters: &[usize]) -> Self {
        let has_any = |fields: &[Field]| {
            let mut names = counters.iter().filter_map(|number| Some(PAIRED.get(*number)?.name));
            names.any(|name| fields.iter().any(|field| field.name == name))
        };
        let mut kept = self.clone();
        if has_any(&[DROP_CLASH, INSERT_FAILED, CHAINTOOLONG, DROP_DYING, FOUND]) {
            kept.found = FoundByFailures::default();
        }
        if has_any(&[INVALID, NEW]) {
            kept.invalid = InvalidStorms::default();
        }
        kept
    }

    /// Takes what the counters did between two gathers.
    pub(super) fn take(&mut self, paired: &Paired) {
        let [clash, failed, chain, dying, found, invalid, new] = paired.0;
        // Of the same time as `other`.
        let beside = |other: Between, counter: Option<Between>| {
            let same = |one: &Between| (one.from_ns, one.to_ns) == (other.from_ns, other.to_ns);
            counter.filter(same).map(|one| one.events)
        };
        let seconds = |one: Between| one.to_ns.saturating_sub(one.from_ns) as f64 / 1e9;
        if let Some(found) = found.filter(|found| !found.is_gap) {
            let others = [chain, dying].map(|counter| beside(found, counter).unwrap_or(0.0));
            let failed = beside(found, failed).map(|all| (all - others[0] - others[1]).max(0.0));
            if let Some(failed) = beside(found, clash).or(failed) {
                self.found.add(seconds(found), failed, found.events);
            }
        }
        if let Some(invalid) = invalid {
            let row = InvalidWindow {
                seconds: seconds(invalid),
                packets: invalid.events,
                new: beside(invalid, new),
            };
            self.invalid.take(row, invalid.is_gap);
        }
    }
}
