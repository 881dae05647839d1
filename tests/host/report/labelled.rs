//! Rows of measurements with labels: `conntrack_invalid`.

use super::forms::report_of;
use ctpulse::report::{Report, report_text};

const START_NS: i64 = 1_795_590_600_000_000_000;

/// One row of line protocol a second: the packets of some reasons, and whether they have rates.
fn text(rows: &[(&str, u64, bool)], name: &str) -> String {
    let mut text = String::new();
    let mut second = -1;
    for (reason, packets, has_rate) in rows {
        if *reason == "unexplained" {
            second += 1;
            let time = START_NS + second * 1_000_000_000;
            text += &format!("conntrack,cpu=all,host=gw drop=0i,invalid={}i {time}\n", second * 10);
        }
        let time = START_NS + second * 1_000_000_000;
        let rate = if *has_rate { ",packets_rate=1" } else { "" };
        text += &format!(
            "{name},host=gw,protocol=tcp,reason={reason} packets={packets}i{rate} {time}\n"
        );
    }
    text
}

fn totals(report: &Report) -> Vec<(String, f64)> {
    let [source] = &report.sources[..] else { panic!("{:?}", report.sources) };
    let [labelled] = &source.labelled[..] else { panic!("{:?}", source.labelled) };
    let name = |labels: &[(String, String)]| {
        labels.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ")
    };
    labelled.totals.iter().map(|each| (name(&each.labels), each.total)).collect()
}

const ROWS: [(&str, u64, bool); 8] = [
    ("unexplained", 3, false),
    ("checksum", 5, false),
    ("unexplained", 3, true),
    ("checksum", 9, true),
    ("unexplained", 4, true),
    ("checksum", 12, true),
    ("tcp_rst", 20, true),
    ("unexplained", 4, true),
];

/// A reason that is met later began with 0.
#[test]
fn packets_are_counted_by_reason_between_the_first_row_and_the_last() {
    let expected = [("tcp tcp_rst", 20.0), ("tcp checksum", 7.0), ("tcp unexplained", 1.0)];
    let expected = expected.map(|(name, total)| (name.to_owned(), total));
    let lines = text(&ROWS, "conntrack_invalid");
    let report = report_of(lines.as_bytes());
    assert_eq!(totals(&report), expected);
    let others: Vec<&str> = lines.lines().filter(|line| line.contains(",cpu=all")).collect();
    let without = report_of((others.join("\n") + "\n").as_bytes());
    assert_eq!(report.sources[0].unknown, without.sources[0].unknown);
    assert_eq!((report.other_rows, without.sources[0].labelled.len()), (0, 0));
    let printed = report_text(&report);
    let table = "\nINVALID packets by reason\n  \
                 tcp tcp_rst                              20  71.4%\n  \
                 tcp checksum                              7  25.0%\n  \
                 tcp unexplained                           1   3.6%\n";
    assert!(printed.contains(table), "{printed}");
    // The latest row first.
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.reverse();
    let report = report_of((lines.join("\n") + "\n").as_bytes());
    assert_eq!(totals(&report), expected);
}

/// The probes were attached again: the rows without a rate begin with what was counted since then.
#[test]
fn counters_that_began_again_are_added() {
    let again = [("unexplained", 0, false), ("checksum", 12, false), ("unexplained", 2, true)];
    let rows = [&ROWS[..], &again].concat();
    let found = totals(&report_of(text(&rows, "conntrack_invalid").as_bytes()));
    assert_eq!(found[0], ("tcp tcp_rst".to_owned(), 20.0));
    assert_eq!(found[1], ("tcp checksum".to_owned(), 19.0));
    assert_eq!(found[2], ("tcp unexplained".to_owned(), 3.0));
}

/// `name_prefix` and `name_suffix` are those of the source; rows of another program are no one's.
#[test]
fn rows_belong_to_the_source_of_their_tags_and_name() {
    let with = |name: &str| text(&ROWS, name).replace("conntrack,", "a_conntrack_b,");
    let report = report_of(with("a_conntrack_invalid_b").as_bytes());
    assert_eq!(totals(&report)[0].1, 20.0);
    let report = report_of(with("a_conntrack_invalid").as_bytes());
    assert_eq!((report.sources[0].labelled.len(), report.other_rows), (0, 8));
    let report = report_of(text(&ROWS, "firewall").as_bytes());
    assert_eq!((report.sources[0].labelled.len(), report.other_rows), (0, 8));
}

/// Rows of the seconds of a range, with as many INVALID packets as seconds, by a clock that is `ahead`.
fn seconds(range: std::ops::Range<i64>, ahead: i64) -> String {
    let rows = |second: i64| {
        let time = START_NS + (second + ahead) * 1_000_000_000;
        format!(
            "conntrack,cpu=all,host=gw drop=0i,found={second}i,invalid={second}i {time}\n\
             conntrack_invalid,host=gw,protocol=tcp,reason=checksum packets={second}i,packets_rate=1 \
             {time}\n"
        )
    };
    range.map(rows).collect()
}

#[test]
fn parts_in_any_order_have_the_same_total() {
    let (first, second) = (seconds(0..600, 0), seconds(600..1200, 0));
    for text in [first.clone() + &second, second + &first] {
        assert_eq!(totals(&report_of(text.as_bytes())), [("tcp checksum".to_owned(), 1199.0)]);
    }
}

/// The rows with labels have the clock of the others, whose counters show that it was set back.
#[test]
fn a_clock_that_was_set_back_changes_no_total() {
    for back in [60, 3600] {
        let text = seconds(0..300, 0) + &seconds(300..600, -back);
        let report = report_of(text.as_bytes());
        assert_eq!(totals(&report), [("tcp checksum".to_owned(), 599.0)], "{back}");
        assert_eq!(report.recording.clock_steps, 1);
    }
}

/// Gauges, in which a value that is lower is no counter that began again.
#[test]
fn the_composition_of_the_table_has_its_last_least_and_most_entries() {
    let row = |second: i64, protocol: &str, state: &str, entries: u64| {
        let time = START_NS + second * 10_000_000_000;
        format!(
            "conntrack_entries,host=gw,protocol={protocol},state={state} entries={entries}i,\
             expired=2i,read_share=1 {time}\n"
        )
    };
    let own = |second: i64| {
        let time = START_NS + second * 10_000_000_000;
        format!("conntrack,cpu=all,host=gw drop=0i,entries=9i {time}\n")
    };
    let parts = [
        own(0) + &row(0, "tcp", "ESTABLISHED", 70) + &row(0, "udp", "-", 0),
        own(1) + &row(1, "tcp", "ESTABLISHED", 900) + &row(1, "udp", "-", 40)
            // No walk after it finds any.
            + &row(1, "tcp", "SYN_SENT", 5000),
        own(2) + &row(2, "tcp", "ESTABLISHED", 80) + &row(2, "udp", "-", 500),
        own(3) + &row(3, "tcp", "ESTABLISHED", 75) + &row(3, "icmp", "-", 7),
    ];
    let forward = report_of(parts.concat().as_bytes());
    let mut parts = parts;
    parts.reverse();
    for report in [forward, report_of(parts.concat().as_bytes())] {
        let [source] = &report.sources[..] else { panic!("{:?}", report.sources) };
        let [labelled] = &source.labelled[..] else { panic!("{:?}", source.labelled) };
        assert_eq!((labelled.measurement, labelled.totals.len()), ("conntrack_entries", 0));
        let levels =
            labelled.levels.iter().map(|it| (it.labels[1].1.as_str(), it.last, it.min, it.max));
        assert_eq!(
            levels.collect::<Vec<_>>(),
            [
                ("ESTABLISHED", 75.0, 70.0, 900.0),
                ("-", 7.0, 0.0, 7.0),
                ("SYN_SENT", 0.0, 0.0, 5000.0),
                ("-", 0.0, 0.0, 500.0)
            ]
        );
        assert_eq!((report.other_rows, source.gaps.resets), (0, 0));
        let table = "\nComposition of the table                 last         min         max\n  \
                     tcp ESTABLISHED                          75          70         900\n  \
                     icmp -                                    7           0           7\n";
        let printed = report_text(&report);
        assert!(printed.contains(table), "{printed}");
    }
}

/// Half of the table looked like all of it.
#[test]
fn a_part_of_the_table_is_reported_as_one() {
    let row = |second: i64, share: f64| {
        let time = START_NS + second * 10_000_000_000;
        format!(
            "conntrack,cpu=all,host=gw drop=0i,entries=9i {time}\n\
             conntrack_entries,host=gw,protocol=udp,state=- entries=5i,read_share={share} {time}\n"
        )
    };
    let warnings = |text: &str| report_of(text.as_bytes()).sources[0].unknown.join("\n");
    let whole: String = (0..4).map(|second| row(second, 1.0)).collect();
    assert!(!warnings(&whole).contains("of the table was read"));
    let part = warnings(&(whole + &row(4, 0.5) + &row(5, 0.75)));
    assert!(
        part.contains("conntrack_entries: at times only 50.0% of the table was read"),
        "{part}"
    );
}
