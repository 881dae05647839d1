//! Rows of a recording, one after another, as the screen takes them.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use crate::metric::{Metric, Name, Value};
use crate::recording::{Catalog, Order, ReadCounts, RecordingReader, Row, files_of};

/// Rows in the order of their time.
pub trait Rows: Send {
    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// The recording cannot be read.
    fn next_row(&mut self) -> io::Result<Option<Metric>>;
}

/// A recording, with what was rotated away from it.
pub struct Recorded {
    reader: RecordingReader,
    catalog: Catalog,
    tally: ReadCounts,
    /// Rows that wait for older ones, and those that need not wait any more.
    order: Order,
    ready: VecDeque<Metric>,
    /// How many unreadable lines and files have been reported.
    reported: (u64, usize),
}

impl Recorded {
    /// Opens the recording `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            reader: RecordingReader::new(files_of(path)),
            catalog: Catalog::default(),
            tally: ReadCounts::default(),
            order: Order::default(),
            ready: VecDeque::new(),
            reported: (0, 0),
        }
    }

    /// Tells of the first bad line at once, and of the others at the end.
    fn report(&mut self, is_end: bool) {
        let ReadCounts { bad_lines, first_bad_line, unreadable, .. } = &self.tally;
        if let (0, Some(first)) = (self.reported.0, first_bad_line) {
            log::warn!("{first}; the line is left out");
        } else if is_end && *bad_lines > 1 {
            log::warn!("{bad_lines} lines could not be read");
        }
        unreadable[self.reported.1..].iter().for_each(|why| log::warn!("cannot read {why}"));
        self.reported = (*bad_lines, unreadable.len());
    }
}

impl Rows for Recorded {
    fn next_row(&mut self) -> io::Result<Option<Metric>> {
        let Self { reader, catalog, tally, order, ready, .. } = self;
        let mut is_end = false;
        while ready.is_empty() && !is_end {
            let row = reader.next_row(catalog, tally);
            is_end = row.is_none();
            let mut passed = |row: Row<'_>| ready.push_back(metric(catalog, row));
            match row {
                Some(row) => order.push(row, &mut passed),
                None => order.finish(&mut passed),
            }
        }
        let row = self.ready.pop_front();
        if let (None, [], Some(why)) = (&row, &self.tally.files[..], self.tally.unreadable.first())
        {
            return Err(io::Error::other(why.clone()));
        }
        self.report(row.is_none());
        Ok(row)
    }
}

fn metric(catalog: &Catalog, row: Row<'_>) -> Metric {
    let series = catalog.series(row.series);
    let field = |(id, value): &(_, f64)| {
        let crate::recording::FieldId(at) = *id;
        (Name::from(catalog.fields()[at].as_str()), Value::Float(*value))
    };
    let mut fields: Vec<_> = row.values.iter().map(field).collect();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    fields.dedup_by(|(a, _), (b, _)| a == b);
    let mut metric =
        Metric { name: series.name.clone(), tags: Vec::new(), fields, timestamp_ns: row.time_ns };
    series.tags.iter().for_each(|(key, value)| metric.add_tag(&Name::from(key.as_str()), value));
    metric
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn rows_have_their_numbers_and_a_bad_line_loses_no_other() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let good = "conntrack,netns=a\\ b,cpu=all drop=7i,drop_rate=0.5 1795418322367478882\n";
        file.write_all([good, "nonsense\n", good].concat().as_bytes()).unwrap();
        let mut rows = Recorded::new(file.path());
        let rows: Vec<Metric> = std::iter::from_fn(|| rows.next_row().unwrap()).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0], rows[1]);
        assert_eq!(rows[0].field("drop"), Some(Value::Float(7.0)));
        assert_eq!(rows[0].field("drop_rate"), Some(Value::Float(0.5)));
        assert_eq!((rows[0].tag("netns"), rows[0].tag("cpu")), (Some("a b"), Some("all")));
        assert_eq!(rows[0].timestamp_ns, 1_795_418_322_367_478_882);
    }

    #[test]
    fn rows_come_in_the_order_of_their_time() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for second in [3, 1, 2] {
            writeln!(file, "conntrack,cpu=all drop={second}i 179541832{second}").unwrap();
        }
        let mut rows = Recorded::new(file.path());
        let drops = std::iter::from_fn(|| rows.next_row().unwrap()?.field("drop"));
        assert_eq!(drops.collect::<Vec<_>>(), [1.0, 2.0, 3.0].map(Value::Float));
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        for path in ["/nonexistent/fw.influx", "/tmp"] {
            let error = Recorded::new(Path::new(path)).next_row().unwrap_err().to_string();
            assert!(error.starts_with(path), "{error}");
        }
    }
}
