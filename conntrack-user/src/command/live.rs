//! `ctpulse live`: the dashboard, wired to the samplers.
//!
//! The sink's thread hands rows to the UI's; `screen` has the rest of the threads.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::screen;
use super::stream::{HUNG_UP, RunEvent, Turn, attend, run_events, start, stop};
use crate::cli::{CollectArgs, LiveArgs};
use crate::live::app::App;
use crate::live::feed::{Batch, Feed, LiveFeed, ToScreen};
use crate::live::load::Recorded;
use crate::live::replay::ReplayFeed;
use crate::live::view::{LiveView, ends};
use crate::logging;
use crate::metric::filter::Filter;
use crate::pipeline::{Pipeline, Plan};
use crate::sampling::Trigger;
use crate::settings::{Collect, Confine, DEFAULT_DIRS, DEFAULT_FILES, Settings};
use crate::source::namespace::HeldProcesses;
use crate::tui::terminal;
use crate::tui::ui::{Event, MOST_EVENTS};

/// `--interval` where it is not given.
const INTERVAL: Duration = Duration::from_millis(500);

/// When it is said that a recording is still being read.
const LONG_READ: Duration = Duration::from_secs(1);

pub(super) fn run(args: &LiveArgs) -> anyhow::Result<ExitCode> {
    terminal::check(&io::stdout(), std::env::var_os("TERM").as_deref())?;
    let (settings, warnings) = settings(args)?;
    let (to_ui, events) = sync_channel(MOST_EVENTS);
    screen::start_log(settings.log_level, &to_ui);
    logging::warn_briefly(&warnings);

    let (ended, said, turn) = super::runtime()?.block_on(async {
        let (to, mut from) = run_events();
        screen::wait_for_signals(&to, &to_ui)?;
        super::hang_up::release();
        let (pipeline, feed): (Option<Pipeline>, Box<dyn Feed>) = match &args.replay {
            Some(path) => match replay(path, args.speed.unwrap_or(1.0), &mut from).await? {
                ControlFlow::Continue(feed) => (None, Box::new(feed)),
                ControlFlow::Break(turn) => return Ok((Ok(None), Ok(Vec::new()), turn)),
            },
            None => {
                let interval = args.sample.interval.unwrap_or(INTERVAL);
                let (pipeline, feed) = sample(settings, interval, &to, &to_ui)?;
                (Some(pipeline), Box::new(feed))
            }
        };
        let app = App::new(screen::theme(args.ascii), args.replay.is_some());
        let ui = screen::start(LiveView { app, feed }, events, (&to, &to_ui), ends)?;
        let turn = attend(pipeline.as_ref(), &mut from).await;
        let said = screen::end(ui, &to_ui);
        anyhow::Ok((pipeline.map(stop).transpose(), said, turn))
    })?;
    screen::repeat(&said?);
    ended?;
    Ok(if turn == Turn::HangUp { ExitCode::from(HUNG_UP) } else { ExitCode::SUCCESS })
}

/// Starts the samplers, whose rows go to the UI, and the feed that asks them.
fn sample(
    settings: Settings,
    interval: Duration,
    to: &UnboundedSender<RunEvent>,
    to_ui: &SyncSender<Event<Batch>>,
) -> anyhow::Result<(Pipeline, LiveFeed)> {
    let slowest = settings.inputs.iter().map(|input| input.sample_interval).max();
    let slowest = slowest.unwrap_or(interval);
    let (rows, ask, end) = (to_ui.clone(), to.clone(), to.clone());
    let plan = Plan {
        roots: settings.roots,
        log_level: settings.log_level,
        trigger: Trigger::Asked,
        destination: Box::new(ToScreen {
            send: move |batch: Batch| rows.send(Event::News(batch)).is_ok(),
        }),
        count: None,
        ends_with_inputs: false,
        confine: Confine::Off,
        confined: None,
        processes: HeldProcesses::default(),
        config: None,
        on_end: Box::new(move || _ = end.send(RunEvent::End)),
    };
    let pipeline = start(settings.inputs, plan)?;
    let ask = move || _ = ask.send(RunEvent::Gather);
    Ok((pipeline, LiveFeed::new(interval.max(slowest), slowest, ask)))
}

/// Reads the beginning of a recording on a thread of its own: a pipe may never give one, and an event may
/// end the wait. The terminal is not entered yet, so that Ctrl-C is a signal.
async fn replay(
    path: &Path,
    speed: f64,
    from: &mut UnboundedReceiver<RunEvent>,
) -> anyhow::Result<ControlFlow<Turn, ReplayFeed>> {
    let (read, mut begun) = tokio::sync::oneshot::channel();
    let recording = path.to_owned();
    std::thread::Builder::new().name("recording".into()).spawn(move || {
        let _ = read.send(ReplayFeed::new(Box::new(Recorded::new(&recording)), speed));
    })?;
    let long = tokio::time::sleep(LONG_READ);
    tokio::pin!(long);
    loop {
        tokio::select! {
            feed = &mut begun => {
                let feed = feed.map_err(|_| anyhow!("the thread that reads it has ended"));
                let feed = feed.and_then(|feed| Ok(feed?));
                let shown = || format!("cannot show {}", path.display());
                return feed.map(ControlFlow::Continue).with_context(shown);
            }
            turn = attend(None, from) => return Ok(ControlFlow::Break(turn)),
            () = &mut long, if !long.is_elapsed() => {
                log::info!("reading {}; Ctrl-C ends", path.display());
            }
        }
    }
}

/// The settings of `run`, with all that the screen shows and nothing that would change it.
fn settings(args: &LiveArgs) -> anyhow::Result<(Settings, Vec<String>)> {
    let collect = CollectArgs {
        sample: args.sample.clone(),
        collect: Some(Collect { all: true, percpu: true }),
        percpu_rates: true,
        internal: true,
        compat: None,
        composition: None,
        confine: None,
        user: None,
    };
    let (mut settings, warnings) = super::settings(&collect, true)?;
    let inputs = &mut settings.inputs;
    for input in inputs.iter_mut() {
        input.filter = Filter::default();
        input.compat_telegraf = false;
        input.composition = None;
        input.precision = Duration::ZERO;
        input.dirs = DEFAULT_DIRS.iter().map(Into::into).collect();
        input.files = DEFAULT_FILES.iter().map(ToString::to_string).collect();
        input.netns_tag = !input.netns.is_own() || args.sample.source.netns.len() > 1;
    }
    // A configuration may look into one namespace more than once.
    for at in (0..inputs.len()).rev() {
        if inputs[..at].iter().any(|input| input.netns == inputs[at].netns) {
            inputs.remove(at);
        }
    }
    settings.global_tags.clear();
    super::tag_globally(&mut settings, true);
    Ok((settings, warnings))
}
