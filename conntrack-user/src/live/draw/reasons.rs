//! Why packets were INVALID.

use ratatui::layout::Rect;

use super::words;
use crate::live::reasons::{ReasonCount, Reasons};
use crate::tui::pen::Pen;
use crate::tui::theme::Role;

const RATE: u16 = 8;
const TOTAL: u16 = 9;

/// Draws the most frequent reasons into the lower half of an area, if there are any. Returns the rest.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, reasons: &Reasons) -> Rect {
    let counts = reasons.most_frequent();
    let height = (counts.len() as u16 + 1).min(area.height / 2);
    if counts.is_empty() || height < 2 {
        return area;
    }
    let rest = Rect { height: area.height - height, ..area };
    let rate_end = area.right() - TOTAL;
    let name_end = rate_end - RATE;
    pen.heading(area.x, rest.bottom(), name_end, "INVALID by reason");
    pen.right(rate_end, rest.bottom(), RATE, "now/s", Role::Dim);
    pen.right(area.right(), rest.bottom(), TOTAL, "in all", Role::Dim);
    for (y, count) in (rest.bottom() + 1..area.bottom()).zip(counts) {
        let ReasonCount { protocol, reason, now, in_all, .. } = count;
        let role = if now.is_some_and(|now| now > 0.0) { Role::Warning } else { Role::Plain };
        pen.foreign(area.x, y, name_end, &format!("{protocol} {reason}"), role);
        pen.right(rate_end, y, RATE - 1, &words::rate(*now, 7), role);
        pen.right(area.right(), y, TOTAL - 1, &words::rate(Some(*in_all), 8), role);
    }
    rest
}
