//! The rows of one gather, each series once: a recording may have its fields on several lines, and
//! each line twice.

use std::collections::HashMap;

use super::series::SERIES;
use crate::metric::{Metric, Name, Value};

/// Series of one gather: those of all CPUs that a kernel can have, twice.
const MOST_ROWS: usize = 1 << 14;
/// Fields of one gather.
const MOST_FIELDS: usize = 1 << 18;

/// A row whose series has several values of a counter at its time; the row has the largest.
#[derive(Debug, Clone, PartialEq)]
pub struct Repeated {
    /// Index of the row.
    pub row: usize,
    /// A value is lower than one in a line before it.
    pub falls: bool,
    /// The smallest values, by the index of the counter in [`SERIES`].
    pub least: Vec<(usize, f64)>,
}

/// A measurement and tags.
type Series = (String, Vec<(Name, String)>);

/// Rows that were read together.
#[derive(Default)]
pub(super) struct Gather {
    rows: Vec<Metric>,
    by_series: HashMap<Series, usize>,
    fields: usize,
    repeated: Vec<Repeated>,
    /// Measurement and tags but for the CPU, of the first row, and whether others differ.
    source: Option<Series>,
    is_mixed: bool,
    /// Rows and fields for which there was no room.
    pub(super) left_out: u64,
    /// The time of the first row; rows of the same time need no other reason to be together.
    time_ns: i64,
}

impl Gather {
    /// Begins with a row.
    pub(super) fn of(first: Metric) -> Self {
        let mut gather = Self { time_ns: first.timestamp_ns, ..Self::default() };
        gather.take(first);
        gather
    }

    /// Whether a row was read together with these: it has their time, or it is near and the first of
    /// its series, of the same measurement and tags but for the CPU.
    pub(super) fn has_place_for(&self, row: &Metric, near_ns: i64) -> bool {
        if row.timestamp_ns == self.time_ns {
            return true;
        }
        let is_near = row.timestamp_ns.abs_diff(self.time_ns) <= near_ns.unsigned_abs();
        let of_same_time = |at: &usize| self.rows[*at].timestamp_ns == row.timestamp_ns;
        is_near
            && !self.is_mixed
            && self.source.as_ref() == Some(&source(row))
            && self.by_series.get(&series(row)).is_none_or(of_same_time)
    }

    /// Takes a row: it becomes one with that of its series.
    pub(super) fn take(&mut self, row: Metric) {
        if self.fields + row.fields.len() > MOST_FIELDS {
            self.left_out += 1;
            return;
        }
        let series = series(&row);
        if let Some(at) = self.by_series.get(&series) {
            let known = &mut self.rows[*at].fields;
            let before = known.len();
            let new = || Repeated { row: *at, falls: false, least: Vec::new() };
            for (counter, of_line, falls) in merge(known, row.fields) {
                let found = self.repeated.iter().position(|repeated| repeated.row == *at);
                let found = found.unwrap_or_else(|| {
                    self.repeated.push(new());
                    self.repeated.len() - 1
                });
                self.repeated[found].take(counter, of_line, falls);
            }
            self.fields += known.len() - before;
        } else if self.rows.len() >= MOST_ROWS {
            self.left_out += 1;
        } else {
            self.fields += row.fields.len();
            let source = source(&row);
            self.is_mixed |= *self.source.get_or_insert_with(|| source.clone()) != source;
            self.by_series.insert(series, self.rows.len());
            self.rows.push(row);
        }
    }

    /// Returns the rows, and which of them have several values of a counter.
    pub(super) fn into_rows(self) -> (Vec<Metric>, Vec<Repeated>) {
        (self.rows, self.repeated)
    }
}

fn series(row: &Metric) -> Series {
    (row.name.clone(), row.tags.clone())
}

fn source(row: &Metric) -> Series {
    let tags = row.tags.iter().filter(|(key, _)| **key != *"cpu");
    (row.name.clone(), tags.cloned().collect())
}

impl Repeated {
    /// Takes the smaller of two values of a counter, and whether that came later.
    fn take(&mut self, counter: usize, least: f64, falls: bool) {
        self.falls |= falls;
        match self.least.iter_mut().find(|(known, _)| *known == counter) {
            Some((_, known)) => *known = known.min(least),
            None => self.least.push((counter, least)),
        }
    }
}

/// Adds fields to others, in the order of their names. Of two values of one counter at one moment
/// the larger is the later one. Returns the counters of which there are two: the smaller value, and
/// whether it came later.
fn merge(known: &mut Vec<(Name, Value)>, more: Vec<(Name, Value)>) -> Vec<(usize, f64, bool)> {
    let mut repeated = Vec::new();
    for (name, value) in more {
        let at = match known.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(at) => at,
            Err(at) => {
                known.insert(at, (name, value));
                continue;
            }
        };
        let (Value::Float(old), Value::Float(new)) = (known[at].1, value) else { continue };
        // A value below 0 stands for none.
        let counter = SERIES.iter().position(|series| *series.field.name == *name);
        if let Some(counter) = counter.filter(|_| new != old && new.min(old) >= 0.0) {
            repeated.push((counter, new.min(old), new < old));
        }
        if new > old {
            known[at].1 = value;
        }
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::series::DROP;

    fn row(ns: i64, cpu: &str, fields: &[(&str, f64)]) -> Metric {
        let field = |(name, value): &(&str, f64)| (Name::from(*name), Value::Float(*value));
        let fields = fields.iter().map(field).collect();
        let mut row =
            Metric { name: "conntrack".into(), tags: Vec::new(), fields, timestamp_ns: ns };
        row.add_tag(&"cpu".into(), cpu);
        row
    }

    #[test]
    fn lines_of_one_series_become_one_row() {
        let mut gather = Gather::of(row(5, "all", &[("drop", 1.0)]));
        gather.take(row(5, "cpu0", &[("drop", 1.0)]));
        gather.take(row(5, "all", &[("found", 2.0)]));
        gather.take(row(5, "all", &[("drop", 1.0)]));
        gather.take(row(5, "all", &[("drop", 3.0), ("early_drop", 0.0)]));
        let expected = [
            row(5, "all", &[("drop", 3.0), ("early_drop", 0.0), ("found", 2.0)]),
            row(5, "cpu0", &[("drop", 1.0)]),
        ];
        let repeated = Repeated { row: 0, falls: false, least: vec![(DROP, 1.0)] };
        assert_eq!(gather.into_rows(), (expected.to_vec(), vec![repeated]));
    }

    #[test]
    fn rows_close_in_time_are_merged_once() {
        let gather = Gather::of(row(5, "all", &[("drop", 1.0)]));
        let named = |name: &str| Metric { name: name.into(), ..row(6, "cpu0", &[]) };
        assert!(gather.has_place_for(&row(5, "all", &[]), 0));
        assert!(gather.has_place_for(&named("conntrack"), 1));
        assert!(!gather.has_place_for(&named("conntrack"), 0));
        assert!(!gather.has_place_for(&named("other"), 1));
        assert!(!gather.has_place_for(&row(6, "all", &[]), 1));
    }

    #[test]
    fn memory_is_bounded() {
        let mut gather = Gather::of(row(5, "all", &[("drop", 1.0)]));
        for cpu in 0..2 * MOST_ROWS {
            gather.take(row(5, &format!("cpu{cpu}"), &[("drop", 1.0)]));
        }
        assert_eq!(gather.left_out, MOST_ROWS as u64 + 1);
        assert_eq!(gather.into_rows().0.len(), MOST_ROWS);
    }
}
