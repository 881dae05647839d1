//! Cuts a stream of bytes into lines and JSON objects, in a buffer of bounded size.
//!
//! A line that begins with `{` or `[` is JSON: an object is cut where its braces close, on one line
//! or on several. The objects of an array, and those of a batch (`{"metrics":[...]}`), are cut one
//! by one, so a batch may be longer than the buffer.

use std::io::{self, Read};

use super::braces::{Braces, End};

/// The longest line that is read, in bytes. A row of 4,096 CPUs is 4,096 lines of some
/// kilobytes each.
pub(super) const LONGEST: usize = 1 << 20;
/// The buffer to begin with.
const BUFFER: usize = 256 << 10;
/// The byte order mark that some programs write in front of UTF-8.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";
/// How much may stand between the parts of `{"metrics":[`.
const LONGEST_OPENING: usize = 256;

/// A line or an object of a stream.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    /// A line, without its newline.
    Whole(&'a [u8]),
    /// A JSON object.
    Object(&'a [u8]),
    /// The beginning of a JSON object whose end is missing.
    Cut,
    /// A line of more than [`LONGEST`] bytes, which was skipped.
    TooLong,
    /// The last line, without a newline.
    Torn,
}

/// The JSON that surrounds the objects.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Around {
    Nothing,
    Array,
    Batch,
}

/// The lines of a stream.
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// The bytes that were read and not yet returned: `buffer[start..end]`.
    start: usize,
    end: usize,
    ended: bool,
    /// The line is too long, and its end not yet found.
    skipping: bool,
    around: Around,
    /// An object stands in front of what is next on this line.
    behind_object: bool,
    /// The newlines in front of `start`.
    newlines: u64,
    number: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            ended: false,
            skipping: false,
            around: Around::Nothing,
            behind_object: false,
            newlines: 0,
            number: 0,
        }
    }

    /// The number of the last line, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// There is nothing more to read: what is left is the last line.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The next line or object, or `None` at the end.
    ///
    /// # Errors
    /// The stream's; the lines before it were handed out.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        if self.number == 0 {
            self.skip_mark()?;
        }
        loop {
            if self.skipping {
                return self.line();
            }
            if self.around != Around::Nothing || self.behind_object {
                self.skip_between()?;
            }
            match self.peek()? {
                Some(b'{') => match self.opening()? {
                    Some(length) => self.enter(Around::Batch, length),
                    None => return self.object(),
                },
                Some(b'[') if self.around == Around::Nothing => self.enter(Around::Array, 1),
                Some(b']') if self.around != Around::Nothing => self.leave()?,
                None if self.around != Around::Nothing => {
                    self.around = Around::Nothing;
                    self.number = self.newlines + 1;
                    return Ok(Some(Line::Torn));
                }
                _ => {
                    self.around = Around::Nothing;
                    return self.line();
                }
            }
        }
    }

    /// The byte that is next; `None` at the end.
    fn peek(&mut self) -> io::Result<Option<u8>> {
        while self.start == self.end && !self.ended {
            self.fill()?;
        }
        Ok(self.buffer[self.start..self.end].first().copied())
    }

    fn skip_mark(&mut self) -> io::Result<()> {
        while self.end - self.start < MARK.len() && !self.ended {
            self.fill()?;
        }
        if self.newlines == 0 && self.buffer[self.start..self.end].starts_with(MARK) {
            self.start += MARK.len();
        }
        Ok(())
    }

    /// Goes past the spaces and commas between two objects; behind a single one, not past the end
    /// of its line.
    fn skip_between(&mut self) -> io::Result<()> {
        while let Some(byte) = self.peek()? {
            match byte {
                b'\n' => {
                    self.newlines += 1;
                    self.behind_object = false;
                }
                b' ' | b'\t' | b'\r' => {}
                b',' if self.around != Around::Nothing => {}
                _ => break,
            }
            self.start += 1;
            if byte == b'\n' && self.around == Around::Nothing {
                break;
            }
        }
        Ok(())
    }

    fn enter(&mut self, around: Around, length: usize) {
        let opening = &self.buffer[self.start..self.start + length];
        self.newlines += memchr::memchr_iter(b'\n', opening).count() as u64;
        self.start += length;
        self.around = around;
    }

    /// Goes past the `]` of an array, or the `]}` of a batch.
    fn leave(&mut self) -> io::Result<()> {
        self.start += 1;
        if self.around == Around::Batch {
            self.skip_between()?;
            if self.peek()? == Some(b'}') {
                self.start += 1;
            }
        }
        (self.around, self.behind_object) = (Around::Nothing, true);
        Ok(())
    }

    /// The length of `{"metrics":[`, if that is next.
    fn opening(&mut self) -> io::Result<Option<usize>> {
        if self.around != Around::Nothing {
            return Ok(None);
        }
        loop {
            let text = &self.buffer[self.start..self.end];
            let mut rest = text;
            let mut is_batch = true;
            for part in [&b"{"[..], b"\"metrics\"", b":", b"["] {
                rest = rest.trim_ascii_start();
                match rest.strip_prefix(part) {
                    Some(behind) => rest = behind,
                    None => {
                        is_batch = false;
                        // More bytes may still make it one.
                        rest = if part.starts_with(rest) { &[] } else { b"-" };
                        break;
                    }
                }
            }
            if is_batch {
                return Ok(Some(text.len() - rest.len()));
            }
            if !rest.is_empty() || self.ended || text.len() > LONGEST_OPENING {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// The object that is next, to the brace that closes it.
    fn object(&mut self) -> io::Result<Option<Line<'_>>> {
        self.number = self.newlines + 1;
        let mut braces = Braces::default();
        loop {
            match braces.scan(&self.buffer[self.start..self.end]) {
                End::At(length) => {
                    let object = self.start..self.start + length;
                    self.start = object.end;
                    self.behind_object = true;
                    self.newlines += braces.newlines;
                    return Ok(Some(Line::Object(&self.buffer[object])));
                }
                End::Cut(length) => {
                    self.start += length;
                    self.newlines += braces.newlines;
                    (self.around, self.behind_object) = (Around::Nothing, false);
                    return Ok(Some(Line::Cut));
                }
                End::Beyond if self.ended => {
                    self.start = self.end;
                    (self.around, self.behind_object) = (Around::Nothing, false);
                    self.newlines += braces.newlines;
                    return Ok(Some(Line::Torn));
                }
                End::Beyond if self.end - self.start > LONGEST => {
                    self.newlines += braces.newlines;
                    self.around = Around::Nothing;
                    self.behind_object = false;
                    self.skipping = true;
                    self.start = self.end;
                    return self.line();
                }
                End::Beyond => self.fill()?,
            }
        }
    }

    /// Returns the bytes up to the next newline.
    fn line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.behind_object = false;
        let mut searched = 0; // bytes from `start` on without a newline
        loop {
            let unsearched = &self.buffer[self.start + searched..self.end];
            if let Some(newline) = memchr::memchr(b'\n', unsearched) {
                let newline = self.start + searched + newline;
                let line = self.start..newline;
                self.start = newline + 1;
                self.newlines += 1;
                self.number = self.newlines;
                if std::mem::take(&mut self.skipping) {
                    return Ok(Some(Line::TooLong));
                }
                return Ok(Some(Line::Whole(&self.buffer[line])));
            }
            if self.ended {
                let torn = self.end > self.start || self.skipping;
                (self.start, self.skipping) = (self.end, false);
                self.number = self.newlines + u64::from(torn);
                return Ok(torn.then_some(Line::Torn));
            }
            if self.end - self.start > LONGEST {
                self.skipping = true;
                self.start = self.end;
            }
            searched = self.end - self.start;
            self.fill()?;
        }
    }

    /// Reads more, behind what is there.
    fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.end * 2, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(length) => {
                    self.end += length;
                    self.ended = length == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.0.len().min(self.1).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn all(text: &[u8], at_once: usize) -> Vec<String> {
        let mut lines = Lines::new(Slow(text, at_once));
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(match line {
                Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                Line::Object(object) => format!("<{}>", String::from_utf8_lossy(object)),
                Line::Cut => "<cut>".to_owned(),
                Line::TooLong => "<too long>".to_owned(),
                Line::Torn => "<torn>".to_owned(),
            });
        }
        found
    }

    #[test]
    fn objects_are_cut_at_their_braces() {
        for at_once in [1, 2, 3, 1000] {
            let all = |text: &[u8]| all(text, at_once);
            assert_eq!(all(b"{\"a\":1}\n\nx\n"), ["<{\"a\":1}>", "", "x"]);
            // On several lines, with braces and quotes in a string, and without a last newline.
            let pretty = "{\n  \"a\": {\n    \"}\\\"\": 1\n  }\n}";
            assert_eq!(all(pretty.as_bytes()), [format!("<{pretty}>")]);
            // Batches and arrays, and two objects on one line.
            assert_eq!(all(b"{\"metrics\":[{},{\"a\":{}}]}\ny\n"), ["<{}>", "<{\"a\":{}}>", "y"]);
            assert_eq!(all(b"{ \"metrics\" :\n[ {}\n, {} ]\n}\n[{},\n{}]\n"), ["<{}>"; 4]);
            assert_eq!(all(b"{}{} {}\n"), ["<{}>"; 3]);
            assert_eq!(all(b"{\"metrics\":7}\n"), ["<{\"metrics\":7}>"]);
        }
    }

    #[test]
    fn a_cut_object_costs_no_other_row() {
        for at_once in [1, 2, 3, 1000] {
            let all = |text: &[u8]| all(text, at_once);
            assert_eq!(all(b"{\"a\":{\"dr\n{}\n"), ["<cut>", "<{}>"]);
            assert_eq!(all(b"{\"a\":{\nconntrack x\n{}\n"), ["<cut>", "conntrack x", "<{}>"]);
            assert_eq!(
                all(b"{\"metrics\":[{},{\"a\n{\"metrics\":[{}]}\n"),
                ["<{}>", "<cut>", "<{}>"]
            );
            for cut in [&b"{\"a\":1"[..], b"{\"metrics\":[", b"[", b"{"] {
                assert_eq!(all(cut), ["<torn>"], "{cut:?}");
            }
            assert_eq!(all(b"[x]\ny\n"), ["x]", "y"]);
        }
    }

    #[test]
    fn numbers_are_those_of_the_lines() {
        let mut lines = Lines::new(&b"\xef\xbb\xbfa\n{\n \"a\":1\n}\n[\n{},\n\n{}]\nb\n"[..]);
        let mut numbers = Vec::new();
        while lines.next().unwrap().is_some() {
            numbers.push(lines.number());
        }
        assert_eq!(numbers, [1, 2, 6, 8, 9]);
    }

    #[test]
    fn a_batch_longer_than_the_buffer_takes_no_memory() {
        let mut text = b"{\"metrics\":[{\"a\":1}".to_vec();
        (0..200_000).for_each(|_| text.extend_from_slice(b",{\"fields\":{}}"));
        text.extend_from_slice(b"]}\n");
        let mut lines = Lines::new(&text[..]);
        let mut objects = 0;
        while let Some(line) = lines.next().unwrap() {
            objects += u32::from(matches!(line, Line::Object(_)));
        }
        assert_eq!((objects, lines.buffer.len()), (200_001, BUFFER));
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        for at_once in [1, 2, 3, 1000] {
            assert_eq!(all(b"a\n\nbcd\ne", at_once), ["a", "", "bcd", "<torn>"]);
            assert_eq!(all(b"a\n", at_once), ["a"]);
            assert!(all(b"", at_once).is_empty());
        }
    }

    #[test]
    fn a_line_that_does_not_end_takes_no_memory() {
        let mut text = vec![b'x'; 5 * LONGEST];
        text.extend_from_slice(b"\nnext\n");
        assert_eq!(all(&text, 100_000), ["<too long>", "next"]);
        assert_eq!(all(&text[..4 * LONGEST], 100_000), ["<torn>"]);
        let mut lines = Lines::new(&text[..]);
        while lines.next().unwrap().is_some() {}
        assert!(lines.buffer.len() <= 4 * LONGEST);
    }
}
