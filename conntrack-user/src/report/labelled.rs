//! The numbers of measurements with labels, such as INVALID packets by reason.

use std::collections::HashMap;

use serde::Serialize;

use super::summary::SourceReport;
use crate::recording::{Catalog, RecordedSeries, Row};
use crate::rows::MEASUREMENT;
use crate::schema::labelled::{LabelledMeasurement, find};

/// Series that are followed, in all sources together. A source of ctpulse has fewer than 100.
const MOST_SERIES: usize = 1 << 13;

/// The totals of one measurement with labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelledReport {
    /// The measurement, by the name that ctpulse gives it.
    pub measurement: &'static str,
    /// The heading.
    #[serde(skip)]
    pub title: &'static str,
    /// The largest first.
    pub totals: Vec<LabelledTotal>,
}

/// A total with its labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelledTotal {
    /// The labels, with their names.
    pub labels: Vec<(String, String)>,
    /// The events between the first and the last row.
    pub total: f64,
    /// The share of all, in percent.
    pub percent: f64,
}

impl LabelledTotal {
    /// Returns the values of the labels in one text.
    pub(super) fn name(&self) -> String {
        let values: Vec<&str> = self.labels.iter().map(|(_, value)| value.as_str()).collect();
        values.join(" ")
    }
}

/// Follows the rows of such measurements.
#[derive(Debug, Default)]
pub(super) struct Labelled {
    owners: Vec<Owner>,
    by_owner: HashMap<(&'static str, RecordedSeries), usize>,
    series: Vec<Series>,
}

/// One measurement of one source.
#[derive(Debug)]
struct Owner {
    measurement: &'static LabelledMeasurement,
    /// The series of the source's own rows, without `cpu`.
    source: RecordedSeries,
    first_ns: Option<i64>,
    /// Rows have rates, so that one without begins after an attachment.
    has_rates: bool,
    rows: u64,
}

#[derive(Debug)]
struct Series {
    owner: usize,
    labels: Vec<(String, String)>,
    last: Option<Point>,
    total: f64,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    time_ns: i64,
    number: f64,
    has_rate: bool,
}

impl Labelled {
    /// Returns a number for a series of such a measurement; `None` for another series, or where there
    /// are too many.
    pub(super) fn place(&mut self, catalog: &Catalog, row: Row<'_>) -> Option<usize> {
        let series = catalog.series(row.series);
        let has_field =
            |name: &str| row.values.iter().any(|(id, _)| catalog.fields()[id.0] == name);
        let measurement = find(|tag| series.tag(tag).is_some(), has_field)?;
        if !series.name.contains(MEASUREMENT) || self.series.len() >= MOST_SERIES {
            return None;
        }
        let is_label = |key: &str| measurement.labels.contains(&key);
        let (labels, tags) = series.tags.iter().cloned().partition(|(key, _)| is_label(key));
        // With `name_override` both have the same name.
        let name = series.name.replacen(measurement.name, MEASUREMENT, 1);
        let source = RecordedSeries { name, tags };
        let owner = *self.by_owner.entry((measurement.name, source.clone())).or_insert_with(|| {
            self.owners.push(Owner {
                measurement,
                source,
                first_ns: None,
                has_rates: false,
                rows: 0,
            });
            self.owners.len() - 1
        });
        self.series.push(Series { owner, labels, last: None, total: 0.0 });
        Some(self.series.len() - 1)
    }

    /// Takes a row of the series with this number.
    pub(super) fn take(&mut self, catalog: &Catalog, place: usize, row: Row<'_>) {
        let series = &mut self.series[place];
        let owner = &mut self.owners[series.owner];
        owner.rows += 1;
        let of = |name: &str| {
            let mut values = row.values.iter();
            values.find(|(id, _)| catalog.fields()[id.0] == name).map(|(_, value)| *value)
        };
        let Some(number) = of(owner.measurement.field).filter(|it| *it >= 0.0) else { return };
        let has_rate = owner.measurement.rate.is_some_and(|rate| of(rate).is_some());
        owner.has_rates |= has_rate;
        let first_ns = *owner.first_ns.get_or_insert(row.time_ns);
        let now = Point { time_ns: row.time_ns, number, has_rate };
        series.total += match series.last.replace(now) {
            Some(last) if last.time_ns > now.time_ns => growth(now, last, owner.has_rates),
            Some(last) => growth(last, now, owner.has_rates),
            // A reason that was met for the first time.
            None if now.time_ns > first_ns => number,
            None => 0.0,
        };
    }

    /// Gives each source its totals. Returns the rows of sources that are not there.
    pub(super) fn finish(mut self, sources: &mut [SourceReport]) -> u64 {
        let mut left_out = 0;
        for (at, owner) in self.owners.iter().enumerate() {
            let series = self.series.iter_mut().filter(|series| series.owner == at);
            let totals = series.map(|series| (std::mem::take(&mut series.labels), series.total));
            let report = report(owner.measurement, totals.collect());
            let is_its = |it: &&mut SourceReport| {
                (&it.name, &it.tags) == (&owner.source.name, &owner.source.tags)
            };
            match sources.iter_mut().find(is_its) {
                Some(source) => source.labelled.push(report),
                None => left_out += owner.rows,
            }
        }
        left_out
    }
}

/// Returns the events between two rows. A lower number began again, as did one without a rate where
/// others have one.
fn growth(from: Point, to: Point, has_rates: bool) -> f64 {
    if to.number < from.number || has_rates && !to.has_rate {
        return to.number;
    }
    to.number - from.number
}

fn report(
    measurement: &LabelledMeasurement,
    totals: Vec<(Vec<(String, String)>, f64)>,
) -> LabelledReport {
    let all: f64 = totals.iter().map(|(_, total)| total).sum();
    let of = |(labels, total): (Vec<_>, f64)| LabelledTotal {
        labels,
        total,
        percent: if all > 0.0 { total / all * 100.0 } else { 0.0 },
    };
    let mut totals: Vec<LabelledTotal> = totals.into_iter().map(of).collect();
    totals.sort_by(|a, b| b.total.total_cmp(&a.total).then_with(|| a.labels.cmp(&b.labels)));
    LabelledReport { measurement: measurement.name, title: measurement.title, totals }
}
