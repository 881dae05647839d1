//! One guest from its boot to its end, and the results of its tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::console::{self, Event};
use super::kernel::Kernel;
use super::machine::{Hardware, Line, Machine};
use super::plural;

/// How many of the console's last lines a failure shows.
const LAST_LINES: usize = 60;

/// Output while a guest runs.
pub(super) enum Shown<'a> {
    /// A line of its console.
    Line(&'a str),
    /// How a test ended.
    Verdict(&'a str),
}

/// How long a guest is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From its boot to its end.
    pub(super) guest: Duration,
    /// From the beginning of a test to its end.
    pub(super) test: Duration,
}

impl Patience {
    /// For a guest and each of its tests.
    pub(super) fn whole(patience: Duration) -> Self {
        Self { guest: patience, test: patience }
    }

    /// When a guest is killed that was booted at `boot` and runs a test since `began`.
    fn deadline(self, boot: Instant, began: Option<Instant>) -> Instant {
        let guest = boot + self.guest;
        began.map_or(guest, |began| guest.min(began + self.test))
    }

    /// Why it was killed at its deadline.
    fn trouble(self, boot: Instant) -> String {
        if boot.elapsed() >= self.guest {
            format!("the guest has not ended in {} s", self.guest.as_secs())
        } else {
            format!("the guest was killed, as a test had not ended in {} s", self.test.as_secs())
        }
    }
}

/// A guest to boot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guest<'a> {
    /// Names it in its results and its files.
    pub(super) name: &'a str,
    pub(super) kernel: &'a Kernel,
    pub(super) initramfs: &'a [u8],
    /// The directory of its console.
    pub(super) consoles: &'a Path,
}

/// Boots a guest on `hardware` and listens until it ends, or kills it when `patience` is over.
///
/// # Errors
/// When QEMU cannot be started or a file cannot be written.
pub(super) fn attend(
    guest: Guest<'_>,
    hardware: Hardware<'_>,
    patience: Patience,
    show: &mut dyn FnMut(Shown<'_>),
) -> anyhow::Result<Run> {
    let name = guest.name;
    let initramfs = guest.consoles.join(format!("{name}.initramfs"));
    let written = fs::write(&initramfs, guest.initramfs);
    written.with_context(|| format!("cannot write {}", initramfs.display()))?;

    let console = guest.consoles.join(format!("{name}.console"));
    let mut machine = Machine::boot(&guest.kernel.image, &initramfs, hardware, &console)?;
    let mut run = Run { name: name.to_owned(), console, ..Run::default() };
    let boot = Instant::now();
    loop {
        let began = run.current.as_ref().map(|(_, began, _)| *began);
        match machine.line(patience.deadline(boot, began))? {
            Line::Text(line) => {
                show(Shown::Line(&line));
                if let Some(verdict) = run.take(&line) {
                    show(Shown::Verdict(&verdict));
                }
            }
            Line::End(status) => {
                run.end(&status);
                break;
            }
            Line::Late => {
                run.trouble.push(patience.trouble(boot));
                break;
            }
        }
    }
    drop(machine);
    if let Some(verdict) = run.close() {
        show(Shown::Verdict(&verdict));
    }
    let _ = fs::remove_file(&initramfs);
    Ok(run)
}

/// The reports of one guest so far.
#[derive(Debug, Default)]
pub(super) struct Run {
    name: String,
    /// Where the whole console is.
    console: PathBuf,
    listed: Vec<String>,
    pub(super) passed: usize,
    pub(super) failed: Vec<String>,
    /// Measurements, `NAME number=...`.
    pub(super) measured: Vec<String>,
    /// The test that runs, since when, and the lines since then.
    current: Option<(String, Instant, Vec<String>)>,
    /// The lines of tests that failed, and those outside of any test since the boot.
    last_lines: Vec<String>,
    pub(super) trouble: Vec<String>,
    pub(super) booted: Option<Instant>,
    done: bool,
}

impl Run {
    /// Processes a line. Returns the result of a test, if the line has one.
    fn take(&mut self, line: &str) -> Option<String> {
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
            Some(Event::Ended { test, passed }) => return Some(self.verdict(test, passed)),
            Some(Event::Measured(figure)) => self.measured.push(figure.to_owned()),
            Some(Event::Done) => self.done = true,
            Some(Event::Trouble(text)) => {
                // What follows belongs to the first.
                if self.trouble.is_empty() {
                    self.trouble.push(format!("kernel message: {text}"));
                }
                self.keep(line);
            }
            None => self.keep(line),
        }
        None
    }

    fn keep(&mut self, line: &str) {
        let lines = self.current.as_mut().map_or(&mut self.last_lines, |(.., lines)| lines);
        lines.push(line.to_owned());
    }

    fn verdict(&mut self, test: &str, passed: bool) -> String {
        let (seconds, lines) = match self.current.take() {
            Some((name, since, lines)) if name == test => (since.elapsed().as_secs_f64(), lines),
            _ => (0.0, Vec::new()),
        };
        let width = self.listed.iter().map(String::len).max().unwrap_or_default();
        let verdict = if passed { "ok" } else { "FAILED" };
        if passed {
            self.passed += 1;
        } else {
            self.failed.push(test.to_owned());
            self.last_lines.extend(lines.into_iter().rev().take(LAST_LINES).rev());
        }
        format!("{}  {test:width$}  {verdict:6}  {seconds:5.1} s", self.name)
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
    fn close(&mut self) -> Option<String> {
        let hung = self.current.as_ref().map(|(test, ..)| test.clone());
        let verdict = hung.map(|test| self.verdict(&test, false));
        let missing = self.listed.len() - (self.passed + self.failed.len()).min(self.listed.len());
        if missing > 0 {
            self.trouble.push(format!("{missing} {} did not run", plural("test", missing)));
        }
        verdict
    }

    /// Returns whether at least one test ran and all passed.
    pub(super) fn is_good(&self) -> bool {
        self.done && self.passed > 0 && self.failed.is_empty() && self.trouble.is_empty()
    }

    /// Prints the console lines about failures on standard error.
    pub(super) fn show_lines(&self) {
        let skipped = self.last_lines.len().saturating_sub(2 * LAST_LINES);
        let mut text = format!("xtask: {}: from the console:\n", self.name);
        for line in &self.last_lines[skipped..] {
            text.push_str(&format!("  | {line}\n"));
        }
        // All at once, since other guests may run.
        eprintln!("{text}xtask: the whole console: {}", self.console.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lines: &[&str]) -> Run {
        let mut run = Run::default();
        for line in lines {
            run.take(line);
        }
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
        assert_eq!(warned.trouble, ["kernel message: WARNING: CPU: 0"]);
    }

    #[test]
    fn a_test_that_hangs_ends_its_guest_before_the_guests_own_deadline() {
        let patience = Patience { guest: Duration::from_secs(900), test: Duration::from_secs(60) };
        let boot = Instant::now();
        let after = |seconds| boot + Duration::from_secs(seconds);
        assert_eq!(patience.deadline(boot, None), after(900));
        assert_eq!(patience.deadline(boot, Some(after(100))), after(160));
        assert_eq!(patience.deadline(boot, Some(after(870))), after(900));
        assert!(patience.trouble(boot).contains("a test had not ended in 60 s"));
    }

    #[test]
    fn what_was_measured_is_kept() {
        let run = run(&["[  1.2] ctpulse-guest: measured losses ours=0 reference=7"]);
        assert_eq!(run.measured, ["losses ours=0 reference=7"]);
    }
}
