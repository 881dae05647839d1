//! Insertions that `__nf_conntrack_confirm` refuses: attached only where drops are reported, as
//! they are a call and a return of each new connection.
//!
//! The function drops for four reasons: a lost race (counted and reported in `clash`), a chain that
//! is too long, an entry that is dying, and an entry that is in the table already, which is
//! nobody's loss. Only the entry's state tells them apart.

use aya_ebpf::macros::{kprobe, kretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use conntrack_ebpf::{Cause, Event};

use crate::calls::{beginning, ending, recall_at, remember_at};
use crate::kernel::{CONFIRMED, DYING, connection_of_packet, status_and_net};
use crate::latency;
use crate::namespace::count_of_net;
use crate::reports::{self, is_inside, report_connection};

/// Apart from the key of `fallback`, which may be attached to the same function: places on the
/// stack are multiples of 8.
const APART: u64 = 1;

/// `int __nf_conntrack_confirm(struct sk_buff *skb)`: `NF_ACCEPT`, or `NF_DROP` (0).
#[kprobe]
fn insertion(ctx: ProbeContext) -> u32 {
    match connection_of_packet(ctx.arg(0).unwrap_or(0)) {
        Some((connection, _)) => {
            let start = latency::start(connection);
            remember_at(beginning(&ctx) + APART, [connection, start, 0])
        }
        None => 0,
    }
}

#[kretprobe]
fn insertion_return(ctx: RetProbeContext) -> u32 {
    let call = recall_at(ending(&ctx) + APART);
    if let Some([_, start, _]) = call {
        latency::end(start);
    }
    if ctx.ret::<u64>() as u32 != 0 {
        return 0;
    }
    let (Some([connection, ..]), Some(memory)) = (call, reports::memory()) else { return 0 };
    // SAFETY: the element is this CPU's alone, and no program interrupts here.
    let lost_race = unsafe {
        let clash = (*memory).clash;
        (*memory).clash = 0;
        is_inside(clash, ending(&ctx))
    };
    let Some((status, net)) = status_and_net(connection) else { return 0 };
    if lost_race || status & (CONFIRMED | DYING) == CONFIRMED {
        return 0;
    }
    let (event, cause) = if status & DYING != 0 {
        (Event::InsertDying, Cause::Dying)
    } else {
        (Event::InsertRefused, Cause::LongChain)
    };
    report_connection(cause, net, connection);
    count_of_net(net, event)
}
