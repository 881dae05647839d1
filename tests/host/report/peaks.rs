//! Peaks: of rows that have nothing else, and of rows that several inputs write or that are missing
//! regularly.

use std::io::Write as _;

use ctpulse::report::{SourceReport, report_text};

use super::advice::advise_on;
use super::forms::{report_of, totals};
use crate::recordings::truth::{Form, Row, Truth};

fn source(text: &str) -> SourceReport {
    let mut sources = report_of(text.as_bytes()).sources;
    assert_eq!(sources.len(), 1);
    sources.remove(0)
}

/// A selection of `*_max` leaves the peaks of ctpulse's rows: 20 drops were "0 drops, peak 200".
#[test]
fn events_of_rows_with_peaks_only_are_unknown() {
    for suffixes in [&["_rate_max", "_sample_max"][..], &["_rate_max"], &["_sample_max"]] {
        let mut text = String::new();
        for second in 0..60u64 {
            let mut fields = Vec::new();
            for name in ["drop", "early_drop", "insert_failed", "invalid"] {
                for suffix in suffixes {
                    let events = if name == "drop" && second == 30 { 20 } else { 0 };
                    let value = if *suffix == "_rate_max" { 10 * events } else { events };
                    fields.push(format!("{name}{suffix}={value}"));
                }
            }
            text += &format!("conntrack,cpu=all {} {}\n", fields.join(","), 1_700_000_000 + second);
            let table = "ip_conntrack_count=5,ip_conntrack_max=4000";
            text += &format!("conntrack {table} {}\n", 1_700_000_000 + second);
        }
        let found = source(&text);
        let totals: Vec<_> =
            found.counters.iter().map(|counter| (counter.name.as_str(), counter.total)).collect();
        let unknown = ["drop", "early_drop", "insert_failed", "invalid"];
        assert_eq!(totals, unknown.map(|name| (name, None)), "{suffixes:?}");
        let peak = suffixes.contains(&"_rate_max").then_some(200.0);
        assert_eq!(found.counters[0].peak, peak, "{suffixes:?}");
        assert_eq!(found.unmoved, [] as [&str; 0]);
        let said = found.unknown.join("\n");
        assert!(said.contains("drop and 3 counters more are in peaks only"), "{said}");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        assert_eq!(advise_on(file.path()).0, Some(3), "{suffixes:?}");
    }
}

fn peak(source: &SourceReport) -> f64 {
    source.counters.iter().find(|counter| counter.name == "drop").unwrap().peak.unwrap()
}

/// 3 drops in each second.
fn steady(seconds: usize) -> Truth {
    Truth::of(1, seconds, |_, _| [3, 0, 2, 1, 0, 0])
}

/// 3 drops in each second from the hundredth on, long after the interval is known.
fn late() -> Truth {
    Truth::of(1, 300, |second, _| [if second < 100 { 0 } else { 3 }, 0, 2, 1, 0, 0])
}

fn of_rows(rows: &[Row]) -> SourceReport {
    source(std::str::from_utf8(&Form::Lines.write(rows)).unwrap())
}

/// Each fourth row was missing: the interval was 4 s, there were no gaps, and the peak was 0.
#[test]
fn rows_that_are_missing_regularly_are_gaps() {
    for every in [3, 4, 5, 6, 10] {
        for is_statistics in [false, true] {
            let mut rows = steady(300).rows(0);
            rows.retain(|row| {
                row.second() % every != 0 || is_statistics && row.tag("cpu").is_none()
            });
            // Whole seconds may be rounded times of rows that are 1.5 s apart.
            let exact: Vec<_> = rows.iter().map(|row| row.clone().later(300_000_000)).collect();
            let missing = 300u64.div_ceil(every as u64) - 1;
            for (rows, is_rounded) in [(&exact, false), (&rows, !is_statistics)] {
                let found = of_rows(rows);
                let what = format!("{every} {is_statistics} {is_rounded}");
                assert!((peak(&found) - 3.0).abs() < 0.01, "{what}: {}", peak(&found));
                assert_eq!(totals(&found)["drop"], 3.0 * 298.0, "{what}");
                if is_rounded {
                    let said = found.unknown.join("\n");
                    assert!(said.contains("or rows are missing regularly"), "{what}: {said}");
                    continue;
                }
                assert!((found.interval_seconds.unwrap() - 1.0).abs() < 0.01, "{what}");
                // The first row is behind the first one that is missing.
                assert_eq!((found.gaps.gaps, found.gaps.missing), (missing, missing), "{what}");
                // Inputs of 2 s and 4 s have such times, too, if they read a second apart.
                let said = found.unknown.join("\n").contains("or several inputs take turns");
                assert_eq!(said, !is_statistics && every < 8, "{what}");
            }
        }
    }
}

/// Of rows of three inputs none was as long as half of the interval: the peak was 0.
#[test]
fn rows_of_several_inputs_have_peaks() {
    for offsets_ms in [&[300, 450][..], &[300], &[100], &[5], &[200, 450, 800]] {
        let mut rows = late().rows(0);
        for offset_ms in offsets_ms {
            let offset = |row: Row| row.later(offset_ms * 1_000_000);
            rows.extend(late().rows(0).into_iter().map(offset));
        }
        rows.sort_by_key(|row| row.time_ns);
        let found = of_rows(&rows);
        assert!((found.interval_seconds.unwrap() - 1.0).abs() < 0.01, "{offsets_ms:?}");
        assert_eq!(found.gaps.gaps, 0, "{offsets_ms:?}");
        assert!(peak(&found) >= 3.0, "{offsets_ms:?}: {}", peak(&found));
    }
}

/// Events of a short row were in no peak, at the end or before another row.
#[test]
fn events_of_short_rows_are_in_the_peak() {
    for (short_at, second) in [(100.1, 100), (299.1, 299)] {
        let mut text = String::new();
        let times = (0..300).map(f64::from).chain([short_at]);
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        for time in times {
            let drop = if time > f64::from(second) { 6 } else { 0 };
            let ns = 1_700_000_000_000_000_000 + (time * 1e9) as i64;
            text += &format!("conntrack,cpu=all drop={drop}i,found=5i {ns}\n");
        }
        let peak = peak(&source(&text));
        assert!((5.9..6.7).contains(&peak), "{second}: {peak}");
    }
}

/// The rows of a second: `fields` for the statistics of each CPU that it names.
fn sampled(cpus: &[&str], fields: impl Fn(u64) -> String) -> String {
    let mut text = String::new();
    for second in 0..60u64 {
        for cpu in cpus {
            text += &format!("conntrack,cpu={cpu} {} {}\n", fields(second), 1_700_000_000 + second);
        }
    }
    text
}

/// The rows of CPUs had peaks of 1,251 a second and nothing else had: "peak 50.0".
#[test]
fn peaks_of_single_cpus_are_a_lower_bound() {
    let burst = |events: u64| {
        move |second: u64| {
            let drops = if second < 30 { 0 } else { events };
            let now = if second == 30 { events } else { 0 };
            let peak = 100 * now;
            format!("drop={drops}i,drop_rate={now},drop_rate_max={peak},drop_sample_max={now}i")
        }
    };
    let found = source(&sampled(&["cpu0", "cpu1"], burst(30)));
    assert_eq!((peak(&found), found.counters[0].peak_is_least), (3000.0, true));
    let few = report_text(&report_of(sampled(&["cpu0", "cpu1"], burst(3)).as_bytes()));
    assert!(few.contains("  3 at once+  "), "{few}");
    assert!(few.contains("+ at least: a sample came late"), "{few}");
    // A row with the sum has the peak of all.
    let found = source(&sampled(&["all", "cpu0", "cpu1"], burst(30)));
    assert_eq!((peak(&found), found.counters[0].peak_is_least), (3000.0, false));
}

/// 50 drops within 20 ms while a read was late were shown as 5 in 10 ms.
#[test]
fn a_peak_of_a_late_sample_is_a_lower_bound() {
    for missed in [0, 7] {
        let text = sampled(&["all"], |second| {
            let (drops, missed) = if second < 30 { (0, 0) } else { (50, missed) };
            let now = if second == 30 { [50, 500, 5] } else { [0; 3] };
            format!(
                "drop={drops}i,drop_rate={},drop_rate_max={},drop_sample_max={}i,\
                 sample_seconds=0.01,samples_missed={missed}i",
                now[0], now[1], now[2]
            )
        });
        let found = source(&text);
        assert_eq!(found.counters[0].peak_is_least, missed > 0);
        assert_eq!(found.bursts[0].is_least, missed > 0);
        let shown = report_text(&report_of(text.as_bytes()));
        assert_eq!(shown.contains(" 5 in 10 ms+ "), missed > 0, "{shown}");
    }
}

/// 300 events a second were a peak of 490 where rows of whole seconds came early.
#[test]
fn rounded_times_of_early_rows_are_said() {
    let rows = |jitter_ms: u64, unit_ms: u64| -> String {
        let mut random = fastrand::Rng::with_seed(3);
        let row = |at: u64| {
            let ms = 10_000 * at + random.u64(0..=jitter_ms);
            let drop = 317 * ms / 1000;
            let time = 1_795_590_600_000 + ms / unit_ms * unit_ms;
            format!(
                "conntrack,cpu=all drop={drop}i,insert_failed={drop}i,early_drop=0i {time}000000\n\
                 conntrack ip_conntrack_count=5i,ip_conntrack_max=4000i {time}000000\n"
            )
        };
        (0..400).map(row).collect()
    };
    let found = source(&rows(9000, 1000));
    let excess = found.gaps.early_excess.unwrap();
    assert!((0.25..=1.0).contains(&excess), "{excess}");
    let drop = found.counters.iter().find(|counter| counter.name == "drop").unwrap();
    assert!(drop.peak.unwrap() <= 317.0 * (1.0 + excess), "{drop:?}");
    assert!(drop.peak.unwrap() > 330.0, "{drop:?}");
    let text = report_text(&report_of(rows(9000, 1000).as_bytes()));
    assert!(text.contains("too high (rounded times)"), "{text}");
    for (jitter_ms, unit_ms) in [(100, 1000), (9000, 1)] {
        assert_eq!(source(&rows(jitter_ms, unit_ms)).gaps.early_excess, None);
    }
}
