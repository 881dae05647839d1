//! The event source: eBPF probes that count what today's kernels do not.
//!
//! The only place that knows of eBPF. It loads the programs, attaches each to its function, says
//! for each why it could not, and hands out counters as plain numbers. A missing function
//! costs its own counters only.

pub mod btf;
pub mod counters;
pub mod hooks;

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::Arc;

use aya::maps::{HashMap, Map};
use aya::programs::{KProbe, ProgramError};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use conntrack_ebpf::{Event, names};

use btf::{BtfError, Offsets};
use counters::Mapped;
use hooks::{HOOKS, Hook, Symbols};

use crate::kernel;
use crate::sample::{EVENT_NAMES, Program};

/// The programs, built by `cargo xtask build-ebpf` from `conntrack-ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!("../../../../conntrack-ebpf/object/conntrack.bpf.o");

/// Since then the kernel counts for kprobes what it skipped (`trace_call_bpf`); before it prints 0.
const MISSES_FROM: kernel::Release = (6, 7);

/// Why no event can be counted at all.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// `CONFIG_KPROBES` or `CONFIG_PERF_EVENTS` is off.
    #[error("this kernel has no kprobes (CONFIG_KPROBES is not set)")]
    NoKprobes,
    /// The programs read x86-64's registers.
    #[error("the probes are built for x86-64 only")]
    Architecture,
    /// The kernel is locked down against reading its memory.
    #[error(
        "this kernel is locked down (confidentiality), which forbids probes; see \
         /sys/kernel/security/lockdown"
    )]
    LockedDown,
    /// The process lacks capabilities.
    #[error(
        "missing {0}; run as root, or grant them: setcap cap_bpf,cap_perfmon+ep ctpulse, or \
         AmbientCapabilities=CAP_BPF CAP_PERFMON in a systemd unit (before 5.8: CAP_SYS_ADMIN)"
    )]
    Capability(String),
    /// Nothing of conntrack is in the kernel (yet).
    #[error("no conntrack function is in this kernel; load the module (modprobe nf_conntrack)")]
    NoFunctions,
    /// Without the kernel's types the namespace of an event is not known.
    #[error(
        "network namespaces cannot be told apart without the kernel's BTF ({0}), and the events of \
         all of them together are not this one's"
    )]
    Blind(String),
    /// How many CPUs there are is not known.
    #[error("the CPUs are not known: {0}")]
    Cpus(String),
    /// Nothing that is sampled has a place for events.
    #[error(
        "plain files (--proc-root), compat and `collect` without statistics have no place for events"
    )]
    NotWanted,
    /// The sampled namespace cannot be seen now.
    #[error("its network namespace is not there")]
    NoNamespace,
    /// The kernel refused a program or map.
    #[error("the kernel refused the programs: {0}")]
    Refused(String),
    /// The kernel's symbols could not be read.
    #[error("cannot read /proc/kallsyms: {0}")]
    Symbols(std::io::Error),
}

/// What became of one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookState {
    /// Attached to this function.
    Attached(String),
    /// The kernel has no such function.
    NoFunction,
    /// The kernel refused, in these words.
    Refused(String),
}

/// The attached programs and their counters.
#[derive(Debug)]
pub struct Events {
    /// Keeps programs and links alive; they end with it.
    ebpf: Ebpf,
    hooks: Vec<Hook>,
    counters: Mapped,
    slots: usize,
    length: usize,
    states: Vec<HookState>,
    /// Why namespaces cannot be told apart, if they cannot.
    offsets: Result<Offsets, BtfError>,
}

impl Events {
    /// Attaches [`HOOKS`]; see [`Events::attach_hooks`].
    ///
    /// # Errors
    /// [`EventsError`] when not one hook could be attached.
    pub fn attach(namespaces: &[u32], cpus: usize) -> Result<Self, EventsError> {
        Self::attach_hooks(&HOOKS, namespaces, cpus)
    }

    /// Loads and attaches every program of `hooks` that this kernel takes. `namespaces` are the inode
    /// numbers of those to be told apart, counted in slot 1, 2 and so on; `cpus` is one more
    /// than the highest possible CPU number.
    ///
    /// # Errors
    /// [`EventsError`] when not one hook could be attached.
    pub fn attach_hooks(
        hooks: &[Hook],
        namespaces: &[u32],
        cpus: usize,
    ) -> Result<Self, EventsError> {
        if !cfg!(target_arch = "x86_64") {
            return Err(EventsError::Architecture);
        }
        if !Path::new("/sys/bus/event_source/devices/kprobe/type").exists()
            && !Path::new("/sys/kernel/tracing/kprobe_events").exists()
            && !Path::new("/sys/kernel/debug/tracing/kprobe_events").exists()
        {
            return Err(EventsError::NoKprobes);
        }
        let symbols = Symbols::read().map_err(EventsError::Symbols)?;
        let offsets = Offsets::of_running_kernel();
        let slots = 1 + namespaces.len();
        let length = cpus.max(1) * slots;
        let mut ebpf = load(namespaces, slots, length, offsets.as_ref().ok())?;
        let mut states = Vec::new();
        for hook in hooks {
            let state = match symbols.find(hook.functions) {
                None => HookState::NoFunction,
                Some(function) => match attach(&mut ebpf, hook.program, function) {
                    Ok(()) => HookState::Attached(function.to_owned()),
                    Err(error) => HookState::Refused(explain(&error)),
                },
            };
            states.push(state);
        }
        let attached = |state: &HookState| matches!(state, HookState::Attached(_));
        if !states.iter().any(attached) {
            let refused = states.into_iter().find_map(|state| match state {
                HookState::Refused(why) => Some(why),
                _ => None,
            });
            return Err(refused.map_or(EventsError::NoFunctions, refusal));
        }
        let Some(Map::Array(map)) = ebpf.map(names::COUNTERS) else {
            return Err(EventsError::Refused("the object has no counters".to_owned()));
        };
        let counters = Mapped::new(map.fd().as_fd(), length)
            .map_err(|error| EventsError::Refused(format!("cannot map the counters: {error}")))?;
        Ok(Self { ebpf, hooks: hooks.to_vec(), counters, slots, length, states, offsets })
    }

    /// What the source gives, in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        let events = Event::ALL.into_iter().zip(EVENT_NAMES);
        let counted: Vec<&str> =
            events.filter(|(event, _)| self.counts(*event)).map(|(_, name)| name).collect();
        let hooks = self.hooks.iter().zip(&self.states);
        let missing: Vec<&str> = hooks
            .filter(|(_, state)| !matches!(state, HookState::Attached(_)))
            .map(|(hook, _)| hook.functions[0])
            .collect();
        let attached = self.hooks.len() - missing.len();
        let mut text = format!(
            "{attached} of {} probes attached; they count {}",
            self.hooks.len(),
            counted.join(", ")
        );
        if !missing.is_empty() {
            text.push_str(&format!("; not attached: {}", missing.join(", ")));
        }
        text
    }

    /// What became of each hook, in the order of [`HOOKS`].
    #[must_use]
    pub fn states(&self) -> &[HookState] {
        &self.states
    }

    /// Why namespaces cannot be told apart: all events are then in slot 0.
    #[must_use]
    pub fn blind(&self) -> Option<&BtfError> {
        self.offsets.as_ref().err()
    }

    /// Whether `event` is counted, for the namespaces that are told apart: a failed allocation
    /// names none.
    #[must_use]
    pub fn counts(&self, event: Event) -> bool {
        let attached = |functions: &[&str]| {
            // A return probe learns its namespace from the entry probe on the same function.
            let hooks = self.hooks.iter().zip(&self.states);
            let mut on_it = hooks.filter(|(hook, _)| hook.functions == functions);
            on_it.all(|(_, state)| matches!(state, HookState::Attached(_)))
        };
        event != Event::AllocFailed
            && self
                .hooks
                .iter()
                .any(|hook| hook.events.contains(&event) && attached(hook.functions))
    }

    /// Fills in how each attached program fares, from what the kernel tells of its descriptor.
    pub fn programs(&self, programs: &mut Vec<Program>) {
        programs.clear();
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let release = kernel::parse_release(&release).unwrap_or_default();
        for hook in &self.hooks {
            let fd = self.ebpf.program(hook.program).and_then(|program| program.fd().ok());
            let Some(fd) = fd else { continue };
            let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let number = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name))?;
                line.trim_start_matches(':').trim().parse().ok()
            };
            programs.push(Program {
                name: hook.program,
                misses: number("recursion_misses").filter(|_| release >= MISSES_FROM),
                runs: number("run_cnt").unwrap_or(0),
                run_time_ns: number("run_time_ns").unwrap_or(0),
            });
        }
    }

    /// Events since the programs were attached, of `slot` on `cpu`, by [`Event`]. No system
    /// call, no allocation; zeros for a CPU that does not exist.
    #[must_use]
    pub fn read(&self, cpu: u32, slot: usize) -> [u64; Event::ALL.len()] {
        let index = cpu as usize * self.slots + slot;
        if slot < self.slots && index < self.length {
            self.counters.get(index)
        } else {
            [0; Event::ALL.len()]
        }
    }
}

/// One input's view: the counters of its namespace, CPU by CPU.
#[derive(Debug, Clone)]
pub struct EventReader {
    /// The attached programs, which all inputs share.
    pub events: Arc<Events>,
    /// The namespace's slot.
    pub slot: usize,
    /// The possible CPUs, in the order of the statistics file's rows.
    pub cpus: Vec<u32>,
}

impl EventReader {
    /// Reads all counters, [`Event::ALL`] for each CPU. No system call, and no allocation once
    /// `counters` has the room.
    pub fn read(&self, counters: &mut Vec<u64>) {
        counters.clear();
        for &cpu in &self.cpus {
            counters.extend_from_slice(&self.events.read(cpu, self.slot));
        }
    }

    /// Which events are counted.
    #[must_use]
    pub fn counted(&self) -> [bool; Event::ALL.len()] {
        Event::ALL.map(|event| self.events.counts(event))
    }
}

fn load(
    namespaces: &[u32],
    slots: usize,
    length: usize,
    offsets: Option<&Offsets>,
) -> Result<Ebpf, EventsError> {
    let (one, many) = match namespaces {
        [one] => (*one, 0u32),
        [] => (0, 0),
        _ => (0, 1),
    };
    let slots = u32::try_from(slots).unwrap_or(u32::MAX);
    let known = u32::from(offsets.is_some());
    let zero = Offsets {
        nf_conn_net: 0,
        nf_conn_status: 0,
        nf_conn_tuplehash: 0,
        net_inum: 0,
        sk_buff_nfct: 0,
    };
    let offsets = offsets.unwrap_or(&zero);
    let mut loader = EbpfLoader::new();
    loader
        .map_max_entries(names::COUNTERS, u32::try_from(length).unwrap_or(u32::MAX))
        .map_max_entries(names::NAMESPACES, slots)
        .override_global(names::SLOTS, &slots, true)
        .override_global(names::NAMESPACE, &one, true)
        .override_global(names::MANY, &many, true)
        .override_global(names::OFFSETS_KNOWN, &known, true)
        .override_global(names::NF_CONN_NET, &offsets.nf_conn_net, true)
        .override_global(names::NF_CONN_STATUS, &offsets.nf_conn_status, true)
        .override_global(names::NF_CONN_TUPLEHASH, &offsets.nf_conn_tuplehash, true)
        .override_global(names::NET_INUM, &offsets.net_inum, true)
        .override_global(names::SK_BUFF_NFCT, &offsets.sk_buff_nfct, true);
    let mut ebpf = loader.load(OBJECT).map_err(|error| refusal(explain(&error)))?;
    if many == 1
        && let Some(map) = ebpf.map_mut(names::NAMESPACES)
    {
        let refused = |error: aya::maps::MapError| refusal(explain(&error));
        let mut map = HashMap::<_, u32, u32>::try_from(map).map_err(refused)?;
        for (slot, inode) in (1u32..).zip(namespaces) {
            map.insert(inode, slot, 0).map_err(refused)?;
        }
    }
    Ok(ebpf)
}

fn attach(ebpf: &mut Ebpf, program: &str, function: &str) -> Result<(), ProgramError> {
    let program = ebpf.program_mut(program).ok_or(ProgramError::UnexpectedProgramType)?;
    let probe: &mut KProbe = program.try_into()?;
    probe.load()?;
    probe.attach(function, 0)?;
    Ok(())
}

/// A reason in one line, with everything that caused it; the verifier's log is in it where the
/// kernel gave one.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

/// Tells the common causes of a refusal apart.
fn refusal(text: String) -> EventsError {
    let lockdown = std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if lockdown.contains("[confidentiality]") {
        return EventsError::LockedDown;
    }
    let missing = missing_capabilities();
    if !missing.is_empty() && (text.contains("os error 1)") || text.contains("os error 13)")) {
        return EventsError::Capability(missing);
    }
    EventsError::Refused(text)
}

/// Those of `CAP_BPF` and `CAP_PERFMON` that this process lacks; `CAP_SYS_ADMIN` stands for both.
fn missing_capabilities() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let has = |bit: u32| effective.unwrap_or(0) >> bit & 1 == 1;
    if has(21) {
        return String::new();
    }
    let needed = [(39, "CAP_BPF"), (38, "CAP_PERFMON")];
    let missing: Vec<&str> =
        needed.iter().filter(|(bit, _)| !has(*bit)).map(|(_, name)| *name).collect();
    missing.join(" and ")
}
