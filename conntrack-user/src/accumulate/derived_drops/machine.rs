//! A simulated machine that drops packets: the tests know when the kernel and a probe counted each.

use std::sync::Arc;
use std::time::Duration;

use conntrack_ebpf::Event;

use crate::accumulate::derived_drops::{DerivedDrop, DerivedWindow, LONGEST_UNDER_WAY};
use crate::accumulate::{Accumulator, Window};
use crate::schema::raw::{EVENTS, Layout, ReadTime, StatTable};

pub(super) const CPUS: usize = 2;

/// Microseconds.
pub(super) const MS: u64 = 1000;
pub(super) const SECOND: u64 = 1000 * MS;

/// The kernel's counters wrap soon.
const KERNEL_BEGAN: u32 = u32::MAX - 50;

/// Why a packet is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Full,
    Clash,
    NatExhausted,
    Tracker,
    LongChain,
    Dying,
    Other,
}

/// The causes that probes count.
pub(super) const EXPLAINED: [(Cause, Event); 4] = [
    (Cause::Full, Event::TableFull),
    (Cause::Clash, Event::ClashDropped),
    (Cause::NatExhausted, Event::NatExhausted),
    (Cause::Tracker, Event::TrackerDropped),
];

/// When packets were counted, by [`Cause`], in microseconds.
#[derive(Debug, Default)]
pub(super) struct Machine {
    kernel: [Vec<u64>; 7],
    probes: [Vec<u64>; 7],
    missed: Vec<u64>,
    /// When the kernel's column of long chains counted, before `insert_failed`.
    long_chains: Vec<u64>,
}

fn until(times: &[u64], at: u64) -> u64 {
    times.partition_point(|&time| time <= at) as u64
}

impl Machine {
    /// Drops a packet at `at`, which is on one side only for the time `under_way`. A CPU drops one
    /// packet after the other: the caller leaves so much time between its packets.
    pub(super) fn drop_packet(&mut self, cause: Cause, at: u64, under_way: u64, is_missed: bool) {
        let is_kernel_first = matches!(cause, Cause::Clash | Cause::NatExhausted);
        let (first, second) = (at, at + under_way);
        let (kernel, probe) = if is_kernel_first { (first, second) } else { (second, first) };
        self.kernel[cause as usize].push(kernel);
        if cause == Cause::LongChain {
            self.long_chains.push(first);
        } else if EXPLAINED.iter().any(|(explained, _)| *explained == cause) {
            let probes =
                if is_missed { &mut self.missed } else { &mut self.probes[cause as usize] };
            probes.push(probe);
        }
    }

    /// Drops a packet every `every` microseconds of the time `from..to`.
    pub(super) fn drop_steadily(&mut self, cause: Cause, from: u64, to: u64, every: u64) {
        let mut at = from + every / 2;
        while at < to {
            self.drop_packet(cause, at, 1, false);
            at += every;
        }
    }

    /// To be called after the last packet.
    pub(super) fn sort(&mut self) {
        self.kernel.iter_mut().chain(&mut self.probes).for_each(|times| times.sort_unstable());
        self.missed.sort_unstable();
        self.long_chains.sort_unstable();
    }

    /// The kernel's number of drops by `cause`.
    pub(super) fn count(&self, cause: Cause, at: u64) -> u64 {
        until(&self.kernel[cause as usize], at)
    }

    /// The true number of a derived drop.
    pub(super) fn truth(&self, drop: DerivedDrop, at: u64) -> u64 {
        match drop {
            DerivedDrop::Dying => self.count(Cause::Dying, at),
            DerivedDrop::Other => self.count(Cause::Other, at),
        }
    }

    pub(super) fn probed(&self, cause: Cause, at: u64) -> u64 {
        until(&self.probes[cause as usize], at)
    }

    /// Drops that probes counted in the time `from..=to`.
    pub(super) fn explained(&self, from: u64, to: u64) -> u64 {
        EXPLAINED.iter().map(|(cause, _)| self.probed(*cause, to) - self.probed(*cause, from)).sum()
    }

    pub(super) fn missed(&self, at: u64) -> u64 {
        until(&self.missed, at)
    }

    /// Whether no explained drop was counted on either side.
    pub(super) fn is_at_rest(&self, at: u64) -> bool {
        let kernel = EXPLAINED.iter().map(|(cause, _)| self.count(*cause, at)).sum::<u64>();
        kernel + self.explained(0, at) + until(&self.long_chains, at) == 0
    }

    fn table(&self, at: u64) -> StatTable {
        let count = |causes: &[Cause]| -> u64 { causes.iter().map(|c| self.count(*c, at)).sum() };
        let clashes = count(&[Cause::Clash, Cause::NatExhausted]);
        let shown = |count: u64| KERNEL_BEGAN.wrapping_add(count as u32);
        let names = ["entries", "clash_resolve", "insert_failed", "drop", "chaintoolong"];
        let names = names.map(String::from).to_vec();
        StatTable {
            layout: Arc::new(Layout { names, maintained: false }),
            values: vec![
                9,
                9,
                shown(clashes + count(&[Cause::LongChain, Cause::Dying])),
                shown(clashes + count(&[Cause::Full, Cause::Tracker, Cause::Other])),
                shown(until(&self.long_chains, at)),
            ],
            filled: vec![5],
            cpus: Vec::new(),
            is_live: true,
        }
    }

    /// The counters of probes that were attached at `attached`.
    fn events(&self, attached: u64, at: u64) -> Vec<u64> {
        let mut events = vec![0; CPUS * EVENTS];
        for (cause, event) in EXPLAINED {
            events[event as usize] =
                self.probed(cause, at).saturating_sub(self.probed(cause, attached));
        }
        events
    }
}

/// The moments of one sample: the clock, the probes, the kernel, the probes again, the clock again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) before: u64,
    pub(super) probes_before: u64,
    pub(super) kernel: u64,
    pub(super) probes_after: u64,
    pub(super) after: u64,
}

impl Read {
    /// A sample at `at` with delays, each before the next step.
    pub(super) fn delayed(at: u64, delays: [u64; 4]) -> Self {
        let mut clock = at;
        let mut step = |delay: u64| {
            clock += delay;
            clock
        };
        let [probes_before, kernel, probes_after, after] = delays.map(&mut step);
        Self { before: at, probes_before, kernel, probes_after, after }
    }

    /// A sample that takes 20 microseconds.
    pub(super) fn at(at: u64) -> Self {
        Self::delayed(at, [5; 4])
    }
}

/// Samples a machine.
pub(super) struct Observer<'a> {
    machine: &'a Machine,
    accumulator: Accumulator,
    attached: Option<u64>,
    /// All samples since then.
    pub(super) reads: Vec<Read>,
}

impl<'a> Observer<'a> {
    pub(super) fn new(machine: &'a Machine, sample_interval: u64) -> Self {
        let accumulator = Accumulator::new(Duration::from_micros(sample_interval), false);
        Self { machine, accumulator, attached: None, reads: Vec::new() }
    }

    pub(super) fn attach(&mut self, at: u64) {
        self.accumulator.expect_events([true; EVENTS]);
        self.attached = Some(at);
    }

    pub(super) fn sample(&mut self, read: Read) {
        if let Some(attached) = self.attached {
            let events = |at| self.machine.events(attached, at);
            self.accumulator.add_events(&events(read.probes_before), &events(read.probes_after));
            self.reads.push(read);
        }
        let time = |micros| Duration::from_micros(micros);
        let read_time = ReadTime { before: time(read.before), after: time(read.after) };
        self.accumulator.add(&self.machine.table(read.kernel), read_time);
    }

    /// The sample at which the comparison begins, if none is delayed.
    pub(super) fn comparison_began(&self) -> Option<Read> {
        let through = self.reads.first()?.after + LONGEST_UNDER_WAY.as_micros() as u64;
        self.reads.iter().find(|read| read.before >= through).copied()
    }

    pub(super) fn window(&self) -> Window {
        let mut window = Window::default();
        self.accumulator.fill(&mut window);
        window
    }

    pub(super) fn derived(&self) -> Option<DerivedWindow> {
        self.window().events.derived
    }

    /// One row, as of the time `at`.
    pub(super) fn hand_over(&mut self, at: u64) -> Window {
        self.accumulator.note_missed(Some(self.machine.missed(at)));
        let window = self.window();
        self.accumulator.handed_over();
        window
    }

    /// The largest rate and the largest number in one sample of any time between two of `moments`.
    pub(super) fn true_peak(
        &self,
        sample_interval: u64,
        moment: impl Fn(&Read) -> u64,
        count: impl Fn(u64) -> u64,
    ) -> (f64, u64) {
        let moments: Vec<_> = self.reads.iter().map(moment).map(|at| (at, count(at))).collect();
        let (mut rate, mut most) = (0.0f64, 0);
        for (i, from) in moments.iter().enumerate() {
            for to in moments[i + 1..].iter().filter(|to| to.0 > from.0) {
                let (length, events) = (to.0 - from.0, to.1 - from.1);
                rate = rate.max(events as f64 * SECOND as f64 / length as f64);
                let is_one = length * 8 <= sample_interval * 9;
                let share = (events * sample_interval).div_ceil(length);
                most = most.max(if is_one { events } else { share });
            }
        }
        (rate, most)
    }
}
