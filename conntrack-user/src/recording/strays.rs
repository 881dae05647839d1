//! Rows with a time that is far from those of the rows around them in the file: a damaged number, or a
//! clock that was wrong for a moment.
//!
//! Such a row is known by the row behind it, which has the time that was due and counters that go on from
//! it. It is left out: its counters are between those of its neighbours, but at its time they would be values
//! of another machine. Where the counters of the next row are lower, the rows are not in the order of their
//! times, and the time may be right.

use super::{FieldId, HeldRow, Row, SeriesId, time};

/// A time is far from another one from here on, and from so many intervals on.
const FAR_NS: i64 = 3_600_000_000_000;
const FAR_INTERVALS: i64 = 1000;
/// The same of a time that is only believed to be wrong where the counters show it.
const APART_NS: i64 = 5_000_000_000;
const APART_INTERVALS: i64 = 4;
/// Rows in order in front of a far time: rows in any order, as in a file that was sorted as text, have some
/// that are far from both neighbours.
const IN_ORDER: u32 = 6;
/// Behind fewer rows, and at the ends of a file, where there is no row on the other side: a year.
const FAR_AT_END_NS: i64 = 31_536_000_000_000_000;
/// Rows that wait, and values in them.
const MOST_HELD: usize = 256;
const MOST_VALUES: usize = 1 << 14;
/// More rows of a source are no accident, but those of two times among each other.
const MOST_STRAYS: u64 = 64;

/// Whether two times of a series with this interval are far from each other.
#[inline]
pub(super) fn are_far(a_ns: i64, b_ns: i64, interval_ns: i64) -> bool {
    let apart_ns = a_ns.saturating_sub(b_ns).saturating_abs();
    apart_ns > FAR_NS && apart_ns / FAR_INTERVALS > interval_ns
}

/// Whether they have a gap between them, and may be those of rows in another order than the file's.
#[inline]
pub(super) fn are_apart(a_ns: i64, b_ns: i64, interval_ns: i64) -> bool {
    let apart_ns = a_ns.saturating_sub(b_ns).saturating_abs();
    apart_ns > APART_NS && apart_ns / APART_INTERVALS > interval_ns
}

/// The counters of a row that an earlier one of its series has, too: the values of both.
fn pairs<'a>(
    from: Row<'a>,
    to: Row<'a>,
    counters: &'a [bool],
) -> impl Iterator<Item = (f64, f64)> + 'a {
    let of_row = to.values.iter().filter(|(field, _)| is_one(counters, *field));
    of_row.filter_map(move |(field, value)| {
        let (_, before) = from.values.iter().find(|(other, _)| other == field)?;
        Some((*before, *value))
    })
}

/// Whether no counter of a row is lower than in an earlier one of its series.
pub(super) fn goes_on_from(from: Row<'_>, to: Row<'_>, counters: &[bool]) -> bool {
    pairs(from, to, counters).all(|(before, value)| value >= before)
}

/// Whether one of them is higher as well.
pub(super) fn rises(from: Row<'_>, to: Row<'_>, counters: &[bool]) -> bool {
    goes_on_from(from, to, counters)
        && pairs(from, to, counters).any(|(before, value)| value > before)
}

/// Rows whose time is far from that of the row before.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The series of the first of them, and the time of its row before.
    series: SeriesId,
    before_ns: i64,
    interval_ns: i64,
    /// The rows of the series in order up to the one before, beyond the first.
    run: u32,
    /// The time of the first of them is not so far that it alone is a reason for doubt.
    is_near: bool,
    /// The series whose counters rose in the first of its rows, where the time alone does not show it.
    risen: Option<SeriesId>,
    held: Vec<HeldRow>,
    values: usize,
}

/// What a row shows of those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Open,
    /// Their times are wrong.
    Strays,
    /// The time went on there.
    GoesOn,
    /// The time went on there, and that of the single row before them is wrong.
    StrayBefore,
}

impl Waiting {
    pub(super) fn new(row: Row<'_>, before_ns: i64, interval_ns: i64, run: u32) -> Self {
        let (series, values) = (row.series, row.values.len());
        let (risen, held) = (None, vec![HeldRow::of(row)]);
        let is_near = !are_far(row.time_ns, before_ns, interval_ns);
        Self { series, before_ns, interval_ns, run, is_near, risen, held, values }
    }

    /// Whether the time alone is no reason for doubt, so that all rows of the source wait.
    pub(super) fn is_near(&self) -> bool {
        self.is_near
    }

    /// Takes whether the counters of a row that waits rose, as far as they are known.
    pub(super) fn take_rise(&mut self, series: SeriesId, has_risen: bool) {
        self.risen = self.risen.or(has_risen.then_some(series));
    }

    /// Whether a time is among those that wait, and not that of the row before.
    pub(super) fn is_among(&self, time_ns: i64) -> bool {
        are_apart(time_ns, self.before_ns, self.interval_ns)
    }

    /// The time of the row before.
    pub(super) fn before_ns(&self) -> i64 {
        self.before_ns
    }

    /// Judges by the next row of the source; `counters` is which fields are some.
    pub(super) fn verdict(&self, row: Row<'_>, counters: &[bool]) -> Verdict {
        if row.series != self.deciding() {
            let is_full = self.held.len() >= MOST_HELD || self.values >= MOST_VALUES;
            return if is_full { Verdict::GoesOn } else { Verdict::Open };
        }
        if self.is_near {
            return self.verdict_of_counters(row, counters);
        }
        if !are_far(row.time_ns, self.before_ns, self.interval_ns) {
            let is_known = is_in_order(self.run) && self.goes_on_in(row, counters);
            let is_sure = is_known || self.are_strays_at_end();
            return if is_sure { Verdict::Strays } else { Verdict::GoesOn };
        }
        let mut own = self.held.iter().rev().filter(|held| held.series == self.series);
        let is_next =
            own.next().is_some_and(|held| !are_far(row.time_ns, held.time_ns, self.interval_ns));
        match (is_next, own.next()) {
            (true, _) if self.run == 0 && is_far_at_end(self.before_ns, row.time_ns) => {
                Verdict::StrayBefore
            }
            (false, None) => Verdict::Open,
            // Rows that are all far from each other have a long interval.
            _ => Verdict::GoesOn,
        }
    }

    /// The series of which the next row decides.
    fn deciding(&self) -> SeriesId {
        if self.is_near { self.risen.unwrap_or(self.series) } else { self.series }
    }

    /// Judges a time that is not far by the counters alone.
    fn verdict_of_counters(&self, row: Row<'_>, counters: &[bool]) -> Verdict {
        let mut own = self.held.iter().filter(|held| held.series == row.series);
        let is_back = !self.is_among(row.time_ns);
        let is_stray = |held: &HeldRow| is_back && rises(held.row(), row, counters);
        match (own.next(), own.next()) {
            (Some(held), None) if self.risen.is_some() && is_stray(held) => Verdict::Strays,
            _ => Verdict::GoesOn,
        }
    }

    /// Whether no counter of the next row of the series is lower than in the last one that waits.
    fn goes_on_in(&self, row: Row<'_>, counters: &[bool]) -> bool {
        let last = self.held.iter().rev().find(|held| held.series == row.series);
        last.is_none_or(|last| goes_on_from(last.row(), row, counters))
    }

    pub(super) fn hold(&mut self, row: Row<'_>) {
        self.values += row.values.len();
        self.held.push(HeldRow::of(row));
    }

    /// Whether the rows are so far from the last one in front of them that no other row is needed.
    pub(super) fn are_strays_at_end(&self) -> bool {
        self.held.iter().all(|held| is_far_at_end(self.before_ns, held.time_ns))
    }

    /// The rows that were held beside those whose times are wrong, and these.
    pub(super) fn divide(self) -> (Vec<HeldRow>, Vec<HeldRow>) {
        if !self.is_near {
            return (Vec::new(), self.held);
        }
        let (before_ns, interval_ns) = (self.before_ns, self.interval_ns);
        let is_back = |held: &HeldRow| !are_apart(held.time_ns, before_ns, interval_ns);
        self.held.into_iter().partition(is_back)
    }

    pub(super) fn into_rows(self) -> Vec<HeldRow> {
        self.held
    }
}

/// Whether a field is a counter.
pub(super) fn is_one(counters: &[bool], FieldId(field): FieldId) -> bool {
    counters.get(field).copied().unwrap_or(false)
}

/// Whether so many rows in order show that a far time is wrong.
pub(super) fn is_in_order(run: u32) -> bool {
    run >= IN_ORDER
}

/// Whether two times are so far from each other that one of them is wrong.
pub(super) fn is_far_at_end(a_ns: i64, b_ns: i64) -> bool {
    a_ns.saturating_sub(b_ns).saturating_abs() > FAR_AT_END_NS
        || time::is_before_2000(a_ns) != time::is_before_2000(b_ns)
}

/// The rows of a recording that were left out for their times.
#[derive(Debug, Default)]
pub(super) struct Strays {
    pub(super) rows: u64,
    /// The time of the first of them, and the time of the row before it.
    pub(super) first_ns: Option<(i64, i64)>,
    /// The counters of all of them: at the end it is known whether the other rows come as far.
    pub(super) counters: Vec<(SeriesId, FieldId, f64)>,
}

impl Strays {
    /// Takes a row that is left out, and the time of the row before it; `counters` is which fields are some.
    pub(super) fn take(&mut self, row: Row<'_>, before_ns: i64, counters: &[bool]) {
        self.rows += 1;
        self.first_ns.get_or_insert((row.time_ns, before_ns));
        let of_row = row.values.iter().filter(|(field, _)| is_one(counters, *field));
        self.counters.extend(of_row.map(|(field, value)| (row.series, *field, *value)));
    }

    /// Whether there are so many that they are no accident.
    pub(super) fn are_many(&self) -> bool {
        self.rows >= MOST_STRAYS || self.counters.len() >= MOST_VALUES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_NS: i64 = 86_400_000_000_000;

    fn row(series: usize, time_ns: i64) -> Row<'static> {
        Row { series: SeriesId(series), time_ns, values: &[] }
    }

    fn verdict(waiting: &Waiting, series: usize, time_ns: i64) -> Verdict {
        waiting.verdict(row(series, time_ns), &[])
    }

    /// A row of which the counters in a later line of a file are lower is not behind it in time.
    #[test]
    fn lower_counters_behind_a_row_show_another_order() {
        let (second_ns, now_ns) = (1_000_000_000, 20_000 * DAY_NS);
        fn with(time_ns: i64, values: &[(FieldId, f64)]) -> Row<'_> {
            Row { series: SeriesId(0), time_ns, values }
        }
        let values = |drop: f64, entries: f64| [(FieldId(0), drop), (FieldId(1), entries)];
        let far = values(1089.0, 50.0);
        for (by_ns, verdicts) in [
            (2 * DAY_NS, [Verdict::Strays, Verdict::Strays, Verdict::GoesOn]),
            // Years are no order.
            (1000 * DAY_NS, [Verdict::Strays; 3]),
        ] {
            let waiting = Waiting::new(with(now_ns + by_ns, &far), now_ns, second_ns, 9);
            let next = [values(1090.0, 50.0), values(1089.0, 9.0), values(108.0, 50.0)];
            let found = next
                .each_ref()
                .map(|values| waiting.verdict(with(now_ns + second_ns, values), &[true, false]));
            assert_eq!(found, verdicts);
        }
    }

    #[test]
    fn the_next_row_of_the_series_decides() {
        let second_ns = 1_000_000_000;
        let now_ns = 20_000 * DAY_NS;
        let mut waiting = Waiting::new(row(0, now_ns + 30 * DAY_NS), now_ns, second_ns, 9);
        assert_eq!(verdict(&waiting, 1, now_ns), Verdict::Open);
        assert_eq!(verdict(&waiting, 0, now_ns + second_ns), Verdict::Strays);
        assert_eq!(verdict(&waiting, 0, now_ns + 30 * DAY_NS + second_ns), Verdict::GoesOn);
        // Rows with a day between each two.
        assert_eq!(verdict(&waiting, 0, now_ns + 31 * DAY_NS), Verdict::Open);
        waiting.hold(row(0, now_ns + 31 * DAY_NS));
        assert_eq!(verdict(&waiting, 0, now_ns + 32 * DAY_NS), Verdict::GoesOn);
        assert!(!waiting.are_strays_at_end());
        // Behind few rows it must be years.
        let waiting = Waiting::new(row(0, now_ns + 30 * DAY_NS), now_ns, second_ns, 2);
        assert_eq!(verdict(&waiting, 0, now_ns + second_ns), Verdict::GoesOn);
        // The clock was set behind the first row.
        let waiting = Waiting::new(row(0, now_ns), 12 * second_ns, 0, 0);
        assert_eq!(verdict(&waiting, 0, now_ns + second_ns), Verdict::StrayBefore);
        assert!(waiting.are_strays_at_end());
    }

    #[test]
    fn rows_that_wait_are_bounded() {
        let mut waiting = Waiting::new(row(0, 2 * DAY_NS), DAY_NS, 1, 9);
        while verdict(&waiting, 1, 2 * DAY_NS) == Verdict::Open {
            waiting.hold(row(1, 2 * DAY_NS));
        }
        assert_eq!(waiting.into_rows().len(), MOST_HELD);
    }
}
