//! The clock of a sampler, and the timestamps of its rows.

use std::time::{Duration, Instant, SystemTime};

use super::timestamp::{Timestamps, nanoseconds};

/// Why a tick hands over what is known.
#[derive(Debug, Clone, Copy)]
pub(super) enum EmissionCause {
    /// Sampling starts.
    Start,
    /// An interval ends, and this is when it was due to.
    Regular(Duration),
    /// A row was asked for.
    Asked,
}

/// The times of one sampler.
pub(super) struct SamplingClock {
    /// The monotonic time at which sampling started.
    pub(super) start: Instant,
    pub(super) timestamps: Timestamps,
    /// Real-time clock beside the last good read, or beside the last tick if there was none
    /// since the last emission.
    pub(super) read_at: SystemTime,
}

impl SamplingClock {
    pub(super) fn new(timestamps: Timestamps) -> Self {
        Self { start: Instant::now(), timestamps, read_at: SystemTime::UNIX_EPOCH }
    }

    /// The time since the start, on which deadlines and retries are.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns the timestamp of the rows of an emission.
    pub(super) fn timestamp(&self, emission: EmissionCause) -> i64 {
        let read_ns = since_epoch(self.read_at);
        match emission {
            EmissionCause::Start => self.timestamps.of_start(read_ns),
            EmissionCause::Asked => self.timestamps.of_asked(read_ns),
            EmissionCause::Regular(due) => {
                let late = self.elapsed().saturating_sub(due);
                let due_ns = since_epoch(SystemTime::now()).saturating_sub(nanoseconds(late));
                self.timestamps.of_regular(read_ns, due_ns)
            }
        }
    }
}

/// Nanoseconds since 1970.
fn since_epoch(at: SystemTime) -> i64 {
    nanoseconds(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
