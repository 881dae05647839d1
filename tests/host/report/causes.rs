//! The causes of losses: whose share of all drops a report shows, and what failed insertions are.

use std::io::Write as _;

use ctpulse::report::{SourceReport, report_text};

use super::advice::advise_on;
use super::forms::report_of;

/// Rows of `cpu=all` and of the table in each second; `fields` are the statistics of a second.
fn rows(seconds: u64, fields: impl Fn(u64) -> String) -> String {
    let row = |second: u64| {
        let time = 1_795_590_600 + second;
        let fields = fields(second);
        let all = if fields.is_empty() {
            String::new()
        } else {
            format!("conntrack,cpu=all early_drop=0i,invalid=0i,{fields} {time}\n")
        };
        format!("{all}conntrack ip_conntrack_count=50i,ip_conntrack_max=4000i {time}\n")
    };
    (0..seconds).map(row).collect()
}

fn report(rows: &str) -> (SourceReport, String) {
    let mut found = report_of(rows.as_bytes());
    let text = report_text(&found);
    assert_eq!(found.sources.len(), 1, "{text}");
    (found.sources.remove(0), text)
}

/// The exit code and the printed advice.
fn advice(rows: &str) -> (Option<i32>, Vec<String>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(rows.as_bytes()).unwrap();
    advise_on(file.path())
}

/// 2,000 drops while ctpulse was stopped were "100 %" of the cause.
#[test]
fn causes_are_shares_of_all_drops() {
    let clashes = |second: u64| second.saturating_sub(200).min(5);
    let text = rows(300, |second| {
        if (100..120).contains(&second) {
            return String::new();
        }
        let drops = clashes(second) + if second < 100 { 0 } else { 2000 };
        format!("drop={drops}i,insert_failed={0}i,drop_clash={0}i,drop_other=0i", clashes(second))
    });
    let (source, text) = report(&text);
    assert_eq!(source.drops_without_cause, Some(2000.0));
    let lines: Vec<_> = text.lines().skip_while(|line| !line.starts_with("why ")).collect();
    assert_eq!(
        lines[1],
        "  drop_clash                    5   0.2%  a race between two first packets"
    );
    assert_eq!(
        lines[2],
        "  not known                 2,000  99.8%  no probe was there, or it missed them"
    );
    // Packets that only insert_failed has are no part of drop.
    let both = rows(60, |second| {
        let drops = second.min(6);
        format!(
            "drop={drops}i,insert_failed={0}i,drop_clash={drops}i,drop_dying={drops}i",
            2 * drops
        )
    });
    let (source, _) = report(&both);
    assert_eq!(source.drops_without_cause, Some(0.0));
    assert_eq!(source.drop_causes.iter().map(|cause| cause.percent).sum::<f64>(), 100.0);
    // Without probes there is nothing to divide.
    let (source, text) = report(&rows(60, |second| format!("drop={second}i,chaintoolong=0i")));
    assert_eq!((source.drops_without_cause, text.contains("why packets")), (None, false));
}

/// 800 drops were on cpu0 before its rows began: "100% of the packets lost on cpu1".
#[test]
fn shares_of_cpus_are_those_of_all_events() {
    let lost = |cpu: u64, second: u64| match cpu {
        0 => second.saturating_sub(40).min(16) * 50,
        _ => second.saturating_sub(120).min(1),
    };
    let with_cpus_from = |from: u64| {
        let mut text = String::new();
        for second in 0..200u64 {
            let time = 1_795_590_600 + second;
            let all = lost(0, second) + lost(1, second);
            text += &format!("conntrack,cpu=all drop={all}i,early_drop=0i {time}\n");
            for cpu in 0..2u64 {
                if second >= from {
                    text += &format!("conntrack,cpu=cpu{cpu} drop={}i {time}\n", lost(cpu, second));
                }
            }
        }
        report(&text).1
    };
    let found = with_cpus_from(90);
    let sentence = "2 CPUs: 0.1% of the packets lost on cpu1 (1 of 801 are in rows of CPUs)";
    assert!(found.contains(sentence), "{found}");
    let found = with_cpus_from(0);
    assert!(found.contains("2 CPUs: 99.9% of the packets lost on cpu0; insertions"), "{found}");
    let found = with_cpus_from(150);
    assert!(found.contains("2 CPUs: none of 801 packets lost is in their rows;"), "{found}");
}

/// The rows of Telegraf's plugin, which has the names of older kernels for columns by their place.
fn by_position(searched: u64, delete_list: u64, failed: u64, more: &str) -> String {
    rows(60, |second| {
        let moved = second.min(20);
        format!(
            "drop=0i,insert_failed={}i,searched={}i,delete_list={}i,found=0i,expect_new={second}i{more}",
            moved * failed,
            moved * searched,
            moved * delete_list
        )
    })
}

/// 200 packets that were lost to long chains were advised as races.
#[test]
fn columns_of_newer_kernels_have_their_meaning() {
    const GIVEN_UP: &str = ",new=0i,delete=0i,ignore=0i";
    let chains = by_position(0, 10, 10, GIVEN_UP);
    let (source, text) = report(&chains);
    let names: Vec<_> = source.counters.iter().map(|counter| counter.name.as_str()).collect();
    assert_eq!(names, ["chaintoolong", "insert_failed", "expect_new"]);
    assert!(source.unmoved.contains(&"clash_resolve".to_owned()), "{:?}", source.unmoved);
    assert_eq!(source.not_counted, ["new", "delete", "ignore"]);
    let line = "columns     searched is clash_resolve, delete_list is chaintoolong: the rows have";
    assert!(text.contains(line), "{text}");
    assert_eq!(advice(&chains), (Some(1), vec!["!!  hash chains are too long".to_owned()]));
    // Before an update a kernel from 4.9 to 5.9 wrote the rows, which counts none of the others.
    let updated = rows(60, |second| {
        let (ignored, moved) = (if second < 30 { second } else { 0 }, second.saturating_sub(30));
        format!(
            "drop=0i,insert_failed={},searched=0i,delete_list={},found={second}i,new=0i,delete=0i,\
             ignore={ignored}i",
            10 * moved,
            10 * moved
        )
    });
    assert!(report(&updated).1.contains(line), "{}", report(&updated).1);
    assert_eq!(advice(&updated).1[0], "!!  hash chains are too long");
    // Races that the kernel resolved are no loss.
    let races = by_position(25, 0, 0, GIVEN_UP);
    assert_eq!(report(&races).0.counters[0].name, "clash_resolve");
    assert_eq!(advice(&races), (Some(0), vec!["ok  nothing is wrong".to_owned()]));
    // They show the release, in which lost races are drops.
    let dying = "!!  entries die before they are inserted, or hash chains are too long".to_owned();
    assert_eq!(advice(&by_position(3, 0, 10, GIVEN_UP)), (Some(1), vec![dying]));
    // A kernel that counts what the names say.
    for old in [",new=7i,delete=0i,ignore=0i", ",new=0i,delete=7i,ignore=9i", ""] {
        let (source, _) = report(&by_position(10, 10, 10, old));
        assert!(source.columns.is_empty(), "{old}: {:?}", source.columns);
    }
    // Rows that have the column under its own name.
    let named = by_position(10, 10, 10, ",new=0i,delete=0i,chaintoolong=0i");
    assert!(report(&named).0.columns.is_empty());
}

/// 200 dying entries were "nothing is wrong" where the probes missed calls.
#[test]
fn failures_of_no_counted_cause_are_no_good_result() {
    let failing = |more: &str| {
        rows(60, |second| {
            let failed = 10 * second.min(20);
            format!("drop=0i,insert_failed={failed}i,drop_clash=0i,drop_nat_exhausted=0i{more}")
        })
    };
    let (code, titles) = advice(&failing(",clash_resolve=0i,chaintoolong=0i"));
    assert_eq!(code, Some(1), "{titles:?}");
    assert!(titles.contains(&"!!  entries die before they are inserted".to_owned()), "{titles:?}");
    // On an older kernel they may have been resolved.
    let (code, titles) = advice(&failing(""));
    assert_eq!(code, Some(3), "{titles:?}");
    let title = "??  insertions fail, and the cause is not known".to_owned();
    assert!(titles.contains(&title), "{titles:?}");
}
