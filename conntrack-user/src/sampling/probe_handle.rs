//! The probes of one sampling thread: read beside each sample, given up when what they count is
//! gone, and asked for again when it is back.

use std::time::Duration;

use rtrb::Producer;

use crate::accumulate::Accumulator;
use crate::accumulate::accepted::Accepted;
use crate::sampling::channel::Notice;
use crate::source::ebpf::EventReader;
use crate::source::ebpf::reattach::Attacher;

/// How often it is tried to attach probes again, at most.
const ATTACH_RETRY: Duration = Duration::from_secs(10);

/// The event source of one input, and the way to attach it anew.
#[derive(Debug)]
pub struct EventSource {
    /// The attached programs' counters; `None` while there is nothing to attach to.
    pub reader: Option<EventReader>,
    /// Attaches probes for this input.
    pub attacher: Attacher,
}

/// What a sampler knows of its probes; none where the input wants none.
#[derive(Debug)]
pub struct Probes {
    source: Option<EventSource>,
    /// The counters before the kernel's were read, and after it.
    before: Vec<u64>,
    counters: Vec<u64>,
    accepted: Accepted,
    attach_at: Duration,
    /// What the events are expected to count is not known to the accumulator yet.
    is_new: bool,
    /// Whether the statistics were lost after probes were asked for that have not come yet.
    asked_before_loss: bool,
    failure_told: bool,
}

impl Probes {
    /// Takes over what was attached at the start.
    #[must_use]
    pub fn new(source: Option<EventSource>) -> Self {
        Self {
            source,
            before: Vec::new(),
            counters: Vec::new(),
            accepted: Accepted::default(),
            attach_at: Duration::ZERO,
            is_new: true,
            asked_before_loss: false,
            failure_told: false,
        }
    }

    /// The attached programs, if there are any.
    #[must_use]
    pub fn reader(&self) -> Option<&EventReader> {
        self.source.as_ref().and_then(|source| source.reader.as_ref())
    }

    /// Has `accumulator` expect what a new reader counts.
    pub fn announce(&mut self, accumulator: &mut Accumulator) {
        if self.is_new
            && let Some(reader) = self.reader()
        {
            accumulator.expect_events(reader.counted());
            self.is_new = false;
        }
    }

    /// Reads the counters, before the kernel's of the same sample.
    pub fn read_before(&mut self) {
        if let Some(reader) = self.source.as_ref().and_then(|source| source.reader.as_ref()) {
            reader.read(&mut self.before);
        }
    }

    /// Reads the counters, after the kernel's.
    pub fn read(&mut self) {
        if let Some(reader) = self.source.as_ref().and_then(|source| source.reader.as_ref()) {
            reader.read(&mut self.counters);
            self.accepted.take_off_refused(&mut self.counters);
        }
    }

    /// Hands over what was read last; the sample beside it is added next.
    pub fn add_to(&mut self, accumulator: &mut Accumulator) {
        self.announce(accumulator);
        if self.reader().is_some() {
            accumulator.add_events(&self.before, &self.counters);
        }
    }

    /// Reads how many calls were missed, which takes system calls: at an emission, before the window
    /// is filled.
    pub fn read_missed(&self, accumulator: &mut Accumulator) {
        if let Some(reader) = self.reader() {
            accumulator.note_missed(reader.events.missed());
        }
    }

    /// The statistics are gone, and with them what the counters belong to.
    pub fn lost(&mut self, accumulator: &mut Accumulator, notices: &mut Producer<Notice>) {
        self.detach(accumulator, notices);
        self.asked_before_loss |= self.source.as_ref().is_some_and(|s| s.attacher.is_asked());
    }

    /// Gives up the probes, if there are any: their counters are of something that is gone.
    fn detach(&mut self, accumulator: &mut Accumulator, notices: &mut Producer<Notice>) {
        let Some(source) = &mut self.source else { return };
        if let Some(reader) = source.reader.take() {
            source.attacher.retire(reader);
            accumulator.forget_events();
            let _ = notices.push(Notice::Detached);
        }
    }

    /// The statistics are there, perhaps of a module that was loaded again or of another
    /// namespace: without probes, has them attached for what is there `now`.
    pub fn attach_again(
        &mut self,
        now: Duration,
        accumulator: &mut Accumulator,
        notices: &mut Producer<Notice>,
    ) {
        let Some(source) = &mut self.source else { return };
        let notice = match source.attacher.answer() {
            Some(Ok(reader)) if std::mem::take(&mut self.asked_before_loss) => {
                // Attached to what may have gone meanwhile: such probes count nothing.
                source.attacher.retire(reader);
                source.attacher.ask();
                return;
            }
            Some(Ok(reader)) => {
                source.reader = Some(reader);
                self.accepted = Accepted::default();
                self.is_new = true;
                Notice::Attached
            }
            Some(Err(error)) => {
                self.asked_before_loss = false;
                self.detach(accumulator, notices);
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
        let failed = matches!(notice, Notice::NotAttached(_));
        let told = std::mem::replace(&mut self.failure_told, failed);
        if !(failed && told) {
            let _ = notices.push(notice);
        }
    }
}
