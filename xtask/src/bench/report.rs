//! The figures of `ctpulse report`: a recording of a gibibyte, against the line-protocol crate
//! alone.
//!
//! Both read the same file alternately and are single-threaded, so CPU time is their cost. The file is
//! in the page cache as far as the memory suffices.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, bail};

use super::measure::{children_cpu, status_kib};
use super::median;
use super::table::Figure;
use crate::workspace::{run_checked, shown};

/// The programs of the measurement.
pub(super) struct Programs<'a> {
    /// The program.
    pub(super) ctpulse: &'a Path,
    /// Where the examples are.
    pub(super) examples: &'a Path,
    /// Where the recording may be written.
    pub(super) scratch: PathBuf,
}

/// Reads a recording of `bytes` in `turns` turns.
///
/// # Errors
/// When a program fails.
pub(super) fn figures(
    programs: &Programs<'_>,
    bytes: u64,
    turns: usize,
) -> anyhow::Result<Vec<Figure>> {
    let recording = programs.scratch.join(format!("recording-{bytes}.influx"));
    eprintln!("bench: report over a recording of {} MiB, {turns} turns", bytes >> 20);
    let mut write = Command::new(programs.examples.join("write_recording"));
    let figures = run_checked(write.arg(&recording).arg(bytes.to_string()))
        .and_then(|_| in_turns(programs, &recording, turns));
    // It is too long to be left behind.
    let _ = std::fs::remove_file(&recording);
    figures
}

/// Reads `recording` with both programs.
fn in_turns(
    programs: &Programs<'_>,
    recording: &Path,
    turns: usize,
) -> anyhow::Result<Vec<Figure>> {
    let megabytes = recording.metadata()?.len() as f64 / 1e6;
    let (mut ours, mut theirs, mut resident) = (Vec::new(), Vec::new(), 0.0f64);
    for _ in 0..turns {
        let mut report = Command::new(programs.ctpulse);
        let (cpu, kib) = cpu_and_peak(report.arg("report").arg(recording))?;
        ours.push(megabytes / cpu.as_secs_f64());
        resident = resident.max(kib / 1024.0);
        let mut parse = Command::new(programs.examples.join("parse_lines"));
        let (cpu, _) = cpu_and_peak(parse.arg(recording))?;
        theirs.push(megabytes / cpu.as_secs_f64());
    }
    let (ours, theirs) = (median(ours)?, median(theirs)?);
    Ok(vec![
        Figure::ratio("report, against the parser alone", "MB/s", ours, theirs).at_least_times(0.7),
        Figure::value("its resident memory, at most", "MiB", resident).below(64.0),
    ])
}

/// Runs `command`; its CPU time, and the most memory that it had, in KiB.
fn cpu_and_peak(command: &mut Command) -> anyhow::Result<(Duration, f64)> {
    let before = children_cpu()?;
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let mut child = child.with_context(|| format!("cannot start {}", shown(command)))?;
    let path = format!("/proc/{}/status", child.id());
    let mut peak = None;
    let status = loop {
        // The kernel keeps the peak, so the last read is close to it.
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        peak = status_kib(&text, "VmHWM:").or(peak);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        sleep(Duration::from_millis(5));
    };
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    let peak = peak.with_context(|| format!("`{}` ended too soon", shown(command)))?;
    Ok((children_cpu()?.saturating_sub(before), peak))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_memory_of_a_program_are_its_own() {
        let script = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        let (cpu, kib) = cpu_and_peak(Command::new("sh").args(["-c", script])).unwrap();
        assert!(cpu > Duration::from_millis(1) && kib > 100.0, "{cpu:?} {kib}");
        assert!(cpu_and_peak(&mut Command::new("false")).is_err());
    }
}
