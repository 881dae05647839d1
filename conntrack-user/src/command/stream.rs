//! The parts that `run` and `execd` share: a pipeline, its events and its end.

use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use rustix::event::Timespec;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::reload::is_pipe;
use crate::config::{has_writer, open_at_once};
use crate::pipeline::{Outcome, Pipeline, Plan};
use crate::sampling::SamplingReport;
use crate::settings::{Input, Settings};

/// How long an end waits for a consumer that does not read. Telegraf waits 5 s before it
/// sends SIGTERM and as long again before SIGKILL; a service manager's patience is longer.
pub(super) const PATIENCE: Duration = Duration::from_millis(700);

/// How often a FIFO is tried that no process has at its other end.
pub(super) const FIFO_POLL: Duration = Duration::from_millis(50);

/// An event while a stream runs.
#[derive(Debug)]
pub(super) enum RunEvent {
    /// One emission is asked for.
    Gather,
    /// SIGHUP: the terminal hung up, or the output is opened and the configuration read again.
    HangUp,
    /// The run has come to its end: by itself, by a signal, or because standard input was closed.
    End,
}

/// The reason for which a stream ends or is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Its end.
    End,
    /// [`RunEvent::HangUp`].
    HangUp,
}

/// The exit code of a program that a signal ended, as shells have it; SIGHUP is 1.
pub(super) const HUNG_UP: u8 = 128 + 1;

/// Sends `happening` whenever the signal `kind` arrives.
///
/// Must be called inside the runtime, before anything that the signal should not kill.
pub(super) fn on_signal(
    kind: SignalKind,
    to: &UnboundedSender<RunEvent>,
    happening: fn() -> RunEvent,
) -> anyhow::Result<()> {
    let mut signals = signal(kind).context("cannot wait for signals")?;
    let to = to.clone();
    tokio::spawn(
        async move { while signals.recv().await.is_some() && to.send(happening()).is_ok() {} },
    );
    Ok(())
}

/// The channel on which everything arrives that can happen.
pub(super) fn run_events() -> (UnboundedSender<RunEvent>, UnboundedReceiver<RunEvent>) {
    unbounded_channel()
}

/// Waits as process 1 until a configuration that is a FIFO was written to: open(2) and read(2) would let
/// no signal end the process. Breaks where something ends it before. The FIFO is to stay open until it is
/// read, so that what was written stays in it.
pub(super) async fn once_written(
    configuration: Option<&Path>,
    events: &mut UnboundedReceiver<RunEvent>,
) -> anyhow::Result<ControlFlow<(), Option<File>>> {
    let Some(path) = configuration.filter(|path| super::is_init() && is_pipe(path)) else {
        return Ok(ControlFlow::Continue(None));
    };
    let fifo = open_at_once(path).context("cannot read the configuration")?;
    // Any other file is readable at once.
    while !has_writer(&fifo, Some(&Timespec::default()))? {
        let waited = tokio::time::timeout(FIFO_POLL, events.recv()).await;
        if matches!(waited, Ok(Some(RunEvent::End) | None)) {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(Some(fifo)))
}

/// Runs a pipeline until something ends it.
///
/// # Errors
/// When it cannot start, or its output cannot be written.
pub(super) async fn stream(
    settings: Settings,
    plan: Plan,
    mut events: UnboundedReceiver<RunEvent>,
) -> anyhow::Result<Outcome> {
    let pipeline = start(settings.inputs, plan)?;
    attend(Some(&pipeline), &mut events).await;
    stop(pipeline)
}

/// Starts a pipeline.
///
/// # Errors
/// See [`Pipeline::start`].
pub(super) fn start(inputs: Vec<Input>, plan: Plan) -> anyhow::Result<Pipeline> {
    Pipeline::start(inputs, plan).map_err(io::Error::from).context("cannot start")
}

/// Does what happens until the end or a hang-up; without a pipeline there is only that to wait for.
pub(super) async fn attend(
    pipeline: Option<&Pipeline>,
    events: &mut UnboundedReceiver<RunEvent>,
) -> Turn {
    loop {
        match events.recv().await {
            Some(RunEvent::Gather) => pipeline.iter().for_each(|pipeline| pipeline.gather()),
            Some(RunEvent::HangUp) => return Turn::HangUp,
            Some(RunEvent::End) | None => return Turn::End,
        }
    }
}

/// Ends a pipeline, and waits a while for the reader of the output.
///
/// # Errors
/// When the output cannot be written.
pub(super) fn stop(pipeline: Pipeline) -> anyhow::Result<Outcome> {
    let mut outcome = halt(pipeline)?;
    outcome.destination.iter_mut().try_for_each(|destination| destination.finish())?;
    Ok(outcome)
}

/// The same for an output to which another pipeline writes next.
///
/// # Errors
/// When the output cannot be written.
pub(super) fn halt(pipeline: Pipeline) -> anyhow::Result<Outcome> {
    let outcome = pipeline.stop(PATIENCE)?;
    if !outcome.flushed {
        log::warn!("the output is stuck; what was not written is lost");
    }
    Ok(outcome)
}

/// Whether this process was started with the signal ignored, as `nohup` does with SIGHUP and a
/// shell with SIGINT for a job in the background: then it stays ignored.
pub(super) fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

/// The exit code of a finished stream.
pub(super) fn finish(reports: &[SamplingReport], stats: bool) -> ExitCode {
    if stats {
        for report in reports {
            let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
            // If standard error is closed, the line is lost.
            let _ = writeln!(
                io::stderr(),
                "ticks={} missed={} rows_lost={} lateness_p50_us={:.1} lateness_p99_us={:.1} \
                 lateness_max_us={:.1}",
                report.ticks,
                report.loss.samples_missed,
                report.loss.rows_lost,
                micros(report.lateness.quantile(0.5)),
                micros(report.lateness.quantile(0.99)),
                micros(report.lateness.max()),
            );
        }
    }
    ExitCode::SUCCESS
}
