//! Insertions that clash: two packets began the same connection, and only one entry can be inserted,
//! or NAT found no free port (`nat`).

use conntrack_ebpf::{Cause, Event};

use crate::calls::{Kind, around, key, recall_at, remember, remember_at};
use crate::kernel::{connection_of_packet, knows_types, net_of_connection};
use crate::namespace::{count_of_net, count_unplaced};
use crate::nat::found_no_port;
use crate::reports::{self, report_connection};
use crate::shape::{Entry, Return, at_entry, at_return};

/// `static __cold noinline int nf_ct_resolve_clash(struct sk_buff *skb, struct
/// nf_conntrack_tuple_hash *h, u32 reply_hash)`: `NF_DROP` (0) or `NF_ACCEPT` (1). At its return the
/// packet may belong to another connection, so its entry remembers the namespace.
#[inline(always)]
fn resolve(ctx: &impl Entry) -> u32 {
    if !knows_types() {
        return remember(ctx, 0);
    }
    let loser = connection_of_packet(ctx.argument(0));
    match loser.and_then(|(loser, _)| Some((net_of_connection(loser)?, loser))) {
        Some((net, loser)) => remember_at(key(ctx, Kind::Plain), [net, loser, 0, 0]),
        None => 0,
    }
}

at_entry!(resolve: resolve_clash, resolve_clash_fentry);

#[inline(always)]
fn resolved(ctx: &impl Return) -> u32 {
    let accepted = ctx.result() as u32 != 0;
    let key = key(ctx, Kind::Plain);
    let Some([net, loser, ..]) = recall_at(key) else {
        return count_unplaced(if accepted { Event::ClashResolved } else { Event::ClashDropped });
    };
    if !accepted
        && reports::are_wanted()
        && let Some(insertion) = around(key, Kind::Insertion, |[own, ..]| own == loser)
        && let Some([_, start, ..]) = recall_at(insertion)
    {
        // The insertion that now fails has nothing to report any more, and took its time.
        remember_at(insertion, [0, start, 0, 0]);
    }
    if accepted {
        return count_of_net(net, Event::ClashResolved);
    }
    // The packet holds the losing connection until it is freed.
    let (event, cause) = if found_no_port(loser) {
        (Event::NatExhausted, Cause::NatExhausted)
    } else {
        (Event::ClashDropped, Cause::Clash)
    };
    report_connection(cause, net, loser);
    count_of_net(net, event)
}

at_return!(resolved: resolve_clash_return, resolve_clash_fexit);
