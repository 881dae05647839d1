//! The `# HELP` texts: one sentence for each field, from the catalog.
//!
//! The sentences hold for every kernel that ctpulse reads. Where a counter's meaning changed
//! between kernels, the sentence states it.

use std::collections::HashSet;

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

/// Whether a text exposition is one of ctpulse, of this version or another: it has sentences from here,
/// and every family has the measurement of a family with such a sentence.
pub fn is_own(exposition: &str) -> bool {
    let families = || {
        let lines = exposition.lines().filter_map(|line| line.strip_prefix("# HELP "));
        lines.filter_map(|line| line.split_once(' '))
    };
    let measurement = |name: &str| name.split('_').next().map(str::to_owned);
    let own = families().filter(|(name, text)| is_sentence(name, text));
    let own: HashSet<_> = own.map(|(name, _)| measurement(name)).collect();
    let types = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut names = families().map(|(name, _)| name).chain(types);
    !own.is_empty() && names.all(|name| own.contains(&measurement(name)))
}

/// Whether `text` is the help of the family `name`, whose measurement may be any.
fn is_sentence(name: &str, text: &str) -> bool {
    let name = name.strip_suffix("_total").unwrap_or(name);
    name.match_indices('_').any(|(at, _)| help(&name[at + 1..]) == text)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exposition_of_another_program_is_not_ours() {
        let family =
            |name: &str, text: &str| format!("# HELP {name} {text}\n# TYPE {name} gauge\n");
        let own = family("conntrack_entries", &help("entries"));
        let renamed = family("fw_entries", &help("entries"));
        let other = family("node_x", "x");
        // A version that has another sentence.
        let older = family("conntrack_other", "Something.");
        for (exposition, expected) in [
            (own.clone(), true),
            (format!("{own}{older}"), true),
            (renamed, true),
            (other.clone(), false),
            (format!("{own}{other}"), false),
            (format!("{own}# TYPE node_x gauge\nnode_x 1\n"), false),
            (older, false),
            ("conntrack_entries 5\n".to_owned(), false),
        ] {
            assert_eq!(is_own(&exposition), expected, "{exposition}");
        }
    }
}
