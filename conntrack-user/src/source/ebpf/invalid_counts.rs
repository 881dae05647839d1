//! The counters of INVALID packets, read for rows: one system call for many of them.

#![allow(unsafe_code, reason = "no crate reads many entries of a map without an allocation")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData};
use aya_obj::generated::{bpf_attr, bpf_attr__bindgen_ty_3, bpf_cmd};
use conntrack_ebpf::{InvalidKey, names};

use super::error::EventsError;
use super::invalid::{TextBytes, text_at};
use super::loader::take_map;
use super::reason_counts::ReasonCounts;
use super::trampoline::call;

/// How many counters a system call reads. The entries of one bucket of the map are read together, and
/// there are as many buckets as the map has room for.
const AT_ONCE: usize = 128;

/// The maps of the counters, which all inputs share.
pub(super) struct InvalidMaps {
    counts: MapData,
    texts: HashMap<MapData, u64, TextBytes>,
    /// Possible CPUs, each of which has a word for each counter.
    cpus: usize,
}

impl InvalidMaps {
    /// Takes the maps out of the object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, EventsError> {
        let refused = |what: &str| EventsError::Refused(what.to_owned());
        let Some(Map::PerCpuHashMap(counts)) = ebpf.take_map(names::INVALID_COUNTS) else {
            return Err(refused("the object has no counters of INVALID packets"));
        };
        let cpus =
            aya::util::nr_cpus().map_err(|(what, error)| refused(&format!("{what}: {error}")))?;
        Ok(Self { counts, texts: take_map(ebpf, names::INVALID_TEXTS)?, cpus })
    }
}

impl std::fmt::Debug for InvalidMaps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvalidMaps").field("cpus", &self.cpus).finish_non_exhaustive()
    }
}

/// One input's reader of the counters in its namespace.
#[derive(Debug, Clone)]
pub struct InvalidReader {
    inode: u32,
    keys: Vec<InvalidKey>,
    /// For each key a word of each CPU.
    values: Vec<u64>,
    counts: ReasonCounts,
}

impl InvalidReader {
    pub(super) fn new(maps: &InvalidMaps, inode: u32) -> Self {
        Self {
            inode,
            keys: vec![InvalidKey { text: 0, inode: 0, protocol: 0 }; AT_ONCE],
            values: vec![0; AT_ONCE * maps.cpus],
            counts: ReasonCounts::default(),
        }
    }

    /// Reads all counters. Allocates only for a text or protocol that was not met before.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn read(&mut self, maps: &InvalidMaps) -> io::Result<&ReasonCounts> {
        self.counts.clear();
        let mut place = None;
        loop {
            let (count, is_last) = self.read_some(maps, &mut place)?;
            for (at, key) in self.keys[..count].iter().enumerate() {
                if key.inode != self.inode {
                    continue;
                }
                let calls = self.values[at * maps.cpus..][..maps.cpus].iter().sum();
                let text = || text_at(&maps.texts, key.text);
                self.counts.add((key.text, key.protocol), calls, text);
            }
            if is_last {
                return Ok(&self.counts);
            }
        }
    }

    /// Reads the next counters from `place` on, the first ones without. Returns their number, and
    /// whether there are no more.
    fn read_some(
        &mut self,
        maps: &InvalidMaps,
        place: &mut Option<u32>,
    ) -> io::Result<(usize, bool)> {
        let mut next = place.unwrap_or(0);
        let address = &raw mut next as u64;
        // SAFETY: all zeros are a value of these unions of numbers.
        let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
        attributes.batch = bpf_attr__bindgen_ty_3 {
            in_batch: if place.is_some() { address } else { 0 },
            out_batch: address,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: AT_ONCE as u32,
            map_fd: maps.counts.fd().as_fd().as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel writes at most `AT_ONCE` keys, and for each a word of each possible CPU, for
        // which both vectors have room; integers may have any value.
        let read = unsafe { call(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attributes) };
        // SAFETY: this part of the union was set above, and is numbers.
        let count = unsafe { attributes.batch.count } as usize;
        *place = Some(next);
        match read {
            Ok(_) => Ok((count.min(AT_ONCE), false)),
            // The end: what was found before it counts.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                Ok((count.min(AT_ONCE), true))
            }
            Err(error) => Err(error),
        }
    }
}
