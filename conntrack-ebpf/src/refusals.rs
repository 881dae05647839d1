//! Insertions that `__nf_conntrack_confirm` refuses: attached only where drops are reported, as
//! they are a call and a return of each new connection.
//!
//! The function drops for four reasons: a lost race (counted and reported in `clash`), a chain that
//! is too long, an entry that is dying or stale, and an entry that is in the table already, which is
//! no loss. Only the state of the entry distinguishes them.

use conntrack_ebpf::{Cause, Event};

use crate::calls::{Kind, key, recall_at, remember_at};
use crate::kernel::{CONFIRMED, DYING, REPLY, connection_of_packet, is_stale, status_and_net};
use crate::latency;
use crate::namespace::{count_of_net, count_unknown};
use crate::reports::report_connection;
use crate::shape::{Entry, Return, at_entry, at_return};

/// `int __nf_conntrack_confirm(struct sk_buff *skb)`: `NF_ACCEPT`, or `NF_DROP` (0). A reply, which
/// gets here where a rule rejects the first packet, inserts nothing and is let through.
#[inline(always)]
fn begin(ctx: &impl Entry) -> u32 {
    let key = key(ctx, Kind::Insertion);
    match connection_of_packet(ctx.argument(0)) {
        Some((connection, ctinfo)) if ctinfo < REPLY => {
            remember_at(key, [connection, latency::start(connection), 0, 0])
        }
        Some(_) => remember_at(key, [0; 4]),
        None => {
            count_unknown();
            remember_at(key, [0; 4])
        }
    }
}

at_entry!(begin: insertion, insertion_fentry);

#[inline(always)]
fn end(ctx: &impl Return) -> u32 {
    let Some([connection, start, ..]) = recall_at(key(ctx, Kind::Insertion)) else {
        return count_unknown();
    };
    latency::end(start);
    // No connection in the reply direction, or where a lost race has reported its own.
    if connection == 0 || ctx.result() as u32 != 0 {
        return 0;
    }
    let Some((status, net)) = status_and_net(connection) else { return count_unknown() };
    if status & (CONFIRMED | DYING) == CONFIRMED {
        return 0;
    }
    let (event, cause) = if status & DYING != 0 || is_stale(connection) {
        (Event::InsertDying, Cause::Dying)
    } else {
        (Event::InsertRefused, Cause::LongChain)
    };
    report_connection(cause, net, connection);
    count_of_net(net, event)
}

at_return!(end: insertion_return, insertion_fexit);
