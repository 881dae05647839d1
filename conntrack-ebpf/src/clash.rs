//! Insertions that clash: two packets began the same connection, and only one entry can be inserted,
//! or NAT found no free port (`nat`).

use aya_ebpf::macros::{fexit, kprobe, kretprobe};
use aya_ebpf::programs::{FExitContext, ProbeContext, RetProbeContext};
use conntrack_ebpf::{Cause, Event};

use crate::calls::{Kind, around, key, recall_at, remember, remember_at};
use crate::kernel::{connection_of_packet, knows_types, net_of_connection};
use crate::namespace::{count_of_net, count_unplaced};
use crate::nat::found_no_port;
use crate::reports::{self, report_connection};
use crate::shape::{Entry, Return};

/// `static __cold noinline int nf_ct_resolve_clash(struct sk_buff *skb, struct
/// nf_conntrack_tuple_hash *h, u32 reply_hash)`: `NF_DROP` (0) or `NF_ACCEPT` (1).
#[kprobe]
fn resolve_clash(ctx: ProbeContext) -> u32 {
    if !knows_types() {
        return remember(&ctx, 0);
    }
    match of_packet(ctx.argument(0)) {
        Some([net, connection]) => remember_at(key(&ctx, Kind::Plain), [net, connection, 0, 0]),
        None => 0,
    }
}

#[kretprobe]
fn resolve_clash_return(ctx: RetProbeContext) -> u32 {
    let remembered = || recall_at(key(&ctx, Kind::Plain)).map(|[net, loser, ..]| [net, loser]);
    resolved(&ctx, remembered)
}

/// A packet that is dropped still belongs to the losing connection, and one that is let through to the
/// other one, which is of the same namespace.
#[fexit]
fn resolve_clash_fexit(ctx: FExitContext) -> u32 {
    resolved(&ctx, || of_packet(ctx.argument(0)))
}

/// The namespace and the address of a packet's connection.
#[inline(always)]
fn of_packet(packet: u64) -> Option<[u64; 2]> {
    let (connection, _) = connection_of_packet(packet)?;
    Some([net_of_connection(connection)?, connection])
}

/// `call` is the namespace, and where the packet is dropped the losing connection.
#[inline(always)]
fn resolved(ctx: &impl Return, call: impl Fn() -> Option<[u64; 2]>) -> u32 {
    let accepted = ctx.result() as u32 != 0;
    let Some([net, loser]) = call() else {
        return count_unplaced(if accepted { Event::ClashResolved } else { Event::ClashDropped });
    };
    if accepted {
        return count_of_net(net, Event::ClashResolved);
    }
    if reports::are_wanted()
        && let Some(insertion) =
            around(key(ctx, Kind::Plain), Kind::Insertion, |[own, ..]| own == loser)
        && let Some([_, start, ..]) = recall_at(insertion)
    {
        // The insertion that now fails has nothing to report any more, and took its time.
        remember_at(insertion, [0, start, 0, 0]);
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
