//! How much time a column of a picture spans: enough for the last minute, unless the keys ask for
//! otherwise, and never less than a row.

use std::time::Duration;

/// The possible spans of a column, in milliseconds.
const SPANS_MS: [u64; 10] = [100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000];

/// How much time is shown by default, at least.
const SHOWN: Duration = Duration::from_secs(60);

/// The chosen step, as steps away from the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Zoom(i32);

impl Zoom {
    /// Returns the span of a column on a screen of so many columns, in nanoseconds.
    #[must_use]
    pub fn span_ns(self, interval: Duration, columns: u16) -> i64 {
        let (finest, usual) = bounds(interval, columns);
        let at = (usual + self.0).clamp(finest, SPANS_MS.len() as i32 - 1);
        SPANS_MS[at as usize] as i64 * 1_000_000
    }

    /// One step on, or with `finer` back, if there is one.
    #[must_use]
    pub fn step(self, finer: bool, interval: Duration, columns: u16) -> Self {
        let (finest, usual) = bounds(interval, columns);
        let to = self.0 + if finer { -1 } else { 1 };
        Self(to.clamp(finest - usual, SPANS_MS.len() as i32 - 1 - usual))
    }
}

/// The finest step and the default.
fn bounds(interval: Duration, columns: u16) -> (i32, i32) {
    // Rows come a little sooner now and then.
    let shortest = interval.as_millis() as u64 * 9 / 10;
    let enough = |span: u64| span * u64::from(columns) >= SHOWN.as_millis() as u64;
    let last = SPANS_MS.len() - 1;
    let finest = SPANS_MS.iter().position(|span| *span >= shortest).unwrap_or(last);
    let usual = SPANS_MS[finest..].iter().position(|span| enough(*span)).map(|at| finest + at);
    (finest as i32, usual.unwrap_or(last) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Duration = Duration::from_millis(500);

    #[test]
    fn a_minute_is_shown_and_no_column_is_shorter_than_a_row() {
        let span = |interval, columns| Zoom::default().span_ns(interval, columns) / 1_000_000;
        assert_eq!(span(HALF, 37), 2000);
        assert_eq!(span(HALF, 157), 500);
        assert_eq!(span(HALF, 600), 500);
        assert_eq!(span(Duration::from_secs(10), 157), 10_000);
        assert_eq!(span(Duration::from_secs(86_400), 1), 300_000);
    }

    #[test]
    fn every_zoom_key_changes_the_span() {
        let mut zoom = Zoom::default();
        (0..20).for_each(|_| zoom = zoom.step(true, HALF, 76));
        assert_eq!(zoom.span_ns(HALF, 76), 500_000_000);
        zoom = zoom.step(false, HALF, 76);
        assert_eq!(zoom, Zoom::default());
        (0..20).for_each(|_| zoom = zoom.step(false, HALF, 76));
        assert_eq!(zoom.span_ns(HALF, 76), 300_000_000_000);
        assert_eq!(zoom.step(true, HALF, 76).span_ns(HALF, 76), 60_000_000_000);
    }
}
