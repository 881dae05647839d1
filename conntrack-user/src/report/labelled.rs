//! The numbers of measurements with labels, such as INVALID packets by reason.

use std::collections::HashMap;

use serde::Serialize;

use super::summary::SourceReport;
use super::track::{Fall, Reach, Track};
use crate::recording::{Catalog, RecordedSeries, Row, labelled};
use crate::schema::labelled::{LabelledMeasurement, READ_SHARE, UNEXPLAINED};
use crate::text::human::percent;

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
    /// The largest first; none of gauges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub totals: Vec<LabelledTotal>,
    /// The levels of gauges, the largest last value first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<LabelledLevel>,
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

/// A gauge with its labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelledLevel {
    /// The labels, with their names.
    pub labels: Vec<(String, String)>,
    /// The value of the last row.
    pub last: f64,
    /// The least of all rows.
    pub min: f64,
    /// The most of all rows.
    pub max: f64,
}

impl LabelledTotal {
    /// Returns the values of the labels in one text.
    pub(super) fn name(&self) -> String {
        name(&self.labels)
    }
}

impl LabelledLevel {
    /// Returns the values of the labels in one text.
    pub(super) fn name(&self) -> String {
        name(&self.labels)
    }
}

fn name(labels: &[(String, String)]) -> String {
    let values: Vec<&str> = labels.iter().map(|(_, value)| value.as_str()).collect();
    values.join(" ")
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
    /// The earliest and the latest time.
    first_ns: i64,
    last_ns: i64,
    /// The least part of the table that was read, where it was less than all.
    least_read: Option<f64>,
    /// Rows have rates, so that one without begins after an attachment.
    has_rates: bool,
    rows: u64,
}

#[derive(Debug)]
struct Series {
    owner: usize,
    labels: Vec<(String, String)>,
    track: Track,
    level: Option<Level>,
}

/// The values of a gauge.
#[derive(Debug, Clone, Copy)]
struct Level {
    first_ns: i64,
    last_ns: i64,
    last: f64,
    min: f64,
    max: f64,
}

impl Level {
    fn take(level: &mut Option<Self>, time_ns: i64, value: f64) {
        let new = Self { first_ns: time_ns, last_ns: time_ns, last: value, min: value, max: value };
        let level = level.get_or_insert(new);
        level.first_ns = level.first_ns.min(time_ns);
        level.min = level.min.min(value);
        level.max = level.max.max(value);
        if time_ns >= level.last_ns {
            (level.last_ns, level.last) = (time_ns, value);
        }
    }
}

impl Level {
    /// The same beside other rows of its source: it was 0 before its first row and behind its last one.
    fn within(self, owner: &Owner) -> Self {
        let (is_gone, is_new) = (self.last_ns < owner.last_ns, self.first_ns > owner.first_ns);
        Self {
            last: if is_gone { 0.0 } else { self.last },
            min: if is_gone || is_new { 0.0 } else { self.min },
            ..self
        }
    }
}

impl Series {
    /// The events, in rows of which the earliest is of this time. A reason that came later began with 0;
    /// the packets without one have no row where their number is not known.
    fn total(&self, first_ns: i64) -> f64 {
        let is_rest = self.labels.iter().any(|(_, value)| value == UNEXPLAINED);
        let is_later = self.track.span().is_some_and(|(from_ns, _)| from_ns > first_ns);
        let is_new = is_later && !is_rest;
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
                last_ns: row.time_ns,
                least_read: None,
                has_rates: false,
                rows: 0,
            });
            self.owners.len() - 1
        });
        self.series.push(Series { owner, labels, track: Track::default(), level: None });
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
        let Some(number) = of(owner.measurement.number.name).filter(|it| *it >= 0.0) else {
            return;
        };
        owner.first_ns = owner.first_ns.min(row.time_ns);
        owner.last_ns = owner.last_ns.max(row.time_ns);
        if owner.measurement.is_gauge() {
            if let Some(share) = of(READ_SHARE.name).filter(|share| *share < 1.0) {
                owner.least_read = Some(owner.least_read.map_or(share, |least| least.min(share)));
            }
            Level::take(&mut series.level, row.time_ns, number);
            return;
        }
        let has_rate = owner.measurement.rate.is_some_and(|rate| of(rate).is_some());
        owner.has_rates |= has_rate;
        // A row without a rate where others have one is the first one of an attachment.
        let fall = if owner.has_rates && !has_rate { Fall::BeganAgain } else { Fall::Resets };
        series.track.take(row.time_ns, number, Reach { near_ns: 0, far_ns: i64::MAX, fall });
    }

    /// Gives each source its totals. Returns the rows of sources that are not there.
    pub(super) fn finish(mut self, sources: &mut [SourceReport]) -> u64 {
        let mut left_out = 0;
        for (at, owner) in self.owners.iter().enumerate() {
            let series = self.series.iter_mut().filter(|series| series.owner == at);
            let report = if owner.measurement.is_gauge() {
                let levels = series.filter_map(|series| {
                    let Level { last, min, max, .. } = series.level?.within(owner);
                    let labels = std::mem::take(&mut series.labels);
                    Some(LabelledLevel { labels, last, min, max })
                });
                of_levels(owner.measurement, levels.collect())
            } else {
                let totals = series.map(|series| {
                    let total = series.total(owner.first_ns);
                    (std::mem::take(&mut series.labels), total)
                });
                of_totals(owner.measurement, totals.collect())
            };
            let is_its = |it: &&mut SourceReport| {
                (&it.name, &it.tags) == (&owner.source.name, &owner.source.tags)
            };
            match sources.iter_mut().find(is_its) {
                Some(source) => {
                    source.labelled.push(report);
                    source.unknown.extend(owner.least_read.map(|share| {
                        format!(
                            "{}: at times only {} of the table was read, so its numbers are too low",
                            owner.measurement.name,
                            percent(100.0 * share)
                        )
                    }));
                }
                None => left_out += owner.rows,
            }
        }
        left_out
    }
}

fn of_levels(measurement: &LabelledMeasurement, mut levels: Vec<LabelledLevel>) -> LabelledReport {
    levels.sort_by(|a, b| {
        let by_size = b.last.total_cmp(&a.last).then_with(|| b.max.total_cmp(&a.max));
        by_size.then_with(|| a.labels.cmp(&b.labels))
    });
    let LabelledMeasurement { name, title, .. } = *measurement;
    LabelledReport { measurement: name, title, totals: Vec::new(), levels }
}

fn of_totals(
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
    let LabelledMeasurement { name, title, .. } = *measurement;
    LabelledReport { measurement: name, title, totals, levels: Vec::new() }
}
