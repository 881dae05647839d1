//! How long insertions take, in powers of two: for `ctpulse drops --latency`. Without that
//! option the verifier removes this code.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use conntrack_ebpf::{LATENCY_BUCKETS, Latency};

use crate::counters::increment;
use crate::kernel::{inode, net_of_connection};
use crate::namespace::is_sampled;

// `conntrack_ebpf::names::TAKE_LATENCY`.
#[unsafe(no_mangle)]
static TAKE_LATENCY: Global<u32> = Global::new(0);

#[map]
static LATENCIES: PerCpuArray<Latency> = PerCpuArray::with_max_entries(1, 0);

/// When the insertion of a `struct nf_conn` began, in nanoseconds; 0 where it is not to be timed.
#[inline(always)]
pub(crate) fn start(connection: u64) -> u64 {
    if TAKE_LATENCY.load() == 0 {
        return 0;
    }
    match net_of_connection(connection).and_then(inode) {
        // SAFETY: the helper has no arguments and no preconditions.
        Some(inode) if is_sampled(inode) => unsafe { bpf_ktime_get_ns() },
        _ => 0,
    }
}

/// Counts what has begun at `start` and ends now.
#[inline(always)]
pub(crate) fn end(start: u64) {
    if TAKE_LATENCY.load() == 0 || start == 0 {
        return;
    }
    // SAFETY: the helper has no arguments and no preconditions.
    let elapsed = unsafe { bpf_ktime_get_ns() }.wrapping_sub(start) | 1;
    let bucket = elapsed.ilog2() as usize;
    let bucket = if bucket < LATENCY_BUCKETS { bucket } else { LATENCY_BUCKETS - 1 };
    if let Some(latency) = LATENCIES.get_ptr_mut(0) {
        // SAFETY: an element of the map.
        increment(unsafe { &raw mut (*latency).buckets[bucket] });
    }
}
