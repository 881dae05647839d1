//! What `run` and `execd` share: a pipeline, what it says while it runs, and its end.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::output::Output;
use crate::pipeline::{Outcome, Pipeline, Plan};
use crate::settings::Settings;

/// How long an end waits for a consumer that does not read. Telegraf waits 5 s before it
/// sends SIGTERM and as long again before SIGKILL; a service manager's patience is longer.
pub(super) const PATIENCE: Duration = Duration::from_millis(700);

/// What happens while a stream runs.
#[derive(Debug)]
pub(super) enum Happening {
    /// One emission is asked for.
    Gather,
    /// The run has come to its end: by itself, by a signal, or because standard input was closed.
    End,
}

/// Standard output as an unbuffered descriptor of its own.
pub(super) fn standard_output() -> anyhow::Result<Output> {
    let duplicate = io::stdout().as_fd().try_clone_to_owned();
    let file = std::fs::File::from(duplicate.context("cannot write to standard output")?);
    Ok(Output::new("standard output", file))
}

/// Sends `happening` whenever the signal `kind` arrives.
///
/// Must be called inside the runtime, before anything that the signal should not kill.
pub(super) fn on_signal(
    kind: SignalKind,
    to: &UnboundedSender<Happening>,
    happening: fn() -> Happening,
) -> anyhow::Result<()> {
    let mut signals = signal(kind).context("cannot wait for signals")?;
    let to = to.clone();
    tokio::spawn(
        async move { while signals.recv().await.is_some() && to.send(happening()).is_ok() {} },
    );
    Ok(())
}

/// The channel on which everything arrives that can happen.
pub(super) fn happenings() -> (UnboundedSender<Happening>, UnboundedReceiver<Happening>) {
    unbounded_channel()
}

/// Runs a pipeline until something ends it.
///
/// # Errors
/// When it cannot start, or its output cannot be written.
pub(super) async fn stream(
    settings: Settings,
    plan: Plan,
    happenings: UnboundedReceiver<Happening>,
) -> anyhow::Result<Outcome> {
    let pipeline = Pipeline::start(settings.inputs, plan).context("cannot start")?;
    attend(Some(&pipeline), happenings).await;
    stop(pipeline)
}

/// Does what happens until the end; without a pipeline there is only that to wait for.
pub(super) async fn attend(
    pipeline: Option<&Pipeline>,
    mut happenings: UnboundedReceiver<Happening>,
) {
    while let Some(Happening::Gather) = happenings.recv().await {
        if let Some(pipeline) = pipeline {
            pipeline.gather();
        }
    }
}

/// Ends a pipeline, with patience for whoever reads the output.
///
/// # Errors
/// When the output cannot be written.
pub(super) fn stop(pipeline: Pipeline) -> anyhow::Result<Outcome> {
    let outcome = pipeline.stop(PATIENCE)?;
    if !outcome.flushed {
        log::warn!("the output is stuck; what was not written is lost");
    }
    Ok(outcome)
}

/// The exit code of a finished stream.
pub(super) fn finish(outcome: &Outcome, stats: bool) -> ExitCode {
    if stats {
        for report in &outcome.reports {
            let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
            eprintln!(
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
