//! One INVALID packet as a line: for a person, or as JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::drops::line::{JsonTuple, connection};
use crate::source::ebpf::invalid::{InvalidReport, Text};
use crate::text::human::time_with_decimals;
use crate::text::sanitize::{self, shown};

/// The columns of [`human`].
pub const HEADER: &str = "UTC              reason               proto    source -> destination";

/// The flags of TCP from the lowest bit on, with the names of nftables.
const FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"];

fn flags_of(bits: u8) -> Vec<&'static str> {
    FLAGS
        .iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, name)| *name)
        .collect()
}

/// The direction of a packet of a connection.
const fn direction(is_reply: bool) -> &'static str {
    if is_reply { "reply" } else { "original" }
}

/// Formats a line for a person, without its newline; `netns` is printed where it is given.
///
/// `time_ns` is nanoseconds since the epoch. The addresses are those of the connection in its original
/// direction, and without a connection those of the packet.
#[must_use]
pub fn human(report: &InvalidReport, reason: &str, time_ns: i64, netns: Option<&str>) -> String {
    let time = time_with_decimals(time_ns, 6);
    let mut line =
        format!("{time}  {:<19}  {}", shown(reason), connection(report.tuple().as_ref()));
    // Writing to a string cannot fail.
    let _ = match report.is_reply {
        Some(is_reply) => write!(line, "  {}", direction(is_reply)),
        None => write!(line, "  no connection"),
    };
    if let Some(bits) = report.packet.and_then(|packet| packet.tcp_flags) {
        let flags = flags_of(bits);
        let flags = if flags.is_empty() { "none".to_owned() } else { flags.join(",") };
        let _ = write!(line, "  flags {flags}");
    }
    if let Some(hook) = report.hook {
        let _ = write!(line, "  {hook}");
    }
    if let Some(ifindex) = report.ifindex {
        let _ = write!(line, "  ifindex {ifindex}");
    }
    let _ = write!(line, "  cpu {}", report.cpu);
    if report.zone != 0 {
        let _ = write!(line, "  zone {}", report.zone);
    }
    if let Some(netns) = netns {
        let _ = write!(line, "  netns {netns}");
    }
    line
}

/// A packet as JSON; unknown values are left out.
#[derive(Debug, Serialize)]
struct JsonInvalid<'a> {
    /// Nanoseconds since the epoch.
    timestamp: i64,
    reason: &'a str,
    /// The kernel's text, with the places of its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    cpu: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<&'a str>,
    netns_inode: u32,
    zone: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifindex: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_flags: Option<Vec<&'static str>>,
    #[serde(flatten)]
    tuple: Option<JsonTuple>,
}

/// A line of JSON, without its end. `time_ns` is nanoseconds since the epoch.
///
/// # Panics
/// Never: everything in it can be written as JSON.
#[must_use]
pub fn json(report: &InvalidReport, reason: &str, time_ns: i64, netns: Option<&str>) -> String {
    let text = match &report.text {
        Text::Known(text) => Some(text.trim_end()),
        Text::None | Text::Unread => None,
    };
    let json = JsonInvalid {
        timestamp: time_ns,
        reason,
        text,
        cpu: report.cpu,
        netns,
        netns_inode: report.inode,
        zone: report.zone,
        hook: report.hook,
        ifindex: report.ifindex,
        direction: report.is_reply.map(direction),
        tcp_flags: report.packet.and_then(|packet| packet.tcp_flags).map(flags_of),
        tuple: report.tuple().as_ref().map(JsonTuple::from),
    };
    sanitize::json(&serde_json::to_string(&json).expect("numbers and strings"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ebpf::packet::PacketHeader;
    use crate::source::ebpf::tuple::Tuple;

    /// 2026-11-25 01:47:31.000042 UTC.
    const TIME: i64 = 1_795_571_251_000_042_999;

    fn tuple(protocol: u8, source: &str, destination: &str) -> Tuple {
        Tuple {
            protocol,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            source_port: 1234,
            destination_port: 53,
        }
    }

    fn report() -> InvalidReport {
        let reply = tuple(6, "192.0.2.53", "10.0.0.1");
        InvalidReport {
            time_ns: 0,
            text: Text::Known("nf_ct_x: odd ".into()),
            cpu: 1,
            inode: 5,
            zone: 0,
            ifindex: Some(2),
            hook: Some("prerouting"),
            protocol: 6,
            is_reply: Some(true),
            connection: Some(tuple(6, "10.0.0.1", "192.0.2.53")),
            packet: Some(PacketHeader { tuple: reply, tcp_flags: Some(0x14) }),
        }
    }

    #[test]
    fn a_line_has_reason_connection_direction_and_flags() {
        assert_eq!(
            human(&report(), "tcp_rst", TIME, None),
            "01:47:31.000042  tcp_rst              tcp      10.0.0.1:1234 -> 192.0.2.53:53  reply  \
             flags rst,ack  prerouting  ifindex 2  cpu 1"
        );
    }

    #[test]
    fn a_packet_without_a_connection_has_its_own_addresses() {
        let packet = PacketHeader { tuple: tuple(17, "::1", "::2"), tcp_flags: None };
        let report = InvalidReport {
            zone: 7,
            ifindex: None,
            hook: None,
            is_reply: None,
            connection: None,
            packet: Some(packet),
            ..report()
        };
        assert_eq!(
            human(&report, "checksum", TIME, Some("gw")),
            "01:47:31.000042  checksum             udp      [::1]:1234 -> [::2]:53  no connection  \
             cpu 1  zone 7  netns gw"
        );
        let unknown = InvalidReport { packet: None, ..report };
        assert!(human(&unknown, "checksum", TIME, None).contains("?        unknown"));
    }

    #[test]
    fn no_flags_are_named() {
        let mut report = report();
        report.packet.as_mut().unwrap().tcp_flags = Some(0);
        assert!(human(&report, "tcp_flags", TIME, None).contains("  flags none  "));
    }

    #[test]
    fn json_has_the_known_fields() {
        let expected = concat!(
            r#"{"timestamp":1795571251000042999,"reason":"tcp_rst","text":"nf_ct_x: odd","cpu":1,"#,
            r#""netns_inode":5,"zone":0,"hook":"prerouting","ifindex":2,"direction":"reply","#,
            r#""tcp_flags":["rst","ack"],"protocol":"tcp","source":"10.0.0.1","#,
            r#""destination":"192.0.2.53","source_port":1234,"destination_port":53}"#
        );
        assert_eq!(json(&report(), "tcp_rst", TIME, None), expected);
        let unknown = InvalidReport {
            text: Text::None,
            hook: None,
            ifindex: None,
            is_reply: None,
            connection: None,
            packet: None,
            ..report()
        };
        let line = json(&unknown, "no_connection", TIME, Some("a\"b"));
        let expected = concat!(
            r#"{"timestamp":1795571251000042999,"reason":"no_connection","cpu":1,"netns":"a\"b","#,
            r#""netns_inode":5,"zone":0}"#
        );
        assert_eq!(line, expected);
    }

    /// A text of a future kernel, or memory that holds no text, cannot act on a terminal.
    #[test]
    fn an_unknown_reason_is_printable() {
        let line = human(&report(), "\x1b[2J\n", TIME, None);
        assert!(!line.contains(['\x1b', '\n']), "{line:?}");
    }
}
