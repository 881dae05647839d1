//! A look at the table for the screen: the lines with most entries, and those that grow fastest.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::counted::Counted;
use super::interval::Z;
use super::key::KeyValue;
use super::tally::{Selection, Tally};
use crate::source::ebpf::census::{Pass, Sample};

/// Lines that the screen can be scrolled through.
pub const MOST_LINES: usize = 500;

/// What is counted, and on how much of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What is counted.
    pub selection: Selection,
    /// How much of the table is read.
    pub sample: Sample,
}

/// One pass over the table, kept to compare the next one with.
#[derive(Debug)]
pub struct Past {
    at: Instant,
    query: Query,
    tally: Tally,
    counted: Counted,
}

/// The net change of a number of entries: the entries that came less those that went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Entries a second.
    pub per_second: f64,
    /// The change is within so much of it, 95 times of 100; 0 where the whole table was read.
    pub doubt: f64,
}

/// A value of the keys.
#[derive(Debug, Clone, PartialEq)]
pub struct LookLine {
    /// The values, in the order of the keys.
    pub values: Box<[KeyValue]>,
    /// Entries that were read.
    pub entries: u64,
    /// Their change since the look before; `None` where it is not known.
    pub change: Option<Change>,
}

/// What the screen shows of one pass.
#[derive(Debug, Clone)]
pub struct Look {
    /// Nanoseconds since the epoch.
    pub time_ns: i64,
    /// The time that the pass took.
    pub took: Duration,
    /// What was asked for.
    pub query: Query,
    /// The entries together.
    pub counted: Counted,
    /// The change of all of them.
    pub change: Option<Change>,
    /// The time since the look with which this one is compared.
    pub since: Option<Duration>,
    /// The lines with most entries first.
    pub heaviest: Vec<LookLine>,
    /// The lines that grow fastest first; the heaviest where changes are not known.
    pub growing: Vec<LookLine>,
}

/// Two passes whose numbers can be subtracted.
struct Comparison<'a> {
    past: &'a Past,
    now: &'a Past,
    seconds: f64,
}

impl Past {
    /// A pass that began at `at`.
    #[must_use]
    pub fn new(at: Instant, query: Query, tally: Tally, pass: Pass) -> Self {
        let counted = Counted::new(&tally, pass);
        Self { at, query, tally, counted }
    }

    /// The same to compare a later pass with: the values have no use where some were given up.
    #[must_use]
    pub fn kept(self) -> Self {
        let tally = if self.counted.too_low_by > 0 { Tally::default() } else { self.tally };
        Self { tally, ..self }
    }

    /// What the screen shows of this pass, where `past` is the one before.
    #[must_use]
    pub fn look(&self, past: Option<&Self>, time_ns: i64, took: Duration) -> Look {
        let comparison = past.and_then(|past| Comparison::new(past, self));
        let line = |(values, entries): (&[KeyValue], u64)| LookLine {
            values: values.into(),
            entries,
            change: comparison.as_ref().and_then(|comparison| comparison.of_line(values, entries)),
        };
        let heaviest = self.tally.heaviest(MOST_LINES);
        let heaviest: Vec<LookLine> =
            heaviest.iter().map(|found| line((&found.values, found.entries))).collect();
        let growing = match &comparison {
            Some(comparison) => comparison.growing().into_iter().map(line).collect(),
            None => heaviest.clone(),
        };
        Look {
            time_ns,
            took,
            query: self.query.clone(),
            counted: self.counted,
            change: comparison.as_ref().map(Comparison::of_all),
            since: comparison.map(|comparison| Duration::from_secs_f64(comparison.seconds)),
            heaviest,
            growing,
        }
    }
}

impl<'a> Comparison<'a> {
    /// `None` where the numbers of the two are not of the same: another question, a sample and a whole
    /// table, samples of different sizes, or whole tables with entries that could not be read.
    fn new(past: &'a Past, now: &'a Past) -> Option<Self> {
        let is_same = past.query == now.query
            && past.counted.is_sample() == now.counted.is_sample()
            && [past, now].iter().all(|one| one.counted.is_comparable())
            && (!now.counted.is_sample() || past.counted.pass.buckets == now.counted.pass.buckets);
        let seconds = now.at.saturating_duration_since(past.at).as_secs_f64();
        (is_same && seconds > 0.0).then_some(Self { past, now, seconds })
    }

    fn of_all(&self) -> Change {
        let entries = |of: &Past| of.counted.composition.entries;
        self.change(entries(self.past), entries(self.now))
    }

    /// `None` where values were given up, and may have come again.
    fn of_line(&self, values: &[KeyValue], entries: u64) -> Option<Change> {
        let too_low_by = self.past.counted.too_low_by + self.now.counted.too_low_by;
        (too_low_by == 0).then(|| self.change(self.past.tally.entries_of(values), entries))
    }

    fn change(&self, then: u64, now: u64) -> Change {
        let estimate = |of: &Past, read: u64| read as f64 / of.counted.share_read();
        // One more than was read: the table may have an entry of which a sample has none.
        let variance = |of: &Past, read: u64| {
            let share = of.counted.share_read();
            (read + 1) as f64 * (1.0 - share).max(0.0) / (share * share)
        };
        let doubt = Z * (variance(self.past, then) + variance(self.now, now)).sqrt();
        // A few entries within an instant are no storm.
        let seconds = self.seconds.max(1.0);
        Change {
            per_second: (estimate(self.now, now) - estimate(self.past, then)) / seconds,
            doubt: doubt / seconds,
        }
    }

    /// The values that grow fastest, as far as it is certain.
    fn growing(&self) -> Vec<(&'a [KeyValue], u64)> {
        let lines = self.now.tally.lines().map(|(values, entries)| {
            let change = self.of_line(values, entries);
            (change.map_or(0.0, Change::certain), entries, values)
        });
        let mut lines: Vec<(f64, u64, &[KeyValue])> = lines.collect();
        lines.sort_unstable_by(|a, b| {
            b.0.total_cmp(&a.0).then_with(|| (Reverse(a.1), a.2).cmp(&(Reverse(b.1), b.2)))
        });
        lines.into_iter().take(MOST_LINES).map(|(_, entries, values)| (values, entries)).collect()
    }
}

impl Change {
    /// The least change, in its direction, that is certain; 0 where the direction is not.
    #[must_use]
    pub fn certain(self) -> f64 {
        let least = (self.per_second.abs() - self.doubt).max(0.0);
        // Not -0.0, which is ordered before 0.0.
        if least == 0.0 { 0.0 } else { least.copysign(self.per_second) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ebpf::census::Entry;
    use crate::top::key::Key;
    use crate::top::tests::entry;

    fn query(sample: Sample) -> Query {
        let keys = vec![Key::SOURCE];
        let selection = Selection { namespaces: Vec::new(), conditions: Vec::new(), keys };
        Query { selection, sample }
    }

    /// A pass with so many entries of 192.0.2.1, 192.0.2.2 and so on, `seconds` after `start`.
    fn past(start: Instant, seconds: u64, sample: Sample, read: u32, counts: &[u64]) -> Past {
        let query = query(sample);
        let mut tally = Tally::default();
        for (last, count) in (1..).zip(counts) {
            let mut entry: Entry = entry();
            entry.original.source = std::net::Ipv4Addr::new(192, 0, 2, last).into();
            (0..*count).for_each(|_| tally.add(&query.selection, &entry));
        }
        let pass = Pass { buckets: 1024, buckets_read: read, ..Pass::default() };
        Past::new(start + Duration::from_secs(seconds), query, tally, pass)
    }

    fn shown(lines: &[LookLine]) -> Vec<(String, u64, Option<f64>)> {
        let each = |line: &LookLine| {
            let change = line.change.map(|change| change.per_second);
            (line.values[0].to_string(), line.entries, change)
        };
        lines.iter().map(each).collect()
    }

    #[test]
    fn the_first_look_knows_no_change() {
        let now = past(Instant::now(), 0, Sample::Whole, 1024, &[3, 5]);
        let look = now.look(None, 0, Duration::ZERO);
        let expected = [("192.0.2.2".to_owned(), 5, None), ("192.0.2.1".to_owned(), 3, None)];
        assert_eq!(shown(&look.heaviest), expected);
        assert_eq!(shown(&look.growing), expected);
        assert_eq!((look.change, look.since), (None, None));
    }

    #[test]
    fn whole_tables_are_subtracted_exactly() {
        let start = Instant::now();
        let before = past(start, 0, Sample::Whole, 1024, &[50, 10, 0]);
        let now = past(start, 2, Sample::Whole, 1024, &[40, 10, 6]);
        let look = now.look(Some(&before), 0, Duration::ZERO);
        let line = |last: u8, entries, change| (format!("192.0.2.{last}"), entries, Some(change));
        assert_eq!(shown(&look.heaviest), [line(1, 40, -5.0), line(2, 10, 0.0), line(3, 6, 3.0)]);
        assert_eq!(shown(&look.growing), [line(3, 6, 3.0), line(2, 10, 0.0), line(1, 40, -5.0)]);
        assert_eq!(look.change, Some(Change { per_second: -2.0, doubt: 0.0 }));
        assert_eq!(look.since, Some(Duration::from_secs(2)));
    }

    #[test]
    fn the_change_of_a_sample_is_scaled_and_has_its_doubt() {
        let start = Instant::now();
        let before = past(start, 0, Sample::OneOf(16), 64, &[100, 5]);
        let now = past(start, 2, Sample::OneOf(16), 64, &[400, 6]);
        let look = now.look(Some(&before), 0, Duration::ZERO);
        let [grown, still] = &look.growing[..] else { panic!("{look:?}") };
        let change = grown.change.unwrap();
        assert_eq!(change.per_second, 300.0 * 16.0 / 2.0);
        // 1.96 standard deviations of 502 draws of which 15 of 16 are left to chance.
        assert!((change.doubt - 340.2).abs() < 0.1, "{change:?}");
        assert!((change.certain() - 2059.8).abs() < 0.1);
        let change = still.change.unwrap();
        assert!(change.doubt > change.per_second && change.certain() == 0.0, "{change:?}");
    }

    #[test]
    fn numbers_of_different_looks_are_not_subtracted() {
        let start = Instant::now();
        let whole = |seconds| past(start, seconds, Sample::Whole, 1024, &[50]);
        let sample = |seconds, buckets| Past {
            counted: Counted {
                pass: Pass { buckets, buckets_read: 64, ..Pass::default() },
                ..whole(0).counted
            },
            ..past(start, seconds, Sample::Buckets(64), 64, &[50])
        };
        let is_known = |past: &Past, now: &Past| {
            let look = now.look(Some(past), 0, Duration::ZERO);
            look.change.is_some() || look.heaviest[0].change.is_some()
        };
        assert!(is_known(&whole(0), &whole(1)) && is_known(&sample(0, 1024), &sample(1, 1024)));
        assert!(!is_known(&whole(0), &whole(0)), "at the same time");
        assert!(!is_known(&sample(0, 1024), &sample(1, 2048)), "another table");
        assert!(!is_known(&whole(0), &sample(1, 1024)), "a sample and the whole");
        let mut other = whole(1);
        other.query.selection.conditions.push("unreplied".parse().unwrap());
        assert!(!is_known(&whole(0), &other), "other conditions");
        let mut lossy = whole(1);
        lossy.counted.pass.buckets_lost = 1;
        assert!(!is_known(&whole(0), &lossy), "entries are missing");
    }

    #[test]
    fn a_value_that_was_given_up_has_no_change() {
        let start = Instant::now();
        let before = past(start, 0, Sample::Whole, 1024, &[50]);
        let mut now = past(start, 1, Sample::Whole, 1024, &[60]);
        now.counted.too_low_by = 1;
        let look = now.look(Some(&before), 0, Duration::ZERO);
        assert_eq!(look.heaviest[0].change, None);
        assert_eq!(look.change.map(|change| change.per_second), Some(10.0));
    }
}
