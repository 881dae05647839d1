//! Opening the files of procfs and sysfs, or files in their place below `--proc-root`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Opens a file for reading.
///
/// # Errors
/// The system's error; a FIFO, for whose writer open(2) and read(2) would wait, whatever signal comes.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("it is a FIFO, not a file"));
    }
    Ok(file)
}

/// The text of a file.
///
/// # Errors
/// As [`open`], and what is no UTF-8.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a writer, open(2) of a FIFO waits.
    #[test]
    fn a_fifo_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nf_conntrack_count");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(open(&path).unwrap_err().to_string().contains("FIFO"));
        assert!(open(Path::new("/proc/self/stat")).is_ok());
    }
}
