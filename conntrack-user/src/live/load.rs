//! Rows of a recording, one after another, as the screen takes them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;

use crate::metric::{Metric, Name, Value};
use crate::recording::{
    Catalog, FieldId, HeldRow, InOrder, ReadCounts, RecordingReader, Row, SeriesId, files_of,
    labelled,
};
use crate::report::is_ours;
use crate::rows::{MEASUREMENT, self_metrics};
use crate::schema::labelled::INVALID_PACKETS;

/// Rows in the order of their time.
pub trait Rows: Send {
    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// The recording cannot be read.
    fn next_row(&mut self) -> io::Result<Option<Metric>>;
}

/// Rows that are read ahead, and their values, at most: some 50 MiB. Within them a recording that
/// is not in the order of time, as an export is that has one field after another, is sorted.
const MOST_AHEAD: usize = 1 << 18;
const MOST_VALUES_AHEAD: usize = 1 << 21;

/// A recording, with what was rotated away from it.
pub struct Recorded {
    reader: RecordingReader,
    catalog: Catalog,
    tally: ReadCounts,
    /// By series: whether its rows are conntrack's or ctpulse's own.
    ours: Vec<bool>,
    /// By field.
    names: Vec<Name>,
    /// Rows that were read ahead, in the order of the file or of time.
    ahead: VecDeque<HeldRow>,
    has_begun: bool,
    /// Rows that wait for older ones, and those that need not wait any more.
    order: InOrder,
    ready: VecDeque<HeldRow>,
    /// The time of the last row that was given, and how many came with an earlier one.
    last_ns: i64,
    backwards: u64,
    /// How many lines and files that could not be read were reported.
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
            ours: Vec::new(),
            names: Vec::new(),
            ahead: VecDeque::new(),
            has_begun: false,
            order: InOrder::default(),
            ready: VecDeque::new(),
            last_ns: i64::MIN,
            backwards: 0,
            reported: (0, 0),
        }
    }

    /// Reads the next row that is conntrack's or ctpulse's own, in the order of the file.
    fn read(&mut self) -> Option<HeldRow> {
        loop {
            let row = self.reader.next_row(&mut self.catalog, &mut self.tally)?;
            let SeriesId(id) = row.series;
            if self.ours.len() <= id {
                self.ours.resize(id + 1, false);
            }
            let series = self.catalog.series(row.series);
            if self.ours[id]
                || series.name == self_metrics::MEASUREMENT
                || is_ours(&self.catalog, series, row)
                || has_reasons(&self.catalog, row)
            {
                self.ours[id] = true;
                return Some(HeldRow::of(row));
            }
        }
    }

    /// Reads ahead, and sorts the rows by time if all of the recording was read and it has one
    /// series and field after another, or is backwards. A series whose times go back and forth is
    /// not sorted: its clock was set.
    fn read_ahead(&mut self) {
        self.has_begun = true;
        let (mut values, mut runs) = (0, Runs::default());
        while self.ahead.len() < MOST_AHEAD && values < MOST_VALUES_AHEAD {
            let Some(row) = self.read() else {
                if runs.need_sorting() {
                    self.ahead.make_contiguous().sort_by_key(|row| row.time_ns);
                }
                return;
            };
            values += row.values.len();
            runs.take(&row);
            self.ahead.push_back(row);
        }
    }

    /// Fills `ready`; `false` at the end.
    fn fill(&mut self) -> bool {
        while self.ready.is_empty() {
            let row = self.ahead.pop_front().or_else(|| self.read());
            let mut passed = |row: Row<'_>| self.ready.push_back(HeldRow::of(row));
            match row {
                Some(row) => self.order.push(&self.catalog, row.row(), &mut passed),
                None => {
                    self.order.finish(&mut self.tally, &mut passed);
                    return !self.ready.is_empty();
                }
            }
        }
        true
    }

    /// Reports the first bad line at once, and the others at the end.
    fn report(&mut self, is_end: bool) {
        let ReadCounts { bad_lines, first_bad_line, unreadable, .. } = &self.tally;
        if let (0, Some(first)) = (self.reported.0, first_bad_line) {
            log::warn!("{first}; the line is left out");
        } else if is_end && *bad_lines > 1 {
            log::warn!("{bad_lines} lines could not be read");
        }
        unreadable[self.reported.1..].iter().for_each(|why| log::warn!("cannot read {why}"));
        self.reported = (*bad_lines, unreadable.len());
        if is_end && self.backwards > 1 {
            log::warn!("{} rows went back in time", self.backwards);
        }
        if is_end && self.tally.stray_rows > 0 {
            let rows = self.tally.stray_rows;
            log::warn!("{rows} rows with times far from those of the rows around were left out");
        }
        if is_end && self.tally.clock_steps > 0 {
            let (steps, seconds) = (self.tally.clock_steps, self.tally.clock_steps_seconds);
            log::warn!(
                "the clock went back {steps} times, by {seconds:.1} s in all: later rows are shown \
                 as if it had gone on"
            );
        }
    }

    /// Reports a row that is older than the one before it.
    fn watch_time(&mut self, time_ns: i64) {
        if time_ns < self.last_ns {
            self.backwards += 1;
            if self.backwards == 1 {
                log::warn!(
                    "rows go back in time: the picture begins again there, and rates may be missing; \
                     if the clock was not set, sort the file by time"
                );
            }
        }
        self.last_ns = time_ns;
    }

    fn metric(&mut self, row: &HeldRow) -> Metric {
        let series = self.catalog.series(row.series);
        for name in &self.catalog.fields()[self.names.len()..] {
            self.names.push(Name::from(name.as_str()));
        }
        let field = |(id, value): &(FieldId, f64)| (self.names[id.0].clone(), Value::Float(*value));
        let mut fields: Vec<_> = row.values.iter().map(field).collect();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        fields.dedup_by(|(a, _), (b, _)| a == b);
        let mut metric = Metric {
            name: series.name.clone(),
            tags: Vec::new(),
            fields,
            timestamp_ns: row.time_ns,
        };
        series
            .tags
            .iter()
            .for_each(|(key, value)| metric.add_tag(&Name::from(key.as_str()), value));
        metric
    }
}

/// How the times of each series and field follow each other in a file.
#[derive(Default)]
struct Runs {
    last_ns: Option<i64>,
    by_run: HashMap<(SeriesId, Option<FieldId>), i64>,
    /// Of all rows, and of those of one series and field.
    is_unordered: bool,
    has_forwards: bool,
    has_backwards: bool,
}

impl Runs {
    fn take(&mut self, row: &HeldRow) {
        self.is_unordered |=
            self.last_ns.replace(row.time_ns).is_some_and(|last| last > row.time_ns);
        let key = (row.series, row.values.first().map(|(field, _)| *field));
        if let Some(last) = self.by_run.insert(key, row.time_ns) {
            self.has_forwards |= last < row.time_ns;
            self.has_backwards |= last > row.time_ns;
        }
    }

    fn need_sorting(&self) -> bool {
        self.is_unordered && !(self.has_forwards && self.has_backwards)
    }
}

impl Rows for Recorded {
    fn next_row(&mut self) -> io::Result<Option<Metric>> {
        if !self.has_begun {
            self.read_ahead();
        }
        let is_end = !self.fill();
        if let (true, [], Some(why)) =
            (is_end, &self.tally.files[..], self.tally.unreadable.first())
        {
            return Err(io::Error::other(why.clone()));
        }
        self.report(is_end);
        let Some(row) = self.ready.pop_front() else { return Ok(None) };
        self.watch_time(row.time_ns);
        Ok(Some(self.metric(&row)))
    }
}

/// Whether a row is of INVALID packets by reason.
fn has_reasons(catalog: &Catalog, row: Row<'_>) -> bool {
    labelled::source_of(catalog, row).is_some_and(|(measurement, source, _)| {
        measurement == &INVALID_PACKETS && source.name.contains(MEASUREMENT)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::live::feed::Batch;
    use crate::live::series::ALL;
    use crate::live::state::Screen;

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
    fn reasons_of_invalid_packets_are_those_of_their_source() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for second in 0..3 {
            let time = 1_795_418_322 + second;
            for (source, packets) in [("a", 1000 * second), ("b", 10 * second)] {
                writeln!(file, "conntrack,cpu=all,of={source} drop=0i {time}").unwrap();
                let labels = format!("of={source},protocol=tcp,reason=checksum");
                writeln!(file, "conntrack_invalid,{labels} packets={packets}i {time}").unwrap();
            }
            // Of another program.
            writeln!(file, "lost,protocol=tcp,reason=checksum packets=5i {time}").unwrap();
        }
        let (mut rows, mut screen) = (Recorded::new(file.path()), Screen::default());
        while let Some(row) = rows.next_row().unwrap() {
            assert_ne!(row.name, "lost");
            screen.take(&Batch { rows: vec![row], origins: [None; ALL], repeated: Vec::new() });
        }
        let reasons = screen.namespaces.iter().map(|of| of.reasons.most_frequent()[0].in_all);
        assert_eq!(reasons.collect::<Vec<_>>(), [2000.0, 20.0]);
    }

    /// An export of a database has one field after another, and a file may be backwards.
    #[test]
    fn an_export_is_sorted_and_a_step_of_the_clock_is_kept() {
        const ROWS: i64 = 3000;
        let line = |field: &str, second: i64| {
            format!("conntrack,cpu=all {field}={second}i {}", 1_795_418_322 + second)
        };
        let fields = |field| (0..ROWS).map(move |second| line(field, second));
        let export: Vec<_> = fields("drop").chain(fields("early_drop")).collect();
        let backwards: Vec<_> = fields("drop").rev().collect();
        let set_back = (ROWS..2 * ROWS).map(|second| line("drop", second)).chain(fields("drop"));
        for (lines, times_back) in [(export, 0), (backwards, 0), (set_back.collect(), 1)] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
            let mut rows = Recorded::new(file.path());
            let read = std::iter::from_fn(|| rows.next_row().unwrap()).count();
            assert_eq!((read, rows.backwards), (lines.len(), times_back));
        }
    }

    /// As in the report: the counters go on, so the clock was set back and not the file disordered.
    #[test]
    fn rows_behind_a_step_of_the_clock_follow_those_before_it() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for at in 0..300i64 {
            let back = if at >= 150 { 30 } else { 0 };
            writeln!(file, "conntrack,cpu=all drop={at}i {}", 1_795_418_322 + at - back).unwrap();
        }
        let mut rows = Recorded::new(file.path());
        let read: Vec<_> = std::iter::from_fn(|| rows.next_row().unwrap()).collect();
        let drops: Vec<_> = read.iter().map(|row| row.field("drop").unwrap()).collect();
        assert_eq!(drops, (0..300).map(|at| Value::Float(f64::from(at))).collect::<Vec<_>>());
        assert!(read.is_sorted_by_key(|row| row.timestamp_ns));
        assert_eq!((rows.backwards, rows.tally.clock_steps), (0, 1));
    }

    #[test]
    fn rows_of_other_measurements_are_left_out() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"queue,cpu=all depth=7i 1\nconntrack,cpu=all drop=1i 2\n").unwrap();
        file.write_all(b"internal_ctpulse samples_missed=1i 3\ncpu,cpu=cpu0 usage=1 4\n").unwrap();
        let mut rows = Recorded::new(file.path());
        let names = std::iter::from_fn(|| rows.next_row().unwrap()).map(|row| row.name);
        assert_eq!(names.collect::<Vec<_>>(), ["conntrack", "internal_ctpulse"]);
    }

    #[test]
    fn a_file_without_rows_is_named() {
        for path in ["/nonexistent/fw.influx", "/tmp"] {
            let error = Recorded::new(Path::new(path)).next_row().unwrap_err().to_string();
            assert!(error.starts_with(path), "{error}");
        }
    }
}
