//! One source's rows become its numbers.
//!
//! The rows of one time (the table's, `cpu=all`) are put together into a moment; two successive
//! moments give events and the time they took. Events come from the counters, which no lost row
//! can falsify, and from rates only where a recording has no counters.

use super::Options;
use super::burst::{Candidate, Worst};
use super::cpus::Cpus;
use super::drawing::Drawing;
use super::fields::{CAUSES, Meaning, rank};
use super::gaps::Intervals;
use super::level::TableLevel;
use super::moment::{Moment, Reading, events};
use super::spread::Spread;
use super::summary::{Burst, Cause, Counter, Gap, Gaps, Losses, SourceReport};
use super::timeline::Rate;
use crate::recording::{Row, Series, SeriesId};

/// The counters whose bursts are listed; the others move with one of these.
const BURSTING: [&str; 10] = [
    "drop",
    "chaintoolong",
    "drop_dying",
    "early_drop",
    "insert_failed",
    "clash_resolve",
    "invalid",
    "new",
    "insert",
    "delete",
];
/// A burst is more than this many times the median of all rows' peaks.
const STANDS_OUT: f64 = 2.0;
/// And more than this share of the counter's worst.
const COMPARABLE: f64 = 0.1;

#[derive(Debug, Default)]
struct Tallied {
    seen: bool,
    total: f64,
    /// Events in the open window, if any are known.
    in_window: Option<f64>,
    rates: Spread,
    /// Of each row.
    peaks: Spread,
    peak: Option<(f64, i64)>,
    worst: Worst,
}

/// The state of one source.
#[derive(Debug)]
pub(super) struct Source {
    origin: Series,
    rows: u64,
    emissions: u64,
    span: Option<(i64, i64)>,
    now: Moment,
    last: Moment,
    /// The series whose rows `now` consists of; empty when it has none.
    parts: Vec<SeriesId>,
    has_last: bool,
    counters: Vec<Tallied>,
    window_seconds: f64,
    level: TableLevel,
    intervals: Intervals,
    gaps: Gaps,
    losses: [Option<f64>; 2],
    cpus: Cpus,
    drawing: Option<Drawing>,
}

impl Source {
    pub(super) fn new(origin: Series) -> Self {
        Self {
            origin,
            rows: 0,
            emissions: 0,
            span: None,
            now: Moment::default(),
            last: Moment::default(),
            parts: Vec::new(),
            has_last: false,
            counters: Vec::new(),
            window_seconds: 0.0,
            level: TableLevel::default(),
            intervals: Intervals::default(),
            gaps: Gaps::default(),
            losses: [None; 2],
            cpus: Cpus::default(),
            drawing: None,
        }
    }

    /// A row of the CPU `cpu`: the counters that are followed, by their place.
    pub(super) fn of_a_cpu(
        &mut self,
        options: &Options,
        time_ns: i64,
        cpu: usize,
        counters: impl Iterator<Item = (usize, f64)>,
    ) {
        self.count_row(options, time_ns);
        for (place, value) in counters {
            let events = self.cpus.take(cpu, place, value);
            if let Some(drawing) = &mut self.drawing {
                drawing.of_a_cpu(time_ns, cpu, events);
            }
        }
    }

    fn count_row(&mut self, options: &Options, time_ns: i64) {
        if options.drawn && self.drawing.is_none() {
            self.drawing = Some(Drawing::new(time_ns));
        }
        self.rows += 1;
        let (from, to) = self.span.get_or_insert((time_ns, time_ns));
        (*from, *to) = ((*from).min(time_ns), (*to).max(time_ns));
    }

    /// A row of the whole namespace.
    pub(super) fn whole(&mut self, options: &Options, meanings: &[Meaning], row: Row<'_>) {
        self.count_row(options, row.time_ns);
        if row.time_ns != self.now.time_ns || self.parts.contains(&row.series) {
            self.complete(options);
        }
        self.parts.push(row.series);
        self.now.time_ns = row.time_ns;
        for &(field, value) in row.values {
            self.now.set(meanings[field.0], value);
        }
    }

    /// The moment has all its rows: what it says of the time since the one before.
    pub(super) fn complete(&mut self, options: &Options) {
        if self.parts.is_empty() {
            return;
        }
        self.parts.clear();
        self.emissions += 1;
        let between = self.has_last.then(|| self.now.time_ns.saturating_sub(self.last.time_ns));
        let seconds = between.unwrap_or(0) as f64 / 1e9;
        if seconds < 0.0 {
            // Older rows behind younger ones: nothing is known of the time between.
            self.gaps.backwards += 1;
            self.window_seconds = 0.0;
            self.counters.iter_mut().for_each(|counter| counter.in_window = None);
            self.has_last = false;
        }
        // The first row of a run has counters and no rates; without counters the module is gone.
        let first = !self.now.has_rates && self.now.counters.iter().any(|c| c.value.is_some());
        let restart = self.has_last && self.last.has_rates && first;
        self.gaps.restarts += u64::from(restart);
        let mut gap = false;
        if self.has_last && seconds > 0.0 {
            let (from_ns, to_ns) = (self.last.time_ns, self.now.time_ns);
            gap = self.intervals.record(Gap { from_ns, to_ns, restart });
        }
        let fill = self.take_level(if self.has_last { seconds } else { 0.0 });
        self.take_counters(options, seconds, gap, fill);
        self.take_losses();
        std::mem::swap(&mut self.now, &mut self.last);
        self.has_last = true;
        self.now.clear(self.last.time_ns);
    }

    /// Entries and fill; the highest fill since the moment before, in percent.
    fn take_level(&mut self, seconds: f64) -> Option<f64> {
        let extremes = self.level.take(&self.now, seconds)?;
        if let Some(drawing) = &mut self.drawing {
            drawing.level(self.now.time_ns, &extremes);
        }
        extremes.fill.map(|(_, high)| high)
    }

    fn take_counters(&mut self, options: &Options, seconds: f64, gap: bool, fill: Option<f64>) {
        if self.counters.len() < self.now.counters.len() {
            self.counters.resize_with(self.now.counters.len(), Tallied::default);
        }
        let mut reset = false;
        let apart =
            (self.intervals.estimate().unwrap_or(0.0) * 1.5).max(options.window.as_secs_f64());
        let apart_ns = (apart * 1e9) as i64;
        for (at, reading) in self.now.counters.iter().enumerate() {
            let Reading { value, rate, peak } = *reading;
            if value.or(rate).or(peak).is_none() {
                continue;
            }
            let before = self.last.counters.get(at).and_then(|last| last.value);
            let counter = &mut self.counters[at];
            counter.seen = true;
            let counted = match (before.filter(|_| self.has_last), value, rate) {
                (Some(before), Some(value), _) => {
                    let (events, anew) = events(before, value);
                    reset |= anew;
                    Some(events)
                }
                (_, None, Some(rate)) if self.has_last => Some(rate * seconds),
                _ => None,
            };
            counter.total += counted.unwrap_or(0.0);
            if !gap && let Some(counted) = counted {
                *counter.in_window.get_or_insert(0.0) += counted;
            }
            let mean = counted.filter(|_| seconds > 0.0).map(|events| events / seconds);
            let Some(height) = peak.into_iter().chain(mean.or(rate)).reduce(f64::max) else {
                continue;
            };
            counter.peaks.record(height);
            if counter.peak.is_none_or(|(peak, _)| height > peak) {
                counter.peak = Some((height, self.now.time_ns));
            }
            let candidate = Candidate {
                at_ns: self.now.time_ns,
                within_seconds: seconds.max(0.0),
                peak: height,
                mean: mean.or(rate).unwrap_or(height),
                fill_percent: fill,
            };
            counter.worst.offer(candidate, options.bursts, apart_ns);
            if let Some(drawing) = &mut self.drawing {
                let events = counted.or(rate.map(|rate| rate * seconds)).unwrap_or(0.0);
                let seconds = seconds.max(0.0);
                drawing.counter(at, self.now.time_ns, Rate { events, seconds, peak: height });
            }
        }
        if reset {
            self.gaps.resets += 1;
            self.gaps.first_reset_ns.get_or_insert(self.now.time_ns);
        }
        if gap {
            // An average over a time of which nothing is known is no rate of a window.
            self.close_window(options);
        } else if seconds > 0.0 && self.has_last {
            self.window_seconds += seconds;
            // As many intervals as come nearest to the window.
            let half = seconds / 2.0;
            if self.window_seconds + half > options.window.as_secs_f64() {
                self.close_window(options);
            }
        }
    }

    /// Ends the open window. One that a gap or the end cut to less than half is no average over a
    /// window and is left out.
    fn close_window(&mut self, options: &Options) {
        let seconds = std::mem::take(&mut self.window_seconds);
        let is_window = seconds > 0.0 && seconds >= options.window.as_secs_f64() / 2.0;
        for counter in &mut self.counters {
            if let Some(events) = counter.in_window.take()
                && is_window
            {
                counter.rates.record(events / seconds);
            }
        }
    }

    fn take_losses(&mut self) {
        for (at, total) in self.losses.iter_mut().enumerate() {
            let (before, after) = (self.last.losses[at], self.now.losses[at]);
            let Some(after) = after else { continue };
            let before = before.filter(|_| self.has_last);
            *total.get_or_insert(0.0) += before.map_or(0.0, |before| events(before, after).0);
        }
    }

    /// There are no more rows.
    pub(super) fn end(&mut self, options: &Options) {
        self.complete(options);
        self.close_window(options);
    }

    /// What there is to say of the source; `names` are the counters'.
    pub(super) fn report(&self, names: &[String]) -> SourceReport {
        let (from_ns, to_ns) = self.span.unwrap_or_default();
        let mut gaps = self.gaps.clone();
        self.intervals.finish(&mut gaps);
        let mut tallied: Vec<_> = names.iter().zip(&self.counters).filter(|c| c.1.seen).collect();
        tallied.sort_by_key(|(name, _)| (rank(name), name.as_str()));
        let (moved, unmoved): (Vec<_>, Vec<_>) = tallied
            .into_iter()
            .partition(|(_, c)| c.total > 0.0 || c.peak.is_some_and(|p| p.0 > 0.0));
        SourceReport {
            name: self.origin.name.clone(),
            tags: self.origin.tags.clone(),
            from_ns,
            to_ns,
            rows: self.rows,
            emissions: self.emissions,
            interval_seconds: self.intervals.median(),
            counters: moved.iter().map(|(name, counter)| counter.report(name)).collect(),
            unmoved: unmoved.iter().map(|(name, _)| (*name).clone()).collect(),
            fill: self.level.report(),
            bursts: moved
                .iter()
                .filter(|(name, _)| BURSTING.contains(&name.as_str()))
                .flat_map(|(name, counter)| counter.bursts(name))
                .collect(),
            drop_causes: causes(&moved),
            gaps,
            losses: Losses { samples_missed: self.losses[0], rows_lost: self.losses[1] },
            cpus: self.cpus.summary(),
            unknown: Vec::new(),
            drawing: self.drawing.clone().map(|drawing| drawing.named(names)),
        }
    }
}

fn causes(moved: &[(&String, &Tallied)]) -> Vec<Cause> {
    let total_of =
        |field: &str| moved.iter().find(|(name, _)| *name == field).map(|(_, c)| c.total);
    let sum: f64 = CAUSES.iter().filter_map(|(field, _)| total_of(field)).sum();
    let cause = |(field, meaning): &(&str, &'static str)| {
        let packets = total_of(field)?;
        let percent = packets / sum * 100.0;
        Some(Cause { field: (*field).to_owned(), meaning, packets, percent })
    };
    let mut causes: Vec<_> = CAUSES.iter().filter_map(cause).filter(|c| c.packets > 0.0).collect();
    causes.sort_by(|a, b| b.packets.total_cmp(&a.packets));
    causes
}

impl Tallied {
    fn report(&self, name: &str) -> Counter {
        Counter {
            name: name.to_owned(),
            total: self.total,
            per_second: self.rates.summary(),
            peak: self.peak.map(|(peak, _)| peak),
            peak_at_ns: self.peak.map(|(_, at)| at),
        }
    }

    fn bursts(&self, name: &str) -> impl Iterator<Item = Burst> {
        let usual = self.peaks.summary().map_or(0.0, |peaks| peaks.median);
        let worst = self.worst.worst().first().map_or(0.0, |worst| worst.peak);
        let least = (STANDS_OUT * usual).max(worst * COMPARABLE);
        let stands_out = move |candidate: &&Candidate| candidate.peak > least;
        self.worst.worst().iter().filter(stands_out).map(move |worst| Burst {
            counter: name.to_owned(),
            at_ns: worst.at_ns,
            within_seconds: worst.within_seconds,
            peak: worst.peak,
            mean: worst.mean,
            fill_percent: worst.fill_percent,
        })
    }
}
