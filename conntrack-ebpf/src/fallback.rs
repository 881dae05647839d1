//! Insertions on kernels that have no `__nf_conntrack_hash_insert`: it is static, and a compiler
//! may put it into its callers (as Google's COS has it).
//!
//! What packets insert is then seen at `__nf_conntrack_insert_prepare`, or else at the return
//! of `__nf_conntrack_confirm`; what ctnetlink and BPF insert at the return of
//! `nf_conntrack_hash_check_insert`.

use aya_ebpf::macros::{kprobe, kretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use conntrack_ebpf::Event;

use crate::calls::{recall, remember};
use crate::kernel::{CONFIRMED, NAT_CLASH, connection_of_packet, status};
use crate::namespace::{count_of_connection, count_unknown};

/// `IP_CT_IS_REPLY` (`include/uapi/linux/netfilter/nf_conntrack_common.h`): from here on a
/// packet's `ctinfo` is of the reply direction, which inserts nothing.
const IS_REPLY: u32 = 3;

/// `NF_ACCEPT`.
const ACCEPT: u32 = 1;

/// `static void __nf_conntrack_insert_prepare(struct nf_conn *ct)`: before every insertion by a
/// packet, and on 6.12 also before that of a clash's loser in the reply direction only.
#[kprobe]
fn insert_prepare(ctx: ProbeContext) -> u32 {
    let connection: u64 = ctx.arg(0).unwrap_or(0);
    match status(connection) {
        Some(status) if status & NAT_CLASH != 0 => 0,
        Some(_) => count_of_connection(connection, Event::Insert),
        None => count_unknown(),
    }
}

/// `int nf_conntrack_hash_check_insert(struct nf_conn *ct)`: 0, or an error.
#[kprobe]
fn check_insert(ctx: ProbeContext) -> u32 {
    remember(&ctx, ctx.arg(0).unwrap_or(0))
}

#[kretprobe]
fn check_insert_return(ctx: RetProbeContext) -> u32 {
    match recall(&ctx) {
        Some(connection) if ctx.ret::<u64>() as u32 == 0 => {
            count_of_connection(connection, Event::Insert)
        }
        Some(_) => 0,
        None => count_unknown(),
    }
}

/// `int __nf_conntrack_confirm(struct sk_buff *skb)`: accepts a packet also without inserting
/// anything (a reply, a loser that was merged into the winner), and drops it uncounted where
/// the connection was in the table already.
#[kprobe]
fn confirm(ctx: ProbeContext) -> u32 {
    let packet: u64 = ctx.arg(0).unwrap_or(0);
    let Some((connection, info)) = connection_of_packet(packet) else {
        count_unknown();
        return remember(&ctx, 0);
    };
    if info >= IS_REPLY {
        return remember(&ctx, 0);
    }
    match status(connection) {
        Some(status) if status & CONFIRMED == 0 => remember(&ctx, connection),
        Some(_) => remember(&ctx, 0),
        None => {
            count_unknown();
            remember(&ctx, 0)
        }
    }
}

#[kretprobe]
fn confirm_return(ctx: RetProbeContext) -> u32 {
    if ctx.ret::<u64>() as u32 != ACCEPT {
        return 0;
    }
    match recall(&ctx) {
        None => count_unknown(),
        Some(0) => 0,
        Some(connection) => match status(connection) {
            Some(status) if status & (CONFIRMED | NAT_CLASH) == CONFIRMED => {
                count_of_connection(connection, Event::Insert)
            }
            Some(_) => 0,
            None => count_unknown(),
        },
    }
}
