//! Loading the object: the sizes of its maps and the constants of its programs.

use aya::maps::{HashMap, Map, MapError};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use conntrack_ebpf::{ABSENT, MOST_INVALID_COUNTS, MOST_TEXTS, REFUSED_BITS, names};

use super::error::EventsError;
use super::offsets::Offsets;
use super::refusal::Refusal;

/// The programs, built by `cargo xtask build-ebpf` from `conntrack-ebpf`.
pub(super) static OBJECT: &[u8] = include_bytes_aligned!(env!("CTPULSE_OBJECT_FILE"));

/// The size of a ring that is not used: a ring must be whole pages.
const SMALLEST_RING: u32 = 4096;
const DIAGNOSTICS_RING: u32 = 128 << 10;

/// Room for some thousands of reports, a second's of a flood.
const DROPS_RING: u32 = 1 << 20;

/// The same for INVALID packets, whose records are larger.
const INVALID_RING: u32 = 1 << 20;

/// The constants of the programs, which are set when they are loaded.
#[derive(Default)]
pub(super) struct Constants {
    /// Inode numbers of the namespaces of slot 1, 2 and so on.
    pub(super) inodes: Vec<u32>,
    /// Number of counters in all.
    pub(super) length: usize,
    /// Zeros where they are not known.
    pub(super) offsets: Offsets,
    /// The address of the kernel's table, 0 where it is hidden.
    pub(super) table: u64,
    /// The address of the table's size, 0 where it is hidden.
    pub(super) table_size: u64,
    /// The address of the generation of extensions, 0 where the kernel has no such variable or hides it.
    pub(super) generation: u64,
    /// The address of the counter of the table's resizes, 0 where it is hidden.
    pub(super) resizes: u64,
    /// Whether the programs print diagnostics.
    pub(super) diagnostics: bool,
    /// How many drops a CPU may report in a window of 8.4 ms; 0 for none.
    pub(super) reports: u64,
    /// Whether the time of insertions is taken.
    pub(super) latency: bool,
    /// Whether the tuples that NAT finds taken are counted.
    pub(super) found: bool,
    /// Where INVALID packets are counted: whether the kernel's functions take a `struct nf_hook_state`.
    pub(super) invalid: Option<bool>,
}

impl Constants {
    /// Whether connections have the generation of their extensions, and the kernel hides the current one.
    pub(super) fn hides_generation(&self) -> bool {
        self.offsets.nf_conn_ext != ABSENT && self.offsets.nf_conn_ext != 0 && self.generation == 0
    }

    /// The number of slots of each CPU.
    fn slots(&self) -> u32 {
        entries(1 + self.inodes.len())
    }

    /// log2 of the number of calls that can be under way: hundreds for each CPU, so that few displace
    /// each other.
    fn call_bits(&self) -> u32 {
        let cpus = self.length / self.slots() as usize;
        (cpus.max(1) * 256).next_power_of_two().ilog2().clamp(10, 20)
    }

    /// The number of entries of each map whose size depends on the host.
    fn maps(&self) -> [(&'static str, u32); 9] {
        let ring = |is_used, size| if is_used { size } else { SMALLEST_RING };
        let has_invalid = self.invalid.is_some();
        let invalid = |size| if has_invalid { size } else { 1 };
        [
            (names::COUNTERS, entries(self.length)),
            (names::NAMESPACES, self.slots()),
            (names::CALLS, 1 << self.call_bits()),
            (names::DROPS, ring(self.reports > 0, DROPS_RING)),
            (names::DIAGNOSTICS, ring(self.diagnostics, DIAGNOSTICS_RING)),
            (names::INVALID_PACKETS, ring(has_invalid && self.reports > 0, INVALID_RING)),
            (names::INVALID_TEXTS, invalid(MOST_TEXTS)),
            (names::INVALID_COUNTS, invalid(MOST_INVALID_COUNTS)),
            (names::REFUSED, invalid(1 << REFUSED_BITS)),
        ]
    }

    fn numbers(&self) -> [(&'static str, u32); 7] {
        let (one, many) = match self.inodes[..] {
            [one] => (one, false),
            [] => (0, false),
            _ => (0, true),
        };
        [
            (names::CALL_BITS, self.call_bits()),
            (names::TAKE_LATENCY, self.latency.into()),
            (names::COUNT_FOUND, self.found.into()),
            (names::INVALID_HAS_STATE, self.invalid.unwrap_or_default().into()),
            (names::SLOTS, self.slots()),
            (names::NAMESPACE, one),
            (names::MANY, many.into()),
        ]
    }

    fn long_numbers(&self) -> [(&'static str, u64); 5] {
        [
            (names::REPORTS, self.reports),
            (names::TABLE, self.table),
            (names::TABLE_SIZE, self.table_size),
            (names::GENERATION, self.generation),
            (names::RESIZES, self.resizes),
        ]
    }
}

fn entries(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Loads the object; no program is in the kernel yet.
pub(super) fn load(constants: &Constants) -> Result<Ebpf, EventsError> {
    let level = if constants.diagnostics { log::Level::Debug as u8 } else { 0 };
    let (numbers, offsets) = (constants.numbers(), constants.offsets.globals());
    let long_numbers = constants.long_numbers();
    let mut loader = EbpfLoader::new();
    for (name, entries) in constants.maps() {
        loader.map_max_entries(name, entries);
    }
    loader.override_global(names::DIAGNOSTICS_LEVEL, &level, true);
    for (name, value) in numbers.iter().chain(&offsets) {
        loader.override_global(name, value, true);
    }
    for (name, value) in &long_numbers {
        loader.override_global(name, value, true);
    }
    let mut ebpf = loader
        .load(OBJECT)
        .map_err(|error| EventsError::from_refusal(Refusal::of_object(&error)))?;
    if constants.inodes.len() > 1 {
        fill_namespaces(&mut ebpf, &constants.inodes)
            .map_err(|error| EventsError::from_refusal(Refusal::of_map(&error)))?;
    }
    Ok(ebpf)
}

/// Takes a map out of the loaded object.
///
/// # Errors
/// The object has no such map, or one of another type.
pub(super) fn take_map<M>(ebpf: &mut Ebpf, name: &str) -> Result<M, EventsError>
where
    M: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name);
    let absent = || EventsError::Refused(format!("the object has no map {name}"));
    Ok(M::try_from(map.ok_or_else(absent)?)?)
}

/// Gives each namespace its slot.
fn fill_namespaces(ebpf: &mut Ebpf, inodes: &[u32]) -> Result<(), MapError> {
    let Some(map) = ebpf.map_mut(names::NAMESPACES) else { return Ok(()) };
    let mut map = HashMap::<_, u32, u32>::try_from(map)?;
    for (slot, inode) in (1u32..).zip(inodes) {
        map.insert(inode, slot, 0)?;
    }
    Ok(())
}
