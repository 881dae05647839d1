//! What entries are added up by.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::config::nearest;
use crate::source::ebpf::census::Entry;
use crate::text::connection::{TCP, TCP_STATES, has_ports, mask, network, protocol_name};

/// The bits of an address of its own, in the way that networks are written.
const WHOLE: u8 = 32;

/// What entries are added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The source address of the original direction, or its network with this many bits (of IPv4, and
    /// four times that, at most 128, of IPv6).
    Source(u8),
    /// The destination address of the original direction, or its network.
    Destination(u8),
    /// The destination port of the original direction.
    Port,
    /// The protocol.
    Protocol,
    /// The state of the TCP tracker.
    State,
    /// The conntrack zone.
    Zone,
    /// The mark.
    Mark,
    /// The network namespace.
    Namespace,
    /// The source address after its translation (SNAT, masquerade), where it is translated.
    Nat,
    /// Whether a reply was seen.
    Unreplied,
    /// Whether it survives a full table.
    Assured,
    /// Whether a flow table forwards its packets.
    Offloaded,
    /// Whether its time is over.
    Expired,
}

/// The keys without a number of bits, as they are written.
pub const KEYS: [(&str, Key); 13] = [
    ("source", Key::SOURCE),
    ("destination", Key::DESTINATION),
    ("port", Key::Port),
    ("protocol", Key::Protocol),
    ("state", Key::State),
    ("zone", Key::Zone),
    ("mark", Key::Mark),
    ("namespace", Key::Namespace),
    ("nat", Key::Nat),
    ("unreplied", Key::Unreplied),
    ("assured", Key::Assured),
    ("offloaded", Key::Offloaded),
    ("expired", Key::Expired),
];

/// The keys, for a message.
const KEYS_FORM: &str = "write source, destination, port, protocol, state, zone, mark, namespace, nat; \
                         or unreplied, assured, offloaded, expired";

/// The value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyValue {
    /// The entry has none.
    None,
    /// A word.
    Word(&'static str),
    /// A number.
    Number(u32),
    /// A protocol.
    Protocol(u8),
    /// An address, or with fewer bits than 32 its network.
    Address(IpAddr, u8),
    /// The inode number of a network namespace.
    Namespace(u32),
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, bits) = match text.split_once('/') {
            None => (text, None),
            Some((name, bits)) => (name, Some(bits)),
        };
        let key = KEYS.into_iter().find(|(known, _)| *known == name).map(|(_, key)| key);
        match (key, bits) {
            (Some(key), None) => Ok(key),
            (Some(Key::Source(_)), Some(bits)) => bits_of(text, bits).map(Self::Source),
            (Some(Key::Destination(_)), Some(bits)) => bits_of(text, bits).map(Self::Destination),
            (Some(_), Some(_)) => {
                Err(format!("'{text}': a network is source/24 or destination/16"))
            }
            (None, _) => {
                let near = nearest(name, &KEYS.map(|(name, _)| name));
                let what = near
                    .map_or_else(|| KEYS_FORM.to_owned(), |near| format!("did you mean {near}?"));
                Err(format!("'{text}' is not a key; {what}"))
            }
        }
    }
}

fn bits_of(text: &str, bits: &str) -> Result<u8, String> {
    match bits.parse() {
        Ok(bits @ 0..=WHOLE) => Ok(bits),
        _ => Err(format!("'{text}': write a network as source/24, with 0 to 32 bits")),
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Source(bits @ ..WHOLE) => write!(f, "source/{bits}"),
            Self::Destination(bits @ ..WHOLE) => write!(f, "destination/{bits}"),
            key => {
                let name = KEYS.into_iter().find(|(_, known)| *known == key).map(|(name, _)| name);
                f.write_str(name.unwrap_or_default())
            }
        }
    }
}

impl Key {
    /// The source address itself.
    pub const SOURCE: Self = Self::Source(WHOLE);
    /// The destination address itself.
    pub const DESTINATION: Self = Self::Destination(WHOLE);

    /// The value of an entry.
    #[must_use]
    pub fn of(self, entry: &Entry) -> KeyValue {
        let original = &entry.original;
        let either = |is, yes, no| KeyValue::Word(if is { yes } else { no });
        match self {
            Self::Source(bits) => KeyValue::Address(mask(original.source, bits), bits),
            Self::Destination(bits) => KeyValue::Address(mask(original.destination, bits), bits),
            Self::Port if has_ports(original.protocol) => {
                KeyValue::Number(original.destination_port.into())
            }
            Self::State if original.protocol == TCP => {
                let state = TCP_STATES.get(usize::from(entry.tcp_state));
                state
                    .map_or(KeyValue::Number(entry.tcp_state.into()), |state| KeyValue::Word(state))
            }
            Self::Nat if entry.reply.destination != original.source => {
                KeyValue::Address(entry.reply.destination, WHOLE)
            }
            Self::Port | Self::State | Self::Nat => KeyValue::None,
            Self::Protocol => KeyValue::Protocol(original.protocol),
            Self::Zone => KeyValue::Number(entry.zone.into()),
            Self::Mark => KeyValue::Number(entry.mark),
            Self::Namespace => KeyValue::Namespace(entry.inode),
            Self::Unreplied => either(entry.is_unreplied(), "unreplied", "replied"),
            Self::Assured => either(entry.is_assured(), "assured", "not assured"),
            Self::Offloaded => either(entry.is_offloaded(), "offloaded", "not offloaded"),
            Self::Expired => either(entry.is_expired, "expired", "not expired"),
        }
    }
}

/// The value as it is shown, where namespaces have names by their inode numbers.
pub(super) fn name_of(value: KeyValue, names: &[(u32, String)]) -> String {
    let name = match value {
        KeyValue::Namespace(inode) => names.iter().find(|(known, _)| *known == inode),
        _ => None,
    };
    name.map_or_else(|| value.to_string(), |(_, name)| name.clone())
}

impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::None => f.write_str("-"),
            Self::Word(word) => f.write_str(word),
            Self::Number(number) => write!(f, "{number}"),
            Self::Protocol(protocol) => f.write_str(&protocol_name(protocol)),
            Self::Address(address, bits) => f.write_str(&network(address, bits)),
            Self::Namespace(0) => f.write_str("?"),
            Self::Namespace(inode) => write!(f, "net:[{inode}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::tests::{entry, nat};

    #[test]
    fn each_key_is_read_as_it_is_written() {
        for (name, key) in KEYS {
            assert_eq!(name.parse(), Ok(key));
            assert_eq!(key.to_string(), name);
        }
        assert_eq!("source/24".parse::<Key>().map(|key| key.to_string()), Ok("source/24".into()));
        for (wrong, hint) in [
            ("sources", "did you mean source?"),
            ("port/2", "a network is source/24"),
            ("source/33", "0 to 32 bits"),
            ("source/", "0 to 32 bits"),
            ("", "write source, destination"),
        ] {
            let error = wrong.parse::<Key>().unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn each_key_has_the_value_of_the_entry() {
        let entry = entry();
        let values = KEYS.map(|(name, key)| format!("{name}={}", key.of(&entry)));
        assert_eq!(
            values.join(" "),
            "source=192.0.2.7 destination=198.51.100.9 port=443 protocol=tcp state=ESTABLISHED \
             zone=3 mark=77 namespace=net:[5] nat=- unreplied=replied assured=assured \
             offloaded=not offloaded expired=not expired"
        );
        assert_eq!(Key::Source(24).of(&entry).to_string(), "192.0.2.0/24");
        assert_eq!(Key::Nat.of(&nat()).to_string(), "203.0.113.1");
    }

    #[test]
    fn what_a_protocol_does_not_have_is_no_value() {
        let mut gre = entry();
        gre.original.protocol = 47;
        for key in [Key::Port, Key::State] {
            assert_eq!(key.of(&gre), KeyValue::None);
        }
    }
}
