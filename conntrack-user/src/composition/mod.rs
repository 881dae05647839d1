//! What the table consists of: the entries of a census by their properties.
//!
//! Pure arithmetic is here; `walks` has the thread that walks over the table and hands the numbers to
//! the sink.

pub mod walks;

use crate::source::ebpf::census::Entry;
use crate::text::connection::{PROTOCOLS, TCP, TCP_STATES};

/// Properties of all entries that were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Composition {
    /// Entries.
    pub entries: u64,
    /// Of those: without a reply.
    pub unreplied: u64,
    /// Of those: not evicted when the table is full.
    pub assured: u64,
    /// Of those: forwarded by a flow table.
    pub offloaded: u64,
    /// Of those: their time is over, and they are not collected yet.
    pub expired: u64,
}

impl Composition {
    /// Adds an entry.
    pub fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        self.unreplied += u64::from(entry.is_unreplied());
        self.assured += u64::from(entry.is_assured());
        self.offloaded += u64::from(entry.is_offloaded());
        self.expired += u64::from(entry.is_expired);
    }
}

/// The bounds of the remaining time in seconds: the default timeouts of a state that ends (10 s), of
/// UDP (30 s and 120 s), of other protocols (600 s), and of TCP in the state ESTABLISHED (5 days).
pub const WITHIN_SECONDS: [u32; 7] = [10, 30, 120, 600, 3600, 86_400, 432_000];

/// The entries of one protocol and state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Group {
    /// Their properties.
    pub composition: Composition,
    /// How many of them expire within each of [`WITHIN_SECONDS`] unless there are packets; those that
    /// a flow table forwards are in none, since the garbage collector refreshes them.
    pub within: [u64; WITHIN_SECONDS.len()],
}

impl Group {
    fn add(&mut self, entry: &Entry, jiffies_per_second: u32) {
        self.composition.add(entry);
        if entry.is_offloaded() {
            return;
        }
        for (count, seconds) in self.within.iter_mut().zip(WITHIN_SECONDS) {
            let jiffies = i64::from(seconds) * i64::from(jiffies_per_second);
            *count += u64::from(i64::from(entry.remaining) <= jiffies);
        }
    }
}

/// The states of TCP that are kept apart, and all others.
const STATES: usize = TCP_STATES.len() + 1;
/// The groups that are kept apart: a packet can have any protocol number, so their number is bounded.
const GROUPS: usize = STATES + PROTOCOLS.len() + 1;

/// The state of a protocol whose tracker has none that the census reads.
pub const NO_STATE: &str = "-";
/// A protocol or state without a name.
pub const OTHER: &str = "other";

/// The number of the group of an entry.
fn group_of(entry: &Entry) -> usize {
    match entry.original.protocol {
        TCP => usize::from(entry.tcp_state).min(TCP_STATES.len()),
        protocol => {
            let known = PROTOCOLS.iter().position(|(number, _)| *number == protocol);
            STATES + known.unwrap_or(PROTOCOLS.len())
        }
    }
}

/// The protocol and the state of a group.
fn labels_of(group: usize) -> [&'static str; 2] {
    match group.checked_sub(STATES) {
        None => ["tcp", TCP_STATES.get(group).copied().unwrap_or(OTHER)],
        Some(number) => [PROTOCOLS.get(number).map_or(OTHER, |(_, name)| name), NO_STATE],
    }
}

/// The entries of one network namespace, by protocol and state.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    groups: Box<[Group; GROUPS]>,
    /// The unit of remaining times.
    jiffies_per_second: u32,
    /// The part of the table's buckets that was read: 1, unless chains were too long for it.
    pub share_read: f64,
}

impl Groups {
    /// No entries, on a kernel with so many jiffies in a second.
    #[must_use]
    pub fn new(jiffies_per_second: u32) -> Self {
        let groups = Box::new([Group::default(); GROUPS]);
        Self { groups, jiffies_per_second, share_read: 1.0 }
    }

    /// Adds an entry.
    pub fn add(&mut self, entry: &Entry) {
        self.groups[group_of(entry)].add(entry, self.jiffies_per_second);
    }

    /// Every group with its protocol and state, in the same order each time.
    pub fn iter(&self) -> impl Iterator<Item = ([&'static str; 2], &Group)> {
        self.groups.iter().enumerate().map(|(number, group)| (labels_of(number), group))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::source::ebpf::tuple::Tuple;

    /// An entry of the namespace 1.
    pub(crate) fn entry(protocol: u8, tcp_state: u8, status: u32, remaining: i32) -> Entry {
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        let tuple = Tuple {
            protocol,
            source: address,
            destination: address,
            source_port: 1,
            destination_port: 2,
        };
        Entry {
            original: tuple,
            reply: tuple,
            inode: 1,
            zone: 0,
            mark: 0,
            tcp_state,
            status,
            is_expired: remaining <= 0,
            remaining,
        }
    }

    fn found(groups: &Groups) -> Vec<([&'static str; 2], u64)> {
        let all = groups.iter().map(|(labels, group)| (labels, group.composition.entries));
        all.filter(|(_, entries)| *entries > 0).collect()
    }

    /// Whoever sends packets chooses their protocol number.
    #[test]
    fn any_protocol_and_state_is_in_one_of_a_few_groups() {
        let mut groups = Groups::new(250);
        for protocol in 0..=u8::MAX {
            groups.add(&entry(protocol, 3, 0, 1));
        }
        for state in 0..=u8::MAX {
            groups.add(&entry(TCP, state, 0, 1));
        }
        let found = found(&groups);
        assert_eq!(found.iter().map(|(_, entries)| entries).sum::<u64>(), 512);
        // That of TCP has the states.
        assert_eq!(found.len(), GROUPS - 1);
        let labels: std::collections::BTreeSet<_> =
            found.iter().map(|(labels, _)| labels).collect();
        assert_eq!(labels.len(), found.len());
        for expected in [
            (["tcp", "ESTABLISHED"], 2),
            (["tcp", "SYN_SENT2"], 1),
            (["tcp", "other"], 246),
            (["udp", "-"], 1),
            (["other", "-"], 248),
        ] {
            assert!(found.contains(&expected), "{expected:?}: {found:?}");
        }
    }

    #[test]
    fn the_remaining_time_is_counted_up_to_each_bound() {
        let mut groups = Groups::new(250);
        // 250 jiffies a second.
        for remaining in [-5, 0, 1, 2500, 2501, 7500, 30_000, 432_000 * 250, 432_000 * 250 + 1] {
            groups.add(&entry(17, 0, 0, remaining));
        }
        let (_, udp) = groups.iter().find(|(labels, _)| labels[0] == "udp").unwrap();
        assert_eq!(udp.within, [4, 6, 7, 7, 7, 7, 8]);
        assert_eq!((udp.composition.entries, udp.composition.expired), (9, 2));
    }

    #[test]
    fn entries_of_a_flow_table_have_no_remaining_time() {
        let mut groups = Groups::new(250);
        groups.add(&entry(17, 0, 1 << 14, 5));
        let (_, udp) = groups.iter().find(|(labels, _)| labels[0] == "udp").unwrap();
        assert_eq!((udp.composition.offloaded, udp.within), (1, [0; 7]));
    }
}
