//! Rows as comma-separated values: ours, Telegraf's, and those of InfluxDB's clients.
//!
//! A header names the columns, and another header may follow further below. It does not distinguish
//! tags from fields: `timestamp,measurement` is followed by tags, then by fields, and both have
//! known names; any other column is a field if its first value is a number.

use std::collections::HashMap;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::known::{cpu_number, is_all_cpus, is_known};
use super::time::{self, Units};
use super::{BadLine, Catalog, FieldId, RecordedSeries, SeriesId};

/// The characters that programs put between two columns.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Columns of a table, which has 4,096 at most.
const MOST_COLUMNS: usize = 1 << 12;
/// Different headers of one file.
const MOST_TABLES: usize = 256;
/// Columns of all of them.
const MOST_COLUMNS_OF_TABLES: usize = 1 << 16;
/// Columns of InfluxDB's that are no part of a row.
const SKIPPED: [&str; 5] = ["", "result", "table", "_start", "_stop"];
/// The column of the time in rows that Telegraf or ctpulse writes.
const WRITTEN_TIME: &str = "timestamp";
/// InfluxDB's column of all tags, such as `cpu=all,host=gw`.
const ALL_TAGS: &str = "tags";
/// Tags that `ctpulse` and Telegraf write.
const TAGS: [&str; 3] = ["cpu", "host", "netns"];

/// The part that a column plays.
#[derive(Debug, Clone, PartialEq)]
enum CsvInputColumn {
    Time,
    Measurement,
    Tag(String),
    AllTags,
    Field(FieldId),
    /// The name of the field that `Value` belongs to.
    FieldName,
    Value,
    /// A tag or a field, by its first value.
    Undecided(String),
    Skipped,
}

/// The headers of one file.
#[derive(Debug, Default)]
pub(super) struct CsvTables {
    known: Vec<(Box<[u8]>, CsvTable)>,
    /// The place of the last one among them.
    last: usize,
    columns: usize,
    cells: Cells,
    /// That of the times of the rows.
    units: Units,
}

impl CsvTables {
    /// Whether `line` is a header, which then holds for the lines below it.
    pub(super) fn take_header(
        &mut self,
        line: &[u8],
        catalog: &mut Catalog,
    ) -> Result<bool, BadLine> {
        if let Some(at) = self.known.iter().position(|(known, _)| **known == *line) {
            self.last = at;
            return Ok(true);
        }
        let columns = MOST_COLUMNS_OF_TABLES - self.columns;
        let most = if self.known.len() >= MOST_TABLES { 0 } else { columns };
        let table = CsvTable::of_header(line, &mut self.cells, most, catalog)?;
        let Some(table) = table else { return Ok(false) };
        self.columns += table.columns.len();
        self.last = self.known.len();
        self.known.push((line.into(), table));
        Ok(true)
    }

    /// Whether the header that holds is that of a query's result.
    pub(super) fn are_of_query(&self) -> bool {
        self.known.get(self.last).is_some_and(|(_, table)| table.is_of_query)
    }

    /// Reads `line` below the header that holds; `None` before the first header.
    pub(super) fn parse(
        &mut self,
        line: &[u8],
        catalog: &mut Catalog,
        values: &mut Vec<(FieldId, f64)>,
    ) -> Option<Result<(SeriesId, i64), BadLine>> {
        let (_, table) = self.known.get_mut(self.last)?;
        Some(table.parse(line, (&mut self.cells, &mut self.units), catalog, values))
    }
}

/// A header, and what is needed to read lines below it.
#[derive(Debug)]
struct CsvTable {
    columns: Vec<CsvInputColumn>,
    reader: Reader,
    /// The cells that make a series, for the catalog.
    head: Vec<u8>,
    /// The header is that of a query's result.
    is_of_query: bool,
    /// The header is that of conntrack's rows as Telegraf and ctpulse write them.
    is_of_conntrack: bool,
}

impl CsvTable {
    /// Reads `line` as a header of up to `most` columns; `None` if the line is not a header.
    fn of_header(
        line: &[u8],
        cells: &mut Cells,
        most: usize,
        catalog: &mut Catalog,
    ) -> Result<Option<Self>, BadLine> {
        // Most lines that are no header have no time in them.
        if memchr::memmem::find(line, b"time").is_none() {
            return Ok(None);
        }
        for delimiter in DELIMITERS {
            let mut reader = ReaderBuilder::new().delimiter(delimiter).build();
            cells.split(&mut reader, line)?;
            let names: Vec<&str> = cells.all().map(|cell| text(cell).trim()).collect();
            let place = |known: &[&str]| names.iter().position(|name| known.contains(name));
            let (Some(time), Some(measurement)) = (
                place(&[WRITTEN_TIME, "time", "_time"]),
                place(&["measurement", "name", "_measurement"]),
            ) else {
                continue;
            };
            if names.len() > most {
                return Err(BadLine::TooMany(MOST_TABLES));
            }
            // The first and the last place of each name.
            let mut places: HashMap<&str, (usize, usize)> = HashMap::new();
            for (at, name) in names.iter().enumerate() {
                places.entry(name).or_insert((at, at)).1 = at;
            }
            let mut columns: Vec<CsvInputColumn> = Vec::new();
            let mut fields_begin = false;
            for (at, name) in names.iter().enumerate() {
                let (kind, name) = match name.split_once('_') {
                    // Telegraf's csv_column_prefix.
                    Some((kind @ ("tag" | "field"), name)) => (kind, name),
                    _ => ("", *name),
                };
                let (first, last) = places.get(name).copied().unwrap_or((at, at));
                let is_repeated = first < at;
                let is_field = kind == "field" || kind.is_empty() && is_known(name);
                // A name that stands twice is a tag's and then a field's.
                let is_first = is_field && last > at;
                fields_begin |= is_field && !is_first;
                columns.push(match name {
                    _ if at == time => CsvInputColumn::Time,
                    _ if at == measurement => CsvInputColumn::Measurement,
                    "_field" => CsvInputColumn::FieldName,
                    "_value" => CsvInputColumn::Value,
                    _ if SKIPPED.contains(&name) => CsvInputColumn::Skipped,
                    ALL_TAGS if kind.is_empty() => CsvInputColumn::AllTags,
                    _ if kind == "tag" || is_first || TAGS.contains(&name) => {
                        CsvInputColumn::Tag(name.to_owned())
                    }
                    _ if is_field || is_repeated => CsvInputColumn::Field(
                        catalog.field_id(name.as_bytes(), || name.to_owned())?,
                    ),
                    _ if time + measurement == 1 && names[0] == WRITTEN_TIME && !fields_begin => {
                        CsvInputColumn::Tag(name.to_owned())
                    }
                    _ => CsvInputColumn::Undecided(name.to_owned()),
                });
            }
            // Telegraf and ctpulse call it `timestamp`.
            let is_of_query = names[time] != WRITTEN_TIME;
            let is_of_conntrack = !is_of_query && names.iter().any(|name| is_known(name));
            let head = Vec::new();
            return Ok(Some(Self { columns, reader, head, is_of_query, is_of_conntrack }));
        }
        Ok(None)
    }

    /// Reads `line` into `values`; the series, and the time in nanoseconds.
    fn parse(
        &mut self,
        line: &[u8],
        (cells, units): (&mut Cells, &mut Units),
        catalog: &mut Catalog,
        values: &mut Vec<(FieldId, f64)>,
    ) -> Result<(SeriesId, i64), BadLine> {
        cells.split(&mut self.reader, line)?;
        let (found, expected) = (cells.count(), self.columns.len());
        if found != expected {
            return Err(BadLine::Columns { found, expected });
        }
        // The header itself may stand here again, and decides nothing.
        let time_ns =
            self.time(cells).and_then(|time| time::parse(time, units)).ok_or(BadLine::Time)?;
        self.decide(cells, catalog)?;
        self.check_cpu(cells)?;
        let mut field = None;
        self.head.clear();
        // No line of line protocol begins so.
        self.head.extend_from_slice(b" csv");
        for (column, cell) in self.columns.iter().zip(cells.all()) {
            match column {
                CsvInputColumn::Measurement => self.head.extend_from_slice(cell),
                CsvInputColumn::Tag(key) => {
                    self.head.push(0);
                    self.head.extend_from_slice(key.as_bytes());
                    self.head.push(0);
                    self.head.extend_from_slice(cell);
                }
                CsvInputColumn::AllTags => {
                    self.head.push(0);
                    self.head.extend_from_slice(cell);
                }
                CsvInputColumn::Field(id) => values.extend(number(cell)?.map(|value| (*id, value))),
                CsvInputColumn::FieldName => field = Some(cell),
                CsvInputColumn::Time
                | CsvInputColumn::Value
                | CsvInputColumn::Undecided(_)
                | CsvInputColumn::Skipped => {}
            }
        }
        if let Some(field) = field {
            let cells = self.columns.iter().zip(cells.all());
            let value = cells.filter(|(column, _)| **column == CsvInputColumn::Value);
            for (_, cell) in value {
                // Other measurements have fields of text.
                if let Ok(Some(value)) = number(cell) {
                    values.push((catalog.field_id(field, || text(field).to_owned())?, value));
                }
            }
        }
        if let Some(series) = catalog.known_head(&self.head) {
            return Ok((series, time_ns));
        }
        let series = catalog.series_id(self.series(cells))?;
        catalog.learn_head(&self.head, series)?;
        Ok((series, time_ns))
    }

    /// Refuses rows with the columns of another header, as Telegraf writes them where it writes one header
    /// only, and there are as many.
    fn check_cpu(&self, cells: &Cells) -> Result<(), BadLine> {
        let is_cpu =
            |column: &CsvInputColumn| matches!(column, CsvInputColumn::Tag(key) if key == "cpu");
        let mut columns = self.columns.iter().zip(cells.all());
        let cpu = columns.find(|(column, _)| self.is_of_conntrack && is_cpu(column));
        let is_none = |cpu: &str| !is_all_cpus(cpu) && cpu_number(cpu).is_none();
        match cpu {
            Some((_, cell)) if is_none(text(cell)) => Err(BadLine::Syntax(
                "its cpu is neither all nor cpuN: the columns of another header",
            )),
            _ => Ok(()),
        }
    }

    fn time<'a>(&self, cells: &'a Cells) -> Option<&'a str> {
        let mut cells = self.columns.iter().zip(cells.all());
        Some(text(cells.find(|(column, _)| **column == CsvInputColumn::Time)?.1))
    }

    /// Decides which of the remaining columns are fields.
    fn decide(&mut self, cells: &Cells, catalog: &mut Catalog) -> Result<(), BadLine> {
        for (column, cell) in self.columns.iter_mut().zip(cells.all()) {
            if let CsvInputColumn::Undecided(name) = column
                && !is_absent(text(cell))
            {
                *column = match number(cell) {
                    Ok(_) => {
                        CsvInputColumn::Field(catalog.field_id(name.as_bytes(), || name.clone())?)
                    }
                    Err(_) => CsvInputColumn::Tag(std::mem::take(name)),
                };
            }
        }
        Ok(())
    }

    fn series(&self, cells: &Cells) -> RecordedSeries {
        let mut series = RecordedSeries { name: String::new(), tags: Vec::new() };
        for (column, cell) in self.columns.iter().zip(cells.all()) {
            match column {
                CsvInputColumn::Measurement => series.name = text(cell).to_owned(),
                CsvInputColumn::Tag(key) if !cell.is_empty() => {
                    series.tags.push((key.clone(), text(cell).to_owned()));
                }
                CsvInputColumn::AllTags => {
                    let pairs = text(cell).split(',').filter_map(|pair| pair.split_once('='));
                    let tags = pairs.filter(|(_, value)| !value.is_empty());
                    series.tags.extend(tags.map(|(key, value)| (key.to_owned(), value.to_owned())));
                }
                _ => {}
            }
        }
        series
    }
}

/// Whether `line` has the shape of a CSV row: a time, then more columns.
pub(super) fn is_headless(line: &[u8]) -> bool {
    let Some(at) = line.iter().position(|byte| DELIMITERS.contains(byte)) else { return false };
    time::parse(text(&line[..at]), &mut Units::default()).is_some()
        && line[at + 1..].contains(&line[at])
}

/// Whether a cell stands for no value.
fn is_absent(cell: &str) -> bool {
    let words = ["", "-", "null", "na", "n/a", "nan", "none"];
    words.iter().any(|word| cell.trim().eq_ignore_ascii_case(word))
}

/// A cell's number; `None` for one that is absent or a boolean.
fn number(cell: &[u8]) -> Result<Option<f64>, BadLine> {
    let cell = text(cell).trim();
    match cell {
        _ if is_absent(cell) => Ok(None),
        "true" | "false" => Ok(None),
        _ => match cell.parse() {
            Ok(number) if f64::is_finite(number) => Ok(Some(number)),
            _ => Err(BadLine::Syntax("a value that is no number")),
        },
    }
}

/// Text that is not UTF-8 is no name.
fn text(cell: &[u8]) -> &str {
    std::str::from_utf8(cell).unwrap_or("?")
}

/// A line, cut into its cells without their quotes.
#[derive(Debug)]
struct Cells {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
}

impl Default for Cells {
    fn default() -> Self {
        Self { bytes: Vec::new(), ends: vec![0; MOST_COLUMNS], count: 0 }
    }
}

impl Cells {
    fn split(&mut self, reader: &mut Reader, line: &[u8]) -> Result<(), BadLine> {
        reader.reset();
        self.bytes.resize(line.len(), 0);
        let (mut read, mut written) = (0, 0);
        self.count = 0;
        loop {
            let (result, input, output, ends) = reader.read_record(
                &line[read..],
                &mut self.bytes[written..],
                &mut self.ends[self.count..],
            );
            read += input;
            written += output;
            self.count += ends;
            match result {
                // An empty input ends the record.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record | ReadRecordResult::End => return Ok(()),
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    return Err(BadLine::Syntax("more columns than a table has"));
                }
            }
        }
    }

    fn count(&self) -> usize {
        self.count
    }

    fn all(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends[..self.count].iter().copied());
        let cells = starts.zip(&self.ends[..self.count]);
        cells.map(|(start, end)| self.bytes[start..*end].trim_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parsed = (String, Vec<(String, f64)>, i64);

    fn read(header: &str, line: &str) -> Result<Parsed, BadLine> {
        let (mut catalog, mut values) = (Catalog::default(), Vec::new());
        let mut tables = CsvTables::default();
        assert!(tables.take_header(header.as_bytes(), &mut catalog)?);
        let row = tables.parse(line.as_bytes(), &mut catalog, &mut values).unwrap();
        let (series, time_ns) = row?;
        let name = |(id, value): &(FieldId, f64)| (catalog.fields()[id.0].clone(), *value);
        Ok((catalog.series(series).to_string(), values.iter().map(name).collect(), time_ns))
    }

    #[test]
    fn tags_and_fields_are_distinguished() {
        let expected = |series: &str| {
            (series.to_owned(), vec![("drop".to_owned(), 3.0)], 1_700_000_000_000_000_000)
        };
        for (header, line, series) in [
            ("timestamp,measurement,cpu,drop", "1700000000,conntrack,all,3", "conntrack cpu=all"),
            // A tag of digits, and the quotes and semicolons of a spreadsheet.
            ("timestamp;measurement;cpu;rack;drop", "1700000000;c;all;7;3", "c cpu=all rack=7"),
            ("\"timestamp\",\"measurement\",\"drop\"", "1700000000,\"a,b\",\"3\"", "a,b"),
            ("timestamp\tmeasurement\ttag_x\tfield_drop", "1700000000\tc\t1\t3", "c x=1"),
            // A tag that is called as a field.
            ("timestamp,measurement,drop,drop", "1700000000,c,1,3", "c drop=1"),
            (
                "name,tags,time,cpu,drop,dc",
                "conntrack,,1700000000,all,3,eu",
                "conntrack cpu=all dc=eu",
            ),
            (
                "name,tags,time,drop",
                "conntrack,\"cpu=all,host=gw\",1700000000,3",
                "conntrack cpu=all host=gw",
            ),
            (
                ",result,table,_start,_stop,_time,_value,_field,_measurement,cpu",
                ",,0,x,y,2023-11-14T22:13:20Z,3,drop,conntrack,all",
                "conntrack cpu=all",
            ),
        ] {
            assert_eq!(read(header, line).unwrap(), expected(series), "{header}");
        }
    }

    #[test]
    fn invalid_rows_are_refused() {
        let header = "timestamp,measurement,cpu,drop";
        assert_eq!(
            read(header, "1700000000,conntrack,all"),
            Err(BadLine::Columns { found: 3, expected: 4 })
        );
        assert_eq!(read(header, "x,conntrack,all,1"), Err(BadLine::Time));
        assert!(read(header, "1700000000,conntrack,all,1x").is_err());
        assert_eq!(read(header, "1700000000,conntrack,all,").unwrap().1, []);
        let mut catalog = Catalog::default();
        for line in ["conntrack,cpu=all drop=1i 5", "time,drop", "timestamp", "", "\"time,name"] {
            let found = CsvTables::default().take_header(line.as_bytes(), &mut catalog);
            assert_eq!(found, Ok(false), "{line}");
        }
        assert!(is_headless(b"1700000000,conntrack,all,1") && !is_headless(b"17,18"));
        assert!(!is_headless(b"conntrack,cpu=all drop=1i 5"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(header in "[a-z,;\"]{0,30}", line in "[ -~]{0,60}") {
            let (mut catalog, mut values) = (Catalog::default(), Vec::new());
            for header in [header.clone(), format!("timestamp,measurement,{header}")] {
                let mut tables = CsvTables::default();
                tables.take_header(header.as_bytes(), &mut catalog).unwrap();
                let _ = tables.parse(line.as_bytes(), &mut catalog, &mut values);
            }
        }
    }
}
