//! The sampling thread of one input, which reads at absolute deadlines.
//!
//! Between emissions a tick is one read of the statistics (one `pread` of the file, or the
//! questions to ctnetlink, which may wait in the kernel) and arithmetic on memory that is already
//! there: no allocation, no lock, no open. A plain file in place of the kernel's is opened again where it
//! was replaced. An emission fills a window that was allocated before and
//! hands it over through a bounded ring; without room it is counted and its events go with the next
//! one, so a stuck consumer delays nothing here.

mod announced;
pub mod channel;
mod clock;
pub mod lateness;
mod probe_handle;
pub mod schedule;
mod timestamp;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::accumulate::{Accumulator, Loss, Range, Window};
use crate::sampling::announced::Announced;
use crate::sampling::channel::{Control, Outbox};
use crate::sampling::clock::{EmissionCause, SamplingClock};
use crate::sampling::lateness::Lateness;
use crate::sampling::probe_handle::Probes;
use crate::sampling::schedule::{Schedule, first_emission};
use crate::schema::raw::{ReadTime, StatTable};
use crate::settings::{Input, Source};
use crate::source::ebpf::reattach::EventSource;
use crate::source::procfs::StatError;
use crate::source::reader::Reader;
use crate::source::stat_text::Oddities;
use timestamp::Timestamps;

/// The shortest time between two attempts to open missing statistics.
const RETRY: Duration = Duration::from_millis(100);

/// The same for missing sysctl files, of which some kernels have none.
const SYSCTL_RETRY: Duration = Duration::from_secs(1);

/// How long reads may fail, each in a way that passes, before that is announced.
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

/// The work of a sampler that has ended.
#[derive(Debug, Default)]
pub struct SamplingReport {
    /// Reads of the statistics, or emissions of an input without them.
    pub ticks: u64,
    /// Samples and rows that were missed.
    pub loss: Loss,
    /// How late the ticks were.
    pub lateness: Lateness,
    /// Whether it ended by itself, as there is nothing to sample any more.
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
    delivery: Delivery,
    announced: Announced,
    report: SamplingReport,
    clock: SamplingClock,
    failures: Failures,
    /// The extremes of the number of entries, for an input without statistics.
    count: Option<Range>,
}

/// The rings through which windows go to the consumer and come back.
struct Delivery {
    consumer: Thread,
    windows: Producer<Box<Window>>,
    spent: Consumer<Box<Window>>,
}

/// The failures of the sources, and the times of the next attempts on the sampler's clock.
#[derive(Default)]
struct Failures {
    /// When the first of the reads failed that failed since the last good one.
    failing_since: Option<Duration>,
    /// When to open missing statistics.
    statistics_at: Duration,
    /// When to open missing sysctl files.
    sysctls_at: Duration,
    /// Why there is nothing to sample any more.
    ending: Option<StatError>,
    /// The last loss was one of the namespace itself.
    another_namespace: bool,
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
            cpus.max(1) * crate::schema::fields::DOCUMENTED.len() * 2 * size_of::<u64>();
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
            clock: SamplingClock::new(Timestamps::new(input.rounding(), Duration::ZERO, None)),
            input,
            trigger,
            reader,
            probes: Probes::new(events),
            table: StatTable::default(),
            control,
            delivery: Delivery { consumer, windows, spent },
            announced: Announced::new(notices),
            report: SamplingReport::default(),
            failures: Failures::default(),
        };
        (sampler, Outbox { windows: windows_out, spent: spent_in, notices: notices_out })
    }

    /// Samples until [`Control::stop`]; to be called on a thread of its own.
    #[must_use]
    pub fn run(mut self) -> SamplingReport {
        // Timers of normal threads may fire 50 us late to save wake-ups, and ticks should be on
        // time. Where this is refused, they are that much later.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        self.clock.start = Instant::now();
        let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (sample, interval) = (self.sample_interval(), self.input.interval);
        let precision = self.input.rounding();
        let first = (self.trigger == Trigger::Interval).then(|| {
            let (offset, round) = (self.input.collection_offset, self.input.round_interval);
            first_emission(start, interval, offset, round, self.input.sample_interval, precision)
        });
        self.clock.timestamps = Timestamps::new(precision, start, first);
        let mut schedule = Schedule::new(sample, interval, self.input.collection_jitter, first);
        self.probes.expect_events(&mut self.accumulator);
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
            // A row that was asked for before the end is still emitted.
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
            self.open_again();
            self.probes.read_invalid_before();
        }
        let began_at = SystemTime::now();
        if self.failures.ending.is_some() {
            // Nothing is open.
        } else if self.wants_stat() {
            self.sample(emission.is_some());
        } else if emission.is_none() {
            self.sample_count();
        }
        if let Some(emission) = emission {
            if !self.accumulator.has_sample() {
                self.clock.read_at = began_at;
            }
            // The events until the end are still handed over.
            if self.failures.ending.is_none() || self.accumulator.has_sample() {
                self.emit(emission);
            }
        }
        if let Some(error) = self.failures.ending.take() {
            self.end(error);
        }
    }

    /// Ends the input, or tries again at the next tick where there is no room for the notice.
    fn end(&mut self, error: StatError) {
        self.failures.ending = self.announced.end(error).err();
        self.report.has_ended = self.failures.ending.is_none();
        self.delivery.consumer.unpark();
    }

    /// One sample of the number of entries alone; the emission reads it with the other files.
    fn sample_count(&mut self) {
        if let Some(count) = self.reader.read_count(&mut |error| self.announced.sysctl(error)) {
            Range::widen(&mut self.count, count);
        }
    }

    /// At an emission only: notices a namespace that is gone, and opens missing sysctl files.
    fn open_again(&mut self) {
        if let Err(error) = self.reader.check() {
            self.lost(error);
        }
        let now = self.clock.elapsed();
        if now >= self.failures.sysctls_at && self.reader.is_incomplete(self.wants_stat()) {
            self.failures.sysctls_at = now + SYSCTL_RETRY;
            self.open_missing();
        }
    }

    fn open_missing(&mut self) {
        let wants_stat = self.wants_stat();
        let had_stat = self.reader.has_statistics();
        let opened =
            self.reader.open_missing(wants_stat, &mut |error| self.announced.sysctl(error));
        if let Err(error) = opened {
            self.lost(error);
        } else if !had_stat {
            self.accumulator.opened_again(std::mem::take(&mut self.failures.another_namespace));
        }
        if let Some(missing) = self.reader.foreign() {
            self.announced.foreign(missing);
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
        self.clock.read_at = read_at;
        Ok((oddities, ReadTime { before, after }))
    }

    /// One sample.
    fn sample(&mut self, emission: bool) {
        if !self.reader.has_statistics() {
            let now = self.clock.elapsed();
            if now < self.failures.statistics_at {
                return;
            }
            self.failures.statistics_at = now + RETRY;
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
                self.failures.failing_since = None;
                self.probes.add_to(&mut self.accumulator);
                self.accumulator.add(&self.table, at);
                let is_auto = self.input.source == Source::Auto;
                self.announced.source(|| self.reader.statistics(), is_auto);
                let now = self.clock.elapsed();
                self.probes.attach_again(now, &mut self.accumulator, &mut self.announced);
                self.announced.oddities(oddities);
            }
            Err(error) if error.is_passing() => self.missed(error),
            Err(error) => self.lost(error),
        }
    }

    /// Asking again at once did not help; the next tick may, or opening everything again.
    fn missed(&mut self, error: StatError) {
        self.report.loss.samples_missed += 1;
        let now = self.clock.elapsed();
        if now.saturating_sub(*self.failures.failing_since.get_or_insert(now)) >= PATIENCE {
            self.failures.failing_since = None;
            self.reader.close_statistics();
            self.lost(error);
        }
    }

    fn lost(&mut self, error: StatError) {
        self.probes.lost(&mut self.accumulator, &mut self.announced);
        if error.is_final() {
            self.failures.ending = Some(error);
            return;
        }
        self.failures.another_namespace |= matches!(error, StatError::NamespaceGone(_));
        if self.announced.loss(error) {
            self.delivery.consumer.unpark();
        }
    }

    /// Fills a window and hands it over, or counts that there was no room.
    fn emit(&mut self, emission: EmissionCause) {
        let Ok(mut window) = self.delivery.spent.pop() else {
            self.report.loss.rows_lost += 1;
            return;
        };
        if self.accumulator.take_restart() {
            self.announced.restart();
        }
        self.probes.read_missed(&mut self.accumulator);
        self.accumulator.fill(&mut window);
        self.probes.read_invalid(&mut window.invalid, &mut self.announced);
        let reader = &mut self.reader;
        reader.read_sysctls(&mut window.sysctls, &mut |error| self.announced.sysctl(error));
        window.count = self.count;
        window.timestamp_ns = self.clock.timestamp(emission);
        window.loss = self.report.loss;
        window.events.programs.clear();
        let reader = self.probes.reader().filter(|_| self.input.internal);
        window.events.host_wide = reader.map(|reader| reader.events.host_wide());
        if let Some(reader) = reader {
            reader.events.programs(&mut window.events.programs);
        }
        // Both rings have room for every window there is.
        if self.delivery.windows.push(window).is_ok() {
            self.accumulator.handed_over();
            self.count = None;
        }
        self.delivery.consumer.unpark();
    }
}

#[cfg(test)]
mod tests;
