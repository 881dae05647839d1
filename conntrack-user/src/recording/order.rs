//! Puts rows in the order of their time, as far as a window of bounded size reaches.

use std::collections::VecDeque;

use super::{FieldId, HeldRow, Row, SeriesId};

/// Rows that are held back: the rows of eight emissions on a machine of 128 CPUs.
pub const WINDOW: usize = 1024;
/// Values of the rows that are held back, which take 16 bytes each.
const MOST_VALUES: usize = 1 << 17;

/// Rows that wait for older ones.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The oldest first; those of one time as they came.
    rows: VecDeque<HeldRow>,
    values: usize,
    /// Memory of rows that went on.
    spare: Vec<Vec<(FieldId, f64)>>,
}

impl Order {
    /// Takes a row, and hands those that the window has no room for to `each`.
    pub(super) fn push(&mut self, row: Row<'_>, each: &mut impl FnMut(Row<'_>)) {
        let mut values = self.spare.pop().unwrap_or_default();
        values.clear();
        values.extend_from_slice(row.values);
        self.values += values.len();
        let held = HeldRow { series: row.series, time_ns: row.time_ns, values };
        if self.rows.back().is_none_or(|last| last.time_ns <= row.time_ns) {
            self.rows.push_back(held);
        } else {
            let at = self.rows.partition_point(|before| before.time_ns <= row.time_ns);
            self.rows.insert(at, held);
        }
        while self.rows.len() > WINDOW || self.values > MOST_VALUES {
            self.pop(each);
        }
    }

    /// The times and values of a field in the series' rows that are held back, the latest first.
    pub(super) fn latest(
        &self,
        series: SeriesId,
        field: FieldId,
    ) -> impl Iterator<Item = (i64, f64)> {
        let rows = self.rows.iter().rev().filter(move |row| row.series == series);
        rows.filter_map(move |row| {
            let (_, value) = row.values.iter().find(|(other, _)| *other == field)?;
            Some((row.time_ns, *value))
        })
    }

    /// The latest row of a series that is held back.
    pub(super) fn last(&self, series: SeriesId) -> Option<Row<'_>> {
        self.rows.iter().rev().find(|held| held.series == series).map(HeldRow::row)
    }

    /// Takes back a row that is held back, if there is one of this series and time.
    pub(super) fn remove(&mut self, series: SeriesId, time_ns: i64) -> Option<HeldRow> {
        let is_it = |held: &HeldRow| held.series == series && held.time_ns == time_ns;
        let removed = self.rows.iter().position(is_it).and_then(|at| self.rows.remove(at))?;
        self.values -= removed.values.len();
        Some(removed)
    }

    /// Hands out the rows that are left: no other comes.
    pub(super) fn finish(&mut self, each: &mut impl FnMut(Row<'_>)) {
        while !self.rows.is_empty() {
            self.pop(each);
        }
    }

    fn pop(&mut self, each: &mut impl FnMut(Row<'_>)) {
        let Some(HeldRow { series, time_ns, values }) = self.rows.pop_front() else { return };
        each(Row { series, time_ns, values: &values });
        self.values -= values.len();
        // A single long row must not keep its memory for ever.
        if values.capacity() <= 2 * MOST_VALUES / WINDOW {
            self.spare.push(values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(times: &[i64]) -> Vec<i64> {
        let (mut order, mut found) = (Order::default(), Vec::new());
        let mut each = |row: Row<'_>| {
            assert_eq!(row.values, [(FieldId(0), row.time_ns as f64)]);
            found.push(row.time_ns);
        };
        for time_ns in times {
            let values = [(FieldId(0), *time_ns as f64)];
            order.push(Row { series: SeriesId(0), time_ns: *time_ns, values: &values }, &mut each);
            assert!(order.rows.len() <= WINDOW);
        }
        order.finish(&mut each);
        found
    }

    #[test]
    fn rows_within_the_window_come_in_order() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut times: Vec<i64> = (0..10_000).collect();
        let sorted = times.clone();
        times.chunks_mut(WINDOW / 2).for_each(|part| random.shuffle(part));
        assert_eq!(ordered(&times), sorted);
    }

    #[test]
    fn no_row_is_lost_whatever_the_order() {
        let mut times: Vec<i64> = (0..10_000).rev().collect();
        let mut found = ordered(&times);
        found.sort_unstable();
        times.reverse();
        assert_eq!(found, times);
    }

    #[test]
    fn long_rows_make_the_window_shorter() {
        let values = vec![(FieldId(0), 0.0); MOST_VALUES / 4];
        let mut order = Order::default();
        for time_ns in 0..100 {
            order.push(Row { series: SeriesId(0), time_ns, values: &values }, &mut |_| {});
            assert!(order.rows.len() <= 4);
        }
        assert!(order.spare.is_empty());
    }
}
