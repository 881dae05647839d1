//! Tests of the accumulator: wraps, resets, rates, bursts, lost emissions.

use conntrack_ebpf::Event;
use proptest::prelude::*;

use super::*;
use crate::schema::raw::EVENTS;
use crate::source::stat_text::StatParser;

const SECOND: Duration = Duration::from_secs(1);

/// A table of rows `entries drop`, parsed from the kernel's own form.
fn table(rows: &[[u32; 2]]) -> StatTable {
    let mut text = String::from("entries  drop\n");
    for [entries, drop] in rows {
        text.push_str(&format!("{entries:08x}  {drop:08x}\n"));
    }
    let mut table = StatTable::default();
    StatParser::default().parse(text.as_bytes(), &mut table).unwrap();
    table
}

fn window(accumulator: &Accumulator) -> Window {
    let mut window = Window::default();
    accumulator.fill(&mut window);
    window
}

fn drops(window: &Window) -> (Vec<u64>, Vec<u64>) {
    let every_second = |values: &[u64]| values.iter().copied().skip(1).step_by(2).collect();
    (every_second(&window.totals), every_second(&window.tally.events))
}

#[test]
fn the_first_window_has_counters_and_no_rates() {
    let mut accumulator = Accumulator::new(SECOND, false);
    accumulator.add(&table(&[[7, 100], [7, 200]]), SECOND);
    let window = window(&accumulator);
    assert_eq!(drops(&window), (vec![100, 200], vec![0, 0]));
    assert_eq!((window.elapsed, window.has_peaks), (None, false));
    assert_eq!(window.entries, Some(Extremes { last: 7, min: 7, max: 7 }));
}

#[test]
fn a_wrapped_counter_continues_in_64_bits() {
    let mut accumulator = Accumulator::new(SECOND, false);
    accumulator.add(&table(&[[0, u32::MAX - 9]]), SECOND);
    accumulator.handed_over();
    accumulator.add(&table(&[[0, 10]]), SECOND * 2);
    let window = window(&accumulator);
    assert_eq!(drops(&window), (vec![u64::from(u32::MAX) + 11], vec![20]));
    assert_eq!(window.elapsed, Some(SECOND));
    assert_eq!(window.tally.peaks[1].rate, 20.0);
}

/// One CPU's counter shows that the file was replaced, so that the other's has no history either.
#[test]
fn a_plain_file_that_starts_again_counts_nothing_for_that_time() {
    for (before, now) in [
        ([1000, 3], [12, 4]),
        ([1 << 30, 3], [12, 4]),
        ([3 << 30, 3], [12, 4]),
        ([u32::MAX / 2, 3], [12, 4]),
        // `drop_rate_max` was 46,174,518.
        ([6_000_000, 10], [5_000_000, 500]),
    ] {
        let rows = |drops: [u32; 2]| table(&drops.map(|drop| [5, drop]));
        let mut accumulator = Accumulator::new(SECOND / 10, true);
        accumulator.add(&rows([before[0] - 7, before[1] - 1]), SECOND);
        accumulator.handed_over();
        accumulator.add(&rows(before), SECOND * 2);
        assert!(!accumulator.take_restart());
        accumulator.add(&rows(now), SECOND * 2 + SECOND / 10);
        assert!(accumulator.take_restart() && !accumulator.take_restart());
        let window_over_restart = window(&accumulator);
        let expected = (now.map(u64::from).to_vec(), vec![7, 1]);
        assert_eq!(drops(&window_over_restart), expected, "{before:?}");
        // The rates are over the time for which events were counted.
        assert_eq!(window_over_restart.elapsed, Some(SECOND));
        assert_eq!(window_over_restart.tally.peaks[1].rate, 8.0);
        accumulator.handed_over();
        accumulator.add(&rows(now.map(|drop| drop + 2)), SECOND * 2 + SECOND / 5);
        let next = window(&accumulator);
        assert_eq!((drops(&next).1, next.elapsed), (vec![2, 2], Some(SECOND / 10)));
    }
}

/// The counters of one CPU of a running kernel, 335 million events apart: the other CPU's were
/// taken for new ones, and `drop_rate` was 1,500,036 a second without a drop.
#[test]
fn a_lower_value_of_a_running_kernel_is_a_wrap() {
    for counted in [335_000_000, 1 << 31, u32::MAX] {
        let before = 4_000_000_000u32;
        let mut accumulator = Accumulator::new(SECOND, false);
        let mut live = |rows: &[[u32; 2]], at| {
            let table = StatTable { is_live: true, ..table(rows) };
            accumulator.add(&table, at);
            window(&accumulator)
        };
        live(&[[5, before], [5, 1_500_000]], SECOND);
        let window = live(&[[5, before.wrapping_add(counted)], [5, 1_500_036]], SECOND * 2);
        let (totals, events) = drops(&window);
        assert_eq!(totals, [u64::from(before) + u64::from(counted), 1_500_036]);
        assert_eq!(events, [u64::from(counted), 36]);
    }
}

#[test]
fn a_counter_that_starts_again_after_a_long_time_is_no_wrap() {
    let mut accumulator = Accumulator::new(SECOND, false);
    accumulator.add(&table(&[[5, 3_000_000_000]]), SECOND);
    accumulator.handed_over();
    accumulator.add(&table(&[[5, 7]]), SECOND * 61);
    assert_eq!(drops(&window(&accumulator)), (vec![7], vec![0]));
    assert_eq!(window(&accumulator).elapsed, None);
}

#[test]
fn a_file_that_is_opened_again_has_no_history() {
    for (another, events) in [(false, 30), (true, 0)] {
        let mut accumulator = Accumulator::new(SECOND, false);
        accumulator.add(&table(&[[5, 100]]), SECOND);
        accumulator.handed_over();
        accumulator.add(&table(&[[5, 130]]), SECOND * 2);
        accumulator.opened_again(another);
        // Neither 870 nor 1,000 happened in this time.
        accumulator.add(&table(&[[5, 1000]]), SECOND * 3);
        assert_eq!(drops(&window(&accumulator)), (vec![1000], vec![events]), "{another}");
        accumulator.handed_over();
        accumulator.add(&table(&[[5, 1004]]), SECOND * 4);
        let window = window(&accumulator);
        assert_eq!((drops(&window).1, window.elapsed), (vec![4], Some(SECOND)));
    }
}

#[test]
fn counts_before_a_loss_are_handed_over() {
    let mut accumulator = Accumulator::new(SECOND, false);
    accumulator.add(&table(&[[5, 100]]), SECOND);
    accumulator.handed_over();
    accumulator.add(&table(&[[5, 600]]), SECOND * 2);
    // The file goes away; the emission has the events until then, the next one none.
    let last = window(&accumulator);
    assert_eq!((drops(&last).1, last.elapsed), (vec![500], Some(SECOND)));
    assert!(last.entries.is_some());
    accumulator.handed_over();
    assert_eq!(window(&accumulator).entries, None);
}

#[test]
fn the_burst_inside_an_emission_is_kept() {
    let tenth = SECOND / 10;
    let mut accumulator = Accumulator::new(tenth, true);
    let mut drop = 0;
    accumulator.add(&table(&[[100, drop], [100, 0]]), tenth);
    accumulator.handed_over();
    for tick in 1..=10 {
        let entries = if tick == 4 { 900 } else { 100 };
        drop += if tick == 4 { 50 } else { 1 };
        accumulator.add(&table(&[[entries, drop], [entries, 0]]), tenth * (tick + 1));
    }
    let window = window(&accumulator);
    assert_eq!(drops(&window).1, [59, 0]);
    assert_eq!(window.elapsed, Some(SECOND));
    assert!((window.tally.peaks[1].rate - 500.0).abs() < 1e-6);
    assert!(
        (window.tally.row_peaks[1].rate - 500.0).abs() < 1e-6
            && window.tally.row_peaks[3].rate == 0.0
    );
    assert_eq!(window.entries, Some(Extremes { last: 100, min: 100, max: 900 }));
}

#[test]
fn two_reads_close_together_make_no_burst() {
    let tenth = SECOND / 10;
    let mut accumulator = Accumulator::new(tenth, false);
    accumulator.add(&table(&[[0, 0]]), SECOND);
    accumulator.add(&table(&[[0, 10]]), SECOND + tenth / 1000);
    assert!(!window(&accumulator).has_peaks);
    accumulator.add(&table(&[[0, 20]]), SECOND + tenth);
    assert_eq!(window(&accumulator).tally.peaks[1].rate, 200.0);
}

/// A read at some moment between `before` and `after` milliseconds.
fn between(before: u32, after: u32) -> ReadTime {
    let ms = Duration::from_millis(1);
    ReadTime { before: ms * before, after: ms * after }
}

/// The thread is stopped for 100 ms between the read and the clock, under 1,000 events a second.
#[test]
fn a_delay_within_a_read_makes_no_burst() {
    let mut accumulator = Accumulator::new(SECOND / 100, true);
    let mut read = |drop, time| accumulator.add(&table(&[[0, drop]]), time);
    read(0, between(10, 10));
    read(10, between(20, 120));
    // Read 103 ms after the last one, and 3 ms after the clock beside that.
    read(113, between(123, 123));
    read(120, between(130, 130));
    let window = window(&accumulator);
    assert_eq!(drops(&window).1, [120], "no event is lost");
    for peak in [window.tally.peaks[1], window.tally.row_peaks[1]] {
        assert!((peak.rate - 1000.0).abs() < 1e-6, "{peak:?}");
        assert_eq!(peak.count, 10);
    }
}

#[test]
fn a_peak_is_also_a_count_in_one_sample() {
    let sample = SECOND / 100;
    let count = |counted, length| {
        let mut accumulator = Accumulator::new(sample, false);
        accumulator.add(&table(&[[0, 0]]), SECOND);
        accumulator.add(&table(&[[0, counted]]), SECOND + length);
        let peak = window(&accumulator).tally.peaks[1];
        assert!((peak.rate - f64::from(counted) / length.as_secs_f64()).abs() < 1e-6);
        peak.count
    };
    assert_eq!(count(28, sample), 28);
    assert_eq!(count(28, sample * 6 / 10), 28);
    assert_eq!(count(28, sample * 11 / 10), 28);
    // Of 28 events in 1.4 s one sample has one at least, of 281 in ten samples one has 29.
    assert_eq!(count(28, SECOND * 14 / 10), 1);
    assert_eq!(count(281, sample * 10), 29);
}

#[test]
fn an_emission_that_is_not_handed_over_loses_no_event() {
    let mut accumulator = Accumulator::new(SECOND, false);
    accumulator.add(&table(&[[1, 0]]), SECOND);
    accumulator.handed_over();
    accumulator.add(&table(&[[9, 30]]), SECOND * 2);
    let lost = window(&accumulator);
    assert_eq!(drops(&lost).1, [30]);
    accumulator.add(&table(&[[2, 34]]), SECOND * 4);
    let next = window(&accumulator);
    assert_eq!((drops(&next).1, next.elapsed), (vec![34], Some(SECOND * 3)));
    assert_eq!(next.tally.peaks[1].rate, 30.0);
    assert_eq!(next.entries, Some(Extremes { last: 2, min: 2, max: 9 }));
}

#[test]
fn a_row_that_cannot_be_read_keeps_its_counters() {
    let mut accumulator = Accumulator::new(SECOND, false);
    accumulator.add(&table(&[[1, 5], [1, 6]]), SECOND);
    accumulator.handed_over();
    let mut broken = table(&[[1, 9], [1, 6]]);
    (broken.filled[1], broken.values[3]) = (0, 0);
    accumulator.add(&broken, SECOND * 2);
    assert_eq!(drops(&window(&accumulator)), (vec![9, 6], vec![4, 0]));
    accumulator.add(&table(&[[1, 9], [1, 8]]), SECOND * 3);
    assert_eq!(drops(&window(&accumulator)), (vec![9, 8], vec![4, 2]));
}

#[test]
fn events_are_accumulated_beside_the_kernels_counters() {
    let tenth = SECOND / 10;
    let mut accumulator = Accumulator::new(tenth, true);
    // Two CPUs; the source was attached before and had counted something already.
    let mut events = vec![7u64; 2 * EVENTS];
    accumulator.add_events(&events, &events);
    accumulator.add(&table(&[[1, 0], [1, 0]]), tenth);
    accumulator.handed_over();
    for tick in 2..=11 {
        events[0] += if tick == 5 { 40 } else { 1 };
        events[EVENTS] += 1;
        accumulator.add_events(&events, &events);
        accumulator.add(&table(&[[1, 0], [1, 0]]), tenth * tick);
    }
    let window = window(&accumulator);
    assert_eq!((window.events.totals[0], window.events.totals[EVENTS]), (56, 17));
    assert_eq!((window.events.tally.events[0], window.events.tally.events[EVENTS]), (49, 10));
    assert!((window.events.tally.peaks[0].rate - 410.0).abs() < 1e-6);
    assert!((window.events.tally.row_peaks[EVENTS].rate - 10.0).abs() < 1e-6);
}

/// Seven other drops, and five of a full table on the second CPU, whose row cannot be read once: its
/// counters are too low in that sample, so nothing is compared.
#[test]
fn nothing_is_derived_from_a_sample_without_some_row() {
    let kernel = |drops: [u32; 2]| {
        let text = drops.map(|drop| format!("0 0 0 {drop:x}\n")).concat();
        let text = format!("entries clashres insert_failed drop\n{text}");
        let mut table = StatTable::default();
        StatParser::default().parse(text.as_bytes(), &mut table).unwrap();
        StatTable { is_live: true, ..table }
    };
    let mut accumulator = Accumulator::new(SECOND, false);
    let mut other = |at, table: StatTable, full| {
        let mut events = [0; 2 * EVENTS];
        events[EVENTS + Event::TableFull as usize] = full;
        accumulator.add_events(&events, &events);
        accumulator.add(&table, SECOND * at);
        window(&accumulator).events.derived.map(|derived| derived.drops[1].total)
    };
    assert_eq!(other(1, kernel([0, 0]), 0), None);
    assert_eq!(other(2, kernel([0, 0]), 0), None);
    let mut torn = kernel([0, 0]);
    (torn.filled[1], torn.values[7]) = (0, 0);
    assert_eq!(other(3, torn, 5), None);
    assert_eq!(other(4, kernel([7, 5]), 5), Some(7));
    assert_eq!(other(5, kernel([7, 5]), 5), Some(7));
}

/// Drops of the time in which the file was not read are in the probes' counters only.
#[test]
fn nothing_is_derived_across_a_file_that_is_opened_again() {
    let none = [0; EVENTS];
    let mut accumulator = Accumulator::new(SECOND, false);
    let text = b"entries clashres insert_failed drop\n0 0 0 0\n";
    let mut still = StatTable::default();
    StatParser::default().parse(text, &mut still).unwrap();
    let mut is_known = |at, opened_again| {
        if opened_again {
            accumulator.opened_again(false);
        }
        accumulator.add_events(&none, &none);
        accumulator.add(&still, SECOND * at);
        window(&accumulator).events.derived.is_some()
    };
    assert_eq!([1, 2, 3].map(|at| is_known(at, false)), [false, false, true]);
    assert_eq!([(4, true), (5, false)].map(|(at, again)| is_known(at, again)), [false; 2]);
    assert_eq!([6, 7].map(|at| is_known(at, false)), [false, true]);
}

/// Now and then long: the thread is stopped.
fn delay() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0u32..2, 1 => 50u32..150]
}

proptest! {
    /// However long the thread is delayed before and after a read: no peak is above the rate of the
    /// busiest true window, nor above the number of events in the busiest stretch of one sample.
    #[test]
    fn no_peak_is_above_that_of_a_true_window(
        reads in prop::collection::vec((0u32..30, delay(), delay(), 0u32..50), 2..40),
    ) {
        let sample = 10;
        let mut accumulator = Accumulator::new(Duration::from_millis(sample), false);
        // When the kernel was read, in ms, and the counter then.
        let mut truth: Vec<(u32, u32)> = Vec::new();
        let (mut clock, mut drop) = (0, 0);
        for (pause, before, after, counted) in reads {
            let began = clock + pause;
            let read_at = began + before;
            clock = read_at + after;
            drop += counted;
            truth.push((read_at, drop));
            accumulator.add(&table(&[[0, drop]]), between(began, clock));
        }
        let windows = || {
            let all = truth.iter().enumerate();
            all.flat_map(|(i, from)| truth[i + 1..].iter().map(move |to| (to.0 - from.0, to.1 - from.1)))
        };
        // Events between two reads at the same moment have any rate.
        let most = windows().map(|(length, events)| f64::from(events) * 1000.0 / f64::from(length));
        let most = most.fold(0.0, f64::max);
        let peak = window(&accumulator).tally.peaks[1];
        prop_assert!(peak.rate <= most + 1e-6, "{} > {most}", peak.rate);
        // All events of a window are in one sample if it is no longer, else a share of them.
        let sample = sample as u32;
        let in_a_sample = windows().map(|(length, events)| match length {
            length if length * 8 <= sample * 9 => events,
            length => (events * sample).div_ceil(length),
        });
        let in_a_sample = in_a_sample.map(u64::from);
        prop_assert!(peak.count <= in_a_sample.max().unwrap_or(0));
    }

    /// For any output of a kernel, rates are never negative, never a 2^32 spike, and a counter
    /// that only goes up is followed exactly, through any number of wraps.
    #[test]
    fn counters_are_followed_through_wraps(
        start: u32,
        steps in prop::collection::vec(0u32..1 << 20, 1..200),
    ) {
        let mut accumulator = Accumulator::new(SECOND, false);
        let mut raw = start;
        accumulator.add(&table(&[[0, raw]]), Duration::ZERO);
        for (i, step) in steps.iter().enumerate() {
            raw = raw.wrapping_add(*step);
            accumulator.add(&table(&[[0, raw]]), SECOND * (i as u32 + 1));
        }
        let sum: u64 = steps.iter().map(|&step| u64::from(step)).sum();
        let window = window(&accumulator);
        prop_assert_eq!(window.totals[1], u64::from(start) + sum);
        prop_assert_eq!(window.tally.events[1], sum);
        let most = f64::from(*steps.iter().max().unwrap());
        prop_assert!((window.tally.peaks[1].rate - most).abs() < 1e-6 * most.max(1.0));
    }

    #[test]
    fn arbitrary_values_never_spike(values in prop::collection::vec(any::<u32>(), 2..100)) {
        let mut accumulator = Accumulator::new(SECOND, false);
        for (i, &value) in values.iter().enumerate() {
            accumulator.add(&table(&[[0, value]]), SECOND * (i as u32 + 1));
        }
        let window = window(&accumulator);
        prop_assert!(window.tally.peaks[1].rate >= 0.0 && window.tally.peaks[1].rate <= f64::from(u32::MAX));
        prop_assert!(window.tally.events[1] <= u64::from(u32::MAX) * values.len() as u64);
    }
}
