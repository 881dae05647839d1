//! The name and the kind of a field in Prometheus, by its conventions.
//!
//! Counters end in `_total`, units are base units, no gauge ends in `_count`, and dimensions are
//! labels. The names stand in the catalog; a field whose own name follows the rules keeps it.

use super::Number;
use crate::rows::self_metrics;
use crate::schema::field::{FieldKind, ProgramField};
use crate::schema::fields::{self, PROGRAM_FIELDS, PROGRAM_RUN_TIME};
use crate::schema::labelled::LabelledMeasurement;
use crate::schema::measure::Measure;

/// Counter or gauge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }

    /// The suffix of a sample's name behind the family's.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Gauge => "",
        }
    }
}

/// A field as a sample.
#[derive(Debug, PartialEq)]
pub(super) struct Sample<'a> {
    pub kind: Kind,
    /// The name behind that of the measurement, without `_total`.
    pub name: &'a str,
    /// The label `program`, where the number is one program's.
    pub program: Option<&'a str>,
    pub number: Number,
}

/// The sample that a field of `measurement` becomes; `labelled` is the measurement of a row with labels,
/// whatever its name.
pub(super) fn sample<'a>(
    measurement: &str,
    labelled: Option<&'static LabelledMeasurement>,
    field: &'a str,
    number: Number,
) -> Sample<'a> {
    let gauge = labelled.filter(|labelled| labelled.is_gauge());
    if let Some(gauge) = gauge.and_then(|of| of.fields().find(|known| known.name == field)) {
        return Sample { kind: Kind::Gauge, name: gauge.prometheus, program: None, number };
    }
    let known = fields::find(field);
    if measurement == self_metrics::MEASUREMENT
        && known.is_none()
        && let Some((program, of_program)) = of_a_program(field)
    {
        let number = match number {
            Number::Integer(time) if of_program == PROGRAM_RUN_TIME => {
                Number::Float(time as f64 / 1e9)
            }
            number => number,
        };
        let name = of_program.prometheus;
        return Sample { kind: Kind::Counter, name, program: Some(program), number };
    }
    let is_gauge = known.is_some_and(|field| field.kind == FieldKind::Gauge)
        || Measure::split(field).1 == Measure::PeakCount;
    let kind = match number {
        Number::Integer(_) if !is_gauge => Kind::Counter,
        Number::Integer(_) | Number::Float(_) => Kind::Gauge,
    };
    Sample { kind, name: known.map_or(field, |field| field.prometheus), program: None, number }
}

/// Splits a field's name into a program's name and what is counted of it.
fn of_a_program(field: &str) -> Option<(&str, ProgramField)> {
    PROGRAM_FIELDS.into_iter().find_map(|of| Some((field.strip_suffix(of.suffix)?, of)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_a_program_has_the_program_as_a_label() {
        let named = |measurement, field| {
            let Sample { kind, name, program, number } =
                sample(measurement, None, field, Number::Integer(2_500_000_000));
            (kind, name, program, number)
        };
        let whole = Number::Integer(2_500_000_000);
        assert_eq!(
            named("internal_ctpulse", "hash_insert_run_time_ns"),
            (Kind::Counter, "program_run_time_seconds", Some("hash_insert"), Number::Float(2.5))
        );
        assert_eq!(
            named("internal_ctpulse", "confirm_return_missed"),
            (Kind::Counter, "program_missed", Some("confirm_return"), whole)
        );
        for measurement in ["internal_ctpulse", "conntrack"] {
            assert_eq!(
                named(measurement, "samples_missed"),
                (Kind::Counter, "samples_missed", None, whole)
            );
        }
        assert_eq!(named("conntrack", "x_runs"), (Kind::Counter, "x_runs", None, whole));
        for gauge in ["entries_max", "drop_sample_max"] {
            assert_eq!(named("conntrack", gauge), (Kind::Gauge, gauge, None, whole));
        }
    }
}
