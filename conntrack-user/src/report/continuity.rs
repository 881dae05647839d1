//! Whether the counters of a source go on from row to row. Where they fall or rise together to where the time
//! between two rows does not bring them, rows of another source, or of another time, are among those of
//! this one.

use super::evenness::{Even, Evenness, Rows};
use super::leap::CpuLeap;
use super::reread::{Repetition, Reread};
use super::track::WRAP;

/// So many counters must come back together.
const FEWEST: usize = 3;
/// So many must fall to values that no time since then explains.
const FEWEST_BEYOND: usize = 2;
/// Counters that began again rise no more than this many times as fast as between any two other rows.
const BEYOND: f64 = 16.0;
/// Lower values are those of a source that began again: what stood still may begin to move then.
const HIGH: f64 = 8.0;
/// So many must rise at once, and all that are above 0, by this many times what they rise otherwise, and to
/// twice their values at least.
const FEWEST_LEAPING: usize = 4;
const LEAP: f64 = 64.0;
/// One counter suffices where it leaps on each CPU.
const FEWEST_ON_EACH_CPU: usize = 1;
/// Rows are so many times as far apart as those before where there is a gap.
const GAP: f64 = 3.0;
/// How far entries may fall while counters go on.
const STAYS: f64 = 0.5;
/// Falls that are kept until the end.
const MOST_FALLS: usize = 16;

/// The two fastest rises of a counter, a second.
#[derive(Debug, Clone, Copy, Default)]
struct Rise {
    most: f64,
    /// The row with that, and the values in front of it and in it.
    at_ns: i64,
    from: f64,
    to: f64,
    next: f64,
}

impl Rise {
    fn take(&mut self, at_ns: i64, rate: f64, (from, to): (f64, f64)) {
        if rate > self.most {
            *self = Self { most: rate, at_ns, from, to, next: self.most };
        } else if rate > self.next {
            self.next = rate;
        }
    }

    /// The fastest one in other rows than this.
    fn elsewhere(&self, at_ns: i64) -> f64 {
        if self.at_ns == at_ns { self.next } else { self.most }
    }
}

/// Counters that fell together.
#[derive(Debug, Clone)]
struct Fallen {
    /// The first row with the lower values, and the time since the row before, in seconds.
    at_ns: i64,
    seconds: f64,
    /// The values in front of it of those that fell; NaN for the others.
    from: Vec<f64>,
    /// The values behind it.
    to: Vec<f64>,
    /// The counters began again, but the table kept its entries.
    is_doubtful: bool,
}

impl Fallen {
    /// The values of the counters that are taken to have begun again with the others and are no lower.
    fn no_lower(&self) -> impl Iterator<Item = f64> {
        self.from.iter().zip(&self.to).map(|(from, to)| if from.is_nan() { *to } else { 0.0 })
    }
}

/// A counter of a row in which the values of several do not go on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Break {
    pub(super) at_ns: i64,
    /// The number of the counter.
    pub(super) counter: usize,
    /// The events that it seems to have, and the time since the row before in seconds.
    pub(super) events: f64,
    pub(super) seconds: f64,
}

/// What is known of counters that are lower than in the row before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Lower {
    /// They began again.
    #[default]
    BeganAgain,
    /// They did, but the table kept its entries.
    Stayed,
    /// They wrapped.
    Wrapped,
}

/// What the rows of a source show at their end.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Breaks {
    /// How often counters were back, and the time of the first row before that.
    pub(super) returned: Option<(u64, i64)>,
    /// How often counters fell to where they cannot have come since then, with one of the first row.
    pub(super) fallen: Option<(u64, Break)>,
    /// A row in which all counters rose by far more than ever else.
    pub(super) leapt: Option<Break>,
    /// Rows that repeat earlier ones.
    pub(super) repeated: Option<Repetition>,
    /// Rows in which each value rises by as much as in the row before.
    pub(super) even: Option<Even>,
    /// By counter: the events between rows that do not belong together.
    pub(super) doubted: Vec<f64>,
}

/// Follows the rows of one source.
#[derive(Debug, Default)]
pub(super) struct Continuity {
    time_ns: i64,
    first_row_ns: Option<i64>,
    /// The seconds between the last two rows.
    apart: f64,
    /// The table's entries in this row and the two before it, the latest first.
    entries: [Option<f64>; 3],
    now: Vec<f64>,
    /// The values of the last row and of the one before it; NaN where they are not known.
    last: Vec<f64>,
    before: Vec<f64>,
    /// The second fastest rise of each counter.
    next: Vec<f64>,
    rises: Vec<Rise>,
    /// The last fall is the first one that counters may come back from.
    falls: Vec<Fallen>,
    may_return: bool,
    returned: u64,
    first_ns: Option<i64>,
    doubted: Vec<f64>,
    reread: Reread,
    evenness: Evenness,
    /// The time of the last row in which all counters rose by more than ever else, and what the CPUs did.
    leap_of_cpus: Option<(i64, CpuLeap)>,
}

impl Continuity {
    /// Takes the values of a row's counters, in the same order each time; those of a counter that begins
    /// again by itself are `None`. Rows that are not in the order of time are no comparison. Whether all
    /// counters above 0 rose by more than ever else.
    pub(super) fn take(
        &mut self,
        time_ns: i64,
        values: impl Iterator<Item = Option<f64>>,
        lower: Lower,
    ) -> bool {
        let mut may_leap = false;
        self.now.clear();
        self.now.extend(values.map(|value| value.unwrap_or(f64::NAN)));
        if time_ns <= self.time_ns {
            self.before.clear();
            self.may_return = false;
        } else {
            let rows = Rows {
                before: &self.before,
                last: &self.last,
                now: &self.now,
                entries: self.entries,
            };
            self.evenness.take((self.time_ns, time_ns), &rows);
            may_leap = self.compare(time_ns, lower);
        }
        self.time_ns = time_ns;
        self.first_row_ns.get_or_insert(time_ns);
        std::mem::swap(&mut self.before, &mut self.last);
        std::mem::swap(&mut self.last, &mut self.now);
        may_leap
    }

    /// Takes the table's entries in the row that is taken next, where they are known.
    pub(super) fn take_entries(&mut self, entries: Option<f64>) {
        self.entries.rotate_right(1);
        self.entries[0] = entries;
    }

    /// Takes what the CPUs did in the row that was taken last.
    pub(super) fn take_cpus(&mut self, leap: CpuLeap) {
        self.leap_of_cpus = Some((self.time_ns, leap));
    }

    fn compare(&mut self, time_ns: i64, lower: Lower) -> bool {
        if self.next.len() < self.now.len() {
            self.next.resize(self.now.len(), 0.0);
            self.rises.resize(self.now.len(), Rise::default());
        }
        let seconds = time_ns.saturating_sub(self.time_ns) as f64 / 1e9;
        let (mut fell, mut is_fastest) = (0, false);
        for ((last, now), next) in self.last.iter().zip(&self.now).zip(&self.next) {
            fell += usize::from(now < last);
            is_fastest |= now - last > next * seconds;
        }
        if fell > 0 && lower == Lower::Wrapped {
            self.go_on_below_zero();
            return self.compare(time_ns, Lower::BeganAgain);
        }
        let may_leap = is_fastest && fell < FEWEST_BEYOND && self.take_rises(time_ns, seconds);
        // A host that a flood has taken down comes back later.
        let is_next = seconds <= GAP * self.apart;
        self.apart = seconds;
        let fell_all = fell > 0 && self.last.iter().filter(|last| **last > 0.0).count() == fell;
        if fell >= FEWEST_BEYOND && is_next && self.is_behind_a_peak() {
            self.doubt_peak();
            self.note(self.time_ns);
        } else if fell >= FEWEST_BEYOND || fell_all {
            self.fall(time_ns, seconds, lower == Lower::Stayed);
            self.may_return = fell >= FEWEST;
        } else if self.may_return
            && let Some(fallen) = self.falls.last()
            && self.is_back_at(&fallen.from)
        {
            self.come_back();
        } else if let Some(from_ns) = self.reread.take(time_ns, &self.last, &self.now) {
            self.doubt_repetition(from_ns);
        }
        may_leap
    }

    /// Lets the values of counters that wrapped begin as far below 0 as they were below the end of 32 bits.
    #[cold]
    fn go_on_below_zero(&mut self) {
        for (last, now) in self.last.iter_mut().zip(&self.now) {
            if *now < *last {
                *last -= WRAP * ((*last - now) / WRAP).ceil();
            }
        }
    }

    /// Takes the rises of a row; whether each counter above 0 rose faster than ever else.
    #[cold]
    fn take_rises(&mut self, at_ns: i64, seconds: f64) -> bool {
        let steps = self.last.iter().zip(&self.now).zip(self.rises.iter_mut().zip(&mut self.next));
        for ((last, now), (rise, next)) in steps {
            let rate = (now - last) / seconds;
            if rate > *next {
                rise.take(at_ns, rate, (*last, *now));
                *next = rise.next;
            }
        }
        let leaps = |(now, rise): (&f64, &Rise)| now.is_nan() || *now <= 0.0 || rise.at_ns == at_ns;
        self.now.iter().zip(&self.rises).all(leaps)
    }

    #[cold]
    fn fall(&mut self, at_ns: i64, seconds: f64, is_doubtful: bool) {
        if self.falls.len() >= MOST_FALLS {
            // They are so many that other numbers show it.
            self.falls.remove(0);
        }
        let steps = self.last.iter().zip(&self.now);
        let fell = |(last, now): (&f64, &f64)| if now < last { *last } else { f64::NAN };
        let from = steps.map(fell).collect();
        self.falls.push(Fallen { at_ns, seconds, from, to: self.now.clone(), is_doubtful });
        self.reread.fall(at_ns, &self.last, &self.now);
    }

    /// Doubts all events since a fall.
    #[cold]
    fn doubt_repetition(&mut self, from_ns: i64) {
        self.falls.retain(|fallen| fallen.at_ns != from_ns);
        self.may_return = false;
        doubt(&mut self.doubted, self.now.iter().copied());
    }

    /// Doubts the events of a fall, and of the row in which counters are back.
    #[cold]
    fn come_back(&mut self) {
        self.may_return = false;
        let Some(fallen) = self.falls.pop() else { return };
        doubt(&mut self.doubted, fallen.to.iter().copied());
        let rises = self.last.iter().zip(&self.now).map(|(last, now)| now - last);
        doubt(&mut self.doubted, rises);
        self.note(fallen.at_ns);
    }

    /// Doubts the events of the last row, which was higher than those around it, and of this one.
    #[cold]
    fn doubt_peak(&mut self) {
        let rises = self.before.iter().zip(&self.last).map(|(before, last)| last - before);
        doubt(&mut self.doubted, rises);
        doubt(&mut self.doubted, self.now.iter().copied());
        self.may_return = false;
    }

    fn note(&mut self, from_ns: i64) {
        self.returned += 1;
        self.first_ns.get_or_insert(from_ns);
    }

    /// Whether the last row alone was higher than the one before it and this one, which go on from each
    /// other. Where the table is emptier than before it, counters that are 0 again show nothing: they began again.
    fn is_behind_a_peak(&self) -> bool {
        let [now, _, before] = self.entries;
        let has_emptied = now.zip(before).is_some_and(|(now, before)| now < STAYS * before);
        let (least, fewest) =
            if has_emptied { (f64::MIN_POSITIVE, FEWEST) } else { (0.0, FEWEST_BEYOND) };
        let rows = || self.before.iter().zip(&self.last).zip(&self.now);
        let is_peak = |((before, last), now): &((&f64, &f64), &f64)| {
            **before >= least && before < last && now >= before && *now - *before <= *last - *now
        };
        rows().filter(is_peak).count() >= fewest && !rows().any(|((before, _), now)| now < before)
    }

    /// Whether the counters have come to these values from far below, all of them in one step.
    fn is_back_at(&self, fallen: &[f64]) -> bool {
        let rows = || fallen.iter().zip(&self.last).zip(&self.now);
        let leaps = |((fallen, last), now): &((&f64, &f64), &f64)| {
            last < fallen && now >= fallen && *now - *last >= *fallen / 2.0
        };
        rows().filter(leaps).count() >= FEWEST && !rows().any(|((fallen, _), now)| now < fallen)
    }

    /// Concludes at the end of the rows; `rank` is the order in which counters are named. The rates of rows
    /// show what a leap is, and even rises.
    pub(super) fn conclude<K: Ord>(
        &self,
        is_without_rates: bool,
        rank: impl Fn(usize) -> K,
    ) -> Breaks {
        let mut breaks = Breaks {
            returned: self.first_ns.map(|first_ns| (self.returned, first_ns)),
            doubted: self.doubted.clone(),
            repeated: self.reread.conclude(),
            even: self.evenness.conclude().filter(|_| is_without_rates),
            ..Breaks::default()
        };
        for fallen in &self.falls {
            let beyond = self.beyond(fallen);
            let above_zero = fallen.to.iter().filter(|value| **value > 0.0).count();
            let are_enough = beyond.len() >= FEWEST_BEYOND || beyond.len() == above_zero;
            let is_beyond = are_enough && 2 * beyond.len() > above_zero;
            if is_beyond || fallen.is_doubtful {
                doubt(&mut breaks.doubted, fallen.to.iter().copied());
            } else {
                doubt(&mut breaks.doubted, fallen.no_lower());
            }
            if !is_beyond {
                continue;
            }
            let Some(counter) = beyond.into_iter().min_by_key(|counter| rank(*counter)) else {
                continue;
            };
            let (at_ns, seconds) = (fallen.at_ns, fallen.seconds);
            let first = Break { at_ns, counter, events: fallen.to[counter], seconds };
            breaks.fallen.get_or_insert((0, first)).0 += 1;
        }
        if is_without_rates
            && breaks.returned.is_none()
            && let Some(leap) = self.leap(rank)
        {
            let rises = self
                .rises
                .iter()
                .map(|rise| if rise.at_ns == leap.at_ns { rise.to - rise.from } else { 0.0 });
            doubt(&mut breaks.doubted, rises);
            breaks.leapt = Some(leap);
        }
        breaks
    }

    /// Returns the counters that are higher behind a fall than they can have come since then.
    fn beyond(&self, fallen: &Fallen) -> Vec<usize> {
        let most = |(at, rise): (usize, &Rise)| {
            let rate = rise.elsewhere(fallen.at_ns).max(self.slowest());
            let value = fallen.to.get(at).copied().unwrap_or(f64::NAN);
            (value >= HIGH && value > BEYOND * rate * fallen.seconds).then_some(at)
        };
        self.rises.iter().enumerate().filter_map(most).collect()
    }

    /// One event in the time of all rows, a second: no counter is known to be slower.
    fn slowest(&self) -> f64 {
        let from_ns = self.first_row_ns.unwrap_or(self.time_ns);
        1e9 / (self.time_ns.saturating_sub(from_ns) as f64).max(1.0)
    }

    /// Returns how many counters must leap at a time, and how many of those must have been above 0; nothing
    /// where the rows of the CPUs show that it is no leap.
    fn fewest_leaping(&self, at_ns: i64) -> Option<(usize, usize)> {
        let of_cpus = self.leap_of_cpus.filter(|(time_ns, _)| *time_ns == at_ns);
        match of_cpus.map_or(CpuLeap::Unknown, |(_, leap)| leap) {
            CpuLeap::SomeStayed => None,
            CpuLeap::AllLeapt => Some((FEWEST_ON_EACH_CPU, FEWEST_ON_EACH_CPU)),
            CpuLeap::Unknown => Some((FEWEST_LEAPING, FEWEST)),
        }
    }

    /// Returns the row in which all counters rose by far more than in any other.
    fn leap<K: Ord>(&self, rank: impl Fn(usize) -> K) -> Option<Break> {
        let moved = self.rises.iter().zip(&self.last).enumerate();
        let moved = moved.filter(|(_, (_, last))| **last > 0.0).map(|(at, (rise, _))| (at, rise));
        let moved: Vec<(usize, &Rise)> = moved.collect();
        let at_ns = moved.first()?.1.at_ns;
        let leaps = |(_, rise): &(usize, &Rise)| {
            rise.at_ns == at_ns
                && rise.most >= LEAP * rise.next.max(self.slowest())
                && rise.to >= 2.0 * rise.from
        };
        // A machine without losses has its first ones in a burst.
        let were_above_zero = moved.iter().filter(|(_, rise)| rise.from > 0.0).count();
        let (leaping, above_zero) = self.fewest_leaping(at_ns)?;
        let are_enough = moved.len() >= leaping && were_above_zero >= above_zero;
        if !are_enough || !moved.iter().all(leaps) {
            return None;
        }
        let (counter, rise) = moved.into_iter().min_by_key(|(at, _)| rank(*at))?;
        let events = rise.to - rise.from;
        Some(Break { at_ns, counter, events, seconds: events / rise.most })
    }
}

/// Adds events that may not have happened.
fn doubt(doubted: &mut Vec<f64>, events: impl Iterator<Item = f64>) {
    for (at, events) in events.enumerate().filter(|(_, events)| *events > 0.0) {
        if doubted.len() <= at {
            doubted.resize(at + 1, 0.0);
        }
        doubted[at] += events;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(rows: &[[f64; 4]]) -> Continuity {
        let mut continuity = Continuity::default();
        for (second, row) in (1..).zip(rows) {
            continuity.take(
                second * 1_000_000_000,
                row.iter().map(|value| Some(*value)),
                Lower::BeganAgain,
            );
        }
        continuity
    }

    /// How often the counters of these rows, a second apart, were back, and from which second on.
    fn returned(rows: &[[f64; 4]]) -> Option<(u64, i64)> {
        let (number, first_ns) = followed(rows).conclude(true, |at| at).returned?;
        Some((number, first_ns / 1_000_000_000))
    }

    fn row(value: f64) -> [f64; 4] {
        [value, 2.0 * value, 3.0 * value, 0.0]
    }

    #[test]
    fn rows_of_another_source_are_found() {
        // Lower, for one row and for three; higher, for one row.
        let lower = [100.0, 101.0, 7.0, 102.0, 103.0].map(row);
        assert_eq!(returned(&lower), Some((1, 3)));
        let stay = [100.0, 101.0, 7.0, 8.0, 9.0, 106.0].map(row);
        assert_eq!(returned(&stay), Some((1, 3)));
        let higher = [100.0, 101.0, 9000.0, 102.0, 103.0].map(row);
        assert_eq!(returned(&higher), Some((1, 3)));
        let both = [100.0, 7.0, 102.0, 8.0, 104.0].map(row);
        assert_eq!(returned(&both), Some((2, 2)));
    }

    #[test]
    fn events_between_rows_of_two_sources_are_doubted() {
        let doubted = |values: &[f64]| {
            let rows: Vec<_> = values.iter().map(|value| row(*value)).collect();
            followed(&rows).conclude(true, |at| at).doubted
        };
        // 7 behind the fall, and 95 on the way back.
        assert_eq!(doubted(&[100.0, 101.0, 7.0, 102.0, 103.0]), [102.0, 204.0, 306.0]);
        assert_eq!(doubted(&[100.0, 101.0, 9000.0, 102.0]), [9001.0, 18002.0, 27003.0]);
        assert_eq!(doubted(&[9000.0, 101.0, 102.0, 103.0]), [101.0, 202.0, 303.0]);
        assert!(doubted(&[1.0, 2.0, 3.0]).is_empty());
    }

    #[test]
    fn counters_that_began_again_are_not_back() {
        // They grow past the old values step by step, or each by itself.
        let slow: Vec<_> = (0..60).map(|at| row(f64::from(at % 30) * 5.0)).collect();
        assert_eq!(returned(&slow), None);
        let apart = [[50.0, 60.0, 70.0, 1.0], [0.0; 4], [80.0, 0.0, 0.0, 0.0]];
        assert_eq!(returned(&[&apart[..], &[[80.0, 90.0, 100.0, 0.0]]].concat()), None);
        // A reboot, and another one soon after.
        let reboots = [100.0, 103.0, 3.0, 5.0, 2.0, 3.0].map(row);
        assert_eq!(returned(&reboots), None);
        assert_eq!(followed(&reboots).conclude(true, |at| at), Breaks::default());
    }

    #[test]
    fn values_that_no_time_since_a_fall_explains_are_found() {
        let fallen = |values: &[f64]| {
            let rows: Vec<_> = values.iter().map(|value| row(*value)).collect();
            let (number, first) = followed(&rows).conclude(true, |at| 10 - at).fallen?;
            Some((number, first.at_ns / 1_000_000_000, first.counter, first.events))
        };
        // The first row is another source's, or the last one, or both halves are.
        assert_eq!(fallen(&[9000.0, 101.0, 102.0, 103.0]), Some((1, 2, 2, 303.0)));
        assert_eq!(fallen(&[9000.0, 9001.0, 9002.0, 103.0]), Some((1, 4, 2, 309.0)));
        assert_eq!(fallen(&[9000.0, 9001.0, 103.0, 104.0]), Some((1, 3, 2, 309.0)));
        // As fast as in another second.
        assert_eq!(fallen(&[9000.0, 101.0, 102.0, 203.0]), None);
    }

    #[test]
    fn a_leap_of_all_counters_is_found() {
        let row = |value: f64| [value, 2.0 * value, 3.0 * value, value + 1.0];
        let leap = |values: &[f64]| {
            let rows: Vec<_> = values.iter().map(|value| row(*value)).collect();
            followed(&rows)
                .conclude(true, |at| at)
                .leapt
                .map(|leap| (leap.at_ns / 1_000_000_000, leap.events))
        };
        assert_eq!(leap(&[101.0, 9000.0, 9001.0]), Some((2, 8899.0)));
        assert_eq!(leap(&[101.0, 102.0, 9000.0]), Some((3, 8898.0)));
        assert_eq!(leap(&[101.0, 301.0, 9000.0]), None);
        assert_eq!(leap(&[101.0, 9000.0, 102.0, 103.0]), None);
        // They were 0 before, and one of them did not move.
        assert_eq!(leap(&[0.0, 9000.0, 9001.0]), None);
        let rows =
            [[101.0, 5.0, 7.0, 8.0], [9000.0, 9000.0, 9000.0, 8.0], [9001.0, 9001.0, 9001.0, 9.0]];
        assert_eq!(followed(&rows).conclude(true, |at| at).leapt, None);
    }

    #[test]
    fn counters_that_wrap_together_go_on() {
        let mut continuity = Continuity::default();
        for (second, value) in (1..).zip([-60.0, -30.0, 10.0, 40.0, 70.0]) {
            let wrapping = if value < 0.0 { WRAP + value } else { value };
            let values = [wrapping, wrapping, 100.0 + value, 200.0 + value];
            let lower = if value == 10.0 { Lower::Wrapped } else { Lower::BeganAgain };
            continuity.take(second * 1_000_000_000, values.into_iter().map(Some), lower);
        }
        assert_eq!(continuity.conclude(true, |at| at), Breaks::default());
    }

    #[test]
    fn rows_of_cpus_show_what_a_leap_is() {
        let leap = |counters: usize, of_cpus: CpuLeap| {
            let mut continuity = Continuity::default();
            for (second, value) in (1..).zip([50.0, 51.0, 9000.0, 9001.0]) {
                let values = (0..counters).map(|_| Some(value));
                if continuity.take(second * 1_000_000_000, values, Lower::BeganAgain) {
                    continuity.take_cpus(of_cpus);
                }
            }
            continuity.conclude(true, |at| at).leapt.is_some()
        };
        let all = [CpuLeap::Unknown, CpuLeap::SomeStayed, CpuLeap::AllLeapt];
        assert_eq!(all.map(|of_cpus| leap(4, of_cpus)), [true, false, true]);
        assert_eq!(all.map(|of_cpus| leap(1, of_cpus)), [false, false, true]);
    }

    #[test]
    fn rows_that_are_not_in_order_are_not_compared() {
        let mut continuity = Continuity::default();
        for (time_ns, value) in [(1, 100.0), (2, 101.0), (2, 5.0), (3, 102.0)] {
            continuity.take(time_ns, row(value).into_iter().map(Some), Lower::BeganAgain);
        }
        assert_eq!(continuity.conclude(true, |at| at), Breaks::default());
    }
}
