//! Cuts a stream of bytes into lines, in a buffer of bounded size.

use std::io::{self, Read};

/// The longest line that is read, in bytes. A row of 4,096 CPUs is 4,096 lines of some
/// kilobytes each.
pub(super) const LONGEST: usize = 1 << 20;
/// The buffer to begin with.
const BUFFER: usize = 256 << 10;

/// What stands between two newlines.
pub(super) enum Line<'a> {
    /// A line, without its newline.
    Whole(&'a [u8]),
    /// A line of more than [`LONGEST`] bytes, which was skipped.
    TooLong,
    /// The last line, without a newline.
    Torn,
}

/// The lines of a stream.
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// What was read and not yet handed out: `buffer[start..end]`.
    start: usize,
    end: usize,
    ended: bool,
    /// The line is too long, and its end not yet found.
    skipping: bool,
    number: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        let buffer = vec![0; BUFFER];
        Self { input, buffer, start: 0, end: 0, ended: false, skipping: false, number: 0 }
    }

    /// The number of the last line, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// There is nothing more to read: what is left is the last line.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The next line, or `None` at the end.
    ///
    /// # Errors
    /// The stream's; the lines before it were handed out.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut searched = 0; // bytes from `start` on without a newline
        loop {
            let unsearched = &self.buffer[self.start + searched..self.end];
            if let Some(newline) = memchr::memchr(b'\n', unsearched) {
                let newline = self.start + searched + newline;
                let line = self.start..newline;
                self.start = newline + 1;
                self.number += 1;
                if std::mem::take(&mut self.skipping) {
                    return Ok(Some(Line::TooLong));
                }
                return Ok(Some(Line::Whole(&self.buffer[line])));
            }
            if self.ended {
                let torn = self.end > self.start || self.skipping;
                (self.start, self.skipping) = (self.end, false);
                self.number += u64::from(torn);
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
                Line::TooLong => "<too long>".to_owned(),
                Line::Torn => "<torn>".to_owned(),
            });
        }
        assert_eq!(lines.number(), found.len() as u64);
        found
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
