//! The totals and levels of measurements with labels.

use std::fmt::Write as _;

use super::super::labelled::{LabelledLevel, LabelledReport, LabelledTotal};
use super::super::summary::SourceReport;
use crate::text::human::{number, percent};
use crate::text::sanitize::shown;

/// The most rows of one measurement.
pub(in super::super) const MOST_TOTALS: usize = 20;

/// The measurements of which something was counted.
pub(super) fn labelled(source: &SourceReport, out: &mut String) {
    for LabelledReport { title, totals, levels: gauges, .. } in &source.labelled {
        levels(title, gauges, out);
        let counted: Vec<&LabelledTotal> = totals.iter().filter(|it| it.total > 0.0).collect();
        if counted.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{title}");
        for each in counted.iter().take(MOST_TOTALS) {
            let (total, share) = (number(each.total, 11), percent(each.percent));
            let _ = writeln!(out, "  {:<31} {total:>11} {share:>6}", shown(&each.name()));
        }
        if let Some(more) = counted.len().checked_sub(MOST_TOTALS).filter(|more| *more > 0) {
            let _ = writeln!(out, "  and {more} more");
        }
    }
}

/// Gauges that were not 0 all the time.
fn levels(title: &str, levels: &[LabelledLevel], out: &mut String) {
    let filled: Vec<&LabelledLevel> = levels.iter().filter(|it| it.max > 0.0).collect();
    if filled.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{:<33} {:>11} {:>11} {:>11}", title, "last", "min", "max");
    for each in filled.iter().take(MOST_TOTALS) {
        let name = each.name();
        let [last, min, max] = [each.last, each.min, each.max].map(|value| number(value, 11));
        let _ = writeln!(out, "  {:<31} {last:>11} {min:>11} {max:>11}", shown(&name));
    }
    if let Some(more) = filled.len().checked_sub(MOST_TOTALS).filter(|more| *more > 0) {
        let _ = writeln!(out, "  and {more} more");
    }
}
