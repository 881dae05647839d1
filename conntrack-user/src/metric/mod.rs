//! The metric model: a row of output, independent of its format.
//!
//! A [`Metric`] knows nothing of kernels or files. It is one measurement with sorted
//! tags, sorted fields and a time; filters change it and formats write it.

pub mod filter;
pub mod glob;

use std::borrow::Cow;
use std::sync::Arc;

use crate::text::sanitize::shown;

/// A field's value, with the two ways in which a number can be missing kept apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A counter or a count, written as an integer (suffix `i` in line protocol).
    Integer(u64),
    /// A gauge from a sysctl file or a rate in events per second, written as a float.
    Float(f64),
    /// A documented counter that this kernel prints as a constant 0 and that no other source
    /// gives. Formats without a word for "unknown" write the integer 0, as Telegraf does;
    /// the others leave it out.
    NotMaintained,
    /// A field that the row can have but that is not known now, such as a rate on the first
    /// row. No format writes a value for it; CSV keeps its column.
    Unknown,
}

/// A field or tag name; shared, because every row repeats the same names.
pub type Name = Arc<str>;

/// One row: measurement, tags, fields, time.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The measurement, `conntrack` unless `name_override` and its like change it.
    pub name: String,
    /// Tags, sorted by key, each key once.
    pub tags: Vec<(Name, String)>,
    /// Fields, sorted by key, each key once.
    pub fields: Vec<(Name, Value)>,
    /// Real-time clock at the kernel read, in nanoseconds since 1970.
    pub timestamp_ns: i64,
}

impl Metric {
    /// The value of the tag `key`, if the row has it.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        let at = self.tags.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.tags[at].1)
    }

    /// The value of the field `key`, if the row has it ([`Value::Unknown`] counts as having).
    #[must_use]
    pub fn field(&self, key: &str) -> Option<Value> {
        let at = self.fields.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(self.fields[at].1)
    }

    /// Adds the tag `key` in its sorted place unless the row already has one of that name.
    pub fn add_tag(&mut self, key: &Name, value: &str) {
        if let Err(at) = self.tags.binary_search_by(|(k, _)| (**k).cmp(key)) {
            self.tags.insert(at, (key.clone(), value.to_owned()));
        }
    }

    /// Escapes the name and the tags; sources escape the names of fields.
    pub fn make_plain(&mut self) {
        if let Cow::Owned(name) = shown(&self.name) {
            self.name = name;
        }
        for (key, value) in &mut self.tags {
            if let Cow::Owned(plain) = shown(key) {
                *key = plain.into();
            }
            if let Cow::Owned(plain) = shown(value) {
                *value = plain;
            }
        }
        // The keys may be in another order now, and two of them the same.
        self.tags.sort_by(|a, b| a.0.cmp(&b.0));
        self.tags.dedup_by(|a, b| a.0 == b.0);
    }

    /// Whether any field has a value that a format could write.
    #[must_use]
    pub fn has_values(&self) -> bool {
        self.fields.iter().any(|(_, value)| *value != Value::Unknown)
    }
}
