//! Rows that may be conntrack's, until another row of their series shows it.
//!
//! With one field a line, and without a tag `cpu`, a renamed measurement is known by fields that
//! only conntrack has. An export sorts by field, so other fields may come first.

use std::collections::HashMap;

use crate::recording::{FieldId, Row, SeriesId};

/// Values that are kept, which take 24 bytes each.
const MOST: usize = 1 << 19;

/// A value of a row.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    series: u32,
    field: u32,
    time_ns: i64,
    value: f64,
}

/// The rows of one series.
#[derive(Debug, Default)]
pub(super) struct WaitingRows {
    /// How many there were, whether kept or not.
    pub(super) number: u64,
    values: Vec<Waiting>,
}

impl WaitingRows {
    /// Hands each value to `take`, as a row of its own.
    pub(super) fn each(self, mut take: impl FnMut(Row<'_>)) {
        for Waiting { series, field, time_ns, value } in self.values {
            let (series, values) = (SeriesId(series as usize), [(FieldId(field as usize), value)]);
            take(Row { series, time_ns, values: &values });
        }
    }
}

/// The rows of all series that are not decided.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    values: Vec<Waiting>,
    /// The rows of each series, and how many of them found no room.
    rows: HashMap<SeriesId, (u64, u64)>,
    left_out: u64,
}

impl Undecided {
    /// Keeps a row.
    pub(super) fn push(&mut self, row: Row<'_>) {
        let (rows, lost) = self.rows.entry(row.series).or_default();
        *rows += 1;
        if self.values.len() + row.values.len() > MOST {
            *lost += 1;
            return;
        }
        let series = row.series.0 as u32;
        self.values.extend(row.values.iter().map(|&(field, value)| Waiting {
            series,
            field: field.0 as u32,
            time_ns: row.time_ns,
            value,
        }));
    }

    /// Takes out the rows of a series, which is conntrack's.
    pub(super) fn remove(&mut self, series: SeriesId) -> WaitingRows {
        let Some((number, lost)) = self.rows.remove(&series) else {
            return WaitingRows::default();
        };
        self.left_out += lost;
        let is_of = |waiting: &Waiting| waiting.series as usize == series.0;
        let values = self.values.iter().filter(|waiting| is_of(waiting)).copied().collect();
        self.values.retain(|waiting| !is_of(waiting));
        WaitingRows { number, values }
    }

    /// Rows of conntrack that found no room.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}
