use std::collections::BTreeSet;

use super::*;
use crate::schema::field::{Field, FieldKind};
use crate::schema::measure::Measure;

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
fn what_a_field_is_decides_where_it_is_shown() {
    for field in FIELDS {
        let counts = matches!(field.kind, FieldKind::Counter | FieldKind::DerivedDrop(_));
        let is_shown = field.live.is_some() || field.plot.is_some() || field.cause.is_some();
        assert!(counts || !is_shown, "{} goes up and down", field.name);
        assert!(field.cause.is_none() || field.name.starts_with("drop_"), "{}", field.name);
        assert!(
            field.label.len() <= 8
                || field.live.is_none()
                || field.cause.is_some()
                || field.name.starts_with("table_full"),
            "{}: {}",
            field.name,
            field.label
        );
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

/// `drop_other` is what these leave of `drop`, `drop_dying` what they leave of `insert_failed`.
#[test]
fn the_events_that_explain_drops_are_those_of_the_causes() {
    let events = |counted: Counted| {
        Event::ALL.into_iter().filter(move |event| counted[*event as usize]).collect::<Vec<_>>()
    };
    assert_eq!(events(IN_DROP), [Event::TableFull, Event::ClashDropped, Event::TrackerDropped]);
    assert_eq!(events(IN_INSERT_FAILED), [Event::ClashDropped]);
}
