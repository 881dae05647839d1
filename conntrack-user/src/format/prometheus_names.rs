//! What a field is called in Prometheus, by its conventions.
//!
//! Counters end in `_total`, units are base units, no gauge ends in `_count`, and what is a
//! dimension is a label. Where a field's own name follows these it is kept.

use super::Number;
use crate::rows::self_metrics;

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

    /// What the names of samples end in beyond the family's.
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
    /// The label `program` of what is told of one probe.
    pub program: Option<&'a str>,
    pub number: Number,
}

/// Integer fields that go up and down; all others but the largest counts are counters.
const GAUGES: [&str; 3] = ["entries", "entries_max", "entries_min"];

/// The end of a field with the largest number of events in one sample.
const LARGEST_COUNT: &str = "_sample_max";

/// Names of the sysctl files that would read like a part of a histogram, or like an extreme.
const TABLE: [(&str, &str); 5] = [
    ("ip_conntrack_count", "table_entries"),
    ("ip_conntrack_count_min", "table_entries_min"),
    ("ip_conntrack_count_max", "table_entries_max"),
    ("ip_conntrack_max", "table_limit"),
    ("ip_conntrack_buckets", "table_buckets"),
];

/// What is told of each probe, and its name here.
const OF_PROGRAMS: [(&str, &str); 4] = [
    ("_missed", "program_missed"),
    ("_skipped", "program_skipped"),
    ("_run_time_ns", "program_run_time_seconds"),
    ("_runs", "program_runs"),
];

/// The sample that a field of `measurement` becomes.
pub(super) fn sample<'a>(measurement: &str, field: &'a str, number: Number) -> Sample<'a> {
    let of_program =
        OF_PROGRAMS.iter().find_map(|(end, name)| Some((field.strip_suffix(end)?, *name)));
    if measurement == self_metrics::MEASUREMENT
        && field != "samples_missed"
        && let Some((program, name)) = of_program
    {
        let number = match number {
            Number::Integer(time) if name.ends_with("_seconds") => Number::Float(time as f64 / 1e9),
            number => number,
        };
        return Sample { kind: Kind::Counter, name, program: Some(program), number };
    }
    let kind = match number {
        Number::Float(_) => Kind::Gauge,
        Number::Integer(_) if GAUGES.contains(&field) || field.ends_with(LARGEST_COUNT) => {
            Kind::Gauge
        }
        Number::Integer(_) => Kind::Counter,
    };
    let name = TABLE.iter().find(|(own, _)| *own == field).map_or(field, |(_, name)| name);
    Sample { kind, name, program: None, number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_program_has_it_as_a_label() {
        let named = |measurement, field| {
            let Sample { kind, name, program, number } =
                sample(measurement, field, Number::Integer(2_500_000_000));
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
