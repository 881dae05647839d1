//! Derived drops of a simulated machine, compared with the truth.

use proptest::prelude::*;

use super::machine::{CPUS, Cause, EXPLAINED, MS, Machine, Observer, Read, SECOND};
use super::*;

const OTHER: usize = DerivedDrop::Other as usize;

/// How far a total may be behind, as of the first of the two samples; the comparison began with the other.
fn behind(machine: &Machine, reads: [&Read; 2]) -> u64 {
    let during = |read: &Read| machine.explained(read.probes_before, read.probes_after);
    reads.into_iter().map(during).sum::<u64>() + 4 * CPUS as u64
}

fn higher(a: Peak, b: Peak) -> Peak {
    Peak { rate: a.rate.max(b.rate), count: a.count.max(b.count) }
}

/// 1,000 drops a second; one tick is 200 ms late. `drop_other_rate_max` was 20,000.
#[test]
fn a_late_tick_makes_no_peak() {
    let mut machine = Machine::default();
    machine.drop_steadily(Cause::Other, 0, SECOND, MS);
    let mut observer = Observer::new(&machine, 10 * MS);
    observer.attach(0);
    let ticks = (0..20).chain(39..61);
    ticks.for_each(|tick| observer.sample(Read::at(tick * 10 * MS)));
    let other = observer.derived().unwrap().drops[OTHER];
    assert!((990.0..1001.0).contains(&other.peak.rate), "{other:?}");
    assert_eq!((other.peak.count, other.total), (10, 570), "since the sample at 30 ms");
}

/// 1,000 drops a second; the thread is stopped for a minute. The row that covers it had a rate of 0, the
/// next row one of 60,990 with a peak of 6,000,000.
#[test]
fn a_row_over_a_stop_has_the_true_rate() {
    let mut machine = Machine::default();
    machine.drop_steadily(Cause::Other, 0, 70 * SECOND, MS);
    let mut observer = Observer::new(&machine, 10 * MS);
    observer.attach(0);
    let ticks = (0..=300).chain(6300..=6600).map(|tick| tick * 10 * MS);
    for at in ticks {
        observer.sample(Read::at(at));
        if at % SECOND != 0 || at == 0 {
            continue;
        }
        let derived = observer.hand_over(at).events.derived.unwrap();
        let other = derived.drops[OTHER];
        let seconds = derived.elapsed.unwrap().as_secs_f64();
        let rate = other.events as f64 / seconds;
        assert!((990.0..1001.0).contains(&rate), "{rate} at {at}");
        assert!((990.0..1001.0).contains(&other.peak.rate), "{other:?} at {at}");
        assert_eq!(other.peak.count, 10, "at {at}");
        let covered = if at == 63 * SECOND { 60.0 } else { 1.0 };
        assert!((seconds - covered).abs() < 0.031, "{seconds} at {at}");
    }
}

/// 50 other drops a second all the time, 100,000 of a full table for 5 s: the other ones were hidden
/// for 5 s and then 250 came in one sample.
#[test]
fn a_storm_of_drops_with_a_cause_does_not_hide_other_drops() {
    let mut machine = Machine::default();
    machine.drop_steadily(Cause::Other, 0, 15 * SECOND, 20 * MS);
    machine.drop_steadily(Cause::Full, 5 * SECOND, 10 * SECOND, 10);
    machine.sort();
    let mut observer = Observer::new(&machine, 10 * MS);
    observer.attach(0);
    for tick in 0..1500 {
        let read = Read::at(tick * 10 * MS);
        observer.sample(read);
        let Some(derived) = observer.derived() else { continue };
        let (found, truth) =
            (derived.drops[OTHER].total, machine.truth(DerivedDrop::Other, read.kernel));
        let late = behind(&machine, [&read, &observer.comparison_began().unwrap()]);
        assert!(found <= truth && found + late >= truth, "{found} of {truth} at {tick}");
        if tick % 100 == 0 {
            let other = observer.hand_over(read.after).events.derived.unwrap().drops[OTHER];
            assert!((40.0..=100.0).contains(&other.peak.rate), "{other:?} at {tick}");
            assert_eq!(other.peak.count, 1, "{other:?} at {tick}");
            assert!((40..=60).contains(&other.events), "{other:?} at {tick}");
        }
    }
    assert_eq!(observer.derived().unwrap().drops[DerivedDrop::Dying as usize].total, 0);
}

/// Attached while a full table drops 10,000 packets a second, beside 50 of another cause: the
/// drops of the first sample were missing for good, 20,100 packets at one sample a second.
#[test]
fn probes_attached_during_a_storm_lose_no_drops() {
    for sample_interval in [10 * MS, SECOND] {
        let mut machine = Machine::default();
        machine.drop_steadily(Cause::Other, 0, 20 * SECOND, 20 * MS);
        machine.drop_steadily(Cause::Full, 0, 19 * SECOND, 100);
        machine.sort();
        let mut observer = Observer::new(&machine, sample_interval);
        observer.sample(Read::at(2 * SECOND - sample_interval));
        observer.attach(2 * SECOND - 1);
        for at in (2 * SECOND..19 * SECOND).step_by(sample_interval as usize) {
            let read = Read::at(at);
            observer.sample(read);
            let Some(derived) = observer.derived() else {
                assert!(observer.comparison_began().is_none_or(|began| began.before == at));
                continue;
            };
            let first = observer.comparison_began().unwrap();
            let found = derived.drops[OTHER].total;
            let truth = machine.truth(DerivedDrop::Other, read.kernel)
                - machine.truth(DerivedDrop::Other, first.kernel);
            let late = behind(&machine, [&read, &first]);
            assert!(late <= 10 && found <= truth && found + late >= truth, "{found} of {truth}");
        }
    }
}

/// The comparison begins in a storm without other drops: it leaves room for packets under way then, and
/// hides none of the drops that come after the storm.
#[test]
fn drops_after_a_storm_are_exact_where_the_comparison_began_in_it() {
    let mut machine = Machine::default();
    machine.drop_steadily(Cause::Full, 0, SECOND, 10);
    machine.drop_steadily(Cause::Other, 2 * SECOND, 2 * SECOND + 10 * MS, MS);
    machine.sort();
    let mut observer = Observer::new(&machine, 10 * MS);
    observer.attach(0);
    let found = |observer: &Observer<'_>| observer.derived().unwrap().drops[OTHER].total;
    (1..200).for_each(|tick| observer.sample(Read::at(tick * 10 * MS)));
    assert_eq!(found(&observer), 0);
    (200..300).for_each(|tick| observer.sample(Read::at(tick * 10 * MS)));
    assert_eq!(found(&observer), 10);
}

/// 1,000 drops a second; the thread is delayed by 100 ms after its read of the kernel, and a row is due
/// then. The row ends before that sample, and the next one covers it.
#[test]
fn a_row_that_ends_with_a_delayed_read_has_the_true_rate() {
    let mut machine = Machine::default();
    machine.drop_steadily(Cause::Other, 0, SECOND, MS);
    let mut observer = Observer::new(&machine, 10 * MS);
    observer.attach(0);
    (0..20).for_each(|tick| observer.sample(Read::at(tick * 10 * MS)));
    observer.sample(Read::delayed(200 * MS, [5, 5, 100 * MS, 5]));
    let mut rates = vec![observer.hand_over(300 * MS)];
    (31..40).for_each(|tick| observer.sample(Read::at(tick * 10 * MS)));
    rates.push(observer.hand_over(400 * MS));
    for (row, seconds) in rates.into_iter().zip([0.16, 0.2]) {
        let derived = row.events.derived.unwrap();
        let (events, elapsed) = (derived.drops[OTHER].events as f64, derived.elapsed.unwrap());
        assert!((elapsed.as_secs_f64() - seconds).abs() < 0.001, "{elapsed:?}");
        assert!((events / elapsed.as_secs_f64() - 1000.0).abs() < 10.0, "{events} in {elapsed:?}");
    }
}

/// One CPU for some time: a packet every so many microseconds, with a cause that is explained, and one
/// with a cause that is left over.
#[derive(Debug, Clone)]
struct Phase {
    length: u64,
    explained: Option<(Cause, u64)>,
    left_over: Option<(Cause, u64)>,
}

fn phases() -> impl Strategy<Value = Vec<Phase>> {
    let explained = prop_oneof![
        Just(Cause::Full),
        Just(Cause::Clash),
        Just(Cause::NatExhausted),
        Just(Cause::Tracker),
        Just(Cause::LongChain)
    ];
    let left_over = prop_oneof![Just(Cause::Dying), Just(Cause::Other)];
    let every = || prop_oneof![10u64..100, 100u64..1000, 1000u64..20_000];
    let phase = (
        1..120 * MS,
        proptest::option::weighted(0.7, (explained, every())),
        proptest::option::weighted(0.7, (left_over, every())),
    );
    let phase =
        phase.prop_map(|(length, explained, left_over)| Phase { length, explained, left_over });
    prop::collection::vec(phase, 1..6)
}

/// Times under way in microseconds, over and over; now and then a packet is held up.
fn times_under_way() -> impl Strategy<Value = Vec<u64>> {
    let time = prop_oneof![30 => 0u64..3, 5 => 3u64..30, 1 => 30u64..15 * MS];
    prop::collection::vec(time, 1..200)
}

/// Every `misses`th packet is missed by the probes; with 0 no packet is.
fn machine(cpus: [Vec<Phase>; CPUS], under_way: &[u64], misses: usize) -> Machine {
    let mut machine = Machine::default();
    let mut times = under_way.iter().cycle();
    let mut packets = 0;
    for phases in cpus {
        let (mut began, mut free_at) = (60 * MS, 0);
        for phase in phases {
            let ends = began + phase.length;
            let times_of = |drops: Option<(Cause, u64)>| {
                let (cause, every) = drops.unwrap_or((Cause::Other, u64::MAX / 2));
                (0..)
                    .map(move |n| (began + every / 2 + n * every, cause))
                    .take_while(move |at| at.0 < ends)
            };
            let mut drops: Vec<_> =
                times_of(phase.explained).chain(times_of(phase.left_over)).collect();
            drops.sort_by_key(|(at, _)| *at);
            for (due, cause) in drops {
                let (at, under_way) = (due.max(free_at), *times.next().unwrap());
                if at > ends {
                    break;
                }
                free_at = at + under_way + 1;
                packets += 1;
                machine.drop_packet(cause, at, under_way, misses > 0 && packets % misses == 0);
            }
            began = ends;
        }
    }
    machine.sort();
    machine
}

/// The pause before a sample, and the delays within it. A third of them ticks on time.
fn samples() -> impl Strategy<Value = Vec<(u64, [u64; 4])>> {
    let delay = || prop_oneof![12 => 0u64..30, 1 => 2 * MS..150 * MS];
    let pause = prop_oneof![6 => Just(10 * MS), 3 => 0u64..20 * MS, 1 => 20 * MS..300 * MS];
    let delays = [delay(), delay(), delay(), delay()];
    let on_time = (Just(10 * MS), Just([5u64; 4]));
    prop::collection::vec(prop_oneof![(pause, delays), on_time], 3..50)
}

proptest! {
    /// Delayed reads, stops, storms on both CPUs, probes that are attached at any sample.
    #[test]
    fn derived_drops_are_never_above_the_truth_and_never_far_behind(
        cpus in [phases(), phases()],
        under_way in times_under_way(),
        samples in samples(),
        attached in 0usize..6,
        row in 1usize..9,
    ) {
        let machine = machine(cpus, &under_way, 0);
        let sample_interval = 10 * MS;
        let mut observer = Observer::new(&machine, sample_interval);
        let mut clock = 0;
        // The sample at which the comparison begins.
        let mut first: Option<Read> = None;
        let mut handed_over = [0; 2];
        let mut last = [0; 2];
        let mut peaks = [Peak::default(); 2];
        let mut probed = [Peak::default(); EXPLAINED.len()];
        // At the end no packet is in flight.
        let rest = (SECOND, [5; 4]);
        let count = samples.len();
        for (i, (pause, delays)) in samples.into_iter().chain([rest, rest, rest]).enumerate() {
            let is_attached = i == attached.min(count - 2);
            if is_attached {
                observer.attach(clock);
            }
            let begins = i == attached.min(count - 2) + 1;
            // Where the comparison begins is known, and later than anything under way before.
            let is_on_time = is_attached || begins;
            clock += if is_on_time { 25 * MS } else { pause };
            let read = Read::delayed(clock, if is_on_time { [5; 4] } else { delays });
            clock = read.after;
            observer.sample(read);
            if begins {
                first = Some(read);
            }
            let (Some(derived), Some(first)) = (observer.derived(), first) else {
                prop_assert!(i < count);
                continue;
            };
            // A row's rates are over a time of some length.
            let has_events = derived.drops.iter().any(|drop| drop.events > 0);
            prop_assert!(derived.elapsed.is_some() || !has_events);
            for drop in DerivedDrop::ALL {
                let at = drop as usize;
                let found = derived.drops[at];
                let truth = machine.truth(drop, read.kernel) - machine.truth(drop, first.kernel);
                prop_assert!(found.total <= truth, "{drop:?}: {} of {truth}", found.total);
                prop_assert!(found.total >= last[at], "{drop:?} goes back");
                last[at] = found.total;
                let ends_window = pause >= 10 * MS && read.after - read.before <= MS;
                let late = behind(&machine, [&read, &first]);
                let is_near = !ends_window || found.total + late >= truth;
                prop_assert!(is_near, "{drop:?}: {} of {truth}", found.total);
                if i == count + 2 && machine.is_at_rest(first.after) {
                    prop_assert_eq!(found.total, truth, "at rest");
                }
            }
            if i % row == 0 || i == count + 2 {
                let window = observer.hand_over(clock);
                let derived = window.events.derived.unwrap();
                for (at, found) in derived.drops.iter().enumerate() {
                    handed_over[at] += found.events;
                    prop_assert_eq!(handed_over[at], found.total);
                    peaks[at] = higher(peaks[at], found.peak);
                }
                for ((_, event), most) in EXPLAINED.iter().zip(&mut probed) {
                    *most = higher(*most, window.events.tally.peaks[*event as usize]);
                }
            }
        }
        for drop in DerivedDrop::ALL {
            let (rate, most) =
                observer.true_peak(sample_interval, |read| read.kernel, |at| machine.truth(drop, at));
            let peak = peaks[drop as usize];
            let is_true = peak.rate <= rate + 1e-6 && peak.count <= most;
            prop_assert!(is_true, "{drop:?} {peak:?}: {rate} {most}");
        }
        for ((cause, _), peak) in EXPLAINED.iter().zip(probed) {
            let (rate, most) = observer
                .true_peak(sample_interval, |read| read.probes_after, |at| machine.probed(*cause, at));
            let is_true = peak.rate <= rate + 1e-6 && peak.count <= most;
            prop_assert!(is_true, "{cause:?} {peak:?}: {rate} {most}");
        }
    }

    /// Calls that the probes are known to have missed are in no row.
    #[test]
    fn rows_leave_derived_drops_out_after_missed_calls(
        cpus in [phases(), phases()],
        under_way in times_under_way(),
        samples in samples(),
        misses in 1usize..2000,
        row in 1usize..9,
    ) {
        let machine = machine(cpus, &under_way, misses);
        let mut observer = Observer::new(&machine, 10 * MS);
        observer.attach(0);
        let (mut clock, mut missed) = (0, 0);
        let mut last = [0; 2];
        for (i, (pause, delays)) in samples.into_iter().enumerate() {
            let read = Read::delayed(clock + pause, delays);
            clock = read.after;
            observer.sample(read);
            if i % row != 0 {
                continue;
            }
            let derived = observer.hand_over(clock).events.derived;
            let has_new_misses = machine.missed(clock) > missed;
            missed = machine.missed(clock);
            prop_assert!(!(has_new_misses && derived.is_some()));
            for drop in DerivedDrop::ALL {
                let Some(derived) = derived else { continue };
                let found = derived.drops[drop as usize].total;
                prop_assert!(found >= last[drop as usize], "{drop:?} goes back");
                last[drop as usize] = found;
                let truth = machine.truth(drop, read.kernel);
                prop_assert!(found <= truth, "{drop:?}: {found} of {truth}");
            }
        }
    }
}
