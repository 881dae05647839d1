//! How full one source's table was, moment by moment.
//!
//! A share is one of the limit that was valid then, which may have been raised within a
//! recording. Telegraf's plugin sums `entries` over the CPUs, so the table's own count goes first,
//! and a bare `entries` counts only as long as nothing better was seen, or where the table's rows
//! are missing and both were the same before.

use super::drawing::EntryExtremes;
use super::moment::Moment;
use super::spread::Spread;
use super::summary::{Above, Fill, Fullest, LimitChange};

/// The fill from which on the table counts as nearly full, in percent.
const NEARLY_FULL: f64 = 90.0;
/// Fewer entries show nothing of whether they are a sum over CPUs.
const SOME_ENTRIES: f64 = 8.0;
/// If no more than one of so many rows has its limit in another part of the file, the others show how long the
/// table was nearly full; half of them suffice if the limit is one.
const FEW_APART: u64 = 20;
/// Changes of the limit that are listed; all are counted.
const MOST_CHANGES: usize = 8;

/// The state of the table so far.
#[derive(Debug, Default)]
pub(super) struct TableLevel {
    /// The limit that was seen last, as long as the rows go on from there.
    max: Option<f64>,
    /// The same with its time.
    limit: Option<(i64, f64)>,
    /// That of the latest time.
    last_limit: Option<(i64, f64)>,
    changed: u64,
    changes: Vec<LimitChange>,
    entries: Spread,
    /// The entries of the last row, and how often they were higher and lower than the ones before.
    last_entries: Option<f64>,
    rises: u64,
    falls: u64,
    peak: Option<(f64, i64)>,
    fullest: Option<Fullest>,
    above: Option<Above>,
    /// Rows with entries, and those of them whose limit is in another part of the file.
    rows: u64,
    apart: u64,
    /// The most entries of the latter.
    peak_apart: Option<(f64, i64)>,
    /// Whether the entries so far are surely the table's and no sum over CPUs.
    is_sure: bool,
    /// The times of all entries.
    span: Option<(i64, i64)>,
    /// The time of the table's last row.
    last_count_ns: Option<i64>,
    /// The share of the limit that the last row had, in percent.
    end_percent: Option<f64>,
    /// How often the entries of the statistics were those of the table, and how often not.
    agreed: u64,
    differed: u64,
}

impl TableLevel {
    /// Takes the values of `now` for the `seconds` between it and the moment before. `far_ns` is the
    /// time after which a row of the table is missing.
    pub(super) fn take(
        &mut self,
        now: &Moment,
        seconds: f64,
        far_ns: i64,
    ) -> Option<EntryExtremes> {
        if now.max == Some(0.0) && now.is_blank() && self.max.is_some_and(|max| max > 0.0) {
            // No row of the table, but one that a query filled in.
            return None;
        }
        let is_missing = self.is_missing(now, far_ns);
        let before = self.max;
        self.max = now.max.or(before);
        if let Some(max) = now.max {
            self.take_limit(now.time_ns, max);
        }
        let is_sure = now.count.or(now.entries_max).is_some();
        let last = match now.count {
            Some(count) => count,
            None if is_sure || !self.is_sure || is_missing => now.entries.or(now.entries_max)?,
            None => return None,
        };
        let (from_ns, to_ns) = self.span.get_or_insert((now.time_ns, now.time_ns));
        (*from_ns, *to_ns) = ((*from_ns).min(now.time_ns), (*to_ns).max(now.time_ns));
        let is_other_table = is_sure && !self.is_sure && self.peak.is_some();
        if is_other_table {
            self.entries = Spread::default();
            (self.last_entries, self.rises, self.falls) = (None, 0, 0);
            (self.peak, self.fullest, self.above) = (None, None, None);
            (self.rows, self.apart, self.peak_apart) = (0, 0, None);
            self.span = Some((now.time_ns, now.time_ns));
        }
        self.is_sure |= is_sure;
        let low = now.entries_min.map_or(last, |low| low.min(last));
        let high = now.entries_max.map_or(last, |high| high.max(last));
        self.entries.record(last);
        if let Some(before) = self.last_entries.replace(last) {
            self.rises += u64::from(last > before);
            self.falls += u64::from(last < before);
        }
        if self.peak.is_none_or(|(peak, _)| high > peak) {
            self.peak = Some((high, now.time_ns));
        }
        let has_extremes = now.entries_min.is_some() && now.entries_max.is_some();
        self.rows += 1;
        let fill = if is_sure && self.is_limit_apart(now, before, far_ns) {
            self.apart += 1;
            if self.peak_apart.is_none_or(|(peak, _)| high > peak) {
                self.peak_apart = Some((high, now.time_ns));
            }
            None
        } else {
            self.take_fill(before, [low, last, high], has_extremes, (now.time_ns, seconds))
        };
        Some(EntryExtremes { entries: (low, high), fill, is_other_table })
    }

    /// Whether the limit of a row is in another part of the file, as in an export field by field: none is known yet,
    /// or it changes, and the one that was read last is of a later time.
    fn is_limit_apart(&self, now: &Moment, before: Option<f64>, far_ns: i64) -> bool {
        let is_of_later_time = |(limit_ns, _): (i64, f64)| {
            limit_ns > now.time_ns && limit_ns.abs_diff(now.time_ns) > far_ns.unsigned_abs()
        };
        now.max.is_none()
            && (before.is_none() || self.changed > 0 && self.limit.is_some_and(is_of_later_time))
    }

    /// Returns the limit of a time, after all rows; nothing where more changes than are kept leave it open.
    fn limit_at(&self, time_ns: i64, changes: &[LimitChange]) -> Option<f64> {
        if self.changed > changes.len() as u64 {
            return None;
        }
        let last = changes.iter().rfind(|change| change.at_ns <= time_ns).map(|change| change.to);
        last.or(changes.first().map(|change| change.from)).or(self.last_limit.map(|(_, max)| max))
    }

    /// Whether a row of the table is missing, whose entries those of the statistics are.
    fn is_missing(&mut self, now: &Moment, far_ns: i64) -> bool {
        if let (Some(count), Some(entries)) = (now.count, now.entries) {
            let is_known = count >= SOME_ENTRIES || entries >= SOME_ENTRIES;
            let is_same = (count - entries).abs() <= count.max(entries) / 10.0;
            self.agreed += u64::from(is_known && is_same);
            self.differed += u64::from(is_known && !is_same);
        }
        match (now.count, self.last_count_ns) {
            (Some(_), _) => {
                self.last_count_ns = Some(now.time_ns);
                false
            }
            (None, Some(last_ns)) => {
                let is_far = now.time_ns.abs_diff(last_ns) > far_ns.unsigned_abs();
                is_far && self.have_agreed()
            }
            (None, None) => false,
        }
    }

    /// Whether the entries of the statistics were those of the table.
    pub(super) fn have_agreed(&self) -> bool {
        self.agreed > 0 && self.differed <= self.agreed / 8
    }

    /// Whether the entries are surely the table's and no sum over CPUs.
    pub(super) fn is_sure(&self) -> bool {
        self.is_sure
    }

    /// The times of the first and the last entries.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        self.span
    }

    /// Notes the limit of a time, and whether it changed between that and the time before; rows
    /// may go backwards.
    fn take_limit(&mut self, time_ns: i64, max: f64) {
        if let Some((before_ns, before)) = self.limit.replace((time_ns, max))
            && before != max
        {
            self.changed += 1;
            let (at_ns, from, to) = if before_ns <= time_ns {
                (time_ns, before, max)
            } else {
                (before_ns, max, before)
            };
            if self.changes.len() < MOST_CHANGES {
                self.changes.push(LimitChange { at_ns, from, to });
            }
        }
        if self.last_limit.is_none_or(|(last_ns, _)| time_ns >= last_ns) {
            self.last_limit = Some((time_ns, max));
        }
    }

    fn take_fill(
        &mut self,
        before: Option<f64>,
        [low, last, high]: [f64; 3],
        has_extremes: bool,
        (at_ns, seconds): (i64, f64),
    ) -> Option<(f64, f64)> {
        let max = self.max.filter(|max| *max > 0.0)?;
        // It is not known which of the two limits the extremes were under: only the conclusions that hold
        // under both limits are drawn.
        let before = before.filter(|before| *before > 0.0).unwrap_or(max);
        let (smaller, larger) = (max.min(before), max.max(before));
        let of = |entries: f64, max: f64| Fullest {
            percent: entries / max * 100.0,
            entries,
            max,
            at_ns,
        };
        let (end, highest) = (of(last, max), of(high, larger));
        let fullest = if end.percent > highest.percent { end } else { highest };
        if self.fullest.is_none_or(|before| fullest.percent > before.percent) {
            self.fullest = Some(fullest);
        }
        let lowest = of(low, larger).percent.min(end.percent);
        let begin_percent = self.end_percent.replace(end.percent).filter(|_| !has_extremes);
        let above =
            self.above.get_or_insert(Above { at_most_seconds: Some(0.0), ..Above::default() });
        above.known_seconds += seconds;
        // Without extremes the rows on both sides are all that is known of the time between them.
        let most = of(high, smaller).percent.max(begin_percent.unwrap_or(0.0));
        if most >= NEARLY_FULL {
            *above.at_most_seconds.get_or_insert_default() += seconds;
        }
        if lowest.min(begin_percent.unwrap_or(lowest)) >= NEARLY_FULL {
            above.at_least_seconds += seconds;
        }
        Some((lowest, fullest.percent))
    }

    /// Reports the level; nothing where no row has it.
    pub(super) fn report(&self) -> Option<Fill> {
        let (peak, peak_at_ns) = self.peak?;
        let mut limit_changes = self.changes.clone();
        limit_changes.sort_by_key(|change| change.at_ns);
        let max = self.last_limit.map(|(_, max)| max);
        // Entries and limit may be in different parts of a file.
        let limit = |at_ns| self.limit_at(at_ns, &limit_changes).filter(|max| *max > 0.0);
        let apart = self.peak_apart.and_then(|(entries, at_ns)| {
            let max = limit(at_ns)?;
            Some(Fullest { percent: entries / max * 100.0, entries, max, at_ns })
        });
        // Where the limit of the most entries is not known, nor is the highest fill.
        let is_open = self.peak_apart.is_some_and(|(_, at_ns)| {
            self.changed > 0 && self.limit_at(at_ns, &limit_changes).is_none()
        });
        let both = self.fullest.into_iter().chain(apart).filter(|_| !is_open);
        let fullest = both.max_by(|one, other| one.percent.total_cmp(&other.percent));
        // How long it was nearly full is that of the other rows only.
        let most = if self.changed == 0 { self.rows / 2 } else { self.rows / FEW_APART };
        let above = self.above.filter(|_| self.apart <= most);
        Some(Fill {
            max,
            limit_changed: self.changed,
            limit_changes,
            fullest,
            entries: self.entries.summary()?,
            peak,
            peak_at_ns,
            is_sum: false,
            one_way: if self.rises.min(self.falls) == 0 { self.rises.max(self.falls) } else { 0 },
            above_90_percent: above,
            full_between: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// Takes the moments, a second apart: count, sum over CPUs, the table's most, limit.
    fn taken(moments: &[[Option<f64>; 4]]) -> (Fill, Option<EntryExtremes>) {
        let mut level = TableLevel::default();
        let mut last = None;
        for (at, [count, entries, entries_max, max]) in moments.iter().copied().enumerate() {
            let time_ns = at as i64 * SECOND;
            let moment = Moment { time_ns, count, entries, entries_max, max, ..Moment::default() };
            last = level.take(&moment, if at == 0 { 0.0 } else { 1.0 }, i64::MAX);
        }
        (level.report().unwrap(), last)
    }

    fn fullest(fill: &Fill) -> (f64, f64, f64, i64) {
        let Fullest { percent, entries, max, at_ns } = fill.fullest.unwrap();
        (percent, entries, max, at_ns / SECOND)
    }

    #[test]
    fn the_fullest_moment_has_the_limit_of_its_time() {
        let row = |count, max| [Some(count), None, None, Some(max)];
        let raised = [row(1000.0, 2000.0), row(2000.0, 2000.0), row(3000.0, 16_000.0)];
        let (fill, last) = taken(&raised);
        assert_eq!(fullest(&fill), (100.0, 2000.0, 2000.0, 1));
        assert_eq!((fill.peak, fill.max), (3000.0, Some(16_000.0)));
        let change = LimitChange { at_ns: 2 * SECOND, from: 2000.0, to: 16_000.0 };
        assert_eq!((fill.limit_changed, fill.limit_changes), (1, vec![change]));
        assert_eq!(last.unwrap().fill, Some((18.75, 18.75)));
        let above = fill.above_90_percent.unwrap();
        // Of the time between two rows it is known only where both are above 90 %.
        assert_eq!((above.at_least_seconds, above.at_most_seconds), (0.0, Some(2.0)));
        let (fill, _) = taken(&[row(95.0, 100.0), row(99.0, 100.0), row(10.0, 100.0)]);
        let above = fill.above_90_percent.unwrap();
        assert_eq!((above.at_least_seconds, above.at_most_seconds), (1.0, Some(2.0)));
        // Lowered below what is there: more than full.
        let (fill, _) = taken(&[row(3000.0, 16_000.0), row(3000.0, 2000.0)]);
        assert_eq!(fullest(&fill), (150.0, 3000.0, 2000.0, 1));
    }

    /// The most since the row before may have been under either limit.
    #[test]
    fn extremes_of_a_row_with_a_change_are_of_the_larger_limit() {
        let (fill, last) = taken(&[
            [Some(100.0), None, Some(100.0), Some(10_000.0)],
            [Some(500.0), None, Some(5000.0), Some(1000.0)],
        ]);
        // Half full of either.
        assert_eq!(fullest(&fill), (50.0, 5000.0, 10_000.0, 1));
        assert_eq!(last.unwrap().fill, Some((5.0, 50.0)));
        assert_eq!(fill.above_90_percent.unwrap().at_most_seconds, Some(1.0));
    }

    #[test]
    fn the_first_limit_is_used_for_the_time_before_it() {
        let (fill, _) = taken(&[
            [Some(90.0), None, None, None],
            [Some(50.0), None, None, Some(100.0)],
            [Some(60.0), None, None, None],
        ]);
        assert_eq!((fullest(&fill), fill.limit_changed), ((90.0, 90.0, 100.0, 0), 0));
    }

    /// Entries of an export field by field, whose limits changed more often than changes are kept: 75 % full was
    /// 10 %, that of the last rows.
    #[test]
    fn a_limit_that_is_not_kept_leaves_the_fill_open() {
        let mut level = TableLevel::default();
        let mut take = |at: i64, count, max| {
            let moment = Moment { time_ns: at * SECOND, count, max, ..Moment::default() };
            level.take(&moment, 1.0, 2 * SECOND);
        };
        (0..40).for_each(|at| take(at, Some(if at == 30 { 15_000.0 } else { 2000.0 }), None));
        (0..39).for_each(|at| take(at, None, Some(f64::from(16_000 + at as i32))));
        take(40, Some(2000.0), Some(20_000.0));
        let fill = level.report().unwrap();
        assert_eq!((fill.fullest, fill.peak), (None, 15_000.0));
    }

    #[test]
    fn a_limit_that_keeps_changing_takes_no_more_room() {
        let row = |at: u32| [Some(1.0), None, None, Some(f64::from(100 + at % 2))];
        let (fill, _) = taken(&(0..1000).map(row).collect::<Vec<_>>());
        assert_eq!((fill.limit_changed, fill.limit_changes.len()), (999, MOST_CHANGES));
    }

    #[test]
    fn a_sum_over_cpus_counts_only_where_nothing_better_is_known() {
        let limit = Some(1000.0);
        // The table's row has a time of its own, before or after that of the sum.
        let (sum, count) = ([None, Some(1000.0), None, None], [Some(500.0), None, None, limit]);
        for moments in [[sum, count, sum, count], [count, sum, count, sum]] {
            let (fill, _) = taken(&moments);
            assert_eq!((fullest(&fill).0, fill.peak), (50.0, 500.0));
            assert_eq!((fill.entries.min, fill.entries.max), (500.0, 500.0));
        }
        assert!(taken(&[sum, count]).1.unwrap().is_other_table);
        let (fill, _) = taken(&[sum, sum]);
        assert_eq!((fill.peak, fill.fullest), (1000.0, None));
    }

    #[test]
    fn without_a_table_row_its_extremes_give_the_fill() {
        let (fill, last) = taken(&[
            [None, Some(80.0), None, Some(100.0)],
            [None, Some(80.0), Some(95.0), Some(100.0)],
        ]);
        assert_eq!((fullest(&fill), last.unwrap().entries), ((95.0, 95.0, 100.0, 1), (80.0, 95.0)));
    }
}
