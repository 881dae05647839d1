//! Tests of one counter's values in any order.

use proptest::prelude::*;

use super::*;

const REACH: Reach = Reach { near_ns: 0, far_ns: i64::MAX, fall: Fall::MayWrap };

fn track(values: &[(i64, f64)], reach: Reach) -> Track {
    let mut track = Track::default();
    values.iter().for_each(|(time_ns, value)| _ = track.take(*time_ns, *value, reach));
    track
}

#[test]
fn a_total_is_the_same_forwards_backwards_and_in_pieces() {
    let values: Vec<_> =
        (0..100).map(|at| (at, [at, at - 50][usize::from(at >= 50)] as f64)).collect();
    let (first, second) = values.split_at(40);
    let reversed: Vec<_> = values.iter().rev().copied().collect();
    let twice: Vec<_> = values.iter().flat_map(|value| [*value; 2]).collect();
    for order in [values.clone(), reversed, [second, first].concat(), twice] {
        let track = track(&order, REACH);
        assert_eq!((track.total(), track.resets()), (98.0, 1), "{track:?}");
        assert_eq!((track.unordered(), track.values()), (0, 100));
        assert_eq!(track.span(), Some((0, 99)));
    }
}

#[test]
fn wraps_and_resets_differ() {
    let wrapped = track(&[(0, WRAP - 10.0), (1, 5.0)], REACH);
    assert_eq!((wrapped.total(), wrapped.resets()), (15.0, 0));
    let reset = track(&[(0, 1e9), (1, 5.0)], REACH);
    assert_eq!((reset.total(), reset.resets()), (5.0, 1));
}

#[test]
fn rows_that_were_read_together_are_no_reset() {
    let reach = Reach { near_ns: 10, ..REACH };
    let values = [(0, 100.0), (5, 99.0), (1000, 110.0), (1001, 109.0), (2000, 120.0)];
    let found = track(&values, reach);
    assert_eq!((found.total(), found.resets(), found.disagreeing()), (20.0, 0, 2));
}

#[test]
fn late_values_fill_their_gap() {
    let reach = Reach { far_ns: 10, ..REACH };
    let mut values: Vec<_> = (0..50).map(|at| (at, at as f64)).collect();
    values.extend((70..100).map(|at| (at, (at - 60) as f64)));
    values.extend((50..70).map(|at| (at, [at, at - 60][usize::from(at >= 60)] as f64)));
    let found = track(&values, reach);
    assert_eq!((found.total(), found.resets(), found.unordered()), (59.0 + 39.0, 1, 0));
}

#[test]
fn a_single_wrong_value_is_counted() {
    for (values, odd) in [
        ([100.0, 110.0, 12.0, 130.0], 1),
        ([100.0, 110.0, 9120.0, 130.0], 1),
        ([100.0, 110.0, 3.0, 20.0], 0),
        ([100.0, 110.0, 120.0, 130.0], 0),
    ] {
        let values: Vec<_> = values.into_iter().enumerate().map(|(t, v)| (t as i64, v)).collect();
        assert_eq!(track(&values, REACH).odd(), odd, "{values:?}");
    }
}

#[test]
fn a_fall_from_high_values_beside_others_that_rose_is_a_wrap() {
    let minute = 60_000_000_000;
    let fall = |rows: [&[f64]; 2], rise: f64| {
        let mut falls = Falls::new(None, false);
        for (before, now) in rows[0].iter().zip(rows[1]) {
            let earlier = if *before >= WRAP { before - rise } else { *before };
            let values = [(-minute, earlier), (0, *before)];
            falls.take(&track(&values, REACH), (minute, *now), || false);
        }
        falls.reach(REACH).of(|| false).fall
    };
    let high = 2.0 * WRAP - 9e6;
    let others = |rose: f64| {
        [[high, high - 1e7, 81.0, rose].to_vec(), [8e8, 3e8, 81.0, rose + 2.0].to_vec()]
    };
    let beside = |rose: f64, rise: f64| {
        let [before, now] = others(rose);
        fall([&before, &now], rise)
    };
    assert_eq!(beside(500.0, 6e8), Fall::Wraps);
    // No counter has 809 million events that stood still before.
    assert_eq!(beside(500.0, 0.0), Fall::BeganAgain);
    // A counter of 5 may have come to 7 again.
    assert_eq!(beside(5.0, 0.0), Fall::BeganAgain);
    assert_eq!(beside(5.0, 6e8), Fall::BeganAgain);
    assert_eq!(fall([&[high, 700.0, 81.0], &[8e8, 3.0, 90.0]], 6e8), Fall::BeganAgain);
    let wraps = Reach { fall: Fall::Wraps, ..REACH };
    let mut busy = track(&[(0, 2.0 * WRAP - 1e8)], REACH);
    busy.take(minute, WRAP + 1e8, wraps);
    assert_eq!((busy.total(), busy.resets()), (2e8, 0));
    // Nothing else moved: its own rises show that it did not wrap.
    assert_eq!(fall([&[high, 0.0, 0.0], &[8e8, 0.0, 0.0]], 0.0), Fall::MayWrap);
    let alone = track(&[(-minute, high), (0, high), (minute, 8e8)], REACH);
    assert_eq!((alone.total(), alone.resets()), (8e8, 1));
}

/// ctpulse was started again, so the counters of the probes begin again, when one of the kernel wraps.
#[test]
fn counters_of_probes_that_began_again_hide_no_wrap() {
    let mut falls = Falls::new(None, true);
    let rows =
        [(WRAP - 9e7, 1e6, false), (5e4, 7e4, false), (3e3, 3.1e3, false), (5e9, 40.0, true)];
    for (before, now, is_of_probes) in rows {
        falls.take(&track(&[(0, before)], REACH), (60_000_000_000, now), || is_of_probes);
    }
    falls.end();
    assert_eq!(falls.fall(false), Fall::Wraps);
}

/// A counter near the end of 32 bits that falls alone: its other rises distinguish a reboot from a wrap.
#[test]
fn a_fall_alone_is_a_wrap_if_the_rises_before_explain_it() {
    let minute = 60_000_000_000;
    let found = |rise: f64, values: [f64; 2]| {
        let before = (0..5).map(|at| (at * minute, values[0] - rise * (4 - at) as f64));
        let behind = (0..5).map(|at| ((5 + at) * minute, values[1] + rise * at as f64));
        let values: Vec<_> = before.chain(behind).collect();
        let backwards: Vec<_> = values.iter().rev().copied().collect();
        let [there, back] = [values, backwards].map(|values| {
            let track = track(&values, REACH);
            (track.total(), track.resets())
        });
        assert_eq!(there, back);
        there
    };
    // A reboot 15 and 95 million events below the end.
    assert_eq!(found(0.0, [4.28e9, 0.0]), (0.0, 1));
    assert_eq!(found(20.0, [4.2e9, 100.0]), (260.0, 1));
    // Five minutes of 300 million each, and a burst in front of the end.
    let fast = 3e8;
    assert_eq!(found(fast, [4.2e9, 2.1e8]), (8.0 * fast + 4.2e9f64.mul_add(-1.0, WRAP + 2.1e8), 0));
    // A gap of a month would have as many events as any.
    let day = 1440 * minute;
    let month = [(0, 2e4), (minute, 2.5e6), (2 * minute, 5e6), (30 * day, 300.0)];
    let apart = track(&month, Reach { far_ns: 2 * minute, ..REACH });
    assert_eq!((apart.total(), apart.resets()), (5e6 - 2e4 + 300.0, 1));
    assert_eq!(found(20.0, [WRAP - 9e5, 100.0]), (160.0 + 9e5 + 100.0, 0));
}

/// What a counter rises by on one side of a fall is no reason for another total than in the reverse order.
#[test]
fn falls_are_judged_by_the_rises_on_both_sides() {
    let minute = 60_000_000_000;
    let found = |rises: [f64; 2], end: f64| {
        let before = (0..20).map(|at| (at * minute, end - rises[0] * (19 - at) as f64));
        let behind = (0..20).map(|at| ((20 + at) * minute, 500.0 + rises[1] * at as f64));
        let values: Vec<_> = before.chain(behind).collect();
        let backwards: Vec<_> = values.iter().rev().copied().collect();
        [values, backwards].map(|values| {
            let track = track(&values, REACH);
            (track.total(), track.resets())
        })
    };
    let end = WRAP - 3e6;
    let wrap = |rises: f64| (rises + 3e6 + 500.0, 0);
    assert_eq!(found([1e6, 10.0], end), [wrap(19.0 * 1e6 + 190.0); 2]);
    assert_eq!(found([10.0, 1e6], end), [wrap(19.0 * 1e6 + 190.0); 2]);
    assert_eq!(found([10.0, 20.0], end), [(570.0 + 500.0, 1); 2]);
}

#[test]
fn a_rise_that_no_kernel_counts_is_doubted() {
    let second = 1_000_000_000;
    let found = track(&[(0, 4.0 * WRAP), (second, 1.0), (2 * second, 4.0 * WRAP)], REACH);
    assert_eq!(found.odd(), 1);
    // No kernel has so many CPUs that wrap at once.
    let found = track(&[(0, 8.0 * WRAP - 7.0), (second, 3.0)], REACH);
    assert_eq!((found.total(), found.resets()), (3.0, 1));
}

/// A reboot before the first packet: some counters leave 0 later than others.
#[test]
fn counters_that_leave_zeros_later_began_again_with_the_first() {
    let rows = [[900.0, 7.0, 3.0], [0.0; 3], [10.0, 0.0, 0.0], [20.0, 2.0, 0.0], [30.0, 2.0, 5.0]];
    let mut tracks = [Track::default(), Track::default(), Track::default()];
    let mut zeros_ns = None;
    for (time_ns, row) in rows.iter().enumerate() {
        let point = |value: &f64| (time_ns as i64, *value);
        let mut falls = Falls::new(zeros_ns, false);
        tracks.iter().zip(row).for_each(|(track, value)| falls.take(track, point(value), || false));
        zeros_ns = falls.zeros_ns();
        let reach = falls.reach(REACH).of(|| false);
        for (track, value) in tracks.iter_mut().zip(row) {
            track.take(time_ns as i64, *value, reach);
        }
    }
    let found = tracks.each_ref().map(|track| (track.total(), track.resets(), track.filled()));
    assert_eq!(found, [(30.0, 1, 0), (2.0, 1, 0), (5.0, 1, 0)]);
}

#[test]
fn values_after_a_known_reset_are_not_doubted() {
    let mut found = track(&[(0, 148.0), (1, 149.0)], REACH);
    found.take(2, 0.0, Reach { fall: Fall::BeganAgain, ..REACH });
    found.take(3, 200.0, REACH);
    assert_eq!((found.total(), found.resets(), found.odd()), (201.0, 1, 0));
}

/// `fill(0)` of a query.
#[test]
fn zeros_between_continued_values_are_ignored() {
    let values: Vec<_> =
        [3.0, 5.0, 0.0, 0.0, 6.0, 9.0].into_iter().zip(0..).map(|(v, t)| (t, v)).collect();
    let reversed: Vec<_> = values.iter().rev().copied().collect();
    let twice: Vec<_> = values.iter().flat_map(|value| [*value; 2]).collect();
    for order in [values, reversed, twice] {
        let found = track(&order, REACH);
        assert_eq!((found.total(), found.resets(), found.filled()), (6.0, 0, 2), "{order:?}");
    }
    // The counter began again, and counts nothing at first, or to the end.
    let found = track(&[(0, 5.0), (1, 0.0), (2, 0.0), (3, 2.0)], REACH);
    assert_eq!((found.total(), found.resets(), found.filled()), (2.0, 1, 0));
    assert_eq!(found.first_reset_ns(), Some(1));
    let found = track(&[(0, 5.0), (1, 6.0), (2, 0.0), (3, 0.0)], REACH);
    assert_eq!((found.total(), found.resets(), found.zeros_at_end()), (1.0, 1, 2));
}

#[test]
fn values_without_an_order_are_counted() {
    let mut values: Vec<_> = (0..50).map(|at| (at, at as f64)).collect();
    values.push((20, 77.0));
    values.push((21, 21.0));
    let found = track(&values, REACH);
    assert_eq!((found.late(), found.unordered(), found.total()), (2, 1, 49.0));
}

proptest! {
    /// In any order: without a reset the total is exact, and memory is bounded.
    #[test]
    fn a_rising_counter_is_exact_in_any_order(
        rises in proptest::collection::vec(0u32..5, 2..200), seed: u64, far_ns in 1i64..50,
    ) {
        let mut sum = 0.0;
        let mut values: Vec<(i64, f64)> = Vec::new();
        for (at, rise) in rises.iter().enumerate() {
            sum += f64::from(*rise);
            values.push((at as i64 * 3, sum));
        }
        let expected = sum - values[0].1;
        fastrand::Rng::with_seed(seed).shuffle(&mut values);
        let found = track(&values, Reach { far_ns, ..REACH });
        prop_assert_eq!(found.total(), expected);
        prop_assert_eq!((found.unordered(), found.resets(), found.filled()), (0, 0, 0));
        prop_assert!(found.stretches.len() <= MOST);
    }
}
