//! The numbers of measurements with labels, such as INVALID packets by reason.

use std::collections::HashMap;

use serde::Serialize;

use super::summary::SourceReport;
use super::track::{Fall, Reach, Track};
use crate::recording::{Catalog, RecordedSeries, Row, labelled};
use crate::schema::labelled::LabelledMeasurement;

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
    /// The earliest time.
    first_ns: i64,
    /// Rows have rates, so that one without begins after an attachment.
    has_rates: bool,
    rows: u64,
}

#[derive(Debug)]
struct Series {
    owner: usize,
    labels: Vec<(String, String)>,
    track: Track,
}

impl Series {
    /// The events, in rows of which the earliest is of this time. A reason that came later began with 0.
    fn total(&self, first_ns: i64) -> f64 {
        let is_new = self.track.span().is_some_and(|(from_ns, _)| from_ns > first_ns);
        self.track.total() + if is_new { self.track.first() } else { 0.0 }
    }
}

impl Labelled {
    /// Returns a number for a series of such a measurement; `None` for another series, or where there
    /// are too many.
    pub(super) fn place(&mut self, catalog: &Catalog, row: Row<'_>) -> Option<usize> {
        let (measurement, source, labels) = labelled::source_of(catalog, row)?;
        if self.series.len() >= MOST_SERIES {
            return None;
        }
        let owner = *self.by_owner.entry((measurement.name, source.clone())).or_insert_with(|| {
            self.owners.push(Owner {
                measurement,
                source,
                first_ns: row.time_ns,
                has_rates: false,
                rows: 0,
            });
            self.owners.len() - 1
        });
        self.series.push(Series { owner, labels, track: Track::default() });
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
        let Some(number) = of(owner.measurement.number.name).filter(|it| *it >= 0.0) else { return };
        let has_rate = owner.measurement.rate.is_some_and(|rate| of(rate).is_some());
        owner.has_rates |= has_rate;
        owner.first_ns = owner.first_ns.min(row.time_ns);
        // A row without a rate where others have one is the first one of an attachment.
        let fall = if owner.has_rates && !has_rate { Fall::BeganAgain } else { Fall::Resets };
        series.track.take(row.time_ns, number, Reach { near_ns: 0, far_ns: i64::MAX, fall });
    }

    /// Gives each source its totals. Returns the rows of sources that are not there.
    pub(super) fn finish(mut self, sources: &mut [SourceReport]) -> u64 {
        let mut left_out = 0;
        for (at, owner) in self.owners.iter().enumerate() {
            let series = self.series.iter_mut().filter(|series| series.owner == at);
            let totals = series.map(|series| {
                let total = series.total(owner.first_ns);
                (std::mem::take(&mut series.labels), total)
            });
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
