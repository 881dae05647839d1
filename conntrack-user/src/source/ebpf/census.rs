//! The census: reads the entries of the kernel's table, without its locks and without a dump.
//!
//! The program is loaded and never attached; each run (`BPF_PROG_TEST_RUN`) reads some buckets. It
//! needs `CAP_BPF` and `CAP_PERFMON`, and `CAP_SYSLOG` to see the address of the table. The table is
//! one for all network namespaces, so one pass sees the entries of all of them.

#![allow(unsafe_code, reason = "the program's memory has a fixed layout that aya must know")]

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use aya::maps::{Array, MapData};
use aya::programs::{RawTracePoint, RawTracePointRunOptions, TestRun as _};
use aya::{Ebpf, Pod};
use conntrack_ebpf::{CensusEntry, CensusRun, TUPLE_WORDS, end, names};
use rustix::time::{ClockId, clock_getres};

use super::attach::Kernel;
use super::btf::BtfError;
use super::error::EventsError;
use super::loader::{self, Constants};
use super::offsets::{Offsets, TupleLayout};
use super::refusal::Refusal;
use super::symbols::{RESIZE_SEQUENCE, TABLE, TABLE_SIZE};
use super::tuple::{Tuple, tuple_of};

/// The name of the program in the object.
const PROGRAM: &str = "census";

/// After this time a run ends behind the bucket that it reads: preemption is off meanwhile.
const RUN_NS: u64 = 50_000;

/// How often a pass begins again because the table was resized.
const MOST_RESTARTS: u32 = 20;

/// How often one run is requested again that the kernel did not make.
const MOST_SKIPPED_RUNS: u32 = 8;

/// `IPS_*` bits of `include/uapi/linux/netfilter/nf_conntrack_common.h`.
mod status {
    pub(super) const SEEN_REPLY: u32 = 1 << 1;
    pub(super) const ASSURED: u32 = 1 << 2;
    pub(super) const OFFLOAD: u32 = 1 << 14;
    pub(super) const HARDWARE_OFFLOAD: u32 = 1 << 15;
}

/// Why there is no census.
#[derive(Debug, thiserror::Error)]
pub enum CensusError {
    /// The kernel refused the program or a run of it.
    #[error(transparent)]
    Refused(#[from] EventsError),
    /// The kernel's types cannot be read.
    #[error("the kernel's BTF, which gives the layout of an entry, cannot be used: {0}")]
    Types(#[from] BtfError),
    /// This kernel's `struct nf_conntrack_tuple_hash` is not the one that the program was written for.
    #[error(
        "struct nf_conntrack_tuple_hash of this kernel has another layout than those of 5.10 to 7.3"
    )]
    Layout,
    /// `/proc/kallsyms` shows no address of the table.
    #[error(
        "/proc/kallsyms does not show the address of nf_conntrack_hash; run as root or grant \
         CAP_SYSLOG, and see kernel.kptr_restrict (at 2 addresses are hidden from every process)"
    )]
    HiddenTable,
    /// `/proc/kallsyms` has functions only.
    #[error(
        "/proc/kallsyms has no variables, as CONFIG_KALLSYMS_ALL is not set; so the address of \
         nf_conntrack_hash is not known; conntrack -L lists the entries"
    )]
    NoVariables,
    /// The table is no longer where it was.
    #[error("nf_conntrack was unloaded, or loaded again")]
    Unloaded,
    /// The table was resized again and again.
    #[error("the table was resized {MOST_RESTARTS} times while it was read")]
    Resized,
    /// The kernel skips the runs of the program.
    #[error("the kernel did not run the census program")]
    NotRun,
    /// The table's memory could not be read.
    #[error("the memory of the table cannot be read")]
    Unreadable,
}

impl CensusError {
    /// Whether there may be a census later: the module is loaded (again), or another attempt succeeds.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused(error) => error.may_pass(),
            Self::Unloaded | Self::Resized | Self::NotRun | Self::Unreadable => true,
            Self::Types(_) | Self::Layout | Self::HiddenTable | Self::NoVariables => false,
        }
    }
}

/// An entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The original direction.
    pub original: Tuple,
    /// The reply direction: what an answer looks like before it is translated back.
    pub reply: Tuple,
    /// The inode number of its network namespace; 0 where it could not be read.
    pub inode: u32,
    /// Its conntrack zone.
    pub zone: u16,
    /// Its mark; 0 on kernels without it.
    pub mark: u32,
    /// `enum tcp_conntrack`, for TCP only.
    pub tcp_state: u8,
    /// `IPS_*` bits.
    pub status: u32,
    /// Its time is over, and it is not collected yet. Never for an offloaded entry, whose timeout is
    /// refreshed late.
    pub is_expired: bool,
    /// Jiffies until its time is over; at most 0 where it is.
    pub remaining: i32,
}

impl Entry {
    /// No packet of the reply direction was seen.
    #[must_use]
    pub fn is_unreplied(&self) -> bool {
        self.status & status::SEEN_REPLY == 0
    }

    /// It is not evicted when the table is full.
    #[must_use]
    pub fn is_assured(&self) -> bool {
        self.status & status::ASSURED != 0
    }

    /// A flow table forwards its packets.
    #[must_use]
    pub fn is_offloaded(&self) -> bool {
        self.status & (status::OFFLOAD | status::HARDWARE_OFFLOAD) != 0
    }
}

/// How much of the table a pass read, and what it could not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    /// Buckets of the table.
    pub buckets: u32,
    /// Buckets that were read whole.
    pub buckets_read: u32,
    /// Entries in them, of all network namespaces.
    pub entries: u64,
    /// How often a chain was read again because its entries moved.
    pub moved: u64,
    /// Buckets without a result: entries moved again and again, or the chain is longer than a run.
    pub buckets_lost: u64,
    /// Entries and nodes that could not be read.
    pub unreadable: u64,
    /// How often the pass began again because the table was resized.
    pub restarts: u32,
    /// Runs of the program.
    pub runs: u64,
    /// The longest run, with preemption off.
    pub longest_run: Duration,
}

impl Pass {
    /// The part of the table that was read, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        f64::from(self.buckets_read) / f64::from(self.buckets.max(1))
    }
}

/// How much of the table to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// All buckets.
    Whole,
    /// One of so many buckets, in one range from a random bucket on: entries are in the buckets by a
    /// keyed hash.
    OneOf(u32),
    /// So many buckets, or all of a smaller table.
    Buckets(u32),
}

impl Sample {
    /// What is read unless something else is asked for: a quarter of the default table of a large host,
    /// which has 262,144 buckets, and all of a smaller table.
    pub const DEFAULT: Self = Self::Buckets(65_536);

    fn buckets(self, of: u32) -> u32 {
        match self {
            Self::Whole => of,
            Self::OneOf(parts) => of.div_ceil(parts.max(1)),
            Self::Buckets(most) => most.min(of),
        }
    }
}

/// The program's memory, in the type that aya requires.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Memory(CensusRun);

// SAFETY: integers only, without padding (asserted where it is defined), and every value of them is one.
unsafe impl Pod for Memory {}

/// The directory of the module, which is another one after the module was loaded again; a kernel with
/// conntrack built in has the same one for good.
pub(crate) const MODULE: &str = "/sys/module/nf_conntrack";

/// The loaded program.
pub struct Census {
    ebpf: Ebpf,
    memory: Array<MapData, Memory>,
    layout: TupleLayout,
    /// The inode number of [`MODULE`] when the address of the table was read.
    module: Option<u64>,
    serial: u64,
}

/// The inode number of [`MODULE`].
fn module() -> Option<u64> {
    std::fs::metadata(MODULE).ok().map(|metadata| metadata.ino())
}

impl Census {
    /// Loads the program.
    ///
    /// # Errors
    /// [`CensusError`].
    pub fn load() -> Result<Self, CensusError> {
        let module = module();
        let kernel = Kernel::read()?;
        let offsets = kernel.types.map_err(CensusError::Types)?.offsets;
        check_layout(&offsets)?;
        let [table, table_size, resizes] =
            [TABLE, TABLE_SIZE, RESIZE_SEQUENCE].map(|name| kernel.symbols.address(name));
        if [table, table_size, resizes].contains(&0) {
            return Err(match &kernel.symbols {
                symbols if symbols.has_variable(TABLE) => CensusError::HiddenTable,
                symbols if symbols.has_functions() => CensusError::NoVariables,
                _ => EventsError::NoFunctions.into(),
            });
        }
        let constants =
            Constants { offsets, table, table_size, resizes, length: 1, ..Constants::default() };
        let mut ebpf = loader::load(&constants)?;
        let refused = |refusal| EventsError::from_refusal(refusal);
        program(&mut ebpf)?.load().map_err(|error| refused(Refusal::of_program(&error)))?;
        let memory = ebpf.take_map(names::CENSUS).ok_or_else(|| absent(names::CENSUS))?;
        let memory = Array::try_from(memory).map_err(|error| refused(Refusal::of_map(&error)))?;
        Ok(Self { ebpf, memory, layout: offsets.tuple, module, serial: 0 })
    }

    /// Reads a part of the table into what `new` makes; `new` is called again when the table was
    /// resized meanwhile.
    ///
    /// # Errors
    /// [`CensusError`].
    pub fn pass<T>(
        &mut self,
        sample: Sample,
        mut new: impl FnMut() -> T,
        mut add: impl FnMut(&mut T, &Entry),
    ) -> Result<(T, Pass), CensusError> {
        for restarts in 0..MOST_RESTARTS {
            let mut result = new();
            let pass = self.try_pass(sample, &mut |entry| add(&mut result, entry));
            // Behind the pass: memory of an unloaded module may hold anything.
            if module() != self.module {
                return Err(CensusError::Unloaded);
            }
            if let Some(pass) = pass? {
                return Ok((result, Pass { restarts, ..pass }));
            }
        }
        Err(CensusError::Resized)
    }

    /// `None` where the table was resized meanwhile.
    fn try_pass(
        &mut self,
        sample: Sample,
        add: &mut dyn FnMut(&Entry),
    ) -> Result<Option<Pass>, CensusError> {
        let size = self.run(0, 0)?;
        if size.end != end::COMPLETE {
            return Ok(None);
        }
        let mut pass = Pass { buckets: size.buckets, ..Pass::default() };
        let mut left = sample.buckets(size.buckets);
        let mut bucket = if left < size.buckets { fastrand::u32(..size.buckets) } else { 0 };
        while left > 0 {
            let run = self.run(bucket, left.min(size.buckets - bucket))?;
            if run.end == end::RESIZED {
                return Ok(None);
            }
            pass.add(&run);
            let entries = run.entries.iter().take(run.whole as usize);
            entries.filter_map(|entry| decode(entry, run.jiffies, &self.layout)).for_each(
                |entry| {
                    pass.entries += 1;
                    add(&entry);
                },
            );
            // A run that has read no bucket whole has met a chain that is longer than a run.
            let done = run.done.max(1);
            pass.buckets_lost += u64::from(run.done == 0);
            left -= done;
            bucket = (bucket + done) % size.buckets;
        }
        Ok(Some(pass))
    }

    /// One run of the program.
    fn run(&mut self, first: u32, buckets: u32) -> Result<CensusRun, CensusError> {
        for _ in 0..MOST_SKIPPED_RUNS {
            self.serial += 1;
            let mut options = RawTracePointRunOptions::new();
            options.args[..4].copy_from_slice(&[first.into(), buckets.into(), RUN_NS, self.serial]);
            let ran = program(&mut self.ebpf)?.test_run(options);
            ran.map_err(|error| EventsError::from_refusal(Refusal::of_program(&error)))?;
            let read = self.memory.get(&0, 0);
            let Memory(run) = read.map_err(EventsError::from)?;
            match run.end {
                _ if run.serial != self.serial => {}
                end::UNREADABLE => return Err(CensusError::Unreadable),
                _ => return Ok(CensusRun { done: run.done.min(buckets), ..run }),
            }
        }
        Err(CensusError::NotRun)
    }
}

/// How many jiffies a second has (`CONFIG_HZ`): the coarse clock advances with each of them
/// (`posix_get_coarse_res`).
#[must_use]
pub fn jiffies_per_second() -> u32 {
    let jiffy = clock_getres(ClockId::MonotonicCoarse).tv_nsec.max(1);
    (1e9 / jiffy as f64).round() as u32
}

impl std::fmt::Debug for Census {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Census").field("serial", &self.serial).finish_non_exhaustive()
    }
}

impl Pass {
    fn add(&mut self, run: &CensusRun) {
        self.buckets_read += run.done - run.lost;
        self.moved += u64::from(run.moved);
        self.buckets_lost += u64::from(run.lost);
        self.unreadable += u64::from(run.unreadable);
        self.runs += 1;
        self.longest_run = self.longest_run.max(Duration::from_nanos(run.time_ns));
    }
}

fn absent(name: &str) -> EventsError {
    EventsError::Refused(format!("the object has no {name}"))
}

fn program(ebpf: &mut Ebpf) -> Result<&mut RawTracePoint, EventsError> {
    let program = ebpf.program_mut(PROGRAM).ok_or_else(|| absent(PROGRAM))?;
    program.try_into().map_err(|_| absent(PROGRAM))
}

/// The program reads a `struct nf_conntrack_tuple_hash` as words: the node (two), and the tuple, whose
/// last byte is its direction.
fn check_layout(offsets: &Offsets) -> Result<(), CensusError> {
    let tuple = 16;
    let size = tuple + 8 * TUPLE_WORDS as u32;
    let found = (
        offsets.tuple_hash_node,
        offsets.tuple_hash_tuple,
        offsets.tuple_hash_dir,
        offsets.tuple_hash_size,
    );
    if found == (0, tuple, size - 1, size) { Ok(()) } else { Err(CensusError::Layout) }
}

/// The entry in the program's memory; `None` for a family other than IPv4 and IPv6.
fn decode(entry: &CensusEntry, jiffies: u32, layout: &TupleLayout) -> Option<Entry> {
    let tuple = |words: &[u64; TUPLE_WORDS]| {
        let mut bytes = [0; 8 * TUPLE_WORDS];
        bytes.chunks_exact_mut(8).zip(words).for_each(|(bytes, word)| {
            bytes.copy_from_slice(&word.to_ne_bytes());
        });
        tuple_of(&bytes, layout)
    };
    let decoded = Entry {
        original: tuple(&entry.original)?,
        reply: tuple(&entry.reply)?,
        inode: entry.inode,
        zone: entry.zone,
        mark: entry.mark,
        tcp_state: entry.tcp_state,
        status: entry.status,
        is_expired: false,
        remaining: entry.timeout.wrapping_sub(jiffies).cast_signed(),
    };
    let is_over = decoded.remaining <= 0;
    Some(Entry { is_expired: is_over && !decoded.is_offloaded(), ..decoded })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: TupleLayout = TupleLayout {
        source: 0,
        source_port: 16,
        family: 18,
        destination: 20,
        destination_port: 36,
        protocol: 38,
    };

    /// A tuple of UDP over IPv4, in the words of the kernel's memory.
    fn tuple(source: [u8; 4], destination: [u8; 4]) -> [u64; TUPLE_WORDS] {
        let mut bytes = [0; 40];
        bytes[..4].copy_from_slice(&source);
        bytes[16..18].copy_from_slice(&1000u16.to_be_bytes());
        bytes[18..20].copy_from_slice(&2u16.to_ne_bytes());
        bytes[20..24].copy_from_slice(&destination);
        bytes[36..40].copy_from_slice(&[0, 53, 17, 0]);
        std::array::from_fn(|word| u64::from_ne_bytes(*bytes[8 * word..].first_chunk().unwrap()))
    }

    fn entry(timeout: u32, status: u32) -> CensusEntry {
        CensusEntry {
            original: tuple([192, 0, 2, 7], [192, 0, 2, 53]),
            reply: tuple([192, 0, 2, 53], [203, 0, 113, 1]),
            timeout,
            status,
            mark: 5,
            inode: 6,
            zone: 7,
            tcp_state: 0,
            padding: [0; 5],
        }
    }

    #[test]
    fn both_directions_are_read() {
        let entry = decode(&entry(100, 1 << 1), 50, &LAYOUT).unwrap();
        assert_eq!(entry.original.source.to_string(), "192.0.2.7");
        assert_eq!((entry.original.source_port, entry.original.destination_port), (1000, 53));
        assert_eq!(entry.reply.destination.to_string(), "203.0.113.1");
        assert_eq!((entry.mark, entry.inode, entry.zone), (5, 6, 7));
        assert!(!entry.is_unreplied() && !entry.is_assured());
    }

    /// `nf_ct_is_expired`, over the wrap of the 32 bits; the timeout of an offloaded entry is refreshed
    /// late by the garbage collector (`nf_ct_offload_timeout`).
    #[test]
    fn an_entry_is_expired_when_its_time_is_over() {
        let is_expired = |timeout, jiffies, status| {
            decode(&entry(timeout, status), jiffies, &LAYOUT).unwrap().is_expired
        };
        assert!(is_expired(100, 100, 0) && is_expired(100, 101, 0));
        assert!(!is_expired(101, 100, 0));
        assert!(!is_expired(5, u32::MAX - 5, 0) && is_expired(u32::MAX - 5, 5, 0));
        assert!(!is_expired(100, 101, status::OFFLOAD));
    }

    #[test]
    fn the_remaining_time_is_that_until_the_timeout() {
        let remaining =
            |timeout, jiffies| decode(&entry(timeout, 0), jiffies, &LAYOUT).unwrap().remaining;
        assert_eq!((remaining(100, 70), remaining(70, 100)), (30, -30));
        assert_eq!(remaining(5, u32::MAX - 4), 10);
    }

    #[test]
    fn the_rate_of_the_jiffies_is_one_that_kernels_have() {
        assert!((100..=1000).contains(&jiffies_per_second()), "{}", jiffies_per_second());
    }

    #[test]
    fn another_family_is_no_entry() {
        let mut other = entry(1, 0);
        other.original = [0; TUPLE_WORDS];
        assert_eq!(decode(&other, 0, &LAYOUT), None);
    }

    #[test]
    fn another_layout_of_the_kernel_is_refused() {
        let offsets = Offsets {
            tuple_hash_node: 0,
            tuple_hash_tuple: 16,
            tuple_hash_dir: 55,
            tuple_hash_size: 56,
            ..Offsets::default()
        };
        assert!(check_layout(&offsets).is_ok());
        for other in [
            Offsets { tuple_hash_size: 64, ..offsets },
            Offsets { tuple_hash_dir: 54, ..offsets },
            Offsets { tuple_hash_node: 8, ..offsets },
        ] {
            assert!(matches!(check_layout(&other), Err(CensusError::Layout)));
        }
    }

    #[test]
    fn a_sample_is_a_part_of_the_buckets() {
        assert_eq!(Sample::Whole.buckets(1000), 1000);
        assert_eq!(Sample::OneOf(64).buckets(1000), 16);
        assert_eq!(Sample::Buckets(300).buckets(1000), 300);
        assert_eq!(Sample::Buckets(3000).buckets(1000), 1000);
    }
}
