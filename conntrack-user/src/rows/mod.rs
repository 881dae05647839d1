//! From a [`Window`] to rows: which fields the schema has, under what names, on which rows.
//!
//! Names and sources are resolved once per layout; a row then only copies the names. `values` forms
//! rates from events and elapsed time, and distinguishes "not maintained" from 0.

mod composition;
mod invalid;
pub mod labelled;
pub mod self_metrics;
pub mod telegraf;
mod values;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use self::composition::CompositionRows;
use self::invalid::InvalidRows;
use self::values::{FieldSource, FieldValue, RowScope};
use crate::accumulate::{Range, Window};
use crate::composition::walks::Update;
use crate::metric::{Metric, Name, Value};
use crate::schema::field::{Field, RowKind, WindowValue};
use crate::schema::fields::{
    COUNT, COUNT_MAX, COUNT_MIN, DROP_DYING, DROP_OTHER, EVENTS_MISSED, FIELDS,
};
use crate::schema::maintained;
use crate::schema::measure::Measure;
use crate::schema::provenance::{Origin, derived_fields, event_fields};
use crate::schema::raw::{Counted, Layout, Release};
use crate::settings::Input;

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
    all_fields: Vec<(Name, FieldValue)>,
    cpu_fields: Vec<(Name, FieldValue)>,
    /// Columns that are maintained, by header and release or by a value other than 0.
    maintained: Vec<bool>,
    tags: InputTags,
    /// Where the input asks for them and its rows have a place for events.
    invalid: Option<InvalidRows>,
    /// Where the input asks for them and the table can be read.
    composition: Option<CompositionRows>,
    /// The last number of rows that was compared with the mask's.
    compared_rows: usize,
    /// Whether the missed calls of the probes were reported.
    warned_of_misses: bool,
    /// In the order of the log.
    notices: VecDeque<String>,
}

#[derive(Debug)]
struct InputTags {
    cpu: Name,
    netns: Option<(Name, String)>,
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
        let netns = input.netns_tag.then(|| (Name::from("netns"), input.netns.to_string()));
        let mut builder = Self {
            invalid: input.has_invalid_rows().then(InvalidRows::new),
            composition: input.composition_interval().map(|_| CompositionRows::new()),
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
            warned_of_misses: false,
            notices: VecDeque::new(),
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
                let mut numbered = [&window.cpus, &self.cpus].into_iter();
                let cpus = numbered.find(|cpus| cpus.len() == window.filled.len());
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
        rows.extend(self.invalid_rows(window));
        rows
    }

    /// Returns the rows of INVALID packets by reason, where they are asked for.
    fn invalid_rows(&mut self, window: &Window) -> Vec<Metric> {
        let kernel = self.invalid_of_kernel(window);
        let Some(invalid) = &mut self.invalid else { return Vec::new() };
        let mut rows = invalid.rows(window, kernel, &mut |text| self.notices.push_back(text));
        if let Some((key, value)) = &self.tags.netns {
            rows.iter_mut().for_each(|row| row.add_tag(key, value));
        }
        rows
    }

    /// Returns the rows of the entries by protocol and state, where `update` is new; of the first
    /// emission they are there without one, and without values.
    pub fn composition_rows(&mut self, update: Option<&Update>, timestamp_ns: i64) -> Vec<Metric> {
        let Some(composition) = &mut self.composition else { return Vec::new() };
        let mut rows = composition.rows(update, timestamp_ns);
        if let Some((key, value)) = &self.tags.netns {
            rows.iter_mut().for_each(|row| row.add_tag(key, value));
        }
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
            if field.measure != Measure::Total {
                return None;
            }
            let origin = match field.source {
                FieldSource::Column(_)
                    if maintained::counts_a_part(&self.layout, self.release, name) =>
                {
                    Origin::Part
                }
                FieldSource::Column(column) if self.maintained[column] => Origin::Kernel,
                FieldSource::Event(_) => Origin::Events,
                FieldSource::Derived(_) => Origin::Both,
                FieldSource::Column(_) | FieldSource::Window(_) | FieldSource::Absent => {
                    return None;
                }
            };
            Some((name, origin))
        })
    }

    /// Adds the extremes of the number of entries since the last row, where no row of statistics
    /// has them as `entries_min` and `entries_max`.
    fn add_extremes(&self, window: &Window, table: &mut BTreeMap<Name, Value>) {
        let is_elsewhere = self.input.collect.all || self.input.compat_telegraf;
        let Some(count) = table.get(COUNT.name).copied() else { return };
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
        for (field, extreme) in
            [(COUNT_MIN, range.map(|range| range.min)), (COUNT_MAX, range.map(|range| range.max))]
        {
            let value = extreme.map_or(Value::Unknown, Value::Float);
            table.insert(field.name.into(), value);
        }
    }

    /// Takes the next warning for the log, one line; there may be several.
    pub fn take_notice(&mut self) -> Option<String> {
        self.notices.pop_front()
    }

    /// Warns where the mask, which numbers the rows' CPUs, has another number of CPUs than there are
    /// rows.
    fn compare_with_mask(&mut self, rows: usize) {
        if rows == 0 || rows == std::mem::replace(&mut self.compared_rows, rows) {
            return;
        }
        if self.input.collect.percpu && !self.cpus.is_empty() && rows != self.cpus.len() {
            self.notices.push_back(format!(
                "{rows} rows of statistics for {} possible CPUs; rows are numbered in their order",
                self.cpus.len()
            ));
        }
    }

    /// Warns once of calls that the probes missed, and again after they were attached again.
    fn note_misses(&mut self, window: &Window) {
        let missed = window.events.missed.unwrap_or(0);
        if missed > 0 && !self.warned_of_misses {
            self.notices.push_back(format!(
                "the probes have missed {missed} calls of the kernel's functions, so what they count \
                 is too low by as many; {} and {} are left out while {} rises",
                DROP_DYING.name, DROP_OTHER.name, EVENTS_MISSED.name
            ));
        }
        self.warned_of_misses = missed > 0;
    }

    /// Resolves the fields of a layout: their names, and the sources of their numbers.
    fn learn(&mut self, layout: &Arc<Layout>) {
        self.layout = Arc::clone(layout);
        self.maintained = layout
            .names
            .iter()
            .map(|name| maintained::maintains(layout, self.release, name))
            .collect();
        let mut all_fields = BTreeMap::new();
        let mut cpu_fields = BTreeMap::new();
        for (name, source) in self.sources(layout) {
            let is_of_cpu = match source {
                FieldSource::Column(_) | FieldSource::Event(_) | FieldSource::Absent => true,
                // A packet may change the CPU between the two sides of a difference.
                FieldSource::Derived(_) => false,
                FieldSource::Window(value) => value == WindowValue::Entries,
            };
            if is_of_cpu {
                cpu_fields.insert(name.clone(), source.total());
            }
            for measure in self.measures(source) {
                let name = format!("{name}{}", measure.suffix());
                let value = FieldValue { source, measure: *measure };
                if is_of_cpu && self.input.percpu_rates {
                    cpu_fields.insert(name.clone(), value);
                }
                all_fields.insert(name, value);
            }
            all_fields.insert(name, source.total());
        }
        let named = |fields: BTreeMap<String, FieldValue>| {
            fields.into_iter().map(|(name, field)| (Name::from(name), field)).collect()
        };
        self.all_fields = named(all_fields);
        self.cpu_fields = named(cpu_fields);
    }

    /// Returns the fields that rows of statistics have, with the sources of their totals.
    fn sources(&self, layout: &Layout) -> BTreeMap<String, FieldSource> {
        let of_catalog = FIELDS.iter().filter(|field| field.row == RowKind::Statistics);
        let mut sources: BTreeMap<String, FieldSource> = of_catalog
            .filter_map(|field| Some((field.name.to_owned(), self.own_source(field, layout)?)))
            .collect();
        for (column, name) in layout.names.iter().enumerate() {
            sources.entry(name.clone()).or_insert(FieldSource::Column(column));
        }
        for (field, event) in event_fields(layout, self.release, &self.counted) {
            sources.insert(field.name.to_owned(), FieldSource::Event(event));
        }
        for (field, drop) in derived_fields(layout, &self.counted) {
            sources.insert(field.name.to_owned(), FieldSource::Derived(drop));
        }
        sources
    }

    /// Returns the source that a field has without probes.
    fn own_source(&self, field: &Field, layout: &Layout) -> Option<FieldSource> {
        match field.value {
            Some(WindowValue::SampleSeconds) if !self.samples_between_rows() => None,
            Some(WindowValue::EventsMissed) if !self.counted.contains(&true) => None,
            Some(value) => Some(FieldSource::Window(value)),
            None => {
                let column = layout.column(field.copy_of.unwrap_or(field.name));
                let absent = field.is_documented().then_some(FieldSource::Absent);
                column.map(FieldSource::Column).or(absent)
            }
        }
    }

    /// Returns what is reported of a source beside its total.
    fn measures(&self, source: FieldSource) -> &'static [Measure] {
        let all: &[Measure] = &Measure::BESIDE_TOTAL;
        match source {
            FieldSource::Window(_) | FieldSource::Absent => &[],
            _ if self.samples_between_rows() => all,
            // A peak would be the rate itself.
            _ => &all[..1],
        }
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

#[cfg(test)]
mod tests;
