//! The wiring: one sampling thread per input, one sink thread for all, and how they end.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::format::Encoder;
use crate::handoff::Control;
use crate::kernel;
use crate::logging::INPUT_TARGET;
use crate::loss::Loss;
use crate::rows::RowBuilder;
use crate::sampler::{EventSource, Report, Sampler, Trigger};
use crate::settings::{Ebpf, Input, Roots};
use crate::sink::{Ending, Lane, Output, Sink};
use crate::source::cpu_mask;
use crate::source::events::{EventReader, Events, EventsError};
use crate::source::procfs::Procfs;
use crate::source::roots::Place;

/// What a run needs besides its inputs.
pub struct Plan {
    /// Where the kernel's files are.
    pub roots: Roots,
    /// The lowest level that inputs without one of their own log.
    pub log_level: log::LevelFilter,
    /// Where emissions come from.
    pub trigger: Trigger,
    /// The output's format.
    pub encoder: Box<dyn Encoder>,
    /// Where the bytes go.
    pub output: Output,
    /// Emissions to write per input; `None` for no end.
    pub count: Option<u64>,
    /// Called by the sink's thread when the run has come to its end.
    pub on_end: Box<dyn Fn() + Send>,
}

/// A running set of threads.
pub struct Pipeline {
    samplers: Vec<(Arc<Control>, JoinHandle<Report>)>,
    sink: JoinHandle<io::Result<Ending>>,
    draining: Arc<AtomicBool>,
    rows: Arc<AtomicU64>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// One per input.
    pub reports: Vec<Report>,
    /// Whether everything that was handed over was written, as far as somebody read it.
    pub flushed: bool,
    /// Whether whoever read the output has gone.
    pub reader_gone: bool,
    /// Rows of conntrack with a value that were written.
    pub rows: u64,
}

/// Whether the input's rows have a place for events.
fn wants_events(input: &Input) -> bool {
    input.ebpf != Ebpf::Off && !input.compat_telegraf && (input.collect.all || input.collect.percpu)
}

/// What there is of an event source.
enum Attached {
    Yes(Arc<Events>),
    /// There is no conntrack in the kernel yet; its statistics will tell when there is.
    Later,
    No,
}

/// Attaches the event source for the inputs that want it, and says in one line what it gives,
/// or why there is none; and the namespaces that it tells apart, in the order of their slots.
fn attach_events(inputs: &[Input], places: &[Place]) -> io::Result<(Attached, Vec<u32>)> {
    let must = inputs.iter().any(|input| input.ebpf == Ebpf::On);
    // Plain files are of another kernel, or of another time.
    let wanting =
        inputs.iter().zip(places).filter(|(input, place)| wants_events(input) && place.is_live());
    let inodes: Vec<Option<u32>> = wanting.map(|(_, place)| place.namespace_inode()).collect();
    let mut namespaces: Vec<u32> = inodes.iter().copied().flatten().collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let attached = if inodes.is_empty() {
        Err(EventsError::NotWanted)
    } else if namespaces.is_empty() || must && inodes.contains(&None) {
        Err(EventsError::NoNamespace)
    } else {
        attach_for(&namespaces)
    };
    let why_not = match attached {
        Ok(events) => {
            log::info!("{}", events.describe());
            return Ok((Attached::Yes(events), namespaces));
        }
        Err(why_not) => why_not,
    };
    if must {
        return Err(io::Error::other(format!("no event source: {why_not}")));
    }
    if !matches!(why_not, EventsError::NotWanted) {
        log::info!("no event source ({why_not}); the kernel's own counters are all there is");
    }
    let later = matches!(why_not, EventsError::NoFunctions | EventsError::NoNamespace);
    Ok((if later { Attached::Later } else { Attached::No }, namespaces))
}

/// Attaches probes that tell these namespaces apart.
fn attach_for(namespaces: &[u32]) -> Result<Arc<Events>, EventsError> {
    // The running kernel's CPUs, whatever mask the rows are numbered by.
    let cpus =
        cpu_mask::read(Path::new("/sys")).map_err(|error| EventsError::Cpus(error.to_string()))?;
    let highest = cpus.last().map_or(1, |&last| last as usize + 1);
    let events = Events::attach(namespaces, highest)?;
    match events.blind() {
        None => Ok(Arc::new(events)),
        Some(error) => Err(EventsError::Blind(error.to_string())),
    }
}

/// One input's share of the attached programs, and how it gets its own when these are gone, or
/// when there is something to attach to at last.
fn event_source(
    attached: &Attached,
    namespaces: &[u32],
    place: &Place,
    cpus: &[u32],
) -> Option<EventSource> {
    let reader = match attached {
        Attached::No => return None,
        Attached::Later => None,
        Attached::Yes(events) => {
            let inode = place.namespace_inode();
            let slot = inode.and_then(|inode| namespaces.iter().position(|&known| known == inode));
            slot.map(|slot| EventReader {
                events: Arc::clone(events),
                slot: 1 + slot,
                cpus: cpus.to_vec(),
            })
        }
    };
    let (place, cpus) = (place.clone(), cpus.to_vec());
    let attach = move || {
        let inode = place.namespace_inode().ok_or(EventsError::NoNamespace)?;
        let events = attach_for(&[inode])?;
        Ok(EventReader { events, slot: 1, cpus: cpus.clone() })
    };
    Some(EventSource { reader, attach: Box::new(attach) })
}

impl Pipeline {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system's error when a thread cannot be started, or why the event source cannot be
    /// attached where it must.
    pub fn start(inputs: Vec<Input>, plan: Plan) -> io::Result<Self> {
        let places: Vec<Place> =
            inputs.iter().map(|input| Place::resolve(&plan.roots, input.netns.as_ref())).collect();
        let (events, namespaces) = attach_events(&inputs, &places)?;
        let draining = Arc::new(AtomicBool::new(false));
        let (lanes_in, lanes_out) = std::sync::mpsc::channel::<Vec<Lane>>();
        let (encoder, output, count, on_end) = (plan.encoder, plan.output, plan.count, plan.on_end);
        let rows = Arc::new(AtomicU64::new(0));
        let (sink_draining, sink_rows) = (Arc::clone(&draining), Arc::clone(&rows));
        let sink = std::thread::Builder::new().name("sink".into()).spawn(move || {
            // The samplers wake this thread by its handle, so it is there before its lanes.
            let Ok(lanes) = lanes_out.recv() else { return Ok(Ending::Drained) };
            let (draining, rows) = (sink_draining, sink_rows);
            Sink { lanes, encoder, output, count, draining, rows, on_end }.run()
        })?;
        let (mut lanes, mut samplers) = (Vec::new(), Vec::new());
        for (input, place) in inputs.into_iter().zip(places) {
            let cpus = cpu_mask::read(&place.sys_root).unwrap_or_else(|error| {
                log::warn!("{error}; rows are numbered in their order");
                Vec::new()
            });
            let release = kernel::read_release(&place.osrelease());
            let candidates = place.sysctl_candidates(&input);
            let keys: Vec<String> = candidates.iter().map(|(key, _)| key.clone()).collect();
            let events = Some(&events).filter(|_| wants_events(&input) && place.is_live());
            let events = events.and_then(|events| event_source(events, &namespaces, &place, &cpus));
            let procfs = Procfs::new(place, candidates);
            let control = Arc::new(Control::default());
            let (sampler, outbox) = Sampler::new(
                input.clone(),
                plan.trigger,
                procfs,
                events,
                cpus.len(),
                Arc::clone(&control),
                sink.thread().clone(),
            );
            let name = input.alias.clone().unwrap_or_else(|| match &input.netns {
                Some(netns) => format!("conntrack {netns}"),
                None => "conntrack".into(),
            });
            let level = input.log_level.unwrap_or(plan.log_level);
            if log::Level::Debug <= level {
                let (every, sample) = (input.interval, input.sample_interval);
                let (major, minor) = release.unwrap_or_default();
                log::debug!(
                    target: INPUT_TARGET,
                    "[{name}] a row every {every:?}, sampled every {sample:?}; kernel \
                     {major}.{minor}, {} possible CPUs; table row: {}",
                    cpus.len(),
                    keys.join(" ")
                );
            }
            lanes.push(Lane {
                name,
                log_level: level,
                outbox,
                filter: input.filter.clone(),
                rows: RowBuilder::new(input, cpus, release, keys),
                rows_waiting: None,
                told_loss: Loss::default(),
                written: 0,
            });
            samplers.push((control, sampler));
        }
        // The receiver lives as long as the sink's thread waits for it.
        let _ = lanes_in.send(lanes);
        let samplers = samplers.into_iter().map(|(control, sampler)| {
            let thread = std::thread::Builder::new().name("sampler".into());
            Ok((control, thread.spawn(move || sampler.run())?))
        });
        let samplers = samplers.collect::<io::Result<_>>()?;
        Ok(Self { samplers, sink, draining, rows })
    }

    /// Asks every input for one emission now.
    pub fn gather(&self) {
        for (control, sampler) in &self.samplers {
            control.gather(sampler.thread());
        }
    }

    /// Ends the samplers, has everything that they handed over written, and ends the sink. A
    /// sink that is still stuck after `patience` is left behind.
    ///
    /// # Errors
    /// The output's error, if it could not be written.
    pub fn stop(self, patience: Duration) -> io::Result<Outcome> {
        for (control, sampler) in &self.samplers {
            control.stop(sampler.thread());
        }
        let join = |(_, sampler): (_, JoinHandle<Report>)| sampler.join().unwrap_or_default();
        let reports = self.samplers.into_iter().map(join).collect();
        self.draining.store(true, Ordering::Release);
        let deadline = Instant::now() + patience;
        while !self.sink.is_finished() && Instant::now() < deadline {
            self.sink.thread().unpark();
            std::thread::sleep(Duration::from_millis(1));
        }
        let flushed = self.sink.is_finished();
        let mut reader_gone = false;
        if flushed {
            // A panic ends the program, so there is always a result.
            reader_gone = self.sink.join().unwrap_or(Ok(Ending::Drained))? == Ending::ReaderGone;
        }
        let rows = self.rows.load(Ordering::Relaxed);
        Ok(Outcome { reports, flushed, reader_gone, rows })
    }
}
