//! Comma-separated values: one header, then one line a row.
//!
//! The columns are `timestamp` (nanoseconds), `measurement`, the tags and the fields, both
//! sorted by name. They are fixed by the first emission that has a field and never change, so
//! that the file stays a table: fields without a value yet have their column from the start.
//! A value that is missing is an empty cell. A tag or field that turns up later has no column;
//! it is left out and named in a notice. Rows without any value are not written.

use std::collections::BTreeSet;

use ::csv::{ByteRecord, Writer, WriterBuilder};

use super::{Encoder, Number};
use crate::metric::{Metric, Name};

/// Encodes rows as CSV under one header.
#[derive(Debug)]
pub struct Csv {
    header: bool,
    columns: Option<Columns>,
    /// Keys without a column, once each.
    left_out: BTreeSet<Name>,
    /// Those of them that no notice has named yet.
    unsaid: Vec<Name>,
}

#[derive(Debug)]
struct Columns {
    tags: BTreeSet<Name>,
    fields: BTreeSet<Name>,
}

impl Csv {
    /// An encoder that writes the header line before the first rows if `header` is set. Without
    /// it the first rows still decide on the columns.
    #[must_use]
    pub fn new(header: bool) -> Self {
        Self { header, columns: None, left_out: BTreeSet::new(), unsaid: Vec::new() }
    }

    fn note_keys_without_column(&mut self, batch: &[Metric]) {
        let Some(columns) = &self.columns else { return };
        for metric in batch {
            let tags = metric.tags.iter().map(|(key, _)| key);
            let fields = metric.fields.iter().map(|(key, _)| key);
            let strange = tags
                .filter(|key| !columns.tags.contains(*key))
                .chain(fields.filter(|key| !columns.fields.contains(*key)));
            for key in strange {
                if self.left_out.insert(key.clone()) {
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
            self.columns = Columns::of(batch);
            if let (true, Some(columns)) = (self.header, &self.columns) {
                columns.write_header(&mut record, &mut writer);
            }
        }
        self.note_keys_without_column(batch);
        if let Some(columns) = &self.columns {
            for metric in batch {
                columns.write_row(metric, &mut record, &mut writer);
            }
        }
    }

    fn take_notice(&mut self) -> Option<String> {
        if self.unsaid.is_empty() {
            return None;
        }
        let keys: Vec<_> = self.unsaid.drain(..).map(|key| format!("{key:?}")).collect();
        Some(format!(
            "the CSV columns were fixed by the first rows; left out because they came later: {}",
            keys.join(", ")
        ))
    }
}

impl Columns {
    /// The keys of the batch; `None` as long as it has no field.
    fn of(batch: &[Metric]) -> Option<Self> {
        let tags = batch.iter().flat_map(|metric| &metric.tags).map(|(key, _)| key.clone());
        let fields = batch.iter().flat_map(|metric| &metric.fields).map(|(key, _)| key.clone());
        let columns = Self { tags: tags.collect(), fields: fields.collect() };
        (!columns.fields.is_empty()).then_some(columns)
    }

    fn write_header(&self, record: &mut ByteRecord, writer: &mut Writer<&mut Vec<u8>>) {
        record.clear();
        record.push_field(b"timestamp");
        record.push_field(b"measurement");
        for key in self.tags.iter().chain(&self.fields) {
            record.push_field(key.as_bytes());
        }
        write(record, writer);
    }

    fn write_row(
        &self,
        metric: &Metric,
        record: &mut ByteRecord,
        writer: &mut Writer<&mut Vec<u8>>,
    ) {
        record.clear();
        record.push_field(metric.timestamp_ns.to_string().as_bytes());
        record.push_field(metric.name.as_bytes());
        for key in &self.tags {
            record.push_field(metric.tag(key).unwrap_or_default().as_bytes());
        }
        let mut any = false;
        for key in &self.fields {
            match metric.field(key).and_then(Number::known) {
                Some(number) => {
                    record.push_field(number.to_string().as_bytes());
                    any = true;
                }
                None => record.push_field(b""),
            }
        }
        if any {
            write(record, writer);
        }
    }
}

fn write(record: &ByteRecord, writer: &mut Writer<&mut Vec<u8>>) {
    // A record can only fail on its writer, here a Vec, or on a length unlike the header's,
    // and all records go through the same columns.
    let _ = writer.write_byte_record(record);
}
