//! Comparisons of two recordings: what makes their numbers incomparable is said.

use super::levels::levels;
use super::*;

/// Rows every `interval` seconds from `from` on, with ten drops in each.
fn rows(from: i64, interval: i64, more: &str) -> String {
    let row = |at: i64| {
        let (time, drops) = (START_NS / 1_000_000_000 + from + at * interval, 10 * at);
        format!(
            "conntrack,cpu=all drop={drops}i,insert_failed={drops}i{more} {time}\n\
             conntrack ip_conntrack_count=5,ip_conntrack_max=100 {time}\n"
        )
    };
    (0..60).map(row).collect()
}

fn compared(before: &str, after: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let [old, new] = ["before", "after"].map(|name| directory.path().join(name));
    std::fs::write(&old, before).unwrap();
    std::fs::write(&new, after).unwrap();
    text(&output(ctpulse().arg("report").args([old, new])).stdout).to_owned()
}

#[test]
fn recordings_of_different_intervals_or_samples_are_said() {
    let plain = rows(0, 1, "");
    let found = compared(&plain, &rows(600, 10, ""));
    let warning = "different intervals (1 s before, 10 s after): peaks and p99 are of these times";
    assert!(found.contains(warning), "{found}");
    let sampled = |ms: u32| {
        rows(600, 1, &format!(",drop_rate=10,drop_rate_max=100,sample_seconds=0.{ms:03}"))
    };
    let found = compared(&sampled(100), &sampled(10));
    assert!(
        found.contains("different times between samples (100 ms before, 10 ms after)"),
        "{found}"
    );
    assert!(!found.contains("different intervals"), "{found}");
    let found = compared(&plain, &rows(600, 1, ""));
    assert!(!found.contains("different"), "{found}");
}

#[test]
fn a_recording_before_the_first_one_is_said() {
    let found = compared(&rows(600, 1, ""), &rows(0, 1, ""));
    assert!(found.contains("after is earlier than before; are they swapped?"), "{found}");
}

/// The drops of the rotated part were in both.
#[test]
fn a_part_that_is_compared_with_its_recording_is_not_read_twice() {
    let directory = tempfile::tempdir().unwrap();
    let [old, new] = ["fw.influx.1", "fw.influx"].map(|name| directory.path().join(name));
    std::fs::write(&old, rows(0, 1, "")).unwrap();
    std::fs::write(&new, levels(&[(5, 100); 9], None)).unwrap();
    let mut command = ctpulse();
    let found = output(command.arg("report").args([&old, &new]).args(["--format", "json"])).stdout;
    let found: Value = serde_json::from_slice(&found).unwrap();
    let files = |side: &str| found[side]["recording"]["files"].as_array().unwrap().len();
    assert_eq!((files("before"), files("after")), (1, 1), "{found}");
}

/// Rows of single CPUs were a third of the peak before, as it seemed.
#[test]
fn a_comparison_marks_peaks_that_are_lower_bounds() {
    let whole = rows(0, 1, ",drop_rate=10,drop_rate_max=3000");
    let of_cpus = whole.replace("cpu=all", "cpu=cpu0").replace("=3000", "=1250");
    let of_cpus = of_cpus.clone() + &of_cpus.replace("cpu0", "cpu1");
    let peaks = |found: &str| {
        let line = found.lines().find(|line| line.starts_with("drop ")).unwrap().to_owned();
        line.split_whitespace().skip(7).map(str::to_owned).collect::<Vec<_>>()
    };
    let legend = "+ at least: a sample came late, or only rows of single CPUs have peaks";
    let found = compared(&whole, &of_cpus);
    assert_eq!(peaks(&found), ["3,000", "1,250+", "0.42x+"], "{found}");
    assert!(found.contains(legend), "{found}");
    let found = compared(&of_cpus, &whole);
    assert_eq!(peaks(&found), ["1,250+", "3,000", "-"], "{found}");
    let found = compared(&whole, &whole);
    assert!(!found.contains(legend), "{found}");
}

/// 50 of 300 emissions were missing, those with drops: p99 fell from 6 to 0 without a word.
#[test]
fn a_comparison_with_gaps_is_said() {
    let whole = rows(0, 1, "");
    let lines: Vec<_> = whole.lines().collect();
    let without = |missing: usize| {
        let kept = lines.iter().enumerate().filter(|(at, _)| !(20..20 + 2 * missing).contains(at));
        kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    let warning =
        "after, conntrack: 10 of 60 emissions are missing, and their events in peaks and p99";
    let found = compared(&whole, &without(10));
    assert!(found.contains(warning), "{found}");
    assert!(compared(&without(10), &whole).contains(&warning.replace("after", "before")));
    assert!(!compared(&whole, &without(1)).contains("in peaks and p99"));
}
