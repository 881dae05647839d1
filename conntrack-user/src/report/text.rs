//! The report as text for a terminal: aligned, at most 80 columns where names allow it.
//!
//! Whatever comes from a file (names of files, tags, fields) is made printable first.

mod causes;
mod cpus;
mod labelled;

use std::fmt::Write as _;

pub(super) use self::causes::{NO_CAUSE, NOT_SEEN, columns, without_cause};
use super::compare::{Comparison, Pair};
use super::summary::{
    Above, Change, Fill, FullBetween, Gaps, LimitChange, PartlyCounted, Report, SourceReport,
    Spreading,
};
use crate::text::human::{date, duration, number, percent, time_of_day};
use crate::text::sanitize::shown;

/// The width of numbers.
const CELL: usize = 7;
/// The width of names of counters.
const NAME: usize = 21;
/// Counters that are named.
const NAMED: usize = 4;
/// The width of peaks, where one is a number of events.
const FEW_CELL: usize = 11;

/// The meaning of the mark of such peaks.
pub(super) const LEAST: &str =
    "+ at least: a sample came late, or only rows of single CPUs have peaks\n";

/// The counters that are known to have stood still.
pub(super) const COUNTED_AND_STILL: &str = "counted and did not move";
/// The counters of which nothing is known.
pub(super) const NOT_COUNTED: &str = "not counted by that kernel, as far as these rows show";

/// A recording's report.
#[must_use]
pub fn report(report: &Report) -> String {
    let mut out = String::new();
    tally("read", report, &mut out);
    for each in &report.sources {
        source(each, report.window_seconds, &mut out);
    }
    out
}

/// Two recordings side by side.
#[must_use]
pub fn comparison(comparison: &Comparison) -> String {
    let mut out = String::new();
    for (word, report) in [("before", &comparison.before), ("after", &comparison.after)] {
        tally(word, report, &mut out);
    }
    for warning in &comparison.warnings {
        line(&mut out, "warning", &shown(warning));
    }
    for pair in &comparison.pairs {
        changes(pair, &mut out);
    }
    for (word, names) in
        [("only before", &comparison.only_before), ("only after", &comparison.only_after)]
    {
        names.iter().for_each(|name| line(&mut out, word, &shown(name)));
    }
    if comparison.pairs.is_empty() {
        line(&mut out, "compared", "nothing: no source with the same tags is in both");
    }
    out
}

fn line(out: &mut String, word: &str, text: &str) {
    let _ = writeln!(out, "{}", format!("{word:<11} {text}").trim_end());
}

/// `1 row`, `2 rows`.
fn count(number_of: f64, what: &str) -> String {
    let s = if number_of == 1.0 { "" } else { "s" };
    format!("{} {what}{s}", number(number_of, 15))
}

fn tally(word: &str, report: &Report, out: &mut String) {
    let tally = &report.recording;
    let files: Vec<_> = tally.files.iter().map(|file| shown(file).into_owned()).collect();
    let files = match &files[..] {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first, .., last] => format!("{} files, {first} to {last}", files.len()),
    };
    let rows = count(tally.rows as f64, "row");
    line(out, word, &format!("{files}: {rows} in {}", bytes(tally.bytes)));
    for file in &tally.unreadable {
        line(out, "not read", &shown(file));
    }
    for file in &tally.unfinished {
        let what = "ends within its compressed data: its writer was killed, or is at work";
        line(out, "unfinished", &format!("{} {what}", shown(file)));
    }
    if let Some(first) = &tally.first_bad_line {
        let bad = count(tally.bad_lines as f64, "bad line");
        let text = format!("{bad}, first {}", shown(first));
        line(out, "skipped", &text);
    }
    for (rows, what) in [
        (report.other_rows, "not conntrack's"),
        (report.rows_of_too_many_sources, "of more sources than are kept apart"),
    ] {
        if rows > 0 {
            line(out, "left out", &format!("{}, {what}", count(rows as f64, "row")));
        }
    }
}

fn bytes(count: u64) -> String {
    let count = count as f64;
    if count < 1024.0 {
        return format!("{count:.0} bytes");
    }
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let fits =
        |(_, shift): &&(&str, u32)| count / f64::from(1u32 << (shift - 10)) / 1024.0 < 1000.0;
    let (unit, shift) = units.iter().take(2).find(fits).unwrap_or(&units[2]);
    format!("{:.1} {unit}", count / (1u64 << shift) as f64)
}

/// A time on the day `day_of`, or with its date.
pub(super) fn time(ns: i64, day_of: i64, subsecond: bool) -> String {
    let clock = time_of_day(ns, subsecond);
    if date(ns) == date(day_of) { clock } else { format!("{} {clock}", date(ns)) }
}

/// Whether times of the source need milliseconds.
pub(super) fn subsecond(source: &SourceReport) -> bool {
    source.interval_seconds.is_some_and(|seconds| seconds < 0.9)
}

fn heading(name: &str, tags: &[(String, String)], out: &mut String) {
    out.push('\n');
    out.push_str(&shown(name));
    for (key, value) in tags {
        let _ = write!(out, " {}={}", shown(key), shown(value));
    }
    out.push('\n');
}

fn source(source: &SourceReport, window_seconds: f64, out: &mut String) {
    heading(&source.name, &source.tags, out);
    let fine = subsecond(source);
    let at = |ns| time(ns, source.from_ns, fine);
    let span = source.to_ns.saturating_sub(source.from_ns) as f64 / 1e9;
    let from = format!("{} {}", date(source.from_ns), time_of_day(source.from_ns, fine));
    line(out, "span", &format!("{from} to {} UTC, {}", at(source.to_ns), duration(span)));
    let every = source.interval_seconds.map_or("-".to_owned(), duration);
    let emissions = count(source.emissions as f64, "emission");
    let rows = count(source.rows as f64, "row");
    line(out, "interval", &format!("{every}; {emissions}, {rows}"));
    if let Some(fill) = &source.fill {
        level(fill, &at, out);
    }
    gaps(&source.gaps, &at, out);
    let lost = [
        (source.losses.samples_missed, "sample", "missed"),
        (source.losses.rows_lost, "emission", "lost"),
    ];
    let known = lost
        .iter()
        .filter_map(|(lost, what, how)| Some(format!("{} {how}", count((*lost)?, what))));
    let known = known.collect::<Vec<_>>().join(", ");
    line(out, "misses", if known.is_empty() { "not in these rows" } else { &known });
    for partly in &source.partly_counted {
        line(out, "probes", &partly_counted(partly));
    }
    if !source.columns.is_empty() {
        line(out, "columns", &columns(source));
    }
    if source.are_sums_of_cpus {
        line(out, "counters", &cpus::summed(&source.cpus));
    }
    source.unknown.iter().for_each(|why| line(out, "warning", &shown(why)));
    rates(source, window_seconds, &at, out);
    bursts(source, &at, out);
    causes::causes(source, out);
    labelled::labelled(source, out);
    cpus::cpus(source, out);
    let lists = [(COUNTED_AND_STILL, &source.unmoved), (NOT_COUNTED, &source.not_counted)];
    for (at, (title, names)) in lists.into_iter().filter(|(_, names)| !names.is_empty()).enumerate()
    {
        if at == 0 {
            out.push('\n');
        }
        let names = names.iter().map(|name| shown(name).into_owned()).collect::<Vec<_>>();
        wrapped(&format!("{title}:"), &names, out);
    }
}

/// Words of at most 80 columns a line.
fn wrapped(first: &str, words: &[String], out: &mut String) {
    let mut width = first.len();
    out.push_str(first);
    for word in words {
        width += word.chars().count() + 1;
        if width > 80 {
            out.push_str("\n  ");
            width = word.chars().count() + 2;
        } else {
            out.push(' ');
        }
        out.push_str(word);
    }
    out.push('\n');
}

fn level(fill: &Fill, at: &dyn Fn(i64) -> String, out: &mut String) {
    match fill.fullest {
        Some(fullest) => {
            let (share, when) = (percent(fullest.percent), at(fullest.at_ns));
            let (entries, max) = (number(fullest.entries, 11), number(fullest.max, 11));
            let between = fill.full_between.as_ref().map(full_between).unwrap_or_default();
            let text = format!("at most {share} ({entries} of {max} entries) at {when}{between}");
            line(out, "fill", &text);
        }
        None => {
            let (peak, when) = (number(fill.peak, 11), at(fill.peak_at_ns));
            line(out, "fill", &format!("at most {peak} entries at {when}; no limit known"));
        }
    }
    limit_changes(fill, at).iter().for_each(|change| line(out, "limit", change));
    if let Some(above) = time_above(fill) {
        line(out, "90 % full", &above);
    }
}

/// What shows that the table was fuller than any row has it.
pub(super) fn full_between(between: &FullBetween) -> String {
    let FullBetween { counter, events } = between;
    format!(" in the rows, and full between them: {counter} {}", number(*events, 15))
}

/// A line for each change of the limit, and one for those that are not listed.
pub(super) fn limit_changes(fill: &Fill, at: &dyn Fn(i64) -> String) -> Vec<String> {
    let limit = |max: f64| if max > 0.0 { number(max, 11) } else { "none".to_owned() };
    let change = |change: &LimitChange| {
        let (from, to) = (limit(change.from), limit(change.to));
        format!("changed from {from} to {to} at {}", at(change.at_ns))
    };
    let mut lines: Vec<_> = fill.limit_changes.iter().map(change).collect();
    let more = fill.limit_changed - fill.limit_changes.len() as u64;
    if more > 0 {
        let last = fill.max.map(limit).unwrap_or_default();
        lines.push(format!("{} after that, to {last} at the end", count(more as f64, "change")));
    }
    lines
}

/// How long the table was nearly full; nothing where its limit is not known.
pub(super) fn time_above(fill: &Fill) -> Option<String> {
    let above = fill.above_90_percent?;
    let Above { at_least_seconds: least, at_most_seconds: most, known_seconds: known } = above;
    let share = |seconds: f64| percent(seconds / known.max(f64::MIN_POSITIVE) * 100.0);
    Some(match most {
        None if least > 0.0 => {
            format!("for {} at least ({} of the time)", duration(least), share(least))
        }
        None => "between rows, for a time that is not known".to_owned(),
        Some(..=0.0) => "never".to_owned(),
        Some(most) if least == most => {
            format!("for {} ({} of the time)", duration(most), share(most))
        }
        Some(most) => {
            let (a, b) = (duration(least), duration(most));
            format!(
                "for {a} at least, {b} at most ({} to {} of the time)",
                share(least),
                share(most)
            )
        }
    })
}

/// Which counters are of a part of the time only.
pub(super) fn partly_counted(partly: &PartlyCounted) -> String {
    let names = partly.names.iter().take(NAMED).map(|name| shown(name));
    let names = names.collect::<Vec<_>>().join(", ");
    let more = match partly.names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (seconds, all) = (duration(partly.seconds), duration(partly.of_seconds));
    format!("events of {seconds} of {all} only: {names}{more}")
}

fn gaps(gaps: &Gaps, at: &dyn Fn(i64) -> String, out: &mut String) {
    let mut parts = Vec::new();
    if gaps.gaps > 0 {
        let missing = count(gaps.missing as f64, "emission");
        parts.push(format!("{} ({missing} missing)", count(gaps.gaps as f64, "gap")));
    }
    if let Some(gap) = gaps.longest.first() {
        let length = duration((gap.to_ns - gap.from_ns) as f64 / 1e9);
        parts.push(format!("the longest {length} from {}", at(gap.from_ns)));
    }
    for (times, what) in [
        (gaps.restarts, "restart"),
        (gaps.resets, "counter reset"),
        (gaps.backwards, "backward step"),
    ] {
        if times > 0 {
            parts.push(count(times as f64, what));
        }
    }
    if gaps.undecided > 0 {
        let late = count(gaps.undecided as f64, "late row");
        parts.push(format!("{late} (one may be missing in front of each)"));
    }
    if let Some(excess) = gaps.early_excess {
        let excess = percent(100.0 * excess);
        parts
            .push(format!("rates and peaks of early rows up to {excess} too high (rounded times)"));
    }
    let known = parts.join(", ");
    line(out, "gaps", if known.is_empty() { "none" } else { &known });
}

fn rates(source: &SourceReport, window_seconds: f64, at: &dyn Fn(i64) -> String, out: &mut String) {
    let window = source.interval_seconds.unwrap_or(0.0).max(window_seconds);
    let title = format!("per second ({})", duration(window));
    let has_few = source.counters.iter().any(|counter| counter.peak_few_events.is_some());
    let has_least = source.counters.iter().any(|counter| counter.peak_is_least);
    let width = if has_few { FEW_CELL } else { CELL } + usize::from(has_least);
    let heads = ["total", "min", "median", "p99", "max"];
    let _ = write!(out, "\n{title:<NAME$}");
    heads.iter().for_each(|head| _ = write!(out, " {head:>CELL$}"));
    let _ = writeln!(out, " {:>width$}  peak at", "peak");
    if let Some(fill) = &source.fill {
        numbers("entries", None, Some(fill.entries), out);
        let _ = writeln!(out, " {:>width$}  {}", cell(Some(fill.peak)), at(fill.peak_at_ns));
    }
    for counter in &source.counters {
        numbers(&shown(&counter.name), counter.total, counter.per_second, out);
        let mut peak = peak(counter.peak, counter.peak_few_events, source.sample_seconds);
        peak.push_str(plus(counter.peak_is_least));
        let when = counter.peak_at_ns.map_or(String::new(), at);
        let _ = writeln!(out, " {peak:>width$}  {when}");
    }
    if has_least {
        out.push_str(LEAST);
    }
    if source.counters.is_empty() {
        let nothing = if source.unmoved.is_empty() {
            "no counter is known to have been read"
        } else if source.unknown.is_empty() {
            "no counter moved"
        } else {
            "no counter moved in these rows; see the warnings"
        };
        let _ = writeln!(out, "{nothing}");
    }
}

/// A peak as a rate; of a few events in one sample, how many they were.
pub(super) fn peak(rate: Option<f64>, few: Option<f64>, sample_seconds: Option<f64>) -> String {
    match few.filter(|events| *events > 0.0) {
        Some(events) => match sample_seconds {
            Some(seconds) if seconds > 0.0 => format!("{events} in {}", duration(seconds)),
            _ => format!("{events} at once"),
        },
        None => cell(rate),
    }
}

/// The mark of a peak that was at least as high.
pub(super) fn plus(is_least: bool) -> &'static str {
    if is_least { "+" } else { "" }
}

fn numbers(name: &str, total: Option<f64>, spread: Option<Spreading>, out: &mut String) {
    let _ = write!(out, "{name:<NAME$}");
    let spread = |take: fn(Spreading) -> f64| spread.map(take);
    let cells =
        [total, spread(|s| s.min), spread(|s| s.median), spread(|s| s.p99), spread(|s| s.max)];
    cells.iter().for_each(|value| _ = write!(out, " {:>CELL$}", cell(*value)));
}

fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| number(value, CELL))
}

fn bursts(source: &SourceReport, at: &dyn Fn(i64) -> String, out: &mut String) {
    let bursts = &source.bursts;
    if bursts.is_empty() {
        return;
    }
    let has_few = bursts.iter().any(|burst| burst.few_events.is_some());
    let has_least = bursts.iter().any(|burst| burst.is_least);
    let width = if has_few { FEW_CELL } else { CELL } + usize::from(has_least);
    let _ = writeln!(
        out,
        "\n{:<NAME$} {:>width$} {:>CELL$} {:>CELL$}  in the row that ends at",
        "bursts, per second", "peak", "mean", "fill"
    );
    for burst in bursts {
        let fill = burst.fill_percent.map_or_else(|| "-".to_owned(), percent);
        let _ = writeln!(
            out,
            "{:<NAME$} {:>width$} {:>CELL$} {fill:>CELL$}  {} ({})",
            shown(&burst.counter),
            peak(Some(burst.peak), burst.few_events, source.sample_seconds) + plus(burst.is_least),
            number(burst.mean, CELL),
            at(burst.at_ns),
            duration(burst.within_seconds)
        );
    }
    if has_least && !source.counters.iter().any(|counter| counter.peak_is_least) {
        out.push_str(LEAST);
    }
}

fn changes(pair: &Pair, out: &mut String) {
    heading(&pair.name, &pair.tags, out);
    let _ = writeln!(out, "{:<18}{:^21}{:^21}{:>12}", "per second", "mean", "p99", "peak");
    let _ = write!(out, "{:<18}", "");
    (0..3).for_each(|_| _ = write!(out, "{:>6} {:>6} {:>6} ", "before", "after", "ratio"));
    out.truncate(out.trim_end().len());
    out.push('\n');
    for counter in &pair.counters {
        let _ = write!(out, "{:<18}", shown(&counter.name));
        let are_least = (counter.peak_before_is_least, counter.peak_after_is_least);
        let exact = (false, false);
        for (change, are_least) in
            [(counter.mean, exact), (counter.p99, exact), (counter.peak, are_least)]
        {
            ratio(change, are_least, out);
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    if pair
        .counters
        .iter()
        .any(|counter| counter.peak_before_is_least || counter.peak_after_is_least)
    {
        out.push_str(LEAST);
    }
    let _ = writeln!(out, "\n{:<30} {:>11} {:>11} {:>7}", "", "before", "after", "ratio");
    for (what, change) in &pair.others {
        let text =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| number(value, 11));
        let _ = writeln!(
            out,
            "{what:<30} {:>11} {:>11} {:>7}",
            text(change.before),
            text(change.after),
            times(*change)
        );
    }
}

/// Writes a change of numbers that are lower bounds or not.
fn ratio(change: Change, (before_is_least, after_is_least): (bool, bool), out: &mut String) {
    let text = |value: Option<f64>, is_least: bool| match value {
        Some(value) => number(value, 6) + plus(is_least),
        None => "-".to_owned(),
    };
    let (before, after) =
        (text(change.before, before_is_least), text(change.after, after_is_least));
    let times = match change.ratio {
        Some(ratio) if after_is_least => format!("{}x+", number(ratio, 5)),
        _ => times(change),
    };
    let _ = write!(out, "{before:>6} {after:>6} {times:>6} ");
}

fn times(change: Change) -> String {
    match change.ratio {
        Some(ratio) => format!("{}x", number(ratio, 5)),
        None => "-".to_owned(),
    }
}
