//! Finds the end of a JSON object by its braces, in bytes that arrive piece by piece.

/// Where a JSON object ends.
pub(super) enum End {
    /// Behind so many bytes.
    At(usize),
    /// It is cut off: the next row begins behind so many bytes.
    Cut(usize),
    /// The bytes so far do not decide.
    Beyond,
}

/// Finds the end of a JSON object, piece by piece.
#[derive(Default)]
pub(super) struct Braces {
    scanned: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The newlines among the scanned bytes.
    pub(super) newlines: u64,
}

impl Braces {
    /// Scans what it has not seen of `text`, which begins with the object's brace.
    pub(super) fn scan(&mut self, text: &[u8]) -> End {
        while let Some(byte) = text.get(self.scanned).copied() {
            if byte == b'\n' {
                // The next byte decides whether the object goes on there.
                let Some(next) = text.get(self.scanned + 1) else { return End::Beyond };
                self.newlines += 1;
                // No string has a newline in it, and no program puts a member of an object at
                // the beginning of a line: another row begins.
                if self.in_string || *next == b'{' || next.is_ascii_alphabetic() {
                    return End::Cut(self.scanned + 1);
                }
            }
            self.scanned += 1;
            match byte {
                _ if std::mem::take(&mut self.escaped) => {}
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' if !self.in_string => self.depth += 1,
                b'}' if !self.in_string => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return End::At(self.scanned);
                    }
                }
                _ => {}
            }
        }
        End::Beyond
    }
}
