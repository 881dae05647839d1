//! The privileges and files that a run needs after its start. No other module decides on them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};
use rustix::thread::CapabilitySet;

use crate::settings::{Input, Source};
use crate::source::roots::Place;

/// From this level of `kernel.perf_event_paranoid` on, which distributions added, perf events
/// are for `CAP_SYS_ADMIN` alone.
const PARANOID: i32 = 3;

/// The file that the output creates again while it runs, in the directory where it is.
#[derive(Debug, Clone, Copy)]
pub enum Rewrites<'a> {
    /// It is begun again where another program moved or removed it. No capability is kept for that.
    Reopened(&'a Path),
    /// It is put aside, and begun again.
    Aside(&'a Path),
    /// It is replaced, and its new one given the owner of the old one.
    Replaced(&'a Path),
}

/// The privileges and files that are needed later.
#[derive(Debug, Clone)]
pub struct Needs {
    /// Probes are attached again when their module is loaded again or their namespace replaced.
    pub probes: bool,
    /// The table's entries are read, by a program that may be loaded again.
    pub census: bool,
    /// ctnetlink is asked: each request needs its capability, and a namespace that is
    /// replaced another socket.
    pub netlink: bool,
    /// Connections are taken at a socket that listens already, and answered.
    pub listener: bool,
    /// Namespaces are entered, again when they are replaced.
    pub namespaces: bool,
    /// The namespaces of other processes are looked at.
    pub processes: bool,
    /// Files besides the kernel's own (`/proc`, `/sys`) that are opened, or directories of such.
    pub files: Vec<PathBuf>,
    /// The directory where files are made, renamed and replaced.
    pub directory: Option<PathBuf>,
    /// Whether they are renamed and replaced there, not only made.
    pub renames: bool,
    /// Capabilities against owners and modes of those.
    pub over_files: CapabilitySet,
}

impl Needs {
    /// The capabilities to read the kernel's files and to write to open files.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            probes: false,
            census: false,
            netlink: false,
            listener: false,
            namespaces: false,
            processes: false,
            files: Vec::new(),
            directory: None,
            renames: false,
            over_files: CapabilitySet::empty(),
        }
    }

    /// Returns the needs of these inputs at these places; their sources are
    /// [settled](crate::source::reader::settled). `probes`: probes are or may be attached. `blind`:
    /// they do not know the kernel's types, so other processes are read to detect other namespaces.
    #[must_use]
    pub fn new(
        inputs: &[Input],
        places: &[Place],
        probes: bool,
        blind: bool,
        output: Option<Rewrites<'_>>,
    ) -> Self {
        let entered: Vec<PathBuf> =
            places.iter().filter_map(|place| place.enter.as_deref()).flat_map(way).collect();
        let asks_netlink = |input: &Input| {
            (input.collect.all || input.collect.percpu) && input.source != Source::Procfs
        };
        // Or what is seen through one (`names_directory`).
        let is_a_process = |path: &Path| {
            path.ends_with("ns/net")
                || places.iter().any(|place| path.starts_with(place.proc_root.join("1/root")))
        };
        let mut needs = Self {
            probes,
            netlink: inputs.iter().any(asks_netlink),
            namespaces: !entered.is_empty(),
            processes: blind || entered.iter().any(|path| is_a_process(path)),
            ..Self::nothing()
        };
        for place in places {
            needs.files.push(place.proc_root.clone());
            needs.files.push(place.sys_root.clone());
            needs.files.extend(place.net.clone());
        }
        // A name is replaced by another file, so its directory is what counts.
        needs.files.extend(entered.iter().filter_map(|path| path.parent()).map(Path::to_owned));
        needs.files.extend(inputs.iter().flat_map(|input| input.dirs.iter().cloned()));
        needs.files.retain(|path| !["/proc", "/sys"].iter().any(|own| path.starts_with(own)));
        needs.files.sort_unstable();
        needs.files.dedup();
        let is_root = geteuid().is_root();
        if is_root && !needs.files.iter().all(|path| path == Path::new("/run/netns")) {
            needs.over_files |= CapabilitySet::DAC_READ_SEARCH;
        }
        if let Some(output) = output {
            needs.rewrite(output, is_root);
        }
        needs
    }

    fn rewrite(&mut self, output: Rewrites<'_>, is_root: bool) {
        let (Rewrites::Aside(file) | Rewrites::Replaced(file) | Rewrites::Reopened(file)) = output;
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new("."));
        self.renames = !matches!(output, Rewrites::Reopened(_));
        if is_root && self.renames {
            if !is_writable(directory) {
                self.over_files |= CapabilitySet::DAC_OVERRIDE;
            }
            let is_own = |file: Metadata| {
                (file.uid(), file.gid()) == (geteuid().as_raw(), getegid().as_raw())
            };
            if !file.metadata().map_or(true, is_own) {
                self.over_files |= CapabilitySet::FOWNER;
                if let Rewrites::Replaced(_) = output {
                    self.over_files |= CapabilitySet::CHOWN;
                }
            }
        }
        self.directory = Some(directory.to_owned());
    }

    /// Returns the needs that are not in `kept`, as a text.
    #[must_use]
    pub fn beyond(&self, kept: &Self) -> Option<&'static str> {
        let lacks = [
            (self.probes && !kept.probes, "probes"),
            (self.netlink && !kept.netlink, "ctnetlink"),
            (self.namespaces && !kept.namespaces, "other network namespaces"),
            (self.processes && !kept.processes, "the namespaces of other processes"),
        ];
        lacks.into_iter().find_map(|(lacks, what)| lacks.then_some(what))
    }

    /// The capabilities for it.
    #[must_use]
    pub fn capabilities(&self) -> CapabilitySet {
        let mut needed = self.over_files;
        if self.probes {
            // SYSLOG: addresses in /proc/kallsyms, of which some counters depend.
            needed |= CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::SYSLOG;
            let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
            let level = paranoid.ok().and_then(|text| text.trim().parse::<i32>().ok());
            if level.is_some_and(|level| level >= PARANOID) {
                needed |= CapabilitySet::SYS_ADMIN;
            }
        }
        if self.census {
            // SYSLOG: the address of the table. 5.10 wants the others for each run of the program.
            needed |= CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::SYSLOG;
        }
        if self.netlink {
            needed |= CapabilitySet::NET_ADMIN;
        }
        if self.namespaces {
            needed |= CapabilitySet::SYS_ADMIN;
        }
        if self.processes {
            needed |= CapabilitySet::SYS_PTRACE;
        }
        needed
    }

    /// Below which directories, or which files, may be read.
    pub(super) fn readable(&self) -> impl Iterator<Item = PathBuf> {
        let own = ["/proc", "/sys"].map(PathBuf::from).into_iter();
        // A backtrace takes the names of functions from there.
        let program = std::env::current_exe().ok();
        let files = self.files.iter().filter_map(|path| nearest(path));
        own.chain(program).chain(files.map(Path::to_owned))
    }

    /// Below which directories files may be made, renamed and replaced.
    pub(super) fn writable(&self) -> impl Iterator<Item = PathBuf> {
        self.directory.iter().cloned()
    }
}

/// The path of a namespace, and where it leads if it is a link now. A link of procfs leads to no
/// path.
fn way(path: &Path) -> Vec<PathBuf> {
    const LINKS: usize = 8;
    let mut way = vec![path.to_owned()];
    while let Some(last) = way.last().filter(|last| !last.starts_with("/proc"))
        && way.len() <= LINKS
        && let Ok(target) = std::fs::read_link(last)
    {
        let target = last.parent().unwrap_or(Path::new("/")).join(target);
        way.push(target);
    }
    way
}

/// Returns the existing part of a path that may appear later, such as `/run/netns`; never `/`.
fn nearest(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.exists()).filter(|path| path.parent().is_some())
}

/// Returns whether owner and mode permit this user to create files there without capabilities.
fn is_writable(directory: &Path) -> bool {
    let may = |path: &Path, wanted: u32| {
        let Ok(it) = path.metadata() else { return false };
        let shift = match (it.uid() == geteuid().as_raw(), it.gid() == getegid().as_raw()) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        it.mode() >> shift & wanted == wanted
    };
    let Ok(directory) = directory.canonicalize() else { return false };
    may(&directory, 0o3) && directory.ancestors().all(|above| may(above, 0o1))
}
