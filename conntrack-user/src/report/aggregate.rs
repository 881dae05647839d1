//! Rows in, a report out: finds out whose row each is, and leaves the rest to `source`.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::accumulator::{Context, SourceAccumulator};
use super::cpus;
use super::fields::{Counters, Meaning};
use super::summary::Report;
use super::unknown::of_recording;
use crate::recording::known::{is_known, is_unmistakable};
use crate::recording::{Catalog, ReadCounts, RecordedSeries, Row, SeriesId};
use crate::rows::MEASUREMENT;

/// Sources that are kept apart; each takes up to half a megabyte.
const MOST_SOURCES: usize = 64;
/// Counters of CPUs that are kept apart, in all sources together: some 30 MiB.
const MOST_OF_CPUS: usize = 1 << 18;

/// What a report is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The time that rates are averages over.
    pub window: Duration,
    /// How many bursts to keep of each counter.
    pub bursts: usize,
    /// Whether it will be drawn.
    pub drawn: bool,
}

/// Takes the rows of a recording.
#[derive(Debug)]
pub struct Aggregator {
    options: Options,
    meanings: Vec<Meaning>,
    counters: Counters,
    /// By series; `None` where it is not known yet.
    places: Vec<Option<RowScope>>,
    sources: Vec<SourceAccumulator>,
    by_origin: HashMap<RecordedSeries, usize>,
    other_rows: u64,
    refused_rows: u64,
    /// The series of those.
    refused: HashSet<SeriesId>,
    /// Counters of CPUs for which there is still memory.
    room: usize,
}

/// Whose row a series' rows are.
#[derive(Debug, Clone, Copy)]
enum RowScope {
    /// The namespace's: the table row or `cpu=all`.
    Whole(usize),
    /// A CPU's.
    Cpu(usize, usize),
}

impl Aggregator {
    /// Nothing was read yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            meanings: Vec::new(),
            counters: Counters::default(),
            places: Vec::new(),
            sources: Vec::new(),
            by_origin: HashMap::new(),
            other_rows: 0,
            refused_rows: 0,
            refused: HashSet::new(),
            room: MOST_OF_CPUS,
        }
    }

    /// Takes a row.
    pub fn push(&mut self, catalog: &Catalog, row: Row<'_>) {
        let known = self.places.get(row.series.0).copied().flatten();
        let Some(place) = known.or_else(|| self.find_place(catalog, row)) else { return };
        self.meanings.resize(catalog.fields().len(), Meaning::Unmet);
        for (field, _) in row.values {
            if self.meanings[field.0] == Meaning::Unmet {
                self.meanings[field.0] = self.counters.meaning(&catalog.fields()[field.0]);
            }
        }
        match place {
            RowScope::Whole(source) => {
                self.sources[source].whole(&self.options, &self.meanings, row);
            }
            RowScope::Cpu(source, cpu) => {
                let counters = row.values.iter().filter_map(|(field, value)| {
                    let Meaning::Counter(counter) = self.meanings[field.0] else { return None };
                    Some((counter, *value))
                });
                self.sources[source].of_a_cpu(
                    &self.options,
                    (row.time_ns, cpu),
                    counters,
                    &self.counters.names,
                    &mut self.room,
                );
            }
        }
    }

    fn find_place(&mut self, catalog: &Catalog, row: Row<'_>) -> Option<RowScope> {
        let series = catalog.series(row.series);
        let cpu = series.tag("cpu").filter(|cpu| *cpu != "all");
        let number = cpu.map(cpus::number);
        if number == Some(None) || !is_ours(catalog, series, row) {
            self.other_rows += 1;
            return None;
        }
        let mut origin = series.clone();
        origin.tags.retain(|(key, _)| key != "cpu");
        let source = match self.by_origin.get(&origin) {
            Some(source) => *source,
            None if self.sources.len() >= MOST_SOURCES => {
                self.refused_rows += 1;
                self.refused.insert(row.series);
                return None;
            }
            None => {
                self.sources.push(SourceAccumulator::new(origin.clone()));
                self.by_origin.insert(origin, self.sources.len() - 1);
                self.sources.len() - 1
            }
        };
        let place = match number.flatten() {
            Some(number) => RowScope::Cpu(source, number),
            None => RowScope::Whole(source),
        };
        let SeriesId(id) = row.series;
        if self.places.len() <= id {
            self.places.resize(id + 1, None);
        }
        self.places[id] = Some(place);
        Some(place)
    }

    /// What the rows say; `recording` is how they were read.
    #[must_use]
    pub fn finish(mut self, recording: ReadCounts) -> Report {
        for source in &mut self.sources {
            source.end(&self.options);
        }
        let unknown = of_recording(
            &recording,
            self.refused_rows,
            self.refused.len() as u64,
            self.counters.left_out,
        );
        let context = Context { names: &self.counters.names, unknown: &unknown };
        let mut sources: Vec<_> =
            self.sources.iter_mut().map(|source| source.report(&context)).collect();
        sources.sort_by(|a, b| (&a.name, &a.tags).cmp(&(&b.name, &b.tags)));
        Report {
            recording,
            other_rows: self.other_rows,
            rows_of_too_many_sources: self.refused_rows,
            window_seconds: self.options.window.as_secs_f64(),
            sources,
        }
    }
}

/// Whether a row is conntrack's, whatever `name_override` and its like made of the measurement.
pub(crate) fn is_ours(catalog: &Catalog, series: &RecordedSeries, row: Row<'_>) -> bool {
    let has =
        |is: fn(&str) -> bool| row.values.iter().any(|(field, _)| is(&catalog.fields()[field.0]));
    let is_likely = || series.name.contains(MEASUREMENT) || series.tag("cpu").is_some();
    series.name == MEASUREMENT || has(is_unmistakable) || is_likely() && has(is_known)
}
