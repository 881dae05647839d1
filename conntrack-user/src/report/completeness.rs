//! Evidence about how complete the rows of a source are, from which `unknown` makes sentences.

use super::coarse::Coarse;
use super::continuity::Breaks;
use super::fields::CounterOrigin;
use super::gaps::{AtOnce, OtherInterval, ShorterInterval};
use super::summary::{Fill, FullBetween};
use super::track::Track;
use crate::recording::known::is_known;
use crate::schema::fields::NEED_A_FULL_TABLE;

/// Rows span the time if no more than this many intervals of it are missing: with half an interval
/// no whole row is.
const SPANS: f64 = 0.5;
/// Counters rise in any time, so where other rows have a shorter interval this many seconds may be
/// missing, and half an interval at most.
const MOST_JITTER: f64 = 0.6;
const HALF_AND_JITTER: f64 = 0.51;
/// The fill between two rows is not known to the same extent, so rows of the table with another
/// interval than the others have times of their own.
const SPANS_OF_OTHER_INTERVAL: f64 = 1.5;
/// Two intervals are the same up to this share.
const SAME_INTERVAL: f64 = 0.25;
/// The table's rows are rarer than others from this share of the interval on.
const LONGER_THAN_OTHERS: f64 = 0.5;
/// Values of a counter are missing from so many intervals on, as in a gap of rows.
pub(super) const INTERRUPTED: f64 = 1.5;
/// Entries live for seconds: in percent, less than this is no table that was full a moment before. A few
/// such events may be of a moment between two rows, but not more of them than the table has room for.
const NOWHERE_NEAR_FULL: f64 = 50.0;
/// The kernel's timeout of unreplied UDP: in such a time a table that a flood has filled empties again.
const LIFETIME_SECONDS: f64 = 30.0;
/// A CPU that counts a million events a second wraps 32 bits in so many seconds.
const WRAPS_OFTEN_SECONDS: f64 = 4295.0;
/// A counter that never comes so far hardly wraps.
const HIGH: f64 = 2_147_483_648.0;
/// Beyond this a float does not hold every integer.
const LARGEST_INTEGER: f64 = 9_007_199_254_740_992.0;
/// Rows that have the table as full show when those counters moved.
const FULL_PERCENT: f64 = 95.0;

/// Evidence about the completeness of a source's rows.
#[derive(Debug, Default)]
pub(super) struct Completeness<'a> {
    /// The time of all its rows.
    pub(super) span: (i64, i64),
    /// The time of its statistics rows.
    pub(super) statistics: Option<(i64, i64)>,
    pub(super) statistics_rows: u64,
    /// The time of its table rows.
    pub(super) table: Option<(i64, i64)>,
    pub(super) table_rows: u64,
    /// Emissions that are missing among the table rows alone.
    pub(super) table_missing: u64,
    /// The statistics have the table's entries between its own rows.
    pub(super) is_fill_between_known: bool,
    pub(super) interval_seconds: Option<f64>,
    pub(super) table_interval_seconds: Option<f64>,
    /// One row in each few is missing, or several inputs take turns.
    pub(super) missing_regularly: bool,
    /// A longer interval that some of the rows have.
    pub(super) other_interval: OtherInterval,
    pub(super) shorter_interval: ShorterInterval,
    pub(super) at_once: AtOnce,
    /// Gaps of which it is not known whether rows of the CPUs, or those with their sum, go on in them.
    pub(super) gaps_not_compared: u64,
    /// The times are no finer than the rows.
    pub(super) coarse: Option<Coarse>,
    /// How often a row without rates came behind one with rates, if that is no restart.
    pub(super) alternating: u64,
    /// Times with several rows of different values.
    pub(super) repeated: u64,
    /// How often the rows with the sum of the CPUs went back alone, and the counter that did most.
    pub(super) replaced: Option<(u64, String)>,
    /// A counter beyond the integers that a float holds.
    pub(super) inexact: Option<String>,
    /// Counters of which rows have nothing but rates.
    pub(super) rates_only: Vec<String>,
    /// Counters of which rows have nothing but peaks.
    pub(super) peaks_only: Vec<String>,
    /// Rows with nothing but zeros before all others.
    pub(super) leading_blanks: u64,
    /// Zeros between values that go on, and the counter with most of them.
    pub(super) filled: Option<(u64, String)>,
    /// Zeros at the end of a counter that was above 0.
    pub(super) zeros_at_end: u64,
    /// A counter that was above 0 and does not end with zeros.
    pub(super) has_other_end: bool,
    pub(super) emissions: u64,
    /// Emissions that are missing in gaps.
    pub(super) missing: u64,
    pub(super) cpus: usize,
    /// Gathers without a row of each CPU, where no row has the sum.
    pub(super) partial_sums: u64,
    /// Values of CPUs that found no room.
    pub(super) left_out: u64,
    pub(super) disagreeing: u64,
    /// Rows with values that their fields cannot have, and the first of these values.
    pub(super) impossible: (u64, f64),
    /// Rows at the end that are the same in every field, and the most before that.
    pub(super) same_at_end: Option<(u64, u64)>,
    /// The most rows that are the same in front of one that has the events of all of them.
    pub(super) same_in_front: u64,
    /// Rows have peaks, which ctpulse writes beside rates.
    pub(super) has_peaks: bool,
    pub(super) resets: u64,
    /// Gaps in the rows.
    pub(super) gaps: u64,
    pub(super) losses_unknown: bool,
    pub(super) fill: Option<&'a Fill>,
    /// Evictions, and packets dropped because of a full table: the largest of these counters.
    pub(super) of_full_table: Option<(f64, String)>,
    /// Fields of no known name that go up and down.
    pub(super) no_counters: Vec<String>,
    /// The gaps of the statistics rows, if these came in order: those of a counter are others than
    /// theirs otherwise.
    pub(super) statistics_gaps: Option<Vec<(i64, i64)>>,
    /// A counter of which values are missing in rows that others have, with the seconds, and how many
    /// there are of them.
    pub(super) interrupted: Option<(String, f64, u64)>,
    /// Counters of which some time is not covered, with that.
    pub(super) short: Vec<(String, f64)>,
    pub(super) late: u64,
    pub(super) unordered: u64,
    /// The counters of these values.
    pub(super) not_ordered: Vec<String>,
    pub(super) resets_in_gaps: u64,
    /// A counter of a known name.
    pub(super) has_known: bool,
    /// The counter `drop`, or a rate or peak of it.
    pub(super) has_drop: bool,
    /// A counter of another name.
    pub(super) stranger: Option<String>,
    /// ctpulse wrote the rows.
    pub(super) is_of_ctpulse: bool,
    /// Rows in which counters are taken to have begun again that are no lower than before.
    pub(super) inferred_resets: u64,
    /// Where the values of several counters do not go on.
    pub(super) breaks: Breaks,
    /// The names of the counters, by their number.
    pub(super) names: &'a [String],
    /// How often the kernel's counters started again.
    pub(super) kernel_resets: u64,
    /// The counter that started again most often, and how often it did.
    pub(super) most_resets: Option<(u64, String)>,
    /// How often the counter did that started again least often, of those that show it.
    pub(super) least_resets: Option<u64>,
    /// Rows in which one counter of the kernel began again and others rose.
    pub(super) alone_resets: u64,
    /// The time of a row behind which counters began again, and some rows have earlier times.
    pub(super) misdated_ns: Option<i64>,
    /// A counter of 32 bits that may have wrapped several times between two rows, and its largest value.
    pub(super) overtaken: Option<(String, f64)>,
    /// Wrong values, and a counter that has one.
    pub(super) odd: Option<(u64, String)>,
    pub(super) backwards: u64,
    /// A counter of parts that are not in the order of their times, with its events in the gaps between
    /// them.
    pub(super) between_parts: Option<(String, f64)>,
}

impl Completeness<'_> {
    /// Takes a counter whose rows with the sum of the CPUs went back.
    pub(super) fn replace(&mut self, name: &str, times: u64) {
        if times > self.replaced.as_ref().map_or(0, |(most, _)| *most) {
            self.replaced = Some((times, name.to_owned()));
        }
    }

    /// Whether all statistics rows have the same time, and several of them different values.
    pub(super) fn has_one_time(&self) -> bool {
        self.statistics_rows == 1 && self.repeated > 0
    }

    /// Whether so many events need a table that was fuller than any row shows it.
    pub(super) fn needs_a_fuller_table(&self, name: &str, events: f64) -> bool {
        let fullest = self.fill.and_then(|fill| fill.fullest);
        let interval = self.table_interval_seconds.or(self.interval_seconds);
        let may_empty_meanwhile = interval.is_some_and(|seconds| seconds >= LIFETIME_SECONDS);
        !may_empty_meanwhile
            && NEED_A_FULL_TABLE.iter().any(|field| field.name == name)
            && fullest.is_some_and(|it| it.percent < NOWHERE_NEAR_FULL && events > it.max)
    }

    /// What shows that the table was fuller between two rows than in any of them.
    pub(super) fn full_between(&self) -> Option<FullBetween> {
        let (events, counter) = self.of_full_table.as_ref()?;
        let fullest = self.fill?.fullest?;
        (fullest.percent < FULL_PERCENT)
            .then(|| FullBetween { counter: counter.clone(), events: *events })
    }

    /// The seconds that may be missing in the statistics rows if they span the time of all rows.
    pub(super) fn jitter_seconds(&self) -> f64 {
        // Each row is rounded by itself.
        let unit = self.coarse.map_or(0.0, |coarse| coarse.unit_seconds);
        let jitter = match (self.interval_seconds, self.table_interval_seconds) {
            (Some(own), Some(table)) if own > (1.0 + SAME_INTERVAL) * table => {
                (HALF_AND_JITTER * own).min(MOST_JITTER)
            }
            (own, _) => SPANS * own.unwrap_or(0.0),
        };
        jitter.max(unit)
    }

    /// Whether most rows have no row of the table, as Telegraf's plugin would write one with each.
    pub(super) fn is_table_rare(&self) -> bool {
        let times = self.interval_seconds.zip(self.table_interval_seconds);
        let is_longer = times.is_some_and(|(own, table)| table > (1.0 + LONGER_THAN_OTHERS) * own);
        is_longer && !self.is_fill_between_known
    }

    /// The same as [`Self::jitter_seconds`] for the table's rows.
    pub(super) fn table_jitter_seconds(&self) -> f64 {
        let intervals = match (self.interval_seconds, self.table_interval_seconds) {
            (Some(a), Some(b)) if (a - b).abs() > SAME_INTERVAL * a.max(b) => {
                SPANS_OF_OTHER_INTERVAL
            }
            _ => SPANS,
        };
        intervals * self.table_interval_seconds.or(self.interval_seconds).unwrap_or(0.0)
    }

    /// How often all counters of the kernel began again, where any of them shows it: one that was above 0
    /// in the first row, or that rose while another one fell.
    pub(super) fn least_resets(&self) -> Option<u64> {
        let others = || self.kernel_resets.saturating_sub(self.alone_resets);
        self.least_resets.or_else(|| (self.alone_resets > 0).then(others))
    }

    /// Takes what the rows of one counter show.
    pub(super) fn take(&mut self, name: &str, track: &Track) {
        self.late = self.late.max(track.late());
        self.unordered = self.unordered.max(track.unordered());
        if track.unordered() > 0 && self.not_ordered.last().is_none_or(|last| last != name) {
            self.not_ordered.push(name.to_owned());
        }
        self.disagreeing = self.disagreeing.max(track.disagreeing());
        if is_known(name) {
            self.has_known = true;
        } else {
            self.stranger.get_or_insert_with(|| name.to_owned());
        }
        if track.filled() > self.filled.as_ref().map_or(0, |(filled, _)| *filled) {
            self.filled = Some((track.filled(), name.to_owned()));
        }
        let events = track.total();
        if NEED_A_FULL_TABLE.iter().any(|field| field.name == name)
            && events > self.of_full_table.as_ref().map_or(0.0, |(most, _)| *most)
        {
            self.of_full_table = Some((events, name.to_owned()));
        }
        self.zeros_at_end = self.zeros_at_end.max(track.zeros_at_end());
        self.has_other_end |= track.last() > 0.0 && track.zeros_at_end() == 0;
        if track.largest() > LARGEST_INTEGER {
            self.inexact.get_or_insert_with(|| name.to_owned());
        }
        // All counters start again together, but for those of the probes when ctpulse is started
        // again.
        let is_of_probes = CounterOrigin::of(name).is_of_probes(self.is_of_ctpulse);
        let resets = if is_of_probes { 0 } else { track.resets() };
        self.kernel_resets = self.kernel_resets.max(resets);
        if resets > self.most_resets.as_ref().map_or(0, |(most, _)| *most) {
            self.most_resets = Some((resets, name.to_owned()));
        }
        if track.first() > 0.0 && !is_of_probes {
            self.least_resets = Some(self.least_resets.map_or(resets, |least| least.min(resets)));
        }
        if track.odd() > self.odd.as_ref().map_or(0, |(odd, _)| *odd) {
            self.odd = Some((track.odd(), name.to_owned()));
        }
        self.backwards = self.backwards.max(track.jumps_back());
        let interval = self.interval_seconds.unwrap_or(0.0);
        let may_wrap_often = interval >= WRAPS_OFTEN_SECONDS && !self.is_of_ctpulse;
        let is_overtaken = may_wrap_often && track.largest() >= HIGH
            || !self.is_of_ctpulse && track.may_wrap_in_gaps();
        if is_overtaken {
            self.overtaken.get_or_insert_with(|| (name.to_owned(), track.largest()));
        }
        let in_gaps = track.resets_in_gaps(INTERRUPTED * interval);
        if !is_of_probes {
            self.resets_in_gaps = self.resets_in_gaps.max(in_gaps);
        }
        let between = track.events_between_parts(INTERRUPTED * interval);
        match &mut self.between_parts {
            // The rows of each CPU have a part.
            Some((counter, events)) if counter == name => *events += between,
            None if between > 0.0 && is_known(name) => {
                self.between_parts = Some((name.to_owned(), between));
            }
            _ => {}
        }
        let is_listed = self.short.last().is_some_and(|(last, _)| last == name);
        // Probes may be attached later, and drops that are derived from them are left out at times:
        // both divide what the kernel's counters show for the whole time.
        if let (Some(whole), Some(own)) = (self.statistics, track.span())
            && !spans(own, whole, self.jitter_seconds())
            && !is_of_probes
            && !is_listed
        {
            self.short.push((name.to_owned(), seconds(own)));
        }
    }

    /// Takes the gaps of a counter of the rows with the sum of the CPUs.
    pub(super) fn take_gaps(&mut self, name: &str, track: &Track) {
        let is_of_probes = CounterOrigin::of(name).is_of_probes(self.is_of_ctpulse);
        let others = self.statistics_gaps.as_deref().filter(|_| is_known(name) && !is_of_probes);
        let alone = others.map_or(0.0, |others| seconds_alone(track.gaps(), others));
        if alone > INTERRUPTED * self.interval_seconds.unwrap_or(f64::INFINITY) {
            let first = self.interrupted.get_or_insert_with(|| (name.to_owned(), alone, 0));
            first.2 += 1;
        }
    }
}

/// The seconds between two times.
pub(super) fn seconds((from_ns, to_ns): (i64, i64)) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e9
}

/// The seconds of gaps in which there are rows of others.
fn seconds_alone(gaps: impl Iterator<Item = (i64, i64)>, others: &[(i64, i64)]) -> f64 {
    let alone = gaps.map(|(from, to)| {
        let both = others.iter().map(|(a, b)| seconds((from.max(*a), to.min(*b))).max(0.0));
        seconds((from, to)) - both.sum::<f64>()
    });
    alone.sum()
}

/// Whether rows span the time of others, but for so many seconds.
pub(super) fn spans(own: (i64, i64), whole: (i64, i64), jitter_seconds: f64) -> bool {
    seconds(whole) - seconds(own) <= jitter_seconds
}
