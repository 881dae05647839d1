//! The counters, and the one way to add to them.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use conntrack_ebpf::{Counters, Event};

/// `BPF_F_MMAPABLE`: user space reads the counters without a system call.
const MMAPABLE: u32 = 1 << 10;

/// As many as the loader says.
#[map]
static COUNTERS: Array<Counters> = Array::with_max_entries(1, MMAPABLE);

// `conntrack_ebpf::names::SLOTS`.
#[unsafe(no_mangle)]
static SLOTS: Global<u32> = Global::new(1);

/// The counters of the running CPU.
pub(crate) struct Cpu {
    first: u32,
}

impl Cpu {
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: a helper without arguments.
        Self { first: unsafe { bpf_get_smp_processor_id() } * SLOTS.load() }
    }

    /// The counters of a slot; the loader made one for each CPU and slot.
    #[inline(always)]
    pub(crate) fn slot(&self, slot: u32) -> Option<*mut Counters> {
        COUNTERS.get_ptr_mut(self.first + slot)
    }

    /// Adds one to a counter.
    #[inline(always)]
    pub(crate) fn count(&self, slot: u32, event: Event) {
        if let Some(counters) = self.slot(slot) {
            // SAFETY: the array's element of this CPU, which no other CPU writes and no program
            // interrupts here.
            unsafe { (*counters).events[event as usize] += 1 };
        }
    }
}
