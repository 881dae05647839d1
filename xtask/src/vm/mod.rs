//! `cargo xtask vm`: the tests of tests/guest in virtual machines with Debian's kernels.
//!
//! `kernel` finds and unpacks a kernel (`apt` downloads it from its suite), `programs` finds the tools of a
//! guest, `image` makes an initramfs of our binaries, these tools and the kernel's modules, `machine` boots it in QEMU,
//! `console` reads what its init (init.sh) and its kernel print, and `run` turns that into one
//! verdict per test. This file selects the kernels and tests; `measure` has a guest measure, for
//! `cargo xtask bench`, and `disk` boots a system from a disk, for `cargo xtask test-package`. Kernels stay in `.cache/kernels` and consoles in `.cache/vm`.

mod apt;
mod console;
mod disk;
mod image;
mod kernel;
mod machine;
mod measure;
mod programs;
mod run;

pub(crate) use self::apt::Apt;
pub(crate) use self::disk::{Disk, boot_disk};
pub(crate) use self::machine::Accelerator;
pub(crate) use self::measure::measure;

use std::fs::{self, File, TryLockError};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use self::image::{Image, Work};
use self::kernel::{Kernel, Kernels};
use self::machine::Hardware;
use self::programs::Programs;
use self::run::{Guest, Patience};
use crate::architecture::Architecture;
use crate::workspace::{self, run_checked, shown};
use crate::{cross, tools};

/// The kernels that are tested where none are named.
fn default_kernels(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        Architecture::X86_64 => &["5.10", "6.1", "6.12"],
        Architecture::Aarch64 => &["6.1", "6.12"],
    }
}

/// Debian's package with the emulator of arm64.
const EMULATOR: &str = "qemu-system-arm";

/// Seconds that a guest may take by default: twice what all tests take on an idle machine, of
/// which one waits for the kernel's garbage collector, two minutes on 5.10.
const TIMEOUT: u64 = 2700;

/// Seconds that a test may take by default: three times what the longest takes on an idle machine.
const TEST_TIMEOUT: u64 = 600;

/// Options of `cargo xtask vm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The architecture of the guests. The tests for arm64 are built by Debian's compiler
    #[arg(long, value_enum, default_value_t)]
    arch: Architecture,
    /// A kernel to boot, instead of 5.10 (amd64 only), 6.1 and 6.12; repeat it for several. Debian's newest
    /// of a series (5.10, 6.1, 6.12), a package by its name, where needed with its suite
    /// (linux-image-...-cloud-amd64/trixie-backports), or a directory with an unpacked package
    #[arg(long = "kernel", value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Seconds after which a guest that still runs has failed
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT)]
    timeout: u64,
    /// Seconds after which a test that still runs has failed, and the next one begins
    #[arg(long, value_name = "SECONDS", default_value_t = TEST_TIMEOUT)]
    test_timeout: u64,
    /// How many guests run at once. Each takes a CPU and 1 GiB. The default is one
    /// for each CPU. With more than one, each kernel's tests are divided between two
    /// guests, if they are not selected by name
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,
    /// How QEMU executes a guest
    #[arg(long, value_enum, default_value_t)]
    accel: Accelerator,
    /// Show the guests' consoles while they run
    #[arg(long, short)]
    verbose: bool,
    /// Also add bpftrace (200 MB with its libraries) to the guest
    #[arg(long)]
    bpftrace: bool,
    /// Number of connections in `every_connection_is_counted_under_load`; about 10,000 a
    /// second on an idle machine, so give --timeout and --test-timeout too
    #[arg(long, value_name = "NUMBER")]
    connections: Option<u64>,
    /// How the tests attach probes: kprobe, trampoline or auto, instead of the default
    #[arg(long, value_name = "HOW", value_parser = ["kprobe", "trampoline", "auto"])]
    attach: Option<String>,
    /// Run each test of `advice` in one of the kernels only, in turn: they take half of the time, and
    /// what they judge is compared by other tests in each kernel. `cargo xtask test` does so
    #[arg(long)]
    brief: bool,
    /// Run only the tests whose names contain this
    test: Option<String>,
}

impl Options {
    /// Every default kernel, each test of `advice` in one of them.
    pub(crate) fn brief() -> Self {
        Self { brief: true, ..Self::default() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            arch: Architecture::default(),
            kernels: Vec::new(),
            timeout: TIMEOUT,
            test_timeout: TEST_TIMEOUT,
            jobs: None,
            accel: Accelerator::default(),
            verbose: false,
            bpftrace: false,
            connections: None,
            attach: None,
            brief: false,
            test: None,
        }
    }
}

/// Installs the requirements, and returns why virtual machines cannot run here, if they cannot.
///
/// # Errors
/// When an installation was tried and failed.
pub(crate) fn obstacle(architecture: Architecture) -> anyhow::Result<Option<String>> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(Some("the guests are made on x86-64, and this machine is not".to_owned()));
    }
    let missing = tools::provide_for_vm()?;
    if !missing.is_empty() {
        return Ok(Some(format!("missing: {}", missing.join(", "))));
    }
    if architecture == Architecture::X86_64 {
        return Ok(None);
    }
    let emulator = tools::provide_packages(&[EMULATOR], "it runs guests for arm64")?;
    Ok(cross::obstacle()?.or(emulator))
}

/// Runs the tests in each kernel, and prints the results.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(reason) = obstacle(options.arch)? {
        bail!("no virtual machine can run here: {reason}");
    }
    options.accel.check(options.arch)?;
    let (consoles, _turn) = turn()?;
    let mut cache = kernels(options.arch);
    let names: Vec<_> = options.kernels.iter().map(String::as_str).collect();
    let names = if names.is_empty() { default_kernels(options.arch) } else { &names };
    let kernels: Vec<_> = names.iter().map(|name| cache.get(name)).collect::<Result<_, _>>()?;

    let binaries = build(options.arch)?;
    let image = Image::new(
        &binaries,
        &Programs::of(&mut cache)?,
        Work::Tests {
            filter: options.test.as_deref().unwrap_or_default(),
            connections: options.connections,
            attach: options.attach.as_deref(),
            patience: options.test_timeout,
        },
        options.bpftrace,
    )?;
    let start = Instant::now();
    let all_passed = test_each(&kernels, &image, options, &consoles)?;
    let (count, seconds) = (kernels.len(), start.elapsed().as_secs_f64());
    let verdict = if all_passed { "all tests passed" } else { "FAILED" };
    println!("{verdict}: {count} {} in {seconds:.1} s", plural("kernel", count));
    Ok(if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The kernels, downloaded when they are asked for.
fn kernels(architecture: Architecture) -> Kernels {
    Kernels::new(workspace::root().join(".cache/kernels"), architecture)
}

/// The directory of consoles, once no other run of this workspace uses it and the kernels; the
/// lock ends with the file.
fn turn() -> anyhow::Result<(PathBuf, File)> {
    let consoles = workspace::root().join(".cache/vm");
    fs::create_dir_all(&consoles).with_context(|| format!("cannot make {}", consoles.display()))?;
    let path = consoles.join("lock");
    let cannot = || format!("cannot lock {}", path.display());
    let file = File::create(&path).with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => return Ok((consoles, file)),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
    }
    eprintln!("xtask: waiting for another `cargo xtask vm` of this workspace");
    file.lock().with_context(cannot)?;
    Ok((consoles, file))
}

/// The programs under test.
#[derive(Debug)]
struct Binaries {
    guest: PathBuf,
    ctpulse: PathBuf,
}

fn build(architecture: Architecture) -> anyhow::Result<Binaries> {
    let mut cargo = match architecture {
        // As the other tests are built, so that nothing else is built again.
        Architecture::X86_64 => {
            let mut cargo = workspace::cargo();
            cargo.args(["test", "--workspace"]);
            cargo
        }
        Architecture::Aarch64 => {
            let mut cargo = cross::cargo("test", "std");
            cargo.args(["--package", "ctpulse"]);
            cargo
        }
    };
    cargo.args([
        "--locked",
        "--test",
        "guest",
        "--no-run",
        "--message-format",
        "json-render-diagnostics",
    ]);
    cargo.stderr(Stdio::inherit());
    eprintln!("xtask: {}", shown(&cargo));
    let output = run_checked(&mut cargo)?;
    let executable = |name| {
        executable(&output, name).with_context(|| format!("cargo built no executable `{name}`"))
    };
    Ok(Binaries { guest: executable("guest")?, ctpulse: executable("ctpulse")? })
}

/// Builds the test binary of the guests, and returns its path.
///
/// # Errors
/// When it does not compile.
pub(crate) fn build_tests() -> anyhow::Result<PathBuf> {
    Ok(build(Architecture::X86_64)?.guest)
}

/// The measurement `NAME number=...` that a line of a test has.
pub(crate) fn measured(line: &str) -> Option<&str> {
    match console::event(line) {
        Some(console::Event::Measured(figure)) => Some(figure),
        _ => None,
    }
}

/// The path of the target `name` in cargo's JSON messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let name = format!(r#","name":"{name}","#);
    messages.lines().filter(|line| line.contains(&name)).find_map(|line| {
        let (_, rest) = line.split_once(r#""executable":""#)?;
        let path = &rest[..rest.find('"')?];
        (!path.contains('\\')).then(|| path.into())
    })
}

/// A part of the tests with a kernel.
#[derive(Debug, Clone, Copy)]
struct Part {
    index: usize,
    of: usize,
    /// The number of its kernel, among so many that divide the tests of `advice` between them.
    kernel: usize,
    kernels: usize,
}

impl Part {
    const WHOLE: Self = Self { index: 0, of: 1, kernel: 0, kernels: 1 };

    /// What the numbers of its tests, counted from 1, leave over when they are divided by `of`.
    fn remainder(self) -> usize {
        (self.index + 1) % self.of
    }

    /// The line that init.sh reads.
    fn numbers(self) -> String {
        format!("{} {} {} {}\n", self.of, self.remainder(), self.kernels, self.kernel)
    }

    /// A name for a guest with the kernel `version`.
    fn name(self, version: &str) -> String {
        match self.of {
            1 => version.to_owned(),
            of => format!("{version}.{}of{of}", self.index + 1),
        }
    }
}

/// Tests the kernels, several guests at a time. Returns whether all tests passed in all of them.
fn test_each(
    kernels: &[Kernel],
    image: &Image,
    options: &Options,
    consoles: &Path,
) -> anyhow::Result<bool> {
    let jobs = options.jobs.map_or_else(thread::available_parallelism, Ok);
    let jobs = jobs.map_or(1, NonZeroUsize::get);
    let of = if jobs > 1 && options.test.is_none() { 2 } else { 1 };
    let among = if options.brief { kernels.len() } else { 1 };
    let parts = |number: usize| {
        (0..of).map(move |index| Part { index, of, kernel: number % among, kernels: among })
    };
    let guests: Vec<_> = kernels
        .iter()
        .enumerate()
        .flat_map(|(number, kernel)| parts(number).map(move |part| (kernel, part)))
        .collect();
    let next = AtomicUsize::new(0);
    let work = || -> anyhow::Result<bool> {
        let mut all_passed = true;
        while let Some((kernel, part)) = guests.get(next.fetch_add(1, Ordering::Relaxed)) {
            all_passed &= test(kernel, *part, image, options, consoles)?;
        }
        Ok(all_passed)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.min(guests.len())).map(|_| scope.spawn(work)).collect();
        let mut all_passed = true;
        for worker in workers {
            all_passed &= worker.join().map_err(|_| anyhow!("a worker panicked"))??;
        }
        Ok(all_passed)
    })
}

/// Boots a guest. Returns whether at least one test ran and all passed.
fn test(
    kernel: &Kernel,
    part: Part,
    image: &Image,
    options: &Options,
    consoles: &Path,
) -> anyhow::Result<bool> {
    let name = part.name(&kernel.version);
    let start = Instant::now();
    let patience = Patience {
        guest: Duration::from_secs(options.timeout),
        // The guest itself ends a test that hangs, unless its kernel does.
        test: Duration::from_secs(options.test_timeout) + Duration::from_secs(60),
    };
    let guest = Guest { name: &name, kernel, initramfs: &image.with(kernel, part)?, consoles };
    let hardware = Hardware {
        architecture: options.arch,
        accelerator: options.accel,
        memory_mib: image.memory_mib(),
        disk: None,
    };
    let run = run::attend(guest, hardware, patience, &mut |event| match event {
        run::Shown::Line(line) if options.verbose => eprintln!("{name}: {line}"),
        run::Shown::Line(_) => {}
        run::Shown::Verdict(verdict) => println!("{verdict}"),
    })?;

    print_result(&name, &run, start);
    Ok(run.is_good())
}

/// Prints the result of one guest.
fn print_result(name: &str, run: &run::Run, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let (passed, failed) = (run.passed, run.failed.len());
    let boot = run.booted.map_or("no test found".to_owned(), |booted| {
        format!("{:.1} s to boot", (booted - start).as_secs_f64())
    });
    println!("{name}  {passed} passed, {failed} failed, {seconds:.1} s ({boot})");
    for trouble in &run.trouble {
        println!("{name}  FAILED: {trouble}");
    }
    if !run.is_good() {
        run.show_lines();
    }
}

fn plural(noun: &str, count: usize) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}

/// A command of a program in the administrators' directories too, with untranslated output.
fn tool(program: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(program);
    command.env("PATH", tools::search_path()?).env("LC_ALL", "C").stdin(Stdio::null());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_is_in_one_part() {
        for of in 1..4 {
            for number in 1..10 {
                let has_it = |index| number % of == Part { index, of, ..Part::WHOLE }.remainder();
                assert_eq!((0..of).filter(|index| has_it(*index)).count(), 1, "{number} of {of}");
            }
        }
        assert_eq!(Part::WHOLE.name("6.1"), "6.1");
        let second = Part { index: 1, of: 2, ..Part::WHOLE };
        assert_eq!(
            (second.name("6.1").as_str(), second.numbers().as_str()),
            ("6.1.2of2", "2 0 1 0\n")
        );
    }

    #[test]
    fn executables_are_found_in_cargos_messages() {
        let messages = concat!(
            r#"{"target":{"kind":["lib"],"name":"ctpulse","src":"a"},"executable":null}"#,
            "\n",
            r#"{"target":{"kind":["bin"],"name":"ctpulse","src":"a"},"executable":"/t/ctpulse"}"#,
            "\n",
            r#"{"target":{"kind":["test"],"name":"guest","src":"a"},"executable":"/t/guest-1"}"#,
        );
        assert_eq!(executable(messages, "ctpulse"), Some("/t/ctpulse".into()));
        assert_eq!(executable(messages, "guest"), Some("/t/guest-1".into()));
        assert_eq!(executable(messages, "cli"), None);
    }
}
