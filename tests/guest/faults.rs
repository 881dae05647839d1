//! Changes of a machine while the agent runs: CPUs that go offline and return, a clock that is set, a
//! reader that the kernel kills for its memory.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use crate::events::{all, settled, watch};
use crate::load::pin;
use crate::support::{Namespace, Running, ctpulse, integer, number, output};
use crate::{SOON, in_guest};

const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";

/// CPU 1 is there again when this goes.
struct Offline;

impl Offline {
    fn new() -> Self {
        fs::write(ONLINE, "0").unwrap();
        Self
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        fs::write(ONLINE, "1").unwrap();
    }
}

/// New connections, begun on a CPU.
fn flows_on(namespace: &Namespace, cpu: usize, flows: usize) -> Vec<std::net::UdpSocket> {
    std::thread::scope(|scope| {
        let begin = || {
            pin(cpu);
            namespace.udp_flows(flows).1
        };
        scope.spawn(begin).join().unwrap()
    })
}

#[test]
fn a_cpu_that_goes_offline_and_returns_loses_no_counts() {
    in_guest();
    let namespace = Namespace::new();
    let running = watch(&[&namespace]);
    let mut sockets = flows_on(&namespace, 1, 40);
    sockets.extend(flows_on(&namespace, 0, 60));
    settled(&running, "cpu=all", "insert", 100);

    let offline = Offline::new();
    assert_eq!(fs::read_to_string("/sys/devices/system/cpu/online").unwrap().trim(), "0");
    sockets.extend(flows_on(&namespace, 0, 100));
    let line = settled(&running, "cpu=all", "insert", 200);
    all(&line, &[("insert", 200), ("new", 200), ("entries", 200)]);
    // What it counted stays counted, in a row of its own.
    let of_cpu = |cpu: &str, insert: u64| {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < SOON, "no row of {cpu} with {insert} insertions");
            let line = running.line(SOON).unwrap();
            if line.contains(cpu) && integer(&line, "insert") == Some(insert) {
                return;
            }
        }
    };
    of_cpu("cpu=cpu1,", 40);
    drop(offline);

    sockets.extend(flows_on(&namespace, 1, 70));
    let line = settled(&running, "cpu=all", "insert", 270);
    all(&line, &[("insert", 270), ("new", 270), ("entries", 270)]);
    of_cpu("cpu=cpu1,", 110);
    of_cpu("cpu=cpu0,", 160);
}

/// The time of day, set; it goes on from there, and is right again when this goes.
struct Stepped {
    by: i64,
}

impl Stepped {
    fn by(seconds: i64) -> Self {
        step(seconds);
        Self { by: seconds }
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        step(-self.by);
    }
}

fn step(seconds: i64) {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
    clock_settime(ClockId::Realtime, Timespec { tv_sec: tv_sec + seconds, tv_nsec }).unwrap();
}

#[test]
fn a_set_clock_changes_only_timestamps() {
    in_guest();
    let namespace = Namespace::new();
    let running = watch(&[&namespace]);
    let next = || loop {
        let line = running.line(SOON).unwrap();
        if line.contains("cpu=all") {
            return line;
        }
    };
    let time = |line: &str| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap() as f64 / 1e9;
    let mut inserted = 0;
    let mut sockets = Vec::new();
    for seconds in [3600, -3600] {
        // Until what there is has been read.
        while running.line(Duration::from_millis(50)).is_some() {}
        let before = next();
        let stepped = Stepped::by(seconds);
        sockets.extend(namespace.udp_flows(100).1);
        inserted += 100;
        let start = Instant::now();
        let rows: Vec<String> = (0..15).map(|_| next()).collect();
        let took = start.elapsed().as_secs_f64();
        // 15 rows take 3 s, some more where a guest is slow: no stall, no burst.
        assert!((2.0..8.0).contains(&took), "15 rows took {took} s after {seconds} s");
        let moved = time(&rows[14]) - time(&before);
        let expected = seconds as f64 + took;
        assert!((moved - expected).abs() < 2.0, "timestamps moved by {moved}, not {expected} s");
        assert_eq!(integer(&rows[14], "insert"), Some(inserted), "{}", rows[14]);
        // 100 events within 0.2 to 2 s, not within an hour, nor within less than nothing.
        let rate = |line: &String| number(line, "insert_rate").unwrap().parse::<f64>().unwrap();
        let highest = rows.iter().map(rate).fold(0.0, f64::max);
        assert!((20.0..=1000.0).contains(&highest), "{highest} insertions a second");
        assert!(rows.iter().all(|line| rate(line) >= 0.0));
        drop(stepped);
    }
}

/// The kernel kills a reader that takes more memory than its group may have.
#[test]
fn a_reader_killed_for_its_memory_ends_the_run_without_an_error() {
    in_guest();
    let namespace = Namespace::new();
    fs::create_dir_all("/run/cgroup").unwrap();
    output(Command::new("mount").args(["-t", "cgroup2", "cgroup2", "/run/cgroup"]));
    fs::write("/run/cgroup/cgroup.subtree_control", "+memory").unwrap();
    fs::create_dir("/run/cgroup/reader").unwrap();
    fs::write("/run/cgroup/reader/memory.max", "8M").unwrap();

    let mut command = ctpulse();
    command.args(["--format", "influx", "--interval", "20ms", "--netns", &namespace.name]);
    let mut running = Running::start_unread(&mut command);
    let rows = running.child.stdout.take().unwrap();
    let script = "echo $$ > /run/cgroup/reader/cgroup.procs; \
                  while read -r line; do x=$x$x$line; done";
    let mut reader = Command::new("sh");
    reader.args(["-c", script]).stdin(Stdio::from(rows));
    let died = reader.spawn().unwrap().wait().unwrap();
    drop(reader);
    let events = fs::read_to_string("/run/cgroup/reader/memory.events").unwrap();
    println!("{died}; {events}");
    assert!(events.lines().any(|line| line == "oom_kill 1"), "{events}");
    assert!(running.wait().0.success());
    output(Command::new("umount").arg("/run/cgroup"));
}
