//! Rows as zstd: one frame a run, a flushed block of whole lines a batch.

use std::io::{self, Write as _};

use zstd::stream::write::Encoder;

use super::frames::LAST_BLOCK;

/// The fastest level that is not `--fast`: rows that repeat each other shrink to a tenth with it.
const LEVEL: i32 = 1;
/// How far back a match may reach, as a power of two: 128 KiB, some fifty rows. Memory is a few
/// times that.
const WINDOW_LOG: u32 = 17;
/// Text that is compressed into one block: at most the size of a block (128 KiB).
const BLOCK: usize = 64 << 10;

/// The state of a compressed file.
#[derive(Default)]
pub(super) struct Packing {
    /// There is none between two frames.
    encoder: Option<Encoder<'static, Vec<u8>>>,
    /// The file ends within a frame that no encoder will end.
    unended: bool,
}

impl Packing {
    /// The state of a file that ends within a frame of another run, or does not.
    pub(super) fn after(unended: bool) -> Self {
        Self { encoder: None, unended }
    }

    /// `text` as blocks of whole lines, in front of them what the file needs first.
    pub(super) fn pack(&mut self, mut text: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if std::mem::take(&mut self.unended) {
            bytes.extend_from_slice(&LAST_BLOCK);
        }
        if self.encoder.is_none() {
            let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
            encoder.window_log(WINDOW_LOG)?;
            self.encoder = Some(encoder);
        }
        let Some(encoder) = &mut self.encoder else { return Ok(bytes) };
        while !text.is_empty() {
            let most = &text[..text.len().min(BLOCK)];
            let lines = memchr::memrchr(b'\n', most).map_or(text.len(), |newline| newline + 1);
            let (now, later) = text.split_at(lines);
            encoder.write_all(now)?;
            encoder.flush()?;
            text = later;
        }
        bytes.append(encoder.get_mut());
        Ok(bytes)
    }

    /// The end of the file's last frame.
    pub(super) fn end(&mut self) -> io::Result<Vec<u8>> {
        match self.encoder.take() {
            Some(encoder) => encoder.finish(),
            None if std::mem::take(&mut self.unended) => Ok(LAST_BLOCK.to_vec()),
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn is_within_a_frame(&self) -> bool {
        self.encoder.is_some() || self.unended
    }
}
