//! The table's entries and limit, beside those of another table or of no table.

use super::forms::report_of;
use crate::recordings::truth::{Form, ONLY_ALL, ONLY_CPUS, ONLY_TABLE, Row, Truth};
use ctpulse::report::SourceReport;

/// Quiet counters, a table that grows from 1,000 to 3,000 of 4,000 entries, and an own change.
fn report(cpus: usize, change: impl Fn(&mut Vec<Row>)) -> SourceReport {
    let mut rows = Truth::of(cpus, 120, |_, _| [0, 0, 0, 1, 3, 0]).rows(0);
    for row in &mut rows {
        let entries = 1000 + 2000 * row.second() as u64 / 120;
        set(row, "entries", entries * if cpus > 1 && ONLY_ALL(row) { cpus as u64 } else { 1 });
        set(row, "ip_conntrack_count", entries);
    }
    change(&mut rows);
    report_of(&Form::Lines.write(&rows)).sources.remove(0)
}

fn set(row: &mut Row, name: &str, value: u64) {
    row.fields.iter_mut().filter(|(field, _)| *field == name).for_each(|field| field.1 = value);
}

fn has(found: &SourceReport, sentence: &str) -> bool {
    found.unknown.iter().any(|unknown| unknown.contains(sentence))
}

#[test]
fn a_table_that_grows_is_no_doubt() {
    for cpus in [1, 2] {
        let found = report(cpus, |_| {});
        assert_eq!(found.unknown, [] as [&str; 0]);
        assert_eq!(found.fill.unwrap().peak, 2983.0);
    }
}

/// Two inputs write one series, the second one of another namespace.
#[test]
fn rows_of_two_tables_at_one_time_are_told_apart() {
    for swapped in [false, true] {
        let found = report(1, |rows| {
            let mut others: Vec<Row> = rows.iter().filter(|row| ONLY_TABLE(row)).cloned().collect();
            others.iter_mut().for_each(|row| set(row, "ip_conntrack_count", 10));
            if swapped {
                others.append(rows);
                *rows = others;
            } else {
                rows.append(&mut others);
            }
            rows.sort_by_key(|row| row.time_ns);
        });
        assert_eq!(found.fill.as_ref().unwrap().peak, 2983.0);
        assert!(
            has(&found, "rows of the table have different entries at 1"),
            "{:?}",
            found.unknown
        );
    }
    let found = report(1, |rows| {
        let mut others: Vec<Row> = rows.iter().filter(|row| ONLY_TABLE(row)).cloned().collect();
        others.iter_mut().for_each(|row| set(row, "ip_conntrack_max", 1_000_000));
        rows.append(&mut others);
        rows.sort_by_key(|row| row.time_ns);
    });
    assert!(has(&found, "different limits at 120 times, such as 4,000 and 1,000,000"));
    assert_eq!(found.fill.unwrap().fullest.unwrap().max, 4000.0);
}

/// What is known of the table's fill is known for the time of its rows only.
#[test]
fn time_without_rows_of_the_table_is_reported() {
    let without = |is_missing: fn(i64) -> bool| {
        move |rows: &mut Vec<Row>| {
            rows.retain(|row| !ONLY_TABLE(row) || !is_missing(row.second()));
        }
    };
    // They begin late, end early, are at both ends, or are rare.
    let late = |has_cpus: bool| {
        report(2, move |rows| {
            rows.retain(|row| has_cpus || !ONLY_CPUS(row));
            rows.retain(|row| !ONLY_TABLE(row) || row.second() >= 60);
        })
    };
    let said = late(false).unknown;
    assert!(said.iter().any(|why| why == "the table rows span 59 s of 1 min 59 s"), "{said:?}");
    // The rows of CPUs have its entries before that.
    assert_eq!(late(true).unknown, [] as [&str; 0]);
    let ends = report(2, without(|second| second != 0 && second != 119));
    assert!(has(&ends, "how full it was between them is not known"), "{:?}", ends.unknown);
    let rare = report(2, without(|second| second % 20 != 0 && second != 119));
    assert!(has(&rare, "entries are 20 s apart, and the others 1 s"), "{:?}", rare.unknown);
    // One CPU's entries are the table's.
    let one = report(1, without(|second| second % 20 != 0 && second != 119));
    assert!(!has(&one, "how full it was"), "{:?}", one.unknown);
    // The limit is no count.
    let limits = report(2, |rows| {
        let is_gap = |row: &Row| (50..80).contains(&row.second());
        for row in rows.iter_mut().filter(|row| ONLY_TABLE(row) && is_gap(row)) {
            row.fields.retain(|(name, _)| *name != "ip_conntrack_count");
        }
    });
    assert!(has(&limits, "30 table rows missing"), "{:?}", limits.unknown);
    // Statistics are missing at another time.
    let both = report(2, |rows| {
        rows.retain(|row| {
            let gap = if ONLY_TABLE(row) { 80..100 } else { 30..50 };
            !gap.contains(&row.second())
        });
    });
    assert!(has(&both, "20 table rows missing"), "{:?}", both.unknown);
    // A single one, between the rows that are farthest apart.
    let single = report(2, |rows| {
        rows.retain(|row| row.second() != if ONLY_TABLE(row) { 60 } else { 30 });
        for row in rows.iter_mut().filter(|row| row.second() >= 60) {
            row.time_ns += if row.second() == 60 { 100_000_000 } else { 200_000_000 };
        }
    });
    assert!(has(&single, "1 table row missing"), "{:?}", single.unknown);
}

/// A kernel before 2.6.35 has 16 columns, which Telegraf's plugin reads as 0, and a container may see the
/// host's sysctl files beside its own statistics.
#[test]
fn statistics_of_another_table_are_reported() {
    for entries in [0, 14] {
        let found = report(2, |rows| {
            rows.iter_mut().for_each(|row| set(row, "entries", entries));
        });
        let sentence = format!("the statistics have {entries} entries where the table has 1,000");
        assert!(has(&found, &sentence), "{:?}", found.unknown);
    }
}

#[test]
fn a_count_that_no_table_can_have_is_left_out() {
    let found = report(1, |rows| {
        let at = rows.iter().rposition(|row| ONLY_TABLE(row) && row.second() == 70).unwrap();
        set(&mut rows[at], "ip_conntrack_count", 1_002_166);
    });
    assert!(has(
        &found,
        "1 row with more entries than the limit allows, such as 1,002,166 of 4,000"
    ));
    assert_eq!(found.fill.unwrap().peak, 2983.0);
    // A limit that was lowered.
    let found = report(1, |rows| {
        for row in rows.iter_mut() {
            set(row, "ip_conntrack_count", 20_000 - row.second() as u64);
            set(row, "entries", 20_000 - row.second() as u64);
            if row.second() < 60 {
                set(row, "ip_conntrack_max", 65_536);
            }
        }
    });
    assert!(!has(&found, "than the limit allows"), "{:?}", found.unknown);
    assert_eq!(found.fill.unwrap().peak, 20_000.0);
}

/// A failover to another machine, or a snapshot that is restored.
#[test]
fn counters_that_begin_again_in_a_table_that_stays_are_doubted() {
    let sentence = "counters began again 1 time while the table kept its entries";
    let reset = |stays: bool| {
        report(1, |rows| {
            for row in rows.iter_mut().filter(|row| row.second() >= 60) {
                row.fields.iter_mut().for_each(|(name, value)| match *name {
                    "entries" | "ip_conntrack_count" if stays => {}
                    "ip_conntrack_max" => {}
                    "entries" | "ip_conntrack_count" => *value /= 100,
                    _ => *value /= 2,
                });
            }
        })
    };
    assert!(has(&reset(true), sentence), "{:?}", reset(true).unknown);
    assert!(!has(&reset(false), sentence), "{:?}", reset(false).unknown);
}

/// Without extremes the rows are all that is known: a row that is full may have been so for a moment, and
/// a gap for all of its time.
#[test]
fn a_full_row_bounds_the_time_that_the_table_was_full() {
    let above = |is_full: fn(i64) -> bool, is_missing: fn(i64) -> bool| {
        let found = report(1, |rows| {
            rows.retain(|row| !is_missing(row.second()));
            for row in rows.iter_mut().filter(|row| is_full(row.second())) {
                set(row, "ip_conntrack_count", 4000);
                set(row, "entries", 4000);
            }
        });
        let above = found.fill.unwrap().above_90_percent.unwrap();
        (above.at_least_seconds, above.at_most_seconds.unwrap())
    };
    assert_eq!(above(|second| second == 0, |_| false), (0.0, 1.0));
    assert_eq!(above(|second| second == 40, |_| false), (0.0, 2.0));
    assert_eq!(above(|second| (40..50).contains(&second), |_| false), (9.0, 11.0));
    let gap = |second| (41..81).contains(&second);
    assert_eq!(above(|second| second == 40 || second == 81, gap), (0.0, 2.0));
}

/// Telegraf's `aggregators.derivative` writes rates beside the counters, too.
#[test]
fn rates_of_another_program_are_no_rows_of_ctpulse() {
    let found = report(8, |rows| {
        rows.retain(|row| !ONLY_CPUS(row));
        for row in rows.iter_mut() {
            if ONLY_TABLE(row) {
                row.fields.retain(|(name, _)| *name == "ip_conntrack_max");
            } else if row.second() % 10 == 9 {
                row.fields.push(("drop_rate", 0));
                row.fields.push(("entries_max", 30_000));
            }
        }
    });
    assert_eq!(found.gaps.restarts, 0);
    assert!(found.fill.as_ref().unwrap().fullest.is_none(), "{:?}", found.fill);
}

/// As a writer leaves a field out that did not change, or a filter does for some time.
#[test]
fn a_counter_that_is_missing_in_the_middle_is_reported() {
    let found = report(2, |rows| {
        for row in rows.iter_mut().filter(|row| (50..90).contains(&row.second())) {
            row.fields.retain(|(name, _)| *name != "drop" && *name != "invalid");
        }
    });
    let sentence = "drop is missing in rows of 41 s, and 1 more counter in others: its peak";
    assert!(has(&found, sentence), "{:?}", found.unknown);
    // All of them are missing: a gap.
    let found = report(2, |rows| rows.retain(|row| !(50..90).contains(&row.second())));
    assert!(!has(&found, "is missing in"), "{:?}", found.unknown);
}
