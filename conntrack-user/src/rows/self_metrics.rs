//! The row about `ctpulse` itself: what the probes counted, what they missed, what was lost.
//!
//! Opt-in (`internal`), one per emission and input. It is tagged like the input's rows and never
//! renamed or filtered, so that what was missed cannot be filtered away.

use std::collections::BTreeMap;

use conntrack_ebpf::Event;

use crate::accumulate::Window;
use crate::metric::{Metric, Name, Value};
use crate::schema::raw::{EVENT_NAMES, EVENTS, HostWide, Program};

/// The measurement's name, after Telegraf's `internal` input.
pub const MEASUREMENT: &str = "internal_ctpulse";

/// The row of one emission.
#[must_use]
pub fn row(window: &Window, timestamp_ns: i64) -> Metric {
    let mut fields: BTreeMap<Name, Value> = BTreeMap::new();
    let mut add = |name: &str, value: Value| {
        fields.insert(name.into(), value);
    };
    add("samples_missed", Value::Integer(window.loss.samples_missed));
    add("rows_lost", Value::Integer(window.loss.rows_lost));
    let events = &window.events;
    for (event, name) in Event::ALL.into_iter().zip(EVENT_NAMES) {
        if events.counted[event as usize] && !events.totals.is_empty() {
            let cpus = events.totals.chunks_exact(EVENTS);
            let sum = cpus.map(|cpu| cpu[event as usize]).fold(0, u64::wrapping_add);
            add(&format!("events_{name}"), Value::Integer(sum));
        }
    }
    if let Some(HostWide { alloc_failed, unplaced, .. }) = events.host_wide {
        add("host_alloc_failed", Value::Integer(alloc_failed));
        add("host_unplaced", Value::Integer(unplaced));
    }
    if let Some(drift) = events.drift {
        add("drift", Value::Float(drift as f64));
    }
    for Program { name, skipped, missed, runs, run_time_ns } in &events.programs {
        if let Some(skipped) = skipped {
            add(&format!("{name}_skipped"), Value::Integer(*skipped));
        }
        if let Some(missed) = missed {
            add(&format!("{name}_missed"), Value::Integer(*missed));
        }
        if *runs > 0 {
            add(&format!("{name}_runs"), Value::Integer(*runs));
            add(&format!("{name}_run_time_ns"), Value::Integer(*run_time_ns));
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
        for (event, name) in Event::ALL.into_iter().zip(EVENT_NAMES) {
            assert_eq!(format!("{event:?}").to_lowercase(), name.replace('_', ""));
        }
        let mut window = Window::default();
        window.events.counted = [true; EVENTS];
        window.events.drift = Some(-3);
        window.events.totals = (0..2 * EVENTS as u64).collect();
        let row = row(&window, 5);
        assert_eq!(row.field("events_insert"), Some(Value::Integer(EVENTS as u64)));
        assert_eq!(row.field("drift"), Some(Value::Float(-3.0)));
        assert_eq!(row.field("hash_insert_missed"), None);
    }
}
