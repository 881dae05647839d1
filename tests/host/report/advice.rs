//! `ctpulse doctor --advise` on a recording.

use super::*;

#[test]
fn advice_on_a_recording_uses_the_limit_of_its_time() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), levels(&[(2000, 2000), (2000, 2000), (100, 16_384)], None))
        .unwrap();
    let advised = ctpulse().args(["doctor", "--advise", "--recording"]).arg(file.path()).output();
    let advised = advised.unwrap();
    assert!(text(&advised.stdout).contains("2,000 of 2,000"), "{}", text(&advised.stdout));
    let printed = text(&advised.stderr);
    assert!(printed.contains("changed from 2,000 to 16,384 at 2026-11-25 07:10:20"), "{printed}");
}

/// The exit code of advice on a recording, and the titles of the findings with their marks.
pub(super) fn advise_on(recording: &Path) -> (Option<i32>, Vec<String>) {
    let mut command = ctpulse();
    let advised = command.args(["doctor", "--advise", "--recording"]).arg(recording).output();
    let advised = advised.unwrap();
    let printed = text(&advised.stdout);
    let titles = printed.lines().filter(|line| !line.starts_with(' ')).map(str::to_owned).collect();
    (advised.status.code(), titles)
}

/// "Nothing is wrong" was printed where no counter of losses was in the rows.
#[test]
fn a_recording_without_statistics_leaves_losses_unknown() {
    const UNKNOWN: &str = "??  some of it is unknown: losses may have gone unnoticed";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), levels(&[(200, 2000), (200, 2000), (100, 2000)], None)).unwrap();
    assert_eq!(advise_on(file.path()), (Some(3), vec![UNKNOWN.to_owned()]));
    assert_eq!(advise_on(Path::new("/no/such/recording")), (Some(3), Vec::new()));
}

/// Captured from Telegraf 1.40 on a gateway that masquerades to eight ports: their exhaustion was
/// advised as a race, with `fully-random` as its cure, and 388 INVALID packets were no finding.
#[test]
fn exhausted_ports_are_found_in_a_recording_of_telegraf() {
    let recording = fixture("telegraf").join("second/lines.influx");
    let titles = ["!!  NAT runs out of ports", "!   packets are INVALID"].map(str::to_owned);
    assert_eq!(advise_on(&recording), (Some(1), titles.to_vec()));
    let mut command = ctpulse();
    let advised = command.args(["doctor", "--advise", "--recording"]).arg(recording).output();
    let advice = text(&advised.unwrap().stdout);
    let numbers = "452 insertions failed, and their packets were lost in 17 s; NAT found 3,661 ports \
                   taken, 8.10 for each: a range of about 8 ports is exhausted";
    assert!(advice.contains(numbers), "{advice}");
    assert!(!advice.contains("random"), "{advice}");
}

/// "Nothing is tracked here" was printed for an idle minute of a gateway.
#[test]
fn an_idle_minute_is_not_reported_as_untracked() {
    let minute = |invalid: u32| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for second in 10..70 {
            let fields = "drop=0i,early_drop=0i,entries=0i,insert_failed=0i,found=0i";
            let ns = "000000000";
            let start = 1_795_590_600;
            let row =
                format!("conntrack,cpu=all {fields},invalid={invalid}i {}{ns}", start + second);
            writeln!(file, "{row}").unwrap();
        }
        advise_on(file.path())
    };
    let (code, titles) = minute(7);
    assert_eq!((code, titles[0].as_str()), (Some(0), "!   no tracked traffic in 59 s"));
    assert_eq!(minute(0), (Some(0), vec!["!   nothing is tracked here".to_owned()]));
}

/// Rules that need more than counters, such as timeouts and ports, do not judge a recording.
#[test]
fn advice_is_given_on_a_recording() {
    let recording = fixture("recordings").join("burst.influx");
    let advised = ctpulse().args(["doctor", "--advise", "--recording"]).arg(recording).output();
    let advised = advised.unwrap();
    assert_eq!(advised.status.code(), Some(1));
    let printed = text(&advised.stdout);
    let findings: Vec<&str> = printed.lines().filter(|line| line.starts_with('!')).collect();
    let expected = [
        "!!  first packets race, or NAT runs out of ports",
        "!   the table is filling",
        "!   packets are INVALID",
    ];
    assert_eq!(findings, expected, "{printed}");
    let lost = "    800 packets lost before their entry was inserted in 9 min 50 s: ";
    assert!(printed.contains(lost), "{printed}");
    assert!(
        printed.contains("    at most 3,910 of 4,000 entries (97.8%) in 9 min 50 s\n"),
        "{printed}"
    );
    // The host is another one.
    assert!(printed.contains("-> where probes can be attached, ctpulse drops --top "), "{printed}");
}

/// They were "nothing is wrong", and leave conntrack as INVALID packets do.
#[test]
fn a_flood_of_icmp_errors_is_a_warning() {
    let flood =
        levels(&[(5, 100); 30], None).lines().enumerate().fold(String::new(), |rows, (at, row)| {
            rows + &row.replace("drop=0i", &format!("drop=0i,icmp_error={}i", 3000 * at)) + "\n"
        });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rows");
    std::fs::write(&file, flood).unwrap();
    let (_, titles) = advise_on(&file);
    assert!(titles.contains(&"!   ICMP packets are INVALID".to_owned()), "{titles:?}");
    // The same from standard input.
    let rows = std::fs::File::open(&file).unwrap();
    let mut command = ctpulse();
    let advised = command.args(["doctor", "--advise", "--recording", "-"]).stdin(rows).output();
    let advised = advised.unwrap();
    assert!(
        text(&advised.stdout).contains("ICMP packets are INVALID"),
        "{}",
        text(&advised.stderr)
    );
}

/// The probes were attached for the first three of 60 rows: "2.4 % of the new connections" were 0.04 %.
#[test]
fn invalid_packets_are_a_share_of_the_time_in_which_new_connections_are_counted() {
    let rates = |names: &[(&str, u64)]| -> String {
        let rate =
            |(name, rate): &(&str, u64)| format!(",{name}_rate={rate},{name}_rate_max={rate}");
        names.iter().map(rate).collect()
    };
    let kernel = [("drop", 0), ("early_drop", 0), ("insert_failed", 0), ("invalid", 2)];
    let row = |second: u64, counted: u64| {
        let new = 5000 * second.min(counted);
        let mut of_row = kernel.to_vec();
        of_row.extend((second <= counted).then_some(("new", 5000)));
        let rates = if second == 0 { String::new() } else { rates(&of_row) };
        let (invalid, time) = (2 * second, 1_795_590_600 + second);
        format!(
            "conntrack,cpu=all,host=gw drop=0i,early_drop=0i,insert_failed=0i,invalid={invalid}i,new={new}i{rates},\
             rows_lost=0i,samples_missed=0i {time}000000000\n\
             conntrack,host=gw ip_conntrack_count=1000,ip_conntrack_max=65536 {time}000000000\n"
        )
    };
    for (counted, said) in [(59, None), (3, Some("events of 3 s of 59 s only: new"))] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let rows: String = (0..60).map(|second| row(second, counted)).collect();
        std::fs::write(file.path(), rows).unwrap();
        let (code, titles) = advise_on(file.path());
        assert_eq!(code, Some(0), "{counted}: {titles:?}");
        assert_eq!(titles, ["ok  nothing is wrong"], "{counted}");
        let printed = ctpulse().arg("report").arg(file.path()).output().unwrap();
        let printed = text(&printed.stdout);
        let found = printed.lines().find(|line| line.starts_with("probes"));
        assert_eq!(found.is_some(), said.is_some(), "{printed}");
        assert!(said.is_none_or(|said| printed.contains(said)), "{printed}");
    }
}
