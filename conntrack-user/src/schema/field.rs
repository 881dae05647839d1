//! The declaration of one field: the sources of its numbers, and the places where they are shown.
//!
//! Types only; the fields themselves are declared in [`super::fields`], by the constructors and
//! setters here.

use conntrack_ebpf::{Cause, Event};

use super::measure::Measure;
use super::raw::Release;

/// A field of the schema. Two fields with the same name are the same field.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The name in rows.
    pub name: &'static str,
    /// The names of its measures, by [`Measure`].
    names: [&'static str; 4],
    /// How its value moves.
    pub kind: FieldKind,
    /// One sentence that describes it: the `# HELP` text of Prometheus and the text of the manual.
    pub help: &'static str,
    /// The row that has it.
    pub row: RowKind,
    /// The name in Prometheus, without the measurement's and without `_total`.
    pub prometheus: &'static str,
    /// The position among the 17 counters of Telegraf's documentation.
    pub documented: Option<usize>,
    /// The kernel's name of the column, where the schema has another one.
    pub header: Option<&'static str>,
    /// The attribute in which ctnetlink sends it.
    pub attribute: Option<Attribute>,
    /// The first release that prints a constant 0 instead of counting.
    pub constant_from: Option<Release>,
    /// Why nothing counts it where the kernel does not, if no probe can.
    pub uncountable: Option<&'static str>,
    /// The rest of its meaning from 4.9 on, where the kernel counts only a part.
    pub part: Option<Part>,
    /// The field whose column it repeats.
    pub copy_of: Option<&'static str>,
    /// The event that the probes count for it.
    pub event: Option<Event>,
    /// The number of the sampling window that it shows.
    pub value: Option<WindowValue>,
    /// The drop cause that it counts.
    pub cause: Option<DropCause>,
    /// Its place in the live view.
    pub live: Option<LiveSeries>,
    /// The heading in the live view's table of CPUs; at most 8 characters.
    pub label: &'static str,
    /// The plot of the report that shows it, and its position there. Bursts of these counters are
    /// listed.
    pub plot: Option<(PlotGroup, usize)>,
    /// Its meaning for a single CPU, where the report follows it on each.
    pub per_cpu: Option<CpuTrack>,
    /// Whether nothing but conntrack has a field of this name.
    pub is_unmistakable: bool,
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Field {}

/// How a field's value moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// The value goes up and down. It has no rate and is never summed over CPUs.
    Gauge,
    /// Events are counted by the kernel or by probes.
    Counter,
    /// Packets are counted by the difference of both, for all CPUs together.
    DerivedDrop(DerivedDrop),
    /// The program counts what it missed or lost itself. Such a counter has no rate and is
    /// independent of the traffic.
    Own,
}

/// A drop cause that is known by subtraction only; the number is the index into arrays of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum DerivedDrop {
    /// Packets that were dropped because their entry was dying before it was inserted.
    Dying = 0,
    /// Packets in the kernel's `drop` that no other cause explains.
    Other,
}

impl DerivedDrop {
    /// Each of them, in the order of the indices.
    pub const ALL: [Self; 2] = [Self::Dying, Self::Other];
}

/// The row that has a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// A row of statistics, with the tag `cpu`.
    Statistics,
    /// The row of the table, whose fields are sysctl files.
    Table,
    /// The row about `ctpulse` itself.
    Own,
}

/// An attribute of ctnetlink, by its number in `linux/netfilter/nfnetlink_conntrack.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// `CTA_STATS_*`.
    Stats(usize),
    /// `CTA_STATS_EXP_*`.
    Expectations(usize),
}

/// A number of the sampling window, or of the table's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowValue {
    /// The number of entries at the last sample.
    Entries,
    /// The fewest entries of any sample.
    EntriesMin,
    /// The most entries of any sample.
    EntriesMax,
    /// The number of entries by the table's own row.
    Count,
    /// The limit of entries.
    Limit,
    /// The nominal time between two samples.
    SampleSeconds,
    /// Samples that were not taken.
    SamplesMissed,
    /// Emissions that found no room.
    RowsLost,
    /// Calls that the probes missed.
    EventsMissed,
}

/// The meaning of a counter of which the kernel counts only a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The part, in the words of `doctor`.
    pub doctor: &'static str,
    /// The same in the words of the live view.
    pub live: &'static str,
    /// Whether a 0 means that the traffic is not counted.
    pub zero_is_uncounted: bool,
}

/// A cause of dropped packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropCause {
    /// The cause in the words of the report.
    pub meaning: &'static str,
    /// The counters that the kernel raises for it.
    pub raises: Raises,
}

/// The kernel's counters that a dropped packet raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raises {
    /// `drop`.
    Drop,
    /// `insert_failed`.
    InsertFailed,
    /// Both of them.
    Both,
}

impl Raises {
    /// Whether the kernel raises this counter, alone or with the other.
    #[must_use]
    pub const fn includes(self, counter: Self) -> bool {
        matches!(self, Self::Both) || self as u8 == counter as u8
    }
}

/// The place of a field in the live view.
#[derive(Debug, Clone, Copy)]
pub struct LiveSeries {
    /// The group and the position in it.
    pub group: LiveGroup,
    /// A short description of the counted events.
    pub meaning: &'static str,
    /// The warning while it counts.
    pub alarm: Option<&'static str>,
}

/// A group of the live view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveGroup {
    /// The rates, by position: the first ones are there on the smallest screen.
    Rates(usize),
    /// The causes of drops, in the order of the catalog.
    Causes,
    /// A part of the cause with this name.
    PartOf(&'static str),
}

/// A plot of the report that shows several counters together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlotGroup {
    /// Packets that were lost, and entries that were refused or evicted.
    Losses,
    /// Connections that came and went.
    Connections,
}

/// The meaning of a counter for a single CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuTrack {
    /// Packets lost.
    Lost,
    /// Entries inserted.
    Inserted,
}

/// A field that the row about `ctpulse` has for each program of the event source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramField {
    /// The text after the program's name.
    pub suffix: &'static str,
    /// The name in Prometheus, where the program is a label.
    pub prometheus: &'static str,
    /// One sentence that describes it.
    pub help: &'static str,
}

/// A cause that `ctpulse drops` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedCause {
    /// The cause in the ring.
    pub cause: Cause,
    /// The cause for machines: the field's name without `drop_`, where there is one.
    pub word: &'static str,
    /// The cause for people.
    pub words: &'static str,
}

impl Field {
    const fn new(names: [&'static str; 4], kind: FieldKind, help: &'static str) -> Self {
        Self {
            name: names[0],
            names,
            kind,
            help,
            row: RowKind::Statistics,
            prometheus: names[0],
            documented: None,
            header: None,
            attribute: None,
            constant_from: None,
            uncountable: None,
            part: None,
            copy_of: None,
            event: None,
            value: None,
            cause: None,
            live: None,
            label: names[0],
            plot: None,
            per_cpu: None,
            is_unmistakable: false,
        }
    }

    /// Declares a field that goes up and down.
    pub(super) const fn gauge(names: [&'static str; 4], help: &'static str) -> Self {
        Self::new(names, FieldKind::Gauge, help)
    }

    /// Declares a counter.
    pub(super) const fn counter(names: [&'static str; 4], help: &'static str) -> Self {
        Self::new(names, FieldKind::Counter, help)
    }

    /// Declares a count of what the program itself missed or lost.
    pub(super) const fn own(names: [&'static str; 4], help: &'static str) -> Self {
        Self::new(names, FieldKind::Own, help)
    }

    /// Sets the position among Telegraf's documented counters.
    pub(super) const fn documented(self, position: usize) -> Self {
        Self { documented: Some(position), ..self }
    }

    /// Sets the kernel's name of the column.
    pub(super) const fn header(self, header: &'static str) -> Self {
        Self { header: Some(header), ..self }
    }

    /// Sets the number of `CTA_STATS_*`.
    pub(super) const fn stats(self, number: usize) -> Self {
        Self { attribute: Some(Attribute::Stats(number)), ..self }
    }

    /// Sets the number of `CTA_STATS_EXP_*`.
    pub(super) const fn expectations(self, number: usize) -> Self {
        Self { attribute: Some(Attribute::Expectations(number)), ..self }
    }

    /// Sets the first release that prints a constant 0.
    pub(super) const fn constant_from(self, major: u32, minor: u32) -> Self {
        Self { constant_from: Some((major, minor)), ..self }
    }

    /// Sets the reason why no probe counts it.
    pub(super) const fn uncountable(self, reason: &'static str) -> Self {
        Self { uncountable: Some(reason), ..self }
    }

    /// Sets what is left of its meaning from 4.9 on.
    pub(super) const fn part(self, part: Part) -> Self {
        Self { part: Some(part), ..self }
    }

    /// Sets the field whose column it repeats.
    pub(super) const fn copy_of(self, field: &Self) -> Self {
        Self { copy_of: Some(field.name), ..self }
    }

    /// Sets the event that the probes count for it.
    pub(super) const fn event(self, event: Event) -> Self {
        Self { event: Some(event), ..self }
    }

    /// Makes it the difference of kernel and probes.
    pub(super) const fn derived(self, drop: DerivedDrop) -> Self {
        Self { kind: FieldKind::DerivedDrop(drop), ..self }
    }

    /// Sets the number of the window that it shows.
    pub(super) const fn value(self, value: WindowValue) -> Self {
        Self { value: Some(value), ..self }
    }

    /// Puts it into the row of the table, and sets the name in Prometheus: the kernel's would read
    /// like a part of a histogram, or like an extreme.
    pub(super) const fn of_table(self, prometheus: &'static str) -> Self {
        Self { row: RowKind::Table, prometheus, ..self }
    }

    /// Puts it into the row about `ctpulse`.
    pub(super) const fn of_own_row(self) -> Self {
        Self { row: RowKind::Own, ..self }
    }

    /// Makes it a cause of dropped packets, in the words of the live view and of the report.
    pub(super) const fn cause(
        self,
        live: &'static str,
        meaning: &'static str,
        raises: Raises,
    ) -> Self {
        let group = LiveGroup::Causes;
        Self {
            cause: Some(DropCause { meaning, raises }),
            live: Some(LiveSeries { group, meaning: live, alarm: None }),
            ..self
        }
    }

    /// Makes it a part of a drop cause, in the words of the live view.
    pub(super) const fn part_of_cause(self, cause: &Self, meaning: &'static str) -> Self {
        let group = LiveGroup::PartOf(cause.name);
        Self { live: Some(LiveSeries { group, meaning, alarm: None }), ..self }
    }

    /// Puts it among the rates of the live view.
    pub(super) const fn live(self, position: usize, meaning: &'static str) -> Self {
        let group = LiveGroup::Rates(position);
        Self { live: Some(LiveSeries { group, meaning, alarm: None }), ..self }
    }

    /// Sets the warning that the live view shows while it counts.
    pub(super) const fn alarm(self, alarm: &'static str) -> Self {
        match self.live {
            Some(live) => Self { live: Some(LiveSeries { alarm: Some(alarm), ..live }), ..self },
            None => self,
        }
    }

    /// Sets the short heading of the live view's table of CPUs.
    pub(super) const fn label(self, label: &'static str) -> Self {
        Self { label, ..self }
    }

    /// Sets the plot of the report, and the position there.
    pub(super) const fn plot(self, plot: PlotGroup, position: usize) -> Self {
        Self { plot: Some((plot, position)), ..self }
    }

    /// Has the report follow it on each CPU.
    pub(super) const fn per_cpu(self, track: CpuTrack) -> Self {
        Self { per_cpu: Some(track), ..self }
    }

    /// Declares that nothing but conntrack has a field of this name.
    pub(super) const fn unmistakable(self) -> Self {
        Self { is_unmistakable: true, ..self }
    }

    /// Returns the name of one of its measures.
    #[must_use]
    pub const fn of(&self, measure: Measure) -> &'static str {
        self.names[measure as usize]
    }

    /// Returns the name of its column in the kernel's header.
    #[must_use]
    pub fn kernel_column(&self) -> &'static str {
        self.header.unwrap_or(self.name)
    }

    /// Whether it is a counter of Telegraf's documentation, which every row of statistics has.
    #[must_use]
    pub const fn is_documented(&self) -> bool {
        self.documented.is_some()
    }
}
