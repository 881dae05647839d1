//! Recordings: the file that `run --output FILE` writes, and reading it back row by row.
//!
//! A recording is the stream itself, line protocol or JSON lines, plain or zstd, in one file or
//! in rotated ones. It may have gone through Telegraf since: tags in another order, another unit
//! of time, integers as floats. Nothing in a file is fatal: what cannot be read is counted, and
//! the first such line is told with its place.
//!
//! `file` writes, `content` says what stands in a file that is appended to, and `frames` finds what is whole in a zstd file; `lines` cuts files,
//! `line_protocol` and `json` read one line each, `catalog` numbers series and fields. What the rows mean is `report`'s matter.

mod catalog;
mod content;
mod file;
pub mod frames;
mod json;
mod line_protocol;
mod lines;
mod packing;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use self::catalog::{Catalog, FieldId, Series, SeriesId};
pub use self::content::{Content, is_compressed};
pub use self::file::{Begun, Change, FileError, RecordingFile, Rotation, refusal};
use self::lines::{Line, Lines};

/// How far back in a zstd file a match may reach, as a power of two: 32 MiB. It bounds the
/// memory of reading; `zstd -19` takes 8 MiB, and only `--long` or `--ultra` more than this.
const WINDOW_LOG_MAX: u32 = 25;
/// How much of a zstd file is decoded at once, in bytes. Where it is damaged, what came before in
/// the same piece is lost as well.
const PIECE: usize = 4096;
/// How every zstd frame begins.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// One row of a recording.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Measurement and tags, by their number in the catalog.
    pub series: SeriesId,
    /// In nanoseconds since 1970, whatever unit the file has.
    pub time_ns: i64,
    /// The numbers among the fields.
    pub values: &'a [(FieldId, f64)],
}

/// Why a line is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// The file ends in the middle of a line: a writer was killed, or is at work.
    #[error("the file ends in the middle of this line")]
    Torn,
    /// Longer than anything that ctpulse or Telegraf writes.
    #[error("longer than {} MiB", lines::LONGEST >> 20)]
    TooLong,
    /// There is no time, so nothing can be said of rates.
    #[error("no timestamp")]
    NoTime,
    /// Not line protocol.
    #[error("not line protocol: {0}")]
    Syntax(&'static str),
    /// Not a row in Telegraf's JSON shape.
    #[error("not a row in JSON: {0}")]
    Json(String),
    /// More different series or fields than a recording of conntrack has.
    #[error("more than {0} different series or fields; divide the recording")]
    TooMany(usize),
}

/// What reading gave, beside the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// The files that could be opened, in the order in which they were read.
    pub files: Vec<String>,
    /// Bytes of text, after zstd.
    pub bytes: u64,
    /// Lines that are rows, of whatever measurement.
    pub rows: u64,
    /// Lines that could not be used.
    pub bad_lines: u64,
    /// The first of them: `file:line: why`.
    pub first_bad_line: Option<String>,
    /// Files that could not be read, or only in part: `file: why`.
    pub unreadable: Vec<String>,
    /// Files that end within a zstd frame: the writer was killed, or is at work.
    pub unfinished: Vec<String>,
}

/// The files of the recording `path`, oldest first: what `--rotate` renamed (`path.1` is the
/// youngest of those), then `path` itself. `-` is standard input.
#[must_use]
pub fn files_of(path: &Path) -> Vec<PathBuf> {
    let mut files = vec![path.to_owned()];
    if path != Path::new("-") {
        files.extend((1..).map(|number| rotated(path, number)).take_while(|path| path.is_file()));
    }
    files.reverse();
    files
}

/// What the file `path` is called after `number` rotations.
#[must_use]
pub fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Reads `files` in their order and hands each row to `each`; what could not be read is in
/// `tally`.
pub fn read(
    files: &[PathBuf],
    catalog: &mut Catalog,
    tally: &mut Tally,
    each: &mut impl FnMut(&Catalog, Row<'_>),
) {
    let mut reader = Reader::new(files.to_vec());
    while let Some(row) = reader.next_row(catalog, tally) {
        each(catalog, row);
    }
}

/// Files that are read row by row.
pub struct Reader {
    files: std::vec::IntoIter<PathBuf>,
    /// The file that is read now, and its name.
    open: Option<(String, Lines<Box<dyn Read + Send>>)>,
    values: Vec<(FieldId, f64)>,
}

impl Reader {
    /// A reader of `files`, in their order.
    #[must_use]
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self { files: files.into_iter(), open: None, values: Vec::new() }
    }

    /// A reader of what `input` gives, plain or zstd, under a name for messages.
    ///
    /// # Errors
    /// The stream's, about its beginning.
    pub fn of_stream(name: &str, input: Box<dyn Read + Send>) -> io::Result<Self> {
        let open = Some((name.to_owned(), Lines::new(decoded(input)?)));
        Ok(Self { open, ..Self::new(Vec::new()) })
    }

    /// The next row; what could not be read before it is in `tally`. `None` at the end.
    pub fn next_row(&mut self, catalog: &mut Catalog, tally: &mut Tally) -> Option<Row<'_>> {
        loop {
            let (name, lines) = match &mut self.open {
                Some(open) => open,
                None => {
                    let path = self.files.next()?;
                    let name = path.display().to_string();
                    match open(&path) {
                        Ok(input) => {
                            tally.files.push(name.clone());
                            self.open.insert((name, Lines::new(input)))
                        }
                        Err(error) => {
                            tally.unreadable.push(format!("{name}: {error}"));
                            continue;
                        }
                    }
                }
            };
            match next_row(name, lines, catalog, tally, &mut self.values) {
                Ok(Some((series, time_ns))) => {
                    return Some(Row { series, time_ns, values: &self.values });
                }
                Ok(None) => {}
                Err(error) => tally.unreadable.push(format!("{name}: {error}")),
            }
            self.open = None;
        }
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    if path == Path::new("-") {
        decoded(Box::new(io::stdin()))
    } else {
        decoded(Box::new(File::open(path)?))
    }
}

/// What `input` gives, after zstd if it begins so.
fn decoded(mut input: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut start = Vec::new();
    input.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut start)?;
    let compressed = start == ZSTD_MAGIC;
    let whole = io::Cursor::new(start).chain(input);
    if !compressed {
        return Ok(Box::new(whole));
    }
    let pieces = io::BufReader::with_capacity(PIECE, whole);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(pieces)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(Box::new(decoder))
}

/// The next row of one file, its values in `values`; `None` at its end.
fn next_row(
    name: &str,
    lines: &mut Lines<Box<dyn Read + Send>>,
    catalog: &mut Catalog,
    tally: &mut Tally,
    values: &mut Vec<(FieldId, f64)>,
) -> io::Result<Option<(SeriesId, i64)>> {
    loop {
        let parsed = match lines.next() {
            Ok(None) => return Ok(None),
            Ok(Some(Line::Whole(line))) => {
                tally.bytes += line.len() as u64 + 1;
                parse(line, catalog, values)
            }
            Ok(Some(Line::Torn)) => Err(BadLine::Torn),
            Ok(Some(Line::TooLong)) => Err(BadLine::TooLong),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                tally.unfinished.push(name.to_owned());
                lines.end();
                continue;
            }
            Err(error) => {
                let number = lines.number() + 1;
                return Err(io::Error::other(format!(
                    "damaged at line {number}, what follows is not read: {error}"
                )));
            }
        };
        match parsed {
            Ok(None) => {}
            Ok(Some(row)) => {
                tally.rows += 1;
                return Ok(Some(row));
            }
            Err(why) => {
                tally.bad_lines += 1;
                if tally.first_bad_line.is_none() {
                    tally.first_bad_line = Some(format!("{name}:{}: {why}", lines.number()));
                }
            }
        }
    }
}

/// Reads one line of either format; `None` for one that is empty or a comment.
fn parse(
    line: &[u8],
    catalog: &mut Catalog,
    values: &mut Vec<(FieldId, f64)>,
) -> Result<Option<(SeriesId, i64)>, BadLine> {
    let line = line.trim_ascii();
    values.clear();
    let (series, time) = match line.first() {
        None | Some(b'#') => return Ok(None),
        Some(b'{') => json::parse(line, catalog, values)?,
        Some(_) => line_protocol::parse(line, catalog, values)?,
    };
    Ok(Some((series, nanoseconds(time).ok_or(BadLine::NoTime)?)))
}

/// A time since 1970 in the unit that its size tells: seconds up to the year 5138, then
/// milliseconds and so on. None before 1973 can be mistaken, and there were no recordings.
fn nanoseconds(time: i64) -> Option<i64> {
    let factor = match time.unsigned_abs() {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    time.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn rows(text: &[u8]) -> (Vec<(String, i64, usize)>, Tally) {
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
    fn a_missing_file_is_told() {
        let (mut catalog, mut tally) = Default::default();
        read(&["/nosuch".into()], &mut catalog, &mut tally, &mut |_, _| {});
        assert!(tally.files.is_empty() && tally.unreadable[0].starts_with("/nosuch: No such"));
    }
}
