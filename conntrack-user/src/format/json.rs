//! JSON in the shape of Telegraf's json serializer, one object a line.
//!
//! `{"fields":{...},"name":"conntrack","tags":{...},"timestamp":1615233542000000000}`
//!
//! Timestamps are integers in nanoseconds, as Telegraf writes them with
//! `json_timestamp_units = "1ns"`; its default is whole seconds, which cannot distinguish two rows of
//! a fast sampler apart. A field that is unknown or that the kernel does not maintain is left
//! out, and so is a row without a field.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Encoder, Number};
use crate::metric::{Metric, Name, Value};

/// Encodes each row as one line of JSON.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

impl Encoder for Json {
    fn encode(&mut self, batch: &[Metric], out: &mut Vec<u8>) {
        for metric in batch {
            if metric.fields.iter().all(|(_, value)| Number::known(*value).is_none()) {
                continue;
            }
            let start = out.len();
            match serde_json::to_writer(&mut *out, &RowJson(metric)) {
                Ok(()) => out.push(b'\n'),
                Err(_) => out.truncate(start),
            }
        }
    }
}

struct RowJson<'a>(&'a Metric);

impl Serialize for RowJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("fields", &Fields(&self.0.fields))?;
        map.serialize_entry("name", &self.0.name)?;
        map.serialize_entry("tags", &TagsJson(&self.0.tags))?;
        map.serialize_entry("timestamp", &self.0.timestamp_ns)?;
        map.end()
    }
}

struct Fields<'a>(&'a [(Name, Value)]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = self.0.iter().filter_map(|(key, value)| Some((&**key, Number::known(*value)?)));
        serializer.collect_map(known)
    }
}

struct TagsJson<'a>(&'a [(Name, String)]);

impl Serialize for TagsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (&**key, value)))
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Up to here an f64 holds every integer.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match *self {
            Self::Integer(v) => serializer.serialize_u64(v),
            // Telegraf writes 464, not 464.0.
            Self::Float(v) if v.fract() == 0.0 && v.abs() < EXACT => {
                serializer.serialize_i64(v as i64)
            }
            Self::Float(v) => serializer.serialize_f64(v),
        }
    }
}
