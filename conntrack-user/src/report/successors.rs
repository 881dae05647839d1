//! Sources that go on under other tags, as where a configuration adds one: what is counted between
//! the last row of the one and the first row of the other is in neither.

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
    /// Each counter with its first and its last value.
    pub(super) counters: Vec<(String, f64, f64)>,
}

/// Returns what is unknown of each source for this reason.
pub(super) fn unknown(sources: &[Ends]) -> Vec<Vec<String>> {
    let mut unknown = vec![Vec::new(); sources.len()];
    for (a, before) in sources.iter().enumerate() {
        let later = sources.iter().enumerate().filter(|(_, behind)| goes_on(before, behind));
        let later = later.filter_map(|(b, behind)| Some((b, behind, rises(before, behind)?)));
        // The source may have changed its name again after that.
        let next = later.min_by_key(|(_, behind, _)| behind.span);
        if let Some((b, behind, rises)) = next.filter(|(.., rises)| !rises.is_empty()) {
            let named: Vec<_> = rises
                .iter()
                .take(NAMED)
                .map(|(name, events)| format!("{name} {}", number(*events, 15)))
                .collect();
            let more = match rises.len() - named.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let sentence = format!(
                "the counters of {} go on in {}, as where a tag was added; events between them are in \
                 neither: {}{more}",
                before.origin,
                behind.origin,
                named.join(", ")
            );
            unknown[a].push(sentence.clone());
            unknown[b].push(sentence);
        }
    }
    unknown
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
    for (name, _, last) in &before.counters {
        let Some((_, first, _)) = behind.counters.iter().find(|(other, ..)| other == name) else {
            continue;
        };
        if first < last {
            return None;
        }
        if first > last {
            rises.push((name.as_str(), first - last));
        }
    }
    Some(rises)
}
