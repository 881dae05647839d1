//! How the rows of ctpulse go on behind a restart of it and behind a gap: a counter may be another count
//! since then, and rates show that the clock was set, and no row is missing.

use super::super::doubts::Unknowns;
use super::super::fields::{CounterOrigin, Counters};
use super::super::moment::Moment;
use super::super::track::Step;
use super::super::unknown::{count, moment};
use super::{SourceAccumulator, Tallied};
use crate::text::human::{duration, number};

/// A counter is another count behind a restart if it rises by so many times as much as it ever did in such a
/// time.
const BEYOND: f64 = 8.0;
/// Counters that rise by fewer events show nothing, nor does a gap that usually has fewer times as many.
const FEW: f64 = 8.0;
/// A gap is long enough to show it from so many intervals on.
const LONG: f64 = 10.0;
/// Rates of rows behind a gap are those of so many intervals at most where the clock was set.
const INTERVALS: f64 = 2.0;

/// What was seen of both.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// Gaps in which the clock was set, and the first of them.
    clock_set: u64,
    first_ns: (i64, i64),
    /// The first row behind a restart of ctpulse behind which the kernel's counters may have begun again, too.
    reboot_ns: Option<i64>,
}

impl Resumed {
    /// Takes a row behind a gap, with its events and those that such a time has elsewhere: whether it has far
    /// fewer, and rates of a much shorter time.
    pub(super) fn take_gap(
        &mut self,
        counters: &[Tallied],
        now: &Moment,
        (step, interval): (Step, f64),
        (events, usual): (f64, f64),
    ) {
        let seconds = counters.iter().zip(&now.counters).filter_map(|(counter, reading)| {
            let rate = reading.rate.filter(|rate| *rate > 0.0)?;
            Some((reading.value? - counter.track.last()) / rate)
        });
        let longest = seconds.fold(0.0, f64::max);
        // Without any event the rates show nothing, and a short gap may have had none.
        let shows = now.has_rates && longest > 0.0 && step.seconds() >= LONG * interval;
        if shows && usual >= FEW * events.max(1.0) && longest <= INTERVALS * interval {
            if self.clock_set == 0 {
                self.first_ns = (step.from_ns, step.to_ns);
            }
            self.clock_set += 1;
        }
    }

    /// Takes the first row behind a restart of ctpulse and a gap: counters that are twice as high at least may have
    /// begun again at 0.
    pub(super) fn take_restart(
        &mut self,
        counters: &[Tallied],
        now: &Moment,
        origins: &[CounterOrigin],
    ) {
        let all = counters.iter().zip(&now.counters).zip(origins);
        let kernels = all.filter(|(_, origin)| **origin == CounterOrigin::Kernel);
        let mut steps = kernels.filter_map(|((counter, reading), _)| {
            let before = Some(counter.track.last()).filter(|before| *before > 0.0)?;
            Some(reading.value? >= 2.0 * before)
        });
        let first = steps.next();
        if first == Some(true) && steps.all(|may_be_new| may_be_new) {
            self.reboot_ns.get_or_insert(now.time_ns);
        }
    }

    /// A sentence about a host that may have been started again.
    pub(super) fn unknown_reboot(&self) -> Option<String> {
        self.reboot_ns.map(|at_ns| {
            format!(
                "ctpulse was started again before the row of {}, and all counters are at least twice as high as before \
                 it: if the host was started again, too, they began again at 0, and totals are too low by their \
                 last values before that",
                moment(at_ns)
            )
        })
    }

    /// A sentence about the clock.
    pub(super) fn unknown(&self) -> Option<String> {
        let (from_ns, to_ns) = self.first_ns;
        let more = match self.clock_set {
            0 => return None,
            1 => String::new(),
            times => format!(", and {} after that", count(times - 1, "time")),
        };
        Some(format!(
            "the row of {} has the events and the rates of an interval, and not of the {} since the row before \
             it{more}: the clock was set forward, the host was suspended, or it had no traffic; then no row is \
             missing there",
            moment(to_ns),
            duration(to_ns.saturating_sub(from_ns) as f64 / 1e9)
        ))
    }
}

/// What a counter is behind a restart of ctpulse.
pub(super) enum Resumption {
    /// It goes on, or begins again.
    Same,
    /// `insert` and others are those of the probes, from 0 on, or the kernel's since it was booted.
    OtherCount,
    /// `found` may be one or the other.
    Doubtful,
}

impl Resumption {
    /// Judges a rise by so many events in such a time, at a restart in front of which probes were attached.
    pub(super) fn of(counter: &Tallied, origin: CounterOrigin, events: f64, seconds: f64) -> Self {
        let is_known = counter.fastest > 0.0;
        if !is_known || events <= FEW || events <= BEYOND * counter.fastest * seconds {
            return Self::Same;
        }
        match origin {
            CounterOrigin::Either => Self::OtherCount,
            CounterOrigin::KernelOrLookups => Self::Doubtful,
            _ => Self::Same,
        }
    }
}

impl SourceAccumulator {
    /// A sentence about each counter that is another count, or may be.
    pub(super) fn unknown_of_other_counts(&self, counters: &Counters) -> Unknowns {
        let mut sentences = Unknowns::default();
        for (counter, name) in self.counters.iter().zip(&counters.names) {
            if counter.other_count > 0.0 {
                sentences.push(format!(
                    "{name} rose by {} when ctpulse was started again, far more than in any such time: since then \
                     it is the kernel's own count, without probes, or without those of each packet. These are no \
                     events",
                    number(counter.other_count, 15)
                ));
            }
            if counter.risen_at_restarts > 0.0 {
                sentences.doubt(format!(
                    "{name} rose by {} when ctpulse was started again, far more than in any such time: if it was the \
                     number of lookups of packets before (ebpf_per_packet), these are no events, and its total, \
                     rates and peak are too high",
                    number(counter.risen_at_restarts, 15)
                ));
            }
        }
        sentences
    }
}
