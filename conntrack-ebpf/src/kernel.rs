//! Reading the kernel's structures, at offsets that user space found in BTF.

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use conntrack_ebpf::{ABSENT, UNKNOWN};

// Names and meanings: `conntrack_ebpf::names`.
#[unsafe(no_mangle)]
static NF_CONN_NET: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NF_CONN_STATUS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NF_CONN_TUPLEHASH: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TUPLE_HASH_SIZE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TUPLE_HASH_DIR: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NET_INUM: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TUPLE_HASH_TUPLE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NF_CONN_TIMEOUT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NF_CONN_ZONE: Global<u32> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static NF_CONN_EXT: Global<u32> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static EXT_GENERATION: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static GENERATION: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static NF_CONN_MARK: Global<u32> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static NF_CONN_TCP_STATE: Global<u32> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static TUPLE_HASH_NODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TABLE: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static TABLE_SIZE: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static SK_BUFF_NFCT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static HOOK_STATE_NET: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static HOOK_STATE_HOOK: Global<u32> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SK_BUFF_HEAD: Global<u32> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SK_BUFF_TAIL: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SK_BUFF_NETWORK_HEADER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SK_BUFF_DEV: Global<u32> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static NET_DEVICE_IFINDEX: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TUPLE_PROTOCOL: Global<u32> = Global::new(0);

/// `IPS_EXPECTED` (`include/uapi/linux/netfilter/nf_conntrack_common.h`), as those below.
pub(crate) const EXPECTED: u32 = 1 << 0;
/// `IPS_ASSURED`.
pub(crate) const ASSURED: u32 = 1 << 2;
/// `IPS_CONFIRMED`: it is in the table, or about to be put there.
pub(crate) const CONFIRMED: u32 = 1 << 3;
/// `IPS_SRC_NAT_DONE` and `IPS_DST_NAT_DONE`: NAT has chosen a tuple.
pub(crate) const NAT_DONE: u32 = 1 << 7 | 1 << 8;
/// `IPS_DYING`.
pub(crate) const DYING: u32 = 1 << 9;
/// `IPS_TEMPLATE`: no connection but a pattern for some (`nf_ct_tmpl_alloc`).
pub(crate) const TEMPLATE: u32 = 1 << 11;
/// `IPS_NAT_CLASH`: only its reply direction is in the table.
pub(crate) const NAT_CLASH: u32 = 1 << 12;
/// `IPS_OFFLOAD`.
pub(crate) const OFFLOAD: u32 = 1 << 14;

/// `IP_CT_IS_REPLY`: the `ctinfo` of a packet in the original direction is less.
pub(crate) const REPLY: u32 = 3;

/// `NFCT_PTRMASK`: the low bits of `_nfct` are the packet's `ctinfo`.
const POINTER: u64 = !7;

/// Copies a value from the kernel's memory.
#[inline(always)]
pub(crate) fn read<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails where it cannot be read.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

#[inline(always)]
fn member<T>(structure: u64, offset: u32) -> Option<T> {
    read(structure + u64::from(offset))
}

/// `IS_ERR`: the last page of addresses holds error numbers.
#[inline(always)]
pub(crate) fn is_error(pointer: u64) -> bool {
    pointer > u64::MAX - 4095
}

/// Whether the offsets are those of the running kernel: no structure begins with `_nfct`.
#[inline(always)]
pub(crate) fn knows_types() -> bool {
    SK_BUFF_NFCT.load() != 0
}

/// The `struct net` of a `struct nf_conn`.
#[inline(always)]
pub(crate) fn net_of_connection(connection: u64) -> Option<u64> {
    member(connection, NF_CONN_NET.load())
}

/// The `status` of a `struct nf_conn`: `unsigned long`, of which all bits that are known are low
/// ones.
#[inline(always)]
pub(crate) fn status(connection: u64) -> Option<u32> {
    member::<u64>(connection, NF_CONN_STATUS.load()).map(|status| status as u32)
}

/// The `status` and the `struct net` of a `struct nf_conn`: one read where they stand beside each
/// other (6.1 to 7.2) or with one word between them (5.10).
#[inline(always)]
pub(crate) fn status_and_net(connection: u64) -> Option<(u32, u64)> {
    let start = NF_CONN_STATUS.load();
    match NF_CONN_NET.load().wrapping_sub(start) {
        8 => member::<[u64; 2]>(connection, start).map(|[status, net]| (status as u32, net)),
        16 => member::<[u64; 3]>(connection, start).map(|[status, _, net]| (status as u32, net)),
        _ => Some((status(connection)?, net_of_connection(connection)?)),
    }
}

/// The kernel's clock, in jiffies.
#[inline(always)]
pub(crate) fn jiffies() -> u64 {
    // SAFETY: the helper has no arguments and no preconditions.
    unsafe { bpf_jiffies64() }
}

/// The `timeout` of a `struct nf_conn`: when it expires, in jiffies; until it is in the table, after
/// how many. 0 until its tracker accepts a packet (`nf_ct_refresh_acct`).
#[inline(always)]
pub(crate) fn timeout(connection: u64) -> Option<u32> {
    member(connection, NF_CONN_TIMEOUT.load())
}

/// `nf_ct_is_expired`: whether the time of a `struct nf_conn` is over; not where that cannot be read.
#[inline(always)]
pub(crate) fn is_expired(connection: u64) -> bool {
    timeout(connection).is_some_and(|timeout| timeout.wrapping_sub(jiffies() as u32) as i32 <= 0)
}

/// `nf_ct_ext_valid_pre` (5.19 on, taken out again in stable releases of 2026): whether the
/// extensions of a `struct nf_conn` are of an older generation than the kernel's, since a module
/// that they may point into was unloaded. Not where that cannot be read.
#[inline(always)]
pub(crate) fn is_stale(connection: u64) -> bool {
    if NF_CONN_EXT.load() == ABSENT || GENERATION.load() == 0 {
        return false;
    }
    let Some(extensions @ 1..) = member::<u64>(connection, NF_CONN_EXT.load()) else {
        return false;
    };
    let generation: Option<u32> = member(extensions, EXT_GENERATION.load());
    generation.is_some_and(|own| read(GENERATION.load()).is_some_and(|now: u32| own != now))
}

/// The conntrack zone of a `struct nf_conn`; 0, the usual one, where it cannot be read.
#[inline(always)]
pub(crate) fn zone(connection: u64) -> u16 {
    match NF_CONN_ZONE.load() {
        ABSENT => 0,
        offset => member(connection, offset).unwrap_or(0),
    }
}

/// The `mark` of a `struct nf_conn`; 0 where it cannot be read.
#[inline(always)]
pub(crate) fn mark(connection: u64) -> u32 {
    match NF_CONN_MARK.load() {
        ABSENT => 0,
        offset => member(connection, offset).unwrap_or(0),
    }
}

/// The `proto.tcp.state` of a `struct nf_conn`; 0 (`TCP_CONNTRACK_NONE`) where it cannot be read.
#[inline(always)]
pub(crate) fn tcp_state(connection: u64) -> u8 {
    match NF_CONN_TCP_STATE.load() {
        ABSENT => 0,
        offset => member(connection, offset).unwrap_or(0),
    }
}

/// The `id` of a `struct nf_conntrack_zone`, its first member.
#[inline(always)]
pub(crate) fn zone_id(zone: u64) -> u16 {
    if NF_CONN_ZONE.load() == ABSENT { 0 } else { read(zone).unwrap_or(0) }
}

/// The address of a `struct nf_conn`'s original tuple.
#[inline(always)]
pub(crate) fn original_tuple(connection: u64) -> u64 {
    connection + u64::from(NF_CONN_TUPLEHASH.load()) + u64::from(TUPLE_HASH_TUPLE.load())
}

/// The address of a `struct nf_conn`'s reply tuple.
#[inline(always)]
pub(crate) fn reply_tuple(connection: u64) -> u64 {
    original_tuple(connection) + u64::from(TUPLE_HASH_SIZE.load())
}

/// The IP protocol of a `struct nf_conn`.
#[inline(always)]
pub(crate) fn protocol(connection: u64) -> Option<u8> {
    member(original_tuple(connection), TUPLE_PROTOCOL.load())
}

/// The inode number of a `struct net`.
#[inline(always)]
pub(crate) fn inode(net: u64) -> Option<u32> {
    member(net, NET_INUM.load())
}

/// The `struct net` of a `struct nf_hook_state`.
#[inline(always)]
pub(crate) fn net_of_hook(state: u64) -> Option<u64> {
    member(state, HOOK_STATE_NET.load())
}

/// The address of the table (`nf_conntrack_hash`); `None` where it is hidden.
#[inline(always)]
pub(crate) fn table() -> Option<u64> {
    variable(TABLE.load())
}

/// How many buckets the table has (`nf_conntrack_htable_size`); `None` where that is hidden.
#[inline(always)]
pub(crate) fn table_size() -> Option<u32> {
    variable(TABLE_SIZE.load())
}

/// The value of a variable of the kernel, whose address is 0 where it is hidden.
#[inline(always)]
fn variable<T>(address: u64) -> Option<T> {
    if address == 0 { None } else { read(address) }
}

/// The `struct nf_conntrack_tuple_hash` around its node.
#[inline(always)]
pub(crate) fn around_node(node: u64) -> u64 {
    node - u64::from(TUPLE_HASH_NODE.load())
}

/// The `struct nf_conn` around its first `tuplehash`.
#[inline(always)]
pub(crate) fn around_first_hash(hash: u64) -> u64 {
    hash - u64::from(NF_CONN_TUPLEHASH.load())
}

/// The `struct nf_conn` around either of its two `tuplehash`es, which says itself which it is.
#[inline(always)]
pub(crate) fn around_hash(hash: u64) -> Option<u64> {
    let direction: u8 = member(hash, TUPLE_HASH_DIR.load())?;
    let before = u64::from(direction & 1) * u64::from(TUPLE_HASH_SIZE.load());
    Some(around_first_hash(hash - before))
}

/// A packet's `_nfct`: its connection (0 for none) and its `ctinfo`.
#[inline(always)]
pub(crate) fn connection_of_packet(packet: u64) -> Option<(u64, u32)> {
    let nfct: u64 = member(packet, SK_BUFF_NFCT.load())?;
    Some((nfct & POINTER, (nfct & !POINTER) as u32))
}

/// The number of the hook of a `struct nf_hook_state`; [`UNKNOWN`] without one. It has 8 bits, and in
/// 5.10 32, of which these are the first.
#[inline(always)]
pub(crate) fn hook_number(state: u64) -> u8 {
    match HOOK_STATE_HOOK.load() {
        ABSENT => UNKNOWN,
        _ if state == 0 => UNKNOWN,
        offset => member(state, offset).unwrap_or(UNKNOWN),
    }
}

/// The index of a packet's device; 0 where it has none, or that cannot be read.
#[inline(always)]
pub(crate) fn ifindex(packet: u64) -> u32 {
    if SK_BUFF_DEV.load() == ABSENT {
        return 0;
    }
    match member::<u64>(packet, SK_BUFF_DEV.load()) {
        Some(device @ 1..) => member(device, NET_DEVICE_IFINDEX.load()).unwrap_or(0),
        _ => 0,
    }
}

/// Where a packet's IP header begins, and how many bytes from there on are in the packet's linear part.
/// 64-bit kernels have positions as offsets from the beginning of the buffer.
#[inline(always)]
pub(crate) fn headers(packet: u64) -> Option<(u64, u32)> {
    if SK_BUFF_HEAD.load() == ABSENT {
        return None;
    }
    let head: u64 = member(packet, SK_BUFF_HEAD.load())?;
    let tail: u32 = member(packet, SK_BUFF_TAIL.load())?;
    let start: u16 = member(packet, SK_BUFF_NETWORK_HEADER.load())?;
    let start = u32::from(start);
    (start < tail).then(|| (head + u64::from(start), tail - start))
}
