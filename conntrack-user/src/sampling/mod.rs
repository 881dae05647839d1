//! The clock that drives the column: a thread that reads at absolute deadlines.
//!
//! Between emissions a tick is one read of the statistics (one `pread` of the file, or the
//! questions to ctnetlink, which may wait in the kernel) and arithmetic on memory that is already
//! there: no allocation, no lock, no open. An emission fills a window that was allocated before and hands it over through a bounded ring; when there is no room it is
//! counted and its events go with the next one, so a stuck consumer delays nothing here.

pub mod channel;
pub mod lateness;
pub mod probe_handle;
pub mod schedule;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::accumulate::{Accumulator, Loss, Range, Window};
use crate::rows::timestamp::{Timestamps, nanoseconds};
use crate::sampling::channel::{Control, Notice, Outbox};
use crate::sampling::lateness::Histogram;
use crate::sampling::probe_handle::{EventSource, Probes};
use crate::sampling::schedule::{Schedule, first_emission};
use crate::schema::raw::{ReadTime, StatTable};
use crate::settings::{Input, Source};
use crate::source::netlink::NetlinkError;
use crate::source::procfs::StatError;
use crate::source::reader::{Reader, StatSource};
use crate::source::stat_text::Oddities;

/// How often a missing statistics file is looked for, at most.
const RETRY: Duration = Duration::from_millis(100);

/// The same for missing sysctl files, of which some kernels have none.
const SYSCTL_RETRY: Duration = Duration::from_secs(1);

/// How long reads may fail, each in a way that passes, before that is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// Memory that waiting windows may take, in bytes; at least [`FEWEST_WINDOWS`] fit all the same.
const WINDOWS_BYTES: usize = 2 << 20;
const FEWEST_WINDOWS: usize = 4;
const MOST_WINDOWS: usize = 64;

/// Where emissions come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// One at once, then one per interval.
    Interval,
    /// Only when [`Control::gather`] asks for it.
    Asked,
}

/// What a sampler did, once it has ended.
#[derive(Debug, Default)]
pub struct SamplingReport {
    /// Reads of the statistics file, or emissions where it is not wanted.
    pub ticks: u64,
    /// What was missed.
    pub loss: Loss,
    /// How late the ticks were.
    pub lateness: Histogram,
    /// It ended by itself: there is nothing to sample any more.
    pub has_ended: bool,
}

/// One input's sampling thread.
pub struct Sampler {
    input: Input,
    trigger: Trigger,
    reader: Reader,
    probes: Probes,
    table: StatTable,
    accumulator: Accumulator,
    control: Arc<Control>,
    consumer: Thread,
    windows: Producer<Box<Window>>,
    spent: Consumer<Box<Window>>,
    notices: Producer<Notice>,
    report: SamplingReport,
    clock: Instant,
    /// When the first of the reads failed that failed since the last good one.
    failing_since: Option<Duration>,
    stat_known_lost: bool,
    refusal_told: bool,
    source_told: bool,
    foreign_told: bool,
    last_oddities: Oddities,
    stat_retry_at: Duration,
    sysctl_retry_at: Duration,
    /// Why there is nothing to sample any more.
    ending: Option<StatError>,
    /// The last loss was one of the namespace itself.
    another_namespace: bool,
    /// The extremes of the number of entries, where no statistics are wanted.
    count: Option<Range>,
    timestamps: Timestamps,
    /// Real-time clock beside the last good read, or beside the last tick if there was none
    /// since the last emission.
    read_at: SystemTime,
}

/// Nanoseconds since 1970.
fn since_epoch(at: SystemTime) -> i64 {
    nanoseconds(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// Why a tick hands over what is known.
#[derive(Debug, Clone, Copy)]
enum EmissionCause {
    /// Sampling starts.
    Start,
    /// An interval ends, and this is when it was due to.
    Regular(Duration),
    /// Somebody asked for a row.
    Asked,
}

enum Wake {
    Deadline,
    Asked,
    Stop,
}

impl Sampler {
    /// A sampler of `input`, with `events` beside the kernel's own counters, that wakes
    /// `consumer` at each hand-over, and the consumer's end. `cpus` (the number of possible
    /// CPUs) bounds how many windows may wait.
    #[must_use]
    pub fn new(
        input: Input,
        trigger: Trigger,
        reader: Reader,
        events: Option<EventSource>,
        cpus: usize,
        control: Arc<Control>,
        consumer: Thread,
    ) -> (Self, Outbox) {
        let window_bytes =
            cpus.max(1) * crate::schema::raw::DOCUMENTED.len() * 2 * size_of::<u64>();
        let capacity = (WINDOWS_BYTES / window_bytes).clamp(FEWEST_WINDOWS, MOST_WINDOWS);
        let (windows, windows_out) = RingBuffer::new(capacity);
        let (mut spent_in, spent) = RingBuffer::new(capacity);
        let (notices, notices_out) = RingBuffer::new(MOST_WINDOWS);
        for _ in 0..capacity {
            // The ring was made for as many.
            let _ = spent_in.push(Box::<Window>::default());
        }
        let sampler = Self {
            accumulator: Accumulator::new(input.sample_interval, input.percpu_rates),
            count: None,
            timestamps: Timestamps::new(input.rounding(), Duration::ZERO, None),
            input,
            trigger,
            reader,
            probes: Probes::new(events),
            table: StatTable::default(),
            control,
            consumer,
            windows,
            spent,
            notices,
            report: SamplingReport::default(),
            clock: Instant::now(),
            failing_since: None,
            stat_known_lost: false,
            refusal_told: false,
            source_told: false,
            foreign_told: false,
            last_oddities: Oddities::default(),
            stat_retry_at: Duration::ZERO,
            sysctl_retry_at: Duration::ZERO,
            ending: None,
            another_namespace: false,
            read_at: SystemTime::UNIX_EPOCH,
        };
        (sampler, Outbox { windows: windows_out, spent: spent_in, notices: notices_out })
    }

    /// Samples until [`Control::stop`]; to be called on a thread of its own.
    #[must_use]
    pub fn run(mut self) -> SamplingReport {
        // Timers of normal threads may fire 50 us late to save wake-ups; ticks are wanted on
        // time. Where it is refused, they are that much later.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        self.clock = Instant::now();
        let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (sample, interval) = (self.sample_interval(), self.input.interval);
        let precision = self.input.rounding();
        let first = (self.trigger == Trigger::Interval).then(|| {
            let (offset, round) = (self.input.collection_offset, self.input.round_interval);
            first_emission(start, interval, offset, round, self.input.sample_interval, precision)
        });
        self.timestamps = Timestamps::new(precision, start, first);
        let mut schedule = Schedule::new(sample, interval, self.input.collection_jitter, first);
        self.probes.announce(&mut self.accumulator);
        self.tick((self.trigger == Trigger::Interval).then_some(EmissionCause::Start));
        while !self.report.has_ended {
            match self.wait(schedule.deadline()) {
                Wake::Stop => break,
                Wake::Asked => self.tick(Some(EmissionCause::Asked)),
                Wake::Deadline => {
                    let now = self.clock.elapsed();
                    self.report.lateness.record(now.saturating_sub(schedule.deadline()));
                    let due = schedule.wake(now);
                    self.report.loss.samples_missed += due.skipped;
                    self.tick(due.emission.map(EmissionCause::Regular));
                }
            }
        }
        self.report
    }

    /// Without statistics rows only the number of entries is read between emissions, and nothing
    /// for Telegraf's exact rows.
    fn sample_interval(&self) -> Duration {
        if self.input.compat_telegraf && !self.wants_stat() {
            self.input.interval
        } else {
            self.input.sample_interval
        }
    }

    fn wants_stat(&self) -> bool {
        self.input.collect.all || self.input.collect.percpu
    }

    fn wait(&self, deadline: Duration) -> Wake {
        loop {
            // What was asked for before the end is still given.
            if self.control.take_gather() {
                return Wake::Asked;
            }
            if self.control.is_stopped() {
                return Wake::Stop;
            }
            match deadline.checked_sub(self.clock.elapsed()) {
                None | Some(Duration::ZERO) => return Wake::Deadline,
                Some(left) => std::thread::park_timeout(left),
            }
        }
    }

    fn tick(&mut self, emission: Option<EmissionCause>) {
        self.report.ticks += 1;
        if emission.is_some() {
            self.look_around();
        }
        let began_at = SystemTime::now();
        if self.ending.is_some() {
            // Nothing is open.
        } else if self.wants_stat() {
            self.sample(emission.is_some());
        } else if emission.is_none() {
            self.sample_count();
        }
        if let Some(emission) = emission {
            if !self.accumulator.has_sample() {
                self.read_at = began_at;
            }
            // What was counted until the end is still handed over.
            if self.ending.is_none() || self.accumulator.has_sample() {
                self.emit(emission);
            }
        }
        if let Some(error) = self.ending.take() {
            self.end(error);
        }
    }

    /// Ends the input; the consumer is told last.
    fn end(&mut self, error: StatError) {
        match self.notices.push(Notice::Ended(error)) {
            Ok(()) => self.report.has_ended = true,
            // At the next tick, when there is room.
            Err(rtrb::PushError::Full(Notice::Ended(error))) => self.ending = Some(error),
            Err(_) => {}
        }
        self.consumer.unpark();
    }

    /// One sample of the number of entries alone; the emission reads it with the other files.
    fn sample_count(&mut self) {
        let notices = &mut self.notices;
        let mut tell = |error| _ = notices.push(Notice::Sysctl(error));
        if let Some(count) = self.reader.read_count(&mut tell) {
            Range::widen(&mut self.count, count);
        }
    }

    /// What only an emission does besides reading: notice a namespace that is gone, and look
    /// for files that are not there.
    fn look_around(&mut self) {
        if let Err(error) = self.reader.check() {
            self.lost(error);
        }
        let now = self.clock.elapsed();
        if now >= self.sysctl_retry_at && self.reader.is_incomplete(self.wants_stat()) {
            self.sysctl_retry_at = now + SYSCTL_RETRY;
            self.open_missing();
        }
    }

    fn open_missing(&mut self) {
        let wants_stat = self.wants_stat();
        let notices = &mut self.notices;
        let mut tell = |error| _ = notices.push(Notice::Sysctl(error));
        let had_stat = self.reader.has_statistics();
        if let Err(error) = self.reader.open_missing(wants_stat, &mut tell) {
            self.lost(error);
        } else if !had_stat {
            self.accumulator.opened_again(std::mem::take(&mut self.another_namespace));
        }
        if self.reader.is_foreign() && !self.foreign_told {
            self.foreign_told = self.notices.push(Notice::Foreign).is_ok();
        }
    }

    /// Reads the statistics, and the probes' counters before and after them, between two readings of
    /// the clock.
    fn read(&mut self) -> Result<(Oddities, ReadTime), StatError> {
        let before = self.clock.elapsed();
        self.probes.read_before();
        let oddities = self.reader.read_stat(&mut self.table)?;
        let read_at = SystemTime::now();
        self.probes.read();
        let after = self.clock.elapsed();
        self.read_at = read_at;
        Ok((oddities, ReadTime { before, after }))
    }

    /// One sample.
    fn sample(&mut self, emission: bool) {
        if !self.reader.has_statistics() {
            let now = self.clock.elapsed();
            if now < self.stat_retry_at {
                return;
            }
            self.stat_retry_at = now + RETRY;
            self.open_missing();
            if !self.reader.has_statistics() {
                return;
            }
        }
        let mut read = self.read();
        // The rates of a row need an exact time. A thread that was stopped within the read is
        // not stopped again at once.
        let sample_interval = self.input.sample_interval;
        if emission && read.as_ref().is_ok_and(|(_, at)| !at.is_exact_for(sample_interval)) {
            read = self.read();
        }
        match read {
            Ok((oddities, at)) => {
                self.failing_since = None;
                self.probes.add_to(&mut self.accumulator);
                self.accumulator.add(&self.table, at);
                self.tell_source();
                let now = self.clock.elapsed();
                self.probes.attach_again(now, &mut self.accumulator, &mut self.notices);
                if oddities != self.last_oddities
                    && (oddities == Oddities::default()
                        || self.notices.push(Notice::Odd(oddities)).is_ok())
                {
                    self.last_oddities = oddities;
                }
            }
            Err(error) if error.is_passing() => self.missed(error),
            Err(error) => self.lost(error),
        }
    }

    /// Asking again at once did not help; the next tick may, or opening everything anew.
    fn missed(&mut self, error: StatError) {
        self.report.loss.samples_missed += 1;
        let now = self.clock.elapsed();
        if now.saturating_sub(*self.failing_since.get_or_insert(now)) >= PATIENCE {
            self.failing_since = None;
            self.reader.close_statistics();
            self.lost(error);
        }
    }

    /// Says where the statistics come from, if they were lost before or `auto` took ctnetlink.
    fn tell_source(&mut self) {
        let known = self.source_told && !self.stat_known_lost;
        let Some(source) = (!known).then(|| self.reader.statistics()).flatten() else { return };
        let notice = match source {
            source if self.stat_known_lost => Notice::Found(source),
            StatSource::Netlink if self.input.source == Source::Auto => Notice::Netlink,
            _ => return self.source_told = true,
        };
        self.source_told = self.notices.push(notice).is_ok();
        self.stat_known_lost &= !self.source_told;
        self.refusal_told &= !self.source_told;
    }

    fn lost(&mut self, error: StatError) {
        self.probes.lost(&mut self.accumulator, &mut self.notices);
        if error.is_final() {
            self.ending = Some(error);
            return;
        }
        self.another_namespace |= matches!(error, StatError::NamespaceGone(_));
        // It says what to do, even where the loss was told before conntrack was there.
        let is_refusal = matches!(error.netlink(), Some(NetlinkError::Refused));
        if !self.stat_known_lost || is_refusal && !self.refusal_told {
            self.stat_known_lost = self.notices.push(Notice::Lost(error)).is_ok();
            self.refusal_told |= is_refusal && self.stat_known_lost;
            self.consumer.unpark();
        }
    }

    /// Fills a window and hands it over, or counts that there was no room.
    fn emit(&mut self, emission: EmissionCause) {
        let Ok(mut window) = self.spent.pop() else {
            self.report.loss.rows_lost += 1;
            return;
        };
        if self.accumulator.take_restart() {
            let _ = self.notices.push(Notice::Restarted);
        }
        self.probes.read_missed(&mut self.accumulator);
        self.accumulator.fill(&mut window);
        let notices = &mut self.notices;
        let mut tell = |error| _ = notices.push(Notice::Sysctl(error));
        self.reader.read_sysctls(&mut window.sysctls, &mut tell);
        window.count = self.count;
        window.timestamp_ns = self.timestamp(emission);
        window.loss = self.report.loss;
        window.events.programs.clear();
        let reader = self.probes.reader().filter(|_| self.input.internal);
        window.events.host_wide = reader.map(|reader| reader.events.host_wide());
        if let Some(reader) = reader {
            reader.events.programs(&mut window.events.programs);
        }
        // Both rings have room for every window there is.
        if self.windows.push(window).is_ok() {
            self.accumulator.handed_over();
            self.count = None;
        }
        self.consumer.unpark();
    }

    fn timestamp(&self, emission: EmissionCause) -> i64 {
        let read_ns = since_epoch(self.read_at);
        match emission {
            EmissionCause::Start => self.timestamps.of_start(read_ns),
            EmissionCause::Asked => self.timestamps.of_asked(read_ns),
            EmissionCause::Regular(due) => {
                let late = self.clock.elapsed().saturating_sub(due);
                let due_ns = since_epoch(SystemTime::now()).saturating_sub(nanoseconds(late));
                self.timestamps.of_regular(read_ns, due_ns)
            }
        }
    }
}

#[cfg(test)]
mod tests;
