//! Clocks that step or were never set, inputs that write at different times, and times that are
//! coarse or irregular.

use ctpulse::report::{Report, SourceReport};

use super::forms::{report_of, totals};
use crate::recordings::truth::{Form, ONLY_ALL, ONLY_CPUS, Row, SECOND_NS, START_NS, Truth};

fn busy(seconds: usize) -> Truth {
    let mut random = fastrand::Rng::with_seed(11);
    Truth::of(2, seconds, move |_, _| {
        [random.u64(0..5), 0, random.u64(0..10), random.u64(0..5), random.u64(0..4), 0]
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

fn peak(source: &SourceReport, name: &str) -> f64 {
    source.counters.iter().find(|counter| counter.name == name).unwrap().peak.unwrap()
}

/// The rows with the clock set back in some seconds.
fn stepped(mut rows: Vec<Row>, at: &[i64], back_ns: i64) -> Vec<Row> {
    for row in &mut rows {
        let steps = at.iter().filter(|at| row.second() >= **at).count() as i64;
        row.time_ns -= steps * back_ns;
    }
    rows
}

/// Rows were sorted by time, and those before and after the step became one another's neighbours.
#[test]
fn a_clock_that_goes_back_makes_no_burst() {
    let truth = busy(300);
    let apart = |rows: Vec<Row>| rows.iter().flat_map(Row::fields_apart).collect::<Vec<_>>();
    let table_first = |mut rows: Vec<Row>| {
        rows.chunks_mut(4).for_each(<[Row]>::reverse);
        rows
    };
    let only = |keep: fn(&Row) -> bool| truth.rows(0).into_iter().filter(keep).collect::<Vec<_>>();
    for (which, rows) in [
        ("whole", truth.rows(0)),
        ("apart in time", truth.rows(200_000)),
        ("table first", table_first(truth.rows(0))),
        ("one field a line", apart(truth.rows(0))),
        ("cpu=all only", only(ONLY_ALL)),
        ("CPUs only", only(ONLY_CPUS)),
    ] {
        for back_ms in [1400, 2000, 3400, 30_000, 30_300, 600_000, 3_600_000] {
            let rows = stepped(rows.clone(), &[150], back_ms * 1_000_000);
            let found = source(&rows);
            let what = format!("{which} {back_ms} ms");
            assert_eq!(totals(&found), truth.totals(), "{what}: {}", warnings(&found));
            assert!(peak(&found, "drop") <= truth.most("drop") as f64 * 1.01, "{what}");
            assert_eq!((found.gaps.gaps, found.gaps.resets), (0, 0), "{what}");
            assert_eq!(found.emissions, 300, "{what}");
            let said = warnings(&found);
            assert!(said.contains("the clock went back 1 time"), "{what}: {said}");
        }
    }
    let found = source(&stepped(truth.rows(0), &[100, 200], 20 * SECOND_NS));
    assert_eq!(totals(&found), truth.totals());
    assert!(warnings(&found).contains("the clock went back 2 times"), "{}", warnings(&found));
}

/// The rise of the burst was no "as before", so the rows were parts in the wrong order: 375 drops of 300.
#[test]
fn a_burst_that_begins_with_a_step_of_the_clock_hides_none() {
    let truth = Truth::of(2, 300, |second, cpu| {
        let lost = if (100..150).contains(&second) { 3 } else { 0 };
        let found = if lost > 0 { 20 } else { 1 + (second * 7 + cpu) as u64 % 3 };
        [lost, 0, found, lost, u64::from(second % 4 == 0), 0]
    });
    let all: fn(&Row) -> bool = |_| true;
    for (which, keep) in [("whole", all), ("all", ONLY_ALL), ("CPUs", ONLY_CPUS)] {
        for back_s in [30, 3600, 90_000] {
            let rows: Vec<_> = truth.rows(0).into_iter().filter(keep).collect();
            let found = source(&stepped(rows, &[100], back_s * SECOND_NS));
            let said = warnings(&found);
            assert_eq!(totals(&found), truth.totals(), "{which} {back_s} s: {said}");
            assert!(said.contains("the clock went back 1 time"), "{which} {back_s} s: {said}");
        }
    }
}

/// A step of one interval gives two rows one time.
#[test]
fn rows_of_one_time_with_other_values_are_reported() {
    let truth = busy(300);
    let found = source(&stepped(truth.rows(0), &[150], SECOND_NS));
    assert_eq!(totals(&found), truth.totals());
    assert!(warnings(&found).contains("have the time of the row before"), "{}", warnings(&found));
}

/// Machines without a clock begin in 1970.
#[test]
fn a_clock_that_was_never_set_is_reported() {
    let truth = busy(400);
    for after_s in [5, 300, 1200, 20_000] {
        let mut rows = truth.rows(0);
        rows.iter_mut().for_each(|row| row.time_ns += after_s * SECOND_NS - START_NS);
        let found = source(&rows);
        assert_eq!(totals(&found), truth.totals(), "{after_s}");
        let said = warnings(&found);
        assert!(
            said.contains("before the year 2000") || said.contains("the unit of the times"),
            "{after_s}: {said}"
        );
        if after_s != 1200 {
            assert_eq!(found.interval_seconds.unwrap().round(), 1.0, "{after_s}: {said}");
        }
    }
}

/// Several inputs that write one series, each second but at other times of it.
#[test]
fn several_inputs_have_one_interval() {
    let truth = Truth::of(2, 1500, |second, _| [second as u64 % 5, 0, 3, 1, 0, 0]);
    // A tenth of a second each.
    let mut rows = truth.rows(0);
    for row in &mut rows {
        row.time_ns = START_NS + (row.time_ns - START_NS) / 10;
    }
    let tenth = |row: &Row| (row.time_ns - START_NS) / (SECOND_NS / 10) % 10;
    for times in [&[0, 4][..], &[0, 2], &[0, 2, 6], &[0, 3, 4], &[0, 1, 3, 7]] {
        let some: Vec<Row> =
            rows.iter().filter(|row| times.contains(&tenth(row))).cloned().collect();
        let found = source(&some);
        let interval = found.interval_seconds.unwrap();
        assert!((interval - 1.0).abs() < 0.01, "{times:?}: {interval}");
        assert_eq!(found.gaps.gaps, 0, "{times:?}");
    }
}

/// ctpulse and Telegraf's plugin: rows with rates alternate with rows without.
#[test]
fn rows_of_two_programs_are_no_restarts() {
    let mut text = String::new();
    for second in 0..300u64 {
        let time_ns = START_NS + second as i64 * SECOND_NS;
        let (counters, later_ns) = (format!("drop={second}i,entries=5i"), time_ns + 400_000_000);
        text += &format!("conntrack,cpu=all {counters},drop_rate=1,drop_rate_max=1 {time_ns}\n");
        text += &format!("conntrack,cpu=all {counters} {later_ns}\n");
    }
    let report = report_of(text.as_bytes());
    let found = &report.sources[0];
    assert_eq!((found.gaps.restarts, found.interval_seconds.unwrap().round()), (0, 1.0));
    assert!(warnings(found).contains("300 times in 600 rows"), "{}", warnings(found));
}

/// In an export field by field, more rows than the window has are in no order: one of them was "1 restart".
#[test]
fn an_export_field_by_field_has_no_restarts() {
    let names = "chaintoolong clash_resolve delete delete_list drop early_drop expect_create found \
                 icmp_error ignore insert insert_failed invalid new search_restart searched";
    let mut text = String::new();
    for name in names.split(' ') {
        let rates = ["_rate", "_rate_max", "_sample_max"].map(|field| ("all", field));
        for (cpu, field) in [("all", ""), ("cpu1", "")].into_iter().chain(rates) {
            for second in 0..19 {
                let time_ns = START_NS + second * SECOND_NS;
                text += &format!("conntrack,cpu={cpu},host=a {name}{field}=0 {time_ns}\n");
            }
        }
    }
    let report = report_of(text.as_bytes());
    assert_eq!(report.sources[0].gaps.restarts, 0);
}

/// Telegraf with `precision = "10s"` gives ten rows of one second each one time.
#[test]
fn the_first_of_several_rows_of_one_time_counts_from() {
    let truth = busy(600);
    let mut rows = truth.rows(0);
    for row in &mut rows {
        row.time_ns -= (row.time_ns - START_NS) % (10 * SECOND_NS);
    }
    let reversed: Vec<Row> = rows.iter().rev().cloned().collect();
    for rows in [rows, reversed] {
        let found = source(&rows);
        assert_eq!(totals(&found), truth.totals());
        assert!((found.interval_seconds.unwrap() - 1.0).abs() < 0.01, "{found:?}");
        // The direction of the first rows is not known.
        assert!((599..=600).contains(&found.emissions), "{found:?}");
        let said = warnings(&found);
        assert!(said.contains("the times are multiples of 10 s, and several rows"), "{said}");
    }
}

/// Telegraf's `precision` is a second by default: rows of 2.5 s had an interval of 5 s, and those of
/// 1.2 s a gap in each sixth second.
#[test]
fn times_that_are_coarser_than_the_rows_are_reported() {
    let truth = busy(400);
    for (interval_ms, apart, excess) in [
        (2500, "rows are 2 s or 3 s apart", 0.25),
        (1700, "rows are 1 s or 2 s apart", 0.7),
        (1500, "rows are 1 s or 2 s apart", 0.5),
        (1200, "rows are 1 s or 2 s apart", 0.2),
        (650, "several rows have the same", 0.3),
        (600, "several rows have the same", 0.2),
        (300, "several rows have the same", 0.2),
    ] {
        let rounded = |mut row: Row| {
            let at_ms = row.second() * interval_ms;
            row.time_ns = START_NS + (at_ms + 500) / 1000 * SECOND_NS;
            row
        };
        let interval = interval_ms as f64 / 1000.0;
        let rows: Vec<_> = truth.rows(0).into_iter().map(rounded).collect();
        let reversed: Vec<_> = rows.iter().rev().cloned().collect();
        for (rows, is_reversed) in [(rows, false), (reversed, true)] {
            let found = source(&rows);
            let said = warnings(&found);
            assert_eq!(totals(&found), truth.totals(), "{interval}: {said}");
            let own = found.interval_seconds.unwrap();
            assert!((own / interval - 1.0).abs() < 0.02, "{interval}: {own}");
            assert_eq!(found.gaps.gaps, 0, "{interval}: {said}");
            assert!((399..=400).contains(&found.emissions), "{interval}: {}", found.emissions);
            assert!(said.contains("the times are multiples of 1 s"), "{interval}: {said}");
            assert!(said.contains(apart), "{interval}: {said}");
            // Rows of one time have the mean rate of all, and those with a longer time a lower one.
            assert!(
                said.contains(" too high, or ") && said.contains(" too low"),
                "{interval}: {said}"
            );
            let most = truth.most("drop") as f64 / interval * (1.0 + excess) * 1.001;
            assert!(peak(&found, "drop") <= most, "{interval}: {most} {found:?}");
            assert!(is_reversed || found.unknown.len() == 1, "{interval}: {said}");
        }
        // So are rows of CPUs alone.
        let rows = truth.rows(0).into_iter().filter(ONLY_CPUS).map(rounded).collect::<Vec<_>>();
        let found = source(&rows);
        let said = warnings(&found);
        assert_eq!(totals(&found), truth.totals(), "{interval}: {said}");
        let own = found.interval_seconds.unwrap();
        assert!((own / interval - 1.0).abs() < 0.02, "{interval}: {own} {said}");
        assert!(said.contains("the times are multiples of 1 s"), "{interval}: {said}");
        let most = truth.most("drop") as f64 / interval;
        let peak = peak(&found, "drop");
        assert!(peak <= most * (1.0 + excess) * 1.001, "{interval}: {most} {peak}");
        assert!(peak >= most / 3.0, "{interval}: {most} {peak}");
        let is_there = |row: &Row| !(200..220).contains(&row.second());
        let rows: Vec<_> = truth.rows(0).into_iter().filter(is_there).map(rounded).collect();
        let found = source(&rows);
        assert_eq!((totals(&found), found.gaps.gaps), (truth.totals(), 1), "{interval}");
        // Each end of the gap is rounded.
        let ends = 2.0 + 2.0 / interval;
        assert!((found.gaps.missing as f64 - 20.0).abs() <= ends, "{interval} {:?}", found.gaps);
    }
}

/// `collection_jitter` near the interval: two rows may be almost two intervals apart.
#[test]
fn irregular_rows_are_no_gaps() {
    let truth = busy(300);
    let mut random = fastrand::Rng::with_seed(4);
    for jitter_s in [2, 5, 9] {
        let mut rows = truth.rows(0);
        for gather in rows.chunks_mut(4) {
            let later_ns = random.i64(0..jitter_s * SECOND_NS);
            for row in gather {
                row.time_ns += 9 * (row.time_ns - START_NS) + later_ns;
            }
        }
        let found = source(&rows);
        assert_eq!((found.gaps.gaps, found.gaps.missing), (0, 0), "{jitter_s}");
        assert_eq!(totals(&found), truth.totals());
        assert_eq!(found.gaps.undecided > 0, jitter_s == 9, "{:?}", found.gaps);
        assert_eq!(found.unknown, [] as [&str; 0]);
        // A real gap is one all the same.
        rows.retain(|row| !(1000..1200).contains(&((row.time_ns - START_NS) / SECOND_NS)));
        let found = source(&rows);
        assert_eq!(found.gaps.gaps, 1, "{jitter_s}");
        assert!((18..=21).contains(&found.gaps.missing), "{jitter_s} {:?}", found.gaps);
    }
}

/// One torn timestamp moved all later rows by 20,567 days.
#[test]
fn one_wrong_time_is_no_step_of_the_clock() {
    let truth = busy(300);
    for wrong_ns in [17_950_001_200_000_000, START_NS / 2 * 3, START_NS - 86_400 * SECOND_NS] {
        let mut rows: Vec<_> = truth.rows(0).into_iter().filter(ONLY_ALL).collect();
        rows[150].time_ns = wrong_ns;
        let report = report_of(&Form::Lines.write(&rows));
        assert_eq!(report.recording.clock_steps, 0, "{wrong_ns}");
        assert!(!warnings(&report.sources[0]).is_empty(), "{wrong_ns}");
    }
    let mut rows: Vec<_> = truth.rows(0).into_iter().filter(ONLY_ALL).collect();
    rows[150].time_ns = 17_950_001_200_000_000;
    let found = source(&rows);
    assert_eq!(totals(&found), truth.totals(), "{}", warnings(&found));
    assert_eq!((found.gaps.gaps, found.interval_seconds.unwrap().round()), (1, 1.0));
}

/// A spreadsheet wrote 1.79559E+09 for each of them: "a single statistics row" beside 200 drops.
#[test]
fn rows_that_all_have_one_time_are_named() {
    let truth = busy(30);
    let mut rows: Vec<_> = truth.rows(0).into_iter().filter(ONLY_ALL).collect();
    rows.iter_mut().for_each(|row| row.time_ns = START_NS);
    let found = source(&rows);
    let said = warnings(&found);
    assert!(said.contains("all statistics rows have the time 2026-11-25 07:10:00"), "{said}");
    assert!(!said.contains("a single statistics row"), "{said}");
    assert_eq!(totals(&found), truth.totals());
}

/// 8 s without a row among rows of 1 s, most of all rows being 10 s apart, were "gaps none".
#[test]
fn a_gap_in_a_part_with_a_shorter_interval_is_said() {
    let truth = busy(361);
    let mut rows = truth.rows(0);
    rows.retain(|row| row.second() % 10 == 0 || row.second() > 340);
    assert_eq!(source(&rows).unknown, [] as [&str; 0]);
    rows.retain(|row| !(347..354).contains(&row.second()));
    let found = source(&rows);
    let said = warnings(&found);
    assert!(said.contains("one time between rows is longer than that"), "{said}");
    assert_eq!(totals(&found), truth.totals());
}

/// A broker that stamps rows on arrival: an outage of its line was a burst of 60 times the true rate.
#[test]
fn rows_that_arrive_at_once_behind_a_gap_are_named() {
    let truth = busy(240);
    let mut rows = truth.rows(0);
    for row in rows.iter_mut().filter(|row| (120..180).contains(&row.second())) {
        let second = row.second();
        row.time_ns += (180 - second) * (SECOND_NS - 20_000_000);
    }
    let found = source(&rows);
    let said = warnings(&found);
    assert!(said.contains("came at once behind 1 gap of about as many"), "{said}");
    assert_eq!(totals(&found), truth.totals(), "{said}");
}

/// The rows of one second behind those of ten: 1,750 "missing" ones.
#[test]
fn an_interval_that_was_changed_is_no_gap() {
    let truth = busy(601);
    for is_first in [true, false] {
        let mut rows = truth.rows(0);
        rows.retain(|row| (row.second() < 200) != is_first || row.second() % 10 == 0);
        let found = source(&rows);
        assert_eq!((found.gaps.gaps, found.gaps.missing), (0, 0), "{is_first}");
        assert_eq!(totals(&found), truth.totals());
        let said = warnings(&found);
        assert!(said.contains("it was changed, or rows are missing"), "{is_first}: {said}");
        // A gap is one all the same.
        rows.retain(|row| !(300..350).contains(&row.second()));
        assert_eq!(source(&rows).gaps.gaps, 1, "{is_first}");
    }
}
