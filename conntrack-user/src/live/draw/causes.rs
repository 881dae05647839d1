//! Why packets were dropped.

use ratatui::layout::Rect;

use super::{skip, words};
use crate::live::namespace::{Namespace, Reading};
use crate::live::series::{ALL, CAUSE_INDICES, DROP, SERIES};
use crate::schema::field::LiveGroup;
use crate::tui::pen::Pen;
use crate::tui::theme::Role;

const RATE: u16 = 8;
const TOTAL: u16 = 9;

/// Draws as many causes as there is room for, those that drop the most first.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, namespace: &Namespace) {
    if area.height == 0 {
        return;
    }
    let rate_end = area.right() - TOTAL;
    let name_end = rate_end - RATE;
    pen.heading(area.x, area.y, name_end, "Drops by cause");
    pen.right(rate_end, area.y, RATE, "now/s", Role::Dim);
    pen.right(area.right(), area.y, TOTAL, "in all", Role::Dim);
    let rest = skip(area, 1);
    let current = |series: usize| &namespace.current[series];
    let mut causes: Vec<usize> = CAUSE_INDICES.collect();
    let unknown = |series: &usize| current(*series).since_start.is_none();
    let events = |series: &usize| current(*series).in_all().unwrap_or(-1.0);
    causes.sort_by(|a, b| events(b).total_cmp(&events(a)));
    if causes.iter().all(unknown) {
        let text = "not distinguished here: needs probes (--ebpf)";
        pen.text(rest.x, rest.y, area.right(), text, Role::Dim);
        return;
    }
    let parts = CAUSE_INDICES.end..ALL;
    for part in parts.clone().filter(|part| !unknown(part)) {
        let is_whole = |series: &usize| {
            SERIES[part].live.group == LiveGroup::PartOf(SERIES[*series].field.name)
        };
        if let Some(whole) = causes.iter().position(is_whole) {
            causes.insert(whole + 1, part);
        }
    }
    let after = rest.y + causes.len() as u16;
    for (y, series) in (rest.y..rest.bottom()).zip(causes) {
        let shown = current(series);
        let is_part = parts.contains(&series);
        let happens = matches!(shown.now, Reading::Rate(rate) if rate > 0.0);
        let role = match shown.in_all() {
            _ if happens => Role::Alarm,
            Some(events) if events > 0.0 && !is_part => Role::Plain,
            _ => Role::Dim,
        };
        let indent = if is_part { 2 } else { 0 };
        pen.text(rest.x + indent, y, name_end, SERIES[series].live.meaning, role);
        pen.right(rate_end, y, RATE - 1, &words::reading(shown.now, 7), role);
        let total = words::rate(shown.in_all(), 8);
        pen.right(area.right(), y, TOTAL - 1, &total, role);
    }
    // The sum that they explain; a long chain and a dying entry are not in it.
    if after < rest.bottom() {
        let drops = namespace.current[DROP].in_all();
        pen.text(rest.x, after, name_end, "the kernel's drop", Role::Dim);
        pen.right(area.right(), after, TOTAL - 1, &words::rate(drops, 8), Role::Dim);
    }
}
