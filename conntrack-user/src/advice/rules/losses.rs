//! Rules about losses without a cause, and the result where there is none.

use super::super::evidence::{Host, share};
use super::commands::drops;
use super::{BY_SOURCE, Evidence, FULL, Finding, SYSCTL, Severity, number, percent, within};
use crate::schema::field::Field;
use crate::schema::fields::{
    self, CHAINTOOLONG, CREATE_TABLE_FULL, DROP, DROP_CHAINTOOLONG, DROP_CLASH, DROP_DYING,
    DROP_NAT_EXHAUSTED, DROP_OTHER, DROP_TABLE_FULL, EARLY_DROP, EVENTS_MISSED, GC_EARLY_DROP,
    INSERT_FAILED, INVALID,
};

/// The counters of losses. An INVALID packet is lost where a firewall drops it.
const LOST: [Field; 7] =
    [DROP, EARLY_DROP, GC_EARLY_DROP, CREATE_TABLE_FULL, INSERT_FAILED, CHAINTOOLONG, INVALID];

/// Drops without a known cause, in a table that was not seen full.
pub(super) fn undetermined(evidence: &Evidence) -> Option<Finding> {
    let dropped = evidence.undivided();
    let has_causes = evidence.counted(&DROP_TABLE_FULL).is_some();
    let is_full = evidence.fill().is_some_and(|fill| fill >= FULL);
    if dropped == 0.0 || (!has_causes && is_full) {
        return None;
    }
    let is_full_between =
        fields::NEED_A_FULL_TABLE.iter().any(|counter| evidence.count(counter) > 0.0);
    let fill = evidence.fill().map(|fill| {
        let between =
            if fill < FULL && is_full_between { " in any sample, and full in between" } else { "" };
        format!(", the table full to {} at most{between}", percent(fill))
    });
    let mut remedies = vec![match &evidence.host {
        _ if has_causes && evidence.count(&EVENTS_MISSED) > 0.0 => {
            "the probes counted other causes and missed some calls".to_owned()
        }
        _ if has_causes => {
            "the probes counted other causes: these packets were dropped before they were attached, or \
             while ctpulse was not running"
                .to_owned()
        }
        Host::WithProbes | Host::Recorded => {
            "probes distinguish the causes (root, or CAP_BPF and CAP_PERFMON; `ctpulse doctor` names \
             what is missing)"
                .to_owned()
        }
        Host::WithoutProbes(reason) => {
            format!("probes would distinguish the causes, and there are none: {reason}")
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

/// Drops that no other rule judges, as where the counters of their causes contradict each other.
pub(in super::super) fn dropped(evidence: &Evidence) -> Option<Finding> {
    let dropped = evidence.count(&DROP);
    (dropped > 0.0).then(|| Finding {
        severity: Severity::Problem,
        title: "packets are dropped, and the counters do not show the cause".to_owned(),
        evidence: format!("{} {}", number(dropped), within(evidence)),
        remedies: vec![drops(evidence, BY_SOURCE, "the cause and the source of each drop")],
        see: SYSCTL,
    })
}

/// Drops of a cause that has no probe.
pub(super) fn unexplained(evidence: &Evidence) -> Option<Finding> {
    let other = evidence.count(&DROP_OTHER);
    (other > 0.0).then(|| Finding {
        severity: Severity::Problem,
        title: "packets are dropped for a cause that is not distinguished".to_owned(),
        evidence: format!("{} {}", number(other), within(evidence)),
        remedies: vec![drops(
            evidence,
            "--per-packet",
            "those of the TCP tracker and failed allocations",
        )],
        see: SYSCTL,
    })
}

/// Drops of the causes that no other rule judges.
pub(super) fn by_cause(evidence: &Evidence) -> Option<Finding> {
    let is_judged = |cause: &Field| {
        let clashes = [DROP_CLASH, DROP_NAT_EXHAUSTED];
        let has_rule =
            clashes.contains(cause) || [DROP_CHAINTOOLONG, DROP_DYING, DROP_OTHER].contains(cause);
        // The rule about a table that is too small needs its size.
        has_rule || *cause == DROP_TABLE_FULL && evidence.fill().is_some()
    };
    let lost = fields::causes().filter(|cause| !is_judged(cause)).filter_map(|cause| {
        let count = evidence.counted(cause).filter(|count| *count > 0.0)?;
        Some(format!("{} ({})", number(count), cause.cause?.meaning))
    });
    let lost: Vec<String> = lost.collect();
    (!lost.is_empty()).then(|| Finding {
        severity: Severity::Problem,
        title: "packets are dropped".to_owned(),
        evidence: format!("{} {}", lost.join(", "), within(evidence)),
        remedies: vec![drops(
            evidence,
            &format!("--per-packet {BY_SOURCE}"),
            "the sources of these packets",
        )],
        see: SYSCTL,
    })
}

/// Evictions that no other rule can judge, for lack of the table's size.
pub(super) fn evicted(evidence: &Evidence) -> Option<Finding> {
    let evicted = evidence.count(&EARLY_DROP) + evidence.count(&GC_EARLY_DROP);
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
    parts.extend(LOST.iter().filter_map(|field| {
        let count = evidence.counted(field)?;
        Some(format!("{} {}", field.name, number(count)))
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
