//! The row about `ctpulse` itself: what the probes counted, what they missed, what was lost.
//!
//! Opt-in (`internal`), one per emission and input. It is tagged like the input's rows and never
//! renamed or filtered, so that what was missed cannot be filtered away.

use std::collections::BTreeMap;

use conntrack_ebpf::Event;

use crate::merge::Window;
use crate::metric::{Metric, Name, Value};
use crate::sample::EVENTS;

/// The measurement's name, after Telegraf's `internal` input.
pub const MEASUREMENT: &str = "internal_ctpulse";

/// The field of each event, for all CPUs together, since the probes were attached.
const EVENT_FIELDS: [(&str, Event); EVENTS] = [
    ("events_insert", Event::Insert),
    ("events_new", Event::New),
    ("events_expect_new", Event::ExpectNew),
    ("events_delete", Event::Delete),
    ("events_delete_list", Event::DeleteList),
    ("events_alloc", Event::Alloc),
    ("events_alloc_failed", Event::AllocFailed),
    ("events_free", Event::Free),
    ("events_table_full", Event::TableFull),
    ("events_early_drop", Event::EarlyDrop),
    ("events_clash_resolved", Event::ClashResolved),
    ("events_clash_dropped", Event::ClashDropped),
];

/// The row of one emission.
#[must_use]
pub fn row(window: &Window, timestamp_ns: i64) -> Metric {
    let mut fields: BTreeMap<Name, Value> = BTreeMap::new();
    let mut add = |name: &str, value: Value| {
        fields.insert(name.into(), value);
    };
    add("samples_missed", Value::Integer(window.loss.samples_missed));
    add("rows_lost", Value::Integer(window.loss.rows_lost));
    for (name, event) in EVENT_FIELDS {
        if window.counted[event as usize] && !window.event_totals.is_empty() {
            let cpus = window.event_totals.chunks_exact(EVENTS);
            let sum = cpus.map(|cpu| cpu[event as usize]).fold(0, u64::wrapping_add);
            add(name, Value::Integer(sum));
        }
    }
    if let Some(drift) = window.drift {
        add("drift", Value::Float(drift as f64));
    }
    for program in &window.programs {
        if let Some(misses) = program.misses {
            add(&format!("{}_misses", program.name), Value::Integer(misses));
        }
        if program.runs > 0 {
            add(&format!("{}_runs", program.name), Value::Integer(program.runs));
            add(&format!("{}_run_time_ns", program.name), Value::Integer(program.run_time_ns));
        }
    }
    Metric {
        name: MEASUREMENT.to_owned(),
        tags: Vec::new(),
        fields: fields.into_iter().collect(),
        timestamp_ns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_field_and_negative_drift_its_sign() {
        for event in Event::ALL {
            assert_eq!(EVENT_FIELDS.iter().filter(|(_, e)| *e == event).count(), 1, "{event:?}");
        }
        let mut window = Window { counted: [true; EVENTS], drift: Some(-3), ..Window::default() };
        window.event_totals = (0..2 * EVENTS as u64).collect();
        let row = row(&window, 5);
        assert_eq!(row.field("events_insert"), Some(Value::Integer(EVENTS as u64)));
        assert_eq!(row.field("drift"), Some(Value::Float(-3.0)));
        assert_eq!(row.field("hash_insert_misses"), None);
    }
}
