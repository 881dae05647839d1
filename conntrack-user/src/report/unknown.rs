//! The unknown parts of a source, in sentences with numbers.

mod order;

use self::order::order;
use super::coarse::Coarse;
use super::completeness::{Completeness, seconds, spans};
use super::doubts::Unknowns;
use super::gaps::{AtOnce, OtherInterval, ShorterInterval};
use crate::recording::ReadCounts;
use crate::schema::fields::DROP;
use crate::text::human::{date, duration, number, percent, time_of_day};

/// Rows are few for their time if gaps take more than this share of it.
const MOSTLY_GAPS: f64 = 0.5;
/// The share of rows from which on decreases are no accident.
const OFTEN: f64 = 0.05;
/// No one samples a table as rarely as this, in seconds.
const LONGEST_INTERVAL: f64 = 86_400.0;
/// An interval of so many of another one hides bursts that the other one shows.
const MUCH_LONGER: f64 = 10.0;
/// A table in use has entries that expire within so many rows.
const NEVER_BACK: u64 = 30;
/// Fewer decreases than this are restarts.
const SOME: u64 = 4;

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

/// A time with its date.
pub(super) fn moment(time_ns: i64) -> String {
    format!("{} {}", date(time_ns), time_of_day(time_ns, false))
}

/// One sentence for everything that is not known of a source.
pub(super) fn unknown(evidence: &Completeness<'_>) -> Unknowns {
    let mut sentences = Unknowns::default();
    statistics(evidence, &mut sentences);
    table(evidence, &mut sentences);
    order(evidence, &mut sentences);
    events_of_a_full_table(evidence, &mut sentences);
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

fn statistics(evidence: &Completeness<'_>, sentences: &mut Unknowns) {
    let whole = seconds(evidence.span);
    match evidence.statistics {
        None => sentences.push(format!(
            "no statistics row: {} only, so no counter is known",
            count(evidence.table_rows, "table row")
        )),
        Some((time_ns, _)) if evidence.has_one_time() => sentences.push(format!(
            "all statistics rows have the time {}, and different counters, as where a spreadsheet has cut the \
             times: when events happened is not known",
            moment(time_ns)
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
    if evidence.gaps_not_compared > 0 {
        let gaps = count(evidence.gaps_not_compared, "gap");
        sentences.push(format!(
            "{gaps} of the rows with the sum of the CPUs, or of those of the CPUs, were not compared with the \
             other rows: these may go on there"
        ));
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

fn table(evidence: &Completeness<'_>, sentences: &mut Unknowns) {
    match (evidence.fill, evidence.table) {
        (None, _) => sentences.push_of_fill("no row has the table's entries".to_owned()),
        (Some(fill), _) if fill.is_sum => sentences.push_of_fill(
            "no row has the table's own count (ip_conntrack_count), and entries may be a sum over \
             CPUs, as Telegraf's plugin writes it: the table's fill is not known"
                .to_owned(),
        ),
        (Some(fill), _) if fill.max == Some(0.0) && fill.one_way >= NEVER_BACK => {
            sentences.push_of_fill(format!(
                "the table's entries changed in {} and never the other way, and its limit is 0, as where a query \
                 adds up what they rise by: its fill is not known",
                count(fill.one_way, "row")
            ));
        }
        // An empty table is not full under any limit.
        (Some(fill), _) if fill.max.is_none() && fill.peak > 0.0 => {
            sentences.push_of_fill("no row has the table's limit, so its fill is not known".to_owned());
        }
        (Some(fill), _) if fill.fullest.is_none() && fill.limit_changed > 0 => {
            sentences.push_of_fill(format!(
                "the table's limit changed {} in rows apart from its entries, so its fill is not \
                 known",
                count(fill.limit_changed, "time")
            ));
        }
        (Some(_), Some(own)) if !spans(own, evidence.span, evidence.table_jitter_seconds()) => {
            let (own, whole) = (duration(seconds(own)), duration(seconds(evidence.span)));
            sentences.push_of_fill(format!("the table rows span {own} of {whole}"));
        }
        (Some(_), Some(_)) if evidence.is_table_rare() => sentences.push_of_fill(format!(
            "the rows with the table's entries are {} apart, and the others {}: how full it was between \
             them is not known",
            duration(evidence.table_interval_seconds.unwrap_or(0.0)),
            duration(evidence.interval_seconds.unwrap_or(0.0))
        )),
        _ => {}
    }
    if evidence.table_missing > 0 {
        let rows = count(evidence.table_missing, "table row");
        sentences.push_of_fill(format!("{rows} missing where there are statistics rows"));
    }
}

/// The unknown from events that need a full table, if no row has it full.
fn events_of_a_full_table(evidence: &Completeness<'_>, sentences: &mut Unknowns) {
    if let (Some((events, name)), Some(fullest)) =
        (&evidence.of_full_table, evidence.fill.and_then(|fill| fill.fullest))
        && evidence.needs_a_fuller_table(name, *events)
    {
        sentences.doubt(format!(
            "{name} counted {}, which needs a full table, and no row has it more than {:.1}% full: it \
             filled and emptied between two rows, or rows of another source or table are among these",
            number(*events, 15),
            fullest.percent
        ));
    }
}

/// Returns the sentence about times that are no finer than the rows.
fn of_coarse_times(coarse: &Coarse) -> String {
    let (unit, interval) = (duration(coarse.unit_seconds), duration(coarse.interval_seconds));
    let excess = percent(100.0 * coarse.excess());
    let shortfall = percent(100.0 * coarse.shortfall());
    let longest = coarse.longest_seconds();
    let (apart, or) = if coarse.is_shared() {
        ("several rows have the same".to_owned(), "")
    } else {
        let shortest = duration(longest - coarse.unit_seconds);
        let apart = format!("rows are {shortest} or {} apart", duration(longest));
        (apart, "; or several inputs take turns, or rows are missing regularly")
    };
    format!(
        "the times are multiples of {unit}, and {apart}: the interval is some {interval}{or}. Single rows \
         that are missing cannot be seen, and rates and peaks of rows are up to {excess} too high, \
         or {shortfall} too low"
    )
}

/// The unknowns from the times of the rows.
fn times(evidence: &Completeness<'_>, sentences: &mut Unknowns) {
    let rows = count(evidence.emissions, "row");
    // Rows of the table that go on show the former.
    if evidence.missing_regularly
        && evidence.coarse.is_none()
        && evidence.table_rows <= evidence.statistics_rows
    {
        sentences.push(format!(
            "the times between rows repeat, one as long as two of the others ({}): a row is missing each \
             time, or several inputs take turns and none is",
            duration(evidence.interval_seconds.unwrap_or(0.0))
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
    if let AtOnce { gaps: gaps @ 1.., rows } = evidence.at_once {
        sentences.push(format!(
            "{} came at once behind {} of about as many: they have the times of their arrival, hardly any is \
             missing, and rates and peaks there are too high",
            count(rows, "row"),
            count(gaps, "gap")
        ));
    }
    let ShorterInterval { seconds: shorter, between } = evidence.shorter_interval;
    if between > 0 {
        sentences.push(format!(
            "the interval is {}, but a part of the rows is {} apart, and {} longer than that: rows may be \
             missing there, and the interval may have been changed",
            duration(evidence.interval_seconds.unwrap_or(0.0)),
            duration(shorter),
            match between {
                1 => "one time between rows is".to_owned(),
                many => format!("{} times between rows are", number(many as f64, 15)),
            }
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
    if let Some(coarse) = &evidence.coarse {
        sentences.push(of_coarse_times(coarse));
    }
    let is_shared = evidence.coarse.is_some_and(|coarse| coarse.is_shared());
    if evidence.repeated > 0 && !is_shared && !evidence.has_one_time() {
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
fn zeros(evidence: &Completeness<'_>, sentences: &mut Unknowns) {
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

/// The sentence about rows whose tag `cpu` is neither all nor cpuN.
pub(super) fn of_other_cpus(rows: u64, cpu: &str) -> String {
    format!(
        "{} with counters have another tag than cpu=all or cpu=cpuN, such as cpu={cpu}: left out",
        count(rows, "row")
    )
}

/// The sentence about rows between these times that are there twice.
pub(super) fn of_repeats((from_ns, to_ns): (i64, i64)) -> String {
    format!(
        "rows from {} to {} are there twice, as where a file is given twice or is a part of another one: \
         they count once, unless counters began again meanwhile; give each file once",
        moment(from_ns),
        moment(to_ns)
    )
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
    if let (rows @ 1.., Some((stray_ns, beside_ns))) = (tally.stray_rows, tally.first_stray_ns) {
        sentences.push(format!(
            "{} with a time that is far from those of the rows around, such as {} beside {}: left out",
            count(rows, "row"),
            moment(stray_ns),
            moment(beside_ns)
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
