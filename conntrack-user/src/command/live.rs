//! `ctpulse live`: the dashboard, wired to the samplers.
//!
//! The main thread waits for signals, the UI has a thread of its own that may be stuck in the
//! terminal, and the sink's thread hands rows to it. The terminal is restored in any order of their ends.

use std::fs::File;
use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use log::Level;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::stream::{
    HUNG_UP, PATIENCE, RunEvent, Turn, attend, is_ignored, on_signal, run_events, start, stop,
};
use crate::cli::{CollectArgs, LiveArgs};
use crate::live::app::{App, Message};
use crate::live::feed::{Batch, Feed, LiveFeed, ToScreen};
use crate::live::load::Recorded;
use crate::live::replay::ReplayFeed;
use crate::live::ui::{Event, MOST_EVENTS, Ui, UiError, read_keys};
use crate::logging;
use crate::metric::filter::Filter;
use crate::pipeline::{Pipeline, Plan};
use crate::sampling::Trigger;
use crate::settings::{Collect, Confine, DEFAULT_DIRS, DEFAULT_FILES, Settings};
use crate::source::namespace::HeldProcesses;
use crate::text::colour;
use crate::tui::terminal::{self, Display};
use crate::tui::theme::Theme;

/// `--interval` where it is not given.
const INTERVAL: Duration = Duration::from_millis(500);

/// When it is said that a recording is still being read.
const LONG_READ: Duration = Duration::from_secs(1);

type UiThread = JoinHandle<Result<Vec<Message>, UiError>>;

pub(super) fn run(args: &LiveArgs) -> anyhow::Result<ExitCode> {
    terminal::check(&io::stdout(), std::env::var_os("TERM").as_deref())?;
    let (settings, warnings) = settings(args)?;
    let (to_ui, events) = sync_channel(MOST_EVENTS);
    let said = to_ui.clone();
    logging::start_diverted(settings.log_level, move |level, text| {
        let is_warning = level <= Level::Warn;
        let message = Message { text: text.to_owned(), is_warning, at: Instant::now() };
        // Without room it is lost; there is more of the same on the screen then.
        let _ = said.try_send(Event::Said(message));
        terminal::is_entered()
    });
    logging::warn_briefly(&warnings);
    terminal::leave_on_panic();

    let (ended, said, turn) = super::runtime()?.block_on(async {
        let (to, mut from) = run_events();
        wait_for_signals(&to, &to_ui)?;
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
        let ui = Ui {
            app: App::new(theme(args), args.replay.is_some()),
            feed,
            events,
            display: Display::enter(standard_output()?).context("cannot enter the terminal")?,
        };
        let end = to.clone();
        // Also where the UI waits for a recording that does not go on.
        read_keys(to_ui.clone(), move || _ = end.send(RunEvent::End))?;
        let ui = std::thread::Builder::new().name("ui".into()).spawn(move || {
            let ended = ui.run();
            let _ = to.send(RunEvent::End);
            ended
        })?;
        let turn = attend(pipeline.as_ref(), &mut from).await;
        let said = end_ui(ui, &to_ui);
        anyhow::Ok((pipeline.map(stop).transpose(), said, turn))
    })?;
    // What was on the screen only.
    for message in said?.iter().filter(|message| message.is_warning) {
        logging::say(Level::Warn, &message.text);
    }
    ended?;
    Ok(if turn == Turn::HangUp { ExitCode::from(HUNG_UP) } else { ExitCode::SUCCESS })
}

/// Signals that end a process unless it handles them, and would leave the terminal in raw mode. Faults
/// and ABRT come from inside, KILL cannot be handled, and PIPE is ignored from the start.
const ENDING: [Signal; 16] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TRAP,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::STKFLT,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::VTALARM,
    Signal::PROF,
    Signal::IO,
    Signal::POWER,
    Signal::SYS,
];

/// So do the real-time signals, but for those that the C library keeps for itself.
const REALTIME: RangeInclusive<i32> = if cfg!(target_env = "musl") { 35..=64 } else { 34..=64 };

/// Connects the signals that end the program or concern the UI.
fn wait_for_signals(
    to: &UnboundedSender<RunEvent>,
    to_ui: &SyncSender<Event>,
) -> anyhow::Result<()> {
    for number in ENDING.iter().map(|signal| signal.as_raw()).chain(REALTIME) {
        let kind = SignalKind::from_raw(number);
        match kind {
            _ if is_ignored(kind) => {}
            _ if kind == SignalKind::hangup() => on_signal(kind, to, || RunEvent::HangUp)?,
            _ => on_signal(kind, to, || RunEvent::End)?,
        }
    }
    let kind = |signal: Signal| SignalKind::from_raw(signal.as_raw());
    forward(SignalKind::window_change(), to_ui, || Event::Resized)?;
    forward(kind(Signal::TSTP), to_ui, || Event::Stop)?;
    forward(kind(Signal::CONT), to_ui, || Event::GoesOn)
}

/// Starts the samplers, whose rows go to the UI, and the feed that asks them.
fn sample(
    settings: Settings,
    interval: Duration,
    to: &UnboundedSender<RunEvent>,
    to_ui: &SyncSender<Event>,
) -> anyhow::Result<(Pipeline, LiveFeed)> {
    let slowest = settings.inputs.iter().map(|input| input.sample_interval).max();
    let slowest = slowest.unwrap_or(interval);
    let (rows, ask, end) = (to_ui.clone(), to.clone(), to.clone());
    let plan = Plan {
        roots: settings.roots,
        log_level: settings.log_level,
        trigger: Trigger::Asked,
        destination: Box::new(ToScreen {
            send: move |batch: Batch| rows.send(Event::Rows(batch)).is_ok(),
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
        confine: None,
        user: None,
    };
    let (mut settings, warnings) = super::settings(&collect, true)?;
    let inputs = &mut settings.inputs;
    for input in inputs.iter_mut() {
        input.filter = Filter::default();
        input.compat_telegraf = false;
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

/// Returns the abilities of the terminal by its environment.
fn theme(args: &LiveArgs) -> Theme {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let is_utf8 = ["utf-8", "utf8"].iter().any(|name| locale.to_lowercase().contains(name));
    // The console's font has no eighths of a block.
    let is_console = set("TERM").is_some_and(|term| term == "linux");
    Theme { colour: colour::is_permitted(), ascii: args.ascii || is_console || !is_utf8 }
}

/// Standard output without its lock and buffer.
fn standard_output() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// Sends the UI an event whenever the signal `kind` arrives.
fn forward(kind: SignalKind, to: &SyncSender<Event>, event: fn() -> Event) -> anyhow::Result<()> {
    let mut signals = signal(kind).context("cannot wait for signals")?;
    let to = to.clone();
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            // Without room the screen is stuck, and this thread must not be.
            let _ = to.try_send(event());
        }
    });
    Ok(())
}

/// Ends the UI; one that is stuck in its terminal is left behind, and the terminal left for it.
fn end_ui(ui: UiThread, to: &SyncSender<Event>) -> anyhow::Result<Vec<Message>> {
    let deadline = Instant::now() + PATIENCE;
    while !ui.is_finished() && Instant::now() < deadline {
        let _ = to.try_send(Event::End);
        std::thread::sleep(Duration::from_millis(1));
    }
    if !ui.is_finished() {
        // On a thread: what it writes may be stuck as well.
        let leaving = std::thread::spawn(terminal::leave);
        let deadline = Instant::now() + PATIENCE / 2;
        while !leaving.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        return Ok(Vec::new());
    }
    match ui.join() {
        // A terminal that hung up is the usual end of a connection.
        Ok(Err(UiError::Terminal(error))) if is_hang_up(&error) => Ok(Vec::new()),
        Ok(ended) => Ok(ended?),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
        || error.kind() == io::ErrorKind::BrokenPipe
}
