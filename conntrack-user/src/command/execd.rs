//! `ctpulse execd`: a plugin of Telegraf's `inputs.execd`, under each of its signals.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::runtime::Runtime;
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc::UnboundedSender;

use super::hang_up;
use super::stream::{
    RunEvent, attend, finish, is_ignored, on_signal, once_written, run_events, start, stop,
};
use crate::cli::{ExecdArgs, Signal};
use crate::closed::{check_input, is_standard_input};
use crate::format::{EncoderOptions, encoder};
use crate::logging;
use crate::output::text::{Target, Text};
use crate::pipeline::Plan;
use crate::sampling::Trigger;
use crate::source::namespace::HeldProcesses;

/// Checks that the configuration is a file: on standard input is what Telegraf writes.
///
/// # Errors
/// When it is to come from standard input.
pub(super) fn refuse_standard_input(args: &ExecdArgs) -> anyhow::Result<()> {
    let configuration = args.collect.sample.config.as_deref();
    if configuration.is_some_and(is_standard_input) {
        bail!("standard input is Telegraf's, and has no configuration; name a file in --config");
    }
    Ok(())
}

pub(super) fn run(args: &ExecdArgs) -> anyhow::Result<ExitCode> {
    let runtime = super::runtime()?;
    let (to, mut from) = run_events();
    wait_for_requests(&runtime, &to)?;
    if super::is_init() {
        wait_for_end(&runtime, &to)?;
    }
    hang_up::release();
    let requests = || check_input(Path::new("-")).context("cannot read requests");
    if let Err(error) = refuse_standard_input(args).and_then(|()| requests()) {
        logging::start(logging::LogReader::Telegraf, log::LevelFilter::Info);
        super::log_error(&error);
        return Ok(ExitCode::FAILURE);
    }
    let configuration = args.collect.sample.config.as_deref();
    let ControlFlow::Continue(fifo) = runtime.block_on(once_written(configuration, &mut from))?
    else {
        return Ok(ExitCode::SUCCESS);
    };
    let loaded = super::settings(&args.collect, args.signal != Signal::None);
    drop(fifo);
    if !super::is_init() {
        // Only now: reading the configuration may take long, and the default action ends that.
        wait_for_end(&runtime, &to)?;
    }
    let level = loaded.as_ref().map_or(log::LevelFilter::Info, |(s, _)| s.log_level);
    logging::start(logging::LogReader::Telegraf, level);
    let (mut settings, warnings) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            super::log_error(&error);
            return Ok(ExitCode::FAILURE);
        }
    };
    logging::warn_briefly(&warnings);
    if settings.listen.is_some() {
        log::warn!("'listen' has no effect under execd; `ctpulse run` answers scrapes");
    }
    super::tag_globally(&mut settings, false);
    let trigger = if args.signal == Signal::None { Trigger::Interval } else { Trigger::Asked };
    let options = EncoderOptions { subsecond: true, ..EncoderOptions::default() };
    let ended = runtime.block_on(async {
        super::become_user(&settings)?;
        let end = to.clone();
        let (output, _) = Target::resolve(None)?.open(args.format, None)?;
        let plan = Plan {
            roots: settings.roots.clone(),
            log_level: settings.log_level,
            trigger,
            destination: Box::new(Text::new(encoder(args.format, options), output)),
            count: None,
            // Telegraf would start it again, and the number may mean another process then.
            ends_with_inputs: false,
            confine: settings.confine,
            confined: None,
            processes: HeldProcesses::default(),
            config: None,
            on_end: Box::new(move || _ = end.send(RunEvent::End)),
        };
        let pipeline = start(settings.inputs, plan)?;
        // A thread that was there before would keep what is given up at the start.
        let failed = listen(args.signal, to)?;
        attend(Some(&pipeline), &mut from).await;
        anyhow::Ok((stop(pipeline)?, failed.load(Ordering::Relaxed)))
    });
    match ended {
        Ok((outcome, has_failed)) => {
            let ended = finish(&outcome.reports, false);
            Ok(if has_failed { ExitCode::FAILURE } else { ended })
        }
        Err(error) => {
            super::log_error(&error);
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Takes each of Telegraf's signals as a request for a row, also of those that --signal does
/// not select. This comes first, because Telegraf may send one at once, and their default action
/// ends the process.
fn wait_for_requests(runtime: &Runtime, to: &UnboundedSender<RunEvent>) -> anyhow::Result<()> {
    let _runtime = runtime.enter();
    for kind in [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()] {
        on_signal(kind, to, || RunEvent::Gather)?;
    }
    Ok(())
}

/// Lets signals end the program. SIGINT stays ignored where it was ignored.
fn wait_for_end(runtime: &Runtime, to: &UnboundedSender<RunEvent>) -> anyhow::Result<()> {
    let _runtime = runtime.enter();
    on_signal(SignalKind::terminate(), to, || RunEvent::End)?;
    if !is_ignored(SignalKind::interrupt()) {
        on_signal(SignalKind::interrupt(), to, || RunEvent::End)?;
    }
    Ok(())
}

/// Reads standard input on a thread of its own: a newline is a request for a row if `signal`
/// selects standard input, and the end of the input is the end of the program.
///
/// Returns whether it ended by an error, once it has ended.
fn listen(signal: Signal, to: UnboundedSender<RunEvent>) -> io::Result<Arc<AtomicBool>> {
    let failed = Arc::new(AtomicBool::new(false));
    let is_unreadable = failed.clone();
    let thread = std::thread::Builder::new().name("stdin".into());
    thread.spawn(move || {
        let mut input = io::stdin().lock();
        let mut buffer = [0; 512];
        loop {
            let length = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The parent made the pipe non-blocking, as some runtimes do with all of theirs.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let _ = poll(&mut [PollFd::new(&input, PollFlags::IN)], None);
                    continue;
                }
                Err(error) => {
                    log::error!("cannot read standard input: {error}");
                    is_unreadable.store(true, Ordering::Relaxed);
                    break;
                }
            };
            if signal == Signal::Stdin {
                for _ in buffer[..length].iter().filter(|&&byte| byte == b'\n') {
                    let _ = to.send(RunEvent::Gather);
                }
            }
        }
        let _ = to.send(RunEvent::End);
    })?;
    Ok(failed)
}
