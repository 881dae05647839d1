//! Rows that stay the same: a query repeats them in place of those that are missing (`fill(previous)`), and a
//! quiet host has them, too. Only results of queries are judged.

use super::doubts::{advice, assert_not_good, losses, source, text, warnings};
use crate::recordings::truth::{Form, Row};

/// The result of a query.
fn queried(rows: &[Row]) -> String {
    let written = String::from_utf8(Form::Csv.write(rows)).unwrap();
    written.replace("timestamp,measurement", "time,name")
}

/// The rows, of which those from a second on have the fields of the one before until another second.
fn repeated(mut rows: Vec<Row>, from: i64, to: i64) -> Vec<Row> {
    let last: Vec<_> = rows.iter().filter(|row| row.second() == from - 1).cloned().collect();
    for row in rows.iter_mut().filter(|row| (from..to).contains(&row.second())) {
        row.fields = last.iter().find(|last| last.tags == row.tags).unwrap().fields.clone();
    }
    rows
}

/// 200 rows that repeat one were "nothing is wrong".
#[test]
fn rows_that_a_query_repeats_are_said() {
    let rows = repeated(losses(300, 150..299).rows(0), 101, 300);
    let said = warnings(&source(&queried(&rows)));
    assert!(said.contains("the last 199 rows are the same in every field"), "{said}");
    assert_not_good(&queried(&rows), "repeated");
}

/// A burst of 1,000 a second was 10 a second.
#[test]
fn a_row_behind_rows_that_a_query_repeats_has_no_rate() {
    let rows = repeated(losses(300, 0..299).rows(0), 101, 200);
    let said = warnings(&source(&queried(&rows)));
    let sentence =
        "99 rows are the same in every field, and the next one has the events of them all";
    assert!(said.contains(sentence), "{said}");
}

/// A load test that ended, or paused, on an idle host was "as a query with fill(previous) writes them".
#[test]
fn an_idle_host_is_no_query() {
    let ended = repeated(losses(300, 0..0).rows(0), 101, 300);
    let paused = repeated(losses(300, 0..299).rows(0), 101, 200);
    for rows in [&ended, &paused] {
        assert_eq!(source(&text(rows)).unknown, [] as [&str; 0]);
        let (code, titles) = advice(&text(rows));
        assert!(titles.iter().all(|title| !title.starts_with("??")), "{code:?}: {titles:?}");
        let json = String::from_utf8(Form::Json.write(rows)).unwrap();
        assert_eq!(source(&json).unknown, [] as [&str; 0]);
    }
    // No query fills in rows with times of their own.
    let jittered = ended.iter().cloned().map(|row| {
        let second = row.second();
        row.later(second * 7919 % 1_000_000)
    });
    let found = source(&queried(&jittered.collect::<Vec<_>>()));
    assert_eq!(found.unknown, [] as [&str; 0]);
}
