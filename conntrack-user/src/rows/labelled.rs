//! Rows of a measurement with labels, without the tags of the input.

use std::collections::HashMap;
use std::time::Duration;

use crate::metric::{Metric, Name, Value};
use crate::schema::labelled::{LABELS, LabelledMeasurement, LabelledNumber, find};

/// The measurement with labels that a row is of.
#[must_use]
pub fn labelled_measurement(row: &Metric) -> Option<&'static LabelledMeasurement> {
    find(|tag| row.tag(tag).is_some(), |field| row.field(field).is_some())
}

/// Makes the rows of one measurement, and the rates of counters.
#[derive(Debug)]
pub(super) struct LabelledRows {
    name: &'static str,
    labels: [Name; LABELS],
    field: Name,
    rate: Option<Name>,
    /// The numbers of the last rows, as far as they were known; none before the first rows.
    previous: Option<HashMap<[Name; LABELS], Option<u64>>>,
}

impl LabelledRows {
    pub(super) fn new(measurement: &LabelledMeasurement) -> Self {
        Self {
            name: measurement.name,
            labels: measurement.labels.map(Name::from),
            field: measurement.number.name.into(),
            rate: measurement.rate.map(Name::from),
            previous: None,
        }
    }

    /// Forgets the last rows: counters begin again, and the next rows have no rates.
    pub(super) fn begin_again(&mut self) {
        self.previous = None;
    }

    /// Returns a row for each number; `elapsed` is the time since the last rows.
    pub(super) fn rows(
        &mut self,
        numbers: &[LabelledNumber],
        elapsed: Option<Duration>,
        timestamp_ns: i64,
    ) -> Vec<Metric> {
        let previous = self.previous.take();
        let rows = numbers.iter().map(|LabelledNumber { labels, number }| {
            let grown = previous.as_ref().zip(*number).and_then(|(previous, number)| {
                // A label that is new was counted from 0.
                number.checked_sub(previous.get(labels).copied().unwrap_or(Some(0))?)
            });
            let rate = grown.zip(elapsed).map(|(grown, time)| grown as f64 / time.as_secs_f64());
            self.row(labels, *number, rate, timestamp_ns)
        });
        let rows = rows.collect();
        let last = numbers.iter().map(|it| (it.labels.clone(), it.number));
        self.previous = Some(last.collect());
        rows
    }

    fn row(
        &self,
        labels: &[Name; LABELS],
        number: Option<u64>,
        rate: Option<f64>,
        timestamp_ns: i64,
    ) -> Metric {
        let number = number.map_or(Value::Unknown, Value::Integer);
        let mut fields = vec![(self.field.clone(), number)];
        if let Some(name) = &self.rate {
            fields.push((name.clone(), rate.map_or(Value::Unknown, Value::Float)));
        }
        let mut row = Metric { name: self.name.to_owned(), tags: Vec::new(), fields, timestamp_ns };
        for (key, value) in self.labels.iter().zip(labels) {
            row.add_tag(key, value);
        }
        row
    }
}
