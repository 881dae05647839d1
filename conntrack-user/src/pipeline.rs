//! The wiring: one sampling thread per input, one sink thread for all, and how they end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::thread::CapabilitySet;

use crate::accumulate::loss::Loss;
use crate::confine::{Needs, capabilities, confine};
use crate::logging::INPUT_TARGET;
use crate::notices::StartNotice;
use crate::output::{Destination, Ended, Ending, InputState, Sink};
use crate::rows::RowBuilder;
use crate::sampling::channel::Control;
use crate::sampling::{Sampler, SamplingReport, Trigger};
use crate::schema::maintained;
use crate::settings::{Confine, Input, Roots, Source};
use crate::source::cpu_mask;
use crate::source::ebpf::sharing::{Attached, SharedProbes};
use crate::source::mounts;
use crate::source::namespace::HeldProcesses;
use crate::source::reader::{Reader, lacks_table_files, settled};
use crate::source::roots::Place;

/// What a run needs besides its inputs.
pub struct Plan {
    /// Where the kernel's files are.
    pub roots: Roots,
    /// The lowest level that inputs without one of their own log.
    pub log_level: log::LevelFilter,
    /// Where emissions come from.
    pub trigger: Trigger,
    /// Where the rows go.
    pub destination: Box<dyn Destination>,
    /// Emissions to write per input; `None` for no end.
    pub count: Option<u64>,
    /// Whether the run ends when every input has ended by itself.
    pub ends_with_inputs: bool,
    /// Whether what is not needed any more is given up before the threads start; there must be
    /// no other threads then.
    pub confine: Confine,
    /// What was kept when an earlier pipeline of this process confined it.
    pub confined: Option<Needs>,
    /// The processes that an earlier pipeline of this process sampled by number.
    pub processes: HeldProcesses,
    /// The configuration, which is read again.
    pub config: Option<PathBuf>,
    /// Called by the sink's thread when the run has come to its end.
    pub on_end: Box<dyn Fn() + Send>,
}

/// A running set of threads.
pub struct Pipeline {
    samplers: Vec<(Arc<Control>, JoinHandle<SamplingReport>)>,
    sink: JoinHandle<io::Result<Ended>>,
    draining: Arc<AtomicBool>,
    reopening: Arc<AtomicBool>,
    rows: Arc<AtomicU64>,
    /// What this process kept, if it is confined.
    pub confined: Option<Needs>,
    /// The processes that are sampled by number.
    pub processes: HeldProcesses,
}

/// How a run ended.
pub struct Outcome {
    /// One per input.
    pub reports: Vec<SamplingReport>,
    /// Whether everything that was handed over was written, as far as somebody read it.
    pub flushed: bool,
    /// Whether whoever read the output has gone.
    pub reader_gone: bool,
    /// Rows of conntrack with a value that were written.
    pub rows: u64,
    /// Emissions that were written of each input.
    pub written: u64,
    /// What took the rows; `None` where it is stuck.
    pub destination: Option<Box<dyn Destination>>,
}

impl Pipeline {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system's error when a thread cannot be started, or why the event source cannot be
    /// attached, or the process confined, where it must.
    pub fn start(mut inputs: Vec<Input>, plan: Plan) -> io::Result<Self> {
        let mut places: Vec<Place> =
            inputs.iter().map(|input| Place::resolve(&plan.roots, input.netns.as_ref())).collect();
        let mut processes = plan.processes;
        processes.replace(places.iter_mut().filter_map(|place| place.process.as_mut()));
        for (input, place) in inputs.iter_mut().zip(&places) {
            // Telegraf's numbers are those of procfs's columns.
            let compat = input.compat_telegraf;
            input.source = if compat { Source::Procfs } else { settled(input.source, place) };
        }
        if let Some(root) = plan.roots.proc_root.as_deref().filter(|root| is_own_procfs(root)) {
            let notice = StartNotice::OwnProcfs(root);
            log::log!(notice.level(), "{notice}");
        }
        let events = Attached::new(&inputs, &places)?;
        let (probes, blind) = (events.may_attach(), events.is_blind());
        let rewrites = plan.destination.rewrites();
        let mut needs = Needs::new(&inputs, &places, probes, blind, rewrites);
        let asks_for_table = asks_for_table(&inputs, &places, plan.confined.as_ref());
        needs.netlink |= asks_for_table.contains(&true);
        needs.listener = plan.destination.is_served();
        if let Some(directory) = plan.config.as_deref().and_then(Path::parent) {
            // An editor replaces the file, so the directory is what counts.
            let here = directory.as_os_str().is_empty();
            needs.files.push(if here { ".".into() } else { directory.to_owned() });
        }
        let confined = match plan.confined {
            Some(kept) => Some(kept),
            None => confine(plan.confine, &needs).map_err(io::Error::other)?.then_some(needs),
        };
        let together = Arc::new(SharedProbes::new(&inputs, &places));
        let draining = Arc::new(AtomicBool::new(false));
        let (lanes_in, lanes_out) = std::sync::mpsc::channel::<Vec<InputState>>();
        let (mut destination, count, on_end) = (plan.destination, plan.count, plan.on_end);
        let ends_with_inputs = plan.ends_with_inputs;
        destination.begin(&inputs);
        let reopening = Arc::new(AtomicBool::new(false));
        let sink_reopening = Arc::clone(&reopening);
        let rows = Arc::new(AtomicU64::new(0));
        let (sink_draining, sink_rows) = (Arc::clone(&draining), Arc::clone(&rows));
        let sink = std::thread::Builder::new().name("sink".into()).spawn(move || {
            // The samplers wake this thread by its handle, so it is there before its lanes.
            let Ok(lanes) = lanes_out.recv() else {
                return Ok(Ended { ending: Ending::Drained, written: 0, destination });
            };
            let (draining, reopening, rows) = (sink_draining, sink_reopening, sink_rows);
            Sink { lanes, destination, count, ends_with_inputs, draining, reopening, rows, on_end }
                .run()
        })?;
        let (mut lanes, mut samplers) = (Vec::new(), Vec::new());
        let placed = inputs.into_iter().zip(places).zip(asks_for_table);
        for (number, ((input, place), asks)) in placed.enumerate() {
            let cpus = cpu_mask::read(&place.sys_root).unwrap_or_else(|error| {
                let path = place.sys_root.join(cpu_mask::POSSIBLE);
                let notice = StartNotice::NoCpuNumbers(&path);
                log::log!(notice.level(), "{notice}");
                log::debug!("{error}");
                Vec::new()
            });
            let release = maintained::read_release(&place.osrelease());
            let candidates = place.sysctl_candidates(&input);
            let keys: Vec<String> = candidates.iter().map(|(key, _)| key.clone()).collect();
            let events = events.source_of(number, &input, &cpus, &together)?;
            let mut reader = Reader::new(place, candidates, input.source);
            if asks {
                reader.ask_for_table();
            }
            let control = Arc::new(Control::default());
            let (sampler, outbox) = Sampler::new(
                input.clone(),
                plan.trigger,
                reader,
                events,
                cpus.len(),
                Arc::clone(&control),
                sink.thread().clone(),
            );
            let name = input.name();
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
            lanes.push(InputState {
                name,
                log_level: level,
                outbox,
                filter: input.filter.clone(),
                rows: RowBuilder::new(input, cpus, release, keys),
                rows_waiting: None,
                told_loss: Loss::default(),
                not_written: 0,
                written: 0,
                has_ended: false,
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
        Ok(Self { samplers, sink, draining, reopening, rows, confined, processes })
    }

    /// Asks every input for one emission now.
    pub fn gather(&self) {
        for (control, sampler) in &self.samplers {
            control.gather(sampler.thread());
        }
    }

    /// Has the output looked for anew, by its name.
    pub fn reopen(&self) {
        self.reopening.store(true, Ordering::Release);
        self.sink.thread().unpark();
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
        let join =
            |(_, sampler): (_, JoinHandle<SamplingReport>)| sampler.join().unwrap_or_default();
        let reports = self.samplers.into_iter().map(join).collect();
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
        Ok(Outcome { reports, flushed, reader_gone, rows, written, destination })
    }
}

/// For each input whether ctnetlink is asked for the table's count and limit, which no sysctl file
/// has; a warning where it may not be. `kept` is what this process kept when it was confined.
fn asks_for_table(inputs: &[Input], places: &[Place], kept: Option<&Needs>) -> Vec<bool> {
    let held = capabilities::held().unwrap_or(CapabilitySet::empty());
    let may_ask = held.contains(CapabilitySet::NET_ADMIN) && kept.is_none_or(|kept| kept.netlink);
    let mut lacking = false;
    let asks = inputs.iter().zip(places).map(|(input, place)| {
        let lacks =
            !input.compat_telegraf && lacks_table_files(place, &place.sysctl_candidates(input));
        let reader = Reader::new(place.clone(), Vec::new(), input.source);
        let asks = lacks && may_ask && reader.is_netlink_loaded();
        lacking |= lacks && !asks;
        asks
    });
    let asks = asks.collect();
    if lacking {
        log::log!(StartNotice::NoLimit.level(), "{}", StartNotice::NoLimit);
    }
    asks
}

/// Whether `root` is procfs and shows another network namespace than that of its process 1: its
/// `net` is that of whoever reads it.
fn is_own_procfs(root: &Path) -> bool {
    let namespace = |path: &Path| std::fs::read_link(path).ok();
    let own = namespace("/proc/self/ns/net".as_ref());
    let first = namespace(&root.join("1/ns/net"));
    mounts::is_procfs(root)
        && (first.is_none() && root != Path::new("/proc") || first != own && first.is_some())
}
