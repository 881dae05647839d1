//! A sparkline of means and peaks: in each column a bar up to the mean and a thin line from
//! there to the peak, so that a burst and a load differ.

use ratatui::layout::Rect;

use crate::live::history::PlotColumn;
use crate::tui::pen::Pen;
use crate::tui::theme::Role;

/// Draws one column of cells for each of `columns`, the last one at the right edge; `top` is
/// the value at the upper edge.
pub(super) fn candles(pen: &mut Pen<'_>, area: Rect, columns: &[PlotColumn], top: f64, bar: Role) {
    if area.height == 0 {
        return;
    }
    let skipped = columns.len().saturating_sub(usize::from(area.width));
    let eighths_high = f64::from(area.height) * 8.0;
    // A value above 0 is visible.
    let eighths = |value: f64| match value / top * eighths_high {
        e if value > 0.0 => e.round().clamp(1.0, eighths_high) as usize,
        _ => 0,
    };
    let first = area.right() - (columns.len() - skipped) as u16;
    for (x, column) in (first..).zip(&columns[skipped..]) {
        let Some(mean) = column.mean else { continue };
        let (body, reach) = (eighths(mean), eighths(column.peak.unwrap_or(mean).max(mean)));
        if reach == 0 {
            pen.glyph(x, area.bottom() - 1, pen.theme.zero(), Role::Dim);
            continue;
        }
        for row in 0..usize::from(area.height) {
            let y = area.bottom() - 1 - row as u16;
            let filled = body.saturating_sub(row * 8).min(8);
            // A line that would be shorter than half a cell is left out.
            let is_lined = reach >= body + 4 && reach >= row * 8 + 4;
            let (glyph, role) = match filled {
                // The cell of the bar's end is the bar's, unless there is but a trace of it.
                0 | 1 if is_lined => (pen.theme.wick(), Role::Wick),
                0 if row == 0 && reach > 0 => (pen.theme.eighth(reach), Role::Wick),
                0 => continue,
                _ => (pen.theme.eighth(filled), bar),
            };
            pen.glyph(x, y, glyph, role);
        }
    }
}
