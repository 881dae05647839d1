//! Counters that cost a probe or more per packet: attached with `ebpf_per_packet` only.

use conntrack_ebpf::{Cause, Event};

use crate::kernel::{
    TEMPLATE, around_hash, connection_of_packet, net_of_connection, net_of_hook, status_and_net,
};
use crate::namespace::{count_of_connection, count_of_net, count_unknown, count_unplaced};
use crate::reports::{are_wanted, report_connection};
use crate::shape::{Entry, Return, at_entry, at_return, of_call};

/// `IP_CT_UNTRACKED`: the packet is exempt.
const UNTRACKED: u32 = 7;

/// `unsigned int nf_conntrack_in(struct sk_buff *skb, const struct nf_hook_state *state)`: the
/// packet may come with a connection already (5.1 on; before it had other arguments).
#[inline(always)]
fn track(ctx: &impl Entry) -> u32 {
    let Some((connection, info)) = connection_of_packet(ctx.argument(0)) else {
        return count_unknown();
    };
    if info == UNTRACKED {
        return match net_of_hook(ctx.argument(1)) {
            Some(net) => count_of_net(net, Event::Ignored),
            None => count_unplaced(Event::Ignored),
        };
    }
    if connection == 0 {
        return 0;
    }
    match status_and_net(connection) {
        Some((status, net)) if status & TEMPLATE == 0 => count_of_net(net, Event::Ignored),
        Some(_) => 0,
        None => count_unknown(),
    }
}

at_entry!(track: packet_in, packet_in_fentry);

/// `static struct nf_conntrack_tuple_hash *__nf_conntrack_find_get(struct net *net, ...)`: the
/// tuple that was found, or null (5.10 to 7.2). The tuples that NAT finds taken are counted in `nat`.
#[inline(always)]
fn searched(ctx: &impl Return) -> u32 {
    let hash = ctx.result();
    if hash == 0 {
        return 0;
    }
    match around_hash(hash) {
        Some(connection) => count_of_connection(connection, Event::Found),
        None => count_unplaced(Event::Found),
    }
}

at_return!(searched: find_return, find_fexit);

/// `int nf_conntrack_tcp_packet(struct nf_conn *ct, struct sk_buff *skb, ...)`: `NF_DROP` (0) for
/// a packet that would open a connection again while it is taken away (5.1 on).
#[inline(always)]
fn judged(ctx: &impl Return, connection: impl Fn() -> Option<u64>) -> u32 {
    if ctx.result() as u32 != 0 {
        return 0;
    }
    match connection() {
        Some(connection) => {
            if are_wanted() {
                let net = net_of_connection(connection).unwrap_or(0);
                report_connection(Cause::Tracker, net, connection);
            }
            count_of_connection(connection, Event::TrackerDropped)
        }
        None => count_unplaced(Event::TrackerDropped),
    }
}

of_call!(judged, 0: tcp_packet, tcp_packet_return, tcp_packet_fexit);
