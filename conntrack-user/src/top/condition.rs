//! Which entries are counted: `--where`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::key::{KEYS, Key, KeyValue};
use crate::config::nearest;
use crate::source::ebpf::census::Entry;
use crate::text::connection::{TCP_STATES, protocol_number};

/// What a condition asks of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    test: Test,
    /// Entries that do not pass are counted.
    is_negated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    /// The key has this value.
    Equals(Key, KeyValue),
    /// The key is an address of this network.
    Network(Key, IpAddr, u32),
}

/// The keys whose names alone are conditions, with the value that is meant.
const FLAGS: [(&str, Key); 4] = [
    ("unreplied", Key::Unreplied),
    ("assured", Key::Assured),
    ("offloaded", Key::Offloaded),
    ("expired", Key::Expired),
];

/// How conditions are written, for messages.
const FORM: &str = "write KEY=VALUE or KEY!=VALUE (source, destination, nat, port, protocol, state, zone, \
                    mark); or unreplied, assured, offloaded or expired, each also with not- before it";

impl Condition {
    /// Whether the name of its key alone is the condition.
    fn is_flag(&self) -> bool {
        let Test::Equals(key, _) = &self.test else { return false };
        FLAGS.iter().any(|(_, flag)| flag == key)
    }

    /// Whether an entry is counted.
    #[must_use]
    pub fn holds(&self, entry: &Entry) -> bool {
        let passes = match &self.test {
            Test::Equals(key, value) => key.of(entry) == *value,
            Test::Network(key, network, bits) => match key.of(entry) {
                KeyValue::Address(address, _) => is_within(address, *network, *bits),
                _ => false,
            },
        };
        passes != self.is_negated
    }
}

/// Whether the first `bits` of both are the same.
fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (u32::from(a) ^ u32::from(b)).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (u128::from(a) ^ u128::from(b)).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once('=') else { return flag(text) };
        let (name, is_negated) = match name.strip_suffix('!') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let key = KEYS.into_iter().find(|(known, _)| *known == name).map(|(_, key)| key);
        let Some(key) = key else {
            let near = nearest(name, &KEYS.map(|(name, _)| name));
            let what = near.map_or_else(|| FORM.to_owned(), |near| format!("did you mean {near}?"));
            return Err(format!("'{name}' is not a key; {what}"));
        };
        let test = test(key, value).ok_or_else(|| {
            format!("'{value}' is no {name}: write {name}={}", example(key).unwrap_or(FORM))
        })?;
        Ok(Self { test, is_negated })
    }
}

/// As it is typed.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negated { "!=" } else { "=" };
        match &self.test {
            Test::Equals(_, KeyValue::Word(word)) if self.is_flag() => {
                write!(f, "{}{word}", if self.is_negated { "not-" } else { "" })
            }
            Test::Equals(key, value) => write!(f, "{key}{sign}{value}"),
            Test::Network(key, address, bits) if *bits == bits_of(*address) => {
                write!(f, "{key}{sign}{address}")
            }
            Test::Network(key, address, bits) => write!(f, "{key}{sign}{address}/{bits}"),
        }
    }
}

/// The number of bits of an address.
fn bits_of(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// A condition that is one word.
fn flag(text: &str) -> Result<Condition, String> {
    let (name, is_negated) = match text.strip_prefix("not-") {
        Some(name) => (name, true),
        None => (text, false),
    };
    let flag = FLAGS.into_iter().find(|(known, _)| *known == name);
    let (word, key) = flag.ok_or_else(|| format!("'{text}' is not a condition; {FORM}"))?;
    Ok(Condition { test: Test::Equals(key, KeyValue::Word(word)), is_negated })
}

/// What a value of `key` looks like.
fn example(key: Key) -> Option<&'static str> {
    match key {
        Key::Source(_) | Key::Destination(_) | Key::Nat => Some("192.0.2.7 or 192.0.2.0/24"),
        Key::Port => Some("53"),
        Key::Protocol => Some("udp or 17"),
        Key::State => Some("SYN_SENT"),
        Key::Zone => Some("7"),
        Key::Mark => Some("7 or 0x7"),
        _ => None,
    }
}

fn test(key: Key, value: &str) -> Option<Test> {
    let number = match key {
        Key::Source(_) | Key::Destination(_) | Key::Nat => {
            let (address, bits) = match value.split_once('/') {
                Some((address, bits)) => (address, Some(bits)),
                None => (value, None),
            };
            let address: IpAddr = address.parse().ok()?;
            let most = bits_of(address);
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
            return (bits <= most).then_some(Test::Network(key, address, bits));
        }
        Key::Port | Key::Zone => KeyValue::Number(value.parse::<u16>().ok()?.into()),
        Key::Protocol => KeyValue::Protocol(protocol_number(value)?),
        Key::Mark => KeyValue::Number(match value.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => value.parse().ok()?,
        }),
        Key::State => {
            let mut states = TCP_STATES.into_iter();
            KeyValue::Word(states.find(|state| state.eq_ignore_ascii_case(value))?)
        }
        _ => return None,
    };
    Some(Test::Equals(key, number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::tests::{entry, nat};

    #[test]
    fn a_condition_selects_its_entries() {
        for (text, of_entry, of_nat) in [
            ("source=192.0.2.0/24", true, true),
            ("source=192.0.2.8", false, false),
            ("destination!=198.51.100.9", false, false),
            ("nat=203.0.113.0/24", false, true),
            ("nat!=203.0.113.1", true, false),
            ("source=0.0.0.0/0", true, true),
            ("source=::/0", false, false),
            ("port=443", true, true),
            ("protocol=TCP", true, true),
            ("protocol=17", false, false),
            ("state=established", true, true),
            ("zone=3", true, true),
            ("mark=0x4d", true, true),
            ("mark!=77", false, false),
            ("unreplied", false, false),
            ("not-unreplied", true, true),
            ("assured", true, true),
            ("offloaded", false, false),
            ("not-expired", true, true),
        ] {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(
                (condition.holds(&entry()), condition.holds(&nat())),
                (of_entry, of_nat),
                "{text}"
            );
        }
    }

    #[test]
    fn a_condition_is_shown_as_it_is_typed() {
        for text in [
            "source=192.0.2.0/24",
            "source!=192.0.2.7",
            "destination=2001:db8::/32",
            "nat=2001:db8::1",
            "port=443",
            "protocol=udp",
            "state=SYN_SENT",
            "zone!=3",
            "mark=77",
            "unreplied",
            "not-assured",
        ] {
            assert_eq!(text.parse::<Condition>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_condition_has_the_valid_form() {
        for (wrong, hint) in [
            ("sorce=1.2.3.4", "did you mean source?"),
            ("source=1.2.3", "write source=192.0.2.7 or 192.0.2.0/24"),
            ("source=1.2.3.4/33", "write source=192.0.2.7"),
            ("port=70000", "write port=53"),
            ("state=OPEN", "write state=SYN_SENT"),
            ("protocol=udpp", "write protocol=udp or 17"),
            ("mark=0xg", "write mark=7 or 0x7"),
            ("answered", "is not a condition; write KEY=VALUE"),
            ("unreplied=yes", "is no unreplied"),
            ("namespace=x", "is no namespace"),
            ("", "is not a condition"),
        ] {
            let error = wrong.parse::<Condition>().unwrap_err();
            assert!(error.contains(hint), "{wrong}: {error}");
        }
    }
}
