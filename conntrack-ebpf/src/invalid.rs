//! Packets that the protocol trackers refuse (INVALID), each with the kernel's own text for the reason:
//! for `ctpulse drops --invalid`.
//!
//! The trackers call one of two functions for each such packet, whether or not
//! `nf_conntrack_log_invalid` is set, and for some packets that they accept: user space distinguishes
//! them by the text. Both functions take any number of arguments, for which a kernel has no
//! trampolines, so kprobes are the only way.

use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_probe_read_kernel_buf};
use aya_ebpf::macros::{kprobe, kretprobe, map};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use conntrack_ebpf::{
    InvalidKey, InvalidRecord, InvalidReporting, InvalidText, NO_TEXT, PACKET_BYTES, REFUSED_BITS,
    TEXT_BYTES, TUPLE_BYTES, UNKNOWN, UNREAD_TEXT,
};

use crate::calls::{Kind, key, recall_at, remember_at};
use crate::counters::increment;
use crate::kernel::{self, REPLY, connection_of_packet, net_of_connection, net_of_hook, read};
use crate::namespace::{count_unknown, is_sampled};
use crate::registers::six_arguments;
use crate::reports::{NO_WAKEUP, Window};

// Names and meanings: `conntrack_ebpf::names`.
#[unsafe(no_mangle)]
static INVALID_HAS_STATE: Global<u32> = Global::new(0);

/// The loader sets the size.
#[map]
static INVALID_PACKETS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// The loader sets the number of entries of this map and of the next two.
#[map]
static INVALID_TEXTS: HashMap<u64, InvalidText> = HashMap::with_max_entries(1, 0);

#[map]
static INVALID_COUNTS: PerCpuHashMap<InvalidKey, u64> = PerCpuHashMap::with_max_entries(1, 0);

/// The connections whose first packet a text was seen for, by a hash of the address.
#[map]
static REFUSED: Array<u64> = Array::with_max_entries(1, 0);

#[map]
static INVALID_REPORTING: PerCpuArray<InvalidReporting> = PerCpuArray::with_max_entries(1, 0);

/// A format that stands for another text: `"%s"` with the text as the next argument, and `"%pV"` with
/// a `struct va_format`, whose first member is the format.
const STRING: u32 = u32::from_le_bytes(*b"%s\0\0");
const STRING_MASK: u32 = 0x00ff_ffff;
const VA_FORMAT: u32 = u32::from_le_bytes(*b"%pV\0");

/// A packet that a tracker judged.
struct Judged {
    /// The `struct sk_buff`.
    packet: u64,
    /// The `struct nf_conn`, 0 for none.
    connection: u64,
    /// The `struct net`.
    net: u64,
    /// The `struct nf_hook_state`, 0 where the function does not have it.
    state: u64,
    protocol: u8,
    /// See [`InvalidRecord::text`].
    text: u64,
}

/// `void nf_ct_l4proto_log_invalid(const struct sk_buff *skb, const struct nf_conn *ct, const struct
/// nf_hook_state *state, const char *fmt, ...)` (5.14 on; before without `state`). Each call of it that
/// is logged is a call of the next function, too.
#[kprobe]
fn connection_invalid(ctx: ProbeContext) -> u32 {
    let [packet, connection, third, fourth, fifth, _] = six_arguments(&ctx);
    let (state, format, next) =
        if INVALID_HAS_STATE.load() != 0 { (third, fourth, fifth) } else { (0, third, fourth) };
    let text = match read::<u32>(format) {
        Some(start) if start & STRING_MASK == STRING => next,
        Some(VA_FORMAT) => read(next).unwrap_or(0),
        Some(_) => format,
        None => 0,
    };
    let Some(net) = net_of_connection(connection) else { return count_unknown() };
    let Some(protocol) = kernel::protocol(connection) else { return count_unknown() };
    mark_refused(connection, connection);
    judge(&Judged { packet, connection, net, state, protocol, text: learn(text) })
}

/// `void nf_l4proto_log_invalid(const struct sk_buff *skb, const struct nf_hook_state *state, u8
/// protonum, const char *fmt, ...)` (5.14 on), `(const struct sk_buff *skb, struct net *net, u16 pf, u8
/// protonum, const char *fmt, ...)` (before).
#[kprobe]
fn packet_invalid(ctx: ProbeContext) -> u32 {
    let [packet, second, third, fourth, fifth, sixth] = six_arguments(&ctx);
    let (state, net, protocol, format, next) = if INVALID_HAS_STATE.load() != 0 {
        // At once, and not with the connection below: kept as an `Option`, a register would have no value
        // on one of two paths that the compiler joins.
        let Some(net) = net_of_hook(second) else { return count_unknown() };
        (second, net, third, fourth, fifth)
    } else {
        (0, second, fourth, fifth, sixth)
    };
    let text = match read::<u32>(format) {
        // The text that the function above was called with.
        Some(VA_FORMAT) => return 0,
        Some(start) if start & STRING_MASK == STRING => next,
        Some(_) => format,
        None => 0,
    };
    let Some((connection, _)) = connection_of_packet(packet) else { return count_unknown() };
    // The text `invalid new` comes here.
    mark_refused(connection, connection);
    judge(&Judged { packet, connection, net, state, protocol: protocol as u8, text: learn(text) })
}

/// `static noinline bool tcp_new(struct nf_conn *ct, const struct sk_buff *skb, unsigned int dataoff,
/// const struct tcphdr *th)` (5.10 to 6.11), with `const struct nf_hook_state *state` (6.12 on): whether
/// the first packet begins a connection.
#[kprobe]
fn tcp_new(ctx: ProbeContext) -> u32 {
    let [connection, packet] = [0, 1].map(|number| ctx.arg::<u64>(number).unwrap_or(0));
    mark_refused(connection, 0);
    remember_at(key(&ctx, Kind::Plain), [connection, packet, 0, 0])
}

/// A refusal with a text (`invalid new`, 6.12 on) was seen where the text was.
#[kretprobe]
fn tcp_new_return(ctx: RetProbeContext) -> u32 {
    // A bool has one byte of the register.
    let is_refused = ctx.ret::<u64>() as u8 == 0;
    let Some([connection, packet, ..]) = recall_at(key(&ctx, Kind::Plain)) else {
        return if is_refused { count_unknown() } else { 0 };
    };
    // SAFETY: an element of the array.
    let has_text =
        refused(connection).is_some_and(|place| unsafe { place.read_volatile() } == connection);
    if !is_refused || has_text {
        return 0;
    }
    let Some(net) = net_of_connection(connection) else { return count_unknown() };
    judge(&Judged { packet, connection, net, state: 0, protocol: TCP, text: NO_TEXT })
}

/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// Writes the place in [`REFUSED`] of a connection: the connection if a text was seen for it, and 0 when
/// its first packet is judged.
#[inline(always)]
fn mark_refused(connection: u64, mark: u64) {
    if let Some(place) = refused(connection) {
        // SAFETY: an element of the array; another CPU's write to it is another connection's.
        unsafe { place.write_volatile(mark) };
    }
}

/// The place in [`REFUSED`] of a connection.
#[inline(always)]
fn refused(connection: u64) -> Option<*mut u64> {
    // Fibonacci hashing: 2^64 divided by the golden ratio.
    let hash = connection.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    REFUSED.get_ptr_mut((hash >> (64 - REFUSED_BITS)) as u32)
}

/// Reads a text the first time that it is seen. Returns its address, or [`UNREAD_TEXT`].
#[inline(always)]
fn learn(text: u64) -> u64 {
    if INVALID_TEXTS.get_ptr(text).is_some() {
        return text;
    }
    let mut copy = InvalidText { bytes: [0; TEXT_BYTES] };
    // SAFETY: the helper writes at most so many bytes to `copy`, and checks the address.
    let length = unsafe {
        bpf_probe_read_kernel_str(
            copy.bytes.as_mut_ptr().cast(),
            TEXT_BYTES as u32,
            text as *const core::ffi::c_void,
        )
    };
    let is_known = length > 0 && INVALID_TEXTS.insert(text, copy, 0).is_ok();
    if is_known { text } else { UNREAD_TEXT }
}

/// Counts and reports a packet of a sampled namespace.
#[inline(always)]
fn judge(judged: &Judged) -> u32 {
    let Some(inode) = kernel::inode(judged.net) else { return count_unknown() };
    if !is_sampled(inode) {
        return 0;
    }
    let Some(memory) = INVALID_REPORTING.get_ptr_mut(0) else { return 0 };
    let key = InvalidKey { text: judged.text, inode, protocol: u32::from(judged.protocol) };
    if !count(&key) {
        // SAFETY: an element of the map.
        increment(unsafe { &raw mut (*memory).uncounted });
    }
    report(judged, inode, memory);
    0
}

/// Adds one to a counter. Returns false where there is no room for it.
#[inline(always)]
fn count(key: &InvalidKey) -> bool {
    if add(key) {
        return true;
    }
    // Another CPU may have made the counter meanwhile.
    INVALID_COUNTS.insert(key, 1, u64::from(BPF_NOEXIST)).is_ok() || add(key)
}

#[inline(always)]
fn add(key: &InvalidKey) -> bool {
    let Some(counter) = INVALID_COUNTS.get_ptr_mut(key) else { return false };
    increment(counter);
    true
}

/// Puts a record into the ring.
#[inline(always)]
fn report(judged: &Judged, inode: u32, memory: *mut InvalidReporting) {
    // SAFETY: `memory` is an element of the map.
    let window = unsafe {
        Window { window: &raw mut (*memory).window, reported: &raw mut (*memory).reported }
    };
    let Some(time_ns) = window.admit() else {
        // SAFETY: the same element.
        increment(unsafe { &raw mut (*memory).left_out });
        return;
    };
    let Some(mut place) = INVALID_PACKETS.reserve::<InvalidRecord>(0) else {
        // SAFETY: the same element.
        increment(unsafe { &raw mut (*memory).lost });
        return;
    };
    let record = place.as_mut_ptr();
    // SAFETY: `reserve` returned room for one record, which nothing else accesses until it is submitted;
    // every byte is written.
    unsafe {
        (*record).time_ns = time_ns;
        (*record).text = judged.text;
        (*record).cpu = bpf_get_smp_processor_id();
        (*record).inode = inode;
        (*record).ifindex = kernel::ifindex(judged.packet);
        (*record).hook = kernel::hook_number(judged.state);
        (*record).protocol = judged.protocol;
        (*record).padding = [0; 3];
        write_connection(record, judged);
        write_packet(record, judged.packet);
    }
    place.submit(NO_WAKEUP);
}

/// Writes the connection of a packet into its record.
///
/// # Safety
/// `record` is room for a record that nothing else accesses.
#[inline(always)]
unsafe fn write_connection(record: *mut InvalidRecord, judged: &Judged) {
    let direction = match connection_of_packet(judged.packet) {
        Some((1.., info)) => u8::from(info >= REPLY),
        _ => UNKNOWN,
    };
    // SAFETY: the caller's.
    unsafe {
        (*record).zone = 0;
        (*record).direction = UNKNOWN;
        (*record).tuple = [0; TUPLE_BYTES];
        if judged.connection != 0 {
            (*record).zone = kernel::zone(judged.connection);
            (*record).direction = direction;
            let tuple = kernel::original_tuple(judged.connection);
            // A tuple that cannot be read stays 0.
            let _ = bpf_probe_read_kernel_buf(tuple as *const u8, &mut (*record).tuple);
        }
    }
}

/// Writes the beginning of a packet into its record: as many bytes as there is room for, of which the
/// length says how many are the packet's.
///
/// # Safety
/// `record` is room for a record that nothing else accesses.
#[inline(always)]
unsafe fn write_packet(record: *mut InvalidRecord, packet: u64) {
    // SAFETY: the caller's.
    unsafe {
        (*record).packet_length = 0;
        (*record).packet = [0; PACKET_BYTES];
        if let Some((start, length)) = kernel::headers(packet)
            && bpf_probe_read_kernel_buf(start as *const u8, &mut (*record).packet).is_ok()
        {
            (*record).packet_length = length;
        }
    }
}
