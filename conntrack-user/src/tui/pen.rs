//! What every panel writes with: text that stays inside its cell, in the theme's styles and
//! glyphs.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::theme::{Role, Theme};
use crate::text::human;
use crate::text::sanitize::shown;

/// A buffer with a theme.
pub(crate) struct Pen<'a> {
    pub(crate) buffer: &'a mut Buffer,
    pub(crate) theme: Theme,
}

impl Pen<'_> {
    /// Our own text from `x` on, cut at `end`; returns where it ends.
    pub(crate) fn text(&mut self, x: u16, y: u16, end: u16, text: &str, role: Role) -> u16 {
        let area = *self.buffer.area();
        if y >= area.bottom() || x >= end.min(area.right()) {
            return x;
        }
        let width = usize::from(end.min(area.right()) - x);
        self.buffer.set_stringn(x, y, text, width, self.theme.style(role)).0
    }

    /// One of the theme's glyphs in one cell.
    pub(crate) fn glyph(&mut self, x: u16, y: u16, glyph: &'static str, role: Role) {
        let style = self.theme.style(role);
        if let Some(cell) = self.buffer.cell_mut((x, y)) {
            cell.set_symbol(glyph).set_style(style);
        }
    }

    /// The same glyph from `x` to before `end`.
    pub(crate) fn fill(&mut self, x: u16, y: u16, end: u16, glyph: &'static str, role: Role) {
        (x..end).for_each(|x| self.glyph(x, y, glyph, role));
    }

    /// Text from outside: only printable ASCII reaches the terminal.
    pub(crate) fn foreign(&mut self, x: u16, y: u16, end: u16, text: &str, role: Role) -> u16 {
        let safe = human::cut(&shown(text), usize::from(end.saturating_sub(x)));
        let safe = if self.theme.ascii { safe.replace('…', "~") } else { safe };
        self.text(x, y, end, &safe, role)
    }

    /// Text that ends before `end`.
    pub(crate) fn right(&mut self, end: u16, y: u16, width: u16, text: &str, role: Role) {
        let length = u16::try_from(text.chars().count()).unwrap_or(u16::MAX).min(width);
        self.text(end.saturating_sub(length), y, end, text, role);
    }

    /// A panel's name with a rule to its right; returns where the name ends.
    pub(crate) fn heading(&mut self, x: u16, y: u16, end: u16, text: &str) -> u16 {
        let after = self.text(x, y, end, text, Role::Heading);
        self.fill(after + 1, y, end, self.theme.rule(), Role::Dim);
        after
    }

    /// A horizontal bar of which the share `filled` (0 to 1) is taken.
    pub(crate) fn bar(&mut self, area: Rect, filled: f64, role: Role) {
        let taken = (filled.clamp(0.0, 1.0) * f64::from(area.width)).round() as u16;
        // A share above 0 shows a part, and a share below 1 leaves a gap.
        let taken = if filled > 0.0 { taken.max(1) } else { taken };
        let most = if filled < 1.0 { area.width.saturating_sub(1) } else { area.width };
        let end = area.x + taken.min(most);
        self.fill(area.x, area.y, end, self.theme.taken(), role);
        self.fill(end, area.y, area.right(), self.theme.free(), Role::Dim);
    }
}
