//! Reports of INVALID packets, as the programs put them into their ring, and their counters.

#![allow(unsafe_code, reason = "the programs' memory has a fixed layout that aya must know")]

use std::collections::HashMap as Cache;
use std::mem::offset_of;
use std::sync::Arc;

use aya::maps::{HashMap, MapData, PerCpuArray, PerCpuHashMap, RingBuf};
use aya::{Ebpf, Pod};
use conntrack_ebpf::{
    InvalidKey, InvalidRecord, InvalidReporting, InvalidText, NO_TEXT, PACKET_BYTES, TUPLE_BYTES,
    UNKNOWN, UNREAD_TEXT, names,
};

use super::error::EventsError;
use super::loader::take_map;
use super::offsets::TupleLayout;
use super::packet::{PacketHeader, header_of};
use super::tuple::{Tuple, tuple_of};

/// The kernel's text for a packet, before its arguments are inserted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Text {
    /// `tcp_new` refused a first packet without a text.
    None,
    /// The text could not be read, or there were too many texts.
    Unread,
    /// This text.
    Known(Arc<str>),
}

/// A packet that a protocol tracker judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidReport {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// Why.
    pub text: Text,
    /// Where.
    pub cpu: u32,
    /// The inode number of its network namespace.
    pub inode: u32,
    /// The conntrack zone of the connection.
    pub zone: u16,
    /// The index of the device that it came from; `None` for a packet of the host itself.
    pub ifindex: Option<u32>,
    /// The Netfilter hook; `None` where the kernel's function does not have it.
    pub hook: Option<&'static str>,
    /// The IP protocol.
    pub protocol: u8,
    /// Whether the packet is of the reply direction; `None` without a connection.
    pub is_reply: Option<bool>,
    /// The connection, in its original direction. `None` without one.
    pub connection: Option<Tuple>,
    /// The packet's own headers; `None` where they could not be read.
    pub packet: Option<PacketHeader>,
}

impl InvalidReport {
    /// Returns the connection, or the packet's own addresses where no connection is known.
    #[must_use]
    pub fn tuple(&self) -> Option<Tuple> {
        self.connection.or(self.packet.map(|packet| packet.tuple))
    }
}

/// A counter: calls for packets with a text, of a protocol and a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidCount {
    /// Why.
    pub text: Text,
    /// The inode number of the network namespace.
    pub inode: u32,
    /// The IP protocol.
    pub protocol: u8,
    /// Calls since the programs were attached.
    pub calls: u64,
}

/// Calls without a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnreportedInvalid {
    /// There were more than may be reported.
    pub left_out: u64,
    /// There was no room in the ring.
    pub lost: u64,
    /// There were more counters than there is room for.
    pub uncounted: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
struct Key(InvalidKey);

// SAFETY: integers only, without padding (asserted where it is defined), and every value of them is one.
unsafe impl Pod for Key {}

/// A text as the programs read it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct TextBytes(InvalidText);

// SAFETY: bytes only.
unsafe impl Pod for TextBytes {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Memory(InvalidReporting);

// SAFETY: whole words only, and every value of them is one.
unsafe impl Pod for Memory {}

/// The ring, the texts and the counters.
pub struct InvalidReports {
    ring: RingBuf<MapData>,
    texts: Texts,
    counts: PerCpuHashMap<MapData, Key, u64>,
    memory: PerCpuArray<MapData, Memory>,
    layout: TupleLayout,
}

impl InvalidReports {
    pub(super) fn take(ebpf: &mut Ebpf, layout: TupleLayout) -> Result<Self, EventsError> {
        Ok(Self {
            ring: take_map(ebpf, names::INVALID_PACKETS)?,
            texts: Texts { map: take_map(ebpf, names::INVALID_TEXTS)?, known: Cache::new() },
            counts: take_map(ebpf, names::INVALID_COUNTS)?,
            memory: take_map(ebpf, names::INVALID_REPORTING)?,
            layout,
        })
    }

    /// Returns the next report, if there is one, without waiting.
    pub fn take_next(&mut self) -> Option<InvalidReport> {
        loop {
            let item = self.ring.next()?;
            // What is of another layout is no report of ours.
            if let Some((text, report)) = decode(&item, &self.layout) {
                return Some(InvalidReport { text: self.texts.text(text), ..report });
            }
        }
    }

    /// Returns the counters.
    ///
    /// # Errors
    /// The kernel's.
    pub fn counts(&mut self) -> Result<Vec<InvalidCount>, EventsError> {
        let mut counts = Vec::new();
        for counter in &self.counts {
            let (Key(InvalidKey { text, inode, protocol }), cpus) = counter?;
            let calls = cpus.iter().sum();
            let text = self.texts.text(text);
            counts.push(InvalidCount { text, inode, protocol: protocol as u8, calls });
        }
        Ok(counts)
    }

    /// Returns the number of calls without a report since the programs were attached.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unreported(&self) -> Result<UnreportedInvalid, EventsError> {
        let cpus = self.memory.get(&0, 0)?;
        let mut sum = UnreportedInvalid::default();
        for Memory(cpu) in cpus.iter() {
            sum.left_out += cpu.left_out;
            sum.lost += cpu.lost;
            sum.uncounted += cpu.uncounted;
        }
        Ok(sum)
    }
}

impl std::fmt::Debug for InvalidReports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvalidReports").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// The texts that the programs read, each asked for once.
struct Texts {
    map: HashMap<MapData, u64, TextBytes>,
    known: Cache<u64, Text>,
}

impl Texts {
    fn text(&mut self, address: u64) -> Text {
        self.known.entry(address).or_insert_with(|| text_at(&self.map, address)).clone()
    }
}

/// Reads the text that a counter or a record has the address of.
pub(super) fn text_at(map: &HashMap<MapData, u64, TextBytes>, address: u64) -> Text {
    match address {
        NO_TEXT => Text::None,
        UNREAD_TEXT => Text::Unread,
        address => match map.get(&address, 0) {
            Ok(TextBytes(text)) => text_of(&text.bytes),
            Err(_) => Text::Unread,
        },
    }
}

/// The text before the first 0.
fn text_of(bytes: &[u8]) -> Text {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]);
    if text.is_empty() { Text::Unread } else { Text::Known(text.into()) }
}

/// `enum nf_inet_hooks` (`include/uapi/linux/netfilter.h`).
const HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];

/// Returns the address of the text, and the report without it; `None` for bytes that are no record.
#[must_use]
pub fn decode(bytes: &[u8], layout: &TupleLayout) -> Option<(u64, InvalidReport)> {
    fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
        bytes.get(at..)?.first_chunk().copied()
    }
    let word = |at| Some(u32::from_ne_bytes(field(bytes, at)?));
    let byte = |at: usize| bytes.get(at).copied();
    let tuple = bytes.get(offset_of!(InvalidRecord, tuple)..)?.get(..TUPLE_BYTES)?;
    let packet = bytes.get(offset_of!(InvalidRecord, packet)..)?.get(..PACKET_BYTES)?;
    let length = word(offset_of!(InvalidRecord, packet_length))? as usize;
    let hook = byte(offset_of!(InvalidRecord, hook))?;
    let direction = byte(offset_of!(InvalidRecord, direction))?;
    let report = InvalidReport {
        time_ns: u64::from_ne_bytes(field(bytes, offset_of!(InvalidRecord, time_ns))?),
        text: Text::Unread,
        cpu: word(offset_of!(InvalidRecord, cpu))?,
        inode: word(offset_of!(InvalidRecord, inode))?,
        zone: u16::from_ne_bytes(field(bytes, offset_of!(InvalidRecord, zone))?),
        ifindex: Some(word(offset_of!(InvalidRecord, ifindex))?).filter(|index| *index != 0),
        hook: HOOKS.get(usize::from(hook)).copied(),
        protocol: byte(offset_of!(InvalidRecord, protocol))?,
        is_reply: (direction != UNKNOWN).then_some(direction != 0),
        connection: tuple_of(tuple, layout),
        packet: header_of(&packet[..length.min(PACKET_BYTES)]),
    };
    Some((u64::from_ne_bytes(field(bytes, offset_of!(InvalidRecord, text))?), report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ebpf::tuple::IPV4;

    const LAYOUT: TupleLayout = TupleLayout {
        source: 0,
        source_port: 16,
        family: 18,
        destination: 20,
        destination_port: 36,
        protocol: 38,
    };

    fn record() -> Vec<u8> {
        let mut bytes = vec![0; size_of::<InvalidRecord>()];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(offset_of!(InvalidRecord, time_ns), &7u64.to_ne_bytes());
        put(offset_of!(InvalidRecord, text), &0xffff_ffff_c0a1_2345u64.to_ne_bytes());
        put(offset_of!(InvalidRecord, cpu), &3u32.to_ne_bytes());
        put(offset_of!(InvalidRecord, inode), &4_026_531_840u32.to_ne_bytes());
        put(offset_of!(InvalidRecord, ifindex), &2u32.to_ne_bytes());
        put(offset_of!(InvalidRecord, zone), &9u16.to_ne_bytes());
        put(offset_of!(InvalidRecord, hook), &[3]);
        put(offset_of!(InvalidRecord, protocol), &[6]);
        put(offset_of!(InvalidRecord, direction), &[1]);
        let tuple = offset_of!(InvalidRecord, tuple);
        put(tuple, &[10, 0, 0, 1]);
        put(tuple + 16, &1234u16.to_be_bytes());
        put(tuple + 18, &IPV4.to_ne_bytes());
        put(tuple + 20, &[192, 0, 2, 53]);
        put(tuple + 36, &53u16.to_be_bytes());
        put(tuple + 38, &[6]);
        let header = [0x45, 0, 0, 22, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 53, 10, 0, 0, 1, 0, 53];
        put(offset_of!(InvalidRecord, packet), &header);
        put(offset_of!(InvalidRecord, packet_length), &22u32.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_record_is_decoded() {
        let (text, report) = decode(&record(), &LAYOUT).unwrap();
        assert_eq!(text, 0xffff_ffff_c0a1_2345);
        assert_eq!((report.time_ns, report.cpu, report.inode), (7, 3, 4_026_531_840));
        assert_eq!((report.ifindex, report.zone, report.hook), (Some(2), 9, Some("output")));
        assert_eq!((report.protocol, report.is_reply), (6, Some(true)));
        let connection = report.connection.unwrap();
        assert_eq!((connection.source_port, connection.destination_port), (1234, 53));
        assert_eq!(report.tuple(), Some(connection));
        assert_eq!(report.packet.unwrap().tuple.source_port, 53);
    }

    #[test]
    fn unknown_parts_of_a_report_are_unknown() {
        let mut bytes = record();
        bytes[offset_of!(InvalidRecord, ifindex)] = 0;
        bytes[offset_of!(InvalidRecord, hook)] = UNKNOWN;
        bytes[offset_of!(InvalidRecord, direction)] = UNKNOWN;
        bytes[offset_of!(InvalidRecord, tuple)..][..TUPLE_BYTES].fill(0);
        let (_, report) = decode(&bytes, &LAYOUT).unwrap();
        assert_eq!((report.ifindex, report.hook, report.is_reply), (None, None, None));
        assert_eq!(report.connection, None);
        // Without a connection the packet's own addresses are shown.
        assert_eq!(report.tuple().unwrap().source.to_string(), "192.0.2.53");
        bytes[offset_of!(InvalidRecord, packet_length)] = 0;
        assert_eq!(decode(&bytes, &LAYOUT).unwrap().1.tuple(), None);
        assert_eq!(decode(&bytes[..160], &LAYOUT), None);
    }

    #[test]
    fn a_text_ends_before_the_first_zero() {
        assert_eq!(text_of(b"invalid rst\0\0x"), Text::Known("invalid rst".into()));
        assert_eq!(text_of(b"whole"), Text::Known("whole".into()));
        assert_eq!(text_of(&[0; 80]), Text::Unread);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            source in 0u32..60,
            family in 0u32..60,
        ) {
            let _ = decode(&bytes, &TupleLayout { source, family, ..LAYOUT });
        }
    }
}
