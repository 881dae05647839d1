//! Whether NAT found a free port for a connection: the cause of a drop that looks like a lost race.
//!
//! Where no port is free, NAT leaves the connection with a tuple that another one has
//! (`get_unique_tuple`), and `nf_ct_resolve_clash` drops its first packet when it is to be inserted,
//! as it drops the loser of a race. The two differ in the last answer that NAT got for the
//! connection: a search ends with the first free tuple, or with none, and nothing asks after that.

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use conntrack_ebpf::Event;

use crate::kernel::{NAT_DONE, status};
use crate::namespace::{count_of_connection, count_unknown, count_unplaced};
use crate::shape::{Return, of_call};

// `conntrack_ebpf::names::COUNT_FOUND`.
#[unsafe(no_mangle)]
static COUNT_FOUND: Global<u32> = Global::new(0);

/// log2 of the number of connections that can be remembered: those whose first packet is between NAT
/// and the insertion, few unless packets wait in a queue.
const BITS: u32 = 12;

/// Connections whose last tuple was taken, by a hash of their address, or 0. One that another
/// connection displaces counts as a lost race.
#[map]
static TAKEN: Array<u64> = Array::with_max_entries(1 << BITS, 0);

/// `int nf_conntrack_tuple_taken(const struct nf_conntrack_tuple *tuple, const struct nf_conn
/// *ignored_conntrack)`: whether NAT cannot have the tuple (5.10 to 7.3).
#[inline(always)]
fn answered(ctx: &impl Return, connection: impl Fn() -> Option<u64>) -> u32 {
    let is_taken = ctx.result() as u32 != 0;
    let is_found = is_taken && COUNT_FOUND.load() != 0;
    match connection() {
        Some(connection) => {
            remember_answer(connection, is_taken);
            if is_found { count_of_connection(connection, Event::Found) } else { 0 }
        }
        None if is_found => count_unplaced(Event::Found),
        None => count_unknown(),
    }
}

of_call!(answered, 1: tuple_taken, tuple_taken_return, tuple_taken_fexit);

#[inline(always)]
fn remember_answer(connection: u64, is_taken: bool) {
    let Some(word) = place(connection) else { return };
    // SAFETY: `place` returns an element of the array; an aligned word is never torn.
    unsafe {
        if is_taken {
            word.write_volatile(connection);
        } else if word.read_volatile() == connection {
            word.write_volatile(0);
        }
    }
}

/// Whether NAT found no free port for a connection that is dropped; forgets its answer.
///
/// A connection that NAT has not seen never asked, and the answer would be of an earlier connection
/// at its address, whose first packet a rule dropped.
#[inline(always)]
pub(crate) fn found_no_port(connection: u64) -> bool {
    let Some(word) = place(connection) else { return false };
    // SAFETY: `place` returns an element of the array; an aligned word is never torn.
    if unsafe { word.read_volatile() } != connection {
        return false;
    }
    // SAFETY: the same element.
    unsafe { word.write_volatile(0) };
    status(connection).is_some_and(|status| status & NAT_DONE != 0)
}

#[inline(always)]
fn place(connection: u64) -> Option<*mut u64> {
    // Fibonacci hashing: 2^64 divided by the golden ratio.
    let hash = connection.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    TAKEN.get_ptr_mut((hash >> (64 - BITS)) as u32)
}
