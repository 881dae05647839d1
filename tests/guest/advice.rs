//! `ctpulse doctor --advise` beside traffic whose faults are known.

use std::path::PathBuf;
use std::time::Duration;

use crate::probes::Setting;
use crate::support::{Namespace, ctpulse, integer, statistics, text};
use crate::{in_guest, wait_for};

/// Whether any process has a thread that samples.
fn is_sampling() -> bool {
    let threads = |process: PathBuf| std::fs::read_dir(process.join("task"));
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let threads = processes.filter_map(|process| threads(process.path()).ok()).flatten().flatten();
    let mut names =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.any(|name| name == "sampler\n")
}

/// What is advised after a look of some seconds, in the middle of which `happen` happens.
fn advise(namespace: &Namespace, happen: impl FnOnce() + Send) -> (Option<i32>, String) {
    let mut command = ctpulse();
    command.args(["doctor", "--advise", "--look", "6s", "--netns", &namespace.name]);
    std::thread::scope(|scope| {
        let advising = scope.spawn(move || command.output().unwrap());
        // Its thread is there once the probes are: it looks, and soon has its first sample.
        wait_for("a sampler", is_sampling);
        std::thread::sleep(Duration::from_secs(1));
        happen();
        let advised = advising.join().unwrap();
        println!("{}{}", text(&advised.stderr), text(&advised.stdout));
        (advised.status.code(), text(&advised.stdout))
    })
}

#[test]
fn a_table_that_is_too_small_is_found_with_its_numbers() {
    in_guest();
    let namespace = Namespace::new();
    let max = Setting::max(60);
    let mut sockets = Vec::new();
    let (code, told) = advise(&namespace, || sockets = namespace.udp_flows(300).1);
    drop(max);
    let line = statistics(&namespace.name);
    let dropped = integer(&line, "drop").unwrap();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("the table is too small"), "{told}");
    assert!(told.contains(" of 60 entries ("), "{told}");
    assert!(told.contains(&format!(", {dropped} packets dropped")), "{told}");
    let wanted = (60 + dropped).next_power_of_two();
    assert!(told.contains(&format!("nf_conntrack_max={wanted} or more")), "{told}");

    let (code, told) = advise(&namespace, || sockets.extend(namespace.udp_flows(20).1));
    assert_eq!(code, Some(0), "{told}");
    assert!(told.starts_with("ok  nothing is wrong\n    at most "), "{told}");
}
