//! Why packets were dropped: the causes that were counted, and the drops that have none.

use super::summary::Cause;
use crate::schema::field::{Field, Raises};
use crate::schema::fields::{self, DROP};

/// The causes with their packets, the worst first, and the packets in `drop` that have none; `None`
/// where no cause is counted. `total_of` is the number of events of a counter that is counted.
pub(super) fn causes(total_of: impl Fn(&Field) -> Option<f64>) -> (Vec<Cause>, Option<f64>) {
    let counted =
        fields::causes().filter_map(|field| Some((field, field.cause?, total_of(field)?)));
    let counted: Vec<_> = counted.collect();
    // The kernel's `drop` has no packets of the others.
    let in_drop = counted.iter().filter(|(_, cause, _)| cause.raises.includes(Raises::Drop));
    let explained: f64 = in_drop.clone().map(|(.., packets)| packets).sum();
    // A copy of a counter is no sign of probes.
    let is_divided = in_drop.count() > 0;
    let rest = total_of(&DROP).filter(|_| is_divided).map(|drop| (drop - explained).max(0.0));
    let all = counted.iter().map(|(.., packets)| packets).sum::<f64>() + rest.unwrap_or(0.0);
    let moved = counted.into_iter().filter(|(.., packets)| *packets > 0.0);
    let mut causes: Vec<_> = moved
        .map(|(field, cause, packets)| Cause {
            field: field.name.to_owned(),
            meaning: cause.meaning,
            packets,
            percent: packets / all * 100.0,
        })
        .collect();
    causes.sort_by(|a, b| b.packets.total_cmp(&a.packets));
    (causes, rest)
}
