//! Comma-separated values: one header, then one line a row.
//!
//! The columns are `timestamp` (nanoseconds), `measurement`, the tags and the fields, both
//! sorted by name. They are fixed by the first emission that has a field and never change, so
//! that the file stays a table: fields without a value yet have their column from the start.
//! A value that is missing is an empty cell. A tag or field that turns up later has no column;
//! it is left out and named in a notice. Rows without any value are not written.

use std::collections::BTreeSet;

use ::csv::{ByteRecord, ReaderBuilder, Writer, WriterBuilder};

use super::{Encoder, Number};
use crate::metric::{Metric, Name};

/// Encodes rows as CSV under one header.
#[derive(Debug, Default)]
pub struct Csv {
    /// The columns after the first two.
    columns: Option<Vec<CsvColumn>>,
    /// The header stands in the file.
    has_header: bool,
    /// Keys without a column, once each.
    left_out: BTreeSet<Name>,
    /// Those of them that no notice has named yet.
    unsaid: Vec<Name>,
}

#[derive(Debug)]
struct CsvColumn {
    name: Name,
    /// It holds the tag of this name.
    tag: bool,
    /// It holds the field of this name.
    field: bool,
}

/// So many columns are named that a header lacks.
const NAMED: usize = 3;

/// The columns that every row has.
const FIRST: [&str; 2] = ["timestamp", "measurement"];

impl Csv {
    /// An encoder that writes a header line before the first rows, which decide on the columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder that goes on under `header`, the first line of a file that is appended to.
    /// `None` when that is no header of this format.
    #[must_use]
    pub fn under(header: &str) -> Option<Self> {
        let mut reader = ReaderBuilder::new().has_headers(false).from_reader(header.as_bytes());
        let record = reader.records().next()?.ok()?;
        let mut columns = record.iter();
        if FIRST.iter().any(|first| columns.next() != Some(first)) {
            return None;
        }
        // A name that stands twice is a tag's and then a field's; one alone can be either's.
        let names: Vec<&str> = columns.collect();
        if names.is_empty() {
            return None;
        }
        let column = |(at, name): (usize, &&str)| CsvColumn {
            name: Name::from(*name),
            tag: !names[..at].contains(name),
            field: !names[at + 1..].contains(name),
        };
        let columns = names.iter().enumerate().map(column).collect();
        Some(Self { columns: Some(columns), has_header: true, ..Self::new() })
    }

    /// Whether `text` without an end may be the beginning of a header.
    #[must_use]
    pub fn may_begin(text: &str) -> bool {
        let first = FIRST.join(",") + ",";
        text.starts_with(&first) || first.starts_with(text)
    }

    fn note_keys_without_column(&mut self, batch: &[Metric]) {
        let Some(columns) = &self.columns else { return };
        for metric in batch {
            let tags = metric.tags.iter().map(|(key, _)| key);
            let fields = metric.fields.iter().map(|(key, _)| key);
            for key in tags.chain(fields) {
                if !columns.iter().any(|column| column.name == *key)
                    && self.left_out.insert(key.clone())
                {
                    self.unsaid.push(key.clone());
                }
            }
        }
    }
}

impl Encoder for Csv {
    fn encode(&mut self, batch: &[Metric], out: &mut Vec<u8>) {
        let mut writer = WriterBuilder::new().buffer_capacity(4096).from_writer(out);
        let mut record = ByteRecord::new();
        if self.columns.is_none() {
            self.columns = columns_of(batch);
        }
        if !self.has_header
            && let Some(columns) = &self.columns
        {
            FIRST.iter().for_each(|name| record.push_field(name.as_bytes()));
            columns.iter().for_each(|column| record.push_field(column.name.as_bytes()));
            write(&record, &mut writer);
            self.has_header = true;
        }
        self.note_keys_without_column(batch);
        if let Some(columns) = &self.columns {
            for metric in batch {
                write_row(columns, metric, &mut record, &mut writer);
            }
        }
    }

    fn begin_again(&mut self, header: Option<&str>) {
        // The same columns, so that the files are one table; or those that are there.
        self.has_header = false;
        if let Some(under) = header.and_then(Self::under) {
            *self = under;
        }
    }

    fn take_notice(&mut self) -> Option<String> {
        if self.unsaid.is_empty() {
            return None;
        }
        let keys: Vec<_> = self.unsaid.drain(..).map(|key| format!("{key:?}")).collect();
        let named = keys[..keys.len().min(NAMED)].join(", ");
        let more = match keys.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!("the header of the CSV file lacks {named}{more}: left out"))
    }
}

/// The keys of the batch, tags first; `None` as long as it has no field.
fn columns_of(batch: &[Metric]) -> Option<Vec<CsvColumn>> {
    let tags: BTreeSet<_> = batch.iter().flat_map(|metric| &metric.tags).map(|(k, _)| k).collect();
    let fields: BTreeSet<_> =
        batch.iter().flat_map(|metric| &metric.fields).map(|(k, _)| k).collect();
    let column = |name: &Name, tag| CsvColumn { name: name.clone(), tag, field: !tag };
    let columns = tags.into_iter().map(|name| column(name, true));
    let any = !fields.is_empty();
    any.then(|| columns.chain(fields.into_iter().map(|name| column(name, false))).collect())
}

fn write_row(
    columns: &[CsvColumn],
    metric: &Metric,
    record: &mut ByteRecord,
    writer: &mut Writer<&mut Vec<u8>>,
) {
    record.clear();
    record.push_field(metric.timestamp_ns.to_string().as_bytes());
    record.push_field(metric.name.as_bytes());
    let mut any = false;
    for CsvColumn { name, tag, field } in columns {
        let tag = metric.tag(name).filter(|_| *tag);
        let number = metric.field(name).filter(|_| *field).and_then(Number::known);
        any |= tag.is_none() && number.is_some();
        match (tag, number) {
            (Some(tag), _) => record.push_field(tag.as_bytes()),
            (None, Some(number)) => record.push_field(number.to_string().as_bytes()),
            (None, None) => record.push_field(b""),
        }
    }
    if any {
        write(record, writer);
    }
}

fn write(record: &ByteRecord, writer: &mut Writer<&mut Vec<u8>>) {
    // A record can only fail on its writer, here a Vec, or on a length unlike the header's,
    // and all records go through the same columns.
    let _ = writer.write_byte_record(record);
}
