//! Which namespace an event belongs to: its slot among the counters.
//!
//! Namespaces are constants when the verifier sees the programs, so unused branches are removed.
//! The common case is one read of the connection, one of the counters and a comparison: each CPU
//! remembers the addresses of the namespaces that it saw. User space holds every namespace with a
//! slot open while the programs live, so no other namespace gets its address; one without a slot
//! can only be followed by another without.

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use conntrack_ebpf::{Counters, Event};

use crate::counters::{add, cpu, element, slots};
use crate::kernel;

// Names and meanings: `conntrack_ebpf::names`.
#[unsafe(no_mangle)]
static NAMESPACE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static MANY: Global<u32> = Global::new(0);

#[map]
static NAMESPACES: HashMap<u32, u32> = HashMap::with_max_entries(1, 0);

/// Which namespaces are told apart.
#[derive(Clone, Copy)]
enum Apart {
    /// None: everything is counted in slot 0.
    None,
    /// The one with this inode number, in slot 1, from all others.
    One(u32),
    /// Those in [`NAMESPACES`].
    Many,
}

impl Apart {
    #[inline(always)]
    fn load() -> Self {
        match NAMESPACE.load() {
            0 if MANY.load() == 0 => Self::None,
            0 => Self::Many,
            inode => Self::One(inode),
        }
    }
}

/// Whether namespaces have slots of their own.
#[inline(always)]
pub(crate) fn are_told_apart() -> bool {
    !matches!(Apart::load(), Apart::None)
}

/// Whether the namespace with this inode number has a slot of its own.
#[inline(always)]
pub(crate) fn is_sampled(inode: u32) -> bool {
    match Apart::load() {
        // Nothing is reported where namespaces cannot be told apart.
        Apart::None => false,
        Apart::One(wanted) => inode == wanted,
        // SAFETY: user space fills the map before anything is attached and never changes it, so the
        // reference stays valid.
        Apart::Many => unsafe { NAMESPACES.get(inode) }.is_some(),
    }
}

/// Counts an event of a `struct net`.
#[inline(always)]
pub(crate) fn count_of_net(net: u64, event: Event) -> u32 {
    count_in(Apart::load(), net, event)
}

/// Counts an event of a `struct nf_conn`.
#[inline(always)]
pub(crate) fn count_of_connection(connection: u64, event: Event) -> u32 {
    let apart = Apart::load();
    if matches!(apart, Apart::None) {
        return count_of_all(event);
    }
    match kernel::net_of_connection(connection) {
        Some(net) => count_in(apart, net, event),
        None => count_unplaced(event),
    }
}

/// Counts an event whose namespace cannot be known, and which all of them share.
#[inline(always)]
pub(crate) fn count_of_all(event: Event) -> u32 {
    if let Some(counters) = element(cpu() * slots()) {
        add(counters, event);
    }
    0
}

/// Counts an event whose namespace should be known and is not.
#[inline(always)]
pub(crate) fn count_unplaced(event: Event) -> u32 {
    count_of_all(event);
    count_unknown()
}

/// Counts a call of which it is not known whether it is an event: its entry was missed, or what it
/// was called with cannot be read.
#[inline(always)]
pub(crate) fn count_unknown() -> u32 {
    count_of_all(Event::Unplaced)
}

#[inline(always)]
fn count_in(apart: Apart, net: u64, event: Event) -> u32 {
    let counters = match apart {
        Apart::None => element(cpu() * slots()),
        Apart::One(inode) => of_one(net, inode),
        Apart::Many => of_many(net),
    };
    match counters {
        Some(counters) => add(counters, event),
        None => _ = count_unplaced(event),
    }
    0
}

/// The counters of `net` where there are two slots: each remembers the last namespace that it
/// counted for, and slot 1 has only one. `None` where its number cannot be read.
#[inline(always)]
fn of_one(net: u64, wanted: u32) -> Option<*mut Counters> {
    let first = cpu() * 2;
    let own = element(first + 1)?;
    if remembers(own, net) {
        return Some(own);
    }
    let others = element(first)?;
    if remembers(others, net) {
        return Some(others);
    }
    let inode = kernel::inode(net)?;
    let counters = if inode == wanted { own } else { others };
    remember(counters, net);
    Some(counters)
}

/// The counters of `net` where there are many slots: slot 0 remembers the slot of the last namespace,
/// and each slot the last namespace that it counted for. The two are not read at once: whatever
/// interrupts this program may count for another namespace, so the slot that was remembered is only
/// the one to try first, and its own namespace decides. `None` where the number of `net` cannot be
/// read.
#[inline(always)]
fn of_many(net: u64) -> Option<*mut Counters> {
    let first = cpu() * slots();
    let memory = element(first)?;
    // SAFETY: `memory` comes from `element`: it is in the array. An aligned word is never torn.
    let last = unsafe { (&raw const (*memory).last_slot).read_volatile() } as u32;
    // A number of another CPU's slot is never written.
    let counters = element(first + last)?;
    if remembers(counters, net) {
        return Some(counters);
    }
    let inode = kernel::inode(net)?;
    // SAFETY: user space fills the map before anything is attached and never changes it, so the
    // reference stays valid.
    let slot = unsafe { NAMESPACES.get(inode) }.copied().unwrap_or(0);
    let counters = element(first + slot)?;
    remember(counters, net);
    // SAFETY: `memory` comes from `element`: it is in the array.
    unsafe { (&raw mut (*memory).last_slot).write_volatile(u64::from(slot)) };
    Some(counters)
}

/// Whether these counters are those of `net`: it is a namespace of their slot, whichever program
/// remembered it.
#[inline(always)]
fn remembers(counters: *mut Counters, net: u64) -> bool {
    // SAFETY: `counters` comes from `element`: it is in the array. An aligned word is never torn.
    unsafe { (&raw const (*counters).last_net).read_volatile() == !net }
}

#[inline(always)]
fn remember(counters: *mut Counters, net: u64) {
    // SAFETY: `counters` comes from `element`: it is in the array.
    unsafe { (&raw mut (*counters).last_net).write_volatile(!net) };
}
