//! Rows that repeat one row, as a query with `fill(previous)` writes them: at the end, or in front of a
//! row that has the events of all of them.

/// Fewer rows that are the same are a quiet moment.
const FEWEST: u64 = 20;
/// So are those that are no more than this many times as many as before.
const MUCH_LONGER: u64 = 3;
/// A row has the events of those before it from this share of their usual number on.
const CATCHES_UP: f64 = 0.5;
/// And up to this many times that number.
const BEYOND: f64 = 1.5;

/// How long rows stay the same in every field.
#[derive(Debug, Default)]
pub(super) struct Stillness {
    rows: u64,
    changed: u64,
    /// Rows that are the same as the one before, up to now, and the most before that.
    same: u64,
    most: u64,
    entries: Option<f64>,
    /// The time of the last row, and that between the first two.
    time_ns: i64,
    step_ns: i64,
    /// Rows that are not as far from the one before as the second one from the first.
    uneven: u64,
    /// The most rows in front of one that has their events.
    repeated: u64,
}

impl Stillness {
    /// Takes a row: its time, whether any counter has another value than before, and the table's entries.
    /// `events` are those of the row, and those of all rows before.
    pub(super) fn take(
        &mut self,
        time_ns: i64,
        has_moved: bool,
        entries: Option<f64>,
        events: impl FnOnce() -> (f64, f64),
    ) {
        let had = std::mem::replace(&mut self.entries, entries);
        let step_ns = time_ns.saturating_sub(std::mem::replace(&mut self.time_ns, time_ns));
        match self.rows {
            0 => {}
            1 => self.step_ns = step_ns,
            _ => self.uneven += u64::from(step_ns != self.step_ns),
        }
        if has_moved && self.is_suspect() {
            let (now, before) = events();
            let usual = before / self.changed as f64;
            let of_all = self.same as f64 * usual;
            // Far more is the load of another time.
            if (CATCHES_UP * of_all..=BEYOND * of_all).contains(&now) {
                self.repeated = self.repeated.max(self.same);
            }
        }
        self.rows += 1;
        if has_moved || had != entries {
            self.changed += 1;
            self.most = self.most.max(std::mem::take(&mut self.same));
        } else {
            self.same += 1;
        }
    }

    /// Whether the rows up to now are the same as the one before them, and that is no quiet moment.
    fn is_suspect(&self) -> bool {
        let before = self.rows - self.same;
        self.same >= FEWEST
            && self.same > MUCH_LONGER * self.most
            && 2 * self.changed > before
            && before > FEWEST
    }

    /// Whether all rows are equally far apart, as those of a query are that fills in what is missing.
    pub(super) fn is_even(&self) -> bool {
        self.uneven == 0
    }

    /// Returns how many rows at the end are the same as the one before them, if that is no quiet
    /// moment, and the most before that.
    pub(super) fn at_end(&self) -> Option<(u64, u64)> {
        self.is_suspect().then_some((self.same, self.most))
    }

    /// Returns the most rows that are the same in front of one with the events of all of them; 0 for
    /// none.
    pub(super) fn repeated(&self) -> u64 {
        self.repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_end(rows: impl IntoIterator<Item = bool>) -> Option<(u64, u64)> {
        let mut stillness = Stillness::default();
        for (time_ns, has_moved) in (7..).zip(rows) {
            stillness.take(time_ns, has_moved, Some(5.0), || (0.0, 0.0));
        }
        assert!(stillness.is_even());
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

    #[test]
    fn a_row_with_the_events_of_those_that_repeat_is_found() {
        let repeated = |jump: f64| {
            let mut stillness = Stillness::default();
            for row in 0..100_u32 {
                let has_moved = !(40..80).contains(&row);
                let events = if row == 80 { jump } else { 10.0 };
                stillness.take(row.into(), has_moved, Some(5.0), || (events, 400.0));
            }
            stillness.repeated()
        };
        assert_eq!(repeated(410.0), 40);
        // Traffic ended and began again, as before and with a higher load.
        assert_eq!(repeated(10.0), 0);
        assert_eq!(repeated(2000.0), 0);
    }
}
