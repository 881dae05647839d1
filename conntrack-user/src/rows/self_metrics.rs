//! The row about `ctpulse` itself: what the probes counted, what they missed, what was lost.
//!
//! Opt-in (`internal`), one per emission and input. It is tagged like the input's rows and never
//! renamed or filtered, so that what was missed cannot be filtered away.

use std::collections::BTreeMap;

use conntrack_ebpf::Event;

use crate::accumulate::Window;
use crate::metric::{Metric, Name, Value};
use crate::schema::fields::{
    DRIFT, EVENTS_PREFIX, HOST_ALLOC_FAILED, HOST_UNPLACED, PROGRAM_MISSED, PROGRAM_RUN_TIME,
    PROGRAM_RUNS, PROGRAM_SKIPPED, ROWS_LOST, SAMPLES_MISSED,
};
use crate::schema::raw::{EVENTS, HostWide, Program};

/// The measurement's name, after Telegraf's `internal` input.
pub const MEASUREMENT: &str = "internal_ctpulse";

/// Returns the row of one emission.
#[must_use]
pub fn row(window: &Window, timestamp_ns: i64) -> Metric {
    let mut fields: BTreeMap<Name, Value> = BTreeMap::new();
    let mut add = |name: &str, value: Value| {
        fields.insert(name.into(), value);
    };
    add(SAMPLES_MISSED.name, Value::Integer(window.loss.samples_missed));
    add(ROWS_LOST.name, Value::Integer(window.loss.rows_lost));
    let events = &window.events;
    for event in Event::ALL {
        if events.counted[event as usize] && !events.totals.is_empty() {
            let cpus = events.totals.chunks_exact(EVENTS);
            let sum = cpus.map(|cpu| cpu[event as usize]).fold(0, u64::wrapping_add);
            add(&format!("{EVENTS_PREFIX}{}", event.name()), Value::Integer(sum));
        }
    }
    if let Some(HostWide { alloc_failed, unplaced, .. }) = events.host_wide {
        add(HOST_ALLOC_FAILED.name, Value::Integer(alloc_failed));
        add(HOST_UNPLACED.name, Value::Integer(unplaced));
    }
    if let Some(drift) = events.drift {
        add(DRIFT.name, Value::Float(drift as f64));
    }
    for Program { name, skipped, missed, runs, run_time_ns } in &events.programs {
        let has_run = *runs > 0;
        let known = [
            (PROGRAM_SKIPPED, *skipped),
            (PROGRAM_MISSED, *missed),
            (PROGRAM_RUNS, has_run.then_some(*runs)),
            (PROGRAM_RUN_TIME, has_run.then_some(*run_time_ns)),
        ];
        for (field, number) in known {
            if let Some(number) = number {
                add(&format!("{name}{}", field.suffix), Value::Integer(number));
            }
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
    fn every_event_has_a_field_and_drift_may_be_negative() {
        for event in Event::ALL {
            assert_eq!(format!("{event:?}").to_lowercase(), event.name().replace('_', ""));
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
