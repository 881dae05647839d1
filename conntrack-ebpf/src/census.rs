//! The census: reads a range of the table's buckets, without locks, and hands out their entries.
//!
//! The program is never attached. User space runs it (`BPF_PROG_TEST_RUN`, from 5.10 on), and each run
//! is under `rcu_read_lock` with preemption off (`__bpf_prog_test_run_raw_tp`), so the memory of an
//! entry stays that of an entry while it lasts.
//!
//! The loop is flat, and its state is in the map's element instead of registers: the verifier then has
//! few states to tell apart. One thread of user space makes all runs.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::{map, raw_tracepoint};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::RawTracePointContext;
use conntrack_ebpf::{CENSUS_STEPS, CensusEntry, CensusRun, TUPLE_WORDS, end};

use crate::kernel::{self, CONFIRMED, read};

// `conntrack_ebpf::names::RESIZES`.
#[unsafe(no_mangle)]
static RESIZES: Global<u64> = Global::new(0);

#[map]
static CENSUS: Array<CensusRun> = Array::with_max_entries(1, 0);

/// How often a bucket is read again because entries moved meanwhile.
const MOST_RETRIES: u32 = 8;
/// The clock is read once in so many steps (a power of two).
const STEPS_BETWEEN_CLOCKS: u32 = 16;
/// `hnnode` and one tuple: a `struct nf_conntrack_tuple_hash` in words, which user space has compared
/// with the kernel's types.
const HASH_WORDS: usize = 2 + TUPLE_WORDS;
/// The direction of a tuple is the last byte of its last word.
const DIRECTION_SHIFT: u32 = 56;

/// The value at the end of a chain, which is odd: the number of its bucket (`NULLS_MARKER`).
#[inline(always)]
fn end_of_chain(bucket: u32) -> u64 {
    1 | u64::from(bucket) << 1
}

#[inline(always)]
fn is_end(node: u64) -> bool {
    node & 1 == 1
}

/// `seqcount_t nf_conntrack_generation`: odd while the table is resized.
#[inline(always)]
fn resizes() -> u32 {
    read(RESIZES.load()).unwrap_or(1)
}

#[inline(always)]
fn clock_ns() -> u64 {
    // SAFETY: the helper has no arguments and no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Arguments: the first bucket, the number of buckets (0 asks for the number that the table has), the
/// time in nanoseconds after which the run ends behind its first whole bucket, and a serial number.
#[raw_tracepoint]
fn census(ctx: RawTracePointContext) -> u32 {
    if let Some(run) = CENSUS.get_ptr_mut(0) {
        // SAFETY: the array's only element; user space makes one run at a time and reads between them.
        let run = unsafe { &mut *run };
        let (first, wanted): (u64, u64) = (ctx.arg(0), ctx.arg(1));
        let (budget_ns, serial): (u64, u64) = (ctx.arg(2), ctx.arg(3));
        let start_ns = clock_ns();
        run.end = read_range(run, first as u32, wanted as u32, start_ns + budget_ns);
        run.time_ns = clock_ns() - start_ns;
        run.serial = serial;
    }
    0
}

/// Reads buckets from `first` on; why it ended.
#[inline(always)]
fn read_range(run: &mut CensusRun, first: u32, wanted: u32, until_ns: u64) -> u32 {
    let resizes_before = resizes();
    let (Some(table), Some(buckets)) = (kernel::table(), kernel::table_size()) else {
        return end::UNREADABLE;
    };
    let is_another = run.table != 0 && (run.table != table || run.buckets != buckets);
    run.table = table;
    run.buckets = buckets;
    if is_another {
        return end::RESIZED;
    }
    let before = first.wrapping_sub(1);
    run.node = end_of_chain(before);
    run.bucket = before;
    run.wanted = wanted;
    run.done = u32::MAX;
    run.read = 0;
    run.whole = 0;
    run.retries = 0;
    run.moved = 0;
    run.lost = 0;
    run.unreadable = 0;
    run.unconfirmed = 0;
    run.jiffies = kernel::jiffies() as u32;
    let mut why = end::STEPS;
    let mut steps = 0;
    while steps < CENSUS_STEPS {
        let ended = step(run);
        if ended != 0 {
            why = ended;
            break;
        }
        steps += 1;
        if steps % STEPS_BETWEEN_CLOCKS == 0
            && run.done.wrapping_add(1) > 1
            && clock_ns() > until_ns
        {
            why = end::TIME;
            break;
        }
    }
    // Entries are moved before the pointer to the table changes: both alone would look unchanged.
    let resizes = resizes();
    if resizes != resizes_before || resizes % 2 == 1 {
        return end::RESIZED;
    }
    why
}

/// One node, or the end of a chain; 0 to go on.
#[inline(always)]
fn step(run: &mut CensusRun) -> u32 {
    let mut node = run.node;
    if is_end(node) {
        if end_bucket(run, node) {
            return end::COMPLETE;
        }
        let Some(first) = read::<u64>(run.table + 8 * u64::from(run.bucket)) else {
            return end::UNREADABLE;
        };
        run.node = first;
        if is_end(first) {
            return 0;
        }
        node = first;
    }
    let hash = kernel::around_node(node);
    let Some(words) = read::<[u64; HASH_WORDS]>(hash) else {
        run.unreadable += 1;
        // As if the chain had ended in another bucket: this one is read again.
        run.node = end_of_chain(!run.bucket);
        return 0;
    };
    run.node = words[0];
    let is_reply = words[HASH_WORDS - 1] >> DIRECTION_SHIFT != 0;
    if !is_reply && !take(run, hash, &words) {
        run.unreadable += 1;
    }
    0
}

/// The end of a chain: takes its bucket as read, or has it read again. Returns whether the range is read.
#[inline(always)]
fn end_bucket(run: &mut CensusRun, node: u64) -> bool {
    if node == end_of_chain(run.bucket) {
        run.whole = run.read;
    } else {
        run.moved += 1;
        run.read = run.whole;
        run.retries += 1;
        if run.retries <= MOST_RETRIES {
            return false;
        }
        run.lost += 1;
    }
    run.retries = 0;
    run.done = run.done.wrapping_add(1);
    run.bucket = run.bucket.wrapping_add(1);
    run.done == run.wanted
}

/// Hands out the entry of an original tuple. Returns whether all of it could be read.
#[inline(always)]
fn take(run: &mut CensusRun, hash: u64, words: &[u64; HASH_WORDS]) -> bool {
    let connection = kernel::around_first_hash(hash);
    let (Some((status, net)), Some(timeout)) =
        (kernel::status_and_net(connection), kernel::timeout(connection))
    else {
        return false;
    };
    if status & CONFIRMED == 0 {
        run.unconfirmed += 1;
        return true;
    }
    let Some([_, _, reply @ ..]) = read::<[u64; HASH_WORDS]>(hash + 8 * HASH_WORDS as u64) else {
        return false;
    };
    if net != run.net {
        run.inode = kernel::inode(net).unwrap_or(0);
        run.net = net;
    }
    let [_, _, original @ ..] = *words;
    let (zone, mark) = (kernel::zone(connection), kernel::mark(connection));
    let tcp_state = kernel::tcp_state(connection);
    let inode = run.inode;
    let index = run.read as usize;
    let Some(entry) = run.entries.get_mut(index) else { return false };
    *entry = CensusEntry {
        original,
        reply,
        timeout,
        status,
        mark,
        inode,
        zone,
        tcp_state,
        padding: [0; 5],
    };
    run.read = index as u32 + 1;
    true
}
