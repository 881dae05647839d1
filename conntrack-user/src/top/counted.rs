//! What one pass counted, and how certain its numbers are.

use super::interval::{of_number, of_share};
use super::tally::Tally;
use crate::composition::Composition;
use crate::source::ebpf::census::Pass;
use crate::text::human;

/// The number of columns that a number of entries takes.
pub(super) const NUMBER: usize = 11;

/// The entries of one pass together, and how they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Properties of all entries together.
    pub composition: Composition,
    /// How many different values of the keys there are; a lower bound where some were given up.
    pub different: usize,
    /// How many entries each value may have in addition, because values were given up.
    pub too_low_by: u64,
    /// How the entries were read.
    pub pass: Pass,
}

/// A number of entries or buckets in words.
fn number(number: u64) -> String {
    human::number(number as f64, NUMBER)
}

/// A number of entries in the whole table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Estimate {
    pub(super) entries: u64,
    /// The 95 % interval of an estimate.
    pub(super) interval: Option<(u64, u64)>,
}

impl Counted {
    /// The totals of a tally.
    #[must_use]
    pub fn new(tally: &Tally, pass: Pass) -> Self {
        Self {
            composition: tally.composition(),
            different: tally.different(),
            too_low_by: tally.too_low_by(),
            pass,
        }
    }

    /// Whether a part of the table was asked for only. Buckets that could not be read are no sample: those
    /// with long chains have the most entries.
    #[must_use]
    pub fn is_sample(&self) -> bool {
        u64::from(self.pass.buckets_read) + self.pass.buckets_lost < self.pass.buckets.into()
    }

    /// Whether numbers of two passes can be subtracted: what was read is known.
    #[must_use]
    pub fn is_comparable(&self) -> bool {
        if self.is_sample() { self.share_read() > 0.0 } else { !self.is_lossy() }
    }

    fn is_lossy(&self) -> bool {
        self.pass.buckets_lost + self.pass.unreadable > 0
    }

    /// The part of the table that the numbers stand for.
    #[must_use]
    pub fn share_read(&self) -> f64 {
        if self.is_sample() { self.pass.share() } else { 1.0 }
    }

    /// The number of entries in the whole table, of `counted` ones.
    pub(super) fn estimate(&self, counted: u64) -> Estimate {
        let share = self.share_read();
        if !self.is_sample() || share == 0.0 {
            return Estimate { entries: counted, interval: None };
        }
        let (estimate, low, high) = of_number(counted, share);
        let round = |number: f64| number.round() as u64;
        Estimate { entries: round(estimate), interval: Some((round(low), round(high))) }
    }

    /// The share of all entries that `counted` ones are, and its 95 % interval; from 0 to 1.
    pub(super) fn share(&self, counted: u64) -> (f64, (f64, f64)) {
        let total = self.composition.entries;
        (counted as f64 / total.max(1) as f64, of_share(counted, total, self.share_read()))
    }

    /// How many entries there are.
    pub(super) fn total(&self) -> String {
        let entries = self.composition.entries;
        match self.estimate(entries) {
            Estimate { entries, interval: Some((low, high)) } => {
                let [entries, low, high] = [entries, low, high].map(number);
                format!("about {entries} entries ({low} to {high})")
            }
            _ if self.is_lossy() => format!("at least {} entries", number(entries)),
            _ => format!("{} entries", number(entries)),
        }
    }

    /// The same, with what an estimate is made of.
    pub(super) fn heading(&self) -> String {
        if self.estimate(self.composition.entries).interval.is_none() {
            return self.total();
        }
        format!(
            "{}, from {} entries in {} of the table's {} buckets",
            self.total(),
            number(self.composition.entries),
            number(self.pass.buckets_read.into()),
            number(self.pass.buckets.into()),
        )
    }

    /// The shares of the properties, as a line.
    pub(super) fn composition(&self) -> String {
        let Composition { entries, unreplied, assured, offloaded, expired } = self.composition;
        let share = |part: u64| human::percent(part as f64 / entries.max(1) as f64 * 100.0);
        format!(
            "{} unreplied, {} assured, {} offloaded, {} expired and not collected yet",
            share(unreplied),
            share(assured),
            share(offloaded),
            share(expired)
        )
    }

    /// The name of the line with the entries of all other values than the `shown` first.
    pub(super) fn others(&self, shown: usize) -> String {
        match self.different.saturating_sub(shown) {
            0 => "(others)".to_owned(),
            1 => "(1 other)".to_owned(),
            others => format!("({} others)", human::number(others as f64, NUMBER)),
        }
    }

    /// What the numbers do not contain, and why.
    pub(super) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let Pass { buckets_lost, unreadable, .. } = self.pass;
        if buckets_lost > 0 {
            doubts.push(format!(
                "{buckets_lost} buckets are missing: their entries moved while they were read, or \
                 their chain has more than 256 nodes (see nf_conntrack_buckets)"
            ));
        }
        if unreadable > 0 {
            doubts.push(format!("{unreadable} entries could not be read and are missing"));
        }
        if self.too_low_by > 0 {
            doubts.push(format!(
                "there are too many different values to keep apart: each number may be too low by {}",
                self.estimate(self.too_low_by).entries
            ));
        }
        doubts
    }
}
