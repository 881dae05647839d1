//! Rows that were left out for their times: what they count beyond all other rows. Their events are lost
//! then, or the time was right.

use std::collections::BTreeMap;

use super::super::doubts::Unknowns;
use super::super::unknown::count;
use super::SourceAccumulator;
use crate::recording::known::is_known;
use crate::schema::fields::rank;
use crate::text::human::number;

/// Fewer events than this share of a counter's total change no conclusion.
const FEW: f64 = 0.05;

/// By counter and CPU, if it is a row of one: the highest value beyond those of all other rows.
#[derive(Debug, Default)]
pub(super) struct LeftOut(BTreeMap<(usize, Option<usize>), Beyond>);

/// A value beyond those of all other rows.
#[derive(Debug, Clone, Copy)]
struct Beyond {
    value: f64,
    events: f64,
}

impl LeftOut {
    /// How many events of a counter are in rows that were left out alone.
    fn events(&self, at: usize) -> f64 {
        let of_cpus = self.0.range((at, Some(0))..=(at, Some(usize::MAX)));
        let of_cpus: f64 = of_cpus.map(|(_, beyond)| beyond.events).sum();
        self.0.get(&(at, None)).map_or(of_cpus, |whole| whole.events)
    }

    /// Returns how many of the `total` events of a counter do not suffice for a conclusion.
    pub(super) fn doubted(&self, at: usize, total: f64) -> f64 {
        let events = self.events(at);
        if events > FEW * total { events.min(total) } else { 0.0 }
    }

    /// Returns a sentence about the first of the counters.
    pub(super) fn unknown(&self, names: &[String]) -> Unknowns {
        let mut unknowns = Unknowns::default();
        let named = self.0.iter().map(|((at, _), beyond)| (names[*at].as_str(), *at, *beyond));
        let known = named.filter(|(name, ..)| is_known(name));
        let Some((name, at, Beyond { value, .. })) =
            known.clone().min_by_key(|(name, ..)| rank(name))
        else {
            return unknowns;
        };
        let mut others: Vec<_> = known.map(|(_, other, _)| other).collect();
        others.dedup();
        let more = match others.len() - 1 {
            0 => String::new(),
            more => format!(", and {} more are", count(more as u64, "counter")),
        };
        unknowns.doubt(format!(
            "{name} is {} in a row that was left out for its time, {} above those of all other rows{more}: \
             either the time is right, and so many events are missing, or the row is of another source; \
             sort the file by time",
            number(value, 15),
            number(self.events(at), 15)
        ));
        unknowns
    }
}

impl SourceAccumulator {
    /// Takes a counter of a row that was left out for its time: the counter's number, and the CPU if the row
    /// is that of one.
    pub(in crate::report) fn take_left_out(
        &mut self,
        (at, cpu): (usize, Option<usize>),
        value: f64,
    ) {
        let track = match cpu {
            None => self.counters.get(at).map(|counter| &counter.track),
            Some(cpu) => self.cpus.track(cpu, at),
        };
        let Some(track) = track.filter(|track| track.values() > 0) else { return };
        let events = value - track.largest();
        let known = self.left_out.0.get(&(at, cpu)).map_or(0.0, |beyond| beyond.events);
        if events > known {
            self.left_out.0.insert((at, cpu), Beyond { value, events });
        }
    }
}
