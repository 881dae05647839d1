//! The `# HELP` texts: one sentence for each field, from the catalog.
//!
//! The sentences hold for every kernel that ctpulse reads. Where a counter's meaning changed
//! between kernels, the sentence states it.

use crate::schema::field::{Field, RowKind};
use crate::schema::fields::{EVENTS_PREFIX, FIELDS, PROGRAM_FIELDS};
use crate::schema::labelled;
use crate::schema::measure::Measure;

/// The name of the gauge that shows the program's version; it is no field of a row.
const BUILD_INFO: &str = "build_info";

/// Returns every field of the rows named `conntrack`, with its text.
pub(super) fn described() -> Vec<(String, String)> {
    let of_row = |row: RowKind| {
        let mut fields: Vec<&Field> = FIELDS.iter().filter(|field| field.row == row).collect();
        fields.sort_by_key(|field| field.name);
        fields.into_iter().map(|field| (field.name.to_owned(), field.help.to_owned()))
    };
    of_row(RowKind::Table).chain(of_row(RowKind::Statistics)).collect()
}

/// Returns the help text of a name in Prometheus. A rate is explained by its counter's name.
pub(super) fn help(name: &str) -> String {
    let of_fields = FIELDS.iter().map(|field| (field.prometheus, field.help));
    let of_programs = PROGRAM_FIELDS.iter().map(|field| (field.prometheus, field.help));
    if let Some((_, text)) = of_fields.chain(of_programs).find(|(known, _)| *known == name) {
        return text.to_owned();
    }
    if let Some(text) = labelled::help(name) {
        return text.to_owned();
    }
    if name == BUILD_INFO {
        return "The version of ctpulse; always 1.".to_owned();
    }
    match (Measure::split(name), name.strip_prefix(EVENTS_PREFIX)) {
        ((counter, Measure::Rate), _) => {
            format!("Rate of {counter} over the emission interval, per second.")
        }
        ((counter, Measure::PeakRate), _) => {
            format!("Highest rate of {counter} in any sample interval of the emission, per second.")
        }
        ((counter, Measure::PeakCount), _) => {
            format!("Largest number of events of {counter} in one sample of the emission interval.")
        }
        ((_, Measure::Total), Some(event)) => {
            format!("Events of the kind {event} that the probes counted since they were attached.")
        }
        ((_, Measure::Total), None) => {
            format!("Kernel value {name}, which ctpulse has no description of.")
        }
    }
}
