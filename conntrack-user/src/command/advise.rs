//! `ctpulse doctor --advise`: looks for some seconds, or into a recording, and says what to change.
//!
//! A look is a recording too, made in memory: both are read by the same code and judged by the
//! same rules.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use anyhow::{Context, bail};
use rustix::fs::{MemfdFlags, memfd_create};

use super::drops::watch_drops;
use super::generate::print_quietly;
use super::stream::{Happening, happenings, stream};
use crate::advice::{ESTABLISHED, Evidence, Finding, SILENCE, Severity, advise};
use crate::cli::{CollectArgs, DoctorArgs, SampleArgs};
use crate::drops::cause_name;
use crate::format::human::{date, number, time_of_day};
use crate::format::{EncoderOptions, Format, encoder};
use crate::logging;
use crate::output::{Output, Text};
use crate::pipeline::Plan;
use crate::recording::{self, Catalog, Tally};
use crate::report::{Aggregator, Options, SourceReport};
use crate::sampler::Trigger;
use crate::settings::{Confine, DEFAULT_INTERVAL, Input, Netns, Source};
use crate::source::netlink::entries::Silence;
use crate::source::procfs::Procfs;
use crate::source::reader::Reader;
use crate::source::roots::Place;

/// Rows and samples of a look.
const INTERVAL: Duration = Duration::from_millis(500);
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);

/// Drops a second that are looked at one by one.
const LIMIT: u64 = 1000;

/// Entries that are looked at: some milliseconds' work.
const ENTRIES: u32 = 10_000;

/// Settings of the table, besides its limit.
const BUCKETS: &str = "nf_conntrack_buckets";
const TIMEOUTS: [&str; 1] = [ESTABLISHED];

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    logging::start(logging::Reader::Person, log::LevelFilter::Warn);
    let evidence = match &args.recording {
        Some(path) => recorded(path)?,
        None => looked(args)?,
    };
    let colour = std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut text = String::new();
    let mut worst = Severity::Good;
    for (name, evidence) in &evidence {
        if !name.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}");
        }
        let findings = advise(evidence);
        worst = findings.iter().map(|finding| finding.severity).fold(worst, Severity::max);
        findings.iter().for_each(|finding| print(&mut text, finding, colour));
    }
    print_quietly(text.as_bytes())?;
    Ok(if worst == Severity::Problem { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(text: &mut String, finding: &Finding, colour: bool) {
    let (mark, hue) = match finding.severity {
        Severity::Problem => ("!!", AnsiColor::Red),
        Severity::Warning => ("! ", AnsiColor::Yellow),
        Severity::Good => ("ok", AnsiColor::Green),
    };
    let style = if colour { Style::new().fg_color(Some(hue.into())) } else { Style::new() };
    let Finding { title, evidence, mend, see, .. } = finding;
    let _ = writeln!(text, "{style}{mark}{style:#}  {title}\n    {evidence}");
    for mend in mend {
        let _ = writeln!(text, "    -> {mend}");
    }
    if !mend.is_empty() {
        let _ = writeln!(text, "    see {see}");
    }
}

/// What a recording shows of each source in it.
fn recorded(path: &Path) -> anyhow::Result<Vec<(String, Evidence)>> {
    File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let sources = read(&recording::files_of(path))?;
    if sources.is_empty() {
        bail!("there is no row of conntrack in {}", path.display());
    }
    let many = sources.len() > 1;
    let named = sources.iter().map(|source| {
        let tags = source.tags.iter().map(|(key, value)| format!("{key}={}", value.escape_debug()));
        let name = if many { tags.collect::<Vec<_>>().join(" ") } else { String::new() };
        (name, evidence(source))
    });
    Ok(named.collect())
}

fn read(files: &[PathBuf]) -> anyhow::Result<Vec<SourceReport>> {
    let (mut catalog, mut tally) = (Catalog::default(), Tally::default());
    let options = Options { window: Duration::from_secs(1), bursts: 0, drawn: false };
    let mut aggregator = Aggregator::new(options);
    recording::read(files, &mut catalog, &mut tally, &mut |catalog, row| {
        aggregator.push(catalog, row);
    });
    for why in tally.unreadable.iter().chain(&tally.first_bad_line) {
        log::warn!("{why}");
    }
    Ok(aggregator.finish(tally).sources)
}

/// What a source's rows show.
fn evidence(source: &SourceReport) -> Evidence {
    let moved = source.counters.iter().map(|counter| (counter.name.clone(), counter.total));
    let unmoved = source.unmoved.iter().map(|name| (name.clone(), 0.0));
    let fill = source.fill.as_ref();
    // The limit is that of the fullest moment, which may have been another one than now.
    let fullest = fill.and_then(|fill| fill.fullest);
    for change in fill.iter().flat_map(|fill| &fill.limit_changes) {
        let (from, to) = (number(change.from, 11), number(change.to, 11));
        let at = format!("{} {}", date(change.at_ns), time_of_day(change.at_ns, false));
        log::warn!(
            "nf_conntrack_max changed from {from} to {to} at {at} UTC: the table is judged by what \
             it was when it was fullest"
        );
    }
    Evidence {
        seconds: (source.to_ns - source.from_ns) as f64 / 1e9,
        peak: fullest.map(|fullest| fullest.entries).or(fill.map(|fill| fill.peak)),
        max: fullest.map(|fullest| fullest.max).or(fill.and_then(|fill| fill.max)),
        counted: moved.chain(unmoved).collect(),
        ..Evidence::default()
    }
}

/// What each namespace shows while it is looked at.
fn looked(args: &DoctorArgs) -> anyhow::Result<Vec<(String, Evidence)>> {
    let own = vec![Netns::Name("self".to_owned())];
    let many = args.source.netns.len() > 1;
    let names = if args.source.netns.is_empty() { &own } else { &args.source.netns };
    eprintln!("ctpulse: looking for {:?}", args.look);
    let look = |name: &Netns| {
        let evidence = look_into(args, name)?;
        let heading =
            if many { name.to_string().escape_debug().to_string() } else { String::new() };
        anyhow::Ok((heading, evidence))
    };
    // At the same time: what happens in one may be the cause of what happens in another.
    std::thread::scope(|scope| {
        let looks: Vec<_> = names.iter().map(|name| scope.spawn(move || look(name))).collect();
        let looked = looks
            .into_iter()
            .map(|look| look.join().map_err(|_| anyhow::anyhow!("a look ended in a panic"))?);
        looked.collect()
    })
}

fn look_into(args: &DoctorArgs, name: &Netns) -> anyhow::Result<Evidence> {
    let mut source = args.source.clone();
    source.netns = vec![name.clone()];
    let is_own = *name == Netns::Name("self".to_owned());
    let place = Place::resolve(&source.roots(), (!is_own).then_some(name));
    if is_own {
        source.netns.clear();
    }
    let sample = SampleArgs {
        interval: Some(INTERVAL),
        sample_interval: Some(SAMPLE_INTERVAL),
        source,
        ..SampleArgs::default()
    };
    let collect = CollectArgs { sample, ..CollectArgs::default() };
    let (settings, _) = super::settings(&collect, false)?;
    let memory = memfd_create("look", MemfdFlags::CLOEXEC).context("no memory for a look")?;
    let memory = File::from(memory);
    // Whose drops they are is worth knowing and no condition.
    let mut drops = place.namespace().and_then(|pinned| watch_drops(&[pinned], LIMIT).ok());
    let ending = super::runtime()?.block_on(async {
        let (to, from) = happenings();
        let plan = Plan {
            roots: settings.roots.clone(),
            trigger: Trigger::Interval,
            log_level: settings.log_level,
            destination: Box::new(Text::new(
                encoder(Format::Influx, EncoderOptions::default()),
                Output::new("memory", memory.try_clone()?),
            )),
            count: Some((args.look.as_millis() / INTERVAL.as_millis()) as u64 + 1),
            ends_with_inputs: true,
            confine: Confine::Off,
            confined: None,
            config: None,
            on_end: Box::new(move || _ = to.send(Happening::End)),
        };
        stream(settings, plan, from).await
    })?;
    drop(ending);
    let sources = read(&[format!("/proc/self/fd/{}", memory.as_raw_fd()).into()])?;
    let Some(source) = sources.first() else {
        let whose = if is_own { String::new() } else { format!(" --netns {name}") };
        bail!("nothing could be read; `ctpulse doctor{}` tells why", whose.escape_debug());
    };
    let mut evidence = evidence(source);
    // What it cannot know it says nothing about.
    let reader = Reader::new(place.clone(), Vec::new(), Source::Netlink);
    (evidence.buckets, evidence.timeouts) = table_settings(place);
    let timeout = evidence.timeouts.get(ESTABLISHED);
    let silence = timeout.map(|timeout| Silence { timeout: *timeout as u32, long: SILENCE });
    evidence.entries = reader.look_at_entries(ENTRIES, silence).ok().flatten();
    evidence.netns = (!is_own).then(|| name.clone());
    if let Some((_, reports)) = &mut drops {
        while let Some(report) = reports.take_next() {
            if let Some(tuple) = report.tuple {
                let key = (cause_name(report.cause), tuple.destination_port);
                *evidence.ports.entry(key).or_default() += 1;
            }
        }
    }
    Ok(evidence)
}

/// The number of buckets, and timeouts by their files.
fn table_settings(place: Place) -> (Option<f64>, BTreeMap<String, f64>) {
    let mut input = Input::new(DEFAULT_INTERVAL);
    input.files = TIMEOUTS.iter().chain(&[BUCKETS]).map(|&file| file.to_owned()).collect();
    let candidates = place.sysctl_candidates(&input);
    let mut procfs = Procfs::new(place, candidates);
    let _ = procfs.open_missing(false, &mut |_| {});
    let mut values = Vec::new();
    procfs.read_sysctls(&mut values, &mut |_| {});
    let value = |file: &str| {
        let key = file.split_once('_').map(|(_, rest)| format!("ip_{rest}"));
        let at = procfs.sysctls().position(|known| Some(&known.key) == key.as_ref());
        at.and_then(|at| values.get(at).copied().flatten())
    };
    let timeouts = TIMEOUTS.iter().filter_map(|file| Some(((*file).to_owned(), value(file)?)));
    (value(BUCKETS), timeouts.collect())
}
