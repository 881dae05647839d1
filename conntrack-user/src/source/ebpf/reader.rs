//! One input's view of the counters.

use std::io;
use std::sync::Arc;

use conntrack_ebpf::Event;

use super::Events;
use super::invalid_counts::InvalidReader;
use super::reason_counts::ReasonCounts;

/// Events that are counted only on request, because they have a cost for each packet.
const PER_PACKET: [Event; 3] = [Event::TrackerDropped, Event::Found, Event::Ignored];

/// One input's view: the counters of its namespace, CPU by CPU.
#[derive(Debug, Clone)]
pub struct EventReader {
    /// The attached programs, which all inputs share.
    pub events: Arc<Events>,
    /// The namespace's slot.
    pub slot: usize,
    /// The possible CPUs, in the order of the statistics file's rows.
    pub cpus: Vec<u32>,
    /// Whether this input asked for what costs something for each packet; another one that shares
    /// the programs may have.
    pub per_packet: bool,
    /// The reader of INVALID packets by reason, where this input asked for them and the namespace is
    /// known.
    pub invalid: Option<InvalidReader>,
}

impl EventReader {
    /// Reads all counters, [`Event::ALL`] for each CPU. No system call, and no allocation once
    /// `counters` has the room.
    pub fn read(&self, counters: &mut Vec<u64>) {
        counters.clear();
        for &cpu in &self.cpus {
            counters.extend_from_slice(&asked(self.events.read(cpu, self.slot), self.per_packet));
        }
    }

    /// Reads INVALID packets by reason, which takes system calls: at an emission. `None` where they are
    /// not counted.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read_invalid(&mut self) -> io::Result<Option<&ReasonCounts>> {
        match (self.events.invalid_counts.as_ref(), self.invalid.as_mut()) {
            (Some(maps), Some(reader)) => reader.read(maps).map(Some),
            _ => Ok(None),
        }
    }

    /// Which events are counted.
    #[must_use]
    pub fn counted(&self) -> [bool; Event::COUNT] {
        let asked = |event| self.per_packet || !PER_PACKET.contains(&event);
        Event::ALL.map(|event| self.events.counts(event) && asked(event))
    }
}

/// The events of one CPU without those that an input did not ask for, which another input may have had
/// counted: they would be taken off what is left of the kernel's `drop` and stand in no field.
fn asked(mut events: [u64; Event::COUNT], per_packet: bool) -> [u64; Event::COUNT] {
    if !per_packet {
        PER_PACKET.iter().for_each(|event| events[*event as usize] = 0);
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_has_only_its_own_optional_events() {
        let all = Event::ALL.map(|event| 1 + event as u64);
        assert_eq!(asked(all, true), all);
        let own = asked(all, false);
        for event in Event::ALL {
            let expected = if PER_PACKET.contains(&event) { 0 } else { all[event as usize] };
            assert_eq!(own[event as usize], expected, "{event:?}");
        }
    }
}
