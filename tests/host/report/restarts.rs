//! Recordings of ctpulse that was started again, with probes and without, or whose clock was set.

use ctpulse::report::SourceReport;

use super::doubts::{advice, source, warnings};
use super::forms::totals;

const START_S: u64 = 1_795_590_600;

/// A host with 321 new connections a second, of which the kernel counts 20 (those of ctnetlink).
struct Host {
    text: String,
    second: u64,
    lost: u64,
    /// What the kernel has found at the start.
    found: u64,
    /// What the probes have counted since they were attached.
    probed: u64,
    causes: u64,
}

impl Host {
    fn new() -> Self {
        Self { text: String::new(), second: 0, lost: 7, found: 7000, probed: 0, causes: 0 }
    }

    /// A run of ctpulse of so many rows, a second apart; the first has no rates.
    fn run(&mut self, rows: u64, has_probes: bool, lost_each: u64) -> &mut Self {
        (self.probed, self.causes) = (0, 0);
        for row in 0..rows {
            self.lost += lost_each;
            self.causes += lost_each;
            self.probed += 321;
            let kernel = 5_000_003 + 20 * self.second;
            let (insert, each) = if has_probes { (self.probed, 321) } else { (kernel, 20) };
            let mut counters = vec![
                ("drop", self.lost, lost_each),
                ("insert_failed", self.lost, lost_each),
                ("early_drop", 0, 0),
                ("invalid", 900 + 3 * self.second, 3),
                ("found", self.found + 4 * self.second, 4),
                ("insert", insert, each),
            ];
            if has_probes {
                let causes = self.causes;
                counters.push(("new", self.probed, 321));
                counters.push(("drop_clash", causes, lost_each));
                counters.push(("drop_table_full", 0, 0));
            }
            let mut fields = format!(
                "ignore=0i,delete=0i,entries=5000i,sample_seconds=0.1,samples_missed=0i,rows_lost=0i{}",
                if has_probes { ",events_missed=0i" } else { ",new=0i" }
            );
            for (name, value, rate) in counters {
                fields += &format!(",{name}={value}i");
                if row > 0 {
                    fields += &format!(",{name}_rate={rate},{name}_rate_max={rate}");
                }
            }
            let time = START_S + self.second;
            self.text += &format!(
                "conntrack,cpu=all,host=fw {fields} {time}000000000\n\
                 conntrack,host=fw ip_conntrack_count=5000i,ip_conntrack_max=65536i {time}000000000\n"
            );
            self.second += 1;
        }
        self
    }

    /// It is not running for so many seconds.
    fn pause(&mut self, seconds: u64) -> &mut Self {
        self.second += seconds;
        self
    }

    fn source(&self) -> SourceReport {
        source(&self.text)
    }
}

/// 5,000 packets that were lost while there were no probes were "30 packets, all of them lost a race".
#[test]
fn causes_of_a_part_of_the_time_are_not_those_of_all_drops() {
    let mut host = Host::new();
    host.run(100, true, 1).pause(4).run(200, false, 25);
    let found = host.source();
    let drops = totals(&found)["drop"];
    assert_eq!((found.drops_without_cause, drops), (Some(drops - 99.0), 99.0 + 200.0 * 25.0));
    let [part] = &found.partly_counted[..] else { panic!("{:?}", found.partly_counted) };
    assert_eq!((part.seconds, part.of_seconds), (99.0, 99.0 + 199.0));
    assert!(part.names.contains(&"drop_clash".to_owned()), "{part:?}");
    assert!(!part.names.contains(&"ignore".to_owned()), "{part:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &host.text).unwrap();
    let mut command = crate::support::ctpulse();
    command.args(["doctor", "--advise", "--recording"]).arg(file.path());
    let advice = command.output().unwrap();
    let advice = crate::support::text(&advice.stdout);
    assert!(!advice.contains("all of them lost a race"), "{advice}");
    assert!(advice.contains("5,099 insertions failed"), "{advice}");
    let sentence =
        "the causes of drops were counted for 1 min 39 s of 4 min 58 s, and 5,000 of the packets";
    assert!(advice.contains(sentence), "{advice}");
}

/// The kernel's own count since boot was 5 million insertions and a burst, where probes were attached no longer.
#[test]
fn another_count_behind_a_restart_is_no_events() {
    let mut host = Host::new();
    host.run(100, true, 0).run(100, false, 0);
    let found = host.source();
    assert_eq!(totals(&found)["insert"], f64::from(99 * 321 + 99 * 20));
    let insert = found.counters.iter().find(|counter| counter.name == "insert").unwrap();
    assert!(insert.peak.as_ref().is_some_and(|peak| *peak <= 321.0), "{insert:?}");
    assert!(warnings(&found).contains("insert rose by 5,00"), "{}", warnings(&found));
    // Lookups of packets and ports that NAT found: one cannot tell.
    let mut host = Host::new();
    host.run(100, true, 0);
    host.found = 30_000_000;
    let found = host.run(100, false, 0).source();
    assert!(warnings(&found).contains("ebpf_per_packet"), "{}", warnings(&found));
    assert!(found.doubts.events["found"] > 2e7, "{:?}", found.doubts);
    // Entries that conntrackd brings between two runs without probes, and probes behind a run without.
    let mut host = Host::new();
    host.run(100, false, 0).pause(600);
    let text = host.run(100, false, 0).text.clone();
    let (first, second) =
        text.split_at(text.match_indices("\nconntrack,cpu=all").nth(99).unwrap().0);
    let mut more = second.to_owned();
    for second in 700..800u64 {
        let insert = 5_000_003 + 20 * second;
        more = more.replace(&format!("insert={insert}i"), &format!("insert={}i", insert + 50_000));
    }
    let found = source(&(first.to_owned() + &more));
    assert_eq!(totals(&found)["insert"], f64::from(20 * 799 + 50_000));
    assert!(!warnings(&found).contains("insert rose"), "{}", warnings(&found));
    let mut host = Host::new();
    let found = host.run(100, false, 0).run(100, true, 0).source();
    assert!(!warnings(&found).contains("insert rose"), "{}", warnings(&found));
    // It goes on where both runs have none.
    let mut host = Host::new();
    host.run(100, false, 0).pause(30).run(100, false, 0);
    let found = host.source();
    assert_eq!(totals(&found)["insert"], f64::from(20 * 229));
    assert_eq!(found.unknown.iter().filter(|it| it.contains("insert")).count(), 0);
}

/// A restart of ctpulse with its probes left the kernel's counters as they were: no loss went unnoticed.
#[test]
fn a_restart_of_probes_alone_hides_no_loss() {
    let mut host = Host::new();
    host.run(600, true, 0).pause(40).run(600, true, 0);
    let found = host.source();
    assert_eq!(found.unknown, [""; 0]);
    assert_eq!(found.partly_counted, []);
    let (code, titles) = advice(&host.text);
    assert!(titles.iter().all(|title| !title.starts_with("??")), "{code:?} {titles:?}");
}

/// A router without a clock of its own has its clock set: an outage of an hour, with 3,600 rows missing.
#[test]
fn a_clock_that_is_set_forward_is_said() {
    let rows = |clock: u64, is_outage: bool| -> String {
        let mut host = Host::new();
        host.run(120, true, 0);
        let lines = host.text.lines().enumerate().map(|(number, line)| {
            let row = number as u64 / 2;
            let (start, time) = line.rsplit_once(' ').unwrap();
            let time: u64 = time.parse().unwrap();
            let time = time + if row < 60 { 0 } else { clock * 1_000_000_000 };
            // In an outage of the output the counters go on.
            let more = if is_outage && row >= 60 { 321 * clock } else { 0 };
            let insert = format!(",insert={}i", 321 * (row + 1));
            let start = start.replace(&insert, &format!(",insert={}i", 321 * (row + 1) + more));
            format!("{start} {time}\n")
        });
        lines.collect()
    };
    let said = warnings(&source(&rows(3600, false)));
    assert!(said.contains("the clock was set forward, the host was suspended"), "{said}");
    let said = warnings(&source(&rows(3600, true)));
    assert!(!said.contains("the clock was set forward"), "{said}");
}

/// A machine that is new and was started again, with all counters above those of before at the first row behind it:
/// nothing fell.
#[test]
fn a_restart_that_no_counter_shows_is_possible() {
    let row = |second: u64, (found, invalid): (u64, u64), rate: &str| {
        let time = START_S + second;
        format!(
            "conntrack,cpu=all drop=0i,insert_failed=0i,early_drop=0i,found={found}i,invalid={invalid}i,\
             sample_seconds=0.1,samples_missed=0i{rate} {time}000000000\n\
             conntrack ip_conntrack_count=50i,ip_conntrack_max=65536i {time}000000000\n"
        )
    };
    let rows = |before: u64| -> String {
        let rate =
            ",found_rate=0,invalid_rate=1,drop_rate=0,insert_failed_rate=0,early_drop_rate=0";
        let first =
            (0..60).map(|at| row(at, (before + 1, before + at), if at > 0 { rate } else { "" }));
        let second = (0..60).map(|at| {
            row(70 + at, (before + 200, before + 200 + at), if at > 0 { rate } else { "" })
        });
        first.chain(second).collect()
    };
    let said = warnings(&source(&rows(1)));
    assert!(said.contains("if the host was started again, too"), "{said}");
    assert_eq!(warnings(&source(&rows(100_000))), "");
}
