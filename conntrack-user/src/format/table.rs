//! The table for people: one line an emission, aligned, with a heading every 20 lines.
//!
//! An emission's table row and its `cpu=all` row make one line; below it stands a line for each
//! `cpuN` row that has rates. All columns from `new` on are events per second, so a line
//! answers the operator's question: is the table filling, and is anything being lost? A peak of a
//! few packets in one sample is no rate, and is shown as `3 pkt`. Lines are
//! at most 80 columns wide. Rows of several network namespaces get a `netns` column, and the
//! least useful columns make room for it. Where filters leave nothing that the table
//! shows, the rows are printed as `key=value` pairs. Rows of measurements with labels are left
//! out.

use anstyle::{AnsiColor, Style};

use super::prometheus_help::help;
use super::{Encoder, EncoderOptions, Number, append};
use crate::metric::{Metric, Value};
use crate::rows::labelled::labelled_measurement;
use crate::schema::field::Field;
use crate::schema::fields::{
    CHAINTOOLONG, CLASH_RESOLVE, COUNT, DROP, EARLY_DROP, ENTRIES, INSERT, INSERT_FAILED, INVALID,
    LIMIT, NEW,
};
use crate::schema::measure::Measure;
use crate::text::human;
use crate::text::sanitize::shown;

/// Lines between two headings.
const HEADING_EVERY: usize = 20;
/// Columns of the longest namespace name.
const NETNS_WIDTH: usize = 11;

/// Encodes rows as an aligned table.
#[derive(Debug)]
pub struct Table {
    colour: bool,
    subsecond: bool,
    totals: bool,
    /// A row had a `netns` tag; the column stays from then on.
    netns: bool,
    lines_to_heading: usize,
}

impl Table {
    /// Creates a table with these options.
    #[must_use]
    pub fn new(options: EncoderOptions) -> Self {
        let EncoderOptions { colour, subsecond, totals } = options;
        Self { colour, subsecond, totals, netns: false, lines_to_heading: 0 }
    }
}

impl Encoder for Table {
    fn begin_again(&mut self, _header: Option<&str>) {
        self.lines_to_heading = 0;
    }

    fn encode(&mut self, batch: &[Metric], out: &mut Vec<u8>) {
        if self.totals {
            batch.iter().for_each(|metric| totals(metric, out));
            return;
        }
        let lines = TableLine::all_of(batch);
        let (tabular, pairs): (Vec<_>, Vec<_>) = lines.into_iter().partition(TableLine::is_tabular);
        if !self.netns && tabular.iter().any(|line| line.netns().is_some()) {
            self.netns = true;
            self.lines_to_heading = 0;
        }
        if self.lines_to_heading == 0 && !tabular.is_empty() {
            self.heading(out);
            self.lines_to_heading = HEADING_EVERY;
        }
        for line in &tabular {
            self.line(line, out);
        }
        for metric in pairs.iter().flat_map(|line| line.summary.iter().chain(&line.cpus)) {
            self.pairs(metric, out);
        }
    }
}

/// One row as a list, a field a line; what is not known is left out.
fn totals(metric: &Metric, out: &mut Vec<u8>) {
    if !metric.has_values() {
        return;
    }
    append(out, format_args!("{}", shown(&metric.name)));
    for (key, value) in &metric.tags {
        append(out, format_args!(" {}={}", shown(key), shown(value)));
    }
    append(out, format_args!("\n"));
    for (key, value) in &metric.fields {
        if let Some(number) = Number::known(*value) {
            append(out, format_args!("  {:<24} {number:>20}\n", shown(key)));
        }
    }
}

/// Rows that are printed together: those of one source at one time.
struct TableLine<'a> {
    /// The table row and the `cpu=all` row, in any order; their fields have different names.
    summary: Vec<&'a Metric>,
    /// The `cpu=cpuN` rows.
    cpus: Vec<&'a Metric>,
}

impl<'a> TableLine<'a> {
    fn all_of(batch: &'a [Metric]) -> Vec<Self> {
        let mut lines: Vec<Self> = Vec::new();
        // Dozens of reasons in each emission would hide the lines.
        for metric in batch.iter().filter(|metric| labelled_measurement(metric).is_none()) {
            let of_a_cpu = metric.tag("cpu").is_some_and(|cpu| cpu != "all");
            let at = lines.iter().rposition(|line| line.takes(metric, of_a_cpu));
            let at = at.unwrap_or_else(|| {
                lines.push(Self { summary: Vec::new(), cpus: Vec::new() });
                lines.len() - 1
            });
            let line = &mut lines[at];
            if of_a_cpu { &mut line.cpus } else { &mut line.summary }.push(metric);
        }
        lines
    }

    /// Whether `metric` belongs here: same name, same tags but for `cpu`, nothing twice.
    fn takes(&self, metric: &Metric, of_a_cpu: bool) -> bool {
        let from_here = self
            .rows()
            .next()
            .is_some_and(|row| row.name == metric.name && other_tags(row).eq(other_tags(metric)));
        let repeats = if of_a_cpu {
            self.cpus.iter().any(|row| row.tag("cpu") == metric.tag("cpu"))
        } else {
            self.summary.iter().any(|row| shares_a_field(row, metric))
        };
        from_here && !repeats
    }

    fn rows(&self) -> impl Iterator<Item = &'a Metric> {
        self.summary.iter().chain(&self.cpus).copied()
    }

    fn is_tabular(&self) -> bool {
        self.rows().any(|row| has_level(row) || has_rate(row))
    }

    fn netns(&self) -> Option<&'a str> {
        self.rows().next().and_then(|row| row.tag("netns"))
    }
}

fn other_tags(metric: &Metric) -> impl Iterator<Item = (&str, &str)> {
    metric.tags.iter().filter(|(key, _)| **key != *"cpu").map(|(key, value)| (&**key, &**value))
}

fn shares_a_field(a: &Metric, b: &Metric) -> bool {
    a.fields.iter().any(|(key, _)| b.field(key).is_some())
}

/// Whether the row has a field of the columns on the table's level, even an unknown one.
fn has_level(row: &Metric) -> bool {
    [COUNT, LIMIT, ENTRIES].iter().any(|field| row.field(field.name).is_some())
}

/// Whether the row has a field of the columns with rates, even an unknown one.
fn has_rate(row: &Metric) -> bool {
    let has = |field: &Field, measure: Measure| row.field(field.of(measure)).is_some();
    has(&INSERT, Measure::Rate)
        || COLUMNS.iter().any(|column| match column.shows {
            Shows::Rate(field, _) => has(field, Measure::Rate),
            Shows::DropPeak => has(&DROP, Measure::PeakRate),
            Shows::Count | Shows::Max | Shows::Fill => false,
        })
}

/// A column of the table.
struct TableColumn {
    heading: [&'static str; 2],
    shows: Shows,
    /// Left out where there is a `netns` column.
    yields_to_netns: bool,
}

#[derive(Clone, Copy)]
enum Shows {
    Count,
    Max,
    Fill,
    /// A counter in events per second, and the colour of a rate above zero.
    Rate(&'static Field, Option<AnsiColor>),
    /// Packets per second in the busiest sample, or their number where it is below [`FEW`].
    DropPeak,
}

/// So many packets in one sample make a rate.
const FEW: f64 = 10.0;

const COLUMNS: [TableColumn; 11] = [
    column(["", "count"], Shows::Count),
    TableColumn { heading: ["", "max"], shows: Shows::Max, yields_to_netns: true },
    column(["", "fill"], Shows::Fill),
    column(["new", "/s"], Shows::Rate(&NEW, None)),
    column(["inval", "/s"], Shows::Rate(&INVALID, None)),
    column(["insrt", "fail"], Shows::Rate(&INSERT_FAILED, Some(AnsiColor::Red))),
    column(["drop", "/s"], Shows::Rate(&DROP, Some(AnsiColor::Red))),
    column(["drop", "peak"], Shows::DropPeak),
    column(["early", "drop"], Shows::Rate(&EARLY_DROP, Some(AnsiColor::Yellow))),
    TableColumn {
        heading: ["clash", "/s"],
        shows: Shows::Rate(&CLASH_RESOLVE, None),
        yields_to_netns: true,
    },
    column(["chain", "long"], Shows::Rate(&CHAINTOOLONG, Some(AnsiColor::Red))),
];

const fn column(heading: [&'static str; 2], shows: Shows) -> TableColumn {
    TableColumn { heading, shows, yields_to_netns: false }
}

/// Every column, as its heading and its meaning.
pub(super) fn described() -> Vec<(String, String)> {
    let describe = |column: &TableColumn| {
        let text = match column.shows {
            Shows::Count => COUNT.help.to_owned(),
            Shows::Max => LIMIT.help.to_owned(),
            Shows::Fill => "Entries in percent of the limit.".to_owned(),
            Shows::Rate(field, _) => help(field.of(Measure::Rate)),
            Shows::DropPeak => {
                let few = format!("fewer than {FEW} are a number of packets (`3 pkt`)");
                format!("{} In one sample; {few}.", help(DROP.of(Measure::PeakRate)))
            }
        };
        (column.heading.join(" ").trim().to_owned(), text)
    };
    let time = ("UTC".to_owned(), "Time of the last sample of the emission.".to_owned());
    let netns = ("netns".to_owned(), "Network namespace, where there are several.".to_owned());
    [time, netns].into_iter().chain(COLUMNS.iter().map(describe)).collect()
}

impl Table {
    fn columns(&self) -> impl Iterator<Item = &'static TableColumn> {
        COLUMNS.iter().filter(|column| !(self.netns && column.yields_to_netns))
    }

    fn width(&self, column: &TableColumn) -> usize {
        match column.shows {
            Shows::Count => 7,
            // Milliseconds take the room; 262,144 becomes 262k.
            Shows::Max if !self.subsecond => 7,
            Shows::Max | Shows::Fill | Shows::Rate(..) | Shows::DropPeak => 5,
        }
    }

    fn time_width(&self) -> usize {
        if self.subsecond { "00:00:00.000".len() } else { "00:00:00".len() }
    }

    fn heading(&self, out: &mut Vec<u8>) {
        let bold = if self.colour { Style::new().bold() } else { Style::new() };
        for (at, (time, netns)) in [("", ""), ("UTC", "netns")].into_iter().enumerate() {
            append(out, format_args!("{bold}{time:width$}", width = self.time_width()));
            if self.netns {
                append(out, format_args!(" {netns:NETNS_WIDTH$}"));
            }
            for column in self.columns() {
                append(out, format_args!(" {:>1$}", column.heading[at], self.width(column)));
            }
            append(out, format_args!("{bold:#}\n"));
        }
    }

    fn line(&mut self, line: &TableLine<'_>, out: &mut Vec<u8>) {
        let time = line.rows().next().map_or(0, |row| row.timestamp_ns);
        let netns = line.netns().unwrap_or_default();
        self.cells(&human::time_of_day(time, self.subsecond), netns, &line.summary, out);
        for row in line.cpus.iter().filter(|row| has_rate(row)) {
            let label = format!("  {}", row.tag("cpu").unwrap_or_default());
            let label = human::cut(&label, self.time_width());
            self.cells(&label, "", &[row], out);
        }
    }

    fn cells(&mut self, label: &str, netns: &str, rows: &[&Metric], out: &mut Vec<u8>) {
        append(out, format_args!("{label:width$}", width = self.time_width()));
        if self.netns {
            append(out, format_args!(" {:NETNS_WIDTH$}", human::cut(netns, NETNS_WIDTH)));
        }
        let is_cpu = rows.iter().any(|row| row.tag("cpu").is_some_and(|cpu| cpu != "all"));
        for column in self.columns() {
            let width = self.width(column);
            let (text, style) = match column.shows {
                // The level is the whole namespace's, and stands in the line above.
                Shows::Count | Shows::Max | Shows::Fill if is_cpu => Default::default(),
                shows => cell(shows, rows, width),
            };
            let style = if self.colour { style } else { Style::new() };
            let pad = width.saturating_sub(text.chars().count());
            append(out, format_args!(" {:pad$}{style}{text}{style:#}", ""));
        }
        out.push(b'\n');
        self.lines_to_heading = self.lines_to_heading.saturating_sub(1);
    }

    /// A row of which the table shows nothing, as a line of its own.
    fn pairs(&self, metric: &Metric, out: &mut Vec<u8>) {
        if metric.fields.is_empty() {
            return;
        }
        let time = human::time_of_day(metric.timestamp_ns, self.subsecond);
        append(out, format_args!("{time}Z {}", shown(&metric.name)));
        for (key, value) in &metric.tags {
            let (key, value) = (shown(key), shown(value));
            append(out, format_args!(" {key}={value}"));
        }
        for (key, value) in &metric.fields {
            append(out, format_args!(" {}=", shown(key)));
            match Number::known(*value) {
                Some(number) => append(out, format_args!("{number}")),
                None => out.push(b'-'),
            }
        }
        out.push(b'\n');
    }
}

/// The text and the style of one cell.
fn cell(shows: Shows, rows: &[&Metric], width: usize) -> (String, Style) {
    let plain = Style::new();
    let Some(value) = shown_value(shows, rows) else {
        return ("-".to_owned(), plain.dimmed());
    };
    let text = match shows {
        Shows::Fill => human::percent(value),
        Shows::DropPeak => match known(rows, DROP.of(Measure::PeakCount)) {
            Some(packets) if packets > 0.0 && packets < FEW => {
                format!("{:.0} pkt", packets.floor())
            }
            _ => human::number(value, width),
        },
        Shows::Count | Shows::Max | Shows::Rate(..) => human::number(value, width),
    };
    let style = match shows {
        _ if value == 0.0 => plain.dimmed(),
        Shows::Fill if value >= 90.0 => coloured(AnsiColor::Red),
        Shows::Fill if value >= 75.0 => coloured(AnsiColor::Yellow),
        Shows::Rate(_, Some(colour)) => coloured(colour),
        Shows::DropPeak => coloured(AnsiColor::Red),
        Shows::Count | Shows::Max | Shows::Fill | Shows::Rate(_, None) => plain,
    };
    (text, style)
}

fn coloured(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(colour.into()))
}

fn shown_value(shows: Shows, rows: &[&Metric]) -> Option<f64> {
    match shows {
        Shows::Count => known(rows, COUNT.name).or_else(|| known(rows, ENTRIES.name)),
        Shows::Max => known(rows, LIMIT.name),
        Shows::Fill => {
            let max = shown_value(Shows::Max, rows).filter(|max| *max > 0.0)?;
            Some(shown_value(Shows::Count, rows)? / max * 100.0).filter(|fill| fill.is_finite())
        }
        // A kernel that no longer counts `new` counts only a few of the insertions, too.
        Shows::Rate(counter, _)
            if *counter == NEW && field(rows, NEW.name) == Some(Value::NotMaintained) =>
        {
            None
        }
        Shows::Rate(counter, _)
            if *counter == NEW && field(rows, NEW.of(Measure::Rate)).is_none() =>
        {
            known(rows, INSERT.of(Measure::Rate))
        }
        Shows::Rate(counter, _) => known(rows, counter.of(Measure::Rate)),
        Shows::DropPeak => known(rows, DROP.of(Measure::PeakRate)),
    }
}

fn field(rows: &[&Metric], name: &str) -> Option<Value> {
    rows.iter().find_map(|row| row.field(name))
}

fn known(rows: &[&Metric], name: &str) -> Option<f64> {
    match Number::known(field(rows, name)?)? {
        Number::Integer(v) => Some(v as f64),
        Number::Float(v) => Some(v),
    }
}
