//! One source under two names: it goes on under other tags, as where a configuration adds one, the two
//! take turns, as where a host's name changes and comes back, or two programs write it for some time.
//! What is counted between the last row of the one and the first row of the other is in neither, or in
//! both.

use super::track::Point;
use crate::recording::RecordedSeries;
use crate::text::human::number;

/// How far apart they may be, in intervals and in seconds.
const NEAR_INTERVALS: f64 = 10.0;
const NEAR_SECONDS: f64 = 3600.0;
/// Tags that differ between two machines or namespaces.
const IDENTITY: [&str; 2] = ["host", "netns"];
/// So many counters that moved are no accident if those of one source are between those of the other.
const FEWEST_BETWEEN: usize = 3;
/// Counters rise unevenly: at a time between two rows they are this share of the rise between these, and a
/// few events, away from a line.
const UNEVEN: f64 = 0.1;
const FEW: f64 = 8.0;
/// Lower values of two sources are the same by chance.
const HIGH: f64 = 64.0;
/// Two sources that take turns are one that was restarted if its counters fall once in so many turns.
const TURNS_FOR_A_RESTART: usize = 4;
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
    /// Whether it is no sum of counters, and started again between stretches only.
    fn has_whole_stretches(&self) -> bool {
        let within: f64 = self.stretches.iter().map(|((_, first), (_, last))| last - first).sum();
        let between = self.stretches.windows(2).map(|pair| {
            let ((_, (_, last)), ((_, first), _)) = (pair[0], pair[1]);
            if first < last { first } else { first - last }
        });
        !self.stretches.is_empty() && self.total == within + between.sum::<f64>()
    }

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
        for (b, within) in sources.iter().enumerate().filter(|(b, _)| *b != a) {
            let is_later = b > a || before.span != within.span;
            let twice = if is_later { counted_within(before, within) } else { Vec::new() };
            if !twice.is_empty() {
                let sentence = format!(
                    "the counters of {} are those that {} has at the same times, as where two programs write \
                     one source; these events may be in both: {}",
                    within.origin,
                    before.origin,
                    named(&twice)
                );
                unknown[a].push(sentence.clone());
                unknown[b].push(sentence);
            }
        }
        for (b, behind) in sources.iter().enumerate() {
            let twice = counted_by_both(before, behind);
            if !twice.is_empty() {
                let sentence = format!(
                    "the counters of {} were between those of {} when its rows began, as where two \
                     programs write one source; these events may be in both: {}",
                    behind.origin,
                    before.origin,
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
/// rows of each lie in gaps of the other, and no counter is lower than before but for restarts, which are few
/// and let all of them begin again.
fn counted_twice<'a>(one: &'a Ends, other: &Ends) -> Vec<(&'a str, f64)> {
    let (mut twice, mut all) = (Vec::new(), Vec::new());
    for counter in &one.counters {
        let beside = other.counters.iter().find(|beside| beside.name == counter.name);
        let has_both =
            |it: &&CounterEnds| it.has_whole_stretches() && counter.has_whole_stretches();
        let Some(beside) = beside.filter(has_both) else { continue };
        let mut stretches = [&counter.stretches[..], &beside.stretches[..]].concat();
        stretches.sort_by_key(|((from_ns, _), _)| *from_ns);
        let Some(turns) = Turns::of(&stretches) else { return Vec::new() };
        let events = counter.total + beside.total - turns.events;
        if events > 0.0 {
            twice.push((counter.name.as_str(), events));
        }
        all.push(turns);
    }
    if are_of_one_source(&all) { twice } else { Vec::new() }
}

/// Whether no counter fell between the stretches, or all of them did where the source was restarted.
fn are_of_one_source(all: &[Turns]) -> bool {
    let restarts = all.iter().map(|turns| turns.fell).max().unwrap_or(0);
    let high: Vec<_> = all.iter().filter(|turns| turns.is_high).collect();
    restarts == 0
        || high.len() >= FEWEST_BETWEEN
            && high.iter().all(|turns| {
                turns.fell == restarts && TURNS_FOR_A_RESTART * restarts <= turns.number
            })
}

/// The stretches of a counter of two sources, one after the other.
struct Turns {
    /// The events of them and of the times between them.
    events: f64,
    /// How many times there are between them, and in how many the counter fell.
    number: usize,
    fell: usize,
    /// It was high at the end of each stretch: such values are no accident.
    is_high: bool,
}

impl Turns {
    /// Nothing where stretches overlap.
    fn of(stretches: &[(Point, Point)]) -> Option<Self> {
        let within: f64 = stretches.iter().map(|((_, first), (_, last))| last - first).sum();
        let mut turns = Self { events: within, number: 0, fell: 0, is_high: !stretches.is_empty() };
        for pair in stretches.windows(2) {
            let ((_, (to_ns, last)), ((from_ns, first), _)) = (pair[0], pair[1]);
            if to_ns >= from_ns {
                return None;
            }
            turns.number += 1;
            turns.fell += usize::from(first < last);
            turns.events += if first < last { first } else { first - last };
        }
        turns.is_high &= stretches.iter().all(|(_, (_, last))| *last >= HIGH);
        (!stretches.is_empty()).then_some(turns)
    }
}

/// Returns the counters with events that both sources have, if the rows of the second one begin among
/// those of the first one and end later, and so do all counters.
fn counted_by_both<'a>(before: &'a Ends, behind: &Ends) -> Vec<(&'a str, f64)> {
    let (Some(own), Some(other)) = (before.span, behind.span) else { return Vec::new() };
    let is_among = own.0 < other.0 && other.0 < own.1 && own.1 < other.1;
    if !is_among || are_different(before, behind) {
        return Vec::new();
    }
    let (mut twice, mut between) = (Vec::new(), 0);
    for counter in &before.counters {
        let Some(beside) = behind.counters.iter().find(|beside| beside.name == counter.name) else {
            continue;
        };
        let have_risen = counter.is_one_that_rose() && beside.is_one_that_rose();
        let is_between = (counter.first..=counter.last).contains(&beside.first)
            && (beside.first..=beside.last).contains(&counter.last);
        if !have_risen || !is_between {
            return Vec::new();
        }
        between += usize::from(counter.first < beside.first);
        if counter.last > beside.first {
            twice.push((counter.name.as_str(), counter.last - beside.first));
        }
    }
    if between >= FEWEST_BETWEEN { twice } else { Vec::new() }
}

/// Returns the counters with events that both sources have, if the rows of the second one are no longer
/// than those of the first one, and all counters have the values that those of the first one have then.
fn counted_within<'a>(whole: &'a Ends, within: &Ends) -> Vec<(&'a str, f64)> {
    let (Some(own), Some(other)) = (whole.span, within.span) else { return Vec::new() };
    let is_within = own.0 <= other.0 && other.1 <= own.1 && own.0 < own.1;
    if !is_within || are_different(whole, within) {
        return Vec::new();
    }
    let part =
        |time_ns: i64| time_ns.saturating_sub(own.0) as f64 / own.1.saturating_sub(own.0) as f64;
    let (mut twice, mut high) = (Vec::new(), 0);
    for counter in &whole.counters {
        let Some(beside) = within.counters.iter().find(|beside| beside.name == counter.name) else {
            continue;
        };
        let rise = counter.last - counter.first;
        let is_near = |value: f64, time_ns: i64| {
            (value - counter.first - rise * part(time_ns)).abs() <= UNEVEN * rise + FEW
        };
        let have_risen = counter.is_one_that_rose() && beside.is_one_that_rose();
        if !have_risen || !is_near(beside.first, other.0) || !is_near(beside.last, other.1) {
            return Vec::new();
        }
        let ends = |counter: &CounterEnds| (counter.first, counter.last);
        let is_copy = own == other && beside.total > 0.0 && ends(counter) == ends(beside);
        high += usize::from(beside.first >= HIGH || is_copy);
        if beside.total > 0.0 {
            twice.push((counter.name.as_str(), beside.total));
        }
    }
    if high >= FEWEST_BETWEEN { twice } else { Vec::new() }
}

/// Whether one source may be the other, later.
fn goes_on(before: &Ends, behind: &Ends) -> bool {
    let (Some(from), Some(to)) = (before.span, behind.span) else { return false };
    let apart = to.0.saturating_sub(from.1) as f64 / 1e9;
    let near = (NEAR_INTERVALS * before.interval_seconds).max(NEAR_SECONDS);
    apart > 0.0 && apart <= near && !are_different(before, behind)
}

/// Whether the tags are those of two machines or namespaces.
fn are_different(one: &Ends, other: &Ends) -> bool {
    let is_other = |key: &&str| match (one.origin.tag(key), other.origin.tag(key)) {
        (Some(a), Some(b)) => a != b && !is_same_host(a, b) && !is_same_host(b, a),
        _ => false,
    };
    IDENTITY.iter().any(is_other)
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
