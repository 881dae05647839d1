//! Where a zstd file is whole: the frames and blocks of RFC 8878, without looking into them.
//!
//! A writer that was killed leaves a frame without an end and perhaps a torn block. What stands
//! before that is whole, and the frame can be ended with an empty block, so that another frame
//! may follow.

use std::io::{self, BufReader, Read, Seek};

use super::ZSTD_MAGIC;

/// A block of type raw, of no bytes, the last of its frame.
pub const LAST_BLOCK: [u8; 3] = [1, 0, 0];
/// The upper 28 bits of the magic number of frames that decoders skip.
const SKIPPABLE: u32 = 0x184d_2a50;

/// The whole part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// Its length in bytes.
    pub length: u64,
    /// Whether it ends within a frame, which takes [`LAST_BLOCK`].
    pub open: bool,
}

/// Finds the whole part of `file`, from its start.
///
/// # Errors
/// The file's, or [`io::ErrorKind::InvalidData`] for what is not zstd or cannot be continued.
pub fn whole_part(file: impl Read + Seek) -> io::Result<Whole> {
    let mut walk = Walk { input: BufReader::new(file), at: 0 };
    loop {
        let start = walk.at;
        let cut = Whole { length: start, open: false };
        let Some(magic) = walk.bytes::<4>()? else { return Ok(cut) };
        if u32::from_le_bytes(magic) & 0xffff_fff0 == SKIPPABLE {
            let Some(length) = walk.bytes::<4>()? else { return Ok(cut) };
            if !walk.skip(u64::from(u32::from_le_bytes(length)))? {
                return Ok(cut);
            }
            continue;
        }
        if magic != ZSTD_MAGIC {
            return Err(invalid("not zstd"));
        }
        let Some([descriptor]) = walk.bytes::<1>()? else { return Ok(cut) };
        let (single, checksum) = (descriptor >> 5 & 1 == 1, descriptor >> 2 & 1 == 1);
        let content_size = [u64::from(single), 2, 4, 8][usize::from(descriptor >> 6)];
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        if !walk.skip(u64::from(!single) + dictionary + content_size)? {
            return Ok(cut);
        }
        if let Some(whole) = walk.blocks()? {
            if checksum || content_size > 0 {
                return Err(invalid("cut within a frame that another program wrote"));
            }
            return Ok(Whole { length: whole, open: true });
        }
        if checksum && walk.bytes::<4>()?.is_none() {
            return Err(invalid("cut within a frame that another program wrote"));
        }
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

struct Walk<R> {
    input: BufReader<R>,
    at: u64,
}

impl<R: Read + Seek> Walk<R> {
    /// Skips a frame's blocks; the end of its last whole one if the frame does not end.
    fn blocks(&mut self) -> io::Result<Option<u64>> {
        loop {
            let whole = self.at;
            let Some([a, b, c]) = self.bytes::<3>()? else { return Ok(Some(whole)) };
            let header = u32::from_le_bytes([a, b, c, 0]);
            let length = match header >> 1 & 3 {
                0 | 2 => u64::from(header >> 3),
                1 => 1, // one byte, repeated
                _ => return Err(invalid("damaged")),
            };
            if !self.skip(length)? {
                return Ok(Some(whole));
            }
            if header & 1 == 1 {
                return Ok(None);
            }
        }
    }

    /// The next bytes, or `None` if the file ends before or within them.
    fn bytes<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        match self.input.read_exact(&mut bytes) {
            Ok(()) => {
                self.at += N as u64;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Skips `length` bytes; whether the file has them.
    fn skip(&mut self, length: u64) -> io::Result<bool> {
        if length == 0 {
            return Ok(true);
        }
        // The last byte is read: one can seek behind the end of a file.
        self.input.seek_relative((length - 1) as i64)?;
        self.at += length - 1;
        Ok(self.bytes::<1>()?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;

    fn decoded(bytes: &[u8]) -> io::Result<Vec<u8>> {
        zstd::decode_all(bytes)
    }

    #[test]
    fn a_file_cut_at_any_byte_can_be_repaired_and_continued() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        for text in ["first\n", &"a long line ".repeat(30_000), "\nlast\n"] {
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.flush().unwrap();
        }
        let one = encoder.finish().unwrap();
        let text = decoded(&one).unwrap();
        let more = zstd::encode_all(&b"more\n"[..], 1).unwrap();
        let two = [&one[..], &one].concat();
        for cut in 0..=two.len() {
            let whole = whole_part(Cursor::new(&two[..cut])).unwrap();
            let mut mended = two[..whole.length as usize].to_vec();
            if whole.open {
                mended.extend_from_slice(&LAST_BLOCK);
            }
            mended.extend_from_slice(&more);
            let found = decoded(&mended).unwrap();
            let found = found.strip_suffix(b"more\n").unwrap();
            let all = [&text[..], &text].concat();
            assert!(all.starts_with(found), "cut at {cut}");
            assert!(cut < one.len() || found.len() >= text.len(), "cut at {cut}");
            assert!(whole.length + 200_000 > cut as u64);
        }
        assert_eq!(
            whole_part(Cursor::new(&two)).unwrap(),
            Whole { length: two.len() as u64, open: false }
        );
    }

    #[test]
    fn content_of_another_program_is_kept_or_refused() {
        let sized = zstd::bulk::compress(&b"x".repeat(100_000), 3).unwrap();
        assert!(!whole_part(Cursor::new(&sized)).unwrap().open);
        assert!(whole_part(Cursor::new(&sized[..sized.len() - 1])).is_err());
        assert!(whole_part(Cursor::new(b"conntrack x=1 2\n")).is_err());
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 7, 7];
        let whole = whole_part(Cursor::new([&skippable[..], &sized].concat())).unwrap();
        assert_eq!(whole.length as usize, 10 + sized.len());
        assert_eq!(whole_part(Cursor::new(&skippable[..9])).unwrap().length, 0);
    }
}
