//! One truth in every form, order and damage: a report has the true totals, or it reports
//! what is unknown.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use ctpulse::recording::{Catalog, ReadCounts, read};
use ctpulse::report::{Aggregator, Options, Report, SourceReport};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::recordings::truth::{Form, ONLY_ALL, ONLY_CPUS, ONLY_TABLE, Row, Truth};
use crate::support::fixture;

pub(crate) fn report_of(bytes: &[u8]) -> Report {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    report_of_file(file.path())
}

fn report_of_file(path: &Path) -> Report {
    let options = Options { window: Duration::from_secs(1), bursts: 3, drawn: false };
    let (mut catalog, mut tally) = (Catalog::default(), ReadCounts::default());
    let mut aggregator = Aggregator::new(options);
    read(&[path.to_owned()], &mut catalog, &mut tally, &mut |catalog, row| {
        aggregator.push(catalog, row);
    });
    aggregator.finish(tally)
}

pub(crate) fn totals(source: &SourceReport) -> BTreeMap<String, f64> {
    let counters = source.counters.iter();
    counters.filter_map(|counter| Some((counter.name.clone(), counter.total?))).collect()
}

/// The report has all that is true, and warns of nothing.
fn assert_whole(truth: &Truth, bytes: &[u8], what: &str) {
    let report = report_of(bytes);
    assert_eq!(report.sources.len(), 1, "{what}: {:?}", report.recording);
    let source = &report.sources[0];
    assert_eq!(totals(source), truth.totals(), "{what}: {:?}", source.unknown);
    assert_eq!(source.emissions, truth.emissions(), "{what}");
    assert!((source.interval_seconds.unwrap() - 1.0).abs() < 0.01, "{what}");
    assert_eq!((source.gaps.gaps, source.gaps.missing), truth.gaps(), "{what}");
    assert_eq!(source.gaps.resets, truth.resets(), "{what}");
    assert_eq!(report.recording.bad_lines, 0, "{what}: {:?}", report.recording);
    assert_eq!(source.unknown, [] as [&str; 0], "{what}");
}

/// The report has the true totals, or warns.
fn assert_honest(truth: &Truth, bytes: &[u8], what: &str) {
    let report = report_of(bytes);
    for source in &report.sources {
        let is_true = totals(source) == truth.totals();
        assert!(is_true || !source.unknown.is_empty(), "{what}: {:?}", totals(source));
    }
    assert!(!report.sources.is_empty() || report.recording.bad_lines > 0, "{what}");
}

fn truths() -> Vec<Truth> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..6).map(|_| Truth::new(&mut random)).collect()
}

fn compressed(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (mut gzip, mut zlib, mut zstd) = (Vec::new(), Vec::new(), Vec::new());
    for member in bytes.chunks(1000) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(member).unwrap();
        gzip.extend(encoder.finish().unwrap());
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(member).unwrap();
        zlib.extend(encoder.finish().unwrap());
        zstd.extend(zstd::encode_all(member, 1).unwrap());
    }
    vec![("gzip", gzip), ("zlib", zlib), ("zstd", zstd)]
}

#[test]
fn every_form_has_the_true_totals() {
    for truth in truths() {
        for form in Form::ALL {
            let bytes = form.write(&truth.rows(1));
            assert_whole(&truth, &bytes, &format!("{form:?}"));
            for (how, bytes) in compressed(&bytes) {
                assert_whole(&truth, &bytes, &format!("{form:?} {how}"));
            }
        }
    }
}

/// InfluxDB's export has one field a line, series by series (`influx_inspect export`), and sorts
/// by field.
#[test]
fn every_order_has_the_true_totals() {
    let mut random = fastrand::Rng::with_seed(8);
    for truth in truths() {
        // Statistics and table of one gather are 0.2 ms apart, as Telegraf's with `precision =
        // "1ns"`.
        for apart_ns in [0, 20_000, 200_000, 1_000_000] {
            let rows = truth.rows(apart_ns);
            let mut by_series = rows.clone();
            by_series.sort_by(|a, b| a.tags.cmp(&b.tags));
            let fields: Vec<Row> = rows.iter().flat_map(Row::fields_apart).collect();
            let mut exported = fields.clone();
            exported.sort_by(|a, b| (&a.tags, &a.fields[0].0).cmp(&(&b.tags, &b.fields[0].0)));
            let mut within_window = rows.clone();
            within_window.chunks_mut(300).for_each(|part| random.shuffle(part));
            let (first, second) = rows.split_at(rows.len() / 2);
            let orders: [(&str, Vec<Row>); 9] = [
                ("in order", rows.clone()),
                ("reversed", rows.iter().rev().cloned().collect()),
                ("each twice", rows.iter().flat_map(|row| [row.clone(), row.clone()]).collect()),
                ("a copy behind", [&rows[..], &rows[..]].concat()),
                ("by series", by_series),
                ("one field a line", fields),
                ("exported", exported),
                ("shuffled within the window", within_window),
                ("second half first", [second, first].concat()),
            ];
            for (order, rows) in orders {
                let bytes = Form::Lines.write(&rows);
                assert_whole(&truth, &bytes, &format!("{order}, {apart_ns} ns apart"));
            }
        }
    }
}

#[test]
fn unordered_rows_are_correct_or_reported() {
    let mut random = fastrand::Rng::with_seed(9);
    for truth in truths() {
        let mut rows: Vec<Row> = truth.rows(200_000).iter().flat_map(Row::fields_apart).collect();
        random.shuffle(&mut rows);
        assert_honest(&truth, &Form::Lines.write(&rows), "shuffled");
        if truth.resets() == 0 {
            let report = report_of(&Form::Lines.write(&rows));
            assert_eq!(totals(&report.sources[0]), truth.totals());
        }
    }
}

#[test]
fn damaged_rows_are_correct_or_reported() {
    let mut random = fastrand::Rng::with_seed(10);
    for truth in truths() {
        for form in Form::ALL {
            let rows = truth.rows(200_000);
            let (mut fewer, mut at) = (rows.clone(), 0);
            fewer.retain(|_| {
                at += 1;
                // What is before the first row is not known to be missing.
                at < 20 || at + 20 > rows.len() || random.u8(..10) > 0
            });
            assert_honest(&truth, &form.write(&fewer), &format!("{form:?}, rows missing"));
            let bytes = form.write(&rows);
            for _ in 0..20 {
                let cut = random.usize(bytes.len() / 4..bytes.len() * 3 / 4);
                // Nothing is missing behind a whole line.
                if !bytes[cut - 1..=cut].contains(&b'\n') {
                    assert_honest(&truth, &bytes[..cut], &format!("{form:?} cut at {cut}"));
                }
                let mut torn = bytes.clone();
                let length = random.usize(1..100).min(bytes.len() - cut);
                torn.drain(cut..cut + length);
                assert_honest(&truth, &torn, &format!("{form:?} without {length} at {cut}"));
            }
        }
    }
}

#[test]
fn a_part_of_the_rows_is_correct_or_reported() {
    for truth in truths() {
        let rows = truth.rows(200_000);
        let only = |keep: fn(&Row) -> bool| {
            let rows: Vec<Row> = rows.iter().filter(|row| keep(row)).cloned().collect();
            report_of(&Form::Lines.write(&rows)).sources.remove(0)
        };
        for keep in [ONLY_ALL, ONLY_CPUS] {
            let found = only(keep);
            assert_eq!(totals(&found), truth.totals());
            assert_eq!(found.emissions, truth.emissions());
            assert_eq!((found.gaps.gaps, found.gaps.missing), truth.gaps());
        }
        let table = only(ONLY_TABLE);
        assert!(table.unknown[0].starts_with("no statistics row: "), "{:?}", table.unknown);
        assert!(table.counters.is_empty() && table.unmoved.is_empty());
    }
}

/// The sum of the CPUs has rates and peaks as the row with the sum has.
#[test]
fn sums_of_cpus_have_rates() {
    let truth = &truths()[0];
    let of = |keep: fn(&Row) -> bool| {
        let rows: Vec<Row> = truth.rows(200_000).into_iter().filter(keep).collect();
        report_of(&Form::Lines.write(&rows)).sources.remove(0)
    };
    let (all, cpus) = (of(ONLY_ALL), of(ONLY_CPUS));
    for (all, cpus) in all.counters.iter().zip(&cpus.counters) {
        let (a, b) = (all.per_second.unwrap(), cpus.per_second.unwrap());
        assert!((a.max / b.max - 1.0).abs() < 0.01, "{}: {a:?} {b:?}", all.name);
        assert!((a.median - b.median).abs() <= 0.02 * a.median + 0.01, "{}: {a:?} {b:?}", all.name);
    }
}

/// Two inputs of one configuration that write the same series, each at its own times.
#[test]
fn interleaved_inputs_count_once() {
    for truth in truths() {
        for offset_ns in [20_000, 3_000_000, 300_000_000] {
            let mut rows = truth.rows(1000);
            rows.extend(truth.rows(1000).into_iter().map(|row| row.later(offset_ns)));
            rows.sort_by_key(|row| row.time_ns);
            let report = report_of(&Form::Lines.write(&rows));
            let source = &report.sources[0];
            assert_eq!(totals(source), truth.totals(), "{offset_ns}");
            assert_eq!(source.gaps.resets, truth.resets());
            assert!((source.interval_seconds.unwrap() - 1.0).abs() < 0.01, "{offset_ns}");
        }
    }
}

/// Without the tag `host` (`omit_hostname`) the rows of two hosts cannot be distinguished.
#[test]
fn two_hosts_without_a_tag_are_reported() {
    let truths = truths();
    for offset_ns in [300_000, 400_000_000] {
        let mut rows = truths[0].rows(1000);
        rows.extend(truths[1].rows(1000).into_iter().map(|row| row.later(offset_ns)));
        rows.iter_mut().for_each(|row| row.tags.retain(|(key, _)| *key != "host"));
        rows.sort_by_key(|row| row.time_ns);
        let report = report_of(&Form::Lines.write(&rows));
        let unknown = report.sources[0].unknown.join("\n");
        assert!(unknown.contains("rows of several sources may have the same tags"), "{unknown}");
    }
}

#[test]
fn a_renamed_measurement_is_known_by_its_fields() {
    let truth = &truths()[0];
    for name in ["fw", "conntrack_lan", "lan_conntrack"] {
        let mut rows: Vec<Row> = truth.rows(200_000).iter().flat_map(Row::fields_apart).collect();
        rows.iter_mut().for_each(|row| row.name = name.to_owned());
        assert_whole(truth, &Form::Lines.write(&rows), name);
    }
}

#[test]
fn every_file_of_telegraf_has_its_true_totals() {
    let truths = [
        (
            "second",
            [("drop", 452.0), ("found", 3661.0), ("insert_failed", 452.0), ("invalid", 388.0)],
        ),
        (
            "nano",
            [("drop", 451.0), ("found", 3706.0), ("insert_failed", 451.0), ("invalid", 472.0)],
        ),
    ];
    for (folder, truth) in truths {
        let files = std::fs::read_dir(fixture("telegraf").join(folder)).unwrap();
        let mut read = 0;
        for path in files.map(|entry| entry.unwrap().path()) {
            let report = report_of_file(&path);
            let source = &report.sources[0];
            let expected: BTreeMap<_, _> =
                truth.iter().map(|(name, total)| ((*name).to_owned(), *total)).collect();
            assert_eq!(totals(source), expected, "{}", path.display());
            assert_eq!((source.emissions, source.gaps.gaps), (18, 0), "{}", path.display());
            assert!((source.interval_seconds.unwrap() - 1.0).abs() < 0.01, "{}", path.display());
            // Nothing names the columns of the table's rows in CSV.
            let is_csv = path.extension().is_some_and(|extension| extension == "csv");
            let said = source.unknown.join("\n");
            let expected = if is_csv { "18 of 72 lines could not be read" } else { "" };
            assert!(said.starts_with(expected) || said.contains(expected), "{said}");
            assert_eq!(source.unknown.is_empty(), !is_csv, "{}: {said}", path.display());
            read += 1;
        }
        assert_eq!(read, 9);
    }
}

#[test]
fn two_inputs_of_one_configuration_are_one_source() {
    let report = report_of_file(&fixture("recordings").join("two-inputs.influx"));
    let source = &report.sources[0];
    assert_eq!(totals(source), BTreeMap::from([("invalid".to_owned(), 2400.0)]));
    assert_eq!((source.interval_seconds.unwrap().round(), source.gaps.gaps), (1.0, 0));
    assert_eq!(source.unknown, [] as [&str; 0]);
}

/// The fields of an aggregator (`drop_mean`, `drop_max`) are no counters.
#[test]
fn fields_of_other_names_are_reported() {
    let mut rows = truths()[0].rows(0);
    for (name, _) in rows.iter_mut().flat_map(|row| &mut row.fields) {
        if !name.starts_with("ip_") {
            *name = format!("{name}_mean").leak();
        }
    }
    let report = report_of(&Form::Lines.write(&rows));
    let unknown = report.sources[0].unknown.join("\n");
    assert!(unknown.contains("no counter of a known name, only such as "), "{unknown}");
}

/// A field that the schema does not know is a counter only as long as it rises.
#[test]
fn an_unknown_gauge_is_no_counter() {
    let mut text = String::new();
    for second in 0..20 {
        let gauge = [7, 3][second % 2];
        text += &format!(
            "conntrack,cpu=all drop={second}i,mood={gauge}i,news={second}i 17000000{second:02}\n"
        );
    }
    let report = report_of(text.as_bytes());
    let source = &report.sources[0];
    assert_eq!(totals(source).into_keys().collect::<Vec<_>>(), ["drop", "news"]);
    assert_eq!(source.gaps.resets, 0);
    assert_eq!(source.unknown, ["no row has the table's entries"]);
}

/// 28 INVALID packets in 14 s, one in a sample of 10 ms each: no rate of 100/s.
#[test]
fn few_events_in_a_sample_are_a_number() {
    let mut text = String::new();
    for second in 0..15 {
        let (count, peak) = (2 * second, if second == 0 { 0 } else { 1 });
        text += &format!(
            "conntrack,cpu=all drop={}i,drop_rate=5,drop_rate_max=5000,drop_sample_max=50i,\
             invalid={count}i,invalid_rate=2,invalid_rate_max={},invalid_sample_max={peak}i,\
             sample_seconds=0.01 {}\n",
            second * 50,
            peak * 100,
            1_700_000_000 + second
        );
    }
    let report = report_of(text.as_bytes());
    let source = &report.sources[0];
    let names: Vec<_> = source.counters.iter().map(|counter| counter.name.as_str()).collect();
    assert_eq!(names, ["drop", "invalid"]);
    let few: Vec<_> = source.counters.iter().map(|counter| counter.peak_few_events).collect();
    assert_eq!((few, source.sample_seconds), (vec![None, Some(1.0)], Some(0.01)));
    let shown = ctpulse::report::report_text(&report);
    let line = shown.lines().find(|line| line.starts_with("invalid ")).unwrap();
    assert!(line.contains(" 1 in 10 ms") && !line.contains("100"), "{line}");
    let line = shown.lines().find(|line| line.starts_with("drop ")).unwrap();
    assert!(line.contains(" 5,000 "), "{line}");
}

/// Insertions that only the probes count are 0 beside a table that fills.
#[test]
fn a_counter_that_is_not_counted_is_not_listed_as_unmoved() {
    let mut text = String::new();
    for second in 0..20 {
        let entries = second * 1000;
        text += &format!(
            "conntrack,cpu=all,host=gw delete=0i,drop=0i,drop_rate=0,early_drop=0i,early_drop_rate=0,\
             entries={entries}i,insert=0i,insert_rate=0,new=0i 17000000{second:02}\n\
             conntrack,cpu=cpu0,host=gw drop=0i,insert=0i 17000000{second:02}\n\
             conntrack,host=gw ip_conntrack_count={entries},ip_conntrack_max=32768 17000000{second:02}\n"
        );
    }
    let report = report_of(text.as_bytes());
    let source = &report.sources[0];
    assert_eq!(source.unmoved, ["drop", "early_drop"]);
    assert_eq!(source.not_counted, ["new", "insert", "delete"]);
    let shown = ctpulse::report::report_text(&report);
    assert!(shown.contains("1 CPU: nothing lost, insertions not counted\n"), "{shown}");
    assert!(shown.contains("\ncounted and did not move: drop early_drop\n"), "{shown}");
}

/// Memory is bounded for any names in any order.
#[test]
fn excessive_numbers_of_series_are_left_out_and_reported() {
    let mut text = Vec::new();
    for at in 0..70_000 {
        writeln!(text, "conntrack,cpu=all,x={at} drop={at}i 17000000{:02}", at % 100).unwrap();
    }
    for at in 0..200 {
        writeln!(text, "conntrack,cpu=all,x=0 f{at}=1i 1700000000").unwrap();
    }
    let report = report_of(&text);
    assert_eq!(report.sources.len(), 64);
    let unknown = report.sources[0].unknown.join("\n");
    assert!(unknown.contains("more series were left out"), "{unknown}");
    assert!(unknown.contains("more fields left out"), "{unknown}");
    assert!(unknown.contains("a single statistics row"), "{unknown}");
}
