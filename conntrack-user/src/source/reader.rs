//! Reads the sources of one input: the sysctl files, and the statistics from procfs or from ctnetlink.
//!
//! The one place that decides between the two. procfs costs one system call and needs no
//! privilege, so `auto` takes it wherever it has everything; ctnetlink where the kernel was built
//! without the file (`CONFIG_NF_CONNTRACK_PROCFS`), or where the file has no column for a counter
//! that ctnetlink has. Asking loads the module `nf_conntrack_netlink` where it is one, and
//! `nf_conntrack` with it: it is asked only where conntrack is there already.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::namespace::{self, Identity};
use super::netlink::entries::{Entries, Silence};
use super::netlink::scan;
use super::netlink::{Netlink, NetlinkError};
use super::procfs::{Procfs, STAT_FILES, StatError};
use super::roots::Place;
use super::stat_text::{Oddities, StatParser};
use super::sysctl::{SysctlError, SysctlFile};
use crate::schema::fields::{CHAINTOOLONG, CLASH_RESOLVE, COUNT, LIMIT};
use crate::schema::raw::{Layout, StatTable};
use crate::settings::Source;

/// How long ctnetlink is not asked again after it did not answer: the question may start
/// `modprobe`.
const RETRY: Duration = Duration::from_secs(5);

/// Counters that ctnetlink may have where the header of procfs has none for them.
const LATER: [&str; 2] = [CLASH_RESOLVE.name, CHAINTOOLONG.name];

/// The sysctl fields that ctnetlink has, too.
const TABLE: [&str; 2] = [COUNT.name, LIMIT.name];

/// Where the statistics come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatSource {
    /// This file.
    Procfs(PathBuf),
    /// Netlink messages.
    Netlink,
}

impl std::fmt::Display for StatSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Procfs(path) => write!(f, "{}", path.display()),
            Self::Netlink => f.write_str("ctnetlink"),
        }
    }
}

/// `source`, where it is known before anything is opened: `auto` is procfs for plain files, and
/// where procfs has a column for everything. That is how the kernel was built, so ctnetlink is not
/// asked either while the file is missing, since the module goes or comes.
#[must_use]
pub fn settled(source: Source, place: &Place) -> Source {
    let has_all = || {
        let text = std::fs::read("/proc/net/stat/nf_conntrack").unwrap_or_default();
        let mut table = StatTable::default();
        let parsed = StatParser::default().parse(&text, &mut table);
        parsed.is_ok() && LATER.iter().all(|name| table.layout.column(name).is_some())
    };
    match source {
        Source::Auto if !place.is_live() || has_all() => Source::Procfs,
        source => source,
    }
}

/// Those of the table's count and limit for which `place` has statistics and no sysctl file with a number,
/// as in a container that hides them; `sysctls` are [`Place::sysctl_candidates`].
#[must_use]
pub fn lacking_table_files(place: &Place, sysctls: &[(String, Vec<PathBuf>)]) -> Vec<&'static str> {
    let net = place.net.clone().unwrap_or_else(|| "/proc/net".into());
    if !STAT_FILES.iter().any(|name| net.join("stat").join(name).exists()) {
        return Vec::new();
    }
    let has_number = |(key, paths): &(String, Vec<PathBuf>)| {
        let mut file = SysctlFile::new(key.clone(), paths.clone());
        // Why it gives none is reported by the sampler.
        let _ = file.open();
        file.is_open()
    };
    let lacks = |name: &&str| sysctls.iter().any(|file| file.0 == *name && !has_number(file));
    TABLE.into_iter().filter(lacks).collect()
}

/// The kernel's side of one input, kept open.
#[derive(Debug)]
pub struct Reader {
    place: Place,
    source: Source,
    procfs: Procfs,
    netlink: Option<Netlink>,
    /// Whether ctnetlink is asked for the table's count and limit beside the statistics of procfs.
    asks_for_table: bool,
    /// ctnetlink for these.
    table: Option<Netlink>,
    /// The directory of the module in sysfs, and which one it was when ctnetlink was opened:
    /// another one is another module's.
    module: (PathBuf, Option<Identity>),
    /// Why ctnetlink could not be asked when that was tried last, and when.
    refused: Option<(Instant, NetlinkError)>,
    /// The header of procfs that was last compared with ctnetlink.
    compared: Arc<Layout>,
}

impl Reader {
    /// A reader of `place`; `sysctls` are [`Place::sysctl_candidates`]. Nothing is opened yet.
    #[must_use]
    pub fn new(place: Place, sysctls: Vec<(String, Vec<PathBuf>)>, source: Source) -> Self {
        Self {
            procfs: Procfs::new(place.clone(), sysctls),
            module: (place.sys_root.join("module/nf_conntrack"), None),
            place,
            source,
            netlink: None,
            asks_for_table: false,
            table: None,
            refused: None,
            compared: Arc::default(),
        }
    }

    /// The sysctl fields, in the order of [`Reader::read_sysctls`]'s values.
    pub fn sysctls(&self) -> impl Iterator<Item = &SysctlFile> {
        self.procfs.sysctls()
    }

    /// Whether statistics can be read.
    #[must_use]
    pub fn has_statistics(&self) -> bool {
        self.netlink.is_some() || self.procfs.stat_path().is_some()
    }

    /// Where they are read from.
    #[must_use]
    pub fn statistics(&self) -> Option<StatSource> {
        let file = || self.procfs.stat_path().map(|path| StatSource::Procfs(path.to_owned()));
        self.netlink.as_ref().map(|_| StatSource::Netlink).or_else(file)
    }

    /// See [`Procfs::foreign`].
    #[must_use]
    pub fn foreign(&self) -> Option<&'static str> {
        self.procfs.foreign()
    }

    /// Whether [`Reader::open_missing`] has something to open.
    #[must_use]
    pub fn is_incomplete(&self, wants_stat: bool) -> bool {
        wants_stat && !self.has_statistics() || self.procfs.is_incomplete(false)
    }

    /// Opens what is not open, inside the sampled namespace: the statistics if `wants_stat`, and
    /// the sysctl files. `report` gets each sysctl file that gives no number.
    ///
    /// # Errors
    /// [`StatError`] when the statistics are asked for and nothing gives them, or when the namespace
    /// cannot be entered.
    pub fn open_missing(
        &mut self,
        wants_stat: bool,
        report: &mut dyn FnMut(SysctlError),
    ) -> Result<(), StatError> {
        let looks_for_stat = wants_stat && !self.has_statistics();
        let wants_file = looks_for_stat && self.source != Source::Netlink;
        let opened = self.procfs.open_missing(wants_file, report);
        let opened = self.open_rest(looks_for_stat, opened);
        // What was opened by a number that means another process by now is not its.
        self.check_process()?;
        opened
    }

    /// Opens ctnetlink where it is configured, or where procfs has no statistics.
    fn open_rest(
        &mut self,
        looks_for_stat: bool,
        opened: Result<(), StatError>,
    ) -> Result<(), StatError> {
        match opened {
            Ok(()) if looks_for_stat && self.source == Source::Netlink => self.open_netlink(),
            Err(StatError::Missing(net)) if self.may_ask() && self.is_conntrack_loaded() => {
                let opened = self.open_netlink();
                opened.map_err(|error| match error {
                    StatError::Netlink(netlink) => StatError::Neither { net, netlink },
                    error => error,
                })
            }
            opened => opened,
        }
    }

    /// Whether `auto` may take ctnetlink instead of procfs here: not in place of plain files.
    fn may_ask(&self) -> bool {
        self.source == Source::Auto && self.place.is_live() && self.procfs.foreign().is_none()
    }

    fn is_conntrack_loaded(&self) -> bool {
        self.place.proc_root.join("sys/net/netfilter/nf_conntrack_max").exists()
            || self.module.0.exists()
    }

    /// Opens ctnetlink in the namespace, and asks it once; or fails as it did a moment ago.
    fn open_netlink(&mut self) -> Result<(), StatError> {
        if let Some((at, error)) = &self.refused
            && at.elapsed() < RETRY
        {
            return Err(error.clone().into());
        }
        let opened = self.ask_netlink();
        self.refused = match &opened {
            // That costs no more than opening a file that does not exist.
            Err(StatError::Netlink(NetlinkError::NotLoaded)) => None,
            Err(StatError::Netlink(error)) => Some((Instant::now(), error.clone())),
            _ => None,
        };
        self.netlink = Some(opened?);
        self.module.1 = namespace::identity(&self.module.0).ok();
        Ok(())
    }

    /// Has ctnetlink asked for the table's count and limit where no sysctl file has them.
    pub fn ask_for_table(&mut self) {
        self.asks_for_table = true;
    }

    /// Asks ctnetlink for the table's count and limit.
    fn read_table(&mut self) {
        if self.table.is_none() {
            let open =
                || Netlink::open().and_then(|mut netlink| netlink.read_table().map(|()| netlink));
            // A notice at the start reports that it cannot be asked; later the fields are left out.
            self.table = self.inside(open).ok();
        } else if self.table.as_mut().is_some_and(|table| table.read_table().is_err()) {
            self.table = None;
        }
    }

    /// Closes the statistics, from wherever they come; they are opened again later.
    pub fn close_statistics(&mut self) {
        self.netlink = None;
        self.table = None;
        self.procfs.close_stat();
        self.compared = Arc::default();
    }

    /// ctnetlink in the sampled namespace, which has answered once.
    ///
    /// # Errors
    /// [`StatError`] when it cannot be asked, or the namespace not be entered.
    pub fn ask_netlink(&self) -> Result<Netlink, StatError> {
        if !self.is_conntrack_loaded() {
            return Err(NetlinkError::NotLoaded.into());
        }
        self.inside(|| {
            let mut netlink = Netlink::open()?;
            netlink.read(&mut StatTable::default())?;
            Ok(netlink)
        })
    }

    /// Reads `most` entries of the sampled namespace, see [`scan::scan`]; `None` where ctnetlink is not loaded yet.
    ///
    /// # Errors
    /// [`StatError`] when it cannot be asked, or the namespace not be entered.
    pub fn look_at_entries(
        &self,
        most: u32,
        silence: Option<Silence>,
    ) -> Result<Option<Entries>, StatError> {
        let loaded = self.place.is_live() && self.is_netlink_loaded();
        loaded.then(|| self.inside(|| scan::scan(most, silence))).transpose()
    }

    /// Asks ctnetlink from within the sampled namespace.
    fn inside<T>(&self, ask: impl FnOnce() -> Result<T, NetlinkError>) -> Result<T, StatError> {
        let asked = match &self.place.enter {
            Some(namespace) => namespace::within(namespace, ask)?,
            None => ask(),
        };
        Ok(asked?)
    }

    /// Whether asking ctnetlink would load no module, as far as that can be seen: it is there, or
    /// this kernel has no modules.
    #[must_use]
    pub fn is_netlink_loaded(&self) -> bool {
        self.place.sys_root.join("module/nf_conntrack_netlink").exists()
            || !self.place.proc_root.join("modules").exists()
    }

    /// Reads the statistics into `table`. After the first read it allocates nothing; procfs takes
    /// one system call per page of text.
    ///
    /// # Errors
    /// [`StatError`]; `table` is then empty, and unless the error
    /// [is passing](StatError::is_passing) the source is closed.
    pub fn read_stat(&mut self, table: &mut StatTable) -> Result<Oddities, StatError> {
        let Some(netlink) = &mut self.netlink else {
            let oddities = self.procfs.read_stat(table)?;
            if Arc::ptr_eq(&self.compared, &table.layout) {
                return Ok(oddities);
            }
            self.compared = Arc::clone(&table.layout);
            return Ok(self.take_more(table).unwrap_or(oddities));
        };
        let asked = is_same_module(&self.module).and_then(|()| netlink.read(table));
        asked.map_err(|error| {
            table.clear();
            if !error.is_passing() {
                self.close_statistics();
            }
            error.into()
        })
    }

    /// Goes over to ctnetlink if that has a counter that `table`, read from procfs, has no column
    /// for. Only where it is loaded already: for this no module is loaded.
    fn take_more(&mut self, table: &mut StatTable) -> Option<Oddities> {
        let missing: Vec<&str> =
            LATER.into_iter().filter(|name| table.layout.column(name).is_none()).collect();
        let may_ask = !missing.is_empty() && self.is_netlink_loaded() && self.may_ask();
        if !may_ask || self.open_netlink().is_err() {
            return None;
        }
        let mut more = StatTable::default();
        let oddities = self.netlink.as_mut()?.read(&mut more).ok();
        if oddities.is_some() && missing.iter().any(|name| more.layout.column(name).is_some()) {
            self.procfs.close_stat();
            *table = more;
            return oddities;
        }
        self.netlink = None;
        None
    }

    /// Reads every sysctl file into `values`, one per [`Reader::sysctls`]; `None` where there is
    /// none and ctnetlink has not sent the number either. `report` gets each that went away or
    /// holds no number.
    pub fn read_sysctls(
        &mut self,
        values: &mut Vec<Option<f64>>,
        report: &mut dyn FnMut(SysctlError),
    ) {
        self.procfs.read_sysctls(values, report);
        let lacks = |(file, value): (&SysctlFile, &Option<f64>)| {
            value.is_none() && TABLE.contains(&file.key.as_str())
        };
        if self.asks_for_table
            && self.netlink.is_none()
            && self.has_statistics()
            && self.procfs.sysctls().zip(&*values).any(lacks)
        {
            self.read_table();
        }
        for (file, value) in self.procfs.sysctls().zip(values) {
            *value = value.or_else(|| self.from_netlink(&file.key).map(f64::from));
        }
    }

    /// Reads the number of entries alone, from its sysctl file, with one system call; see
    /// [`Procfs::read_count`].
    pub fn read_count(&mut self, report: &mut dyn FnMut(SysctlError)) -> Option<f64> {
        self.procfs.read_count(report)
    }

    /// The number that ctnetlink sent last in place of a sysctl file.
    #[must_use]
    pub fn from_netlink(&self, key: &str) -> Option<u32> {
        let netlink = self.netlink.as_ref().or(self.table.as_ref())?;
        match key {
            _ if key == COUNT.name => netlink.entries(),
            _ if key == LIMIT.name => netlink.max(),
            _ => None,
        }
    }

    /// Closes everything if the process that named the namespace is not there any more.
    fn check_process(&mut self) -> Result<(), StatError> {
        self.place.check_process().map_err(|gone| {
            self.close_statistics();
            self.procfs.close();
            gone.into()
        })
    }

    /// Closes what belongs to a namespace that was deleted or replaced.
    ///
    /// # Errors
    /// A namespace or a process that is gone; the error is returned once.
    pub fn check(&mut self) -> Result<(), StatError> {
        self.check_process()?;
        if let Err(gone) = self.procfs.check_namespace() {
            self.close_statistics();
            self.refused = None;
            return Err(gone);
        }
        Ok(())
    }
}

#[cfg(test)]
impl Reader {
    /// Goes over to `netlink`, as if it had been opened now.
    pub(crate) fn go_over_to(&mut self, netlink: Netlink) {
        self.procfs.close_stat();
        self.netlink = Some(netlink);
        self.module.1 = namespace::identity(&self.module.0).ok();
    }
}

/// Whether conntrack is still what it was when ctnetlink was opened. Asking would load it again
/// where it was unloaded, and a module that was loaded again counts from 0.
fn is_same_module((directory, then): &(PathBuf, Option<Identity>)) -> Result<(), NetlinkError> {
    match namespace::identity(directory).ok() {
        now if now == *then => Ok(()),
        None => Err(NetlinkError::NotLoaded),
        Some(_) => Err(NetlinkError::Reloaded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Netns;
    use crate::settings::Roots;

    /// Each question may start `modprobe`.
    #[test]
    fn a_failed_request_is_not_repeated_at_once() {
        let place = Place::resolve(&Roots::default(), &Netns::Own);
        let mut reader = Reader::new(place, Vec::new(), Source::Netlink);
        let mut open = |before: Duration| {
            // No kernel of today answers so to a question that it may have refused, too.
            reader.refused = Some((Instant::now() - before, NetlinkError::Interrupted));
            reader.open_missing(true, &mut |error| panic!("{error}"))
        };
        let in_vain = |opened: &Result<(), StatError>| {
            matches!(opened, Err(StatError::Netlink(NetlinkError::Interrupted)))
        };
        assert!(in_vain(&open(Duration::ZERO)));
        assert!(!in_vain(&open(RETRY)));
    }
}
