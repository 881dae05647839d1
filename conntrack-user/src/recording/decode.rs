//! Opens a file and undoes its compression, which its first bytes show.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use super::ZSTD_MAGIC;
use super::frames::BlockReader;
use crate::closed::check_input;

/// How far back in a zstd file a match may reach, as a power of two: 32 MiB. It bounds the
/// memory of reading; `zstd -19` takes 8 MiB, and only `--long` or `--ultra` more than this.
pub(super) const WINDOW_LOG_MAX: u32 = 25;
/// How much of a gzip or zlib file is decoded at once, in bytes. Where it is damaged, what came
/// before in the same piece is lost as well.
const PIECE: usize = 4096;

/// The forms that a file may have.
#[derive(Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Zstd,
    Gzip,
    Zlib,
    Utf16,
    /// Another kind of file, and what to do with it.
    Refused(&'static str),
}

/// How files of other kinds begin.
const REFUSED: [(&[u8], &str); 12] = [
    (b"PK\x03\x04", "it is a zip archive; unpack it first: unzip -p FILE | ctpulse report -"),
    (b"BZh9", "it is compressed by bzip2; unpack it first: bzcat FILE | ctpulse report -"),
    (b"\xfd7zX", "it is compressed by xz; unpack it first: xzcat FILE | ctpulse report -"),
    (
        b"\x04\x22\x4d\x18",
        "it is compressed by lz4; unpack it first: lz4 -dc FILE | ctpulse report -",
    ),
    (b"7z\xbc\xaf", "it is a 7-Zip archive; unpack it first: 7z x -so FILE | ctpulse report -"),
    (b"\xd4\xc3\xb2\xa1", PACKETS),
    (b"\xa1\xb2\xc3\xd4", PACKETS),
    (b"\x4d\x3c\xb2\xa1", PACKETS),
    (b"\xa1\xb2\x3c\x4d", PACKETS),
    (b"\x0a\x0d\x0d\x0a", PACKETS),
    (b"SQLi", "it is a database of SQLite; export its rows as CSV with a header"),
    (b"\x7fELF", "it is a program; name a file that `ctpulse run --output FILE` or Telegraf wrote"),
];
const PACKETS: &str = "it has captured packets (pcap), which have no counters of conntrack; name a file that \
                       `ctpulse run --output FILE` or Telegraf wrote";
const DIRECTORY: &str =
    "it is a directory; name a recording in it, or several of them with --merge";

impl Form {
    fn of(start: &[u8]) -> Self {
        match start {
            start if start.starts_with(&ZSTD_MAGIC) => Self::Zstd,
            // A frame that decoders skip, with which pzstd begins.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0x1f, 0x8b, ..] => Self::Gzip,
            // The window of Telegraf's and everyone's zlib, then a level, which makes both bytes
            // a multiple of 31.
            [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => Self::Zlib,
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Self::Utf16,
            _ => {
                let refused = REFUSED.iter().find(|(beginning, _)| start.starts_with(beginning));
                refused.map_or(Self::Plain, |(_, what)| Self::Refused(what))
            }
        }
    }
}

/// Opens `path`; `-` is standard input.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    check_input(path)?;
    if path == Path::new("-") {
        decoded(Box::new(io::stdin()))
    } else {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, DIRECTORY));
        }
        decoded(Box::new(file))
    }
}

/// The text that `input` gives.
pub(super) fn decoded(mut input: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut start = Vec::new();
    input.by_ref().take(4).read_to_end(&mut start)?;
    let form = Form::of(&start);
    let whole = io::Cursor::new(start).chain(input);
    if form == Form::Plain {
        return Ok(Box::new(whole));
    }
    let pieces = BufReader::with_capacity(PIECE, whole);
    Ok(match form {
        Form::Gzip => Box::new(MultiGzDecoder::new(pieces)),
        Form::Zlib => Box::new(Zlib { stream: Some(ZlibDecoder::new(pieces)) }),
        Form::Utf16 => {
            let what = "it is UTF-16; convert it first: iconv -f UTF-16 -t UTF-8";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Form::Refused(what) => return Err(io::Error::new(io::ErrorKind::InvalidData, what)),
        Form::Plain | Form::Zstd => {
            let blocks = BlockReader::new(pieces);
            let mut decoder = zstd::stream::read::Decoder::with_buffer(blocks)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

/// Zlib streams one after another: Telegraf writes one for each flush.
struct Zlib<R> {
    /// `None` only while a stream follows another.
    stream: Option<ZlibDecoder<R>>,
}

impl<R: BufRead> Read for Zlib<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(0) };
            let length = stream.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let Some(mut input) = self.stream.take().map(ZlibDecoder::into_inner) else {
                return Ok(0);
            };
            if input.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.stream = Some(ZlibDecoder::new(input));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn text_of(bytes: Vec<u8>) -> io::Result<String> {
        let mut text = String::new();
        decoded(Box::new(io::Cursor::new(bytes)))?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn several_members_are_one_text() {
        let (mut gzip, mut zlib, mut zstd) = (Vec::new(), Vec::new(), Vec::new());
        let mut expected = String::new();
        for member in 0..50 {
            let text = format!("a x={member} {member}\n").repeat(100);
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            gzip.extend(encoder.finish().unwrap());
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            zlib.extend(encoder.finish().unwrap());
            zstd.extend(zstd::encode_all(text.as_bytes(), 1).unwrap());
            expected += &text;
        }
        for bytes in [gzip, zlib, zstd] {
            assert_eq!(text_of(bytes.clone()).unwrap(), expected);
            let cut = bytes[..bytes.len() - 9].to_vec();
            assert_eq!(text_of(cut).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn plain_text_of_any_length_is_itself() {
        for text in ["", "a", "x=1", "# c\n", "x y\n"] {
            assert_eq!(text_of(text.as_bytes().to_vec()).unwrap(), text);
        }
        assert!(text_of(b"\xff\xfea\0".to_vec()).unwrap_err().to_string().contains("UTF-16"));
    }

    #[test]
    fn other_kinds_of_files_are_refused_with_what_to_do() {
        for (beginning, what) in REFUSED {
            let refused = text_of([beginning, b" and more"].concat()).unwrap_err().to_string();
            assert_eq!(refused, what);
        }
        let refused = open(Path::new("/")).err().unwrap().to_string();
        assert!(refused.contains("it is a directory"), "{refused}");
    }
}
