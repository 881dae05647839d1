//! Privileges in the output of `doctor`: those that this process has, those that a run would keep
//! and drop, and those of the running agents.

use std::path::Path;

use rustix::process::geteuid;
use rustix::thread::CapabilitySet;

use crate::confine::{Needs, apply, capabilities};
use crate::settings::Input;
use crate::source::ebpf::types::Types;
use crate::source::reader::settled;
use crate::source::roots::Place;

/// Items of the output: a name and a text.
pub(super) type Facts = Vec<(String, String)>;

/// The privileges of this process, and what a run would make of them here.
pub(super) fn own(input: &Input, place: &Place, has_probes: bool) -> Facts {
    let held = capabilities::held();
    let held_text = match held {
        Ok(held) => described(held.bits()),
        Err(error) => format!("not known ({error})"),
    };
    let input = Input { source: settled(input.source, place), ..input.clone() };
    let inputs = std::slice::from_ref(&input);
    let places = std::slice::from_ref(place);
    let blind = has_probes && Types::of_running_kernel().is_err();
    let with_probes = Needs::new(inputs, places, has_probes, blind, None);
    let without = Needs::new(inputs, places, false, false, None);
    let needed = capabilities::names(with_probes.capabilities());
    let least = capabilities::names(without.capabilities());
    // For real, but on a thread of its own, which ends with what it gave up.
    let tried = std::thread::spawn(move || apply(&with_probes).to_string()).join();
    vec![
        ("user".to_owned(), geteuid().as_raw().to_string()),
        ("capabilities held".to_owned(), held_text),
        ("needed".to_owned(), format!("{needed}; without probes: {least}")),
        ("this process".to_owned(), status_of(Path::new("/proc/self"))),
        // A panic would have ended the program.
        ("a run would have".to_owned(), tried.unwrap_or_default()),
    ]
}

/// The privileges of the running agents, where they are visible.
pub(super) fn running() -> Facts {
    let own = std::process::id();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Facts::new() };
    let mut facts: Facts = processes
        .flatten()
        .filter(|process| {
            let pid = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            pid.is_some_and(|pid| pid != own)
        })
        .filter(|process| {
            std::fs::read(process.path().join("comm")).is_ok_and(|comm| comm == b"ctpulse\n")
        })
        .map(|process| {
            let name = format!("process {}", process.file_name().to_string_lossy());
            (name, status_of(&process.path()))
        })
        .collect();
    facts.sort_unstable();
    facts
}

/// The file that has the number of the last capability of the kernel.
const LAST: &str = "/proc/sys/kernel/cap_last_cap";

/// Capabilities by name; where they are most of the kernel's, those that are lacking.
fn described(held: u64) -> String {
    let last = std::fs::read_to_string(LAST).ok().and_then(|text| text.trim().parse().ok());
    let all = last.and_then(|last: u32| 1u64.checked_shl(last + 1)).map_or(u64::MAX, |bit| bit - 1);
    let names = |bits| capabilities::names(CapabilitySet::from_bits_retain(bits));
    match all & !held {
        0 => "all".to_owned(),
        _ if last.is_none() => names(held),
        lacking if lacking.count_ones() < held.count_ones() => {
            format!("all but {}", names(lacking))
        }
        _ => names(held),
    }
}

/// User, capabilities, `no_new_privs` and seccomp of a process, and whether all its threads have
/// the same.
fn status_of(process: &Path) -> String {
    let read = |path: &Path| {
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        let value = |key: &str| {
            status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("?").trim().to_owned()
        };
        let effective = u64::from_str_radix(&value("CapEff:"), 16).ok()?;
        let user = value("Uid:").split_whitespace().nth(1).unwrap_or("?").to_owned();
        let held = described(effective);
        let seccomp = match value("Seccomp:").as_str() {
            "0" => "no seccomp".to_owned(),
            "?" => "seccomp not known".to_owned(),
            _ => "seccomp".to_owned(),
        };
        let no = if value("NoNewPrivs:") == "1" { "" } else { "no " };
        Some(format!("user {user}, capabilities {held}, {no}no_new_privs, {seccomp}"))
    };
    let Some(first) = read(process) else { return "not shown to this user".to_owned() };
    let threads: Vec<_> = std::fs::read_dir(process.join("task"))
        .map(|tasks| tasks.flatten().map(|task| read(&task.path())).collect())
        .unwrap_or_default();
    let other = threads.iter().flatten().filter(|status| **status != first).count();
    match (other, threads.len()) {
        (0, 0..=1) => first,
        (0, all) => format!("{first}, in all {all} threads"),
        (other, all) => format!("{first}; OTHERS in {other} of {all} threads"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_that_are_lacking_are_named() {
        assert_eq!(described(u64::MAX), "all");
        let without = !(CapabilitySet::NET_ADMIN | CapabilitySet::BPF).bits();
        assert_eq!(described(without), "all but CAP_NET_ADMIN CAP_BPF");
        assert_eq!(described(CapabilitySet::NET_ADMIN.bits()), "CAP_NET_ADMIN");
        assert_eq!(described(0), "none");
    }
}
