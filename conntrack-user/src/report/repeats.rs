//! Rows that are in a recording twice and far apart: a file that was given twice, or is a part of another one.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::recording::{Row, WINDOW};

/// Rows that are compared with later ones; of longer recordings they are a smaller share.
const MOST: usize = 512;
/// One of so many rows is compared at first.
const ONE_OF: u64 = 16;
/// So many of them must be there twice.
const FEWEST: u64 = 3;

/// Follows some of the rows.
#[derive(Debug)]
pub(super) struct Repeats {
    arrived: u64,
    /// Those rows are kept whose key has no bit of this.
    mask: u64,
    /// By key: the arrival of a row, and a hash of its values.
    kept: HashMap<u64, (u64, u64)>,
    found: u64,
    span: Option<(i64, i64)>,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { arrived: 0, mask: ONE_OF - 1, kept: HashMap::new(), found: 0, span: None }
    }
}

impl Repeats {
    /// Takes a row of any source.
    #[inline]
    pub(super) fn take(&mut self, row: Row<'_>) {
        self.arrived += 1;
        let key = key(row);
        if key & self.mask == 0 {
            self.compare(key, row);
        }
    }

    #[cold]
    fn compare(&mut self, key: u64, row: Row<'_>) {
        let mut hasher = DefaultHasher::new();
        for (field, value) in row.values {
            (field.0, value.to_bits()).hash(&mut hasher);
        }
        let values = hasher.finish();
        if let Some((arrived, known)) = self.kept.get(&key) {
            // Lines that are doubled one by one count once without a word.
            if *known == values && self.arrived - arrived > WINDOW as u64 {
                self.found += 1;
                let (from, to) = self.span.get_or_insert((row.time_ns, row.time_ns));
                (*from, *to) = ((*from).min(row.time_ns), (*to).max(row.time_ns));
            }
            return;
        }
        self.kept.insert(key, (self.arrived, values));
        if self.kept.len() > MOST {
            self.mask = self.mask * 2 + 1;
            let mask = self.mask;
            self.kept.retain(|key, _| key & mask == 0);
        }
    }

    /// The times of the first and the last row that are there twice, about.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        self.span.filter(|_| self.found >= FEWEST)
    }
}

/// Returns a number for the series and time of a row, with all bits as good as random.
fn key(row: Row<'_>) -> u64 {
    /// The golden ratio, as a part of 2^64.
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (row.time_ns as u64 ^ (row.series.0 as u64).rotate_left(40)).wrapping_mul(MIX);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{FieldId, SeriesId};

    fn span(times: impl Iterator<Item = i64>) -> Option<(i64, i64)> {
        let mut repeats = Repeats::default();
        for second in times {
            let values = [(FieldId(0), second as f64)];
            let time_ns = second * 1_000_000_000;
            repeats.take(Row { series: SeriesId(0), time_ns, values: &values });
        }
        repeats.span()
    }

    #[test]
    fn a_part_that_is_there_twice_is_found() {
        for length in [2000, 200_000] {
            let (from, to) = span((0..length).chain(0..length)).unwrap();
            let share = (to - from) as f64 / (length as f64 * 1e9);
            assert!(share > 0.9, "{length}: {share}");
        }
        assert_eq!(span(0..200_000), None);
        assert_eq!(span((0..20_000).flat_map(|second| [second; 2])), None);
    }
}
