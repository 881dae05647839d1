//! The unknown parts of a source, in sentences with numbers.

use super::fields::CounterOrigin;
use super::gaps::OtherInterval;
use super::summary::Fill;
use super::track::Track;
use crate::recording::known::is_known;
use crate::recording::{ReadCounts, WINDOW};
use crate::schema::field::Field;
use crate::schema::fields::{
    CREATE_TABLE_FULL, DROP, DROP_TABLE_FULL, EARLY_DROP, GC_EARLY_DROP, ROWS_LOST, SAMPLES_MISSED,
};
use crate::text::human::{duration, number};

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
const INTERRUPTED: f64 = 1.5;
/// Rows are few for their time if gaps take more than this share of it.
const MOSTLY_GAPS: f64 = 0.5;
/// The share of rows from which on decreases are no accident.
const OFTEN: f64 = 0.05;
/// Beyond this a float does not hold every integer.
const LARGEST_INTEGER: f64 = 9_007_199_254_740_992.0;
/// No one samples a table as rarely as this, in seconds.
const LONGEST_INTERVAL: f64 = 86_400.0;
/// An interval of so many of another one hides bursts that the other one shows.
const MUCH_LONGER: f64 = 10.0;
/// What the kernel does with a full table only (`__nf_conntrack_alloc`, `early_drop`), or with one
/// that is more than 95 % full (`gc_worker`).
const NEED_A_FULL_TABLE: [Field; 4] =
    [EARLY_DROP, GC_EARLY_DROP, DROP_TABLE_FULL, CREATE_TABLE_FULL];
/// Entries live for seconds: in percent, less than this is no table that was full a moment before. A few
/// such events may be of a moment between two rows, but not more of them than the table has room for.
const NOWHERE_NEAR_FULL: f64 = 50.0;
/// Fewer decreases than this are restarts.
const SOME: u64 = 4;

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
    /// Times between rows in which a row may be missing or not.
    pub(super) undecided_gaps: u64,
    /// A longer interval that some of the rows have.
    pub(super) other_interval: OtherInterval,
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
    /// How often the kernel's counters started again.
    pub(super) kernel_resets: u64,
    /// The counter that started again most often, and how often it did.
    pub(super) most_resets: Option<(u64, String)>,
    /// How often the counter did that started again least often, of those that show it.
    pub(super) least_resets: Option<u64>,
    /// Wrong values, and a counter that has one.
    pub(super) odd: Option<(u64, String)>,
    pub(super) backwards: u64,
}

impl Completeness<'_> {
    /// Takes a counter whose rows with the sum of the CPUs went back.
    pub(super) fn replace(&mut self, name: &str, times: u64) {
        if times > self.replaced.as_ref().map_or(0, |(most, _)| *most) {
            self.replaced = Some((times, name.to_owned()));
        }
    }

    /// The seconds that may be missing in the statistics rows if they span the time of all rows.
    fn jitter_seconds(&self) -> f64 {
        match (self.interval_seconds, self.table_interval_seconds) {
            (Some(own), Some(table)) if own > (1.0 + SAME_INTERVAL) * table => {
                (HALF_AND_JITTER * own).min(MOST_JITTER)
            }
            (own, _) => SPANS * own.unwrap_or(0.0),
        }
    }

    /// Whether most rows have no row of the table, as Telegraf's plugin would write one with each.
    fn is_table_rare(&self) -> bool {
        let times = self.interval_seconds.zip(self.table_interval_seconds);
        let is_longer = times.is_some_and(|(own, table)| table > (1.0 + LONGER_THAN_OTHERS) * own);
        is_longer && !self.is_fill_between_known
    }

    /// The same as [`Self::jitter_seconds`] for the table's rows.
    fn table_jitter_seconds(&self) -> f64 {
        let intervals = match (self.interval_seconds, self.table_interval_seconds) {
            (Some(a), Some(b)) if (a - b).abs() > SAME_INTERVAL * a.max(b) => {
                SPANS_OF_OTHER_INTERVAL
            }
            _ => SPANS,
        };
        intervals * self.table_interval_seconds.or(self.interval_seconds).unwrap_or(0.0)
    }

    /// Takes what the rows of one counter show.
    pub(super) fn take(&mut self, name: &str, track: &Track) {
        self.late = self.late.max(track.late());
        self.unordered = self.unordered.max(track.unordered());
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
        self.resets_in_gaps = self.resets_in_gaps.max(track.resets_in_gaps());
        if track.odd() > self.odd.as_ref().map_or(0, |(odd, _)| *odd) {
            self.odd = Some((track.odd(), name.to_owned()));
        }
        self.backwards = self.backwards.max(track.jumps_back());
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
}

impl Completeness<'_> {
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

fn seconds((from_ns, to_ns): (i64, i64)) -> f64 {
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
fn spans(own: (i64, i64), whole: (i64, i64), jitter_seconds: f64) -> bool {
    seconds(whole) - seconds(own) <= jitter_seconds
}

/// Returns the sentence about a counter that no row has.
pub(crate) fn not_in_rows(name: &str) -> String {
    format!("no row has {name}, so nothing is known of what it counts")
}

/// Whether something happens too often in so many rows for an accident.
pub(super) fn is_often(number_of: u64, rows: u64) -> bool {
    number_of >= SOME && number_of as f64 > OFTEN * rows as f64
}

/// `1 row`, `2 rows`.
pub(super) fn count(number_of: u64, what: &str) -> String {
    let s = if number_of == 1 { "" } else { "s" };
    format!("{} {what}{s}", number(number_of as f64, 15))
}

/// One sentence for everything that is not known of a source.
pub(super) fn unknown(evidence: &Completeness<'_>) -> Vec<String> {
    let mut sentences = Vec::new();
    statistics(evidence, &mut sentences);
    table(evidence, &mut sentences);
    order(evidence, &mut sentences);
    times(evidence, &mut sentences);
    zeros(evidence, &mut sentences);
    // A gauge of another program shows nothing of conntrack, unless the counters have other names.
    for name in evidence.no_counters.iter().filter(|_| !evidence.has_known) {
        sentences.push(format!("the field {name} goes up and down, so it is no counter: left out"));
    }
    if evidence.left_out > 0 {
        let values = count(evidence.left_out, "value");
        sentences.push(format!("{values} of single CPUs were left out: too many CPUs and fields"));
    }
    sentences
}

fn statistics(evidence: &Completeness<'_>, sentences: &mut Vec<String>) {
    let whole = seconds(evidence.span);
    match evidence.statistics {
        None => sentences.push(format!(
            "no statistics row: {} only, so no counter is known",
            count(evidence.table_rows, "table row")
        )),
        Some(_) if evidence.statistics_rows < 2 => sentences
            .push("a single statistics row: how much the counters moved is not known".to_owned()),
        Some(own) if !spans(own, evidence.span, evidence.jitter_seconds()) => {
            let (own, whole) = (duration(seconds(own)), duration(whole));
            sentences.push(format!(
                "the statistics rows span {own} of {whole}: nothing is known of the counters in the \
                 rest"
            ));
        }
        Some(_) => {}
    }
    let missing = evidence.missing as f64 * evidence.interval_seconds.unwrap_or(0.0);
    if missing > MOSTLY_GAPS * whole {
        let (missing, whole) = (duration(missing), duration(whole));
        let kind = if evidence.statistics.is_some() { "statistics" } else { "table" };
        sentences.push(format!("there are no {kind} rows for {missing} of {whole}"));
    }
    if evidence.statistics.is_some() && !evidence.has_known && evidence.stranger.is_none() {
        let rows = count(evidence.statistics_rows, "statistics row");
        sentences.push(format!("no counter has a number in {rows}, so no counter is known"));
    }
    if evidence.partial_sums > 0 && evidence.cpus > 0 {
        let (partial, cpus) = (count(evidence.partial_sums, "time"), evidence.cpus);
        sentences.push(format!(
            "rows with the sum of the CPUs are missing, and at {partial} not all of the {cpus} CPUs \
             have a row: rates of those times are not known"
        ));
    }
    if let (rows @ 1.., value) = evidence.impossible {
        let verb = if rows == 1 { "has" } else { "have" };
        sentences.push(format!(
            "{} {verb} values that no counter has, such as {value:.0} (below 0, or the largest number \
             of 32 or 64 bits): left out",
            count(rows, "row")
        ));
    }
    if let Some(name) = &evidence.inexact {
        sentences.push(format!("values of {name} are above 2^53, so its events are not exact"));
    }
    if let [name, rest @ ..] = &evidence.peaks_only[..] {
        let (more, verb) = match rest.len() {
            0 => (String::new(), "is"),
            others => (format!(" and {} more", count(others as u64, "counter")), "are"),
        };
        sentences.push(format!(
            "{name}{more} {verb} in peaks only, so the number of their events is not known"
        ));
    }
    if let (Some(name), false) = (&evidence.stranger, evidence.has_known) {
        sentences.push(format!(
            "the statistics rows have no counter of a known name, only such as {name}: nothing is \
             known of drops"
        ));
    }
    if evidence.statistics.is_some() && evidence.has_known && !evidence.has_drop {
        sentences.push(not_in_rows(DROP.name));
    }
    if let Some((name, missing, counters)) = &evidence.interrupted {
        let more = match counters - 1 {
            0 => String::new(),
            more => format!(", and {} in others", count(more, "more counter")),
        };
        sentences.push(format!(
            "{name} is missing in rows of {}{more}: its peak in that time is not known",
            duration(*missing)
        ));
    }
    if let [(name, own), rest @ ..] = &evidence.short[..] {
        let more = if rest.is_empty() {
            String::new()
        } else {
            format!(", and {} more cover less than all rows", count(rest.len() as u64, "counter"))
        };
        let whole = duration(seconds(evidence.statistics.unwrap_or_default()));
        sentences.push(format!("the rows with {name} span {} of {whole}{more}", duration(*own)));
    }
}

fn table(evidence: &Completeness<'_>, sentences: &mut Vec<String>) {
    match (evidence.fill, evidence.table) {
        (None, _) => sentences.push("no row has the table's entries".to_owned()),
        (Some(fill), _) if fill.is_sum => sentences.push(
            "no row has the table's own count (ip_conntrack_count), and entries may be a sum over \
             CPUs, as Telegraf's plugin writes it: the table's fill is not known"
                .to_owned(),
        ),
        // An empty table is not full under any limit.
        (Some(fill), _) if fill.max.is_none() && fill.peak > 0.0 => {
            sentences.push("no row has the table's limit, so its fill is not known".to_owned());
        }
        (Some(fill), _) if fill.fullest.is_none() && fill.limit_changed > 0 => {
            sentences.push(format!(
                "the table's limit changed {} in rows apart from its entries, so its fill is not \
                 known",
                count(fill.limit_changed, "time")
            ));
        }
        (Some(_), Some(own)) if !spans(own, evidence.span, evidence.table_jitter_seconds()) => {
            let (own, whole) = (duration(seconds(own)), duration(seconds(evidence.span)));
            sentences.push(format!("the table rows span {own} of {whole}"));
        }
        (Some(_), Some(_)) if evidence.is_table_rare() => sentences.push(format!(
            "the rows with the table's entries are {} apart, and the others {}: how full it was between \
             them is not known",
            duration(evidence.table_interval_seconds.unwrap_or(0.0)),
            duration(evidence.interval_seconds.unwrap_or(0.0))
        )),
        _ => {}
    }
    if let (Some((events, name)), Some(fullest)) =
        (&evidence.of_full_table, evidence.fill.and_then(|fill| fill.fullest))
        && fullest.percent < NOWHERE_NEAR_FULL
        && *events > fullest.max
    {
        sentences.push(format!(
            "{name} counted {}, which needs a full table, and no row has it more than {:.1}% full: it \
             filled and emptied between two rows, or rows of another source or table are among these",
            number(*events, 15),
            fullest.percent
        ));
    }
    if evidence.table_missing > 0 {
        let rows = count(evidence.table_missing, "table row");
        sentences.push(format!("{rows} missing where there are statistics rows"));
    }
}

fn order(evidence: &Completeness<'_>, sentences: &mut Vec<String>) {
    if evidence.unordered > 0 {
        sentences.push(format!(
            "{} came more than {WINDOW} rows late and could not be ordered: totals may be wrong; \
             sort the file by time",
            count(evidence.unordered, "value")
        ));
    } else if evidence.late > 0 {
        sentences.push(format!(
            "{} came more than {WINDOW} rows late: totals have them, rates and peaks may not; sort \
             the file by time",
            count(evidence.late, "row")
        ));
    }
    let often = |number_of: u64| is_often(number_of, evidence.emissions);
    let emissions = count(evidence.emissions, "row");
    let sources = "rows of several sources may have the same tags, and totals may be wrong";
    // Two values of one time cannot both be the counter's, however rare that is.
    if evidence.disagreeing > 0 {
        let times = count(evidence.disagreeing, "time");
        sentences.push(format!(
            "a counter is lower than a moment before {times} in {emissions}: {sources}"
        ));
    }
    if evidence.resets_in_gaps > 0 {
        let gaps = count(evidence.resets_in_gaps, "gap");
        sentences.push(format!(
            "counters began again in {gaps}: what they counted before that in the gap is not known"
        ));
    }
    if let (Some((most, name)), Some(least)) = (&evidence.most_resets, evidence.least_resets)
        && *most > least
    {
        let more = count(most - least, "time");
        sentences.push(format!(
            "{name} went back {more} when another counter did not: its total may be too high, as in \
             damaged rows, or that of the others too low, if all of them began again"
        ));
    }
    if evidence.inferred_resets > 0 {
        sentences.push(format!(
            "in {} some counters began again and others are no lower than before: these are taken to \
             have begun again, too, and are too high if the row is damaged",
            count(evidence.inferred_resets, "row")
        ));
    }
    if let Some((odd, name)) = &evidence.odd {
        sentences.push(format!(
            "{name} went back and forth {}, as damaged rows or those of several sources do: its total \
             may be too high",
            count(*odd, "time")
        ));
    }
    if let Some((times, name)) = &evidence.replaced {
        let times = count(*times, "time");
        sentences.push(format!(
            "{name} went back {times} in the rows with the sum of the CPUs, but not in those of the \
             CPUs: totals are those of the CPUs, rates and peaks may be wrong"
        ));
    }
    if often(evidence.resets) {
        let resets = count(evidence.resets, "time");
        sentences.push(format!("a counter began again {resets} in {emissions}: {sources}"));
    }
    if evidence.losses_unknown {
        sentences.push(format!(
            "{} or {} go up and down: rows of several inputs have the same tags, and what they missed \
             is not known",
            SAMPLES_MISSED.name, ROWS_LOST.name
        ));
    }
}

/// The unknowns from the times of the rows.
fn times(evidence: &Completeness<'_>, sentences: &mut Vec<String>) {
    let rows = count(evidence.emissions, "row");
    if evidence.undecided_gaps > 0 {
        sentences.push(format!(
            "the time between rows varies by more than half of the interval, and {} of {rows} came up \
             to an interval late: a single row that is missing there cannot be seen",
            number(evidence.undecided_gaps as f64, 15)
        ));
    }
    let OtherInterval { seconds: longer, rows: other_rows } = evidence.other_interval;
    if other_rows > 0 {
        sentences.push(format!(
            "the interval is {}, but {} in a row of {}: it was changed, or rows are missing regularly",
            duration(evidence.interval_seconds.unwrap_or(0.0)),
            duration(longer),
            count(other_rows, "row")
        ));
    }
    if let (Some(interval), Some(table)) =
        (evidence.interval_seconds, evidence.table_interval_seconds)
        && interval > MUCH_LONGER * table
    {
        sentences.push(format!(
            "the statistics rows are {} apart and the table rows {}: rates and peaks are averages over \
             {}",
            duration(interval),
            duration(table),
            duration(interval)
        ));
    }
    if evidence.alternating > 0 {
        let times = count(evidence.alternating, "time");
        sentences.push(format!(
            "a row without rates came behind one with rates {times} in {rows}: two programs write \
             the same series, or ctpulse was started again so often"
        ));
    }
    // Where every time has several rows, the times are coarse.
    if evidence.repeated > 0 && evidence.repeated < evidence.emissions / 2 {
        sentences.push(format!(
            "{} of {rows} have the time of the row before, with higher counters: rates and peaks \
             there are too high; the clock may have gone back",
            number(evidence.repeated as f64, 15)
        ));
    }
    let missing = evidence.missing as f64 * evidence.interval_seconds.unwrap_or(0.0);
    if let ([name, rest @ ..], true) = (&evidence.rates_only[..], missing > 0.0) {
        let (more, verb) = match rest.len() {
            0 => (String::new(), "is"),
            others => (format!(" and {} more", count(others as u64, "counter")), "are"),
        };
        sentences.push(format!(
            "{name}{more} {verb} in rates only, so their events in {} without rows are not known",
            duration(missing)
        ));
    }
    if let ([name, ..], false) = (&evidence.rates_only[..], evidence.has_peaks) {
        sentences.push(format!(
            "{name} is in rates only, without the peaks that ctpulse writes beside them: how much of \
             the time they cover is not known"
        ));
    }
    if let Some(interval) = evidence.interval_seconds
        && interval >= LONGEST_INTERVAL
    {
        sentences.push(format!(
            "the interval is {}: the unit of the times may be another one, and rates are not known",
            duration(interval)
        ));
    }
}

/// The unknowns from zeros that no counter has.
fn zeros(evidence: &Completeness<'_>, sentences: &mut Vec<String>) {
    let by = "as a query with fill(0) writes them";
    if evidence.leading_blanks > 0 {
        sentences.push(format!(
            "the first {} have nothing but zeros, the table's limit among them, {by}: left out",
            count(evidence.leading_blanks, "row")
        ));
    }
    if let Some((filled, name)) = &evidence.filled {
        let rows = count(*filled, "row");
        sentences.push(format!("{name} is 0 in {rows} between others that go on, {by}: left out"));
    }
    if let Some((same, most)) = evidence.same_at_end {
        sentences.push(format!(
            "the last {} are the same in every field, and no more than {most} in a row were before: as \
             a query with fill(previous) writes them, and then nothing is known of that time",
            count(same, "row")
        ));
    }
    if evidence.same_in_front > 0 {
        sentences.push(format!(
            "{} are the same in every field, and the next one has the events of them all, as a query \
             with fill(previous) writes them: its rate and peak are too high",
            count(evidence.same_in_front, "row")
        ));
    }
    if evidence.zeros_at_end > 0 && !evidence.has_other_end {
        sentences.push(format!(
            "the last {} have 0 in every counter, {by}, or counters began again at 0",
            count(evidence.zeros_at_end, "row")
        ));
    }
}

/// The unknowns of the whole recording.
pub(super) fn of_recording(
    tally: &ReadCounts,
    left_out_rows: u64,
    left_out_series: u64,
    left_out_fields: u64,
    late_rows: u64,
) -> Vec<String> {
    let mut sentences = Vec::new();
    if tally.bad_lines > 0 {
        let lines = number((tally.rows + tally.bad_lines) as f64, 15);
        let bad = number(tally.bad_lines as f64, 15);
        let first = tally.first_bad_line.as_deref().unwrap_or_default();
        sentences.push(format!("{bad} of {lines} lines could not be read, the first {first}"));
    }
    if tally.texts > 0 {
        let verb = if tally.texts == 1 { "is" } else { "are" };
        sentences.push(format!(
            "{} of conntrack's fields {verb} text, such as {}: left out",
            count(tally.texts, "value"),
            tally.first_text.as_deref().unwrap_or_default()
        ));
    }
    tally.unreadable.iter().for_each(|why| sentences.push(format!("not read: {why}")));
    for file in &tally.unfinished {
        sentences.push(format!("{file} ends within its compressed data"));
    }
    if late_rows > 0 {
        sentences.push(format!(
            "{} came before it was known that they are conntrack's, and were left out: sort the file \
             by time",
            count(late_rows, "row")
        ));
    }
    if tally.before_2000 > 0 {
        sentences.push(format!(
            "{} of {} rows have times before the year 2000: the clock was not set, or the unit of the \
             times is not known",
            number(tally.before_2000 as f64, 15),
            number(tally.rows as f64, 15)
        ));
    }
    if tally.clock_steps > 0 {
        sentences.push(format!(
            "the clock went back {}, by {} in all: rows behind that are reported as later than their \
             times by as much and an interval",
            count(tally.clock_steps, "time"),
            duration(tally.clock_steps_seconds)
        ));
    }
    if left_out_rows > 0 {
        let rows = count(left_out_rows, "row");
        sentences.push(format!("{rows} of {left_out_series} more series were left out"));
    }
    if left_out_fields > 0 {
        sentences.push(format!("{} left out", count(left_out_fields, "more field")));
    }
    sentences
}
