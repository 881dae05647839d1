//! The content of a file that will be continued, and the length of its complete part.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::frames::whole_part;
use super::time::Units;
use super::{BadLine, Catalog, ZSTD_MAGIC, parse};
use crate::format::{Csv, Format};

/// A row that is longer is none.
const LONGEST_ROW: u64 = 1 << 20;

/// The kinds of files that are appended to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Rows that `report` reads: line protocol or JSON.
    Rows,
    /// The same, compressed.
    CompressedRows,
    /// Rows under a header.
    Csv,
    /// Text that is not read again.
    Other,
}

/// The part of a file that is kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Intact {
    /// Its length in bytes without a torn end.
    pub(super) length: u64,
    /// Whether it ends within a compressed frame.
    pub(super) within_a_frame: bool,
    /// The first line of a CSV file.
    pub(super) header: Option<String>,
}

impl Content {
    /// The content of a file at `path` that is written in `format`.
    #[must_use]
    pub fn of(format: Format, path: &Path) -> Self {
        match format {
            Format::Influx | Format::Json if is_compressed(path) => Self::CompressedRows,
            Format::Influx | Format::Json => Self::Rows,
            Format::Csv => Self::Csv,
            Format::Prometheus | Format::Table => Self::Other,
        }
    }

    pub(super) fn is_compressed(self) -> bool {
        self == Self::CompressedRows
    }

    /// Reads what stands in `file`.
    ///
    /// # Errors
    /// The file's, or [`io::ErrorKind::InvalidData`] where it holds something else.
    pub(super) fn examine(self, file: &mut File) -> io::Result<Intact> {
        let length = file.metadata()?.len();
        match self {
            Self::Rows => Ok(Intact { length: whole_rows(file, length)?, ..Intact::default() }),
            Self::CompressedRows => {
                file.rewind()?;
                let whole = whole_part(file)?;
                let (length, within_a_frame) = (whole.length, whole.open);
                Ok(Intact { length, within_a_frame, ..Intact::default() })
            }
            Self::Csv => under_header(file, length),
            Self::Other => {
                refuse_rows(file)?;
                Ok(Intact { length, ..Intact::default() })
            }
        }
    }
}

/// Whether the name of `path` asks for compression.
#[must_use]
pub fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

fn no_recording<T>(why: &str) -> io::Result<T> {
    refused(&format!("it is not a recording ({why})"))
}

fn refused<T>(why: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, why.to_owned()))
}

/// Refuses a file that another program reads and that text for a person would damage.
fn refuse_rows(file: &mut File) -> io::Result<()> {
    let mut start = Vec::new();
    file.rewind()?;
    (&mut *file).take(LONGEST_ROW).read_to_end(&mut start)?;
    let end = memchr::memchr(b'\n', &start).map_or(start.len(), |end| end + 1);
    let line = &start[..end];
    if start.starts_with(&ZSTD_MAGIC) {
        return refused("it is compressed");
    }
    if is_exposition(line) {
        return refused("it begins as Prometheus text does");
    }
    if std::str::from_utf8(line).is_ok_and(|line| Csv::under(line).is_some()) {
        return refused("it begins with a CSV header of ctpulse");
    }
    match is_row(line.trim_ascii_end()) {
        Ok(true) => refused("it begins as a recording does"),
        Ok(false) | Err(_) => Ok(()),
    }
}

fn is_exposition(text: &[u8]) -> bool {
    text.starts_with(b"# HELP") || text.starts_with(b"# TYPE")
}

/// The complete lines of a CSV file and its header. A file that ends within its header is begun anew:
/// the rest of the header is not known.
fn under_header(file: &mut File, length: u64) -> io::Result<Intact> {
    if length == 0 {
        return Ok(Intact::default());
    }
    file.rewind()?;
    let mut header = String::new();
    let read = BufReader::new((&mut *file).take(LONGEST_ROW)).read_line(&mut header);
    if read.is_ok() && length < LONGEST_ROW && !header.ends_with('\n') && Csv::may_begin(&header) {
        return Ok(Intact::default());
    }
    if read.is_err() || !header.ends_with('\n') || Csv::under(&header).is_none() {
        return refused("it does not start with a CSV header of ctpulse");
    }
    let length = whole_lines(file, length)?;
    Ok(Intact { length, header: Some(header), ..Intact::default() })
}

/// How much of a file of text is whole rows.
fn whole_rows(file: &mut File, length: u64) -> io::Result<u64> {
    let mut start = Vec::new();
    file.rewind()?;
    (&mut *file).take(LONGEST_ROW).read_to_end(&mut start)?;
    match memchr::memchr(b'\n', &start) {
        Some(_) if is_exposition(&start) => {
            return no_recording("it begins as Prometheus text does");
        }
        Some(end) => match is_row(&start[..end]) {
            Ok(true) => {}
            Ok(false) => return no_recording("its first line is empty or a comment"),
            Err(why) => return no_recording(&why.to_string()),
        },
        // Its very first row, torn.
        None if start.is_empty() || is_beginning(&start) => return Ok(0),
        None => return no_recording("no row in it"),
    }
    whole_lines(file, length)
}

/// How much of a file of text with a first line is whole lines.
fn whole_lines(file: &mut File, length: u64) -> io::Result<u64> {
    let from = length.saturating_sub(LONGEST_ROW);
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    (&mut *file).take(LONGEST_ROW).read_to_end(&mut end)?;
    match memchr::memrchr(b'\n', &end) {
        Some(newline) => Ok(from + newline as u64 + 1),
        None => no_recording("no row at its end"),
    }
}

/// Whether text without an end may be the beginning of a row of ours.
fn is_beginning(text: &[u8]) -> bool {
    let beginnings: [&[u8]; 3] = [b"conntrack", b"internal_ctpulse", b"{\"fields\":"];
    beginnings.iter().any(|beginning| text.starts_with(beginning) || beginning.starts_with(text))
}

/// Whether a line is a row, and not empty or a comment.
///
/// # Errors
/// The reason for which a line that should be a row is none.
fn is_row(line: &[u8]) -> Result<bool, BadLine> {
    let row = parse(line, &mut Units::default(), &mut Catalog::default(), &mut Vec::new())?;
    Ok(row.is_some())
}
