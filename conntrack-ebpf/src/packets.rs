//! Counters that cost a probe or more per packet: attached with `ebpf_per_packet` only.

use aya_ebpf::macros::{kprobe, kretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use conntrack_ebpf::{Cause, Event};

use crate::calls::{recall, remember};
use crate::kernel::{
    TEMPLATE, around_hash, connection_of_packet, net_of_connection, net_of_hook, status_and_net,
};
use crate::namespace::{count_of_connection, count_of_net, count_unknown, count_unplaced};
use crate::reports::{are_wanted, report_connection};

/// `IP_CT_UNTRACKED`: the packet is exempt.
const UNTRACKED: u32 = 7;

/// `unsigned int nf_conntrack_in(struct sk_buff *skb, const struct nf_hook_state *state)`: the
/// packet may come with a connection already (5.1 on; before it had other arguments).
#[kprobe]
fn packet_in(ctx: ProbeContext) -> u32 {
    let Some((connection, info)) = connection_of_packet(ctx.arg(0).unwrap_or(0)) else {
        return count_unknown();
    };
    if info == UNTRACKED {
        return match net_of_hook(ctx.arg(1).unwrap_or(0)) {
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

/// `static struct nf_conntrack_tuple_hash *__nf_conntrack_find_get(struct net *net, ...)`: the
/// tuple that was found, or null (5.10 to 7.2). The tuples that NAT finds taken are counted in `nat`.
#[kretprobe]
fn find_return(ctx: RetProbeContext) -> u32 {
    let hash: u64 = ctx.ret();
    if hash == 0 {
        return 0;
    }
    match around_hash(hash) {
        Some(connection) => count_of_connection(connection, Event::Found),
        None => count_unplaced(Event::Found),
    }
}

/// `int nf_conntrack_tcp_packet(struct nf_conn *ct, struct sk_buff *skb, ...)`: `NF_DROP` (0) for
/// a packet that would open a connection again while it is taken away (5.1 on).
#[kprobe]
fn tcp_packet(ctx: ProbeContext) -> u32 {
    remember(&ctx, ctx.arg(0).unwrap_or(0))
}

#[kretprobe]
fn tcp_packet_return(ctx: RetProbeContext) -> u32 {
    if ctx.ret::<u64>() as u32 != 0 {
        return 0;
    }
    match recall(&ctx) {
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
