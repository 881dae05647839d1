//! Rules about the measurement itself: what could not be read, and what was missed.

use super::super::evidence::Samples;
use super::{Evidence, Finding, SYSCTL, Severity, number, percent, within};
use crate::schema::fields::{DROP_DYING, DROP_OTHER, EVENTS_MISSED};

/// Samples missed a second, and their share where it is known, from which on peaks are doubtful.
const MISSED_RATE: f64 = 1.0;
const MISSED_SHARE: f64 = 0.1;

/// The unknowns: data that could not be read or paired, and missing statistics.
pub(super) fn unknown(evidence: &Evidence) -> Option<Finding> {
    let mut reasons = evidence.unknown.clone();
    let has_none = evidence.seconds == 0.0 || !evidence.has_any_counter();
    if reasons.is_empty() && has_none {
        reasons.push(match evidence.seconds {
            0.0 => "there is one reading only, and no time between two".to_owned(),
            _ => "there are no statistics, so losses are not counted".to_owned(),
        });
    }
    let missing = evidence.not_in_rows();
    if evidence.has_any_counter() && !missing.is_empty() {
        let plural = if missing.len() > 1 { "they count" } else { "it counts" };
        let names = missing.join(", ");
        reasons.push(format!("no row has {names}, so nothing is known of what {plural}"));
    }
    let is_of_fill = |reason| evidence.doubts.of_fill.contains(reason);
    let title = if reasons.iter().all(is_of_fill) {
        "how full the table was is not known"
    } else {
        "some of it is unknown: losses may have gone unnoticed"
    };
    (!reasons.is_empty()).then(|| Finding {
        severity: Severity::Unknown,
        title: title.to_owned(),
        evidence: format!("{} ({})", reasons.join("; "), within(evidence)),
        remedies: Vec::new(),
        see: SYSCTL,
    })
}

/// Calls that the probes are known to have missed.
pub(super) fn probes_missed(evidence: &Evidence) -> Option<Finding> {
    let missed = evidence.count(&EVENTS_MISSED);
    (missed > 0.0).then(|| Finding {
        severity: Severity::Warning,
        title: "the probes missed calls".to_owned(),
        evidence: format!(
            "{} {}: what only probes count may be too low by as many, and {} and {} are unknown; the \
             kernel's own counters are exact",
            number(missed),
            within(evidence),
            DROP_DYING.name,
            DROP_OTHER.name
        ),
        remedies: vec![
            "other tracing programs on the same functions or CPUs make the kernel skip calls: end \
             them for the time of the measurement (`bpftool prog` lists them)"
                .to_owned(),
        ],
        see: "docs/schema.md, events_missed",
    })
}

/// Samples that were not taken: peaks may have been higher.
pub(super) fn samples_missed(evidence: &Evidence) -> Option<Finding> {
    let Samples { missed, due } = evidence.samples?;
    let share = due.filter(|due| *due > 0.0).map(|due| missed / due);
    if missed < MISSED_RATE * evidence.seconds || share.is_some_and(|share| share < MISSED_SHARE) {
        return None;
    }
    let share = share.map(|share| format!(" ({})", percent(share.min(1.0)))).unwrap_or_default();
    Some(Finding {
        severity: Severity::Warning,
        title: "samples were missed".to_owned(),
        evidence: format!(
            "{}{share} {}: the table may have been fuller and bursts higher; counters are exact",
            number(missed),
            within(evidence)
        ),
        remedies: vec!["a longer --sample-interval, or more CPU time for ctpulse".to_owned()],
        see: "docs/reliability.md",
    })
}
