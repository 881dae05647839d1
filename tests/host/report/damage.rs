//! Recordings that are damaged, cut, divided, compressed, hostile or huge.

use super::advice::advise_on;
use super::*;

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

/// A counter passed it at one a second, and "no counter has" that value.
#[test]
fn the_largest_number_of_32_bits_is_a_value_of_a_counter_near_it() {
    let seconds = START_NS / 1_000_000_000;
    for cpu in ["all", "cpu0"] {
        let row = |at: i64| {
            let (found, time) = (u32::MAX.wrapping_add_signed(at as i32 - 150), seconds + at);
            format!(
                "conntrack,cpu={cpu} drop=7i,found={found}i,invalid={at}i {time}\n\
                 conntrack ip_conntrack_count=5,ip_conntrack_max=100 {time}\n"
            )
        };
        let text: String = (0..300).map(row).collect();
        assert!(text.contains("=4294967295i"));
        let source = forms::report_of(text.as_bytes()).sources.remove(0);
        let is_said = |why: &String| why.contains("values that no counter has");
        assert!(!source.unknown.iter().any(is_said), "{:?}", source.unknown);
        assert_eq!(forms::totals(&source)["found"], 299.0, "{cpu}");
        assert_eq!(source.gaps.resets, 0);
        // A -1 of another counter is no value all the same.
        let damaged =
            text.replace("drop=7i,found=4294967295i", "drop=4294967295i,found=4294967295i");
        let source = forms::report_of(damaged.as_bytes()).sources.remove(0);
        assert!(source.unknown.iter().any(is_said), "{:?}", source.unknown);
        assert!(!forms::totals(&source).contains_key("drop"));
    }
}

#[test]
fn only_a_file_without_readable_rows_fails() {
    fixtures();
    let missing = report(&["nosuch.influx"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("cannot read nosuch.influx: No such file"));
    let dir = tempfile::tempdir().unwrap();
    let nonsense = dir.path().join("notes");
    std::fs::write(&nonsense, "dear diary\nnothing happened\n").unwrap();
    let found = report(&[nonsense.to_str().unwrap()]);
    assert_eq!(found.status.code(), Some(1));
    let printed = text(&found.stderr);
    assert!(
        printed.contains("no row of conntrack") && printed.contains(":1: not line protocol"),
        "{printed}"
    );
    let with_one_missing = report(&["--merge", "nosuch.influx", "burst.influx"]);
    assert!(with_one_missing.status.success());
    assert!(text(&with_one_missing.stdout).contains("not read    nosuch.influx: No such file"));
    assert_eq!(report(&["a", "b", "c"]).status.code(), Some(2));
}

#[test]
fn a_truncated_file_is_read_to_its_last_complete_line() {
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

/// Files behind a missing number were left out without a word.
#[test]
fn rotated_files_behind_a_missing_one_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fw.influx");
    let whole = Plan::of(1000, 30).text(Format::Influx);
    let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let part = |at: usize| lines[at * lines.len() / 5..(at + 1) * lines.len() / 5].concat();
    std::fs::write(&path, part(4)).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&part(3)).unwrap();
    std::fs::write(dir.path().join("fw.influx.1.gz"), packed.finish().unwrap()).unwrap();
    std::fs::write(dir.path().join("fw.influx.3"), part(1)).unwrap();
    std::fs::write(dir.path().join("fw.influx-20261101"), part(0)).unwrap();
    std::fs::write(dir.path().join("fw.influx.bak"), part(0)).unwrap();
    let found = report_json(&[path.to_str().unwrap()]);
    assert_eq!(found["recording"]["files"].as_array().unwrap().len(), 2);
    let said = found["sources"][0]["unknown"].to_string();
    assert!(said.contains("fw.influx.3: a part") && said.contains("fw.influx-20261101: a part"));
    assert!(!said.contains("bak"), "{said}");
    assert_eq!(advise_on(&path).0, Some(3));
}

#[test]
fn standard_input_is_a_recording() {
    fixtures();
    let mut command = ctpulse();
    command.args(["report", "-"]).stdin(std::fs::File::open(recording("burst.influx")).unwrap());
    assert!(text(&output(&mut command).stdout).contains("read        -: 120 rows"));
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

/// 20 gathers, a second apart, of statistics with these fields for each of these tags, and of the table.
fn gathers(tags: &[&str], fields: impl Fn(usize, &str) -> String) -> String {
    let mut text = String::new();
    for second in 0..20 {
        let time_ns = START_NS + second as i64 * 1_000_000_000;
        for tag in tags {
            text += &format!("conntrack,cpu={tag},host=gw {} {time_ns}\n", fields(second, tag));
        }
        text +=
            &format!("conntrack,host=gw ip_conntrack_count=50,ip_conntrack_max=4000 {time_ns}\n");
    }
    text
}

fn advice_on(text: &str) -> (Option<i32>, Vec<String>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    advise_on(file.path())
}

fn is_certain((_, titles): &(Option<i32>, Vec<String>)) -> bool {
    titles.iter().any(|title| title.starts_with("!!"))
}

/// 5,000 drops were certain where all counters had begun at 0.
#[test]
fn a_single_damaged_value_is_no_certain_loss() {
    for begin in [0, 100] {
        let text = gathers(&["all"], |second, _| {
            let drop = if second == 5 { 5000 } else { 0 };
            format!("drop={drop}i,found={}i,invalid={second}i", begin + 10 * second)
        });
        let advice = advice_on(&text);
        assert!(!is_certain(&advice), "{begin}: {advice:?}");
        assert_eq!(advice.0, Some(3), "{begin}: {advice:?}");
    }
}

/// The rows of the CPUs had none of them.
#[test]
fn events_that_no_cpu_has_are_in_doubt() {
    let text = gathers(&["all", "cpu0", "cpu1"], |second, cpu| {
        let drop = if cpu == "all" && second == 19 { 5000 } else { 0 };
        let invalid = if cpu == "all" { 2 * second } else { second };
        format!("drop={drop}i,insert_failed=0i,invalid={invalid}i")
    });
    let advice = advice_on(&text);
    assert!(!is_certain(&advice), "{advice:?}");
    // With one CPU of several the sum has more, and no value is wrong.
    let text = gathers(&["all", "cpu0"], |second, cpu| {
        let drop = if cpu == "all" { 100 + 9 * second } else { 3 };
        format!("drop={drop}i,insert_failed=0i")
    });
    assert!(is_certain(&advice_on(&text)));
}

/// The rows were left out without a word: "no statistics row".
#[test]
fn another_spelling_of_the_cpu_is_read_and_an_unknown_one_is_named() {
    let drops = |tag: &str| gathers(&[tag], |second, _| format!("drop={}i", 3 * second));
    for tag in ["ALL", "All"] {
        let source = forms::report_of(drops(tag).as_bytes()).sources.remove(0);
        assert_eq!(forms::totals(&source)["drop"], 57.0, "{tag}");
    }
    let source = forms::report_of(drops("CPU0").as_bytes()).sources.remove(0);
    assert_eq!(forms::totals(&source)["drop"], 57.0);
    let source = forms::report_of(drops("Total").as_bytes()).sources.remove(0);
    let said = source.unknown.join("\n");
    assert!(said.contains("20 rows with counters have another tag than cpu=all"), "{said}");
    assert!(said.contains("such as cpu=Total: left out"), "{said}");
}

/// A line without its end ran into the next one: a second host, or a row that is no one's.
#[test]
fn lines_that_run_together_are_bad() {
    let text = gathers(&["all", "cpu0"], |second, _| format!("drop={second}i"));
    for (cut, rest) in [("host=gw drop=7i", "host=g"), ("cpu=all,host=gw drop=7i", "cpu=")] {
        let at = text.find(cut).unwrap();
        let end = at + text[at..].find('\n').unwrap() + 1;
        let text = format!("{}{rest}{}", &text[..at], &text[end..]);
        let report = forms::report_of(text.as_bytes());
        assert_eq!((report.recording.bad_lines, report.sources.len()), (1, 1), "{cut}");
    }
}

/// The times between two such rows have no room in 64 bits.
#[test]
fn times_that_no_clock_has_are_bad_lines() {
    let mut text = gathers(&["all"], |second, _| format!("drop={second}i"));
    text += "conntrack,cpu=all,host=gw drop=20i -9223372036854775808\n";
    text += "conntrack,cpu=all,host=gw drop=21i 9223372036854775807\n";
    let report = forms::report_of(text.as_bytes());
    assert_eq!(report.recording.bad_lines, 2);
    assert_eq!(forms::totals(&report.sources[0])["drop"], 19.0);
}

/// Telegraf writes one header, and the rows of the table may have as many columns.
#[test]
fn columns_of_another_header_are_bad_lines() {
    let mut text = "timestamp,measurement,cpu,host,insert_failed\n".to_owned();
    for second in 0..20 {
        let time = START_NS / 1_000_000_000 + second;
        text += &format!("{time},conntrack,all,gw,{second}\n{time},conntrack,gw,1060,262144\n");
    }
    let report = forms::report_of(text.as_bytes());
    assert_eq!((report.recording.bad_lines, report.sources.len()), (20, 1));
    assert_eq!(forms::totals(&report.sources[0])["insert_failed"], 19.0);
}

/// Programs that turn a table of rows into CSV write a word where a row has no value.
#[test]
fn cells_of_csv_may_be_absent_or_have_blanks_around() {
    let mut text = "time, name, cpu, host, drop, ip_conntrack_count\n".to_owned();
    for second in 0..20 {
        let time = START_NS / 1_000_000_000 + second;
        let absent = ["null", "NA", "NaN", "-", ""][second as usize % 5];
        text += &format!("{time}, conntrack, all, gw, {second}, {absent}\n");
        text += &format!("{time}, conntrack, , gw, {absent}, 50\n");
    }
    let report = forms::report_of(text.as_bytes());
    assert_eq!((report.recording.bad_lines, report.sources.len()), (0, 1));
    assert_eq!(forms::totals(&report.sources[0])["drop"], 19.0);
}

/// `kubectl logs --prefix`, `journalctl`: "not line protocol: a field without a name".
#[test]
fn text_in_front_of_rows_is_named_with_a_command_that_removes_it() {
    let rows =
        ["conntrack,cpu=all drop=1i,found=2i", "conntrack ip_conntrack_count=5,ip_conntrack_max=9"];
    let lines: String = (0..4)
        .flat_map(|at| {
            rows.map(|row| format!("Nov 18 11:06:40 gw telegraf[7]: {row} 179559060{at}\n"))
        })
        .collect();
    let object = |at: u64| {
        format!(
            "{{\"fields\":{{\"drop\":1}},\"name\":\"conntrack\",\"tags\":{{\"cpu\":\"all\"}},\"timestamp\":{at}}}"
        )
    };
    let json: String = (1_795_590_600..1_795_590_604)
        .map(|at| format!("[pod/telegraf] {{\"metrics\":[{},{}]}}\n", object(at), object(at)))
        .collect();
    for (text, rows) in [(lines, "8 rows"), (json, "8 rows")] {
        let dir = tempfile::tempdir().unwrap();
        let [path, clean] = ["log", "clean"].map(|name| dir.path().join(name));
        std::fs::write(&path, &text).unwrap();
        let refused = ctpulse().arg("report").arg(&path).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let why = String::from_utf8(refused.stderr).unwrap();
        let command = why.split_once("such as by ").unwrap().1.split_once(" FILE").unwrap().0;
        let shell = format!("{command} {} > {}", path.display(), clean.display());
        assert!(std::process::Command::new("sh").args(["-c", &shell]).status().unwrap().success());
        let report = ctpulse().arg("report").arg(&clean).output().unwrap();
        let printed = String::from_utf8(report.stdout).unwrap();
        assert!(printed.contains(rows), "{shell}: {printed}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let line = "{\"log\":\"conntrack,cpu=all drop=1i 1795590600\\n\",\"stream\":\"stdout\",\"time\":\"\"}\n";
    std::fs::write(&path, line).unwrap();
    let refused = ctpulse().arg("report").arg(&path).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("jq -rj .log FILE"));
}
