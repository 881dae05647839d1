//! Rows of single CPUs beside those with their sum: a report has the true totals, or it reports
//! which of both it cannot believe. The recordings are of one truth each.

use std::io::Write as _;

use ctpulse::report::{Report, SourceReport};

use super::advice::advise_on;
use super::forms::{report_of, totals};
use crate::recordings::truth::{Form, ONLY_CPUS, Row, Truth};
use crate::support::{ctpulse, output, text};

/// Two CPUs of four lose packets.
fn truth() -> Truth {
    Truth::of(4, 300, |second, cpu| {
        let lost = if cpu < 2 { (second as u64 + cpu as u64) % 3 } else { 0 };
        [lost, 0, 3 + cpu as u64, lost, 1, 0]
    })
}

fn source(rows: &[Row]) -> SourceReport {
    let Report { mut sources, .. } = report_of(&Form::Lines.write(rows));
    assert_eq!(sources.len(), 1);
    sources.remove(0)
}

fn warnings(source: &SourceReport) -> String {
    source.unknown.join("\n")
}

/// The exit code of the advice, which may not be that nothing is wrong.
fn assert_not_good(rows: &[Row], what: &str) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&Form::Lines.write(rows)).unwrap();
    let (code, titles) = advise_on(file.path());
    assert!(matches!(code, Some(1 | 3)), "{what}: {titles:?}");
}

fn is_cpu(row: &Row, cpus: &[&str]) -> bool {
    row.tag("cpu").is_some_and(|cpu| cpus.contains(&cpu))
}

/// Changes the counters of each row with the sum; `change` has the values of its gather's CPUs.
fn with_other_sums(mut rows: Vec<Row>, change: impl Fn(u64, &[u64]) -> u64) -> Vec<Row> {
    for gather in rows.chunk_by_mut(|a, b| a.time_ns == b.time_ns) {
        let of_cpus: Vec<Row> = gather.iter().filter(|row| ONLY_CPUS(row)).cloned().collect();
        let whole = gather.iter_mut().find(|row| is_cpu(row, &["all"])).unwrap();
        for (at, (name, value)) in whole.fields.iter_mut().enumerate() {
            let cpus: Vec<_> = of_cpus.iter().map(|row| row.fields[at].1).collect();
            if *name != "entries" {
                *value = change(*value, &cpus);
            }
        }
    }
    rows
}

/// Rows with a sum of 0, with the mean, and with the value of one CPU were believed without a word.
#[test]
fn a_sum_that_the_cpus_do_not_add_up_to_is_reported() {
    let lost = truth().totals()["drop"];
    for (what, change, counted) in [
        ("zero", (|_, _| 0) as fn(u64, &[u64]) -> u64, 0.0),
        ("mean", |sum, _| sum / 4, (lost / 4.0).round()),
        ("one CPU", |_, cpus| cpus[0], 300.0),
    ] {
        let rows = with_other_sums(truth().rows(0), change);
        let said = warnings(&source(&rows));
        let sentence = format!(
            "drop counted {lost} in the rows of the CPUs and {counted} in those with their sum \
             (cpu=all), and 5 more counters differ"
        );
        assert!(said.contains(&sentence), "{what}: {said}");
        assert_not_good(&rows, what);
    }
    let rows = with_other_sums(truth().rows(0), |sum, _| sum + 100);
    let said = warnings(&source(&rows));
    let sentence = "the first values of drop in the rows of the CPUs add up to 4,001, and that with \
                    their sum (cpu=all) is 4,101";
    assert!(said.contains(sentence), "{said}");
}

/// A CPU whose rows begin with its counters since boot: 341 events in place of 300.
#[test]
fn a_cpu_that_comes_later_is_reported() {
    let mut rows = truth().rows(0);
    rows.retain(|row| row.second() >= 120 || !is_cpu(row, &["cpu1"]));
    let rows = with_other_sums(rows, |_, cpus| cpus.iter().sum());
    let said = warnings(&source(&rows));
    assert!(said.contains("drop counted ") && said.contains("(cpu=all)"), "{said}");
}

/// After a reset the sum of the CPUs counted, though rows of one were filtered out: 20 drops of
/// 2,020.
#[test]
fn the_sum_counts_where_rows_of_a_cpu_are_missing() {
    let truth = truth().with_reset(150);
    let mut rows = truth.rows(0);
    rows.retain(|row| !is_cpu(row, &["cpu0"]));
    let found = source(&rows);
    assert_eq!(totals(&found), truth.totals());
    assert!(warnings(&found).contains("(cpu=all)"), "{}", warnings(&found));
}

/// Where no row has the sum, drops on a CPU without rows were "nothing is wrong".
#[test]
fn cpus_without_rows_are_reported() {
    for (cpus, sentence) in [
        (&["cpu0", "cpu2", "cpu3"][..], "rows of cpu1 are missing among those of cpu0 to cpu3"),
        (&["cpu3"], "only cpu3 has rows with counters"),
        (&["cpu0"], "only cpu0 has rows with counters"),
    ] {
        let mut rows = truth().rows(0);
        rows.retain(|row| row.tag("cpu").is_none() || is_cpu(row, cpus));
        let said = warnings(&source(&rows));
        assert!(said.contains(sentence), "{said}");
        assert_not_good(&rows, sentence);
        // Of the sum nothing is missing.
        let mut rows = truth().rows(0);
        rows.retain(|row| !ONLY_CPUS(row) || is_cpu(row, cpus));
        assert_eq!(totals(&source(&rows)), truth().totals());
    }
    let mut rows = truth().rows(0);
    rows.retain(|row| !is_cpu(row, &["all"]));
    assert_eq!(source(&rows).unknown, [] as [&str; 0]);
}

/// "No row has the table's entries" was said of rows that all have them, and "losses may have gone unnoticed"
/// where only the table's limit is not known.
#[test]
fn rows_of_cpus_have_the_entries_of_the_table() {
    let mut rows = truth().rows(0);
    rows.retain(ONLY_CPUS);
    let found = source(&rows);
    assert_eq!(found.unknown, ["no row has the table's limit, so its fill is not known"]);
    assert_eq!(totals(&found), truth().totals());
    let entries = found.fill.unwrap().entries;
    assert_eq!((entries.min, entries.max), (100.0, 106.0));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&Form::Lines.write(&rows)).unwrap();
    let (_, titles) = advise_on(file.path());
    assert!(titles.contains(&"??  how full the table was is not known".to_owned()), "{titles:?}");
    let report = output(ctpulse().arg("report").arg(file.path()));
    let summed = "the sum of cpu0 to cpu3, as no row has that of all CPUs (cpu=all)";
    assert!(text(&report.stdout).contains(summed), "{}", text(&report.stdout));
    // Telegraf's plugin adds the entries of all CPUs in the rows with the sum, and the limit is known.
    let mut rows = truth().rows(0);
    for row in &mut rows {
        row.fields.retain(|(name, _)| *name != "ip_conntrack_count");
        let is_sum = is_cpu(row, &["all"]);
        let entries = row.fields.iter_mut().filter(|(name, _)| *name == "entries");
        entries.for_each(|(_, value)| *value *= if is_sum { 4 } else { 1 });
    }
    let found = source(&rows);
    assert_eq!(found.unknown, [] as [&str; 0]);
    let fill = found.fill.unwrap();
    assert_eq!(fill.fullest.map(|fullest| (fullest.entries, fullest.max)), Some((106.0, 4000.0)));
}

/// Rows with the sum of the CPUs that were online went back when one of them was not: "0 packets are
/// INVALID, at worst 78 in 10 s".
#[test]
fn a_rise_of_rows_that_do_not_count_is_no_storm() {
    let truth = Truth::of(2, 300, |_, cpu| [1, 0, 3, cpu as u64, 0, 0]);
    let mut rows = truth.rows(0);
    rows.retain(|row| !(80..200).contains(&row.second()) || !is_cpu(row, &["cpu1"]));
    let rows = with_other_sums(rows, |_, cpus| cpus.iter().sum());
    let found = source(&rows);
    assert_eq!(totals(&found), truth.totals());
    assert!(found.invalid.is_none(), "{:?}", found.invalid);
    let compared = &found.found;
    assert_eq!(compared.failing_rows(), 0);
}

/// `collect` was changed to rows of CPUs and back by reloads: 110 emissions were "missing".
#[test]
fn rows_of_cpus_fill_the_gaps_of_their_sum() {
    let truth = truth();
    let in_gap = |row: &Row| (90..200).contains(&row.second());
    let mut rows = truth.rows(0);
    rows.retain(|row| row.tag("cpu").is_none() || in_gap(row) == ONLY_CPUS(row));
    let found = source(&rows);
    assert_eq!((found.gaps.gaps, found.gaps.missing, found.emissions), (0, 0, 300));
    assert_eq!(totals(&found), truth.totals());
    // Where a row of all CPUs is missing, that is a gap.
    rows.retain(|row| !(150..153).contains(&row.second()));
    assert_eq!(source(&rows).gaps.gaps, 1);
    rows.retain(|row| row.second() < 150 || !in_gap(row));
    assert_eq!(source(&rows).gaps.gaps, 1);
}

/// Of more than ten gaps only the longest were compared with the rows of the CPUs.
#[test]
fn all_gaps_of_the_sum_are_compared_with_rows_of_cpus() {
    let truth = Truth::of(2, 12_000, |second, _| [second as u64 % 3, 0, 3, 1, 1, 0]);
    for (gaps, seconds, not_compared) in [(25, 400, 0), (600, 20, 88)] {
        let in_gap = |row: &Row| (8..12).contains(&(row.second() % seconds));
        let mut rows = truth.rows(0);
        rows.retain(|row| row.second() < gaps * seconds);
        rows.retain(|row| row.tag("cpu").is_none() || in_gap(row) == ONLY_CPUS(row));
        let found = source(&rows);
        let said = warnings(&found);
        assert_eq!(
            (found.gaps.gaps, found.gaps.missing),
            (not_compared, 4 * not_compared),
            "{said}"
        );
        let is_said = said.contains("were not compared with the other rows");
        assert_eq!(is_said, not_compared > 0, "{said}");
        assert!(found.gaps.longest.len() <= 10);
    }
}
