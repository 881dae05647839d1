//! The eBPF programs: one small function per hook, each adding one to a counter.
//!
//! A tracing program runs with preemption off and never inside itself on the same CPU (the
//! kernel's recursion guard), so a plain addition to the CPU's own counter is safe. Above each
//! hook stands the kernel function's prototype and the releases in which it was read.

#![no_std]
#![no_main]
#![allow(missing_docs, reason = "programs and maps are named after what they hook and hold")]
#![allow(unsafe_code, reason = "the kernel is reached through pointers only")]

mod namespace;

use aya_ebpf::macros::{kprobe, kretprobe, map};
use aya_ebpf::maps::{Array, LruHashMap};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use conntrack_ebpf::{Counters, Event};

use crate::namespace::{around_hash, count, of_connection, of_net, of_packet, status};

/// `IPS_EXPECTED` (`include/uapi/linux/netfilter/nf_conntrack_common.h`).
const EXPECTED: u32 = 1 << 0;
/// `IPS_TEMPLATE`: no connection but a pattern for some (`nf_ct_tmpl_alloc`).
const TEMPLATE: u32 = 1 << 11;

/// `BPF_F_MMAPABLE`: user space reads the counters without a system call.
const MMAPABLE: u32 = 1 << 10;

/// As many as the loader says.
#[map]
static COUNTERS: Array<Counters> = Array::with_max_entries(1, MMAPABLE);

/// From a call that is under way (its place on the stack) to its namespace's slot, for
/// functions whose return value does not name one. Only slow paths use it; calls whose return was
/// missed are displaced by later ones.
#[map]
static CALLS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(1024, 0);

/// `static void __nf_conntrack_hash_insert(struct nf_conn *ct, unsigned int hash, unsigned int
/// reply_hash)`: once per entry, for packets and ctnetlink alike (5.10 to 7.2).
#[kprobe]
fn hash_insert(ctx: ProbeContext) -> u32 {
    count(of_connection(ctx.arg(0)), Event::Insert)
}

/// `static struct nf_conn *__nf_conntrack_alloc(struct net *net, ...)`: a pointer, or an error
/// as a pointer (5.10 to 7.2).
#[kretprobe]
fn alloc_return(ctx: RetProbeContext) -> u32 {
    let connection: u64 = ctx.ret();
    if is_error(connection) {
        return count(0, Event::AllocFailed);
    }
    count(of_connection(Some(connection)), Event::Alloc)
}

/// `void nf_conntrack_free(struct nf_conn *ct)` (5.10 to 7.2).
#[kprobe]
fn free(ctx: ProbeContext) -> u32 {
    count(of_connection(ctx.arg(0)), Event::Free)
}

/// `void nf_ct_destroy(struct nf_conntrack *nfct)` (6.1 on), `static void
/// destroy_conntrack(struct nf_conntrack *nfct)` (5.10): `nfct` is the connection's first member.
#[kprobe]
fn destroy(ctx: ProbeContext) -> u32 {
    let connection: Option<u64> = ctx.arg(0);
    if status(connection) & TEMPLATE != 0 {
        return 0;
    }
    count(of_connection(connection), Event::Delete)
}

/// `static void __nf_ct_delete_from_lists(struct nf_conn *ct)` (6.1 on), `static void
/// nf_ct_delete_from_lists(struct nf_conn *ct)` (5.10).
#[kprobe]
fn delete_from_lists(ctx: ProbeContext) -> u32 {
    count(of_connection(ctx.arg(0)), Event::DeleteList)
}

/// `static noinline struct nf_conntrack_tuple_hash *init_conntrack(struct net *net, ...)`, under
/// the names that compilers make of it: a place inside the connection, null, or an error.
#[kretprobe]
fn init_return(ctx: RetProbeContext) -> u32 {
    let hash: u64 = ctx.ret();
    if hash == 0 || is_error(hash) {
        return 0;
    }
    let connection = around_hash(hash);
    let event = if status(connection) & EXPECTED == 0 { Event::New } else { Event::ExpectNew };
    count(of_connection(connection), event)
}

/// `static noinline int early_drop(struct net *net, unsigned int hash)`: whether something was
/// evicted (5.10 to 7.2).
#[kprobe]
fn early_drop(ctx: ProbeContext) -> u32 {
    remember(&ctx, of_net(ctx.arg(0)))
}

#[kretprobe]
fn early_drop_return(ctx: RetProbeContext) -> u32 {
    let evicted = ctx.ret::<u64>() as u8 != 0;
    count(recall(&ctx), if evicted { Event::EarlyDrop } else { Event::TableFull })
}

/// `static __cold noinline int nf_ct_resolve_clash(struct sk_buff *skb, struct
/// nf_conntrack_tuple_hash *h, u32 reply_hash)`: `NF_DROP` (0) or `NF_ACCEPT` (1).
#[kprobe]
fn resolve_clash(ctx: ProbeContext) -> u32 {
    remember(&ctx, of_packet(ctx.arg(0)))
}

#[kretprobe]
fn resolve_clash_return(ctx: RetProbeContext) -> u32 {
    let accepted = ctx.ret::<u64>() as u32 != 0;
    count(recall(&ctx), if accepted { Event::ClashResolved } else { Event::ClashDropped })
}

/// `IS_ERR`: the last page of addresses holds error numbers.
fn is_error(pointer: u64) -> bool {
    pointer > u64::MAX - 4095
}

/// Remembers the slot of a call that begins. Its key is where the stack will be when it has
/// returned: at its entry the return address (8 bytes on x86-64) is still on it.
fn remember(ctx: &ProbeContext, slot: u32) -> u32 {
    // SAFETY: the kernel passes the registers of the probed call, valid while this runs.
    let key = unsafe { (*ctx.regs).rsp } + 8;
    // A failure costs the namespace, not the count: it falls to slot 0.
    let _ = CALLS.insert(key, slot, 0);
    0
}

/// The slot of the call that ends.
fn recall(ctx: &RetProbeContext) -> u32 {
    // SAFETY: as above.
    let key = unsafe { (*ctx.regs).rsp };
    // SAFETY: the value is copied at once; nobody else uses this call's key.
    let slot = unsafe { CALLS.get(key) }.copied().unwrap_or(0);
    let _ = CALLS.remove(key);
    slot
}

/// The counters of this CPU and `slot`.
fn counters(slot: u32) -> Option<*mut Counters> {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { aya_ebpf::helpers::generated::bpf_get_smp_processor_id() };
    COUNTERS.get_ptr_mut(cpu * namespace::SLOTS.load() + slot)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the programs have no path that panics, or the verifier would refuse them.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
