//! The report as one page that needs nothing else: it works from a file, without a network, in
//! light and dark, on paper, and for a screen reader (every plot has its numbers in a table).
//!
//! `plot` and `heat` draw SVG, `tables` writes what is not drawn. Whatever comes from a recording
//! goes through [`escape`] or through the SVG writer, which escapes as well.

mod heat;
mod palette;
mod plot;
mod tables;

use std::fmt::Write as _;

use self::plot::{Plot, Shade};
use super::compare::Comparison;
use super::fields::of_plot;
use super::summary::{Report, SourceReport};
use super::text;
use crate::schema::field::{Field, PlotGroup};
use crate::schema::fields;
use crate::text::human::{date, duration};
use crate::text::sanitize::is_plain;

/// The style of everything but colours, which `palette` gives.
const STYLE: &str = include_str!("page.css");
/// The content security policy of the page: nothing is loaded, nothing runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// A recording's page.
#[must_use]
pub fn report(report: &Report) -> String {
    let mut body = String::new();
    recording("h2", report, &mut body);
    page("conntrack report", &body)
}

/// The page of two recordings: the ratios, then each by itself.
#[must_use]
pub fn comparison(comparison: &Comparison) -> String {
    let mut body = String::new();
    tables::comparison(comparison, &mut body);
    for (word, report) in [("Before", &comparison.before), ("After", &comparison.after)] {
        let _ = write!(body, "<h2>{word}</h2>");
        recording("h3", report, &mut body);
    }
    page("conntrack: before and after", &body)
}

fn page(title: &str, body: &str) -> String {
    let colours = palette::style();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\
         <link rel=\"icon\" href=\"data:,\"><title>{title}</title>\
         <style>\n{STYLE}{colours}</style></head>\n<body><main><h1>{title}</h1>\n{body}\
         <footer>ctpulse {version}; times are UTC</footer></main></body></html>\n",
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// Escapes text for HTML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // A browser would drop, hide or reorder the character.
            c if !is_plain(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

fn recording(heading: &str, report: &Report, out: &mut String) {
    tables::tally(report, out);
    for source in &report.sources {
        let tags: String =
            source.tags.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        let title = escape(&(source.name.clone() + &tags));
        let _ = write!(out, "<section><{heading}>{title}</{heading}>");
        tables::summary(source, out);
        plots(source, out);
        tables::counters(source, report.window_seconds, out);
        tables::bursts(source, out);
        tables::causes(source, out);
        tables::labelled(source, out);
        tables::gaps(source, out);
        tables::unmoved(source, out);
        out.push_str("</section>\n");
    }
}

/// A time of the source, with its date if that is not the first row's.
fn clock(source: &SourceReport, ns: i64) -> String {
    text::time(ns, source.from_ns, text::subsecond(source))
}

/// Returns the plots of counters that are drawn together: a title, and the counters.
fn groups() -> [(&'static str, Vec<&'static Field>); 3] {
    [
        ("Lost and refused, per second", of_plot(PlotGroup::Losses)),
        ("Causes of drops, packets per second", fields::causes().collect()),
        ("Connections, per second", of_plot(PlotGroup::Connections)),
    ]
}

fn plots(source: &SourceReport, out: &mut String) {
    let Some(drawing) = &source.drawing else { return };
    fill(source, drawing, out);
    for (title, mut fields) in groups() {
        fields.retain(|field| source.counters.iter().any(|counter| counter.name == field.name));
        let mut plot = Plot::new(title, "per second", source);
        for field in &fields {
            if let Some(timeline) = drawing.of(field.name) {
                let columns = timeline.columns().filter(|(_, rate)| rate.seconds > 0.0);
                let shades = columns.map(|(at_ns, rate)| {
                    let mean = rate.events / rate.seconds;
                    Shade { at_ns, low: mean, high: rate.peak.max(mean) }
                });
                plot.add(field.name, shades.collect(), timeline.width_ns());
            }
        }
        let is_shown = |name: &String| fields.iter().any(|field| field.name == name);
        plot.mark(source.bursts.iter().filter(|burst| is_shown(&burst.counter)));
        out.push_str(&plot.figure());
    }
    heat::map(source, "Packets lost on each CPU", &drawing.lost, out);
    heat::map(source, "Entries inserted on each CPU", &drawing.inserted, out);
}

fn fill(source: &SourceReport, drawing: &super::Drawing, out: &mut String) {
    let has_limit = source.fill.as_ref().is_some_and(|fill| fill.fullest.is_some());
    let (title, unit, name, levels) = if has_limit {
        ("Fill of the table, percent", "%", "fill", &drawing.fill)
    } else {
        ("Entries in the table", "entries", "entries", &drawing.entries)
    };
    let mut plot = Plot::new(title, unit, source);
    let shades = levels.columns().filter_map(|(at_ns, level)| {
        let (low, high) = level.0?;
        Some(Shade { at_ns, low, high })
    });
    plot.add(name, shades.collect(), levels.width_ns());
    if has_limit {
        plot.limit(90.0, 100.0);
    }
    out.push_str(&plot.figure());
}

/// How many times of the source fit below a plot: those of several days have a date.
fn time_labels(source: &SourceReport) -> usize {
    if date(source.from_ns) == date(source.to_ns) { 7 } else { 4 }
}

/// How long the source's rows are apart, in words.
fn every(source: &SourceReport) -> String {
    source.interval_seconds.map_or_else(|| "one row".to_owned(), duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_of_a_plot_has_a_colour() {
        for (title, fields) in groups() {
            assert!((1..=palette::SERIES.len()).contains(&fields.len()), "{title}");
        }
    }
}
