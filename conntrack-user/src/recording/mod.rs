//! Recordings: the file that `run --output FILE` writes, and reading it back row by row.
//!
//! A recording is the stream itself, line protocol or JSON lines, plain or zstd, in one file or
//! in rotated ones. It may have gone through Telegraf or a database since: tags and rows in
//! another order, another unit of time, integers as floats, CSV, batches of JSON, gzip, zlib.
//! Nothing in a file is fatal: what cannot be read is counted, and the first such line is reported
//! with its place.
//!
//! `file` writes, `content` checks a file that is appended to, and `frames` finds what is whole in a
//! zstd file; `decode` undoes compression, `lines` cuts text, `line_protocol`, `json` and `csv_rows` read one line each, `catalog` numbers
//! series and fields, `order` sorts rows by time, `clock_steps` keeps the order of rows at which a
//! clock was set back, `strays` leaves out single rows with wrong times, `reader` puts these together.
//! `report` gives rows their meaning.

mod braces;
mod catalog;
mod clock_steps;
mod content;
mod csv_rows;
mod decode;
mod file;
pub mod frames;
mod json;
pub(crate) mod known;
pub(crate) mod labelled;
mod line_protocol;
mod lines;
mod order;
mod packing;
mod reader;
mod strays;
mod time;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use self::catalog::{Catalog, FieldId, RecordedSeries, SeriesId};
pub(crate) use self::clock_steps::InOrder;
pub use self::content::{Content, is_compressed};
pub use self::file::{Begun, FileChange, FileError, RecordingFile, Rotation, refusal};
pub use self::order::WINDOW;
use self::reader::parse;
pub use self::reader::{RecordingReader, read};

use crate::source::namespace::identity;

/// How every zstd frame begins.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// One row of a recording.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Measurement and tags, by their number in the catalog.
    pub series: SeriesId,
    /// In nanoseconds since 1970, for each unit of the file.
    pub time_ns: i64,
    /// The numbers among the fields.
    pub values: &'a [(FieldId, f64)],
}

/// A row that is kept.
#[derive(Debug)]
pub(crate) struct HeldRow {
    pub(crate) series: SeriesId,
    pub(crate) time_ns: i64,
    pub(crate) values: Vec<(FieldId, f64)>,
}

impl HeldRow {
    pub(crate) fn of(row: Row<'_>) -> Self {
        Self { series: row.series, time_ns: row.time_ns, values: row.values.to_vec() }
    }

    pub(crate) fn row(&self) -> Row<'_> {
        Row { series: self.series, time_ns: self.time_ns, values: &self.values }
    }
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
    /// There is no time, so nothing is known of rates.
    #[error("no timestamp")]
    NoTime,
    /// The time is neither a number nor RFC 3339.
    #[error("the timestamp is neither a number nor RFC 3339, such as 2026-11-25T07:10:00Z")]
    Time,
    /// A CSV row with other columns than the header above it.
    #[error("{found} columns below a CSV header of {expected}: nothing names them")]
    Columns {
        /// Columns of the row.
        found: usize,
        /// Columns of the header.
        expected: usize,
    },
    /// A CSV row without a header above it.
    #[error(
        "CSV without a header, so nothing names the columns (Telegraf writes one with csv_header = \
         true)"
    )]
    NoHeader,
    /// Not line protocol.
    #[error("not line protocol: {0}")]
    Syntax(&'static str),
    /// A row of line protocol with other text in front of it.
    #[error(
        "text in front of a row, as logs of services and containers have it: remove it, such as by \
         sed -E 's/^.*(conntrack[, ])/\\1/' FILE"
    )]
    Prefixed,
    /// A row of JSON with other text in front of it.
    #[error(
        "text in front of JSON, as logs of services and containers have it: remove it, such as by \
         sed 's/^[^{{]*//' FILE"
    )]
    PrefixedJson,
    /// A line of a container's log as Docker keeps it.
    #[error("a line of a container's log in JSON: give what is in it, such as by jq -rj .log FILE")]
    ContainerLog,
    /// A sample in the format that Prometheus scrapes.
    #[error(
        "a sample of Prometheus, which has no time of its own: query the server as CSV or JSON rows"
    )]
    Exposition,
    /// A line about one drop.
    #[error(
        "a line of `ctpulse drops --format json` about a single drop, and no row of counters: report \
         reads what `ctpulse run --output FILE` writes"
    )]
    Drop,
    /// A report.
    #[error("a report of `ctpulse report --format json`: name the recording that it was made from")]
    Report,
    /// Not a row in Telegraf's JSON shape.
    #[error("not a row in Telegraf's JSON: {0}")]
    Json(String),
    /// More different series or fields than a recording of conntrack has.
    #[error("more than {0} different series or fields; divide the recording")]
    TooMany(usize),
}

/// The counts of a read, beside the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ReadCounts {
    /// The files that could be opened, in the order in which they were read.
    pub files: Vec<String>,
    /// Bytes of text, without compression.
    pub bytes: u64,
    /// Lines that are rows, of any measurement.
    pub rows: u64,
    /// Those that are the result of a query, and not written by Telegraf or ctpulse.
    #[serde(skip)]
    pub query_rows: u64,
    /// Lines that could not be used.
    pub bad_lines: u64,
    /// The first of them: `file:line: why`.
    pub first_bad_line: Option<String>,
    /// Files that could not be read, or only in part: `file: why`.
    pub unreadable: Vec<String>,
    /// Values that are text where conntrack's rows have numbers.
    #[serde(skip)]
    pub texts: u64,
    /// The first of them, such as `drop="n/a"`.
    #[serde(skip)]
    pub first_text: Option<String>,
    /// Rows with a time before the year 2000: the clock was not set, or their unit is unknown.
    pub before_2000: u64,
    /// How often the clock of a source went back.
    pub clock_steps: u64,
    /// The sum of these steps.
    pub clock_steps_seconds: f64,
    /// Rows that were left out, as their times are far from those of the rows around them in the file.
    pub stray_rows: u64,
    /// The time of the first of them, and of the row before it, in nanoseconds.
    pub first_stray_ns: Option<(i64, i64)>,
    /// The counters of all of them.
    #[serde(skip)]
    pub stray_counters: Vec<(SeriesId, FieldId, f64)>,
    /// For each restart behind which a clock was wrong for some rows: a series of the source, and the time of the
    /// row in front of it.
    #[serde(skip)]
    pub misdated_restarts: Vec<(SeriesId, i64)>,
    /// Files whose compressed data has no end: the writer was killed, or is at work.
    pub unfinished: Vec<String>,
}

/// The files of the recording `path`, oldest first: what `--rotate` renamed (`path.1` is the
/// youngest of those), then `path` itself. `-` is standard input.
#[must_use]
pub fn files_of(path: &Path) -> Vec<PathBuf> {
    let mut files = vec![path.to_owned()];
    if path != Path::new("-") {
        files.extend(parts(path));
        if files.len() == 1
            && let Ok(target) = std::fs::read_link(path)
        {
            // The parts have the name of the file, and not that of the link.
            files.extend(parts(&path.with_file_name(target)));
        }
    }
    files.reverse();
    let mut seen = HashSet::new();
    // A link may name one of the parts.
    files.retain(|file| identity(file).map_or(true, |identity| seen.insert(identity)));
    files
}

/// Returns the files of the recording `path` that were rotated, the youngest first.
fn parts(path: &Path) -> impl Iterator<Item = PathBuf> {
    (1..).map_while(|number| part(path, number))
}

/// Returns the file of the recording `path` that was rotated `number` times, as it is or compressed
/// since.
fn part(path: &Path, number: u32) -> Option<PathBuf> {
    let plain = rotated(path, number);
    let compressed = [".gz", ".zst"].map(|suffix| {
        let mut name = plain.clone().into_os_string();
        name.push(suffix);
        name.into()
    });
    [plain].into_iter().chain(compressed).find(|path: &PathBuf| path.is_file())
}

/// Why a file is in [`parts_left_out`].
pub const LEFT_OUT: &str =
    "a part of the recording behind a missing one, or named by a date, was left out: name it, too";

/// Returns the files that seem to be parts of the recording `path`, too, and are not among
/// [`files_of`]: those behind a missing number, and those with a date.
#[must_use]
pub fn parts_left_out(path: &Path) -> Vec<PathBuf> {
    let (Some(name), folder) = (path.file_name().and_then(|name| name.to_str()), path.parent())
    else {
        return Vec::new();
    };
    let folder = folder.filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let read: Vec<_> = files_of(path).iter().map(|file| identity(file).ok()).collect();
    let is_part = |file: &Path| {
        let rest = file.file_name()?.to_str()?.strip_prefix(name)?;
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let is_part = match rest.as_bytes().first()? {
            b'.' => {
                let number = digits(&rest[1..]);
                number > 0 && matches!(&rest[1 + number..], "" | ".gz" | ".zst")
            }
            b'-' => digits(&rest[1..]) == 8,
            _ => false,
        };
        is_part.then_some(())
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| path.with_file_name(entry.file_name()));
    let mut left_out: Vec<_> = files
        .filter(|file| is_part(file).is_some() && !read.contains(&identity(file).ok()))
        .collect();
    left_out.sort();
    left_out
}

/// Returns the name of the file `path` after `number` rotations.
#[must_use]
pub fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}
