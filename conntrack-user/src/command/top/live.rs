//! `ctpulse top` on a terminal: the screen, wired to the thread that reads the table.

#![allow(unsafe_code, reason = "no crate in use has a safe call to return memory")]

use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use super::census::{Level, Reader, answer};
use super::{Namespaces, query};
use crate::cli::{TopArgs, TopFormat};
use crate::command::stream::{HUNG_UP, Turn, attend, run_events};
use crate::command::{UsageError, hang_up, runtime, screen};
use crate::config::duration_text;
use crate::notices::CannotBegin;
use crate::source::ebpf::census::{Census, CensusError};
use crate::source::roots::Place;
use crate::top::screen::app::{Answer, Question, SHORTEST, Setup, TopApp};
use crate::top::screen::keys::ends;
use crate::top::screen::view::TopView;
use crate::tui::terminal;
use crate::tui::ui::{Event, MOST_EVENTS};

/// `--interval` where it is not given.
const INTERVAL: Duration = Duration::from_secs(2);

/// Whether a screen is shown: on a terminal that can move its cursor, unless one pass, a number of
/// passes or JSON is asked for.
pub(super) fn is_wanted(args: &TopArgs) -> bool {
    let term = std::env::var_os("TERM");
    !args.once
        && args.count.is_none()
        && args.format == TopFormat::Human
        && terminal::check(&io::stdout(), term.as_deref()).is_ok()
}

/// Shows the table until a key or a signal ends it.
pub(super) fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let interval = args.interval.unwrap_or(INTERVAL);
    if interval < SHORTEST {
        let (interval, shortest) = (duration_text(interval), duration_text(SHORTEST));
        return Err(UsageError(format!(
            "--interval is {interval}; the shortest of the screen is {shortest}; with --count, or in \
             a pipe, it may be shorter"
        ))
        .into());
    }
    let (to_ui, events) = sync_channel(MOST_EVENTS);
    screen::start_log(crate::command::log_level(args.debug, args.quiet), &to_ui);
    let namespaces = Namespaces::of(args)?;
    let census = load().map_err(|error| CannotBegin::top(&error))?;
    let level = namespaces
        .only
        .as_ref()
        .map(|netns| Level::new(Place::resolve(&args.source.roots(), netns)));
    let (ask, questions) = channel();
    answer(Reader::new(census, load, level), questions, to_ui.clone())?;
    let setup = Setup {
        query: query(args, &namespaces),
        interval,
        theme: screen::theme(args.ascii),
        place: namespaces.place(),
        names: namespaces.names(),
    };
    let app = TopApp::new(setup, Instant::now());
    let view = TopView { app, ask: move |question| ask.send(question).is_ok() };
    let turn = runtime()?.block_on(show(view, events, &to_ui))?;
    Ok(if turn == Turn::HangUp { ExitCode::from(HUNG_UP) } else { ExitCode::SUCCESS })
}

/// Loads the program of the census.
fn load() -> Result<Census, CensusError> {
    let census = Census::load();
    return_memory();
    census
}

/// Returns the memory that the kernel's types and symbols took while the program was loaded.
fn return_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no requirements, and memory in use stays where it is.
    unsafe {
        libc::malloc_trim(0);
    }
}

async fn show<Ask: FnMut(Question) -> bool + Send + 'static>(
    view: TopView<Ask>,
    events: Receiver<Event<Answer>>,
    to_ui: &SyncSender<Event<Answer>>,
) -> anyhow::Result<Turn> {
    let (to, mut from) = run_events();
    screen::wait_for_signals(&to, to_ui)?;
    hang_up::release();
    let ui = screen::start(view, events, (&to, to_ui), ends)?;
    let turn = attend(None, &mut from).await;
    screen::repeat(&screen::end(ui, to_ui)?);
    Ok(turn)
}
