//! A full table: evictions, drops, and drops that an eviction elsewhere could have avoided.

use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use aya_ebpf::macros::{fexit, kretprobe};
use aya_ebpf::programs::{FExitContext, RetProbeContext};
use aya_log_ebpf::debug;
use conntrack_ebpf::{Cause, Event};

use crate::calls::{Kind, around, key, recall_at, remember_at};
use crate::kernel::{
    ASSURED, DYING, OFFLOAD, around_hash, around_node, is_expired, net_of_connection, read, status,
    table, table_size, zone_id,
};
use crate::namespace::{are_told_apart, count_of_net, count_unplaced};
use crate::reports::{self, report};
use crate::shape::{Entry, Return, at_entry};

/// The number of buckets that the kernel itself searches before it drops (`NF_CT_EVICTION_RANGE`),
/// and the number of entries read of each.
const BUCKETS: u32 = 8;
const CHAIN: u32 = 4;

/// `static noinline int early_drop(struct net *net, unsigned int hash)`: whether something was
/// evicted (5.10 to 7.3). `nf_conntrack_alloc`, by which ctnetlink and BPF create entries, has no
/// hash and passes 0.
#[inline(always)]
fn search(ctx: &impl Entry) -> u32 {
    let key = key(ctx, Kind::EarlyDrop);
    let (net, hash) = (ctx.argument(0), u64::from(ctx.argument(1) as u32));
    let is_it =
        |[caller_net, _, _, caller_hash]: [u64; 4]| (caller_net, caller_hash) == (net, hash);
    let alloc = if reports::are_wanted() { around(key, Kind::Alloc, is_it) } else { None };
    let alloc = alloc.unwrap_or(0);
    remember_at(key, [net, hash, alloc, 0])
}

at_entry!(search: early_drop, early_drop_fentry);

#[kretprobe]
fn early_drop_return(ctx: RetProbeContext) -> u32 {
    searched(&ctx, || {
        recall_at(key(&ctx, Kind::EarlyDrop)).map(|[net, hash, alloc, _]| [net, hash, alloc])
    })
}

/// Only reports need the allocation around the call, which its entry has remembered for them.
#[fexit]
fn early_drop_fexit(ctx: FExitContext) -> u32 {
    let allocation = || recall_at(key(&ctx, Kind::EarlyDrop)).map(|[_, _, alloc, _]| alloc);
    let alloc = if reports::are_wanted() { allocation().unwrap_or(0) } else { 0 };
    searched(&ctx, || Some([ctx.argument(0), u64::from(ctx.argument(1) as u32), alloc]))
}

/// `call` is the namespace, the hash, and the key of the allocation around the call.
#[inline(always)]
fn searched(ctx: &impl Return, call: impl Fn() -> Option<[u64; 3]>) -> u32 {
    let evicted = ctx.result() as u8 != 0;
    let Some([net, hash, alloc]) = call() else {
        debug!(ctx, "the beginning of an early_drop was missed");
        return count_unplaced(if evicted { Event::EarlyDrop } else { Event::TableFull });
    };
    let (event, cause) = match (evicted, hash) {
        (true, _) => return count_of_net(net, Event::EarlyDrop),
        (false, 0) => (Event::CreateTableFull, Cause::CreateTableFull),
        (false, _) => (Event::TableFull, Cause::TableFull),
    };
    if matches!(event, Event::TableFull) && are_told_apart() && is_evictable(net).unwrap_or(false) {
        count_of_net(net, Event::TableFullEvictable);
    }
    if reports::are_wanted() {
        // Of the allocation that now fails; its own return has nothing to report any more.
        let [_, zone, tuple, _] = recall_at(alloc).unwrap_or_default();
        report(cause, net, zone_id(zone), tuple);
    }
    count_of_net(net, event)
}

/// Whether an entry of `net` that `early_drop` would have evicted stands in one of [`BUCKETS`]
/// buckets from a random place on. A yes is sure; a no is not.
#[inline(always)]
fn is_evictable(net: u64) -> Option<bool> {
    let (table, size) = (table()?, table_size()?);
    if size == 0 {
        return None;
    }
    // SAFETY: the helper has no arguments and no preconditions.
    let start = unsafe { bpf_get_prandom_u32() };
    for bucket in 0..BUCKETS {
        let bucket = (start.wrapping_add(bucket)) % size;
        let mut node: u64 = read(table + 8 * u64::from(bucket))?;
        for _ in 0..CHAIN {
            // A list of `hlist_nulls` ends with an odd number.
            if node & 1 == 1 {
                break;
            }
            let connection = around_hash(around_node(node))?;
            if status(connection)? & (ASSURED | DYING | OFFLOAD) == 0
                && net_of_connection(connection)? == net
                && !is_expired(connection)
            {
                return Some(true);
            }
            node = read(node)?;
        }
    }
    Some(false)
}
