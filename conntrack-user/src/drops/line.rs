//! One report as a line: for a person, or as JSON.

use std::fmt::Write;
use std::net::IpAddr;

use serde::Serialize;

use super::{cause_name, cause_words};
use crate::source::ebpf::drops::DropReport;
use crate::source::ebpf::tuple::Tuple;
use crate::text::connection::{has_ports, is_icmp, protocol_name};
use crate::text::human::time_with_decimals;

/// The columns of [`human`].
pub const HEADER: &str = "UTC              cause           proto    source -> destination";

/// Formats a line for a person, without its newline; `netns` is printed where it is given.
///
/// `time_ns` is nanoseconds since the epoch.
#[must_use]
pub fn human(report: &DropReport, time_ns: i64, netns: Option<&str>) -> String {
    let time = time_with_decimals(time_ns, 6);
    let mut line = format!("{time}  {:<14}  ", cause_words(report.cause));
    line.push_str(&connection(report.tuple.as_ref()));
    // Writing to a string cannot fail.
    if let Some(translated) = &report.translated {
        let _ = write!(line, "  nat {}", ends(translated));
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

/// Formats the protocol and both ends of a connection.
pub(super) fn connection(tuple: Option<&Tuple>) -> String {
    let Some(tuple) = tuple else { return format!("{:<7}  unknown", "?") };
    let mut text = format!("{:<7}  {}", protocol_name(tuple.protocol), ends(tuple));
    if is_icmp(tuple.protocol) {
        let [kind, code] = tuple.destination_port.to_be_bytes();
        // Writing to a string cannot fail.
        let _ = write!(text, "  type {kind} code {code} id {}", tuple.source_port);
    }
    text
}

/// Returns both ends of a tuple.
fn ends(tuple: &Tuple) -> String {
    let end = |address, port| end(address, port, tuple.protocol);
    let source = end(tuple.source, tuple.source_port);
    format!("{source} -> {}", end(tuple.destination, tuple.destination_port))
}

fn end(address: IpAddr, port: u16, protocol: u8) -> String {
    match (has_ports(protocol), address) {
        (false, address) => address.to_string(),
        (true, IpAddr::V4(address)) => format!("{address}:{port}"),
        (true, IpAddr::V6(address)) => format!("[{address}]:{port}"),
    }
}

/// A report as JSON; unknown values are left out.
#[derive(Debug, Serialize)]
struct JsonReport<'a> {
    /// Nanoseconds since the epoch.
    timestamp: i64,
    cause: &'static str,
    cpu: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<&'a str>,
    netns_inode: u32,
    zone: u16,
    #[serde(flatten)]
    tuple: Option<JsonTuple>,
    #[serde(flatten)]
    translated: Option<JsonTranslated>,
}

/// A tuple after NAT.
#[derive(Debug, Serialize)]
struct JsonTranslated {
    nat_source: IpAddr,
    nat_destination: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    nat_source_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nat_destination_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nat_icmp_id: Option<u16>,
}

impl From<&Tuple> for JsonTranslated {
    fn from(tuple: &Tuple) -> Self {
        let JsonTuple { source, destination, source_port, destination_port, icmp_id, .. } =
            JsonTuple::from(tuple);
        Self {
            nat_source: source,
            nat_destination: destination,
            nat_source_port: source_port,
            nat_destination_port: destination_port,
            nat_icmp_id: icmp_id,
        }
    }
}

/// The parts of a connection in JSON.
#[derive(Debug, Serialize)]
pub(super) struct JsonTuple {
    protocol: String,
    source: IpAddr,
    destination: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_id: Option<u16>,
}

impl From<&Tuple> for JsonTuple {
    fn from(tuple: &Tuple) -> Self {
        let (ports, icmp) = (has_ports(tuple.protocol), is_icmp(tuple.protocol));
        let [kind, code] = tuple.destination_port.to_be_bytes();
        Self {
            protocol: protocol_name(tuple.protocol),
            source: tuple.source,
            destination: tuple.destination,
            source_port: ports.then_some(tuple.source_port),
            destination_port: ports.then_some(tuple.destination_port),
            icmp_type: icmp.then_some(kind),
            icmp_code: icmp.then_some(code),
            icmp_id: icmp.then_some(tuple.source_port),
        }
    }
}

/// A line of JSON, without its end. `time_ns` is nanoseconds since the epoch.
///
/// # Panics
/// Never: everything in it can be written as JSON.
#[must_use]
pub fn json(report: &DropReport, time_ns: i64, netns: Option<&str>) -> String {
    let DropReport { cause, cpu, inode, zone, ref tuple, ref translated, .. } = *report;
    let tuple = tuple.as_ref().map(JsonTuple::from);
    let translated = translated.as_ref().map(JsonTranslated::from);
    let cause = cause_name(cause);
    let json = JsonReport {
        timestamp: time_ns,
        cause,
        cpu,
        netns,
        netns_inode: inode,
        zone,
        tuple,
        translated,
    };
    serde_json::to_string(&json).expect("numbers and strings")
}

#[cfg(test)]
mod tests {
    use conntrack_ebpf::Cause;

    use super::*;

    fn report(protocol: u8, source: &str, destination: &str) -> DropReport {
        DropReport {
            time_ns: 0,
            cause: Cause::TableFull,
            cpu: 1,
            inode: 5,
            zone: 0,
            tuple: Some(Tuple {
                protocol,
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
                source_port: 1234,
                destination_port: 53,
            }),
            translated: None,
        }
    }

    /// Behind 203.0.113.1:20099.
    fn behind_nat() -> DropReport {
        let report = report(17, "10.0.0.1", "192.0.2.53");
        let source = "203.0.113.1".parse().unwrap();
        let translated = report.tuple.map(|tuple| Tuple { source, source_port: 20_099, ..tuple });
        DropReport { cause: Cause::NatExhausted, translated, ..report }
    }

    /// 2026-11-25 01:47:31.000042 UTC.
    const TIME: i64 = 1_795_571_251_000_042_999;

    #[test]
    fn a_line_has_time_cause_and_connection() {
        assert_eq!(
            human(&report(17, "10.0.0.1", "192.0.2.53"), TIME, None),
            "01:47:31.000042  table full      udp      10.0.0.1:1234 -> 192.0.2.53:53  cpu 1"
        );
        let mut other = report(6, "2001:db8::1", "::1");
        (other.cause, other.zone) = (Cause::Clash, 7);
        assert_eq!(
            human(&other, TIME, Some("router1")),
            "01:47:31.000042  lost a race     tcp      [2001:db8::1]:1234 -> [::1]:53  cpu 1  \
             zone 7  netns router1"
        );
        let mut icmp = report(1, "10.0.0.1", "192.0.2.53");
        icmp.tuple.as_mut().unwrap().destination_port = 8 << 8;
        assert_eq!(
            human(&icmp, TIME, None),
            "01:47:31.000042  table full      icmp     10.0.0.1 -> 192.0.2.53  type 8 code 0 \
             id 1234  cpu 1"
        );
        assert_eq!(
            human(&behind_nat(), TIME, None),
            "01:47:31.000042  no NAT port     udp      10.0.0.1:1234 -> 192.0.2.53:53  \
             nat 203.0.113.1:20099 -> 192.0.2.53:53  cpu 1"
        );
        icmp.tuple = None;
        assert!(human(&icmp, TIME, None).contains("?        unknown  cpu 1"));
    }

    #[test]
    fn json_has_the_known_fields() {
        let line = json(&report(17, "10.0.0.1", "192.0.2.53"), TIME, Some("a\"b"));
        let expected = concat!(
            r#"{"timestamp":1795571251000042999,"cause":"table_full","cpu":1,"netns":"a\"b","#,
            r#""netns_inode":5,"zone":0,"protocol":"udp","source":"10.0.0.1","#,
            r#""destination":"192.0.2.53","source_port":1234,"destination_port":53}"#
        );
        assert_eq!(line, expected);
        let line = json(&behind_nat(), TIME, None);
        let expected = concat!(
            r#""destination_port":53,"nat_source":"203.0.113.1","nat_destination":"192.0.2.53","#,
            r#""nat_source_port":20099,"nat_destination_port":53}"#
        );
        assert!(line.ends_with(expected), "{line}");
        let line = json(&report(47, "10.0.0.1", "192.0.2.53"), TIME, None);
        assert!(line.ends_with(r#""destination":"192.0.2.53"}"#), "{line}");
        let unknown = DropReport { tuple: None, ..report(17, "10.0.0.1", "192.0.2.53") };
        assert!(json(&unknown, TIME, None).ends_with(r#""zone":0}"#));
    }
}
