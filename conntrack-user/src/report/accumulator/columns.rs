//! Columns under the names that they had in older kernels: Telegraf's plugin reads them by position.
//!
//! From 5.10 on `searched` is `clash_resolve` there, and from 5.15 on `delete_list` is `chaintoolong`.
//! These kernels print 0 for `new`, `delete` and `ignore`. A kernel that counts what the names say has
//! all of them above 0 as soon as it has passed connections.

use super::super::fields::Counters;
use super::super::summary::Column;
use super::SourceAccumulator;
use crate::schema::field::{CpuTrack, Field};
use crate::schema::fields::{
    CHAINTOOLONG, CLASH_RESOLVE, DELETE, DELETE_LIST, IGNORE, NEW, SEARCHED,
};

/// What a counter of the rows shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nowhere,
    AlwaysZero,
    AboveZero,
}

impl SourceAccumulator {
    /// Returns the columns whose names in the rows are not what they count.
    pub(super) fn columns(&self, counters: &Counters) -> Vec<Column> {
        let seen = |field: &Field| {
            let number = counters.names.iter().position(|name| name == field.name);
            let tracks = number.map(|number| self.tracks(number)).unwrap_or_default();
            if tracks.is_empty() {
                Seen::Nowhere
            } else if tracks.iter().any(|track| track.largest() > 0.0) {
                Seen::AboveZero
            } else {
                Seen::AlwaysZero
            }
        };
        let given_up = [NEW, DELETE, IGNORE].map(|field| seen(&field));
        let is_by_name =
            [CLASH_RESOLVE, CHAINTOOLONG].iter().any(|field| seen(field) != Seen::Nowhere);
        // The first of them may be filtered out, and the last stands still where nothing is local.
        let are_zero = given_up[..2].contains(&Seen::AlwaysZero);
        if is_by_name || !are_zero || given_up.contains(&Seen::AboveZero) {
            return Vec::new();
        }
        let has_chains = seen(&DELETE_LIST) == Seen::AboveZero;
        let has_races = match seen(&SEARCHED) {
            Seen::AboveZero => true,
            Seen::AlwaysZero => has_chains,
            Seen::Nowhere => false,
        };
        let column = |written: Field, meaning: Field| Column {
            written: written.name.to_owned(),
            meaning: meaning.name.to_owned(),
        };
        let races = has_races.then(|| column(SEARCHED, CLASH_RESOLVE));
        races.into_iter().chain(has_chains.then(|| column(DELETE_LIST, CHAINTOOLONG))).collect()
    }
}

/// Returns the name of what a column counts.
pub(super) fn meaning<'a>(columns: &'a [Column], name: &'a str) -> &'a str {
    columns.iter().find(|column| column.written == name).map_or(name, |column| &column.meaning)
}

/// Returns the names of what the counters count, by their number.
pub(super) fn names(columns: &[Column], counters: &Counters) -> Vec<String> {
    counters.names.iter().map(|name| meaning(columns, name).to_owned()).collect()
}

/// Returns the meaning of each counter for a single CPU.
pub(super) fn of_cpus(columns: &[Column], counters: &Counters) -> Vec<Option<CpuTrack>> {
    let tracks = counters.names.iter().zip(&counters.cpu_tracks);
    tracks
        .map(|(name, track)| match meaning(columns, name) {
            own if own == name => *track,
            chains if chains == CHAINTOOLONG.name => CHAINTOOLONG.per_cpu,
            _ => None,
        })
        .collect()
}

/// Takes counters that are counted, as their columns show, out of those that are not.
pub(super) fn sort_still(
    columns: &[Column],
    unmoved: Vec<&String>,
    not_counted: Vec<&String>,
) -> (Vec<String>, Vec<String>) {
    let is_column = |name: &&String| columns.iter().any(|column| column.written == **name);
    let (counted, not_counted): (Vec<_>, Vec<_>) = not_counted.into_iter().partition(is_column);
    let named = unmoved.into_iter().chain(counted);
    let unmoved = named.map(|name| meaning(columns, name).to_owned()).collect();
    (unmoved, not_counted.into_iter().cloned().collect())
}
