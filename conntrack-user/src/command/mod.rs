//! The subcommands, one file each, and what they share: from arguments to settings.

mod config;
mod doctor;
mod drops;
mod execd;
mod execd_check;
mod generate;
pub mod hang_up;
mod input_summary;
mod live;
mod manual;
mod reload;
mod report;
mod roff;
mod run;
mod screen;
mod stream;
mod top;

use std::collections::BTreeSet;
use std::io;
use std::iter;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use log::{Level, LevelFilter};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Cli, CollectArgs, Command, SourceArgs};
use crate::config::{ConfigError, duration_text};
use crate::logging;
use crate::notices::CannotBegin;
use crate::settings::{Collect, Confine, Input, Netns, Roots, SHORTEST_INTERVAL, Settings, Source};
use crate::source::existence::{self, AbsentNamespace};
use crate::source::mounts;
use crate::source::namespace::Pinned;
use crate::source::roots::Place;
use crate::text::sanitize::shown;

/// `--interval` where neither the command line nor a configuration says otherwise: a person
/// is watching.
const WATCHING_INTERVAL: Duration = Duration::from_secs(1);

/// The command line is wrong in a way that only its values together show; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// Namespaces that are asked for and cannot be sampled.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
struct AbsentNamespaces(Vec<AbsentNamespace>);

macro_rules! usage {
    ($($text:tt)*) => {
        return Err(UsageError(format!($($text)*)).into())
    };
}

/// Runs what the command line asks for.
///
/// # Errors
/// The message on standard error before the exit with 1.
pub fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    if matches!(
        cli.command,
        Some(Command::Doctor(_) | Command::Report(_) | Command::Config(_) | Command::Man { .. })
    ) {
        end_on_signals_as_init()?;
        hang_up::release();
    }
    let streams = matches!(cli.command, None | Some(Command::Run(_) | Command::Execd(_)));
    if streams {
        hang_up::hold_limit_of_files();
        allow_many_files();
    }
    // The default action ends every process but process 1. There the command releases the signals once it
    // has its handlers.
    if !streams && !is_init() {
        hang_up::release();
    }
    match cli.command {
        None => run::run(&cli.run),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Live(args)) => live::run(&args),
        Some(Command::Execd(args)) => execd::run(&args),
        Some(Command::Config(args)) => config::run(&args),
        Some(Command::Doctor(args)) if args.advise => doctor::advise::run(&args),
        Some(Command::Doctor(args)) => doctor::run(&args),
        Some(Command::Drops(args)) => drops::run(&args),
        Some(Command::Top(args)) => top::run(&args),
        Some(Command::Report(args)) => report::run(&args),
        Some(Command::Completions { shell }) => generate::completions(shell),
        Some(Command::Man { output }) => manual::run(output.as_deref()),
    }
}

impl SourceArgs {
    /// The roots that the arguments and the environment (`HOST_PROC`, `HOST_SYS`) name.
    fn roots(&self) -> Roots {
        let host = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(Into::into);
        Roots {
            proc_root: self.proc_root.clone(),
            host_proc: host("HOST_PROC").filter(|_| self.proc_root.is_none()),
            sys_root: self.sys_root.clone().or_else(|| host("HOST_SYS")),
        }
    }
}

/// The level of messages that `--debug` and `--quiet` ask for, where no configuration has one.
fn log_level(debug: bool, quiet: bool) -> LevelFilter {
    match (debug, quiet) {
        (true, _) => LevelFilter::Debug,
        (_, true) => LevelFilter::Error,
        _ => LevelFilter::Info,
    }
}

/// Raises the limit of open files as far as this process may: each namespace takes three, and the usual
/// limit of 1,024 is for programs that use `select`.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // If it is refused, the usual limit is enough for most.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

/// Returns the lines that report an error: one for each problem of a configuration, and one with the
/// details where there are some.
#[must_use]
pub fn error_lines(error: &anyhow::Error) -> Vec<(Level, String)> {
    if let Some(problems) = error.downcast_ref::<ConfigError>() {
        let warnings = problems.warnings().iter().map(|line| (Level::Warn, line.clone()));
        return warnings
            .chain(problems.lines().into_iter().map(|line| (Level::Error, line)))
            .collect();
    }
    if let Some(AbsentNamespaces(absent)) = error.downcast_ref() {
        return absent.iter().flat_map(absent_lines).collect();
    }
    if let Some(absent) = error.downcast_ref() {
        return absent_lines(absent);
    }
    match CannotBegin::find(error) {
        Some(cause) => {
            let details = logging::divided(Level::Info, &cause.details);
            iter::once((Level::Error, cause.to_string())).chain(details).collect()
        }
        None => logging::divided(Level::Error, &format!("{error:#}")),
    }
}

fn absent_lines(absent: &AbsentNamespace) -> Vec<(Level, String)> {
    let details = absent.details().map(|details| (Level::Info, details));
    iter::once((Level::Error, absent.to_string())).chain(details).collect()
}

fn log_error(error: &anyhow::Error) {
    for (level, line) in error_lines(error) {
        log::log!(level, "{line}");
    }
}

/// The namespaces that `--netns` names, or this process's own, each held and with its name escaped.
fn pinned_namespaces(source: &SourceArgs) -> anyhow::Result<Vec<(Pinned, String)>> {
    let roots = source.roots();
    let open = |name: &Netns| {
        existence::check(&roots, name)?;
        let place = Place::resolve(&roots, name);
        let pinned = place.namespace().with_context(|| {
            format!("cannot open network namespace {name}: {}", why_unopened(&place))
        })?;
        Ok((pinned, shown(&name.to_string()).into_owned()))
    };
    namespaces(source).iter().map(open).collect()
}

/// Why the namespace of a place cannot be held.
fn why_unopened(place: &Place) -> String {
    if !mounts::is_procfs("/proc".as_ref()) {
        return "procfs is not mounted on /proc".to_owned();
    }
    let Some(path) = &place.enter else { return "it cannot be seen".to_owned() };
    let is_of_process = path.parent().is_some_and(|parent| parent.ends_with("ns"));
    match Pinned::open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_of_process => {
            "that of another process takes CAP_SYS_PTRACE".to_owned()
        }
        Err(error) => error.to_string(),
        Ok(_) => "its process has ended".to_owned(),
    }
}

/// Settings from the configuration file, if one is given, and what the arguments change.
/// With `asked`, rows are written on request and the interval has no effect.
fn settings(args: &CollectArgs, asked: bool) -> anyhow::Result<(Settings, Vec<String>)> {
    settings_each(WATCHING_INTERVAL, args, asked)
}

/// The same, with rows each `interval` where neither the command line nor a file says otherwise.
fn settings_each(
    interval: Duration,
    args: &CollectArgs,
    asked: bool,
) -> anyhow::Result<(Settings, Vec<String>)> {
    let (mut settings, mut warnings) = match &args.sample.config {
        Some(path) => {
            let loaded = crate::config::load(path)?;
            (loaded.settings, loaded.warnings)
        }
        None => {
            let mut input = Input::new(interval);
            input.collect = Collect { all: true, percpu: false };
            let settings = Settings {
                inputs: vec![input],
                global_tags: Default::default(),
                host: crate::config::system_host(),
                roots: Roots::default(),
                listen: None,
                log_level: LevelFilter::Info,
                confine: Confine::Auto,
                user: None,
            };
            (settings, Vec::new())
        }
    };
    settings.roots = args.sample.source.roots();
    settings.roots.check()?;
    if args.sample.debug {
        settings.log_level = LevelFilter::Debug;
    } else if args.sample.quiet {
        settings.log_level = LevelFilter::Error;
    }
    settings.confine = args.confine.unwrap_or(settings.confine);
    if let Some(user) = &args.user {
        settings.user = Some(user.clone());
    }
    for input in &mut settings.inputs {
        override_input(input, args, asked)?;
    }
    let names = &args.sample.source.netns;
    if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        usage!("--netns {} is given twice", twice.1);
    }
    if !names.is_empty() {
        settings.inputs = look_into(&settings.inputs, args);
    }
    if args.sample.wait && settings.inputs.iter().all(|input| input.netns.is_own()) {
        usage!("--wait waits for a network namespace; add --netns, or netns in the configuration");
    }
    let mut absent = Vec::new();
    for input in &mut settings.inputs {
        input.wait |= args.sample.wait;
        match existence::check(&settings.roots, &input.netns) {
            Err(error) if !(input.wait && error.may_come()) => absent.push(error),
            _ => {}
        }
    }
    if !absent.is_empty() {
        return Err(AbsentNamespaces(absent).into());
    }
    if settings.roots.proc_root.is_some() && settings.inputs.iter().any(|i| !i.netns.is_own()) {
        bail!(
            "--proc-root reads plain files; it cannot be combined with `netns` in {}",
            args.sample.config.as_ref().map_or_else(String::new, |path| path.display().to_string())
        );
    }
    if settings.roots.proc_root.is_some()
        && settings.inputs.iter().any(|i| i.source == Source::Netlink)
    {
        usage!(
            "--proc-root reads plain files, which netlink knows nothing of; use --source procfs"
        );
    }
    let without_effect = settings.inputs.iter().filter_map(Input::options_without_effect);
    // The same of several inputs once.
    warnings.extend(without_effect.collect::<BTreeSet<_>>());
    Ok((settings, warnings))
}

impl Roots {
    fn check(&self) -> anyhow::Result<()> {
        for (what, path) in [("--proc-root", &self.proc_root), ("HOST_PROC", &self.host_proc)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_dir()) {
                usage!("{what} is {}, which is no directory", path.display());
            }
        }
        Ok(())
    }
}

fn override_input(input: &mut Input, args: &CollectArgs, asked: bool) -> anyhow::Result<()> {
    if let Some(interval) = args.sample.interval {
        input.interval = interval;
        input.sample_interval = input.sample_interval.min(interval);
    }
    if let Some(sample_interval) = args.sample.sample_interval {
        input.sample_interval = sample_interval;
    }
    if asked {
        // There are samples between two rows, however often these are asked for.
        input.interval = input.interval.max(input.sample_interval * 2);
    }
    for (what, value) in
        [("--interval", input.interval), ("--sample-interval", input.sample_interval)]
    {
        if value < SHORTEST_INTERVAL {
            let (value, shortest) = (duration_text(value), duration_text(SHORTEST_INTERVAL));
            usage!("{what} is {value}; the shortest is {shortest}");
        }
    }
    if input.sample_interval > input.interval {
        usage!(
            "--sample-interval ({}) is longer than the interval ({}); sample at least once per row",
            duration_text(input.sample_interval),
            duration_text(input.interval)
        );
    }
    if let Some(collect) = args.collect {
        input.collect = collect;
    }
    input.compat_telegraf |= args.compat.is_some();
    input.percpu_rates |= args.percpu_rates;
    input.collect.percpu |= args.percpu_rates;
    input.internal |= args.internal;
    input.source = args.sample.stat_source.unwrap_or(input.source);
    if input.source == Source::Netlink && input.compat_telegraf {
        usage!("--compat telegraf counts columns that only procfs has; use --source procfs");
    }
    input.ebpf = args.sample.ebpf.unwrap_or(input.ebpf);
    input.ebpf_per_packet |= args.sample.ebpf_per_packet;
    input.ebpf_invalid |= args.sample.ebpf_invalid;
    input.composition = args.composition.or(input.composition);
    input.ebpf_attach = args.sample.ebpf_attach.or(input.ebpf_attach);
    Ok(())
}

/// Every input once for each namespace of the command line.
fn look_into(inputs: &[Input], args: &CollectArgs) -> Vec<Input> {
    let names = &args.sample.source.netns;
    let each = |input: &Input| {
        let input = input.clone();
        names.iter().map(move |netns| {
            let (netns, netns_tag) = (netns.clone(), names.len() > 1);
            Input { netns, netns_tag, ..input.clone() }
        })
    };
    inputs.iter().flat_map(each).collect()
}

/// The namespaces of the command line: the own one where it names none.
fn namespaces(args: &SourceArgs) -> &[Netns] {
    match args.netns.as_slice() {
        [] => &[Netns::Own],
        names => names,
    }
}

/// Whether this is process 1, a container's.
fn is_init() -> bool {
    std::process::id() == 1
}

/// Lets SIGINT and SIGTERM end process 1, a container's, for which they have no default action. For
/// commands that do not handle signals themselves.
fn end_on_signals_as_init() -> anyhow::Result<()> {
    if !is_init() {
        return Ok(());
    }
    let runtime = runtime()?;
    let mut waiting = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let _guard = runtime.enter();
        waiting.push((kind, signal(kind).context("cannot wait for signals")?));
    }
    let wait = move || {
        for (kind, mut signals) in waiting {
            runtime.spawn(async move {
                signals.recv().await;
                // As shells report a process that the signal ended.
                std::process::exit(128 + kind.as_raw_value());
            });
        }
        runtime.block_on(std::future::pending::<()>());
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}

/// Adds the global tags to every input; `host` only where no agent adds its own.
fn tag_globally(settings: &mut Settings, standalone: bool) {
    let mut tags = settings.global_tags.clone();
    if standalone && let Some(host) = &settings.host {
        tags.insert("host".into(), host.clone());
    }
    for input in &mut settings.inputs {
        input.filter.global_tags =
            tags.iter().map(|(key, value)| (key.as_str().into(), value.clone())).collect();
    }
}

/// Becomes the user that is asked for.
fn become_user(settings: &Settings) -> anyhow::Result<()> {
    Ok(settings.user.as_deref().map_or(Ok(()), crate::confine::switch_to)?)
}

/// A single-threaded runtime: it waits for signals, timers and standard input, nothing else.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("cannot wait for signals")
}
