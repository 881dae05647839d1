//! Rows in, numbers out.

use crate::metric::{Metric, Name, Value};

use super::*;
use crate::live::doubt::Doubt;
use crate::live::gather::Repeated;
use crate::live::history::EntriesLevel;
use crate::live::namespace::{Current, Reading};
use crate::live::series::{ALL, DROP, INSERT};
use crate::schema::provenance::Origin;

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
    take_from(screen, rows, [None; ALL]);
}

fn take_from(screen: &mut Screen, rows: &[Metric], origins: [Option<Origin>; ALL]) {
    screen.take(&Batch { rows: rows.to_vec(), origins, repeated: Vec::new() });
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
    take_from(&mut screen, &[all(2, &fields)], origins);
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
        let expected = match seconds {
            10 => Reading::Unknown,
            20 => Reading::Rate(5.0),
            _ => Reading::Doubtful(Doubt::Reset),
        };
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

/// Takes rows of the seconds from 0 on with these values of `drop` and `found`; a screen may have
/// several rows of one second, which follow each other within it.
fn screen_of(rows: &[(i64, f64, f64)]) -> Screen {
    let mut screen = Screen::default();
    for (at, (seconds, drop, found)) in rows.iter().enumerate() {
        let fields = [("drop", Value::Float(*drop)), ("found", Value::Float(*found))];
        let mut row = all(*seconds, &fields);
        row.timestamp_ns += (at % 2) as i64 * SECOND / 3;
        take(&mut screen, &[row]);
    }
    screen
}

/// A second host with the same tags gave a mean of 183 drops a second, and a peak of 235.
#[test]
fn rows_of_two_sources_have_no_rate_and_no_sum() {
    let of_second = |second: i64| {
        let more = second as f64;
        [(second, 81.0 + more, 9000.0 + 50.0 * more), (second, 7.0, 12.0 + more)]
    };
    let screen = screen_of(&(0..40).flat_map(of_second).collect::<Vec<_>>());
    for field in ["drop", "found"] {
        let found = current(&screen, field);
        assert_eq!(found.now, Reading::Doubtful(Doubt::UpAndDown), "{field}");
        assert_eq!((mean(&screen, field), found.in_all()), (None, None), "{field}");
    }
    // A single damaged row has no rate, either, nor has the way to it.
    let mut rows: Vec<_> = (0..9).map(|second| (second, second as f64, 500.0)).collect();
    (rows[5].1, rows[5].2) = (9000.0, 9000.0);
    let screen = screen_of(&rows[..=6]);
    assert_eq!(current(&screen, "drop").now, Reading::Doubtful(Doubt::UpAndDown));
    let screen = screen_of(&rows);
    assert!(matches!(current(&screen, "drop").now, Reading::Rate(_)));
    let found = screen.namespace().unwrap().history.summary(DROP, 0);
    assert!(found.peak < Some(2.0) && found.doubt == Some(Doubt::UpAndDown), "{found:?}");
}

/// With all counters 0 and then 100 again, "0" hid 100 drops.
#[test]
fn counters_that_began_again_with_the_same_value_are_unknown() {
    let rows = [(0, 100.0, 9000.0), (1, 100.0, 9001.0), (2, 100.0, 3.0)];
    let mut screen = screen_of(&rows);
    assert_eq!(current(&screen, "drop").now, Reading::Doubtful(Doubt::Reset));
    assert_eq!(current(&screen, "drop").in_all(), Some(100.0));
    let told = screen.new_messages();
    assert!(told.len() == 1 && told[0].contains("counters began again"), "{told:?}");
    assert!(screen.new_messages().is_empty());
}

/// They were drops at 129 and at 4.29 billion a second.
#[test]
fn values_below_0_and_near_2_to_the_32_are_left_out() {
    let most = f64::from(u32::MAX);
    for (value, doubt) in [(-1.0, Doubt::Negative), (most, Doubt::Leap), (most - 20.0, Doubt::Leap)]
    {
        for number in [1, 3] {
            let mut rows: Vec<_> = (0..20).map(|s| (2 * s, 60.0 + 4.0 * s as f64, 7.0)).collect();
            rows[10..10 + number].iter_mut().for_each(|row| row.1 = value);
            let screen = screen_of(&rows[..=10]);
            assert_eq!(current(&screen, "drop").now, Reading::Doubtful(doubt));
            assert_eq!(current(&screen, "found").now, Reading::Rate(0.0));
            let screen = screen_of(&rows);
            assert_eq!(current(&screen, "drop").in_all(), Some(76.0));
            let found = screen.namespace().unwrap().history.summary(DROP, 0);
            let mean = found.mean.unwrap();
            assert!((mean - 76.0 / 38.3).abs() < 0.01 && found.doubt.is_none(), "{found:?}");
        }
    }
    // A counter that goes on from there is believed.
    let rows = [(0, 5.0, 7.0), (1, 4e9, 7.0), (2, 4e9 + 5.0, 7.0), (3, 4e9 + 9.0, 7.0)];
    assert_eq!(current(&screen_of(&rows[..3]), "drop").now, Reading::Doubtful(Doubt::Leap));
    assert!(matches!(current(&screen_of(&rows), "drop").now, Reading::Rate(_)));
}

#[test]
fn two_values_of_one_time_are_no_rate() {
    let mut screen = Screen::default();
    let drop = |drop| [("drop", Value::Float(drop))];
    let repeated = |falls, least| vec![Repeated { row: 0, falls, least: vec![(DROP, least)] }];
    for (seconds, total, repeated, doubt) in [
        (1, 60.0, Vec::new(), None),
        (2, 64.0, repeated(true, 62.0), Some(Doubt::SameTime)),
        (3, 69.0, repeated(false, 3.0), Some(Doubt::SameTime)),
        // Rows of one second, at a precision of a second.
        (4, 75.0, repeated(false, 69.0), None),
    ] {
        let rows = vec![all(seconds, &drop(total))];
        screen.take(&Batch { rows, origins: [None; ALL], repeated });
        if let Some(doubt) = doubt {
            assert_eq!(current(&screen, "drop").now, Reading::Doubtful(doubt), "{seconds}");
        }
    }
    assert_eq!(current(&screen, "drop").now, Reading::Rate(6.0));
    assert_eq!(screen.namespace().unwrap().history.summary(DROP, 0).peak, Some(6.0));
}

#[test]
fn cpus_of_two_sources_have_no_rate() {
    for has_sum in [false, true] {
        let mut screen = Screen::default();
        for half_seconds in 0..20 {
            let more = if half_seconds % 2 == 0 { 900.0 } else { 0.0 } + f64::from(half_seconds);
            let drop = [("drop", Value::Float(more))];
            let mut rows = vec![of_cpu(0, 0, &drop), of_cpu(1, 0, &drop)];
            if has_sum {
                rows.push(all(0, &[("drop", Value::Float(2.0 * more))]));
            }
            rows.iter_mut().for_each(|row| row.timestamp_ns = i64::from(half_seconds) * SECOND / 2);
            take(&mut screen, &rows);
        }
        assert_eq!(current(&screen, "drop").now, Reading::Doubtful(Doubt::UpAndDown), "{has_sum}");
        assert_eq!(mean(&screen, "drop"), None);
        let namespace = screen.namespace().unwrap();
        assert!(namespace.cpus.iter().all(|cpu| cpu.rates[DROP].is_nan()), "{:?}", namespace.cpus);
    }
}

/// Telegraf writes 0 for counters that kernels since 4.9 do not count.
#[test]
fn a_constant_zero_is_not_counted_until_it_moves() {
    let mut screen = Screen::default();
    for seconds in 1..=4 {
        let delete = if seconds == 4 { 5 } else { 0 };
        let zero = Value::Integer(0);
        let fields = [("drop", zero), ("insert", zero), ("delete", Value::Integer(delete))];
        take(&mut screen, &[all(seconds, &fields)]);
        if seconds == 3 {
            for field in ["insert", "delete"] {
                assert_eq!(current(&screen, field).now, Reading::PerhapsNotCounted, "{field}");
                assert_eq!((mean(&screen, field), current(&screen, field).in_all()), (None, None));
            }
            assert_eq!(current(&screen, "drop").now, Reading::Rate(0.0));
        }
    }
    assert_eq!(current(&screen, "delete").now, Reading::Rate(5.0));
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

#[test]
fn rows_with_labels_are_no_namespace() {
    let mut screen = Screen::default();
    let labels = [("protocol", "tcp"), ("reason", "checksum")];
    let labelled = row("conntrack_invalid", &labels, 1, &[("packets", Value::Integer(7))]);
    let labels = [("protocol", "tcp"), ("state", "CLOSE")];
    let gauge = row("conntrack_entries", &labels, 1, &[("entries", Value::Integer(7))]);
    take(&mut screen, &[all(1, &[("drop", Value::Integer(7))]), labelled, gauge]);
    assert_eq!((screen.namespaces.len(), screen.rows_unplaced), (1, 0));
}
