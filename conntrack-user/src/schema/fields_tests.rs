use std::collections::BTreeSet;

use super::*;
use crate::schema::field::{Field, FieldKind};
use crate::schema::measure::Measure;

/// The width of a column in the live view's table of CPUs.
const LABEL: usize = 8;

#[test]
fn no_name_is_declared_twice() {
    for name in [|field: &Field| field.name, |field: &Field| field.prometheus] {
        let names: BTreeSet<&str> = FIELDS.iter().map(name).collect();
        assert_eq!(names.len(), FIELDS.len());
    }
}

#[test]
fn no_event_and_no_attribute_has_two_fields() {
    for field in FIELDS {
        let has_both = |other: &&Field| {
            let event = field.event.is_some() && other.event == field.event;
            event || field.attribute.is_some() && other.attribute == field.attribute
        };
        assert!(FIELDS.iter().filter(has_both).count() <= 1, "{}", field.name);
    }
}

/// No other field of the catalog can be taken for one of its measures.
#[test]
fn no_field_is_named_as_a_measure_of_another() {
    for field in FIELDS {
        assert_eq!(Measure::split(field.name), (field.name, Measure::Total));
        assert_eq!(Measure::split(field.of(Measure::PeakCount)), (field.name, Measure::PeakCount));
    }
}

#[test]
fn only_counters_are_shown_as_rates_and_labels_fit() {
    for field in FIELDS {
        let counts = matches!(field.kind, FieldKind::Counter | FieldKind::DerivedDrop(_));
        let is_shown = field.live.is_some() || field.plot.is_some() || field.cause.is_some();
        assert!(counts || !is_shown, "{} goes up and down", field.name);
        assert!(field.cause.is_none() || field.name.starts_with("drop_"), "{}", field.name);
        let is_rate = field.live.is_some_and(|live| matches!(live.group, LiveGroup::Rates(_)));
        assert!(!is_rate || field.label.len() <= LABEL, "{}: {}", field.name, field.label);
        assert!(field.help.ends_with('.') && field.help.len() < 100, "{}", field.name);
    }
}

#[test]
fn an_event_and_a_reported_cause_of_a_drop_have_its_field() {
    for (at, reported) in REPORTED_CAUSES.iter().enumerate() {
        assert_eq!(reported.cause, Cause::ALL[at]);
        let word = reported.word;
        let field = find(&format!("drop_{word}")).or_else(|| find(word));
        let event = field.and_then(|field| field.event);
        assert!(event.is_none_or(|event| event == reported.cause.event()), "{word}");
    }
}

/// `drop_other` is the rest of `drop` without these, `drop_dying` the rest of `insert_failed`.
#[test]
fn the_events_that_explain_drops_are_those_of_the_causes() {
    let is_in = |event: Event| (IN_DROP[event as usize], IN_INSERT_FAILED[event as usize]);
    assert_eq!(is_in(Event::TableFull), (true, false));
    assert_eq!(is_in(Event::ClashDropped), (true, true));
    assert_eq!(is_in(Event::NatExhausted), (true, true));
    assert_eq!(is_in(Event::TrackerDropped), (true, false));
    // A part of another cause, and entries that are no packets.
    for event in [Event::TableFullEvictable, Event::CreateTableFull, Event::GcEarlyDrop] {
        assert_eq!(is_in(event), (false, false), "{event:?}");
    }
}
