//! Rows at the end that repeat one row, as a query with `fill(previous)` writes them.

/// Fewer rows that are the same are a quiet moment.
const FEWEST: u64 = 20;
/// So are those that are no more than this many times as many as before.
const MUCH_LONGER: u64 = 3;

/// How long rows stay the same in every field.
#[derive(Debug, Default)]
pub(super) struct Stillness {
    rows: u64,
    changed: u64,
    /// Rows that are the same as the one before, up to now, and the most before that.
    same: u64,
    most: u64,
    entries: Option<f64>,
}

impl Stillness {
    /// Takes a row: whether any counter has another value than before, and the table's entries.
    pub(super) fn take(&mut self, has_moved: bool, entries: Option<f64>) {
        let had = std::mem::replace(&mut self.entries, entries);
        self.rows += 1;
        if has_moved || had != entries {
            self.changed += 1;
            self.most = self.most.max(std::mem::take(&mut self.same));
        } else {
            self.same += 1;
        }
    }

    /// Returns how many rows at the end are the same as the one before them, if that is no quiet
    /// moment, and the most before that.
    pub(super) fn at_end(&self) -> Option<(u64, u64)> {
        let before = self.rows - self.same;
        let is_suspect = self.same >= FEWEST
            && self.same > MUCH_LONGER * self.most
            && 2 * self.changed > before
            && before > FEWEST;
        is_suspect.then_some((self.same, self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_end(rows: impl IntoIterator<Item = bool>) -> Option<(u64, u64)> {
        let mut stillness = Stillness::default();
        rows.into_iter().for_each(|has_moved| stillness.take(has_moved, Some(5.0)));
        stillness.at_end()
    }

    #[test]
    fn rows_that_stop_moving_are_found() {
        let busy = (0..100).map(|at| at % 4 > 0);
        assert_eq!(at_end(busy.clone().chain([false; 200])), Some((200, 1)));
        assert_eq!(at_end(busy.chain([false; 19])), None);
        let quiet = (0..300).map(|at| at % 100 == 0);
        assert_eq!(at_end(quiet), None);
        assert_eq!(at_end([false; 300]), None);
    }
}
