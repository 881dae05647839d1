//! One plot over time: for each series a line, and a shade from it up to the peaks.

use std::fmt::Write as _;

use plotters::prelude::*;

use super::super::summary::{Burst, SourceReport};
use super::{clock, escape, palette, time_labels};
use crate::text::human::{duration, number, percent};

/// Width and height of the drawing; the page scales it.
pub(super) const SIZE: (u32, u32) = (960, 230);
/// Room for the labels of the axes.
const LABELS: (u32, u32) = (24, 58);
/// Tooltips side by side, and rows of the data table.
const TIPS: usize = 160;
const TABLE_ROWS: usize = 40;
/// The share of the scale from which on a burst is marked.
const SEEN: f64 = 0.1;

/// The values of one column: the line is at `low`, the shade goes up to `high`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shade {
    pub(super) at_ns: i64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// The start of a stretch of time, and of each series the lowest and highest in it.
type PlotStretch = (i64, Vec<Option<(f64, f64)>>);

/// A plot in the making.
pub(super) struct Plot<'a> {
    title: &'static str,
    unit: &'static str,
    source: &'a SourceReport,
    series: Vec<(String, Vec<Shade>)>,
    /// Columns further apart than this are not joined: there were no rows.
    apart_ns: i64,
    bursts: Vec<&'a Burst>,
    limit: Option<f64>,
    top: f64,
}

/// The drawn SVG, and the positions of the points of the plot in it.
struct Drawn {
    svg: String,
    left: i32,
    right: i32,
    upper: i32,
    lower: i32,
}

impl<'a> Plot<'a> {
    pub(super) fn new(title: &'static str, unit: &'static str, source: &'a SourceReport) -> Self {
        let (series, bursts) = (Vec::new(), Vec::new());
        Self { title, unit, source, series, apart_ns: 0, bursts, limit: None, top: 0.0 }
    }

    /// Adds a series of columns of this width.
    pub(super) fn add(&mut self, name: &str, shades: Vec<Shade>, width_ns: i64) {
        if self.series.len() < palette::SERIES.len() && !shades.is_empty() {
            let interval = self.source.interval_seconds.unwrap_or(0.0) * 1e9;
            let apart = (interval * 1.5) as i64 + 2 * width_ns;
            self.apart_ns = self.apart_ns.max(apart);
            let highest = shades.iter().map(|shade| shade.high).fold(0.0, f64::max);
            self.top = self.top.max(highest * 1.05);
            self.series.push((name.to_owned(), shades));
        }
    }

    /// Marks bursts.
    pub(super) fn mark(&mut self, bursts: impl Iterator<Item = &'a Burst>) {
        let least = self.top * SEEN;
        // A few packets within one sample are no storm.
        let is_storm = |burst: &&Burst| burst.few_events.is_none() && burst.peak >= least;
        self.bursts.extend(bursts.filter(is_storm));
    }

    /// Draws a line at a level that is not to be reached, below the top of the scale.
    pub(super) fn limit(&mut self, level: f64, top: f64) {
        self.limit = Some(level);
        self.top = self.top.max(top);
    }

    /// The plot with its caption, legend and table; nothing if there is nothing to draw.
    pub(super) fn figure(&self) -> String {
        if self.series.is_empty() || self.source.to_ns <= self.source.from_ns {
            return String::new();
        }
        let title = self.title;
        let svg = match self.draw() {
            Ok(drawn) => self.with_tips(drawn),
            // The writer writes to memory; there is nothing that can fail.
            Err(error) => return format!("<p>{title} cannot be drawn: {}</p>", escape(&error)),
        };
        format!(
            "<figure><figcaption>{title}</figcaption>{svg}{}{}</figure>\n",
            self.legend(),
            self.table()
        )
    }

    fn seconds(&self, ns: i64) -> f64 {
        (ns - self.source.from_ns) as f64 / 1e9
    }

    fn draw(&self) -> Result<Drawn, String> {
        let mut svg = String::new();
        let span = self.seconds(self.source.to_ns);
        let top = if self.top > 0.0 { self.top } else { 1.0 };
        let (horizontal, vertical);
        {
            let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            let mut chart = ChartBuilder::on(&root)
                .margin(6)
                .margin_right(14)
                .x_label_area_size(LABELS.0)
                .y_label_area_size(LABELS.1)
                .build_cartesian_2d(0.0..span, 0.0..top)
                .map_err(|error| error.to_string())?;
            let label = ("sans-serif", 13).into_font().color(&palette::INK);
            chart
                .configure_mesh()
                .axis_style(palette::GRID)
                .bold_line_style(palette::GRID)
                .light_line_style(TRANSPARENT)
                .x_labels(time_labels(self.source))
                .y_labels(5)
                .x_label_formatter(&|x| clock(self.source, self.source.from_ns + (x * 1e9) as i64))
                .y_label_formatter(&|y| self.value(*y))
                .label_style(label)
                .draw()
                .map_err(|error| error.to_string())?;
            if let Some(level) = self.limit {
                let line = vec![(0.0, level), (span, level)];
                let style = palette::ALARM.mix(0.6).stroke_width(1);
                let _ = chart.draw_series([PathElement::new(line, style)]);
            }
            for (at, (_, shades)) in self.series.iter().enumerate().rev() {
                let colour = palette::SERIES[at];
                for run in self.runs(shades) {
                    let point = |shade: &Shade, y: f64| (self.seconds(shade.at_ns), y);
                    let upper = run.iter().map(|shade| point(shade, shade.high));
                    let lower = run.iter().rev().map(|shade| point(shade, shade.low));
                    let area: Vec<_> = upper.chain(lower).collect();
                    let _ = chart.draw_series([
                        Polygon::new(area.clone(), colour.mix(0.25).filled()).into_dyn(),
                        // A single column has no area; its outline is seen all the same.
                        PathElement::new(area, colour.mix(0.45).stroke_width(1)).into_dyn(),
                    ]);
                    let line: Vec<_> = run.iter().map(|shade| point(shade, shade.low)).collect();
                    let _ = chart.draw_series([PathElement::new(line, colour.stroke_width(2))]);
                }
            }
            for burst in &self.bursts {
                let at = (self.seconds(burst.at_ns), burst.peak.min(top));
                let mark = TriangleMarker::new(at, 6, palette::ALARM.filled());
                let _ = chart.draw_series([mark]);
            }
            (horizontal, vertical) = chart.plotting_area().get_pixel_range();
            root.present().map_err(|error| error.to_string())?;
        }
        let (left, right) = (horizontal.start, horizontal.end);
        Ok(Drawn { svg, left, right, upper: vertical.start, lower: vertical.end })
    }

    /// The columns between two gaps.
    fn runs<'b>(&self, shades: &'b [Shade]) -> impl Iterator<Item = &'b [Shade]> {
        let apart = self.apart_ns;
        shades.chunk_by(move |a, b| b.at_ns - a.at_ns <= apart)
    }

    fn value(&self, value: f64) -> String {
        if self.unit == "%" { percent(value) } else { number(value, 7) }
    }

    /// The drawing with a name for those who hear it and a tooltip on each stretch of time.
    fn with_tips(&self, drawn: Drawn) -> String {
        let Drawn { svg, left, right, upper, lower } = drawn;
        let mut tips = String::new();
        let width = f64::from(right - left);
        let bins = self.bins(TIPS);
        for (at, text) in bins.iter().enumerate() {
            let Some(text) = text else { continue };
            let x = f64::from(left) + width * at as f64 / TIPS as f64;
            let _ = write!(
                tips,
                "<rect class=\"tip\" x=\"{x:.1}\" y=\"{upper}\" width=\"{:.1}\" height=\"{}\">\
                 <title>{}</title></rect>",
                width / TIPS as f64,
                lower - upper,
                escape(text)
            );
        }
        let span = self.seconds(self.source.to_ns);
        for burst in &self.bursts {
            let x = f64::from(left) + width * self.seconds(burst.at_ns) / span;
            let y = f64::from(lower) - f64::from(lower - upper) * (burst.peak / self.top).min(1.0);
            let text = format!(
                "{}: burst of {}, {} per second at its peak",
                clock(self.source, burst.at_ns),
                burst.counter,
                number(burst.peak, 9)
            );
            let _ = write!(
                tips,
                "<circle class=\"tip burst\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"8\">\
                 <title>{}</title></circle>",
                escape(&text)
            );
        }
        finished(&svg, &self.description(), &tips)
    }

    fn description(&self) -> String {
        let names: Vec<_> = self.series.iter().map(|(name, _)| name.as_str()).collect();
        let (from, to) = (self.source.from_ns, self.source.to_ns);
        let peak = self.series.iter().flat_map(|(name, shades)| {
            shades.iter().map(move |shade| (shade.high, shade.at_ns, name))
        });
        let peak =
            peak.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(String::new(), |(high, at, of)| {
                format!(
                    "; the highest is {of} with {} about {}",
                    self.value(high),
                    clock(self.source, at)
                )
            });
        format!(
            "{} from {} to {}: {}{peak}. The table below has the numbers.",
            self.title,
            clock(self.source, from),
            clock(self.source, to),
            names.join(", ")
        )
    }

    /// The extremes of each series in `count` equal stretches of time, as text.
    fn bins(&self, count: usize) -> Vec<Option<String>> {
        let stretches = self.stretches(count);
        let text = |(at_ns, values): PlotStretch| {
            let parts = self.series.iter().zip(&values).filter_map(|((name, _), value)| {
                let (low, high) = (*value)?;
                let (low, high) = (self.value(low), self.value(high));
                Some(if low == high {
                    format!("{name} {high}")
                } else {
                    format!("{name} {low} to {high}")
                })
            });
            let parts: Vec<_> = parts.collect();
            (!parts.is_empty())
                .then(|| format!("{}: {}", clock(self.source, at_ns), parts.join(", ")))
        };
        stretches.into_iter().map(text).collect()
    }

    /// The whole time in `count` stretches of equal length.
    fn stretches(&self, count: usize) -> Vec<PlotStretch> {
        let (from, to) = (self.source.from_ns, self.source.to_ns);
        let length = ((to - from) / count as i64 + 1).max(1);
        let empty = vec![None; self.series.len()];
        let mut stretches: Vec<_> =
            (0..count).map(|at| (from + at as i64 * length, empty.clone())).collect();
        for (number, (_, shades)) in self.series.iter().enumerate() {
            for shade in shades {
                let at = ((shade.at_ns - from) / length).clamp(0, count as i64 - 1) as usize;
                let value = stretches[at].1[number].get_or_insert((shade.low, shade.high));
                *value = (value.0.min(shade.low), value.1.max(shade.high));
            }
        }
        stretches
    }

    fn legend(&self) -> String {
        let mut out = String::from("<ul class=\"legend\">");
        for (at, (name, _)) in self.series.iter().enumerate() {
            let _ = write!(out, "<li><span class=\"k{at}\">\u{25a0}</span> {}</li>", escape(name));
        }
        let what = if self.unit == "%" || self.unit == "entries" {
            "shade: lowest to highest"
        } else {
            "line: mean, shade: up to the peak of a sample"
        };
        let _ = write!(out, "<li>{what}</li>");
        if !self.bursts.is_empty() {
            out.push_str("<li><span class=\"alarm\">\u{25b2}</span> burst</li>");
        }
        out.push_str("</ul>");
        out
    }

    fn table(&self) -> String {
        let length = (self.source.to_ns - self.source.from_ns) as f64 / 1e9 / TABLE_ROWS as f64;
        let mut out = format!(
            "<details><summary>Numbers (a row each {})</summary><div class=\"scroll\"><table>\
             <thead><tr><th scope=\"col\">from</th>",
            duration(length)
        );
        for (name, _) in &self.series {
            let _ = write!(out, "<th scope=\"col\">{}</th>", escape(name));
        }
        out.push_str("</tr></thead><tbody>");
        for (at_ns, values) in self.stretches(TABLE_ROWS) {
            if values.iter().all(Option::is_none) {
                continue;
            }
            let _ = write!(out, "<tr><td>{}</td>", escape(&clock(self.source, at_ns)));
            for value in values {
                let text = value.map_or("-".to_owned(), |(low, high)| {
                    let (low, high) = (self.value(low), self.value(high));
                    if low == high { low } else { format!("{low} to {high}") }
                });
                let _ = write!(out, "<td>{}</td>", escape(&text));
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table></div></details>");
        out
    }
}

/// The SVG with a description, without a fixed size, with `more` on top.
pub(super) fn finished(svg: &str, description: &str, more: &str) -> String {
    let (width, height) = SIZE;
    let sized = format!("<svg width=\"{width}\" height=\"{height}\"");
    let described = format!("<svg role=\"img\" aria-label=\"{}\"", escape(description));
    let svg = svg.replacen(&sized, &described, 1);
    match svg.rfind("</svg>") {
        Some(end) => format!("{}{more}</svg>", &svg[..end]),
        None => svg,
    }
}
