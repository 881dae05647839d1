//! Rows that do not cover the whole time, and values that are no counts: a report has the true
//! totals, or it reports what is unknown. The recordings are of one truth each.

use std::io::Write as _;

use ctpulse::report::{Report, SourceReport};

use super::advice::advise_on;
use super::forms::{report_of, totals};
use crate::recordings::truth::{Form, ONLY_ALL, ONLY_CPUS, ONLY_TABLE, Row, Truth};

/// Lookups all the time, and 5 failed insertions a second from one second on.
fn late_losses(seconds: usize, from: usize) -> Truth {
    Truth::of(2, seconds, |second, cpu| {
        let lost = if cpu == 0 && second >= from { 5 } else { 0 };
        [lost, 0, (second as u64 * 7 + 3) % 10, lost, 0, 0]
    })
}

fn source(rows: &[Row]) -> SourceReport {
    let Report { mut sources, .. } = report_of(&Form::Lines.write(rows));
    assert_eq!(sources.len(), 1);
    sources.remove(0)
}

fn total(source: &SourceReport, name: &str) -> f64 {
    totals(source).get(name).copied().unwrap_or(0.0)
}

fn warnings(source: &SourceReport) -> String {
    source.unknown.join("\n")
}

/// The exit code of the advice, and whether it has a finding of the title.
fn advice(rows: &[Row], title: &str) -> (Option<i32>, bool) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&Form::Lines.write(rows)).unwrap();
    let (code, titles) = advise_on(file.path());
    (code, titles.iter().any(|found| found.contains(title)))
}

const UNKNOWN: &str = "some of it is unknown";

/// A tenth of the time without statistics was covered well enough for "nothing is wrong".
#[test]
fn statistics_of_a_part_of_the_time_are_reported() {
    let has_statistics = |row: &Row| row.tag("cpu").is_some();
    let truth = late_losses(1000, 930);
    let mut ends = truth.rows(0);
    ends.retain(|row| !has_statistics(row) || row.second() < 920);
    let mut field_ends = truth.rows(0);
    for row in field_ends.iter_mut().filter(|row| row.second() >= 920) {
        row.fields.retain(|(name, _)| *name != "drop" && *name != "insert_failed");
    }
    let mut begins = truth.rows(0);
    begins.retain(|row| !has_statistics(row) || row.second() >= 70);
    let mut few = late_losses(5, 3).rows(0);
    few.retain(|row| !has_statistics(row) || row.second() < 3);
    for (rows, sentence) in [
        (ends, "the statistics rows span 15 min 19 s of 16 min 39 s"),
        (field_ends, "the rows with drop span 15 min 19 s of 16 min 39 s, and 1 counter more"),
        (begins, "the statistics rows span 15 min 29 s of 16 min 39 s"),
        (few, "the statistics rows span 2 s of 4 s"),
    ] {
        let found = warnings(&source(&rows));
        assert!(found.contains(sentence), "{sentence}: {found}");
        assert!(advice(&rows, UNKNOWN).1, "{sentence}");
    }
}

/// Probes are attached a while after the first rows, and derived drops need two samples more.
#[test]
fn counters_of_probes_that_begin_late_leave_nothing_unknown() {
    let truth = late_losses(1000, 930);
    let mut rows = truth.rows(0);
    for row in rows.iter_mut().filter(|row| ONLY_ALL(row) && row.second() >= 30) {
        row.fields.extend([("drop_clash", 0), ("drop_dying", 0)]);
    }
    let found = source(&rows);
    assert_eq!(found.unknown, [] as [&str; 0]);
    assert_eq!(totals(&found), truth.totals());
}

/// The rows of the CPUs hold what rows of `cpu=all` do not.
#[test]
fn rows_of_cpus_stand_in_for_the_sum() {
    let truth = late_losses(1000, 930);
    for (from, to) in [(0, 920), (950, 1000), (400, 600), (0, 1)] {
        let mut rows = truth.rows(0);
        rows.retain(|row| !ONLY_ALL(row) || (from..to).contains(&row.second()));
        let found = source(&rows);
        assert_eq!(totals(&found), truth.totals(), "{from}..{to}");
        assert_eq!(found.unknown, [] as [&str; 0], "{from}..{to}");
    }
}

/// The statistics have the table's entries too.
#[test]
fn entries_of_the_statistics_stand_in_for_the_table() {
    let mut rows = late_losses(1000, 990).rows(0);
    for (name, value) in
        rows.iter_mut().filter(|row| row.second() >= 930).flat_map(|row| &mut row.fields)
    {
        if matches!(*name, "entries" | "ip_conntrack_count") {
            *value = 4000;
        }
    }
    rows.retain(|row| !ONLY_TABLE(row) || row.second() < 920);
    let found = source(&rows);
    let fullest = found.fill.as_ref().unwrap().fullest.unwrap();
    assert_eq!((fullest.entries, fullest.percent), (4000.0, 100.0));
    assert_eq!(found.unknown, [] as [&str; 0]);
    // As Telegraf's plugin sums them over the CPUs: no entries of the table.
    for (name, value) in rows.iter_mut().flat_map(|row| &mut row.fields) {
        if *name == "entries" {
            *value *= 2;
        }
    }
    let found = source(&rows);
    assert_eq!(found.fill.as_ref().unwrap().peak, 106.0);
    assert!(warnings(&found).contains("the table rows span 15 min 19 s of 16 min 39 s"));
}

/// Rates alone do not cover the time without rows.
#[test]
fn rates_count_for_one_interval_behind_a_gap() {
    for gap_after in [3, 150] {
        let mut text = String::new();
        for second in 0..200u64 {
            let later = if second > gap_after { 3600 } else { 0 };
            let rate = if second == gap_after + 1 { 100 } else { 0 };
            text += &format!(
                "conntrack,cpu=all,host=gw drop_rate={rate},insert_failed_rate={rate},entries=5i {}\n",
                1_700_000_000 + second + later
            );
        }
        let report = report_of(text.as_bytes());
        let found = &report.sources[0];
        assert!((total(found, "drop") - 100.0).abs() < 0.1, "{gap_after}");
        let sentence = "drop and 1 counter more are in rates only, so their events in 1 h without \
                        rows are not known";
        assert!(warnings(found).contains(sentence), "{}", warnings(found));
    }
}

/// `fill(0)` of a query puts rows of zeros where there are none.
#[test]
fn rows_filled_with_zeros_are_no_resets() {
    let truth = Truth::of(1, 300, |second, _| [0, 0, second as u64 % 5, 0, 0, 0]);
    let mut filled: Vec<(&str, Vec<Row>)> = Vec::new();
    let blank = |is: fn(i64) -> bool| {
        let mut rows = truth.rows(0);
        for row in rows.iter_mut().filter(|row| is(row.second())) {
            row.fields.iter_mut().for_each(|(_, value)| *value = 0);
        }
        rows
    };
    filled.push(("one", blank(|second| second == 100)));
    filled.push(("three", blank(|second| (100..103).contains(&second))));
    filled.push(("leading", blank(|second| second < 3)));
    filled.push(("trailing", blank(|second| second > 290)));
    let reversed = blank(|second| (100..103).contains(&second)).into_iter().rev().collect();
    filled.push(("reversed", reversed));
    let cpus = blank(|second| (100..103).contains(&second)).into_iter();
    filled.push(("CPUs only", cpus.filter(|row| !ONLY_ALL(row)).collect()));
    let fields = blank(|second| (100..103).contains(&second));
    filled.push(("one field a line", fields.iter().flat_map(Row::fields_apart).collect()));
    for (which, rows) in filled {
        let found = source(&rows);
        assert_eq!(total(&found, "drop"), 0.0, "{which}: {}", warnings(&found));
        if which != "leading" && which != "trailing" {
            assert_eq!(totals(&found), truth.totals(), "{which}");
        }
        let counter = found.counters.iter().find(|counter| counter.name == "found").unwrap();
        assert!(counter.peak.unwrap() <= 4.0, "{which}: {counter:?}");
        // At the end there is no row that shows which of both they are.
        assert_eq!(found.gaps.resets, u64::from(which == "trailing"), "{which}");
        assert!(warnings(&found).contains("fill(0)"), "{which}: {}", warnings(&found));
        assert_eq!(found.fill.as_ref().unwrap().limit_changed, 0, "{which}");
    }
    // A module that was loaded again counts nothing for a while.
    let truth = Truth::of(1, 300, |second, _| {
        let count = u64::from(!(100..110).contains(&second));
        [count, 0, count * 3, count, 0, 0]
    });
    let found = source(&truth.with_reset(100).rows(0));
    assert_eq!(found.gaps.resets, 1);
    assert_eq!(total(&found, "drop"), 289.0);
    assert!(!warnings(&found).contains("fill(0)"));
}

/// Telegraf's plugin adds up counters of CPUs, each of which wraps by itself.
#[test]
fn sums_of_counters_that_wrap_are_exact() {
    let truth = Truth::of(2, 200, |second, cpu| [(second as u64 + cpu as u64) % 5, 0, 3, 1, 0, 0]);
    let mut rows = truth.rows(0);
    let wrap = |value: u64| (value + (1 << 32) - 1150) % (1 << 32);
    for gather in rows.chunks_mut(4) {
        for at in [0, 3] {
            for row in &mut gather[1..3] {
                row.fields[at].1 = wrap(row.fields[at].1);
            }
            gather[0].fields[at].1 = gather[1..3].iter().map(|row| row.fields[at].1).sum();
        }
    }
    for keep in [ONLY_ALL, ONLY_CPUS, |row: &Row| !ONLY_TABLE(row), |_: &Row| true] {
        let some: Vec<Row> = rows.iter().filter(|row| keep(row)).cloned().collect();
        let found = source(&some);
        assert_eq!(totals(&found), truth.totals(), "{}", warnings(&found));
        assert_eq!(found.gaps.resets, 0);
        let peak = found.counters.iter().find(|counter| counter.name == "drop").unwrap().peak;
        assert_eq!(peak, Some(truth.most("drop") as f64));
    }
}

/// Counters do not wrap all at once.
#[test]
fn counters_that_begin_again_near_their_end_do_not_wrap() {
    let truth = Truth::of(1, 200, |_, _| [2, 0, 5, 2, 3, 0]).with_reset(100);
    for high in [&["found"][..], &["found", "invalid", "drop", "insert_failed"]] {
        for below in [94_000_000, 1_000_000] {
            let mut rows = truth.rows(0);
            for row in rows.iter_mut().filter(|row| row.second() < 100) {
                for (name, value) in &mut row.fields {
                    if high.contains(name) {
                        *value += (1 << 32) - below;
                    }
                }
            }
            for keep in [ONLY_ALL, ONLY_CPUS] {
                let some: Vec<Row> = rows.iter().filter(|row| keep(row)).cloned().collect();
                let found = source(&some);
                assert_eq!(totals(&found), truth.totals(), "{high:?} {below}");
                assert_eq!(found.gaps.resets, 1, "{high:?} {below}");
            }
        }
    }
}

/// Gauges of other programs in the same rows fall now and then.
#[test]
fn fields_of_other_programs_are_no_evidence_that_counters_began_again() {
    let truth = Truth::of(2, 200, |_, _| [7, 0, 5, 2, 3, 0]);
    let mut rows = truth.rows(0);
    rows.retain(|row| !ONLY_CPUS(row));
    for row in rows.iter_mut().filter(|row| ONLY_ALL(row)) {
        let is_low = row.second() == 100;
        row.fields.push(("queue", if is_low { 3 } else { 40 }));
        row.fields.push(("load", if is_low { 2 } else { 50 }));
    }
    let mut found = source(&rows);
    found.counters.retain(|counter| truth.totals().contains_key(&counter.name));
    assert_eq!(totals(&found), truth.totals());
    assert_eq!(found.gaps.resets, 0);
}

/// ctpulse adds up the wraps of the kernel's 32 bits while it runs.
#[test]
fn counters_that_lose_their_upper_bits_with_a_restart_did_not_begin_again() {
    let truth = Truth::of(1, 200, |_, _| [0, 0, 5, 2, 3, 0]);
    // Of one CPU, or of a sum of sixteen.
    for (wraps, more, kept) in [(1, 0, 0), (3, 2, 0), (50, 20, 0), (50, 20, 11)] {
        let mut rows = truth.rows(0);
        rows.retain(|row| !ONLY_CPUS(row));
        for row in &mut rows {
            let second = row.second();
            for (name, value) in &mut row.fields {
                *value += match *name {
                    "found" if second < 100 => (wraps + kept) << 32,
                    "invalid" if second < 100 => (more + kept) << 32,
                    "found" | "invalid" => kept << 32,
                    _ => 0,
                };
            }
            if ONLY_ALL(row) && ![0, 100].contains(&second) {
                row.fields.push(("found_rate", 5));
                row.fields.push(("found_rate_max", 5));
            }
        }
        let found = source(&rows);
        assert_eq!(totals(&found), truth.totals(), "{wraps}: {}", warnings(&found));
        assert_eq!((found.gaps.resets, found.gaps.restarts), (0, 1), "{wraps}");
    }
}

/// A column of a newer kernel begins again with all others, without a restart of ctpulse.
#[test]
fn an_unknown_counter_that_begins_again_with_the_others_is_reported() {
    let truth = Truth::of(1, 200, |_, _| [1, 0, 5, 2, 3, 0]).with_reset(100);
    let mut rows = truth.rows(0);
    rows.retain(|row| !ONLY_CPUS(row));
    for row in rows.iter_mut().filter(|row| ONLY_ALL(row)) {
        let value = 2000 + row.second() as u64 - if row.second() < 100 { 0 } else { 2099 };
        row.fields.push(("a_new_column", value));
    }
    let found = source(&rows);
    assert_eq!(total(&found, "a_new_column"), 199.0, "{}", warnings(&found));
}

/// Before the interval is known, no time between rows is a gap.
#[test]
fn a_gap_behind_the_first_rows_is_no_missing_counter() {
    let truth = Truth::of(1, 200, |_, _| [1, 0, 5, 2, 3, 0]);
    for first in 2..20 {
        let mut rows = truth.rows(0);
        rows.retain(|row| !(first..first + 60).contains(&row.second()));
        let found = source(&rows);
        assert!(!warnings(&found).contains("missing in rows"), "{first}: {}", warnings(&found));
        assert!(!warnings(&found).contains("table row"), "{first}: {}", warnings(&found));
    }
}

/// A tag that a reload of the configuration added makes another source of the same host.
#[test]
fn a_source_that_continues_with_other_tags_is_reported() {
    let truth = Truth::of(1, 200, |_, _| [7, 0, 5, 2, 3, 0]);
    let mut rows = truth.rows(0);
    rows.iter_mut().filter(|row| row.second() >= 100).for_each(|row| {
        row.tags.push(("dc", "eu".to_owned()));
    });
    let report = report_of(&Form::Lines.write(&rows));
    assert_eq!(report.sources.len(), 2);
    let sum: f64 = report.sources.iter().map(|source| total(source, "drop")).sum();
    assert_eq!(sum, truth.totals()["drop"] - 7.0);
    for found in &report.sources {
        let said = warnings(found);
        assert!(said.contains("are in neither: drop 7, "), "{said}");
    }
    // Two hosts, one after the other.
    let mut rows = truth.rows(0);
    rows.iter_mut().filter(|row| row.second() >= 100).for_each(|row| {
        row.fields.iter_mut().for_each(|(_, value)| *value /= 3);
        row.tags.push(("dc", "eu".to_owned()));
    });
    let report = report_of(&Form::Lines.write(&rows));
    assert!(report.sources.iter().all(|found| found.unknown.is_empty()));
}

/// A host whose name changes and comes back is two sources, which both have the events in between.
#[test]
fn sources_that_take_turns_are_reported_as_one() {
    let truth = Truth::of(1, 300, |_, _| [3, 0, 5, 2, 3, 0]);
    let renamed = |turns: &[(i64, i64)], part: u64| {
        let mut rows = truth.rows(0);
        for row in &mut rows {
            let is_other = turns.iter().any(|(from, to)| (*from..*to).contains(&row.second()));
            row.tags.retain(|(key, _)| *key != "host");
            row.tags.push(("host", if is_other { "GW" } else { "gw" }.to_owned()));
            if is_other {
                row.fields.iter_mut().for_each(|(_, value)| *value /= part);
            }
        }
        report_of(&Form::Lines.write(&rows))
    };
    for turns in [&[(100, 200)][..], &[(50, 100), (150, 200)], &[(50, 100), (150, 200), (250, 300)]]
    {
        let report = renamed(turns, 1);
        let sum: f64 = report.sources.iter().map(|source| total(source, "drop")).sum();
        let twice = sum - truth.totals()["drop"];
        assert!(twice > 200.0);
        for found in &report.sources {
            let said = warnings(found);
            assert!(said.contains(&format!("these events are in both: drop {twice}, ")), "{said}");
        }
    }
    // Two hosts at the same time, one of them with rows of its CPUs only.
    let mut rows = truth.rows(0);
    let mut other = Truth::of(2, 300, |_, _| [3, 0, 5, 2, 3, 0]).rows(0);
    other.retain(ONLY_CPUS);
    for row in &mut other {
        row.tags = vec![("cpu", row.tag("cpu").unwrap().to_owned()), ("host", "b".to_owned())];
    }
    rows.retain(ONLY_ALL);
    rows.append(&mut other);
    let report = report_of(&Form::Lines.write(&rows));
    assert_eq!(report.sources.len(), 2);
    assert!(report.sources.iter().all(|found| !warnings(found).contains("in both")));
    // Another host that is there while the first one is off.
    let report = renamed(&[(100, 200)], 2);
    assert!(report.sources.iter().all(|found| !warnings(found).contains("in both")));
}

/// In an export of one field a line, fields that only conntrack has come behind others.
#[test]
fn rows_of_a_renamed_measurement_count_from_the_first_on() {
    let truth = Truth::of(1, 3000, |second, _| [second as u64 % 3, 0, 5, 2, 3, 0]);
    let mut rows: Vec<Row> = truth.rows(0);
    rows.retain(|row| !ONLY_CPUS(row));
    for row in &mut rows {
        row.name = "fw".to_owned();
        row.tags.retain(|(key, _)| *key != "cpu");
    }
    let fields: Vec<Row> = rows.iter().flat_map(Row::fields_apart).collect();
    let mut exported = fields.clone();
    exported.sort_by_key(|row| (row.fields[0].0, row.time_ns));
    for rows in [fields, exported] {
        let report = report_of(&Form::Lines.write(&rows));
        assert_eq!(report.other_rows, 0);
        assert_eq!(totals(&report.sources[0]), truth.totals());
        assert_eq!(report.sources[0].unknown, [] as [&str; 0]);
    }
}

/// Rows of another program have fields of the same names.
#[test]
fn rows_of_another_measurement_are_left_out() {
    let mut text = String::new();
    for second in 0..20 {
        text += &format!("nft,chain=input drop={second}i,found={second}i 17000000{second:02}\n");
        text +=
            &format!("conntrack,cpu=all drop={second}i,found=0i,entries=5i 17000000{second:02}\n");
    }
    let report = report_of(text.as_bytes());
    assert_eq!((report.sources.len(), report.other_rows), (1, 20));
}

/// `influx -format csv` has the tags of `GROUP BY *` in one column.
#[test]
fn tags_in_one_column_of_csv_are_tags() {
    let truth = Truth::of(2, 50, |_, _| [2, 0, 5, 2, 3, 0]);
    let rows = truth.rows(0);
    let mut text = String::new();
    for (host, base) in [("a", 0), ("b", 90_000)] {
        for (cpu, fields) in [
            ("all", "drop,found"),
            ("cpu0", "drop,found"),
            ("cpu1", "drop,found"),
            ("", "ip_conntrack_count,ip_conntrack_max"),
        ] {
            text += &format!("name,tags,time,{fields}\n");
            let cpu_tag = if cpu.is_empty() { String::new() } else { format!("cpu={cpu},") };
            for row in rows.iter().filter(|row| row.tag("cpu").unwrap_or("") == cpu) {
                let values = fields.split(',').map(|name| {
                    let (_, value) = row.fields.iter().find(|(field, _)| *field == name).unwrap();
                    // The sum has that of one CPU.
                    (value + if cpu == "cpu1" { 0 } else { base }).to_string()
                });
                let values = values.collect::<Vec<_>>().join(",");
                text += &format!("conntrack,\"{cpu_tag}host={host}\",{},{values}\n", row.time_ns);
            }
            text += "\n";
        }
    }
    let report = report_of(text.as_bytes());
    assert_eq!(report.sources.len(), 2);
    for (found, host) in report.sources.iter().zip(["a", "b"]) {
        assert_eq!(found.tags, [("host".to_owned(), host.to_owned())]);
        assert_eq!(total(found, "drop"), truth.totals()["drop"]);
        assert_eq!(found.cpus.len(), 2);
        assert_eq!(found.unknown, [] as [&str; 0]);
    }
}

/// A crash leaves zero bytes, and files that were put together a byte order mark in the middle.
#[test]
fn zero_bytes_and_marks_make_no_source() {
    let truth = Truth::of(1, 100, |_, _| [2, 0, 5, 2, 3, 0]);
    let rows = truth.rows(0);
    let (first, second) = (Form::Lines.write(&rows[..150]), Form::Lines.write(&rows[150..]));
    let report = report_of(&[&first[..], &[0; 4096], &second].concat());
    assert_eq!((report.sources.len(), report.recording.bad_lines), (1, 1));
    assert_eq!(totals(&report.sources[0]), truth.totals());
    let mark = b"\xef\xbb\xbf";
    let report = report_of(&[&mark[..], &first, mark, &second].concat());
    assert_eq!((report.sources.len(), report.recording.bad_lines), (1, 0));
    assert_eq!(totals(&report.sources[0]), truth.totals());
    assert_eq!(report.sources[0].unknown, [] as [&str; 0]);
}

#[test]
fn small_variations_of_forms_are_read() {
    let truth = Truth::of(1, 100, |_, _| [2, 0, 5, 2, 3, 0]);
    let all: Vec<Row> = truth.rows(0).into_iter().filter(ONLY_ALL).collect();
    // pzstd begins with a frame that decoders skip.
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    let lines = zstd::encode_all(&Form::Lines.write(&all)[..], 1).unwrap();
    let without_tags = Form::Json.write(&all);
    let without_tags = String::from_utf8(without_tags).unwrap();
    let without_tags =
        without_tags.replace("{\"cpu\":\"all\",\"host\":\"gw\"}", "null").into_bytes();
    for bytes in [[&skipped[..], &lines].concat(), without_tags] {
        let report = report_of(&bytes);
        assert_eq!(report.recording.bad_lines, 0);
        assert_eq!(totals(&report.sources[0]), truth.totals());
    }
}

/// Numbers are read as floats, which hold integers up to 2^53.
#[test]
fn counters_that_are_too_large_are_reported() {
    let mut rows = Truth::of(1, 100, |_, _| [2, 0, 5, 2, 3, 0]).rows(0);
    for (name, value) in rows.iter_mut().flat_map(|row| &mut row.fields) {
        if *name == "drop" {
            *value += 1 << 60;
        }
    }
    assert!(warnings(&source(&rows)).contains("values of drop are above 2^53"));
}

/// Telegraf's CSV names the columns of one kind of rows only: the table's read as statistics.
#[test]
fn rows_of_two_kinds_in_one_series_are_reported() {
    let mut text = "timestamp,measurement,host,drop,insert_failed\n".to_owned();
    for second in 0..100 {
        let time = 1_700_000_000 + second;
        text += &format!("{time},conntrack,gw,0,0\n{time},conntrack,gw,100,65536\n");
    }
    let report = report_of(text.as_bytes());
    let said = warnings(&report.sources[0]);
    assert!(said.contains("a counter is lower than a moment before 99 times"), "{said}");
}
