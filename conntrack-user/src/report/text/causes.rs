//! Why packets were dropped, and what the columns of the rows count.

use std::fmt::Write as _;

use super::super::summary::SourceReport;
use crate::text::human::{number, percent};

/// The name of drops without a cause, and the reason.
pub(in super::super) const NO_CAUSE: &str = "not known";
pub(in super::super) const NOT_SEEN: &str = "no probe was there, or it missed them";

/// The causes with their shares.
pub(super) fn causes(source: &SourceReport, out: &mut String) {
    let rest = without_cause(source);
    if source.drop_causes.is_empty() && rest.is_none() {
        return;
    }
    out.push_str("\nwhy packets were dropped\n");
    let causes = source.drop_causes.iter();
    let causes =
        causes.map(|cause| (cause.field.as_str(), cause.packets, cause.percent, cause.meaning));
    let rest = rest.map(|(packets, share)| (NO_CAUSE, packets, share, NOT_SEEN));
    for (name, packets, share, meaning) in causes.chain(rest) {
        let (packets, share) = (number(packets, 11), percent(share));
        let _ = writeln!(out, "  {name:<19} {packets:>11} {share:>6}  {meaning}");
    }
}

/// Returns the packets that were dropped without a known cause, and their share in percent.
pub(in super::super) fn without_cause(source: &SourceReport) -> Option<(f64, f64)> {
    let rest = source.drops_without_cause.filter(|rest| *rest > 0.0)?;
    let known: f64 = source.drop_causes.iter().map(|cause| cause.packets).sum();
    Some((rest, rest / (rest + known) * 100.0))
}

/// Returns a text about the columns that have other names than what they count.
pub(in super::super) fn columns(source: &SourceReport) -> String {
    let columns = source.columns.iter();
    let each = columns.map(|column| format!("{} is {}", column.written, column.meaning));
    format!("{}: the rows have the names of older kernels", each.collect::<Vec<_>>().join(", "))
}
