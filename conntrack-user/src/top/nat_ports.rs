//! The ports that NAT has taken of an address, for each destination.
//!
//! Two connections may have the same port of one address where their destinations differ
//! (`nf_nat_used_tuple` compares whole tuples), so each destination has all ports of the address.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use crate::source::ebpf::census::{Entry, Pass};
use crate::text::connection::has_ports;

/// The ports from which NAT takes one where no range is given: those of a connection whose own port is
/// not below 1024 (`nf_nat_l4proto_unique_tuple`).
const ANY: RangeInclusive<u16> = 1024..=u16::MAX;

/// Changed ports from which on they show the range of a rule: without one they are spread evenly over
/// [`ANY`], so that so many in less than half of it are no chance (below 0.1 %).
const SHOWS_RANGE: u32 = 16;

/// The most ports that one search tries (`nf_nat_l4proto_unique_tuple`): 128, 64, 32, 16 and 8.
pub const TRIES: usize = 248;

/// Up to so many ports the first round of a search tries all of them.
const FIRST_ROUND: usize = 128;

/// The shares of the ports from which on searches failed, measured on Linux 6.18 with UDP to one
/// destination: of a range of 200 to 28,000 ports, and of all ports where the clients count their
/// ports up from 32768. Where these are random, it is 0.61, and with `fully-random` 0.85.
const RANGE_FAILS: f64 = 0.89;
const ANY_FAILS: f64 = 0.43;

/// The part of [`NatPorts::fails_from`] from which on ports are nearly used up.
const NEARLY: f64 = 0.8;

/// Destinations that are kept apart; then the half with the fewest entries is given up.
const MOST: usize = 65_536;

/// An address and a destination, between which each connection needs a port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pair {
    address: IpAddr,
    destination: SocketAddr,
    protocol: u8,
    zone: u16,
}

/// The connections of a pair.
#[derive(Debug, Clone, Copy)]
struct Taken {
    connections: u32,
    /// Those whose source address or port was translated.
    translated: u32,
    /// Those whose source port was translated.
    changed: u32,
    /// The lowest and the highest port of those.
    lowest: u16,
    highest: u16,
}

/// The ports that are taken of one address, by connections to one destination.
#[derive(Debug, Clone, PartialEq)]
pub struct NatPorts {
    /// The translated source address.
    pub address: IpAddr,
    /// The destination, as the packets have it behind the gateway.
    pub destination: SocketAddr,
    /// The protocol.
    pub protocol: u8,
    /// Ports that are taken.
    pub taken: f64,
    /// A part of the table was read, so the number is an estimate.
    pub is_estimate: bool,
    /// The usable ports: about those of a rule, as the connections show them, or all from 1024 on.
    pub usable: RangeInclusive<u16>,
    /// The usable ports are those of a rule.
    pub is_range: bool,
}

impl NatPorts {
    /// The share of the usable ports that is taken, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.taken / self.usable.len() as f64
    }

    /// The lowest share from which on a new connection may find no port.
    #[must_use]
    pub fn fails_from(&self) -> f64 {
        match self.usable.len() {
            ..=FIRST_ROUND => 1.0,
            _ if self.is_range => RANGE_FAILS,
            _ => ANY_FAILS,
        }
    }

    /// How near the first failure is: 1 where searches may fail.
    fn nearness(&self) -> f64 {
        self.share() / self.fails_from()
    }
}

/// Adds up the connections of one namespace.
#[derive(Debug)]
pub struct NatPortTally {
    inode: u32,
    pairs: HashMap<Pair, Taken>,
    most: usize,
}

impl NatPortTally {
    /// A tally of the namespace with this inode number.
    #[must_use]
    pub fn new(inode: u32) -> Self {
        Self { inode, pairs: HashMap::new(), most: MOST }
    }

    /// Adds an entry of the table, also one that is not translated: it has its port, too. The port of an
    /// expired entry is free (`nf_conntrack_tuple_taken` passes over it).
    pub fn add(&mut self, entry: &Entry) {
        let (original, reply) = (&entry.original, &entry.reply);
        let port = reply.destination_port;
        let has_port = has_ports(reply.protocol) && ANY.contains(&port) && !entry.is_expired;
        if entry.inode != self.inode || !has_port {
            return;
        }
        let pair = Pair {
            address: reply.destination,
            destination: SocketAddr::new(reply.source, reply.source_port),
            protocol: reply.protocol,
            zone: entry.zone,
        };
        let none =
            Taken { connections: 0, translated: 0, changed: 0, lowest: u16::MAX, highest: 0 };
        let taken = self.pairs.entry(pair).or_insert(none);
        taken.connections += 1;
        let is_changed = port != original.source_port;
        taken.translated += u32::from(is_changed || reply.destination != original.source);
        if is_changed {
            taken.changed += 1;
            taken.lowest = taken.lowest.min(port);
            taken.highest = taken.highest.max(port);
        }
        if self.pairs.len() > self.most {
            self.give_up_half();
        }
    }

    fn give_up_half(&mut self) {
        let mut counts: Vec<u32> = self.pairs.values().map(|taken| taken.connections).collect();
        let (_, &mut least, _) = counts.select_nth_unstable(self.most / 2);
        self.pairs.retain(|_, taken| taken.connections > least);
    }

    /// Returns the ports that are nearly used up, those that fail next first; `pass` is that of the
    /// entries.
    #[must_use]
    pub fn nearly_used_up(&self, pass: &Pass) -> Vec<NatPorts> {
        let mut nearest = self.nearest(pass);
        nearest.retain(|ports| ports.nearness() >= NEARLY);
        nearest
    }

    fn nearest(&self, pass: &Pass) -> Vec<NatPorts> {
        let of = |(pair, taken): (&Pair, &Taken)| taken.ports(pair, pass.share());
        let mut nearest: Vec<NatPorts> = self.pairs.iter().filter_map(of).collect();
        nearest.sort_by(|a, b| {
            let order = b.nearness().total_cmp(&a.nearness());
            order.then_with(|| (a.address, a.destination).cmp(&(b.address, b.destination)))
        });
        nearest
    }
}

impl Taken {
    /// Returns the ports of a pair of which this part of the connections was read; `None` where none is
    /// translated.
    fn ports(&self, pair: &Pair, read: f64) -> Option<NatPorts> {
        let range = self.range();
        let is_range = range.is_some();
        let usable = range.unwrap_or(ANY);
        (self.translated > 0).then(|| NatPorts {
            address: pair.address,
            destination: pair.destination,
            protocol: pair.protocol,
            taken: (f64::from(self.connections) / read).min(usable.len() as f64),
            is_estimate: read < 1.0,
            usable,
            is_range,
        })
    }

    /// The range from which NAT takes ports, where the changed ports show one. Its ends are as far
    /// behind the lowest and the highest as the changed ports are apart from each other.
    fn range(&self) -> Option<RangeInclusive<u16>> {
        let span = self.highest.checked_sub(self.lowest)?;
        if self.changed < SHOWS_RANGE || usize::from(span) >= ANY.len() / 2 {
            return None;
        }
        let apart = f64::from(span) / f64::from(self.changed - 1);
        let behind = (apart - 1.0).max(0.0).round() as u16;
        let first = self.lowest.saturating_sub(behind).max(*ANY.start());
        Some(first..=self.highest.saturating_add(behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::tests::nat;

    const WHOLE: Pass = pass(8, 8);

    const fn pass(buckets: u32, buckets_read: u32) -> Pass {
        Pass {
            buckets,
            buckets_read,
            entries: 0,
            moved: 0,
            buckets_lost: 0,
            unreadable: 0,
            restarts: 0,
            runs: 0,
            longest_run: std::time::Duration::ZERO,
        }
    }

    fn add(tally: &mut NatPortTally, from: u16, to: u16, address: &str, destination_port: u16) {
        let mut entry = nat();
        entry.original.source_port = from;
        entry.reply.destination = address.parse().unwrap();
        (entry.reply.destination_port, entry.reply.source_port) = (to, destination_port);
        tally.add(&entry);
    }

    /// Each pair as text, with the share in percent.
    fn shown(ports: Vec<NatPorts>) -> Vec<String> {
        let text = |ports: NatPorts| {
            let NatPorts { address, destination, taken, usable, .. } = &ports;
            let percent = 100.0 * ports.share();
            format!("{address} {destination} {taken:.0} of {usable:?} {percent:.1}")
        };
        ports.into_iter().map(text).collect()
    }

    #[test]
    fn a_destination_has_all_ports_of_an_address() {
        let mut tally = NatPortTally::new(5);
        for port in 1024..50_000 {
            add(&mut tally, port, port, "203.0.113.1", 443);
        }
        for port in 1024..2000 {
            // Another destination, another address; ports below 1024 are a class of their own.
            add(&mut tally, port, port, "203.0.113.1", 80);
            add(&mut tally, port, port, "203.0.113.2", 443);
            add(&mut tally, 53, 1000, "203.0.113.1", 443);
        }
        let fullest = "203.0.113.1 198.51.100.9:443 48976 of 1024..=65535 75.9";
        assert_eq!(shown(tally.nearly_used_up(&WHOLE)), [fullest]);
        assert_eq!(tally.nearest(&WHOLE).len(), 3);
        let mut other = nat();
        other.inode = 6;
        let before = tally.pairs.len();
        other.reply.source_port = 1;
        tally.add(&other);
        assert_eq!(tally.pairs.len(), before);
    }

    /// A rule `masquerade to :20000-20099`: every fifth of its ports is free.
    #[test]
    fn changed_ports_show_the_range_of_a_rule() {
        let mut tally = NatPortTally::new(5);
        for port in (20_000..20_100).filter(|port| port % 5 != 4) {
            add(&mut tally, port + 20_000, port, "203.0.113.1", 443);
            // A client that counts its own ports up, behind an address without a range.
            add(&mut tally, port, port, "203.0.113.1", 80);
        }
        let range = "203.0.113.1 198.51.100.9:443 80 of 20000..=20098 80.8";
        assert_eq!(shown(tally.nearly_used_up(&WHOLE)), [range]);
        // The same in half of a table.
        let sampled = "203.0.113.1 198.51.100.9:443 99 of 20000..=20098 100.0";
        assert_eq!(shown(tally.nearly_used_up(&pass(8, 4))), [sampled]);
    }

    /// The clients' own ports are in the range, and are kept where they are free.
    #[test]
    fn a_range_with_the_ports_of_the_clients_is_seen() {
        let mut tally = NatPortTally::new(5);
        for port in 33_000..34_000 {
            add(&mut tally, if port % 2 == 0 { port } else { 40_000 }, port, "203.0.113.1", 443);
        }
        let range = "203.0.113.1 198.51.100.9:443 1000 of 33000..=34000 99.9";
        assert_eq!(shown(tally.nearly_used_up(&WHOLE)), [range]);
    }

    /// `fully-random` without a range, and a few ports that changed by chance.
    #[test]
    fn ports_that_are_spread_or_few_show_no_range() {
        let mut tally = NatPortTally::new(5);
        for port in (1024..65_000).step_by(100) {
            add(&mut tally, 40_000, port, "203.0.113.1", 443);
        }
        for port in 40_000..40_015 {
            add(&mut tally, 50_000, port, "203.0.113.1", 80);
        }
        let nearest = tally.nearest(&WHOLE);
        assert!(nearest.len() == 2 && nearest.iter().all(|ports| !ports.is_range));
    }

    #[test]
    fn the_ports_of_expired_entries_are_free() {
        let mut tally = NatPortTally::new(5);
        tally.add(&Entry { is_expired: true, ..nat() });
        assert!(tally.nearest(&WHOLE).is_empty());
    }

    /// 86 of 100 can all be taken; searches in all ports fail much sooner.
    #[test]
    fn those_that_fail_next_are_first() {
        let mut tally = NatPortTally::new(5);
        for port in (20_000..20_085).chain([20_098]) {
            add(&mut tally, 40_000, port, "203.0.113.1", 443);
        }
        for port in 1024..40_000 {
            add(&mut tally, port, port, "203.0.113.1", 80);
        }
        let order: Vec<_> =
            tally.nearly_used_up(&WHOLE).into_iter().map(|ports| ports.is_range).collect();
        assert_eq!(order, [false, true]);
    }

    #[test]
    fn a_part_of_the_table_gives_an_estimate() {
        let mut tally = NatPortTally::new(5);
        for port in 1024..14_000 {
            add(&mut tally, port, port, "203.0.113.1", 443);
        }
        let estimate = "203.0.113.1 198.51.100.9:443 51904 of 1024..=65535 80.5";
        assert_eq!(shown(tally.nearly_used_up(&pass(8, 2))), [estimate]);
        assert!(tally.nearest(&pass(8, 2))[0].is_estimate && !tally.nearest(&WHOLE)[0].is_estimate);
    }

    #[test]
    fn connections_without_translation_take_ports_and_are_no_pair() {
        let mut tally = NatPortTally::new(5);
        for port in 10_000..60_000 {
            add(&mut tally, port, port, "192.0.2.7", 443);
        }
        assert!(tally.nearest(&WHOLE).is_empty());
        // The connection of another host, behind this one's address.
        let mut entry = nat();
        entry.original.source = "192.0.2.99".parse().unwrap();
        entry.reply.destination = "192.0.2.7".parse().unwrap();
        tally.add(&entry);
        assert_eq!(shown(tally.nearly_used_up(&WHOLE)).len(), 1);
    }

    #[test]
    fn many_destinations_take_bounded_memory() {
        let mut tally = NatPortTally { most: 100, ..NatPortTally::new(5) };
        for number in 1..10_000u16 {
            add(&mut tally, 40_000, 40_000, "203.0.113.1", number);
            add(&mut tally, 40_000, number.max(1024), "203.0.113.1", 443);
        }
        assert!(tally.pairs.len() <= 100);
        let fullest = &tally.nearest(&WHOLE)[0];
        assert_eq!(fullest.destination.port(), 443);
    }
}
