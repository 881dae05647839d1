//! Reads files of any supported form row by row.

use std::io::{self, Read};
use std::path::PathBuf;

use super::clock_steps::InOrder;
use super::csv_rows::{CsvTables, is_headless};
use super::lines::{Line, Lines, MARK};
use super::time::Units;
use super::{
    BadLine, Catalog, FieldId, ReadCounts, Row, SeriesId, decode, json, line_protocol, time,
};

/// What `telegraf --test` prints in front of each row.
const TEST_PROMPT: &[u8] = b"> ";

/// Reads `files` in their order and hands each row to `each`, in the order of their time as far as
/// its window reaches; what could not be read is in `tally`.
pub fn read(
    files: &[PathBuf],
    catalog: &mut Catalog,
    tally: &mut ReadCounts,
    each: &mut impl FnMut(&Catalog, Row<'_>),
) {
    let (mut reader, mut order) = (RecordingReader::new(files.to_vec()), InOrder::default());
    while let Some(row) = reader.next_row(catalog, tally) {
        order.push(catalog, row, &mut |row| each(catalog, row));
    }
    order.finish(tally, &mut |row| each(catalog, row));
    let texts = catalog.texts();
    (tally.texts, tally.first_text) = (texts.number, texts.first.clone());
}

/// Files that are read row by row.
pub struct RecordingReader {
    files: std::vec::IntoIter<PathBuf>,
    /// The file that is read now.
    open: Option<Open>,
    values: Vec<(FieldId, f64)>,
}

impl RecordingReader {
    /// A reader of `files`, in their order.
    #[must_use]
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self { files: files.into_iter(), open: None, values: Vec::new() }
    }

    /// A reader of what `input` gives, plain or compressed, under a name for messages.
    ///
    /// # Errors
    /// The stream's, about its beginning.
    pub fn of_stream(name: &str, input: Box<dyn Read + Send>) -> io::Result<Self> {
        let open = Some(Open::new(name.to_owned(), decode::decoded(input)?));
        Ok(Self { open, ..Self::new(Vec::new()) })
    }

    /// The next row; what could not be read before it is in `tally`. `None` at the end.
    pub fn next_row(&mut self, catalog: &mut Catalog, tally: &mut ReadCounts) -> Option<Row<'_>> {
        loop {
            let open = match &mut self.open {
                Some(open) => open,
                None => {
                    let path = self.files.next()?;
                    let name = path.display().to_string();
                    match decode::open(&path) {
                        Ok(input) => {
                            tally.files.push(name.clone());
                            self.open.insert(Open::new(name, input))
                        }
                        Err(error) => {
                            tally.unreadable.push(format!("{name}: {error}"));
                            continue;
                        }
                    }
                }
            };
            match open.next_row(catalog, tally, &mut self.values) {
                Ok(Some((series, time_ns))) => {
                    return Some(Row { series, time_ns, values: &self.values });
                }
                Ok(None) => {}
                Err(error) => tally.unreadable.push(format!("{}: {error}", open.name)),
            }
            self.open = None;
        }
    }
}

/// A file that is being read.
struct Open {
    name: String,
    lines: Lines<Box<dyn Read + Send>>,
    tables: CsvTables,
    units: Units,
}

impl Open {
    fn new(name: String, input: Box<dyn Read + Send>) -> Self {
        Self {
            name,
            lines: Lines::new(input),
            tables: CsvTables::default(),
            units: Units::default(),
        }
    }

    /// The next row, its values in `values`; `None` at the end of the file.
    fn next_row(
        &mut self,
        catalog: &mut Catalog,
        tally: &mut ReadCounts,
        values: &mut Vec<(FieldId, f64)>,
    ) -> io::Result<Option<(SeriesId, i64)>> {
        loop {
            let parsed = match self.lines.next() {
                Ok(None) => return Ok(None),
                Ok(Some(Line::Whole(line))) => {
                    tally.bytes += line.len() as u64 + 1;
                    let context = (&mut self.tables, &mut self.units);
                    parse_text(line, context, (catalog, tally), values)
                }
                Ok(Some(Line::Object(object))) => {
                    tally.bytes += object.len() as u64 + 1;
                    values.clear();
                    json::parse(object, &mut self.units, catalog, values).map(Some)
                }
                Ok(Some(Line::Cut)) => Err(BadLine::Json("its end is missing".to_owned())),
                Ok(Some(Line::Torn)) => Err(BadLine::Torn),
                Ok(Some(Line::TooLong)) => Err(BadLine::TooLong),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    tally.unfinished.push(self.name.clone());
                    self.lines.end();
                    continue;
                }
                Err(error) => {
                    let number = self.lines.number() + 1;
                    return Err(io::Error::other(format!(
                        "damaged at line {number}, what follows is not read: {error}"
                    )));
                }
            };
            match parsed {
                Ok(None) => {}
                Ok(Some(row)) => {
                    tally.rows += 1;
                    tally.before_2000 += u64::from(time::is_before_2000(row.1));
                    return Ok(Some(row));
                }
                Err(why) => {
                    tally.bad_lines += 1;
                    if tally.first_bad_line.is_none() {
                        let (name, number) = (&self.name, self.lines.number());
                        tally.first_bad_line = Some(format!("{name}:{number}: {why}"));
                    }
                }
            }
        }
    }
}

/// Reads one line that is no JSON; `None` for one that is no row and need not be one.
fn parse_text(
    line: &[u8],
    (tables, units): (&mut CsvTables, &mut Units),
    (catalog, tally): (&mut Catalog, &mut ReadCounts),
    values: &mut Vec<(FieldId, f64)>,
) -> Result<Option<(SeriesId, i64)>, BadLine> {
    // Spaces and tabs may be empty cells.
    let cells = line.strip_suffix(b"\r").unwrap_or(line);
    let mut of_table = None;
    if !matches!(cells.trim_ascii().first(), None | Some(b'#')) {
        values.clear();
        match tables.parse(cells, catalog, values) {
            Some(Ok(row)) => {
                tally.query_rows += u64::from(tables.are_of_query());
                return Ok(Some(row));
            }
            Some(Err(why)) => of_table = Some(why),
            None => {}
        }
    }
    let why = match parse(line, units, catalog, values) {
        Ok(row) => return Ok(row),
        Err(why) => why,
    };
    if let Some(line) = line.strip_prefix(TEST_PROMPT) {
        return parse(line, units, catalog, values);
    }
    if tables.take_header(cells, catalog)? || is_statement(line) || is_log_line(line) {
        return Ok(None);
    }
    Err(match of_table {
        Some(of_table) => of_table,
        None if is_exposition_sample(line) => BadLine::Exposition,
        None if is_headless(cells) => BadLine::NoHeader,
        None if has_text_in_front(line, &[b"conntrack,", b"conntrack ip_"]) => BadLine::Prefixed,
        None if has_text_in_front(line, &[b"{\"fields\":", b"{\"metrics\":"]) => {
            BadLine::PrefixedJson
        }
        None => why,
    })
}

/// Whether `line` is one of Telegraf's log, as in front of the rows of `telegraf --test`.
fn is_log_line(line: &[u8]) -> bool {
    const LEVELS: [&[u8]; 4] = [b"Z D! ", b"Z I! ", b"Z W! ", b"Z E! "];
    const DATE: usize = "2026-11-25T07:10:00".len();
    line.first().is_some_and(u8::is_ascii_digit)
        && line
            .get(DATE..)
            .is_some_and(|behind| LEVELS.iter().any(|level| behind.starts_with(level)))
}

/// Whether `line` is a sample that Prometheus scrapes: `name{label="value"} 5`.
fn is_exposition_sample(line: &[u8]) -> bool {
    let name =
        line.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    name > 0 && line[name..].starts_with(b"{") && memchr::memmem::find(line, b"\"} ").is_some()
}

/// Whether a row that begins so follows on other text, as logs of containers and services have it.
fn has_text_in_front(line: &[u8], beginnings: &[&[u8]]) -> bool {
    beginnings.iter().any(|row| memchr::memmem::find(line, row).is_some_and(|at| at > 0))
}

/// Whether `line` is one of those that `influx_inspect export` writes in front of its rows.
fn is_statement(line: &[u8]) -> bool {
    line.starts_with(b"CREATE DATABASE ")
}

/// Reads one line of line protocol or JSON; `None` for one that is empty or a comment.
pub(super) fn parse(
    line: &[u8],
    units: &mut Units,
    catalog: &mut Catalog,
    values: &mut Vec<(FieldId, f64)>,
) -> Result<Option<(SeriesId, i64)>, BadLine> {
    let line = line.trim_ascii();
    // Files that were put together have byte order marks in the middle.
    let line = line.strip_prefix(MARK).unwrap_or(line);
    values.clear();
    match line.first() {
        None | Some(b'#') => Ok(None),
        Some(0) => Err(BadLine::Syntax("zero bytes, as a crash leaves them")),
        Some(b'{') => json::parse(line, units, catalog, values).map(Some),
        Some(_) => {
            let (series, time) = line_protocol::parse(line, catalog, values)?;
            Ok(Some((series, units.nanoseconds(time).ok_or(BadLine::Time)?)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use std::path::Path;

    use super::*;
    use crate::recording::{files_of, rotated};

    fn rows(text: &[u8]) -> (Vec<(String, i64, usize)>, ReadCounts) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        let (mut catalog, mut tally, mut rows) = Default::default();
        read(&[file.path().to_owned()], &mut catalog, &mut tally, &mut |catalog, row: Row<'_>| {
            let rows: &mut Vec<_> = &mut rows;
            rows.push((catalog.series(row.series).name.clone(), row.time_ns, row.values.len()));
        });
        (rows, tally)
    }

    #[test]
    fn both_formats_and_every_unit_of_time_in_one_file() {
        let text = b"a x=1 1700000000\n\n# a comment\na x=1,y=2i 1700000000000\r\n\
            {\"fields\":{\"x\":1},\"name\":\"b\",\"tags\":{},\"timestamp\":1700000000000000}\n\
            a x=1 1700000000000000001\n";
        let (rows, tally) = rows(text);
        let second = 1_700_000_000_000_000_000;
        let expected = [("a", second, 1), ("a", second, 2), ("b", second, 1), ("a", second + 1, 1)];
        assert_eq!(rows, expected.map(|(name, time, values)| (name.to_owned(), time, values)));
        assert_eq!((tally.rows, tally.bad_lines), (4, 0));
    }

    #[test]
    fn bad_lines_are_counted_and_the_first_is_named() {
        let (rows, tally) = rows(b"a x=1 1\nwhat is this\na x=1\n{\"fields\":3}\na x=1 17000");
        assert_eq!(rows.len(), 1);
        assert_eq!(tally.bad_lines, 4);
        assert!(tally.first_bad_line.unwrap().contains(":2: not line protocol"));
    }

    #[test]
    fn a_truncated_zstd_file_reads_as_far_as_it_goes() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        let mut ends = Vec::new();
        for second in 0..50 {
            writeln!(encoder, "a x={second} {}", 1_700_000_000 + second).unwrap();
            encoder.flush().unwrap();
            ends.push(encoder.get_ref().len());
        }
        let whole = encoder.finish().unwrap();
        assert_eq!(rows(&whole).0.len(), 50);
        for cut in 4..whole.len() {
            let (rows, tally) = rows(&whole[..cut]);
            let expected = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(rows.len(), expected, "cut at {cut}");
            assert!(tally.bad_lines <= 1, "cut at {cut}: {tally:?}");
        }
    }

    #[test]
    fn a_damaged_zstd_file_reads_up_to_the_damage() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        for second in 0..2000 {
            writeln!(encoder, "a x={} {}", random.u32(..), 1_700_000_000 + second).unwrap();
            encoder.flush().unwrap();
        }
        let mut bytes = encoder.finish().unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 50].fill(0xff);
        let (rows, tally) = rows(&bytes);
        assert!(rows.len() > 700 && rows.len() < 1100, "{} rows", rows.len());
        assert!(tally.unreadable[0].contains("damaged at line"), "{tally:?}");
    }

    #[test]
    fn rotated_files_are_found_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fw.influx");
        for name in ["fw.influx", "fw.influx.1", "fw.influx.2", "fw.influx.4"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(files_of(&path), [rotated(&path, 2), rotated(&path, 1), path.clone()]);
        assert_eq!(files_of(Path::new("-")), [PathBuf::from("-")]);
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let (mut catalog, mut tally) = Default::default();
        read(&["/nosuch".into()], &mut catalog, &mut tally, &mut |_, _| {});
        assert!(tally.files.is_empty() && tally.unreadable[0].starts_with("/nosuch: No such"));
    }
}
