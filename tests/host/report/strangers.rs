//! Rows of another source, of another program, of another kernel or with wrong times among those of one
//! source: the report has the true totals or names the doubt, and no advice is certain that is in doubt.

use ctpulse::report::SourceReport;

use super::doubts::{advice, source, warnings};
use super::forms::{report_of, totals};
use crate::recordings::truth::{Form, ONLY_ALL, ONLY_TABLE, Row, SECOND_NS, START_NS, Truth};
use crate::support::ctpulse;

const UNKNOWN: &str = "??  some of it is unknown: losses may have gone unnoticed";

/// The counters of one machine at a time: all losses were long ago.
#[derive(Clone, Copy)]
struct Machine {
    base: u64,
    /// Drops in each second.
    drops: u64,
    entries: u64,
    /// The second from which on it counts.
    since: u64,
}

const OWN: Machine = Machine { base: 800, drops: 0, entries: 3000, since: 0 };
const HIGHER: Machine = Machine { base: 90_000, ..OWN };
const LOWER: Machine = Machine { base: 9, ..OWN };

impl Machine {
    fn gather(&self, second: u64) -> String {
        let Self { base, drops, entries, since } = *self;
        let time = START_NS as u64 / 1_000_000_000 + second;
        let up = second - since;
        let (lost, found, invalid) = (base + drops * up, 50 * base + 7 * up, 30 * base + up);
        format!(
            "conntrack,cpu=all,host=gw drop={lost}i,early_drop={base}i,found={found}i,\
             insert_failed={lost}i,invalid={invalid}i,search_restart={base}i {time}\n\
             conntrack,host=gw ip_conntrack_count={entries},ip_conntrack_max=65536 {time}\n"
        )
    }
}

/// Two minutes of gathers of the machine that `of` gives for each second.
fn gathers(of: impl Fn(u64) -> Machine) -> String {
    (0..120).map(|second| of(second).gather(second)).collect()
}

/// The drops of all years of a host were "!! packets are dropped" behind a warning that they may be another
/// host's, or 800 drops without a word where its row was the first or the last one.
#[test]
fn losses_that_rows_of_another_source_bring_are_unknown() {
    for (which, other, seconds) in [
        ("one row", LOWER, 60..61),
        ("one higher row", HIGHER, 60..61),
        ("thirty rows", LOWER, 60..90),
        ("the first row", HIGHER, 0..1),
        ("the last row", LOWER, 119..120),
        ("the second half", LOWER, 60..120),
        ("the first half", HIGHER, 0..60),
    ] {
        let text = gathers(|second| if seconds.contains(&second) { other } else { OWN });
        let said = warnings(&source(&text));
        assert!(said.contains("another source"), "{which}: {said}");
        let (code, titles) = advice(&text);
        assert_eq!(code, Some(3), "{which}: {titles:?}");
        assert!(titles.iter().all(|title| !title.starts_with("!!")), "{which}: {titles:?}");
        assert!(titles.contains(&UNKNOWN.to_owned()), "{which}: {titles:?}");
        // Losses in each second are certain all the same.
        let lossy = |machine| Machine { drops: 3, ..machine };
        let text = gathers(|second| lossy(if seconds.contains(&second) { other } else { OWN }));
        let (code, titles) = advice(&text);
        assert_eq!(code, Some(1), "{which}: {titles:?}");
    }
    let (code, titles) = advice(&gathers(|_| OWN));
    assert_eq!(code, Some(0), "{titles:?}");
}

/// A row of another source that is lower and the first one, or higher and the last one: no counter falls.
#[test]
fn a_leap_of_all_counters_is_a_burst_or_another_source() {
    for (other, seconds) in [(LOWER, 0..1), (HIGHER, 119..120), (LOWER, 0..60)] {
        let text = gathers(|second| if seconds.contains(&second) { other } else { OWN });
        let said = warnings(&source(&text));
        assert!(said.contains("all counters that are above 0 rose at once"), "{seconds:?}: {said}");
        assert!(matches!(advice(&text).0, Some(1 | 3)));
    }
    // A burst of drops leaves other counters as they are.
    let burst = gathers(|second| if second < 60 { OWN } else { Machine { drops: 2000, ..OWN } });
    assert_eq!(source(&burst).unknown, [] as [&str; 0]);
}

/// Counters of a container that was started again are those of its first second.
#[test]
fn counters_that_began_again_at_once_are_events() {
    let before = Machine { drops: 2, entries: 30, ..OWN };
    let behind = Machine { base: 0, since: 59, ..before };
    let again = |second: u64| if second < 60 { before } else { behind }.gather(second);
    let text: String = (0..120).map(again).collect();
    let said = warnings(&source(&text));
    assert!(!said.contains("another source"), "{said}");
    assert_eq!(advice(&text).0, Some(1));
}

fn busy(seconds: usize) -> Truth {
    let mut random = fastrand::Rng::with_seed(31);
    Truth::of(2, seconds, move |_, _| {
        [random.u64(0..5), 0, random.u64(0..10), random.u64(0..5), random.u64(0..4), 0]
    })
}

fn report_of_rows(rows: &[Row]) -> SourceReport {
    source(&String::from_utf8(Form::Lines.write(rows)).unwrap())
}

/// A row of 2038 was the last one of the recording: 374 million rows were missing, and 10,000 drops.
#[test]
fn a_single_row_with_a_far_time_is_left_out() {
    let wrong = [
        12 * SECOND_NS,
        2_147_483_000 * SECOND_NS,
        START_NS + 30 * 86_400 * SECOND_NS,
        START_NS - 30 * 86_400 * SECOND_NS,
    ];
    // Short and longer than the reordering window; in the middle and at an end.
    for (seconds, at, wrong) in
        [(60, 30, &wrong[..]), (60, 1, &wrong[..2]), (60, 8, &wrong), (3000, 1500, &wrong)]
    {
        let truth = busy(seconds);
        for wrong_ns in wrong.iter().copied() {
            for is_whole in [true, false] {
                let mut rows: Vec<_> = truth
                    .rows(0)
                    .into_iter()
                    .filter(|row| ONLY_ALL(row) || ONLY_TABLE(row))
                    .collect();
                let is_it = |row: &&mut Row| row.second() == at && (is_whole || ONLY_ALL(row));
                rows.iter_mut().filter(is_it).for_each(|row| row.time_ns = wrong_ns);
                let found = report_of_rows(&rows);
                let what = format!("{seconds} {at} {wrong_ns} {is_whole}: {}", warnings(&found));
                assert_eq!(totals(&found), truth.totals(), "{what}");
                assert!(
                    what.contains("with a time that is far from those of the rows around"),
                    "{what}"
                );
                assert_eq!(found.interval_seconds.unwrap().round(), 1.0, "{what}");
                assert_eq!(
                    (found.gaps.gaps, found.gaps.missing, found.gaps.resets),
                    (1, 1, 0),
                    "{what}"
                );
                assert_eq!((found.to_ns - found.from_ns) / SECOND_NS, seconds as i64 - 1, "{what}");
            }
        }
    }
}

/// A gather 1,000 s late was 99 drops of 19, for certain: those from 0 on.
#[test]
fn a_single_gather_with_a_time_that_is_apart_is_left_out() {
    let truth = busy(60);
    let is_whole = |row: &Row| ONLY_ALL(row) || ONLY_TABLE(row);
    let rows: Vec<_> = truth.rows(0).into_iter().filter(is_whole).collect();
    let table_first: Vec<_> = rows.chunks(2).flat_map(|gather| gather.iter().rev()).collect();
    let table_first: Vec<_> = table_first.into_iter().cloned().collect();
    let only_all: Vec<_> = rows.iter().filter(|row| ONLY_ALL(row)).cloned().collect();
    for (what, rows) in [("", &rows), ("table first", &table_first), ("no table", &only_all)] {
        for by in [1000, 100, 20, -20, -100, -1000] {
            let mut rows = rows.clone();
            let wrong = rows.iter_mut().filter(|row| row.second() == 30);
            wrong.for_each(|row| row.time_ns += by * SECOND_NS);
            let found = report_of_rows(&rows);
            let what = format!("{what} {by}: {}", warnings(&found));
            assert_eq!(totals(&found), truth.totals(), "{what}");
            assert!(what.contains("with a time that is far from"), "{what}");
            let gaps = (found.gaps.gaps, found.gaps.missing, found.gaps.resets);
            assert_eq!(gaps, (1, 1, 0), "{what}");
        }
    }
    // A row behind an outage has the right time, and one that came late belongs elsewhere.
    for without in [30..50, 30..31] {
        let mut rows = rows.clone();
        rows.retain(|row| !without.contains(&row.second()));
        let found = report_of_rows(&rows);
        assert_eq!(totals(&found), truth.totals());
        let missing = (without.end - without.start) as u64;
        assert_eq!(found.gaps.missing, missing, "{}", warnings(&found));
    }
    let mut late = rows.clone();
    late[60..].rotate_right(40);
    let found = report_of_rows(&late);
    assert_eq!((totals(&found), found.gaps.missing), (truth.totals(), 0), "{}", warnings(&found));
    // Nothing moved: each order is right.
    let still = Truth::of(2, 60, |_, _| [0; 6]);
    let mut rows: Vec<_> = still.rows(0).into_iter().filter(ONLY_ALL).collect();
    rows.iter_mut().filter(|row| row.second() == 30).for_each(|row| row.time_ns += 20_500_000_000);
    let found = report_of_rows(&rows);
    assert_eq!(found.emissions, 60);
    assert!(!warnings(&found).contains("far from"), "{}", warnings(&found));
}

/// The same where there is no row on the other side.
#[test]
fn a_far_time_at_an_end_is_left_out_if_it_is_years() {
    let truth = busy(60);
    let at_end = |at: i64, by_ns: i64| {
        let mut rows: Vec<_> = truth.rows(0).into_iter().filter(ONLY_ALL).collect();
        rows.iter_mut().filter(|row| row.second() == at).for_each(|row| row.time_ns += by_ns);
        report_of_rows(&rows)
    };
    let years = 4 * 365 * 86_400 * SECOND_NS;
    for (at, by_ns) in [(0, years), (0, -years), (59, years)] {
        let found = at_end(at, by_ns);
        let said = warnings(&found);
        assert!(said.contains("1 row with a time that is far from"), "{at} {by_ns}: {said}");
        assert_eq!((found.gaps.gaps, found.emissions), (0, 59), "{at} {by_ns}: {said}");
    }
    // A machine that was off for two days.
    let found = at_end(59, 2 * 86_400 * SECOND_NS);
    assert_eq!((found.gaps.gaps, found.emissions), (1, 60), "{}", warnings(&found));
}

/// Two recordings whose rows take turns are no single wrong times.
#[test]
fn rows_of_two_times_that_take_turns_are_kept() {
    let truth = busy(600);
    let rows: Vec<_> = truth.rows(0).into_iter().filter(ONLY_ALL).collect();
    let (early, late) = rows.split_at(300);
    let later = late.iter().map(|row| row.clone().later(7 * 86_400 * SECOND_NS));
    let turns: Vec<Row> = early.iter().cloned().zip(later).flat_map(|(a, b)| [a, b]).collect();
    let found = report_of_rows(&turns);
    assert!(!found.unknown.is_empty());
    assert!(found.emissions > 500, "{}: {}", found.emissions, warnings(&found));
}

/// `sort` puts rows in the order of their text: "2,480 table rows missing" were all there.
#[test]
fn a_file_that_was_sorted_as_text_has_all_rows() {
    let mut count = 0;
    let row = |second: u64| {
        count = (count * 7 + 13) % 997;
        let time = 1_795_590_600 + second;
        let losses = "drop=800i,early_drop=1200i";
        [
            format!("conntrack,cpu=all {losses},found={}i,invalid={second}i {time}\n", second * 9),
            format!("conntrack ip_conntrack_count={count},ip_conntrack_max=65536 {time}\n"),
        ]
    };
    let mut lines: Vec<String> = (0..9000).flat_map(row).collect();
    lines.sort();
    let found = source(&lines.concat());
    let said = warnings(&found);
    assert!(!said.contains("table row"), "{said}");
    assert!(said.contains("came more than 1024 rows late"), "{said}");
}

/// Repeated rows behind a reset "could not be ordered", and nothing named the reason.
#[test]
fn a_file_that_is_given_twice_is_named() {
    let truth = busy(3000).with_reset(1500);
    let rows: Vec<_> = truth.rows(0).into_iter().filter(ONLY_ALL).collect();
    let twice: Vec<_> = rows.iter().chain(&rows).cloned().collect();
    let said = warnings(&report_of_rows(&twice));
    assert!(said.contains("are there twice, as where a file is given twice"), "{said}");
    let said = warnings(&report_of_rows(&rows));
    assert!(!said.contains("twice"), "{said}");
}

/// A kernel's columns as Telegraf's plugin names them, or by their own names, at a time and so many seconds
/// after its start.
fn columns(second: u64, up: u64, names: [&str; 2], given_up: u64) -> String {
    let [races, chains] = names;
    let time = 1_795_590_600 + second;
    format!(
        "conntrack,cpu=all {races}={up}i,{chains}={}i,new={given_up}i,delete={given_up}i,ignore=0i,\
         found={}i,invalid={up}i,drop={}i,early_drop=0i,insert_failed={}i {time}\n\
         conntrack ip_conntrack_count=900,ip_conntrack_max=65536 {time}\n",
        up / 5,
        3 * up,
        up / 100,
        up / 100
    )
}

const TELEGRAF: [&str; 2] = ["searched", "delete_list"];
const BY_NAME: [&str; 2] = ["clash_resolve", "chaintoolong"];

/// `searched` of the one is `clash_resolve` of the other: 730 events that were none.
#[test]
fn rows_of_telegraf_and_of_ctpulse_in_one_file_are_told_apart() {
    let of = |names: &dyn Fn(u64) -> [&'static str; 2]| -> String {
        let text = (0..120).map(|at| columns(at, 700 + at, names(at), 0)).collect::<String>();
        warnings(&source(&text))
    };
    for [first, second] in [[TELEGRAF, BY_NAME], [BY_NAME, TELEGRAF]] {
        let said = of(&|at| if at < 60 { first } else { second });
        let sentence = "searched and clash_resolve count the same";
        assert!(said.contains(sentence), "{said}");
    }
    for names in [TELEGRAF, BY_NAME] {
        let said = of(&|_| names);
        assert!(!said.contains("count the same"), "{said}");
    }
}

/// Columns were taken for the ones of the older kernel in all rows.
#[test]
fn a_kernel_that_was_replaced_is_named() {
    let of = |is_old: fn(u64) -> bool, restart: Option<u64>| -> String {
        let gather = |at: u64| {
            let up = match restart {
                Some(restart) if at >= restart => at - restart,
                _ => 700 + at,
            };
            columns(at, up, TELEGRAF, if is_old(at) { 9 * up } else { 0 })
        };
        warnings(&source(&(0..120).map(gather).collect::<String>()))
    };
    for (is_old, is_said) in [
        ((|at| at < 60) as fn(u64) -> bool, true),
        (|at| at >= 60, true),
        (|_| true, false),
        (|_| false, false),
    ] {
        let said = of(is_old, Some(60));
        assert_eq!(said.contains("the kernel was replaced"), is_said, "{said}");
    }
    assert!(!of(|_| true, None).contains("the kernel was replaced"));
    // Probes count from 0, when the kernel has counted for long.
    let probed: String = (0..120).map(|at| columns(at, 700 + at, BY_NAME, 9 * at)).collect();
    assert!(!warnings(&source(&probed)).contains("the kernel was replaced"));
}

/// A kernel without types: ctpulse counts `delete_list`, and the kernel prints 0 for `new` and `delete`.
#[test]
fn a_column_that_ctpulse_counts_is_not_that_of_telegraf() {
    let gather = |second: u64| {
        let (time, chains, races) = (1_795_590_600 + second, 2 + second / 60, 3 + second / 50);
        format!(
            "conntrack,cpu=all chaintoolong={chains}i,clash_resolve={races}i,delete=0i,\
             delete_list={}i,delete_list_rate=2,drop=0i,found={}i,new=0i,searched=0i {time}\n\
             conntrack ip_conntrack_count=900,ip_conntrack_max=65536 {time}\n",
            700 + 2 * second,
            5000 + 2 * second
        )
    };
    let said = warnings(&source(&(0..120).map(gather).collect::<String>()));
    assert!(!said.contains("count the same"), "{said}");
}

/// What stood still begins to move when a container starts.
#[test]
fn an_idle_source_that_began_again_is_no_other_one() {
    let gather = |number: u64| {
        let [found, invalid, restarts] = if number < 60 { [12, 5, 4] } else { [3, 2, 0] };
        let time = 1_795_590_600 + 10 * number;
        format!(
            "conntrack,cpu=all delete=0i,drop=0i,found={found}i,insert_failed=0i,invalid={invalid}i,\
             new=0i,search_restart={restarts}i {time}\n\
             conntrack ip_conntrack_count=5,ip_conntrack_max=65536 {time}\n"
        )
    };
    let said = warnings(&source(&(0..120).map(gather).collect::<String>()));
    assert!(!said.contains("another source"), "{said}");
}

/// Rows of a whole part were left out as those of a wrong time, and its fill with them.
#[test]
fn parts_of_an_idle_source_in_any_order_have_all_their_rows() {
    let part = |day: u64, entries: u64| -> String {
        let gather = |number: u64| {
            let time = 1_795_590_600 + 86_400 * day + 10 * number;
            format!(
                "conntrack,cpu=all drop=0i,early_drop=0i,found=9i,insert_failed=0i,invalid=4i {time}\n\
                 conntrack ip_conntrack_count={entries},ip_conntrack_max=65536 {time}\n"
            )
        };
        (0..60).map(gather).collect()
    };
    let report = report_of([part(2, 50), part(0, 64_000), part(5, 50)].concat().as_bytes());
    assert_eq!(report.recording.stray_rows, 0, "{:?}", report.sources[0].unknown);
    assert_eq!(report.sources[0].emissions, 180);
}

/// One program wrote the source for some time, or every ten seconds, beside another one.
#[test]
fn one_source_that_two_programs_write_at_the_same_times_is_reported() {
    let truth = busy(400);
    let of = |which: fn(i64) -> bool, tag: (&'static str, &str), by_ns: i64| {
        let rows = truth.rows(0).into_iter().filter(|row| which(row.second()));
        let tagged = move |row: Row| {
            let mut row = row.later(by_ns);
            row.tags.retain(|(key, _)| *key != tag.0);
            row.tags.push((tag.0, tag.1.to_owned()));
            row
        };
        rows.map(tagged).collect::<Vec<_>>()
    };
    let all: fn(i64) -> bool = |_| true;
    type Arrangement = (&'static str, fn(i64) -> bool, i64);
    let arrangements: [Arrangement; 4] = [
        ("all", all, 0),
        ("nested", |second| (100..300).contains(&second), 0),
        ("every tenth", |second| second % 10 == 0, 0),
        (
            "nested, every tenth",
            |second| (100..300).contains(&second) && second % 10 == 0,
            300_000_000,
        ),
    ];
    for (which, keep, by_ns) in arrangements {
        for (tag, is_said) in [(("dc", "fra"), true), (("host", "gw2"), false)] {
            let mut rows = [of(all, ("host", "gw"), 0), of(keep, tag, by_ns)].concat();
            rows.sort_by_key(|row| row.time_ns);
            let found = report_of(&Form::Lines.write(&rows));
            assert_eq!(found.sources.len(), 2, "{which}");
            for source in &found.sources {
                let said = warnings(source);
                assert_eq!(said.contains("may be in both"), is_said, "{which} {tag:?}: {said}");
            }
        }
    }
}

/// `telegraf --test` prints each row behind `> `, and the log in front of them.
#[test]
fn rows_that_telegraf_prints_as_a_test_are_read() {
    let text = gathers(|_| OWN);
    let log = "2026-11-25T07:10:00Z I! Loading config: /etc/telegraf/telegraf.conf\n";
    let test: String = text.lines().map(|line| format!("> {line}\n")).collect();
    let report = report_of(format!("{log}{test}").as_bytes());
    assert_eq!(report.recording.bad_lines, 0, "{:?}", report.recording.first_bad_line);
    assert_eq!(totals(&report.sources[0]), totals(&source(&text)));
}

/// "missing field `fields`" said nothing of the kind of file.
#[test]
fn files_of_other_kinds_are_refused_with_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    let drop = r#"{"timestamp":1795590600000000000,"cause":"table_full","cpu":0,"netns_inode":4026531840}"#;
    let exposition = "# TYPE conntrack_drop counter\nconntrack_drop{cpu=\"all\"} 5\n";
    for (content, what) in [
        (drop.as_bytes(), "a line of `ctpulse drops --format json` about a single drop"),
        (br#"{"recording":{},"sources":[]}"#, "a report of `ctpulse report --format json`"),
        (exposition.as_bytes(), "a sample of Prometheus, which has no time of its own"),
        (b"PK\x03\x04\x14\0", "it is a zip archive"),
        (b"\xd4\xc3\xb2\xa1\x02\0", "it has captured packets"),
    ] {
        std::fs::write(&file, [content, b"\n"].concat()).unwrap();
        for arguments in [&["report"][..], &["doctor", "--advise", "--recording"]] {
            let refused = ctpulse().args(arguments).arg(&file).output().unwrap();
            assert!(matches!(refused.status.code(), Some(1 | 3)), "{what}");
            let printed = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(printed.contains(what), "{what}: {printed}");
        }
    }
    let refused = ctpulse().arg("report").arg(directory.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(printed.contains("it is a directory"), "{printed}");
}

/// The part that a link names was read twice, and parts beside the link's file were not found.
#[test]
fn a_link_is_the_file_that_it_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let rows = busy(90).rows(0);
    for (part, seconds) in [("fw.influx.1", 60..90), ("fw.influx.2", 0..60)] {
        let rows: Vec<_> =
            rows.iter().filter(|row| seconds.contains(&row.second())).cloned().collect();
        std::fs::write(path(part), Form::Lines.write(&rows)).unwrap();
    }
    std::os::unix::fs::symlink("fw.influx.1", path("fw.influx")).unwrap();
    std::os::unix::fs::symlink("fw.influx", path("current")).unwrap();
    for name in ["fw.influx", "current"] {
        let read = ctpulse::recording::files_of(&path(name));
        assert_eq!(read, [path("fw.influx.2"), path("fw.influx.1")], "{name}");
        assert!(ctpulse::recording::parts_left_out(&path(name)).is_empty(), "{name}");
    }
}

/// A row of another host's table was "the table is filling".
#[test]
fn a_row_of_another_table_is_named() {
    let of = |seconds: std::ops::Range<u64>, entries: u64, limit: u64| -> String {
        let table = |second| {
            let gather = Machine { entries, ..OWN }.gather(second);
            gather.replace("max=65536", &format!("max={limit}"))
        };
        (0..120).map(|at| if seconds.contains(&at) { table(at) } else { OWN.gather(at) }).collect()
    };
    let is_said = |text: &str| warnings(&source(text)).contains("it is of another table");
    let filling = of(60..61, 60_000, 65_536);
    assert!(is_said(&filling));
    let (code, titles) = advice(&filling);
    assert_eq!(code, Some(3));
    assert!(titles.contains(&"??  the table is filling".to_owned()), "{titles:?}");
    assert!(is_said(&of(60..61, 3100, 262_144)));
    // A flood whose entries stay for some seconds, and a limit that was changed.
    assert!(!is_said(&of(60..63, 60_000, 65_536)));
    assert!(!is_said(&of(60..120, 3100, 262_144)));
}

/// Two programs that wrote one source from its start, one with a tag more, were two hosts with losses.
#[test]
fn one_source_under_two_names_from_the_start_is_named() {
    let gather = |at: u64, tag: &str| {
        let time = START_NS as u64 / 1_000_000_000 + 10 * at;
        let (drop, failed, invalid, found) = (3 * at, 2 * at, at, 9 * at);
        format!(
            "conntrack,cpu=all,host=gw{tag} drop={drop}i,early_drop=0i,found={found}i,\
             insert_failed={failed}i,invalid={invalid}i {time}\n"
        )
    };
    let text: String = (0..20).map(|at| gather(at, "") + &gather(at, ",out=b")).collect();
    let sources = report_of(text.as_bytes()).sources;
    assert_eq!(sources.len(), 2);
    for source in sources {
        let said = warnings(&source);
        assert!(said.contains("as where two programs write one source"), "{said}");
    }
}
