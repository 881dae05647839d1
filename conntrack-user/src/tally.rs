//! Events counted between emissions, and the largest rate of one sample interval.
//!
//! Used alike for the kernel's counters (per row of the statistics file) and for the event
//! source's (per CPU): whoever knows how many events a cell counted since the last sample
//! notes them here.

/// Events per cell since the last hand-over and the peaks among the samples since then. Cells
/// are rows of `columns` each.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Events since the last hand-over, row after row.
    pub events: Vec<u64>,
    /// The largest rate of one sample interval per column, over all rows, in events per second.
    pub peaks: Vec<f64>,
    /// The same per cell; empty unless asked for.
    pub row_peaks: Vec<f64>,
    /// Events since the last peak was noted, per column and, if asked for, per cell.
    recent: Vec<u64>,
    row_recent: Vec<u64>,
}

impl Tally {
    /// A tally of `rows` times `columns` cells, all 0.
    #[must_use]
    pub fn new(rows: usize, columns: usize, wants_row_peaks: bool) -> Self {
        let cells = rows * columns;
        let row_cells = if wants_row_peaks { cells } else { 0 };
        Self {
            events: vec![0; cells],
            peaks: vec![0.0; columns],
            row_peaks: vec![0.0; row_cells],
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

    /// A sample interval of 1 / `per_second` seconds ends: its rates may be peaks.
    pub fn end_interval(&mut self, per_second: f64) {
        let columns = self.recent.iter_mut().zip(&mut self.peaks);
        let cells = self.row_recent.iter_mut().zip(&mut self.row_peaks);
        for (recent, peak) in columns.chain(cells).filter(|(recent, _)| **recent != 0) {
            *peak = peak.max(std::mem::take(recent) as f64 * per_second);
        }
    }

    /// Drops the interval that has not ended.
    pub fn forget_interval(&mut self) {
        self.recent.fill(0);
        self.row_recent.fill(0);
    }

    /// Starts anew after a hand-over; the interval that has not ended goes on.
    pub fn clear(&mut self) {
        self.events.fill(0);
        self.peaks.fill(0.0);
        self.row_peaks.fill(0.0);
    }

    /// Copies what a window shows, reusing its memory.
    pub fn copy_to(&self, window: &mut Self) {
        window.events.clone_from(&self.events);
        window.peaks.clone_from(&self.peaks);
        window.row_peaks.clone_from(&self.row_peaks);
    }
}
