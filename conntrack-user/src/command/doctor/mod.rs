//! `ctpulse doctor`: the data that this host provides, what is missing, and the remedies.
//!
//! It looks through the same readers as a run, once, and prints where each field of the
//! schema comes from. What a kernel does not count is a fact; what should be there and is not
//! is a problem, and a problem makes the exit code 1.

pub(super) mod advise;
mod event_source;
mod findings;
mod privileges;

use std::process::ExitCode;

use super::generate::print_quietly;
use super::namespaces;
use crate::cli::DoctorArgs;
use crate::schema::field::FieldKind;
use crate::schema::fields::{self, COUNT, DOCUMENTED, ENTRIES_MAX, ENTRIES_MIN, FIELDS, LIMIT};
use crate::schema::maintained;
use crate::schema::measure::Measure;
use crate::schema::provenance::{derived_fields, event_fields};
use crate::schema::raw::{Counted, EVENTS, Release, StatTable};
use crate::settings::{Collect, DEFAULT_INTERVAL, Input, Netns, Source};
use crate::source::cpu_mask;
use crate::source::existence;
use crate::source::mounts;
use crate::source::procfs::StatError;
use crate::source::reader::{Reader, StatSource};
use crate::source::roots::Place;
use crate::source::sysctl::SysctlFile;
use crate::text::colour;
use findings::Findings;

/// Sysctl files that are looked at besides the defaults.
const MORE_FILES: [&str; 3] =
    ["nf_conntrack_buckets", "nf_conntrack_expect_max", "nf_conntrack_acct"];

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut findings = Findings::new(colour::suits(&std::io::stdout()));
    check_namespaces(args)?;
    let roots = args.source.roots();
    for netns in namespaces(&args.source) {
        if !netns.is_own() {
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

/// Checks that each namespace that is asked for exists.
pub(super) fn check_namespaces(args: &DoctorArgs) -> anyhow::Result<()> {
    let roots = args.source.roots();
    roots.check()?;
    namespaces(&args.source).iter().try_for_each(|netns| Ok(existence::check(&roots, netns)?))
}

fn examine(place: &Place, netns: &Netns, findings: &mut Findings) -> anyhow::Result<()> {
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
        return Ok(());
    }
    if is_hidden {
        let is_made_up_for = read.is_ok() && reader.from_netlink(LIMIT.name).is_some();
        hidden_files(place, is_made_up_for, findings);
    }
    let problems = findings.problems.len();
    sysctls(&mut reader, is_hidden, findings);
    if findings.problems.len() == problems
        && (!is_hidden || reader.from_netlink(LIMIT.name).is_some())
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
            let remedy = match &error {
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
            findings.problem("statistics", &error.to_string(), remedy);
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
            _ if !is_hidden && [COUNT.name, LIMIT.name].contains(&file.key.as_str()) => {
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
    let from_events =
        |name: &str| event_fields(layout, release, counted).any(|(field, _)| field.name == name);
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
        let field = fields::find(name);
        let uncountable = field.and_then(|field| field.uncountable);
        let source = match layout.column(name) {
            _ if from_events(name) => "events".to_owned(),
            _ if uncountable.is_some() && !maintained::maintains(layout, release, name) => {
                format!("none: {}", uncountable.unwrap_or_default())
            }
            None if layout.maintained => "none: this kernel does not maintain it".to_owned(),
            None => "none: this kernel has no such column".to_owned(),
            Some(column) if counted(column) || maintained::maintains(layout, release, name) => {
                let part = field.and_then(|field| field.part);
                let note = match part {
                    Some(part) if maintained::counts_a_part(layout, release, name) => {
                        format!("; {}", part.doctor)
                    }
                    _ if field.is_some_and(|field| field.kind == FieldKind::Gauge) => {
                        "; the same on every row, never summed".to_owned()
                    }
                    _ => String::new(),
                };
                let column = field.map_or(name, |field| field.kernel_column());
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
    for (field, _) in event_fields(layout, release, counted) {
        if !field.is_documented() {
            findings.field(field.name, "events")?;
        }
    }
    let copies = FIELDS.iter().filter_map(|field| Some((field, fields::find(field.copy_of?)?)));
    for (field, original) in copies.filter(|(_, field)| layout.column(field.name).is_some()) {
        let column = format!("column {}", original.kernel_column());
        let place = if layout.maintained { "ctnetlink" } else { &column };
        findings.field(field.name, &format!("kernel, {place}"))?;
    }
    for (field, _) in derived_fields(layout, counted) {
        findings.field(field.name, "what is left of the kernel's counters less the events")?;
    }
    for file in reader.sysctls() {
        if let Some(path) = file.path() {
            findings.field(&file.key, &format!("sysctl, {}", path.display()))?;
        } else if reader.from_netlink(&file.key).is_some() {
            findings.field(&file.key, "kernel, ctnetlink")?;
        }
    }
    let measures = Measure::BESIDE_TOTAL.map(|measure| format!("*{}", measure.suffix()));
    findings.field(&measures.join(", "), "differences of the counters above that are counted")?;
    let extremes = [ENTRIES_MIN.name, ENTRIES_MAX.name].join(", ");
    findings.field(&extremes, "the samples between two rows")
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
