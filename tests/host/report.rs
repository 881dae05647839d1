//! `ctpulse report` on recordings with known bursts, damaged ones, and huge ones.
//!
//! `CTPULSE_BLESS=1 cargo test --test host report::` writes the recordings and golden texts anew; look
//! at the diff.

mod clocks;
mod coverage;
mod forms;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

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
fn what_went_through_telegraf_says_the_same() {
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
fn namespaces_are_apart_and_gaps_and_restarts_are_told() {
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
fn time_above_90_percent_has_two_bounds() {
    let report = report_json(&["burst.influx"]);
    let fill = &report["sources"][0]["fill"];
    let above = &fill["above_90_percent"];
    // The table is full for some seconds at most, within one row of ten.
    assert_eq!(
        (above["at_least_seconds"].as_f64(), above["at_most_seconds"].as_f64()),
        (Some(0.0), Some(10.0))
    );
    assert!(fill["peak"].as_f64().unwrap() >= 3600.0, "{fill}");
    assert_eq!(seconds_after_start(&fill["peak_at_ns"]), 410.0);
}

/// Rows of a table in which `max` entries have room, ten seconds apart; `twice` as Telegraf's
/// plugin writes them on a host with two CPUs, the sum over these first or last.
fn levels(levels: &[(u64, u64)], twice: Option<bool>) -> String {
    let mut rows = String::new();
    for (at, (count, max)) in levels.iter().enumerate() {
        let time = START_NS / 1_000_000_000 + 10 * at as i64;
        let entries = if twice.is_some() { 2 * count } else { *count };
        let mut pair = [
            format!("conntrack,cpu=all drop=0i,insert_failed=0i,entries={entries}i {time}\n"),
            format!("conntrack ip_conntrack_count={count},ip_conntrack_max={max} {time}\n"),
        ];
        if twice == Some(false) {
            pair.reverse();
        }
        rows.extend(pair);
    }
    rows
}

fn report_of(rows: &str, format: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rows).unwrap();
    let mut command = ctpulse();
    text(&output(command.arg("report").arg(file.path()).args(["--format", format])).stdout)
        .to_owned()
}

#[test]
fn a_sum_over_cpus_does_not_fill_the_table() {
    for first in [true, false] {
        let rows = levels(&[(400, 1000), (500, 1000), (450, 1000)], Some(first));
        let found = report_of(&rows, "text");
        let fill = "fill        at most 50.0% (500 of 1,000 entries) at 07:10:10";
        assert!(found.contains(fill), "{found}");
        assert!(found.contains("90 % full   never"), "{found}");
        let found: Value = serde_json::from_str(&report_of(&rows, "json")).unwrap();
        assert_eq!(found["sources"][0]["fill"]["entries"]["max"], 500.0);
    }
}

#[test]
fn a_limit_that_changed_is_told_and_each_share_is_of_its_own() {
    let raised =
        levels(&[(1000, 2000), (2000, 2000), (2000, 2000), (1990, 16_384), (2500, 16_384)], None);
    let found = report_of(&raised, "text");
    for line in [
        "fill        at most 100% (2,000 of 2,000 entries) at 07:10:10",
        "limit       changed from 2,000 to 16,384 at 07:10:30",
        // Twice 10 seconds, and the 10 in which it was changed.
        "90 % full   for 20 s at least, 30 s at most",
    ] {
        assert!(found.contains(line), "{line}: {found}");
    }
    let unchanged = report_of(&levels(&[(1000, 2000), (1500, 2000)], None), "text");
    assert!(!unchanged.contains("limit "), "{unchanged}");

    let dir = tempfile::tempdir().unwrap();
    let [before, after, page] = ["before", "after", "page.html"].map(|name| dir.path().join(name));
    std::fs::write(&before, levels(&[(1000, 2000), (1000, 2000)], None)).unwrap();
    std::fs::write(&after, &raised).unwrap();
    let mut command = ctpulse();
    let compared = output(command.arg("report").args([&before, &after]));
    let fill = "fill at the peak, percent               50         100      2x";
    assert!(text(&compared.stdout).contains(fill), "{}", text(&compared.stdout));

    output(ctpulse().arg("report").arg(&after).arg("--html").arg(&page));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<dd>100%: 2,000 of 2,000 entries at 07:10:10</dd>"));
    assert!(page.contains("<dt>limit</dt><dd>changed from 2,000 to 16,384 at 07:10:30</dd>"));
    // The plot: 2,500 of 16,384 at the end, and no more than full before.
    for tooltip in ["fill 50", "fill 100", "fill 15.3"] {
        assert!(page.contains(tooltip), "{tooltip}: {page}");
    }
}

#[test]
fn advice_on_a_recording_is_by_the_limit_of_its_time() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), levels(&[(2000, 2000), (2000, 2000), (100, 16_384)], None))
        .unwrap();
    let advised = ctpulse().args(["doctor", "--advise", "--recording"]).arg(file.path()).output();
    let advised = advised.unwrap();
    assert!(text(&advised.stdout).contains("2,000 of 2,000"), "{}", text(&advised.stdout));
    let told = text(&advised.stderr);
    assert!(told.contains("changed from 2,000 to 16,384 at 2026-11-25 07:10:20"), "{told}");
}

/// The exit code of advice on a recording, and the titles of the findings with their marks.
fn advise_on(recording: &Path) -> (Option<i32>, Vec<String>) {
    let mut command = ctpulse();
    let advised = command.args(["doctor", "--advise", "--recording"]).arg(recording).output();
    let advised = advised.unwrap();
    let told = text(&advised.stdout);
    let titles = told.lines().filter(|line| !line.starts_with(' ')).map(str::to_owned).collect();
    (advised.status.code(), titles)
}

/// "Nothing is wrong" was printed where no counter of losses was in the rows.
#[test]
fn a_recording_without_statistics_leaves_losses_unknown() {
    const UNKNOWN: &str = "??  some of it is unknown: losses may have gone unnoticed";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), levels(&[(200, 2000), (200, 2000), (100, 2000)], None)).unwrap();
    assert_eq!(advise_on(file.path()), (Some(3), vec![UNKNOWN.to_owned()]));
    assert_eq!(advise_on(Path::new("/no/such/recording")), (Some(3), Vec::new()));
}

/// Captured from Telegraf 1.40 on a gateway that masquerades to eight ports: their exhaustion was
/// advised as a race, with `fully-random` as its cure, and 388 INVALID packets were no finding.
#[test]
fn ports_that_ran_out_are_found_in_what_telegraf_recorded() {
    let recording = fixture("telegraf").join("second/lines.influx");
    let titles = ["!!  NAT runs out of ports", "!   packets are INVALID"].map(str::to_owned);
    assert_eq!(advise_on(&recording), (Some(1), titles.to_vec()));
    let mut command = ctpulse();
    let advised = command.args(["doctor", "--advise", "--recording"]).arg(recording).output();
    let advice = text(&advised.unwrap().stdout);
    let numbers = "452 insertions failed, and their packets were lost in 17 s; NAT found 3,661 ports \
                   taken, 8.10 for each: a range of about 8 ports is exhausted";
    assert!(advice.contains(numbers), "{advice}");
    assert!(!advice.contains("random"), "{advice}");
}

/// "Nothing is tracked here" was printed for an idle minute of a gateway.
#[test]
fn an_idle_minute_is_no_table_that_tracks_nothing() {
    let minute = |invalid: u32| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for second in 10..70 {
            let fields = "drop=0i,early_drop=0i,entries=0i,insert_failed=0i,found=0i";
            let ns = "000000000";
            let start = 1_795_590_600;
            let row =
                format!("conntrack,cpu=all {fields},invalid={invalid}i {}{ns}", start + second);
            writeln!(file, "{row}").unwrap();
        }
        advise_on(file.path())
    };
    let (code, titles) = minute(7);
    assert_eq!((code, titles[0].as_str()), (Some(0), "!   no tracked traffic in 59 s"));
    assert_eq!(minute(0), (Some(0), vec!["!   nothing is tracked here".to_owned()]));
}

#[test]
fn bad_lines_are_counted_with_the_first_ones_place() {
    let report = report_json(&["mixed.influx"]);
    let read = &report["recording"];
    assert_eq!(read["bad_lines"], 4, "{read}");
    let first = read["first_bad_line"].as_str().unwrap();
    assert!(first.starts_with("mixed.influx:7: not line protocol"), "{first}");
    assert_eq!(report["other_rows"], 2);
    assert_eq!(report["sources"][0]["emissions"], 8);
}

#[test]
fn only_what_has_nothing_readable_fails() {
    fixtures();
    let missing = report(&["nosuch.influx"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("cannot read nosuch.influx: No such file"));
    let dir = tempfile::tempdir().unwrap();
    let nonsense = dir.path().join("notes");
    std::fs::write(&nonsense, "dear diary\nnothing happened\n").unwrap();
    let found = report(&[nonsense.to_str().unwrap()]);
    assert_eq!(found.status.code(), Some(1));
    let told = text(&found.stderr);
    assert!(
        told.contains("no row of conntrack") && told.contains(":1: not line protocol"),
        "{told}"
    );
    let with_one_missing = report(&["--merge", "nosuch.influx", "burst.influx"]);
    assert!(with_one_missing.status.success());
    assert!(text(&with_one_missing.stdout).contains("not read    nosuch.influx: No such file"));
    assert_eq!(report(&["a", "b", "c"]).status.code(), Some(2));
}

#[test]
fn a_file_cut_anywhere_reads_to_its_last_whole_line() {
    let whole = namespaces().text(Format::Influx);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.influx");
    for cut in (20_000..whole.len()).step_by(1777) {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let report = report_json(&[path.to_str().unwrap()]);
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(report["recording"]["rows"], lines);
        assert_eq!(report["recording"]["bad_lines"], u64::from(whole[cut - 1] != b'\n'));
    }
}

#[test]
fn rotated_files_and_zstd_are_read_as_one_recording() {
    let whole = text(&burst().text(Format::Influx));
    let lines: Vec<_> = whole.split_inclusive('\n').collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fw.influx.zst");
    for (number, part) in lines.chunks(50).rev().enumerate() {
        let compressed = zstd::encode_all(part.concat().as_bytes(), 3).unwrap();
        let name = if number == 0 { String::new() } else { format!(".{number}") };
        std::fs::write(dir.path().join(format!("fw.influx.zst{name}")), compressed).unwrap();
    }
    let report = report_json(&[path.to_str().unwrap()]);
    assert_eq!(report["recording"]["files"].as_array().unwrap().len(), 3);
    assert_eq!(report["sources"], report_json(&["burst.influx"])["sources"]);
}

#[test]
fn standard_input_is_a_recording() {
    fixtures();
    let mut command = ctpulse();
    command.args(["report", "-"]).stdin(std::fs::File::open(recording("burst.influx")).unwrap());
    assert!(text(&output(&mut command).stdout).contains("read        -: 120 rows"));
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
    let told = text(&compared.stdout);
    for warning in [
        "warning     different sources: before is conntrack host=a, after is conntrack host=b",
        "warning     different lengths: conntrack host=a spans 20 s before, conntrack host=b 4 min 50 s",
    ] {
        assert!(told.contains(warning), "{warning}: {told}");
    }
}

/// The help says what a script can rely on.
#[test]
fn what_cannot_be_reported_exits_with_1_and_says_why() {
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
fn a_page_replaces_nothing_but_a_page() {
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

/// What needs more than counters, such as timeouts and ports, is not judged from a recording.
#[test]
fn advice_comes_from_a_recording_too() {
    let recording = fixture("recordings").join("burst.influx");
    let advised = ctpulse().args(["doctor", "--advise", "--recording"]).arg(recording).output();
    let advised = advised.unwrap();
    assert_eq!(advised.status.code(), Some(1));
    let told = text(&advised.stdout);
    let findings: Vec<&str> = told.lines().filter(|line| line.starts_with('!')).collect();
    let expected = [
        "!!  first packets race, or NAT runs out of ports",
        "!   the table is filling",
        "!   packets are INVALID",
    ];
    assert_eq!(findings, expected, "{told}");
    let lost = "    800 packets lost before their entry was inserted in 9 min 50 s: ";
    assert!(told.contains(lost), "{told}");
    assert!(told.contains("    at most 3,910 of 4,000 entries (97.8%) in 9 min 50 s\n"), "{told}");
    // The host is another one.
    assert!(told.contains("-> where probes can be attached, ctpulse drops --top "), "{told}");
}

#[test]
fn names_from_a_file_do_not_reach_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evil");
    let mut file = std::fs::File::create(&path).unwrap();
    for second in 1..4 {
        writeln!(
            file,
            "conntrack,cpu=all,host=\u{1b}[2J\u{7} drop={second}i,\u{1b}x={second}i,entries=1i \
             179559060{second}"
        )
        .unwrap();
    }
    let found = report(&[path.to_str().unwrap()]);
    assert!(found.status.success(), "{}", text(&found.stderr));
    assert!(!found.stdout.contains(&0x1b) && !found.stdout.contains(&7));
    assert!(text(&found.stdout).contains("host=\\u{1b}[2J\\u{7}"), "{}", text(&found.stdout));
}

#[test]
fn memory_does_not_grow_with_the_recording() {
    fixtures();
    let rows = namespaces().text(Format::Influx);
    let mut command = ctpulse();
    command.args(["report", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peaks = Vec::new();
    for _ in 0..2 {
        for _ in 0..20 << 20 >> 16 {
            input.write_all(&rows).unwrap();
        }
        let status = std::fs::read_to_string(&status).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peaks.push(peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap());
    }
    drop(input);
    let found = child.wait_with_output().unwrap();
    assert!(found.status.success() && text(&found.stdout).contains("netns=lan"));
    assert!(peaks[1] < 32 << 10, "{peaks:?} KiB");
    assert!(peaks[1] - peaks[0] < 1 << 10, "{peaks:?} KiB");
}
