//! The garbage collector: while a table is almost full it evicts entries before their time.
//!
//! `gc_worker_can_early_drop` decides that; it is part of `gc_worker`, which is one work item for the
//! whole host, so that one record is enough for the run that is under way.

use aya_ebpf::macros::{kprobe, kretprobe, map};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use conntrack_ebpf::{Call, GC_RUN_NS, is_near};

use crate::calls::{Kind, beginning, now};

#[map]
static GC_RUN: Array<Call> = Array::with_max_entries(1, 0);

/// `static void gc_worker(struct work_struct *work)` (5.10 to 7.3).
#[kprobe]
fn gc_worker(ctx: ProbeContext) -> u32 {
    if let Some(run) = GC_RUN.get_ptr_mut(0) {
        let stack = beginning(&ctx, Kind::Plain);
        // SAFETY: the array's only element, which only the one run of the collector writes.
        unsafe { run.write_volatile(Call::new(stack, [0; 4], now())) };
    }
    0
}

#[kretprobe]
fn gc_worker_return(_ctx: RetProbeContext) -> u32 {
    if let Some(run) = GC_RUN.get_ptr_mut(0) {
        // SAFETY: the array's only element, which only the one run of the collector writes.
        unsafe { (&raw mut (*run).key).write_volatile(0) };
    }
    0
}

/// Whether the call with this key is made by a run of the garbage collector.
#[inline(always)]
pub(crate) fn is_around(key: u64) -> bool {
    let Some(run) = GC_RUN.get_ptr_mut(0) else { return false };
    // The key alone first: each deletion on the host comes here.
    // SAFETY: the array's only element; a key is one aligned word, so it is never torn.
    let caller = unsafe { (&raw const (*run).key).read_volatile() };
    // SAFETY: the same element. It is torn only if the collector's run begins or ends meanwhile, on
    // another CPU, and then its task is another one than this.
    is_near(caller, key & !7) && unsafe { run.read_volatile() }.is_under_way(now(), GC_RUN_NS)
}
