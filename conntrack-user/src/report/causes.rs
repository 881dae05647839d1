//! Why packets were dropped: the causes that were counted, and the drops that have none.

use super::summary::Cause;
use crate::schema::field::{Field, Raises};
use crate::schema::fields::{self, DROP};
use crate::text::human::number;

/// The causes may have so many packets more than `drop`: those that were under way when a row was read.
const UNDER_WAY: f64 = 10.0;
const SHARE_UNDER_WAY: f64 = 0.02;

/// The dropped packets by their causes.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// The worst first.
    pub(super) by_cause: Vec<Cause>,
    /// The packets in `drop` that have no cause; `None` where no cause is counted.
    pub(super) without: Option<f64>,
    /// The packets of causes that `drop` does not have, if those are too many.
    pub(super) beyond: Option<f64>,
}

/// Returns the causes. `total_of` is the number of events of a counter that is counted.
pub(super) fn causes(total_of: impl Fn(&Field) -> Option<f64>) -> Causes {
    let counted =
        fields::causes().filter_map(|field| Some((field, field.cause?, total_of(field)?)));
    let counted: Vec<_> = counted.collect();
    // The kernel's `drop` has no packets of the others.
    let in_drop = counted.iter().filter(|(_, cause, _)| cause.raises.includes(Raises::Drop));
    let explained: f64 = in_drop.clone().map(|(.., packets)| packets).sum();
    // A copy of a counter is no sign of probes.
    let rest = total_of(&DROP).filter(|_| in_drop.count() > 0).map(|drop| drop - explained);
    let without = rest.map(|rest| rest.max(0.0));
    let most = UNDER_WAY + SHARE_UNDER_WAY * explained;
    let beyond = rest.map(|rest| -rest).filter(|beyond| *beyond > most);
    let all = counted.iter().map(|(.., packets)| packets).sum::<f64>() + without.unwrap_or(0.0);
    let moved = counted.into_iter().filter(|(.., packets)| *packets > 0.0);
    let mut by_cause: Vec<_> = moved
        .map(|(field, cause, packets)| Cause {
            field: field.name.to_owned(),
            meaning: cause.meaning,
            packets,
            percent: packets / all * 100.0,
        })
        .collect();
    by_cause.sort_by(|a, b| b.packets.total_cmp(&a.packets));
    Causes { by_cause, without, beyond }
}

impl Causes {
    /// The sentence about packets that no kernel dropped.
    pub(super) fn contradiction(&self) -> Option<String> {
        let beyond = number(self.beyond?, 15);
        Some(format!(
            "the causes of drops have {beyond} packets more than {}: rows of several programs have the \
             same tags, or values are damaged",
            DROP.name
        ))
    }
}
