//! A recording's pace: real, faster, stepped, across gaps.

use std::collections::VecDeque;

use super::*;
use crate::metric::{Name, Value};

struct Made(VecDeque<Metric>);

impl Rows for Made {
    fn next_row(&mut self) -> io::Result<Option<Metric>> {
        Ok(self.0.pop_front())
    }
}

fn row(ms: i64, netns: &str) -> Metric {
    let fields = vec![(Name::from("drop"), Value::Integer(1))];
    let mut row =
        Metric { name: "conntrack".into(), tags: Vec::new(), fields, timestamp_ns: ms * 1_000_000 };
    row.add_tag(&"netns".into(), netns);
    row
}

fn feed(rows: &[(i64, &str)], speed: f64) -> ReplayFeed {
    let rows = rows.iter().map(|(ms, netns)| row(*ms, netns)).collect();
    ReplayFeed::new(Box::new(Made(rows)), speed).unwrap()
}

/// The times of the batches that come at so many milliseconds after the start.
fn at(feed: &mut ReplayFeed, start: Instant, ms: u64) -> Vec<i64> {
    let mut times = Vec::new();
    let mut take = |batch: Batch| times.push(batch.rows[0].timestamp_ns / 1_000_000);
    feed.run(start + Duration::from_millis(ms), &mut take).unwrap();
    times
}

#[test]
fn rows_come_at_the_recorded_times_divided_by_the_speed() {
    let rows = [(1000, "a"), (1500, "a"), (2000, "a"), (2500, "a")];
    let mut real = feed(&rows, 1.0);
    let start = real.clock.0;
    assert_eq!(at(&mut real, start, 0), [1000]);
    assert!(at(&mut real, start, 499).is_empty());
    assert_eq!(at(&mut real, start, 700), [1500]);
    assert_eq!(real.due(), Some(start + Duration::from_millis(1000)));
    assert_eq!(at(&mut real, start, 9000), [2000, 2500]);
    assert_eq!((real.due(), real.interval()), (None, Duration::from_millis(500)));
    assert_eq!(real.pace(), "replay 1 x, at the end");
    let mut fast = feed(&rows, 10.0);
    let start = fast.clock.0;
    assert_eq!(at(&mut fast, start, 101), [1000, 1500, 2000]);
}

#[test]
fn inputs_that_are_read_side_by_side_have_their_own_interval() {
    let rows = [(1000, "a"), (1001, "b"), (11_000, "a"), (11_001, "b"), (21_000, "a")];
    let mut feed = feed(&rows, 1.0);
    let start = feed.clock.0;
    assert_eq!(at(&mut feed, start, 10_001), [1000, 1001, 11_000, 11_001]);
    // Ten seconds are no gap here.
    assert!(at(&mut feed, start, 19_999).is_empty());
    assert_eq!(feed.interval(), Duration::from_secs(10));
}

#[test]
fn gaps_and_steps_of_the_clock_are_skipped() {
    let day = 86_400_000;
    let mut feed = feed(&[(0, "a"), (500, "a"), (day, "a"), (day + 500, "a"), (100, "a")], 1.0);
    let start = feed.clock.0;
    assert_eq!(at(&mut feed, start, 500), [0, 500]);
    assert!(at(&mut feed, start, 2499).is_empty());
    assert_eq!(at(&mut feed, start, 2500), [day]);
    assert_eq!(at(&mut feed, start, 3000), [day + 500, 100]);
}

#[test]
fn replay_pauses_steps_and_continues() {
    let mut feed = feed(&[(0, "a"), (500, "a"), (1000, "a"), (1500, "a")], 1.0);
    let start = feed.clock.0;
    assert_eq!(at(&mut feed, start, 0), [0]);
    feed.hold(true);
    assert_eq!(feed.due(), None);
    assert!(at(&mut feed, start, 60_000).is_empty());
    feed.step();
    feed.step();
    assert_eq!(at(&mut feed, start, 60_000), [500, 1000]);
    assert!(at(&mut feed, start, 60_000).is_empty());
    feed.hold(false);
    assert!(feed.due().unwrap() <= Instant::now());
}

#[test]
fn the_speed_stays_in_its_bounds_and_keeps_the_time() {
    let mut feed = feed(&[(0, "a"), (1_000, "a")], 1.0);
    (0..20).for_each(|_| feed.faster());
    assert_eq!(feed.pace(), "replay 1024 x");
    (0..40).for_each(|_| feed.slower());
    assert_eq!(feed.pace(), "replay 0.125 x");
}

#[test]
fn a_recording_without_rows_is_refused() {
    let error = ReplayFeed::new(Box::new(Made(VecDeque::new())), 1.0).err().unwrap();
    assert_eq!(error.to_string(), "it has no row of conntrack");
}

/// 12 million rows of one moment took 2.4 GB.
#[test]
fn rows_of_one_moment_take_no_more_memory_than_their_series() {
    struct Same(usize);
    impl Rows for Same {
        fn next_row(&mut self) -> io::Result<Option<Metric>> {
            self.0 = self.0.saturating_sub(1);
            Ok((self.0 > 0).then(|| row(1000, "a")))
        }
    }
    let mut feed = ReplayFeed::new(Box::new(Same(MOST_LINES + 1000)), 1.0).unwrap();
    let mut rows = Vec::new();
    let end = feed.clock.0 + Duration::from_secs(9);
    while feed.due().is_some() {
        feed.run(end, &mut |batch| rows.push(batch.rows.len())).unwrap();
    }
    assert_eq!(rows, [1, 1]);
}

/// The rows of one gather of Telegraf's plugin with `precision = "1ns"`.
#[test]
fn rows_of_one_gather_are_one_batch() {
    let mut rows = VecDeque::new();
    for second in 0..3 {
        for (after_ns, cpu) in [(0, "all"), (40_000, "cpu0"), (200_000, "")] {
            let mut row = row(second * 1000, "a");
            row.timestamp_ns += after_ns;
            row.add_tag(&"cpu".into(), cpu);
            rows.push_back(row);
        }
    }
    let mut feed = ReplayFeed::new(Box::new(Made(rows)), 1.0).unwrap();
    let mut batches = Vec::new();
    let end = feed.clock.0 + Duration::from_secs(9);
    feed.run(end, &mut |batch| batches.push(batch.rows.len())).unwrap();
    assert_eq!(batches, [3, 3, 3]);
    assert_eq!(feed.interval(), Duration::from_secs(1));
}
