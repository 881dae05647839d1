//! The conclusions of `ctpulse doctor --advise --recording`, and the rows that they need.

use std::fmt::Write;

use crate::support::{ctpulse, fixture, text};

/// 2026-11-25 07:10:00 UTC.
const START: u64 = 1_795_590_600;

/// The fields that rows of Telegraf's plugin have.
const FIELDS: [&str; 8] = [
    "drop",
    "early_drop",
    "insert_failed",
    "found",
    "invalid",
    "clash_resolve",
    "chaintoolong",
    "new",
];

/// Rows of a table with room, `seconds` apart; `total` has the counters that are not 0.
fn recording(
    rows: u64,
    seconds: u64,
    tags: &str,
    total: impl Fn(u64) -> Vec<(&'static str, u64)>,
) -> String {
    let mut lines = String::new();
    for row in 0..rows {
        let moved = total(row);
        let value =
            |name: &str| moved.iter().find(|(moved, _)| *moved == name).map_or(0, |(_, n)| *n);
        let fields: Vec<_> =
            FIELDS.iter().map(|name| format!("{name}={}i", 1000 + value(name))).collect();
        let time = START + row * seconds;
        let fields = fields.join(",");
        writeln!(lines, "conntrack{tags},cpu=all {fields} {time}000000000").unwrap();
        let table = "ip_conntrack_count=100,ip_conntrack_max=4000";
        writeln!(lines, "conntrack{tags} {table} {time}000000000").unwrap();
    }
    lines
}

/// The exit code of advice on a recording, and what is printed.
fn advise(recording: &str) -> (Option<i32>, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), recording).unwrap();
    let mut command = ctpulse();
    let advised = command.args(["doctor", "--advise", "--recording"]).arg(file.path()).output();
    let advised = advised.unwrap();
    (advised.status.code(), text(&advised.stdout))
}

fn title(advice: &str) -> &str {
    advice.lines().next().unwrap_or_default()
}

/// A fixed sequence that looks random, 0 to `below`.
fn noise(at: u64, below: u64) -> u64 {
    (at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33)
        % below
}

/// NAT finds ports taken by searches that succeed, whether insertions fail or not: pure races
/// were advised as exhaustion, with remedies for that only.
#[test]
fn races_beside_a_background_are_no_exhaustion() {
    let found = |row| (0..row).map(|at| 90 + noise(at, 21)).sum();
    for resolved in [0, 1] {
        let (code, advice) = advise(&recording(1200, 1, "", |row| {
            let failed = row / 10;
            vec![
                ("drop", failed),
                ("insert_failed", failed),
                ("found", found(row)),
                ("clash_resolve", resolved * row),
            ]
        }));
        let titles =
            ["!!  first packets race, and NAT may run out of ports", "!!  first packets race"];
        assert_eq!((code, title(&advice)), (Some(1), titles[resolved as usize]), "{advice}");
        assert!(advice.contains("-> races: where source translation picks the port"), "{advice}");
    }
}

/// The same number in each row was advised as a range of 8 ports, though the kernel resolved races.
#[test]
fn a_constant_share_in_each_row_is_unknown() {
    for found in [8, 80, 1000] {
        let (code, advice) = advise(&recording(300, 1, "", |row| {
            vec![
                ("drop", 10 * row),
                ("insert_failed", 10 * row),
                ("found", 10 * found * row),
                ("clash_resolve", 30 * row),
            ]
        }));
        let either = "!!  first packets race, or NAT runs out of ports";
        assert_eq!((code, title(&advice)), (Some(1), either), "{advice}");
        assert!(advice.contains("the rows do not show how many of these"), "{advice}");
        assert!(advice.contains("-> races") && advice.contains("-> NAT ports"), "{advice}");
    }
}

/// 891 of 990 failures are races, and had no remedy nor share.
#[test]
fn a_mixture_has_a_share_and_both_remedies() {
    let (code, advice) = advise(&recording(200, 1, "", |row| {
        let (failed, found) = (10 * (row / 2), 248 * (row / 2));
        vec![("drop", failed), ("insert_failed", failed), ("found", found)]
    }));
    let mixed = "!!  NAT runs out of ports, and first packets may race";
    assert_eq!((code, title(&advice)), (Some(1), mixed), "{advice}");
    assert!(advice.contains(": at least 10.0% are exhausted ports"), "{advice}");
    assert!(advice.contains("-> races") && advice.contains("-> NAT ports"), "{advice}");
}

/// Exhaustion beside a background is found all the same.
#[test]
fn exhaustion_is_found_over_a_background() {
    let (code, advice) = advise(&recording(600, 1, "", |row| {
        let failed = (0..row).map(|at| noise(at, 5)).sum::<u64>();
        let background = (0..row).map(|at| 90 + noise(at + 7, 21)).sum::<u64>();
        vec![("drop", failed), ("insert_failed", failed), ("found", background + 100 * failed)]
    }));
    assert_eq!((code, title(&advice)), (Some(1), "!!  NAT runs out of ports"), "{advice}");
    assert!(advice.contains(": at least 3") || advice.contains(": at least 4"), "{advice}");
    assert!(advice.contains("a second without failures, too"), "{advice}");
}

/// One truth, and the same advice, however it is written: Telegraf's rows of eight ports that ran
/// out, as they are, with a field a line, with the CPUs' rows only, and field by field.
#[test]
fn the_form_of_a_recording_changes_no_advice() {
    let whole = std::fs::read_to_string(fixture("telegraf").join("second/lines.influx")).unwrap();
    let apart = |line: &str| {
        let [series, fields, time] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let of_field = |field| format!("{series} {field} {time}\n");
        fields.split(',').map(of_field).collect::<Vec<_>>()
    };
    let field_a_line: Vec<String> = whole.lines().flat_map(apart).collect();
    let of_cpus = whole.lines().filter(|line| !line.contains("cpu=all"));
    let of_cpus: Vec<String> = of_cpus.map(|line| format!("{line}\n")).collect();
    let mut by_field = field_a_line.clone();
    by_field.sort_by_key(|line| {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let field = words[1].split('=').next().unwrap().to_owned();
        (words[0].clone(), field, words[2].clone())
    });
    let expected = advise(&whole);
    assert_eq!(title(&expected.1), "!!  NAT runs out of ports");
    for form in [field_a_line, of_cpus, by_field] {
        assert_eq!(advise(&form.concat()), expected);
    }
}

/// 24,000 INVALID packets within a minute were "nothing is wrong", since they were 0.56 a second
/// over twelve hours.
#[test]
fn a_storm_of_invalid_packets_is_found_in_a_long_recording() {
    let storm = |rate: u64| {
        advise(&recording(4320, 10, "", |row| {
            vec![("invalid", rate * (10 * row).saturating_sub(20_000).min(60))]
        }))
    };
    let (code, advice) = storm(400);
    assert_eq!((code, title(&advice)), (Some(0), "!   packets are INVALID"), "{advice}");
    assert!(advice.contains("; at worst 4,000 in 10 s, 400 a second: "), "{advice}");
    let (_, advice) = storm(2);
    assert_eq!(title(&advice), "!   packets are INVALID", "{advice}");
    let (code, advice) = storm(0);
    assert_eq!((code, title(&advice)), (Some(0), "ok  nothing is wrong"), "{advice}");
}

/// The field was left out by Telegraf's `fieldpass`, and "nothing is wrong" was the result.
#[test]
fn a_field_that_is_not_in_the_rows_is_unknown() {
    for field in ["drop", "early_drop", "insert_failed", "invalid"] {
        let whole = recording(100, 1, "", |_| Vec::new());
        let without = |line: &str| {
            let name = format!("{field}=");
            let words = line.split(' ').map(|word| {
                let fields = word.split(',').filter(|field| !field.starts_with(&name));
                fields.collect::<Vec<_>>().join(",")
            });
            words.collect::<Vec<_>>().join(" ") + "\n"
        };
        let rest: String = whole.lines().map(without).collect();
        let (code, advice) = advise(&rest);
        assert_eq!(code, Some(3), "{field}: {advice}");
        assert!(advice.contains(&format!("no row has {field}")), "{advice}");
    }
}

/// A name in a recording was printed as a part of a command for root.
#[test]
fn names_of_a_recording_are_quoted_in_commands() {
    let (_, advice) = advise(&recording(60, 1, ",netns=x;reboot$(id)", |row| {
        vec![("drop", row), ("insert_failed", row), ("found", 0), ("invalid", 10 * row)]
    }));
    assert!(advice.contains("ip netns exec 'x;reboot$(id)' sysctl -w"), "{advice}");
    assert!(advice.contains("ctpulse drops --netns 'x;reboot$(id)' --top"), "{advice}");
    assert!(!advice.replace("'x;reboot$(id)'", "").contains("reboot"), "{advice}");
}

/// `nf_conntrack_max=2147483648` was the remedy against 50 million drops a second.
#[test]
fn a_flood_is_named_instead_of_a_table_larger_than_memory() {
    for drops in [50_000_000, 200_000_000_000_000_000] {
        let flood = recording(60, 1, "", |row| {
            vec![("drop", drops * row), ("early_drop", 2_000_000 * row)]
        });
        let flood = flood.replace(
            "ip_conntrack_count=100,ip_conntrack_max=4000",
            "ip_conntrack_count=262144,ip_conntrack_max=262144",
        );
        let (code, advice) = advise(&flood);
        assert_eq!((code, title(&advice)), (Some(1), "!!  the table is too small"), "{advice}");
        assert!(advice.contains("-> a flood: "), "{advice}");
        assert!(!advice.contains("nf_conntrack_max="), "{advice}");
    }
}

/// A table that was full in one row hid 452 drops behind as many failed insertions: exit code 0.
#[test]
fn a_full_table_does_not_hide_drops() {
    let rows = std::fs::read_to_string(fixture("telegraf").join("second/lines.influx")).unwrap();
    let at = rows.rfind("ip_conntrack_count=").unwrap() + "ip_conntrack_count=".len();
    let end = at + rows[at..].find(',').unwrap();
    let full = format!("{}262144{}", &rows[..at], &rows[end..]);
    let (code, advice) = advise(&full);
    assert_eq!((code, title(&advice)), (Some(1), "!!  NAT runs out of ports"), "{advice}");
    assert!(advice.contains("452 packets were dropped"), "{advice}");
}

/// The rows of reasons (`--ebpf-invalid`) choose the remedies.
#[test]
fn recorded_reasons_of_invalid_packets_have_their_remedies() {
    let advice = |unexplained: u64| {
        let mut lines = recording(60, 1, "", |row| vec![("invalid", row * 100)]);
        for row in 0..60 {
            let time = START + row;
            let mut add = |protocol: &str, reason: &str, packets: u64| {
                let labels = format!("protocol={protocol},reason={reason}");
                let packets = packets * row;
                writeln!(lines, "conntrack_invalid,{labels} packets={packets}i {time}000000000")
                    .unwrap();
            };
            add("tcp", "tcp_window_seq_high", 90 - unexplained);
            add("udp", "checksum", 10);
            add("all", "unexplained", unexplained);
        }
        advise(&lines).1
    };
    let explained = advice(0);
    let named = "the reasons: tcp_window_seq_high 90.0%, checksum 10.0%";
    assert!(explained.contains(named), "{explained}");
    assert!(
        explained.contains("tcp_be_liberal=1") && explained.contains("nf_conntrack_checksum=0")
    );
    assert!(!explained.contains("asymmetric") && !explained.contains("log_invalid"), "{explained}");
    // Rows may begin without the packets that have no reason.
    let mut lines = recording(60, 1, "", |row| vec![("invalid", row * 100)]);
    for row in 0..60 {
        let time = START + row;
        let labels = "protocol=tcp,reason=checksum";
        writeln!(lines, "conntrack_invalid,{labels} packets={}i {time}000000000", 100 * row)
            .unwrap();
        if row > 9 {
            let labels = "protocol=all,reason=unexplained";
            writeln!(lines, "conntrack_invalid,{labels} packets=500000i {time}000000000").unwrap();
        }
    }
    let later = advise(&lines).1;
    assert!(later.contains("the reasons: checksum 100%"), "{later}");

    let rest = advice(50);
    assert!(rest.contains("unexplained 50.0%, tcp_window_seq_high 40.0%"), "{rest}");
    assert!(rest.contains("asymmetric") && rest.contains("log_invalid"), "{rest}");
}
