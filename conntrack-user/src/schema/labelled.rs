//! Measurements beside `conntrack` that have a row for each combination of their labels.
//!
//! Everything that writes or reads such rows (`rows`, Prometheus, the report) takes names and texts
//! from [`LABELLED`], and depends on no single measurement.

use std::sync::Arc;

use super::measure::suffix;

/// How many labels a measurement has.
pub const LABELS: usize = 2;

/// A measurement with labels: each of its rows has them as tags, one number, and further ones.
#[derive(Debug, PartialEq, Eq)]
pub struct LabelledMeasurement {
    /// The name.
    pub name: &'static str,
    /// The tags, in the order of [`LabelledNumber::labels`].
    pub labels: [&'static str; LABELS],
    /// The field with the number.
    pub number: LabelledField,
    /// The field with its rate; `None` where all numbers are gauges.
    pub rate: Option<&'static str>,
    /// Further gauges.
    pub gauges: &'static [LabelledField],
    /// The heading in the report.
    pub title: &'static str,
}

/// A field of such a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelledField {
    /// The name.
    pub name: &'static str,
    /// The name in Prometheus, without the measurement's and without `_total`.
    pub prometheus: &'static str,
    /// One sentence that describes it.
    pub help: &'static str,
}

impl LabelledMeasurement {
    /// Whether its numbers go up and down.
    #[must_use]
    pub fn is_gauge(&self) -> bool {
        self.rate.is_none()
    }

    /// Its fields without the rate.
    pub fn fields(&self) -> impl Iterator<Item = &LabelledField> {
        std::iter::once(&self.number).chain(self.gauges)
    }
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
    number: LabelledField {
        name: "packets",
        prometheus: "packets",
        help: "INVALID packets of this protocol and reason since the probes were attached.",
    },
    rate: Some(concat!("packets", suffix!(Rate))),
    gauges: &[],
    title: "INVALID packets by reason",
};

/// A gauge of [`ENTRIES_BY_STATE`] that has the same name in Prometheus.
const fn gauge(name: &'static str, help: &'static str) -> LabelledField {
    LabelledField { name, prometheus: name, help }
}

/// The entries of the table by protocol and state. In Prometheus `conntrack_entries` is another metric.
pub static ENTRIES_BY_STATE: LabelledMeasurement = LabelledMeasurement {
    name: "conntrack_entries",
    labels: ["protocol", "state"],
    number: BY_STATE,
    rate: None,
    gauges: &[
        ASSURED,
        EXPIRE_WITHIN[0],
        EXPIRE_WITHIN[1],
        EXPIRE_WITHIN[2],
        EXPIRE_WITHIN[3],
        EXPIRE_WITHIN[4],
        EXPIRE_WITHIN[5],
        EXPIRE_WITHIN[6],
        EXPIRED,
        OFFLOADED,
        READ_SHARE,
        UNREPLIED,
    ],
    title: "Composition of the table",
};

/// The number of entries.
pub const BY_STATE: LabelledField = LabelledField {
    name: "entries",
    prometheus: "by_state",
    help: "Entries of this protocol and state in the table.",
};
/// Entries that are not evicted when the table is full.
pub const ASSURED: LabelledField =
    gauge("assured", "Entries that are not evicted when the table is full.");
/// Entries whose time is over.
pub const EXPIRED: LabelledField =
    gauge("expired", "Entries whose time is over and that are not collected yet.");
/// Entries that a flow table forwards.
pub const OFFLOADED: LabelledField =
    gauge("offloaded", "Entries whose packets a flow table forwards.");
/// The part of the table that was read, from 0 to 1.
pub const READ_SHARE: LabelledField = LabelledField {
    name: "read_share",
    prometheus: "read_ratio",
    help: "Part of the table that was read for the number of entries by state.",
};
/// Entries without a reply.
pub const UNREPLIED: LabelledField =
    gauge("unreplied", "Entries without a packet of the reply direction.");

/// The fields of [`WITHIN_SECONDS`](crate::composition::WITHIN_SECONDS).
pub const EXPIRE_WITHIN: [LabelledField; 7] = [
    gauge("expire_within_10s", "Entries that expire within 10 seconds unless there are packets."),
    gauge("expire_within_30s", "Entries that expire within 30 seconds unless there are packets."),
    gauge("expire_within_2m", "Entries that expire within 2 minutes unless there are packets."),
    gauge("expire_within_10m", "Entries that expire within 10 minutes unless there are packets."),
    gauge("expire_within_1h", "Entries that expire within 1 hour unless there are packets."),
    gauge("expire_within_1d", "Entries that expire within 1 day unless there are packets."),
    gauge("expire_within_5d", "Entries that expire within 5 days unless there are packets."),
];

/// Every measurement with labels.
pub static LABELLED: [&LabelledMeasurement; 2] = [&INVALID_PACKETS, &ENTRIES_BY_STATE];

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
    // Filters may leave out any field.
    let is_of = |measurement: &&&LabelledMeasurement| {
        measurement.labels.iter().all(|label| has_tag(label))
            && measurement.fields().any(|field| has_field(field.name))
    };
    LABELLED.iter().find(is_of).copied()
}

/// Returns the description of a name in Prometheus of these measurements.
#[must_use]
pub fn help(name: &str) -> Option<&'static str> {
    let mut fields = LABELLED.iter().flat_map(|measurement| measurement.fields());
    fields.find(|field| field.prometheus == name).map(|found| found.help)
}
