//! Contradictions between the table's entries, its limit and the counters: rows of several tables, or
//! of several machines, under one name.

use super::doubts::Unknowns;
use super::moment::Moment;
use super::unknown::{count, moment};
use crate::text::human::number;

/// Entries of one time that differ by this factor and number are those of two tables: two inputs whose
/// times are rounded to one read them a moment apart.
const FACTOR: f64 = 4.0;
const MANY: f64 = 1000.0;
/// Fewer entries show nothing.
const SOME: f64 = 100.0;
/// So many rows show that the statistics are those of another table.
const ENOUGH: u64 = 3;
/// Each CPU may allocate one entry at a time before the kernel compares their number with the limit
/// (`__nf_conntrack_alloc`); no kernel has more CPUs.
const MOST_CPUS: f64 = 8192.0;
/// A table that has fewer may have them again soon after a start.
const MANY_AT_ONCE: f64 = 500.0;
/// Entries do not expire sooner: 10 s is the kernel's shortest timeout, of closed TCP connections.
const LIFETIME_NS: u64 = 5_000_000_000;
/// This share of a rise may be left where its entries are gone.
const LEFT: f64 = 0.125;
/// How far entries may fall while counters begin again in the same table.
const STAYS: f64 = 0.5;

/// What was seen of them so far.
#[derive(Debug, Default)]
pub(super) struct TableDoubts {
    /// Times with several rows of other entries, and the first two numbers.
    entries: (u64, [f64; 2]),
    /// The same of the limit.
    limits: (u64, [f64; 2]),
    /// Rows in which the statistics could be compared with the table.
    compared: u64,
    /// Those with fewer entries than the table has, and the first two numbers.
    fewer: (u64, [f64; 2]),
    /// Rows with more entries than the limit allows, and the first two numbers.
    above: (u64, [f64; 2]),
    /// How often counters began again while the entries stayed, and how many those were.
    stayed: (u64, f64),
    /// Entries and limit of the row before.
    before: Option<(f64, Option<f64>)>,
    /// The time of that.
    before_ns: i64,
    /// The entries and the limit in front of a row that has far more entries or another limit.
    lone: Option<(f64, Option<f64>)>,
    /// Rows that are the only ones with far more entries or another limit, and the first numbers: the
    /// time, entries of it and of the row before.
    alone: (u64, (i64, [f64; 2])),
}

impl TableDoubts {
    /// Whether the table's count is higher than the limit allows: no allocation is above it, and it stood
    /// where it is in the row before. Such a count is a damaged number.
    pub(super) fn is_impossible(&mut self, now: &Moment) -> bool {
        let (Some(entries), Some(max)) = (now.count, now.max) else { return false };
        let Some((before, limit)) = self.before else { return false };
        // In rows that are read backwards, entries rise that decay under a lowered limit.
        let is_above = max > 0.0 && entries > max + MOST_CPUS && now.time_ns > self.before_ns;
        if !is_above || entries <= before || limit != Some(max) {
            return false;
        }
        see(&mut self.above, [entries, max]);
        true
    }

    /// Takes that the kernel's counters began again in this row; `far_ns` is the time from which on rows
    /// are missing in between. Whether the table kept its entries.
    pub(super) fn take_reset(&mut self, now: &Moment, far_ns: i64) -> bool {
        let (Some((before, _)), Some(entries)) = (self.before, now.count.or(now.entries)) else {
            return false;
        };
        let is_near = now.time_ns.abs_diff(self.before_ns) <= far_ns.unsigned_abs();
        let stayed = is_near && before >= MANY_AT_ONCE && entries >= STAYS * before;
        if stayed {
            self.stayed.0 += 1;
            self.stayed.1 = entries;
        }
        stayed
    }

    /// Takes the values of a row.
    pub(super) fn take(&mut self, now: &Moment) {
        if let (Some(low), Some(high)) = (now.least_count, now.count)
            && high - low >= MANY
            && high >= FACTOR * low
        {
            see(&mut self.entries, [low, high]);
        }
        if let (Some(low), Some(high)) = (now.max, now.largest_max)
            && low < high
        {
            see(&mut self.limits, [low, high]);
        }
        if let (Some(count), Some(entries)) = (now.count, now.entries)
            && count >= SOME
        {
            self.compared += 1;
            if entries < STAYS * count {
                see(&mut self.fewer, [entries, count]);
            }
        }
        if now.count.is_some() {
            self.take_lone(now);
        }
        if let Some(entries) = now.count.or(now.entries) {
            self.before = Some((entries, now.max));
            self.before_ns = now.time_ns;
        }
    }

    /// Finds rows with far more entries than those around, which no table loses so soon, or with another
    /// limit than both.
    fn take_lone(&mut self, now: &Moment) {
        let (Some(entries), Some((before, limit))) = (now.count, self.before) else { return };
        let is_soon = now.time_ns.abs_diff(self.before_ns) <= LIFETIME_NS;
        if let Some((first, limit_of_first)) = self.lone.take() {
            let is_gone = before > first && is_soon && entries <= first + LEFT * (before - first);
            if is_gone || (limit != limit_of_first && now.max == limit_of_first) {
                see(&mut self.alone, (self.before_ns, [before, first]));
                return;
            }
        }
        let has_more = entries - before >= MANY && entries >= FACTOR * before && is_soon;
        let has_other_limit = limit.is_some() && now.max.is_some() && now.max != limit;
        if has_more || has_other_limit {
            self.lone = Some((before, limit));
        }
    }

    /// Whether the statistics are not those of the table.
    pub(super) fn has_other_statistics(&self) -> bool {
        self.fewer.0 >= ENOUGH && 2 * self.fewer.0 > self.compared
    }

    /// Whether the highest fill may be that of another table.
    pub(super) fn is_fill_doubtful(&self) -> bool {
        self.alone.0 > 0
    }

    /// A sentence for each of them.
    pub(super) fn unknown(&self) -> Unknowns {
        let mut sentences = Unknowns::default();
        let shown = |value: f64| number(value, 15);
        for ((times, [low, high]), what) in [(self.entries, "entries"), (self.limits, "limits")] {
            if times > 0 {
                sentences.push(format!(
                    "rows of the table have different {what} at {}, such as {} and {}: they are those \
                     of several tables, or their times are coarse; the fill is the highest that they allow",
                    count(times, "time"),
                    shown(low),
                    shown(high)
                ));
            }
        }
        let (_, [entries, table]) = self.fewer;
        if self.has_other_statistics() {
            sentences.doubt(format!(
                "the statistics have {} entries where the table has {}: they are not that table's, or of \
                 a kernel before 2.6.35, whose columns Telegraf's plugin does not know; nothing is known \
                 of its losses",
                shown(entries),
                shown(table)
            ));
        }
        let (above, [entries, max]) = self.above;
        if above > 0 {
            sentences.push(format!(
                "{} with more entries than the limit allows, such as {} of {}: left out",
                count(above, "row"),
                shown(entries),
                shown(max)
            ));
        }
        let (alone, (at_ns, [entries, around])) = self.alone;
        if alone > 0 {
            sentences.doubt(format!(
                "{} with entries or a limit that the rows on both sides do not have, such as {} entries at \
                 {} beside {}: it is of another table, or the table was flushed; the highest fill may be \
                 that of another table",
                count(alone, "row"),
                shown(entries),
                moment(at_ns),
                shown(around)
            ));
        }
        let (stayed, entries) = self.stayed;
        if stayed > 0 {
            sentences.doubt(format!(
                "counters began again {} while the table kept its entries ({}): either it filled again \
                 between two rows, or they are those of another machine (a failover) or of a restored \
                 snapshot, and their first values are no events",
                count(stayed, "time"),
                shown(entries)
            ));
        }
        sentences
    }
}

/// Counts one more, and keeps the numbers of the first one.
fn see<T>((times, first): &mut (u64, T), numbers: T) {
    if *times == 0 {
        *first = numbers;
    }
    *times += 1;
}
