//! The probes of one sampling thread: read beside each sample, given up when the statistics are gone,
//! and asked for again when they are back.

use std::io;
use std::time::Duration;

use crate::accumulate::Accumulator;
use crate::accumulate::accepted::Accepted;
use crate::accumulate::unexplained::InvalidPackets;
use crate::sampling::announced::Announced;
use crate::sampling::channel::Notice;
use crate::source::ebpf::reason_counts::ReasonCounts;
use crate::source::ebpf::reattach::EventSource;
use crate::source::ebpf::{EventReader, EventsError};

/// The shortest time between two attempts to attach probes.
const ATTACH_RETRY: Duration = Duration::from_secs(10);

/// The probes of a sampler; without a source for an input that asks for none.
#[derive(Debug)]
pub(super) struct Probes {
    source: Option<EventSource>,
    /// The counters before the kernel's were read, and after it.
    before: Vec<u64>,
    counters: Vec<u64>,
    accepted: Accepted,
    attach_at: Duration,
    /// The accumulator does not know yet which events these probes count.
    is_new: bool,
    /// Whether the statistics were lost after probes were asked for that have not come yet.
    asked_before_loss: bool,
    /// How often probes were attached again.
    attachment: u64,
    /// INVALID packets with a reason, before the kernel's counters were read for an emission.
    invalid_before: Option<u64>,
    /// The error of that reading.
    invalid_failure: Option<io::Error>,
    /// Whether the kernel's counters were read since then.
    is_invalid_paired: bool,
}

impl Probes {
    /// Takes over the probes that were attached at the start.
    #[must_use]
    pub(super) fn new(source: Option<EventSource>) -> Self {
        Self {
            source,
            before: Vec::new(),
            counters: Vec::new(),
            accepted: Accepted::default(),
            attach_at: Duration::ZERO,
            is_new: true,
            asked_before_loss: false,
            attachment: 0,
            invalid_before: None,
            invalid_failure: None,
            is_invalid_paired: false,
        }
    }

    /// Returns the attached programs, if there are any.
    #[must_use]
    pub(super) fn reader(&self) -> Option<&EventReader> {
        self.source.as_ref().and_then(|source| source.reader.as_ref())
    }

    /// Has `accumulator` expect the events that a new reader counts.
    pub(super) fn expect_events(&mut self, accumulator: &mut Accumulator) {
        if self.is_new
            && let Some(reader) = self.reader()
        {
            accumulator.expect_events(reader.counted());
            self.is_new = false;
        }
    }

    /// Reads the counters, before the kernel's of the same sample.
    pub(super) fn read_before(&mut self) {
        if let Some(reader) = self.source.as_ref().and_then(|source| source.reader.as_ref()) {
            reader.read(&mut self.before);
        }
    }

    /// Reads the counters, after the kernel's.
    pub(super) fn read(&mut self) {
        if let Some(reader) = self.source.as_ref().and_then(|source| source.reader.as_ref()) {
            reader.read(&mut self.counters);
            self.accepted.take_off_refused(&mut self.counters);
        }
        self.is_invalid_paired = true;
    }

    /// Reads INVALID packets by reason, before the kernel's counters of an emission.
    pub(super) fn read_invalid_before(&mut self) {
        let read = self.reason_counts().map(|counts| counts.map(ReasonCounts::explained));
        (self.invalid_before, self.invalid_failure) = match read {
            Ok(explained) => (explained, None),
            Err(error) => (None, Some(error)),
        };
        self.is_invalid_paired = false;
    }

    /// Reads INVALID packets by reason, after the kernel's counters of an emission.
    pub(super) fn read_invalid(&mut self, read: &mut InvalidPackets, announced: &mut Announced) {
        read.is_known = false;
        let before = self.invalid_before.take().filter(|_| self.is_invalid_paired);
        let failure = self.invalid_failure.take();
        let attachment = self.attachment;
        let after = match failure {
            Some(error) => Err(error),
            None if before.is_none() => return,
            None => self.reason_counts(),
        };
        if let (Some(before), Ok(Some(counts))) = (before, &after) {
            (read.is_known, read.attachment) = (true, attachment);
            (read.before, read.after) = (before, counts.explained());
            read.counts.clear();
            read.counts.extend_from_slice(counts.counts());
        }
        announced.reasons(after.err());
    }

    /// Reads INVALID packets by reason; `None` where they are not counted.
    fn reason_counts(&mut self) -> io::Result<Option<&ReasonCounts>> {
        let reader = self.source.as_mut().and_then(|source| source.reader.as_mut());
        reader.map_or(Ok(None), EventReader::read_invalid)
    }

    /// Hands over the counters that were read last; the sample beside them is added next.
    pub(super) fn add_to(&mut self, accumulator: &mut Accumulator) {
        self.expect_events(accumulator);
        if self.reader().is_some() {
            accumulator.add_events(&self.before, &self.counters);
        }
    }

    /// Reads how many calls were missed, which takes system calls: at an emission, before the window
    /// is filled.
    pub(super) fn read_missed(&self, accumulator: &mut Accumulator) {
        if let Some(reader) = self.reader() {
            accumulator.note_missed(reader.events.missed());
        }
    }

    /// The statistics are gone, and with them the module or the namespace of the counters.
    pub(super) fn lost(&mut self, accumulator: &mut Accumulator, announced: &mut Announced) {
        self.detach(accumulator, announced);
        self.asked_before_loss |= self.source.as_ref().is_some_and(|s| s.attacher.is_asked());
    }

    /// Gives up the probes, if there are any, and reports it.
    fn detach(&mut self, accumulator: &mut Accumulator, announced: &mut Announced) {
        if self.give_up(accumulator) {
            announced.detached();
        }
    }

    /// Gives up the probes. Returns whether there were any.
    fn give_up(&mut self, accumulator: &mut Accumulator) -> bool {
        let Some(source) = &mut self.source else { return false };
        let Some(reader) = source.reader.take() else { return false };
        source.attacher.retire(reader);
        accumulator.forget_events();
        true
    }

    /// The statistics are there, perhaps of a module that was loaded again or of another
    /// namespace: without probes, has them attached for what is there `now`.
    pub(super) fn attach_again(
        &mut self,
        now: Duration,
        accumulator: &mut Accumulator,
        announced: &mut Announced,
    ) {
        let Some(source) = &mut self.source else { return };
        let notice = match source.attacher.answer() {
            Some(answer) if std::mem::take(&mut self.asked_before_loss) => {
                // Of a module that may have gone meanwhile: such probes count nothing, and a refusal is
                // that of the module which was not there.
                if let Ok(reader) = answer {
                    source.attacher.retire(reader);
                }
                source.attacher.ask();
                return;
            }
            Some(Ok(reader)) => {
                let hooks = reader.events.hook_count();
                source.reader = Some(reader);
                self.accepted = Accepted::default();
                self.is_new = true;
                self.attachment += 1;
                self.invalid_before = None;
                Notice::Attached(hooks)
            }
            Some(Err(error @ EventsError::Unused)) => {
                self.give_up(accumulator);
                // At once: kprobes can be attached instead.
                self.attach_at = now;
                Notice::NotAttached(error)
            }
            Some(Err(error)) => {
                self.detach(accumulator, announced);
                Notice::NotAttached(error)
            }
            None => {
                let idle = source.reader.is_none() && !source.attacher.is_asked();
                if idle && now >= self.attach_at {
                    self.attach_at = now + ATTACH_RETRY;
                    source.attacher.ask();
                }
                return;
            }
        };
        announced.probes(notice);
    }
}
