//! What kernels count: which of the printed counters are a constant 0, and since when.
//!
//! Facts read in `ct_cpu_seq_show` of the releases named. The header decides first, because
//! distributions backport; the release only where the header says nothing. Columns that come from
//! ctnetlink decide alone: it sends what the kernel maintains.

use std::path::Path;

use crate::schema::raw::Layout;

/// Printed as a literal 0 from 4.9 on (commit 8e8118f, "remove packet hotpath stats").
const CONSTANT_FROM_4_9: [&str; 4] = ["searched", "new", "delete", "delete_list"];

/// Printed as a literal 0 from 5.10 on, the first release with a column `clashres`.
const CONSTANT_FROM_5_10: [&str; 4] = ["new", "ignore", "delete", "delete_list"];

/// A kernel's release as far as conntrack's columns depend on it: major and minor.
pub type Release = (u32, u32);

/// Reads the release from an `osrelease` file; `None` when there is none or it is no number.
#[must_use]
pub fn read_release(path: &Path) -> Option<Release> {
    parse_release(&std::fs::read_to_string(path).ok()?)
}

/// The first two numbers of a release such as `5.10.0-46-cloud-amd64`.
#[must_use]
pub fn parse_release(text: &str) -> Option<Release> {
    let mut numbers = text.trim().split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether this kernel maintains the counter `name`, as far as header and release tell; a
/// value other than 0 always proves that it does. A column that is not there is not maintained,
/// and of an old header without a known release the counters that 4.9 gave up are doubted.
#[must_use]
pub fn maintains(layout: &Layout, release: Option<Release>, name: &str) -> bool {
    if layout.column(name).is_none() {
        return false;
    }
    if layout.maintained {
        return true;
    }
    if layout.column("clash_resolve").is_some() {
        return !CONSTANT_FROM_5_10.contains(&name);
    }
    !CONSTANT_FROM_4_9.contains(&name) || release.is_some_and(|release| release < (4, 9))
}

/// Whether the column `name` counts only a part of what it is documented to count, as from 4.9
/// on: `insert` what ctnetlink and BPF insert and no packets, `found` the tuples that NAT finds
/// taken and no look-ups of packets.
#[must_use]
pub fn counts_a_part(layout: &Layout, release: Option<Release>, name: &str) -> bool {
    let since_4_9 = if layout.maintained {
        layout.column("searched").is_none()
    } else {
        layout.column("clash_resolve").is_some() || release.is_none_or(|release| release >= (4, 9))
    };
    since_4_9 && ["insert", "found"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::raw::DOCUMENTED;

    fn layout(names: &[&str], maintained: bool) -> Layout {
        Layout { names: names.iter().map(ToString::to_string).collect(), maintained }
    }

    fn constants(names: &[&str], release: Option<Release>) -> Vec<String> {
        let layout = layout(names, false);
        let constant = |name: &&String| !maintains(&layout, release, name);
        layout.names.iter().filter(constant).cloned().collect()
    }

    #[test]
    fn each_era_has_its_constants() {
        assert!(constants(&DOCUMENTED, Some((3, 10))).is_empty());
        assert_eq!(
            constants(&DOCUMENTED, Some((4, 19))),
            ["searched", "new", "delete", "delete_list"]
        );
        let mut columns = DOCUMENTED;
        columns[1] = "clash_resolve";
        assert_eq!(constants(&columns, Some((5, 10))), ["new", "ignore", "delete", "delete_list"]);
        columns[7] = "chaintoolong";
        assert_eq!(constants(&columns, None), ["new", "ignore", "delete"]);
    }

    #[test]
    fn without_a_release_an_old_header_is_doubted() {
        assert_eq!(constants(&DOCUMENTED, None).len(), 4);
    }

    /// As ctnetlink sends them: before 4.9, then from 4.9 to 5.9.
    #[test]
    fn what_ctnetlink_sends_is_maintained_and_nothing_else_is() {
        let old = layout(&["entries", "searched", "new", "insert"], true);
        let recent = layout(&["entries", "found", "insert"], true);
        for release in [None, Some((4, 18))] {
            assert!(maintains(&old, release, "searched") && maintains(&old, release, "new"));
            assert!(!counts_a_part(&old, release, "insert"));
            assert!(!maintains(&recent, release, "new"));
            assert!(counts_a_part(&recent, release, "insert"));
        }
    }

    #[test]
    fn releases_of_distributions() {
        assert_eq!(parse_release("5.10.0-46-cloud-amd64\n"), Some((5, 10)));
        assert_eq!(parse_release("3.10.0-1160.el7.x86_64"), Some((3, 10)));
        assert_eq!(parse_release("7.2"), Some((7, 2)));
        assert_eq!(parse_release("x"), None);
        assert_eq!(parse_release(""), None);
    }
}
