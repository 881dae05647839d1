//! The heaviest: reports added up by cause, source, destination, port or network.

use std::collections::HashMap;
use std::fmt::Write;
use std::str::FromStr;

use crate::config::nearest;
use crate::source::ebpf::tuple::Tuple;
use crate::text::connection::{has_ports, network, protocol_name};
use crate::text::human::share;
use crate::text::sanitize::shown;

/// As many different ones are kept apart; a flood from random addresses must not fill the memory.
const MOST: usize = 10_000;

/// The texts for a missing value, and for the values beyond the limit of memory.
const NONE: &str = "-";
const OTHERS: &str = "(others)";

/// The keys by which reports are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupBy {
    /// The cause, or the reason of INVALID packets.
    Cause,
    /// The protocol.
    Protocol,
    /// The source address, or its network with this many bits (of IPv4, and four times that,
    /// at most 128, of IPv6).
    Source(u8),
    /// The destination address, or its network.
    Destination(u8),
    /// The destination port.
    Port,
    /// The source address after NAT, where NAT changes the source address or port.
    Nat,
}

/// The keys, as they are written.
pub const NAMES: [&str; 7] =
    ["cause", "reason", "protocol", "source", "destination", "port", "nat"];

impl FromStr for GroupBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, bits) = match text.split_once('/') {
            None => (text, 32),
            Some((name, bits)) => match bits.parse() {
                Ok(bits @ 0..=32) if matches!(name, "source" | "destination") => (name, bits),
                _ => return Err(format!("'{text}': a network is source/24 or destination/16")),
            },
        };
        match name {
            "cause" | "reason" => Ok(Self::Cause),
            "protocol" => Ok(Self::Protocol),
            "source" => Ok(Self::Source(bits)),
            "destination" => Ok(Self::Destination(bits)),
            "port" => Ok(Self::Port),
            "nat" => Ok(Self::Nat),
            _ => Err(match nearest(name, &NAMES) {
                Some(near) => format!("'{text}' is not a key; did you mean {near}?"),
                None => format!("'{text}' is not a key; 'ctpulse drops --help' lists them"),
            }),
        }
    }
}

/// The parts of a report that it is added up by.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The cause or the reason in words.
    pub cause: &'a str,
    /// The connection or the packet, if that is known.
    pub tuple: Option<&'a Tuple>,
    /// The same after NAT, where NAT changes it.
    pub translated: Option<&'a Tuple>,
}

impl GroupBy {
    fn name(self, cause: &str) -> String {
        match self {
            Self::Cause => cause.to_owned(),
            Self::Protocol => "protocol".to_owned(),
            Self::Source(32) => "source".to_owned(),
            Self::Destination(32) => "destination".to_owned(),
            Self::Source(bits) => format!("source/{bits}"),
            Self::Destination(bits) => format!("destination/{bits}"),
            Self::Port => "port".to_owned(),
            Self::Nat => "nat".to_owned(),
        }
    }

    fn of(self, subject: &Subject<'_>) -> String {
        let tuple =
            |take: &dyn Fn(&Tuple) -> String| subject.tuple.map_or_else(|| NONE.to_owned(), take);
        match self {
            Self::Cause => shown(subject.cause).into_owned(),
            Self::Protocol => tuple(&|tuple| protocol_name(tuple.protocol)),
            Self::Source(bits) => tuple(&|tuple| network(tuple.source, bits)),
            Self::Destination(bits) => tuple(&|tuple| network(tuple.destination, bits)),
            Self::Port => tuple(&|tuple| match has_ports(tuple.protocol) {
                true => tuple.destination_port.to_string(),
                false => NONE.to_owned(),
            }),
            Self::Nat => {
                let source = |tuple: &Tuple| (tuple.source, tuple.source_port);
                let changed =
                    subject.translated.filter(|to| Some(source(to)) != subject.tuple.map(source));
                changed.map_or_else(|| NONE.to_owned(), |to| to.source.to_string())
            }
        }
    }
}

/// Reports, added up.
#[derive(Debug)]
pub struct Top {
    keys: Vec<GroupBy>,
    /// The heading of causes.
    cause: &'static str,
    counts: HashMap<Vec<String>, u64>,
    others: u64,
}

impl Top {
    /// Adds up by all of `keys` together; `cause` is the heading of causes.
    #[must_use]
    pub fn new(keys: Vec<GroupBy>, cause: &'static str) -> Self {
        Self { keys, cause, counts: HashMap::new(), others: 0 }
    }

    /// Adds a report.
    pub fn add(&mut self, subject: &Subject<'_>) {
        let values: Vec<String> = self.keys.iter().map(|key| key.of(subject)).collect();
        let full = self.counts.len() >= MOST;
        match self.counts.get_mut(&values) {
            Some(count) => *count += 1,
            None if full => self.others += 1,
            None => _ = self.counts.insert(values, 1),
        }
    }

    /// The `lines` heaviest, with their share of all reports.
    #[must_use]
    pub fn table(&self, lines: usize) -> String {
        let sum = self.counts.values().sum::<u64>() + self.others;
        let mut heaviest: Vec<_> = self.counts.iter().collect();
        // The same order for the same numbers.
        heaviest.sort_unstable_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let shown = &heaviest[..lines.min(heaviest.len())];
        let rest = sum - shown.iter().map(|(_, count)| **count).sum::<u64>();
        let names: Vec<String> = self.keys.iter().map(|key| key.name(self.cause)).collect();
        let width = |column: usize| {
            let values = shown.iter().map(|(values, _)| values[column].len());
            values.chain([names[column].len()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..names.len()).map(width).collect();
        let mut table = String::new();
        let mut row = |count: &str, of_sum: &str, values: &[String]| {
            let mut line = format!("{count:>10}  {of_sum:>6}");
            for (value, width) in values.iter().zip(&widths) {
                // Writing to a string cannot fail.
                let _ = write!(line, "  {value:width$}");
            }
            table.push_str(line.trim_end());
            table.push('\n');
        };
        row("reports", "share", &names);
        for (values, count) in shown {
            row(&count.to_string(), &share(**count, sum), values);
        }
        if rest > 0 {
            row(&rest.to_string(), &share(rest, sum), &[OTHERS.to_owned()]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn tuple(source: &str, port: u16) -> Tuple {
        let source: IpAddr = source.parse().unwrap();
        Tuple { protocol: 17, source, destination: source, source_port: 1, destination_port: port }
    }

    fn of<'a>(cause: &'a str, tuple: &'a Tuple) -> Subject<'a> {
        Subject { cause, tuple: Some(tuple), translated: None }
    }

    #[test]
    fn a_translated_source_is_a_key_and_a_translated_destination_is_none() {
        let mut top = Top::new(vec![GroupBy::Nat, GroupBy::Port], "cause");
        let own = tuple("10.1.2.3", 53);
        let mut add = |change: &dyn Fn(&mut Tuple)| {
            let mut translated = own;
            change(&mut translated);
            top.add(&Subject { translated: Some(&translated), ..of("no NAT port", &own) });
        };
        (0..3).for_each(|_| add(&|tuple| tuple.source = "203.0.113.1".parse().unwrap()));
        (0..2).for_each(|_| add(&|tuple| tuple.source_port = 20_099));
        add(&|tuple| tuple.destination = "10.9.9.9".parse().unwrap());
        assert_eq!(
            top.table(3),
            "   reports   share  nat          port\n\
             \x20        3   50.0%  203.0.113.1  53\n\
             \x20        2   33.3%  10.1.2.3     53\n\
             \x20        1   16.7%  -            53\n"
        );
    }

    #[test]
    fn the_heaviest_come_first_and_the_rest_is_summed() {
        let mut top = Top::new(vec![GroupBy::Cause, GroupBy::Source(24), GroupBy::Port], "cause");
        for (number, source, port) in [(3, "10.1.2.3", 53), (5, "10.1.3.9", 53), (1, "::1", 80)] {
            (0..number).for_each(|_| top.add(&of("table full", &tuple(source, port))));
        }
        top.add(&Subject { cause: "lost a race", tuple: None, translated: None });
        assert_eq!(
            top.table(3),
            "   reports   share  cause        source/24    port\n\
             \x20        5   50.0%  table full   10.1.3.0/24  53\n\
             \x20        3   30.0%  table full   10.1.2.0/24  53\n\
             \x20        1   10.0%  lost a race  -            -\n\
             \x20        1   10.0%  (others)\n"
        );
    }

    #[test]
    fn a_flood_of_addresses_has_bounded_memory() {
        let mut top = Top::new(vec![GroupBy::Source(32)], "cause");
        for number in 0..MOST as u32 + 500 {
            let source = Ipv4Addr::from(number).to_string();
            top.add(&of("table full", &tuple(&source, 1)));
        }
        assert_eq!((top.counts.len(), top.others), (MOST, 500));
        assert!(top.table(1).ends_with(&format!("{:>10}  100.0%  (others)\n", MOST + 499)));
    }

    #[test]
    fn causes_of_invalid_packets_are_reasons() {
        let mut top = Top::new(vec!["reason".parse().unwrap()], "reason");
        top.add(&of("checksum", &tuple("::1", 1)));
        assert_eq!(top.table(1), "   reports   share  reason\n         1  100.0%  checksum\n");
    }

    #[test]
    fn keys_are_read_and_refused() {
        assert_eq!("source/24".parse(), Ok(GroupBy::Source(24)));
        assert_eq!("nat".parse(), Ok(GroupBy::Nat));
        assert_eq!("destination".parse(), Ok(GroupBy::Destination(32)));
        for wrong in ["port/2", "source/33", "sources", "source/x", ""] {
            assert!(wrong.parse::<GroupBy>().is_err(), "{wrong}");
        }
    }
}
