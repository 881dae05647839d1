//! Measurements beside `conntrack` that have a row for each combination of their labels.
//!
//! Everything that writes or reads such rows (`rows`, Prometheus, the report) takes names and texts
//! from [`LABELLED`], and depends on no single measurement.

use std::sync::Arc;

use super::measure::suffix;

/// How many labels a measurement has.
pub const LABELS: usize = 2;

/// A measurement with labels: each of its rows has them as tags, and one number.
#[derive(Debug, PartialEq, Eq)]
pub struct LabelledMeasurement {
    /// The name.
    pub name: &'static str,
    /// The tags, in the order of [`LabelledNumber::labels`].
    pub labels: [&'static str; LABELS],
    /// The field with the number.
    pub field: &'static str,
    /// The field with its rate; `None` for a gauge.
    pub rate: Option<&'static str>,
    /// One sentence that describes the number.
    pub help: &'static str,
    /// The heading in the report.
    pub title: &'static str,
}

/// A number with its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledNumber {
    /// The values of the labels.
    pub labels: [Arc<str>; LABELS],
    /// The number, where it is known.
    pub number: Option<u64>,
}

/// The INVALID packets of a namespace.
pub static INVALID_PACKETS: LabelledMeasurement = LabelledMeasurement {
    name: "conntrack_invalid",
    labels: ["protocol", "reason"],
    field: "packets",
    rate: Some(concat!("packets", suffix!(Rate))),
    help: "INVALID packets of this protocol and reason since the probes were attached.",
    title: "INVALID packets by reason",
};

/// Every measurement with labels.
pub static LABELLED: [&LabelledMeasurement; 1] = [&INVALID_PACKETS];

/// The reason of packets that the kernel counted and no probe saw.
pub const UNEXPLAINED: &str = "unexplained";

/// The reason of packets beyond the largest number of reasons that are kept apart.
pub const OTHER: &str = "other";

/// The protocol of packets of all protocols together.
pub const ALL_PROTOCOLS: &str = "all";

/// Returns the measurement of a row, which another name may hide, by its tags and fields.
pub fn find(
    has_tag: impl Fn(&str) -> bool,
    has_field: impl Fn(&str) -> bool,
) -> Option<&'static LabelledMeasurement> {
    let is_of = |measurement: &&&LabelledMeasurement| {
        measurement.labels.iter().all(|label| has_tag(label)) && has_field(measurement.field)
    };
    LABELLED.iter().find(is_of).copied()
}

/// Returns the description of a field of these measurements.
#[must_use]
pub fn help(field: &str) -> Option<&'static str> {
    LABELLED.iter().find(|measurement| measurement.field == field).map(|found| found.help)
}
