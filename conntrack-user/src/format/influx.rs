//! InfluxDB line protocol, byte for byte what Telegraf's influx serializer writes for the
//! same metric.
//!
//! Two things are ours. Telegraf trims trailing backslashes, which would escape the
//! separator behind them, from tag keys and values; here the measurement and field keys are
//! trimmed as well. And a counter that the kernel does not maintain is the integer 0.
//! Characters without an escape in line protocol are written as Telegraf writes them: a tab, a
//! newline, a form feed or a carriage return becomes a backslash and a letter, and a backslash
//! in front of a comma, a space or an equals sign is read differently by different parsers.

use super::{Encoder, append};
use crate::metric::{Metric, Value};

/// Encodes rows as line protocol with timestamps in nanoseconds.
///
/// Counts are integers with the suffix `i`, limited to the largest that fits into 63 bits;
/// floats have no suffix and no exponent. Unknown fields are left out, and so is a row without
/// a field. Nothing but `out` allocates.
#[derive(Debug, Clone, Copy, Default)]
pub struct Influx;

impl Encoder for Influx {
    fn encode(&mut self, batch: &[Metric], out: &mut Vec<u8>) {
        for metric in batch {
            line(metric, out);
        }
    }
}

/// Appends one line, or nothing if the metric has no name or no field to write.
fn line(metric: &Metric, out: &mut Vec<u8>) {
    let start = out.len();
    let name = without_trailing_backslash(&metric.name);
    escape(name, false, out);
    for (key, value) in &metric.tags {
        let key = without_trailing_backslash(key);
        let value = without_trailing_backslash(value);
        if !key.is_empty() && !value.is_empty() {
            out.push(b',');
            escape(key, true, out);
            out.push(b'=');
            escape(value, true, out);
        }
    }
    let mut separator = b' ';
    for (key, value) in &metric.fields {
        let key = without_trailing_backslash(key);
        if !key.is_empty() && is_written(*value) {
            out.push(separator);
            escape(key, true, out);
            out.push(b'=');
            field_value(*value, out);
            separator = b',';
        }
    }
    if name.is_empty() || separator == b' ' {
        out.truncate(start);
    } else {
        append(out, format_args!(" {}\n", metric.timestamp_ns));
    }
}

fn is_written(value: Value) -> bool {
    match value {
        Value::Integer(_) | Value::NotMaintained => true,
        Value::Float(v) => v.is_finite(),
        Value::Unknown => false,
    }
}

fn field_value(value: Value, out: &mut Vec<u8>) {
    match value {
        // Telegraf clips as well: line protocol has had unsigned integers only since InfluxDB 2.
        Value::Integer(v) => append(out, format_args!("{}i", v.min(i64::MAX.unsigned_abs()))),
        // Rust's text of a float is the shortest without an exponent, like Go's 'f' with -1.
        Value::Float(v) => append(out, format_args!("{v}")),
        Value::NotMaintained => out.extend_from_slice(b"0i"),
        Value::Unknown => {}
    }
}

fn without_trailing_backslash(text: &str) -> &str {
    text.trim_end_matches('\\')
}

/// Appends a name, key or tag value; an equals sign needs no escape in a measurement.
fn escape(text: &str, equals: bool, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'\t' => out.extend_from_slice(br"\t"),
            b'\n' => out.extend_from_slice(br"\n"),
            b'\x0c' => out.extend_from_slice(br"\f"),
            b'\r' => out.extend_from_slice(br"\r"),
            b',' | b' ' => out.extend_from_slice(&[b'\\', byte]),
            b'=' if equals => out.extend_from_slice(br"\="),
            _ => out.push(byte),
        }
    }
}
