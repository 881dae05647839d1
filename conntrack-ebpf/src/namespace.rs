//! Which namespace an event belongs to, through offsets that user space found in BTF.
//!
//! Offsets and namespaces are constants by the time the verifier sees the programs, so a list
//! of one namespace costs one comparison and what is not used is not there.

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use conntrack_ebpf::Event;

// Names and meanings: `conntrack_ebpf::names`.
#[unsafe(no_mangle)]
pub(crate) static SLOTS: Global<u32> = Global::new(1);
#[unsafe(no_mangle)]
static NAMESPACE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static MANY: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static OFFSETS_KNOWN: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NF_CONN_NET: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NF_CONN_STATUS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NF_CONN_TUPLEHASH: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NET_INUM: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SK_BUFF_NFCT: Global<u32> = Global::new(0);

#[map]
static NAMESPACES: HashMap<u32, u32> = HashMap::with_max_entries(1, 0);

/// `NFCT_PTRMASK`: the low bits of `_nfct` are the packet's `ctinfo`.
const POINTER: u64 = !7;

/// Adds one to a counter of this CPU.
#[inline(always)]
pub(crate) fn count(slot: u32, event: Event) -> u32 {
    if let Some(counters) = crate::counters(slot) {
        // SAFETY: the array's element of this CPU, which no other CPU writes and no program
        // interrupts here.
        unsafe { (*counters).events[event as usize] += 1 };
    }
    0
}

fn read<T>(base: u64, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address and fails where it cannot be read.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.ok()
}

/// Whether anything but slot 0 can be meant.
#[inline(always)]
fn tells_apart() -> bool {
    OFFSETS_KNOWN.load() != 0 && (NAMESPACE.load() != 0 || MANY.load() != 0)
}

/// The slot of the namespace of a `struct nf_conn`.
#[inline(always)]
pub(crate) fn of_connection(connection: Option<u64>) -> u32 {
    if !tells_apart() {
        return 0;
    }
    of_net(connection.and_then(|connection| read(connection, NF_CONN_NET.load())))
}

/// The slot of a `struct net`.
#[inline(always)]
pub(crate) fn of_net(net: Option<u64>) -> u32 {
    if !tells_apart() {
        return 0;
    }
    let Some(inum) = net.and_then(|net| read::<u32>(net, NET_INUM.load())) else { return 0 };
    if MANY.load() != 0 {
        // SAFETY: user space fills the map before anything is attached and never changes it.
        return unsafe { NAMESPACES.get(inum) }.copied().unwrap_or(0);
    }
    u32::from(inum == NAMESPACE.load())
}

/// The slot of the namespace of a `struct sk_buff`'s connection.
#[inline(always)]
pub(crate) fn of_packet(packet: Option<u64>) -> u32 {
    if !tells_apart() {
        return 0;
    }
    let nfct = packet.and_then(|packet| read::<u64>(packet, SK_BUFF_NFCT.load()));
    of_connection(nfct.map(|nfct| nfct & POINTER))
}

/// The `status` of a `struct nf_conn`; 0 where it cannot be read.
#[inline(always)]
pub(crate) fn status(connection: Option<u64>) -> u32 {
    if OFFSETS_KNOWN.load() == 0 {
        return 0;
    }
    // `unsigned long` in the kernel, of which these bits are the low ones.
    let status = connection.and_then(|connection| read::<u64>(connection, NF_CONN_STATUS.load()));
    status.unwrap_or(0) as u32
}

/// The `struct nf_conn` around its first `tuplehash`.
#[inline(always)]
pub(crate) fn around_hash(hash: u64) -> Option<u64> {
    (OFFSETS_KNOWN.load() != 0).then(|| hash - u64::from(NF_CONN_TUPLEHASH.load()))
}
