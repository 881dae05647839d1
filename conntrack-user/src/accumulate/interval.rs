//! Events counted between emissions, and the busiest sample among them.
//!
//! Used for the kernel's counters (per row of the statistics file) and for the event source's (per CPU):
//! the caller notes how many events a cell counted since the last sample.

use std::time::Duration;

/// The time between two samples whose events may be a peak.
///
/// A sample is read at some moment between two readings of the clock, so a window's length is
/// known up to that. Its longest possible length counts: a peak is never higher than the true rate
/// of the window.
#[derive(Debug, Clone, Copy)]
pub struct SampleWindow {
    /// The longest time that the window can have had.
    pub longest: Duration,
    /// The nominal time between two samples.
    pub sample_interval: Duration,
}

impl SampleWindow {
    /// Returns the rate of `counted` events in this window, in events per second.
    fn rate(&self, counted: u64) -> f64 {
        counted as f64 / self.longest.as_secs_f64()
    }

    /// Returns how many of `counted` events there were at least in one nominal sample: all of them,
    /// unless this window is more than an eighth longer. Events that are spread evenly over several
    /// samples make the smallest maximum.
    fn in_one_sample(&self, counted: u64) -> u64 {
        if self.longest <= self.sample_interval + self.sample_interval / 8 {
            return counted;
        }
        let share = u128::from(counted) * self.sample_interval.as_nanos();
        u64::try_from(share.div_ceil(self.longest.as_nanos())).unwrap_or(counted)
    }
}

/// The busiest sample of some time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Peak {
    /// The largest rate of one sample window, in events per second.
    pub rate: f64,
    /// The largest number of events in one sample of the nominal length.
    pub count: u64,
}

impl Peak {
    pub(super) fn take(&mut self, counted: u64, window: &SampleWindow) {
        self.rate = self.rate.max(window.rate(counted));
        self.count = self.count.max(window.in_one_sample(counted));
    }
}

/// Events per cell since the last hand-over and the peaks among the samples since then. Cells
/// are rows of `columns` each.
#[derive(Debug, Clone, Default)]
pub struct IntervalStats {
    /// Events since the last hand-over, row after row.
    pub events: Vec<u64>,
    /// The busiest sample per column, over all rows.
    pub peaks: Vec<Peak>,
    /// The same per cell; empty unless asked for.
    pub row_peaks: Vec<Peak>,
    /// Events since the last sample window ended, per column and, if asked for, per cell.
    recent: Vec<u64>,
    row_recent: Vec<u64>,
}

impl IntervalStats {
    /// Returns statistics of `rows` times `columns` cells, all 0.
    #[must_use]
    pub fn new(rows: usize, columns: usize, wants_row_peaks: bool) -> Self {
        let cells = rows * columns;
        let row_cells = if wants_row_peaks { cells } else { 0 };
        Self {
            events: vec![0; cells],
            peaks: vec![Peak::default(); columns],
            row_peaks: vec![Peak::default(); row_cells],
            recent: vec![0; columns],
            row_recent: vec![0; row_cells],
        }
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.peaks.len()
    }

    /// Adds `counted` events to a cell, which is in `column`.
    pub fn note(&mut self, cell: usize, column: usize, counted: u64) {
        self.events[cell] += counted;
        self.recent[column] += counted;
        if let Some(recent) = self.row_recent.get_mut(cell) {
            *recent += counted;
        }
    }

    /// A sample window ends: its events may be a peak.
    pub fn end_window(&mut self, window: &SampleWindow) {
        let columns = self.recent.iter_mut().zip(&mut self.peaks);
        let cells = self.row_recent.iter_mut().zip(&mut self.row_peaks);
        for (recent, peak) in columns.chain(cells).filter(|(recent, _)| **recent != 0) {
            peak.take(std::mem::take(recent), window);
        }
    }

    /// Drops the window that has not ended.
    pub fn forget_window(&mut self) {
        self.recent.fill(0);
        self.row_recent.fill(0);
    }

    /// Starts again after a hand-over; the window that has not ended goes on.
    pub fn clear(&mut self) {
        self.events.fill(0);
        self.peaks.fill(Peak::default());
        self.row_peaks.fill(Peak::default());
    }

    /// Copies the events and peaks into `window`, reusing its memory.
    pub fn copy_to(&self, window: &mut Self) {
        window.events.clone_from(&self.events);
        window.peaks.clone_from(&self.peaks);
        window.row_peaks.clone_from(&self.row_peaks);
    }
}
