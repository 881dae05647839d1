//! Time at the ends that only some of the rows cover. The recordings are of one truth each.

use std::io::Write as _;

use ctpulse::report::{Report, SourceReport};

use super::advice::advise_on;
use super::forms::{report_of, totals};
use crate::recordings::truth::{Form, ONLY_ALL, ONLY_CPUS, ONLY_TABLE, Row, Truth};

/// Lookups all the time, and losses in the last seconds only.
fn losses_at_the_end() -> Truth {
    Truth::of(2, 300, |second, cpu| {
        let lost = if cpu == 0 && second >= 290 { 100 } else { 0 };
        [lost, 0, (second as u64 * 7 + 3) % 10, lost, 0, 0]
    })
}

fn source(rows: &[Row]) -> SourceReport {
    let Report { mut sources, .. } = report_of(&Form::Lines.write(rows));
    assert_eq!(sources.len(), 1);
    sources.remove(0)
}

fn assert_not_good(rows: &[Row], what: &str) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&Form::Lines.write(rows)).unwrap();
    let (code, titles) = advise_on(file.path());
    assert!(matches!(code, Some(1 | 3)), "{what}: {titles:?}");
}

/// 1,000 drops behind the last statistics row were "nothing is wrong", as that was not an interval
/// and a half away.
#[test]
fn statistics_that_end_before_the_table_are_reported() {
    for (every, last) in [(9, 289), (2, 289), (2, 298), (1, 298)] {
        let mut rows = losses_at_the_end().rows(0);
        rows.retain(|row| ONLY_TABLE(row) || row.second() % every == 0 && row.second() <= last);
        let said = source(&rows).unknown.join("\n");
        assert!(said.contains("the statistics rows span 4 min "), "{every} {last}: {said}");
        assert_not_good(&rows, &format!("{every} {last}"));
    }
    // Two inputs that read at different times of the same interval.
    let mut rows = losses_at_the_end().rows(0);
    rows.iter_mut().filter(|row| ONLY_TABLE(row)).for_each(|row| row.time_ns += 300_000_000);
    let found = source(&rows);
    assert_eq!((totals(&found), found.unknown), (losses_at_the_end().totals(), Vec::new()));
}

/// Drops of the last second were in rows of the CPUs only: "0, with a peak of 1,000".
#[test]
fn events_of_cpus_count_where_their_rows_are_longer() {
    let truth = losses_at_the_end();
    for every in [1, 2, 10] {
        for is_first in [true, false] {
            let mut rows = truth.rows(0);
            rows.retain(|row| {
                let at = if is_first { row.second() } else { 299 - row.second() };
                !ONLY_ALL(row) || at % every == 0 && (1..299).contains(&at)
            });
            let found = source(&rows);
            assert_eq!(totals(&found), truth.totals(), "{every} {is_first}: {:?}", found.unknown);
        }
    }
}

/// The same where the CPUs do not add up to the sum before.
#[test]
fn events_of_longer_rows_of_a_part_of_the_cpus_are_reported() {
    let mut rows = losses_at_the_end().rows(0);
    rows.retain(|row| match row.tag("cpu") {
        Some("all") => row.second() % 2 == 0 && row.second() < 290,
        cpu => cpu != Some("cpu1"),
    });
    let said = source(&rows).unknown.join("\n");
    let sentence =
        "drop counted 1,000 in the rows of the CPUs and 0 in those with their sum (cpu=all)";
    assert!(said.contains(sentence), "{said}");
    assert_not_good(&rows, "part");
    rows.retain(|row| !ONLY_CPUS(row));
    assert!(source(&rows).unknown.join("\n").contains("the statistics rows span"));
}
