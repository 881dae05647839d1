//! The eBPF programs: one small function per hook, each adding one to a counter.
//!
//! Each program is there as a kprobe and, where a kernel can have one, as a trampoline (`shape`).
//! Kprobes exclude each other on a CPU (`bpf_prog_active` in `trace_call_bpf`). A trampoline
//! excludes only itself: an interrupt, or another task, may run any other program on the same CPU in
//! the middle of it. Therefore a CPU's own memory is shared, too: additions are atomic, and what
//! a program reads twice it checks. Above each hook stands the kernel function's prototype and the
//! releases in which it was read.
//!
//! `connections`, `fallback`, `pressure`, `gc`, `nat`, `clash`, `refusals`, `packets` and `invalid` hold the
//! programs by subject, and `census` the one that is not attached but run on request; `namespace`, `counters`, `calls`, `reports` and `latency` hold what they share.
//! `registers` alone depends on the architecture of the kernel.

#![no_std]
#![no_main]
#![feature(core_intrinsics)] // atomic addition: `counters::increment`
#![allow(internal_features, reason = "there is no other form of it for this target")]
#![allow(missing_docs, reason = "programs and maps are named after what they hook and hold")]
#![allow(unsafe_code, reason = "the kernel is reached through pointers only")]

mod calls;
mod census;
mod clash;
mod connections;
mod counters;
mod fallback;
mod gc;
mod invalid;
mod kernel;
mod latency;
mod namespace;
mod nat;
mod packets;
mod pressure;
mod refusals;
mod registers;
mod reports;
mod shape;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the programs have no path that panics, or the verifier would refuse them.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
