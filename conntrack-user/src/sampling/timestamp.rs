//! The timestamps of emissions, rounded to `precision`.
//!
//! An emission that is due every interval has the time at which it was due, so that however late a
//! thread wakes up there is one timestamp an interval: none twice and none left out.

use std::time::Duration;

/// How timestamps are rounded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timestamps {
    /// Nanoseconds that timestamps are multiples of; up to 1 rounds nothing.
    precision: i64,
    /// When sampling started, in nanoseconds since 1970.
    start: i64,
    /// Due times this far above a multiple, or further, are rounded up. Half of the precision,
    /// unless due times are about there: the clock's own inaccuracy would send one up and the
    /// next down.
    up_from: i64,
}

impl Timestamps {
    /// Timestamps of a sampling that started at `start` (since 1970), with the first regular
    /// emission due `first` later; `None` without any.
    #[must_use]
    pub(super) fn new(precision: Duration, start: Duration, first: Option<Duration>) -> Self {
        let precision = nanoseconds(precision);
        let start_ns = nanoseconds(start);
        let half = precision - precision / 2;
        let up_from = first.filter(|_| precision > 1).map_or(half, |first| {
            let phase = nanoseconds(start + first).rem_euclid(precision);
            let quarter = precision / 4;
            if phase < quarter || phase > precision - quarter {
                half
            } else if phase >= half {
                quarter
            } else {
                precision - quarter
            }
        });
        Self { precision, start: start_ns, up_from }
    }

    /// The timestamp of the emission at the start, whose counters were read at `read_ns`.
    #[must_use]
    pub(super) fn of_start(&self, read_ns: i64) -> i64 {
        if self.precision > 1 { nearest(self.start, self.precision) } else { read_ns }
    }

    /// The timestamp of an emission that was asked for.
    #[must_use]
    pub(super) fn of_asked(&self, read_ns: i64) -> i64 {
        nearest(read_ns, self.precision)
    }

    /// The timestamp of a regular emission, due at `due_ns` by the wall clock.
    #[must_use]
    pub(super) fn of_regular(&self, read_ns: i64, due_ns: i64) -> i64 {
        if self.precision > 1 { round(due_ns, self.precision, self.up_from) } else { read_ns }
    }
}

/// Rounds to the nearest multiple of `precision`, halves up, as Go's `Time.Round` does.
#[must_use]
pub(super) fn nearest(timestamp_ns: i64, precision: i64) -> i64 {
    if precision > 1 {
        round(timestamp_ns, precision, precision - precision / 2)
    } else {
        timestamp_ns
    }
}

fn round(timestamp_ns: i64, precision: i64, up_from: i64) -> i64 {
    let past = timestamp_ns.rem_euclid(precision);
    let down = timestamp_ns - past;
    if past >= up_from { down.saturating_add(precision) } else { down }
}

/// A time in nanoseconds; what does not fit is as long as fits.
#[must_use]
pub(super) fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampling::schedule::{Schedule, first_emission};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn timestamps_round_to_the_nearest() {
        assert_eq!(nearest(1_499, 1_000), 1_000);
        assert_eq!(nearest(1_500, 1_000), 2_000);
        assert_eq!(nearest(1_500, 0), 1_500);
        assert_eq!(nearest(-1_400, 1_000), -1_000);
        assert_eq!(nearest(i64::MAX, 1_000_000_000), i64::MAX);
    }

    /// One run: when it starts, and how late each wake-up is, in ms.
    #[derive(Debug, Clone)]
    struct TimestampRun {
        start: u64,
        interval: Duration,
        offset: Duration,
        precision: Duration,
        is_aligned: bool,
        late: Vec<u32>,
    }

    impl TimestampRun {
        /// The timestamps of the first rows, in ms, that at the start among them.
        fn timestamps(&self) -> Vec<i64> {
            let start = MS * 1_795_000_000 + Duration::from_millis(self.start);
            let (interval, precision) = (self.interval, self.precision);
            let sample = interval / 10;
            let first =
                first_emission(start, interval, self.offset, self.is_aligned, sample, precision);
            let timestamps = Timestamps::new(precision, start, Some(first));
            let mut schedule = Schedule::new(interval, interval, Duration::ZERO, Some(first));
            let mut rows = vec![timestamps.of_start(nanoseconds(start + MS * 3))];
            for &late in &self.late {
                let now = schedule.deadline() + MS * late;
                if let Some(due) = schedule.wake(now).emission {
                    // The two clocks are not read at once.
                    let due_ns = nanoseconds(start + due) + i64::from(late) - 10;
                    rows.push(timestamps.of_regular(nanoseconds(start + now), due_ns));
                }
            }
            rows.into_iter().map(|ns| ns.div_euclid(1_000_000)).collect()
        }
    }

    /// `interval = "1s"` and `precision = "1s"`, started at .14: the row of second 15 was missing.
    #[test]
    fn the_first_rows_after_the_start_are_written() {
        let run = |start, is_aligned| TimestampRun {
            start,
            interval: MS * 1000,
            offset: Duration::ZERO,
            precision: MS * 1000,
            is_aligned,
            late: vec![0; 4],
        };
        let seconds = |run: TimestampRun| {
            let first = 1_795_000_000;
            run.timestamps().into_iter().map(|ms| ms - first).collect::<Vec<_>>()
        };
        assert_eq!(seconds(run(14_140, true)), [14_000, 15_000, 16_000, 17_000, 18_000]);
        // The row at the start is that of second 15.
        assert_eq!(seconds(run(14_600, true)), [15_000, 16_000, 17_000, 18_000, 19_000]);
        assert_eq!(seconds(run(14_499, false)), [14_000, 15_000, 16_000, 17_000, 18_000]);
        assert_eq!(seconds(run(14_500, false)), [15_000, 16_000, 17_000, 18_000, 19_000]);
    }

    proptest! {
        /// For any phase of the start, interval, offset and precision, and
        /// however late the thread wakes up within an interval: one row an interval, one
        /// timestamp a row.
        #[test]
        fn each_interval_has_one_timestamp(
            start in 0u64..100_000,
            (precision, times) in (prop_oneof![Just(1u32), Just(10), Just(100), Just(1000)], 1u32..6),
            (offset, is_aligned) in (0u32..2000, any::<bool>()),
            late in prop::collection::vec(0u32..1000, 1..30),
        ) {
            let (precision, interval) = (MS * precision, MS * precision * times * 10);
            let late = late.into_iter().map(|late| late % (interval.as_millis() as u32)).collect();
            let run = TimestampRun { start, interval, offset: MS * offset, precision, is_aligned, late };
            for pair in run.timestamps().windows(2) {
                let apart = pair[1] - pair[0];
                prop_assert!(apart > 0, "{pair:?} of {run:?}");
            }
            let rows = run.timestamps();
            let regular = &rows[1..];
            for pair in regular.windows(2) {
                prop_assert_eq!(u128::from(pair[1].abs_diff(pair[0])), interval.as_millis());
            }
            if is_aligned {
                prop_assert!(u128::from(rows[1].abs_diff(rows[0])) <= interval.as_millis());
            }
        }

        /// The shortest interval that has a timestamp for each row, and one that is no multiple.
        #[test]
        fn timestamps_are_unique(
            start in 0u64..100_000,
            (precision, longer) in (1u32..1000, 0u32..1000),
            is_aligned: bool,
            offset in 0u32..2000,
        ) {
            let (precision, interval) = (MS * precision, MS * (precision + longer));
            let offset = MS * offset;
            let run = TimestampRun { start, interval, offset, precision, is_aligned, late: vec![0; 20] };
            for pair in run.timestamps().windows(2) {
                prop_assert!(pair[1] > pair[0], "{pair:?} of {run:?}");
            }
        }
    }
}
