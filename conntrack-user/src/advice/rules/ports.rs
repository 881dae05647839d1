//! A rule about NAT ports before they run out, by the entries in the table.

use super::commands::{inside, nat_ports_by_destination};
use super::{Evidence, Finding, SYSCTL, Severity, number, percent};
use crate::text::connection::protocol_name;
use crate::top::nat_ports::{NatPorts, TRIES};

/// How many destinations are named.
const NAMED: usize = 3;

/// Ports of an address that are nearly used up for some destination. That the search for one fails is
/// another finding.
pub(super) fn nearly_used_up(evidence: &Evidence) -> Option<Finding> {
    let fullest = evidence.nat_ports.first()?;
    let mut named: Vec<String> = evidence.nat_ports.iter().take(NAMED).map(taken).collect();
    if evidence.nat_ports.len() > NAMED {
        named.push(format!("{} others", evidence.nat_ports.len() - NAMED));
    }
    let search = if fullest.usable.len() <= TRIES {
        "a new connection is dropped when all are taken".to_owned()
    } else {
        format!(
            "a search tries {TRIES} ports, so new connections are dropped from about {} on",
            percent(fullest.fails_from())
        )
    };
    let mut remedies = vec![
        "more translated addresses, a wider range of ports, or fewer destinations behind one address: \
         each destination and port has all ports of an address"
            .to_owned(),
        format!(
            "shorter timeouts free ports sooner: {}sysctl net.netfilter | grep timeout shows \
             udp_timeout_stream (120 s by default) and tcp_timeout_time_wait (120 s)",
            inside(evidence)
        ),
        nat_ports_by_destination(evidence),
    ];
    if !fullest.is_range {
        remedies.insert(
            1,
            "`fully-random` in the NAT rule delays it: searches fail from about 88% on".to_owned(),
        );
    }
    Some(Finding {
        severity: Severity::Warning,
        title: "NAT ports are nearly used up".to_owned(),
        evidence: format!("{}; {search}", named.join("; ")),
        remedies,
        see: SYSCTL,
    })
}

/// Returns an address and a destination with the ports that are taken.
fn taken(ports: &NatPorts) -> String {
    let NatPorts { address, destination, protocol, usable, is_range, .. } = ports;
    let (first, last) = (usable.start(), usable.end());
    let range = if *is_range { format!(" from {first} to {last}") } else { String::new() };
    format!(
        "{} of {} ports{range} of {address} to {destination} ({}) are taken ({})",
        number(ports.taken),
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
            "48,976 of 64,512 ports of 203.0.113.1 to 198.51.100.9:443 (tcp) are taken (75.9%); a \
             search tries 248 ports, so new connections are dropped from about 77.0% on"
        );
        assert!(text(&found).contains("fully-random"), "{found:?}");
        assert!(text(&found).contains("ctpulse top --by nat,destination,port"), "{found:?}");
    }

    #[test]
    fn a_range_is_named_and_others_are_counted() {
        let mut evidence = evidence(1000.0, &[]);
        evidence.nat_ports = vec![ports(95.0, 20_000..=20_099, true); 5];
        let found = only(&evidence);
        let range = "95 of 100 ports from 20000 to 20099 of 203.0.113.1 to ";
        assert!(found.evidence.starts_with(range), "{found:?}");
        let rest = "; 2 others; a new connection is dropped when all are taken";
        assert!(found.evidence.ends_with(rest), "{found:?}");
        assert!(!text(&found).contains("fully-random"), "{found:?}");
    }
}
