//! `ctpulse run`: stream until interrupted, for a person, a file or a pipe.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::hang_up;
use super::reload::Configuration;
use super::stream::{
    FIFO_POLL, RunEvent, Turn, attend, finish, halt, is_ignored, on_signal, once_written,
    run_events,
};
use crate::cli::RunArgs;
use crate::format::{Csv, EncoderOptions, Format, encoder};
use crate::logging;
use crate::output::text::{NoReader, Target, Text};
use crate::output::{Destination, suffix};
use crate::pipeline::{Pipeline, Plan};
use crate::recording::{Rotation, is_compressed};
use crate::sampling::{SamplingReport, Trigger};
use crate::schema::labelled::ENTRIES_BY_STATE;
use crate::scrape::{Published, Server};
use crate::settings::{Confine, Ebpf, Settings};
use crate::source::namespace::HeldProcesses;
use crate::text::colour;

/// The default of `--interval` with `--listen`: the usual time between two scrapes.
const SCRAPED_INTERVAL: Duration = Duration::from_secs(15);

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    // Before this process opens descriptors itself: the output may be the number of one.
    let target = Target::resolve(args.output.as_deref())?;
    let streamed = super::runtime()?.block_on(stream(args, &target))?;
    if streamed.complete && streamed.rows == 0 && is_bounded(args) {
        let why = match streamed.has_read {
            true => "the filters left no row".to_owned(),
            false => {
                let netns = args.collect.sample.source.netns.first();
                let netns = netns.map_or(String::new(), |netns| format!(" --netns {netns}"));
                format!("nothing could be read (`ctpulse doctor{netns}` has the reason)")
            }
        };
        bail!("nothing was written: {why}");
    }
    let code = finish(&streamed.reports, args.stats);
    // An input that ended by itself has fewer rows than requested, and has logged the reason.
    let is_cut_short = streamed.reports.iter().any(|report| report.has_ended);
    Ok(if is_cut_short || streamed.is_stuck { ExitCode::FAILURE } else { code })
}

/// From the arguments to the end of the run.
async fn stream(args: &RunArgs, target: &Target) -> anyhow::Result<Streamed> {
    let (to, mut from) = run_events();
    // First of all: until then these signals are held back.
    wait_for_hang_up(&to)?;
    let is_init = super::is_init();
    if is_init {
        wait_for_end(args, &to)?;
    }
    hang_up::release();
    let terminal = target.is_terminal();
    let format = args.format.unwrap_or(if terminal { Format::Table } else { Format::Influx });
    let configuration = Configuration::of(&args.collect);
    let ControlFlow::Continue(fifo) = once_written(configuration.path(), &mut from).await? else {
        return Ok(Streamed::default());
    };
    let (settings, warnings) = settings(args, format)?;
    drop(fifo);
    if !is_init {
        // Only now: reading the configuration may take long, and the default action ends that.
        wait_for_end(args, &to)?;
    }
    logging::start(logging::LogReader::Person, settings.log_level);
    logging::warn_briefly(&warnings);
    let name = args.output.as_deref().filter(|_| !target.is_terminal());
    if let Some(warning) = name.and_then(|name| suffix::warning(name, args.format)) {
        log::warn!("{warning}");
    }
    if format == Format::Table && settings.inputs.iter().any(|it| it.composition.is_some()) {
        log::warn!("the table has no rows {}; write another --format", ENTRIES_BY_STATE.name);
    }
    if args.once && args.collect.sample.ebpf == Some(Ebpf::On) {
        return Err(super::UsageError(
            "--ebpf on and --once: probes count from when they are attached, and one reading \
             would show 0"
                .to_owned(),
        )
        .into());
    }
    super::become_user(&settings)?;
    let is_written = settings.listen.is_none() || args.format.is_some() || args.output.is_some();
    let mut text = None;
    if is_written {
        let open = || self::text(args, target, format, &settings);
        text = once_read(open, &to, &mut from).await?;
        if text.is_none() && is_bounded(args) {
            bail!("nothing was written: no process opened the output for reading");
        } else if text.is_none() {
            return Ok(Streamed::default());
        }
    }
    let destination = destination(&settings, text)?;
    Run { args, format, to, configuration }.stream(settings, destination, from).await
}

/// Returns the destination of the rows: the text output, the server for scrapes, or both.
fn destination(settings: &Settings, text: Option<Text>) -> anyhow::Result<Box<dyn Destination>> {
    let Some(address) = settings.listen else { return Ok(Box::new(text)) };
    let server = Server::bind(address)?;
    log::info!("listening on http://{}/metrics", server.address());
    let (published, latest) = Published::new(&settings.inputs, text);
    tokio::spawn(server.serve(latest));
    Ok(Box::new(published))
}

/// Opens the output, of a FIFO once it has a reader; `None` where the run ends before.
async fn once_read(
    open: impl Fn() -> anyhow::Result<Text>,
    to: &UnboundedSender<RunEvent>,
    from: &mut UnboundedReceiver<RunEvent>,
) -> anyhow::Result<Option<Text>> {
    let (mut is_reported, mut hung_up) = (false, false);
    loop {
        match open() {
            Err(error) if error.is::<NoReader>() => {
                if !std::mem::replace(&mut is_reported, true) {
                    log::info!("waiting for a reader: {error}");
                }
            }
            opened => {
                if hung_up {
                    // The pipeline acts on it once it has started.
                    let _ = to.send(RunEvent::HangUp);
                }
                return opened.map(Some);
            }
        }
        match tokio::time::timeout(FIFO_POLL, from.recv()).await {
            Err(_) | Ok(Some(RunEvent::Gather)) => {}
            Ok(Some(RunEvent::HangUp)) => (hung_up, is_reported) = (true, false),
            Ok(Some(RunEvent::End) | None) => return Ok(None),
        }
    }
}

/// Whether the run ends by itself, so that it must have written something.
fn is_bounded(args: &RunArgs) -> bool {
    args.once || args.count.is_some() || args.duration.is_some()
}

/// A run, which goes on with other settings after SIGHUP.
struct Run<'a> {
    args: &'a RunArgs,
    format: Format,
    to: UnboundedSender<RunEvent>,
    configuration: Configuration,
}

/// The result of a run.
#[derive(Default)]
struct Streamed {
    reports: Vec<SamplingReport>,
    /// Rows of conntrack with a value that were written.
    rows: u64,
    /// Whether a value was read.
    has_read: bool,
    /// Whether everything was written.
    complete: bool,
    /// Whether rows were lost at the end, since the reader of the output did not read.
    is_stuck: bool,
}

impl Run<'_> {
    async fn stream(
        mut self,
        mut settings: Settings,
        mut destination: Box<dyn Destination>,
        mut from: UnboundedReceiver<RunEvent>,
    ) -> anyhow::Result<Streamed> {
        let mut streamed = Streamed::default();
        let mut left = if self.args.once { Some(1) } else { self.args.count };
        // A single read ends before it could be misused.
        let mut confine = match settings.confine {
            Confine::Auto if self.args.once => Confine::Off,
            confine => confine,
        };
        let (mut confined, mut processes) = (None, HeldProcesses::default());
        // The settings before a reload, until the new ones are in use.
        let mut before = None;
        loop {
            let end = self.to.clone();
            let kept = confined.clone();
            let plan = Plan {
                roots: settings.roots.clone(),
                trigger: Trigger::Interval,
                log_level: settings.log_level,
                destination,
                count: left,
                ends_with_inputs: true,
                confine,
                confined,
                processes: processes.clone(),
                config: self.configuration.path().map(ToOwned::to_owned),
                on_end: Box::new(move || _ = end.send(RunEvent::End)),
            };
            let pipeline = match (Pipeline::start(settings.inputs.clone(), plan), before.take()) {
                (Ok(pipeline), None) => pipeline,
                (Ok(pipeline), Some(_)) => {
                    self.configuration.accept();
                    pipeline
                }
                (Err(failure), None) => return Err(failure.error).context("cannot start"),
                (Err(failure), Some(old)) => {
                    self.configuration.refuse(&failure.error.into());
                    (destination, settings, confined) = (failure.destination, old, kept);
                    continue;
                }
            };
            let new = self.attend(&pipeline, &settings, &mut from).await;
            // Threads are there from now on.
            (confined, confine) = (pipeline.confined.clone(), Confine::Off);
            processes = pipeline.processes.clone();
            let outcome = halt(pipeline)?;
            streamed.reports.extend(outcome.reports);
            streamed.rows += outcome.rows;
            streamed.has_read |= outcome.has_read;
            streamed.complete = outcome.flushed && !outcome.reader_gone;
            streamed.is_stuck = !outcome.flushed;
            left = left.map(|left| left.saturating_sub(outcome.written));
            let new = new.filter(|_| streamed.complete || outcome.destination.is_none());
            let Some(new) = new.filter(|_| left != Some(0)) else {
                outcome.destination.map_or(Ok(()), |mut destination| destination.finish())?;
                return Ok(streamed);
            };
            let Some(same) = outcome.destination else {
                bail!("the output is stuck, and the new configuration cannot write to it");
            };
            before = Some(std::mem::replace(&mut settings, new));
            destination = same;
        }
    }

    /// Waits for the end of the run, which gives no settings, or for a configuration that a new
    /// pipeline can follow.
    async fn attend(
        &mut self,
        pipeline: &Pipeline,
        settings: &Settings,
        from: &mut UnboundedReceiver<RunEvent>,
    ) -> Option<Settings> {
        while attend(Some(pipeline), from).await == Turn::HangUp {
            pipeline.reopen();
            if self.configuration.path().is_none() {
                log::info!("there is no configuration to read again (--config)");
            }
            let load = || self::settings(self.args, self.format);
            let new = self.configuration.reload(load, settings, pipeline);
            if new.is_some() {
                return new;
            }
        }
        None
    }
}

/// Lets SIGHUP reload the files. SIGHUP stays ignored where it was ignored.
fn wait_for_hang_up(to: &UnboundedSender<RunEvent>) -> anyhow::Result<()> {
    if is_ignored(SignalKind::hangup()) {
        return Ok(());
    }
    on_signal(SignalKind::hangup(), to, || RunEvent::HangUp)
}

/// Lets signals and the duration end the run. SIGINT stays ignored where it was ignored.
fn wait_for_end(args: &RunArgs, to: &UnboundedSender<RunEvent>) -> anyhow::Result<()> {
    on_signal(SignalKind::terminate(), to, || RunEvent::End)?;
    if !is_ignored(SignalKind::interrupt()) {
        on_signal(SignalKind::interrupt(), to, || RunEvent::End)?;
    }
    if let Some(duration) = args.duration {
        let to = to.clone();
        tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            let _ = to.send(RunEvent::End);
        });
    }
    Ok(())
}

/// The settings that the command line and the configuration make.
fn settings(args: &RunArgs, format: Format) -> anyhow::Result<(Settings, Vec<String>)> {
    let unless_told = args.listen.map_or(super::WATCHING_INTERVAL, |_| SCRAPED_INTERVAL);
    let (mut settings, warnings) = super::settings_each(unless_told, &args.collect, false)?;
    settings.listen = args.listen.or(settings.listen).filter(|_| !args.once);
    super::tag_globally(&mut settings, true);
    for input in &mut settings.inputs {
        if args.once {
            // Probes count from when they are attached; one reading would show 0.
            input.ebpf = Ebpf::Off;
        }
        // Rates of CPUs are more useful in a table than their counters since boot.
        input.percpu_rates |= format == Format::Table;
    }
    Ok((settings, warnings))
}

/// The text output.
fn text(
    args: &RunArgs,
    target: &Target,
    format: Format,
    settings: &Settings,
) -> anyhow::Result<Text> {
    let options = EncoderOptions {
        colour: target.is_terminal() && colour::is_permitted(),
        totals: args.once,
        subsecond: settings.inputs.iter().any(|i| i.interval.subsec_nanos() != 0),
    };
    let (output, header) = target.open(format, rotation(args, format)?)?;
    let under = header.and_then(|header| Csv::under(&header));
    let encoder = under.map_or_else(|| encoder(format, options), |csv| Box::new(csv));
    Ok(Text::new(encoder, output))
}

/// `--rotate` and `--keep`, where they can be followed.
fn rotation(args: &RunArgs, format: Format) -> anyhow::Result<Option<Rotation>> {
    let compressed = args.output.as_deref().is_some_and(is_compressed);
    // Whether `report` reads the format.
    let is_recorded = matches!(format, Format::Influx | Format::Json);
    if !is_recorded && (compressed || args.rotate.is_some()) {
        let what = "a recording (FILE.zst, --rotate) is line protocol or JSON";
        return Err(super::UsageError(format!("{what}: --format influx or json")).into());
    }
    Ok(args.rotate.map(|size| Rotation { size, keep: args.keep }))
}
