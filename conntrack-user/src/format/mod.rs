//! Output formats: one trait, one file per format.
//!
//! A format turns the rows of one emission into bytes. It sees [`Metric`]s only, never a
//! source, and keeps no state beyond what its text needs (a CSV header, a table's heading).
//! Formats differ in how they show that a number is missing: line protocol writes 0 where
//! Telegraf does, the others leave it out or write `-`. No format writes a float that is
//! infinite or not a number.

mod csv;
mod influx;
mod json;
mod prometheus;
mod prometheus_help;
mod prometheus_names;
mod table;
#[cfg(test)]
mod tests;

use std::fmt::Arguments;
use std::io::Write as _;

pub use self::csv::Csv;
pub use self::influx::Influx;
pub use self::json::Json;
pub use self::prometheus::{Collisions, Dialect, Prometheus, exposition};
pub use self::prometheus_help::is_own as is_own_exposition;
pub use self::table::Table;
use crate::metric::{Metric, Value};

/// Every column of the table, as its heading and its meaning.
pub(crate) fn described_columns() -> Vec<(String, String)> {
    table::described()
}

/// Every documented field, with its meaning.
pub(crate) fn described_fields() -> Vec<(String, String)> {
    prometheus_help::described()
}

/// Turns rows into the bytes of one output format.
pub trait Encoder: Send {
    /// Appends the rows of one emission, which share one timestamp, to `out`.
    ///
    /// Every line that is appended ends in a newline.
    fn encode(&mut self, batch: &[Metric], out: &mut Vec<u8>);

    /// Whether the rows of all inputs must stand in one batch, because a second text of this
    /// format cannot follow a first.
    fn wants_whole_batches(&self) -> bool {
        false
    }

    /// The next rows stand in another file than those before: an empty one, or one under `header`.
    fn begin_again(&mut self, _header: Option<&str>) {}

    /// Takes a message for the user, to be reported once, such as a column that could not be
    /// written. It is one line of text, and taking it removes it.
    fn take_notice(&mut self) -> Option<String> {
        None
    }
}

/// The output formats, by the names that the command line knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// InfluxDB line protocol, as Telegraf writes it
    Influx,
    /// One JSON object a line, in Telegraf's shape; timestamps in nanoseconds
    Json,
    /// Prometheus text exposition, for the textfile collector or a scrape
    Prometheus,
    /// Comma-separated values under one header line
    Csv,
    /// An aligned table for a person at a terminal
    Table,
}

/// Options of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncoderOptions {
    /// Table: colour zeros and alarming numbers.
    pub colour: bool,
    /// Table: there is one reading only, so show what it has instead of rates.
    pub totals: bool,
    /// Table: show milliseconds, because rows come more often than once a second.
    pub subsecond: bool,
}

/// The encoder for `format`.
#[must_use]
pub fn encoder(format: Format, options: EncoderOptions) -> Box<dyn Encoder> {
    match format {
        Format::Influx => Box::new(Influx),
        Format::Json => Box::new(Json),
        Format::Prometheus => Box::new(Prometheus::default()),
        Format::Csv => Box::new(Csv::new()),
        Format::Table => Box::new(Table::new(options)),
    }
}

/// Appends formatted text. Writing to a `Vec` cannot fail, so there is no result to check.
fn append(out: &mut Vec<u8>, text: Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// A number that is known and that every format can write.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Integer(u64),
    Float(f64),
}

impl Number {
    /// The value as a number; `None` where it is missing, infinite or not a number.
    fn known(value: Value) -> Option<Self> {
        match value {
            Value::Integer(v) => Some(Self::Integer(v)),
            Value::Float(v) if v.is_finite() => Some(Self::Float(v)),
            Value::Float(_) | Value::NotMaintained | Value::Unknown => None,
        }
    }
}

impl std::fmt::Display for Number {
    /// The shortest decimal text that reads back as the same number, without an exponent.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(v) => v.fmt(f),
            Self::Float(v) => v.fmt(f),
        }
    }
}
