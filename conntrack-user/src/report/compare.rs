//! Two recordings, before and after a change, with ratios.

use serde::Serialize;

use super::summary::{Change, Report, SourceReport};
use crate::schema::fields::rank;
use crate::text::human::{duration, number};

/// Two recordings side by side.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The reasons against a comparison of the two recordings, one sentence each.
    pub warnings: Vec<String>,
    /// The sources that both have.
    pub pairs: Vec<Pair>,
    /// Sources of the first recording alone.
    pub only_before: Vec<String>,
    /// Sources of the second recording alone.
    pub only_after: Vec<String>,
    /// The first recording.
    pub before: Report,
    /// The second recording.
    pub after: Report,
}

/// One source in both recordings.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    /// The measurement.
    pub name: String,
    /// The tags in the second recording.
    pub tags: Vec<(String, String)>,
    /// The counters that moved in either.
    pub counters: Vec<CounterChange>,
    /// Fill, gaps and misses, each with its name.
    pub others: Vec<(&'static str, Change)>,
}

/// One counter in both recordings, in events per second.
#[derive(Debug, Clone, Serialize)]
pub struct CounterChange {
    /// The field's name.
    pub name: String,
    /// Over the whole recording.
    pub mean: Change,
    /// The 99th percentile of the windows.
    pub p99: Change,
    /// The largest rate of a sample. The ratio is a lower bound if the peak after is, and not known if the
    /// peak before is.
    pub peak: Change,
    /// Whether the peak before is a lower bound.
    pub peak_before_is_least: bool,
    /// Whether the peak after is a lower bound.
    pub peak_after_is_least: bool,
}

/// Compares two recordings. Sources belong together if they have the same tags; if each
/// recording has a single one, these do, since a change may rename a host.
#[must_use]
pub fn compare(before: Report, after: Report) -> Comparison {
    let mut pairs = Vec::new();
    let (mut only_before, mut only_after) = (Vec::new(), Vec::new());
    let single = before.sources.len() == 1 && after.sources.len() == 1;
    let same =
        |a: &SourceReport, b: &SourceReport| single || (a.name == b.name && a.tags == b.tags);
    for new in &after.sources {
        match before.sources.iter().find(|old| same(old, new)) {
            Some(old) => pairs.push(pair(old, new)),
            None => only_after.push(title(new)),
        }
    }
    let warnings = warnings(&before, &after, single);
    let lonely = |old: &&SourceReport| !after.sources.iter().any(|new| same(old, new));
    only_before.extend(before.sources.iter().filter(lonely).map(title));
    Comparison { warnings, pairs, only_before, only_after, before, after }
}

/// Recordings of more different lengths than this are hard to compare.
const LENGTHS: f64 = 2.0;
/// Times between rows or samples that differ by more than this are different.
const TIMES: f64 = 1.25;

/// A share of emissions that are missing from which on a recording lacks rates and peaks.
const MISSING: f64 = 0.05;

fn warnings(before: &Report, after: &Report, single: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    for new in &after.sources {
        let is_pair =
            |old: &&SourceReport| single || (old.name == new.name && old.tags == new.tags);
        let Some(old) = before.sources.iter().find(is_pair) else { continue };
        let (old_title, new_title) = (title(old), title(new));
        if old_title != new_title {
            warnings.push(format!(
                "different sources: before is {old_title}, after is {new_title}; is that meant?"
            ));
        }
        let (short, long) = (span(old).min(span(new)), span(old).max(span(new)));
        if long > LENGTHS * short {
            let (old_span, new_span) = (duration(span(old)), duration(span(new)));
            warnings.push(format!(
                "different lengths: {old_title} spans {old_span} before, {new_title} {new_span} \
                 after; peaks and p99 depend on the length"
            ));
        }
        if new.to_ns < old.from_ns {
            warnings.push(format!("{new_title}: after is earlier than before; are they swapped?"));
        }
        warnings.extend(different_times(old, new).map(|why| format!("{new_title}: {why}")));
        for (word, title, source) in [("before", &old_title, old), ("after", &new_title, new)] {
            let sentence = |why: &String| format!("{word}, {title}: {why}");
            warnings.extend(missing(source).iter().map(sentence));
            warnings.extend(source.unknown.iter().map(sentence));
        }
    }
    warnings
}

/// Why peaks and percentiles lack a part of the time.
fn missing(source: &SourceReport) -> Option<String> {
    let missing = source.gaps.missing;
    let due = missing + source.emissions;
    (missing as f64 > MISSING * due as f64).then(|| {
        let [missing, due] = [missing, due].map(|count| number(count as f64, 15));
        format!("{missing} of {due} emissions are missing, and their events in peaks and p99")
    })
}

/// Why the peaks of two sources are of different lengths of time, or are not known alike.
fn different_times(old: &SourceReport, new: &SourceReport) -> impl Iterator<Item = String> {
    let differ = |what: &str, times: [Option<f64>; 2], which: &str| {
        let text = |time: Option<f64>| time.map_or_else(|| "none".to_owned(), duration);
        let [before, after] = times;
        let is_same = match (before, after) {
            (Some(before), Some(after)) => before.max(after) <= TIMES * before.min(after),
            (before, after) => before.is_none() && after.is_none(),
        };
        (!is_same).then(|| {
            let (before, after) = (text(before), text(after));
            format!("different {what} ({before} before, {after} after): {which} are of these times")
        })
    };
    let samples = [old.sample_seconds, new.sample_seconds];
    let intervals = [old.interval_seconds, new.interval_seconds];
    // Without samples a peak is the rate of a row.
    let of_rows = if samples == [None, None] { "peaks and p99" } else { "p99" };
    [differ("times between samples", samples, "peaks"), differ("intervals", intervals, of_rows)]
        .into_iter()
        .flatten()
}

fn title(source: &SourceReport) -> String {
    let tags = source.tags.iter().map(|(key, value)| format!(" {key}={value}"));
    source.name.clone() + &tags.collect::<String>()
}

fn change(before: Option<f64>, after: Option<f64>) -> Change {
    let ratio = before.zip(after).filter(|(before, _)| *before > 0.0).map(|(b, a)| a / b);
    Change { before, after, ratio }
}

fn pair(old: &SourceReport, new: &SourceReport) -> Pair {
    let mut names: Vec<_> = new.counters.iter().chain(&old.counters).map(|c| &c.name).collect();
    names.sort_by_key(|name| (rank(name), name.as_str()));
    names.dedup();
    let counters = names.into_iter().map(|name| counter(name, old, new)).collect();
    let both = |of: fn(&SourceReport) -> Option<f64>| change(of(old), of(new));
    let others = vec![
        ("entries at the peak", both(|s| Some(s.fill.as_ref()?.peak))),
        ("entries, median", both(|s| Some(s.fill.as_ref()?.entries.median))),
        ("fill at the peak, percent", both(|s| Some(s.fill.as_ref()?.fullest?.percent))),
        (
            "90 % full at most, seconds",
            both(|s| s.fill.as_ref()?.above_90_percent?.at_most_seconds),
        ),
        ("emissions missing", both(|s| Some(s.gaps.missing as f64))),
        ("samples missed", both(|s| s.losses.samples_missed)),
        ("emissions lost", both(|s| s.losses.rows_lost)),
        ("span, seconds", both(|s| Some(span(s)))),
    ];
    Pair { name: new.name.clone(), tags: new.tags.clone(), counters, others }
}

fn span(source: &SourceReport) -> f64 {
    (source.to_ns - source.from_ns) as f64 / 1e9
}

fn counter(name: &str, old: &SourceReport, new: &SourceReport) -> CounterChange {
    let find = |source: &'_ SourceReport| {
        source.counters.iter().find(|counter| counter.name == name).cloned()
    };
    let is_least = |source| find(source).is_some_and(|counter| counter.peak_is_least);
    let [peak_before_is_least, peak_after_is_least] = [old, new].map(is_least);
    let of = |source: &SourceReport| {
        match find(source) {
            Some(counter) => {
                let seconds = Some(span(source)).filter(|seconds| *seconds > 0.0);
                let mean = counter.total.zip(seconds).map(|(total, seconds)| total / seconds);
                (mean, counter.per_second.map(|rates| rates.p99), counter.peak)
            }
            // There and at rest is a rate of 0; not there is none.
            None if source.unmoved.iter().any(|unmoved| unmoved == name) => {
                (Some(0.0), Some(0.0), Some(0.0))
            }
            None => (None, None, None),
        }
    };
    let (old, new) = (of(old), of(new));
    let peak = change(old.2, new.2);
    CounterChange {
        name: name.to_owned(),
        mean: change(old.0, new.0),
        p99: change(old.1, new.1),
        peak: Change { ratio: peak.ratio.filter(|_| !peak_before_is_least), ..peak },
        peak_before_is_least,
        peak_after_is_least,
    }
}
