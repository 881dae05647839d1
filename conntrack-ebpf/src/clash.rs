//! Races: two packets began the same connection, and only one entry can be inserted.

use aya_ebpf::macros::{kprobe, kretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use conntrack_ebpf::{Cause, Event};

use crate::calls::{Kind, around, beginning, ending, recall_at, remember, remember_at};
use crate::kernel::{connection_of_packet, net_of_connection};
use crate::namespace::{are_told_apart, count_of_net, count_unplaced};
use crate::reports::{self, report_connection};

/// `static __cold noinline int nf_ct_resolve_clash(struct sk_buff *skb, struct
/// nf_conntrack_tuple_hash *h, u32 reply_hash)`: `NF_DROP` (0) or `NF_ACCEPT` (1). At its return the
/// packet may belong to another connection, so its entry remembers the namespace.
#[kprobe]
fn resolve_clash(ctx: ProbeContext) -> u32 {
    if !are_told_apart() {
        return remember(&ctx, 0);
    }
    let loser = connection_of_packet(ctx.arg(0).unwrap_or(0));
    match loser.and_then(|(loser, _)| Some((net_of_connection(loser)?, loser))) {
        Some((net, loser)) => remember_at(beginning(&ctx, Kind::Plain), [net, loser, 0, 0]),
        None => 0,
    }
}

#[kretprobe]
fn resolve_clash_return(ctx: RetProbeContext) -> u32 {
    let accepted = ctx.ret::<u64>() as u32 != 0;
    let event = if accepted { Event::ClashResolved } else { Event::ClashDropped };
    let key = ending(&ctx, Kind::Plain);
    let Some([net, loser, ..]) = recall_at(key) else { return count_unplaced(event) };
    if !accepted
        && reports::are_wanted()
        && let Some(insertion) = around(key, Kind::Insertion, |[own, ..]| own == loser)
        && let Some([_, start, ..]) = recall_at(insertion)
    {
        // The insertion that now fails has nothing to report any more, and took its time.
        remember_at(insertion, [0, start, 0, 0]);
    }
    if !accepted {
        // The packet holds the losing connection until it is freed.
        report_connection(Cause::Clash, net, loser);
    }
    count_of_net(net, event)
}
