//! The life of a connection: allocated, begun, inserted, taken off the table, destroyed, freed.
//!
//! These programs run once per connection; nearly all the cost of the probes is here.

use aya_ebpf::macros::{fexit, kretprobe};
use aya_ebpf::programs::{FExitContext, RetProbeContext};
use aya_log_ebpf::debug;
use conntrack_ebpf::{Cause, Event};

use crate::calls::{Kind, around, key, recall_at, remember_at};
use crate::gc;
use crate::kernel::{
    CONFIRMED, EXPECTED, TEMPLATE, around_first_hash, is_error, is_expired, net_of_connection,
    status_and_net, timeout, zone_id,
};
use crate::namespace::{count_of_all, count_of_connection, count_of_net, count_unplaced};
use crate::reports::{self, report, report_connection};
use crate::shape::{Entry, Return, at_entry, at_return};

/// `static void __nf_conntrack_hash_insert(struct nf_conn *ct, unsigned int hash, unsigned int
/// reply_hash)`: once per entry, for packets and ctnetlink alike (5.10 to 7.2).
#[inline(always)]
fn inserted(ctx: &impl Entry) -> u32 {
    count_of_connection(ctx.argument(0), Event::Insert)
}

at_entry!(inserted: hash_insert, hash_insert_fentry);

/// `static struct nf_conn *__nf_conntrack_alloc(struct net *net, ...)`: a pointer, or an error
/// as a pointer (5.10 to 7.2).
#[inline(always)]
fn allocated(ctx: &impl Return) -> u32 {
    let connection = ctx.result();
    // One after the other, and not one value for both: 5.10's verifier does not follow an `Option` that
    // is kept on the stack.
    let key = key(ctx, Kind::Alloc);
    if !is_error(connection) {
        if reports::are_wanted() {
            let _ = recall_at(key);
        }
        return count_of_connection(connection, Event::Alloc);
    }
    debug!(ctx, "an allocation failed: {}", connection as i64);
    // There is no record where a full table has reported its own.
    if reports::are_wanted()
        && let Some([net, zone, tuple, _]) = recall_at(key)
    {
        report(Cause::NoMemory, net, zone_id(zone), tuple);
        count_of_net(net, Event::NoMemory);
    }
    count_of_all(Event::AllocFailed)
}

at_return!(allocated: alloc_return, alloc_fexit);

/// `static struct nf_conn *__nf_conntrack_alloc(struct net *net, const struct nf_conntrack_zone
/// *zone, const struct nf_conntrack_tuple *orig, const struct nf_conntrack_tuple *repl, gfp_t gfp,
/// u32 hash)` (5.10 to 7.3): for the report of a failure, whose tuple only the caller has. Namespace
/// and hash identify the call for `early_drop`.
#[inline(always)]
fn allocate(ctx: &impl Entry) -> u32 {
    let [net, zone, tuple] = [0, 1, 2].map(|number| ctx.argument(number));
    let hash = u64::from(ctx.argument(5) as u32);
    remember_at(key(ctx, Kind::Alloc), [net, zone, tuple, hash])
}

at_entry!(allocate: alloc, alloc_fentry);

/// `void nf_conntrack_free(struct nf_conn *ct)` (5.10 to 7.2).
#[inline(always)]
fn freed(ctx: &impl Entry) -> u32 {
    count_of_connection(ctx.argument(0), Event::Free)
}

at_entry!(freed: free, free_fentry);

/// `void nf_ct_destroy(struct nf_conntrack *nfct)` (6.1 on), `static void
/// destroy_conntrack(struct nf_conntrack *nfct)` (5.10): `nfct` is the connection's first member.
///
/// Every tracker sets the timeout of a connection when it accepts the first packet, so an entry
/// without one that was never confirmed was refused: `nf_conntrack_in` puts it away at once.
#[inline(always)]
fn destroyed(ctx: &impl Entry) -> u32 {
    let connection = ctx.argument(0);
    let Some((status, net)) = status_and_net(connection) else {
        return count_unplaced(Event::Delete);
    };
    if status & TEMPLATE != 0 {
        return 0;
    }
    let is_unconfirmed = status & (CONFIRMED | EXPECTED) == 0;
    let event = match is_unconfirmed.then(|| timeout(connection)) {
        None | Some(Some(1..)) => Event::Delete,
        Some(Some(0)) => Event::NewRefused,
        Some(None) => return count_unplaced(Event::Delete),
    };
    count_of_net(net, event)
}

at_entry!(destroyed: destroy, destroy_fentry);

/// `static void __nf_ct_delete_from_lists(struct nf_conn *ct)` (6.1 on), `static void
/// nf_ct_delete_from_lists(struct nf_conn *ct)` (5.10).
#[inline(always)]
fn taken_off(ctx: &impl Entry) -> u32 {
    let connection = ctx.argument(0);
    if reports::are_wanted()
        // First, since most entries have expired when they go, and this is one read where the next
        // searches 127 places. `early_drop` evicts in its own namespace only.
        && !is_expired(connection)
        && let net = net_of_connection(connection)
        && around(key(ctx, Kind::Plain), Kind::EarlyDrop, |[own, ..]| net == Some(own)).is_some()
    {
        evicted(connection, Event::Evicted, Cause::Evicted);
    } else if gc::is_around(ctx) && !is_expired(connection) {
        evicted(connection, Event::GcEarlyDrop, Cause::GcEarlyDrop);
    }
    count_of_connection(connection, Event::DeleteList)
}

at_entry!(taken_off: delete_from_lists, delete_from_lists_fentry);

#[inline(always)]
fn evicted(connection: u64, event: Event, cause: Cause) {
    match net_of_connection(connection) {
        Some(net) => {
            count_of_net(net, event);
            report_connection(cause, net, connection);
        }
        None => _ = count_unplaced(event),
    }
}

/// `static noinline struct nf_conntrack_tuple_hash *init_conntrack(struct net *net, ...)`, under
/// the names that compilers make of it: a place inside the connection, null, or an error.
#[kretprobe]
fn init_return(ctx: RetProbeContext) -> u32 {
    let hash: u64 = ctx.ret();
    if hash == 0 || is_error(hash) {
        return 0;
    }
    let Some((status, net)) = status_and_net(around_first_hash(hash)) else {
        return count_unplaced(Event::New);
    };
    count_of_net(net, Event::New);
    if status & EXPECTED != 0 {
        count_of_net(net, Event::ExpectNew);
    }
    0
}

/// `__nf_conntrack_alloc` as the beginning of a connection, where `init_conntrack` has no trampoline:
/// kernels have these for functions under their own names only. `init_conntrack` passes the hash of
/// the packet, and `nf_conntrack_alloc`, by which ctnetlink and BPF create entries, passes 0. A packet
/// has this hash once in 4 billion connections.
#[fexit]
fn begun_fexit(ctx: FExitContext) -> u32 {
    if is_error(ctx.result()) || ctx.argument(5) as u32 == 0 {
        return 0;
    }
    count_of_net(ctx.argument(0), Event::New)
}

/// `struct nf_conntrack_expect *nf_ct_find_expectation(struct net *net, ...)`, which only
/// `init_conntrack` calls (5.10 to 7.3): the expectation that foretold the connection, or null.
#[fexit]
fn expected_fexit(ctx: FExitContext) -> u32 {
    if ctx.result() == 0 {
        return 0;
    }
    count_of_net(ctx.argument(0), Event::ExpectNew)
}
