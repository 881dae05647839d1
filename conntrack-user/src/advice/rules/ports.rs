//! A rule about NAT ports before they run out, by the entries in the table.

use super::commands::{exhausted_ports, nat_ports_by_destination};
use super::{Evidence, Finding, Severity, number, percent};
use crate::text::connection::protocol_name;
use crate::top::nat_ports::NatPorts;

/// How many destinations are named.
const NAMED: usize = 3;

/// Ports of an address that are nearly used up for some destination. That the search for one fails is
/// another finding.
pub(super) fn nearly_used_up(evidence: &Evidence) -> Option<Finding> {
    let nearest = evidence.nat_ports.first()?;
    let mut named: Vec<String> = evidence.nat_ports.iter().take(NAMED).map(taken).collect();
    if evidence.nat_ports.len() > NAMED {
        named.push(format!("{} others", evidence.nat_ports.len() - NAMED));
    }
    let mut remedies = exhausted_ports(evidence).to_vec();
    if !nearest.is_range {
        remedies.push(
            "NAT ports: `fully-random` in the rule delays it: searches fail from about 85% on"
                .to_owned(),
        );
    }
    remedies.push(nat_ports_by_destination(evidence));
    Some(Finding {
        severity: Severity::Warning,
        title: "NAT ports are nearly used up".to_owned(),
        evidence: named.join("; "),
        remedies,
        see: "nft(8), NAT statements",
    })
}

/// Returns an address and a destination with the ports that are taken, and when searches fail.
fn taken(ports: &NatPorts) -> String {
    let NatPorts { address, destination, protocol, usable, is_range, is_estimate, .. } = ports;
    let about = if *is_estimate { "about " } else { "" };
    let (first, last) = (usable.start(), usable.end());
    let range = if *is_range { format!(" from about {first} to {last}") } else { String::new() };
    let fails = match ports.fails_from() {
        _ if ports.share() >= 1.0 => "none is free",
        1.0.. => "the last one can still be taken",
        _ if *is_range => "new connections may be dropped from about 90% on",
        _ => {
            "new connections may be dropped from about 44% on (clients that count their ports up), \
             or 61% (random ports of Linux)"
        }
    };
    format!(
        "{about}{} of {} ports{range} of {address} to {destination} ({}) are taken ({}): {fails}",
        number(ports.taken.round()),
        number(usable.len() as f64),
        protocol_name(*protocol),
        percent(ports.share())
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{evidence, only, text};
    use super::*;

    fn ports(taken: f64, usable: std::ops::RangeInclusive<u16>, is_range: bool) -> NatPorts {
        NatPorts {
            address: "203.0.113.1".parse().unwrap(),
            destination: "198.51.100.9:443".parse().unwrap(),
            protocol: 6,
            taken,
            is_estimate: is_range,
            usable,
            is_range,
        }
    }

    #[test]
    fn the_address_and_the_destination_are_named_with_their_ports() {
        let mut evidence = evidence(1000.0, &[]);
        evidence.nat_ports = vec![ports(48_976.0, 1024..=65_535, false)];
        let found = only(&evidence);
        assert_eq!(
            (found.severity, &*found.title),
            (Severity::Warning, "NAT ports are nearly used up")
        );
        assert_eq!(
            found.evidence,
            "48,976 of 64,512 ports of 203.0.113.1 to 198.51.100.9:443 (tcp) are taken (75.9%): new \
             connections may be dropped from about 44% on (clients that count their ports up), or 61% \
             (random ports of Linux)"
        );
        assert!(text(&found).contains("fully-random"), "{found:?}");
        let command = "ctpulse top --by nat,destination,port --where not-expired";
        assert!(text(&found).contains(command), "{found:?}");
    }

    #[test]
    fn a_range_is_named_and_others_are_counted() {
        let mut evidence = evidence(1000.0, &[]);
        evidence.nat_ports = vec![ports(95.0, 20_000..=20_099, true); 5];
        let found = only(&evidence);
        let range = "about 95 of 100 ports from about 20000 to 20099 of 203.0.113.1 to ";
        assert!(found.evidence.starts_with(range), "{found:?}");
        let rest = "are taken (95.0%): the last one can still be taken; 2 others";
        assert!(found.evidence.ends_with(rest), "{found:?}");
        assert!(!text(&found).contains("fully-random"), "{found:?}");
        evidence.nat_ports = vec![ports(100.0, 20_000..=20_099, true)];
        assert!(only(&evidence).evidence.ends_with("are taken (100%): none is free"));
    }
}
