//! From a [`Window`] to rows: which fields the schema has, under what names, on which rows.
//!
//! The names are made once per layout; a row then only copies them. Rates are formed here from
//! events and elapsed time, and "not maintained" is told from 0.

pub mod self_metrics;
pub mod telegraf;
pub mod timestamp;

use std::collections::BTreeMap;
use std::sync::Arc;

use conntrack_ebpf::Event;

use crate::accumulate::derived_drops::DerivedDrop;
use crate::accumulate::interval::Peak;
use crate::accumulate::{Counted, Range, Window};
use crate::metric::{Metric, Name, Value};
use crate::schema::maintained::{self, Release};
use crate::schema::provenance::{FROM_REMAINDERS, Origin, event_counters};
use crate::schema::raw::{COUNT, DOCUMENTED, ENTRIES, EVENTS, Layout, RENAMED};
use crate::settings::{Input, OWN_NETNS};

/// The measurement's name, as Telegraf's plugin has it.
pub const MEASUREMENT: &str = "conntrack";

/// Makes the rows of one input.
#[derive(Debug)]
pub struct RowBuilder {
    input: Input,
    cpus: Vec<u32>,
    release: Option<Release>,
    sysctl_keys: Vec<Name>,
    counted: Counted,
    layout: Arc<Layout>,
    all_fields: Vec<(Name, Field)>,
    cpu_fields: Vec<(Name, Field)>,
    /// Columns that are maintained, by what header and release say or a value other than 0.
    maintained: Vec<bool>,
    tags: InputTags,
    /// The last number of rows that was compared with the mask's.
    compared_rows: usize,
    /// Whether it was said that the probes miss calls.
    misses_told: bool,
    notice: Option<String>,
}

#[derive(Debug)]
struct InputTags {
    cpu: Name,
    netns: Option<(Name, String)>,
}

/// What a field's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    CounterSource(CounterSource, Measure),
    NoColumn,
    EntriesMin,
    EntriesMax,
    SampleSeconds,
    SamplesMissed,
    RowsLost,
    EventsMissed,
}

/// Where a counter's events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CounterSource {
    /// The kernel's counter in this column.
    Column(usize),
    Event(Event),
    DerivedDrop(DerivedDrop),
}

/// What a field says of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Total,
    /// Events per second since the last row.
    Rate,
    /// The largest rate of one sample since then.
    PeakRate,
    /// The largest number of events in one sample since then.
    PeakCount,
}

impl Measure {
    /// What is told of a counter beside its total: the ends of the fields' names. The peaks are
    /// there only where samples are taken between two rows.
    fn beside_total(has_peaks: bool) -> impl Iterator<Item = (&'static str, Self)> {
        let all = [
            ("_rate", Self::Rate),
            ("_rate_max", Self::PeakRate),
            ("_sample_max", Self::PeakCount),
        ];
        all.into_iter().take(if has_peaks { all.len() } else { 1 })
    }
}

/// Which row a value is for.
#[derive(Debug, Clone, Copy)]
enum RowScope {
    All,
    One(usize),
}

impl RowBuilder {
    /// A builder for `input`, on a machine with the possible CPUs `cpus` and the kernel
    /// `release`; `sysctl_keys` name the numbers of [`Window::sysctls`].
    #[must_use]
    pub fn new(
        input: Input,
        cpus: Vec<u32>,
        release: Option<Release>,
        sysctl_keys: Vec<String>,
    ) -> Self {
        let netns = input.netns_tag.then(|| {
            let value = input.netns.as_ref().map_or(OWN_NETNS.to_owned(), ToString::to_string);
            (Name::from("netns"), value)
        });
        let mut builder = Self {
            input,
            cpus,
            release,
            sysctl_keys: sysctl_keys.into_iter().map(Name::from).collect(),
            counted: Counted::default(),
            layout: Arc::default(),
            all_fields: Vec::new(),
            cpu_fields: Vec::new(),
            maintained: Vec::new(),
            tags: InputTags { cpu: "cpu".into(), netns },
            compared_rows: 0,
            misses_told: false,
            notice: None,
        };
        builder.learn(&Arc::default());
        builder
    }

    /// The rows of one emission, statistics first as Telegraf has them; those without any
    /// known value are among them, since a format may need their keys.
    pub fn rows(&mut self, window: &Window) -> Vec<Metric> {
        if !Arc::ptr_eq(&self.layout, &window.layout) || self.counted != window.events.counted {
            self.counted = window.events.counted;
            self.learn(&window.layout);
        }
        self.prove(window);
        self.note_misses(window);
        if window.cpus.is_empty() {
            self.compare_with_mask(window.filled.len());
        }
        let mut rows = Vec::new();
        let timestamp_ns = window.timestamp_ns;
        if self.input.compat_telegraf {
            for (cpu, fields) in telegraf::rows(window, &self.layout, self.input.collect) {
                rows.push(self.metric(Some(&cpu), fields, timestamp_ns));
            }
        } else {
            if self.input.collect.all {
                let fields = self.fields(window, RowScope::All);
                rows.push(self.metric(Some("all"), fields, timestamp_ns));
            }
            if self.input.collect.percpu {
                let mut told = [&window.cpus, &self.cpus].into_iter();
                let cpus = told.find(|cpus| cpus.len() == window.filled.len());
                for row in 0..window.filled.len() {
                    let cpu = cpus.map_or(row as u64, |cpus| u64::from(cpus[row]));
                    let fields = self.fields(window, RowScope::One(row));
                    rows.push(self.metric(Some(&format!("cpu{cpu}")), fields, timestamp_ns));
                }
            }
        }
        let mut table: BTreeMap<Name, Value> = BTreeMap::new();
        for (at, key) in self.sysctl_keys.iter().enumerate() {
            let value = window.sysctls.get(at).copied().flatten();
            table.insert(key.clone(), value.map_or(Value::Unknown, Value::Float));
        }
        self.add_extremes(window, &mut table);
        rows.push(self.metric(None, table.into_iter().collect(), timestamp_ns));
        rows
    }

    /// The row about this program itself, where it is asked for.
    #[must_use]
    pub fn internal_row(&self, window: &Window) -> Option<Metric> {
        let mut row =
            self.input.internal.then(|| self_metrics::row(window, window.timestamp_ns))?;
        if let Some((key, value)) = &self.tags.netns {
            row.add_tag(key, value);
        }
        if let Some(alias) = &self.input.alias {
            row.add_tag(&Name::from("alias"), alias);
        }
        Some(row)
    }

    /// Where the counters on the row `cpu=all` come from, as of the last [`RowBuilder::rows`]; a
    /// counter that nothing gives is not among them.
    pub fn origins(&self) -> impl Iterator<Item = (&Name, Origin)> {
        self.all_fields.iter().filter_map(|(name, field)| {
            let Field::CounterSource(counter, Measure::Total) = field else { return None };
            let origin = match counter {
                CounterSource::Column(_)
                    if maintained::counts_a_part(&self.layout, self.release, name) =>
                {
                    Origin::Part
                }
                CounterSource::Column(column) if self.maintained[*column] => Origin::Kernel,
                CounterSource::Column(_) => return None,
                CounterSource::Event(_) => Origin::Events,
                CounterSource::DerivedDrop(_) => Origin::Both,
            };
            Some((name, origin))
        })
    }

    /// Adds the extremes of the number of entries since the last row, where no row of statistics
    /// has them as `entries_min` and `entries_max`.
    fn add_extremes(&self, window: &Window, table: &mut BTreeMap<Name, Value>) {
        let is_elsewhere = self.input.collect.all || self.input.compat_telegraf;
        let Some(count) = table.get(COUNT).copied() else { return };
        if is_elsewhere || !self.samples_between_rows() {
            return;
        }
        let of_statistics = window
            .entries
            .map(|entries| Range { min: f64::from(entries.min), max: f64::from(entries.max) });
        let mut range = window.count.or(of_statistics);
        if let Value::Float(count) = count {
            // Read after the last sample, or the only one.
            Range::widen(&mut range, count);
        }
        for (end, extreme) in [("min", range.map(|r| r.min)), ("max", range.map(|r| r.max))] {
            let value = extreme.map_or(Value::Unknown, Value::Float);
            table.insert(format!("{COUNT}_{end}").into(), value);
        }
    }

    /// Something that the user should be told once; one line.
    pub fn take_notice(&mut self) -> Option<String> {
        self.notice.take()
    }

    /// The mask says which CPU a row is; where the numbers differ, it says nothing.
    fn compare_with_mask(&mut self, rows: usize) {
        if rows == 0 || rows == std::mem::replace(&mut self.compared_rows, rows) {
            return;
        }
        if self.input.collect.percpu && !self.cpus.is_empty() && rows != self.cpus.len() {
            self.notice = Some(format!(
                "{rows} rows of statistics for {} possible CPUs; rows are numbered in their order",
                self.cpus.len()
            ));
        }
    }

    /// Warns once of calls that the probes missed, and again after they were attached anew.
    fn note_misses(&mut self, window: &Window) {
        let missed = window.events.missed.unwrap_or(0);
        if missed > 0 && !self.misses_told {
            self.notice = Some(format!(
                "the probes have missed {missed} calls of the kernel's functions, so what they count \
                 is too low by as many; drop_dying and drop_other are left out while events_missed \
                 rises"
            ));
        }
        self.misses_told = missed > 0;
    }

    /// Names the fields of a layout.
    fn learn(&mut self, layout: &Arc<Layout>) {
        self.layout = Arc::clone(layout);
        self.maintained = layout
            .names
            .iter()
            .map(|name| maintained::maintains(layout, self.release, name))
            .collect();
        let total = |counter| Field::CounterSource(counter, Measure::Total);
        let mut fields: BTreeMap<String, Field> = BTreeMap::new();
        for name in DOCUMENTED.into_iter().chain(RENAMED.map(|(_, name)| name)) {
            let known =
                layout.column(name).map_or(Field::NoColumn, |at| total(CounterSource::Column(at)));
            if known != Field::NoColumn || DOCUMENTED.contains(&name) {
                fields.insert(name.to_owned(), known);
            }
        }
        for (column, name) in layout.names.iter().enumerate() {
            fields.entry(name.clone()).or_insert(total(CounterSource::Column(column)));
        }
        let events: Vec<_> = event_counters(layout, self.release, &self.counted).collect();
        for (name, event) in &events {
            fields.insert((*name).to_owned(), total(CounterSource::Event(*event)));
        }
        if let Some(column) = layout.column("chaintoolong") {
            // Each such insertion is a packet that is lost, and the kernel's `drop` leaves it out.
            fields.insert("drop_chaintoolong".to_owned(), total(CounterSource::Column(column)));
        }
        let mut cpu_fields = fields.clone();
        let has_peaks = self.samples_between_rows();
        let add_rates =
            |fields: &mut BTreeMap<String, Field>, name: &str, counter: CounterSource| {
                for (end, measure) in Measure::beside_total(has_peaks) {
                    fields.insert(format!("{name}{end}"), Field::CounterSource(counter, measure));
                }
            };
        for (column, name) in layout.names.iter().enumerate().filter(|(_, n)| *n != ENTRIES) {
            let also = (name == "chaintoolong").then_some("drop_chaintoolong");
            for name in also.into_iter().chain([name.as_str()]) {
                add_rates(&mut fields, name, CounterSource::Column(column));
                if self.input.percpu_rates {
                    add_rates(&mut cpu_fields, name, CounterSource::Column(column));
                }
            }
        }
        for (name, event) in events {
            add_rates(&mut fields, name, CounterSource::Event(event));
            if self.input.percpu_rates {
                add_rates(&mut cpu_fields, name, CounterSource::Event(event));
            }
        }
        for (name, remainder) in FROM_REMAINDERS {
            if remainder.is_known(layout, &self.counted) {
                let counter = CounterSource::DerivedDrop(remainder);
                fields.insert(name.to_owned(), total(counter));
                add_rates(&mut fields, name, counter);
            }
        }
        fields.insert("entries_min".into(), Field::EntriesMin);
        fields.insert("entries_max".into(), Field::EntriesMax);
        if has_peaks {
            fields.insert("sample_seconds".into(), Field::SampleSeconds);
        }
        fields.insert("samples_missed".into(), Field::SamplesMissed);
        fields.insert("rows_lost".into(), Field::RowsLost);
        if self.counted.contains(&true) {
            fields.insert("events_missed".into(), Field::EventsMissed);
        }
        let named = |fields: BTreeMap<String, Field>| {
            fields.into_iter().map(|(name, field)| (Name::from(name), field)).collect()
        };
        self.all_fields = named(fields);
        self.cpu_fields = named(cpu_fields);
    }

    /// Whether samples are taken between two rows, so that bursts and extremes are known.
    fn samples_between_rows(&self) -> bool {
        self.input.sample_interval < self.input.interval
    }

    /// A value other than 0 proves that the kernel maintains a counter.
    fn prove(&mut self, window: &Window) {
        let columns = self.maintained.len();
        for (i, total) in window.totals.iter().enumerate().filter(|(_, total)| **total != 0) {
            self.maintained[i % columns] |= *total != 0;
        }
    }

    fn fields(&self, window: &Window, row: RowScope) -> Vec<(Name, Value)> {
        let fields = if matches!(row, RowScope::All) { &self.all_fields } else { &self.cpu_fields };
        fields.iter().map(|(name, field)| (name.clone(), self.value(window, row, *field))).collect()
    }

    fn value(&self, window: &Window, row: RowScope, field: Field) -> Value {
        let Some(entries) = window.entries else {
            return Value::Unknown;
        };
        let integer = |value: u32| Value::Integer(u64::from(value));
        match field {
            Field::CounterSource(CounterSource::Column(column), _)
                if self.layout.names[column] == ENTRIES =>
            {
                integer(entries.last)
            }
            Field::CounterSource(CounterSource::Column(column), measure) => {
                self.column(window, row, column, measure)
            }
            Field::CounterSource(CounterSource::Event(event), measure) => {
                Self::event(window, row, event, measure)
            }
            Field::CounterSource(CounterSource::DerivedDrop(remainder), measure) => {
                left_over(window, remainder, measure)
            }
            Field::NoColumn => Value::NotMaintained,
            Field::EntriesMin => integer(entries.min),
            Field::EntriesMax => integer(entries.max),
            Field::SampleSeconds => Value::Float(self.input.sample_interval.as_secs_f64()),
            Field::SamplesMissed => Value::Integer(window.loss.samples_missed),
            Field::RowsLost => Value::Integer(window.loss.rows_lost),
            Field::EventsMissed => {
                let missed = window.events.missed.filter(|_| !window.events.totals.is_empty());
                missed.map_or(Value::Unknown, Value::Integer)
            }
        }
    }

    fn column(&self, window: &Window, row: RowScope, column: usize, measure: Measure) -> Value {
        let cells = |cells| self.cells(window, cells, row, column);
        let is_maintained = self.maintained[column];
        match measure {
            Measure::Total => match cells(&window.totals) {
                None => Value::Unknown,
                Some(0) if !is_maintained => Value::NotMaintained,
                Some(total) => Value::Integer(total),
            },
            _ if !is_maintained => Value::Unknown,
            Measure::Rate => rate(cells(&window.tally.events), window.elapsed),
            Measure::PeakRate | Measure::PeakCount => {
                let peaks = match row {
                    RowScope::All => window.tally.peaks.get(column),
                    RowScope::One(row) => {
                        window.tally.row_peaks.get(row * self.layout.names.len() + column)
                    }
                };
                peak(peaks.filter(|_| window.has_peaks), measure)
            }
        }
    }

    fn event(window: &Window, row: RowScope, event: Event, measure: Measure) -> Value {
        let events = &window.events;
        let sum = |counters| sum_of_event(counters, window.filled.len(), row, event);
        match measure {
            Measure::Total => sum(&events.totals).map_or(Value::Unknown, Value::Integer),
            Measure::Rate => rate(sum(&events.tally.events), events.elapsed),
            Measure::PeakRate | Measure::PeakCount => {
                let peaks = match row {
                    RowScope::All => events.tally.peaks.get(event as usize),
                    RowScope::One(row) => events.tally.row_peaks.get(row * EVENTS + event as usize),
                };
                peak(peaks.filter(|_| window.has_event_peaks()), measure)
            }
        }
    }

    /// One cell, or the sum of a column over the rows that have it.
    fn cells(&self, window: &Window, cells: &[u64], row: RowScope, column: usize) -> Option<u64> {
        let cell = |row: usize| {
            let has = window.filled.get(row).is_some_and(|&filled| usize::from(filled) > column);
            has.then(|| cells.get(row * self.layout.names.len() + column).copied()).flatten()
        };
        match row {
            RowScope::One(row) => cell(row),
            RowScope::All => (0..window.filled.len()).filter_map(cell).reduce(u64::wrapping_add),
        }
    }

    fn metric(&self, cpu: Option<&str>, fields: Vec<(Name, Value)>, timestamp_ns: i64) -> Metric {
        let mut metric =
            Metric { name: MEASUREMENT.to_owned(), tags: Vec::new(), fields, timestamp_ns };
        if let Some(cpu) = cpu {
            metric.add_tag(&self.tags.cpu, cpu);
        }
        if let Some((key, value)) = &self.tags.netns {
            metric.add_tag(key, value);
        }
        metric
    }
}

impl Window {
    /// Whether there was a whole sample window since the event source was attached.
    fn has_event_peaks(&self) -> bool {
        self.has_peaks && self.events.elapsed.is_some()
    }
}

/// One CPU's events, or the sum over all of them.
fn sum_of_event(counters: &[u64], rows: usize, row: RowScope, event: Event) -> Option<u64> {
    let mut cpus = counters.chunks_exact(EVENTS).map(|cpu| cpu[event as usize]);
    match row {
        // Rows that the mask does not number: it is unknown which of the events are theirs.
        RowScope::One(_) if counters.len() != rows * EVENTS => None,
        RowScope::One(row) => cpus.nth(row),
        RowScope::All => cpus.reduce(u64::wrapping_add),
    }
}

/// What is left over of the kernel's counters, for all CPUs together.
fn left_over(window: &Window, remainder: DerivedDrop, measure: Measure) -> Value {
    let (events, at) = (&window.events, remainder as usize);
    match measure {
        _ if events.has_new_misses => Value::Unknown,
        Measure::Total if events.totals.is_empty() => Value::Unknown,
        Measure::Total => Value::Integer(events.remainders[at]),
        Measure::Rate => rate(events.remainder_tally.events.get(at).copied(), events.elapsed),
        Measure::PeakRate | Measure::PeakCount => {
            let peaks = events.remainder_tally.peaks.get(at);
            peak(peaks.filter(|_| window.has_event_peaks()), measure)
        }
    }
}

fn peak(known: Option<&Peak>, measure: Measure) -> Value {
    known.map_or(Value::Unknown, |peak| match measure {
        Measure::PeakCount => Value::Integer(peak.count),
        _ => Value::Float(peak.rate),
    })
}

fn rate(events: Option<u64>, elapsed: Option<std::time::Duration>) -> Value {
    match (events, elapsed) {
        (Some(events), Some(elapsed)) => Value::Float(events as f64 / elapsed.as_secs_f64()),
        _ => Value::Unknown,
    }
}

#[cfg(test)]
mod tests;
