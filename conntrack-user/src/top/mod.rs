//! Who fills the table: entries of the census, selected and added up.
//!
//! No input or output: entries come from `source::ebpf::census`, and `command::top` prints what is made
//! here. `key` and `condition` look at one entry, `tally` adds entries up, `interval` and `counted` say
//! how certain a sample is, `nat_ports` adds up the ports of NAT, `report` writes the table and the JSON,
//! `look` compares a pass with the one before, and `screen` shows it.

pub mod condition;
pub mod counted;
pub mod interval;
pub mod key;
pub mod look;
pub mod nat_ports;
pub mod report;
pub mod screen;
pub mod tally;

#[cfg(test)]
mod tests {
    use crate::source::ebpf::census::Entry;
    use crate::source::ebpf::tuple::Tuple;

    /// A TCP connection that was answered and is assured.
    pub(super) fn entry() -> Entry {
        let original = Tuple {
            protocol: 6,
            source: "192.0.2.7".parse().unwrap(),
            destination: "198.51.100.9".parse().unwrap(),
            source_port: 40_000,
            destination_port: 443,
        };
        let reply = Tuple {
            protocol: 6,
            source: original.destination,
            destination: original.source,
            source_port: 443,
            destination_port: 40_000,
        };
        let status = 1 << 1 | 1 << 2 | 1 << 3;
        Entry {
            original,
            reply,
            inode: 5,
            zone: 3,
            mark: 77,
            tcp_state: 3,
            status,
            is_expired: false,
            remaining: 100,
        }
    }

    /// The same behind an address that hides it.
    pub(super) fn nat() -> Entry {
        let mut entry = entry();
        entry.reply.destination = "203.0.113.1".parse().unwrap();
        entry
    }
}
