//! The wiring: one sampling thread per input, one sink thread for all, and how they end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::confine::{Needs, confine};
use crate::event_wiring::{Attached, Together};
use crate::handoff::Control;
use crate::kernel;
use crate::logging::INPUT_TARGET;
use crate::loss::Loss;
use crate::rows::RowBuilder;
use crate::sampler::{Report, Sampler, Trigger};
use crate::settings::{Confine, Input, Roots, Source};
use crate::sink::{Destination, Ending, Lane, Sink};
use crate::source::cpu_mask;
use crate::source::reader::{Reader, settled};
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

impl Pipeline {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system's error when a thread cannot be started, or why the event source cannot be
    /// attached, or the process confined, where it must.
    pub fn start(mut inputs: Vec<Input>, plan: Plan) -> io::Result<Self> {
        let places: Vec<Place> =
            inputs.iter().map(|input| Place::resolve(&plan.roots, input.netns.as_ref())).collect();
        for (input, place) in inputs.iter_mut().zip(&places) {
            // Telegraf's numbers are those of procfs's columns.
            let compat = input.compat_telegraf;
            input.source = if compat { Source::Procfs } else { settled(input.source, place) };
        }
        let events = Attached::new(&inputs, &places)?;
        let (probes, blind) = (events.may_attach(), events.is_blind());
        let rewrites = plan.destination.rewrites();
        let mut needs = Needs::new(&inputs, &places, probes, blind, rewrites);
        needs.listener = plan.destination.is_served();
        confine(plan.confine, &needs).map_err(io::Error::other)?;
        let together = Arc::new(Together::new(&inputs));
        let draining = Arc::new(AtomicBool::new(false));
        let (lanes_in, lanes_out) = std::sync::mpsc::channel::<Vec<Lane>>();
        let (destination, count, on_end) = (plan.destination, plan.count, plan.on_end);
        let ends_with_inputs = plan.ends_with_inputs;
        let rows = Arc::new(AtomicU64::new(0));
        let (sink_draining, sink_rows) = (Arc::clone(&draining), Arc::clone(&rows));
        let sink = std::thread::Builder::new().name("sink".into()).spawn(move || {
            // The samplers wake this thread by its handle, so it is there before its lanes.
            let Ok(lanes) = lanes_out.recv() else { return Ok(Ending::Drained) };
            let (draining, rows) = (sink_draining, sink_rows);
            Sink { lanes, destination, count, ends_with_inputs, draining, rows, on_end }.run()
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
            let events = events.source_of(&input, &place, &cpus, &together)?;
            let reader = Reader::new(place, candidates, input.source);
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
            lanes.push(Lane {
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
