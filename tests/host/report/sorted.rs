//! Rows in the order of their text, among which those with more digits are far from their time, and rows with
//! wrong times that have more than all others.

use super::doubts::{advice, source, warnings};
use crate::recordings::START_NS;

/// A row some seconds behind the start.
fn row(second: u64, drop: u64) -> String {
    let time = START_NS as u64 / 1_000_000_000 + second;
    format!(
        "conntrack,cpu=all,host=gw drop={drop}i,early_drop=0i,insert_failed=0i,invalid=0i {time}\n"
    )
}

fn total(text: &str) -> Option<f64> {
    source(text).counters.iter().find(|counter| counter.name == "drop")?.total
}

/// `drop=1089i` is in front of `drop=108i`: the last row of the recording was "a time that is far from those
/// around", and 9 drops of 989 were certain.
#[test]
fn the_row_with_all_events_is_not_left_out() {
    let short: Vec<_> =
        (0..10).map(|second| row(second, 100 + second)).chain([row(7200, 1089)]).collect();
    // Three hours with a burst at their end.
    let drops = |second: u64| match second {
        0..2000 => 100 + second / 200,
        2000..10_800 => 109,
        _ => 1089,
    };
    let long = (0..=10_800).map(|second| row(second, drops(second))).collect();
    for mut rows in [short, long] {
        assert_eq!(total(&rows.concat()), Some(989.0));
        rows.sort();
        let text = rows.concat();
        assert_eq!(total(&text), Some(989.0), "{}", warnings(&source(&text)));
        assert!(!warnings(&source(&text)).contains("left out"), "{}", warnings(&source(&text)));
    }
}

/// A row that was left out had all events but ten, and these were certain.
#[test]
fn events_that_only_a_row_that_was_left_out_has_are_doubted() {
    let four_years = 4 * 365 * 86_400;
    let with = |drop: u64| -> String {
        let of = |second: u64| match second {
            20 => row(second + four_years, drop),
            _ => row(second, 100 + second / 4),
        };
        (0..40).map(of).collect()
    };
    let text = with(5000);
    let found = source(&text);
    let said = warnings(&found);
    let sentence = "drop is 5,000 in a row that was left out for its time, 4,891 above those of all other rows";
    assert!(said.contains(sentence), "{said}");
    assert_eq!((total(&text), found.doubts.events.get("drop")), (Some(9.0), Some(&9.0)));
    let (code, titles) = advice(&text);
    assert_eq!(code, Some(3), "{titles:?}");
    assert!(titles.iter().all(|title| !title.starts_with("!!")), "{titles:?}");
    // The row of that time with a wrong year.
    let text = with(105);
    assert!(!warnings(&source(&text)).contains("above those"), "{}", warnings(&source(&text)));
    assert_eq!(advice(&text).0, Some(1));
}
