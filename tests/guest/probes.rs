//! The event source in the test's own process, read number by number, and the limits of the
//! table that tests change.

use std::fs;

use conntrack_ebpf::Event;
use ctpulse::schema::raw::Program;
use ctpulse::source::ebpf::probe_table::{HOOKS, Hook};
use ctpulse::source::ebpf::{AttachOptions, Events};
use ctpulse::source::namespace::Pinned;

use crate::support::Namespace;

/// Every guest has two.
pub(crate) const CPUS: usize = 2;

/// The programs of some hooks, counting in the namespaces apart: the first has slot 1.
pub(crate) fn attach(namespaces: &[&Namespace], hooks: &[Hook], per_packet: bool) -> Events {
    let pinned = namespaces
        .iter()
        .map(|namespace| Pinned::open(format!("/run/netns/{}", namespace.name).as_ref()).unwrap());
    let pinned: Vec<_> = pinned.collect();
    let wanted =
        AttachOptions { hooks, per_packet, internal: true, ..AttachOptions::new(&pinned, CPUS) };
    Events::attach(&wanted).unwrap()
}

/// All programs but those that cost something for each packet.
pub(crate) fn attach_all(namespaces: &[&Namespace]) -> Events {
    attach(namespaces, &HOOKS, false)
}

pub(crate) fn hook(name: &str) -> Hook {
    *HOOKS.iter().find(|hook| hook.name == name).unwrap()
}

/// An event in a slot, on all CPUs.
pub(crate) fn count(events: &Events, slot: usize, event: Event) -> u64 {
    (0..CPUS as u32).map(|cpu| events.read(cpu, slot)[event as usize]).sum()
}

/// An event in the first namespace.
pub(crate) fn sum(events: &Events, event: Event) -> u64 {
    count(events, 1, event)
}

pub(crate) fn programs(events: &Events) -> Vec<Program> {
    let mut programs = Vec::new();
    events.programs(&mut programs);
    programs
}

/// A setting of the whole guest's table while a test runs.
pub(crate) struct Setting {
    path: String,
    before: String,
}

impl Setting {
    pub(crate) fn new(name: &str, value: u32) -> Self {
        let path = format!("/proc/sys/net/netfilter/{name}");
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, value.to_string()).unwrap();
        Self { path, before }
    }

    /// How many entries a table may have.
    pub(crate) fn max(entries: u32) -> Self {
        Self::new("nf_conntrack_max", entries)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        fs::write(&self.path, self.before.trim()).unwrap();
    }
}
