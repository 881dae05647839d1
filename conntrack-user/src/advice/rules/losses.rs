//! Rules about losses without a cause, and the result where there is none.

use super::super::evidence::{Host, share};
use super::commands::drops;
use super::{Evidence, FULL, Finding, SYSCTL, Severity, number, percent, within};

/// Counters of losses, and the one that is no loss and may be one behind a firewall.
const LOST: [&str; 6] =
    ["drop", "early_drop", "gc_early_drop", "create_table_full", "insert_failed", "chaintoolong"];

/// Drops without a known cause, in a table that was not seen full.
pub(super) fn undetermined(evidence: &Evidence) -> Option<Finding> {
    let dropped = evidence.undivided();
    let has_causes = evidence.counted.contains_key("drop_table_full");
    let is_full = evidence.fill().is_some_and(|fill| fill >= FULL);
    if dropped == 0.0 || (!has_causes && is_full) {
        return None;
    }
    let fill = evidence.fill().map(|fill| format!(", the table full to {} at most", percent(fill)));
    let mut remedies = vec![match &evidence.host {
        _ if has_causes => "the probes counted other causes and missed some calls".to_owned(),
        Host::WithProbes | Host::Recorded => {
            "probes tell the causes apart (root, or CAP_BPF and CAP_PERFMON; `ctpulse doctor` names \
             what is missing)"
                .to_owned()
        }
        Host::WithoutProbes(reason) => {
            format!("probes would tell the causes apart, and there are none: {reason}")
        }
    }];
    remedies.push(
        "the table may be full for moments: --sample-interval 1ms shows the most entries between \
         two rows"
            .to_owned(),
    );
    Some(Finding {
        severity: Severity::Problem,
        title: "packets are dropped, and the cause is not known".to_owned(),
        evidence: format!("{} {}{}", number(dropped), within(evidence), fill.unwrap_or_default()),
        remedies,
        see: SYSCTL,
    })
}

/// Drops of a cause that has no probe.
pub(super) fn unexplained(evidence: &Evidence) -> Option<Finding> {
    let other = evidence.count("drop_other");
    (other > 0.0).then(|| Finding {
        severity: Severity::Problem,
        title: "packets are dropped for a cause that is not told apart".to_owned(),
        evidence: format!("{} {}", number(other), within(evidence)),
        remedies: vec![drops(
            evidence,
            "--per-packet",
            "those of the TCP tracker and failed allocations",
        )],
        see: SYSCTL,
    })
}

/// Evictions that no other rule can judge, for lack of the table's size.
pub(super) fn evicted(evidence: &Evidence) -> Option<Finding> {
    let evicted = evidence.count("early_drop") + evidence.count("gc_early_drop");
    (evicted > 0.0 && evidence.fill().is_none()).then(|| Finding {
        severity: Severity::Problem,
        title: "entries are evicted, and the table's size is not known".to_owned(),
        evidence: format!("{} {}", number(evicted), within(evidence)),
        remedies: vec!["compare nf_conntrack_count with nf_conntrack_max on that host".to_owned()],
        see: SYSCTL,
    })
}

/// The finding where no rule found anything and all that it takes was measured.
pub(in super::super) fn healthy(evidence: &Evidence) -> Finding {
    let mut parts = Vec::new();
    match (evidence.peak, evidence.max, evidence.fill()) {
        (Some(peak), Some(max), Some(fill)) => parts.push(format!(
            "at most {} of {} entries ({})",
            number(peak),
            number(max),
            percent(fill)
        )),
        (Some(peak), ..) => parts.push(format!("at most {} entries", number(peak))),
        _ => {}
    }
    let counters = LOST.iter().chain(&["invalid"]);
    parts.extend(counters.filter_map(|name| {
        let count = *evidence.counted.get(*name)?;
        Some(format!("{name} {}", number(count)))
    }));
    if let Some(unreplied) = evidence.entries.and_then(|entries| share(entries, entries.unreplied))
    {
        parts.push(format!("{} of the entries unreplied", percent(unreplied)));
    }
    let mut text = format!("{}, {}", parts.join(", "), within(evidence));
    // A few of either are no finding, but no number holds for their time.
    if let Some(missed) = evidence.samples.map(|samples| samples.missed).filter(|n| *n > 0.0) {
        let missed = number(missed);
        text.push_str(&format!("; {missed} samples were missed, so peaks may have been higher"));
    }
    if let (missing @ 1.., due) = evidence.missing {
        let (missing, due) = (number(missing as f64), number(due as f64));
        text.push_str(&format!(
            "; {missing} of {due} emissions are missing, and how full the table was then"
        ));
    }
    if let Some(reason) = &evidence.entries_unread {
        text.push_str(&format!("; entries were not read, so answers are not judged: {reason}"));
    }
    Finding {
        severity: Severity::Good,
        title: "nothing is wrong".to_owned(),
        evidence: text,
        remedies: Vec::new(),
        see: SYSCTL,
    }
}
