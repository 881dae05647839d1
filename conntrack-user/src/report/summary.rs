//! The report as data: what `--format json` prints, and the text and the page are made from.
//!
//! Times are nanoseconds since 1970, durations seconds, rates events per second. What is not
//! known is absent (`null`), never 0.

use serde::Serialize;

use super::doubts::Doubts;
use super::drawing::Drawing;
use super::found::FoundByFailures;
use super::invalid::InvalidWindow;
use super::labelled::LabelledReport;
use crate::recording::ReadCounts;

/// The report of one recording.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The files and rows that were read, and those that could not be read.
    pub recording: ReadCounts,
    /// Rows that are not conntrack's.
    pub other_rows: u64,
    /// Rows left out because there are more sources than are kept apart.
    pub rows_of_too_many_sources: u64,
    /// The window that rates are averages over, in seconds; a longer interval is its own window.
    pub window_seconds: f64,
    /// One for each host, namespace or input: each set of tags but for `cpu`.
    pub sources: Vec<SourceReport>,
}

/// The report of one source.
#[derive(Debug, Clone, Serialize)]
pub struct SourceReport {
    /// The measurement.
    pub name: String,
    /// The tags, but for `cpu`.
    pub tags: Vec<(String, String)>,
    /// The time of the first row.
    pub from_ns: i64,
    /// The time of the last row.
    pub to_ns: i64,
    /// The times of the first and the last row with counters.
    #[serde(skip)]
    pub counted_ns: Option<(i64, i64)>,
    /// Rows of every kind.
    pub rows: u64,
    /// Different times among the rows of one series: the statistics, or else the table.
    pub emissions: u64,
    /// The median time between two rows of one series; absent with a single one.
    pub interval_seconds: Option<f64>,
    /// The time between two samples, if rows have it.
    pub sample_seconds: Option<f64>,
    /// The counters that moved, or of which rows have peaks only.
    pub counters: Vec<Counter>,
    /// The columns whose names in the rows are not what they count.
    pub columns: Vec<Column>,
    /// The counters that are counted and never moved.
    pub unmoved: Vec<String>,
    /// The counters that stayed 0 and that this kernel does not count, or only in part, as far as
    /// the rows show.
    pub not_counted: Vec<String>,
    /// How full the table was, if rows show it.
    pub fill: Option<Fill>,
    /// The worst bursts, counter by counter.
    pub bursts: Vec<Burst>,
    /// Why packets were dropped.
    pub drop_causes: Vec<Cause>,
    /// Packets in `drop` that none of these causes has; absent where no cause is counted.
    pub drops_without_cause: Option<f64>,
    /// The totals of measurements with labels, such as INVALID packets by reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labelled: Vec<LabelledReport>,
    /// Where rows are missing.
    pub gaps: Gaps,
    /// The samples and rows that ctpulse missed; absent where rows do not have them.
    pub losses: Losses,
    /// No row has the sum of the CPUs: all counters are those of the `cpus` together.
    pub are_sums_of_cpus: bool,
    /// The counters of each CPU; empty without `cpuN` rows.
    pub cpus: Vec<Cpu>,
    /// The ports that NAT found taken, by the insertions that failed meanwhile.
    #[serde(skip)]
    pub found: FoundByFailures,
    /// The time with the highest rate of INVALID packets, if that is worth a warning.
    #[serde(skip)]
    pub invalid: Option<InvalidWindow>,
    /// The INVALID packets of the rows in which new connections are counted.
    #[serde(skip)]
    pub invalid_beside_new: Option<InvalidWindow>,
    /// The counters of probes that were attached for a part of the time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partly_counted: Vec<PartlyCounted>,
    /// Warnings: one sentence, with numbers, for everything that could not be read, paired,
    /// ordered or concluded. Empty means that the numbers above are complete.
    pub unknown: Vec<String>,
    /// The events that may not have happened, and why.
    #[serde(skip)]
    pub doubts: Doubts,
    /// The plots of the page; only on request.
    #[serde(skip)]
    pub drawing: Option<Drawing>,
}

/// Counters that were counted in the same part of the time, which their events are of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartlyCounted {
    /// Their names.
    pub names: Vec<String>,
    /// The time in which they were counted.
    pub seconds: f64,
    /// The time of all rows.
    pub of_seconds: f64,
}

impl SourceReport {
    /// Whether the rows have a counter of this name, and it is counted.
    #[must_use]
    pub fn is_counted(&self, name: &str) -> bool {
        let mut counted = self.counters.iter().filter(|counter| counter.total.is_some());
        counted.any(|counter| counter.name == name)
            || self.unmoved.iter().any(|unmoved| unmoved == name)
    }
}

/// Smallest, middle and largest of a set of values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spreading {
    /// The smallest, exact.
    pub min: f64,
    /// Half of all values are at most this; within 1 %.
    pub median: f64,
    /// 99 % of all values are at most this; within 1 %.
    pub p99: f64,
    /// The largest, exact.
    pub max: f64,
}

/// One counter's events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Counter {
    /// The field's name.
    pub name: String,
    /// Events between the first and the last row; absent where rows have peaks only.
    pub total: Option<f64>,
    /// So many of these events may not have happened, as the warnings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubtful: Option<f64>,
    /// Events per second, averages over the windows; absent with a single row.
    pub per_second: Option<Spreading>,
    /// The largest rate of any one sample (`_rate_max`), or of a row where there is none.
    pub peak: Option<f64>,
    /// The time of the row with the peak.
    pub peak_at_ns: Option<i64>,
    /// The events in the sample of the peak, if they are so few that they are no rate.
    pub peak_few_events: Option<f64>,
    /// The peak was at least as high: a sample came late, or only single CPUs have peaks.
    pub peak_is_least: bool,
}

/// The largest rate of a counter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Peak {
    /// Events per second.
    pub(super) rate: f64,
    /// The time of the row.
    pub(super) at_ns: i64,
    /// The events in the sample, if they are few.
    pub(super) few_events: Option<f64>,
    /// It was at least as high.
    pub(super) is_least: bool,
}

/// How full the table was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fill {
    /// The table's limit, as it was last; 0 for none.
    pub max: Option<f64>,
    /// How often the limit changed.
    pub limit_changed: u64,
    /// The first of these changes.
    pub limit_changes: Vec<LimitChange>,
    /// When the largest share of it was taken; absent where no limit is known.
    pub fullest: Option<Fullest>,
    /// Entries in each emission.
    pub entries: Spreading,
    /// The most entries in any sample.
    pub peak: f64,
    /// The time of the row with the peak.
    pub peak_at_ns: i64,
    /// The entries may be a sum over CPUs, so that the limit says nothing.
    #[serde(skip)]
    pub is_sum: bool,
    /// How often the entries of a row were others than those of the row before, if that was always in one
    /// direction.
    #[serde(skip)]
    pub one_way: u64,
    /// Time spent nearly full; absent where the limit is not known.
    pub above_90_percent: Option<Above>,
    /// What shows that the table was fuller between two rows than in any of them; `above_90_percent` has no upper
    /// bound then.
    pub full_between: Option<FullBetween>,
}

impl Fill {
    /// The same where a counter shows that the table was full between two rows.
    pub(super) fn with_time_between(mut self, full_between: Option<FullBetween>) -> Self {
        if let Some(above) = self.above_90_percent.as_mut().filter(|_| full_between.is_some()) {
            above.at_most_seconds = None;
        }
        Self { full_between, ..self }
    }
}

/// A counter that moves only while the table is more than 95 % full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FullBetween {
    /// Its name.
    pub counter: String,
    /// Its events.
    pub events: f64,
}

/// The moment at which the table was fullest. With a limit that changed it need not be the one
/// with the most entries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fullest {
    /// The share of the limit that was valid then, in percent.
    pub percent: f64,
    /// Entries.
    pub entries: f64,
    /// That limit.
    pub max: f64,
    /// The time of the row.
    pub at_ns: i64,
}

/// A change of the table's limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LimitChange {
    /// The time of the first row with the new one.
    pub at_ns: i64,
    /// The limit before; 0 for none.
    pub from: f64,
    /// The limit from then on; 0 for none.
    pub to: f64,
}

/// Time spent with a table at least 90 % full. The extremes between two rows are known, not for
/// how long the table was so full; so there are two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Above {
    /// Time between rows in which even the lowest fill was that high.
    pub at_least_seconds: f64,
    /// Time between rows in which the highest fill was that high; `None` where the table was full between rows.
    pub at_most_seconds: Option<f64>,
    /// Time in which the fill is known.
    pub known_seconds: f64,
}

/// A burst: a row with a peak of more than twice the median of all rows' peaks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Burst {
    /// The counter that burst.
    pub counter: String,
    /// The row's time: the burst was in the `within_seconds` before it.
    pub at_ns: i64,
    /// The time that the row covers.
    pub within_seconds: f64,
    /// Events per second at the peak.
    pub peak: f64,
    /// Events per second on average over the row.
    pub mean: f64,
    /// The events in the sample of the peak, if they are so few that they are no rate.
    pub few_events: Option<f64>,
    /// The peak was at least as high.
    pub is_least: bool,
    /// The fill in percent at its highest within the row.
    pub fill_percent: Option<f64>,
}

/// One of the causes for which packets were dropped.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cause {
    /// The field, such as `drop_table_full`.
    pub field: String,
    /// Its meaning, as a text.
    pub meaning: &'static str,
    /// Packets.
    pub packets: f64,
    /// Their share of all dropped packets, in percent.
    pub percent: f64,
}

/// A column that has the name of what older kernels counted at its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// The name in the rows.
    pub written: String,
    /// The name of what it counts, which all other numbers of the report have.
    pub meaning: String,
}

/// Where rows are missing, and where counters started again.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Gaps {
    /// How often the time between two rows of one series was more than one and a half intervals.
    pub gaps: u64,
    /// How many emissions would have been in them.
    pub missing: u64,
    /// How often a row that was late, by up to an interval, leaves open whether one is missing in front of it:
    /// where the times between rows vary by more than half of the interval, as with a `collection_jitter`.
    pub undecided: u64,
    /// By which share the rate of a row that came early is too high at most, where the times between rows vary and
    /// are whole seconds or a multiple.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_excess: Option<f64>,
    /// The longest gaps.
    pub longest: Vec<Gap>,
    /// How often ctpulse was started again within the recording.
    pub restarts: u64,
    /// How often a counter went back: restarts, a module loaded again, a machine booted.
    pub resets: u64,
    /// How often one of the kernel's did, which begin again without ctpulse.
    #[serde(skip)]
    pub kernel_resets: u64,
    /// The time of the first of these rows.
    pub first_reset_ns: Option<i64>,
    /// How often rows went on at an earlier time, beyond what the reordering window evens out.
    pub backwards: u64,
}

/// A time without rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gap {
    /// The row before it.
    pub from_ns: i64,
    /// The row after it.
    pub to_ns: i64,
    /// Whether ctpulse was started again at its end.
    pub restart: bool,
}

/// The samples and rows that ctpulse itself reported as missed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Losses {
    /// Sampling ticks left out.
    pub samples_missed: Option<f64>,
    /// Emissions that found no room.
    pub rows_lost: Option<f64>,
}

/// The counters of one CPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cpu {
    /// Its number.
    pub cpu: usize,
    /// Packets lost on it: `drop` and `chaintoolong`.
    pub lost: f64,
    /// Entries inserted on it.
    pub inserted: f64,
}

/// A number before and after a change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// In the first recording.
    pub before: Option<f64>,
    /// In the second.
    pub after: Option<f64>,
    /// After divided by before; absent where one is not known or before is 0.
    pub ratio: Option<f64>,
}
