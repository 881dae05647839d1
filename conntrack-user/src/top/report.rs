//! A pass over the table as a table for people, and as JSON.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::interval::{of_number, of_share};
use super::key::{Key, KeyValue};
use super::tally::{Composition, Line, Tally};
use crate::source::ebpf::census::Pass;
use crate::text::human;

/// The number of columns that a number of entries takes.
const NUMBER: usize = 11;

/// What one pass found.
#[derive(Debug)]
pub struct TopReport<'a> {
    /// Nanoseconds since the epoch.
    pub time_ns: i64,
    /// What the entries were added up by.
    pub keys: &'a [Key],
    /// How many lines to show.
    pub lines: usize,
    /// The namespaces that were asked for, by inode number and name.
    pub namespaces: &'a [(u32, String)],
    /// The entries.
    pub tally: &'a Tally,
    /// How they were read.
    pub pass: Pass,
}

/// Numbers of a report that its readers must not have to work out.
#[derive(Debug, Serialize)]
struct Estimate {
    entries: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries_low: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries_high: Option<u64>,
}

impl TopReport<'_> {
    /// Whether a part of the table was asked for only. Buckets that could not be read are no sample: those
    /// with long chains have the most entries.
    fn is_sample(&self) -> bool {
        u64::from(self.pass.buckets_read) + self.pass.buckets_lost < self.pass.buckets.into()
    }

    /// The number of entries in the whole table, of `counted` ones.
    fn estimate(&self, counted: u64) -> Estimate {
        let share = self.pass.share();
        if !self.is_sample() || share == 0.0 {
            return Estimate { entries: counted, entries_low: None, entries_high: None };
        }
        let (estimate, low, high) = of_number(counted, share);
        let round = |number: f64| number.round() as u64;
        Estimate {
            entries: round(estimate),
            entries_low: Some(round(low)),
            entries_high: Some(round(high)),
        }
    }

    fn value(&self, value: KeyValue) -> String {
        let name = |inode| {
            self.namespaces.iter().find(|(known, _)| *known == inode).map(|(_, name)| name.clone())
        };
        match value {
            KeyValue::Namespace(inode) => name(inode).unwrap_or_else(|| value.to_string()),
            _ => value.to_string(),
        }
    }

    /// The text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.heading();
        let total = self.tally.composition().entries;
        if total > 0 {
            text.push_str(&self.composition());
            text.push('\n');
            text.push_str(&self.table(total));
        }
        for doubt in self.doubts() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "warning: {doubt}");
        }
        text
    }

    fn heading(&self) -> String {
        let entries = self.tally.composition().entries;
        let estimate = self.estimate(entries);
        let number = |number: u64| human::number(number as f64, NUMBER);
        match (estimate.entries_low, estimate.entries_high) {
            (Some(low), Some(high)) => format!(
                "about {} entries ({} to {}), from {} entries in {} of the table's {} buckets\n",
                number(estimate.entries),
                number(low),
                number(high),
                number(entries),
                number(self.pass.buckets_read.into()),
                number(self.pass.buckets.into()),
            ),
            _ if self.pass.buckets_lost + self.pass.unreadable > 0 => {
                format!("at least {} entries\n", number(entries))
            }
            _ => format!("{} entries\n", number(entries)),
        }
    }

    fn composition(&self) -> String {
        let Composition { entries, unreplied, assured, offloaded, expired } =
            self.tally.composition();
        let share = |part: u64| human::percent(part as f64 / entries.max(1) as f64 * 100.0);
        format!(
            "{} unreplied, {} assured, {} offloaded, {} expired and not collected yet\n",
            share(unreplied),
            share(assured),
            share(offloaded),
            share(expired)
        )
    }

    fn table(&self, total: u64) -> String {
        let lines = self.tally.heaviest(self.lines);
        let is_sample = self.is_sample();
        let mut headings = vec![String::from("entries"), "share".to_owned()];
        if is_sample {
            headings.push("95% interval".to_owned());
        }
        headings.extend(self.keys.iter().map(Key::to_string));
        let mut rows = vec![headings];
        rows.extend(lines.iter().map(|line| {
            let mut row = self.numbers(line.entries, total);
            row.extend(line.values.iter().map(|value| self.value(*value)));
            row
        }));
        let shown: u64 = lines.iter().map(|line| line.entries).sum();
        if shown < total {
            let mut row = self.numbers(total - shown, total);
            row.push(match self.tally.different().saturating_sub(lines.len()) {
                0 => "(others)".to_owned(),
                1 => "(1 other)".to_owned(),
                others => format!("({} others)", human::number(others as f64, NUMBER)),
            });
            rows.push(row);
        }
        aligned(&rows, if is_sample { 3 } else { 2 })
    }

    /// The columns of numbers of a line.
    fn numbers(&self, entries: u64, total: u64) -> Vec<String> {
        let percent = |share: f64| human::percent(share * 100.0);
        let estimate = self.estimate(entries).entries;
        let mut columns = vec![
            human::number(estimate as f64, NUMBER),
            percent(entries as f64 / total.max(1) as f64),
        ];
        if self.is_sample() {
            let (low, high) = of_share(entries, total, self.pass.share());
            columns.push(format!("{} to {}", percent(low), percent(high)));
        }
        columns
    }

    /// What the numbers do not contain, and why.
    fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let Pass { buckets_lost, unreadable, .. } = self.pass;
        if buckets_lost > 0 {
            doubts.push(format!(
                "{buckets_lost} buckets are missing: their entries moved while they were read, or \
                 their chain has more than 256 nodes (see nf_conntrack_buckets)"
            ));
        }
        if unreadable > 0 {
            doubts.push(format!("{unreadable} entries could not be read and are missing"));
        }
        if self.tally.too_low_by() > 0 {
            doubts.push(format!(
                "there are too many different values to keep apart: each number may be too low by {}",
                self.estimate(self.tally.too_low_by()).entries
            ));
        }
        doubts
    }

    /// The same as a JSON object on one line, without its end.
    #[must_use]
    pub fn json(&self) -> String {
        let Composition { entries, unreplied, assured, offloaded, expired } =
            self.tally.composition();
        let lines: Vec<Value> = self
            .tally
            .heaviest(self.lines)
            .iter()
            .map(|line| self.json_line(line, entries))
            .collect();
        let mut object = json!({
            "timestamp": self.time_ns,
            "buckets": self.pass.buckets,
            "buckets_read": self.pass.buckets_read,
            "buckets_lost": self.pass.buckets_lost,
            "unreadable": self.pass.unreadable,
            "entries_read": entries,
            "unreplied_read": unreplied,
            "assured_read": assured,
            "offloaded_read": offloaded,
            "expired_read": expired,
            "by": self.keys.iter().map(Key::to_string).collect::<Vec<_>>(),
            "different": self.tally.different(),
            "too_low_by": self.estimate(self.tally.too_low_by()).entries,
            "lines": lines,
        });
        extend(&mut object, self.estimate(entries));
        object.to_string()
    }

    fn json_line(&self, line: &Line, total: u64) -> Value {
        let values = self.keys.iter().zip(&line.values).map(|(key, value)| {
            let json = match *value {
                KeyValue::None => Value::Null,
                KeyValue::Number(number) => number.into(),
                value => self.value(value).into(),
            };
            (key.to_string(), json)
        });
        let sampled = if self.is_sample() { self.pass.share() } else { 1.0 };
        let (low, high) = of_share(line.entries, total, sampled);
        let mut object = Value::Object(values.collect::<Map<_, _>>());
        let share = line.entries as f64 / total.max(1) as f64;
        extend(&mut object, self.estimate(line.entries));
        extend(&mut object, json!({"share": share, "share_low": low, "share_high": high}));
        object
    }
}

/// Adds the members of another object.
fn extend(object: &mut Value, more: impl Serialize) {
    if let (Value::Object(object), Ok(Value::Object(more))) = (object, serde_json::to_value(more)) {
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
    use crate::top::tally::Selection;
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
        let namespaces = [(5, "router1".to_owned())];
        let report = TopReport {
            time_ns: 9,
            keys: &keys,
            lines: 2,
            namespaces: &namespaces,
            tally: &tally(&keys),
            pass: pass(1024),
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
        let namespaces = [(5, "router1".to_owned())];
        let report = TopReport {
            time_ns: 9,
            keys: &keys,
            lines: 10,
            namespaces: &namespaces,
            tally: &tally(&keys),
            pass: Pass { buckets_lost: 2, unreadable: 3, ..pass(64) },
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
        let report = TopReport {
            time_ns: 9,
            keys: &keys,
            lines: 10,
            namespaces: &[],
            tally: &tally(&keys),
            pass: Pass { buckets_lost: 24, ..pass(1000) },
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
            lines: 10,
            namespaces: &[],
            tally: &Tally::default(),
            pass: pass(1024),
        };
        assert_eq!(report.text(), "0 entries\n");
    }
}
