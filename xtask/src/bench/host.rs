//! The cost of the probes on this machine's own kernel: the measurements of tests/guest that leave a host
//! as it was, and a heading that names the machine, to be pasted together.
//!
//! They open connections in a network namespace of their own over its loopback. While they run, the limit of
//! the table is 1,000,000 entries, for all namespaces.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::tools;
use crate::vm;
use crate::workspace::run_checked;

/// The perf events that kprobes are.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe/type";

/// The tests.
const MEASUREMENTS: [&str; 6] = [
    "bench::time_to_attach",
    "bench_connections::connections_of_new_sockets",
    "bench_connections::connections_of_one_socket",
    "bench_connections::connections_of_tcp",
    "bench_connections::connections_with_internal",
    "bench_connections::run_time_of_each_hook",
];

/// Runs the measurements with the release build `ctpulse`, and returns the lines `NAME number=...`.
///
/// # Errors
/// When this machine cannot have probes, or a measurement fails.
pub(super) fn measure(ctpulse: &Path, quick: bool) -> anyhow::Result<Vec<String>> {
    ensure!(
        tools::is_root(),
        "--host attaches probes and makes a network namespace: run it as root"
    );
    ensure!(
        Path::new(KPROBES).exists(),
        "this kernel has no kprobes ({KPROBES}); leave --host out"
    );
    let guest = vm::build_tests()?;
    let mut lines = Vec::new();
    for test in MEASUREMENTS {
        eprintln!("bench: {test}");
        let mut run = Command::new(&guest);
        run.args(["--ignored", "--exact", test, "--test-threads=1", "--nocapture"]);
        run.env("CTPULSE_BIN", ctpulse).env("CTPULSE_TEST_ROOT", "1");
        run.env("CTPULSE_BENCH_HOST", if quick { "quick" } else { "full" });
        let printed = run_checked(run.stdin(Stdio::null()))?;
        lines.extend(printed.lines().filter_map(vm::measured).map(str::to_owned));
    }
    Ok(lines)
}

/// The kernel, the CPU and its mitigations, a line each.
///
/// # Errors
/// When the kernel's release cannot be read.
pub(super) fn heading() -> anyhow::Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("no release")?;
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("not known", |(_, model)| model);
    let number = std::thread::available_parallelism().map_or(1, usize::from);
    let mut mitigations: Vec<String> = fs::read_dir("/sys/devices/system/cpu/vulnerabilities")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let state = fs::read_to_string(entry.path()).ok()?;
            let state = state.trim().strip_prefix("Mitigation: ")?.to_owned();
            Some(format!("{} ({state})", entry.file_name().to_string_lossy()))
        })
        .collect();
    mitigations.sort_unstable();
    let mitigations =
        if mitigations.is_empty() { "none".to_owned() } else { mitigations.join(", ") };
    Ok(format!(
        "ctpulse {}, Linux {}\n{number} CPUs, {model}\nmitigations: {mitigations}\n",
        env!("CARGO_PKG_VERSION"),
        release.trim()
    ))
}
