//! The file that a recording is written to: appended to, rotated, and whole at any time.
//!
//! A batch of rows is one write. One that does not fit on the disk is taken back, and what a
//! killed process left of one is cut off at the next start, so a batch is there or absent. A
//! name that ends in `.zst` compresses: each batch then ends in a flushed block of whole lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use zstd::stream::write::Encoder;

use super::frames::{LAST_BLOCK, whole_part};
use super::{Catalog, parse, rotated};

/// The fastest level that is not `--fast`: rows that repeat each other shrink to a tenth with it.
const LEVEL: i32 = 1;
/// How far back a match may reach, as a power of two: 128 KiB, some fifty rows. Memory is a few
/// times that.
const WINDOW_LOG: u32 = 17;
/// Text that is compressed into one block: no more than a block can hold (128 KiB).
const BLOCK: usize = 64 << 10;
/// A row that is longer is none.
const LONGEST_ROW: u64 = 1 << 20;

/// When to put a file aside, and how many of those to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// In bytes. A file is put aside before it grows beyond this (if compressed, once it has).
    pub size: u64,
    /// Files that are kept beside the one that is written, at least 1.
    pub keep: u32,
}

/// Why a file cannot be appended to.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system's reason.
    #[error("cannot write to {0}")]
    Io(PathBuf, #[source] io::Error),
    /// It holds something else.
    #[error("{0} is no recording ({1}), and is not touched; use another file")]
    NoRecording(PathBuf, String),
    /// Another process holds its lock.
    #[error("{0} is written by another process")]
    Locked(PathBuf),
}

/// A recording that is being written.
pub struct RecordingFile {
    path: PathBuf,
    file: File,
    /// What is whole in the file, in bytes.
    length: u64,
    rotation: Option<Rotation>,
    packing: Option<Packing>,
}

/// The state of a compressed file.
#[derive(Default)]
struct Packing {
    /// There is none between two frames.
    encoder: Option<Encoder<'static, Vec<u8>>>,
    /// The file ends within a frame that no encoder will end.
    unended: bool,
}

/// Whether the name of `path` asks for compression.
#[must_use]
pub fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

impl RecordingFile {
    /// Opens `path` to append to it; with it how many bytes of a torn record were cut off.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn append(path: PathBuf, rotation: Option<Rotation>) -> Result<(Self, u64), FileError> {
        let compressed = is_compressed(&path);
        let result = open(&path).and_then(|mut file| {
            let before = file.metadata()?.len();
            let (length, unended) = if compressed {
                let whole = whole_part(&mut file)?;
                (whole.length, whole.open)
            } else {
                (whole_rows(&mut file, before)?, false)
            };
            if length < before {
                file.set_len(length)?;
            }
            let packing = compressed.then(|| Packing { unended, ..Packing::default() });
            let path = path.clone();
            Ok((Self { path, file, length, rotation, packing }, before - length))
        });
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => FileError::Locked(path),
            io::ErrorKind::InvalidData => FileError::NoRecording(path, error.to_string()),
            _ => FileError::Io(path, error),
        })
    }

    /// The path, if files are put aside there.
    #[must_use]
    pub fn rotates(&self) -> Option<&Path> {
        self.rotation.is_some().then_some(self.path.as_path())
    }

    /// Appends `text`, which consists of whole lines: all of it or nothing.
    ///
    /// # Errors
    /// The system's. The file then is as it was before, unless that fails as well.
    pub fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if self.rotation.is_some_and(|rotation| self.is_due(rotation, text.len() as u64)) {
            self.rotate()?;
        }
        match &mut self.packing {
            None => self.write_whole(text),
            Some(packing) => {
                let within = packing.is_within_a_frame();
                let bytes = packing.pack(text)?;
                let written = self.write_whole(&bytes);
                if let (Err(_), Some(packing)) = (&written, &mut self.packing) {
                    // What follows must not refer to what is not there.
                    *packing = Packing { encoder: None, unended: within };
                }
                written
            }
        }
    }

    /// Ends the file: a compressed one gets the end of its frame.
    ///
    /// # Errors
    /// The system's; every row is in the file all the same.
    pub fn finish(&mut self) -> io::Result<()> {
        let Some(packing) = &mut self.packing else { return Ok(()) };
        let within = packing.is_within_a_frame();
        let end = packing.end()?;
        let written = self.write_whole(&end);
        if let (Err(_), Some(packing)) = (&written, &mut self.packing) {
            packing.unended = within;
        }
        written
    }

    fn write_whole(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes);
        match written {
            Ok(()) => self.length += bytes.len() as u64,
            // If this fails too, the torn record is cut off at the next start.
            Err(_) => _ = self.file.set_len(self.length),
        }
        written
    }

    fn is_due(&self, rotation: Rotation, more: u64) -> bool {
        let next = if self.packing.is_some() { self.length } else { self.length + more - 1 };
        self.length > 0 && next >= rotation.size
    }

    /// Puts the file aside as `path.1`, the one of that name as `path.2` and so on.
    fn rotate(&mut self) -> io::Result<()> {
        self.finish()?;
        let keep = self.rotation.map_or(1, |rotation| rotation.keep);
        // The oldest is replaced by the rename of the next.
        for number in (1..keep).rev() {
            let from = rotated(&self.path, number);
            if from.exists() {
                std::fs::rename(&from, rotated(&self.path, number + 1))?;
            }
        }
        let permissions = self.file.metadata()?.permissions();
        std::fs::rename(&self.path, rotated(&self.path, 1))?;
        let new = open(&self.path);
        if new.is_err() {
            // The file that is open is the one to write to, until a new one can be made.
            let _ = std::fs::rename(rotated(&self.path, 1), &self.path);
        }
        self.file = new?;
        self.file.set_permissions(permissions)?;
        self.length = self.file.metadata()?.len();
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    lock(&file)?;
    Ok(file)
}

/// Makes this process the only one that writes a file; the lock ends with it.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] where another process is that.
pub fn lock(file: &File) -> io::Result<()> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => Err(error.into()),
        // A file system without locks.
        _ => Ok(()),
    }
}

/// How much of a file of text is whole rows.
fn whole_rows(file: &mut File, length: u64) -> io::Result<u64> {
    let no_recording = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why.to_owned()));
    let mut start = Vec::new();
    file.rewind()?;
    (&mut *file).take(LONGEST_ROW).read_to_end(&mut start)?;
    match memchr::memchr(b'\n', &start) {
        Some(_) if start.starts_with(b"# HELP") || start.starts_with(b"# TYPE") => {
            return no_recording("it begins as Prometheus text does");
        }
        Some(end) => match parse(&start[..end], &mut Catalog::default(), &mut Vec::new()) {
            Ok(Some(_)) => {}
            Ok(None) => return no_recording("its first line is empty or a comment"),
            Err(why) => return no_recording(&why.to_string()),
        },
        // Its very first row, torn.
        None if start.is_empty() || is_beginning(&start) => return Ok(0),
        None => return no_recording("no row in it"),
    }
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

impl Packing {
    /// `text` as blocks of whole lines, in front of them what the file needs first.
    fn pack(&mut self, mut text: &[u8]) -> io::Result<Vec<u8>> {
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

    /// What ends the file's last frame.
    fn end(&mut self) -> io::Result<Vec<u8>> {
        match self.encoder.take() {
            Some(encoder) => encoder.finish(),
            None if std::mem::take(&mut self.unended) => Ok(LAST_BLOCK.to_vec()),
            None => Ok(Vec::new()),
        }
    }

    fn is_within_a_frame(&self) -> bool {
        self.encoder.is_some() || self.unended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Tally, files_of, read};

    const ROW: &str = "conntrack,cpu=all drop=1i 1795590600000000000\n";

    fn rows(path: &Path) -> (u64, u64) {
        let (mut catalog, mut tally) = (Catalog::default(), Tally::default());
        read(&files_of(path), &mut catalog, &mut tally, &mut |_, _| {});
        assert!(tally.unreadable.is_empty(), "{tally:?}");
        (tally.rows, tally.bad_lines)
    }

    fn append(path: &Path) -> Result<(RecordingFile, u64), FileError> {
        RecordingFile::append(path.to_owned(), None)
    }

    #[test]
    fn a_torn_end_is_cut_off_and_the_file_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["fw.influx", "fw.influx.zst"] {
            let path = dir.path().join(name);
            let (mut file, cut) = append(&path).unwrap();
            assert_eq!(cut, 0);
            (0..5).for_each(|_| file.write(ROW.repeat(3).as_bytes()).unwrap());
            drop(file); // as if killed: no end of the frame
            let bytes = std::fs::read(&path).unwrap();
            for torn in 1..bytes.len() {
                std::fs::write(&path, &bytes[..torn]).unwrap();
                let before = rows(&path).0;
                let (mut file, _) = append(&path).unwrap();
                file.write(ROW.as_bytes()).unwrap();
                file.finish().unwrap();
                drop(file);
                assert_eq!(rows(&path), (before + 1, 0), "{name} cut at {torn}");
            }
        }
    }

    #[test]
    fn what_is_no_recording_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("diary.zst");
        for (name, text) in [
            ("diary", "dear diary\nnothing happened"),
            ("word", "conn"),
            ("diary.zst", "dear diary\n"),
            ("script", "#!/bin/sh\necho hi\nthe last line without an end"),
            ("comments", "## A configuration\nkey = 1"),
            ("gap", "\nconntrack x=1i 1\nand more"),
            ("markdown", "# A heading\ntext"),
        ] {
            let path = path.with_file_name(name);
            std::fs::write(&path, text).unwrap();
            let is_ours = name == "word"; // it may be a torn row
            assert_eq!(append(&path).is_ok(), is_ours, "{name}");
            if !is_ours {
                assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            }
        }
    }

    #[test]
    fn rotation_keeps_the_size_and_the_number() {
        let dir = tempfile::tempdir().unwrap();
        for (name, most) in [("fw.influx", 1000), ("fw.influx.zst", 1000 + 200)] {
            let path = dir.path().join(name);
            let rotation = Rotation { size: 1000, keep: 3 };
            let (mut file, _) = RecordingFile::append(path.clone(), Some(rotation)).unwrap();
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, private).unwrap();
            for number in 0..4000 {
                let row = ROW
                    .replace("1i", &format!("{}i", fastrand::Rng::with_seed(number).u64(..) >> 1));
                file.write(row.as_bytes()).unwrap();
            }
            file.finish().unwrap();
            let files = files_of(&path);
            assert_eq!(files.len(), 4, "{name}");
            for file in &files {
                assert!(file.metadata().unwrap().len() <= most, "{}", file.display());
            }
            let mode = |path: &Path| path.metadata().unwrap().permissions();
            assert_eq!(mode(&path), mode(&rotated(&path, 3)), "{name}");
            assert!(rows(&path).0 > 30);
            assert_eq!(rows(&path).1, 0);
        }
    }

    #[test]
    fn two_processes_do_not_write_one_recording() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fw.influx");
        let _first = append(&path).unwrap();
        assert!(matches!(append(&path), Err(FileError::Locked(_))));
    }

    #[test]
    fn a_batch_of_many_blocks_is_whole_lines_in_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fw.influx.zst");
        let (mut file, _) = append(&path).unwrap();
        file.write(ROW.repeat(20_000).as_bytes()).unwrap();
        drop(file);
        assert_eq!(rows(&path), (20_000, 0));
        let length = path.metadata().unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
        let (found, bad) = rows(&path);
        assert!(found > 1000 && bad == 0, "{found} {bad}");
    }
}
