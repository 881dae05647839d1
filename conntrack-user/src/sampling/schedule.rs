//! When to read and when to emit: absolute deadlines on a monotonic clock.
//!
//! Pure arithmetic on the time since the sampler's start. A deadline is the previous one plus
//! an interval, never "now" plus one, so nothing drifts; a deadline that was slept through is
//! skipped and counted, so ticks never bunch.

use std::time::Duration;

use super::timestamp::{nanoseconds, nearest};

/// The work that is due at a wake-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The time at which the emission was due that this tick makes, without its jitter; that of
    /// the last of several that were slept through.
    pub emission: Option<Duration>,
    /// Ticks that were slept through and are left out.
    pub skipped: u64,
}

/// The deadlines of one input.
#[derive(Debug, Clone)]
pub struct Schedule {
    sample: Duration,
    emissions: Option<Emissions>,
    next_sample: Duration,
}

#[derive(Debug, Clone)]
struct Emissions {
    interval: Duration,
    jitter: Duration,
    /// The next emission without its jitter.
    base: Duration,
    /// The next emission.
    next: Duration,
}

impl Schedule {
    /// A schedule that starts now (at zero, where the first sample is taken).
    ///
    /// `first_emission` is the first regular one (see [`first_emission`]); with `None` there
    /// are samples only, and emissions happen when they are asked for.
    #[must_use]
    pub fn new(
        sample: Duration,
        interval: Duration,
        jitter: Duration,
        first_emission: Option<Duration>,
    ) -> Self {
        let emissions = first_emission.map(|base| {
            let next = base + random_below(jitter);
            Emissions { interval, jitter, base, next }
        });
        let mut schedule = Self { sample, emissions, next_sample: Duration::ZERO };
        schedule.next_sample = sample;
        schedule
    }

    /// The next deadline.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        match &self.emissions {
            // A sample too close before an emission is left out: the emission is one itself.
            Some(emissions) if self.next_sample + self.sample / 2 > emissions.next => {
                emissions.next
            }
            _ => self.next_sample,
        }
    }

    /// The sampler woke up at `now`, not before [`Schedule::deadline`]: what is due, and on to
    /// the next deadline.
    pub fn wake(&mut self, now: Duration) -> Due {
        let due = self.emissions.as_ref().map(|emissions| emissions.next).filter(|&at| now >= at);
        let Some(emission) = due else {
            self.next_sample += self.sample;
            return Due { emission: None, skipped: self.skip_samples_before(now) };
        };
        // Samples before this emission that were slept through, then whole emissions.
        let mut skipped = self.skip_samples_before(emission);
        let mut due_at = emission;
        if let Some(emissions) = &mut self.emissions {
            let passed = steps(emissions.interval, now.saturating_sub(emissions.base));
            due_at = emissions.base + times(emissions.interval, passed);
            emissions.base = due_at + emissions.interval;
            emissions.next = emissions.base + random_below(emissions.jitter);
        }
        self.next_sample = emission + self.sample;
        skipped += self.skip_samples_before(now);
        Due { emission: Some(due_at), skipped }
    }

    /// Leaves out the samples less than half an interval after `now`, up to the next emission,
    /// which is made in any case.
    fn skip_samples_before(&mut self, now: Duration) -> u64 {
        let half = self.sample / 2;
        let mut end = now + half;
        if let Some(emissions) = &self.emissions {
            end = end.min((emissions.next + NANOSECOND).saturating_sub(half));
        }
        if self.next_sample >= end {
            return 0;
        }
        let skipped = steps(self.sample, end - self.next_sample - NANOSECOND) + 1;
        self.next_sample += times(self.sample, skipped);
        skipped
    }
}

const NANOSECOND: Duration = Duration::from_nanos(1);

/// The time from now to the first regular emission: the next multiple of `interval` on the
/// wall clock (`round_interval`) or one interval, shifted by `offset`. Telegraf aligns to the same
/// multiples.
///
/// There is an emission now, too. One that would have the same timestamp, rounded to `precision`,
/// is left out; where nothing is rounded, one that is less than a `sample` and less than half an
/// interval away. With the half, the first two emissions are at most one and a half intervals apart,
/// which is no gap for `report`.
#[must_use]
pub fn first_emission(
    since_epoch: Duration,
    interval: Duration,
    offset: Duration,
    round: bool,
    sample: Duration,
    precision: Duration,
) -> Duration {
    if !round {
        return interval + offset;
    }
    let interval_ns = interval.as_nanos().max(1);
    let phase = offset.as_nanos() % interval_ns;
    let past = (since_epoch.as_nanos() + interval_ns - phase) % interval_ns;
    let rounded = |at| nearest(nanoseconds(at), nanoseconds(precision));
    let is_too_soon = |wait: Duration| match precision > NANOSECOND {
        true => rounded(since_epoch + wait) == rounded(since_epoch),
        false => wait < sample.min(interval / 2),
    };
    let mut wait = Duration::from_nanos_u128(interval_ns - past);
    while is_too_soon(wait) {
        wait += interval;
    }
    wait
}

/// How many whole `step`s fit in `span`.
fn steps(step: Duration, span: Duration) -> u64 {
    u64::try_from(span.as_nanos() / step.as_nanos().max(1)).unwrap_or(u64::MAX)
}

fn times(step: Duration, count: u64) -> Duration {
    Duration::from_nanos_u128(step.as_nanos() * u128::from(count))
}

fn random_below(limit: Duration) -> Duration {
    let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(if limit == 0 { 0 } else { fastrand::u64(0..limit) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn schedule(sample: u32, interval: u32) -> Schedule {
        Schedule::new(MS * sample, MS * interval, Duration::ZERO, Some(MS * interval))
    }

    /// Wakes on time `ticks` times; the times of the emissions and of all ticks, in ms.
    fn on_time(mut schedule: Schedule, ticks: usize) -> (Vec<u128>, Vec<u128>) {
        let (mut emissions, mut all) = (Vec::new(), Vec::new());
        for _ in 0..ticks {
            let now = schedule.deadline();
            let due = schedule.wake(now);
            assert_eq!(due.skipped, 0);
            all.push(now.as_millis());
            if let Some(due_at) = due.emission {
                assert_eq!(due_at, now);
                emissions.push(now.as_millis());
            }
        }
        (emissions, all)
    }

    #[test]
    fn emissions_are_samples_and_ticks_do_not_drift() {
        let (emissions, all) = on_time(schedule(10, 40), 12);
        assert_eq!(all, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120]);
        assert_eq!(emissions, [40, 80, 120]);
    }

    #[test]
    fn a_sample_close_before_an_emission_is_left_out() {
        assert_eq!(on_time(schedule(10, 32), 7).1, [10, 20, 32, 42, 52, 64, 74]);
        assert_eq!(on_time(schedule(10, 10), 3).0, [10, 20, 30]);
    }

    #[test]
    fn a_late_tick_skips_the_missed_ticks() {
        let mut late = schedule(10, 100);
        assert_eq!(late.wake(MS * 33), Due { emission: None, skipped: 2 });
        assert_eq!(late.deadline(), MS * 40);
        assert_eq!(late.wake(MS * 46), Due { emission: None, skipped: 1 });
        assert_eq!(late.deadline(), MS * 60);
    }

    #[test]
    fn missed_emissions_are_made_once() {
        let mut late = schedule(10, 100);
        // Ticks 10 to 90, then 110 to 350: the emission at 100 is made, late, at 352.
        assert_eq!(late.wake(MS * 352), Due { emission: Some(MS * 300), skipped: 9 + 25 });
        assert_eq!(late.deadline(), MS * 360);
        let (emissions, _) = on_time(late, 5);
        assert_eq!(emissions, [400]);
    }

    #[test]
    fn without_emissions_there_are_samples_only() {
        let only = Schedule::new(MS * 10, MS * 40, Duration::ZERO, None);
        assert_eq!(on_time(only, 5), (vec![], vec![10, 20, 30, 40, 50]));
    }

    #[test]
    fn the_first_emission_is_on_the_wall_clocks_multiple() {
        let first = |now, offset, sample| {
            let (interval, offset, sample) = (MS * 1000, MS * offset, MS * sample);
            first_emission(MS * now, interval, offset, true, sample, NANOSECOND).as_millis()
        };
        assert_eq!(first(12_300, 0, 100), 700);
        assert_eq!(first(12_950, 0, 100), 1050);
        assert_eq!(first(12_300, 200, 100), 900);
        assert_eq!(first(12_300, 3500, 100), 200);
        // With a sample for each interval, too: `report` took 1700 for a gap.
        assert_eq!(first(12_300, 0, 1000), 700);
        assert_eq!(first(12_600, 0, 1000), 1400);
        assert_eq!(first_emission(MS * 5, MS * 1000, MS * 7, false, MS, MS).as_millis(), 1007);
    }

    proptest! {
        /// However late the wake-ups are: deadlines move on, samples are never bunched, and
        /// every tick of the grid is either made or counted as skipped.
        #[test]
        fn every_tick_is_made_or_counted(late in prop::collection::vec(0u32..70, 1..200)) {
            let mut schedule = schedule(10, 40);
            let mut now = Duration::ZERO;
            let (mut made, mut skipped) = (0, 0);
            for late in late {
                let deadline = schedule.deadline();
                prop_assert!(deadline > now);
                let close = deadline < now + MS * 5;
                now = deadline + MS * late;
                let due = schedule.wake(now);
                prop_assert!(due.emission.is_some() || !close, "bunched at {:?}", deadline);
                skipped += due.skipped;
                made += 1;
            }
            prop_assert_eq!(u128::from(made + skipped), schedule.deadline().as_millis() / 10 - 1);
        }

        #[test]
        fn jitter_delays_and_never_advances(jitter in 1u32..30) {
            let mut schedule =
                Schedule::new(MS * 40, MS * 40, MS * jitter, Some(MS * 40));
            let mut emissions = 0;
            while emissions < 50 {
                let deadline = schedule.deadline();
                if schedule.wake(deadline).emission.is_some() {
                    emissions += 1;
                    let base = MS * 40 * emissions;
                    prop_assert!(deadline >= base && deadline < base + MS * jitter);
                }
            }
        }
    }
}
