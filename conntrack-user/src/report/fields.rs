//! The meaning of a field's name in the report.

use std::collections::HashMap;

use super::gather::PAIRED;
use crate::schema::field::{CpuTrack, Field, FieldKind, PlotGroup, WindowValue};
use crate::schema::fields::{self, FIELDS};
use crate::schema::measure::Measure;

/// The prefix of the sysctl files' fields.
const SYSCTL: &str = "ip_";

/// The parts that a field can play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A counter, by its number.
    Counter(usize),
    /// The average rate of a counter.
    Rate(usize),
    /// The peak rate of a counter.
    Peak(usize),
    /// The largest number of events of a counter in one sample.
    SampleMax(usize),
    /// The length of a sample, in seconds.
    SampleSeconds,
    /// Entries at the time of the row, by the table itself.
    Count,
    /// The same by the statistics, or their sum over CPUs.
    Entries,
    /// The fewest since the row before.
    EntriesMin,
    /// The most since the row before.
    EntriesMax,
    /// The fewest since the row before by the statistics, if the rows are those of ctpulse.
    OwnEntriesMin,
    /// The same for the most. An aggregator makes such a field of a sum over CPUs.
    OwnEntriesMax,
    /// The table's limit.
    Max,
    /// Ticks left out.
    SamplesMissed,
    /// Emissions without room.
    RowsLost,
    /// Nothing.
    Other,
    /// Not asked for yet: no row of conntrack had it.
    Unmet,
}

/// Counters that are kept apart; the kernel and the probes have some forty.
const MOST: usize = 96;

/// The numbers of 32 and 64 bits with all bits set, as -1 is written without a sign.
const LARGEST_OF_32_BITS: f64 = 4_294_967_295.0;
const LARGEST_OF_63_BITS: f64 = 9_223_372_036_854_775_807.0;

/// Whether every field can have the value, as nearly all values are.
pub(super) fn is_usual(value: f64) -> bool {
    (0.0..LARGEST_OF_32_BITS).contains(&value)
}

impl Meaning {
    /// Whether a field with this meaning can have the value. `fillna(-1)` and the like stand for no
    /// value at all.
    pub(super) fn can_be(self, value: f64) -> bool {
        let is_largest = || value == LARGEST_OF_32_BITS || value >= LARGEST_OF_63_BITS;
        is_usual(value) || value >= 0.0 && !(matches!(self, Self::Counter(_)) && is_largest())
    }

    /// The counter that has the largest value of 32 bits, which is one if the counter is near it.
    pub(super) fn at_its_end(self, value: f64) -> Option<usize> {
        match self {
            Self::Counter(at) if value == LARGEST_OF_32_BITS => Some(at),
            _ => None,
        }
    }
}

/// Numbers for the counters: those of [`PAIRED`], then the others in the order in which they were
/// met.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) names: Vec<String>,
    /// The meaning of each of them for a single CPU, where it is followed on each.
    pub(super) cpu_tracks: Vec<Option<CpuTrack>>,
    /// What counts it.
    pub(super) origins: Vec<CounterOrigin>,
    by_name: HashMap<String, usize>,
    /// Fields that found no room.
    pub(super) left_out: u64,
}

impl Default for Counters {
    fn default() -> Self {
        let mut counters = Self {
            names: Vec::new(),
            cpu_tracks: Vec::new(),
            origins: Vec::new(),
            by_name: HashMap::new(),
            left_out: 0,
        };
        for field in &PAIRED {
            counters.number(field.name);
        }
        counters
    }
}

impl Counters {
    /// Returns the meaning of the field `name`.
    pub(super) fn meaning(&mut self, name: &str) -> Meaning {
        match fields::find(name).and_then(|field| field.value) {
            Some(WindowValue::Count) => Meaning::Count,
            Some(WindowValue::Entries) => Meaning::Entries,
            Some(WindowValue::EntriesMin) if !name.starts_with(SYSCTL) => Meaning::OwnEntriesMin,
            Some(WindowValue::EntriesMax) if !name.starts_with(SYSCTL) => Meaning::OwnEntriesMax,
            Some(WindowValue::EntriesMin) => Meaning::EntriesMin,
            Some(WindowValue::EntriesMax) => Meaning::EntriesMax,
            Some(WindowValue::Limit) => Meaning::Max,
            Some(WindowValue::SamplesMissed) => Meaning::SamplesMissed,
            Some(WindowValue::RowsLost) => Meaning::RowsLost,
            Some(WindowValue::SampleSeconds) => Meaning::SampleSeconds,
            Some(WindowValue::EventsMissed) | None => self.meaning_of_counter(name),
        }
    }

    fn meaning_of_counter(&mut self, name: &str) -> Meaning {
        let (counter, measure) = Measure::split(name);
        let is_gauge = fields::find(counter).is_some_and(|field| field.kind == FieldKind::Gauge);
        if is_gauge || name.starts_with(SYSCTL) {
            return Meaning::Other;
        }
        let meaning = match measure {
            Measure::Total => Meaning::Counter,
            Measure::Rate => Meaning::Rate,
            Measure::PeakRate => Meaning::Peak,
            Measure::PeakCount => Meaning::SampleMax,
        };
        self.number(counter).map_or(Meaning::Other, meaning)
    }

    fn number(&mut self, counter: &str) -> Option<usize> {
        if let Some(number) = self.by_name.get(counter) {
            return Some(*number);
        }
        if self.names.len() >= MOST {
            self.left_out += 1;
            return None;
        }
        let number = self.names.len();
        self.names.push(counter.to_owned());
        self.origins.push(CounterOrigin::of(counter));
        self.cpu_tracks.push(fields::find(counter).and_then(|field| field.per_cpu));
        self.by_name.insert(counter.to_owned(), number);
        Some(number)
    }
}

/// The other numbers of the rows in which a counter is 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beside {
    /// Rows have rates: ctpulse gives one to each counter that is counted.
    pub(crate) rates: bool,
    /// The counter has one, too.
    pub(crate) own_rate: bool,
    /// The number of entries changed.
    pub(crate) entries_moved: bool,
}

/// Whether a counter that is 0 in all rows is not counted, as far as the rows show.
pub(crate) fn is_zero_uncounted(name: &str, beside: Beside) -> bool {
    // What the kernel itself counts of insertions is a part.
    if name == fields::INSERT.name && beside.entries_moved {
        return true;
    }
    if beside.rates && !is_without_rate(name) {
        !beside.own_rate
    } else {
        is_constant_on_some_kernels(name)
    }
}

/// Whether no row has a rate of this counter, also where it is counted.
pub(super) fn is_without_rate(name: &str) -> bool {
    fields::find(name).is_some_and(|field| field.kind == FieldKind::Own)
}

/// Whether a 0 of this counter may mean that it is not counted: some kernels print a constant, or
/// count only a part that leaves out the traffic.
fn is_constant_on_some_kernels(name: &str) -> bool {
    fields::find(name).is_some_and(|field| {
        let is_part = field.part.is_some_and(|part| part.zero_is_uncounted);
        field.constant_from.is_some() || is_part
    })
}

/// What counts a counter. The probes begin again when ctpulse does, the kernel does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CounterOrigin {
    Kernel,
    Probes,
    /// The kernel, and in its stead the probes of ctpulse on some kernels.
    Either,
    /// The kernel, and with `ebpf_per_packet` the lookups of packets.
    KernelOrLookups,
    /// Another program, by the field's name: it may be no counter.
    Unknown,
}

impl CounterOrigin {
    /// Returns what counts the counter `name`.
    pub(super) fn of(name: &str) -> Self {
        let Some(field) = fields::find(name) else { return Self::Unknown };
        let is_derived = matches!(field.kind, FieldKind::DerivedDrop(_));
        let is_missed = field.value == Some(WindowValue::EventsMissed);
        match field.documented {
            _ if is_derived || is_missed => Self::Probes,
            Some(_) if name == fields::FOUND.name => Self::KernelOrLookups,
            Some(_) if field.event.is_some() && is_constant_on_some_kernels(name) => Self::Either,
            None if field.event.is_some() => Self::Probes,
            _ => Self::Kernel,
        }
    }

    /// Whether the probes may count it; `is_of_ctpulse` is whether ctpulse wrote the rows.
    pub(super) fn is_of_probes(self, is_of_ctpulse: bool) -> bool {
        self == Self::Probes || self == Self::Either && is_of_ctpulse
    }
}

/// Whether the bursts of this counter are listed: those that a plot shows. The others move with
/// one of these.
pub(super) fn has_bursts(name: &str) -> bool {
    fields::find(name).is_some_and(|field| field.plot.is_some())
}

/// Returns the counters of a plot, in its order.
pub(super) fn of_plot(plot: PlotGroup) -> Vec<&'static Field> {
    let position = |field: &&Field| field.plot.filter(|(of, _)| *of == plot).map(|(_, at)| at);
    let mut counters: Vec<&Field> =
        FIELDS.iter().filter(|field| position(field).is_some()).collect();
    counters.sort_by_key(position);
    counters
}

/// Whether the field `name` is a counter, and not a gauge, a rate, a peak, or a number that ctpulse
/// reports of itself.
#[must_use]
pub fn is_counter(name: &str) -> bool {
    matches!(Counters::default().meaning(name), Meaning::Counter(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_counter_at_each_position() {
        for plot in [PlotGroup::Losses, PlotGroup::Connections] {
            let positions = of_plot(plot).into_iter().filter_map(|field| Some(field.plot?.1));
            assert!(positions.enumerate().all(|(at, position)| at == position), "{plot:?}");
        }
        let losses = of_plot(PlotGroup::Losses);
        for field in [fields::GC_EARLY_DROP, fields::CREATE_TABLE_FULL] {
            assert!(losses.contains(&&field) && has_bursts(field.name), "{}", field.name);
            assert!(fields::rank(field.name) < fields::rank("insert_failed"), "{}", field.name);
        }
    }

    #[test]
    fn names_have_their_meaning() {
        let mut counters = Counters::default();
        let (first, second) = (PAIRED.len(), PAIRED.len() + 1);
        assert_eq!(counters.meaning("drop_rate_max"), Meaning::Peak(first));
        assert_eq!(counters.meaning("drop"), Meaning::Counter(first));
        assert_eq!(counters.meaning("drop_rate"), Meaning::Rate(first));
        assert_eq!(counters.meaning("a_new_column"), Meaning::Counter(second));
        assert_eq!(
            PAIRED.map(|field| counters.meaning(field.name)),
            [0, 1, 2, 3, 4, 5, 6].map(Meaning::Counter)
        );
        assert_eq!(counters.meaning("ip_conntrack_buckets"), Meaning::Other);
        assert!(is_counter("drop") && is_counter("a_new_column"));
        for name in ["sample_seconds", "drop_sample_max", "drop_rate", "entries", "rows_lost"] {
            assert!(!is_counter(name), "{name}");
        }
        assert_eq!(counters.meaning("drop_sample_max"), Meaning::SampleMax(first));
        assert_eq!(counters.meaning("sample_seconds"), Meaning::SampleSeconds);
        assert_eq!(counters.meaning("ip_conntrack_count_max"), Meaning::EntriesMax);
        let many = (0..1000).filter(|at| counters.meaning(&at.to_string()) != Meaning::Other);
        let room = MOST - PAIRED.len() - 2;
        assert_eq!(many.count(), room);
        assert_eq!(counters.left_out, 1000 - room as u64);
    }
}
