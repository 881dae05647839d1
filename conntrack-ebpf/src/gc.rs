//! The garbage collector: while a table is almost full it evicts entries before their time.
//!
//! `gc_worker_can_early_drop` decides that; it is part of `gc_worker`, which is one work item for the
//! whole host, so that one record is enough for the run that is under way.

use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use conntrack_ebpf::{Call, GC_RUN_NS, is_near};

use crate::calls::now;
use crate::shape::{Entry, Return, Shape, at_entry, at_return};

#[map]
static GC_RUN: Array<Call> = Array::with_max_entries(1, 0);

/// `static void gc_worker(struct work_struct *work)` (5.10 to 7.3).
#[inline(always)]
fn begin(ctx: &impl Entry) -> u32 {
    if let Some(run) = GC_RUN.get_ptr_mut(0) {
        let stack = ctx.stack();
        // SAFETY: the array's only element, which only the one run of the collector writes.
        unsafe { run.write_volatile(Call::new(stack, [0; 4], now())) };
    }
    0
}

at_entry!(begin: gc_worker, gc_worker_fentry);

#[inline(always)]
fn end(_ctx: &impl Return) -> u32 {
    if let Some(run) = GC_RUN.get_ptr_mut(0) {
        // SAFETY: the array's only element, which only the one run of the collector writes.
        unsafe { (&raw mut (*run).key).write_volatile(0) };
    }
    0
}

at_return!(end: gc_worker_return, gc_worker_fexit);

/// Whether a call is made by a run of the garbage collector.
#[inline(always)]
pub(crate) fn is_around(ctx: &impl Shape) -> bool {
    let Some(run) = GC_RUN.get_ptr_mut(0) else { return false };
    // The key alone first: each deletion on the host comes here.
    // SAFETY: the array's only element; a key is one aligned word, so it is never torn.
    let caller = unsafe { (&raw const (*run).key).read_volatile() };
    if caller == 0 || !is_near(caller, ctx.stack()) {
        return false;
    }
    // SAFETY: the same element. It is torn only if the collector's run begins or ends meanwhile, on
    // another CPU, and then its task is another one than this.
    unsafe { run.read_volatile() }.is_under_way(now(), GC_RUN_NS)
}
