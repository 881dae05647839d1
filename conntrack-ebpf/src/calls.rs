//! From the entry of a function to its return, for those whose return value does not name what
//! they were called with.
//!
//! A call's key is where the stack will be when it has returned: at its entry the return address
//! (8 bytes on x86-64) is still on it. Calls under way are few (one per CPU and interrupt
//! level, and those of preempted tasks), so they lie in an array by a hash of the key: no
//! allocation, no lock, a bounded time. Two calls of the same hash displace each other, which
//! the key tells: the one that is lost is counted as such.

use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use conntrack_ebpf::Call;

/// log2 of the number of calls.
const BITS: u32 = 10;

#[map]
static CALLS: Array<Call> = Array::with_max_entries(1 << BITS, 0);

/// The key of the call that begins.
#[inline(always)]
pub(crate) fn beginning(ctx: &ProbeContext) -> u64 {
    stack_of_entry(ctx) + 8
}

/// Where the stack is at a function's entry.
#[inline(always)]
pub(crate) fn stack_of_entry(ctx: &ProbeContext) -> u64 {
    // SAFETY: the kernel passes the registers of the probed call, valid while this runs.
    unsafe { (*ctx.regs).rsp }
}

/// The key of the call that ends, which is where its stack is.
#[inline(always)]
pub(crate) fn ending(ctx: &RetProbeContext) -> u64 {
    // SAFETY: as above.
    unsafe { (*ctx.regs).rsp }
}

/// Remembers `value` for the call that begins.
#[inline(always)]
pub(crate) fn remember(ctx: &ProbeContext, value: u64) -> u32 {
    remember_at(beginning(ctx), [value, 0, 0])
}

/// Remembers `values` under a key.
#[inline(always)]
pub(crate) fn remember_at(key: u64, values: [u64; 3]) -> u32 {
    if let Some(call) = place(key) {
        // SAFETY: the array's element; x86-64 keeps the order of stores and of loads, so whoever
        // finds its own key behind values read that key's values.
        unsafe {
            (&raw mut (*call).stack).write_volatile(key);
            (&raw mut (*call).values).write_volatile(values);
        }
    }
    0
}

/// What was remembered for the call that ends.
#[inline(always)]
pub(crate) fn recall(ctx: &RetProbeContext) -> Option<u64> {
    recall_at(ending(ctx)).map(|[value, ..]| value)
}

/// What was remembered under a key.
#[inline(always)]
pub(crate) fn recall_at(key: u64) -> Option<[u64; 3]> {
    let call = place(key)?;
    // SAFETY: as above.
    unsafe {
        let values = (&raw const (*call).values).read_volatile();
        let found = (&raw const (*call).stack).read_volatile() == key;
        if found {
            // A later call at this place whose entry was missed must not find it.
            (&raw mut (*call).stack).write_volatile(0);
        }
        found.then_some(values)
    }
}

#[inline(always)]
fn place(stack: u64) -> Option<*mut Call> {
    // Fibonacci hashing: 2^64 divided by the golden ratio.
    let hash = (stack >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    CALLS.get_ptr_mut((hash >> (64 - BITS)) as u32)
}
