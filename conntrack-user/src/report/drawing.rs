//! The plots of one source, gathered while its rows are read.

use super::timeline::{Level, OfCpus, Rate, Timeline, TimelineColumn as _};
use crate::schema::field::CpuTrack;

/// Columns of a plot: about as many as it is wide.
const COLUMNS: usize = 1024;
/// Columns of the heat map, with cells that are large enough to be seen.
const HEAT_COLUMNS: usize = 96;

/// The lowest and the highest since the moment before.
#[derive(Debug)]
pub(super) struct EntryExtremes {
    /// Entries.
    pub(super) entries: (f64, f64),
    /// Percent of the limit, where that is known.
    pub(super) fill: Option<(f64, f64)>,
    /// Whether the earlier levels are those of another table.
    pub(super) is_other_table: bool,
}

/// Columns over the time of a recording.
#[derive(Debug, Clone)]
pub struct Drawing {
    start_ns: i64,
    /// Entries in the table.
    pub entries: Timeline<Level>,
    /// The same in percent of the limit at that time, where it is known.
    pub fill: Timeline<Level>,
    /// By the counter's number; `None` for those that are not there.
    counters: Vec<Option<Timeline<Rate>>>,
    /// Packets lost on each CPU.
    pub lost: Timeline<OfCpus>,
    /// Entries inserted on each CPU.
    pub inserted: Timeline<OfCpus>,
    names: Vec<String>,
}

impl Drawing {
    pub(super) fn new(start_ns: i64) -> Self {
        Self {
            start_ns,
            entries: Timeline::new(start_ns, COLUMNS),
            fill: Timeline::new(start_ns, COLUMNS),
            counters: Vec::new(),
            lost: Timeline::new(start_ns, HEAT_COLUMNS),
            inserted: Timeline::new(start_ns, HEAT_COLUMNS),
            names: Vec::new(),
        }
    }

    /// The table was between these extremes before this time.
    pub(super) fn level(&mut self, time_ns: i64, extremes: &EntryExtremes) {
        if extremes.is_other_table {
            self.entries = Timeline::new(self.start_ns, COLUMNS);
            self.fill = Timeline::new(self.start_ns, COLUMNS);
        }
        if let Some(column) = self.entries.at(time_ns) {
            column.merge(&Level(Some(extremes.entries)));
        }
        if let (Some(fill), Some(column)) = (extremes.fill, self.fill.at(time_ns)) {
            column.merge(&Level(Some(fill)));
        }
    }

    /// Events of the counter `number` before this time.
    pub(super) fn counter(&mut self, number: usize, time_ns: i64, rate: Rate) {
        if self.counters.len() <= number {
            self.counters.resize_with(number + 1, || None);
        }
        let start_ns = self.start_ns;
        let timeline =
            self.counters[number].get_or_insert_with(|| Timeline::new(start_ns, COLUMNS));
        if let Some(column) = timeline.at(time_ns) {
            column.merge(&rate);
        }
    }

    /// Events on a CPU before this time.
    pub(super) fn of_a_cpu(&mut self, time_ns: i64, cpu: usize, track: CpuTrack, events: f64) {
        let timeline = match track {
            CpuTrack::Lost => &mut self.lost,
            CpuTrack::Inserted => &mut self.inserted,
        };
        if events > 0.0
            && let Some(column) = timeline.at(time_ns)
        {
            column.add(cpu, events);
        }
    }

    /// With the names of the counters.
    pub(super) fn named(mut self, names: &[String]) -> Self {
        self.names = names.to_vec();
        self
    }

    /// The counter called `name`, if it is there.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Timeline<Rate>> {
        let number = self.names.iter().position(|known| known == name)?;
        self.counters.get(number)?.as_ref()
    }
}
