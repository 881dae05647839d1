//! From ctnetlink's bytes to numbers: pure, for any bytes.
//!
//! [`decode`] takes one datagram after another into an [`Answer`], whose memory is used again;
//! [`Answer::fill`] makes of it what the procfs reader gives, too: a table with named columns. The
//! kernel sends an attribute for each counter that it maintains and none for the others, in
//! network byte order (`ctnetlink_ct_stat_cpu_fill_info` and its neighbours in
//! `net/netfilter/nf_conntrack_netlink.c`).

use std::sync::Arc;

use netlink_packet_core::{NLM_F_DUMP_INTR, NetlinkBuffer, NlasIterator};

use super::entries::{Entries, Silence};
use super::error::NetlinkError;
use super::request::{NFGENMSG, Request};
use crate::schema::field::Attribute;
use crate::schema::fields::{ENTRIES, of_attribute};
use crate::schema::raw::{Layout, StatTable};
use crate::source::stat_text::Oddities;

/// Types of `linux/netlink.h` below `NLMSG_MIN_TYPE`.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;

/// Attribute types from here on are not kept; the kernel's highest is 15.
const ATTRIBUTES: usize = 32;

/// `CTA_STATS_GLOBAL_ENTRIES` and `CTA_STATS_GLOBAL_MAX_ENTRIES` (from 4.18 on).
const GLOBAL_ENTRIES: usize = 1;
const GLOBAL_MAX: usize = 2;

/// `CTA_STATUS` and `CTA_TIMEOUT` (in seconds) of an entry.
const STATUS: usize = 3;
const TIMEOUT: usize = 7;

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more to read.
    More,
    /// That was all.
    Done,
}

/// The 32-bit attributes of one message, by their types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attributes {
    /// A bit for each type that was there.
    present: u32,
    values: [u32; ATTRIBUTES],
}

impl Attributes {
    const NONE: Self = Self { present: 0, values: [0; ATTRIBUTES] };

    fn get(&self, kind: usize) -> Option<u32> {
        (self.present >> kind & 1 == 1).then(|| self.values[kind])
    }
}

/// One CPU's message.
#[derive(Debug, Clone, Copy)]
struct CpuRow {
    cpu: u16,
    attributes: Attributes,
}

/// The answers to the requests, row by row.
#[derive(Debug)]
pub struct Answer {
    table: Attributes,
    counters: Vec<CpuRow>,
    expectations: Vec<CpuRow>,
    entries: Entries,
    /// Which entries count as silent.
    pub(super) silence: Option<Silence>,
    oddities: Oddities,
    /// The last layout, and the attributes that it was made of.
    layout: Arc<Layout>,
    shape: Option<(u32, u32)>,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            table: Attributes::NONE,
            counters: Vec::new(),
            expectations: Vec::new(),
            entries: Entries::default(),
            silence: None,
            oddities: Oddities::default(),
            layout: Arc::default(),
            shape: None,
        }
    }
}

/// Takes one datagram that the kernel sent in answer to `request`, asked with the number
/// `sequence`. Messages with another number (of a question that was given up) and of other types
/// are passed over; a message whose attributes cannot be read is counted, and loses no other.
///
/// # Errors
/// [`NetlinkError`]: the error that the kernel sent, or that this is no netlink.
pub fn decode(
    mut datagram: &[u8],
    sequence: u32,
    request: Request,
    answer: &mut Answer,
) -> Result<Progress, NetlinkError> {
    let mut interrupted = false;
    while !datagram.is_empty() {
        let message = NetlinkBuffer::new_checked(datagram)
            .map_err(|_| NetlinkError::Malformed("a message is cut off"))?;
        let (flags, payload) = (message.flags(), message.payload());
        let aligned = (message.length() as usize).next_multiple_of(4);
        datagram = datagram.get(aligned..).unwrap_or_default();
        if message.sequence_number() != sequence {
            continue;
        }
        interrupted |= flags & NLM_F_DUMP_INTR != 0;
        match message.message_type() {
            NLMSG_ERROR | NLMSG_DONE => {
                let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                if code < 0 {
                    return Err(NetlinkError::of_kernel(code));
                }
                return if interrupted {
                    Err(NetlinkError::Interrupted)
                } else {
                    Ok(Progress::Done)
                };
            }
            NLMSG_OVERRUN => return Err(NetlinkError::Overrun),
            kind if request.is_answered_by(kind) => {
                answer.take(request, payload);
                if !request.is_dump() {
                    return Ok(Progress::Done);
                }
            }
            _ => {}
        }
    }
    if interrupted { Err(NetlinkError::Interrupted) } else { Ok(Progress::More) }
}

/// The attributes behind `struct nfgenmsg`, and its CPU number; `None` when they cannot be read.
/// What is not a 32-bit number of a type that is kept is counted in `surplus`.
fn row_of(payload: &[u8], surplus: &mut u32) -> Option<CpuRow> {
    let header: [u8; NFGENMSG] = *payload.first_chunk()?;
    let mut attributes = Attributes::NONE;
    for attribute in NlasIterator::new(&payload[NFGENMSG..]) {
        let attribute = attribute.ok()?;
        let kind = usize::from(attribute.kind());
        let value = attribute.into_inner()[4..usize::from(attribute.length())].try_into();
        match value {
            Ok(value) if (1..ATTRIBUTES).contains(&kind) => {
                attributes.present |= 1 << kind;
                attributes.values[kind] = u32::from_be_bytes(value);
            }
            _ => *surplus += 1,
        }
    }
    Some(CpuRow { cpu: u16::from_be_bytes([header[2], header[3]]), attributes })
}

impl Answer {
    /// Forgets the last answer and keeps its memory.
    pub fn clear(&mut self) {
        self.table = Attributes::NONE;
        self.counters.clear();
        self.expectations.clear();
        self.entries = Entries::default();
        self.oddities = Oddities::default();
    }

    /// The limit of entries, where the kernel sends it (from 4.18 on).
    #[must_use]
    pub fn max(&self) -> Option<u32> {
        self.table.get(GLOBAL_MAX)
    }

    /// The namespace's number of entries.
    #[must_use]
    pub fn entries(&self) -> Option<u32> {
        self.table.get(GLOBAL_ENTRIES)
    }

    /// The census of the received entries.
    #[must_use]
    pub fn seen(&self) -> Entries {
        self.entries
    }

    fn take(&mut self, request: Request, payload: &[u8]) {
        let mut surplus = 0;
        let row = row_of(payload, &mut surplus);
        let rows = match request {
            Request::Table => {
                self.oddities.long_rows += u32::from(surplus > 0);
                match row {
                    Some(row) => self.table = row.attributes,
                    None => self.oddities.bad_rows += 1,
                }
                return;
            }
            // Most attributes of an entry are no numbers.
            Request::Entries => {
                let sent = row.map(|row| [STATUS, TIMEOUT].map(|kind| row.attributes.get(kind)));
                if let Some([Some(status), left]) = sent {
                    self.entries.note(status, left, self.silence);
                }
                return;
            }
            Request::Counters => &mut self.counters,
            Request::Expectations => &mut self.expectations,
        };
        self.oddities.long_rows += u32::from(surplus > 0);
        // The kernel goes through its CPUs upwards; one that comes again is no row of its own.
        match row.filter(|row| rows.last().is_none_or(|last| last.cpu < row.cpu)) {
            Some(row) => rows.push(row),
            None => self.oddities.bad_rows += 1,
        }
    }

    /// Makes a table of the answers: `entries` on every row as procfs has it, then the counters
    /// that any CPU has. An answer of the same shape as the last is filled in without an allocation.
    ///
    /// # Errors
    /// [`NetlinkError::Incomplete`] without rows or the number of entries; `table` is then empty.
    pub fn fill(&mut self, table: &mut StatTable) -> Result<Oddities, NetlinkError> {
        table.clear();
        let entries = self.entries().filter(|_| !self.counters.is_empty());
        let entries = entries.ok_or(NetlinkError::Incomplete)?;
        let of_any = |rows: &[CpuRow]| rows.iter().fold(0, |all, row| all | row.attributes.present);
        let shape = (of_any(&self.counters), of_any(&self.expectations));
        if self.shape != Some(shape) {
            self.layout = Arc::new(layout(shape));
            self.shape = Some(shape);
        }
        if !Arc::ptr_eq(&table.layout, &self.layout) {
            table.layout = Arc::clone(&self.layout);
        }
        let mut oddities = self.oddities;
        let columns = self.layout.names.len();
        let mut expectations = self.expectations.iter().peekable();
        for row in &self.counters {
            while expectations.next_if(|other| other.cpu < row.cpu).is_some() {}
            let own = expectations.next_if(|other| other.cpu == row.cpu);
            let own = own.map_or(&Attributes::NONE, |other| &other.attributes);
            let mut filled = None;
            table.values.push(entries);
            let parts = [(shape.0, &row.attributes), (shape.1, own)];
            let cells = parts
                .into_iter()
                .flat_map(|(shape, attributes)| kinds(shape).map(|kind| attributes.get(kind)));
            for (at, value) in cells.enumerate() {
                if value.is_none() && filled.is_none() {
                    filled = Some(at + 1);
                    oddities.short_rows += 1;
                }
                table.values.push(value.unwrap_or(0));
            }
            table.filled.push(filled.unwrap_or(columns) as u16);
            table.cpus.push(u32::from(row.cpu));
        }
        Ok(oddities)
    }
}

/// The types whose bits are set, ascending.
fn kinds(shape: u32) -> impl Iterator<Item = usize> {
    (1..ATTRIBUTES).filter(move |kind| shape >> kind & 1 == 1)
}

/// The schema's names of the attributes; an unknown one has its number.
fn layout((counters, expectations): (u32, u32)) -> Layout {
    let name = |attribute: Attribute, unknown: String| {
        of_attribute(attribute).map_or(unknown, |field| field.name.to_owned())
    };
    let mut names = vec![ENTRIES.name.to_owned()];
    names.extend(
        kinds(counters).map(|kind| name(Attribute::Stats(kind), format!("ctnetlink_{kind}"))),
    );
    names.extend(
        kinds(expectations)
            .map(|kind| name(Attribute::Expectations(kind), format!("ctnetlink_exp_{kind}"))),
    );
    Layout { names, maintained: true }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
