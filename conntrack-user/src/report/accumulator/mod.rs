//! One source's rows become its numbers.
//!
//! Each counter is followed by itself, by the times of its own rows, so nothing depends on which
//! rows of other series there are. The rows of one gather are put together only to know how full
//! the table was in a burst. Events come from the counters, which no lost row can falsify, and from
//! rates only where a recording has no counters.

mod columns;
mod conclude;
mod contradictions;
mod cpu_entries;
mod cpu_peaks;
mod doubts;
mod filled;
mod leaps;
mod left_out;
mod resumed;
mod sums;

pub(super) use self::conclude::Context;
use self::cpu_entries::CpuEntries;
use self::cpu_peaks::CpuPeaks;
use self::left_out::LeftOut;
use self::resumed::{Resumed, Resumption};
use self::sums::Sums;
use super::Options;
use super::continuity::{Continuity, Lower};
use super::cpus::{Cpus, Sum};
use super::drawing::Drawing;
use super::fields::{CounterOrigin, Counters, Meaning};
use super::gaps::{Clock, LONGER};
use super::gather::{Compared, Paired};
use super::level::TableLevel;
use super::moment::{CounterReading, Moment};
use super::precision::Precision;
use super::rates::{Addition, FEW, Rates};
use super::stillness::Stillness;
use super::summary::Gaps;
use super::table_doubts::TableDoubts;
use super::timeline::Rate;
use super::track::{Falls, RowReach, Step, Track, settle};
use crate::recording::{RecordedSeries, Row, SeriesId};

/// A row that comes within this share of the interval does not wait for its turn.
const AT_ONCE: f64 = 0.9;

/// One counter of a source.
#[derive(Debug, Default)]
struct Tallied {
    is_seen: bool,
    /// Rows have its rate: ctpulse gives one to each counter that is counted.
    has_rate: bool,
    /// The same, and not its peak alone.
    has_mean: bool,
    track: Track,
    /// Events by rates, for rows without the counter.
    rated: f64,
    /// The sum of rates that count for one interval of any length: of rows behind gaps, and
    /// of the first rows.
    rated_intervals: f64,
    /// The seconds of rows of ctpulse with its rate.
    counted_seconds: f64,
    /// The highest rate of a row or of a sample.
    fastest: f64,
    /// By how much it rose at restarts behind which it is another count.
    other_count: f64,
    /// By how much it rose at those behind which it may be.
    risen_at_restarts: f64,
    rates: Rates,
}

/// A row with counters.
#[derive(Debug, Clone, Copy)]
struct CounterRow {
    time_ns: i64,
    /// Only blank rows were in front of it.
    is_behind_blanks: bool,
    /// ctpulse was started again before it.
    is_restart: bool,
    reach: RowReach,
    /// The highest fill since the row before.
    fill_percent: Option<f64>,
}

/// Moments with nothing but zeros, the table's limit among them.
#[derive(Debug, Default)]
struct Blanks {
    number: u64,
    first_ns: Option<i64>,
    /// The time of the first moment with more.
    other_ns: Option<i64>,
    /// So far there was no other.
    is_leading: bool,
}

impl Blanks {
    /// Takes a moment; whether it is the first one behind blank moments.
    fn take(&mut self, now: &Moment) -> bool {
        let is_blank = now.max == Some(0.0) && now.is_blank();
        let first = if is_blank { &mut self.first_ns } else { &mut self.other_ns };
        *first = earliest(*first, Some(now.time_ns));
        self.number += u64::from(is_blank);
        let was_leading = std::mem::replace(&mut self.is_leading, is_blank);
        was_leading && !is_blank && self.other_ns == Some(now.time_ns)
    }

    /// Whether the rows begin with blank ones.
    fn come_first(&self) -> bool {
        self.first_ns.zip(self.other_ns).is_some_and(|(first, other)| first < other)
    }
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
    /// The first of the rows with 0 with which counters began again last.
    zeros_ns: Option<i64>,
    /// The statistics row that was read before this one had rates.
    had_rates: bool,
    /// Any row has rates.
    has_rates: bool,
    /// The last row with rates had those of counters that only probes count.
    had_probes: bool,
    /// The seconds of rows that have rates.
    rated_seconds: f64,
    /// Rows in which one counter of the kernel began again alone.
    alone_resets: u64,
    /// Restarts that took less than the interval.
    early_restarts: u64,
    counters: Vec<Tallied>,
    level: TableLevel,
    table_doubts: TableDoubts,
    gaps: Gaps,
    disagreeing: u64,
    /// Times with several rows of different values.
    repeated: u64,
    blanks: Blanks,
    losses: [Track; 2],
    /// Rows with values that their fields cannot have, and the first of these values.
    impossible: (u64, f64),
    precision: Precision,
    stillness: Stillness,
    resumed: Resumed,
    continuity: Continuity,
    /// Rows in which counters are taken to have begun again that are no lower than before.
    inferred_resets: u64,
    /// Rows have fields that no other program writes.
    is_of_ctpulse: bool,
    /// Rows have peaks, which ctpulse alone writes.
    has_peaks: bool,
    compared: Compared,
    sample_seconds: Option<f64>,
    cpus: Cpus,
    cpu_peaks: CpuPeaks,
    cpu_entries: CpuEntries,
    /// At the end of the rows.
    sums: Sums,
    left_out: LeftOut,
    /// A row in front of a restart with a wrong clock.
    misdated_ns: Option<i64>,
    drawing: Option<Drawing>,
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
            zeros_ns: None,
            had_rates: false,
            alone_resets: 0,
            has_rates: false,
            had_probes: false,
            rated_seconds: 0.0,
            early_restarts: 0,
            counters: Vec::new(),
            level: TableLevel::default(),
            table_doubts: TableDoubts::default(),
            gaps: Gaps::default(),
            disagreeing: 0,
            repeated: 0,
            blanks: Blanks::default(),
            losses: Default::default(),
            impossible: (0, 0.0),
            precision: Precision::default(),
            stillness: Stillness::default(),
            resumed: Resumed::default(),
            continuity: Continuity::default(),
            inferred_resets: 0,
            is_of_ctpulse: false,
            has_peaks: false,
            compared: Compared::default(),
            sample_seconds: None,
            cpus: Cpus::default(),
            cpu_peaks: CpuPeaks::default(),
            cpu_entries: CpuEntries::default(),
            sums: Sums::default(),
            left_out: LeftOut::default(),
            misdated_ns: None,
            drawing: None,
        }
    }

    /// A row of the CPU `cpu`: its counters, by their number. `room` is for how many counters of
    /// CPUs there is still memory.
    pub(super) fn of_a_cpu(
        &mut self,
        options: &Options,
        (time_ns, cpu): (i64, usize),
        counters: impl Iterator<Item = (usize, f64)> + Clone,
        of_counters: &Counters,
        room: &mut usize,
    ) {
        self.count_row(options, time_ns);
        if let Some(sum) = self.cpus.row(cpu, time_ns) {
            self.take_sum(options, &sum);
            self.cpus.reuse(sum);
        }
        let has_sum = self.statistics.emissions() > 0;
        let is_of_ctpulse = self.is_of_ctpulse;
        let is_of_probes = |at: usize| of_counters.origins[at].is_of_probes(is_of_ctpulse);
        let reach = self.cpus.reach(cpu, time_ns, counters.clone(), is_of_probes);
        let of_counter = |at: usize| {
            let reach = reach.of(|| is_of_probes(at));
            (reach, !has_sum || of_counters.cpu_tracks[at].is_some())
        };
        let drawing = &mut self.drawing;
        self.cpus.take((cpu, time_ns), counters, of_counter, room, |at, step| {
            if let (Some(drawing), Some(track)) = (&mut *drawing, of_counters.cpu_tracks[at]) {
                drawing.of_a_cpu(step.to_ns, cpu, track, step.events);
            }
        });
    }

    /// Takes the time of the last row in front of a restart behind which the clock was wrong for some rows.
    pub(super) fn take_misdated_restart(&mut self, time_ns: i64) {
        self.misdated_ns = earliest(self.misdated_ns, Some(time_ns));
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
    pub(super) fn whole(
        &mut self,
        options: &Options,
        (meanings, counters): (&[Meaning], &Counters),
        row: Row<'_>,
    ) {
        self.count_row(options, row.time_ns);
        let near = self.statistics.reach().near_ns.min(self.table.reach().near_ns);
        let is_far = row.time_ns.abs_diff(self.now.time_ns) > near.unsigned_abs();
        // A gather has one row of each series, unless its fields are on several lines.
        let part = self.parts.iter().find(|(series, _)| *series == row.series);
        let is_next = part.is_some_and(|(_, time_ns)| *time_ns != row.time_ns);
        let is_first = part.is_none();
        if self.is_open && (is_far || is_next) {
            self.complete(options, counters);
        }
        if !self.is_open {
            self.is_open = true;
            self.now.time_ns = row.time_ns;
            self.parts.clear();
        }
        if is_first || self.parts.is_empty() {
            self.parts.push((row.series, row.time_ns));
        }
        let mut impossible = None;
        for &(field, value) in row.values {
            if meanings[field.0].can_be(value) || self.reaches(None, meanings[field.0], value) {
                self.now.set(row.time_ns, meanings[field.0], value);
            } else {
                impossible.get_or_insert(value);
            }
        }
        self.take_impossible(impossible);
    }

    /// Whether a counter of the rows with the sum, or of a CPU, has come to the largest value of 32 bits
    /// by itself.
    pub(super) fn reaches(&self, cpu: Option<usize>, meaning: Meaning, value: f64) -> bool {
        let Some(at) = meaning.at_its_end(value) else { return false };
        let track = match cpu {
            None => self.counters.get(at).map(|counter| &counter.track),
            Some(cpu) => self.cpus.track(cpu, at),
        };
        track.is_some_and(|track| track.is_near(value))
    }

    /// Takes the first value of a row that its field cannot have, if there is one.
    pub(super) fn take_impossible(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            if self.impossible.0 == 0 {
                self.impossible.1 = value;
            }
            self.impossible.0 += 1;
        }
    }

    /// Takes a moment that has all its rows, for the time since the one before.
    fn complete(&mut self, options: &Options, counters: &Counters) {
        if !self.is_open {
            return;
        }
        self.is_open = false;
        let mut now = std::mem::take(&mut self.now);
        if self.table_doubts.is_impossible(&now) {
            now.count = None;
        }
        let table = now.table_ns.and_then(|time_ns| self.table.take(time_ns));
        let is_of_ctpulse = [now.sample_seconds, now.losses[0], now.losses[1]];
        self.is_of_ctpulse |= now.has_peaks || is_of_ctpulse.into_iter().any(|own| own.is_some());
        let restarts = self.gaps.restarts;
        let statistics = now.statistics_ns.and_then(|time_ns| self.take_statistics(&now, time_ns));
        let is_restart = self.gaps.restarts > restarts;
        if self.is_of_ctpulse {
            now.take_own_entries();
        }
        let steps = table.into_iter().chain(statistics);
        let is_gap = steps.clone().any(|step| step.is_gap);
        // How full the table was in a gap is not known.
        let seconds = steps.map(|step| if is_gap { 0.0 } else { step.seconds() });
        let is_behind_blanks = self.blanks.take(&now);
        if is_behind_blanks {
            self.level = TableLevel::default();
        }
        let fill = self.take_level(&now, seconds.fold(0.0, f64::max));
        if let Some(time_ns) = now.statistics_ns {
            let (reach, has_moved, lower) =
                self.row_reach(&now, time_ns, is_restart, &counters.origins);
            let entries = now.count.or(now.entries);
            let events = || events(&self.counters, &now);
            self.stillness.take(time_ns, has_moved, entries, events);
            self.take_continuity(&now, time_ns, lower, &counters.origins);
            self.take_gap(&now, statistics);
            if is_restart && statistics.is_some_and(|step| step.is_gap) {
                self.resumed.take_restart(&self.counters, &now, &counters.origins);
            }
            let row =
                CounterRow { time_ns, is_behind_blanks, is_restart, reach, fill_percent: fill };
            self.take_counters(options, &now, row, statistics, &counters.origins);
        }
        self.table_doubts.take(&now);
        self.repeated += u64::from(now.has_risen && !now.disagrees);
        if now.repeats > 0 {
            let is_forwards = statistics.is_none_or(|step| step.to_ns == now.time_ns);
            let (later, earlier) = if is_forwards {
                (now.has_risen, now.disagrees)
            } else {
                (now.disagrees, now.has_risen)
            };
            self.statistics.share(now.extra_rows(), later && !earlier);
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

    /// Takes a row of ctpulse behind a gap.
    fn take_gap(&mut self, now: &Moment, statistics: Option<Step>) {
        let step = statistics.filter(|step| step.is_gap && step.to_ns == now.time_ns);
        let (Some(step), Some((from_ns, _)), Some(interval)) =
            (step, self.statistics.span(), self.statistics.interval())
        else {
            return;
        };
        let (events, before) = events(&self.counters, now);
        let elapsed = step.from_ns.saturating_sub(from_ns) as f64 / 1e9;
        let usual = before * step.seconds() / elapsed.max(interval);
        self.resumed.take_gap(&self.counters, now, (step, interval), (events, usual));
    }

    /// The time of a row with statistics, and whether ctpulse was started again before it.
    fn take_statistics(&mut self, now: &Moment, time_ns: i64) -> Option<Step> {
        let step = self.statistics.take(time_ns);
        let had_rates = std::mem::replace(&mut self.had_rates, now.has_rates);
        self.has_rates |= now.has_rates;
        // The rates of a row may come later, as in an export field by field.
        if now.has_rates && step.is_none() && self.statistics.retract_restart(time_ns) {
            self.gaps.restarts -= 1;
        }
        // The first row of a run has counters and no rates.
        if let Some(step) = step.filter(|_| self.is_of_ctpulse) {
            let is_forwards = step.to_ns == time_ns;
            let (before, after) =
                if is_forwards { (had_rates, now.has_rates) } else { (now.has_rates, had_rates) };
            if before && !after && (now.has_counters || !is_forwards) {
                self.gaps.restarts += 1;
                let interval = self.statistics.interval().unwrap_or(0.0);
                self.early_restarts += u64::from(step.seconds() < AT_ONCE * interval);
                self.statistics.restarted(step.to_ns);
            }
        }
        step
    }

    /// Entries and fill; the highest fill since the moment before, in percent.
    fn take_level(&mut self, now: &Moment, seconds: f64) -> Option<f64> {
        let extremes = self.level.take(now, seconds, self.table.reach().far_ns)?;
        if let Some(drawing) = &mut self.drawing {
            drawing.level(now.time_ns, &extremes);
        }
        extremes.fill.map(|(_, high)| high)
    }

    /// Returns how far apart the counters of a row may be from those before and what they did, whether
    /// any of them moved, and what those did that are lower.
    fn row_reach(
        &mut self,
        now: &Moment,
        time_ns: i64,
        is_restart: bool,
        origins: &[CounterOrigin],
    ) -> (RowReach, bool, Lower) {
        let mut falls = Falls::new(self.zeros_ns, is_restart);
        for (at, (counter, reading)) in self.counters.iter().zip(&now.counters).enumerate() {
            // A gauge of another program goes down, too.
            if let Some(value) = reading.value
                && origins[at] != CounterOrigin::Unknown
            {
                falls.take(&counter.track, (time_ns, value), || {
                    origins[at].is_of_probes(self.is_of_ctpulse)
                });
            }
        }
        falls.end();
        let mut lower = if falls.have_wrapped() { Lower::Wrapped } else { Lower::BeganAgain };
        self.alone_resets += u64::from(falls.fell_alone());
        if falls.began_again() {
            let has_stayed = self.table_doubts.take_reset(now, self.statistics.reach().far_ns);
            lower = if has_stayed { Lower::Stayed } else { lower };
            let mut counters = self.counters.iter().zip(&now.counters);
            self.inferred_resets += u64::from(counters.any(|(counter, reading)| {
                reading.value.is_some_and(|value| counter.track.is_no_lower(value))
            }));
        }
        self.zeros_ns = falls.zeros_ns();
        (falls.reach(self.statistics.reach()), falls.has_changed(), lower)
    }

    fn take_counters(
        &mut self,
        options: &Options,
        now: &Moment,
        row: CounterRow,
        statistics: Option<Step>,
        origins: &[CounterOrigin],
    ) {
        let CounterRow { time_ns, is_behind_blanks, is_restart, reach, fill_percent } = row;
        let had_probes = is_restart && self.had_probes;
        if self.counters.len() < now.counters.len() {
            self.counters.resize_with(now.counters.len(), Tallied::default);
        }
        let mut is_mixed = false;
        self.precision.take_row();
        let (usual, believed) = (self.statistics.usual(), self.statistics.believed());
        let sample_seconds = now.sample_seconds.or(self.sample_seconds);
        let [missed, _] = &self.losses;
        let is_late = now.losses[0].is_some_and(|now| missed.values() > 0 && now > missed.last());
        self.rated_seconds +=
            statistics.filter(|_| now.has_rates).map_or(0.0, |step| step.seconds());
        if now.has_rates {
            let mut readings = now.counters.iter().zip(origins);
            self.had_probes = readings.any(|(reading, origin)| {
                *origin == CounterOrigin::Probes && reading.rate.is_some()
            });
        }
        let mut paired = Paired::default();
        for (at, (counter, reading)) in self.counters.iter_mut().zip(&now.counters).enumerate() {
            if reading.is_empty() {
                continue;
            }
            counter.is_seen = true;
            counter.has_rate |= reading.rate.or(reading.peak).is_some();
            counter.has_mean |= reading.rate.is_some();
            // Several rows of one time: all of them are behind those of the time before.
            let is_coarse = reading.value.is_some_and(|value| reading.least < value);
            if is_coarse && counter.track.is_below((time_ns, reading.least)) {
                is_mixed = true;
            }
            self.has_peaks |= reading.peak.is_some();
            if let Some(value) = reading.value
                && !counter.track.is_latest(value)
            {
                self.precision.take(at, value);
            }
            let step = match reading.value {
                Some(value) => counter.track.take(
                    time_ns,
                    value,
                    reach.of(|| origins[at].is_of_probes(self.is_of_ctpulse)),
                ),
                None => statistics,
            };
            if is_coarse && !(now.disagrees && now.has_risen) {
                counter.track.begin_lower(time_ns, reading.least, now.disagrees);
            }
            let mut seconds = step.map_or(0.0, |step| step.seconds());
            if let Some(step) = step.filter(|step| had_probes && step.to_ns == time_ns) {
                match Resumption::of(counter, origins[at], step.events, seconds) {
                    Resumption::Same => {}
                    Resumption::Doubtful => counter.risen_at_restarts += step.events,
                    Resumption::OtherCount => {
                        counter.other_count += step.events;
                        continue;
                    }
                }
            }
            let highest = [reading.rate, reading.peak].into_iter().flatten();
            counter.fastest = highest.fold(counter.fastest, f64::max);
            let events = match (reading.value, reading.rate) {
                (Some(_), _) => step.map(|step| step.events).filter(|_| !is_behind_blanks),
                (None, Some(rate)) => {
                    let is_one = believed.is_some_and(|interval| seconds <= LONGER * interval);
                    if step.is_some() && is_one {
                        counter.rated += rate * seconds;
                    } else if step.is_some() {
                        counter.rated_intervals += rate;
                        seconds = believed.unwrap_or(seconds);
                    }
                    step.map(|_| rate * seconds)
                }
                (None, None) => None,
            };
            // ctpulse writes the last value of a counter without a rate while nothing counts it.
            let is_counted = !now.has_rates
                || reading.rate.is_some()
                || !origins[at].is_of_probes(self.is_of_ctpulse);
            // Behind a restart the probes have counted nothing of the time since the row before.
            let is_of_kernel = !origins[at].is_of_probes(self.is_of_ctpulse);
            if is_of_kernel || is_counted && now.has_rates {
                counter.counted_seconds += seconds;
            }
            // A rate before or after a gap is not the rate of the time between.
            if let (Some(step), Some(events)) = (step, events)
                && is_counted
                && (reading.value.is_some() || !step.is_gap)
            {
                paired.set(at, step, events);
            }
            let sample_events = sample_events(reading, sample_seconds);
            let addition = Addition {
                at_ns: step.map_or(time_ns, |step| step.to_ns.max(time_ns)),
                events,
                seconds,
                is_gap: step.is_some_and(|step| step.is_gap),
                rate: reading.rate,
                peak: reading.peak,
                sample_events,
                sample_seconds,
                is_late,
                is_comparable: self.is_of_ctpulse && step.is_some_and(|step| step.to_ns == time_ns),
                fill_percent,
            };
            let height = counter.rates.take(options, usual, &addition);
            if let (Some(drawing), Some(height)) = (&mut self.drawing, height) {
                let events = events.or(reading.rate.map(|rate| rate * seconds)).unwrap_or(0.0);
                // A few packets within one sample are no storm.
                let is_few = sample_events.is_some_and(|events| events < FEW);
                let peak = if is_few { reading.rate.unwrap_or(0.0) } else { height };
                drawing.counter(at, addition.at_ns, Rate { events, seconds, peak });
            }
        }
        self.disagreeing += u64::from(is_mixed && !now.disagrees);
        self.compared.take(&paired);
    }

    /// The increase on all CPUs, where no row has it.
    fn take_sum(&mut self, options: &Options, sum: &Sum) {
        if self.has_whole_near(sum.at_ns) {
            return;
        }
        if self.counters.len() < sum.events.len() {
            self.counters.resize_with(sum.events.len(), Tallied::default);
        }
        let usual = self.cpus.clock.usual();
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
                sample_seconds: None,
                is_late: false,
                is_comparable: false,
                fill_percent: None,
            };
            let height = counter.rates.take(options, usual, &addition);
            if let (Some(drawing), Some(peak)) = (&mut self.drawing, height) {
                drawing.counter(at, sum.at_ns, Rate { events, seconds, peak });
            }
        }
        self.compared.take(&paired);
    }

    /// Whether there is a row with the sum of the CPUs at a time, or there was between rows that
    /// were read before.
    fn has_whole_near(&self, time_ns: i64) -> bool {
        let near_ns = self.cpus.clock.interval().map_or(0, |seconds| (seconds * 5e8) as i64);
        let is_near = |from_ns: i64, to_ns: i64| {
            (from_ns.saturating_sub(near_ns)..=to_ns.saturating_add(near_ns)).contains(&time_ns)
        };
        let is_now = self.is_open && self.now.statistics_ns.is_some_and(|ns| is_near(ns, ns));
        is_now || self.statistics.span().is_some_and(|(from_ns, to_ns)| is_near(from_ns, to_ns))
    }

    /// Concludes at the end of the rows.
    pub(super) fn end(&mut self, options: &Options, counters: &Counters) {
        self.complete(options, counters);
        self.count_entries_of_cpus();
        if let Some(sum) = self.cpus.end() {
            self.take_sum(options, &sum);
        }
        let usual = self.statistics.usual().or_else(|| self.cpus.clock.usual());
        self.counters.iter_mut().for_each(|counter| counter.rates.end(options, usual));
        self.take_cpu_peaks();
        let is_of_ctpulse = self.is_of_ctpulse;
        let is_of_probes = |at: usize| counters.origins[at].is_of_probes(is_of_ctpulse);
        let tracks = self.counters.iter_mut().map(|counter| &mut counter.track);
        self.inferred_resets += settle(tracks, is_of_probes);
        self.cpus.settle(is_of_probes);
        self.compare_sums(counters);
    }
}

/// Returns the events that a row adds to the counters, and those before it.
fn events(counters: &[Tallied], now: &Moment) -> (f64, f64) {
    let values = counters.iter().zip(&now.counters);
    let values = values.filter_map(|(counter, reading)| Some((&counter.track, reading.value?)));
    let rises = values.map(|(track, value)| (value - track.last()).max(0.0));
    (rises.sum(), counters.iter().map(|counter| counter.track.total()).sum())
}

/// The events in the sample with the peak of a row, if they are known.
fn sample_events(reading: &CounterReading, sample_seconds: Option<f64>) -> Option<f64> {
    let by_rate = reading.peak.zip(sample_seconds).map(|(peak, seconds)| (peak * seconds).round());
    reading.sample_max.or(by_rate)
}

fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}
