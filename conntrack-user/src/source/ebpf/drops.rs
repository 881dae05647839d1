//! Reports of single drops and evictions, as the programs put them into their ring.

#![allow(unsafe_code, reason = "the programs' memory has a fixed layout that aya must know")]

use std::mem::offset_of;

use aya::maps::{MapData, PerCpuArray, RingBuf};
use aya::{Ebpf, Pod};
use conntrack_ebpf::{Cause, DropRecord, LATENCY_BUCKETS, Latency, Reporting, TUPLE_BYTES, names};

use super::error::EventsError;
use super::loader::take_map;
use super::offsets::TupleLayout;
use super::tuple::{Tuple, tuple_of};

/// A drop or an eviction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropReport {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// Why.
    pub cause: Cause,
    /// Where.
    pub cpu: u32,
    /// The inode number of its network namespace.
    pub inode: u32,
    /// Its conntrack zone, 0 unless rules set another one.
    pub zone: u16,
    /// The connection, in its original direction. `None` where it could not be read.
    pub tuple: Option<Tuple>,
    /// The same direction after NAT, where NAT changes it. Where NAT found no free port, the port is the
    /// last one that it tried.
    pub translated: Option<Tuple>,
}

/// Drops that were counted and not reported, by [`Cause`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unreported {
    /// There were more than may be reported.
    pub left_out: [u64; Cause::ALL.len()],
    /// There was no room in the ring.
    pub lost: [u64; Cause::ALL.len()],
}

/// How long insertions took: how many of them by the power of two of the nanoseconds that
/// `__nf_conntrack_confirm` took, the last bucket with all longer ones.
pub type Latencies = [u64; LATENCY_BUCKETS];

/// A CPU's share of the latencies.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct CpuLatency(Latency);

// SAFETY: whole words only, and every value of them is one.
unsafe impl Pod for CpuLatency {}

/// A CPU's memory of its reports, in the type that aya requires.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Memory(Reporting);

// SAFETY: whole words only, and every value of them is one.
unsafe impl Pod for Memory {}

/// The ring, and what did not go through it.
pub struct Reports {
    ring: RingBuf<MapData>,
    memory: PerCpuArray<MapData, Memory>,
    latencies: PerCpuArray<MapData, CpuLatency>,
    layout: TupleLayout,
}

impl Reports {
    pub(super) fn take(ebpf: &mut Ebpf, layout: TupleLayout) -> Result<Self, EventsError> {
        Ok(Self {
            ring: take_map(ebpf, names::DROPS)?,
            memory: take_map(ebpf, names::REPORTING)?,
            latencies: take_map(ebpf, names::LATENCIES)?,
            layout,
        })
    }

    /// Returns the next report, if there is one, without waiting.
    pub fn take_next(&mut self) -> Option<DropReport> {
        loop {
            let item = self.ring.next()?;
            // What is of another layout is no report of ours.
            if let Some(report) = decode(&item, &self.layout) {
                return Some(report);
            }
        }
    }

    /// The number of counted drops without a report since the programs were attached.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unreported(&self) -> Result<Unreported, EventsError> {
        let cpus = self.memory.get(&0, 0)?;
        let mut sum = Unreported::default();
        for Memory(cpu) in cpus.iter() {
            for cause in 0..Cause::ALL.len() {
                sum.left_out[cause] += cpu.left_out[cause];
                sum.lost[cause] += cpu.lost[cause];
            }
        }
        Ok(sum)
    }

    /// How long insertions took since the programs were attached, where [`AttachOptions::latency`] asked.
    ///
    /// [`AttachOptions::latency`]: super::AttachOptions::latency
    ///
    /// # Errors
    /// The kernel's.
    pub fn latencies(&self) -> Result<Latencies, EventsError> {
        let cpus = self.latencies.get(&0, 0)?;
        let mut sum = [0; LATENCY_BUCKETS];
        for CpuLatency(cpu) in cpus.iter() {
            sum.iter_mut().zip(cpu.buckets).for_each(|(sum, own)| *sum += own);
        }
        Ok(sum)
    }
}

impl std::fmt::Debug for Reports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reports").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// The report in the ring's bytes; `None` for what is none.
#[must_use]
pub fn decode(bytes: &[u8], layout: &TupleLayout) -> Option<DropReport> {
    let word = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let number = word(offset_of!(DropRecord, cause))? as usize;
    let tuple = |at: usize| tuple_of(bytes.get(at..)?.get(..TUPLE_BYTES)?, layout);
    let original = tuple(offset_of!(DropRecord, tuple));
    let reply = tuple(offset_of!(DropRecord, reply));
    Some(DropReport {
        time_ns: u64::from_ne_bytes(*bytes.first_chunk()?),
        cause: *Cause::ALL.get(number)?,
        cpu: word(offset_of!(DropRecord, cpu))?,
        inode: word(offset_of!(DropRecord, inode))?,
        zone: word(offset_of!(DropRecord, zone))? as u16,
        tuple: original,
        translated: original.zip(reply).and_then(|(own, reply)| own.translated(&reply)),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;
    use crate::source::ebpf::tuple::{ICMP, IPV4, IPV6};

    const LAYOUT: TupleLayout = TupleLayout {
        source: 0,
        source_port: 16,
        family: 18,
        destination: 20,
        destination_port: 36,
        protocol: 38,
    };

    fn record(cause: u32, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<DropRecord>()];
        bytes[..8].copy_from_slice(&7u64.to_ne_bytes());
        for (at, word) in [
            (offset_of!(DropRecord, cause), cause),
            (offset_of!(DropRecord, cpu), 3),
            (offset_of!(DropRecord, inode), 4_026_531_840),
            (offset_of!(DropRecord, zone), 9),
        ] {
            bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        fill(&mut bytes[offset_of!(DropRecord, tuple)..]);
        bytes
    }

    fn udp(tuple: &mut [u8]) {
        tuple[..4].copy_from_slice(&[192, 0, 2, 1]);
        tuple[16..18].copy_from_slice(&[0x30, 0x39]);
        tuple[18..20].copy_from_slice(&IPV4.to_ne_bytes());
        tuple[20..24].copy_from_slice(&[192, 0, 2, 53]);
        tuple[36..40].copy_from_slice(&[0, 53, 17, 0]);
    }

    #[test]
    fn a_record_is_read_by_the_kernels_own_layout() {
        let report = decode(&record(0, udp), &LAYOUT).unwrap();
        let expected = DropReport {
            time_ns: 7,
            cause: Cause::TableFull,
            cpu: 3,
            inode: 4_026_531_840,
            zone: 9,
            tuple: Some(Tuple {
                protocol: 17,
                source: "192.0.2.1".parse().unwrap(),
                destination: "192.0.2.53".parse().unwrap(),
                source_port: 12345,
                destination_port: 53,
            }),
            translated: None,
        };
        assert_eq!(report, expected);
    }

    #[test]
    fn the_translation_is_what_the_reply_answers() {
        let reply_of = |change: &dyn Fn(&mut [u8])| {
            let mut bytes = record(0, udp);
            let reply = &mut bytes[offset_of!(DropRecord, reply)..];
            udp(reply);
            // 192.0.2.53:53 answers 192.0.2.1:12345.
            reply[..4].copy_from_slice(&[192, 0, 2, 53]);
            reply[16..18].copy_from_slice(&[0, 53]);
            reply[20..24].copy_from_slice(&[192, 0, 2, 1]);
            reply[36..38].copy_from_slice(&[0x30, 0x39]);
            change(reply);
            decode(&bytes, &LAYOUT).unwrap()
        };
        assert_eq!(reply_of(&|_| {}).translated, None);
        let behind = reply_of(&|reply| {
            reply[20..24].copy_from_slice(&[203, 0, 113, 1]);
            reply[36..38].copy_from_slice(&20_099u16.to_be_bytes());
        });
        let expected = Tuple {
            source: "203.0.113.1".parse().unwrap(),
            source_port: 20_099,
            ..behind.tuple.unwrap()
        };
        assert_eq!(behind.translated, Some(expected));
        let port_only = reply_of(&|reply| reply[36..38].copy_from_slice(&[0, 7]));
        assert_eq!(port_only.translated.map(|tuple| tuple.source_port), Some(7));
        let redirected = reply_of(&|reply| reply[..4].copy_from_slice(&[10, 0, 0, 9]));
        let to = redirected.translated.map(|tuple| tuple.destination);
        assert_eq!(to, Some("10.0.0.9".parse().unwrap()));
        // Only the kernel's numbers, of an echo request and its answer.
        let request = Tuple { protocol: ICMP, destination_port: 8 << 8, ..behind.tuple.unwrap() };
        let (source, destination) = (request.destination, request.source);
        let answer = Tuple { source, destination, destination_port: 0, ..request };
        assert_eq!(request.translated(&answer), None);
        let other = Tuple { source_port: 5, ..answer };
        assert_eq!(request.translated(&other), Some(Tuple { source_port: 5, ..request }));
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        let bytes = record(3, |tuple| {
            udp(tuple);
            tuple[18..20].copy_from_slice(&IPV6.to_ne_bytes());
            tuple[..16].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        });
        let report = decode(&bytes, &LAYOUT).unwrap();
        assert_eq!(report.cause, Cause::Clash);
        assert_eq!(report.tuple.unwrap().source, IpAddr::from(Ipv6Addr::LOCALHOST));
    }

    #[test]
    fn unread_parts_of_a_report_are_unknown() {
        assert_eq!(decode(&record(2, |_| {}), &LAYOUT).unwrap().tuple, None);
        assert_eq!(decode(&record(99, udp), &LAYOUT), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..150),
            source in 0u32..60,
            family in 0u32..60,
        ) {
            let _ = decode(&bytes, &TupleLayout { source, family, ..LAYOUT });
        }
    }
}
