//! What `ctpulse drops` makes of reports: causes and protocols in words, lines, and the heaviest.
//!
//! Pure: reports come from `source::events::drops`, and `command::drops` prints what is made here.

pub mod histogram;
pub mod line;
pub mod top;
pub mod totals;

use conntrack_ebpf::Cause;

use crate::schema::fields::REPORTED_CAUSES;

/// The cause in a machine's words: the schema's `drop_...` field without its beginning, where
/// there is one.
#[must_use]
pub fn cause_name(cause: Cause) -> &'static str {
    REPORTED_CAUSES[cause as usize].word
}

/// The cause in a person's words.
#[must_use]
pub fn cause_words(cause: Cause) -> &'static str {
    REPORTED_CAUSES[cause as usize].words
}

/// The protocol's name as `/etc/protocols` has it, or its number.
#[must_use]
pub fn protocol_name(protocol: u8) -> String {
    let name = match protocol {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        47 => "gre",
        58 => "icmpv6",
        132 => "sctp",
        136 => "udplite",
        number => return number.to_string(),
    };
    name.to_owned()
}

/// Whether the two numbers of a tuple are ports.
fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}

/// Whether they are an identifier, and a type and a code.
fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, 1 | 58)
}
