//! One source's rows become its numbers.
//!
//! Each counter is followed by itself, by the times of its own rows, so nothing depends on which
//! rows of other series there are. The rows of one gather are put together only to know how full
//! the table was in a burst. Events come from the counters, which no lost row can falsify, and from
//! rates only where a recording has no counters.

use super::Options;
use super::cpus::{Cpus, Sum, followed};
use super::drawing::Drawing;
use super::fields::{CAUSES, Meaning, is_constant_on_some_kernels, rank};
use super::gaps::Clock;
use super::gather::{Compared, Paired};
use super::level::TableLevel;
use super::moment::{CounterReading, Moment};
use super::rates::{Addition, FEW, Rates};
use super::summary::{Cause, Gaps, Losses, SourceReport};
use super::timeline::Rate;
use super::track::{Step, Track};
use super::unknown::{Completeness, unknown};
use crate::recording::known::is_known;
use crate::recording::{RecordedSeries, Row, SeriesId};

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

/// One counter of a source.
#[derive(Debug, Default)]
struct Tallied {
    is_seen: bool,
    /// Rows have its rate: ctpulse gives one to each counter that is counted.
    has_rate: bool,
    track: Track,
    /// Events by rates, for rows without the counter.
    rated: f64,
    rates: Rates,
}

/// The state of one source.
#[derive(Debug)]
pub(super) struct SourceAccumulator {
    origin: RecordedSeries,
    rows: u64,
    span: Option<(i64, i64)>,
    now: Moment,
    /// The series of the rows in it, with their times.
    parts: Vec<(SeriesId, i64)>,
    is_open: bool,
    statistics: Clock,
    table: Clock,
    /// The statistics row that was read before this one had rates.
    had_rates: bool,
    /// Any row has rates.
    has_rates: bool,
    counters: Vec<Tallied>,
    level: TableLevel,
    gaps: Gaps,
    disagreeing: u64,
    losses: [Track; 2],
    compared: Compared,
    sample_seconds: Option<f64>,
    cpus: Cpus,
    drawing: Option<Drawing>,
}

/// What a source is reported with.
pub(super) struct Context<'a> {
    /// The counters' names.
    pub(super) names: &'a [String],
    /// Sentences about the whole recording.
    pub(super) unknown: &'a [String],
}

impl SourceAccumulator {
    pub(super) fn new(origin: RecordedSeries) -> Self {
        Self {
            origin,
            rows: 0,
            span: None,
            now: Moment::default(),
            parts: Vec::new(),
            is_open: false,
            statistics: Clock::default(),
            table: Clock::default(),
            had_rates: false,
            has_rates: false,
            counters: Vec::new(),
            level: TableLevel::default(),
            gaps: Gaps::default(),
            disagreeing: 0,
            losses: Default::default(),
            compared: Compared::default(),
            sample_seconds: None,
            cpus: Cpus::default(),
            drawing: None,
        }
    }

    /// A row of the CPU `cpu`: its counters, by their number. `room` is for how many counters of
    /// CPUs there is still memory.
    pub(super) fn of_a_cpu(
        &mut self,
        options: &Options,
        (time_ns, cpu): (i64, usize),
        counters: impl Iterator<Item = (usize, f64)>,
        names: &[String],
        room: &mut usize,
    ) {
        self.count_row(options, time_ns);
        if let Some(sum) = self.cpus.row(cpu, time_ns) {
            self.take_sum(options, &sum);
        }
        let has_sum = self.statistics.emissions() > 0;
        for (number, value) in counters {
            let followed = followed(&names[number]);
            if has_sum && followed.is_none() {
                continue;
            }
            let Some(step) = self.cpus.take(cpu, number, (time_ns, value), room) else { continue };
            if let (Some(drawing), Some(is_loss)) = (&mut self.drawing, followed) {
                let (lost, inserted) =
                    if is_loss { (step.events, 0.0) } else { (0.0, step.events) };
                drawing.of_a_cpu(step.to_ns, cpu, (lost, inserted));
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
        let near = self.statistics.reach().near_ns.min(self.table.reach().near_ns);
        let is_far = row.time_ns.abs_diff(self.now.time_ns) > near.unsigned_abs();
        // A gather has one row of each series, unless its fields are on several lines.
        let part = self.parts.iter().find(|(series, _)| *series == row.series);
        let is_next = part.is_some_and(|(_, time_ns)| *time_ns != row.time_ns);
        let is_first = part.is_none();
        if self.is_open && (is_far || is_next) {
            self.complete(options);
        }
        if !self.is_open {
            self.is_open = true;
            self.now.time_ns = row.time_ns;
            self.parts.clear();
        }
        if is_first || self.parts.is_empty() {
            self.parts.push((row.series, row.time_ns));
        }
        for &(field, value) in row.values {
            self.now.set(row.time_ns, meanings[field.0], value);
        }
    }

    /// The moment has all its rows: what it says of the time since the one before.
    fn complete(&mut self, options: &Options) {
        if !self.is_open {
            return;
        }
        self.is_open = false;
        let mut now = std::mem::take(&mut self.now);
        let table = now.table_ns.and_then(|time_ns| self.table.take(time_ns));
        let statistics = now.statistics_ns.and_then(|time_ns| self.take_statistics(&now, time_ns));
        let seconds = table.into_iter().chain(statistics).map(|step| step.seconds());
        let fill = self.take_level(&now, seconds.fold(0.0, f64::max));
        if let Some(time_ns) = now.statistics_ns {
            self.take_counters(options, &now, time_ns, statistics, fill);
        }
        let reach = self.statistics.reach();
        for (track, value) in self.losses.iter_mut().zip(now.losses) {
            value.map(|value| track.take(now.time_ns, value, reach));
        }
        self.disagreeing += u64::from(now.disagrees);
        self.sample_seconds = now.sample_seconds.or(self.sample_seconds);
        now.clear();
        self.now = now;
    }

    /// The time of a row with statistics, and whether ctpulse was started again before it.
    fn take_statistics(&mut self, now: &Moment, time_ns: i64) -> Option<Step> {
        if self.statistics.emissions() == 0 && self.cpus.count() > 0 {
            // The sums over the CPUs so far are not needed.
            self.counters.clear();
        }
        let step = self.statistics.take(time_ns);
        let had_rates = std::mem::replace(&mut self.had_rates, now.has_rates);
        self.has_rates |= now.has_rates;
        // The first row of a run has counters and no rates.
        if let Some(step) = step {
            let is_forwards = step.to_ns == time_ns;
            let (before, after) =
                if is_forwards { (had_rates, now.has_rates) } else { (now.has_rates, had_rates) };
            if before && !after && (now.has_counters || !is_forwards) {
                self.gaps.restarts += 1;
                self.statistics.restarted(step.to_ns);
            }
        }
        step
    }

    /// Entries and fill; the highest fill since the moment before, in percent.
    fn take_level(&mut self, now: &Moment, seconds: f64) -> Option<f64> {
        let extremes = self.level.take(now, seconds)?;
        if let Some(drawing) = &mut self.drawing {
            drawing.level(now.time_ns, &extremes);
        }
        extremes.fill.map(|(_, high)| high)
    }

    fn take_counters(
        &mut self,
        options: &Options,
        now: &Moment,
        time_ns: i64,
        statistics: Option<Step>,
        fill_percent: Option<f64>,
    ) {
        if self.counters.len() < now.counters.len() {
            self.counters.resize_with(now.counters.len(), Tallied::default);
        }
        let (reach, interval) = (self.statistics.reach(), self.statistics.interval());
        let mut paired = Paired::default();
        for (at, (counter, reading)) in self.counters.iter_mut().zip(&now.counters).enumerate() {
            if reading.is_empty() {
                continue;
            }
            counter.is_seen = true;
            counter.has_rate |= reading.rate.or(reading.peak).is_some();
            let step = match reading.value {
                Some(value) => counter.track.take(time_ns, value, reach),
                None => statistics,
            };
            let seconds = step.map_or(0.0, |step| step.seconds());
            let events = match (reading.value, reading.rate) {
                (Some(_), _) => step.map(|step| step.events),
                (None, Some(rate)) => step.map(|_| rate * seconds),
                (None, None) => None,
            };
            // A rate before or after a gap is none of the time between.
            if let (Some(step), Some(events)) = (step, events)
                && (reading.value.is_some() || !step.is_gap)
            {
                paired.set(at, step, events);
            }
            if reading.value.is_none() {
                counter.rated += events.unwrap_or(0.0);
            }
            let sample_events = sample_events(reading, now.sample_seconds.or(self.sample_seconds));
            let addition = Addition {
                at_ns: step.map_or(time_ns, |step| step.to_ns.max(time_ns)),
                events,
                seconds,
                is_gap: step.is_some_and(|step| step.is_gap),
                rate: reading.rate,
                peak: reading.peak,
                sample_events,
                fill_percent,
            };
            let height = counter.rates.take(options, interval, &addition);
            if let (Some(drawing), Some(height)) = (&mut self.drawing, height) {
                let events = events.or(reading.rate.map(|rate| rate * seconds)).unwrap_or(0.0);
                // A few packets within one sample are no storm.
                let is_few = sample_events.is_some_and(|events| events < FEW);
                let peak = if is_few { reading.rate.unwrap_or(0.0) } else { height };
                drawing.counter(at, addition.at_ns, Rate { events, seconds, peak });
            }
        }
        self.compared.take(&paired);
    }

    /// What all CPUs together did, where no row has it.
    fn take_sum(&mut self, options: &Options, sum: &Sum) {
        if self.statistics.emissions() > 0 {
            return;
        }
        if self.counters.len() < sum.events.len() {
            self.counters.resize_with(sum.events.len(), Tallied::default);
        }
        let interval = self.cpus.clock.interval();
        let mut paired = Paired::default();
        for (at, (counter, events)) in self.counters.iter_mut().zip(&sum.events).enumerate() {
            let Some(events) = *events else { continue };
            paired.set(at, sum.step, events);
            let seconds = sum.step.seconds();
            let addition = Addition {
                at_ns: sum.at_ns,
                events: Some(events),
                seconds,
                is_gap: sum.step.is_gap,
                rate: None,
                peak: None,
                sample_events: None,
                fill_percent: None,
            };
            let height = counter.rates.take(options, interval, &addition);
            if let (Some(drawing), Some(peak)) = (&mut self.drawing, height) {
                drawing.counter(at, sum.at_ns, Rate { events, seconds, peak });
            }
        }
        self.compared.take(&paired);
    }

    /// There are no more rows.
    pub(super) fn end(&mut self, options: &Options) {
        self.complete(options);
        if let Some(sum) = self.cpus.end() {
            self.take_sum(options, &sum);
        }
        self.counters.iter_mut().for_each(|counter| counter.rates.close_window(options));
    }

    /// The tracks of the counter `at`: one, or one for each CPU where no row has the sum.
    fn tracks(&self, at: usize) -> Vec<&Track> {
        if self.statistics.emissions() > 0 {
            let track = self.counters.get(at).map(|counter| &counter.track);
            track.filter(|track| track.values() > 0).into_iter().collect()
        } else {
            self.cpus.tracks(at).collect()
        }
    }

    /// What there is to say of the source.
    pub(super) fn report(&mut self, context: &Context<'_>) -> SourceReport {
        let (from_ns, to_ns) = self.span.unwrap_or_default();
        let (statistics, table) = (self.statistics.finish(), self.table.finish());
        let cpus = self.cpus.clock.finish();
        let clocks =
            [(&self.statistics, statistics), (&self.cpus.clock, cpus), (&self.table, table)];
        let table_missing = clocks[2].1.1.missing;
        let main = clocks.into_iter().find(|(clock, _)| clock.emissions() > 0);
        let (emissions, (interval_seconds, times)) =
            main.map_or((0, (None, Gaps::default())), |(clock, end)| (clock.emissions(), end));
        let mut gaps = Gaps { restarts: self.gaps.restarts, ..times };
        if self.counters.len() < context.names.len() {
            self.counters.resize_with(context.names.len(), Tallied::default);
        }
        let fill = self.level.report();
        let losses = self.losses.each_ref().map(|track| {
            let is_known = track.values() > 0 && track.resets() <= self.gaps.restarts;
            is_known.then(|| track.total())
        });
        let mut evidence = Completeness {
            span: (from_ns, to_ns),
            statistics: self.statistics.span().or(self.cpus.clock.span()),
            statistics_rows: emissions_of(&self.statistics, &self.cpus.clock),
            table: self.table.span(),
            table_rows: self.table.emissions(),
            table_missing: table_missing.saturating_sub(gaps.missing),
            interval_seconds,
            partial_sums: if self.statistics.emissions() > 0 { 0 } else { self.cpus.partial() },
            cpus: self.cpus.count(),
            left_out: self.cpus.left_out(),
            disagreeing: self.disagreeing,
            fill: fill.as_ref(),
            ..Completeness::default()
        };
        let (mut moved, mut unmoved, mut not_counted) = (Vec::new(), Vec::new(), Vec::new());
        for (at, name) in context.names.iter().enumerate() {
            let (tracks, counter) = (self.tracks(at), &self.counters[at]);
            if !counter.is_seen && tracks.is_empty() {
                continue;
            }
            let resets = tracks.iter().map(|track| track.resets()).max().unwrap_or(0);
            if !is_known(name) && resets > self.gaps.restarts {
                evidence.stranger.get_or_insert_with(|| name.clone());
                evidence.no_counters.push(name.clone());
                continue;
            }
            gaps.resets = gaps.resets.max(resets);
            gaps.first_reset_ns = earliest(
                gaps.first_reset_ns,
                tracks.iter().filter_map(|t| t.first_reset_ns()).min(),
            );
            tracks.iter().for_each(|track| evidence.take(name, track));
            let values: u64 = tracks.iter().map(|track| track.values()).sum();
            let total: f64 = tracks.iter().map(|track| track.total()).sum();
            let total = if values > 0 { total } else { counter.rated };
            if total > 0.0 || counter.rates.has_moved() {
                moved.push((at, name, total));
            } else if self.is_uncounted(name, counter, &tracks, fill.as_ref()) {
                not_counted.push(name);
            } else {
                unmoved.push(name);
            }
        }
        gaps.backwards = evidence.backwards;
        evidence.resets = gaps.resets;
        evidence.missing = gaps.missing;
        evidence.restarts = gaps.restarts;
        evidence.losses_unknown = self
            .losses
            .iter()
            .zip(losses)
            .any(|(track, loss)| track.values() > 0 && loss.is_none());
        evidence.emissions = emissions;
        moved.sort_by_key(|(_, name, _)| (rank(name), name.as_str()));
        let sorted = |mut names: Vec<&String>| {
            names.sort_by_key(|name| (rank(name), name.as_str()));
            names.into_iter().cloned().collect()
        };
        let mut unknown = unknown(&evidence);
        unknown.extend(context.unknown.iter().cloned());
        SourceReport {
            name: self.origin.name.clone(),
            tags: self.origin.tags.clone(),
            from_ns,
            to_ns,
            rows: self.rows,
            emissions,
            interval_seconds,
            sample_seconds: self.sample_seconds,
            counters: moved
                .iter()
                .map(|(at, name, total)| self.counters[*at].rates.report(name, *total))
                .collect(),
            unmoved: sorted(unmoved),
            not_counted: sorted(not_counted),
            fill,
            bursts: moved
                .iter()
                .filter(|(_, name, _)| BURSTING.contains(&name.as_str()))
                .flat_map(|(at, name, _)| self.counters[*at].rates.bursts(name))
                .collect(),
            drop_causes: causes(&moved),
            gaps,
            losses: Losses { samples_missed: losses[0], rows_lost: losses[1] },
            cpus: self.cpus.summary(context.names),
            found: self.compared.found,
            invalid: self.compared.invalid.worst(),
            unknown,
            drawing: self.drawing.clone().map(|drawing| drawing.named(context.names)),
        }
    }

    /// Whether a counter that stayed 0 is not counted, as far as the rows show.
    fn is_uncounted(
        &self,
        name: &str,
        counter: &Tallied,
        tracks: &[&Track],
        fill: Option<&super::summary::Fill>,
    ) -> bool {
        if tracks.iter().any(|track| track.largest() > 0.0) {
            return false;
        }
        // What the kernel itself counts of insertions is a part.
        let has_moved = fill.is_some_and(|fill| fill.entries.max > fill.entries.min);
        if name == "insert" && has_moved {
            return true;
        }
        if self.has_rates { !counter.has_rate } else { is_constant_on_some_kernels(name) }
    }
}

fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}

/// The rows with statistics: of the whole namespace, or of its CPUs.
fn emissions_of(statistics: &Clock, cpus: &Clock) -> u64 {
    if statistics.emissions() > 0 { statistics.emissions() } else { cpus.emissions() }
}

/// The events in the sample with the peak of a row, if they are known.
fn sample_events(reading: &CounterReading, sample_seconds: Option<f64>) -> Option<f64> {
    let by_rate = reading.peak.zip(sample_seconds).map(|(peak, seconds)| (peak * seconds).round());
    reading.sample_max.or(by_rate)
}

fn causes(moved: &[(usize, &String, f64)]) -> Vec<Cause> {
    let total_of =
        |field: &str| moved.iter().find(|(_, name, _)| *name == field).map(|(.., total)| *total);
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
