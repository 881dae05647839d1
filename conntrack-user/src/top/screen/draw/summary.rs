//! What is said above the table: the numbers of all lines together, and what the lines are.

use ratatui::layout::Rect;

use super::super::app::{Order, TopApp};
use super::{change_text, inside, skip};
use crate::text::human;
use crate::top::key::Key;
use crate::top::look::Look;
use crate::tui::pen::Pen;
use crate::tui::theme::Role;

/// Draws up to three lines; returns the area below.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, look: &Look, app: &TopApp) -> Rect {
    let rest = totals(pen, area, look);
    let rest = properties(pen, rest, look);
    pen.foreign(rest.x, rest.y, inside(rest), &heading(look, app), Role::Heading);
    skip(rest, 1)
}

/// The number of entries, its change, and where there is room the time that the look took.
fn totals(pen: &mut Pen<'_>, area: Rect, look: &Look) -> Rect {
    let mut text = look.counted.total();
    if look.change.is_some() {
        let change = change_text(look.change, pen.theme.ascii);
        text.push_str(&format!(", net change {change}/s"));
    }
    let end = pen.text(area.x, area.y, inside(area), &text, Role::Plain);
    let took = format!("read in {}", human::duration(look.took.as_secs_f64()));
    if area.height > 0 && usize::from(area.right().saturating_sub(end)) > took.len() {
        pen.right(area.right(), area.y, area.width, &took, Role::Dim);
    }
    skip(area, 1)
}

/// The shares of the properties, shorter where there is no room.
fn properties(pen: &mut Pen<'_>, area: Rect, look: &Look) -> Rect {
    if look.counted.composition.entries == 0 {
        return area;
    }
    let mut text = look.counted.composition();
    if text.len() > area.width.into() {
        text = text.replace(" and not collected yet", "");
    }
    pen.text(area.x, area.y, inside(area), &text, Role::Plain);
    skip(area, 1)
}

/// What the lines are: their grouping, their order and the conditions.
fn heading(look: &Look, app: &TopApp) -> String {
    let selection = &look.query.selection;
    let keys: Vec<String> = selection.keys.iter().map(Key::to_string).collect();
    let order = match (app.order, look.since) {
        (Order::Entries, _) => "most entries first",
        (Order::Growth, Some(_)) => "fastest growth first",
        (Order::Growth, None) => "growth is known after the next look",
    };
    let conditions: Vec<String> = selection.conditions.iter().map(ToString::to_string).collect();
    let only = match &conditions[..] {
        [] => String::new(),
        _ => format!("; only where {}", conditions.join(",")),
    };
    let again = match look.query == app.setup.query {
        true => "",
        false if app.is_reading() => "; it is being read again",
        false => "; r reads what was chosen",
    };
    format!("By {}, {order}{only}{again}", keys.join(","))
}
