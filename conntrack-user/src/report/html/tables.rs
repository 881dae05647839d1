//! The tables of the page.

use std::fmt::Write as _;

use super::super::compare::Comparison;
use super::super::labelled::LabelledReport;
use super::super::summary::{Change, Report, SourceReport};
use super::super::text::{
    COUNTED_AND_STILL, LEAST, NO_CAUSE, NOT_COUNTED, NOT_SEEN, columns, full_between,
    limit_changes, partly_counted, peak, plus, time_above, without_cause,
};
use super::{clock, escape, every};
use crate::text::human::{date, duration, number, percent};

fn item(word: &str, text: &str, out: &mut String) {
    let _ = write!(out, "<dt>{word}</dt><dd>{}</dd>", escape(text));
}

fn whole(count: f64) -> String {
    number(count, 15)
}

/// The table of the files that were read.
pub(super) fn tally(report: &Report, out: &mut String) {
    let tally = &report.recording;
    out.push_str("<dl>");
    item("read", &format!("{}: {} rows", tally.files.join(", "), whole(tally.rows as f64)), out);
    tally.unreadable.iter().for_each(|file| item("not read", file, out));
    tally.unfinished.iter().for_each(|file| item("ends within its compressed data", file, out));
    if let Some(first) = &tally.first_bad_line {
        let text = format!("{} bad lines, first {first}", whole(tally.bad_lines as f64));
        item("skipped", &text, out);
    }
    if report.other_rows > 0 {
        let text = format!("{} rows that are not conntrack's", whole(report.other_rows as f64));
        item("left out", &text, out);
    }
    out.push_str("</dl>\n");
}

/// The source in a few lines.
pub(super) fn summary(source: &SourceReport, out: &mut String) {
    out.push_str("<dl>");
    let span = duration((source.to_ns - source.from_ns) as f64 / 1e9);
    let (from, to) = (clock(source, source.from_ns), clock(source, source.to_ns));
    item("span", &format!("{} {from} to {to}, {span}", date(source.from_ns)), out);
    let emissions = whole(source.emissions as f64);
    item("interval", &format!("{}; {emissions} emissions", every(source)), out);
    if let Some(fill) = &source.fill {
        let at = |ns| clock(source, ns);
        let text = match fill.fullest {
            Some(fullest) => {
                let (entries, max) = (whole(fullest.entries), whole(fullest.max));
                let (share, at) = (percent(fullest.percent), at(fullest.at_ns));
                let between = fill.full_between.as_ref().map(full_between).unwrap_or_default();
                format!("{share}: {entries} of {max} entries at {at}{}", escape(&between))
            }
            None => {
                format!("{} entries at {}; no limit known", whole(fill.peak), at(fill.peak_at_ns))
            }
        };
        item("fullest", &text, out);
        limit_changes(fill, &at).iter().for_each(|change| item("limit", change, out));
        if let Some(above) = time_above(fill) {
            item("90 % full or more", &above, out);
        }
    }
    let losses = &source.losses;
    for (word, count) in
        [("samples missed", losses.samples_missed), ("emissions lost", losses.rows_lost)]
    {
        item(word, &count.map_or("not in these rows".to_owned(), whole), out);
    }
    for partly in &source.partly_counted {
        item("probes", &escape(&partly_counted(partly)), out);
    }
    if !source.columns.is_empty() {
        item("columns", &columns(source), out);
    }
    warnings(&source.unknown, out);
    out.push_str("</dl>\n");
}

fn start(caption: &str, heads: &[&str], out: &mut String) {
    let _ = write!(out, "<div class=\"scroll\"><table><caption>{caption}</caption><thead><tr>");
    heads.iter().for_each(|head| _ = write!(out, "<th scope=\"col\">{head}</th>"));
    out.push_str("</tr></thead><tbody>");
}

fn end(out: &mut String) {
    out.push_str("</tbody></table></div>\n");
}

/// A row; a cell that is `None` was not known.
fn row(cells: &[Option<String>], out: &mut String) {
    out.push_str("<tr>");
    for cell in cells {
        let _ = write!(out, "<td>{}</td>", escape(cell.as_deref().unwrap_or("-")));
    }
    out.push_str("</tr>");
}

fn short(value: f64) -> String {
    number(value, 9)
}

/// The counters that moved.
pub(super) fn counters(source: &SourceReport, window_seconds: f64, out: &mut String) {
    let window = duration(source.interval_seconds.unwrap_or(0.0).max(window_seconds));
    let caption = format!("Per second, averages over {window}");
    start(&caption, &["", "total", "min", "median", "p99", "max", "peak", "peak at"], out);
    if let Some(fill) = &source.fill {
        let levels = fill.entries;
        let of = |value: f64| Some(short(value));
        row(
            &[
                Some("entries".to_owned()),
                None,
                of(levels.min),
                of(levels.median),
                of(levels.p99),
                of(levels.max),
                of(fill.peak),
                Some(clock(source, fill.peak_at_ns)),
            ],
            out,
        );
    }
    for counter in &source.counters {
        let rates = counter.per_second;
        row(
            &[
                Some(counter.name.clone()),
                counter.total.map(short),
                rates.map(|rates| short(rates.min)),
                rates.map(|rates| short(rates.median)),
                rates.map(|rates| short(rates.p99)),
                rates.map(|rates| short(rates.max)),
                Some(
                    peak(counter.peak, counter.peak_few_events, source.sample_seconds)
                        + plus(counter.peak_is_least),
                ),
                counter.peak_at_ns.map(|at| clock(source, at)),
            ],
            out,
        );
    }
    end(out);
    least(source.counters.iter().any(|counter| counter.peak_is_least), out);
}

/// The worst bursts.
pub(super) fn bursts(source: &SourceReport, out: &mut String) {
    if source.bursts.is_empty() {
        return;
    }
    let heads = ["", "peak per second", "mean", "fill", "in the row that ends at", "of"];
    start("Bursts", &heads, out);
    for burst in &source.bursts {
        row(
            &[
                Some(burst.counter.clone()),
                Some(
                    peak(Some(burst.peak), burst.few_events, source.sample_seconds)
                        + plus(burst.is_least),
                ),
                Some(short(burst.mean)),
                burst.fill_percent.map(percent),
                Some(clock(source, burst.at_ns)),
                Some(duration(burst.within_seconds)),
            ],
            out,
        );
    }
    end(out);
    let has_least = source.bursts.iter().any(|burst| burst.is_least);
    least(has_least && !source.counters.iter().any(|counter| counter.peak_is_least), out);
}

/// Why packets were dropped.
pub(super) fn causes(source: &SourceReport, out: &mut String) {
    let rest = without_cause(source);
    if source.drop_causes.is_empty() && rest.is_none() {
        return;
    }
    start("Why packets were dropped", &["", "packets", "share", "because"], out);
    for cause in &source.drop_causes {
        row(
            &[
                Some(cause.field.clone()),
                Some(whole(cause.packets)),
                Some(percent(cause.percent)),
                Some(cause.meaning.to_owned()),
            ],
            out,
        );
    }
    if let Some((packets, share)) = rest {
        let cells = [NO_CAUSE.to_owned(), whole(packets), percent(share), NOT_SEEN.to_owned()];
        row(&cells.map(Some), out);
    }
    end(out);
}

/// The totals and levels of measurements with labels.
pub(super) fn labelled(source: &SourceReport, out: &mut String) {
    for LabelledReport { title, totals, levels, .. } in &source.labelled {
        let mut filled = levels.iter().filter(|each| each.max > 0.0).peekable();
        if filled.peek().is_some() {
            start(title, &["", "last", "min", "max"], out);
            for each in filled {
                let cells = [each.name(), whole(each.last), whole(each.min), whole(each.max)];
                row(&cells.map(Some), out);
            }
            end(out);
        }
        let mut counted = totals.iter().filter(|each| each.total > 0.0).peekable();
        if counted.peek().is_none() {
            continue;
        }
        start(title, &["", "total", "share"], out);
        for each in counted {
            let cells = [each.name(), whole(each.total), percent(each.percent)];
            row(&cells.map(Some), out);
        }
        end(out);
    }
}

/// Where rows are missing.
pub(super) fn gaps(source: &SourceReport, out: &mut String) {
    let gaps = &source.gaps;
    if gaps.gaps + gaps.undecided + gaps.restarts + gaps.resets + gaps.backwards == 0 {
        return;
    }
    out.push_str("<h3>Gaps</h3><dl>");
    for (word, count) in [
        ("gaps", gaps.gaps),
        ("emissions missing", gaps.missing),
        ("late rows, in front of which one may be missing", gaps.undecided),
        ("restarts", gaps.restarts),
        ("counter resets", gaps.resets),
        ("backward steps of time", gaps.backwards),
    ] {
        item(word, &whole(count as f64), out);
    }
    for gap in &gaps.longest {
        let length = duration((gap.to_ns - gap.from_ns) as f64 / 1e9);
        let why = if gap.restart { ", then a restart" } else { "" };
        item(&escape(&clock(source, gap.from_ns)), &format!("{length}{why}"), out);
    }
    out.push_str("</dl>\n");
}

/// The counters that did not move, and those of which nothing is known.
pub(super) fn unmoved(source: &SourceReport, out: &mut String) {
    for (title, names) in [(COUNTED_AND_STILL, &source.unmoved), (NOT_COUNTED, &source.not_counted)]
    {
        if !names.is_empty() {
            let names = escape(&names.join(", "));
            let _ = writeln!(out, "<p>Counters {title}: {names}.</p>");
        }
    }
}

/// Explains the mark of lower bounds, if there are any.
fn least(has_any: bool, out: &mut String) {
    if has_any {
        let _ = writeln!(out, "<p>{}.</p>", LEAST.trim_end());
    }
}

fn warnings(sentences: &[String], out: &mut String) {
    sentences.iter().for_each(|why| item("warning", why, out));
}

/// The ratios.
pub(super) fn comparison(comparison: &Comparison, out: &mut String) {
    let change = |change: Change| {
        let ratio = change.ratio.map(|ratio| format!("{}\u{d7}", number(ratio, 5)));
        [change.before.map(short), change.after.map(short), ratio]
    };
    if !comparison.warnings.is_empty() {
        out.push_str("<dl>");
        warnings(&comparison.warnings, out);
        out.push_str("</dl>\n");
    }
    for pair in &comparison.pairs {
        let tags: String = pair.tags.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        let title = escape(&(pair.name.clone() + &tags));
        let heads = [
            "",
            "mean before",
            "after",
            "ratio",
            "p99 before",
            "after",
            "ratio",
            "peak before",
            "after",
            "ratio",
        ];
        start(&format!("{title}, per second"), &heads, out);
        for counter in &pair.counters {
            let [before, after, ratio] = change(counter.peak);
            let mark = |text: Option<String>, is_least| text.map(|text| text + plus(is_least));
            let peak = [
                mark(before, counter.peak_before_is_least),
                mark(after, counter.peak_after_is_least),
                mark(ratio, counter.peak_after_is_least),
            ];
            let cells = [counter.mean, counter.p99].into_iter().flat_map(change).chain(peak);
            let name = std::iter::once(Some(counter.name.clone()));
            row(&name.chain(cells).collect::<Vec<_>>(), out);
        }
        end(out);
        least(
            pair.counters
                .iter()
                .any(|counter| counter.peak_before_is_least || counter.peak_after_is_least),
            out,
        );
        start(&title, &["", "before", "after", "ratio"], out);
        for (what, of) in &pair.others {
            let name = std::iter::once(Some((*what).to_owned()));
            row(&name.chain(change(*of)).collect::<Vec<_>>(), out);
        }
        end(out);
    }
    for (word, names) in
        [("Only before", &comparison.only_before), ("Only after", &comparison.only_after)]
    {
        names.iter().for_each(|name| _ = write!(out, "<p>{word}: {}</p>", escape(name)));
    }
}
