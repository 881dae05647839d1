//! Entries added up by keys, in bounded memory.

use std::collections::HashMap;

use super::condition::Condition;
use super::key::{Key, KeyValue};
use crate::composition::Composition;
use crate::source::ebpf::census::Entry;

/// So many different values are kept apart; then the half with the fewest entries is given up.
const MOST: usize = 65_536;

/// What is counted: entries of some namespaces for which all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The inode numbers of the namespaces; empty for all.
    pub namespaces: Vec<u32>,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// What is added up by, all of them together.
    pub keys: Vec<Key>,
}

/// A value of the keys, and its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The values, in the order of the keys.
    pub values: Box<[KeyValue]>,
    /// Entries.
    pub entries: u64,
}

/// The entries of one pass, added up.
#[derive(Debug)]
pub struct Tally {
    counts: HashMap<Box<[KeyValue]>, u64>,
    composition: Composition,
    /// A value that was given up may have come again: each number may be too low by as many.
    too_low_by: u64,
    most: usize,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            counts: HashMap::new(),
            composition: Composition::default(),
            too_low_by: 0,
            most: MOST,
        }
    }
}

impl Tally {
    /// Adds an entry, if it is selected.
    pub fn add(&mut self, selection: &Selection, entry: &Entry) {
        let Selection { namespaces, conditions, keys } = selection;
        let is_of_namespace = namespaces.is_empty() || namespaces.contains(&entry.inode);
        if !is_of_namespace || !conditions.iter().all(|condition| condition.holds(entry)) {
            return;
        }
        self.composition.add(entry);
        let values: Box<[KeyValue]> = keys.iter().map(|key| key.of(entry)).collect();
        *self.counts.entry(values).or_default() += 1;
        if self.counts.len() > self.most {
            self.give_up_half();
        }
    }

    fn give_up_half(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let (_, &mut least, _) = counts.select_nth_unstable(self.most / 2);
        // Values with no more entries than half of the values have; of equal ones all.
        self.counts.retain(|_, count| *count > least);
        self.too_low_by += least;
    }

    /// Properties of all entries together.
    #[must_use]
    pub fn composition(&self) -> Composition {
        self.composition
    }

    /// The `number` values with most entries.
    #[must_use]
    pub fn heaviest(&self, number: usize) -> Vec<Line> {
        let mut lines: Vec<_> = self.counts.iter().collect();
        // The same order for the same numbers.
        lines.sort_unstable_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let lines = lines.into_iter().take(number);
        lines.map(|(values, entries)| Line { values: values.clone(), entries: *entries }).collect()
    }

    /// All values with their entries, in no order.
    pub fn lines(&self) -> impl Iterator<Item = (&[KeyValue], u64)> {
        self.counts.iter().map(|(values, entries)| (&**values, *entries))
    }

    /// The entries of one value.
    #[must_use]
    pub fn entries_of(&self, values: &[KeyValue]) -> u64 {
        self.counts.get(values).copied().unwrap_or_default()
    }

    /// How many different values there are; a lower bound where some were given up.
    #[must_use]
    pub fn different(&self) -> usize {
        self.counts.len()
    }

    /// How much too low the number of entries of each value may be.
    #[must_use]
    pub fn too_low_by(&self) -> u64 {
        self.too_low_by
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::top::tests::{entry, nat};

    fn selection(keys: &[Key]) -> Selection {
        Selection { namespaces: vec![5], conditions: Vec::new(), keys: keys.to_vec() }
    }

    #[test]
    fn only_selected_entries_are_counted() {
        let mut selection = selection(&[Key::Nat, Key::Port]);
        selection.conditions = vec!["state=ESTABLISHED".parse().unwrap()];
        let mut tally = Tally::default();
        for entry in [
            entry(),
            nat(),
            nat(),
            Entry { inode: 6, ..entry() },
            Entry { tcp_state: 7, ..entry() },
            Entry { status: 0, is_expired: true, ..entry() },
        ] {
            tally.add(&selection, &entry);
        }
        let lines = tally.heaviest(9);
        let lines: Vec<(String, u64)> =
            lines.iter().map(|line| (line.values[0].to_string(), line.entries)).collect();
        assert_eq!(lines, [("-".to_owned(), 2), ("203.0.113.1".to_owned(), 2)]);
        let composition =
            Composition { entries: 4, unreplied: 1, assured: 3, offloaded: 0, expired: 1 };
        assert_eq!(tally.composition(), composition);
        assert_eq!((tally.different(), tally.too_low_by()), (2, 0));
    }

    /// A flood from random addresses beside a source with many entries.
    #[test]
    fn a_flood_of_values_leaves_the_heaviest_and_says_how_wrong_they_may_be() {
        let selection = selection(&[Key::Source(32)]);
        let mut tally = Tally { most: 100, ..Tally::default() };
        let mut entry = entry();
        let heavy = entry.original.source;
        for number in 0..10_000u32 {
            entry.original.source = Ipv4Addr::from(number).into();
            tally.add(&selection, &entry);
            if number % 10 == 0 {
                entry.original.source = heavy;
                tally.add(&selection, &entry);
            }
        }
        let [first, ..] = &tally.heaviest(1)[..] else { panic!("no line") };
        assert_eq!(first.values[0].to_string(), "192.0.2.7");
        assert!(tally.different() <= 100 && tally.too_low_by() > 0);
        assert!(first.entries <= 1000 && first.entries + tally.too_low_by() >= 1000);
        assert_eq!(tally.composition().entries, 11_000);
    }
}
