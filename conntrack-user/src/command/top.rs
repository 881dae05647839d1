//! `ctpulse top`: who fills the table, by a census of its entries.

mod census;
mod live;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use self::census::Table as _;
use super::stream::{HUNG_UP, is_ignored};
use crate::cli::{TopArgs, TopFormat};
use crate::logging;
use crate::notices::CannotBegin;
use crate::output::StandardOutput;
use crate::settings::Netns;
use crate::source::ebpf::census::{Census, Sample};
use crate::source::namespace::Pinned;
use crate::text::sanitize::shown;
use crate::top::counted::Counted;
use crate::top::look::Query;
use crate::top::report::TopReport;
use crate::top::tally::Selection;

pub(super) fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    if live::is_wanted(args) {
        return live::run(args);
    }
    let level = super::log_level(args.debug, args.quiet);
    logging::start(logging::LogReader::Person, level);
    let namespaces = Namespaces::of(args)?;
    let census = Census::load().map_err(|error| CannotBegin::top(&error))?;
    super::runtime()?.block_on(watch(args, census, &namespaces))
}

/// The namespaces whose entries are counted, and those that have a name.
struct Namespaces {
    held: Vec<(Pinned, String)>,
    /// Others by their inode numbers, which are not held: they may be deleted meanwhile.
    named: Vec<(u32, String)>,
    /// Entries of every namespace are counted.
    is_all: bool,
    /// The only one, whose count and limit the kernel has.
    only: Option<Netns>,
}

impl Namespaces {
    fn of(args: &TopArgs) -> anyhow::Result<Self> {
        if args.source.proc_root.is_some() {
            bail!("the table is in the kernel's memory: --proc-root has none");
        }
        let held = super::pinned_namespaces(&args.source)?;
        let named = if args.all_namespaces { named() } else { Vec::new() };
        let only = match super::namespaces(&args.source) {
            [only] if !args.all_namespaces => Some(only.clone()),
            _ => None,
        };
        Ok(Self { held, named, is_all: args.all_namespaces, only })
    }

    /// Their names by their inode numbers.
    fn names(&self) -> Vec<(u32, String)> {
        let held = self.held.iter().map(|(pinned, name)| (pinned.inode, name.clone()));
        held.chain(self.named.iter().cloned()).collect()
    }

    /// In words, for the title of a screen.
    fn place(&self) -> String {
        let names = || self.held.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>();
        match &self.only {
            _ if self.is_all => "all network namespaces".to_owned(),
            Some(only) if only.is_own() => String::new(),
            _ => format!("netns {}", names().join(", ")),
        }
    }
}

/// The namespaces that have a name; others are shown by their inode numbers.
fn named() -> Vec<(u32, String)> {
    let named = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    named
        .filter_map(|entry| {
            let inode = Pinned::open(&entry.path()).ok()?.inode;
            Some((inode, shown(&entry.file_name().to_string_lossy()).into_owned()))
        })
        .collect()
}

/// What the arguments ask of the table.
fn query(args: &TopArgs, namespaces: &Namespaces) -> Query {
    let inodes = namespaces.held.iter().map(|(pinned, _)| pinned.inode);
    let selection = Selection {
        namespaces: if namespaces.is_all { Vec::new() } else { inodes.collect() },
        conditions: args.conditions.clone(),
        keys: args.by.clone(),
    };
    let sample = match (args.exact, args.sample) {
        (true, _) => Sample::Whole,
        (_, Some(parts)) => Sample::OneOf(parts),
        (false, None) => Sample::DEFAULT,
    };
    Query { selection, sample }
}

/// Looks once, or again and again until a signal comes.
async fn watch(
    args: &TopArgs,
    mut census: Census,
    namespaces: &Namespaces,
) -> anyhow::Result<ExitCode> {
    let (query, names) = (query(args, namespaces), namespaces.names());
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
        let text = look(args, &mut census, &query, &names)?;
        let between = if args.format == TopFormat::Human && left > 0 { "\n" } else { "" };
        let text = format!("{text}{between}");
        let written = StandardOutput::open().and_then(|mut out| out.write_all(text.as_bytes()));
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
    query: &Query,
    names: &[(u32, String)],
) -> anyhow::Result<String> {
    let (tally, pass) = census.count(query).map_err(|error| CannotBegin::top(&error))?;
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let report = TopReport {
        time_ns: i64::try_from(time.as_nanos()).unwrap_or(i64::MAX),
        keys: &query.selection.keys,
        lines: &tally.heaviest(args.lines),
        names,
        counted: Counted::new(&tally, pass),
    };
    Ok(match args.format {
        TopFormat::Human => report.text(),
        TopFormat::Json => report.json() + "\n",
    })
}
