//! The procfs reader of one input: the statistics file and the sysctl files, kept open.
//!
//! A read of the statistics file is one `pread` (one per page of text where the kernel's
//! `seq_file` returns at most that at a time). What goes away is closed, and found again by
//! [`Procfs::open_missing`].

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::mounts;
use super::namespace::{self, Identity, NamespaceError};
use super::netlink::NetlinkError;
use super::opened;
use super::roots::Place;
use super::stat_text::{Oddities, StatParser, StatTextError};
use super::sysctl::{SysctlError, SysctlFile, is_absent, plain_identity};
use crate::schema::fields::{BUCKETS, COUNT, LIMIT};
use crate::schema::raw::StatTable;

/// The names of the statistics file below `net/stat`, the current one first.
pub const STAT_FILES: [&str; 2] = ["nf_conntrack", "ip_conntrack"];

/// A statistics text longer than this is not read: 8,192 CPUs print 1.3 MB.
const LONGEST_TEXT: usize = 16 << 20;

/// Why the statistics cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StatError {
    /// No statistics file exists.
    #[error("there is no {}/stat/nf_conntrack", .0.display())]
    Missing(PathBuf),
    /// It exists and cannot be opened or read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// It holds something else than conntrack statistics.
    #[error("{}: {error}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// The error in the text.
        error: StatTextError,
    },
    /// It is longer than any kernel prints it.
    #[error("{} is longer than {LONGEST_TEXT} bytes", .0.display())]
    TooLong(PathBuf),
    /// ctnetlink gives no statistics.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// No statistics file exists, though conntrack does, and ctnetlink gives none either.
    #[error(
        "there is no {}/stat/nf_conntrack ({}), and {netlink}",
        net.display(),
        why_missing(net)
    )]
    Neither {
        /// The directory `net`.
        net: PathBuf,
        /// The error of ctnetlink.
        netlink: NetlinkError,
    },
    /// Its namespace cannot be entered or is gone.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The namespace's name now means another one, or nothing.
    #[error("network namespace {} was deleted; it is looked for again", .0.display())]
    NamespaceGone(PathBuf),
}

/// Why the directory `net` has no statistics file where conntrack is there.
fn why_missing(net: &Path) -> &'static str {
    if net.starts_with("/proc") && mounts::hides_files("/proc".as_ref()) {
        "/proc is mounted with subset=pid"
    } else {
        "as on kernels without CONFIG_NF_CONNTRACK_PROCFS"
    }
}

impl StatError {
    /// Whether the next read may do, without opening anything again.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Netlink(error) if error.is_passing())
    }

    /// Whether nothing can be sampled any more: the process that named the namespace is not there.
    #[must_use]
    pub fn is_final(&self) -> bool {
        use NamespaceError::{NoProcess, ProcessEnded};
        matches!(self, Self::Namespace(NoProcess(_) | ProcessEnded(_)))
    }

    /// Why ctnetlink does not answer, where it is configured.
    #[must_use]
    pub fn netlink(&self) -> Option<&NetlinkError> {
        match self {
            Self::Netlink(error) | Self::Neither { netlink: error, .. } => Some(error),
            _ => None,
        }
    }
}

/// The sysctl files show the namespace of the process that opens them; these two are the same in all.
const HOST_WIDE: [&str; 2] = [LIMIT.name, BUCKETS.name];

/// The kernel's files of one input.
#[derive(Debug)]
pub struct Procfs {
    place: Place,
    stat: StatFile,
    parser: StatParser,
    sysctls: Vec<SysctlFile>,
    /// What is looked at to see whether the namespace is still the same: the namespace's file,
    /// or where that cannot be entered the statistics' directory.
    watched: Option<(PathBuf, Identity)>,
    foreign: Option<&'static str>,
}

impl Procfs {
    /// A reader of `place`; `sysctls` are [`Place::sysctl_candidates`]. Nothing is opened yet.
    #[must_use]
    pub fn new(place: Place, sysctls: Vec<(String, Vec<PathBuf>)>) -> Self {
        let sysctls = sysctls.into_iter().map(|(key, paths)| SysctlFile::new(key, paths)).collect();
        Self {
            place,
            stat: StatFile::default(),
            parser: StatParser::default(),
            sysctls,
            watched: None,
            foreign: None,
        }
    }

    /// The sysctl fields, in the order of [`Procfs::read_sysctls`]'s values.
    pub fn sysctls(&self) -> impl Iterator<Item = &SysctlFile> {
        self.sysctls.iter()
    }

    /// The statistics file that is open.
    #[must_use]
    pub fn stat_path(&self) -> Option<&Path> {
        self.stat.open.as_ref().map(|(_, path)| path.as_path())
    }

    /// Closes the statistics file: something else gives more.
    pub fn close_stat(&mut self) {
        self.stat.open = None;
    }

    /// The capabilities that are missing where the sampled namespace could not be entered, so that only
    /// the statistics and the host-wide sysctl files are read.
    #[must_use]
    pub fn foreign(&self) -> Option<&'static str> {
        self.foreign
    }

    /// Whether [`Procfs::open_missing`] has something to open.
    #[must_use]
    pub fn is_incomplete(&self, wants_stat: bool) -> bool {
        let shown =
            |file: &&SysctlFile| self.foreign.is_none() || HOST_WIDE.contains(&file.key.as_str());
        wants_stat && self.stat.open.is_none()
            || self.sysctls.iter().filter(shown).any(|file| !file.is_open())
    }

    /// Opens what is not open: the statistics file if `wants_stat`, and the sysctl files,
    /// inside the sampled namespace. `report` gets each sysctl file that gives no number.
    ///
    /// # Errors
    /// [`StatError`] when the statistics file is asked for and cannot be opened, or when the
    /// namespace cannot be entered.
    pub fn open_missing(
        &mut self,
        wants_stat: bool,
        report: &mut dyn FnMut(SysctlError),
    ) -> Result<(), StatError> {
        let Some(namespace) = self.place.enter.clone() else {
            let net = self.place.net.clone().unwrap_or_else(|| "/proc/net".into());
            return self.open_here(&net, wants_stat, report);
        };
        let watch = |path: &Path| Some((path.to_owned(), namespace::identity(path).ok()?));
        let watched = watch(&namespace);
        let entered = namespace::within(&namespace, || {
            self.foreign = None;
            self.open_here(&namespace::thread_file("net"), wants_stat, report)
        });
        match (entered, self.place.net.clone()) {
            (Ok(opened), _) => {
                self.watched = watched;
                opened
            }
            (Err(NamespaceError::Permission { missing, .. }), Some(net)) => {
                self.foreign = (!is_own_namespace(&net)).then_some(missing);
                self.watched = watch(&net.join("stat"));
                self.open_here(&net, wants_stat, report)
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    fn open_here(
        &mut self,
        net: &Path,
        wants_stat: bool,
        report: &mut dyn FnMut(SysctlError),
    ) -> Result<(), StatError> {
        for file in self.sysctls.iter_mut().filter(|file| !file.is_open()) {
            if self.foreign.is_some() && !HOST_WIDE.contains(&file.key.as_str()) {
                continue;
            }
            if let Err(error) = file.open() {
                report(error);
            }
        }
        if wants_stat && self.stat.open.is_none() { self.stat.open(net) } else { Ok(()) }
    }

    /// Reads and parses the statistics file into `table`. After the first read of a file it
    /// allocates nothing and makes one system call per page of text.
    ///
    /// # Errors
    /// [`StatError`]; the file is then closed and `table` is empty.
    pub fn read_stat(&mut self, table: &mut StatTable) -> Result<Oddities, StatError> {
        table.is_live = self.stat.identity.is_none();
        let text = self.stat.read();
        let parsed = match text {
            Ok(text) => self.parser.parse(text, table),
            Err(error) => {
                table.clear();
                self.stat.open = None;
                return Err(error);
            }
        };
        parsed.map_err(|error| {
            let path = self.stat.open.take().map_or_else(PathBuf::new, |(_, path)| path);
            StatError::Text { path, error }
        })
    }

    /// Reads every sysctl file into `values`, one per [`Procfs::sysctls`]; `None` where there
    /// is none. `report` gets each that went away or holds no number.
    pub fn read_sysctls(
        &mut self,
        values: &mut Vec<Option<f64>>,
        report: &mut dyn FnMut(SysctlError),
    ) {
        values.clear();
        values.extend(self.sysctls.iter_mut().map(|file| {
            file.read().unwrap_or_else(|error| {
                report(error);
                None
            })
        }));
    }

    /// Reads the number of entries from its sysctl file; `None` where there is none. `report`
    /// gets the fault of a file that went away or holds no number.
    pub fn read_count(&mut self, report: &mut dyn FnMut(SysctlError)) -> Option<f64> {
        let file = self.sysctls.iter_mut().find(|file| file.key == COUNT.name)?;
        file.read().unwrap_or_else(|error| {
            report(error);
            None
        })
    }

    /// Closes every file.
    pub fn close(&mut self) {
        self.watched = None;
        self.stat.open = None;
        self.sysctls.iter_mut().for_each(SysctlFile::close);
    }

    /// Closes every file of a namespace that was deleted or replaced: they would show, and
    /// keep alive, what is not there any more.
    ///
    /// # Errors
    /// [`StatError::NamespaceGone`] once, when it has gone.
    pub fn check_namespace(&mut self) -> Result<(), StatError> {
        let Some((path, identity)) = &self.watched else { return Ok(()) };
        if namespace::identity(path).is_ok_and(|now| now == *identity) {
            return Ok(());
        }
        self.close();
        Err(StatError::NamespaceGone(self.place.enter.clone().unwrap_or_default()))
    }
}

/// The directory `net` of a statistics file.
fn net_of(path: &Path) -> PathBuf {
    path.ancestors().nth(2).unwrap_or(path).to_owned()
}

/// Whether `net` (a process's `net` directory) shows this thread's own namespace: procfs gives
/// each namespace's statistics file an inode of its own.
fn is_own_namespace(net: &Path) -> bool {
    let inode = |net: &Path| std::fs::metadata(net.join("stat")).map(|metadata| metadata.ino());
    match (inode(net), inode(&namespace::thread_file("net"))) {
        (Ok(theirs), Ok(own)) => theirs == own,
        _ => false,
    }
}

/// The statistics file, its buffer and what is known of its length.
#[derive(Debug, Default)]
struct StatFile {
    open: Option<(File, PathBuf)>,
    /// The identity of a plain file; `None` for the kernel's own.
    identity: Option<Identity>,
    buffer: Vec<u8>,
    /// Length of the last whole text. Rows have a fixed width, so a read of just this length
    /// is whole, and the read that would return 0 at the end is saved.
    whole: usize,
}

impl StatFile {
    fn open(&mut self, net: &Path) -> Result<(), StatError> {
        for name in STAT_FILES {
            let path = net.join("stat").join(name);
            match opened::open(&path) {
                Ok(file) => {
                    self.identity = plain_identity(&file);
                    self.open = Some((file, path));
                    self.whole = 0;
                    return Ok(());
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(StatError::Read { path, error }),
            }
        }
        Err(StatError::Missing(net.to_owned()))
    }

    /// Opens a plain file again that was replaced, as programs do that write a new one beside it and
    /// rename that.
    fn follow(&mut self) -> Result<(), StatError> {
        let Some((_, path)) = self.open.as_ref().filter(|_| self.identity.is_some()) else {
            return Ok(());
        };
        if namespace::identity(path).ok() == self.identity {
            return Ok(());
        }
        let net = net_of(path);
        self.open(&net)
    }

    fn read(&mut self) -> Result<&[u8], StatError> {
        self.follow()?;
        let Some((file, path)) = &self.open else {
            return Err(StatError::Missing(PathBuf::new()));
        };
        if self.buffer.is_empty() {
            self.buffer.resize(8 << 10, 0);
        }
        let mut length = 0;
        loop {
            match file.read_at(&mut self.buffer[length..], length as u64) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The error of a file of procfs when its module was unloaded (`proc_reg_read`).
                Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    return Err(StatError::Missing(net_of(path)));
                }
                Err(error) => return Err(StatError::Read { path: path.clone(), error }),
            }
            if length == self.whole && self.buffer[length - 1] == b'\n' {
                break;
            }
            if length == self.buffer.len() {
                if length >= LONGEST_TEXT {
                    return Err(StatError::TooLong(path.clone()));
                }
                self.buffer.resize(length * 2, 0);
            }
        }
        self.whole = length;
        Ok(&self.buffer[..length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "entries  clashres found\n";

    fn procfs(root: &Path) -> Procfs {
        let place = Place {
            enter: None,
            net: Some(root.join("net")),
            proc_root: root.to_owned(),
            sys_root: root.to_owned(),
            process: None,
        };
        let count = root.join("nf_conntrack_count");
        Procfs::new(place, vec![("ip_conntrack_count".into(), vec![count])])
    }

    fn open(procfs: &mut Procfs) -> Result<(), StatError> {
        procfs.open_missing(true, &mut |error| panic!("{error}"))
    }

    #[test]
    fn a_file_that_grows_or_shrinks_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("net/stat")).unwrap();
        let path = dir.path().join("net/stat/nf_conntrack");
        let mut procfs = procfs(dir.path());
        let mut table = StatTable::default();
        std::fs::write(&path, HEADER).unwrap();
        open(&mut procfs).unwrap();
        for rows in [1, 1, 2, 400, 400, 3] {
            std::fs::write(&path, format!("{HEADER}{}", "00000001  2 3\n".repeat(rows))).unwrap();
            procfs.read_stat(&mut table).unwrap();
            assert_eq!(table.rows(), rows);
        }
    }

    #[test]
    fn a_plain_file_that_is_replaced_or_removed_is_not_read_any_more() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("net/stat")).unwrap();
        let path = dir.path().join("net/stat/nf_conntrack");
        let count = dir.path().join("nf_conntrack_count");
        let replace = |path: &Path, text: &str| {
            let new = dir.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, path).unwrap();
        };
        let mut procfs = procfs(dir.path());
        let (mut table, mut values) = (StatTable::default(), Vec::new());
        for rows in [1, 2] {
            replace(&path, &format!("{HEADER}{}", "00000001  2 3\n".repeat(rows)));
            replace(&count, &format!("{rows}\n"));
            open(&mut procfs).unwrap();
            procfs.read_stat(&mut table).unwrap();
            procfs.read_sysctls(&mut values, &mut |error| panic!("{error}"));
            assert_eq!((table.rows(), &values[..]), (rows, &[Some(rows as f64)][..]));
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&count).unwrap();
        assert!(matches!(procfs.read_stat(&mut table), Err(StatError::Missing(_))));
        procfs.read_sysctls(&mut values, &mut |error| panic!("{error}"));
        assert_eq!((table.rows(), &values[..]), (0, &[None][..]));
    }

    #[test]
    fn a_missing_file_is_found_when_it_appears() {
        let dir = tempfile::tempdir().unwrap();
        let mut procfs = procfs(dir.path());
        assert!(matches!(open(&mut procfs), Err(StatError::Missing(_))));
        assert!(procfs.is_incomplete(true));
        std::fs::create_dir_all(dir.path().join("net/stat")).unwrap();
        std::fs::write(dir.path().join("net/stat/ip_conntrack"), format!("{HEADER}1 2 3\n"))
            .unwrap();
        std::fs::write(dir.path().join("nf_conntrack_count"), "7\n").unwrap();
        open(&mut procfs).unwrap();
        assert!(!procfs.is_incomplete(true));
        let (mut table, mut values) = (StatTable::default(), Vec::new());
        procfs.read_stat(&mut table).unwrap();
        procfs.read_sysctls(&mut values, &mut |error| panic!("{error}"));
        assert_eq!((table.rows(), values), (1, vec![Some(7.0)]));
    }

    #[test]
    fn a_file_with_another_text_is_closed_and_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("net/stat")).unwrap();
        let path = dir.path().join("net/stat/nf_conntrack");
        std::fs::write(&path, "hello\n").unwrap();
        let mut procfs = procfs(dir.path());
        open(&mut procfs).unwrap();
        let error = procfs.read_stat(&mut StatTable::default()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: line 1", path.display())), "{error}");
        assert_eq!(procfs.stat_path(), None);
    }
}
