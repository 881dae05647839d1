//! Which namespace an event belongs to: its slot among the counters.
//!
//! Namespaces are constants by the time the verifier sees the programs, so what is not used is
//! not there. The common case is one read of the connection and a comparison: each CPU
//! remembers the address of the namespace that it saw last. That is right as long as an
//! address means the same, and it does: user space holds every namespace with a slot open while
//! the programs live, so its address goes to no other; and one without a slot can only be
//! followed by another without.

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use conntrack_ebpf::Event;

use crate::counters::Cpu;
use crate::kernel;

// Names and meanings: `conntrack_ebpf::names`.
#[unsafe(no_mangle)]
static NAMESPACE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static MANY: Global<u32> = Global::new(0);

#[map]
static NAMESPACES: HashMap<u32, u32> = HashMap::with_max_entries(1, 0);

/// Whether anything but slot 0 can be meant.
#[inline(always)]
pub(crate) fn are_told_apart() -> bool {
    kernel::is_known() && (NAMESPACE.load() != 0 || MANY.load() != 0)
}

/// Counts an event of a `struct net`.
#[inline(always)]
pub(crate) fn count_of_net(net: u64, event: Event) -> u32 {
    let cpu = Cpu::current();
    cpu.count(slot(&cpu, net), event);
    0
}

/// Counts an event of a `struct nf_conn`.
#[inline(always)]
pub(crate) fn count_of_connection(connection: u64, event: Event) -> u32 {
    if !are_told_apart() {
        return count_of_all(event);
    }
    match kernel::net_of_connection(connection) {
        Some(net) => count_of_net(net, event),
        None => count_unplaced(event),
    }
}

/// Counts an event whose namespace cannot be known, and which all of them share.
#[inline(always)]
pub(crate) fn count_of_all(event: Event) -> u32 {
    Cpu::current().count(0, event);
    0
}

/// Counts an event whose namespace should be known, and that it is not.
#[inline(always)]
pub(crate) fn count_unplaced(event: Event) -> u32 {
    let cpu = Cpu::current();
    cpu.count(0, event);
    cpu.count(0, Event::Unplaced);
    0
}

/// The slot of a `struct net`.
#[inline(always)]
fn slot(cpu: &Cpu, net: u64) -> u32 {
    if !are_told_apart() {
        return 0;
    }
    let Some(memory) = cpu.slot(0) else { return 0 };
    // SAFETY: the array's element of this CPU, which no other CPU writes and no program
    // interrupts here.
    unsafe {
        if (*memory).last_net != net {
            (*memory).last_slot = u64::from(look_up(net));
            (*memory).last_net = net;
        }
        (*memory).last_slot as u32
    }
}

#[inline(always)]
fn look_up(net: u64) -> u32 {
    let Some(inode) = kernel::inode(net) else { return 0 };
    if MANY.load() != 0 {
        // SAFETY: user space fills the map before anything is attached and never changes it.
        return unsafe { NAMESPACES.get(inode) }.copied().unwrap_or(0);
    }
    u32::from(inode == NAMESPACE.load())
}
