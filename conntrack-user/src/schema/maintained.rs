//! Determines the counters that a kernel maintains: some of the printed counters are a constant 0.
//!
//! The releases stand in [`super::fields`], as read in `ct_cpu_seq_show`. The header decides first,
//! because distributions backport; the release decides only where the header leaves it open.
//! Columns that come from ctnetlink decide alone: it sends what the kernel maintains.

use super::fields::{self, CLASH_RESOLVE, SEARCHED};
use super::raw::Layout;
pub use super::raw::Release;

/// The first release with a column `clashres`: a header without it is of an older kernel.
const CLASHRES: Release = (5, 10);

/// The release that gave up the counters of the packet path.
const PACKET_PATH: Release = (4, 9);

/// Returns the first two numbers of a release such as `5.10.0-46-cloud-amd64`.
#[must_use]
pub fn parse_release(text: &str) -> Option<Release> {
    let mut numbers = text.trim().split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether this kernel maintains the counter `name`, as far as header and release show; a
/// value other than 0 always proves that it does. A column that does not exist is not maintained,
/// and an old header without a known release is not trusted for the counters that 4.9 gave up.
#[must_use]
pub fn maintains(layout: &Layout, release: Option<Release>, name: &str) -> bool {
    if layout.column(name).is_none() {
        return false;
    }
    let Some(from) = fields::find(name).and_then(|field| field.constant_from) else { return true };
    if layout.maintained {
        return true;
    }
    if layout.column(CLASH_RESOLVE.name).is_some() {
        return from > CLASHRES;
    }
    from >= CLASHRES || release.is_some_and(|release| release < from)
}

/// Whether the column `name` counts only a part of what it is documented to count, as from 4.9
/// on: `insert` what ctnetlink and BPF insert and no packets, `found` the tuples that NAT finds
/// taken and no lookups of packets.
#[must_use]
pub fn counts_a_part(layout: &Layout, release: Option<Release>, name: &str) -> bool {
    if fields::find(name).is_none_or(|field| field.part.is_none()) {
        return false;
    }
    if layout.maintained {
        layout.column(SEARCHED.name).is_none()
    } else {
        layout.column(CLASH_RESOLVE.name).is_some()
            || release.is_none_or(|release| release >= PACKET_PATH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::fields::DOCUMENTED;

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
    fn without_a_release_an_old_header_is_not_trusted() {
        assert_eq!(constants(&DOCUMENTED, None).len(), 4);
    }

    /// As ctnetlink sends them: before 4.9, then from 4.9 to 5.9.
    #[test]
    fn attributes_of_ctnetlink_are_maintained_and_no_other_counter_is() {
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
