//! The rows of single CPUs beside those with their sum (`cpu=all`): whether both show the same, and
//! whether each CPU has rows where none has the sum.

use std::collections::HashMap;

use super::super::doubts::Unknowns;
use super::super::fields::Counters;
use super::super::gaps::LONGER;
use super::super::track::{Track, WRAP};
use super::super::unknown::count;
use super::SourceAccumulator;
use crate::recording::known::is_known;
use crate::schema::fields::rank;
use crate::text::human::number;

/// Rows of two inputs have the events of another time: so many intervals at the lower of both
/// average rates are no difference.
const JITTER: f64 = 2.0;
/// CPUs without rows that a sentence lists.
const MOST_LISTED: usize = 4;

/// One counter by its rows with the sum and by those of the CPUs.
#[derive(Debug)]
struct BothWays<'a> {
    whole: &'a Track,
    cpus: &'a [&'a Track],
    whole_span: (i64, i64),
    /// From the first row of any CPU to the last.
    cpus_span: (i64, i64),
    /// Rows no further apart than this are of one gather.
    near_ns: i64,
    interval_seconds: f64,
}

/// Two numbers that should be the same.
#[derive(Debug, Clone, Copy)]
struct Pair {
    cpus: f64,
    whole: f64,
}

/// A difference between the rows of the CPUs and those with their sum.
#[derive(Debug, Clone, Copy)]
enum Difference {
    Events(Pair),
    /// Of the first or the last rows.
    Values(&'static str, Pair),
}

impl BothWays<'_> {
    /// The time by which the rows of the CPUs begin earlier, and that by which they end later.
    fn longer_ns(&self) -> (i64, i64) {
        let (whole, cpus) = (self.whole_span, self.cpus_span);
        (whole.0.saturating_sub(cpus.0), cpus.1.saturating_sub(whole.1))
    }

    /// Whether the rows of the CPUs cover the time of those with their sum.
    fn cover(&self) -> bool {
        let (earlier, later) = self.longer_ns();
        earlier >= -self.near_ns && later >= -self.near_ns
    }

    /// Whether the rows with the sum cover the time of those of the CPUs.
    fn are_covered(&self) -> bool {
        let (earlier, later) = self.longer_ns();
        earlier <= self.near_ns && later <= self.near_ns
    }

    /// The first values, if all rows begin together.
    fn first(&self) -> Option<Pair> {
        let begins = |track: &&Track| {
            let (from_ns, _) = track.span().unwrap_or_default();
            from_ns.abs_diff(self.whole_span.0) <= self.near_ns.unsigned_abs()
        };
        let cpus = || self.cpus.iter().map(|track| track.first()).sum();
        let are_together = self.cpus.iter().all(begins);
        are_together.then(|| Pair { cpus: cpus(), whole: self.whole.first() })
    }

    /// The last values, if all rows end together.
    fn last(&self) -> Option<Pair> {
        let ends = |track: &&Track| {
            let (_, to_ns) = track.span().unwrap_or_default();
            to_ns.abs_diff(self.whole_span.1) <= self.near_ns.unsigned_abs()
        };
        let cpus = || self.cpus.iter().map(|track| last(track)).sum();
        let are_together = self.cpus.iter().all(ends);
        are_together.then(|| Pair { cpus: cpus(), whole: last(self.whole) })
    }

    fn events(&self) -> Pair {
        Pair { cpus: self.cpus.iter().map(|track| track.total()).sum(), whole: self.whole.total() }
    }

    /// How far two numbers of different rows may be apart.
    fn jitter(&self) -> f64 {
        let Pair { cpus, whole } = self.events();
        let spans = [self.whole_span, self.cpus_span].map(|(from, to)| to.saturating_sub(from));
        let seconds = (spans[0].max(spans[1]) as f64 / 1e9).max(self.interval_seconds);
        0.5 + if seconds > 0.0 {
            JITTER * self.interval_seconds * cpus.min(whole) / seconds
        } else {
            0.0
        }
    }

    /// Whether an end at which all rows are together has the same value in both, but for wraps;
    /// `None` if there is no such end.
    fn agree(&self) -> Option<bool> {
        let ends = [self.first(), self.last()];
        let same = ends.into_iter().flatten().map(|pair| self.is_same_value(pair));
        same.reduce(|a, b| a && b)
    }

    fn is_same_value(&self, pair: Pair) -> bool {
        let apart = (pair.cpus - pair.whole).abs() % WRAP;
        apart.min(WRAP - apart) <= self.jitter()
    }

    /// Whether the values with the sum are between the first and the last of the CPUs, which go on
    /// for longer.
    fn may_agree(&self) -> bool {
        let sum = |of: fn(&Track) -> f64| self.cpus.iter().map(|track| of(track)).sum::<f64>();
        let jitter = self.jitter();
        sum(Track::first) <= self.whole.first() + jitter
            && last(self.whole) <= sum(last) + jitter
            && self.whole.total() <= self.events().cpus + jitter
    }

    /// What the rows of the CPUs have more where they go on for longer.
    fn more_events(&self) -> Option<Difference> {
        let events = self.events();
        let is_more = events.cpus > events.whole + self.jitter() && !self.are_covered();
        is_more.then_some(Difference::Events(events))
    }

    /// The events of the rows with the sum that no CPU has, though the CPUs had the same values at the
    /// beginning and cover the time.
    fn more_than_cpus(&self) -> f64 {
        let Pair { cpus, whole } = self.events();
        let are_whole = self.first().is_some_and(|pair| self.is_same_value(pair)) && self.cover();
        if are_whole && whole > cpus + self.jitter() { whole - cpus } else { 0.0 }
    }

    /// The difference of both: the longer of them cannot have fewer events.
    fn difference(&self) -> Option<Difference> {
        let backs = |track: &Track| track.resets() + track.odd();
        let of_cpus = self.cpus.iter().map(|track| backs(track)).max().unwrap_or(0);
        let events = self.events();
        // Where the sum goes back alone, that has a warning of its own.
        let is_other = events.cpus > events.whole + self.jitter() && self.are_covered()
            || events.whole > events.cpus + self.jitter() && self.cover();
        if is_other && backs(self.whole) == of_cpus {
            return Some(Difference::Events(events));
        }
        let other = |pair: &Pair| !self.is_same_value(*pair);
        let first = self.first().filter(other).map(|pair| Difference::Values("first", pair));
        let last = || self.last().filter(other).map(|pair| Difference::Values("last", pair));
        first.or_else(last)
    }
}

/// The last value, also if it is one of zeros that a query may have filled in.
fn last(track: &Track) -> f64 {
    if track.zeros_at_end() > 0 { 0.0 } else { track.last() }
}

/// The comparison of the CPUs' rows with those that have their sum.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// The first counter that differs, and how many more do.
    different: Option<(String, Difference, u64)>,
    /// The rows of the CPUs have everything that those with their sum have, as far as both show it.
    are_whole: bool,
    /// No row has the sum of a counter.
    is_without_sum: bool,
    /// By the number of a counter: events that only the rows with the sum have.
    of_no_cpu: HashMap<usize, f64>,
}

impl Sums {
    /// The events of a counter that no CPU has.
    pub(super) fn doubted(&self, counter: usize) -> f64 {
        self.of_no_cpu.get(&counter).copied().unwrap_or(0.0)
    }
}

impl SourceAccumulator {
    /// Compares the rows of the CPUs with those that have their sum.
    pub(super) fn compare_sums(&mut self, counters: &Counters) {
        let mut names: Vec<_> = counters.names.iter().enumerate().collect();
        names.sort_by_key(|(_, name)| (rank(name), name.as_str()));
        let is_compared = |(at, name): &(usize, &String)| {
            is_known(name) && !counters.origins[*at].is_of_probes(self.is_of_ctpulse)
        };
        let (mut sums, mut has_agreed, mut may_agree) = (Sums::default(), false, true);
        let (mut differ, mut differences) = (false, Vec::new());
        for (at, name) in names.into_iter().filter(is_compared) {
            let cpus: Vec<&Track> = self.cpus.tracks(at).collect();
            let whole = self.counters.get(at).map(|counter| &counter.track);
            let Some(whole) = whole.filter(|track| track.values() > 0) else {
                sums.is_without_sum |= !cpus.is_empty();
                continue;
            };
            let Some(both) = self.both_ways(whole, &cpus) else { continue };
            match both.agree() {
                Some(agree) => (has_agreed, differ) = (has_agreed | agree, differ | !agree),
                None => may_agree &= both.may_agree(),
            }
            let more = both.more_than_cpus();
            if more > 0.0 {
                sums.of_no_cpu.insert(at, more);
            }
            differences.push((name, both.difference(), both.more_events()));
        }
        sums.are_whole = !differ && (has_agreed || may_agree);
        let are_whole = sums.are_whole;
        let mut different = differences.into_iter().filter_map(|(name, difference, more)| {
            // What the rows of the CPUs have more counts, if they are whole.
            Some((name, more.filter(|_| !are_whole).or(difference)?))
        });
        let first = different.next();
        let more = different.count() as u64;
        sums.different = first.map(|(name, difference)| (name.clone(), difference, more));
        self.sums = sums;
    }

    fn both_ways<'a>(&self, whole: &'a Track, cpus: &'a [&'a Track]) -> Option<BothWays<'a>> {
        let spans = cpus.iter().filter_map(|track| track.span());
        Some(BothWays {
            whole,
            cpus,
            whole_span: whole.span()?,
            cpus_span: spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?,
            near_ns: self.statistics.reach().near_ns.max(self.cpus.clock.reach().near_ns),
            interval_seconds: self.statistics.interval().unwrap_or(0.0),
        })
    }

    /// Whether the sum of the CPUs' counters is more certain than the rows with the sum are: each
    /// of them wraps by itself. It is not where a CPU may be missing.
    pub(super) fn are_cpus_better(&self, whole: &Track, cpus: &[&Track]) -> bool {
        let is_doubtful = !self.sums.are_whole || self.cpus.is_short();
        if is_doubtful || cpus.iter().any(|track| track.unordered() > 0) {
            return false;
        }
        let goes_back = whole.resets() + whole.odd() + whole.disagreeing() > 0;
        self.both_ways(whole, cpus).is_some_and(|both| {
            let (earlier, later) = both.longer_ns();
            let (longer, shorter) = (earlier.max(later), -earlier.min(later));
            let far_ns = (both.interval_seconds * LONGER * 1e9) as i64;
            let near_ns = both.near_ns;
            (longer > near_ns && shorter <= near_ns)
                || ((longer > far_ns || goes_back) && shorter <= far_ns)
        })
    }

    /// Whether no row has the sum of the CPUs, so that all counters are those of the CPUs with rows.
    pub(super) fn has_no_sum(&self) -> bool {
        self.cpus.count() > 0 && self.statistics.emissions() == 0
    }

    /// Returns the sentences about the rows of the CPUs.
    pub(super) fn unknown_of_cpus(&self) -> Unknowns {
        let mut sentences = Unknowns::default();
        if let Some((name, difference, more)) = &self.sums.different {
            let more = match more {
                0 => String::new(),
                1 => ", and 1 more counter differs".to_owned(),
                _ => format!(", and {} differ", count(*more, "more counter")),
            };
            let why = "rows are missing, or both are not of the same source";
            let number = |value| number(value, 15);
            let sentence = match difference {
                Difference::Events(Pair { cpus, whole }) => format!(
                    "{name} counted {} in the rows of the CPUs and {} in those with their sum \
                     (cpu=all){more}: {why}",
                    number(*cpus),
                    number(*whole)
                ),
                Difference::Values(end, Pair { cpus, whole }) => format!(
                    "the {end} values of {name} in the rows of the CPUs add up to {}, and that with \
                     their sum (cpu=all) is {}{more}: {why}",
                    number(*cpus),
                    number(*whole)
                ),
            };
            if self.sums.of_no_cpu.is_empty() {
                sentences.push(sentence);
            } else {
                sentences.doubt(sentence);
            }
        }
        if self.sums.is_without_sum {
            let missing = missing_cpus(&self.cpus.numbers().collect::<Vec<_>>());
            missing.into_iter().for_each(|sentence| sentences.push(sentence));
        }
        sentences
    }
}

/// Returns a sentence about CPUs that have no rows, if no row has the sum; `cpus` are those that
/// have.
fn missing_cpus(cpus: &[usize]) -> Option<String> {
    if let [only] = cpus {
        return Some(format!(
            "only cpu{only} has rows with counters, and none has the sum of the CPUs: nothing is known \
             of others"
        ));
    }
    let last = *cpus.last()?;
    let missing: Vec<_> = (0..last).filter(|cpu| cpus.binary_search(cpu).is_err()).collect();
    let mut listed: Vec<_> =
        missing.iter().take(MOST_LISTED).map(|cpu| format!("cpu{cpu}")).collect();
    listed.extend((missing.len() > MOST_LISTED).then(|| "others".to_owned()));
    (!missing.is_empty()).then(|| {
        format!(
            "rows of {} are missing among those of cpu0 to cpu{last}, and no row has the sum of the \
             CPUs: nothing is known of their events",
            listed.join(", ")
        )
    })
}
