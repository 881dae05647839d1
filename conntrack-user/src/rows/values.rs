//! The value of each field in one window: totals, rates and peaks.

use conntrack_ebpf::Event;

use super::RowBuilder;
use crate::accumulate::interval::Peak;
use crate::accumulate::{Extremes, Window};
use crate::metric::Value;
use crate::schema::field::{DerivedDrop, WindowValue};
use crate::schema::fields::{ICMP_ERROR, INVALID};
use crate::schema::measure::Measure;
use crate::schema::raw::EVENTS;

/// The source and the measure of a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FieldValue {
    pub(super) source: FieldSource,
    pub(super) measure: Measure,
}

/// Where the numbers of a field come from, with this layout and these probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldSource {
    /// The kernel's counter in this column.
    Column(usize),
    /// The probes.
    Event(Event),
    /// The difference of both.
    Derived(DerivedDrop),
    /// The window.
    Window(WindowValue),
    /// Nothing: this kernel has no such column.
    Absent,
}

impl FieldSource {
    pub(super) fn total(self) -> FieldValue {
        FieldValue { source: self, measure: Measure::Total }
    }
}

/// Which row a value is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum RowScope {
    All,
    One(usize),
}

impl RowBuilder {
    /// Returns the value of a field; unknown before the first sample.
    pub(super) fn value(&self, window: &Window, row: RowScope, field: FieldValue) -> Value {
        let Some(entries) = window.entries else {
            return Value::Unknown;
        };
        match field.source {
            FieldSource::Column(column) => self.column(window, row, column, field.measure),
            FieldSource::Event(event) => Self::event(window, row, event, field.measure),
            FieldSource::Derived(drop) => derived(window, drop, field.measure),
            FieldSource::Window(value) => self.of_window(window, &entries, value),
            FieldSource::Absent => Value::NotMaintained,
        }
    }

    fn of_window(&self, window: &Window, entries: &Extremes, value: WindowValue) -> Value {
        let integer = |value: u32| Value::Integer(u64::from(value));
        match value {
            WindowValue::Entries => integer(entries.last),
            WindowValue::EntriesMin => integer(entries.min),
            WindowValue::EntriesMax => integer(entries.max),
            WindowValue::SampleSeconds => Value::Float(self.input.sample_interval.as_secs_f64()),
            WindowValue::SamplesMissed => Value::Integer(window.loss.samples_missed),
            WindowValue::RowsLost => Value::Integer(window.loss.rows_lost),
            WindowValue::EventsMissed => {
                let missed = window.events.missed.filter(|_| !window.events.totals.is_empty());
                missed.map_or(Value::Unknown, Value::Integer)
            }
            // These are sysctl files, on the row of the table.
            WindowValue::Count | WindowValue::Limit => Value::Unknown,
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

    /// The INVALID packets that the kernel counts: those of ICMP errors have a counter of their own.
    pub(super) fn invalid_of_kernel(&self, window: &Window) -> Option<u64> {
        let counters = [INVALID, ICMP_ERROR].map(|field| {
            let column = self.layout.column(field.name)?;
            self.cells(window, &window.totals, RowScope::All, column)
        });
        let [invalid, icmp_error] = counters;
        window.entries.and(Some(invalid? + icmp_error?))
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

/// Returns the rest of a kernel's counter, for all CPUs together.
fn derived(window: &Window, drop: DerivedDrop, measure: Measure) -> Value {
    let Some(derived) = &window.events.derived else { return Value::Unknown };
    let count = &derived.drops[drop as usize];
    match measure {
        Measure::Total => Value::Integer(count.total),
        Measure::Rate => rate(Some(count.events), derived.elapsed),
        Measure::PeakRate | Measure::PeakCount => {
            peak(derived.elapsed.is_some().then_some(&count.peak), measure)
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
