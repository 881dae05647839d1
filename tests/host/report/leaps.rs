//! Counters that leap or fall together: the rows of single CPUs show whether it is a burst, a wrap or
//! another source.

use super::doubts::{advice, source, warnings};
use crate::recordings::START_NS;

const LEAP: &str = "all counters that are above 0 rose at once";

/// The value of one counter on each CPU at a second.
type Values<'a> = &'a dyn Fn(u64, usize) -> u64;

/// Two minutes of gathers of so many CPUs as Telegraf's plugin writes them; each of the counters in `names` has
/// the values that `of` gives.
fn gathers(cpus: usize, names: &[&str], of: Values<'_>) -> String {
    let mut text = String::new();
    for second in 0..120 {
        let time = START_NS as u64 / 1_000_000_000 + second;
        let mut row = |cpu: &str, value: u64| {
            let all = ["drop", "early_drop", "found", "insert_failed", "invalid"];
            let fields = all.map(|name| {
                let value = if names.contains(&name) { value } else { 0 };
                format!("{name}={value}i")
            });
            text += &format!("conntrack,cpu={cpu},host=gw {} {time}\n", fields.join(","));
        };
        row("all", (0..cpus).map(|cpu| of(second, cpu)).sum());
        (0..cpus).for_each(|cpu| row(&format!("cpu{cpu}"), of(second, cpu)));
        text +=
            &format!("conntrack,host=gw ip_conntrack_count=1000,ip_conntrack_max=262144 {time}\n");
    }
    text
}

fn total(text: &str, name: &str) -> Option<f64> {
    source(text).counters.iter().find(|counter| counter.name == name)?.total
}

/// Each finding of a quiet host with one burst was in doubt, although all but one of its CPUs stood still.
#[test]
fn a_burst_on_one_cpu_is_no_other_source() {
    let names = ["drop", "found", "insert_failed", "invalid"];
    for cpus in [2, 4, 16] {
        let burst = |second, cpu| if second >= 60 && cpu == 1 { 620 } else { 20 };
        let text = gathers(cpus, &names, &burst);
        let found = source(&text);
        assert_eq!(found.unknown, [] as [&str; 0]);
        assert!(found.doubts.events.is_empty(), "{:?}", found.doubts);
        assert_eq!(total(&text, "drop"), Some(600.0));
        let (code, titles) = advice(&text);
        assert_eq!(code, Some(1), "{titles:?}");
        assert!(titles.iter().all(|title| !title.starts_with("??")), "{titles:?}");
    }
    // Another host has other values on each CPU.
    let other = |second, cpu| if second >= 60 { 9000 + 7 * cpu as u64 } else { 20 + cpu as u64 };
    assert!(warnings(&source(&gathers(4, &names, &other))).contains(LEAP));
}

/// The drops of all years of a second host were 18,109 drops, where fewer than four counters are above 0.
#[test]
fn a_source_with_one_counter_is_another_one_if_all_cpus_leap() {
    let failover = |second, cpu| {
        let before = if second < 60 { 50 } else { 9000 };
        before + (second * 7 + cpu as u64) / 8
    };
    for names in [&["drop"][..], &["drop", "insert_failed"]] {
        let text = gathers(2, names, &failover);
        let found = source(&text);
        assert!(warnings(&found).contains(LEAP), "{}", warnings(&found));
        let (events, total) = (found.doubts.events["drop"], total(&text, "drop").unwrap());
        assert!(events >= 17_900.0 && total - events >= 200.0, "{events} of {total}");
    }
    // One of them goes on.
    let burst = |second, cpu| if cpu == 0 { failover(second, cpu) } else { second };
    assert_eq!(source(&gathers(2, &["drop"], &burst)).unknown, [] as [&str; 0]);
}

/// `drop` and `insert_failed` are one number from Linux 5.10 on: their wrap was "a failover".
#[test]
fn equal_counters_that_wrap_together_go_on() {
    let near_the_end = |second: u64, cpu: usize| {
        let start = (1u64 << 32) - if cpu == 0 { 300 } else { 900 };
        (start + 30 * second + second % 3) % (1 << 32)
    };
    for cpus in [1, 2] {
        let mut text = gathers(cpus, &["drop", "insert_failed"], &near_the_end);
        for second in 0..120 {
            let time = START_NS as u64 / 1_000_000_000 + second;
            let all = format!("cpu=all,host=gw invalid={}i {time}\n", 50_000 + 17 * second);
            text += &format!("conntrack,{all}");
        }
        let text = text.replace(",invalid=0i", "");
        let found = source(&text);
        assert_eq!(found.unknown, [] as [&str; 0], "{cpus}");
        assert!(found.doubts.events.is_empty(), "{cpus}: {:?}", found.doubts);
        let events = cpus as f64 * (30.0 * 119.0 + 2.0);
        assert_eq!(total(&text, "drop"), Some(events), "{cpus}");
    }
}
