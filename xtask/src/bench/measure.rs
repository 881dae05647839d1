//! Running a program and taking its numbers: CPU time, resident memory, time to its first byte.
//!
//! CPU time is the growth of our children's rusage, which the kernel keeps in nanoseconds (the
//! ticks of `/proc/PID/stat` are too coarse) and adds when a child has been waited for; so one
//! child runs at a time.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::workspace::shown;

/// Numbers under names, as a program prints them: `ticks=20000 missed=0 ...`.
#[derive(Debug)]
pub(crate) struct Stats(BTreeMap<String, f64>);

impl Stats {
    /// Every `name=number` in `line`.
    pub(crate) fn parse(line: &str) -> Self {
        let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
        Self(pairs.filter_map(|(name, text)| Some((name.into(), text.parse().ok()?))).collect())
    }

    /// The number under `name`.
    pub(crate) fn get(&self, name: &str) -> anyhow::Result<f64> {
        self.0.get(name).copied().with_context(|| format!("no {name}= in its output"))
    }
}

/// A program that ran to its end.
#[derive(Debug)]
pub(crate) struct Finished {
    /// CPU time of the whole process, user and system.
    pub(crate) cpu: Duration,
    /// Its output on stderr, from the line that starts with `ticks=`.
    pub(crate) stats: Stats,
}

/// Runs a sampler to its end.
///
/// # Errors
/// When it cannot be started, fails, or prints no statistics.
pub(crate) fn run_to_end(command: &mut Command) -> anyhow::Result<Finished> {
    let before = children_cpu()?;
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let cpu = children_cpu()?.saturating_sub(before);
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("`{}` failed ({}): {}", shown(command), output.status, stderr.trim());
    }
    let line = stderr
        .lines()
        .find(|line| line.starts_with("ticks="))
        .ok_or_else(|| anyhow!("`{}` printed no line `ticks=...`", shown(command)))?;
    Ok(Finished { cpu, stats: Stats::parse(line) })
}

/// Starts `command`, reads its resident memory in KiB at each of `moments` after the start
/// (which ascend), and ends it.
///
/// # Errors
/// When it cannot be started or does not live until the last moment.
pub(crate) fn resident(command: &mut Command, moments: &[Duration]) -> anyhow::Result<Vec<f64>> {
    let start = Instant::now();
    let child = Running::start(command.stdout(Stdio::null()))?;
    let status = format!("/proc/{}/status", child.0.id());
    let read = |moment: &Duration| {
        sleep((start + *moment).saturating_duration_since(Instant::now()));
        let text = std::fs::read_to_string(&status).with_context(|| status.clone())?;
        status_kib(&text, "VmRSS:").with_context(|| format!("`{}` has ended", shown(command)))
    };
    moments.iter().map(read).collect()
}

/// Starts `command` and returns the time until it has written its first byte on stdout.
///
/// # Errors
/// When it cannot be started or ends without writing.
pub(crate) fn first_byte(command: &mut Command) -> anyhow::Result<Duration> {
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = Running::start(command)?;
    let stdout = child.0.stdout.as_mut().context("its stdout is not ours")?;
    let read = stdout.read(&mut [0])?;
    let elapsed = start.elapsed();
    if read == 0 {
        bail!("`{}` ended without a row", shown(command));
    }
    Ok(elapsed)
}

/// A child that is ended and waited for when it goes out of scope.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| format!("cannot start {}", shown(command)))?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have exited by itself; an error has no receiver here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPU time of all children that were waited for.
pub(crate) fn children_cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros)?))
}

/// A size in KiB that `/proc/PID/status` shows behind `field`; a process that has ended has none.
pub(crate) fn status_kib(status: &str, field: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_found_among_other_lines() {
        let script = "echo started >&2; echo 'ticks=20 missed=0 lateness_p99_us=7.5' >&2";
        let run = run_to_end(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(run.stats.get("ticks").unwrap(), 20.0);
        assert_eq!(run.stats.get("lateness_p99_us").unwrap(), 7.5);
        assert!(run.stats.get("lateness_p50_us").is_err());
    }

    #[test]
    fn a_failed_run_tells_why() {
        let failing = run_to_end(Command::new("sh").args(["-c", "echo no such file >&2; exit 3"]));
        assert!(failing.unwrap_err().to_string().contains("no such file"));
    }

    #[test]
    fn the_first_byte_is_waited_for() {
        assert!(first_byte(Command::new("echo").arg("row")).is_ok());
        assert!(first_byte(&mut Command::new("true")).is_err());
    }

    #[test]
    fn resident_memory_is_read_from_the_status() {
        assert_eq!(status_kib("VmHWM:\t  4100 kB\nVmRSS:\t  4096 kB\n", "VmRSS:"), Some(4096.0));
        assert_eq!(status_kib("Name:\tx\nState:\tZ (zombie)\n", "VmRSS:"), None);
    }
}
