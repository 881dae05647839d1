//! The table: how full it is, where it is going, how long there is room.

use ratatui::layout::Rect;

use super::candles::candles;
use super::{skip, words};
use crate::live::history::Axis;
use crate::live::namespace::Namespace;
use crate::text::human;
use crate::tui::fill::FillStep;
use crate::tui::pen::Pen;
use crate::tui::theme::Role;

/// Draws two lines, and below them `lines` of the last minutes' level; returns what is left.
pub(super) fn draw(
    pen: &mut Pen<'_>,
    area: Rect,
    lines: u16,
    namespace: &Namespace,
    axis: &Axis,
) -> Rect {
    let percent = namespace.percent();
    let fill = percent.map_or(FillStep::Room, FillStep::of);
    let role = match fill {
        FillStep::Room => Role::Plain,
        FillStep::Filling => Role::Warning,
        FillStep::AlmostFull | FillStep::Full => Role::Alarm,
    };
    if area.height == 0 {
        return area;
    }
    let number = |value: Option<f64>| words::rate(value, 13);
    let entries = format!("{} of {} entries ", number(namespace.count), number(namespace.max));
    let mut x = pen.text(area.x, area.y, area.right(), "Table  ", Role::Heading);
    x = pen.text(x, area.y, area.right(), &entries, Role::Plain);
    if let Some(percent) = percent {
        x = pen.text(x + 1, area.y, area.right(), &human::percent(percent), role);
    }
    x = pen.text(x + 1, area.y, area.right(), fill.word(), role);
    let outlook = outlook(namespace);
    let room = area.right().saturating_sub(x + 2);
    let role = match namespace.seconds_to_full() {
        Some(seconds) if seconds < 60.0 => Role::Warning,
        _ => Role::Plain,
    };
    pen.right(area.right(), area.y, room, &outlook, role);

    let mut rest = skip(area, 1);
    if rest.height == 0 {
        return rest;
    }
    let extremes = namespace.history.extremes(axis.start_ns()).map_or(String::new(), |(a, b)| {
        let shown = human::short_duration(axis.seconds());
        let (least, most) = (human::number(a, 9), human::number(b, 9));
        format!(" {least} to {most} in {shown}")
    });
    let extremes = if area.width >= 60 { extremes } else { String::new() };
    let bar = Rect { width: rest.width - extremes.len() as u16, height: 1, ..rest };
    let role = if fill == FillStep::Room { Role::Bar } else { role_of_bar(fill) };
    pen.bar(bar, percent.unwrap_or(0.0) / 100.0, role);
    pen.text(bar.right(), bar.y, area.right(), &extremes, Role::Dim);
    rest = skip(rest, 1);
    if lines > 0 && rest.height > lines {
        let columns = namespace.history.levels(axis);
        let top = columns.iter().filter_map(|column| column.peak).fold(0.0, f64::max);
        let chart = super::rates::chart(rest, lines);
        pen.text(rest.x, rest.y, chart.x, "entries, to the most of the time shown", Role::Dim);
        candles(pen, chart, &columns, top, role);
        rest = skip(rest, lines);
    }
    rest
}

fn role_of_bar(fill: FillStep) -> Role {
    if fill == FillStep::Filling { Role::Warning } else { Role::Alarm }
}

/// Where the table is going at the present rate.
fn outlook(namespace: &Namespace) -> String {
    if namespace.percent().map(FillStep::of) == Some(FillStep::Full) {
        return "no room".to_owned();
    }
    let Some(growth) = namespace.growth() else { return String::new() };
    let speed = human::number(growth.abs(), 7);
    match namespace.seconds_to_full() {
        Some(seconds) => format!("growing {speed}/s: full in {}", human::short_duration(seconds)),
        None if growth < 0.0 => format!("shrinking {speed}/s"),
        None if growth > 0.0 => format!("growing {speed}/s"),
        None => "steady".to_owned(),
    }
}
