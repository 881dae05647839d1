//! One source under two names: it goes on under other tags, as where a configuration adds one, or the
//! two take turns, as where a host's name changes and comes back. What is counted between the last
//! row of the one and the first row of the other is in neither, or in both.

use super::track::Point;
use crate::recording::RecordedSeries;
use crate::text::human::number;

/// How far apart they may be, in intervals and in seconds.
const NEAR_INTERVALS: f64 = 10.0;
const NEAR_SECONDS: f64 = 3600.0;
/// Tags that differ between two machines or namespaces.
const IDENTITY: [&str; 2] = ["host", "netns"];
/// Counters that a sentence names.
const NAMED: usize = 4;

/// How a source begins and ends.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) origin: RecordedSeries,
    /// The times of the first and the last row with counters.
    pub(super) span: Option<(i64, i64)>,
    pub(super) interval_seconds: f64,
    pub(super) counters: Vec<CounterEnds>,
}

/// How a counter of a source begins and ends.
#[derive(Debug)]
pub(super) struct CounterEnds {
    pub(super) name: String,
    /// Its first and its last value.
    pub(super) first: f64,
    pub(super) last: f64,
    /// The events between them.
    pub(super) total: f64,
    /// The first and the last value of each stretch of time without a gap; none where it is the sum of
    /// several counters.
    pub(super) stretches: Vec<(Point, Point)>,
}

impl CounterEnds {
    /// Whether it is no sum of counters, and never started again.
    fn is_one_that_rose(&self) -> bool {
        !self.stretches.is_empty() && self.total == self.last - self.first
    }
}

/// Returns what is unknown of each source for this reason.
pub(super) fn unknown(sources: &[Ends]) -> Vec<Vec<String>> {
    let mut unknown = vec![Vec::new(); sources.len()];
    for (a, before) in sources.iter().enumerate() {
        for (b, other) in sources.iter().enumerate().skip(a + 1) {
            let twice = counted_twice(before, other);
            if !twice.is_empty() {
                let sentence = format!(
                    "the counters of {} and {} take turns as those of one source do whose name changed \
                     and came back; these events are in both: {}",
                    before.origin,
                    other.origin,
                    named(&twice)
                );
                unknown[a].push(sentence.clone());
                unknown[b].push(sentence);
            }
        }
        let later = sources.iter().enumerate().filter(|(_, behind)| goes_on(before, behind));
        let later = later.filter_map(|(b, behind)| Some((b, behind, rises(before, behind)?)));
        // The source may have changed its name again after that.
        let next = later.min_by_key(|(_, behind, _)| behind.span);
        if let Some((b, behind, rises)) = next.filter(|(.., rises)| !rises.is_empty()) {
            let sentence = format!(
                "the counters of {} go on in {}, as where a tag was added; events between them are in \
                 neither: {}",
                before.origin,
                behind.origin,
                named(&rises)
            );
            unknown[a].push(sentence.clone());
            unknown[b].push(sentence);
        }
    }
    unknown
}

fn named(counters: &[(&str, f64)]) -> String {
    let named = counters.iter().take(NAMED);
    let named: Vec<_> =
        named.map(|(name, events)| format!("{name} {}", number(*events, 15))).collect();
    let more = match counters.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    named.join(", ") + &more
}

/// Returns the counters with events that both sources have, if their rows are those of one source: the
/// rows of each lie in gaps of the other, and no counter is lower than before.
fn counted_twice<'a>(one: &'a Ends, other: &Ends) -> Vec<(&'a str, f64)> {
    let mut twice = Vec::new();
    for counter in &one.counters {
        let beside = other.counters.iter().find(|beside| beside.name == counter.name);
        let Some(beside) = beside.filter(|it| it.is_one_that_rose() && counter.is_one_that_rose())
        else {
            continue;
        };
        let mut stretches = [&counter.stretches[..], &beside.stretches[..]].concat();
        stretches.sort_by_key(|((from_ns, _), _)| *from_ns);
        let goes_on = |pair: &[(Point, Point)]| {
            let ((_, (to_ns, last)), ((from_ns, first), _)) = (pair[0], pair[1]);
            to_ns < from_ns && last <= first
        };
        if stretches.is_empty() || !stretches.windows(2).all(goes_on) {
            return Vec::new();
        }
        let [first, last] = [&stretches[0], &stretches[stretches.len() - 1]];
        let events = counter.total + beside.total - (last.1.1 - first.0.1);
        if events > 0.0 {
            twice.push((counter.name.as_str(), events));
        }
    }
    twice
}

/// Whether one source may be the other, later.
fn goes_on(before: &Ends, behind: &Ends) -> bool {
    let (Some(from), Some(to)) = (before.span, behind.span) else { return false };
    let apart = to.0.saturating_sub(from.1) as f64 / 1e9;
    let near = (NEAR_INTERVALS * before.interval_seconds).max(NEAR_SECONDS);
    let is_other = |key: &&str| match (before.origin.tag(key), behind.origin.tag(key)) {
        (Some(a), Some(b)) => a != b && !is_same_host(a, b) && !is_same_host(b, a),
        _ => false,
    };
    apart > 0.0 && apart <= near && !IDENTITY.iter().any(is_other)
}

/// Whether one name is the other with its domain.
fn is_same_host(short: &str, long: &str) -> bool {
    long.strip_prefix(short).is_some_and(|domain| domain.starts_with('.'))
}

/// Returns the counters that are higher, if none is lower.
fn rises<'a>(before: &'a Ends, behind: &Ends) -> Option<Vec<(&'a str, f64)>> {
    let mut rises = Vec::new();
    for counter in &before.counters {
        let later = behind.counters.iter().find(|later| later.name == counter.name);
        let Some(later) = later else { continue };
        if later.first < counter.last {
            return None;
        }
        if later.first > counter.last {
            rises.push((counter.name.as_str(), later.first - counter.last));
        }
    }
    Some(rises)
}
