//! A recording as a feed: batches of rows at the pace at which they were recorded, faster,
//! slower, or one by one.

use std::io;
use std::time::{Duration, Instant};

use super::feed::{Batch, Feed, FeedError};
use super::gather::{Gather, Repeated};
use super::load::Rows;
use super::series::ALL;
use crate::metric::Metric;

/// A gap in the recording longer than this, and than some rows, is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How many rows' time is still no gap.
const NO_GAP_ROWS: f64 = 3.0;

/// Rows no further apart than this, in nanoseconds, were read together: Telegraf's plugin gives
/// the statistics and the table of one gather different times.
const TOGETHER_NS: i64 = 5_000_000;

/// Lines of one moment that are read at once: beyond them the next batch has the same time.
const MOST_LINES: usize = 1 << 18;

/// The longest time that batches are read in before other things have their turn.
const LONGEST_RUN: Duration = Duration::from_millis(100);

/// Batches that are given before other things have their turn.
const MOST_AT_ONCE: usize = 500;

/// The slowest and the fastest.
pub const SPEEDS: std::ops::RangeInclusive<f64> = 0.125..=1024.0;

/// Plays a recording.
pub struct ReplayFeed {
    rows: Box<dyn Rows>,
    /// The first row of the batch after the next one.
    first_after: Option<Metric>,
    next: Option<(Vec<Metric>, Vec<Repeated>)>,
    /// The last row of the input that has the recording's first row.
    lead: Metric,
    /// The shortest time between two of its rows so far.
    interval: Option<Duration>,
    speed: f64,
    is_held: bool,
    steps: usize,
    /// Rows were left out, and that was reported.
    has_reported: bool,
    /// This moment shows that time of the recording, in nanoseconds since 1970.
    clock: (Instant, i64),
}

impl ReplayFeed {
    /// Plays `rows` from now on, `speed` times as fast as they were recorded.
    ///
    /// # Errors
    /// The file cannot be read, or has no row.
    pub fn new(mut rows: Box<dyn Rows>, speed: f64) -> Result<Self, FeedError> {
        let first = rows.next_row()?;
        let lead = first.ok_or_else(|| FeedError("it has no row of conntrack".to_owned()))?;
        let clock = (Instant::now(), lead.timestamp_ns);
        let mut feed = Self {
            rows,
            first_after: Some(lead.clone()),
            next: None,
            lead,
            interval: None,
            speed,
            is_held: false,
            steps: 0,
            has_reported: false,
            clock,
        };
        feed.advance()?;
        Ok(feed)
    }

    /// Reads the next batch: all rows of one gather, each series once.
    fn advance(&mut self) -> io::Result<()> {
        let Some(first) = self.first_after.take() else { return Ok(()) };
        let time_ns = first.timestamp_ns;
        if self.lead.tags == first.tags && self.lead.name == first.name {
            let apart = u64::try_from(time_ns.saturating_sub(self.lead.timestamp_ns)).unwrap_or(0);
            let apart = Some(Duration::from_nanos(apart)).filter(|apart| !apart.is_zero());
            self.interval = self.interval.into_iter().chain(apart).min();
            self.lead.timestamp_ns = time_ns;
        }
        let quarter = self.interval.map_or(i64::MAX, |usual| (usual.as_nanos() / 4) as i64);
        let together = TOGETHER_NS.min(quarter);
        let mut gather = Gather::of(first);
        let mut lines = 0;
        self.first_after = loop {
            lines += 1;
            match self.rows.next_row()? {
                Some(row) if lines < MOST_LINES && gather.has_place_for(&row, together) => {
                    gather.take(row);
                }
                other => break other,
            }
        };
        if gather.left_out > 0 && !self.has_reported {
            self.has_reported = true;
            log::warn!(
                "{} rows of one moment are more than conntrack has, and are left out",
                gather.left_out
            );
        }
        self.next = Some(gather.into_rows());
        Ok(())
    }

    fn next_ns(&self) -> Option<i64> {
        Some(self.next.as_ref()?.0.first()?.timestamp_ns)
    }

    /// Another speed, from the time that is shown now.
    fn set_speed(&mut self, speed: f64) {
        let now = Instant::now();
        let shown = now.saturating_duration_since(self.clock.0).as_nanos() as f64 * self.speed;
        let shown = self.clock.1.saturating_add(shown as i64);
        self.clock = (now, self.next_ns().map_or(shown, |next| next.min(shown)));
        self.speed = speed.clamp(*SPEEDS.start(), *SPEEDS.end());
    }
}

impl Feed for ReplayFeed {
    fn due(&self) -> Option<Instant> {
        let next = self.next_ns()?;
        if self.steps > 0 {
            return Some(Instant::now());
        }
        if self.is_held {
            return None;
        }
        let after = next.saturating_sub(self.clock.1).max(0) as f64 / 1e9 / self.speed;
        let usual = self.interval.unwrap_or_default().as_secs_f64() / self.speed * NO_GAP_ROWS;
        // A recording may go on a day later.
        let longest = usual.max(LONGEST_WAIT.as_secs_f64());
        Some(self.clock.0 + Duration::from_secs_f64(after.min(longest)))
    }

    fn run(&mut self, now: Instant, take: &mut dyn FnMut(Batch)) -> Result<(), FeedError> {
        let start = Instant::now();
        for _ in 0..MOST_AT_ONCE {
            if start.elapsed() > LONGEST_RUN {
                break;
            }
            let Some(due) = self.due().filter(|due| self.steps > 0 || *due <= now) else { break };
            let Some((rows, repeated)) = self.next.take() else { break };
            self.steps = self.steps.saturating_sub(1);
            // From when it was due, not from now: what is late does not add up.
            self.clock = (due.min(now), rows[0].timestamp_ns);
            self.advance()?;
            take(Batch { rows, origins: [None; ALL], repeated });
        }
        Ok(())
    }

    fn faster(&mut self) {
        self.set_speed(self.speed * 2.0);
    }

    fn slower(&mut self) {
        self.set_speed(self.speed / 2.0);
    }

    fn hold(&mut self, held: bool) {
        self.is_held = held;
        if let Some(next) = self.next_ns().filter(|_| !held) {
            self.clock = (Instant::now(), next);
        }
    }

    fn step(&mut self) {
        self.is_held = true;
        self.steps += 1;
    }

    fn interval(&self) -> Duration {
        self.interval.unwrap_or(Duration::from_secs(1))
    }

    fn pace(&self) -> String {
        let end = if self.next.is_none() { ", at the end" } else { "" };
        format!("replay {} x{end}", self.speed)
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
