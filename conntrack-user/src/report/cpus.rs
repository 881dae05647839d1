//! The counters of each CPU from the `cpu=cpuN` rows, and their sum where no row has it.

use super::gaps::Clock;
use super::summary;
use super::track::{Falls, Reach, RowReach, Step, Track, settle};
use crate::recording::known::cpu_number;
use crate::schema::field::CpuTrack;

/// The most CPUs that a kernel can have (`NR_CPUS`).
const MOST: usize = 8192;

/// Returns the number in the tag of a CPU that a kernel can have.
pub(super) fn number(tag: &str) -> Option<usize> {
    cpu_number(tag).filter(|number| *number < MOST)
}

/// The counters of the CPUs of one source.
#[derive(Debug, Default)]
pub(super) struct Cpus {
    /// By CPU and counter.
    cpus: Vec<Option<Vec<Track>>>,
    count: usize,
    /// The times of gathers.
    pub(super) clock: Clock,
    gather: Gather,
    /// Gathers in which a CPU is missing.
    partial: u64,
    /// Rows in which counters are taken to have begun again that are no lower than before.
    inferred_resets: u64,
    /// Values for which there was no room.
    left_out: u64,
    /// Some tracks begin late or not at all: there was no room for them.
    is_short: bool,
}

/// The rows of one gather.
#[derive(Debug, Default)]
struct Gather {
    time_ns: i64,
    cpus: Vec<usize>,
    /// By counter, since the gather before.
    events: Vec<Option<f64>>,
    /// The gather before had every CPU.
    follows_whole: bool,
    /// The row has the time of one of the same CPU.
    is_again: bool,
    /// Such rows of the first CPU, and whether any has other values.
    again: u64,
    has_risen: bool,
}

impl Gather {
    /// Adds the events of a counter; those of a gap are not of this gather.
    fn add(&mut self, place: usize, step: Step) {
        if self.events.len() <= place {
            self.events.resize(place + 1, None);
        }
        if !step.is_gap {
            *self.events[place].get_or_insert(0.0) += step.events;
        }
    }
}

/// The increase on all CPUs between two gathers.
#[derive(Debug)]
pub(super) struct Sum {
    pub(super) at_ns: i64,
    pub(super) step: Step,
    /// By counter.
    pub(super) events: Vec<Option<f64>>,
}

impl Cpus {
    /// A row of the CPU `number` is next; the sum of the gather before, if it has ended.
    pub(super) fn row(&mut self, number: usize, time_ns: i64) -> Option<Sum> {
        let near = self.clock.reach().near_ns.unsigned_abs();
        let is_of_gather = self.gather.cpus.contains(&number);
        let is_other = self.gather.time_ns.abs_diff(time_ns) > near
            || (self.gather.time_ns != time_ns && is_of_gather);
        let sum = if is_other { self.end() } else { None };
        self.gather.is_again = is_of_gather && !is_other;
        if self.gather.is_again {
            self.gather.again += u64::from(self.gather.cpus.first() == Some(&number));
            return sum;
        }
        if self.gather.cpus.is_empty() {
            self.gather.time_ns = time_ns;
        }
        self.gather.cpus.push(number);
        sum
    }

    /// Ends the gather; the sum of its CPUs, if all are there and were before.
    pub(super) fn end(&mut self) -> Option<Sum> {
        if self.gather.cpus.is_empty() {
            return None;
        }
        let is_whole = self.gather.cpus.len() == self.count;
        self.partial += u64::from(!is_whole);
        self.gather.cpus.clear();
        let follows_whole = std::mem::replace(&mut self.gather.follows_whole, is_whole);
        let step = self.clock.take(self.gather.time_ns);
        let has_risen = std::mem::take(&mut self.gather.has_risen);
        match std::mem::take(&mut self.gather.again) {
            0 => {}
            rows => self.clock.share(rows, has_risen),
        }
        let Some(step) = step.filter(|_| is_whole && follows_whole) else {
            self.gather.events.clear();
            return None;
        };
        let events = std::mem::take(&mut self.gather.events);
        Some(Sum { at_ns: self.gather.time_ns, step, events })
    }

    /// Takes the memory of a sum for the next one.
    pub(super) fn reuse(&mut self, Sum { mut events, .. }: Sum) {
        events.clear();
        self.gather.events = events;
    }

    /// Returns the reach of a row of the CPU `number` with these counters.
    pub(super) fn reach(
        &mut self,
        number: usize,
        time_ns: i64,
        counters: impl Iterator<Item = (usize, f64)> + Clone,
        is_of_probes: impl Fn(usize) -> bool,
    ) -> RowReach {
        let tracks = self.cpus.get(number).and_then(Option::as_deref).unwrap_or_default();
        let mut falls = Falls::default();
        for (place, value) in counters.clone() {
            if let Some(track) = tracks.get(place) {
                falls.take(track, (time_ns, value), || is_of_probes(place));
            }
        }
        if falls.began_again() {
            let mut tracks =
                counters.filter_map(|(place, value)| Some((tracks.get(place)?, value)));
            self.inferred_resets +=
                u64::from(tracks.any(|(track, value)| track.is_no_lower(value)));
        }
        falls.reach(self.clock.reach())
    }

    /// Takes a row of the CPU `number`, and gives `each` the events of a counter since the row before.
    /// `of_counter` has how far a counter reaches and whether it is needed: one that is not may be left
    /// out without a word. `room` is for how many counters of CPUs there is still memory.
    pub(super) fn take(
        &mut self,
        (number, time_ns): (usize, i64),
        counters: impl Iterator<Item = (usize, f64)>,
        of_counter: impl Fn(usize) -> (Reach, bool),
        room: &mut usize,
        mut each: impl FnMut(usize, Step),
    ) {
        if self.cpus.len() <= number {
            self.cpus.resize(number + 1, None);
        }
        let tracks = self.cpus[number].get_or_insert_with(|| {
            self.count += 1;
            Vec::new()
        });
        let is_again = self.gather.is_again;
        for (place, value) in counters {
            let (reach, is_needed) = of_counter(place);
            if tracks.len() <= place {
                let more = place + 1 - tracks.len();
                if *room < more {
                    self.left_out += u64::from(is_needed);
                    self.is_short = true;
                    continue;
                }
                *room -= more;
                tracks.resize_with(place + 1, Track::default);
            }
            let rise = is_again.then(|| tracks[place].rise_at(time_ns, value)).flatten();
            if let Some(step) = rise {
                self.gather.add(place, step);
                self.gather.has_risen = true;
            }
            let Some(step) = tracks[place].take(time_ns, value, reach) else { continue };
            self.gather.add(place, step);
            each(place, step);
        }
    }

    /// How many have rows.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The numbers of those, in order.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> {
        let cpus = self.cpus.iter().enumerate();
        cpus.filter(|(_, tracks)| tracks.is_some()).map(|(number, _)| number)
    }

    /// Gathers in which a CPU is missing.
    pub(super) fn partial(&self) -> u64 {
        self.partial
    }

    /// Rows in which counters are taken to have begun again that are no lower than before.
    pub(super) fn inferred_resets(&self) -> u64 {
        self.inferred_resets
    }

    /// Whether tracks are missing, as there was no room for them.
    pub(super) fn is_short(&self) -> bool {
        self.is_short
    }

    /// Values for which there was no room.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Settles how the counters of each CPU came from one part of the rows to the next.
    pub(super) fn settle(&mut self, is_of_probes: impl Fn(usize) -> bool) {
        for tracks in self.cpus.iter_mut().flatten() {
            self.inferred_resets += settle(tracks.iter_mut(), &is_of_probes);
        }
    }

    /// The counter `place` of the CPU `number`.
    pub(super) fn track(&self, number: usize, place: usize) -> Option<&Track> {
        self.cpus.get(number)?.as_ref()?.get(place)
    }

    /// The counter `place` of each CPU that has it.
    pub(super) fn tracks(&self, place: usize) -> impl Iterator<Item = &Track> {
        let tracks = self.cpus.iter().flatten().filter_map(move |tracks| tracks.get(place));
        tracks.filter(|track| track.values() > 0)
    }

    /// Returns each CPU that has rows; `of_counters` is what each counter shows of a CPU.
    pub(super) fn summary(&self, of_counters: &[Option<CpuTrack>]) -> Vec<summary::Cpu> {
        let cpus =
            self.cpus.iter().enumerate().filter_map(|(cpu, seen)| Some((cpu, seen.as_ref()?)));
        let sum = |tracks: &[Track], shown: CpuTrack| {
            let counted = of_counters.iter().zip(tracks);
            let of = counted.filter(|(track, _)| **track == Some(shown));
            of.map(|(_, track)| track.total()).sum()
        };
        cpus.map(|(cpu, tracks)| summary::Cpu {
            cpu,
            lost: sum(tracks, CpuTrack::Lost),
            inserted: sum(tracks, CpuTrack::Inserted),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_and_insertions_are_distinguished() {
        let mut cpus = Cpus::default();
        let mut room = 1000;
        for (at, value) in [10.0, 15.0, 2.0].into_iter().enumerate() {
            let time_ns = at as i64 * 1_000_000_000;
            let reach = cpus.clock.reach();
            let values = [(0, value), (2, value * 10.0)].into_iter();
            cpus.take((3, time_ns), values, |_| (reach, true), &mut room, |_, _| {});
        }
        let found = cpus.summary(&[Some(CpuTrack::Lost), None, Some(CpuTrack::Inserted)]);
        assert_eq!(found, [summary::Cpu { cpu: 3, lost: 7.0, inserted: 70.0 }]);
        assert_eq!((number("cpu12"), number("all"), number("cpu99999")), (Some(12), None, None));
        assert_eq!((number("CPU3"), number("4"), number("\u{e4}\u{e4}")), (Some(3), Some(4), None));
    }

    #[test]
    fn a_sum_needs_every_cpu() {
        let (mut cpus, mut room) = (Cpus::default(), 1000);
        let mut sums = Vec::new();
        for (second, cpu) in
            [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (3, 0), (3, 1), (4, 1), (4, 0)]
        {
            let time_ns = second * 1_000_000_000 + cpu as i64 * 1000;
            sums.extend(cpus.row(cpu, time_ns));
            let value = (second * 10) as f64;
            let values = [(0, value)].into_iter();
            let reach = cpus.reach(cpu, time_ns, values.clone(), |_| false).of(|| false);
            cpus.take((cpu, time_ns), values, |_| (reach, true), &mut room, |_, _| {});
        }
        sums.extend(cpus.end());
        let sums: Vec<_> =
            sums.iter().map(|sum| (sum.at_ns / 1_000_000_000, sum.events[0])).collect();
        assert_eq!(sums, [(1, Some(20.0)), (4, Some(20.0))]);
        assert_eq!(cpus.partial(), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut cpus, mut room) = (Cpus::default(), 10);
        let reach = cpus.clock.reach();
        for cpu in 0..100 {
            let values = [(1, 0.0)].into_iter();
            cpus.take((cpu, 0), values, |_| (reach, true), &mut room, |_, _| {});
        }
        assert_eq!((room, cpus.left_out()), (0, 95));
    }
}
