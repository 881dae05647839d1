//! Rows in, numbers out.

use crate::metric::{Metric, Name, Value};

use super::*;
use crate::live::history::EntriesLevel;
use crate::live::namespace::{Current, FillStep, Reading};
use crate::live::series::{DROP, INSERT};

const SECOND: i64 = 1_000_000_000;

fn row(name: &str, tags: &[(&str, &str)], seconds: i64, fields: &[(&str, Value)]) -> Metric {
    let mut fields: Vec<(Name, Value)> =
        fields.iter().map(|(key, value)| (Name::from(*key), *value)).collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let mut row =
        Metric { name: name.to_owned(), tags: Vec::new(), fields, timestamp_ns: seconds * SECOND };
    tags.iter().for_each(|(key, value)| row.add_tag(&Name::from(*key), value));
    row
}

fn all(seconds: i64, fields: &[(&str, Value)]) -> Metric {
    row("conntrack", &[("cpu", "all")], seconds, fields)
}

fn take(screen: &mut Screen, rows: &[Metric]) {
    screen.take(rows, &[None; ALL]);
}

fn current(screen: &Screen, field: &str) -> Current {
    let at = SERIES.iter().position(|series| series.field.name == field).unwrap();
    screen.namespace().unwrap().current[at]
}

#[test]
fn unknown_differs_from_not_counted_and_from_zero() {
    let mut screen = Screen::default();
    let fields = [
        ("drop", Value::Integer(7)),
        ("drop_rate", Value::Unknown),
        ("delete", Value::NotMaintained),
        ("insert", Value::Integer(0)),
        ("insert_rate", Value::Float(0.0)),
    ];
    take(&mut screen, &[all(1, &fields)]);
    assert_eq!(current(&screen, "drop").now, Reading::Unknown);
    assert_eq!(current(&screen, "delete").now, Reading::NotCounted);
    assert_eq!(current(&screen, "insert").now, Reading::Rate(0.0));
    // A sampler's row lacks what nothing counts; a recording's may lack anything.
    assert_eq!(current(&screen, "drop_clash").now, Reading::Absent);
    assert_eq!(current(&screen, "drop").since_start, Some(0.0));
    let mut origins = [None; ALL];
    origins[DROP] = Some(Origin::Kernel);
    screen.take(&[all(2, &fields)], &origins);
    assert_eq!(current(&screen, "drop_clash").now, Reading::NotCounted);
}

fn of_cpu(cpu: u32, seconds: i64, fields: &[(&str, Value)]) -> Metric {
    row("conntrack", &[("cpu", &format!("cpu{cpu}"))], seconds, fields)
}

/// Every counter of such a recording was unknown, and its clock stood still.
#[test]
fn rows_of_cpus_alone_are_added_up() {
    let mut screen = Screen::default();
    let cpu = |cpu, seconds, drop| {
        of_cpu(cpu, seconds, &[("drop", Value::Integer(drop)), ("entries", Value::Integer(40))])
    };
    take(&mut screen, &[cpu(0, 1, 1000), cpu(1, 1, 5000)]);
    assert_eq!(current(&screen, "drop").now, Reading::Unknown);
    assert_eq!(current(&screen, "insert").now, Reading::Absent);
    take(&mut screen, &[cpu(0, 2, 1002), cpu(1, 2, 5003)]);
    assert_eq!(current(&screen, "drop").now, Reading::Rate(5.0));
    assert_eq!(screen.namespace().unwrap().count, Some(40.0));
    // One is missing: nothing is known of the rate, and no event is lost or counted twice.
    take(&mut screen, &[cpu(0, 3, 1010)]);
    assert_eq!(current(&screen, "drop").now, Reading::Unknown);
    take(&mut screen, &[cpu(0, 4, 1010), cpu(1, 4, 5013)]);
    assert_eq!(current(&screen, "drop").now, Reading::Unknown);
    take(&mut screen, &[cpu(0, 5, 1011), cpu(1, 5, 5014)]);
    assert_eq!(current(&screen, "drop").now, Reading::Rate(2.0));
    assert_eq!(current(&screen, "drop").since_start, Some(25.0));
    assert_eq!(screen.namespace().unwrap().at_ns, 5 * SECOND);
    // A new CPU's events since boot are none of now.
    take(&mut screen, &[cpu(0, 6, 1011), cpu(1, 6, 5014), cpu(2, 6, 1_000_000)]);
    assert_eq!(current(&screen, "drop").since_start, Some(25.0));
}

/// "Nothing is counted on any" stood below CPUs that dropped 226 packets.
#[test]
fn rates_of_cpus_come_from_totals_where_no_row_has_them() {
    let mut screen = Screen::default();
    for (seconds, drop) in [(1, 10), (2, 20), (3, 30)] {
        let drop = [("drop", Value::Integer(drop))];
        take(&mut screen, &[all(seconds, &drop), of_cpu(0, seconds, &drop)]);
    }
    let namespace = screen.namespace().unwrap();
    assert!((namespace.cpus[0].rates[DROP] - 10.0).abs() < 0.01, "{:?}", namespace.cpus);
    assert_eq!(namespace.spread(), Some(DROP));
}

/// Two series that differ in a tag of the user's were one, and no rate was known.
#[test]
fn rows_with_other_tags_or_names_are_of_another_namespace() {
    let mut screen = Screen::default();
    for seconds in 1..=3 {
        for (name, dc, drop) in
            [("conntrack", "a", 7 * seconds), ("conntrack", "b", 100), ("queue", "a", 9)]
        {
            let drop = [("drop", Value::Integer(drop as u64))];
            take(&mut screen, &[row(name, &[("cpu", "all"), ("dc", dc)], seconds, &drop)]);
        }
    }
    assert_eq!(screen.namespaces.len(), 3);
    assert_eq!(current(&screen, "drop").now, Reading::Rate(7.0));
    screen.select(false);
    assert_eq!(current(&screen, "drop").now, Reading::Rate(0.0));
}

/// Telegraf's `tagexclude` takes the tag away.
#[test]
fn statistics_without_a_cpu_tag_are_those_of_all() {
    let mut screen = Screen::default();
    for seconds in 1..=2 {
        let fields =
            [("drop", Value::Integer(7 * seconds as u64)), ("ip_conntrack_max", Value::Float(9.0))];
        take(&mut screen, &[row("conntrack", &[], seconds, &fields)]);
    }
    assert_eq!(current(&screen, "drop").now, Reading::Rate(7.0));
    assert_eq!(screen.namespace().unwrap().max, Some(9.0));
}

/// Statistics that end while table rows go on are no longer known.
#[test]
fn statistics_that_end_are_unknown() {
    let mut screen = Screen::default();
    let table =
        |seconds| row("conntrack", &[], seconds, &[("ip_conntrack_count", Value::Float(9.0))]);
    for seconds in 1..=10 {
        let drop = [("drop", Value::Integer(5 * seconds as u64))];
        let rows = [table(seconds), all(seconds, &drop)];
        take(&mut screen, &rows[..if seconds <= 5 { 2 } else { 1 }]);
    }
    assert_eq!(current(&screen, "drop").now, Reading::Absent);
    assert_eq!(screen.namespace().unwrap().at_ns, 10 * SECOND);
    assert_eq!(screen.namespace().unwrap().history.last().unwrap().end_ns, 10 * SECOND);
    // The CPUs' own rows go on in their place, and no event is lost.
    let mut screen = Screen::default();
    for seconds in 1..=10 {
        let drop = [("drop", Value::Integer(5 * seconds as u64))];
        let rows = [of_cpu(0, seconds, &drop), all(seconds, &drop)];
        take(&mut screen, &rows[..if seconds <= 5 { 2 } else { 1 }]);
    }
    assert_eq!(current(&screen, "drop").now, Reading::Rate(5.0));
    assert_eq!(current(&screen, "drop").since_start, Some(45.0));
    // A table without statistics is shown as well.
    let mut screen = Screen::default();
    (1..=3).for_each(|seconds| take(&mut screen, &[table(seconds)]));
    assert_eq!(screen.namespace().unwrap().history.last().unwrap().level.last, 9.0);
}

#[test]
fn a_recording_without_rates_gets_them_from_the_totals() {
    let mut screen = Screen::default();
    for (seconds, drop) in [(10, 100), (20, 150), (30, 20)] {
        take(&mut screen, &[all(seconds, &[("drop", Value::Integer(drop))])]);
        let expected = if seconds == 20 { Reading::Rate(5.0) } else { Reading::Unknown };
        assert_eq!(current(&screen, "drop").now, expected);
    }
    // 50 more, and then 20 of a counter that started again.
    assert_eq!(current(&screen, "drop").since_start, Some(70.0));
}

fn table(seconds: i64) -> Metric {
    row("conntrack", &[], seconds, &[("ip_conntrack_count", Value::Float(9.0))])
}

fn mean(screen: &Screen, field: &str) -> Option<f64> {
    let at = SERIES.iter().position(|series| series.field.name == field).unwrap();
    screen.namespace().unwrap().history.summary(at, 0).mean
}

/// Of 60 drops in 66 s the mean had 5: a rate over 15 s weighed 1 s.
#[test]
fn a_rate_behind_a_gap_weighs_the_gap() {
    let drops = |seconds: i64| 3.0 * (seconds - 30).clamp(0, 10) as f64;
    let is_missing = |seconds: i64| (28..42).contains(&seconds);
    // The statistics, one field of them, and all rows are missing.
    for missing in ["statistics", "drop", "all"] {
        for has_rates in [false, true] {
            let mut screen = Screen::default();
            for seconds in 1..=66 {
                let mut fields = vec![("early_drop", Value::Float(0.0))];
                if !(is_missing(seconds) && missing == "drop") {
                    fields.push(("drop", Value::Float(drops(seconds))));
                }
                if has_rates && seconds > 1 {
                    let rate = drops(seconds) - drops(seconds - 1);
                    fields.push(("drop_rate", Value::Float(rate)));
                }
                let rows = [table(seconds), all(seconds, &fields)];
                match (is_missing(seconds), missing) {
                    (true, "statistics") => take(&mut screen, &rows[..1]),
                    (true, "all") => {}
                    _ => take(&mut screen, &rows),
                }
            }
            let found = mean(&screen, "drop").unwrap();
            assert!((found - 30.0 / 65.0).abs() < 1e-4, "{missing} {has_rates}: {found}");
        }
    }
    // Rates alone are those of one interval.
    let mut screen = Screen::default();
    for seconds in (1..=27).chain(42..=66) {
        take(
            &mut screen,
            &[all(seconds, &[("drop_rate", Value::Float(3.0 * f64::from(seconds == 42)))])],
        );
    }
    let found = mean(&screen, "drop").unwrap();
    assert!((found - 3.0 / 51.0).abs() < 1e-4, "{found}");
}

#[test]
fn counters_that_are_not_counted_have_no_rate() {
    let mut screen = Screen::default();
    let zero = Value::Integer(0);
    let fields = [("drop", zero), ("drop_rate", Value::Float(0.0)), ("delete", zero)];
    take(&mut screen, &[all(1, &fields)]);
    assert_eq!(current(&screen, "delete").now, Reading::NotCounted);
    assert_eq!(current(&screen, "drop").now, Reading::Rate(0.0));
}

#[test]
fn the_time_until_the_table_is_full_is_shown() {
    let mut screen = Screen::default();
    let max = row("conntrack", &[], 1, &[("ip_conntrack_max", Value::Float(1000.0))]);
    for (seconds, entries) in [(1, 700), (2, 750), (3, 800)] {
        take(&mut screen, &[all(seconds, &[("entries", Value::Integer(entries))]), max.clone()]);
    }
    let namespace = screen.namespace().unwrap();
    assert_eq!(namespace.percent(), Some(80.0));
    assert_eq!(namespace.growth(), Some(50.0));
    assert_eq!(namespace.seconds_to_full(), Some(4.0));
    take(&mut screen, &[all(4, &[("entries", Value::Integer(400))]), max]);
    assert_eq!(screen.namespace().unwrap().seconds_to_full(), None);
}

#[test]
fn thresholds_have_a_text() {
    let words = [79.9, 80.0, 94.9, 95.0, 99.9, 100.0, 120.0].map(|p| FillStep::of(p).word());
    assert_eq!(words, ["", "filling", "filling", "almost full", "almost full", "FULL", "FULL"]);
}

#[test]
fn without_statistics_the_sysctl_file_has_the_count() {
    let mut screen = Screen::default();
    let table = row("conntrack", &[], 1, &[("ip_conntrack_count", Value::Float(12.0))]);
    take(&mut screen, &[all(1, &[("entries", Value::Unknown)]), table]);
    assert_eq!(screen.namespace().unwrap().count, Some(12.0));
}

/// Telegraf's plugin adds `entries` up over the CPUs.
#[test]
fn a_sum_over_cpus_is_not_the_tables_count() {
    let both = |seconds, count: u64| {
        let table = [
            ("ip_conntrack_count", Value::Float(count as f64)),
            ("ip_conntrack_max", Value::Float(1000.0)),
        ];
        let sum = [("drop", Value::Integer(0)), ("entries", Value::Integer(2 * count))];
        [all(seconds, &sum), row("conntrack", &[], seconds, &table)]
    };
    for order in [[0, 1], [1, 0]] {
        let mut screen = Screen::default();
        for (seconds, count) in [(1, 400), (2, 450), (3, 500)] {
            let rows = both(seconds, count);
            take(&mut screen, &order.map(|at| rows[at].clone()));
        }
        let namespace = screen.namespace().unwrap();
        assert_eq!((namespace.count, namespace.percent()), (Some(500.0), Some(50.0)));
        assert_eq!(namespace.growth(), Some(50.0));
        assert_eq!(namespace.seconds_to_full(), Some(10.0));
        assert_eq!(namespace.history.last().unwrap().level.max, 500.0);
        // A row at another time is no reason to believe the sum.
        take(&mut screen, &both(4, 500)[..1]);
        assert_eq!(screen.namespace().unwrap().percent(), Some(50.0));
    }
}

#[test]
fn the_number_of_entries_is_sampled_with_the_counters() {
    let mut screen = Screen::default();
    let table = row("conntrack", &[], 1, &[("ip_conntrack_count", Value::Float(90.0))]);
    let fields = [
        ("entries", Value::Integer(80)),
        ("entries_min", Value::Integer(70)),
        ("entries_max", Value::Integer(85)),
    ];
    take(&mut screen, &[table, all(1, &fields)]);
    let EntriesLevel { last, min, max } = screen.namespace().unwrap().history.last().unwrap().level;
    assert_eq!((min, last, max), (70.0, 80.0, 85.0));
    assert_eq!(screen.namespace().unwrap().count, Some(80.0));
}

#[test]
fn namespaces_and_hosts_are_kept_apart_and_bounded() {
    let mut screen = Screen::default();
    for host in ["fw1", "fw2"] {
        for netns in ["a", "b"] {
            let tags = [("cpu", "all"), ("host", host), ("netns", netns)];
            take(&mut screen, &[row("conntrack", &tags, 1, &[])]);
        }
    }
    let mut names = screen.namespaces.iter().map(|n| (n.host.as_deref(), n.netns.as_deref()));
    assert_eq!(names.clone().count(), 4);
    assert_eq!(names.next_back(), Some((Some("fw2"), Some("b"))));
    screen.select(true);
    assert_eq!(screen.selected, 3);
    screen.select(false);
    assert_eq!(screen.selected, 0);
    for more in 0..1000 {
        take(&mut screen, &[row("conntrack", &[("netns", &more.to_string())], 1, &[])]);
    }
    assert_eq!((screen.namespaces.len(), screen.rows_unplaced), (64, 940));
}

#[test]
fn cpus_are_smoothed_over_ten_seconds() {
    let mut screen = Screen::default();
    for seconds in 0..60 {
        let busy = if seconds < 10 { 100.0 } else { 0.0 };
        let cpu = |label, rate| {
            row("conntrack", &[("cpu", label)], seconds, &[("insert_rate", Value::Float(rate))])
        };
        take(&mut screen, &[all(seconds, &[]), cpu("cpu2", busy), cpu("cpu0", 50.0)]);
        if seconds == 19 {
            let cpus = &screen.namespace().unwrap().cpus;
            assert_eq!(cpus.iter().map(|cpu| cpu.number).collect::<Vec<_>>(), [0, 2]);
            assert!((cpus[1].rates[INSERT] - 36.8).abs() < 0.5, "{cpus:?}");
            assert_eq!(screen.namespace().unwrap().spread(), Some(INSERT));
        }
    }
    assert!((screen.namespace().unwrap().cpus[0].rates[INSERT] - 50.0).abs() < 0.01);
}

#[test]
fn calls_that_probes_missed_are_summed() {
    let mut screen = Screen::default();
    let fields = [
        ("samples_missed", Value::Integer(3)),
        ("rows_lost", Value::Integer(1)),
        ("hash_insert_missed", Value::Integer(5)),
        ("destroy_skipped", Value::Integer(2)),
        ("host_unplaced", Value::Integer(9)),
        ("drift", Value::Float(-4.0)),
    ];
    take(&mut screen, &[row("internal_ctpulse", &[], 1, &fields), all(1, &[])]);
    let misses = screen.namespace().unwrap().misses;
    assert_eq!((misses.samples, misses.rows, misses.probes), (Some(3), Some(1), Some(7)));
    assert_eq!((misses.unplaced, misses.drift), (Some(9), Some(-4.0)));
    assert_eq!(misses.alloc_failed, None);
}

#[test]
fn events_are_recent_for_three_seconds() {
    let mut screen = Screen::default();
    for seconds in 1..=8 {
        let rate = if seconds == 4 { 1.0 } else { 0.0 };
        take(&mut screen, &[all(seconds, &[("drop_rate", Value::Float(rate))])]);
        let expected = (4..7).contains(&seconds);
        assert_eq!(screen.namespace().unwrap().is_happening(DROP), expected, "{seconds}");
    }
}
