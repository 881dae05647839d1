//! Where a zstd file is whole: the frames and blocks of RFC 8878.
//!
//! A writer that was killed leaves a frame without an end and perhaps a torn block; a machine that
//! lost power leaves blocks of zeros or of older data, too. What stands before that is whole, and the
//! frame can be ended with an empty block, so that another frame may follow. The blocks of a frame
//! that has its end are not looked into.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::ZSTD_MAGIC;
use super::decode::WINDOW_LOG_MAX;

/// A block of type raw, of no bytes, the last of its frame.
pub const LAST_BLOCK: [u8; 3] = [1, 0, 0];
/// The upper 28 bits of the magic number of frames that decoders skip.
const SKIPPABLE: u32 = 0x184d_2a50;
/// The most bytes of a block, plain or compressed.
const LONGEST_BLOCK: u64 = 128 << 10;
/// How much is passed on at once of what is no block.
const PIECE: u64 = 4096;

/// The whole part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// Its length in bytes.
    pub length: u64,
    /// Whether it ends within a frame, which takes [`LAST_BLOCK`].
    pub open: bool,
}

/// What a frame's first bytes say.
#[derive(Debug, Clone, Copy)]
struct Header {
    has_checksum: bool,
    /// The bytes of the content's size, which our frames do not have.
    size_bytes: u64,
    /// The bytes behind the descriptor.
    more: u64,
}

impl Header {
    fn of(descriptor: u8) -> Self {
        let is_single = descriptor >> 5 & 1 == 1;
        let size_bytes = [u64::from(is_single), 2, 4, 8][usize::from(descriptor >> 6)];
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let more = u64::from(!is_single) + dictionary + size_bytes;
        Self { has_checksum: descriptor >> 2 & 1 == 1, size_bytes, more }
    }
}

/// The header of a block.
#[derive(Debug, Clone, Copy)]
struct BlockHeader {
    is_last: bool,
    /// Its bytes behind the header.
    length: u64,
}

impl BlockHeader {
    /// None for what cannot be a block.
    fn of([a, b, c]: [u8; 3]) -> Option<Self> {
        let header = u32::from_le_bytes([a, b, c, 0]);
        let length = match header >> 1 & 3 {
            0 | 2 => u64::from(header >> 3),
            1 => 1, // one byte, repeated
            _ => return None,
        };
        let is_last = header & 1 == 1;
        (length <= LONGEST_BLOCK).then_some(Self { is_last, length })
    }
}

/// How the blocks of a frame end.
enum BlocksEnd {
    /// With the last one.
    Whole,
    /// The file ends before that, or what follows is no block.
    Open,
}

/// Finds the whole part of `file`, from its start.
///
/// # Errors
/// The file's, or [`io::ErrorKind::InvalidData`] for what is not zstd or cannot be continued.
pub fn whole_part(mut file: impl Read + Seek) -> io::Result<Whole> {
    let mut walk = Walk { input: BufReader::new(&mut file), at: 0 };
    let mut before = None;
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
            if start > 0 && magic == [0; 4] && walk.has_only_zeros()? {
                return Ok(cut);
            }
            // What seemed to be the last block of the frame before may be no block.
            let Some(before) = before else { return Err(invalid("not zstd")) };
            return match readable_part(file, before)? {
                length if length < start && length > before => Ok(Whole { length, open: true }),
                length if length < start && length > 0 => Ok(Whole { length, open: false }),
                _ => Err(invalid("what follows its last frame is not zstd")),
            };
        }
        let Some([descriptor]) = walk.bytes::<1>()? else { return Ok(cut) };
        let header = Header::of(descriptor);
        if !walk.skip(header.more)? {
            return Ok(cut);
        }
        let is_foreign = header.has_checksum || header.size_bytes > 0;
        let end = walk.blocks()?;
        if is_foreign {
            let is_cut = header.has_checksum && walk.bytes::<4>()?.is_none();
            if is_cut || matches!(end, BlocksEnd::Open) {
                return Err(invalid("cut within a frame that another program wrote"));
            }
        } else if matches!(end, BlocksEnd::Open) {
            return match readable_part(file, start)? {
                0 => Err(invalid("its first frame cannot be read")),
                // A damaged header: there is no frame to end.
                length => Ok(Whole { length, open: length > start }),
            };
        }
        before = (!is_foreign).then_some(start);
    }
}

/// Decodes the frame that begins at `start`, and returns where its last block ends that is text.
fn readable_part(mut file: impl Read + Seek, start: u64) -> io::Result<u64> {
    file.seek(SeekFrom::Start(start))?;
    let mut parts = Parts::new(BufReader::new(file));
    let (mut decoder, mut text) = (Decoder::new()?, Text::default());
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
    let (mut bytes, mut decoded) = (Vec::new(), vec![0; LONGEST_BLOCK as usize]);
    let mut at = start;
    loop {
        bytes.clear();
        if !parts.take(&mut bytes)? {
            return Ok(at);
        }
        let mut input = InBuffer::around(&bytes);
        loop {
            let mut output = OutBuffer::around(&mut decoded[..]);
            if decoder.run(&mut input, &mut output).is_err() {
                return Ok(at);
            }
            let length = output.pos();
            if !text.goes_on_with(&decoded[..length]) {
                return Ok(at);
            }
            if length < decoded.len() && input.pos() == bytes.len() {
                break;
            }
        }
        at += bytes.len() as u64;
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Whether decoded bytes are text, which is torn anywhere.
#[derive(Default)]
struct Text {
    /// The beginning of a character.
    rest: Vec<u8>,
}

impl Text {
    fn goes_on_with(&mut self, bytes: &[u8]) -> bool {
        self.rest.extend_from_slice(bytes);
        let whole = match str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return false,
        };
        let is_text = memchr::memchr(0, &self.rest[..whole]).is_none();
        self.rest.drain(..whole);
        is_text
    }
}

/// Cuts a zstd file into headers, blocks and checksums.
struct Parts<R> {
    input: R,
    place: Place,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Place {
    Frame,
    Block {
        has_checksum: bool,
    },
    Checksum,
    /// So many bytes of a frame that is skipped.
    Skippable(u64),
    /// Anything: it is damaged, or no zstd.
    Unknown,
}

impl<R: Read> Parts<R> {
    fn new(input: R) -> Self {
        Self { input, place: Place::Frame }
    }

    /// Appends the next part to `bytes`. Returns whether it is whole; what follows is unknown
    /// otherwise, and its pieces have some length.
    fn take(&mut self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        let next = match self.place {
            Place::Frame => self.take_header(bytes)?,
            Place::Block { has_checksum } => self.take_block(has_checksum, bytes)?,
            Place::Checksum => self.more(4, bytes)?.then_some(Place::Frame),
            Place::Skippable(left) => {
                let length = left.min(PIECE);
                let next = match left - length {
                    0 => Place::Frame,
                    left => Place::Skippable(left),
                };
                self.more(length, bytes)?.then_some(next)
            }
            Place::Unknown => {
                self.more(PIECE, bytes)?;
                None
            }
        };
        self.place = next.unwrap_or(Place::Unknown);
        Ok(next.is_some())
    }

    fn take_header(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<Place>> {
        let Some(magic) = self.array::<4>(bytes)? else { return Ok(None) };
        if u32::from_le_bytes(magic) & 0xffff_fff0 == SKIPPABLE {
            let length = self.array::<4>(bytes)?;
            return Ok(length.map(|length| match u32::from_le_bytes(length) {
                0 => Place::Frame,
                length => Place::Skippable(u64::from(length)),
            }));
        }
        if magic != ZSTD_MAGIC {
            return Ok(None);
        }
        let Some([descriptor]) = self.array::<1>(bytes)? else { return Ok(None) };
        let Header { has_checksum, more, .. } = Header::of(descriptor);
        Ok(self.more(more, bytes)?.then_some(Place::Block { has_checksum }))
    }

    fn take_block(&mut self, has_checksum: bool, bytes: &mut Vec<u8>) -> io::Result<Option<Place>> {
        let header = self.array::<3>(bytes)?.and_then(BlockHeader::of);
        let Some(BlockHeader { is_last, length }) = header else { return Ok(None) };
        let next = match (is_last, has_checksum) {
            (false, _) => Place::Block { has_checksum },
            (true, true) => Place::Checksum,
            (true, false) => Place::Frame,
        };
        Ok(self.more(length, bytes)?.then_some(next))
    }

    fn array<const N: usize>(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<[u8; N]>> {
        let before = bytes.len();
        self.more(N as u64, bytes)?;
        Ok(bytes[before..].try_into().ok())
    }

    /// Appends so many bytes; whether there are as many.
    fn more(&mut self, number: u64, bytes: &mut Vec<u8>) -> io::Result<bool> {
        let length = self.input.by_ref().take(number).read_to_end(bytes)?;
        Ok(length as u64 == number)
    }
}

/// Gives a decoder one block after another: where one is damaged, all before it were decoded.
pub(super) struct BlockReader<R> {
    parts: Parts<R>,
    part: Vec<u8>,
    /// How much of the part was taken.
    taken: usize,
}

impl<R: Read> BlockReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { parts: Parts::new(input), part: Vec::new(), taken: 0 }
    }
}

impl<R: Read> BufRead for BlockReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.part.len() {
            self.part.clear();
            self.taken = 0;
            self.parts.take(&mut self.part)?;
        }
        Ok(&self.part[self.taken..])
    }

    fn consume(&mut self, amount: usize) {
        self.taken += amount;
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

/// Goes through a file without reading what blocks hold.
struct Walk<R> {
    input: BufReader<R>,
    at: u64,
}

impl<R: Read + Seek> Walk<R> {
    /// Skips a frame's blocks.
    fn blocks(&mut self) -> io::Result<BlocksEnd> {
        loop {
            let header = self.bytes::<3>()?.and_then(BlockHeader::of);
            let Some(BlockHeader { is_last, length }) = header else { return Ok(BlocksEnd::Open) };
            if !self.skip(length)? {
                return Ok(BlocksEnd::Open);
            }
            if is_last {
                return Ok(BlocksEnd::Whole);
            }
        }
    }

    /// Whether all bytes up to the end of the file are 0.
    fn has_only_zeros(&mut self) -> io::Result<bool> {
        loop {
            let bytes = self.input.fill_buf()?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            let length = bytes.len();
            if length == 0 {
                return Ok(true);
            }
            self.input.consume(length);
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
            let mut repaired = two[..whole.length as usize].to_vec();
            if whole.open {
                repaired.extend_from_slice(&LAST_BLOCK);
            }
            repaired.extend_from_slice(&more);
            let found = decoded(&repaired).unwrap();
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

    /// What a machine that lost power leaves behind the last block that was written back.
    #[test]
    fn a_file_with_a_damaged_end_can_be_repaired_and_continued() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        let mut ends = vec![(0, 0)];
        let mut text = Vec::new();
        for second in 0..40 {
            let line = format!("conntrack drop={}i {second}\n", random.u32(..));
            text.extend_from_slice(line.as_bytes());
            encoder.write_all(line.as_bytes()).unwrap();
            encoder.flush().unwrap();
            ends.push((encoder.get_ref().len(), text.len()));
        }
        let file = encoder.get_ref().clone();
        let more = zstd::encode_all(&b"more\n"[..], 1).unwrap();
        for cut in 6..file.len() {
            let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(500).collect();
            let old = [&file[..500.min(file.len())], &noise].concat();
            for rest in [&[0; 3][..], &[0; 200], &[0; 5000], &noise, &old] {
                let damaged = [&file[..cut], rest].concat();
                let whole = whole_part(Cursor::new(&damaged)).unwrap();
                assert!(whole.open, "cut at {cut}");
                let repaired = [&damaged[..whole.length as usize], &LAST_BLOCK, &more].concat();
                let found = decoded(&repaired).unwrap();
                let found = found.strip_suffix(b"more\n").unwrap();
                let kept = ends.iter().rev().find(|(end, _)| *end <= cut).unwrap().1;
                assert!(found.starts_with(&text[..kept]), "cut at {cut}");
                // As a report reads it.
                let mut read = Vec::new();
                let input = Box::new(Cursor::new(damaged));
                let _ = super::super::decode::decoded(input).unwrap().read_to_end(&mut read);
                assert!(read.starts_with(&text[..kept]), "cut at {cut}: {}", read.len());
            }
        }
        // A header whose window no reader takes: there is no frame to end.
        let ended = [&file[..], &LAST_BLOCK].concat();
        let damaged = [&ended[..], &ZSTD_MAGIC, &[0x00, 0xff, 0x00, 0x00, 0x00]].concat();
        let whole = whole_part(Cursor::new(damaged)).unwrap();
        assert_eq!(whole, Whole { length: ended.len() as u64, open: false });
        // Behind a frame that has its end.
        let ended = encoder.finish().unwrap();
        let whole = whole_part(Cursor::new([&ended[..], &[0; 300]].concat())).unwrap();
        assert_eq!(whole, Whole { length: ended.len() as u64, open: false });
        assert!(whole_part(Cursor::new([&ended[..], b"conntrack x=1 2\n"].concat())).is_err());
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
