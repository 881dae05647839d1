//! The cost of a tick: no allocation and one read.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::{Namespace, fixture, may_make_namespaces, roots};
use ctpulse::accumulate::Window;
use ctpulse::sampling::channel::Control;
use ctpulse::sampling::{Sampler, Trigger};
use ctpulse::settings::{Collect, Input, Netns, Roots, Source};
use ctpulse::source::reader::Reader;
use ctpulse::source::roots::Place;

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
fn allocations(roots: &Roots, netns: &Netns, source: Source, collect: Collect) -> (u64, u64) {
    let _counting = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut input = Input::new(Duration::from_millis(20));
    input.sample_interval = Duration::from_millis(1);
    input.collect = collect;
    input.percpu_rates = collect.percpu;
    let is_sampled = |window: &Window| match collect.all {
        true => window.entries.is_some(),
        false => window.count.is_some(),
    };
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
    let (mut seen, mut sampled, mut before) = (0, 0, 0);
    while seen < 200 {
        let Ok(window) = outbox.windows.pop() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        // A row always has statistics; a busy machine may leave out all samples of the number of
        // entries between two rows.
        assert!(is_sampled(&window) || !collect.all);
        sampled += u64::from(is_sampled(&window));
        outbox.spent.push(window).unwrap();
        seen += 1;
        if seen == 100 {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
    }
    let counted = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert!(sampled > 20, "{sampled} of {seen} rows have samples");
    control.stop(sampling.thread());
    (counted, sampling.join().unwrap().ticks)
}

#[test]
fn a_tick_allocates_nothing() {
    let collect = |all, percpu| Collect { all, percpu };
    for (name, collect) in [
        ("one-cpu", collect(true, false)),
        ("5.15", collect(true, true)),
        ("cpus-128", collect(true, true)),
        ("5.15", collect(false, false)),
    ] {
        let proc_root = Some(fixture(name).join("proc"));
        let roots = Roots { proc_root, ..Roots::default() };
        let (allocations, ticks) = allocations(&roots, &Netns::Own, Source::Auto, collect);
        assert!(ticks > 500, "{ticks}");
        assert_eq!(allocations, 0, "{name}, {collect:?}, in about 100 emissions and {ticks} ticks");
    }
}

#[test]
fn a_tick_that_asks_ctnetlink_allocates_nothing() {
    if !may_make_namespaces("a_tick_that_asks_ctnetlink_allocates_nothing") {
        return;
    }
    let namespace = Namespace::new();
    let netns = Netns::Name(namespace.name.clone());
    let collect = Collect { all: true, percpu: true };
    let (allocations, ticks) = allocations(&Roots::default(), &netns, Source::Netlink, collect);
    assert!(ticks > 500, "{ticks}");
    assert_eq!(allocations, 0, "in about 100 emissions and {ticks} ticks");
}

/// The last line in which a thread opened the statistics file.
fn opened(trace: &str) -> Option<&str> {
    trace.lines().rfind(|line| line.contains("stat/nf_conntrack\"") && line.contains("openat"))
}

/// Returns whether `strace` is installed. Prints `NOT RUN HERE` for `test` where it is not.
fn has_strace(test: &str) -> bool {
    let exists = Path::new("/usr/bin/strace").exists();
    if !exists {
        let required = std::env::var_os("CTPULSE_TEST_ROOT").is_some();
        assert!(!required, "strace is missing; `cargo xtask test` installs it");
        crate::support::not_run_here(test, "there is no strace");
    }
    exists
}

/// A statistics file of one CPU, in which a thread counts drops: one a millisecond at most, even
/// after it was delayed itself.
struct Counter {
    root: tempfile::TempDir,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Counter {
    fn start() -> Self {
        let root = crate::support::copy_of("one-cpu");
        let path = root.path().join("proc/net/stat/nf_conntrack");
        let text = std::fs::read_to_string(&path).unwrap();
        let (header, row) = text.split_once('\n').unwrap();
        let column = header.split_whitespace().position(|name| name == "drop").unwrap();
        let value = row.split_whitespace().nth(column).unwrap();
        let at = header.len() + 1 + row.find(&format!(" {value} ")).unwrap() + 1;
        let mut drops = u32::from_str_radix(value, 16).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                drops += 1;
                // Eight digits at once: no reader sees half of them.
                file.write_at(format!("{drops:08x}").as_bytes(), at as u64).unwrap();
            }
        });
        Self { root, stop, thread: Some(thread) }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The thread is delayed by 100 ms after every fortieth read of the statistics. A peak was 11 times
/// the true rate then.
#[test]
fn a_delay_between_the_read_and_the_clock_makes_no_burst() {
    if !has_strace("a_delay_between_the_read_and_the_clock_makes_no_burst") {
        return;
    }
    let counter = Counter::start();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=pread64"]);
    command.args(["-e", "inject=pread64:delay_exit=100000:when=20+40"]);
    command.arg(env!("CARGO_BIN_EXE_ctpulse")).args(roots(counter.root.path()));
    command.args(["--sample-interval", "10ms", "--interval", "500ms", "--duration", "5s"]);
    command.args(["--format", "influx", "--confine", "off"]);
    let text = crate::support::text(&crate::support::output(command.stdin(Stdio::null())).stdout);
    let rows = text.lines().filter(|row| row.contains("cpu=all"));
    let (mut peaks, mut most) = (0, 0.0f64);
    for row in rows {
        let Some(peak) = crate::support::number(row, "drop_rate_max") else { continue };
        // A window is 5 ms long at least: six events at most.
        let peak: f64 = peak.parse().unwrap();
        assert!(peak <= 1200.0, "{peak} drops/s of 1,000: {row}");
        let count = crate::support::integer(row, "drop_sample_max").unwrap();
        assert!(count <= 12, "{count} drops in 10 ms, of 10: {row}");
        (peaks, most) = (peaks + 1, most.max(peak));
    }
    assert!(peaks >= 5 && most > 100.0, "{peaks} peaks, at most {most}:\n{text}");
}

/// `collect` unset: the table fills and empties between two rows.
#[test]
fn a_burst_of_entries_between_two_rows_is_seen_without_statistics() {
    let root = crate::support::copy_of("one-cpu");
    let count = root.path().join("proc/sys/net/netfilter/nf_conntrack_count");
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), "[[inputs.conntrack]]\n").unwrap();
    std::fs::write(&count, "00005\n").unwrap();
    let mut command = crate::support::ctpulse();
    command.args(["--format", "influx", "--interval", "1s", "--sample-interval", "5ms"]);
    command.arg("--config").arg(config.path()).args(roots(root.path()));
    let running = crate::support::Running::start(&mut command);
    let entries = std::fs::OpenOptions::new().write(true).open(&count).unwrap();
    for _ in 0..20 {
        let row = running.line(Duration::from_secs(10)).unwrap();
        assert!(!row.contains("cpu="), "{row}");
        let field =
            |name| crate::support::number(&row, name).map(|text| text.parse::<f64>().unwrap());
        let (min, now, max) = (
            field("ip_conntrack_count_min"),
            field("ip_conntrack_count"),
            field("ip_conntrack_count_max"),
        );
        if (min, now, max) == (Some(5.0), Some(5.0), Some(900.0)) {
            return;
        }
        // A row has just been written: this is between two.
        entries.write_at(b"00900", 0).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        entries.write_at(b"00005", 0).unwrap();
    }
    panic!("no row shows that there were 900 entries");
}

/// System calls of the sampling thread between two emissions: one read and one wait per tick.
#[test]
fn a_tick_is_one_read() {
    if !has_strace("a_tick_is_one_read") {
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
    let stats = crate::support::text(&output.stderr);
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
    // The very first read of a file also asks for its end, and an emission reads once more where
    // the first read was delayed.
    let emissions = 5;
    assert!((ticks + 1..=ticks + 1 + emissions).contains(&reads), "{reads} reads, {ticks} ticks");

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
