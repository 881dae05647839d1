//! The text of `/proc/net/stat/nf_conntrack`: columns by the header's names, rows in hex.
//!
//! Printed by `ct_cpu_seq_show` (`net/netfilter/nf_conntrack_standalone.c`) as a header and a
//! row of `%08x` words per possible CPU. Columns came and went, so they are found by name,
//! never by position or kernel version; rows with fewer, more or bad words lose nothing but
//! what is bad.

use std::sync::Arc;

use crate::schema::fields::{ENTRIES, name_of_column};
use crate::schema::raw::{Layout, StatTable};
use crate::text::sanitize::shown;

/// A text that is not a conntrack statistics file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatTextError {
    /// Nothing could be read.
    #[error("the file is empty")]
    Empty,
    /// The first line does not start with `entries`, as every kernel's does.
    #[error("line 1 is not a header of conntrack statistics (it starts with '{0}')")]
    NotAHeader(String),
    /// More columns than a row can have.
    #[error("line 1 names {0} columns; at most {MAX_COLUMNS} are read")]
    TooManyColumns(usize),
}

/// What the statistics had that was not as the kernel gives them; nothing of it was kept. What is
/// a row and a word of the text is a message and an attribute of ctnetlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Oddities {
    /// Rows with a word that is not a 32-bit hexadecimal number; none of such a row is used.
    pub bad_rows: u32,
    /// The line of the first bad row, 1-based; 0 when there is none, or no text.
    pub first_bad_line: u32,
    /// Rows with fewer words than the header; their leading columns are used.
    pub short_rows: u32,
    /// Rows with more words than the header; the surplus is not used.
    pub long_rows: u32,
}

/// Columns that are read at most: the kernel has 17, and a row's length fits 16 bits.
pub const MAX_COLUMNS: usize = 1024;

/// Parses statistics texts, keeping what it learnt of the header from one text to the next.
#[derive(Debug, Default)]
pub struct StatParser {
    header: Vec<u8>,
    layout: Arc<Layout>,
}

impl StatParser {
    /// Parses `text` into `table`, reusing its memory: a text with the same header and as many
    /// rows as the last one is parsed without an allocation.
    ///
    /// # Errors
    /// [`StatTextError`] when the header is not one; `table` is then empty.
    pub fn parse(&mut self, text: &[u8], table: &mut StatTable) -> Result<Oddities, StatTextError> {
        table.clear();
        let (header, rest) = split_line(text);
        let mut rest = without_torn_word(rest);
        if header != self.header.as_slice() || self.header.is_empty() {
            self.layout = Arc::new(parse_header(header)?);
            self.header.clear();
            self.header.extend_from_slice(header);
        }
        if !Arc::ptr_eq(&table.layout, &self.layout) {
            table.layout = Arc::clone(&self.layout);
        }
        let columns = self.layout.names.len();
        let mut oddities = Oddities::default();
        let mut line_number = 1;
        while !rest.is_empty() {
            let line;
            (line, rest) = split_line(rest);
            line_number += 1;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let filled = parse_row(line, columns, &mut table.values);
            match filled {
                Some(words) if words < columns => oddities.short_rows += 1,
                Some(words) if words > columns => oddities.long_rows += 1,
                Some(_) => {}
                None => {
                    oddities.bad_rows += 1;
                    if oddities.first_bad_line == 0 {
                        oddities.first_bad_line = line_number;
                    }
                }
            }
            let filled = filled.unwrap_or(0).min(columns);
            table.filled.push(u16::try_from(filled).unwrap_or(u16::MAX));
        }
        Ok(oddities)
    }
}

/// `text` without its last word, if it ends in one that is shorter than the kernel's: the text was
/// cut there, and half a number is another number.
fn without_torn_word(text: &[u8]) -> &[u8] {
    let after_space = text.iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at + 1);
    if text.len() - after_space < 8 { &text[..after_space] } else { text }
}

fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', text) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[]),
    }
}

/// Columns by the names in `line`; a name that stands twice gets a number from the second on.
fn parse_header(line: &[u8]) -> Result<Layout, StatTextError> {
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_ascii_whitespace().peekable();
    match words.peek() {
        None => return Err(StatTextError::Empty),
        Some(word) if *word == ENTRIES.name => {}
        Some(word) => {
            let start: String = word.chars().take(32).collect();
            return Err(StatTextError::NotAHeader(shown(&start).into_owned()));
        }
    }
    let mut names: Vec<String> = Vec::new();
    for word in words {
        let renamed = name_of_column(word);
        let mut name = shown(renamed).into_owned();
        let mut copies = 1;
        while names.contains(&name) {
            copies += 1;
            name = format!("{}_{copies}", shown(renamed));
        }
        names.push(name);
        if names.len() > MAX_COLUMNS {
            return Err(StatTextError::TooManyColumns(names.len()));
        }
    }
    Ok(Layout { names, maintained: false })
}

/// Appends exactly `columns` values of one row; returns how many words the row has, or `None`
/// (and zeros) when one of them is not a 32-bit hexadecimal number.
fn parse_row(mut line: &[u8], columns: usize, values: &mut Vec<u32>) -> Option<usize> {
    let start = values.len();
    let mut words = 0;
    loop {
        line = line.trim_ascii_start();
        if line.is_empty() {
            values.resize(start + columns, 0);
            return Some(words);
        }
        let Some((value, rest)) = parse_word(line) else {
            values.truncate(start);
            values.resize(start + columns, 0);
            return None;
        };
        values.push(value);
        words += 1;
        line = rest;
    }
}

/// The number that `line` starts with, and what follows it.
fn parse_word(line: &[u8]) -> Option<(u32, &[u8])> {
    if let Some((word, rest)) = line.split_first_chunk()
        && rest.first().is_none_or(u8::is_ascii_whitespace)
        && let Some(value) = eight_digits(*word)
    {
        return Some((value, rest));
    }
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    // `from_str_radix` would take a sign.
    let digits = str::from_utf8(word).ok().filter(|word| !word.starts_with(['+', '-']))?;
    Some((u32::from_str_radix(digits, 16).ok().filter(|_| word.len() <= 8)?, rest))
}

/// The value of a word as the kernel prints it (`%08x`), all digits at once: its bytes are
/// compared and shifted as one 64-bit number.
fn eight_digits(word: [u8; 8]) -> Option<u32> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let x = u64::from_be_bytes(word);
    // For bytes below 0x80: the high bit is set where a byte is at least `least`.
    let at_least = |least: u64| x.wrapping_add((0x80 - least) * ONES);
    let digit = at_least(b'0'.into()) & !at_least(u64::from(b'9') + 1);
    let letter = at_least(b'a'.into()) & !at_least(u64::from(b'f') + 1);
    if x & HIGH != 0 || (digit | letter) & HIGH != HIGH {
        return None;
    }
    let mut nibbles = (x & (0x0f * ONES)) + 9 * ((letter & HIGH) >> 7);
    nibbles = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles | nibbles >> 8) & 0x0000_ffff_0000_ffff;
    Some((nibbles | nibbles >> 16) as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> (StatTable, Oddities) {
        let mut table = StatTable::default();
        let oddities = StatParser::default().parse(text.as_bytes(), &mut table).unwrap();
        (table, oddities)
    }

    fn row(table: &StatTable, row: usize) -> &[u32] {
        &table.values[row * table.columns()..(row + 1) * table.columns()]
    }

    #[test]
    fn columns_get_the_names_of_the_schema() {
        let (table, oddities) = parse("entries  clashres found chainlength\n0000000a  1 2 ff\n");
        assert_eq!(table.layout.names, ["entries", "clash_resolve", "found", "chaintoolong"]);
        assert_eq!(row(&table, 0), [10, 1, 2, 255]);
        assert_eq!(table.entries(), Some(10));
        assert_eq!(oddities, Oddities::default());
    }

    #[test]
    fn a_trailing_space_and_a_missing_last_newline_are_no_oddities() {
        let (table, oddities) = parse("entries  searched found \n00000001  00000002 ffffffff ");
        assert_eq!(row(&table, 0), [1, 2, u32::MAX]);
        assert_eq!((table.rows(), oddities), (1, Oddities::default()));
    }

    #[test]
    fn a_bad_row_keeps_its_place_and_loses_no_other() {
        let (table, oddities) = parse("entries found\n1 2\n1 zz\n1 123456789\n1 4\n");
        assert_eq!(table.filled, [2, 0, 0, 2]);
        assert_eq!((row(&table, 0), row(&table, 3)), (&[1, 2][..], &[1, 4][..]));
        assert_eq!((oddities.bad_rows, oddities.first_bad_line), (2, 3));
    }

    #[test]
    fn short_and_long_rows_keep_what_the_header_names() {
        let (table, oddities) = parse("entries found new\n1 2\n1 2 3 4\n");
        assert_eq!(table.filled, [2, 3]);
        assert_eq!(row(&table, 1), [1, 2, 3]);
        assert_eq!((oddities.short_rows, oddities.long_rows), (1, 1));
    }

    /// A truncated text has the same numbers as the complete one.
    #[test]
    fn a_truncated_number_is_not_read() {
        let text = "entries found new\n00000007 12345678 9abcdef0\n00000007 00000002 00000003\n";
        let (whole, _) = parse(text);
        for cut in "entries found new\n".len()..text.len() {
            let (table, _) = parse(&text[..cut]);
            for (i, &filled) in table.filled.iter().enumerate() {
                let filled = usize::from(filled);
                assert_eq!(row(&table, i)[..filled], row(&whole, i)[..filled], "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_word_is_up_to_eight_digits_and_nothing_else() {
        for (word, value) in [
            ("0", Some(0)),
            ("deadbeef", Some(0xdead_beef)),
            ("DEADBEEF", Some(0xdead_beef)),
            ("ffffffff", Some(u32::MAX)),
            ("000000000", None),
            ("+0000001", None),
            ("-1", None),
            ("0000000g", None),
            ("0000000:", None),
            ("000000/0", None),
            ("0000`000", None),
            ("0x000001", None),
            ("\u{10}\u{11}000000", None),
            ("0000é00", None),
        ] {
            assert_eq!(parse_word(word.as_bytes()).map(|(value, _)| value), value, "{word:?}");
        }
    }

    #[test]
    fn a_repeated_column_name_is_numbered() {
        let (table, _) = parse("entries new new new\n1 2 3 4\n");
        assert_eq!(table.layout.names, ["entries", "new", "new_2", "new_3"]);
    }

    #[test]
    fn errors_of_headers_show_their_start() {
        let fail = |text: &str| {
            let mut table = StatTable::default();
            StatParser::default().parse(text.as_bytes(), &mut table).unwrap_err().to_string()
        };
        assert_eq!(fail(""), "the file is empty");
        assert_eq!(
            fail("cpu  1\x1b[2J\n"),
            "line 1 is not a header of conntrack statistics (it starts with 'cpu')"
        );
    }

    #[test]
    fn a_header_that_changes_is_read_again() {
        let mut parser = StatParser::default();
        let mut table = StatTable::default();
        parser.parse(b"entries searched\n1 2\n", &mut table).unwrap();
        let first = Arc::clone(&table.layout);
        parser.parse(b"entries searched\n1 3\n", &mut table).unwrap();
        assert!(Arc::ptr_eq(&first, &table.layout));
        parser.parse(b"entries clashres\n1 3\n", &mut table).unwrap();
        assert_eq!(table.layout.names, ["entries", "clash_resolve"]);
    }

    proptest! {
        #[test]
        fn all_digits_at_once_is_the_same_as_one_by_one(value: u32, word: [u8; 8]) {
            let printed = format!("{value:08x}");
            prop_assert_eq!(eight_digits(printed.as_bytes().try_into().unwrap()), Some(value));
            let slow = word.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            prop_assert_eq!(eight_digits(word).is_some(), slow);
        }

        #[test]
        fn arbitrary_bytes_never_panic(text: Vec<u8>) {
            let mut table = StatTable::default();
            let parsed = StatParser::default().parse(&text, &mut table);
            prop_assert!(parsed.is_ok() || table.rows() == 0);
        }

        #[test]
        fn arbitrary_lines_never_lose_a_good_row(
            values in prop::collection::vec(prop::collection::vec(any::<u32>(), 3), 1..20),
            noise in prop::collection::vec("[^\n]{0,40}", 1..20),
        ) {
            let mut text = String::from("entries  searched found\n");
            for (i, row) in values.iter().enumerate() {
                text.push_str(&format!("{:08x}  {:08x} {:08x}\n", row[0], row[1], row[2]));
                text.push_str(&noise[i % noise.len()].replace(|c: char| c.is_ascii_hexdigit(), "z"));
                text.push('\n');
            }
            let mut table = StatTable::default();
            StatParser::default().parse(text.as_bytes(), &mut table).unwrap();
            let good: Vec<&[u32]> = (0..table.rows())
                .filter(|&i| table.filled[i] == 3)
                .map(|i| row(&table, i))
                .collect();
            prop_assert_eq!(good, values.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }
}
