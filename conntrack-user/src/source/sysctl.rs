//! The sysctl files: one number each, kept open and read with `pread`.
//!
//! Several directories and file names can give the same key; the last that can be read wins,
//! as in Telegraf, and one that cannot be read never hides another that can.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::PROC_SUPER_MAGIC;

use super::namespace::{self, Identity};
use super::opened;
use crate::schema::fields::{BUCKETS, LIMIT};

/// One field of the table row and the file that gives it.
#[derive(Debug)]
pub struct SysctlFile {
    /// The field's name, such as `ip_conntrack_count`.
    pub key: String,
    candidates: Vec<PathBuf>,
    open: Option<(File, usize)>,
    /// The identity of a plain file, which may be replaced.
    identity: Option<Identity>,
    /// The last fault was returned already; a good read forgets it.
    fault_reported: bool,
    /// The kernel's number is unsigned, even where it is printed with a sign.
    unsigned: bool,
}

/// Fields that are `unsigned int` in the kernel and printed as `int` (`proc_dointvec`): a limit of
/// 2^32-1 reads -1.
const UNSIGNED: [&str; 3] = [LIMIT.name, BUCKETS.name, "ip_conntrack_expect_max"];

/// A file that exists and gives no number.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// It could not be opened or read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Its text is not a finite number.
    #[error("{} holds '{text}', not a number", path.display())]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// The start of its text, control characters escaped.
        text: String,
    },
}

impl SysctlFile {
    /// A field with the paths that may give it; nothing is opened yet.
    #[must_use]
    pub fn new(key: String, candidates: Vec<PathBuf>) -> Self {
        let unsigned = UNSIGNED.contains(&key.as_str());
        Self { key, candidates, open: None, identity: None, fault_reported: false, unsigned }
    }

    /// Whether a file is open for this field.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The file that is open for this field.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.open.as_ref().map(|(_, at)| self.candidates[*at].as_path())
    }

    /// Opens the last candidate that exists and reads as a number, if there is one.
    ///
    /// # Errors
    /// The first candidate's fault, from the last on, that exists and gives no number; an
    /// earlier candidate may be open all the same. A fault is reported once, until a read succeeds.
    pub fn open(&mut self) -> Result<(), SysctlError> {
        self.open = None;
        let mut fault = None;
        for (at, path) in self.candidates.iter().enumerate().rev() {
            match opened::open(path) {
                Ok(file) => match read(&file, path) {
                    Ok(_) => {
                        self.identity = plain_identity(&file);
                        self.open = Some((file, at));
                        break;
                    }
                    Err(error) => _ = fault.get_or_insert(error),
                },
                Err(error) if is_absent(&error) => {}
                Err(error) => {
                    fault.get_or_insert(SysctlError::Read { path: path.clone(), error });
                }
            }
        }
        fault.map_or(Ok(()), |fault| self.tell_once(fault))
    }

    fn tell_once(&mut self, fault: SysctlError) -> Result<(), SysctlError> {
        if std::mem::replace(&mut self.fault_reported, true) { Ok(()) } else { Err(fault) }
    }

    /// Closes the file, so that the next [`SysctlFile::open`] opens it again.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Reads the number, without an allocation; `None` when no file is open.
    ///
    /// # Errors
    /// [`SysctlError`], reported once until a read succeeds; the file is then closed.
    pub fn read(&mut self) -> Result<Option<f64>, SysctlError> {
        let followed = self.follow();
        if self.open.is_none() {
            return followed.map(|()| None);
        }
        let Some((file, at)) = &self.open else { return Ok(None) };
        match read(file, &self.candidates[*at]) {
            Ok(value) => {
                // An unreadable candidate that wins over the open one is still there.
                self.fault_reported &= *at + 1 < self.candidates.len();
                Ok(Some(if self.unsigned { as_unsigned(value) } else { value }))
            }
            Err(error) => {
                self.open = None;
                // It went away, with its module or namespace; the caller opens it again.
                if matches!(&error, SysctlError::Read { error, .. } if is_absent(error)) {
                    return Ok(None);
                }
                self.tell_once(error).map(|()| None)
            }
        }
    }
}

impl SysctlFile {
    /// Opens a plain file again that was replaced or removed, or another one that gives the field.
    fn follow(&mut self) -> Result<(), SysctlError> {
        let Some((_, at)) = self.open.as_ref().filter(|_| self.identity.is_some()) else {
            return Ok(());
        };
        if namespace::identity(&self.candidates[*at]).ok() == self.identity {
            return Ok(());
        }
        self.open()
    }
}

/// Returns the identity of a plain file, and `None` for one of procfs. A file whose file system is not known
/// counts as one of procfs, as nearly all of them are.
pub(super) fn plain_identity(file: &File) -> Option<Identity> {
    let system = rustix::fs::fstatfs(file).ok()?;
    (system.f_type != PROC_SUPER_MAGIC).then(|| namespace::identity_of(file).ok()).flatten()
}

/// Whether an error of opening means that there is no such file (a path component may be one).
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn read(file: &File, path: &Path) -> Result<f64, SysctlError> {
    let mut buffer = [0; 64];
    let length = file
        .read_at(&mut buffer, 0)
        .map_err(|error| SysctlError::Read { path: path.to_owned(), error })?;
    parse(&buffer[..length]).ok_or_else(|| SysctlError::NotANumber {
        path: path.to_owned(),
        text: buffer[..length].trim_ascii().escape_ascii().to_string(),
    })
}

/// The number of 32 bits without a sign that `value` is with one.
fn as_unsigned(value: f64) -> f64 {
    if (f64::from(i32::MIN)..0.0).contains(&value) { value + 2f64.powi(32) } else { value }
}

/// The number in a sysctl file's text, if there is one and it is finite.
#[must_use]
pub fn parse(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[(&str, &str)]) -> (tempfile::TempDir, SysctlFile) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in texts {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let candidates = ["a", "b", "c"].iter().map(|name| dir.path().join(name)).collect();
        (dir, SysctlFile::new("ip_x".into(), candidates))
    }

    #[test]
    fn the_last_existing_file_is_read() {
        let (_dir, mut file) = files(&[("a", "1\n"), ("b", "2\n")]);
        file.open().unwrap();
        assert_eq!(file.read().unwrap(), Some(2.0));
    }

    #[test]
    fn a_file_without_a_number_is_reported_and_the_next_file_is_read() {
        let (dir, mut file) = files(&[("a", "262144\n"), ("c", "1 2\x1b\n")]);
        let fault = file.open().unwrap_err().to_string();
        assert_eq!(fault, format!("{}/c holds '1 2\\x1b', not a number", dir.path().display()));
        assert_eq!(file.read().unwrap(), Some(262_144.0));
    }

    #[test]
    fn missing_files_are_no_error() {
        let (_dir, mut file) = files(&[]);
        file.open().unwrap();
        assert_eq!(file.read().unwrap(), None);
    }

    /// Public reports of `nf_conntrack_max` set beyond 2^31.
    #[test]
    fn a_limit_is_unsigned() {
        let (dir, _) = files(&[("a", "-1\n")]);
        let read = |key: &str| {
            let mut file = SysctlFile::new(key.into(), vec![dir.path().join("a")]);
            file.open().unwrap();
            file.read().unwrap()
        };
        assert_eq!(read("ip_conntrack_max"), Some(4_294_967_295.0));
        assert_eq!(read("ip_conntrack_tcp_loose"), Some(-1.0));
        std::fs::write(dir.path().join("a"), "-294967296\n").unwrap();
        assert_eq!(read("ip_conntrack_max"), Some(4e9));
    }

    #[test]
    fn only_finite_numbers_are_numbers() {
        assert_eq!(parse(b" 464\n"), Some(464.0));
        assert_eq!(parse(b"-1"), Some(-1.0));
        for text in ["", "nan", "inf", "0x10", "12 13"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(text: Vec<u8>) {
            let _ = parse(&text);
        }
    }
}
