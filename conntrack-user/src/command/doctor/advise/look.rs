//! The evidence of a live look at one or more namespaces.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::{MemfdFlags, memfd_create};

use super::recorded;
use crate::advice::{ESTABLISHED, Evidence, Holders, Host, SILENCE};
use crate::cli::{CollectArgs, DoctorArgs, SampleArgs};
use crate::command::drops::{InvalidReasons, watch_drops};
use crate::command::stream::{RunEvent, run_events, stream};
use crate::drops::cause_name;
use crate::format::{EncoderOptions, Format, encoder};
use crate::logging;
use crate::output::text::{Output, Text};
use crate::pipeline::Plan;
use crate::sampling::Trigger;
use crate::schema::raw::StatTable;
use crate::settings::{Confine, DEFAULT_INTERVAL, Input, Netns, Source};
use crate::source::ebpf::census::{Census, CensusError, Sample};
use crate::source::ebpf::drops::Reports;
use crate::source::namespace::HeldProcesses;
use crate::source::netlink::entries::{Entries, Silence};
use crate::source::procfs::{Procfs, StatError};
use crate::source::reader::Reader;
use crate::source::roots::Place;
use crate::text::human::duration;
use crate::text::sanitize::shown;
use crate::top::key::Key;
use crate::top::nat_ports::{NatPortTally, NatPorts};
use crate::top::tally::{Line, Selection, Tally};

/// Rows and samples of a look.
const INTERVAL: Duration = Duration::from_millis(500);
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);

/// Drops a second that are reported one by one.
const LIMIT: u64 = 1000;

/// Entries that are read: some milliseconds' work.
const ENTRIES: u32 = 10_000;

/// How many addresses with most entries are named.
const HOLDERS: usize = 3;

/// The buckets of which a census reads all: a few ports of one address may be all that there are.
const WHOLE: Sample = Sample::Buckets(1 << 20);

/// Settings of the table, besides its limit.
const BUCKETS: &str = "nf_conntrack_buckets";
const TIMEOUTS: [&str; 1] = [ESTABLISHED];

/// Returns what each namespace shows while it is sampled.
pub(super) fn evidence(args: &DoctorArgs) -> anyhow::Result<Vec<(String, Evidence)>> {
    let many = args.source.netns.len() > 1;
    let names = crate::command::namespaces(&args.source);
    logging::say(log::Level::Info, &format!("sampling for {:?}", args.look));
    let look = |name: &Netns| {
        let evidence = look_into(args, name)?;
        let heading = if many { shown(&name.to_string()).into_owned() } else { String::new() };
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
    // `--proc-root` permits no name, not even the own one.
    source.netns = if name.is_own() { Vec::new() } else { vec![name.clone()] };
    let place = Place::resolve(&source.roots(), name);
    let sample = SampleArgs {
        interval: Some(INTERVAL),
        sample_interval: Some(SAMPLE_INTERVAL),
        source,
        ..SampleArgs::default()
    };
    // The connections of the drops are useful, and not required.
    let mut drops = place
        .namespace()
        .context("the network namespace cannot be opened")
        .and_then(|pinned| watch_drops(&[pinned], LIMIT));
    let reasons = place.namespace().and_then(|pinned| InvalidReasons::watch(&[pinned]).ok());
    let mut evidence = sampled(args.look, sample)?;
    evidence.reasons = reasons.and_then(|reasons| reasons.counts().ok());
    if !evidence.has_statistics()
        && let Err(error) = read_once(&place)
    {
        evidence.unknown.push(format!("the statistics cannot be read: {error}"));
    }
    if evidence.has_statistics() && 2.0 * evidence.seconds < args.look.as_secs_f64() {
        let seconds = duration(evidence.seconds);
        evidence.unknown.push(format!("there are rows of {seconds} only, of {:?}", args.look));
    }
    if let Some(samples) = &mut evidence.samples {
        samples.due = Some(evidence.seconds / SAMPLE_INTERVAL.as_secs_f64());
    }
    (evidence.buckets, evidence.timeouts) = table_settings(place.clone());
    let timeout = evidence.timeouts.get(ESTABLISHED).copied();
    // Where there can be no census, the rules name another way to see who holds entries.
    let census = place.namespace().and_then(|pinned| holders(pinned.inode).ok());
    if let Some((holders, nat_ports)) = census {
        (evidence.holders, evidence.nat_ports) = (Some(holders), nat_ports);
    }
    match entries(place, timeout) {
        Ok(entries) => evidence.entries = Some(entries),
        Err(reason) => evidence.entries_unread = Some(reason),
    }
    evidence.netns = name.clone();
    evidence.host = match &drops {
        Ok(_) => Host::WithProbes,
        Err(error) => Host::WithoutProbes(format!("{error:#}")),
    };
    if let Ok((_, reports)) = &mut drops {
        evidence.ports = ports(reports);
    }
    Ok(evidence)
}

/// Samples a namespace for `time` into memory, and reads that as a recording.
fn sampled(time: Duration, sample: SampleArgs) -> anyhow::Result<Evidence> {
    let collect = CollectArgs { sample, ..CollectArgs::default() };
    let (settings, _) = crate::command::settings(&collect, false)?;
    let memory = memfd_create("look", MemfdFlags::CLOEXEC).context("no memory for a look")?;
    let memory = File::from(memory);
    let ending = crate::command::runtime()?.block_on(async {
        let (to, from) = run_events();
        let plan = Plan {
            roots: settings.roots.clone(),
            trigger: Trigger::Interval,
            log_level: settings.log_level,
            // JSON leaves out what the kernel does not maintain; line protocol has a 0 for it.
            destination: Box::new(Text::new(
                encoder(Format::Json, EncoderOptions::default()),
                Output::new("memory", memory.try_clone()?),
            )),
            count: Some((time.as_millis() / INTERVAL.as_millis()) as u64 + 1),
            ends_with_inputs: true,
            confine: Confine::Off,
            confined: None,
            processes: HeldProcesses::default(),
            config: None,
            on_end: Box::new(move || _ = to.send(RunEvent::End)),
        };
        stream(settings, plan, from).await
    })?;
    drop(ending);
    let sources = recorded::read(&[format!("/proc/self/fd/{}", memory.as_raw_fd()).into()])?;
    let evidence = sources.into_iter().next().map(|(_, evidence)| evidence);
    Ok(evidence.unwrap_or_default())
}

/// Reads the statistics once more, for the reason why they could not be read.
fn read_once(place: &Place) -> Result<(), StatError> {
    let mut reader = Reader::new(place.clone(), Vec::new(), Source::Auto);
    reader.open_missing(true, &mut |_| {})?;
    reader.read_stat(&mut StatTable::default()).map(|_| ())
}

/// Returns the addresses that hold most entries of a namespace, and the NAT ports that are taken.
fn holders(inode: u32) -> Result<(Holders, Vec<NatPorts>), CensusError> {
    let by = |key| Selection { namespaces: vec![inode], conditions: Vec::new(), keys: vec![key] };
    let (sources, destinations) = (by(Key::SOURCE), by(Key::DESTINATION));
    let mut census = Census::load()?;
    let ((of_sources, of_destinations, nat_ports), pass) = census.pass(
        WHOLE,
        || (Tally::default(), Tally::default(), NatPortTally::new(inode)),
        |(of_sources, of_destinations, nat_ports), entry| {
            of_sources.add(&sources, entry);
            of_destinations.add(&destinations, entry);
            nat_ports.add(entry);
        },
    )?;
    let shares = |tally: &Tally| {
        let all = tally.composition().entries.max(1) as f64;
        let share = |line: Line| (line.values[0].to_string(), line.entries as f64 / all);
        tally.heaviest(HOLDERS).into_iter().map(share).collect()
    };
    let holders = Holders { sources: shares(&of_sources), destinations: shares(&of_destinations) };
    Ok((holders, nat_ports.nearly_used_up(&pass)))
}

/// Reads some entries, or says why there are none.
fn entries(place: Place, timeout: Option<f64>) -> Result<Entries, String> {
    let reader = Reader::new(place, Vec::new(), Source::Netlink);
    let silence = timeout.map(|timeout| Silence { timeout: timeout as u32, long: SILENCE });
    match reader.look_at_entries(ENTRIES, silence) {
        Ok(Some(entries)) => Ok(entries),
        Ok(None) => Err("the module nf_conntrack_netlink is not loaded (modprobe \
                         nf_conntrack_netlink, or `conntrack -C`, loads it)"
            .to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Counts reported drops by cause and destination port.
fn ports(reports: &mut Reports) -> BTreeMap<(&'static str, u16), u64> {
    let mut ports = BTreeMap::new();
    while let Some(report) = reports.take_next() {
        if let Some(tuple) = report.tuple {
            let key = (cause_name(report.cause), tuple.destination_port);
            *ports.entry(key).or_default() += 1;
        }
    }
    ports
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
