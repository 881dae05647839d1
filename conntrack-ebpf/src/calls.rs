//! Connects the return of a function with its entry, where the return value does not name the
//! arguments, and a function with its caller.
//!
//! The key of a call is an address on its stack (`shape::Shape::stack`) with the kind of function in
//! the low bits, which are 0 in such an address. No two calls that are under way have one key, also
//! when one interrupts the other. A key belongs to no CPU: a task may return on another one. Calls under
//! way are few (one per CPU and interrupt level, and those of preempted tasks), so they lie in an array
//! by a hash of the key: no allocation, no lock, a bounded time. Two calls of the same hash displace
//! each other; key and check word show that, and the lost one is counted as such. A call whose return is
//! missed leaves its record behind; the record has the task and the time, so that it is not taken
//! for a later call ([`Call::is_under_way`]).

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use conntrack_ebpf::{CALL_NS, CALL_VALUES, Call, NEAR_BYTES, NESTED_CALL_NS, Now};

use crate::shape::{Entry, Return, Shape};

// `conntrack_ebpf::names::CALL_BITS`.
#[unsafe(no_mangle)]
static CALL_BITS: Global<u32> = Global::new(0);

/// The loader sets the number of entries.
#[map]
static CALLS: Array<Call> = Array::with_max_entries(1, 0);

/// The function of a call, where another call must be able to find it, or where two programs are
/// attached to one function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any that only its own return searches.
    Plain = 0,
    /// `__nf_conntrack_alloc`.
    Alloc,
    /// `early_drop`.
    EarlyDrop,
    /// `__nf_conntrack_confirm`, for `refusals`.
    Insertion,
}

/// The words of the stack in which the call around another one is searched.
const NEAR_WORDS: u64 = NEAR_BYTES / 8;

/// The key of the call that begins or ends.
#[inline(always)]
pub(crate) fn key(ctx: &impl Shape, kind: Kind) -> u64 {
    ctx.stack() | kind as u64
}

/// Remembers `value` for the call that begins.
#[inline(always)]
pub(crate) fn remember(ctx: &impl Entry, value: u64) -> u32 {
    remember_at(key(ctx, Kind::Plain), [value, 0, 0, 0])
}

/// Remembers `values` under a key.
#[inline(always)]
pub(crate) fn remember_at(key: u64, values: [u64; CALL_VALUES]) -> u32 {
    if let Some(call) = place(key) {
        // SAFETY: `place` returns an element of the array; a record that another CPU writes to it at
        // the same time fails the check.
        unsafe { call.write_volatile(Call::new(key, values, now())) };
    }
    0
}

/// Returns what was remembered for the call that ends.
#[inline(always)]
pub(crate) fn recall(ctx: &impl Return) -> Option<u64> {
    recall_at(key(ctx, Kind::Plain)).map(|[value, ..]| value)
}

/// Returns what was remembered under a key, and forgets it: a later call at this place whose entry was
/// missed must not find it.
#[inline(always)]
pub(crate) fn recall_at(key: u64) -> Option<[u64; CALL_VALUES]> {
    let call = place(key)?;
    // SAFETY: `place` returns an element of the array; a torn record fails the check.
    let values = unsafe { call.read_volatile() }.values_of(key, now(), CALL_NS)?;
    // SAFETY: the same element, of which only the key is written.
    unsafe { (&raw mut (*call).key).write_volatile(0) };
    Some(values)
}

/// The key of the call of this kind that is under way around the one with the key `inner`, and whose
/// values `is_it` accepts: another one at a place in between was left behind by a missed return, or
/// by a call that began before its return was probed.
#[inline(always)]
pub(crate) fn around(
    inner: u64,
    kind: Kind,
    is_it: impl Fn([u64; CALL_VALUES]) -> bool,
) -> Option<u64> {
    let stack = inner & !7;
    let now = now();
    for words in 1..NEAR_WORDS {
        let key = (stack + 8 * words) | kind as u64;
        let call = place(key)?;
        // SAFETY: `place` returns an element of the array.
        if unsafe { (&raw const (*call).key).read_volatile() } != key {
            continue;
        }
        // SAFETY: the same element; a torn record fails the check.
        let values = unsafe { call.read_volatile() }.values_of(key, now, NESTED_CALL_NS);
        if values.is_some_and(&is_it) {
            return Some(key);
        }
    }
    None
}

/// The running task and the time.
#[inline(always)]
pub(crate) fn now() -> Now {
    // SAFETY: both helpers have no arguments and no preconditions.
    unsafe { Now { task: bpf_get_current_task(), time_ns: bpf_ktime_get_ns() } }
}

#[inline(always)]
fn place(key: u64) -> Option<*mut Call> {
    // Fibonacci hashing: 2^64 divided by the golden ratio.
    let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    CALLS.get_ptr_mut((hash >> (64 - CALL_BITS.load())) as u32)
}
