//! The event source in the output of `ctpulse doctor`: the probes are attached for a moment.

use conntrack_ebpf::Event;

use super::findings::Findings;
use crate::notices::without_probes;
use crate::schema::raw::Counted;
use crate::schema::raw::EVENTS;
use crate::settings::EbpfAttach;
use crate::source::cpu_mask;
use crate::source::ebpf::error::LOCKDOWN;
use crate::source::ebpf::offsets::VMLINUX;
use crate::source::ebpf::probe_table::{AttachWhen, HOOKS};
use crate::source::ebpf::sharing::check_alone;
use crate::source::ebpf::types::Types;
use crate::source::ebpf::{AttachOptions, Events};
use crate::source::namespace::Pinned;

/// What trampolines mean for who unloads the module.
const PINNED: &str = "trampolines keep nf_conntrack loaded: with --ebpf-attach auto only while another \
                      module uses it, with --ebpf-attach kprobe not at all";

/// Attaches the probes for a moment and reports the state of each. Returns the events that they
/// count, and whether a run would have probes, now or later.
pub(super) fn examine(
    namespace: Option<&Pinned>,
    cpus: &[u32],
    attach: Option<EbpfAttach>,
    findings: &mut Findings,
) -> (Counted, bool) {
    findings.heading("event source (eBPF)");
    let lockdown = std::fs::read_to_string(LOCKDOWN).map_or_else(
        |error| format!("not known ({LOCKDOWN}: {error})"),
        |text| text.trim().to_owned(),
    );
    findings.field("lockdown", &lockdown);
    let types = match Types::of_running_kernel() {
        Ok(_) => format!("the kernel's types are in {VMLINUX}"),
        Err(error) => format!("namespaces cannot be printed apart: {error}"),
    };
    findings.field("BTF", &types);
    let namespaces: Vec<Pinned> = namespace.into_iter().cloned().collect();
    // Also those that only some options ask for, to know whether they would work.
    let wanted = AttachOptions {
        per_packet: true,
        internal: true,
        reports: 1,
        invalid: true,
        attach: attach.unwrap_or_else(EbpfAttach::from_environment),
        ..AttachOptions::new(&namespaces, cpu_mask::length(cpus))
    };
    let events = match Events::attach(&wanted) {
        Ok(events) => events,
        Err(error) => {
            findings.field("none", &error.to_string());
            findings.off("probes", &without_probes(&error));
            return ([false; EVENTS], error.may_pass());
        }
    };
    let mut failed: Vec<(String, Vec<&str>)> = Vec::new();
    for (hook, state) in events.states() {
        let when = match hook.need {
            AttachWhen::Always => "",
            AttachWhen::PerPacket => "; with --ebpf-per-packet",
            AttachWhen::Internal => "; with --internal",
            AttachWhen::Reports => "; with ctpulse drops",
            AttachWhen::Invalid => "; with --ebpf-invalid",
        };
        let text = format!("{state}{when}");
        if state.is_unexpected() {
            let help = "what it counts is left out on this kernel; please report its release";
            findings.problem(hook.name, &state.to_string(), help);
        } else if state.is_attached() {
            findings.field(hook.name, &text);
        } else if let Some((_, hooks)) = failed.iter_mut().find(|(known, _)| *known == text) {
            hooks.push(hook.name);
        } else {
            failed.push((text, vec![hook.name]));
        }
    }
    for (why, hooks) in &failed {
        findings.field(&hooks.join(", "), why);
    }
    let missed = if events.counts_missed() {
        "counted by this kernel; see the field events_missed"
    } else {
        "not known: kernels count what kprobes miss from 6.7 on"
    };
    findings.field("missed calls", missed);
    if events.pins_module() {
        findings.field("unloading", PINNED);
    }
    if let Some(types) = events.blind()
        && let Err(error) = check_alone(&namespaces, &types.to_string())
    {
        findings.field("not used", &error.to_string());
        findings.off("probes", &without_probes(&error));
        return ([false; EVENTS], false);
    }
    findings.works("probes");
    if !failed.is_empty() {
        let hooks: Vec<&str> = failed.iter().flat_map(|(_, hooks)| hooks.iter().copied()).collect();
        findings.off("hooks", &hooks.join(", "));
    }
    let always = |event| {
        let mut hooks = HOOKS.iter().filter(|hook| hook.need == AttachWhen::Always);
        hooks.any(|hook| hook.events.contains(&event))
    };
    (Event::ALL.map(|event| events.counts(event) && always(event)), true)
}
