//! `ctpulse drops` against drops whose cause and whose connection are known.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
use rustix::process::Signal;
use serde_json::Value;

use crate::clash::{HIDDEN, SYN, hidden_sockets, race, slow_namespace};
use crate::probes::{CPUS, Setting};
use crate::support::{Namespace, Running, ctpulse, integer, statistics};
use crate::{in_guest, wait_for};

pub(crate) const UDP_TIMEOUT: &str = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout";

/// A running `ctpulse drops`, and its log.
pub(crate) struct Drops {
    running: Running,
    stderr: tempfile::NamedTempFile,
}

impl Drops {
    pub(crate) fn new(namespaces: &[&Namespace], more: &[&str]) -> Self {
        let stderr = tempfile::NamedTempFile::new().unwrap();
        let mut command = ctpulse();
        command.arg("drops").args(more).stderr(stderr.reopen().unwrap());
        for namespace in namespaces {
            command.args(["--netns", &namespace.name]);
        }
        let drops = Self { running: Running::start(&mut command), stderr };
        wait_for("the probes", || drops.printed().contains("; Ctrl-C ends"));
        drops
    }

    pub(crate) fn json(namespaces: &[&Namespace]) -> Self {
        Self::json_of(namespaces, &[])
    }

    /// The same with more options.
    pub(crate) fn json_of(namespaces: &[&Namespace], more: &[&str]) -> Self {
        Self::new(namespaces, &[&["--format", "json", "--limit", "1000000"], more].concat())
    }

    fn printed(&self) -> String {
        fs::read_to_string(self.stderr.path()).unwrap()
    }

    /// Ends the program. Returns its lines and its log.
    pub(crate) fn end(mut self) -> (Vec<String>, String) {
        self.running.signal(Signal::INT);
        let lines = self.running.rest();
        assert!(self.running.wait().0.success(), "{}", self.printed());
        (lines, self.printed())
    }

    /// Ends it; its lines as JSON.
    pub(crate) fn records(self) -> (Vec<Value>, String) {
        let (lines, printed) = self.end();
        (lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect(), printed)
    }
}

pub(crate) fn of_cause<'a>(records: &'a [Value], cause: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["cause"] == cause).collect()
}

fn ports(records: &[&Value]) -> BTreeSet<u64> {
    records.iter().map(|record| record["source_port"].as_u64().unwrap()).collect()
}

/// UDP flows over loopback; the source ports of those that were refused.
fn refused_flows(namespace: &Namespace, flows: usize, loopback: &str) -> BTreeSet<u64> {
    namespace.inside(|| {
        let receiver = UdpSocket::bind((loopback, 9)).unwrap();
        let mut refused = BTreeSet::new();
        let sockets: Vec<_> = (0..flows)
            .map(|_| {
                let socket = UdpSocket::bind((loopback, 0)).unwrap();
                if socket.send_to(b"x", (loopback, 9)).is_err() {
                    refused.insert(u64::from(socket.local_addr().unwrap().port()));
                }
                socket
            })
            .collect();
        drop((receiver, sockets));
        refused
    })
}

/// UDP flows from one socket to as many addresses; how many were refused.
pub(crate) fn send_to_many(namespace: &Namespace, flows: u64) -> u64 {
    namespace.inside(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = |number: u64| Ipv4Addr::from(0x7f10_0000 + number as u32);
        (0..flows).filter(|number| socket.send_to(b"x", (to(*number), 9)).is_err()).count() as u64
    })
}

#[test]
fn drops_of_a_full_table_have_their_connection() {
    in_guest();
    let (one, two, other) = (Namespace::new(), Namespace::new(), Namespace::new());
    let before_tracking = "{ type filter hook output priority -300; }";
    two.exec("nft", &["add", "chain", "inet", "t", "zone", before_tracking]);
    two.exec("nft", &["add", "rule", "inet", "t", "zone", "ct", "zone", "set", "7"]);
    let drops = Drops::json(&[&one, &two]);
    let max = Setting::max(50);
    let refused = [(&one, "127.0.0.1"), (&two, "::1"), (&other, "127.0.0.1")]
        .map(|(namespace, loopback)| refused_flows(namespace, 300, loopback));
    drop(max);
    let (records, printed) = drops.records();
    let full = of_cause(&records, "table_full");
    for ((namespace, loopback), refused) in
        [(&one, "127.0.0.1"), (&two, "::1")].into_iter().zip(&refused)
    {
        let own: Vec<_> = full
            .iter()
            .copied()
            .filter(|record| record["netns"] == namespace.name.as_str())
            .collect();
        assert!(!refused.is_empty());
        assert_eq!(&ports(&own), refused, "{loopback}");
        assert_eq!(own.len() as u64, integer(&statistics(&namespace.name), "drop").unwrap());
        for record in own {
            assert_eq!(record["protocol"], "udp", "{record}");
            assert_eq!(
                (&record["source"], &record["destination"]),
                (&loopback.into(), &loopback.into())
            );
            assert_eq!(record["destination_port"], 9, "{record}");
            assert_eq!(record["zone"], if loopback == "::1" { 7 } else { 0 }, "{record}");
        }
    }
    let sum = refused[0].len() + refused[1].len();
    assert_eq!(full.len(), sum, "nothing of a third namespace");
    assert!(printed.contains(&format!("{sum} table full ({sum} shown)")), "{printed}");
}

#[test]
fn victims_of_early_drop_are_named() {
    in_guest();
    let namespace = Namespace::new();
    let drops = Drops::json(&[&namespace]);
    let settings = (Setting::new("nf_conntrack_buckets", 16), Setting::max(50));
    // Some entries expire first. They are removed in passing and are no evictions.
    namespace.inside(|| fs::write(UDP_TIMEOUT, "1").unwrap());
    let refused_before = refused_flows(&namespace, 45, "127.0.0.1");
    assert!(refused_before.is_empty());
    std::thread::sleep(Duration::from_millis(1500));
    namespace.inside(|| fs::write(UDP_TIMEOUT, "30").unwrap());
    let refused = refused_flows(&namespace, 300, "127.0.0.1");
    drop(settings);
    let (records, printed) = drops.records();
    let line = statistics(&namespace.name);
    let evicted = of_cause(&records, "evicted");
    assert!(!evicted.is_empty());
    assert_eq!(evicted.len() as u64, integer(&line, "early_drop").unwrap(), "{line}");
    // Each of them once, and none that was refused.
    assert_eq!(ports(&evicted).len(), evicted.len());
    assert!(ports(&evicted).is_disjoint(&refused));
    assert!(printed.contains(&format!("{0} evicted ({0} shown)", evicted.len())), "{printed}");
}

#[test]
fn losers_of_races_are_named() {
    in_guest();
    let namespace = slow_namespace("");
    let drops = Drops::json(&[&namespace]);
    let times = Drops::new(&[&namespace], &["--latency"]);
    let sockets = namespace.inside(|| {
        [(); CPUS]
            .map(|()| socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::TCP)).unwrap())
    });
    let lost = || integer(&statistics(&namespace.name), "drop").unwrap();
    let attempts = race(
        &namespace,
        |cpu, to| {
            _ = sendto(&sockets[cpu], &SYN, SendFlags::empty(), &SocketAddrV4::new(to, 0));
        },
        || lost() >= 2,
    );
    let (records, _) = drops.records();
    let clashes = of_cause(&records, "clash");
    assert_eq!((clashes.len() as u64, records.len()), (lost(), clashes.len()));
    for record in clashes {
        assert_eq!((&record["protocol"], &record["source"]), (&"tcp".into(), &"10.0.0.1".into()));
        assert_eq!(
            (&record["source_port"], &record["destination_port"]),
            (&1000.into(), &9.into())
        );
        let to: Ipv4Addr = record["destination"].as_str().unwrap().parse().unwrap();
        assert_eq!(to.octets()[..2], [10, 1]);
    }
    // Of each race one insertion, and one more that was refused.
    assert_eq!(u64::from(attempts) + lost(), insertions(&times.end().0));
}

/// Returns the number of insertions that `--latency` prints, which is the sum of its bars.
fn insertions(lines: &[String]) -> u64 {
    let start = lines.iter().position(|line| line.starts_with("time in")).unwrap();
    let sum = lines[start].strip_prefix("time in __nf_conntrack_confirm, ").unwrap();
    let sum = sum.strip_suffix(" insertions tried").unwrap().parse().unwrap();
    let count = |line: &String| {
        let (before, _) = line.split_once('%').unwrap();
        before.split_whitespace().rev().nth(1).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(lines[start + 1..].iter().map(count).sum::<u64>(), sum);
    sum
}

#[test]
fn losers_of_a_port_behind_nat_are_named() {
    in_guest();
    let (namespace, sockets) = hidden_sockets();
    let drops = Drops::json(&[&namespace]);
    let refused = Mutex::new(BTreeSet::new());
    race(
        &namespace,
        |cpu, to| {
            if sockets[cpu].send_to(b"x", (to, 9)).is_err() {
                refused.lock().unwrap().insert((HIDDEN[cpu].to_owned(), to.to_string()));
            }
        },
        || refused.lock().unwrap().len() >= 3,
    );
    let (records, printed) = drops.records();
    let refused = refused.into_inner().unwrap();
    let whose = |record: &Value| {
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        assert_eq!((text("cause"), text("protocol")), ("clash".into(), "udp".into()), "{record}");
        assert_eq!((&record["source_port"], &record["destination_port"]), (&53.into(), &9.into()));
        (text("source"), text("destination"))
    };
    assert_eq!(records.iter().map(whose).collect::<BTreeSet<_>>(), refused, "{printed}");
    let dropped = integer(&statistics(&namespace.name), "drop").unwrap();
    assert_eq!((records.len() as u64, refused.len() as u64), (dropped, dropped));
}

/// From 5.15 on a chain of some 50 to 80 entries is full.
#[test]
fn drops_of_a_long_chain_have_their_connection() {
    in_guest();
    let namespace = Namespace::new();
    let drops = Drops::json(&[&namespace]);
    let settings = (Setting::new("nf_conntrack_buckets", 16), Setting::max(100_000));
    // The table has 512 buckets at least, and each entry stands in two of them.
    let refused = send_to_many(&namespace, 30_000);
    drop(settings);
    let (records, printed) = drops.records();
    let line = statistics(&namespace.name);
    let named = of_cause(&records, "chaintoolong").len() as u64;
    // 5.10 has no such limit.
    assert_eq!(refused > 0, integer(&line, "chaintoolong").is_some(), "{line}");
    assert_eq!(named, integer(&line, "chaintoolong").unwrap_or(0), "{line}");
    assert_eq!(named, refused, "{printed}");
}

#[test]
fn the_time_of_each_insertion_is_taken() {
    in_guest();
    let (namespace, other) = (Namespace::new(), Namespace::new());
    let drops = Drops::new(&[&namespace], &["--latency"]);
    let _sockets = (namespace.udp_flows(200), other.udp_flows(50));
    assert_eq!(insertions(&drops.end().0), 200);
}

/// The answer that a rule makes is of the connection that it rejects, and passes the same function.
#[test]
fn a_rejecting_answer_is_no_insertion() {
    in_guest();
    let namespace = Namespace::new();
    let reject = "add rule inet t out tcp dport 9 reject with tcp reset";
    namespace.exec("nft", &reject.split(' ').collect::<Vec<_>>());
    let drops = Drops::new(&[&namespace], &["--latency"]);
    let _sockets = namespace.udp_flows(7);
    namespace.inside(|| {
        for _ in 0..20 {
            let refused = TcpStream::connect("127.0.0.1:9").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
    });
    let (lines, printed) = drops.end();
    assert_eq!(insertions(&lines), 7, "{printed}");
}

#[test]
fn an_unloaded_module_ends_drops_with_the_reason() {
    in_guest();
    let mut modules = crate::Modules::new();
    let mut drops = Drops::new(&[], &[]);
    modules.unload();
    assert_eq!(drops.running.wait().0.code(), Some(1));
    assert!(drops.printed().contains("the probes have gone"), "{}", drops.printed());
    modules.load();
}

/// More drops than the limit: the totals are exact, and the number of reports left out is logged.
#[test]
fn a_flood_is_sampled_and_counted_exactly() {
    const FLOOD: u64 = 100_000;
    in_guest();
    let namespace = Namespace::new();
    let drops = Drops::new(&[&namespace], &["--limit", "1000", "--top", "cause,source,port"]);
    // Others beside it, on the same functions.
    let others = [(); 3].map(|()| Drops::new(&[&namespace], &["--top", "cause"]));
    let max = Setting::max(1);
    let refused = send_to_many(&namespace, FLOOD);
    drop(max);
    std::thread::sleep(Duration::from_millis(100));
    let (lines, printed) = drops.end();
    let dropped = integer(&statistics(&namespace.name), "drop").unwrap();
    assert_eq!(dropped, refused);
    assert!(dropped > FLOOD / 2, "{dropped}");
    assert!(printed.contains(&format!("{dropped} table full (")), "{printed}");
    for other in others {
        let (_, printed) = other.end();
        assert!(printed.contains(&format!("{dropped} table full (")), "{printed}");
        assert!(!printed.contains("no memory"), "{printed}");
    }
    assert!(!printed.contains("no memory"), "{printed}");
    let number = |after: &str| {
        let (before, _) = printed.split_once(after)?;
        before.rsplit([' ', '(']).next()?.parse::<u64>().ok()
    };
    let shown = number(" shown").unwrap();
    let left_out = number(" left out by --limit").unwrap();
    let lost = number(" lost in a full ring").unwrap_or(0);
    assert_eq!(shown + left_out + lost, dropped, "{printed}");
    assert!(left_out > 0 && shown > 0, "{printed}");
    let heaviest = lines.iter().find(|line| line.contains("table full")).unwrap();
    assert!(heaviest.contains("127.0.0.1") && heaviest.ends_with('9'), "{heaviest}");
}
