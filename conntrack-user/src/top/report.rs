//! A pass over the table as a table for people, and as JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::counted::{Counted, Estimate, NUMBER};
use super::key::{Key, KeyValue, name_of};
use super::tally::Line;
use crate::composition::Composition;
use crate::text::human;

/// What one pass found.
#[derive(Debug)]
pub struct TopReport<'a> {
    /// Nanoseconds since the epoch.
    pub time_ns: i64,
    /// What the entries were added up by.
    pub keys: &'a [Key],
    /// The lines to show, with most entries first.
    pub lines: &'a [Line],
    /// The names of namespaces, by their inode numbers.
    pub names: &'a [(u32, String)],
    /// The entries together, and how they were read.
    pub counted: Counted,
}

impl TopReport<'_> {
    /// The text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.counted.heading() + "\n";
        if self.counted.composition.entries > 0 {
            text.push_str(&self.counted.composition());
            text.push_str("\n\n");
            text.push_str(&self.table());
        }
        for doubt in self.counted.doubts() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "warning: {doubt}");
        }
        text
    }

    fn table(&self) -> String {
        let is_sample = self.counted.is_sample();
        let mut headings = vec![String::from("entries"), "share".to_owned()];
        if is_sample {
            headings.push("95% interval".to_owned());
        }
        headings.extend(self.keys.iter().map(Key::to_string));
        let mut rows = vec![headings];
        rows.extend(self.lines.iter().map(|line| {
            let mut row = self.numbers(line.entries);
            row.extend(line.values.iter().map(|value| name_of(*value, self.names)));
            row
        }));
        let total = self.counted.composition.entries;
        let shown: u64 = self.lines.iter().map(|line| line.entries).sum();
        if shown < total {
            let mut row = self.numbers(total - shown);
            row.push(self.counted.others(self.lines.len()));
            rows.push(row);
        }
        aligned(&rows, if is_sample { 3 } else { 2 })
    }

    /// The columns of numbers of a line.
    fn numbers(&self, entries: u64) -> Vec<String> {
        let percent = |share: f64| human::percent(share * 100.0);
        let (share, (low, high)) = self.counted.share(entries);
        let estimate = self.counted.estimate(entries).entries;
        let mut columns = vec![human::number(estimate as f64, NUMBER), percent(share)];
        if self.counted.is_sample() {
            columns.push(format!("{} to {}", percent(low), percent(high)));
        }
        columns
    }

    /// The same as a JSON object on one line, without its end.
    #[must_use]
    pub fn json(&self) -> String {
        let Counted { composition, pass, different, too_low_by } = self.counted;
        let Composition { entries, unreplied, assured, offloaded, expired } = composition;
        let lines: Vec<Value> = self.lines.iter().map(|line| self.json_line(line)).collect();
        let mut object = json!({
            "timestamp": self.time_ns,
            "buckets": pass.buckets,
            "buckets_read": pass.buckets_read,
            "buckets_lost": pass.buckets_lost,
            "unreadable": pass.unreadable,
            "entries_read": entries,
            "unreplied_read": unreplied,
            "assured_read": assured,
            "offloaded_read": offloaded,
            "expired_read": expired,
            "by": self.keys.iter().map(Key::to_string).collect::<Vec<_>>(),
            "different": different,
            "too_low_by": self.counted.estimate(too_low_by).entries,
            "lines": lines,
        });
        extend(&mut object, estimate(self.counted.estimate(entries)));
        object.to_string()
    }

    fn json_line(&self, line: &Line) -> Value {
        let values = self.keys.iter().zip(&line.values).map(|(key, value)| {
            let json = match *value {
                KeyValue::None => Value::Null,
                KeyValue::Number(number) => number.into(),
                value => name_of(value, self.names).into(),
            };
            (key.to_string(), json)
        });
        let (share, (low, high)) = self.counted.share(line.entries);
        let mut object = Value::Object(values.collect::<Map<_, _>>());
        extend(&mut object, estimate(self.counted.estimate(line.entries)));
        extend(&mut object, json!({"share": share, "share_low": low, "share_high": high}));
        object
    }
}

/// The members of an estimate.
fn estimate(estimate: Estimate) -> Value {
    match estimate.interval {
        Some((low, high)) => {
            json!({"entries": estimate.entries, "entries_low": low, "entries_high": high})
        }
        None => json!({"entries": estimate.entries}),
    }
}

/// Adds the members of another object.
fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

/// Columns as wide as their widest cell; the first `numbers` of them end at the right.
fn aligned(rows: &[Vec<String>], numbers: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            // Writing to a string cannot fail.
            let _ = match column < numbers {
                true => write!(line, "{gap}{cell:>width$}"),
                false => write!(line, "{gap}{cell:width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ebpf::census::Pass;
    use crate::top::tally::{Selection, Tally};
    use crate::top::tests::{entry, nat};

    fn tally(keys: &[Key]) -> Tally {
        let selection =
            Selection { namespaces: Vec::new(), conditions: Vec::new(), keys: keys.to_vec() };
        let mut tally = Tally::default();
        (0..60).for_each(|_| tally.add(&selection, &entry()));
        (0..30).for_each(|_| tally.add(&selection, &nat()));
        let mut other = entry();
        other.original.source = "192.0.2.8".parse().unwrap();
        other.status = 0;
        (0..10).for_each(|_| tally.add(&selection, &other));
        tally
    }

    fn pass(buckets_read: u32) -> Pass {
        Pass { buckets: 1024, buckets_read, entries: 100, ..Pass::default() }
    }

    #[test]
    fn the_whole_table_has_exact_numbers() {
        let keys = [Key::Source(32), Key::Nat];
        let tally = tally(&keys);
        let namespaces = [(5, "router1".to_owned())];
        let report = TopReport {
            time_ns: 9,
            keys: &keys,
            lines: &tally.heaviest(2),
            names: &namespaces,
            counted: Counted::new(&tally, pass(1024)),
        };
        assert_eq!(
            report.text(),
            "100 entries\n\
             10.0% unreplied, 90.0% assured, 0.0% offloaded, 0.0% expired and not collected yet\n\
             \n\
             entries  share  source     nat\n\
             \x20    60  60.0%  192.0.2.7  -\n\
             \x20    30  30.0%  192.0.2.7  203.0.113.1\n\
             \x20    10  10.0%  (1 other)\n"
        );
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["entries"], 100);
        assert_eq!(json["entries_low"], Value::Null);
        assert_eq!(json["lines"][1]["nat"], "203.0.113.1");
        assert_eq!(json["lines"][0]["nat"], Value::Null);
        assert_eq!(json["lines"][0]["share_low"], 0.6);
    }

    #[test]
    fn a_sample_has_estimates_and_intervals() {
        let keys = [Key::Namespace];
        let tally = tally(&keys);
        let namespaces = [(5, "router1".to_owned())];
        let report = TopReport {
            time_ns: 9,
            keys: &keys,
            lines: &tally.heaviest(10),
            names: &namespaces,
            counted: Counted::new(&tally, Pass { buckets_lost: 2, unreadable: 3, ..pass(64) }),
        };
        let text = report.text();
        assert!(
            text.starts_with(
                "about 1,600 entries (1,296 to 1,904), from 100 entries in 64 of the table's 1,024 \
                 buckets\n"
            ),
            "{text}"
        );
        assert!(text.contains("\n  1,600   100%  96.5% to 100%  router1\n"), "{text}");
        assert!(text.contains("\nwarning: 2 buckets are missing"), "{text}");
        assert!(text.contains("\nwarning: 3 entries could not be read"), "{text}");
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&json["entries"], &json["entries_low"]), (&1600.into(), &1296.into()));
        assert_eq!(json["lines"][0]["namespace"], "router1");
    }

    /// Nothing is estimated from the other buckets.
    #[test]
    fn a_whole_table_with_unreadable_buckets_has_at_least_its_entries() {
        let keys = [Key::Port];
        let tally = tally(&keys);
        let report = TopReport {
            time_ns: 9,
            keys: &keys,
            lines: &tally.heaviest(10),
            names: &[],
            counted: Counted::new(&tally, Pass { buckets_lost: 24, ..pass(1000) }),
        };
        let text = report.text();
        assert!(text.starts_with("at least 100 entries\n"), "{text}");
        assert!(text.contains("\n    100   100%  443\nwarning: 24 buckets are missing"), "{text}");
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&json["entries"], &json["entries_low"]), (&100.into(), &Value::Null));
    }

    #[test]
    fn no_entry_is_no_table() {
        let report = TopReport {
            time_ns: 0,
            keys: &[Key::Port],
            lines: &[],
            names: &[],
            counted: Counted::new(&Tally::default(), pass(1024)),
        };
        assert_eq!(report.text(), "0 entries\n");
    }
}
