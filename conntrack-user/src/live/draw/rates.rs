//! The rates: for each counter where it comes from, its rate now, mean and peak of the time
//! shown, and both as candles.

use ratatui::layout::Rect;

use super::super::layout::{FROM, NAME, NUMBER, TEXT, columns};
use super::candles::candles;
use super::{skip, words};
use crate::live::app::App;
use crate::live::doubt::Doubt;
use crate::live::history::Axis;
use crate::live::namespace::{Current, Namespace, Reading};
use crate::live::series::{SERIES, Series};
use crate::schema::provenance::Origin;
use crate::text::human;
use crate::tui::pen::Pen;
use crate::tui::theme::Role;

/// Where candles are in an area: right of the text.
pub(super) fn chart(area: Rect, lines: u16) -> Rect {
    let text = (TEXT + 2).min(area.width);
    Rect { x: area.x + text, width: area.width - text, height: lines, ..area }
}

/// The time that is shown on a screen of this width.
pub(super) fn axis(width: u16, namespace: &Namespace, app: &App) -> Axis {
    let columns = columns(width);
    Axis::until(namespace.at_ns, app.zoom.span_ns(app.interval, columns), columns.into())
}

/// Draws a heading and the first `rates.0` counters with `rates.1` lines each; returns what is
/// left.
pub(super) fn draw(
    pen: &mut Pen<'_>,
    area: Rect,
    (rates, lines): (usize, u16),
    namespace: &Namespace,
    axis: &Axis,
) -> Rect {
    if area.height == 0 {
        return area;
    }
    heading(pen, area, axis);
    let mut rest = skip(area, 1);
    for series in 0..rates {
        if rest.height < lines {
            break;
        }
        rate(pen, Rect { height: lines, ..rest }, series, namespace, axis);
        rest = skip(rest, lines);
    }
    rest
}

fn heading(pen: &mut Pen<'_>, area: Rect, axis: &Axis) {
    let y = area.y;
    pen.text(area.x, y, area.right(), "Events/s", Role::Heading);
    pen.text(area.x + NAME + 1, y, area.right(), "from", Role::Dim);
    let mut end = area.x + NAME + FROM;
    for name in ["now", "mean", "peak"] {
        end += NUMBER;
        if end <= area.right() {
            pen.right(end, y, NUMBER, name, Role::Dim);
        }
    }
    let (all, each) = (human::short_duration(axis.seconds()), axis.span_ns as f64 / 1e9);
    let text = format!("{all}, {} a column", human::short_duration(each));
    pen.heading(end + 2, y, area.right(), &text);
}

fn rate(pen: &mut Pen<'_>, area: Rect, series: usize, namespace: &Namespace, axis: &Axis) {
    let shown = &SERIES[series];
    let current = &namespace.current[series];
    let alarm = shown.live.alarm.filter(|_| namespace.is_happening(series));
    let is_uncounted = matches!(current.now, Reading::NotCounted | Reading::PerhapsNotCounted);
    // Zeros of rows that did not show yet that it is not counted are no rates.
    let known = Some(()).filter(|()| !is_uncounted);
    let known = known.map(|()| namespace.history.summary(series, axis.start_ns()));
    let known = known.unwrap_or_default();
    let is_counted = !is_uncounted && current.now != Reading::Absent;
    let name = if is_counted { Role::Plain } else { Role::Dim };
    let x = pen.text(area.x, area.y, area.x + NAME, shown.field.name, name);
    let alone = area.height == 1;
    if let Some(alarm) = alarm.filter(|_| alone) {
        pen.text(x + 1, area.y, area.x + NAME + FROM, alarm, Role::Alarm);
    } else {
        pen.text(area.x + NAME + 1, area.y, area.right(), origin(current), Role::Dim);
    }
    let now = match current.now {
        Reading::Rate(now) => Some(now),
        _ => None,
    };
    let mut end = area.x + NAME + FROM;
    let peak = known.few.map(|few| words::few(few, namespace.sample_seconds));
    let peak = peak.unwrap_or_else(|| words::rate(known.peak, 6));
    let numbers =
        [(now, words::rate(now, 6)), (known.mean, words::rate(known.mean, 6)), (known.peak, peak)];
    for (value, text) in numbers {
        end += NUMBER;
        let role = match value {
            Some(value) if value > 0.0 && shown.live.alarm.is_some() => Role::Alarm,
            Some(value) if value > 0.0 => Role::Plain,
            _ => Role::Dim,
        };
        if end <= area.right() {
            pen.right(end, area.y, NUMBER - 1, &text, role);
        }
    }
    if !alone {
        let mut x = area.x + 1;
        if let Some(alarm) = alarm {
            x = pen.text(x, area.y + 1, area.right(), alarm, Role::Alarm) + 1;
        }
        let meaning = meaning(series, current, known.doubt);
        pen.text(x, area.y + 1, area.x + TEXT, meaning, Role::Dim);
        let columns = namespace.history.columns(series, axis);
        let top = columns.iter().filter_map(|column| column.peak).fold(0.0, f64::max);
        let bar = if shown.live.alarm.is_some() { Role::Alarm } else { Role::Bar };
        // A line between two counters' pictures keeps them apart.
        let lines = if area.height > 2 { area.height - 1 } else { area.height };
        candles(pen, chart(area, lines), &columns, top, bar);
    }
}

fn origin(current: &Current) -> &'static str {
    match (current.origin, current.now) {
        (_, Reading::NotCounted) => "none",
        (Some(origin), _) => origin.word(),
        (None, _) => "",
    }
}

/// Returns the counter's meaning, or the reason why its numbers are not known. `doubt` is about a part
/// of the time that is shown.
fn meaning(series: usize, current: &Current, doubt: Option<Doubt>) -> &'static str {
    let Series { field, live } = SERIES[series];
    match (current.now, current.origin, field.part) {
        (Reading::NotCounted, ..) if field.event.is_some() => {
            "not counted here; probes may (--ebpf)"
        }
        (Reading::NotCounted, ..) => "this kernel does not count it",
        (Reading::PerhapsNotCounted, ..) => "not counted, as far as the rows show",
        (Reading::Absent, ..) => "unknown: not in the rows",
        (Reading::Doubtful(doubt), ..) => doubt.reason(),
        _ if doubt.is_some() => doubt.map_or("", Doubt::reason_of_a_part),
        (_, Some(Origin::Part), Some(part)) => part.live,
        _ => live.meaning,
    }
}
