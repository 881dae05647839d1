//! The counters, and the function that adds to them.

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
    // SAFETY: `counters` comes from `element`: it is in the array, no other CPU writes it, and no
    // tracing program interrupts another one on its CPU (`bpf_prog_active`).
    unsafe { (*counters).events[event as usize] += 1 };
}
