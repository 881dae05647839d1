//! Counters that fall: wraps, restarts and rows of another source, on hosts of which few counters move.

use super::doubts::{advice, source, warnings};
use super::forms::totals;
use crate::recordings::truth::START_NS;

/// A gather of a host: `drop`, `early_drop` and `found`, and the entries of the table.
fn gather([drop, early_drop, found]: [u64; 3], entries: u64, second: u64) -> String {
    let time = START_NS as u64 / 1_000_000_000 + second;
    format!(
        "conntrack ip_conntrack_count={entries},ip_conntrack_max=65536 {time}\n\
         conntrack,cpu=all drop={drop}i,early_drop={early_drop}i,found={found}i,insert_failed=0i {time}\n"
    )
}

/// One row of a busier host among those of a quiet one, whose losses are 0: certain losses.
#[test]
fn a_row_of_another_source_among_those_of_a_quiet_one_is_unknown() {
    for (drop, found) in [(5000, 90_000), (0, 90_000), (777, 0)] {
        let row = |second: u64| {
            let is_other = second == 10;
            let (drop, found) = if is_other { (drop, found) } else { (0, 0) };
            let found = 100 + found + 2 * second * u64::from(!is_other);
            gather([drop, drop, found], 40, second)
        };
        let text: String = (0..20).map(row).collect();
        let (code, titles) = advice(&text);
        assert!(titles.iter().all(|title| !title.starts_with("!!")), "{drop} {found}: {titles:?}");
        assert_eq!(code, Some(3), "{drop} {found}: {titles:?}");
    }
}

/// A restored snapshot of a host on which one counter is above 0: 90 drops, for certain.
#[test]
fn a_fall_of_the_only_counter_above_0_is_unknown_while_the_table_stays() {
    let gathers = |drop: fn(u64) -> u64| -> String {
        (0..8).map(|at| gather([drop(at), 0, 0], 1000, 10 * at)).collect()
    };
    let text = gathers(|at| if at < 4 { 100 } else { 90 });
    let (code, titles) = advice(&text);
    assert_eq!(code, Some(3), "{titles:?}");
    // A container that was started again has few events.
    let text = gathers(|at| if at < 4 { 100 } else { 2 * at });
    assert_eq!(advice(&text).0, Some(1));
}

/// A router without a clock of its own: two rows behind its restart were three weeks old, and all that it had
/// counted before was 5,000 drops, for certain.
#[test]
fn a_restart_with_a_wrong_clock_is_no_events() {
    let gather = |[drop, found]: [u64; 2], minute: u64| gather([drop, 0, found], 400, 60 * minute);
    let (week, now) = (7 * 24 * 60, 10 * 7 * 24 * 60);
    for (gathers, ago) in [(4, 3 * week), (60, 3 * week), (60, 60)] {
        let mut text = String::new();
        for at in 0..gathers {
            text += &gather([5000, 400 + at], now + at);
        }
        for at in 0..2 {
            text += &gather([0, at], now + gathers + at - ago);
        }
        for at in 2..6 {
            text += &gather([0, at], now + gathers + at);
        }
        let said = warnings(&source(&text));
        assert!(said.contains("a clock was wrong after a restart"), "{gathers} {ago}: {said}");
        assert!(!said.contains("lower bounds"), "{gathers} {ago}: {said}");
        let (code, titles) = advice(&text);
        assert_eq!(code, Some(3), "{gathers} {ago}: {titles:?}");
    }
    // Parts in another order go on, and a restart behind them begins again; so it does behind two rows that
    // changed places.
    let part = |from: u64, to: u64| -> String {
        (from..to).map(|at| gather([5000, 400 + at], now + at)).collect()
    };
    let restarted: String = (40..60).map(|at| gather([at - 40, at - 40], now + at)).collect();
    let swapped = part(0, 20) + &part(21, 22) + &part(20, 21);
    for text in [
        part(20, 40) + &part(0, 20) + &part(40, 60),
        part(20, 40) + &part(0, 20) + &restarted,
        swapped + &restarted,
    ] {
        let said = warnings(&source(&text));
        assert!(!said.contains("a clock was wrong after a restart"), "{said}");
    }
}

/// A row a day of a host with 100,000 look-ups a second on each CPU: 17.8 G of 3.08 T, without a word.
#[test]
fn counters_that_wrap_several_times_between_two_rows_are_too_low() {
    let row = |found: u64, day: u64| {
        let time = START_NS as u64 / 1_000_000_000 + 86_400 * day;
        let found: u64 = (0..4).map(|cpu| (found + cpu * 1_000_003) % (1 << 32)).sum();
        format!("conntrack,cpu=all drop=0i,early_drop=0i,found={found}i,insert_failed=0i {time}\n")
    };
    let said = |a_second: u64| {
        let text: String = (0..30).map(|day| row(a_second * 86_400 * day, day)).collect();
        warnings(&source(&text))
    };
    let fast = said(100_000);
    assert!(
        fast.contains("found has come to") && fast.contains("may wrap several times"),
        "{fast}"
    );
    assert!(!said(100).contains("may wrap"));
}

/// `drop` at 4,280,000,000 before a reboot was 15 million drops after it.
#[test]
fn a_reboot_near_the_end_of_32_bits_is_no_wrap() {
    let drop = |at: u64| if at < 5 { 4_280_000_000 } else { 0 };
    let text: String = (0..10).map(|at| gather([drop(at), 0, 0], 40, 10 * at)).collect();
    let found = source(&text);
    assert_eq!((totals(&found).get("drop"), found.gaps.resets), (None, 1));
    assert_eq!(advice(&text).0, Some(3));
}
