//! `ctpulse top`: who fills the table, by a census of its entries.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::stream::{HUNG_UP, is_ignored};
use crate::cli::{SourceArgs, TopArgs, TopFormat};
use crate::logging;
use crate::notices::CannotBegin;
use crate::source::ebpf::census::{Census, Sample};
use crate::source::namespace::Pinned;
use crate::text::sanitize::shown;
use crate::top::counted::Counted;
use crate::top::report::TopReport;
use crate::top::tally::{Selection, Tally};

pub(super) fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let level = super::log_level(args.debug, args.quiet);
    logging::start(logging::LogReader::Person, level);
    if args.source.proc_root.is_some() {
        bail!("the table is in the kernel's memory: --proc-root has none");
    }
    let namespaces = match args.all_namespaces {
        true => named(&args.source)?,
        false => super::pinned_namespaces(&args.source)?,
    };
    let census = Census::load().map_err(|error| CannotBegin::top(&error))?;
    super::runtime()?.block_on(watch(args, census, &namespaces))
}

/// The namespaces that have a name, and this one; others are shown by their inode numbers.
fn named(source: &SourceArgs) -> anyhow::Result<Vec<(Pinned, String)>> {
    let mut namespaces = super::pinned_namespaces(source)?;
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        if let Ok(pinned) = Pinned::open(&entry.path()) {
            namespaces.push((pinned, shown(&entry.file_name().to_string_lossy()).into_owned()));
        }
    }
    Ok(namespaces)
}

/// Looks once, or again and again until a signal comes.
async fn watch(
    args: &TopArgs,
    mut census: Census,
    namespaces: &[(Pinned, String)],
) -> anyhow::Result<ExitCode> {
    let names: Vec<(u32, String)> =
        namespaces.iter().map(|(pinned, name)| (pinned.inode, name.clone())).collect();
    let inodes = names.iter().map(|(inode, _)| *inode);
    let selection = Selection {
        namespaces: if args.all_namespaces { Vec::new() } else { inodes.collect() },
        conditions: args.conditions.clone(),
        keys: args.by.clone(),
    };
    let wait_for = |kind| signal(kind).context("cannot wait for signals");
    let [ends, hangs_up] =
        [SignalKind::interrupt(), SignalKind::hangup()].map(|kind| !is_ignored(kind));
    let mut interrupt = wait_for(SignalKind::interrupt())?;
    let mut terminate = wait_for(SignalKind::terminate())?;
    let mut hangup = wait_for(SignalKind::hangup())?;
    super::hang_up::release();
    let mut interval = tokio::time::interval(args.interval.unwrap_or(Duration::MAX));
    let mut left = if args.interval.is_some() { args.count.unwrap_or(u64::MAX) } else { 1 };
    while left > 0 {
        tokio::select! {
            _ = interval.tick() => {}
            _ = interrupt.recv(), if ends => return Ok(ExitCode::SUCCESS),
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
            _ = hangup.recv(), if hangs_up => return Ok(ExitCode::from(HUNG_UP)),
        }
        left -= 1;
        let text = look(args, &mut census, &selection, &names)?;
        let between = if args.format == TopFormat::Human && left > 0 { "\n" } else { "" };
        let mut out = io::stdout().lock();
        let written = write!(out, "{text}{between}").and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            written => written.context("cannot write to standard output")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One pass, as it is printed.
fn look(
    args: &TopArgs,
    census: &mut Census,
    selection: &Selection,
    namespaces: &[(u32, String)],
) -> anyhow::Result<String> {
    let sample = match (args.exact, args.sample) {
        (true, _) => Sample::Whole,
        (_, Some(parts)) => Sample::OneOf(parts),
        (false, None) => Sample::DEFAULT,
    };
    let add = |tally: &mut Tally, entry: &_| tally.add(selection, entry);
    let pass = census.pass(sample, Tally::default, add);
    let (tally, pass) = pass.map_err(|error| CannotBegin::top(&error))?;
    log::debug!("{pass:?}");
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let report = TopReport {
        time_ns: i64::try_from(time.as_nanos()).unwrap_or(i64::MAX),
        keys: &selection.keys,
        lines: &tally.heaviest(args.lines),
        names: namespaces,
        counted: Counted::new(&tally, pass),
    };
    Ok(match args.format {
        TopFormat::Human => report.text(),
        TopFormat::Json => report.json() + "\n",
    })
}
