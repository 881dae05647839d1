//! Where a field's numbers come from: the kernel, the event source, or both together.

use conntrack_ebpf::Event;

use super::field::{DerivedDrop, Field, FieldKind};
use super::fields::{CHAINTOOLONG, CLASH_RESOLVE, DROP, FIELDS, INSERT_FAILED};
use super::maintained::{self, Release};
use super::raw::{Counted, Layout};

/// A source of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The kernel's own counter.
    Kernel,
    /// The kernel's own counter, which leaves out most of what its name promises
    /// ([`maintained::counts_a_part`]).
    Part,
    /// The event source.
    Events,
    /// The kernel's counter less the event source's.
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

/// Returns the fields that come from the event source: counters that this kernel does not
/// maintain, and those of which it counts only a part ([`maintained::counts_a_part`]).
pub fn event_fields(
    layout: &Layout,
    release: Option<Release>,
    counted: &Counted,
) -> impl Iterator<Item = (&'static Field, Event)> {
    FIELDS.iter().filter_map(move |field| {
        let event = field.event.filter(|event| counted[*event as usize])?;
        let is_partial = maintained::counts_a_part(layout, release, field.name);
        let is_for_events = is_partial || !maintained::maintains(layout, release, field.name);
        is_for_events.then_some((field, event))
    })
}

/// Returns the fields that kernel and probes give together, where both are there. They are on
/// `cpu=all` only: a packet may change the CPU between the probe and the kernel's counter.
pub fn derived_fields(
    layout: &Layout,
    counted: &Counted,
) -> impl Iterator<Item = (&'static Field, DerivedDrop)> {
    FIELDS.iter().filter_map(|field| match field.kind {
        FieldKind::DerivedDrop(drop) if drop.is_known(layout, counted) => Some((field, drop)),
        _ => None,
    })
}

impl DerivedDrop {
    /// Whether it is known on a kernel with these columns, where these events are counted.
    #[must_use]
    pub fn is_known(self, layout: &Layout, counted: &Counted) -> bool {
        let has = |field: &Field| layout.column(field.name).is_some();
        // Before 5.10 `insert_failed` was also raised for races that were resolved.
        let since_5_10 = has(&CLASH_RESOLVE) && has(&INSERT_FAILED) && has(&DROP);
        let needed: &[Event] = match self {
            Self::Dying => &[Event::ClashDropped],
            Self::Other => &[Event::ClashDropped, Event::TableFull],
        };
        since_5_10 && needed.iter().all(|event| counted[*event as usize])
    }
}

/// The columns that derived drop causes are computed from: to be resolved once for each layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DropColumns {
    /// The column `drop`.
    pub drop: Option<usize>,
    /// The column `insert_failed`.
    pub insert_failed: Option<usize>,
    /// The column `chaintoolong`.
    pub chaintoolong: Option<usize>,
}

impl DropColumns {
    /// Finds the columns in a layout.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        Self {
            drop: layout.column(DROP.name),
            insert_failed: layout.column(INSERT_FAILED.name),
            chaintoolong: layout.column(CHAINTOOLONG.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::raw::EVENTS;

    fn layout(names: &[&str]) -> Layout {
        Layout { names: names.iter().map(ToString::to_string).collect(), maintained: false }
    }

    #[test]
    fn a_derived_drop_needs_the_counters_it_is_the_difference_of() {
        let new = layout(&["entries", "clash_resolve", "insert_failed", "drop", "chaintoolong"]);
        let mut counted = [true; EVENTS];
        assert!(DerivedDrop::Other.is_known(&new, &counted));
        counted[Event::TableFull as usize] = false;
        assert!(!DerivedDrop::Other.is_known(&new, &counted));
        assert!(DerivedDrop::Dying.is_known(&new, &counted));
        let old = layout(&["entries", "insert_failed", "drop"]);
        assert!(!DerivedDrop::Dying.is_known(&old, &[true; EVENTS]));
    }
}
