//! Rows that are not those of the host: a query made them up, a program read them twice, or a tag of them
//! changes with the day.

use super::doubts::{advice, source, warnings};
use super::forms::{report_of, totals};

const START_S: u64 = 1_795_590_600;

/// A host that loses packets from the gather 40 to the gather 60: `drop`, `found`, `invalid` and `searched`
/// of each gather, and the entries.
fn gathers(number: usize) -> Vec<[u64; 5]> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut values = [500, 90_000, 4000, 70_000, 5000];
    let gather = |at| {
        let lost = if (40..60).contains(&at) { random.u64(5..40) } else { 0 };
        values[0] += lost;
        values[1] += 9 * lost + random.u64(20..50);
        values[2] += random.u64(5..20);
        values[3] += random.u64(0..3);
        values[4] = 5000 + random.u64(0..300);
        values
    };
    (0..number).map(gather).collect()
}

/// A gather at a time, in nanoseconds after the start.
fn row(tags: &str, [drop, found, invalid, searched, entries]: [u64; 5], after_ns: u64) -> String {
    let time = START_S * 1_000_000_000 + after_ns;
    format!(
        "conntrack,cpu=all{tags} drop={drop}i,insert_failed={drop}i,early_drop=0i,found={found}i,\
         invalid={invalid}i,searched={searched}i,new=0i,delete=0i,entries={entries}i {time}\n\
         conntrack{tags} ip_conntrack_count={entries}i,ip_conntrack_max=65536i {time}\n"
    )
}

const INTERVAL_NS: u64 = 10_000_000_000;

fn rows(gathers: &[[u64; 5]]) -> String {
    (0..).zip(gathers).map(|(at, values)| row("", *values, at * INTERVAL_NS)).collect()
}

/// 4,320 drops within 5 s were 6 a second for 12 minutes, in which no row was.
#[test]
fn rows_that_a_query_interpolates_are_said() {
    let mut all = gathers(100);
    assert_eq!(source(&rows(&all)).unknown, [""; 0]);
    // Telegraf was down, as `fill(linear)` fills in.
    let (first, last) = (all[35], all[65]);
    for (at, values) in all.iter_mut().enumerate().take(65).skip(36) {
        let between = |(first, last): (u64, u64)| {
            (first as f64 + (last as f64 - first as f64) * (at - 35) as f64 / 30.0) as u64
        };
        *values = std::array::from_fn(|field| between((first[field], last[field])));
    }
    let found = source(&rows(&all));
    let sentence = "in 30 rows every counter and the entries rose by the same numbers";
    assert!(warnings(&found).contains(sentence), "{}", warnings(&found));
    let (_, titles) = advice(&rows(&all));
    assert!(titles.iter().any(|title| title.starts_with("??")), "{titles:?}");
    // Few rows are so by chance, and a load of a generator is so all the time.
    let few = [&all[..43], &gathers(100)[66..]].concat();
    assert!(!warnings(&source(&rows(&few))).contains("by the same numbers"));
    let steady: Vec<_> = (0..100).map(|at| [at * 10, at * 90, at * 20, at, 5000]).collect();
    assert_eq!(source(&rows(&steady)).unknown, [""; 0]);
}

/// A program that follows a file, and gives rows the time at which it reads them, was restarted: 530 drops
/// were counted twice, for certain.
#[test]
fn rows_that_are_read_twice_are_said() {
    let all = gathers(100);
    for first in [0, 30] {
        let mut text = rows(&all[..80]);
        let again_ns = 80 * INTERVAL_NS - 5_000_000;
        for (at, values) in (0..).zip(&all[first..80]) {
            text += &row("", *values, again_ns + at * 30_000);
        }
        for (at, values) in (80..).zip(&all[80..]) {
            text += &row("", *values, at * INTERVAL_NS);
        }
        let found = source(&text);
        let said = warnings(&found);
        assert!(said.contains("repeat earlier ones, as of a file that is read twice"), "{said}");
        let (events, doubted) = (totals(&found)["drop"], found.doubts.events["drop"]);
        let truth = (all[79][0] - all[0][0]) as f64;
        assert!(events > truth, "{events} {truth}");
        // Those that were counted since the fall.
        assert_eq!(doubted, all[79][0] as f64);
    }
    // A host that was restarted comes to the old values one by one.
    let restarted: Vec<_> = all[..80]
        .iter()
        .copied()
        .chain(all.iter().map(|values| values.map(|value| value - value / 3)))
        .collect();
    let said = warnings(&source(&rows(&restarted)));
    assert!(!said.contains("repeat earlier ones"), "{said}");
    // Idle hosts under one name take turns.
    let idle = [all[79], all[79].map(|value| value * 9 / 10)];
    let turns: Vec<_> = (0..40).map(|at| idle[at % 2]).collect();
    let said = warnings(&source(&rows(&turns)));
    assert!(!said.contains("repeat earlier ones"), "{said}");
}

/// A tag with the day of the week made seven sources of one, and a restart let the events that were in several
/// of them be certain.
#[test]
fn a_tag_that_changes_with_the_day_is_said_beside_a_restart() {
    let hosts = [0, 1].map(|_| gathers(120));
    let mut text = String::new();
    let mut at = 0;
    // Six days of 20 gathers, a restart in the middle of a night, and six more.
    for (restarts, gathers) in hosts.iter().enumerate() {
        for (number, values) in gathers.iter().enumerate() {
            let day = ["Mon", "Tue"][number / 20 % 2];
            let begun = values.map(|value| if restarts == 0 { value } else { value - value / 4 });
            text += &row(&format!(",weekday={day}"), begun, at * INTERVAL_NS);
            at += 1;
        }
    }
    let report = report_of(text.as_bytes());
    assert_eq!(report.sources.len(), 2);
    for source in &report.sources {
        let said = warnings(source);
        assert!(said.contains("take turns as those of one source"), "{said}");
    }
}
