//! Rules for insertions that failed, but for races and NAT without a port: entries that were dying, and
//! failures without a known cause.

use super::super::evidence::Host;
use super::commands::drops;
use super::{BY_SOURCE, Evidence, Finding, SYSCTL, Severity, number, within};
use crate::schema::fields::{
    CLASH_RESOLVE, DROP_CLASH, DROP_DYING, DROP_NAT_EXHAUSTED, EVENTS_MISSED, INSERT_FAILED,
};

/// Telegraf's plugin reads the column `chainlength` under another name, or not at all.
pub(super) const NO_LONG_CHAINS: &str = "; chaintoolong is not in the rows, so from Linux 5.15 on some \
                                         may be insertions into hash chains that were too long";

/// Entries that are taken away between the first packet's lookup and its insertion. The probes
/// show it from 5.10 on, where neither `conntrack -F` nor `-D` can be the cause: they take away
/// entries that are in the table. Without probes it is what only `insert_failed` has.
pub(super) fn dying(evidence: &Evidence) -> Option<Finding> {
    let lost = evidence.dying();
    if lost == 0.0 {
        return None;
    }
    let mut title = "entries die before they are inserted".to_owned();
    let mut text = format!("{} packets lost {}", number(lost), within(evidence));
    if lost > evidence.count(&DROP_DYING) {
        text.push_str(
            ": insertions failed that drop does not have, and from Linux 5.10 on it has those of races \
             and of exhausted NAT ports",
        );
        if evidence.long_chains().is_none() {
            title.push_str(", or hash chains are too long");
            text.push_str(NO_LONG_CHAINS);
        }
    }
    Some(Finding {
        severity: Severity::Problem,
        title,
        evidence: text,
        remedies: vec![
            "a module of connection tracking (a helper such as nf_conntrack_ftp, NAT) is unloaded, \
             or a network namespace ends, while connections begin: keep firewall restarts from \
             unloading modules (rmmod, modprobe -r)"
                .to_owned(),
        ],
        see: "rmmod(8), modprobe(8)",
    })
}

/// Failed insertions that the probes did not see, where they leave out the entries that were dying.
pub(super) fn undetermined(evidence: &Evidence) -> Option<Finding> {
    let races = evidence.counted(&DROP_CLASH)?;
    if evidence.counted(&DROP_DYING).is_some() {
        return None;
    }
    let known = races + evidence.count(&DROP_NAT_EXHAUSTED) + evidence.dying();
    let failed = evidence.failed() - known;
    if failed <= 0.0 {
        return None;
    }
    let is_since_5_10 = evidence.counted(&CLASH_RESOLVE).is_some();
    let (severity, what) = match &evidence.host {
        _ if is_since_5_10 => (
            Severity::Problem,
            "and their packets were lost: to races, exhausted NAT ports or dying entries",
        ),
        Host::Recorded => (
            Severity::Unknown,
            "races that the kernel resolved (before 5.10), or packets lost to dying entries",
        ),
        _ => (
            Severity::Warning,
            "races that the kernel resolved (before 5.10), or packets lost to dying entries",
        ),
    };
    let mut text = format!(
        "{} of {} {} are of no cause that the probes counted: {what}",
        number(failed),
        INSERT_FAILED.name,
        within(evidence)
    );
    if evidence.count(&EVENTS_MISSED) > 0.0 {
        text.push_str("; the probes missed calls");
    }
    Some(Finding {
        severity,
        title: "insertions fail, and the cause is not known".to_owned(),
        evidence: text,
        remedies: vec![drops(evidence, BY_SOURCE, "the cause and the source of each drop")],
        see: SYSCTL,
    })
}

#[cfg(test)]
#[path = "failures_tests.rs"]
mod tests;
