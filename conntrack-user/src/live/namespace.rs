//! One network namespace on the screen: its rows in, numbers out.

use super::counter::{Last, Step};
use super::cpu_rates::{CpuRates, CpuSum, integer, number};
use super::doubt::{Doubt, Recent, Totals};
use super::gather::Repeated;
use super::history::{EntriesLevel, FEW, History, RateSample};
use super::reasons::Reasons;
use super::series::{ALL, DROP, INSERT, NEW, RATES, SERIES, Series};
use crate::metric::{Metric, Name, Value};
use crate::recording::known::cpu_number;
use crate::report::{Beside, is_zero_uncounted};
use crate::rows::MEASUREMENT;
use crate::schema::field::{Field, FieldKind};
use crate::schema::fields::{
    COUNT, DRIFT, ENTRIES, ENTRIES_MAX, ENTRIES_MIN, HOST_ALLOC_FAILED, HOST_UNPLACED, LIMIT,
    PROGRAM_MISSED, PROGRAM_SKIPPED, ROWS_LOST, SAMPLE_SECONDS, SAMPLES_MISSED,
};
use crate::schema::labelled::LabelledMeasurement;
use crate::schema::measure::Measure;
use crate::schema::provenance::Origin;
use crate::text::human;

/// CPUs of one namespace that are followed: as many as a kernel can have.
const MOST_CPUS: usize = 8192;
/// The time over which the growth of the table is measured, in nanoseconds.
const GROWTH_NS: i64 = 5_000_000_000;
/// So many intervals without statistics, and nothing is known of the counters any more.
const SILENT_INTERVALS: i64 = 3;
/// How long after the last one events are still shown as happening, in nanoseconds.
const ALARM_NS: i64 = 3_000_000_000;

/// The present reading of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Reading {
    /// Not known (yet).
    #[default]
    Unknown,
    /// This kernel does not count it, and nothing else does.
    NotCounted,
    /// The rows of a recording do not have it, so nothing is known of it.
    Absent,
    /// The rows of a recording contradict each other.
    Doubtful(Doubt),
    /// It is 0 in all rows so far, and some kernels print that for a counter that they do not count.
    PerhapsNotCounted,
    /// Events per second since the row before.
    Rate(f64),
}

/// The present state of one counter.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Current {
    /// Its rate.
    pub now: Reading,
    /// Events since the first row.
    pub since_start: Option<f64>,
    /// Where it comes from; `None` where nothing gives it, or where a recording has no origin.
    pub origin: Option<Origin>,
    last: Option<Last>,
    /// A row had its rate.
    has_rate: bool,
    /// It was above 0.
    has_counted: bool,
    /// Rows contradicted each other, so the events are not known.
    is_uncertain: bool,
}

impl Current {
    /// The events since the first row, if they are known.
    #[must_use]
    pub fn in_all(&self) -> Option<f64> {
        let is_known = !self.is_uncertain && self.now != Reading::PerhapsNotCounted;
        self.since_start.filter(|_| is_known)
    }
}

/// A counter's value in a row.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    total: Option<f64>,
    step: Option<Step>,
    /// The value is not believed.
    doubt: Option<Doubt>,
}

/// The missed samples and calls since the start, where they are known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Misses {
    /// Sampling ticks that were left out.
    pub samples: Option<u64>,
    /// Rows that found no room.
    pub rows: Option<u64>,
    /// Calls that probes missed or were skipped at; `None` where the kernel does not count them.
    pub probes: Option<u64>,
    /// Events of all namespaces together whose own was not known.
    pub unplaced: Option<u64>,
    /// Refused allocations of all namespaces together.
    pub alloc_failed: Option<u64>,
    /// Entries less allocations plus frees.
    pub drift: Option<f64>,
}

/// One network namespace (of one host): the rows of one measurement with the same tags, but for
/// `cpu`.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// The measurement.
    pub name: String,
    /// Tags besides `host`, `netns` and `cpu`.
    pub other_tags: Vec<(Name, String)>,
    /// Value of the `host` tag.
    pub host: Option<String>,
    /// Value of the `netns` tag.
    pub netns: Option<String>,
    /// Time of the last row, in nanoseconds since 1970.
    pub at_ns: i64,
    /// The last minutes.
    pub history: History,
    /// Entries in the table now.
    pub count: Option<f64>,
    /// Entries that there is room for.
    pub max: Option<f64>,
    /// The counters, in the order of [`SERIES`].
    pub current: [Current; ALL],
    /// The CPUs, by number; none where no row is of a single CPU.
    pub cpus: Vec<CpuRates>,
    /// The INVALID packets by reason.
    pub reasons: Reasons,
    /// The missed samples and calls.
    pub misses: Misses,
    /// The nominal time between two samples, in seconds.
    pub sample_seconds: Option<f64>,
    /// Entries by the last row of the table.
    counted: Option<f64>,
    /// The time of the last statistics.
    statistics_ns: Option<i64>,
    /// The time between the last two of them.
    interval_ns: i64,
    /// Rows have the sum over all CPUs.
    has_sum: bool,
    /// The sum over the CPUs' own rows of this gather, and whether the one before had every CPU.
    sum: CpuSum,
    was_whole: bool,
    /// Events of the CPUs since the last row with the sum.
    pending: [f64; ALL],
    /// The last rows, by which contradicting rows are known.
    recent: Recent,
    /// The rows of this gather contradict others.
    is_doubtful: bool,
    /// Any row has rates, and the last one.
    has_rates: bool,
    had_rates: bool,
    /// The least and the most entries so far.
    extremes: Option<(f64, f64)>,
    /// The doubts of which there was a message, and messages that are new.
    doubts: Vec<Doubt>,
    pub(super) messages: Vec<String>,
}

impl Namespace {
    pub(super) fn new(row: &Metric) -> Self {
        let tag = |key| row.tag(key).map(ToOwned::to_owned);
        Self {
            name: row.name.clone(),
            other_tags: other_tags(row).cloned().collect(),
            host: tag("host"),
            netns: tag("netns"),
            at_ns: row.timestamp_ns,
            history: History::default(),
            count: None,
            max: None,
            current: [Current::default(); ALL],
            cpus: Vec::new(),
            reasons: Reasons::default(),
            misses: Misses::default(),
            sample_seconds: None,
            counted: None,
            statistics_ns: None,
            interval_ns: 0,
            has_sum: false,
            sum: CpuSum::default(),
            was_whole: false,
            pending: [0.0; ALL],
            recent: Recent::default(),
            is_doubtful: false,
            has_rates: false,
            had_rates: false,
            extremes: None,
            doubts: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Whether a row is of the same host and namespace, as those of ctpulse about itself are.
    pub(super) fn is_near(&self, row: &Metric) -> bool {
        self.host.as_deref() == row.tag("host") && self.netns.as_deref() == row.tag("netns")
    }

    pub(super) fn is_of(&self, row: &Metric) -> bool {
        self.name == row.name && self.is_near(row) && other_tags(row).eq(self.other_tags.iter())
    }

    /// Whether a row of a measurement with labels belongs to it.
    pub(super) fn is_source_of(&self, row: &Metric, measurement: &LabelledMeasurement) -> bool {
        let without_labels =
            other_tags(row).filter(|(key, _)| !measurement.labels.contains(&&**key));
        // With `name_override` both have the same name.
        self.name == row.name.replacen(measurement.name, MEASUREMENT, 1)
            && self.is_near(row)
            && without_labels.eq(self.other_tags.iter())
    }

    /// Share of the table that is taken, in percent.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        let max = self.max.filter(|max| *max > 0.0)?;
        Some(self.count? / max * 100.0)
    }

    /// How fast the table grows, in entries per second.
    #[must_use]
    pub fn growth(&self) -> Option<f64> {
        self.history.growth(GROWTH_NS)
    }

    /// Seconds until the table is full if it goes on growing as it does; `None` when it does not.
    #[must_use]
    pub fn seconds_to_full(&self) -> Option<f64> {
        let room = self.max? - self.count?;
        let growth = self.growth().filter(|growth| *growth > 0.0)?;
        Some(room / growth).filter(|seconds| *seconds >= 0.0)
    }

    /// Whether the counter `series` counted anything within the last three seconds.
    #[must_use]
    pub fn is_happening(&self, series: usize) -> bool {
        let recent = self.history.summary(series, self.at_ns.saturating_sub(ALARM_NS));
        recent.peak.or(recent.mean).is_some_and(|rate| rate > 0.0)
    }

    /// The counter that shows best how the work is spread over the CPUs: the first that any of
    /// them counts, insertions before all others.
    #[must_use]
    pub fn spread(&self) -> Option<usize> {
        let sum = |series: usize| self.cpus.iter().map(|cpu| cpu.rates[series]).sum::<f32>();
        let order = [INSERT, NEW, DROP].into_iter().chain(DROP + 1..RATES);
        order.into_iter().find(|series| sum(*series) >= 0.01)
    }

    /// Takes the row of all CPUs. `is_live` is whether it is one of this program's samplers, which
    /// leave out only what is not counted. `repeated` has further values of the same time.
    pub(super) fn take_statistics(
        &mut self,
        row: &Metric,
        is_live: bool,
        repeated: Option<&Repeated>,
    ) {
        let time_ns = row.timestamp_ns;
        let has_rates = SERIES.iter().any(|series| row.field(series.of(Measure::Rate)).is_some());
        if has_rates && !is_live {
            self.skip_gap(time_ns);
        }
        self.has_rates |= has_rates;
        // The first row of a run has no rates. The probes' counters begin with it.
        let is_restart = std::mem::replace(&mut self.had_rates, has_rates) && !has_rates;
        let disagrees = repeated.is_some_and(|repeated| {
            let is_above = |(at, least): &(usize, f64)| {
                self.current[*at].last.is_some_and(|last| last.is_above(time_ns, *least))
            };
            repeated.falls || repeated.least.iter().any(is_above)
        });
        let mut taken = self.take_totals(row, is_live);
        let falls = SERIES.iter().zip(&taken).any(|(series, taken)| {
            let falls = taken.step.is_some_and(|step| step.falls);
            falls && !(is_restart && is_counted_by_probes(series.field))
        });
        let totals = taken.map(|taken| taken.total.unwrap_or(f64::NAN));
        let of_row = if is_live { None } else { self.doubt(time_ns, &totals, falls, disagrees) };
        if of_row == Some(Doubt::Reset) {
            // All of them started again, also one that is higher by now.
            for taken in &mut taken {
                if let (Some(total), Some(step)) = (taken.total, &mut taken.step) {
                    (step.events, step.falls) = (total, true);
                }
            }
        }
        let mut samples = [RateSample::UNKNOWN; ALL];
        for (at, (taken, sample)) in taken.iter().zip(&mut samples).enumerate() {
            let series = &SERIES[at];
            let read = reading(row, series, taken.step.as_ref());
            self.count_events(at, taken, matches!(read, Reading::Rate(_)) && has_rates);
            let now = match read {
                Reading::Absent if is_live => Reading::NotCounted,
                read if is_live => read,
                read => self.judge(at, taken, read, of_row),
            };
            self.current[at].now = now;
            if let Reading::Doubtful(doubt) = now {
                *sample = RateSample::doubtful(doubt);
            }
            if let Reading::Rate(rate) = now {
                // Of rows that are missing in a recording, the counter has the events, and the rate
                // of this row has not.
                let is_open = |step: &Step| self.history.is_unknown_since(at, step.from_ns);
                let whole = taken.step.filter(|step| !is_live && is_open(step));
                let whole = whole
                    .and_then(|step| Some((step.rate()?, self.history.number_since(step.from_ns))));
                let (mean, back) = whole.unwrap_or((rate, 0));
                let peak = row.field(series.of(Measure::PeakRate)).and_then(number);
                let peak = peak.unwrap_or(rate).max(mean);
                let few = integer(row, series.of(Measure::PeakCount));
                let few = few.filter(|count| *count < FEW).unwrap_or(0) as u8;
                *sample =
                    RateSample { mean: mean as f32, peak: peak as f32, few, back, doubt: None };
            }
        }
        let level = self.level(row);
        self.count = Some(level.last).filter(|last| !last.is_nan());
        self.misses.samples = integer(row, SAMPLES_MISSED.name).or(self.misses.samples);
        self.misses.rows = integer(row, ROWS_LOST.name).or(self.misses.rows);
        self.sample_seconds =
            row.field(SAMPLE_SECONDS.name).and_then(number).or(self.sample_seconds);
        self.has_sum = true;
        self.pending = [0.0; ALL];
        self.push(row.timestamp_ns, level, samples);
    }

    /// Takes the counters of a row.
    fn take_totals(&mut self, row: &Metric, is_live: bool) -> [Taken; ALL] {
        let time_ns = row.timestamp_ns;
        std::array::from_fn(|at| {
            let last = &mut self.current[at].last;
            let total = row.field(SERIES[at].field.name).and_then(number);
            let Some(total) = total else { return Taken::default() };
            match Last::doubt(last, time_ns, total).filter(|_| !is_live) {
                None => {
                    let step = Last::replace(last, time_ns, total);
                    Taken { total: Some(total), step, doubt: None }
                }
                doubt => Taken { total: None, step: None, doubt },
            }
        })
    }

    /// Returns the reason why nothing is known of the time since the row before.
    fn doubt(
        &mut self,
        time_ns: i64,
        totals: &Totals,
        falls: bool,
        disagrees: bool,
    ) -> Option<Doubt> {
        let found = self.recent.take(time_ns, totals, falls);
        if let Some((Doubt::UpAndDown, from_ns)) = found {
            self.history.forget_rates_since(from_ns);
        }
        let doubt = disagrees.then_some(Doubt::SameTime).or(found.map(|(doubt, _)| doubt));
        self.is_doubtful |= doubt.is_some();
        doubt
    }

    /// Adds a counter's events to those since the first row.
    fn count_events(&mut self, at: usize, taken: &Taken, has_rate: bool) {
        let current = &mut self.current[at];
        current.has_rate |= has_rate;
        if let Some(total) = taken.total {
            let more = taken.step.map_or(0.0, |step| step.events);
            current.since_start = Some(current.since_start.unwrap_or(0.0) + more);
            current.has_counted |= total > 0.0;
        }
    }

    /// Returns what is known of a counter of a recording, of which a row reads as `read`.
    fn judge(&mut self, at: usize, taken: &Taken, read: Reading, of_row: Option<Doubt>) -> Reading {
        let is_known = taken.total.is_some() || matches!(read, Reading::Rate(_));
        if taken.total == Some(0.0) && self.is_uncounted(at) {
            let is_certain = self.has_rates;
            return if is_certain { Reading::NotCounted } else { Reading::PerhapsNotCounted };
        }
        let negative = matches!(read, Reading::Rate(rate) if rate < 0.0);
        let reset = taken.step.is_some_and(|step| step.falls).then_some(Doubt::Reset);
        let own = taken.doubt.or(negative.then_some(Doubt::Negative));
        let Some(doubt) = own.or(of_row.filter(|_| is_known)).or(reset) else { return read };
        self.current[at].is_uncertain |= matches!(doubt, Doubt::UpAndDown | Doubt::SameTime);
        if !self.doubts.contains(&doubt) {
            self.doubts.push(doubt);
            let time = human::time_of_day(self.at_ns, false);
            let netns = self.netns.as_ref().map_or(String::new(), |netns| format!("{netns}: "));
            self.messages.push(format!("{netns}{time} UTC: {}", doubt.message()));
        }
        Reading::Doubtful(doubt)
    }

    /// Whether a counter that was always 0 is not counted, as far as the rows show.
    fn is_uncounted(&self, at: usize) -> bool {
        let current = &self.current[at];
        let beside = Beside {
            rates: self.has_rates,
            own_rate: current.has_rate,
            entries_moved: self.extremes.is_some_and(|(least, most)| most > least),
        };
        !current.has_counted && is_zero_uncounted(SERIES[at].field.name, beside)
    }

    /// Begins the time that a row's own rates cover behind a gap: they are those of one interval.
    fn skip_gap(&mut self, time_ns: i64) {
        let is_gap =
            self.elapsed(time_ns).is_some_and(|ns| ns >= SILENT_INTERVALS * self.interval_ns);
        let from_ns = time_ns.saturating_sub(self.interval_ns);
        let is_open = self.history.last().is_some_and(|last| last.end_ns < from_ns);
        if is_gap && is_open && self.interval_ns > 0 {
            self.history.push(from_ns, EntriesLevel::UNKNOWN, [RateSample::UNKNOWN; ALL]);
        }
    }

    /// The time since the last statistics.
    fn elapsed(&self, time_ns: i64) -> Option<i64> {
        self.statistics_ns.map(|before| time_ns - before)
    }

    fn push(&mut self, time_ns: i64, level: EntriesLevel, samples: [RateSample; ALL]) {
        self.interval_ns = self.elapsed(time_ns).filter(|ns| *ns > 0).unwrap_or(self.interval_ns);
        self.statistics_ns = Some(time_ns);
        if !level.last.is_nan() {
            let (least, most) = self.extremes.unwrap_or((level.last, level.last));
            self.extremes = Some((least.min(level.min), most.max(level.max)));
        }
        self.history.push(time_ns, level, samples);
    }

    /// Takes the end of a gather: what its rows show together.
    pub(super) fn end_gather(&mut self) {
        let mut sum = std::mem::take(&mut self.sum);
        let is_whole = sum.cpus > 0 && sum.cpus == self.cpus.len();
        let has_statistics = self.statistics_ns == Some(self.at_ns);
        if !self.has_sum && sum.cpus > 0 {
            self.take_sum(&sum, is_whole && self.was_whole);
        } else if !has_statistics && sum.cpus > 0 {
            for (pending, events) in self.pending.iter_mut().zip(&mut sum.events) {
                *pending += events.unwrap_or(0.0);
                *events = events.map(|_| *pending);
            }
            if self.is_silent() {
                // The sum has ended: the CPUs' rows have all events since then.
                self.has_sum = false;
                self.current.iter_mut().for_each(|current| current.last = None);
                self.recent.clear();
                self.take_sum(&sum, is_whole && self.was_whole);
            }
        } else if !has_statistics && self.is_silent() {
            self.take_silence();
        }
        self.was_whole = is_whole;
        if std::mem::take(&mut self.is_doubtful) {
            self.cpus.iter_mut().for_each(CpuRates::forget);
        }
    }

    /// Whether there are no statistics any more. Those of one gather may come in two parts, so it
    /// takes some intervals.
    fn is_silent(&self) -> bool {
        let elapsed = self.elapsed(self.at_ns);
        elapsed.is_none_or(|elapsed| elapsed >= SILENT_INTERVALS * self.interval_ns.max(1))
    }

    /// Takes the sum over the CPUs where no row has it. The events of each CPU are those since its
    /// last row, so a rate needs every CPU in this gather and in the one before.
    fn take_sum(&mut self, sum: &CpuSum, are_all_there: bool) {
        let since_ns = self.statistics_ns.filter(|_| are_all_there);
        let is_whole = sum.cpus == self.cpus.len();
        let totals = if is_whole { sum.totals } else { [f64::NAN; ALL] };
        let of_row = self.doubt(self.at_ns, &totals, sum.falls, sum.disagrees);
        let mut samples = [RateSample::UNKNOWN; ALL];
        for (at, sample) in samples.iter_mut().enumerate() {
            let taken = Taken {
                total: Some(sum.totals[at]).filter(|_| sum.is_present[at]),
                step: None,
                doubt: sum.doubts[at],
            };
            if sum.is_present[at] {
                self.count_events(at, &taken, false);
                *self.current[at].since_start.get_or_insert(0.0) += sum.events[at].unwrap_or(0.0);
            }
            let mut read = if sum.is_present[at] { Reading::Unknown } else { Reading::Absent };
            // Rows of CPUs may lack the counter: its events are those since the rows that had it.
            let (first_ns, last_ns) = sum.from_ns[at].unwrap_or_default();
            let earliest_ns = first_ns.min(since_ns.unwrap_or(first_ns));
            let elapsed = self.at_ns.saturating_sub(earliest_ns);
            let is_even =
                last_ns.saturating_sub(first_ns) <= self.at_ns.saturating_sub(last_ns) / 2;
            if let (Some(events), Some(_), 1.., true) = (sum.events[at], since_ns, elapsed, is_even)
            {
                read = Reading::Rate(events * 1e9 / elapsed as f64);
            }
            let now = self.judge(at, &taken, read, of_row);
            self.current[at].now = now;
            if let Reading::Doubtful(doubt) = now {
                *sample = RateSample::doubtful(doubt);
            }
            if let Reading::Rate(rate) = now {
                let back = self.history.number_since(earliest_ns);
                *sample =
                    RateSample { mean: rate as f32, peak: rate as f32, few: 0, back, doubt: None };
            }
        }
        self.count = self.counted.or(sum.entries).or(self.count);
        let level = self.count.map_or(EntriesLevel::UNKNOWN, EntriesLevel::still);
        self.push(self.at_ns, level, samples);
    }

    /// Takes a gather without statistics.
    fn take_silence(&mut self) {
        self.current.iter_mut().for_each(|current| current.now = Reading::Absent);
        let level = self.counted.map_or(EntriesLevel::UNKNOWN, EntriesLevel::still);
        self.history.push(self.at_ns, level, [RateSample::UNKNOWN; ALL]);
    }

    /// The table's level by a row of statistics. Where Telegraf's plugin wrote it, `entries` are the
    /// sum over all CPUs: the table's own row has the number. Extremes are in our rows only, whose
    /// `entries` are no sum and were read at the same moment as the counters.
    fn level(&self, row: &Metric) -> EntriesLevel {
        let number = |field: Field| row.field(field.name).and_then(number);
        let entries = number(ENTRIES);
        let ours = entries.filter(|_| number(ENTRIES_MAX).is_some());
        ours.or(self.counted).or(entries).map_or(EntriesLevel::UNKNOWN, |last| EntriesLevel {
            last,
            min: number(ENTRIES_MIN).unwrap_or(last),
            max: number(ENTRIES_MAX).unwrap_or(last),
        })
    }

    pub(super) fn take_table(&mut self, row: &Metric) {
        let number = |field: Field| row.field(field.name).and_then(number);
        if let Some(count) = number(COUNT) {
            (self.counted, self.count) = (Some(count), Some(count));
        }
        self.max = number(LIMIT).or(self.max);
    }

    pub(super) fn take_cpu(
        &mut self,
        label: &str,
        row: &Metric,
        is_live: bool,
        repeated: Option<&Repeated>,
    ) {
        self.sum.disagrees |= repeated.is_some_and(|repeated| repeated.falls);
        let Some(cpu_number) = cpu_number(label).and_then(|number| number.try_into().ok()) else {
            return;
        };
        let at = match self.cpus.binary_search_by_key(&cpu_number, |cpu| cpu.number) {
            Ok(at) => at,
            Err(_) if self.cpus.len() == MOST_CPUS => return,
            Err(at) => {
                self.cpus.insert(at, CpuRates::new(cpu_number, row.timestamp_ns));
                at
            }
        };
        self.cpus[at].take(row, &mut self.sum, is_live);
    }

    pub(super) fn take_internal(&mut self, row: &Metric) {
        let misses = &mut self.misses;
        misses.samples = integer(row, SAMPLES_MISSED.name).or(misses.samples);
        misses.rows = integer(row, ROWS_LOST.name).or(misses.rows);
        misses.unplaced = integer(row, HOST_UNPLACED.name).or(misses.unplaced);
        misses.alloc_failed = integer(row, HOST_ALLOC_FAILED.name).or(misses.alloc_failed);
        misses.drift = row.field(DRIFT.name).and_then(number);
        let missed = row.fields.iter().filter_map(|(key, value)| {
            let of_a_probe = key.ends_with(PROGRAM_SKIPPED.suffix)
                || key.ends_with(PROGRAM_MISSED.suffix) && **key != *SAMPLES_MISSED.name;
            number(*value).filter(|_| of_a_probe)
        });
        misses.probes = missed.reduce(|a, b| a + b).map(|sum| sum as u64);
    }
}

/// Reads a counter from a row. `step` is what the counter did since its last value.
fn reading(row: &Metric, series: &Series, step: Option<&Step>) -> Reading {
    let rate = row.field(series.of(Measure::Rate));
    match (row.field(series.field.name), rate.and_then(number)) {
        (Some(Value::NotMaintained), _) => Reading::NotCounted,
        (_, Some(rate)) => Reading::Rate(rate),
        (Some(Value::Unknown), None) => Reading::Unknown,
        _ if rate.is_some() => Reading::Unknown,
        (None, None) => Reading::Absent,
        // A recording that has no rates: the difference over the time is the same.
        (Some(_), None) => step.and_then(Step::rate).map_or(Reading::Unknown, Reading::Rate),
    }
}

/// Whether probes may count it, so that it begins again when ctpulse is started again.
fn is_counted_by_probes(field: &Field) -> bool {
    field.event.is_some() || matches!(field.kind, FieldKind::DerivedDrop(_))
}

/// The tags by which namespaces differ, besides host and namespace.
fn other_tags(row: &Metric) -> impl Iterator<Item = &(Name, String)> {
    row.tags.iter().filter(|(key, _)| !["cpu", "host", "netns"].contains(&&**key))
}
