//! How full the table was: the time above a level, and limits that change.

use super::*;

#[test]
fn time_above_90_percent_has_two_bounds() {
    let report = report_json(&["burst.influx"]);
    let fill = &report["sources"][0]["fill"];
    let above = &fill["above_90_percent"];
    // The table is full for some seconds at most, within one row of ten.
    assert_eq!(
        (above["at_least_seconds"].as_f64(), above["at_most_seconds"].as_f64()),
        (Some(0.0), Some(10.0))
    );
    assert!(fill["peak"].as_f64().unwrap() >= 3600.0, "{fill}");
    assert_eq!(seconds_after_start(&fill["peak_at_ns"]), 410.0);
}

/// Rows of a table in which `max` entries have room, ten seconds apart; `twice` as Telegraf's
/// plugin writes them on a host with two CPUs, the sum over these first or last.
pub(super) fn levels(levels: &[(u64, u64)], twice: Option<bool>) -> String {
    let mut rows = String::new();
    for (at, (count, max)) in levels.iter().enumerate() {
        let time = START_NS / 1_000_000_000 + 10 * at as i64;
        let entries = if twice.is_some() { 2 * count } else { *count };
        let mut pair = [
            format!("conntrack,cpu=all drop=0i,insert_failed=0i,entries={entries}i {time}\n"),
            format!("conntrack ip_conntrack_count={count},ip_conntrack_max={max} {time}\n"),
        ];
        if twice == Some(false) {
            pair.reverse();
        }
        rows.extend(pair);
    }
    rows
}

fn report_of(rows: &str, format: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rows).unwrap();
    let mut command = ctpulse();
    text(&output(command.arg("report").arg(file.path()).args(["--format", format])).stdout)
        .to_owned()
}

/// What `doctor --advise` prints.
fn advice_on(rows: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rows).unwrap();
    let mut command = ctpulse();
    command.args(["doctor", "--advise", "--recording"]).arg(file.path());
    text(&command.output().unwrap().stdout).to_owned()
}

#[test]
fn a_sum_over_cpus_does_not_fill_the_table() {
    for first in [true, false] {
        let rows = levels(&[(400, 1000), (500, 1000), (450, 1000)], Some(first));
        let found = report_of(&rows, "text");
        let fill = "fill        at most 50.0% (500 of 1,000 entries) at 07:10:10";
        assert!(found.contains(fill), "{found}");
        assert!(found.contains("90 % full   never"), "{found}");
        let found: Value = serde_json::from_str(&report_of(&rows, "json")).unwrap();
        assert_eq!(found["sources"][0]["fill"]["entries"]["max"], 500.0);
    }
}

/// Scans of 8 s filled the table between rows of a minute: "90 % full never", and 265,963 evictions.
#[test]
fn a_table_that_was_full_between_rows_is_said() {
    let rows = |evicted: u64, count: u64| -> String {
        let row = |at: u64| {
            let time = START_NS as u64 / 1_000_000_000 + 60 * at;
            let evicted = if at < 4 { 0 } else { evicted };
            format!(
                "conntrack,cpu=all drop={},insert_failed=0i,early_drop={evicted}i,invalid=0i {time}\n\
                 conntrack ip_conntrack_count={count},ip_conntrack_max=65536 {time}\n",
                evicted / 60
            )
        };
        (0..8).map(row).collect()
    };
    let found = report_of(&rows(90_000, 12_000), "text");
    let fill = "entries) at 07:10:00 in the rows, and full between them: early_drop 90,000\n";
    assert!(found.contains(fill), "{found}");
    assert!(found.contains("90 % full   between rows, for a time that is not known\n"), "{found}");
    let found: Value = serde_json::from_str(&report_of(&rows(90_000, 12_000), "json")).unwrap();
    let between = &found["sources"][0]["fill"]["full_between"];
    assert_eq!((&between["counter"], &between["events"]), (&"early_drop".into(), &90_000.0.into()));
    assert!(
        found["sources"][0]["fill"]["above_90_percent"]["at_most_seconds"].is_null(),
        "{found}"
    );
    for (evicted, count) in [(0, 12_000), (90_000, 65_000)] {
        let found = report_of(&rows(evicted, count), "text");
        assert!(!found.contains("full between"), "{found}");
    }
    let advice = advice_on(&rows(90_000, 12_000));
    assert!(
        advice.contains("1,500 in 7 min, the table full to 18.3% at most in any sample, and full"),
        "{advice}"
    );
}

/// A full table was "never 90 % full" in an export that has the entries of all times before their limits.
#[test]
fn a_limit_in_another_part_of_the_file_is_that_of_its_time() {
    let rows = |limit: &dyn Fn(u64) -> u64| -> String {
        let time = |at: u64| START_NS as u64 / 1_000_000_000 + 10 * at;
        let parts: [&dyn Fn(u64) -> String; 6] = [
            &|at| format!("conntrack,cpu=all drop={}i", 3 * at.clamp(50, 60)),
            &|_| "conntrack,cpu=all early_drop=0i".to_owned(),
            &|_| "conntrack,cpu=all insert_failed=0i".to_owned(),
            &|_| "conntrack,cpu=all invalid=0i".to_owned(),
            &|at| {
                let count = if (50..60).contains(&at) { 8000 } else { 2000 };
                format!("conntrack ip_conntrack_count={count}i")
            },
            &|at| format!("conntrack ip_conntrack_max={}i", limit(at)),
        ];
        let line = |part: usize, at| format!("{} {}\n", parts[part](at), time(at));
        (0..parts.len())
            .flat_map(|part| (0..1500).map(move |at| (part, at)))
            .map(|(p, a)| line(p, a))
            .collect()
    };
    let found = report_of(&rows(&|_| 8000), "text");
    let fill = "fill        at most 100% (8,000 of 8,000 entries) at 07:18:20";
    assert!(found.contains(fill), "{found}");
    assert!(!found.contains("90 % full"), "{found}");
    assert!(advice_on(&rows(&|_| 8000)).contains("the table is too small"));
    // It was raised later, and lowered before.
    for limit in
        [|at| if at < 700 { 8000 } else { 80_000 }, |at| if at < 30 { 80_000 } else { 8000 }]
    {
        let found = report_of(&rows(&limit), "text");
        assert!(found.contains(fill), "{found}");
    }
}

/// The default limit of the kernel until a script has set the configured one: the advice was a limit below the
/// entries of the same rows.
#[test]
fn a_limit_that_was_raised_is_not_advised_to_be_lowered() {
    let rows = |end: u64| -> String {
        let row = |at: u64| {
            let time = START_NS as u64 / 1_000_000_000 + 10 * at;
            let (count, max) = match at {
                0..10 => (40_000, 262_144),
                10..20 => (15_872, 15_872),
                _ => (39_000.min(end), end),
            };
            let drop = at.clamp(10, 20) * 100;
            format!(
                "conntrack,cpu=all drop={drop}i,insert_failed=0i,early_drop=0i,invalid=0i {time}\n\
                 conntrack ip_conntrack_count={count}i,ip_conntrack_max={max}i {time}\n"
            )
        };
        (0..30).map(row).collect()
    };
    let advice = advice_on(&rows(262_144));
    assert!(
        advice.contains("the limit is 262,144 at the end of the rows, which is enough"),
        "{advice}"
    );
    assert!(!advice.contains("nf_conntrack_max="), "{advice}");
    let advice = advice_on(&rows(20_000));
    assert!(advice.contains("nf_conntrack_max=65536 or more"), "{advice}");
}

#[test]
fn a_changed_limit_is_reported_and_each_share_has_its_own() {
    let raised =
        levels(&[(1000, 2000), (2000, 2000), (2000, 2000), (1990, 16_384), (2500, 16_384)], None);
    let found = report_of(&raised, "text");
    for line in [
        "fill        at most 100% (2,000 of 2,000 entries) at 07:10:10",
        "limit       changed from 2,000 to 16,384 at 07:10:30",
        // Between two full rows, and on both sides of them.
        "90 % full   for 10 s at least, 30 s at most",
    ] {
        assert!(found.contains(line), "{line}: {found}");
    }
    let unchanged = report_of(&levels(&[(1000, 2000), (1500, 2000)], None), "text");
    assert!(!unchanged.contains("limit "), "{unchanged}");

    let dir = tempfile::tempdir().unwrap();
    let [before, after, page] = ["before", "after", "page.html"].map(|name| dir.path().join(name));
    std::fs::write(&before, levels(&[(1000, 2000), (1000, 2000)], None)).unwrap();
    std::fs::write(&after, &raised).unwrap();
    let mut command = ctpulse();
    let compared = output(command.arg("report").args([&before, &after]));
    let fill = "fill at the peak, percent               50         100      2x";
    assert!(text(&compared.stdout).contains(fill), "{}", text(&compared.stdout));

    output(ctpulse().arg("report").arg(&after).arg("--html").arg(&page));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<dd>100%: 2,000 of 2,000 entries at 07:10:10</dd>"));
    assert!(page.contains("<dt>limit</dt><dd>changed from 2,000 to 16,384 at 07:10:30</dd>"));
    // The plot: 2,500 of 16,384 at the end, and no more than full before.
    for tooltip in ["fill 50", "fill 100", "fill 15.3"] {
        assert!(page.contains(tooltip), "{tooltip}: {page}");
    }
}

/// As when another host takes over the name and its counters are higher.
#[test]
fn evictions_from_a_table_that_was_never_full_are_doubted() {
    let evicting = |entries: &[(u64, u64)]| {
        let rows = levels(entries, None);
        let mut at = 0;
        let evictions = |line: &str| {
            at += usize::from(line.contains("cpu=all"));
            line.replace("insert_failed=0i", &format!("insert_failed=0i,early_drop={}i", 3000 * at))
        };
        rows.lines().map(evictions).collect::<Vec<_>>().join("\n")
    };
    let doubt = "early_drop counted 6,000, which needs a full table, and no row has it more than \
                 10.0% full";
    let found = report_of(&evicting(&[(90, 1000), (100, 1000), (95, 1000)]), "text");
    assert!(found.contains(doubt), "{found}");
    let found = report_of(&evicting(&[(990, 1000), (1000, 1000), (995, 1000)]), "text");
    assert!(!found.contains("needs a full table"), "{found}");
    // In a minute the entries of a flood come and go.
    let rows = evicting(&[(90, 1000), (100, 1000), (95, 1000)]);
    let rare = rows.replace("1795590610", "1795590660").replace("1795590620", "1795590720");
    let found = report_of(&rare, "text");
    assert!(!found.contains("needs a full table"), "{found}");
}

/// Telegraf's CSV has no columns for the table's rows: 2,398 entries, for 1,199 on two CPUs.
#[test]
fn a_sum_over_cpus_is_reported_without_a_limit() {
    let rows = levels(&[(400, 1000), (500, 1000), (450, 1000)], Some(true));
    let statistics: String = rows
        .lines()
        .filter(|line| line.contains("cpu=all"))
        .map(|line| format!("{line}\n"))
        .collect();
    let found = report_of(&statistics, "text");
    let sentence = "entries may be a sum over CPUs, as Telegraf's plugin writes it";
    assert!(found.contains(sentence), "{found}");
}

/// `increase()` of all fields: entries that only rise, and a limit of 0, were "nothing is wrong".
#[test]
fn entries_that_only_rise_below_no_limit_are_no_fill() {
    let text = |of: fn(u64) -> u64| -> String {
        let row = |at: u64| {
            let time = 1_795_590_600 + 30 * at;
            format!(
                "conntrack,cpu=all drop=0i,early_drop=0i,found={}i,insert_failed=0i,invalid=0i {time}\n\
                 conntrack ip_conntrack_count={},ip_conntrack_max=0 {time}\n",
                5 + 7 * at,
                of(at)
            )
        };
        (0..60).map(row).collect()
    };
    let advice = |text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        advice::advise_on(file.path())
    };
    let fill = "??  how full the table was is not known".to_owned();
    assert_eq!(advice(&text(|at| 490 + 490 * at)), (Some(3), vec![fill]));
    assert_eq!(advice(&text(|at| 490 + at % 7)).0, Some(0));
}
