//! The help panel: keys with their effects, and lines of text.

use ratatui::layout::Rect;

use super::pen::Pen;
use super::theme::Role;

/// The column of the effects.
const EFFECT: u16 = 17;

/// Draws as many lines as there is room for: a key and its effect, or a text without a key.
pub(crate) fn draw<'a>(
    pen: &mut Pen<'_>,
    area: Rect,
    lines: impl Iterator<Item = (&'a str, &'a str)>,
) {
    for (y, (key, text)) in (area.y..area.bottom()).zip(lines) {
        pen.text(area.x, y, area.right(), key, Role::Heading);
        let x = if key.is_empty() { area.x } else { area.x + EFFECT };
        pen.text(x, y, area.right(), text, Role::Plain);
    }
}
