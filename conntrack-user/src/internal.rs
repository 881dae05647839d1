//! The row about `ctpulse` itself: what the probes counted, what they missed, what was lost.
//!
//! Opt-in (`internal`), one per emission and input. It is tagged like the input's rows and never
//! renamed or filtered, so that what was missed cannot be filtered away.

use std::collections::BTreeMap;

use conntrack_ebpf::Event;

use crate::merge::Window;
use crate::metric::{Metric, Name, Value};
use crate::sample::{EVENT_NAMES, EVENTS};

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
    for (event, name) in Event::ALL.into_iter().zip(EVENT_NAMES) {
        if window.counted[event as usize] && !window.event_totals.is_empty() {
            let cpus = window.event_totals.chunks_exact(EVENTS);
            let sum = cpus.map(|cpu| cpu[event as usize]).fold(0, u64::wrapping_add);
            add(&format!("events_{name}"), Value::Integer(sum));
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
        for (event, name) in Event::ALL.into_iter().zip(EVENT_NAMES) {
            assert_eq!(format!("{event:?}").to_lowercase(), name.replace('_', ""));
        }
        let mut window = Window { counted: [true; EVENTS], drift: Some(-3), ..Window::default() };
        window.event_totals = (0..2 * EVENTS as u64).collect();
        let row = row(&window, 5);
        assert_eq!(row.field("events_insert"), Some(Value::Integer(EVENTS as u64)));
        assert_eq!(row.field("drift"), Some(Value::Float(-3.0)));
        assert_eq!(row.field("hash_insert_misses"), None);
    }
}
