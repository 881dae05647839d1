//! Where rows come from: the samplers, asked for a row each interval; or a recording.

use std::time::{Duration, Instant};

use super::gather::Repeated;
use super::series::{ALL, SERIES};
use crate::metric::Metric;
use crate::output::{Destination, Emission, WriteOutcome};
use crate::rows::RowBuilder;
use crate::schema::provenance::Origin;

/// The intervals between rows that the keys go through.
const INTERVALS: [Duration; 7] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// The rows of one emission.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The rows, which share a timestamp.
    pub rows: Vec<Metric>,
    /// Where the counters come from, in the order of [`SERIES`]; none for a recording, which does not
    /// name the sources.
    pub origins: [Option<Origin>; ALL],
    /// Rows of a recording whose series has several values of a counter at their time.
    pub repeated: Vec<Repeated>,
}

/// Why a feed cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FeedError(pub String);

impl From<std::io::Error> for FeedError {
    fn from(error: std::io::Error) -> Self {
        Self(format!("it cannot be read: {error}"))
    }
}

/// A source of rows that runs by the clock.
pub trait Feed: Send {
    /// When [`Feed::run`] has something to do next; `None` when nothing will come.
    fn due(&self) -> Option<Instant>;

    /// Does what is due at `now`; rows that are there at once go to `take`.
    ///
    /// # Errors
    /// The error that ends the feed.
    fn run(&mut self, now: Instant, take: &mut dyn FnMut(Batch)) -> Result<(), FeedError>;

    /// Rows more often, or faster.
    fn faster(&mut self);

    /// Rows less often, or slower.
    fn slower(&mut self);

    /// Stands still, or goes on. Only a recording can.
    fn hold(&mut self, _held: bool) {}

    /// Gives one more batch at the next [`Feed::run`], and stands still. Only a recording can.
    fn step(&mut self) {}

    /// Time between rows.
    fn interval(&self) -> Duration;

    /// The pace in a few ASCII words, for the title.
    fn pace(&self) -> String;
}

/// Asks the samplers for rows.
pub struct LiveFeed {
    ask: Box<dyn FnMut() + Send>,
    sample: Duration,
    interval: Duration,
    next: Instant,
}

impl LiveFeed {
    /// Calls `ask` each `interval`, from now on; samples are `sample` apart.
    pub fn new(interval: Duration, sample: Duration, ask: impl FnMut() + Send + 'static) -> Self {
        Self { ask: Box::new(ask), sample, interval, next: Instant::now() }
    }

    fn set(&mut self, interval: Option<Duration>) {
        if let Some(interval) = interval {
            self.interval = interval;
            self.next = self.next.min(Instant::now() + interval);
        }
    }
}

impl Feed for LiveFeed {
    fn due(&self) -> Option<Instant> {
        Some(self.next)
    }

    fn run(&mut self, now: Instant, _take: &mut dyn FnMut(Batch)) -> Result<(), FeedError> {
        if now >= self.next {
            (self.ask)();
            // Deadlines, not pauses; after a long stop they begin again.
            self.next += self.interval;
            if self.next <= now {
                self.next = now + self.interval;
            }
        }
        Ok(())
    }

    fn faster(&mut self) {
        // A row that covers no whole sample has no peak.
        let shortest = self.sample.max(INTERVALS[0]);
        let faster = INTERVALS.into_iter().rev().find(|interval| *interval < self.interval);
        self.set(faster.filter(|interval| *interval >= shortest));
    }

    fn slower(&mut self) {
        self.set(INTERVALS.into_iter().find(|interval| *interval > self.interval));
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn pace(&self) -> String {
        format!("row {:?}, sample {:?}", self.interval, self.sample).replace('µ', "u")
    }
}

/// The sink's end of the way to the screen.
pub struct ToScreen<F> {
    /// Hands one batch over; `false` when the screen is gone.
    pub send: F,
}

impl<F: FnMut(Batch) -> bool + Send> Destination for ToScreen<F> {
    fn write(&mut self, emissions: Vec<Emission<'_>>) -> std::io::Result<WriteOutcome> {
        for Emission { rows, builder, .. } in emissions {
            if !(self.send)(Batch { rows, origins: origins(builder), repeated: Vec::new() }) {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
        }
        Ok(WriteOutcome::Written)
    }
}

fn origins(builder: &RowBuilder) -> [Option<Origin>; ALL] {
    let mut origins = [None; ALL];
    for (name, origin) in builder.origins() {
        if let Some(at) = SERIES.iter().position(|series| *series.field.name == **name) {
            origins[at] = Some(origin);
        }
    }
    origins
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn rows_are_asked_for_at_deadlines() {
        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        let ask = move || _ = counter.fetch_add(1, Ordering::Relaxed);
        let interval = Duration::from_millis(500);
        let mut feed = LiveFeed::new(interval, Duration::from_millis(100), ask);
        let start = feed.due().unwrap();
        let at = |feed: &mut LiveFeed, ms: u64| {
            feed.run(start + Duration::from_millis(ms), &mut |_| unreachable!()).unwrap();
            asked.load(Ordering::Relaxed)
        };
        assert_eq!(at(&mut feed, 0), 1);
        assert_eq!(at(&mut feed, 499), 1);
        assert_eq!(at(&mut feed, 510), 2);
        assert_eq!(feed.due().unwrap(), start + Duration::from_millis(1000));
        // A long stop is no reason to hurry.
        assert_eq!(at(&mut feed, 9000), 3);
        assert_eq!(at(&mut feed, 9001), 3);
    }

    #[test]
    fn the_interval_stays_in_its_bounds() {
        let mut feed = LiveFeed::new(Duration::from_secs(5), Duration::from_millis(150), || {});
        (0..20).for_each(|_| feed.faster());
        assert_eq!(feed.interval(), Duration::from_millis(200));
        (0..20).for_each(|_| feed.slower());
        assert_eq!(feed.interval(), Duration::from_secs(10));
        assert_eq!(feed.pace(), "row 10s, sample 150ms");
    }
}
