//! Where a field's numbers come from: which counters are whose, and the word for it.

use conntrack_ebpf::Event;

use crate::accumulate::Counted;
use crate::accumulate::derived_drops::DerivedDrop;
use crate::schema::maintained::{self, Release};
use crate::schema::raw::Layout;

/// The counters that the event source can give, and the fields that only it gives.
const FROM_EVENTS: [(&str, Event); 12] = [
    ("insert", Event::Insert),
    ("new", Event::New),
    ("delete", Event::Delete),
    ("delete_list", Event::DeleteList),
    ("found", Event::Found),
    ("ignore", Event::Ignored),
    ("drop_table_full", Event::TableFull),
    ("table_full_evictable", Event::TableFullEvictable),
    ("create_table_full", Event::CreateTableFull),
    ("gc_early_drop", Event::GcEarlyDrop),
    ("drop_clash", Event::ClashDropped),
    ("drop_tracker", Event::TrackerDropped),
];

/// The fields that both sides give together, on `cpu=all`: a packet may change the CPU between
/// the probe and the kernel's counter.
pub const FROM_REMAINDERS: [(&str, DerivedDrop); 2] =
    [("drop_dying", DerivedDrop::Dying), ("drop_other", DerivedDrop::Other)];

/// A source of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The kernel's own counter.
    Kernel,
    /// The kernel's own counter, which leaves most of what the name promises out
    /// ([`crate::schema::maintained::counts_a_part`]).
    Part,
    /// The event source.
    Events,
    /// What is left of the kernel's counter when the event source's are taken off.
    Both,
}

impl Origin {
    /// One word of at most six letters.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Part => "part",
            Self::Events => "events",
            Self::Both => "both",
        }
    }
}

/// What comes from the event source: counters that this kernel does not maintain, and those of
/// which it counts a part only ([`maintained::counts_a_part`]).
pub fn event_counters(
    layout: &Layout,
    release: Option<Release>,
    counted: &Counted,
) -> impl Iterator<Item = (&'static str, Event)> {
    FROM_EVENTS.into_iter().filter(move |(name, event)| {
        let partial = maintained::counts_a_part(layout, release, name);
        counted[*event as usize] && (partial || !maintained::maintains(layout, release, name))
    })
}
