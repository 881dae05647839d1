//! `ctpulse doctor`: the data that this host provides, what is missing, and the remedies.
//!
//! It looks through the same readers as a run, once, and prints where each field of the
//! schema comes from. What a kernel does not count is a fact; what should be there and is not
//! is a problem, and a problem makes the exit code 1.

pub(super) mod advise;
mod event_source;
mod field_sources;
mod findings;
mod privileges;

use std::process::ExitCode;

use super::generate::print_quietly;
use super::namespaces;
use crate::cli::DoctorArgs;
use crate::notices::StartNotice;
use crate::schema::fields::{COUNT, LIMIT};
use crate::schema::maintained;
use crate::schema::raw::{EVENTS, Release, StatTable};
use crate::settings::{Collect, DEFAULT_INTERVAL, EbpfAttach, Input, Netns, Source};
use crate::source::cpu_mask;
use crate::source::existence;
use crate::source::mounts;
use crate::source::opened;
use crate::source::procfs::StatError;
use crate::source::reader::{Reader, StatSource};
use crate::source::roots::Place;
use crate::source::sysctl::{SysctlError, SysctlFile};
use crate::text::colour;
use field_sources::FieldSources;
use findings::Findings;

/// Sysctl files that are looked at besides the defaults.
const MORE_FILES: [&str; 3] =
    ["nf_conntrack_buckets", "nf_conntrack_expect_max", "nf_conntrack_acct"];

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut findings = Findings::new(colour::suits(&std::io::stdout()));
    check_namespaces(args)?;
    let roots = args.source.roots();
    if let Some(root) = roots.proc_root.as_deref().filter(|root| mounts::shows_reader(root)) {
        findings.off("the host's namespace", &StartNotice::OwnProcfs(root).to_string());
    }
    for netns in namespaces(&args.source) {
        if !netns.is_own() {
            findings.heading(&format!("network namespace {netns}"));
        }
        let place = Place::resolve(&roots, netns);
        examine(&place, netns, args.ebpf_attach, &mut findings);
    }
    let running = privileges::running();
    if !running.is_empty() {
        findings.heading("agents that run now");
        running.iter().for_each(|(name, text)| findings.field(name, text));
    }
    let healthy = findings.problems.is_empty();
    print_quietly(findings.conclude().as_bytes())?;
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks that each namespace that is asked for exists.
pub(super) fn check_namespaces(args: &DoctorArgs) -> anyhow::Result<()> {
    let roots = args.source.roots();
    roots.check()?;
    namespaces(&args.source).iter().try_for_each(|netns| Ok(existence::check(&roots, netns)?))
}

/// Examines one namespace through the readers of a run.
fn examine(place: &Place, netns: &Netns, attach: Option<EbpfAttach>, findings: &mut Findings) {
    let is_hidden = place.is_live() && mounts::hides_files(&place.proc_root);
    let release = kernel(place, findings);
    let cpus = possible_cpus(place, findings);

    let mut input = Input::new(DEFAULT_INTERVAL);
    input.collect = Collect { all: true, percpu: true };
    input.netns = netns.clone();
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
        // One reason for everything that is missing; its message has the remedy.
        findings.problem("network namespace", &error.to_string(), "nothing of it can be read");
        return;
    }
    let is_unmounted = live && !mounts::is_procfs(&place.proc_root);
    if is_unmounted {
        let root = place.proc_root.display();
        findings.problem(
            "procfs",
            &format!("it is not mounted on {root}"),
            &format!("mount it: mount -t proc proc {root}"),
        );
    }
    if is_hidden {
        let is_made_up_for = read.is_ok() && reader.from_netlink(LIMIT.name).is_some();
        hidden_files(place, is_made_up_for, findings);
    }
    // Where there is nothing at all, the statistics give the reason once.
    let is_reported = is_hidden || read.is_err() && !reader.sysctls().any(SysctlFile::is_open);
    sysctls(&mut reader, is_reported, &sysctl_faults, findings);
    match read {
        Ok(_) => {
            statistics(&reader, &table, &cpus, findings);
            findings.works("the kernel's statistics");
            if live {
                findings.fact("ctnetlink", &ctnetlink(&reader));
            }
        }
        // Its reason is the first problem.
        Err(_) if is_hidden || is_unmounted => {}
        Err(error) => {
            let remedy = remedy(&error, &reader);
            findings.problem("statistics", &error.to_string(), remedy);
        }
    }
    let (counted, may_attach) = if live {
        event_source::examine(namespace.as_ref(), &cpus, attach, findings)
    } else {
        findings.off("probes", "not tried, as plain files are read (--proc-root)");
        ([false; EVENTS], false)
    };
    let sources = FieldSources { table: &table, release, reader: &reader, counted: &counted };
    sources.list(findings);
    findings.heading("privileges (docs/security.md)");
    for (name, text) in &privileges::own(&input, place, may_attach) {
        findings.field(name, text);
    }
}

/// Reports the kernel's release, which decides on counters that print 0.
fn kernel(place: &Place, findings: &mut Findings) -> Option<Release> {
    let text = match opened::text(&place.osrelease()) {
        Err(_) if place.is_live() => {
            rustix::system::uname().release().to_string_lossy().into_owned()
        }
        text => text.unwrap_or_default(),
    };
    let release = maintained::parse_release(&text);
    match release {
        Some(_) => findings.fact("kernel", text.trim()),
        None => findings.problem(
            "kernel",
            &format!("no release in {}", place.osrelease().display()),
            "counters that print 0 are doubted; check --proc-root",
        ),
    }
    release
}

/// Reports the mask of possible CPUs. Returns none where it cannot be read.
fn possible_cpus(place: &Place, findings: &mut Findings) -> Vec<u32> {
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
    cpus.unwrap_or_default()
}

/// Returns the remedy for statistics that cannot be read.
fn remedy(error: &StatError, reader: &Reader) -> &'static str {
    let has_module = reader.sysctls().any(SysctlFile::is_open);
    match error {
        StatError::Neither { .. } => "until then only the table row can be emitted",
        StatError::Missing(_) if has_module => {
            "conntrack is there, its statistics are not (CONFIG_NF_CONNTRACK_PROCFS is off): \
             only the table row can be emitted"
        }
        StatError::Missing(_) => {
            "load the module (modprobe nf_conntrack) or a firewall rule that needs it"
        }
        _ => "see the reason above",
    }
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

/// Reports the sysctl values, and the files that give no number, unless the reason `is_reported`.
fn sysctls(
    reader: &mut Reader,
    is_reported: bool,
    faults: &[SysctlError],
    findings: &mut Findings,
) {
    let problems = findings.problems.len();
    let remedy = match reader.foreign() {
        Some(missing) => format!("to enter the namespace it needs {missing}"),
        // Statistics are a file of the module.
        None if reader.has_statistics() => "show this process /proc/sys/net/netfilter, or grant \
                                            CAP_NET_ADMIN, with which ctnetlink is asked"
            .to_owned(),
        None => "load the module (modprobe nf_conntrack); in a container set HOST_PROC".to_owned(),
    };
    let mut values = Vec::new();
    reader.read_sysctls(&mut values, &mut |_| {});
    let mut missing = Vec::new();
    for (file, value) in reader.sysctls().zip(values) {
        match (file.path(), value) {
            (Some(path), Some(value)) => {
                findings.fact(&file.key, &format!("{value} (from {})", path.display()));
            }
            (None, Some(value)) => findings.fact(&file.key, &format!("{value} (from ctnetlink)")),
            _ if !is_reported && [COUNT.name, LIMIT.name].contains(&file.key.as_str()) => {
                missing.push(file.key.as_str());
            }
            _ => {}
        }
    }
    if !missing.is_empty() {
        findings.problem("sysctl", &format!("no file gives {}", missing.join(" and ")), &remedy);
    }
    if findings.problems.len() == problems
        && (!is_reported || reader.from_netlink(LIMIT.name).is_some())
    {
        findings.works("the table's count and limit");
    }
    for fault in faults {
        findings.problem("sysctl", &fault.to_string(), "the field is left out");
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
