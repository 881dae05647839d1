//! Columns under the names that they had in older kernels: Telegraf's plugin reads them by position.
//!
//! From 5.10 on `searched` is `clash_resolve` there, and from 5.15 on `delete_list` is `chaintoolong`.
//! Kernels up to 4.8 alone count what the names say; `new` and `delete` are above 0 there as soon as they
//! have passed connections. From 4.9 to 5.9 all four are 0, and `ignore` is still counted.

use super::super::fields::Counters;
use super::super::summary::Column;
use super::super::track::Track;
use super::SourceAccumulator;
use crate::schema::field::{CpuTrack, Field};
use crate::schema::fields::{
    CHAINTOOLONG, CLASH_RESOLVE, DELETE, DELETE_LIST, FOUND, NEW, SEARCHED,
};

/// The columns that Telegraf's plugin reads by position, and what they count.
const BY_POSITION: [(Field, Field); 2] = [(SEARCHED, CLASH_RESOLVE), (DELETE_LIST, CHAINTOOLONG)];
/// A counter that is as high has counted for a while, and so have others that are counted.
const HIGH: f64 = 64.0;

/// What a counter of the rows shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nowhere,
    AlwaysZero,
    AboveZero,
}

impl SourceAccumulator {
    /// Returns the rows of a counter.
    fn tracks_of(&self, field: &Field, counters: &Counters) -> Vec<&Track> {
        let number = counters.names.iter().position(|name| name == field.name);
        number.map(|number| self.tracks(number)).unwrap_or_default()
    }

    fn seen(&self, field: &Field, counters: &Counters) -> Seen {
        let tracks = self.tracks_of(field, counters);
        if tracks.is_empty() {
            Seen::Nowhere
        } else if tracks.iter().any(|track| track.largest() > 0.0) {
            Seen::AboveZero
        } else {
            Seen::AlwaysZero
        }
    }

    /// Whether some rows have the rate of a counter: ctpulse counts it there.
    fn has_rate(&self, field: &Field, counters: &Counters) -> bool {
        let number = counters.names.iter().position(|name| name == field.name);
        number.and_then(|number| self.counters.get(number)).is_some_and(|counter| counter.has_rate)
    }

    /// Returns a sentence for rows in which columns of one name count different things.
    pub(super) fn unknown_of_columns(&self, counters: &Counters) -> Option<String> {
        let seen = |field: &Field| self.seen(field, counters);
        let is_above = |field: &Field| seen(field) == Seen::AboveZero;
        let written = BY_POSITION.iter().filter(|(written, _)| is_above(written));
        let (both, alone): (Vec<_>, Vec<_>) = written.partition(|(_, meaning)| is_above(meaning));
        let is_given_up = [NEW, DELETE].iter().all(|field| !is_above(field))
            && [NEW, DELETE].iter().any(|field| seen(field) == Seen::AlwaysZero);
        // ctpulse counts them itself where rows have their rates.
        let both: Vec<_> =
            both.iter().filter(|(written, _)| !self.has_rate(written, counters)).collect();
        if is_given_up && let [(written, meaning), ..] = both[..] {
            return Some(format!(
                "{} and {} count the same: rows of Telegraf's plugin, which has the columns' old names, \
                 are among rows of ctpulse. Each of them has the events of a part of the rows",
                written.name, meaning.name
            ));
        }
        let has_names = BY_POSITION.iter().any(|(_, meaning)| seen(meaning) != Seen::Nowhere);
        let is_replaced = !has_names
            && is_above(&NEW)
            && [NEW, DELETE].iter().all(|field| self.is_zero_in_a_part(field, counters));
        let columns: Vec<_> = alone
            .iter()
            .map(|(written, meaning)| format!("{} is {}", written.name, meaning.name))
            .collect();
        (is_replaced && !columns.is_empty()).then(|| {
            format!(
                "{} and {} are 0 in one part of the rows and above 0 in another: the kernel was replaced, \
                 and with that of 5.10 or later the column {}. Its events are the sum of both",
                NEW.name,
                DELETE.name,
                columns.join(" and ")
            )
        })
    }

    /// Whether a counter that was above 0 is 0 at the end, or was 0 at the beginning when others were not.
    fn is_zero_in_a_part(&self, field: &Field, counters: &Counters) -> bool {
        let tracks = self.tracks_of(field, counters);
        let others = [FOUND, SEARCHED, DELETE_LIST];
        let have_begun = |value: fn(&Track) -> f64| {
            let mut tracks = others.iter().flat_map(|field| self.tracks_of(field, counters));
            // Behind a reboot all are low, and some are 0.
            tracks.any(|track| value(track) >= HIGH)
        };
        let ends = tracks.iter().all(|track| track.last() == 0.0 || track.zeros_at_end() > 0);
        let begins = tracks.iter().all(|track| track.first() == 0.0);
        !tracks.is_empty()
            && (ends && have_begun(Track::last) || begins && have_begun(Track::first))
    }

    /// Returns the columns whose names in the rows are not what they count.
    pub(super) fn columns(&self, counters: &Counters) -> Vec<Column> {
        let seen = |field: &Field| self.seen(field, counters);
        let given_up = [NEW, DELETE].map(|field| seen(&field));
        let is_by_name =
            [CLASH_RESOLVE, CHAINTOOLONG].iter().any(|field| seen(field) != Seen::Nowhere);
        // One of them may be filtered out.
        let are_zero = given_up.contains(&Seen::AlwaysZero);
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
