//! Values over time in a fixed number of columns, filled in one pass over a recording of unknown
//! length: when time runs past the last column, every two columns become one.
//!
//! A column keeps extremes, not averages alone, so that a burst of milliseconds in a recording of
//! days is still there, as high as it was.

/// A value that a column can hold.
pub trait TimelineColumn: Clone + Default {
    /// Takes in what the next column holds.
    fn merge(&mut self, next: &Self);
}

/// Columns of equal width, from a start on.
#[derive(Debug, Clone)]
pub struct Timeline<T> {
    start_ns: i64,
    width_ns: i64,
    most: usize,
    columns: Vec<T>,
}

/// The width of a column at first: no row comes more often.
const NARROWEST_NS: i64 = 1_000_000;

impl<T: TimelineColumn> Timeline<T> {
    /// Up to `most` columns from `start_ns` on.
    pub(super) fn new(start_ns: i64, most: usize) -> Self {
        Self { start_ns, width_ns: NARROWEST_NS, most, columns: Vec::new() }
    }

    /// The column of a time, unless it is before the start.
    pub(super) fn at(&mut self, time_ns: i64) -> Option<&mut T> {
        let after = time_ns.checked_sub(self.start_ns).filter(|after| *after >= 0)?;
        while after / self.width_ns >= self.most as i64 {
            self.width_ns = self.width_ns.checked_mul(2)?;
            let half = self.columns.len().div_ceil(2);
            for at in 0..half {
                let mut column = self.columns[2 * at].clone();
                if let Some(next) = self.columns.get(2 * at + 1) {
                    column.merge(next);
                }
                self.columns[at] = column;
            }
            self.columns.truncate(half);
        }
        let at = (after / self.width_ns) as usize;
        if self.columns.len() <= at {
            self.columns.resize_with(at + 1, T::default);
        }
        self.columns.get_mut(at)
    }

    /// Each column with the time of its middle.
    pub fn columns(&self) -> impl Iterator<Item = (i64, &T)> {
        let middle = |at: usize| self.start_ns + at as i64 * self.width_ns + self.width_ns / 2;
        self.columns.iter().enumerate().map(move |(at, column)| (middle(at), column))
    }

    /// The width of a column.
    #[must_use]
    pub fn width_ns(&self) -> i64 {
        self.width_ns
    }
}

/// The lowest and highest of a gauge.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Level(pub Option<(f64, f64)>);

impl TimelineColumn for Level {
    fn merge(&mut self, next: &Self) {
        self.0 = match (self.0, next.0) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }
}

/// Events of a counter: how many, in which time, and the largest rate.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate {
    /// Events.
    pub events: f64,
    /// The time in which they came; 0 where there are no rows.
    pub seconds: f64,
    /// The largest rate of any one sample.
    pub peak: f64,
}

impl TimelineColumn for Rate {
    fn merge(&mut self, next: &Self) {
        self.events += next.events;
        self.seconds += next.seconds;
        self.peak = self.peak.max(next.peak);
    }
}

/// Events of each CPU, by its number.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OfCpus(pub Vec<f32>);

impl OfCpus {
    pub(super) fn add(&mut self, cpu: usize, events: f64) {
        if self.0.len() <= cpu {
            self.0.resize(cpu + 1, 0.0);
        }
        self.0[cpu] += events as f32;
    }
}

impl TimelineColumn for OfCpus {
    fn merge(&mut self, next: &Self) {
        next.0.iter().enumerate().for_each(|(cpu, events)| self.add(cpu, f64::from(*events)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_survives_every_doubling() {
        let mut timeline = Timeline::new(0, 64);
        for second in 0..100_000i64 {
            let column: &mut Rate = timeline.at(second * 1_000_000_000).unwrap();
            let peak = if second == 77_777 { 5000.0 } else { 3.0 };
            column.merge(&Rate { events: 2.0, seconds: 1.0, peak });
        }
        let columns: Vec<_> = timeline.columns().collect();
        assert!(columns.len() > 32 && columns.len() <= 64);
        let (at, worst) = columns.iter().max_by(|a, b| a.1.peak.total_cmp(&b.1.peak)).unwrap();
        assert_eq!(worst.peak, 5000.0);
        assert!((at - 77_777_000_000_000).abs() <= timeline.width_ns());
        assert_eq!(columns.iter().map(|(_, rate)| rate.events).sum::<f64>(), 200_000.0);
        assert!(timeline.at(-1).is_none());
    }
}
