//! `cargo xtask vm`: the tests of tests/guest.rs in virtual machines with Debian's kernels.
//!
//! `kernel` finds and unpacks a kernel (`apt` downloads it from its suite), `image` makes an
//! initramfs of our binaries, a few tools and the kernel's modules, `machine` boots it in QEMU
//! and `console` reads what its init (init.sh) and its kernel print. This file says which
//! kernels and tests, and turns what the console told into one verdict line per test and
//! kernel. Kernels stay in `.cache/kernels` and consoles in `.cache/vm`.

mod apt;
mod console;
mod image;
mod kernel;
mod machine;

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use self::console::Event;
use self::image::Image;
use self::kernel::{Kernel, Kernels};
use self::machine::Machine;
use crate::workspace::{self, shown};
use crate::{tools, workspace::run_checked};

/// The kernels that are tested where none are named.
const DEFAULT: [&str; 3] = ["5.10", "6.1", "6.12"];

/// Seconds that a guest may take, where nobody says so.
const TIMEOUT: u64 = 480;

/// How many of the console's last lines a failure shows.
const LAST_LINES: usize = 60;

/// What `cargo xtask vm` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A kernel to boot, instead of 5.10, 6.1 and 6.12; repeat it for several. Debian's newest
    /// of a series (5.10, 6.1, 6.12), a package by its name, where needed with its suite
    /// (linux-image-...-cloud-amd64/trixie-backports), or a directory with an unpacked package
    #[arg(long = "kernel", value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Seconds after which a guest that has not ended has failed
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT)]
    timeout: u64,
    /// How many guests run at once, each of which takes a CPU and 1 GiB; as many as there are
    /// CPUs if not given
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,
    /// Show the guests' consoles while they run
    #[arg(long, short)]
    verbose: bool,
    /// Put bpftrace (200 MB with its libraries) into the guest too
    #[arg(long)]
    bpftrace: bool,
    /// Run only the tests whose names contain this
    test: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kernels: Vec::new(),
            timeout: TIMEOUT,
            jobs: None,
            verbose: false,
            bpftrace: false,
            test: None,
        }
    }
}

/// What stands in the way of virtual machines here, after what can be installed was.
///
/// # Errors
/// When an installation was tried and failed.
pub(crate) fn obstacle() -> anyhow::Result<Option<String>> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(Some("the kernels are for x86-64, and this machine is another".to_owned()));
    }
    let missing = tools::provide_for_vm()?;
    Ok((!missing.is_empty()).then(|| format!("missing: {}", missing.join(", "))))
}

/// Runs the tests in each kernel, and says what came of them.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(reason) = obstacle()? {
        bail!("no virtual machine can run here: {reason}");
    }
    let cache = workspace::root().join(".cache");
    let consoles = cache.join("vm");
    fs::create_dir_all(&consoles).with_context(|| format!("cannot make {}", consoles.display()))?;
    let _turn = turn(&consoles.join("lock"))?;

    let mut kernels = Kernels::new(cache.join("kernels"));
    let names = options.kernels.iter().map(String::as_str);
    let names: Vec<_> = if names.len() == 0 { DEFAULT.to_vec() } else { names.collect() };
    let kernels: Vec<_> = names.iter().map(|name| kernels.get(name)).collect::<Result<_, _>>()?;

    let binaries = build()?;
    let image = Image::new(&binaries, options.test.as_deref(), options.bpftrace)?;
    let start = Instant::now();
    let all_passed = test_each(&kernels, &image, options, &consoles)?;
    let (count, seconds) = (kernels.len(), start.elapsed().as_secs_f64());
    let verdict = if all_passed { "all tests passed" } else { "FAILED" };
    println!("{verdict}: {count} {} in {seconds:.1} s", plural("kernel", count));
    Ok(if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits until no other run of this workspace uses the cache; the lock ends with the file.
fn turn(path: &Path) -> anyhow::Result<File> {
    let cannot = || format!("cannot lock {}", path.display());
    let file = File::create(path).with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
    }
    eprintln!("xtask: waiting for another `cargo xtask vm` of this workspace");
    file.lock().with_context(cannot)?;
    Ok(file)
}

/// The programs under test.
#[derive(Debug)]
struct Binaries {
    guest: PathBuf,
    ctpulse: PathBuf,
}

fn build() -> anyhow::Result<Binaries> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--locked", "-p", "ctpulse", "--features", "vm", "--test", "guest"]);
    cargo.args(["--no-run", "--message-format", "json-render-diagnostics"]);
    cargo.stderr(Stdio::inherit());
    eprintln!("xtask: {}", shown(&cargo));
    let output = run_checked(&mut cargo)?;
    let executable = |name| {
        executable(&output, name).with_context(|| format!("cargo built no executable `{name}`"))
    };
    Ok(Binaries { guest: executable("guest")?, ctpulse: executable("ctpulse")? })
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

/// Tests the kernels, several at a time; whether all tests passed in all of them.
fn test_each(
    kernels: &[Kernel],
    image: &Image,
    options: &Options,
    consoles: &Path,
) -> anyhow::Result<bool> {
    let jobs = options.jobs.map_or_else(thread::available_parallelism, Ok);
    let jobs = jobs.map_or(1, NonZeroUsize::get).min(kernels.len());
    let next = AtomicUsize::new(0);
    let work = || -> anyhow::Result<bool> {
        let mut all_passed = true;
        while let Some(kernel) = kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
            all_passed &= test(kernel, image, options, consoles)?;
        }
        Ok(all_passed)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let mut all_passed = true;
        for worker in workers {
            all_passed &= worker.join().map_err(|_| anyhow!("a worker panicked"))??;
        }
        Ok(all_passed)
    })
}

/// Boots one kernel; whether all tests passed, of which there was one at least.
fn test(
    kernel: &Kernel,
    image: &Image,
    options: &Options,
    consoles: &Path,
) -> anyhow::Result<bool> {
    let name = &kernel.version;
    let path = consoles.join(format!("{name}.console"));
    let initramfs = consoles.join(format!("{name}.initramfs"));
    let written = fs::write(&initramfs, image.with_modules_of(kernel)?);
    written.with_context(|| format!("cannot write {}", initramfs.display()))?;

    let start = Instant::now();
    let mut run = Run { kernel: name.clone(), ..Run::default() };
    let mut machine = Machine::boot(&kernel.image, &initramfs, &path)?;
    let deadline = start + Duration::from_secs(options.timeout);
    loop {
        match machine.line(deadline)? {
            machine::Line::Text(line) => {
                if options.verbose {
                    eprintln!("{name}: {line}");
                }
                run.take(&line);
            }
            machine::Line::End(status) => {
                run.end(&status);
                break;
            }
            machine::Line::Late => {
                run.trouble.push(format!("the guest has not ended in {} s", options.timeout));
                break;
            }
        }
    }
    drop(machine);
    run.close();
    let _ = fs::remove_file(&initramfs);

    let seconds = start.elapsed().as_secs_f64();
    let (passed, failed) = (run.passed, run.failed.len());
    let boot = run.booted.map_or("no test found".to_owned(), |booted| {
        format!("{:.1} s to boot", (booted - start).as_secs_f64())
    });
    println!("{name}  {passed} passed, {failed} failed, {seconds:.1} s ({boot})");
    for trouble in &run.trouble {
        println!("{name}  FAILED: {trouble}");
    }
    if run.is_good() {
        return Ok(true);
    }
    run.show_lines(&path);
    Ok(false)
}

/// What one guest has told so far.
#[derive(Debug, Default)]
struct Run {
    kernel: String,
    listed: Vec<String>,
    passed: usize,
    failed: Vec<String>,
    /// The test that runs, since when, and the lines since then.
    current: Option<(String, Instant, Vec<String>)>,
    /// The lines of tests that failed, and those outside of any test since the boot.
    last_lines: Vec<String>,
    trouble: Vec<String>,
    booted: Option<Instant>,
    done: bool,
}

impl Run {
    fn take(&mut self, line: &str) {
        match console::event(line) {
            Some(Event::Listed(test)) => {
                if self.booted.is_none() {
                    self.booted = Some(Instant::now());
                    self.last_lines.clear();
                }
                self.listed.push(test.to_owned());
            }
            Some(Event::Began(test)) => {
                self.current = Some((test.to_owned(), Instant::now(), Vec::new()));
            }
            Some(Event::Ended { test, passed }) => self.verdict(test, passed),
            Some(Event::Done) => self.done = true,
            Some(Event::Trouble(text)) => {
                // What follows belongs to the first.
                if self.trouble.is_empty() {
                    self.trouble.push(format!("the kernel said: {text}"));
                }
                self.keep(line);
            }
            None => self.keep(line),
        }
    }

    fn keep(&mut self, line: &str) {
        let lines = self.current.as_mut().map_or(&mut self.last_lines, |(.., lines)| lines);
        lines.push(line.to_owned());
    }

    fn verdict(&mut self, test: &str, passed: bool) {
        let (seconds, lines) = match self.current.take() {
            Some((name, since, lines)) if name == test => (since.elapsed().as_secs_f64(), lines),
            _ => (0.0, Vec::new()),
        };
        let width = self.listed.iter().map(String::len).max().unwrap_or_default();
        let verdict = if passed { "ok" } else { "FAILED" };
        println!("{}  {test:width$}  {verdict:6}  {seconds:5.1} s", self.kernel);
        if passed {
            self.passed += 1;
        } else {
            self.failed.push(test.to_owned());
            self.last_lines.extend(lines.into_iter().rev().take(LAST_LINES).rev());
        }
    }

    /// QEMU has ended.
    fn end(&mut self, status: &str) {
        if !self.done {
            self.trouble.push(format!("the guest ended before its tests ({status})"));
        } else if self.listed.is_empty() {
            self.trouble.push("no test ran".to_owned());
        }
    }

    /// A test that runs when the guest ends has failed; those after it did not run.
    fn close(&mut self) {
        if let Some(test) = self.current.as_ref().map(|(test, ..)| test.clone()) {
            self.verdict(&test, false);
        }
        let missing = self.listed.len() - (self.passed + self.failed.len()).min(self.listed.len());
        if missing > 0 {
            self.trouble.push(format!("{missing} {} did not run", plural("test", missing)));
        }
    }

    fn is_good(&self) -> bool {
        self.done && self.passed > 0 && self.failed.is_empty() && self.trouble.is_empty()
    }

    /// All at once, since other guests may run.
    fn show_lines(&self, console: &Path) {
        let skipped = self.last_lines.len().saturating_sub(2 * LAST_LINES);
        let mut text = format!("xtask: {}: from the console:\n", self.kernel);
        for line in &self.last_lines[skipped..] {
            text.push_str(&format!("  | {line}\n"));
        }
        text.push_str(&format!("xtask: the whole console: {}\n", console.display()));
        // There is nobody else to tell.
        let _ = std::io::stderr().write_all(text.as_bytes());
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

    fn run(lines: &[&str]) -> Run {
        let mut run = Run::default();
        lines.iter().for_each(|line| run.take(line));
        run.end("exit status: 0");
        run.close();
        run
    }

    #[test]
    fn a_guest_is_good_when_every_listed_test_passed() {
        let good = ["ctpulse-guest: test a", "ctpulse-guest: begin a", "ctpulse-guest: end a 0"];
        let done = "ctpulse-guest: done";
        assert!(run(&[&good[..], &[done]].concat()).is_good());
        // It ended early, no test ran, one did not, one failed, one never ended, a warning.
        assert!(!run(&good).is_good());
        assert!(!run(&[done]).is_good());
        assert!(!run(&[&good[..], &["ctpulse-guest: test b", done]].concat()).is_good());
        assert!(!run(&[good[0], good[1], "ctpulse-guest: end a 101", done]).is_good());
        let hung = run(&good[..2]);
        assert_eq!((hung.passed, &hung.failed[..]), (0, &["a".to_owned()][..]));
        let warned = run(&[&good[..], &["[    1.2] WARNING: CPU: 0", done]].concat());
        assert_eq!(warned.trouble, ["the kernel said: WARNING: CPU: 0"]);
    }
}
