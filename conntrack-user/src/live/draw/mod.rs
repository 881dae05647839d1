//! The picture: what the app knows, drawn into a buffer of any size.
//!
//! A file for each panel; this one places them. Nothing is lost on a small screen but
//! room: what matters most comes first and is cut last. Below 80x24 there are numbers without
//! pictures, and a line with the size that is needed.

mod candles;
mod causes;
mod cpus;
mod help;
mod rates;
mod reasons;
mod table;
#[cfg(test)]
mod tests;
mod title;
mod words;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::app::{App, Panel};
use super::namespace::Namespace;
use super::series::RATES;
use crate::tui::SMALLEST;
use crate::tui::pen::Pen;
use crate::tui::theme::Role;

/// From this height on there is room for more than the smallest screen's panels.
const TALL: u16 = 34;
const VERY_TALL: u16 = 50;

/// Draws `app` into the whole of `buffer`.
pub fn draw(app: &App, buffer: &mut Buffer) {
    let area = *buffer.area();
    let mut pen = Pen { buffer, theme: app.theme };
    let is_small = area.width < SMALLEST.0 || area.height < SMALLEST.1;
    title::draw(&mut pen, line(area, 0), app);
    let mut body = Rect { y: 1, height: area.height.saturating_sub(2), ..area };
    if is_small {
        let (width, height) = SMALLEST;
        let text = format!("needs {width}x{height}, this is {}x{}", area.width, area.height);
        pen.text(0, 1, area.right(), &text, Role::Warning);
        body = Rect { y: 2, height: body.height.saturating_sub(1), ..body };
    }
    if area.height > 1 {
        title::keys(&mut pen, line(area, area.height - 1), app);
    }
    match (app.panel, app.shown().namespace()) {
        (Panel::Help, _) => help::draw(&mut pen, body, app),
        (_, None) => {
            pen.text(0, body.y, area.right(), app.waiting(), Role::Dim);
            messages(&mut pen, skip(body, 2), app);
        }
        (Panel::Cpus, Some(namespace)) => cpus::all(&mut pen, body, namespace, app),
        (Panel::Overview, Some(namespace)) if is_small => compact(&mut pen, body, namespace, app),
        (Panel::Overview, Some(namespace)) => overview(&mut pen, body, namespace, app),
    }
}

fn overview(pen: &mut Pen<'_>, body: Rect, namespace: &Namespace, app: &App) {
    let height = body.height + 2;
    let (level, rates, lines) = match height {
        VERY_TALL.. => (3, 10, 3),
        TALL.. => (2, 6, 3),
        _ => (0, 6, 2),
    };
    let axis = rates::axis(body.width, namespace, app);
    let mut rest = table::draw(pen, body, level, namespace, &axis);
    rest = rates::draw(pen, rest, (rates.min(RATES), lines), namespace, &axis);
    // At the bottom what was missed, above it messages, above them causes beside CPUs.
    let missed = Rect { y: rest.bottom() - 1, height: 1, ..rest };
    title::missed(pen, missed, namespace);
    rest.height -= 1;
    let for_messages = match rest.height {
        14.. => 5.min(rest.height - 10),
        9.. => rest.height - 7,
        _ => 0,
    };
    let below = Rect { y: rest.bottom() - for_messages, height: for_messages, ..rest };
    rest.height -= for_messages;
    if for_messages > 0 {
        messages(pen, below, app);
    } else if let Some(message) = app.messages.urgent() {
        pen.text(0, missed.y, missed.right(), &" ".repeat(missed.width.into()), Role::Plain);
        pen.foreign(0, missed.y, missed.right(), message, Role::Warning);
    }
    let half = rest.width / 2 - 1;
    causes::draw(pen, Rect { width: half, ..rest }, namespace);
    let right = Rect { x: half + 2, width: rest.width - half - 2, ..rest };
    let right = reasons::draw(pen, right, &namespace.reasons);
    cpus::summary(pen, right, namespace);
}

/// Numbers only, as many as there is room for.
fn compact(pen: &mut Pen<'_>, body: Rect, namespace: &Namespace, app: &App) {
    let axis = rates::axis(body.width, namespace, app);
    let rest = table::draw(pen, body, 0, namespace, &axis);
    let fits = usize::from(rest.height.saturating_sub(1)).min(RATES);
    rates::draw(pen, rest, (fits, 1), namespace, &axis);
}

/// The last messages, under a heading.
fn messages(pen: &mut Pen<'_>, area: Rect, app: &App) {
    if area.height == 0 {
        return;
    }
    pen.heading(area.x, area.y, area.right(), "Messages");
    let fits = usize::from(area.height) - 1;
    let first = app.messages.iter().len().saturating_sub(fits);
    for (y, message) in (area.y + 1..).zip(app.messages.iter().skip(first)) {
        let role = if message.is_warning { Role::Warning } else { Role::Plain };
        pen.foreign(area.x, y, area.right(), &message.text, role);
    }
}

/// One line of an area.
fn line(area: Rect, y: u16) -> Rect {
    Rect { y: area.y + y, height: 1.min(area.height), ..area }
}

/// Returns the area below its first `lines`.
fn skip(area: Rect, lines: u16) -> Rect {
    let lines = lines.min(area.height);
    Rect { y: area.y + lines, height: area.height - lines, ..area }
}
