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
