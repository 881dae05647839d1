//! Numbers and rows that cannot be what they seem: a report has the true totals, or it says what it
//! does not know. The recordings are of one truth each.

use std::io::Write as _;

use ctpulse::report::{Report, SourceReport};

use super::advice::advise_on;
use super::forms::{report_of, totals};
use crate::recordings::truth::{Form, ONLY_ALL, ONLY_CPUS, Row, SECOND_NS, Truth};

/// Stands for a value that the rows cannot have as an unsigned integer.
const PLACEHOLDER: u64 = 987_654_321_987;

fn is_table(row: &Row) -> bool {
    row.tag("cpu").is_none()
}

fn busy(seconds: usize) -> Truth {
    let mut random = fastrand::Rng::with_seed(13);
    Truth::of(2, seconds, move |_, _| {
        [random.u64(0..5), 0, random.u64(0..10), random.u64(0..5), random.u64(0..4), 0]
    })
}

/// Lookups all the time, and losses in some seconds only.
pub(super) fn losses(seconds: usize, lossy: std::ops::Range<usize>) -> Truth {
    Truth::of(2, seconds, move |second, cpu| {
        let lost = if cpu == 0 && lossy.contains(&second) { 5 } else { 0 };
        [lost, 0, (second as u64 * 7 + 3) % 10, lost, 0, 0]
    })
}

/// The rows of counters that began with 0.
fn from_zero(truth: &Truth) -> Vec<Row> {
    let mut rows = truth.rows(0);
    let first: Vec<_> = rows.iter().filter(|row| row.second() == 0).cloned().collect();
    for row in rows.iter_mut().filter(|row| !is_table(row)) {
        let base = first.iter().find(|first| first.tags == row.tags).unwrap();
        for ((name, value), (_, base)) in row.fields.iter_mut().zip(&base.fields) {
            *value -= if *name == "entries" { 0 } else { *base };
        }
    }
    rows
}

pub(super) fn text(rows: &[Row]) -> String {
    String::from_utf8(Form::Lines.write(rows)).unwrap()
}

pub(super) fn source(text: &str) -> SourceReport {
    let Report { mut sources, .. } = report_of(text.as_bytes());
    assert_eq!(sources.len(), 1);
    sources.remove(0)
}

pub(super) fn warnings(source: &SourceReport) -> String {
    source.unknown.join("\n")
}

pub(super) fn advice(text: &str) -> (Option<i32>, Vec<String>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    advise_on(file.path())
}

pub(super) fn assert_not_good(text: &str, what: &str) {
    let (code, titles) = advice(text);
    assert!(matches!(code, Some(1 | 3)), "{what}: {titles:?}");
    assert!(titles.iter().all(|title| !title.contains("nothing is wrong")), "{what}: {titles:?}");
}

/// Rows of a second each, whose counters count from `before` on.
fn counting(from_second: u64, before: u64) -> String {
    let row = |second: u64| {
        let (drop, time) =
            (before + second, (1_700_000_000 + from_second + second) * SECOND_NS as u64);
        format!(
            "conntrack,cpu=all,host=a drop={drop}i,early_drop=0i,found={drop}i,insert_failed={drop}i,\
             invalid={drop}i,search_restart=0i {time}\n\
             conntrack,host=a ip_conntrack_count=5,ip_conntrack_max=100 {time}\n"
        )
    };
    // More rows than are put in order.
    (0..600).map(row).collect()
}

/// The date of a host was a day ahead until it was started again: in the order of the times, the counters
/// seem to rise from the second part to the first.
#[test]
fn events_between_parts_in_another_order_are_doubted() {
    let (ahead, after) = (counting(86_400, 10_000), counting(0, 0));
    let doubt = "rows go back in time, and drop counted 9,401 in the gaps between the parts";
    let found = warnings(&source(&(ahead.clone() + &after)));
    assert!(found.contains(doubt), "{found}");
    let found = warnings(&source(&(after.clone() + &ahead)));
    assert!(!found.contains("rows go back"), "{found}");
    // One recording in two parts.
    let found = warnings(&source(&(counting(600, 600) + &after)));
    assert!(!found.contains("rows go back"), "{found}");
}

/// Two programs wrote the same series for some rows: the counters of their probes differ.
#[test]
fn causes_beyond_all_drops_are_doubted() {
    let rows = |of_probes: fn(u64) -> u64| -> String {
        let row = |second: u64| {
            let time = second * SECOND_NS as u64;
            let drop_table_full = of_probes(second);
            format!(
                "conntrack,cpu=all drop={second}i,drop_table_full={drop_table_full}i,invalid=0i {time}\n\
                 conntrack ip_conntrack_count=5,ip_conntrack_max=100 {time}\n"
            )
        };
        (0..200).map(row).collect()
    };
    let found = warnings(&source(&rows(|second| if second == 100 { 50_000 } else { second })));
    assert!(found.contains("packets more than drop"), "{found}");
    let found = warnings(&source(&rows(|second| second)));
    assert!(!found.contains("packets more than drop"), "{found}");
}

/// 4,000 drops in the last of twelve rows, which had no statistics, were "nothing is wrong".
#[test]
fn a_row_without_statistics_at_an_end_is_unknown() {
    for (seconds, missing) in [(12, 11), (12, 0), (300, 299), (3, 2)] {
        let truth = losses(seconds, missing..missing + 1);
        let mut rows = truth.rows(0);
        rows.retain(|row| is_table(row) || row.second() != missing as i64);
        let found = warnings(&source(&text(&rows)));
        assert!(found.contains("the statistics rows span"), "{seconds} {missing}: {found}");
        assert_not_good(&text(&rows), &format!("{seconds} {missing}"));
        let mut rows = truth.rows(0);
        for row in rows.iter_mut().filter(|row| row.second() == missing as i64) {
            row.fields.retain(|(name, _)| *name != "drop" && *name != "insert_failed");
        }
        let found = warnings(&source(&text(&rows)));
        assert!(found.contains("the rows with drop span"), "{seconds} {missing}: {found}");
        assert_not_good(&text(&rows), &format!("{seconds} {missing}"));
    }
}

/// `fillna(-1)` and the like: a peak was 36 a second (true: 6), and a gap was not seen.
#[test]
fn negative_numbers_are_no_values() {
    for which in [|_: &str| true, |name: &str| name == "drop"] {
        let truth = busy(300);
        let mut rows = truth.rows(0);
        for row in rows.iter_mut().filter(|row| (150..160).contains(&row.second())) {
            for (name, value) in &mut row.fields {
                if which(name) {
                    *value = PLACEHOLDER;
                }
            }
        }
        let text = text(&rows).replace(&format!("{PLACEHOLDER}i"), "-1i");
        let found = source(&text);
        assert_eq!(totals(&found), truth.totals());
        assert!(
            warnings(&found).contains("0 rows have values that no counter has, such as -1 ("),
            "{}",
            warnings(&found)
        );
        let peak = |name: &str| found.counters.iter().find(|c| c.name == name).unwrap().peak;
        assert!(peak("drop").unwrap() <= truth.most("drop") as f64 * 1.01, "{:?}", peak("drop"));
        assert_eq!(found.gaps.resets, 0);
    }
}

/// -1 as an unsigned number was 4,294,967,296 events.
#[test]
fn the_largest_unsigned_numbers_are_no_values() {
    for largest in [u64::from(u32::MAX), u64::MAX, i64::MAX as u64] {
        for (second, is_all) in [(150, false), (150, true), (299, false), (0, true)] {
            let truth = busy(300);
            let mut rows = truth.rows(0);
            for row in rows.iter_mut().filter(|row| row.second() == second && !is_table(row)) {
                for (name, value) in &mut row.fields {
                    if is_all || *name == "drop" {
                        *value = largest;
                    }
                }
            }
            let found = source(&text(&rows));
            let what = format!("{largest} {second}");
            let said = warnings(&found);
            assert!(said.contains("values that no counter has"), "{what}: {said}");
            let is_end = second != 150;
            for (name, total) in truth.totals() {
                let found = totals(&found)[&name];
                assert!(found == total || is_end && found <= total, "{what} {name}: {found}");
            }
            if is_end {
                assert!(said.contains("span"), "{what}: {said}");
            }
        }
    }
}

/// A machine that booted again, and whose `drop` came to what it had been: "did not move".
#[test]
fn a_counter_began_again_where_the_others_of_its_row_did() {
    for drops in [1000, 1005, 4000] {
        let truth = Truth::of(2, 100, |second, cpu| {
            let dropped = if second == 50 { drops } else { 0 };
            [dropped, 0, 7, 3 + cpu as u64, 1, 0]
        });
        let truth = truth.with_reset(50);
        let rows = truth.rows(0);
        let only = |keep: fn(&Row) -> bool| rows.iter().filter(|r| keep(r)).cloned().collect();
        let mut backwards = rows.clone();
        backwards.reverse();
        let behind_a_gap =
            rows.iter().filter(|row| !(45..50).contains(&row.second())).cloned().collect();
        for (which, rows) in [
            ("whole", rows.clone()),
            ("sum", only(ONLY_ALL)),
            ("CPUs", only(ONLY_CPUS)),
            ("backwards", backwards),
            ("gap", behind_a_gap),
        ] {
            let found = source(&text(&rows));
            let expected = truth.totals()["drop"];
            assert_eq!(totals(&found).get("drop"), Some(&expected), "{which} {drops}");
        }
    }
}

/// A counter that is 0 after a reset was taken for a row of `fill(0)`, and its events were lost.
#[test]
fn a_counter_is_0_after_a_reset_of_others() {
    let truth = Truth::of(1, 100, |second, _| {
        [if second < 50 { 0 } else { u64::from(second == 60) * 2000 }, 0, 7, 3, 1, 0]
    });
    let truth = truth.with_reset(50);
    let found = source(&text(&truth.rows(0)));
    assert_eq!(totals(&found), truth.totals(), "{}", warnings(&found));
    assert!(!warnings(&found).contains("fill(0)"), "{}", warnings(&found));
}

/// The lower one of two machines lost 900 packets, and nothing was said.
#[test]
fn a_second_source_with_the_same_series_is_said_from_its_first_row_on() {
    for (seconds, from) in [(300, 288), (300, 299), (3, 0)] {
        let mut rows = busy(seconds).rows(0);
        let lower = from_zero(&losses(seconds, 0..seconds));
        rows.extend(lower.into_iter().filter(|row| row.second() >= from));
        rows.sort_by_key(|row| row.time_ns);
        let text = text(&rows);
        let said = warnings(&source(&text));
        assert!(said.contains("rows of several sources"), "{seconds} {from}: {said}");
        assert_not_good(&text, &format!("{seconds} {from}"));
    }
}

/// Rows without a tag `cpu` of what are CPUs: drops before the recording were "the table is too
/// small".
#[test]
fn different_values_at_the_first_time_are_no_events() {
    let truth = Truth::of(4, 60, |_, cpu| [0, 0, 7 - cpu as u64, 0, 1, 0]);
    let mut rows: Vec<_> = truth.rows(0).into_iter().filter(ONLY_CPUS).collect();
    for row in &mut rows {
        let cpu: u64 = row.tag("cpu").unwrap()[3..].parse().unwrap();
        row.fields
            .iter_mut()
            .filter(|(name, _)| *name == "drop")
            .for_each(|(_, value)| *value += 100 * (4 - cpu));
        row.tags.retain(|(key, _)| *key != "cpu");
    }
    let text = text(&rows);
    let found = source(&text);
    assert_eq!(totals(&found).get("drop"), None, "{}", warnings(&found));
    assert_eq!(advice(&text).0, Some(3));
}

/// The rows with another tag from a second on.
fn renamed(mut rows: Vec<Row>, from: i64, change: impl Fn(&mut Row)) -> String {
    rows.iter_mut().filter(|row| row.second() >= from).for_each(change);
    text(&rows)
}

/// 1,200 drops between the last row of a pod and the first one of the next were "nothing is wrong".
#[test]
fn a_source_that_goes_on_under_another_name_is_said() {
    let truth = losses(300, 150..151);
    let pod = |row: &mut Row| row.tags.push(("pod", "b".to_owned()));
    let host = |row: &mut Row| {
        row.tags.iter_mut().filter(|(key, _)| *key == "host").for_each(|(_, value)| {
            *value = "gw.example.org".to_owned();
        });
    };
    let later = |by: i64| move |row: &mut Row| row.time_ns += by * SECOND_NS;
    let minute = |row: &mut Row| row.tags.push(("minute", (row.second() / 60).to_string()));
    let zero = from_zero(&truth);
    for (which, text) in [
        ("pod", renamed(zero.clone(), 150, pod)),
        ("host", renamed(zero.clone(), 150, host)),
        (
            "late",
            renamed(zero.clone(), 150, |row| {
                pod(row);
                later(90)(row);
            }),
        ),
        (
            "late, above 0",
            renamed(truth.rows(0), 150, |row| {
                pod(row);
                later(1200)(row);
            }),
        ),
    ] {
        let sources = report_of(text.as_bytes()).sources;
        let said: Vec<_> = sources.iter().map(warnings).collect();
        assert!(said.iter().all(|said| said.contains("drop 5")), "{which}: {said:?}");
        assert_not_good(&text, which);
    }
    let truth = losses(300, 120..121);
    let text = renamed(from_zero(&truth), 0, minute);
    let sources = report_of(text.as_bytes()).sources;
    assert!(sources.iter().any(|source| warnings(source).contains("drop 5")));
    // Two machines and two namespaces are no single one.
    for (key, value) in [("host", "fw"), ("netns", "b")] {
        let other = |row: &mut Row| {
            row.tags.retain(|(name, _)| *name != key);
            row.tags.push((key, value.to_owned()));
        };
        let mut rows = losses(300, 0..0).rows(0);
        if key == "netns" {
            rows.iter_mut().for_each(|row| row.tags.push(("netns", "a".to_owned())));
        }
        let text = renamed(rows, 150, other);
        let sources = report_of(text.as_bytes()).sources;
        assert!(sources.iter().all(|source| source.unknown.is_empty()), "{key}");
    }
}

/// Numbers with six digits (`%.5e`) or of 32 bits lost 20 drops: "did not move".
#[test]
fn values_that_were_rounded_are_said() {
    let truth = busy(300);
    let mut rows = truth.rows(0);
    rows.retain(|row| !ONLY_CPUS(row));
    for row in &mut rows {
        for (_, value) in row.fields.iter_mut().filter(|(name, _)| !name.starts_with("ip_")) {
            *value += 40_123_457;
        }
    }
    let exact = text(&rows);
    assert_eq!(totals(&source(&exact)), truth.totals());
    assert_eq!(source(&exact).unknown, [] as [&str; 0]);
    let rounded = |round: fn(u64) -> u64| {
        let mut rows = rows.clone();
        for (_, value) in rows.iter_mut().flat_map(|row| &mut row.fields) {
            *value = round(*value);
        }
        text(&rows)
    };
    let of_six_digits = rounded(|value| if value < 1_000_000 { value } else { value / 100 * 100 });
    let single = rounded(|value| value as f32 as u64);
    for text in [of_six_digits, single] {
        let said = warnings(&source(&text));
        assert!(said.contains("they were rounded"), "{said}");
        assert_not_good(&text, "rounded");
    }
}

/// Separators of thousands and hexadecimal numbers, as text.
#[test]
fn numbers_as_text_that_are_no_counts_are_said() {
    let truth = busy(300);
    let json = String::from_utf8(Form::Json.write(&truth.rows(0))).unwrap();
    let of_drop = |change: fn(u64) -> String| {
        let lines = json.lines().map(|line| {
            let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(value) = row["fields"].get_mut("drop") {
                *value = change(value.as_u64().unwrap() + 1_000_000).into();
            }
            format!("{row}\n")
        });
        lines.collect::<String>()
    };
    for (change, sentence) in [
        (
            (|value| format!("{}.{:03}", value / 1000, value % 1000)) as fn(u64) -> String,
            "fractions",
        ),
        (|value| format!("{},{:03}", value / 1000, value % 1000), "are text, such as drop="),
        (|value| format!("{value:08x}"), "are text, such as drop="),
        (|_| "n/a".to_owned(), "are text, such as drop=\"n/a\""),
    ] {
        let text = of_drop(change);
        let said = warnings(&source(&text));
        assert!(said.contains(sentence), "{sentence}: {said}");
        assert_not_good(&text, sentence);
    }
}

/// Rates of an aggregator, without what ctpulse writes beside them: 2,000 drops "did not move".
#[test]
fn rates_of_another_program_are_unknown() {
    let mut text = String::new();
    for second in 0..300 {
        let fields = "drop_rate=0,early_drop_rate=0,insert_failed_rate=0,invalid_rate=0";
        text += &format!("conntrack,cpu=all {fields} {}\n", 1_700_000_000 + 10 * second);
        let table = "ip_conntrack_count=5,ip_conntrack_max=4000";
        text += &format!("conntrack {table} {}\n", 1_700_000_000 + 10 * second);
    }
    assert!(warnings(&source(&text)).contains("in rates only, without the peaks"));
    assert_not_good(&text, "rates");
}

/// The sum over 8 CPUs of an entry count was compared with the limit: 122 %.
#[test]
fn a_sum_of_entries_is_not_compared_with_the_limit() {
    let truth = busy(100);
    for field in ["entries", "entries_max"] {
        let mut rows: Vec<_> = truth.rows(0).into_iter().filter(|row| !ONLY_CPUS(row)).collect();
        for row in &mut rows {
            row.fields.retain(|(name, _)| *name != "ip_conntrack_count");
            for (name, value) in row.fields.iter_mut().filter(|(name, _)| *name == "entries") {
                (*name, *value) = (field, 5000);
            }
        }
        let text = text(&rows);
        let found = source(&text);
        assert!(found.fill.is_none_or(|fill| fill.fullest.is_none()), "{field}");
        assert_not_good(&text, field);
    }
}

/// Rows of statistics only when something changed, and of the table each second.
#[test]
fn much_rarer_statistics_are_said() {
    let mut rows = losses(3000, 0..3000).rows(0);
    rows.retain(|row| is_table(row) || row.second() % 600 == 0);
    let said = warnings(&source(&text(&rows)));
    assert!(said.contains("rates and peaks are averages over 10 min"), "{said}");
    assert_not_good(&text(&rows), "rare");
}

/// Counters of two kinds of CPU tags.
#[test]
fn a_tag_with_the_number_of_a_cpu_is_one() {
    let truth = busy(100);
    let rows = truth.rows(0).into_iter().filter(ONLY_CPUS).map(|mut row| {
        for (_, value) in row.tags.iter_mut().filter(|(key, _)| *key == "cpu") {
            *value = value.replace("cpu", "");
        }
        row
    });
    let found = source(&text(&rows.collect::<Vec<_>>()));
    assert_eq!((totals(&found), found.cpus.len()), (truth.totals(), 2));
}

/// One row each with a wrong digit of a counter that wraps each half hour.
#[test]
fn a_counter_that_wraps_while_the_others_rise_wrapped() {
    let per_row = 700_000_000;
    let truth = Truth::of(1, 60, |_, _| [1, 0, per_row, 1, 3, 0]);
    let mut rows: Vec<_> = truth.rows(0).into_iter().filter(|row| !ONLY_CPUS(row)).collect();
    for row in &mut rows {
        row.time_ns += 599 * (row.time_ns - crate::recordings::truth::START_NS);
        row.fields.iter_mut().for_each(|(_, value)| *value %= 1 << 32);
    }
    let found = source(&text(&rows));
    assert_eq!(totals(&found), truth.totals(), "{}", warnings(&found));
    assert_eq!((found.gaps.resets, found.unknown.len()), (0, 0), "{}", warnings(&found));
}

/// A gather of another host with the same tags was 800 drops and a peak, without a word.
#[test]
fn rows_of_another_source_among_others_are_a_warning() {
    let row = |second: u64, base: u64| {
        let [drop, failed, invalid] = [base + second / 20, base + second / 20, 2 * base + second];
        let fields =
            format!("drop={drop}i,insert_failed={failed}i,invalid={invalid}i,found={second}i");
        format!("conntrack,cpu=all,host=gw {fields},early_drop=0i {}\n", 1_795_590_600 + second)
    };
    let of = |base: &dyn Fn(u64) -> u64| -> SourceReport {
        source(&(0..200).map(|second| row(second, base(second))).collect::<String>())
    };
    let is_told =
        |source: &SourceReport| warnings(source).contains("were back where they had been");
    assert!(!is_told(&of(&|_| 800)));
    // One gather, and thirty, of a host with less; one of a host with more.
    for (rows, base) in [(100..101, 3), (100..130, 3), (100..101, 90_000)] {
        let found = of(&|second| if rows.contains(&second) { base } else { 800 });
        assert!(is_told(&found), "{rows:?} {base}: {}", warnings(&found));
        assert!(!warnings(&found).contains("lower bounds"), "{}", warnings(&found));
    }
    // The counters began again, and have come further than before.
    let again = of(&|second| if second < 100 { 800 } else { (second - 100) * 20 });
    assert!(!is_told(&again), "{}", warnings(&again));
}
