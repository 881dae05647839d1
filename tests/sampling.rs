//! What a tick costs: no allocation and one read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ctpulse::handoff::Control;
use ctpulse::sampler::{Sampler, Trigger};
use ctpulse::settings::{Collect, Input, Netns, Roots, Source};
use ctpulse::source::reader::Reader;
use ctpulse::source::roots::Place;
use support::{Namespace, fixture, may_make_namespaces, roots};

/// Counts the allocations of threads that asked for it.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// One is counted at a time.
static COUNTING: Mutex<()> = Mutex::new(());

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

#[allow(unsafe_code, reason = "an allocator can be counted in no other way")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTED.try_with(Cell::get).unwrap_or(false) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's own promise; `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Samples every millisecond for a while and counts, after a warm-up, the allocations of the
/// sampling thread, emissions included.
fn allocations(roots: &Roots, netns: Option<&Netns>, source: Source, percpu: bool) -> (u64, u64) {
    let _counting = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut input = Input::new(Duration::from_millis(20));
    input.sample_interval = Duration::from_millis(1);
    input.collect = Collect { all: true, percpu };
    input.percpu_rates = percpu;
    let place = Place::resolve(roots, netns);
    let reader = Reader::new(place.clone(), place.sysctl_candidates(&input), source);
    let control = Arc::new(Control::default());
    let consumer = std::thread::current();
    let (sampler, mut outbox) =
        Sampler::new(input, Trigger::Interval, reader, None, 128, Arc::clone(&control), consumer);
    let sampling = std::thread::spawn(move || {
        COUNTED.set(true);
        let report = sampler.run();
        COUNTED.set(false);
        report
    });
    // Warm-up: until every window of the ring has been around.
    let (mut seen, mut before) = (0, 0);
    while seen < 200 {
        let Ok(window) = outbox.windows.pop() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        assert!(window.entries.is_some());
        outbox.spent.push(window).unwrap();
        seen += 1;
        if seen == 100 {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
    }
    let counted = ALLOCATIONS.load(Ordering::Relaxed) - before;
    control.stop(sampling.thread());
    (counted, sampling.join().unwrap().ticks)
}

#[test]
fn a_tick_allocates_nothing() {
    for (name, percpu) in [("one-cpu", false), ("5.15", true), ("cpus-128", true)] {
        let proc_root = Some(fixture(name).join("proc"));
        let roots = Roots { proc_root, ..Roots::default() };
        let (allocations, ticks) = allocations(&roots, None, Source::Auto, percpu);
        assert!(ticks > 500, "{ticks}");
        assert_eq!(allocations, 0, "{name}, in about 100 emissions and {ticks} ticks");
    }
}

#[test]
fn a_tick_that_asks_ctnetlink_allocates_nothing() {
    if !may_make_namespaces("a_tick_that_asks_ctnetlink_allocates_nothing") {
        return;
    }
    let namespace = Namespace::new();
    let netns = Netns::Name(namespace.name.clone());
    let (allocations, ticks) = allocations(&Roots::default(), Some(&netns), Source::Netlink, true);
    assert!(ticks > 500, "{ticks}");
    assert_eq!(allocations, 0, "in about 100 emissions and {ticks} ticks");
}

/// The last line in which a thread opened the statistics file.
fn opened(trace: &str) -> Option<&str> {
    trace.lines().rfind(|line| line.contains("stat/nf_conntrack\"") && line.contains("openat"))
}

/// System calls of the sampling thread between two emissions: one read and one wait per tick.
#[test]
fn a_tick_is_one_read() {
    if !Path::new("/usr/bin/strace").exists() {
        let required = std::env::var_os("CTPULSE_TEST_ROOT").is_some();
        assert!(!required, "strace is missing; `cargo xtask test` installs it");
        support::not_run_here("a_tick_is_one_read", "there is no strace");
        return;
    }
    // A file for each thread: in one for all, calls of others tear a line into two.
    let traces = tempfile::tempdir().unwrap();
    let mut command = Command::new("strace");
    command.arg("-ff").arg("-o").arg(traces.path().join("thread"));
    command.arg(env!("CARGO_BIN_EXE_ctpulse"));
    // On the live file, as users run it, unless it is longer than the page that one read of it
    // hands out (about 25 CPUs), or not there.
    let live = std::fs::read("/proc/net/stat/nf_conntrack").unwrap_or_default();
    if live.is_empty() || live.len() > 4000 {
        command.args(roots(&fixture("5.15")));
    }
    command.args(["--sample-interval", "5ms", "--interval", "1s", "--duration", "3500ms"]);
    command.args(["--format", "influx", "--stats"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success());
    let stats = support::text(&output.stderr);
    let ticks = stats.split("ticks=").nth(1).and_then(|s| s.split(' ').next()).unwrap();
    let ticks: usize = ticks.parse().unwrap();

    let texts: Vec<String> = std::fs::read_dir(traces.path())
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    // The main thread opens it, too, to look at its columns.
    let reads = |text: &&String| text.matches("pread64(").count();
    let sampler = texts.iter().filter(|text| opened(text).is_some()).max_by_key(reads).unwrap();
    let descriptor = opened(sampler).unwrap().rsplit("= ").next().unwrap().trim().to_owned();
    let own: Vec<&str> = sampler.lines().collect();
    let read = format!("pread64({descriptor},");
    let is_read = |line: &&str| line.contains(&read);
    let reads = own.iter().filter(|line| is_read(line)).count();
    // A busy machine leaves some out.
    assert!(ticks > 100, "{stats}");
    // The very first read of a file also asks for its end.
    assert_eq!(reads, ticks + 1, "reads of the statistics file");

    // Between the sysctl reads of two emissions the thread does nothing but wait and read.
    let wakes = |line: &&str| line.contains("futex(") || line.contains("resumed>");
    let emission = |line: &&str| line.contains("pread64(") && !is_read(line);
    let last = own.iter().rposition(emission).unwrap();
    let first = own.iter().position(emission).unwrap();
    let mut longest = 0;
    let mut run = 0;
    for line in &own[first..last] {
        if is_read(line) {
            run += 1;
            longest = longest.max(run);
        } else if !wakes(line) {
            run = 0;
        }
    }
    assert!(longest > 30, "runs of ticks with nothing but wait and read: {longest}");
}
