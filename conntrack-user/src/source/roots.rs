//! Where one input's files are: the live /proc, a directory of plain files, a container's
//! mount of the host's /proc, or another network namespace.

use std::path::{Path, PathBuf};

use super::namespace::{NamespaceError, Pinned, Process};
use crate::settings::{Input, Netns, Roots};
use crate::text::sanitize::shown;

/// Where `ip netns` keeps names.
const NAMES: &str = "/run/netns";

/// The resolved places of one input's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The namespace file to enter before opening anything.
    pub enter: Option<PathBuf>,
    /// The directory `net` that shows the sampled namespace without entering it; with `enter`
    /// it is what can still be read when entering is not permitted.
    pub net: Option<PathBuf>,
    /// The replacement of `/proc` in `dirs` and in the path of `sys/kernel/osrelease`.
    pub proc_root: PathBuf,
    /// The sysfs root, for the CPU mask.
    pub sys_root: PathBuf,
    /// The process that names the sampled namespace by its number (`pid:N`).
    pub process: Option<Process>,
}

impl Place {
    /// Resolves `roots` and `netns`. With `HOST_PROC` the host's own namespace is the one of
    /// the host's process 1: `$HOST_PROC/net` would be the container's.
    #[must_use]
    pub fn resolve(roots: &Roots, netns: &Netns) -> Self {
        let sys_root = roots.sys_root.clone().unwrap_or_else(|| "/sys".into());
        if let Some(root) = &roots.proc_root {
            return Self {
                enter: None,
                net: Some(root.join("net")),
                proc_root: root.clone(),
                sys_root,
                process: None,
            };
        }
        let proc_root = roots.host_proc.clone().unwrap_or_else(|| "/proc".into());
        let process = |pid: u32| {
            let process = proc_root.join(pid.to_string());
            (Some(process.join("ns/net")), Some(process.join("net")))
        };
        let (enter, net) = match netns {
            Netns::Pid(pid) => process(*pid),
            Netns::Name(name) => (Some(names_directory(roots, name).join(name)), None),
            Netns::Path(path) => (Some(path.clone()), None),
            Netns::Own if roots.host_proc.is_some() => process(1),
            Netns::Own => (None, Some("/proc/net".into())),
        };
        let held = match netns {
            Netns::Pid(pid) => Some(Process::hold(&proc_root, *pid)),
            _ => None,
        };
        Self { enter, net, proc_root, sys_root, process: held }
    }

    /// The paths that give each sysctl field, in Telegraf's order: every directory with every
    /// file, key `ip_` + what follows the file's first `_`; of one key the last that exists wins.
    /// A file name without `_` gives nothing.
    #[must_use]
    pub fn sysctl_candidates(&self, input: &Input) -> Vec<(String, Vec<PathBuf>)> {
        let mut keys: Vec<(String, Vec<PathBuf>)> = Vec::new();
        for dir in &input.dirs {
            let dir =
                dir.strip_prefix("/proc").map_or(dir.clone(), |below| self.proc_root.join(below));
            for file in &input.files {
                let Some((_, rest)) = file.split_once('_') else { continue };
                let (key, path) = (format!("ip_{}", shown(rest)), dir.join(file));
                match keys.iter_mut().find(|(k, _)| *k == key) {
                    Some((_, paths)) => paths.push(path),
                    None => keys.push((key, vec![path])),
                }
            }
        }
        keys
    }

    /// Whether the files are the running kernel's own.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.enter.is_some() || self.net.as_deref() == Some(Path::new("/proc/net"))
    }

    /// The sampled namespace, held; `None` where it cannot be seen.
    #[must_use]
    pub fn namespace(&self) -> Option<Pinned> {
        let own = Path::new("/proc/self/ns/net");
        let path = self.enter.as_deref().unwrap_or(own);
        let pinned = self.is_live().then(|| Pinned::open(path).ok()).flatten();
        // Its number may have become another's meanwhile.
        pinned.filter(|_| self.check_process().is_ok())
    }

    /// Whether the process that names the namespace is still there, if one does.
    ///
    /// # Errors
    /// See [`Process::check`].
    pub fn check_process(&self) -> Result<(), NamespaceError> {
        self.process.as_ref().map_or(Ok(()), Process::check)
    }

    /// The file with the kernel's release.
    #[must_use]
    pub fn osrelease(&self) -> PathBuf {
        self.proc_root.join("sys/kernel/osrelease")
    }
}

/// The directory where `ip netns` keeps `name`. With `HOST_PROC` that of the host is seen through its
/// process 1, which takes `CAP_SYS_PTRACE`; one that is mounted as `/run/netns` comes first.
#[must_use]
pub fn names_directory(roots: &Roots, name: &str) -> PathBuf {
    let own = Path::new(NAMES);
    let host = roots.host_proc.as_ref().map(|proc| proc.join("1/root/run/netns"));
    match host {
        Some(host) if !own.join(name).exists() && host.is_dir() => host,
        _ => own.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(proc_root: Option<&str>, host_proc: Option<&str>) -> Roots {
        Roots {
            proc_root: proc_root.map(Into::into),
            host_proc: host_proc.map(Into::into),
            sys_root: None,
        }
    }

    #[test]
    fn in_a_container_the_namespace_of_the_host_is_that_of_process_1() {
        let place = Place::resolve(&roots(None, Some("/host/proc")), &Netns::Own);
        assert_eq!(place.enter.unwrap(), Path::new("/host/proc/1/ns/net"));
        assert_eq!(place.net.unwrap(), Path::new("/host/proc/1/net"));
    }

    #[test]
    fn a_name_is_one_of_ip_netns() {
        let place = Place::resolve(&Roots::default(), &Netns::Name("blue".into()));
        assert_eq!(place.enter.unwrap(), Path::new("/run/netns/blue"));
        assert_eq!(place.net, None);
    }

    /// A container that has the host's /proc alone.
    #[test]
    fn names_of_the_host_are_resolved_through_process_1() {
        let proc = tempfile::tempdir().unwrap();
        let host = proc.path().join("1/root/run/netns");
        let with_host = roots(None, proc.path().to_str());
        let resolve = || Place::resolve(&with_host, &Netns::Name("no-such-name".into()));
        assert_eq!(resolve().enter.unwrap(), Path::new("/run/netns/no-such-name"));
        std::fs::create_dir_all(&host).unwrap();
        assert_eq!(resolve().enter.unwrap(), host.join("no-such-name"));
    }

    #[test]
    fn directories_below_proc_move_with_the_root() {
        let mut input = Input::new(crate::settings::DEFAULT_INTERVAL);
        input.dirs = vec!["/proc/sys/net/netfilter".into(), "/srv/other".into()];
        input.files =
            ["nf_conntrack_count", "ip_conntrack_count", "nounderscore"].map(String::from).to_vec();
        let place = Place::resolve(&roots(Some("/fix"), None), &Netns::Own);
        let keys = place.sysctl_candidates(&input);
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].0, "ip_conntrack_count");
        let paths: Vec<_> = keys[0].1.iter().map(|p| p.to_str().unwrap()).collect();
        assert_eq!(
            paths,
            [
                "/fix/sys/net/netfilter/nf_conntrack_count",
                "/fix/sys/net/netfilter/ip_conntrack_count",
                "/srv/other/nf_conntrack_count",
                "/srv/other/ip_conntrack_count",
            ]
        );
    }
}
