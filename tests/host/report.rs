//! `ctpulse report` on recordings with known bursts, damaged ones, and huge ones.
//!
//! `CTPULSE_BLESS=1 cargo test --test host report::` writes the recordings and golden texts; read
//! the diff.

mod advice;
mod causes;
mod clocks;
mod comparison;
mod contradictions;
mod coverage;
mod cpus;
mod damage;
mod doubts;
mod ends;
mod forms;
mod labelled;
mod leaps;
mod levels;
mod names;
mod parts;
mod peaks;
mod rebuilt;
mod resets;
mod restarts;
mod sorted;
mod stillness;
mod strangers;
mod tables;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use self::levels::levels;
use crate::recordings::{Burst, Plan, START_NS, through_telegraf};
use crate::support::{ctpulse, fixture, output, repository, text};
use ctpulse::format::Format;
use serde_json::Value;

/// Ten minutes in rows of ten seconds; a burst of 20 ms, and a fuller table later.
fn burst() -> Plan {
    let short =
        Burst { at_ms: 123_240, length_ms: 20, inserts_per_sample: 500, drops_per_sample: 100 };
    let long =
        Burst { at_ms: 400_000, length_ms: 3000, inserts_per_sample: 140, drops_per_sample: 2 };
    Plan { bursts: vec![short, long], ..Plan::of(10_000, 60) }
}

/// Two namespaces, per CPU, with a gap and a restart.
fn namespaces() -> Plan {
    let burst = Burst { at_ms: 5_500, length_ms: 50, inserts_per_sample: 90, drops_per_sample: 9 };
    Plan {
        cpus: 4,
        netns: vec!["calm", "lan"],
        bursts: vec![burst],
        missing: 12..15,
        restart: Some(20),
        ..Plan::of(500, 30)
    }
}

/// A recording among what else a file can have in it.
fn mixed() -> Vec<u8> {
    let whole = text(&Plan::of(1000, 8).text(Format::Influx));
    let mut lines: Vec<_> = whole.lines().map(str::to_owned).collect();
    lines.insert(3, "cpu,cpu=cpu0,host=gw usage_idle=97.5 1795590601000000000".into());
    lines.insert(4, "# a comment".into());
    lines.insert(
        5,
        "syslog,host=gw message=\"out of memory, \\\"again\\\"\" 1795590601000000000".into(),
    );
    lines.insert(6, "conntrack,cpu=all,host=gw drop=".into());
    lines.insert(9, "\u{1b}[2J<script>alert(1)</script>".into());
    let mut all = lines.join("\n").into_bytes();
    all.extend_from_slice(b"\n\xff\xfe\x00\n");
    all.extend_from_slice(&whole.as_bytes()[..150]); // torn, in the middle of a number or not
    all
}

fn recording(name: &str) -> PathBuf {
    repository().join("fixtures/recordings").join(name)
}

fn blessing() -> bool {
    std::env::var_os("CTPULSE_BLESS").is_some()
}

fn golden(path: &Path, found: &[u8]) {
    if blessing() {
        std::fs::write(path, found).unwrap();
    }
    let expected = std::fs::read(path).unwrap();
    let (expected, found) = (String::from_utf8_lossy(&expected), String::from_utf8_lossy(found));
    assert_eq!(found, expected, "{}", path.display());
}

/// The fixtures, made before the first test that reads one.
fn fixtures() {
    static MADE: std::sync::Once = std::sync::Once::new();
    MADE.call_once(|| {
        golden(&recording("burst.influx"), &burst().text(Format::Influx));
        golden(&recording("burst.json"), &burst().text(Format::Json));
        let telegraf = through_telegraf(&text(&burst().text(Format::Influx)));
        golden(&recording("burst-telegraf.influx"), telegraf.as_bytes());
        golden(&recording("namespaces.influx"), &namespaces().text(Format::Influx));
        golden(&recording("mixed.influx"), &mixed());
    });
}

fn report(arguments: &[&str]) -> Output {
    fixtures();
    ctpulse()
        .current_dir(repository().join("fixtures/recordings"))
        .arg("report")
        .args(arguments)
        .output()
        .unwrap()
}

fn report_json(arguments: &[&str]) -> Value {
    let found = report(&[arguments, &["--format", "json"]].concat());
    assert!(found.status.success(), "{}", text(&found.stderr));
    serde_json::from_slice(&found.stdout).unwrap()
}

fn seconds_after_start(time: &Value) -> f64 {
    (time.as_i64().unwrap() - START_NS) as f64 / 1e9
}

#[test]
fn texts_are_golden() {
    for (name, arguments) in [
        ("burst", &["burst.influx"][..]),
        ("namespaces", &["namespaces.influx"]),
        ("mixed", &["mixed.influx"]),
        ("compare", &["namespaces.influx", "burst.influx", "--window", "10s"]),
        ("compare-burst", &["mixed.influx", "burst.influx"]),
    ] {
        let found = report(arguments);
        assert!(found.status.success(), "{}", text(&found.stderr));
        let path = repository().join(format!("tests/golden/report-{name}.text"));
        golden(&path, &found.stdout);
        for line in text(&found.stdout).lines() {
            assert!(!line.contains('\u{1b}'), "{line:?}");
        }
    }
}

#[test]
fn a_burst_of_20_ms_in_rows_of_10_s_is_found_and_placed() {
    for name in ["burst.influx", "burst.json", "burst-telegraf.influx"] {
        let report = report_json(&[name]);
        let source = &report["sources"][0];
        let bursts = source["bursts"].as_array().unwrap();
        let worst = bursts.iter().find(|burst| burst["counter"] == "drop").unwrap();
        // 100 drops in each sample of 10 ms.
        assert_eq!(worst["peak"], 10_000.0, "{name}: {worst}");
        assert_eq!(worst["mean"], 20.0, "{name}: {worst}");
        let end = seconds_after_start(&worst["at_ns"]);
        let within = worst["within_seconds"].as_f64().unwrap();
        assert!(end - within <= 123.24 && 123.26 <= end, "{name}: {worst}");
        assert_eq!(within, 10.0);
        let insert = bursts.iter().find(|burst| burst["counter"] == "insert").unwrap();
        assert!(insert["peak"].as_f64().unwrap() >= 50_000.0, "{insert}");
        assert_eq!(source["drop_causes"][0]["field"], "drop_clash");
        assert_eq!(source["drop_causes"][0]["packets"], 2.0 * 100.0 + 300.0 * 2.0);
    }
}

#[test]
fn a_recording_of_telegraf_has_the_same_report() {
    let ours = report_json(&["burst.influx"]);
    let theirs = report_json(&["burst-telegraf.influx"]);
    let json = report_json(&["burst.json"]);
    for key in ["counters", "fill", "bursts", "gaps", "losses", "interval_seconds"] {
        assert_eq!(theirs["sources"][0][key], ours["sources"][0][key], "{key}");
        assert_eq!(json["sources"][0][key], ours["sources"][0][key], "{key}");
    }
    let tags = serde_json::json!([["dc", "eu west"], ["host", "gw"]]);
    assert_eq!(theirs["sources"][0]["tags"], tags);
}

#[test]
fn rates_are_averages_over_the_window() {
    let rates = |window: &str| {
        let report = report_json(&["namespaces.influx", "--window", window]);
        let counters = &report["sources"][1]["counters"];
        let drop = counters.as_array().unwrap().iter().find(|c| c["name"] == "drop").unwrap();
        (drop["total"].clone(), drop["per_second"].clone(), drop["peak"].clone())
    };
    // 45 drops within 50 ms, in one row of half a second.
    let (total, spread, peak) = rates("500ms");
    assert_eq!(
        (total, spread["max"].as_f64(), peak.as_f64()),
        (45.0.into(), Some(90.0), Some(900.0))
    );
    let (total, spread, _) = rates("2s");
    // The gap cuts its window to one and a half seconds.
    assert_eq!((total, spread["max"].as_f64()), (45.0.into(), Some(30.0)));
}

#[test]
fn namespaces_are_separate_and_gaps_and_restarts_are_reported() {
    let report = report_json(&["namespaces.influx"]);
    let sources = report["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 2);
    let tag = |source: &Value| source["tags"][1][1].clone();
    assert_eq!((tag(&sources[0]), tag(&sources[1])), ("calm".into(), "lan".into()));
    assert_eq!(sources[0]["drop_causes"].as_array().unwrap().len(), 0);
    for source in sources {
        let gaps = &source["gaps"];
        assert_eq!((&gaps["gaps"], &gaps["missing"]), (&1.into(), &3.into()));
        assert_eq!(seconds_after_start(&gaps["longest"][0]["from_ns"]), 6.0);
        assert_eq!((&gaps["restarts"], &gaps["resets"]), (&1.into(), &1.into()));
        assert_eq!(seconds_after_start(&gaps["first_reset_ns"]), 10.5);
        assert_eq!(source["losses"]["samples_missed"], 4.0);
        let cpus = source["cpus"].as_array().unwrap();
        assert_eq!(cpus.len(), 4);
        assert!(cpus[0]["inserted"].as_f64() > cpus[1]["inserted"].as_f64());
        assert_eq!(cpus[3]["inserted"], 0.0);
    }
}

#[test]
fn a_comparison_has_ratios() {
    let found = report_json(&["burst.influx", "burst.influx"]);
    let drop = &found["pairs"][0]["counters"][0];
    assert_eq!(
        (&drop["name"], &drop["mean"]["ratio"], &drop["peak"]["ratio"]),
        (&"drop".into(), &1.0.into(), &1.0.into())
    );
    let found = report_json(&["namespaces.influx", "burst.influx"]);
    assert_eq!(found["only_after"], serde_json::json!(["conntrack host=gw"]));
    assert_eq!(found["only_before"].as_array().unwrap().len(), 2);
}

#[test]
fn a_comparison_of_different_hosts_or_lengths_warns() {
    let dir = tempfile::tempdir().unwrap();
    let [before, after] = ["before", "after"].map(|name| dir.path().join(name));
    let rows = levels(&[(1000, 2000), (1000, 2000), (900, 2000)], None);
    std::fs::write(
        &before,
        rows.replace("conntrack", "conntrack,host=a")
            .replace("ip_conntrack,host=a", "ip_conntrack"),
    )
    .unwrap();
    std::fs::write(
        &after,
        levels(&[(1000, 2000); 30], None)
            .replace("conntrack", "conntrack,host=b")
            .replace("ip_conntrack,host=b", "ip_conntrack"),
    )
    .unwrap();
    let compared = output(ctpulse().arg("report").args([&before, &after]));
    let printed = text(&compared.stdout);
    for warning in [
        "warning     different sources: before is conntrack host=a, after is conntrack host=b",
        "warning     different lengths: conntrack host=a spans 20 s before, conntrack host=b 4 min 50 s",
    ] {
        assert!(printed.contains(warning), "{warning}: {printed}");
    }
}

/// The help documents the exit codes for scripts.
#[test]
fn an_unusable_recording_exits_with_1_and_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for (content, why) in [
        ("", "file is empty"),
        ("1795918049,conntrack,all,gw,0\n", "CSV without a header"),
        ("timestamp,measurement,drop\nyesterday,conntrack,1\n", "neither a number nor RFC 3339"),
        ("{\"drop\":1}\n", "missing field `fields`"),
    ] {
        std::fs::write(&path, content).unwrap();
        let found = ctpulse().arg("report").arg(&path).output().unwrap();
        assert_eq!(found.status.code(), Some(1), "{content}");
        assert!(text(&found.stderr).contains(why), "{why}: {}", text(&found.stderr));
    }
    let help = output(ctpulse().args(["report", "--help"]));
    assert!(text(&help.stdout).contains("Exit code:"));
}

/// A forgotten argument must not cost a recording.
#[test]
fn a_page_replaces_only_a_page() {
    let recording = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(self::recording("burst.influx"), recording.path()).unwrap();
    let before = std::fs::read(recording.path()).unwrap();
    let path = recording.path().to_str().unwrap();
    let refused = ctpulse().args(["report", "--html", path, path]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("is no page"), "{}", text(&refused.stderr));
    assert_eq!(std::fs::read(recording.path()).unwrap(), before);
    let page = tempfile::tempdir().unwrap();
    let page = page.path().join("fw.html");
    for _ in 0..2 {
        output(ctpulse().args(["report", path, "--html", page.to_str().unwrap()]));
    }
}
