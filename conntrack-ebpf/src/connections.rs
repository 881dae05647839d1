//! The life of a connection: allocated, begun, inserted, taken off the table, destroyed, freed.
//!
//! These run once per connection, and what they cost is what the probes cost.

use aya_ebpf::macros::{kprobe, kretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use aya_log_ebpf::debug;
use conntrack_ebpf::{Cause, Event};

use crate::calls::{Kind, around, beginning, ending, recall_at, remember_at};
use crate::kernel::{
    EXPECTED, TEMPLATE, around_first_hash, is_error, is_expired, net_of_connection, status_and_net,
    zone_id,
};
use crate::namespace::{count_of_all, count_of_connection, count_of_net, count_unplaced};
use crate::reports::{self, report, report_connection};

/// `static void __nf_conntrack_hash_insert(struct nf_conn *ct, unsigned int hash, unsigned int
/// reply_hash)`: once per entry, for packets and ctnetlink alike (5.10 to 7.2).
#[kprobe]
fn hash_insert(ctx: ProbeContext) -> u32 {
    count_of_connection(ctx.arg(0).unwrap_or(0), Event::Insert)
}

/// `static struct nf_conn *__nf_conntrack_alloc(struct net *net, ...)`: a pointer, or an error
/// as a pointer (5.10 to 7.2).
#[kretprobe]
fn alloc_return(ctx: RetProbeContext) -> u32 {
    let connection: u64 = ctx.ret();
    // None where a full table has told its own.
    let call = if reports::are_wanted() { recall_at(ending(&ctx, Kind::Alloc)) } else { None };
    if is_error(connection) {
        debug!(&ctx, "an allocation failed: {}", connection as i64);
        if let Some([net, zone, tuple]) = call {
            report(Cause::NoMemory, net, zone_id(zone), tuple);
            count_of_net(net, Event::NoMemory);
        }
        return count_of_all(Event::AllocFailed);
    }
    count_of_connection(connection, Event::Alloc)
}

/// `static struct nf_conn *__nf_conntrack_alloc(struct net *net, const struct nf_conntrack_zone
/// *zone, const struct nf_conntrack_tuple *orig, ...)` (5.10 to 7.3): for the report of a failure,
/// whose tuple only the caller has.
#[kprobe]
fn alloc(ctx: ProbeContext) -> u32 {
    let [net, zone, tuple] = [0, 1, 2].map(|number| ctx.arg(number).unwrap_or(0));
    remember_at(beginning(&ctx, Kind::Alloc), [net, zone, tuple])
}

/// `void nf_conntrack_free(struct nf_conn *ct)` (5.10 to 7.2).
#[kprobe]
fn free(ctx: ProbeContext) -> u32 {
    count_of_connection(ctx.arg(0).unwrap_or(0), Event::Free)
}

/// `void nf_ct_destroy(struct nf_conntrack *nfct)` (6.1 on), `static void
/// destroy_conntrack(struct nf_conntrack *nfct)` (5.10): `nfct` is the connection's first member.
#[kprobe]
fn destroy(ctx: ProbeContext) -> u32 {
    match status_and_net(ctx.arg(0).unwrap_or(0)) {
        Some((status, _)) if status & TEMPLATE != 0 => 0,
        Some((_, net)) => count_of_net(net, Event::Delete),
        None => count_unplaced(Event::Delete),
    }
}

/// `static void __nf_ct_delete_from_lists(struct nf_conn *ct)` (6.1 on), `static void
/// nf_ct_delete_from_lists(struct nf_conn *ct)` (5.10).
#[kprobe]
fn delete_from_lists(ctx: ProbeContext) -> u32 {
    let connection: u64 = ctx.arg(0).unwrap_or(0);
    if reports::are_wanted()
        // Which `early_drop` takes away in passing, of whatever namespace. First, since most
        // entries go that way, and this is one read where the next is a look at 127 places.
        && !is_expired(connection)
        && around(beginning(&ctx, Kind::Plain), Kind::EarlyDrop).is_some()
    {
        let net = net_of_connection(connection).unwrap_or(0);
        count_of_net(net, Event::Evicted);
        report_connection(Cause::Evicted, net, connection);
    }
    count_of_connection(connection, Event::DeleteList)
}

/// `static noinline struct nf_conntrack_tuple_hash *init_conntrack(struct net *net, ...)`, under
/// the names that compilers make of it: a place inside the connection, null, or an error.
#[kretprobe]
fn init_return(ctx: RetProbeContext) -> u32 {
    let hash: u64 = ctx.ret();
    if hash == 0 || is_error(hash) {
        return 0;
    }
    match status_and_net(around_first_hash(hash)) {
        Some((status, net)) if status & EXPECTED != 0 => count_of_net(net, Event::ExpectNew),
        Some((_, net)) => count_of_net(net, Event::New),
        None => count_unplaced(Event::New),
    }
}
