//! The wiring: one sampling thread per input, one sink thread for all, and how they end.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use log::LevelFilter;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;

use crate::accumulate::Loss;
use crate::composition::walks::{Prepared, Walks};
use crate::confine::{Needs, capabilities, confine};
use crate::logging::INPUT_TARGET;
use crate::notices::{CannotBegin, StartNotice};
use crate::output::{Destination, Ended, Ending, InputState, Silence, Sink, Standing};
use crate::rows::RowBuilder;
use crate::sampling::channel::Control;
use crate::sampling::{Sampler, SamplingReport, Trigger};
use crate::schema::fields::{COUNT, LIMIT};
use crate::schema::maintained::Release;
use crate::settings::{Confine, Ebpf, Input, Roots, Source};
use crate::source::cpu_mask;
use crate::source::ebpf::EventsError;
use crate::source::ebpf::reattach::EventSource;
use crate::source::ebpf::sharing::FirstProbes;
use crate::source::mounts;
use crate::source::namespace::HeldProcesses;
use crate::source::reader::{Reader, lacking_table_files, settled};
use crate::source::release;
use crate::source::roots::Place;

/// The settings of a run besides its inputs.
pub struct Plan {
    /// Where the kernel's files are.
    pub roots: Roots,
    /// The lowest level that inputs without one of their own log.
    pub log_level: LevelFilter,
    /// Where emissions come from.
    pub trigger: Trigger,
    /// Where the rows go.
    pub destination: Box<dyn Destination>,
    /// Emissions to write per input; `None` for no end.
    pub count: Option<u64>,
    /// Whether the run ends when every input has ended by itself.
    pub ends_with_inputs: bool,
    /// Whether rights that are no longer needed are given up before the threads start; there must be
    /// no other threads then.
    pub confine: Confine,
    /// The rights that were kept when an earlier pipeline of this process confined it.
    pub confined: Option<Needs>,
    /// The processes that an earlier pipeline of this process sampled by number.
    pub processes: HeldProcesses,
    /// The configuration, which is read again.
    pub config: Option<PathBuf>,
    /// Called by the sink's thread when the run has come to its end.
    pub on_end: Box<dyn Fn() + Send>,
}

/// A pipeline that did not start.
pub struct StartFailure {
    /// The reason.
    pub error: io::Error,
    /// The destination, to which another pipeline may write.
    pub destination: Box<dyn Destination>,
}

impl From<StartFailure> for io::Error {
    fn from(failure: StartFailure) -> Self {
        failure.error
    }
}

/// A thread that samples, and the handle to stop it.
type SamplerThread = (Arc<Control>, JoinHandle<SamplingReport>);

/// A running set of threads.
pub struct Pipeline {
    samplers: Vec<SamplerThread>,
    walks: Option<Walks>,
    sink: JoinHandle<io::Result<Ended>>,
    draining: Arc<AtomicBool>,
    reopening: Arc<AtomicBool>,
    rows: Arc<AtomicU64>,
    has_read: Arc<AtomicBool>,
    /// The rights that this process kept, if it is confined.
    pub confined: Option<Needs>,
    /// The processes that are sampled by number.
    pub processes: HeldProcesses,
    /// Why no probes are attached, where they were tried.
    pub without_probes: Option<CannotBegin>,
}

/// How a run ended.
pub struct Outcome {
    /// One per input.
    pub reports: Vec<SamplingReport>,
    /// Whether everything that was handed over was written, as far as the output was read.
    pub flushed: bool,
    /// Whether the reader of the output has gone.
    pub reader_gone: bool,
    /// Rows of conntrack with a value that were written.
    pub rows: u64,
    /// Whether a value was read, also where filters left it out.
    pub has_read: bool,
    /// Emissions that were written of each input.
    pub written: u64,
    /// The destination of the rows; `None` where it is stuck.
    pub destination: Option<Box<dyn Destination>>,
}

impl Pipeline {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system's error when a thread cannot be started, or why the event source cannot be
    /// attached, or the process confined, where it must.
    pub fn start(mut inputs: Vec<Input>, mut plan: Plan) -> Result<Self, StartFailure> {
        let threads = match Threads::start(&mut inputs, &mut plan) {
            Ok(threads) => threads,
            Err(error) => return Err(StartFailure { error, destination: plan.destination }),
        };
        let Threads { samplers, walks, states, sink, to_sink, confined, processes, without_probes } =
            threads;
        let Plan { mut destination, count, ends_with_inputs, on_end, .. } = plan;
        destination.begin(&inputs);
        let (draining, reopening, rows) =
            <(Arc<AtomicBool>, Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let has_read = Arc::<AtomicBool>::default();
        let pipeline = Self {
            samplers,
            walks,
            sink,
            draining: Arc::clone(&draining),
            reopening: Arc::clone(&reopening),
            rows: Arc::clone(&rows),
            has_read: Arc::clone(&has_read),
            confined,
            processes,
            without_probes,
        };
        let inputs = states;
        // The receiver lives as long as the sink's thread waits for it.
        let _ = to_sink.send(Sink {
            inputs,
            destination,
            count,
            ends_with_inputs,
            draining,
            reopening,
            rows,
            has_read,
            on_end,
        });
        Ok(pipeline)
    }

    /// Asks every input for one emission now.
    pub fn gather(&self) {
        for (control, sampler) in &self.samplers {
            control.gather(sampler.thread());
        }
    }

    /// Opens the output again by its name.
    pub fn reopen(&self) {
        self.reopening.store(true, Ordering::Release);
        self.sink.thread().unpark();
    }

    /// Waits until the output was opened again, up to `patience`. Returns `false` where it is stuck.
    #[must_use]
    pub fn has_reopened(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.reopening.load(Ordering::Acquire) && !self.sink.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Ends the samplers, has everything that they handed over written, and ends the sink. A
    /// sink that is still stuck after `patience` is left behind.
    ///
    /// # Errors
    /// The output's error, if it could not be written.
    pub fn stop(self, patience: Duration) -> io::Result<Outcome> {
        self.walks.iter().for_each(Walks::stop);
        let reports = stop_samplers(self.samplers);
        self.draining.store(true, Ordering::Release);
        let deadline = Instant::now() + patience;
        while !self.sink.is_finished() && Instant::now() < deadline {
            self.sink.thread().unpark();
            std::thread::sleep(Duration::from_millis(1));
        }
        let flushed = self.sink.is_finished();
        // A panic ends the program, so there is always a result.
        let ended = flushed.then(|| self.sink.join().ok()).flatten().transpose()?;
        let reader_gone = ended.as_ref().is_some_and(|it| it.ending == Ending::ReaderGone);
        let written = ended.as_ref().map_or(0, |it| it.written);
        let destination = ended.map(|it| it.destination);
        let rows = self.rows.load(Ordering::Relaxed);
        let has_read = self.has_read.load(Ordering::Relaxed);
        Ok(Outcome { reports, flushed, reader_gone, rows, has_read, written, destination })
    }
}

fn stop_samplers(samplers: Vec<SamplerThread>) -> Vec<SamplingReport> {
    for (control, sampler) in &samplers {
        control.stop(sampler.thread());
    }
    let join = |(_, sampler): SamplerThread| sampler.join().unwrap_or_default();
    samplers.into_iter().map(join).collect()
}

/// The threads of a pipeline whose sink waits for its destination: until then nothing is written,
/// and a failure leaves the destination as it is.
struct Threads {
    samplers: Vec<SamplerThread>,
    walks: Option<Walks>,
    /// The sink's end of each input.
    states: Vec<InputState>,
    sink: JoinHandle<io::Result<Ended>>,
    to_sink: Sender<Sink>,
    confined: Option<Needs>,
    processes: HeldProcesses,
    without_probes: Option<CannotBegin>,
}

impl Threads {
    fn start(inputs: &mut [Input], plan: &mut Plan) -> io::Result<Self> {
        let mut processes = std::mem::take(&mut plan.processes);
        let places = resolve(inputs, &plan.roots, &mut processes);
        let probes = attach_probes(inputs, &places)?;
        let without_probes = match probes.events() {
            Ok(_) | Err(EventsError::NotWanted) => None,
            Err(error) => Some(CannotBegin::without_probes(error)),
        };
        let walks = Prepared::new(inputs, &places);
        let asks_for_table = asks_for_table(inputs, &places, plan.confined.as_ref());
        let confined = match plan.confined.take() {
            Some(kept) => Some(kept),
            None => {
                let mut needs = needs(inputs, &places, &probes, plan, &asks_for_table);
                needs.census = walks.is_some();
                if (needs.probes || needs.census) && plan.confine != Confine::Off {
                    allow_locked_memory();
                }
                let confined = confine(plan.confine, &needs);
                let confined = confined.map_err(|error| CannotBegin::unconfined(&error));
                confined.map_err(io::Error::other)?.then_some(needs)
            }
        };
        let (sink, to_sink) = start_sink()?;
        let walks = walks.map(Prepared::begin).transpose()?;
        let (mut states, mut prepared) = (Vec::new(), Vec::new());
        let placed = inputs.iter().zip(places).zip(asks_for_table);
        for (number, ((input, place), asks_for_table)) in placed.enumerate() {
            let input = PreparedInput::new(input.clone(), place, asks_for_table);
            let events = probes.source_of(number, &input.input, &input.cpus)?;
            let level = input.input.log_level.unwrap_or(plan.log_level);
            input.log(level);
            let consumer = sink.thread().clone();
            let (sampler, mut state) = input.into_parts(events, plan.trigger, level, consumer);
            state.composition = walks.as_ref().and_then(|walks| walks.latest(number));
            prepared.push(sampler);
            states.push(state);
        }
        let mut samplers = Vec::new();
        for (control, sampler) in prepared {
            let thread = std::thread::Builder::new().name("sampler".into());
            match thread.spawn(move || sampler.run()) {
                Ok(thread) => samplers.push((control, thread)),
                Err(error) => {
                    stop_samplers(samplers);
                    return Err(error);
                }
            }
        }
        Ok(Self { samplers, walks, states, sink, to_sink, confined, processes, without_probes })
    }
}

/// Lifts the limit of locked memory, as far as this process may, on a kernel before 5.11, where maps count
/// as such: a confined process, which may load programs later, cannot change its limits.
fn allow_locked_memory() {
    const WITHOUT_LIMIT: Release = (5, 11);
    let release = release::read("/proc/sys/kernel/osrelease".as_ref());
    if release.is_some_and(|release| release >= WITHOUT_LIMIT) {
        return;
    }
    // If it is refused, the usual limit may do; otherwise the refusal of a map names it.
    if setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).is_err() {
        let maximum = getrlimit(Resource::Memlock).maximum;
        let _ = setrlimit(Resource::Memlock, Rlimit { current: maximum, maximum });
    }
}

/// Starts the sink's thread. The samplers wake it by its handle, so it starts before there are
/// inputs, and waits for what it writes.
fn start_sink() -> io::Result<(JoinHandle<io::Result<Ended>>, Sender<Sink>)> {
    let (to_sink, sink) = std::sync::mpsc::channel::<Sink>();
    let thread = std::thread::Builder::new().name("sink".into()).spawn(move || {
        // Otherwise another thread could not be started.
        sink.recv().map_err(io::Error::other)?.run()
    })?;
    Ok((thread, to_sink))
}

/// Finds the place of each input, and the source that its configuration and place give.
fn resolve(inputs: &mut [Input], roots: &Roots, processes: &mut HeldProcesses) -> Vec<Place> {
    let mut places: Vec<Place> =
        inputs.iter().map(|input| Place::resolve(roots, &input.netns)).collect();
    processes.replace(places.iter_mut().filter_map(|place| place.process.as_mut()));
    for (input, place) in inputs.iter_mut().zip(&places) {
        // Telegraf's numbers are those of procfs's columns.
        let compat = input.compat_telegraf;
        input.source = if compat { Source::Procfs } else { settled(input.source, place) };
    }
    if let Some(root) = roots.proc_root.as_deref().filter(|root| mounts::shows_reader(root)) {
        StartNotice::OwnProcfs(root).log();
    }
    places
}

/// Attaches the event source, and logs its hooks, or the reason why no probe is attached: an error where an
/// input must have it.
fn attach_probes(inputs: &[Input], places: &[Place]) -> io::Result<FirstProbes> {
    let probes = FirstProbes::attach(inputs, places);
    match probes.events() {
        Ok(events) => {
            StartNotice::Probes(events.hook_count()).log();
            events.log();
        }
        Err(error) if inputs.iter().any(|input| input.ebpf == Ebpf::On) => {
            return Err(io::Error::other(CannotBegin::without_probes(error)));
        }
        Err(EventsError::NotWanted) => {}
        Err(error) => {
            StartNotice::NoProbes(error).log();
            log::debug!("{error}");
        }
    }
    Ok(probes)
}

/// The rights and files that the threads will need.
fn needs(
    inputs: &[Input],
    places: &[Place],
    probes: &FirstProbes,
    plan: &Plan,
    asks_for_table: &[bool],
) -> Needs {
    let (may_attach, is_blind) = (probes.may_attach(), probes.is_blind());
    let mut needs = Needs::new(inputs, places, may_attach, is_blind, plan.destination.rewrites());
    needs.netlink |= asks_for_table.contains(&true);
    needs.listener = plan.destination.is_served();
    if let Some(directory) = plan.config.as_deref().and_then(Path::parent) {
        // An editor replaces the file, so the directory is needed.
        let here = directory.as_os_str().is_empty();
        needs.files.push(if here { ".".into() } else { directory.to_owned() });
    }
    needs
}

/// One input with what is read once, before its thread starts.
struct PreparedInput {
    input: Input,
    reader: Reader,
    cpus: Vec<u32>,
    release: Option<Release>,
    /// The keys of the table row.
    keys: Vec<String>,
}

impl PreparedInput {
    fn new(input: Input, place: Place, asks_for_table: bool) -> Self {
        let cpus = cpu_mask::read(&place.sys_root).unwrap_or_else(|error| {
            StartNotice::NoCpuNumbers(&place.sys_root.join(cpu_mask::POSSIBLE)).log();
            log::debug!("{error}");
            Vec::new()
        });
        let release = release::read(&place.osrelease());
        let candidates = place.sysctl_candidates(&input);
        let keys = candidates.iter().map(|(key, _)| key.clone()).collect();
        let mut reader = Reader::new(place, candidates, input.source);
        if asks_for_table {
            reader.ask_for_table();
        }
        Self { input, reader, cpus, release, keys }
    }

    fn log(&self, level: LevelFilter) {
        if log::Level::Debug > level {
            return;
        }
        let (every, sample) = (self.input.interval, self.input.sample_interval);
        let (major, minor) = self.release.unwrap_or_default();
        log::debug!(
            target: INPUT_TARGET,
            "[{}] a row every {every:?}, sampled every {sample:?}; kernel {major}.{minor}, {} \
             possible CPUs; table row: {}",
            self.input.name(),
            self.cpus.len(),
            self.keys.join(" ")
        );
    }

    /// The sampler with the handle to stop it, and the sink's end.
    fn into_parts(
        self,
        events: Option<EventSource>,
        trigger: Trigger,
        log_level: LevelFilter,
        consumer: Thread,
    ) -> ((Arc<Control>, Sampler), InputState) {
        let Self { input, reader, cpus, release, keys } = self;
        let control = Arc::new(Control::default());
        let (sampler, outbox) = Sampler::new(
            input.clone(),
            trigger,
            reader,
            events,
            cpus.len(),
            Arc::clone(&control),
            consumer,
        );
        let state = InputState {
            name: input.name(),
            log_level,
            outbox,
            filter: input.filter.clone(),
            has_read: false,
            silence: Silence::default(),
            is_explained: false,
            waits: input.wait,
            rows: RowBuilder::new(input, cpus, release, keys),
            rows_waiting: None,
            composition: None,
            standing: Standing::default(),
            told_loss: Loss::default(),
            not_written: 0,
            written: 0,
            has_ended: false,
        };
        ((control, sampler), state)
    }
}

/// For each input whether ctnetlink is asked for the table's count and limit, which no sysctl file
/// has; a warning where it may not be. `kept` are the rights that this process kept when it was confined.
fn asks_for_table(inputs: &[Input], places: &[Place], kept: Option<&Needs>) -> Vec<bool> {
    let held = capabilities::held().unwrap_or(CapabilitySet::empty());
    let may_ask = held.contains(CapabilitySet::NET_ADMIN) && kept.is_none_or(|kept| kept.netlink);
    let mut without = BTreeSet::<&str>::new();
    let asks = inputs.iter().zip(places).map(|(input, place)| {
        if input.compat_telegraf {
            return false;
        }
        let lacking = lacking_table_files(place, &place.sysctl_candidates(input));
        let reader = Reader::new(place.clone(), Vec::new(), input.source);
        let may_ask = may_ask && place.is_live() && reader.is_netlink_loaded();
        if !may_ask {
            without.extend(&lacking);
        }
        may_ask && !lacking.is_empty()
    });
    let asks = asks.collect();
    if !without.is_empty() {
        StartNotice::WithoutTable {
            count: without.contains(COUNT.name),
            limit: without.contains(LIMIT.name),
        }
        .log();
    }
    asks
}
