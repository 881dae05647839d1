//! Rows in, a report out: finds the source of each row, and leaves the rest to `accumulator`.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::accumulator::{Context, SourceAccumulator};
use super::cpus;
use super::fields::{Counters, Meaning, is_usual};
use super::labelled::Labelled;
use super::repeats::Repeats;
use super::successors;
use super::summary::Report;
use super::undecided::Undecided;
use super::unknown::{of_other_cpus, of_recording, of_repeats};
use crate::recording::known::{is_all_cpus, is_known, is_unmistakable};
use crate::recording::{Catalog, FieldId, ReadCounts, RecordedSeries, Row, SeriesId};
use crate::rows::MEASUREMENT;

/// Sources that are kept apart; each takes up to 6 MiB with 96 counters whose
/// rates differ by powers of ten, and some 0.3 MiB with those of a machine.
const MOST_SOURCES: usize = 64;
/// Counters of CPUs that are kept apart, in all sources together: some 60 MiB.
const MOST_OF_CPUS: usize = 1 << 18;

/// The options of a report.
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
    labelled: Labelled,
    other_rows: u64,
    /// Those of them that have fields of conntrack and a tag `cpu` that is neither all nor cpuN, and the
    /// first such tag.
    of_other_cpus: (u64, String),
    /// Rows of which it is not known yet whether they are conntrack's.
    undecided: Undecided,
    repeats: Repeats,
    refused_rows: u64,
    /// The series of those.
    refused: HashSet<SeriesId>,
    /// Counters of CPUs for which there is still memory.
    room: usize,
}

/// The scope of a series' rows.
#[derive(Debug, Clone, Copy)]
enum RowScope {
    /// The namespace's: the table row or `cpu=all`.
    Whole(usize),
    /// A CPU's.
    Cpu(usize, usize),
    /// A measurement's with labels.
    Labelled(usize),
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
            labelled: Labelled::default(),
            other_rows: 0,
            of_other_cpus: Default::default(),
            undecided: Undecided::default(),
            repeats: Repeats::default(),
            refused_rows: 0,
            refused: HashSet::new(),
            room: MOST_OF_CPUS,
        }
    }

    /// Takes a row.
    pub fn push(&mut self, catalog: &Catalog, row: Row<'_>) {
        self.repeats.take(row);
        let place = match self.places.get(row.series.0).copied().flatten() {
            Some(place) => place,
            None => {
                let Some(place) = self.find_place(catalog, row) else { return };
                let waiting = self.undecided.remove(row.series);
                self.other_rows -= waiting.number;
                waiting.each(|waiting| self.take(catalog, place, waiting));
                place
            }
        };
        self.take(catalog, place, row);
    }

    fn take(&mut self, catalog: &Catalog, place: RowScope, row: Row<'_>) {
        if let RowScope::Labelled(place) = place {
            return self.labelled.take(catalog, place, row);
        }
        self.meanings.resize(catalog.fields().len(), Meaning::Unmet);
        for (field, _) in row.values {
            if self.meanings[field.0] == Meaning::Unmet {
                self.meanings[field.0] = self.counters.meaning(&catalog.fields()[field.0]);
            }
        }
        match place {
            RowScope::Labelled(_) => {}
            RowScope::Whole(source) => {
                let meanings = (&self.meanings[..], &self.counters);
                self.sources[source].whole(&self.options, meanings, row);
            }
            RowScope::Cpu(source, cpu) => {
                let possible: Vec<_>;
                let mut values = row.values;
                if !values.iter().all(|(_, value)| is_usual(*value)) {
                    let can_be = |(field, value): &&(FieldId, f64)| {
                        let meaning = self.meanings[field.0];
                        let of_source = &self.sources[source];
                        meaning.can_be(*value) || of_source.reaches(Some(cpu), meaning, *value)
                    };
                    let impossible = values.iter().find(|value| !can_be(value));
                    possible = values.iter().filter(can_be).copied().collect();
                    self.sources[source].take_impossible(impossible.map(|(_, value)| *value));
                    values = &possible;
                }
                let counters = values.iter().filter_map(|(field, value)| {
                    let Meaning::Counter(counter) = self.meanings[field.0] else { return None };
                    Some((counter, *value))
                });
                self.sources[source].of_a_cpu(
                    &self.options,
                    (row.time_ns, cpu),
                    counters,
                    &self.counters,
                    &mut self.room,
                );
                let meanings = &self.meanings;
                if self.sources[source].needs_entries_of_a_cpu(row.time_ns) {
                    let is_it =
                        |(field, _): &&(FieldId, f64)| meanings[field.0] == Meaning::Entries;
                    if let Some((_, entries)) = values.iter().find(is_it) {
                        self.sources[source].entries_of_a_cpu(row.time_ns, *entries);
                    }
                }
                let values = values.iter().map(|(field, value)| (meanings[field.0], *value));
                self.sources[source].peaks_of_a_cpu(row.time_ns, &values);
            }
        }
    }

    fn find_place(&mut self, catalog: &Catalog, row: Row<'_>) -> Option<RowScope> {
        if let Some(place) = self.labelled.place(catalog, row) {
            return Some(self.set_place(row.series, RowScope::Labelled(place)));
        }
        let series = catalog.series(row.series);
        let cpu = series.tag("cpu").filter(|cpu| !is_all_cpus(cpu));
        let number = cpu.map(cpus::number);
        if number == Some(None) || !is_ours(catalog, series, row) {
            self.other_rows += 1;
            // A row with one field may have one that other programs have, too.
            let has_known = has_field(catalog, row, is_known);
            match cpu {
                Some(cpu) if number == Some(None) && has_known => {
                    self.of_other_cpus.0 += 1;
                    if self.of_other_cpus.1.is_empty() {
                        cpu.clone_into(&mut self.of_other_cpus.1);
                    }
                }
                _ if number != Some(None) && has_known => self.undecided.push(row),
                _ => {}
            }
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
        Some(self.set_place(row.series, place))
    }

    fn set_place(&mut self, SeriesId(id): SeriesId, place: RowScope) -> RowScope {
        if self.places.len() <= id {
            self.places.resize(id + 1, None);
        }
        self.places[id] = Some(place);
        place
    }

    /// Hands the counters of rows that were left out for their times to their sources.
    fn take_left_out(&mut self, recording: &ReadCounts) {
        for &(series, field, value) in &recording.stray_counters {
            let meaning = self.meanings.get(field.0).copied();
            let (source, cpu) = match self.places.get(series.0).copied().flatten() {
                Some(RowScope::Whole(source)) => (source, None),
                Some(RowScope::Cpu(source, cpu)) => (source, Some(cpu)),
                Some(RowScope::Labelled(_)) | None => continue,
            };
            if let Some(Meaning::Counter(at)) = meaning.filter(|meaning| meaning.can_be(value)) {
                self.sources[source].take_left_out((at, cpu), value);
            }
        }
    }

    /// Hands the restarts with a wrong clock to their sources.
    fn take_misdated(&mut self, recording: &ReadCounts) {
        for &(series, time_ns) in &recording.misdated_restarts {
            let place = self.places.get(series.0).copied().flatten();
            if let Some(RowScope::Whole(source) | RowScope::Cpu(source, _)) = place {
                self.sources[source].take_misdated_restart(time_ns);
            }
        }
    }

    /// Reports the rows; `recording` is how they were read.
    #[must_use]
    pub fn finish(mut self, recording: ReadCounts) -> Report {
        for source in &mut self.sources {
            source.end(&self.options, &self.counters);
        }
        self.take_left_out(&recording);
        self.take_misdated(&recording);
        let mut unknown = of_recording(
            &recording,
            self.refused_rows,
            self.refused.len() as u64,
            self.counters.left_out,
            self.undecided.left_out(),
        );
        unknown.extend(self.repeats.span().map(of_repeats));
        let (rows, cpu) = &self.of_other_cpus;
        unknown.extend((*rows > 0).then(|| of_other_cpus(*rows, cpu)));
        let is_of_query = 2 * recording.query_rows > recording.rows;
        let context = Context { counters: &self.counters, unknown: &unknown, is_of_query };
        let names = &self.counters.names;
        let ends: Vec<_> = self.sources.iter().map(|source| source.ends(names)).collect();
        let mut sources: Vec<_> =
            self.sources.iter_mut().map(|source| source.report(&context)).collect();
        for (source, unknown) in sources.iter_mut().zip(successors::unknown(&ends)) {
            source.unknown.extend(unknown);
        }
        self.other_rows += self.labelled.finish(&mut sources);
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

/// Whether a row is conntrack's, also under another measurement (`name_override` and similar). A row
/// with fewer fields of conntrack than others is that of another program which has a `drop`, too.
pub(crate) fn is_ours(catalog: &Catalog, series: &RecordedSeries, row: Row<'_>) -> bool {
    let has = |is| has_field(catalog, row, is);
    let is_likely = || series.name.contains(MEASUREMENT) || series.tag("cpu").is_some();
    let are_most_known = || {
        let known = row.values.iter().filter(|(field, _)| is_known(&catalog.fields()[field.0]));
        2 * known.count() > row.values.len()
    };
    series.name == MEASUREMENT || has(is_unmistakable) || is_likely() && are_most_known()
}

fn has_field(catalog: &Catalog, row: Row<'_>, is: fn(&str) -> bool) -> bool {
    row.values.iter().any(|(field, _)| is(&catalog.fields()[field.0]))
}
