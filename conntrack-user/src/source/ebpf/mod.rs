//! The event source: eBPF probes that count what today's kernels do not.
//!
//! The only place that knows of eBPF. The life cycle of probes is in three modules: `attach` loads the
//! programs (`loader`) and attaches each hook (`probe_table`) to the functions that the kernel has
//! (`symbols`); `sharing` gives each input its share of one set of probes; `reattach` attaches them
//! again on a thread of its own. `hook_state` and `error` have the reasons why a hook or all of them
//! cannot be attached; `counters` and `reader` return plain numbers. Offsets and prototypes come from
//! `btf`. A missing function costs its own counters only, as does one with another prototype.
//!
//! `census` is independent of the probes: it reads the entries of the table on request.

mod attach;
pub mod btf;
pub mod census;
mod counters;
pub(crate) mod diagnostics;
pub mod drops;
pub(crate) mod error;
mod hook_state;
pub mod invalid;
mod invalid_counts;
pub mod invalid_reason;
mod loader;
pub mod offsets;
pub mod packet;
pub mod probe_table;
mod programs;
mod prototypes;
mod reader;
pub mod reason_counts;
pub(crate) mod reattach;
mod refusal;
pub(crate) mod sharing;
pub mod symbols;
mod trampoline;
pub mod tuple;
pub mod types;

use std::sync::{Mutex, PoisonError};

use aya::Ebpf;
use conntrack_ebpf::Event;

pub use attach::AttachOptions;
pub(crate) use attach::check_host;
use btf::BtfError;
use counters::Mapped;
use diagnostics::Diagnostics;
use drops::Reports;
pub use error::EventsError;
pub use hook_state::{Attachment, HookCount, HookState};
use invalid::InvalidReports;
use invalid_counts::InvalidMaps;
pub use invalid_counts::InvalidReader;
use offsets::TupleLayout;
use probe_table::Hook;
use programs::Programs;
pub use reader::EventReader;

use trampoline::Trampoline;

use super::namespace::Pinned;
use crate::schema::raw::{HostWide, Program};

/// The attached programs and their counters.
#[derive(Debug)]
pub struct Events {
    counters: Mapped,
    programs: Programs,
    /// Keeps programs and links alive; they end with it.
    ebpf: Ebpf,
    /// The same of trampolines.
    trampolines: Vec<Trampoline>,
    /// Whether trampolines are to be given up when nothing else uses the module.
    gives_way: bool,
    diagnostics: Mutex<Option<Diagnostics>>,
    /// Inode numbers of the namespaces in the order of their slots, from 1 on; empty where they
    /// cannot be distinguished.
    inodes: Vec<u32>,
    /// The same namespaces, held open so that no other namespace gets their addresses.
    held: Mutex<Vec<Option<Pinned>>>,
    length: usize,
    hooks: Vec<Hook>,
    states: Vec<HookState>,
    /// Whether the kernel's table of connections can be read.
    sees_table: bool,
    /// Whether dying entries cannot be distinguished from long chains: the kernel hides the generation of extensions.
    hides_generation: bool,
    /// Why namespaces cannot be distinguished, if they cannot.
    blind: Option<BtfError>,
    /// The layout of tuples for the reports, until they are taken.
    reports: Option<TupleLayout>,
    /// The same for the reports of INVALID packets.
    invalid: Option<TupleLayout>,
    /// The counters of INVALID packets, where these are counted and not reported.
    invalid_counts: Option<InvalidMaps>,
    /// Whether drops are reported, and their causes distinguished more finely.
    has_reports: bool,
}

impl Events {
    /// Logs the programs' diagnostics from now on, on a thread of its own.
    pub fn log_diagnostics(&self) {
        let mut diagnostics = self.diagnostics.lock().unwrap_or_else(PoisonError::into_inner);
        diagnostics.iter_mut().for_each(Diagnostics::listen);
    }

    /// Returns the reports of drops one by one, where [`AttachOptions::reports`] asked for them and the
    /// kernel's types are known; once.
    ///
    /// # Errors
    /// [`EventsError::Refused`] where the map of reports cannot be opened.
    pub fn take_reports(&mut self) -> Result<Option<Reports>, EventsError> {
        match self.reports.take() {
            Some(layout) => Reports::take(&mut self.ebpf, layout).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the reports of INVALID packets, where [`AttachOptions::invalid`] asked for them and the
    /// kernel's types are known; once.
    ///
    /// # Errors
    /// [`EventsError::Refused`] where a map cannot be opened.
    pub fn take_invalid(&mut self) -> Result<Option<InvalidReports>, EventsError> {
        match self.invalid.take() {
            Some(layout) => InvalidReports::take(&mut self.ebpf, layout).map(Some),
            None => Ok(None),
        }
    }

    /// Describes in one line which counters the source gives and which it does not.
    #[must_use]
    pub fn describe(&self) -> String {
        let counted = Event::ALL.into_iter().filter(|event| self.counts(*event));
        let counted: Vec<&str> = counted.map(Event::name).collect();
        let mut text = format!("probes count {}; the kernel counts the rest", counted.join(", "));
        for (hook, state) in self.hooks.iter().zip(&self.states) {
            if let HookState::Attached { way: 1.., functions, .. } = state {
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

    /// The state of each hook, in the order of the hooks.
    pub fn states(&self) -> impl Iterator<Item = (&Hook, &HookState)> {
        self.hooks.iter().zip(&self.states)
    }

    /// Why namespaces cannot be distinguished: all events are then in slot 0.
    #[must_use]
    pub fn blind(&self) -> Option<&BtfError> {
        self.blind.as_ref()
    }

    /// The slot of a namespace: 0, that of all events together, where they cannot be distinguished.
    #[must_use]
    pub fn slot(&self, namespace: &Pinned) -> Option<usize> {
        if self.blind.is_some() {
            return Some(0);
        }
        let known = self.inodes.iter().position(|known| *known == namespace.inode);
        known.map(|at| 1 + at)
    }

    /// Releases the namespace of a slot that is no longer read.
    pub fn release(&self, slot: usize) {
        // A panic while it is held would have ended the program.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = slot.checked_sub(1).and_then(|at| held.get_mut(at)) {
            *place = None;
        }
    }

    /// Whether the events of this namespace are counted in a slot of its own, and it is held.
    #[must_use]
    pub fn holds(&self, namespace: &Pinned) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().flatten().any(|held| held.inode == namespace.inode)
    }

    /// Returns a reader of INVALID packets by reason in this namespace, where they are counted.
    pub(crate) fn invalid_reader(&self, namespace: &Pinned) -> Option<InvalidReader> {
        self.invalid_counts.as_ref().map(|maps| InvalidReader::new(maps, namespace.inode))
    }

    /// [`Events::release`], by the namespace's inode number.
    pub fn release_namespace(&self, inode: u32) {
        if let Some(at) = self.inodes.iter().position(|known| *known == inode) {
            self.release(1 + at);
        }
    }

    /// Whether trampolines keep the module loaded as long as this lives.
    #[must_use]
    pub fn pins_module(&self) -> bool {
        self.trampolines.iter().any(|trampoline| trampoline.in_module)
    }

    /// Whether trampolines that keep the module loaded are to be given up once nothing else uses it.
    #[must_use]
    pub(crate) fn gives_way(&self) -> bool {
        self.gives_way
    }

    /// Whether trampolines must be given up now: nothing but them keeps the module loaded.
    #[must_use]
    pub(crate) fn must_give_way(&self) -> bool {
        self.gives_way && !trampoline::module_is_used()
    }

    /// Whether `event` is counted, for the namespaces that have slots.
    #[must_use]
    pub fn counts(&self, event: Event) -> bool {
        let mut hooks = self.states().filter(|(hook, _)| hook.events.contains(&event));
        let attached = hooks.any(|(_, state)| state.is_attached());
        match event {
            // Counted for all namespaces together.
            Event::AllocFailed | Event::Unplaced => false,
            Event::Evicted | Event::NoMemory => attached && self.has_reports,
            Event::TableFullEvictable => attached && self.sees_table && self.blind.is_none(),
            _ => attached,
        }
    }

    /// Reads the statistics of each attached program from its descriptor.
    pub fn programs(&self, programs: &mut Vec<Program>) {
        self.programs.read(programs);
    }

    /// Numbers that are known for all namespaces together only.
    #[must_use]
    pub fn host_wide(&self) -> HostWide {
        let sum = |events: &[Event]| {
            let counters = (0..self.length).map(|index| self.counters.get(index));
            let counts =
                counters.flat_map(|counters| events.iter().map(move |e| counters[*e as usize]));
            counts.fold(0, u64::wrapping_add)
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
        let known = self.programs.missed().wrapping_add(self.host_wide().unplaced);
        (self.counts_missed() || known > 0).then_some(known)
    }

    /// Whether this kernel counts the calls that probes miss.
    #[must_use]
    pub fn counts_missed(&self) -> bool {
        self.programs.count_missed()
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
    pub(crate) fn log(&self) {
        log::debug!("{}", self.describe());
        let warnings = self.states().filter_map(|(hook, state)| state.warning(hook.name));
        warnings.for_each(|warning| log::warn!("{warning}"));
    }

    /// Why dying entries are reported as chains that are too long, where the kernel hides what distinguishes them.
    pub(crate) fn confuses_refusals(&self) -> Option<String> {
        let reports_refusals = self
            .states()
            .any(|(hook, state)| hook.events.contains(&Event::InsertDying) && state.is_attached());
        (self.hides_generation && reports_refusals).then(|| {
            format!(
                "dying entries are reported as chains that are too long: /proc/kallsyms does not show the address of \
                 {} (CAP_SYSLOG, kernel.kptr_restrict, CONFIG_KALLSYMS_ALL)",
                symbols::EXTENSION_GENERATION
            )
        })
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
    pub fn read(&self, cpu: u32, slot: usize) -> [u64; Event::COUNT] {
        let slots = 1 + self.inodes.len();
        let index = cpu as usize * slots + slot;
        if slot < slots && index < self.length {
            self.counters.get(index)
        } else {
            [0; Event::COUNT]
        }
    }
}
