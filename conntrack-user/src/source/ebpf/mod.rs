//! The event source: eBPF probes that count what today's kernels do not.
//!
//! The only place that knows of eBPF. It loads the programs (`loader`), attaches each hook
//! (`probe_table`) to the functions that the kernel has (`symbols`), says for each why it could not
//! (`error`), and hands out counters as plain numbers (`counters`). Offsets and prototypes come from
//! `btf`. A missing function costs its own counters only, as does one that is not what the programs
//! are written for.

pub mod btf;
pub mod counters;
pub mod diagnostics;
pub mod drops;
pub mod error;
mod hook_state;
mod loader;
pub mod offsets;
pub mod probe_table;
mod programs;
mod prototypes;
mod reader;
pub mod reattach;
pub mod sharing;
pub mod symbols;
pub mod types;

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aya::Ebpf;
use aya::maps::Map;
use conntrack_ebpf::{Event, names};

use btf::BtfError;
use counters::Mapped;
use diagnostics::Diagnostics;
use drops::Reports;
pub use error::EventsError;
use error::explain;
pub use hook_state::{HookCount, HookState};
use loader::Constants;
use offsets::TupleLayout;
use probe_table::{AttachWhen, HOOKS, Hook};
use programs::Programs;
pub use reader::EventReader;
use symbols::{Symbols, TABLE, TABLE_SIZE};
use types::Types;

use super::namespace::Pinned;
use crate::schema::raw::{EVENT_NAMES, HostWide, Program};

/// What to attach, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct AttachOptions<'a> {
    /// The hooks, [`HOOKS`] but in tests.
    pub hooks: &'a [Hook],
    /// The namespaces to be told apart, counted in slot 1, 2 and so on.
    pub namespaces: &'a [Pinned],
    /// One more than the highest possible CPU number.
    pub cpus: usize,
    /// Whether hooks that cost something for each packet are wanted too.
    pub per_packet: bool,
    /// Whether those that only the row about ctpulse itself shows are wanted too.
    pub internal: bool,
    /// How many drops a CPU may report one by one in a window of 8.4 ms, 0 for none; see
    /// [`Events::take_reports`].
    pub reports: u64,
    /// Whether, with reports, the time that insertions take is taken too.
    pub latency: bool,
}

impl<'a> AttachOptions<'a> {
    /// The hooks that are always attached.
    #[must_use]
    pub fn new(namespaces: &'a [Pinned], cpus: usize) -> Self {
        Self {
            hooks: &HOOKS,
            namespaces,
            cpus,
            per_packet: false,
            internal: false,
            reports: 0,
            latency: false,
        }
    }
}

/// The attached programs and their counters.
#[derive(Debug)]
pub struct Events {
    counters: Mapped,
    programs: Programs,
    /// Keeps programs and links alive; they end with it.
    ebpf: Ebpf,
    diagnostics: Mutex<Option<Diagnostics>>,
    /// Inode numbers of the namespaces in the order of their slots, from 1 on; empty where they
    /// cannot be told apart.
    inodes: Vec<u32>,
    /// The same namespaces, which no other can take the addresses of as long as they are held.
    held: Mutex<Vec<Option<Pinned>>>,
    length: usize,
    hooks: Vec<Hook>,
    states: Vec<HookState>,
    /// Whether the kernel's table of connections can be looked into.
    sees_table: bool,
    /// Why namespaces cannot be told apart, if they cannot.
    blind: Option<BtfError>,
    /// How tuples are read in reports that nobody has taken yet.
    reports: Option<TupleLayout>,
    /// Whether drops are reported, and told apart more finely for it.
    has_reports: bool,
}

impl Events {
    /// Loads and attaches every program that is wanted and that this kernel takes.
    ///
    /// # Errors
    /// [`EventsError`] when not one hook could be attached.
    pub fn attach(wanted: &AttachOptions<'_>) -> Result<Self, EventsError> {
        if !cfg!(target_arch = "x86_64") {
            return Err(EventsError::Architecture);
        }
        if !Path::new("/sys/bus/event_source/devices/kprobe/type").exists() {
            return Err(EventsError::NoKprobes);
        }
        let symbols = Symbols::read().map_err(EventsError::Symbols)?;
        let (types, blind) = match Types::of_running_kernel() {
            Ok(types) => (Some(types), None),
            Err(error) => (None, Some(error)),
        };
        let namespaces = if blind.is_none() { wanted.namespaces } else { &[] };
        let inodes: Vec<u32> = namespaces.iter().map(|namespace| namespace.inode).collect();
        let length = wanted.cpus.max(1) * (1 + inodes.len());
        let constants = Constants {
            namespaces: &inodes,
            length,
            offsets: types.as_ref().map(|types| &types.offsets),
            diagnostics: diagnostics::are_wanted(),
            reports: if blind.is_none() { wanted.reports } else { 0 },
            latency: wanted.latency,
        };
        let mut ebpf = loader::load(&constants, &symbols)?;
        let diagnostics = constants.diagnostics.then(|| Diagnostics::open(&mut ebpf)).flatten();
        let reports = constants.reports > 0;
        let mut states: Vec<HookState> = Vec::new();
        for hook in wanted.hooks {
            let is_asked = match hook.need {
                AttachWhen::Always => true,
                AttachWhen::PerPacket => wanted.per_packet,
                AttachWhen::Internal => wanted.internal || constants.diagnostics || reports,
                AttachWhen::Reports => reports,
            };
            states.push(if is_asked {
                loader::attach(&mut ebpf, hook, &symbols, types.as_ref())
            } else {
                HookState::NotAsked(hook.need)
            });
        }
        while let Some((at, name)) = lacking(wanted.hooks, &states) {
            if let HookState::Attached { way, .. } = states[at] {
                loader::detach(&mut ebpf, &wanted.hooks[at].ways[way]);
            }
            states[at] = HookState::Lacks(name);
        }
        if !states.iter().any(HookState::is_attached) {
            let refused = states.into_iter().find_map(|state| match state {
                HookState::Refused(why) => Some(why),
                _ => None,
            });
            return Err(refused.map_or(EventsError::NoFunctions, EventsError::from_refusal));
        }
        let Some(Map::Array(map)) = ebpf.map(names::COUNTERS) else {
            return Err(EventsError::Refused("the object has no counters".to_owned()));
        };
        let counters = Mapped::new(map.fd().as_fd(), length).map_err(|error| {
            EventsError::Refused(format!("cannot map the counters: {}", explain(&error)))
        })?;
        let ways = wanted.hooks.iter().zip(&states).filter_map(|(hook, state)| match state {
            HookState::Attached { way, .. } => hook.ways.get(*way),
            _ => None,
        });
        let programs: Vec<&str> =
            ways.flat_map(|way| way.probes).map(|probe| probe.program).collect();
        Ok(Self {
            counters,
            programs: Programs::open(&ebpf, &programs),
            ebpf,
            diagnostics: Mutex::new(diagnostics),
            held: Mutex::new(namespaces.iter().cloned().map(Some).collect()),
            inodes,
            length,
            hooks: wanted.hooks.to_vec(),
            states,
            sees_table: symbols.address(TABLE) != 0 && symbols.address(TABLE_SIZE) != 0,
            blind,
            reports: types.filter(|_| reports).map(|types| types.offsets.tuple),
            has_reports: reports,
        })
    }

    /// Has what the programs say at debug level logged from now on, by a thread of its own.
    pub fn hear(&self) {
        let mut diagnostics = self.diagnostics.lock().unwrap_or_else(PoisonError::into_inner);
        diagnostics.iter_mut().for_each(Diagnostics::listen);
    }

    /// The reports of drops one by one, where [`AttachOptions::reports`] asked for them and the kernel's
    /// types are known; once.
    ///
    /// # Errors
    /// The kernel's, about the map that they come through.
    pub fn take_reports(&mut self) -> Result<Option<Reports>, EventsError> {
        match self.reports.take() {
            Some(layout) => Reports::take(&mut self.ebpf, layout).map(Some),
            None => Ok(None),
        }
    }

    /// Which counters the source gives and which it does not, in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        let events = Event::ALL.into_iter().zip(EVENT_NAMES);
        let counted: Vec<&str> =
            events.filter(|(event, _)| self.counts(*event)).map(|(_, name)| name).collect();
        let mut text = format!("probes count {}; the kernel counts the rest", counted.join(", "));
        for (hook, state) in self.hooks.iter().zip(&self.states) {
            if let HookState::Attached { way: 1.., functions } = state {
                let preferred = hook.ways[0].probes.iter().flat_map(|probe| probe.functions);
                let preferred: Vec<&str> = preferred.copied().collect();
                text.push_str(&format!(
                    "; {} by {}, as {} cannot be probed",
                    hook.name,
                    functions.join(" and "),
                    preferred.join(" or ")
                ));
            }
            if !state.is_attached() && !matches!(state, HookState::NotAsked(_)) {
                text.push_str(&format!("; no {}: {state}", hook.name));
            }
        }
        if !self.counts_missed() {
            text.push_str(
                "; how many calls the probes miss is not known, as this kernel does not count them",
            );
        }
        text
    }

    /// What became of each hook, in the order of the hooks.
    pub fn states(&self) -> impl Iterator<Item = (&Hook, &HookState)> {
        self.hooks.iter().zip(&self.states)
    }

    /// Why namespaces cannot be told apart: all events are then in slot 0.
    #[must_use]
    pub fn blind(&self) -> Option<&BtfError> {
        self.blind.as_ref()
    }

    /// The slot of a namespace: 0, that of all events together, where they cannot be told apart.
    #[must_use]
    pub fn slot(&self, namespace: &Pinned) -> Option<usize> {
        if self.blind.is_some() {
            return Some(0);
        }
        let known = self.inodes.iter().position(|known| *known == namespace.inode);
        known.map(|at| 1 + at)
    }

    /// Nobody reads this slot any more: its namespace need not live for it.
    pub fn release(&self, slot: usize) {
        // A panic while it is held would have ended the program.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = slot.checked_sub(1).and_then(|at| held.get_mut(at)) {
            *place = None;
        }
    }

    /// Whether the events of this namespace are counted apart, and it is held.
    #[must_use]
    pub fn holds(&self, namespace: &Pinned) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().flatten().any(|held| held.inode == namespace.inode)
    }

    /// [`Events::release`], by the namespace's inode number.
    pub fn release_namespace(&self, inode: u32) {
        if let Some(at) = self.inodes.iter().position(|known| *known == inode) {
            self.release(1 + at);
        }
    }

    /// Whether `event` is counted, for the namespaces that are told apart.
    #[must_use]
    pub fn counts(&self, event: Event) -> bool {
        let mut hooks = self.states().filter(|(hook, _)| hook.events.contains(&event));
        let attached = hooks.any(|(_, state)| state.is_attached());
        match event {
            // For all of them together.
            Event::AllocFailed | Event::Unplaced => false,
            Event::Evicted | Event::NoMemory => attached && self.has_reports,
            Event::TableFullEvictable => attached && self.sees_table && self.blind.is_none(),
            _ => attached,
        }
    }

    /// Fills in how each attached program fares, from what the kernel tells of its descriptor.
    pub fn programs(&self, programs: &mut Vec<Program>) {
        self.programs.read(programs);
    }

    /// What is known for all namespaces together only.
    #[must_use]
    pub fn host_wide(&self) -> HostWide {
        let sum = |events: &[Event]| {
            let counters = (0..self.length).map(|index| self.counters.get(index));
            let wanted =
                counters.flat_map(|counters| events.iter().map(move |e| counters[*e as usize]));
            wanted.fold(0, u64::wrapping_add)
        };
        HostWide {
            alloc_failed: sum(&[Event::AllocFailed]),
            refused_full: sum(&[Event::TableFull, Event::CreateTableFull]),
            unplaced: sum(&[Event::Unplaced]),
        }
    }

    /// How many calls of the kernel's functions the probes are known to have missed since they were
    /// attached, for all namespaces together: a call that was missed names none. `None` where the
    /// kernel does not count them (kprobes before 6.7) and none is known otherwise.
    #[must_use]
    pub fn missed(&self) -> Option<u64> {
        let unplaced = self.host_wide().unplaced;
        match self.programs.missed() {
            Some(missed) => Some(missed.wrapping_add(unplaced)),
            None => (unplaced > 0).then_some(unplaced),
        }
    }

    /// Whether this kernel counts the calls that probes miss.
    #[must_use]
    pub fn counts_missed(&self) -> bool {
        self.programs.missed().is_some()
    }

    /// How many of the hooks that were asked for are attached.
    #[must_use]
    pub fn hook_count(&self) -> HookCount {
        let asked = self.states.iter().filter(|state| !matches!(state, HookState::NotAsked(_)));
        let attached = self.states.iter().filter(|state| state.is_attached());
        HookCount { attached: attached.count(), of: asked.count() }
    }

    /// Logs which hooks are left out though the kernel has their functions, and at debug level what
    /// is counted.
    fn log(&self) {
        log::debug!("{}", self.describe());
        let warnings = self.states().filter_map(|(hook, state)| state.warning(hook.name));
        warnings.for_each(|warning| log::warn!("{warning}"));
    }

    /// Events of `slot` since the programs were attached, on all CPUs.
    #[must_use]
    pub fn total(&self, slot: usize, event: Event) -> u64 {
        let cpus = self.length / (1 + self.inodes.len());
        (0..cpus as u32).map(|cpu| self.read(cpu, slot)[event as usize]).fold(0, u64::wrapping_add)
    }

    /// Events since the programs were attached, of `slot` on `cpu`, by [`Event`]. No system
    /// call, no allocation; zeros for a CPU that does not exist.
    #[must_use]
    pub fn read(&self, cpu: u32, slot: usize) -> [u64; Event::ALL.len()] {
        let slots = 1 + self.inodes.len();
        let index = cpu as usize * slots + slot;
        if slot < slots && index < self.length {
            self.counters.get(index)
        } else {
            [0; Event::ALL.len()]
        }
    }
}

/// The first hook that is attached and needs another one that could not be, and the name of that.
fn lacking(hooks: &[Hook], states: &[HookState]) -> Option<(usize, &'static str)> {
    let is_missing = |name: &str| {
        let mut hooks = hooks.iter().zip(states);
        hooks.any(|(hook, state)| hook.name == name && !state.is_attached())
    };
    let attached = hooks.iter().zip(states).enumerate().filter(|(_, (_, s))| s.is_attached());
    attached
        .filter_map(|(at, (hook, _))| Some((at, *hook.needs.iter().find(|n| is_missing(n))?)))
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_goes_without_the_one_that_it_needs() {
        let there = HookState::Attached { way: 0, functions: Vec::new() };
        let mut states = vec![there.clone(); HOOKS.len()];
        assert_eq!(lacking(&HOOKS, &states), None);
        let at = |name| HOOKS.iter().position(|hook| hook.name == name).unwrap();
        states[at("table_full")] = HookState::NoTypes;
        states[at("delete")] = HookState::NoTypes;
        assert_eq!(lacking(&HOOKS, &states), Some((at("new"), "delete")));
        states[at("new")] = HookState::Lacks("delete");
        assert_eq!(lacking(&HOOKS, &states), Some((at("whose_drop"), "table_full")));
        // What a test leaves out on purpose is not missed.
        let alone = [HOOKS[at("new")]];
        assert_eq!(lacking(&alone, &[there]), None);
    }
}
