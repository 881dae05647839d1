//! Loading the programs, and attaching each hook in the best way that the kernel has.

use aya::maps::{HashMap, MapError};
use aya::programs::{KProbe, ProgramError};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use conntrack_ebpf::names;

use super::HookState;
use super::error::{EventsError, explain};
use super::offsets::Offsets;
use super::probe_table::{Hook, Variant};
use super::symbols::{Found, GENERATION, Symbols, TABLE, TABLE_SIZE};
use super::types::Types;

/// The programs, built by `cargo xtask build-ebpf` from `conntrack-ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!(env!("CTPULSE_OBJECT_FILE"));

/// A ring must be whole pages, and has no use where nobody listens.
const SMALLEST_RING: u32 = 4096;
const RING: u32 = 128 << 10;

/// Room for some thousands of reports, a second's of a flood.
const DROPS_RING: u32 = 512 << 10;

/// What the programs are told once and for all.
pub(super) struct Constants<'a> {
    /// Inode numbers of the namespaces of slot 1, 2 and so on.
    pub(super) namespaces: &'a [u32],
    /// Number of counters in all.
    pub(super) length: usize,
    /// `None` where they are not known.
    pub(super) offsets: Option<&'a Offsets>,
    /// Whether the programs' diagnostics are wanted.
    pub(super) diagnostics: bool,
    /// How many drops a CPU may report in a window of 8.4 ms; 0 for none.
    pub(super) reports: u64,
    /// Whether the time of insertions is taken.
    pub(super) latency: bool,
}

/// Loads the object; no program is in the kernel yet.
pub(super) fn load(constants: &Constants<'_>, symbols: &Symbols) -> Result<Ebpf, EventsError> {
    let Constants { namespaces, length, offsets, diagnostics, reports, latency } = *constants;
    let (one, many) = match namespaces {
        [one] => (*one, 0u32),
        [] => (0, 0),
        _ => (0, 1),
    };
    let slots = u32::try_from(1 + namespaces.len()).unwrap_or(u32::MAX);
    let offsets = offsets.copied().unwrap_or_default();
    let (table, table_size) = (symbols.address(TABLE), symbols.address(TABLE_SIZE));
    let generation = symbols.address(GENERATION);
    let level = if diagnostics { log::Level::Debug as u8 } else { 0 };
    let latency = u32::from(latency);
    let call_bits = call_bits(length / slots as usize);
    let mut loader = EbpfLoader::new();
    loader
        .map_max_entries(names::COUNTERS, u32::try_from(length).unwrap_or(u32::MAX))
        .map_max_entries(names::NAMESPACES, slots)
        .map_max_entries(names::CALLS, 1 << call_bits)
        .override_global(names::CALL_BITS, &call_bits, true)
        .map_max_entries(names::DROPS, if reports > 0 { DROPS_RING } else { SMALLEST_RING })
        .map_max_entries(names::DIAGNOSTICS, if diagnostics { RING } else { SMALLEST_RING })
        .override_global(names::DIAGNOSTICS_LEVEL, &level, true)
        .override_global(names::REPORTS, &reports, true)
        .override_global(names::TAKE_LATENCY, &latency, true)
        .override_global(names::SLOTS, &slots, true)
        .override_global(names::NAMESPACE, &one, true)
        .override_global(names::MANY, &many, true)
        .override_global(names::NF_CONN_NET, &offsets.nf_conn_net, true)
        .override_global(names::NF_CONN_STATUS, &offsets.nf_conn_status, true)
        .override_global(names::NF_CONN_TUPLEHASH, &offsets.nf_conn_tuplehash, true)
        .override_global(names::TUPLE_HASH_SIZE, &offsets.tuple_hash_size, true)
        .override_global(names::TUPLE_HASH_NODE, &offsets.tuple_hash_node, true)
        .override_global(names::TUPLE_HASH_DIR, &offsets.tuple_hash_dir, true)
        .override_global(names::TUPLE_HASH_TUPLE, &offsets.tuple_hash_tuple, true)
        .override_global(names::NF_CONN_TIMEOUT, &offsets.nf_conn_timeout, true)
        .override_global(names::NF_CONN_ZONE, &offsets.nf_conn_zone, true)
        .override_global(names::NF_CONN_EXT, &offsets.nf_conn_ext, true)
        .override_global(names::EXT_GENERATION, &offsets.ext_generation, true)
        .override_global(names::GENERATION, &generation, true)
        .override_global(names::NET_INUM, &offsets.net_inum, true)
        .override_global(names::SK_BUFF_NFCT, &offsets.sk_buff_nfct, true)
        .override_global(names::HOOK_STATE_NET, &offsets.hook_state_net, true)
        .override_global(names::TABLE, &table, true)
        .override_global(names::TABLE_SIZE, &table_size, true);
    let refused = |error: &dyn std::error::Error| EventsError::from_refusal(explain(error));
    let mut ebpf = loader.load(OBJECT).map_err(|error| refused(&error))?;
    if many == 1
        && let Some(map) = ebpf.map_mut(names::NAMESPACES)
    {
        let refused = |error: MapError| refused(&error);
        let mut map = HashMap::<_, u32, u32>::try_from(map).map_err(refused)?;
        for (slot, inode) in (1u32..).zip(namespaces) {
            map.insert(inode, slot, 0).map_err(refused)?;
        }
    }
    Ok(ebpf)
}

/// log2 of the number of calls that can be under way: hundreds for each CPU, so that few displace
/// each other.
fn call_bits(cpus: usize) -> u32 {
    (cpus.max(1) * 256).next_power_of_two().ilog2().clamp(10, 20)
}

/// Attaches a hook in the first way that works, or says why the best one does not.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    hook: &Hook,
    symbols: &Symbols,
    types: Option<&Types>,
) -> HookState {
    let mut why_not = None;
    for (number, way) in hook.ways.iter().enumerate() {
        match attach_way(ebpf, way, symbols, types) {
            Ok(functions) => return HookState::Attached { way: number, functions },
            Err(state) => why_not = why_not.or(Some(state)),
        }
    }
    why_not.unwrap_or(HookState::NoFunction(&[]))
}

fn attach_way(
    ebpf: &mut Ebpf,
    way: &Variant,
    symbols: &Symbols,
    types: Option<&Types>,
) -> Result<Vec<String>, HookState> {
    if way.needs_types && types.is_none() {
        return Err(HookState::NoTypes);
    }
    let mut functions = Vec::new();
    for probe in way.probes {
        match symbols.find(probe.functions, probe.renamed_too) {
            Found::One(function) => functions.push(function.to_owned()),
            Found::Several(copies) => {
                return Err(HookState::Copies(copies.into_iter().map(str::to_owned).collect()));
            }
            Found::None => return Err(HookState::NoFunction(probe.functions)),
        }
    }
    if let Some(objection) =
        functions.iter().find_map(|function| types.and_then(|types| types.objection(function)))
    {
        return Err(HookState::Differs(objection));
    }
    for (probe, function) in way.probes.iter().zip(&functions) {
        if let Err(error) = attach_one(ebpf, probe.program, function) {
            detach(ebpf, way);
            return Err(HookState::Refused(explain(&error)));
        }
    }
    functions.dedup();
    Ok(functions)
}

fn attach_one(ebpf: &mut Ebpf, program: &str, function: &str) -> Result<(), ProgramError> {
    let program = program_of(ebpf, program)?;
    program.load()?;
    program.attach(function, 0).map(drop)
}

/// Detaches the programs of a way, those that are attached.
pub(super) fn detach(ebpf: &mut Ebpf, way: &Variant) {
    for probe in way.probes {
        // One that was never loaded is an error, and nothing to detach.
        let _ = program_of(ebpf, probe.program).and_then(KProbe::unload);
    }
}

fn program_of<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut KProbe, ProgramError> {
    let program = ebpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)?;
    program.try_into()
}
