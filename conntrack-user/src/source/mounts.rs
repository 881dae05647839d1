//! How procfs is mounted: the options that hide files and processes, and the process whose view it
//! shows.

use std::path::Path;

use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, open};

/// The option of the mount of procfs at `root` that hides the processes of other users.
#[must_use]
pub fn hides_processes(root: &Path) -> Option<String> {
    let options = options(root)?;
    options.into_iter().find(|option| {
        option.strip_prefix("hidepid=").is_some_and(|how| !matches!(how, "0" | "off"))
    })
}

/// Whether the mount of procfs at `root` has processes alone (`subset=pid`).
#[must_use]
pub fn hides_files(root: &Path) -> bool {
    options(root).is_some_and(|options| options.iter().any(|option| option == "subset=pid"))
}

/// Whether `root` is procfs, and not a directory with copies of its files.
#[must_use]
pub fn is_procfs(root: &Path) -> bool {
    // A confined run may ask this of an open file only.
    let opened = open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    opened.and_then(fstatfs).is_ok_and(|statfs| statfs.f_type == PROC_SUPER_MAGIC)
}

/// Whether `root` is procfs and shows another network namespace than that of its process 1: its
/// `net` is that of the process that reads it.
#[must_use]
pub fn shows_reader(root: &Path) -> bool {
    let namespace = |path: &Path| std::fs::read_link(path).ok();
    let own = namespace("/proc/self/ns/net".as_ref());
    let first = namespace(&root.join("1/ns/net"));
    is_procfs(root)
        && (first.is_none() && root != Path::new("/proc") || first != own && first.is_some())
}

/// Returns the root of the mount at `point`, as a path of its file system.
#[must_use]
pub fn root_at(point: &Path) -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    text.lines().rev().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        (at == point.to_str()?).then(|| root.to_owned())
    })
}

fn options(root: &Path) -> Option<Vec<String>> {
    // Processes are visible even if other files are hidden, and a process can always see itself.
    let mounts = ["/proc/self/mountinfo", "/proc/mounts"];
    let text = mounts.iter().find_map(|path| std::fs::read_to_string(path).ok())?;
    options_in(&text, root.to_str()?)
}

/// The options of the last mount of procfs at `root`. Fields: ID, parent, device, root, mount point,
/// options, any number of tags, `-`, type, source, options of the file system.
fn options_in(mountinfo: &str, root: &str) -> Option<Vec<String>> {
    let mounted = mountinfo.lines().rev().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        let (kind, options) = (system.next()?, system.nth(1)?);
        (mount.split(' ').nth(4) == Some(root) && kind == "proc").then_some(options)
    });
    Some(mounted?.split(',').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_the_last_mount() {
        let text = "21 1 0:20 / / rw - ext4 /dev/vda rw\n\
                    45 43 0:21 / /proc rw,relatime shared:5 - proc proc rw\n\
                    63 43 0:39 / /proc rw,relatime - proc proc rw,hidepid=invisible,subset=pid\n";
        let expected = ["rw", "hidepid=invisible", "subset=pid"].map(String::from).to_vec();
        assert_eq!(options_in(text, "/proc"), Some(expected));
        assert_eq!(options_in(text, "/"), None);
        assert_eq!(options_in(text, "/host/proc"), None);
    }

    #[test]
    fn copies_are_not_procfs() {
        assert!(is_procfs(Path::new("/proc")));
        assert!(!is_procfs(&std::env::temp_dir()));
    }
}
