//! `ctpulse doctor`: what this host can tell, what is missing, and what to do about it.
//!
//! It looks through the same readers as a run, once, and prints where each field of the
//! schema comes from. What a kernel does not count is a fact; what should be there and is not
//! is a problem, and a problem makes the exit code 1.

pub(super) mod advise;
mod event_source;
mod findings;
mod privileges;

use std::io::IsTerminal;
use std::process::ExitCode;

use super::generate::print_quietly;
use crate::accumulate::Counted;
use crate::cli::DoctorArgs;
use crate::schema::maintained::{self, Release};
use crate::schema::provenance::{FROM_REMAINDERS, event_counters};
use crate::schema::raw::{DOCUMENTED, EVENTS, RENAMED, StatTable};
use crate::settings::{Collect, DEFAULT_INTERVAL, Input, Netns, Source};
use crate::source::cpu_mask;
use crate::source::existence;
use crate::source::mounts;
use crate::source::procfs::StatError;
use crate::source::reader::{Reader, StatSource};
use crate::source::roots::Place;
use crate::source::sysctl::SysctlFile;
use findings::Findings;

/// Sysctl files that are looked at besides the defaults.
const MORE_FILES: [&str; 3] =
    ["nf_conntrack_buckets", "nf_conntrack_expect_max", "nf_conntrack_acct"];

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut findings = Findings::new(
        std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    );
    check_namespaces(args)?;
    let roots = args.source.roots();
    for netns in namespaces(args) {
        if let Some(netns) = netns {
            findings.heading(&format!("network namespace {netns}"));
        }
        let place = Place::resolve(&roots, netns);
        examine(&place, netns, &mut findings)?;
    }
    let running = privileges::running();
    if !running.is_empty() {
        findings.heading("agents that run now");
        running.iter().try_for_each(|(name, text)| findings.field(name, text))?;
    }
    let healthy = findings.problems.is_empty();
    print_quietly(findings.conclude().as_bytes())?;
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The namespaces that are asked for; `None` for the own one.
fn namespaces(args: &DoctorArgs) -> Vec<Option<&Netns>> {
    let is_other = |netns: &&Netns| **netns != Netns::Own;
    match args.source.netns.as_slice() {
        [] => vec![None],
        some => some.iter().map(|netns| Some(netns).filter(is_other)).collect(),
    }
}

/// Checks that each namespace that is asked for exists.
pub(super) fn check_namespaces(args: &DoctorArgs) -> anyhow::Result<()> {
    let roots = args.source.roots();
    roots.check()?;
    namespaces(args).into_iter().try_for_each(|netns| Ok(existence::check(&roots, netns)?))
}

fn examine(place: &Place, netns: Option<&Netns>, findings: &mut Findings) -> anyhow::Result<()> {
    let is_hidden = place.is_live() && mounts::hides_files(&place.proc_root);
    let release_text = match std::fs::read_to_string(place.osrelease()) {
        Err(_) if place.is_live() => {
            rustix::system::uname().release().to_string_lossy().into_owned()
        }
        text => text.unwrap_or_default(),
    };
    let release = maintained::parse_release(&release_text);
    match release {
        Some(_) => findings.fact("kernel", release_text.trim()),
        None => findings.problem(
            "kernel",
            &format!("no release in {}", place.osrelease().display()),
            "counters that print 0 are doubted; check --proc-root",
        ),
    }

    let cpus = cpu_mask::read(&place.sys_root);
    let mask_path = place.sys_root.join(cpu_mask::POSSIBLE);
    match &cpus {
        Ok(cpus) => findings.fact(
            "possible CPUs",
            &format!("{} (from {})", describe_cpus(cpus), mask_path.display()),
        ),
        Err(error) => findings.problem(
            "possible CPUs",
            &error.to_string(),
            "rows are numbered in their order; in a container mount the host's /sys and set HOST_SYS",
        ),
    }

    let mut input = Input::new(DEFAULT_INTERVAL);
    input.collect = Collect { all: true, percpu: true };
    input.netns = netns.cloned();
    input.files.extend(MORE_FILES.map(String::from));
    let candidates = place.sysctl_candidates(&input);
    let (live, namespace) = (place.is_live(), place.namespace());
    let mut reader = Reader::new(place.clone(), candidates, Source::Auto);
    if live && reader.is_netlink_loaded() {
        reader.ask_for_table();
    }
    let mut sysctl_faults = Vec::new();
    let opened = reader.open_missing(true, &mut |error| sysctl_faults.push(error));
    let mut table = StatTable::default();
    let read = opened.and_then(|()| reader.read_stat(&mut table));
    if let Err(StatError::Namespace(error)) = &read {
        // One reason for everything that is missing, and its message says the mend.
        findings.problem("network namespace", &error.to_string(), "nothing of it can be read");
        return Ok(());
    }
    if is_hidden {
        let is_made_up_for = read.is_ok() && reader.told("ip_conntrack_max").is_some();
        hidden_files(place, is_made_up_for, findings);
    }
    let problems = findings.problems.len();
    sysctls(&mut reader, is_hidden, findings);
    if findings.problems.len() == problems
        && (!is_hidden || reader.told("ip_conntrack_max").is_some())
    {
        findings.works("the table's count and limit");
    }
    for fault in sysctl_faults {
        findings.problem("sysctl", &fault.to_string(), "the field is left out");
    }
    match read {
        Ok(_) => {
            statistics(&reader, &table, cpus.as_deref().unwrap_or_default(), findings);
            findings.works("the kernel's statistics");
            if live {
                findings.fact("ctnetlink", &ctnetlink(&reader));
            }
        }
        // Its reason is the first problem.
        Err(_) if is_hidden => {}
        Err(error) => {
            let module = reader.sysctls().any(SysctlFile::is_open);
            let mend = match &error {
                StatError::Neither { .. } => "until then only the table row can be emitted",
                StatError::Missing(_) if module => {
                    "conntrack is there, its statistics are not (CONFIG_NF_CONNTRACK_PROCFS is off): \
                     only the table row can be emitted"
                }
                StatError::Missing(_) => {
                    "load the module (modprobe nf_conntrack) or a firewall rule that needs it"
                }
                _ => "see the reason above",
            };
            findings.problem("statistics", &error.to_string(), mend);
        }
    }
    let (counted, may_attach) = if live {
        event_source::examine(namespace.as_ref(), &cpus.unwrap_or_default(), findings)?
    } else {
        findings.off("probes", "not tried, as plain files are read (--proc-root)");
        ([false; EVENTS], false)
    };
    fields(&table, release, &reader, &counted, findings)?;
    findings.heading("privileges (docs/security.md)");
    privileges::own(&input, place, may_attach)
        .iter()
        .try_for_each(|(name, text)| findings.field(name, text))
}

/// Reports a procfs without the statistics and sysctl files; ctnetlink may make up for them.
fn hidden_files(place: &Place, is_made_up_for: bool, findings: &mut Findings) {
    let root = place.proc_root.display();
    let hidden =
        format!("{root} is mounted with subset=pid, which hides the statistics and sysctl files");
    if is_made_up_for {
        findings.off("procfs", &format!("{hidden}; ctnetlink is asked in their place"));
    } else {
        findings.problem("procfs", &hidden, "mount it without; in a systemd unit ProcSubset=all");
    }
}

/// Whether ctnetlink can be asked, and why it is or is not.
fn ctnetlink(reader: &Reader) -> String {
    if reader.statistics() == Some(StatSource::Netlink) {
        return "asked: procfs has no statistics, or fewer".to_owned();
    }
    let asked = if reader.is_netlink_loaded() {
        match reader.ask_netlink() {
            Ok(_) => "it could be asked".to_owned(),
            Err(error) => error.to_string(),
        }
    } else {
        "not tried, since that may load the module nf_conntrack_netlink".to_owned()
    };
    format!("not used, the statistics come from procfs; {asked}")
}

fn sysctls(reader: &mut Reader, is_hidden: bool, findings: &mut Findings) {
    let mut values = Vec::new();
    reader.read_sysctls(&mut values, &mut |_| {});
    for (file, value) in reader.sysctls().zip(values) {
        match (file.path(), value) {
            (Some(path), Some(value)) => {
                findings.fact(&file.key, &format!("{value} (from {})", path.display()));
            }
            (None, Some(value)) => findings.fact(&file.key, &format!("{value} (from ctnetlink)")),
            _ if !is_hidden
                && ["ip_conntrack_count", "ip_conntrack_max"].contains(&file.key.as_str()) =>
            {
                findings.problem(
                    &file.key,
                    "no file gives it",
                    "load the module (modprobe nf_conntrack); in a container set HOST_PROC",
                );
            }
            _ => {}
        }
    }
}

fn statistics(reader: &Reader, table: &StatTable, cpus: &[u32], findings: &mut Findings) {
    let source = reader.statistics().map(|source| source.to_string()).unwrap_or_default();
    let (rows, columns) = (table.rows(), table.columns());
    findings.fact("statistics", &format!("{source}: {rows} rows, {columns} columns"));
    if !cpus.is_empty() && cpus.len() != rows {
        findings.problem(
            "rows",
            &format!("{rows} rows for {} possible CPUs", cpus.len()),
            "rows are numbered in their order; check --sys-root or HOST_SYS",
        );
    }
    let bad = table.filled.iter().filter(|&&filled| usize::from(filled) < columns).count();
    if bad > 0 {
        findings.problem(
            "rows",
            &format!("{bad} rows are short or unreadable"),
            "the others are used",
        );
    }
    if table.values.iter().all(|&value| value == 0) {
        findings.fact(
            "note",
            "every counter is 0: conntrack tracks only where a rule needs it (such as nft `ct state`)",
        );
    }
}

/// Where each field of the schema comes from on this host.
fn fields(
    table: &StatTable,
    release: Option<Release>,
    reader: &Reader,
    counted: &Counted,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    findings.heading("where each field comes from");
    let layout = &table.layout;
    let columns = table.columns();
    let from_events = |name: &str| {
        let mut counters = event_counters(layout, release, counted);
        counters.any(|(counter, _)| counter == name)
    };
    let more = layout.names.iter().filter(|name| !DOCUMENTED.contains(&name.as_str()));
    if columns == 0 {
        // One reason for all of them.
        findings.field("counters", "none: there are no statistics")?;
    }
    let documented = DOCUMENTED.into_iter().filter(|name| columns > 0 || from_events(name));
    for name in documented.chain(more.map(String::as_str)) {
        let counted = |column: usize| {
            table.values.iter().skip(column).step_by(columns.max(1)).any(|&value| value != 0)
        };
        let source = match layout.column(name) {
            _ if from_events(name) => "events".to_owned(),
            _ if name == "searched" && !maintained::maintains(layout, release, name) => {
                "none: the kernel gave it up in 4.9, and no probe reaches that loop".to_owned()
            }
            None if layout.maintained => "none: this kernel does not maintain it".to_owned(),
            None => "none: this kernel has no such column".to_owned(),
            Some(column) if counted(column) || maintained::maintains(layout, release, name) => {
                let named = RENAMED.iter().find(|(_, schema)| *schema == name);
                let note = match name {
                    "insert" if maintained::counts_a_part(layout, release, name) => {
                        "; counts only what ctnetlink and BPF insert, not packets"
                    }
                    "found" if maintained::counts_a_part(layout, release, name) => {
                        "; counts only tuples that NAT finds taken (--ebpf-per-packet: look-ups too)"
                    }
                    "entries" => "; the same on every row, never summed",
                    _ => "",
                };
                let column = named.map_or(name, |(kernel, _)| kernel);
                let place = if layout.maintained {
                    "ctnetlink".to_owned()
                } else {
                    format!("column {column}")
                };
                format!("kernel, {place}{note}")
            }
            Some(_) => "none: this kernel prints a constant 0".to_owned(),
        };
        findings.field(name, &source)?;
    }
    for (name, _) in event_counters(layout, release, counted) {
        if !DOCUMENTED.contains(&name) {
            findings.field(name, "events")?;
        }
    }
    if layout.column("chaintoolong").is_some() {
        let place = if layout.maintained { "ctnetlink" } else { "column chainlength" };
        findings.field("drop_chaintoolong", &format!("kernel, {place}"))?;
    }
    for (name, remainder) in FROM_REMAINDERS {
        if remainder.is_known(layout, counted) {
            findings.field(name, "what is left of the kernel's counters less the events")?;
        }
    }
    for file in reader.sysctls() {
        if let Some(path) = file.path() {
            findings.field(&file.key, &format!("sysctl, {}", path.display()))?;
        } else if reader.told(&file.key).is_some() {
            findings.field(&file.key, "kernel, ctnetlink")?;
        }
    }
    findings.field(
        "*_rate, *_rate_max, *_sample_max",
        "differences of the counters above that are counted",
    )?;
    findings.field("entries_min, entries_max", "the samples between two rows")
}

fn describe_cpus(cpus: &[u32]) -> String {
    match cpus {
        [] => "none".to_owned(),
        [one] => format!("1, CPU {one}"),
        [first, .., last] => {
            let holes = if (last - first) as usize + 1 == cpus.len() { "" } else { ", with holes" };
            format!("{}, CPU {first} to {last}{holes}", cpus.len())
        }
    }
}
