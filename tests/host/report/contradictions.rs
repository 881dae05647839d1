//! Numbers of one counter that contradict each other: a report says so, and believes no peak beyond all
//! events of its row.

use ctpulse::report::SourceReport;

use super::forms::report_of;

/// Rows of a second with the counter `drop`; `measures` are its value, its rate and its peak.
fn source(measures: impl Fn(u64) -> (u64, f64, f64)) -> SourceReport {
    let mut text = String::new();
    for second in 0..100u64 {
        let (value, rate, peak) = measures(second);
        let fields = format!("drop={value}i,drop_rate={rate},drop_rate_max={peak},found={second}i");
        let samples = "sample_seconds=0.1,samples_missed=0i";
        text += &format!("conntrack,cpu=all {fields},{samples} {}\n", 1_700_000_000 + second);
        let table = "ip_conntrack_count=5i,ip_conntrack_max=4000i";
        text += &format!("conntrack {table} {}\n", 1_700_000_000 + second);
    }
    report_of(text.as_bytes()).sources.remove(0)
}

fn said(source: &SourceReport) -> String {
    source.unknown.join("\n")
}

/// 300 drops by their rates and none by their values were no warning.
#[test]
fn rates_that_are_not_those_of_the_values_are_said() {
    let by_values = |second: u64| (6 * second.min(50), 0.0, 0.0);
    let by_rates = |second: u64| (0, if second < 50 { 6.0 } else { 0.0 }, 60.0);
    let both = |second: u64| {
        let rate = if (1..=50).contains(&second) { 6.0 } else { 0.0 };
        (6 * second.min(50), rate, 10.0 * rate)
    };
    let found = said(&source(by_values));
    assert!(
        found.contains("drop counted 300 by its values and 0 by its rates: rows of"),
        "{found}"
    );
    let found = said(&source(by_rates));
    assert!(found.contains("drop counted 0 by its values and 294 by its rates"), "{found}");
    assert_eq!(said(&source(both)), "");
}

#[test]
fn a_peak_beyond_the_events_of_its_row_is_left_out() {
    let with = |peak: f64| {
        source(move |second| match second {
            0..50 => (0, 0.0, 0.0),
            50 => (5, 5.0, peak),
            _ => (5, 0.0, 0.0),
        })
    };
    for impossible in [50_000.0, 5e300] {
        let found = with(impossible);
        assert_eq!(found.counters[0].peak, Some(5.0));
        let sentence =
            "peaks of drop are 1 time more than all events of their row, and is left out";
        assert!(said(&found).contains(sentence), "{}", said(&found));
    }
    // A sample behind a late one is short.
    assert_eq!((with(2000.0).counters[0].peak, said(&with(2000.0)).as_str()), (Some(2000.0), ""));
}

/// A damaged digit was 100,000,000 drops.
#[test]
fn losses_that_no_kernel_has_are_said() {
    let mut text = String::new();
    for second in 0..100u64 {
        let damage = if second == 99 { 100_000_000 } else { 0 };
        let fields =
            format!("drop={}i,early_drop=0i,found={}i", second + damage, 20_000_000 * second);
        text += &format!("conntrack,cpu=all {fields} {}\n", 1_700_000_000 + second);
    }
    let found = said(&report_of(text.as_bytes()).sources[0]);
    let sentence =
        "drop counted 100,000,001 a second, which no kernel does: its total has a damaged";
    assert!(found.contains(sentence) && !found.contains("more counter"), "{found}");
}

/// In rows that are read backwards, the events of a row are those behind it.
#[test]
fn peaks_of_rows_in_reverse_order_are_believed() {
    let mut lines = Vec::new();
    for second in 0..3000u64 {
        let is_burst = second == 500;
        let (value, rate) = (if second < 500 { 0 } else { 500 }, if is_burst { 500 } else { 0 });
        let fields =
            format!("drop={value}i,drop_rate={rate},drop_rate_max={},found=1i", 100 * rate);
        lines.push(format!(
            "conntrack,cpu=all {fields},sample_seconds=0.01,samples_missed=0i {}\n\
             conntrack ip_conntrack_count=5i,ip_conntrack_max=4000i {0}\n",
            1_700_000_000 + second
        ));
    }
    lines.reverse();
    let found = report_of(lines.concat().as_bytes()).sources.remove(0);
    let drop = found.counters.iter().find(|counter| counter.name == "drop").unwrap();
    assert_eq!((drop.total, drop.peak), (Some(500.0), Some(50_000.0)), "{}", said(&found));
    assert!(!said(&found).contains("peaks of drop"), "{}", said(&found));
}

/// `aggregators.derivative` writes the rate over ten rows into one.
#[test]
fn rates_of_another_program_contradict_nothing() {
    let mut text = String::new();
    for second in 0..100u64 {
        let value = if second < 3 { 0 } else { 300 };
        let rate = if second == 9 { ",drop_rate=30" } else { "" };
        let rate = if second > 9 && second % 10 == 9 { ",drop_rate=0" } else { rate };
        text += &format!("conntrack,cpu=all drop={value}i{rate} {}\n", 1_700_000_000 + second);
    }
    let found = report_of(text.as_bytes()).sources.remove(0);
    assert!(!said(&found).contains("by its rates"), "{}", said(&found));
}
