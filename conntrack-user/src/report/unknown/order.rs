//! The unknowns from the order of the rows, and from counters that do not go on.

use super::super::completeness::Completeness;
use super::super::continuity::Break;
use super::super::doubts::Unknowns;
use super::{count, is_often, moment};
use crate::recording::WINDOW;
use crate::schema::fields::{ROWS_LOST, SAMPLES_MISSED};
use crate::text::human::{duration, number};

/// Counters that a sentence names.
const NAMED: usize = 3;

/// Unknowns from rows that come late, go back or do not belong together.
pub(super) fn order(evidence: &Completeness<'_>, sentences: &mut Unknowns) {
    if evidence.unordered > 0 {
        sentences.push(format!(
            "{} came more than {WINDOW} rows late and could not be ordered: totals of {} may be wrong; \
             sort the file by time",
            count(evidence.unordered, "value"),
            first_names(&evidence.not_ordered)
        ));
    } else if evidence.late > 0 {
        sentences.push(format!(
            "{} came more than {WINDOW} rows late: totals have them, rates, peaks and gaps may not; \
             sort the file by time",
            count(evidence.late, "row")
        ));
    }
    let often = |number_of: u64| is_often(number_of, evidence.emissions);
    let emissions = count(evidence.emissions, "row");
    let sources =
        "rows of several sources may have the same tags, and totals, rates and peaks may be wrong";
    // Two values of one time cannot both be the counter's, however rare that is.
    if evidence.disagreeing > 0 {
        let times = count(evidence.disagreeing, "time");
        sentences.doubt(format!(
            "a counter is lower than a moment before {times} in {emissions}: {sources}"
        ));
    }
    if let Some((number, first_ns)) = evidence.breaks.returned {
        sentences.doubt(format!(
            "counters fell together and were back where they had been {}, at first at {}: rows of \
             another source or of another time are among these, their values are counted as events, \
             and totals, rates and peaks are too high",
            count(number, "time"),
            moment(first_ns)
        ));
    } else if let Some(time_ns) = evidence.misdated_ns {
        sentences.doubt(format!(
            "counters began again behind the row of {}, and the rows behind it in the file have earlier times: if \
             a clock was wrong after a restart, the counters before it are counted as events that did not happen",
            moment(time_ns)
        ));
    } else if evidence.resets_in_gaps > 0 {
        let gaps = count(evidence.resets_in_gaps, "gap");
        // Not all joints of the parts are kept.
        let may_be_more =
            evidence.resets > evidence.resets_in_gaps && evidence.gaps > evidence.resets_in_gaps;
        let gaps = if may_be_more { format!("at least {gaps}") } else { gaps };
        sentences.push(format!(
            "counters began again in {gaps}: what they counted before that in the gap is not known, \
             and totals are lower bounds"
        ));
    }
    breaks(evidence, sentences);
    if let (Some((most, name)), Some(least)) = (&evidence.most_resets, evidence.least_resets())
        && *most > least
    {
        let more = count(most - least, "time");
        sentences.doubt(format!(
            "{name} went back {more} when another counter did not: its total may be too high, as in \
             damaged rows, or that of the others too low, if all of them began again"
        ));
    }
    if let Some((name, largest)) = &evidence.overtaken {
        sentences.push(format!(
            "{name} has come to {}, and there is so much time between some rows that a counter of 32 bits may wrap \
             several times: totals are too low by multiples of 2^32 then",
            number(*largest, 15)
        ));
    }
    if evidence.inferred_resets > 0 {
        sentences.doubt(format!(
            "in {} some counters began again and others are no lower than before: these are taken to \
             have begun again, too, and are too high if the row is damaged",
            count(evidence.inferred_resets, "row")
        ));
    }
    if let Some((name, events)) = &evidence.between_parts {
        sentences.doubt(format!(
            "rows go back in time, and {name} counted {} in the gaps between the parts: if a clock was \
             wrong, they did not happen",
            number(*events, 15)
        ));
    }
    if let Some((odd, name)) = &evidence.odd {
        sentences.doubt(format!(
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
        sentences.doubt(format!("a counter began again {resets} in {emissions}: {sources}"));
    }
    if evidence.losses_unknown {
        sentences.push(format!(
            "{} or {} go up and down: rows of several inputs have the same tags, and what they missed \
             is not known",
            SAMPLES_MISSED.name, ROWS_LOST.name
        ));
    }
}

/// The unknowns from counters that fell or rose together and did not come back.
fn breaks(evidence: &Completeness<'_>, sentences: &mut Unknowns) {
    if let Some(repeated) = &evidence.breaks.repeated {
        sentences.doubt(format!(
            "counters fell at {} and were exactly where they had been at {}{}: the rows from the one to the other \
             repeat earlier ones, as of a file that is read twice, and their events are counted twice",
            moment(repeated.from_ns),
            moment(repeated.to_ns),
            if repeated.times == 1 {
                String::new()
            } else {
                format!(", and {} after that", count(repeated.times - 1, "time"))
            }
        ));
    }
    if let Some(even) = &evidence.breaks.even {
        sentences.doubt(format!(
            "in {} every counter and the entries rose by the same numbers as in the row before, such as from {} to \
             {}: a query with fill(linear) or an interpolation writes rows so where they are missing. When their \
             events happened is not known, nor how full the table was, and rates, peaks and bursts are means",
            count(even.rows, "row"),
            moment(even.from_ns),
            moment(even.to_ns)
        ));
    }
    let name = |at: &Break| evidence.names.get(at.counter).map_or("", String::as_str);
    if let Some((times, first)) = &evidence.breaks.fallen {
        sentences.doubt(format!(
            "counters fell at {}{} to values that they do not reach in the time since the row before, such \
             as {} {} in {}: either they began again with a burst, or the rows in front of it or behind it \
             are those of another source (a failover, or a single row); then these values are no events, and \
             totals, rates and peaks are too high",
            moment(first.at_ns),
            if *times == 1 { String::new() } else { format!(" and {} later", count(*times - 1, "time")) },
            name(first),
            number(first.events, 15),
            duration(first.seconds)
        ));
    }
    if let Some(leap) = &evidence.breaks.leapt {
        sentences.doubt(format!(
            "all counters that are above 0 rose at once at {}, by far more than between any other rows, \
             such as {} by {}: it is a burst, or the rows in front of it or behind it are those of another \
             source, and totals, rates and peaks are too high",
            moment(leap.at_ns),
            name(leap),
            number(leap.events, 15)
        ));
    }
}

/// Returns the first names, and how many more there are.
fn first_names(names: &[String]) -> String {
    let named = names.len().min(NAMED);
    let more = match names.len() - named {
        0 => String::new(),
        more => format!(" and {}", count(more as u64, "more counter")),
    };
    names[..named].join(", ") + &more
}
