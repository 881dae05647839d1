//! Reports of single drops and evictions, with their connections: for `ctpulse drops`.
//!
//! The counters stay exact whatever happens here. A CPU reports a number of drops in each window
//! of time, and counts those that it leaves out, and those for which the ring has no room. Without
//! reports the verifier removes this code.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_probe_read_kernel_buf};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{PerCpuArray, RingBuf};
use conntrack_ebpf::{Cause, DropRecord, REPORT_WINDOW_BITS, Reporting, TUPLE_BYTES};

use crate::counters::increment;
use crate::kernel;
use crate::namespace::is_sampled;

/// `BPF_RB_NO_WAKEUP`: user space polls the ring, so that a flood causes no wake-up for each packet.
pub(crate) const NO_WAKEUP: u64 = 1;

/// The loader sets the size.
#[map]
static DROPS: RingBuf = RingBuf::with_byte_size(4096, 0);

#[map]
static REPORTING: PerCpuArray<Reporting> = PerCpuArray::with_max_entries(1, 0);

// `conntrack_ebpf::names::REPORTS`.
#[unsafe(no_mangle)]
static REPORTS: Global<u64> = Global::new(0);

/// Whether drops are reported.
#[inline(always)]
pub(crate) fn are_wanted() -> bool {
    REPORTS.load() != 0
}

/// The window of time of one CPU, and the number of reports in it: words of a map.
pub(crate) struct Window {
    pub(crate) window: *mut u64,
    pub(crate) reported: *mut u64,
}

impl Window {
    /// Returns the time if one more may be reported now. A program that interrupts this one in between
    /// can make a window have some reports more or less; each drop is reported or counted as left out
    /// all the same.
    #[inline(always)]
    pub(crate) fn admit(self) -> Option<u64> {
        // SAFETY: the helper has no arguments and no preconditions.
        let time_ns = unsafe { bpf_ktime_get_ns() };
        let window = time_ns >> REPORT_WINDOW_BITS;
        // SAFETY: both words are in a map; an aligned word is never torn.
        unsafe {
            if self.window.read_volatile() != window {
                self.window.write_volatile(window);
                self.reported.write_volatile(0);
            }
            if self.reported.read_volatile() >= REPORTS.load() {
                return None;
            }
        }
        increment(self.reported);
        Some(time_ns)
    }
}

/// Reports a connection.
#[inline(always)]
pub(crate) fn report_connection(cause: Cause, net: u64, connection: u64) {
    if are_wanted() {
        let (zone, original) = (kernel::zone(connection), kernel::original_tuple(connection));
        report_tuples(cause, net, zone, [original, kernel::reply_tuple(connection)]);
    }
}

/// Reports the drop of a packet that has no connection yet, by its tuple (an address in the kernel, 0
/// for none).
#[inline(always)]
pub(crate) fn report(cause: Cause, net: u64, zone: u16, tuple: u64) {
    report_tuples(cause, net, zone, [tuple, 0]);
}

/// Reports a drop by the tuples of both directions (addresses in the kernel, 0 for none), if its
/// namespace is sampled.
#[inline(always)]
fn report_tuples(cause: Cause, net: u64, zone: u16, [tuple, reply]: [u64; 2]) {
    if !are_wanted() {
        return;
    }
    let inode = kernel::inode(net).unwrap_or(0);
    if !is_sampled(inode) {
        return;
    }
    let Some(memory) = REPORTING.get_ptr_mut(0) else { return };
    let number = cause as usize;
    // SAFETY: `memory` is an element of the map.
    let window = unsafe {
        Window { window: &raw mut (*memory).window, reported: &raw mut (*memory).reported }
    };
    let Some(time_ns) = window.admit() else {
        // SAFETY: the same element.
        increment(unsafe { &raw mut (*memory).left_out[number] });
        return;
    };
    let Some(mut place) = DROPS.reserve::<DropRecord>(0) else {
        // SAFETY: the same element.
        increment(unsafe { &raw mut (*memory).lost[number] });
        return;
    };
    let record = place.as_mut_ptr();
    // SAFETY: `reserve` returned room for one record, which nothing else accesses until it is submitted;
    // every byte is written.
    unsafe {
        (*record).time_ns = time_ns;
        (*record).cause = cause as u32;
        (*record).cpu = bpf_get_smp_processor_id();
        (*record).inode = inode;
        (*record).zone = u32::from(zone);
        (*record).tuple = [0; TUPLE_BYTES];
        (*record).reply = [0; TUPLE_BYTES];
        // A tuple that cannot be read stays 0.
        if tuple != 0 {
            let _ = bpf_probe_read_kernel_buf(tuple as *const u8, &mut (*record).tuple);
        }
        if reply != 0 {
            let _ = bpf_probe_read_kernel_buf(reply as *const u8, &mut (*record).reply);
        }
    }
    place.submit(NO_WAKEUP);
}
