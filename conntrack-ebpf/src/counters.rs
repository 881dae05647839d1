//! The counters, and the function that adds to them.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use conntrack_ebpf::{Counters, Event};

/// `BPF_F_MMAPABLE`: user space reads the counters without a system call.
const MMAPABLE: u32 = 1 << 10;

/// The loader sets the number of entries.
#[map]
static COUNTERS: Array<Counters> = Array::with_max_entries(1, MMAPABLE);

// `conntrack_ebpf::names::SLOTS`.
#[unsafe(no_mangle)]
static SLOTS: Global<u32> = Global::new(1);

/// Number of the running CPU.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: the helper has no arguments and no preconditions.
    unsafe { bpf_get_smp_processor_id() }
}

/// Slots per CPU.
#[inline(always)]
pub(crate) fn slots() -> u32 {
    SLOTS.load()
}

/// An element of the running CPU, `cpu() * slots() + slot`; the loader made one for each CPU and
/// slot.
#[inline(always)]
pub(crate) fn element(index: u32) -> Option<*mut Counters> {
    COUNTERS.get_ptr_mut(index)
}

/// Adds one to a counter of an element of the running CPU.
#[inline(always)]
pub(crate) fn add(counters: *mut Counters, event: Event) {
    // SAFETY: `counters` comes from `element`: it is in the array.
    increment(unsafe { &raw mut (*counters).events[event as usize] });
}

/// Adds one to a word of a map. A program that interrupts this one on its CPU may add to the same word.
#[inline(always)]
pub(crate) fn increment(word: *mut u64) {
    // SAFETY: callers have the word from a map, whose elements are aligned and stay; every program adds
    // to it in this way. The target has no compare-and-swap, so `AtomicU64` lacks this operation, which
    // all kernels have (`BPF_XADD`).
    let _ = unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, 1) };
}
