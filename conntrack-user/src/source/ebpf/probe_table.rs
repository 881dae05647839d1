//! The hooks: what can be counted, and the ways to count it, the best first.
//!
//! A way is one or more programs, each with the kernel function that it is attached to; it works
//! only as a whole. Functions have their source names here; `symbols` finds what the running
//! kernel calls them.

use conntrack_ebpf::Event;

/// A program and the functions that it can be attached to, of which the first that exists is
/// taken: kernels renamed some (`destroy_conntrack` became `nf_ct_destroy` between 5.10 and 6.1).
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// The program's name in the object.
    pub program: &'static str,
    /// Names of the function, without what a compiler adds.
    pub functions: &'static [&'static str],
    /// Whether only its return value is read: a compiler may have changed the arguments of a
    /// function whose name it changed.
    pub renamed_too: bool,
}

/// One way to count what a hook is for.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// All of them, or none.
    pub probes: &'static [Probe],
    /// The programs for trampolines that count the same, which may be those of other functions; none
    /// where there are only kprobes.
    pub trampolines: &'static [Probe],
    /// Whether the programs read more of the kernel's structures than the namespace, so that
    /// without its types (BTF) they would miscount.
    pub needs_types: bool,
}

/// When a hook is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachWhen {
    /// Always: rows show what it counts.
    Always,
    /// Only on request, since it costs something for each packet.
    PerPacket,
    /// For the row about ctpulse itself, the programs' diagnostics, or reports of drops: nothing else
    /// shows its counters.
    Internal,
    /// Where drops are reported one by one: it is a call of each new connection more.
    Reports,
    /// Where INVALID packets are counted by reason, or reported one by one.
    Invalid,
}

/// A kernel function or a group of them, and the events that its programs count.
#[derive(Debug, Clone, Copy)]
pub struct Hook {
    /// Its name in `doctor` and messages.
    pub name: &'static str,
    /// The events that its programs count.
    pub events: &'static [Event],
    /// In order of preference.
    pub ways: &'static [Variant],
    /// When it is attached.
    pub need: AttachWhen,
    /// Other hooks, by name, without which it would take one thing for another.
    pub needs: &'static [&'static str],
    /// An earlier hook, by name, whose records its programs use: both are kprobes or both are
    /// trampolines, as a record is found by an address that depends on it.
    pub like: Option<&'static str>,
}

const fn probe(program: &'static str, functions: &'static [&'static str]) -> Probe {
    Probe { program, functions, renamed_too: false }
}

/// A probe that reads nothing but the return value.
const fn value(program: &'static str, functions: &'static [&'static str]) -> Probe {
    Probe { renamed_too: true, ..probe(program, functions) }
}

const fn way(probes: &'static [Probe]) -> Variant {
    Variant { probes, trampolines: &[], needs_types: false }
}

const fn typed_way(probes: &'static [Probe]) -> Variant {
    Variant { needs_types: true, ..way(probes) }
}

impl Variant {
    /// The same with trampolines.
    const fn or(self, trampolines: &'static [Probe]) -> Self {
        Self { trampolines, ..self }
    }
}

const fn hook(name: &'static str, events: &'static [Event], ways: &'static [Variant]) -> Hook {
    Hook { name, events, ways, need: AttachWhen::Always, needs: &[], like: None }
}

const fn packet_hook(
    name: &'static str,
    events: &'static [Event],
    ways: &'static [Variant],
) -> Hook {
    Hook { need: AttachWhen::PerPacket, ..hook(name, events, ways) }
}

const fn internal_hook(
    name: &'static str,
    events: &'static [Event],
    ways: &'static [Variant],
) -> Hook {
    Hook { need: AttachWhen::Internal, ..hook(name, events, ways) }
}

const fn report_hook(
    name: &'static str,
    events: &'static [Event],
    ways: &'static [Variant],
    needs: &'static [&'static str],
) -> Hook {
    Hook { need: AttachWhen::Reports, needs, ..hook(name, events, ways) }
}

const fn invalid_hook(name: &'static str, ways: &'static [Variant]) -> Hook {
    Hook { need: AttachWhen::Invalid, ..hook(name, &[], ways) }
}

const ALLOC: &[&str] = &["__nf_conntrack_alloc"];
const CHECK_INSERT: &[&str] = &["nf_conntrack_hash_check_insert"];
const CONFIRM: &[&str] = &["__nf_conntrack_confirm"];
const DELETE_LIST: &[&str] = &["__nf_ct_delete_from_lists", "nf_ct_delete_from_lists"];
const DESTROY: &[&str] = &["nf_ct_destroy", "destroy_conntrack"];
const EARLY_DROP: &[&str] = &["early_drop"];
const EXPECTATION: &[&str] = &["nf_ct_find_expectation"];
const FIND: &[&str] = &["__nf_conntrack_find_get"];
const FREE: &[&str] = &["nf_conntrack_free"];
const HASH_INSERT: &[&str] = &["__nf_conntrack_hash_insert"];
const PACKET_IN: &[&str] = &["nf_conntrack_in"];
const RESOLVE_CLASH: &[&str] = &["nf_ct_resolve_clash"];
const TUPLE_TAKEN: &[&str] = &["nf_conntrack_tuple_taken"];
const GC: &[&str] = &["gc_worker"];
const TCP_NEW: &[&str] = &["tcp_new"];
const TCP_PACKET: &[&str] = &["nf_conntrack_tcp_packet"];

/// Every hook, in the order in which they are attached: what records a call comes before what needs the
/// record, so that nothing is seen by halves while they are attached to a busy kernel.
pub const HOOKS: [Hook; 17] = [
    hook(
        "insert",
        &[Event::Insert],
        &[
            way(&[probe("hash_insert", HASH_INSERT)])
                .or(&[probe("hash_insert_fentry", HASH_INSERT)]),
            typed_way(&[
                probe("insert_prepare", &["__nf_conntrack_insert_prepare"]),
                probe("check_insert", CHECK_INSERT),
                probe("check_insert_return", CHECK_INSERT),
            ]),
            typed_way(&[
                probe("confirm", CONFIRM),
                probe("confirm_return", CONFIRM),
                probe("check_insert", CHECK_INSERT),
                probe("check_insert_return", CHECK_INSERT),
            ]),
        ],
    ),
    // Which of them the tracker refuses is seen where they are destroyed.
    Hook {
        needs: &["delete"],
        ..hook(
            "new",
            &[Event::New, Event::ExpectNew],
            &[typed_way(&[value("init_return", &["init_conntrack"])])
                .or(&[probe("begun_fexit", ALLOC), probe("expected_fexit", EXPECTATION)])],
        )
    },
    hook(
        "delete",
        &[Event::Delete, Event::NewRefused],
        &[typed_way(&[probe("destroy", DESTROY)]).or(&[probe("destroy_fentry", DESTROY)])],
    ),
    Hook {
        needs: &["delete_list"],
        ..hook(
            "gc",
            &[Event::GcEarlyDrop],
            &[typed_way(&[probe("gc_worker", GC), probe("gc_worker_return", GC)])
                .or(&[probe("gc_worker_fentry", GC), probe("gc_worker_fexit", GC)])],
        )
    },
    hook(
        "delete_list",
        &[Event::DeleteList, Event::Evicted],
        &[way(&[probe("delete_from_lists", DELETE_LIST)])
            .or(&[probe("delete_from_lists_fentry", DELETE_LIST)])],
    ),
    // Trampolines have what a call was made with at its return, too; only reports need its entry.
    report_hook(
        "whose_drop",
        &[],
        &[typed_way(&[probe("alloc", ALLOC)])
            .or(&[probe("alloc_fentry", ALLOC), probe("early_drop_fentry", EARLY_DROP)])],
        &["table_full", "alloc"],
    ),
    Hook {
        like: Some("whose_drop"),
        ..hook(
            "table_full",
            &[
                Event::TableFull,
                Event::TableFullEvictable,
                Event::CreateTableFull,
                Event::EarlyDrop,
            ],
            &[way(&[probe("early_drop", EARLY_DROP), probe("early_drop_return", EARLY_DROP)])
                .or(&[probe("early_drop_fexit", EARLY_DROP)])],
        )
    },
    Hook {
        like: Some("whose_drop"),
        ..internal_hook(
            "alloc",
            &[Event::Alloc, Event::AllocFailed, Event::NoMemory],
            &[way(&[value("alloc_return", ALLOC)]).or(&[probe("alloc_fexit", ALLOC)])],
        )
    },
    internal_hook(
        "free",
        &[Event::Free],
        &[way(&[probe("free", FREE)]).or(&[probe("free_fentry", FREE)])],
    ),
    // The packet of a connection for which NAT found no free port is dropped as that of a clash.
    Hook {
        needs: &["clash"],
        ..hook(
            "nat_ports",
            &[Event::NatExhausted],
            &[typed_way(&[
                probe("tuple_taken", TUPLE_TAKEN),
                probe("tuple_taken_return", TUPLE_TAKEN),
            ])
            .or(&[probe("tuple_taken_fexit", TUPLE_TAKEN)])],
        )
    },
    hook(
        "clash",
        &[Event::ClashResolved, Event::ClashDropped],
        &[way(&[
            probe("resolve_clash", RESOLVE_CLASH),
            probe("resolve_clash_return", RESOLVE_CLASH),
        ])
        .or(&[probe("resolve_clash_fexit", RESOLVE_CLASH)])],
    ),
    report_hook(
        "refusals",
        &[Event::InsertDying, Event::InsertRefused],
        &[typed_way(&[probe("insertion", CONFIRM), probe("insertion_return", CONFIRM)])
            .or(&[probe("insertion_fentry", CONFIRM), probe("insertion_fexit", CONFIRM)])],
        &["clash"],
    ),
    // The tuples that NAT finds taken are counted there.
    Hook {
        needs: &["nat_ports"],
        ..packet_hook(
            "found",
            &[Event::Found],
            &[typed_way(&[value("find_return", FIND)]).or(&[probe("find_fexit", FIND)])],
        )
    },
    packet_hook(
        "ignore",
        &[Event::Ignored],
        &[typed_way(&[probe("packet_in", PACKET_IN)]).or(&[probe("packet_in_fentry", PACKET_IN)])],
    ),
    packet_hook(
        "tracker_drop",
        &[Event::TrackerDropped],
        &[way(&[probe("tcp_packet", TCP_PACKET), probe("tcp_packet_return", TCP_PACKET)])
            .or(&[probe("tcp_packet_fexit", TCP_PACKET)])],
    ),
    // First, so that no first packet is taken for one without a text while they are attached.
    invalid_hook(
        "invalid",
        &[typed_way(&[
            probe("connection_invalid", &["nf_ct_l4proto_log_invalid"]),
            probe("packet_invalid", &["nf_l4proto_log_invalid"]),
        ])],
    ),
    Hook {
        needs: &["invalid"],
        ..invalid_hook(
            "invalid_new",
            &[typed_way(&[probe("tcp_new", TCP_NEW), probe("tcp_new_return", TCP_NEW)])],
        )
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_one_hook_except_missed_calls() {
        for event in Event::ALL {
            let hooks = HOOKS.iter().filter(|hook| hook.events.contains(&event));
            assert_eq!(hooks.count(), usize::from(event != Event::Unplaced), "{event:?}");
        }
    }

    /// A record of a call is found only by a program of the same shape, which is attached later.
    #[test]
    fn hooks_are_like_earlier_hooks_only() {
        for (at, hook) in HOOKS.iter().enumerate() {
            let Some(like) = hook.like else { continue };
            assert!(HOOKS[..at].iter().any(|earlier| earlier.name == like), "{}", hook.name);
        }
    }

    /// The programs of kprobes and trampolines differ, and the latter need a function's types.
    #[test]
    fn trampolines_have_programs_of_their_own() {
        for trampoline in HOOKS.iter().flat_map(|hook| hook.ways).flat_map(|way| way.trampolines) {
            let name = trampoline.program;
            assert!(name.ends_with("_fentry") || name.ends_with("_fexit"), "{name}");
            assert!(!trampoline.renamed_too, "{name}: only exact names have types");
        }
    }

    #[test]
    fn hooks_need_only_existing_hooks() {
        for name in HOOKS.iter().flat_map(|hook| hook.needs) {
            assert!(HOOKS.iter().any(|hook| hook.name == *name), "{name}");
        }
    }

    #[test]
    fn a_return_probe_has_an_entry_probe() {
        for probes in HOOKS.iter().flat_map(|hook| hook.ways).map(|way| way.probes) {
            for (at, probe) in probes.iter().enumerate() {
                let Some(entry) = probe.program.strip_suffix("_return") else { continue };
                let alone = ["init", "alloc", "find"].contains(&entry);
                assert!(alone || probes[at - 1].program == entry, "{}", probe.program);
            }
        }
    }
}
