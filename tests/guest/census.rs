//! The census in a real kernel: what it reads is what `conntrack -L` lists.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ctpulse::source::ebpf::EventsError;
use ctpulse::source::ebpf::census::{Census, CensusError, Entry, Pass, Sample};
use ctpulse::top::interval::of_number;
use serde_json::Value;

use crate::drops::{UDP_TIMEOUT, send_to_many};
use crate::events::Symbols;
use crate::probes::Setting;
use crate::support::{Namespace, ctpulse, output, text};
use crate::{Modules, NOBODY, Stop, in_guest};

/// The number of entries of each line of `ctpulse top`, by the values of its keys.
type Counts = BTreeMap<String, u64>;

fn top(namespace: &Namespace, options: &[&str]) -> Value {
    let mut command = ctpulse();
    command.args(["top", "--format", "json", "--lines", "100000", "--netns", &namespace.name]);
    serde_json::from_slice(&output(command.args(options)).stdout).unwrap()
}

fn counts(top: &Value) -> Counts {
    let by = top["by"].as_array().unwrap();
    let lines = top["lines"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let key = |line: &Value| {
        by.iter().map(|key| word(&line[key.as_str().unwrap()])).collect::<Vec<_>>().join(" ")
    };
    lines.map(|line| (key(line), line["entries"].as_u64().unwrap())).collect()
}

/// The entries that `conntrack -L` lists, counted by what `key` makes of a line.
fn listed(namespace: &Namespace, key: impl Fn(&str) -> String) -> Counts {
    let mut counts = Counts::new();
    for family in ["ipv4", "ipv6"] {
        let mut list = Command::new("ip");
        list.args(["netns", "exec", &namespace.name, "conntrack", "-L", "-f", family]);
        for line in text(&output(&mut list).stdout).lines() {
            *counts.entry(key(line)).or_default() += 1;
        }
    }
    counts
}

/// The first value of `name=` in a line of `conntrack -L`: that of the original direction.
fn value<'a>(line: &'a str, name: &str) -> &'a str {
    let mut words = line.split_whitespace();
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap_or("-")
}

fn word(line: &str, at: usize) -> &str {
    line.split_whitespace().nth(at).unwrap()
}

/// No entry of UDP expires before the test is over.
fn keep_entries(namespace: &Namespace) {
    namespace.inside(|| std::fs::write(UDP_TIMEOUT, "600").unwrap());
}

/// UDP of both families, TCP in two states, translated addresses, marks and a zone.
fn traffic(namespace: &Namespace) -> (Vec<UdpSocket>, Vec<TcpStream>) {
    for rule in [
        "add chain inet t raw { type filter hook output priority -300; }",
        "add rule inet t raw udp dport 7 ct zone set 9",
        "add rule inet t out udp dport 8 ct mark set 77",
        "add chain inet t hide { type nat hook postrouting priority srcnat; }",
        "add rule inet t hide ip daddr 10.1.0.0/16 masquerade",
    ] {
        namespace.exec("nft", &rule.split(' ').collect::<Vec<_>>());
    }
    namespace.exec("ip", &["link", "add", "sink", "type", "dummy"]);
    namespace.exec("ip", &["address", "add", "10.0.0.1/8", "dev", "sink"]);
    namespace.exec("ip", &["link", "set", "sink", "up"]);
    keep_entries(namespace);
    let mut sockets = namespace.udp_flows(300).1;
    namespace.inside(|| {
        for port in [7, 8, 9] {
            for last in 1..=40 {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.send_to(b"x", format!("10.1.0.{last}:{port}")).unwrap();
                sockets.push(socket);
            }
        }
        for _ in 0..25 {
            let socket = UdpSocket::bind("[::1]:0").unwrap();
            socket.send_to(b"x", "[::1]:4242").unwrap();
            sockets.push(socket);
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut streams = Vec::new();
        for number in 0..30 {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let server = listener.accept().unwrap().0;
            if number % 3 == 0 {
                client.shutdown(std::net::Shutdown::Write).unwrap();
            }
            streams.extend([client, server]);
        }
        (sockets, streams)
    })
}

#[test]
fn each_entry_is_read_once_with_its_properties() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let (namespace, other) = (Namespace::new(), Namespace::new());
    keep_entries(&other);
    let _others = other.udp_flows(50);
    let _held = traffic(&namespace);
    let all = top(&namespace, &["--exact", "--by", "protocol,source,destination,port"]);
    let key = |line: &str| {
        let protocol = word(line, 0);
        format!("{protocol} {} {} {}", value(line, "src"), value(line, "dst"), value(line, "dport"))
    };
    let list = listed(&namespace, key);
    assert!(list.values().sum::<u64>() >= 475, "{list:?}");
    assert_eq!(counts(&all), list);
    assert_eq!(all["entries"].as_u64(), Some(list.values().sum()));
    for (doubt, number) in [("buckets_lost", 0), ("unreadable", 0), ("too_low_by", 0)] {
        assert_eq!(all[doubt], number, "{doubt}");
    }
    assert_eq!(all["buckets_read"], all["buckets"]);

    let tcp = ["--exact", "--by", "state", "--where", "protocol=tcp"];
    let mut states = listed(&namespace, |line| match word(line, 0) {
        "tcp" => word(line, 3).to_owned(),
        _ => String::new(),
    });
    states.remove("");
    assert_eq!(counts(&top(&namespace, &tcp)), states);
    let marks = listed(&namespace, |line| value(line, "mark").to_owned());
    assert_eq!(marks.get("77"), Some(&40), "{marks:?}");
    assert_eq!(counts(&top(&namespace, &["--exact", "--by", "mark"])), marks);
    let zones = counts(&top(&namespace, &["--exact", "--by", "zone", "--where", "zone!=0"]));
    assert_eq!(zones, Counts::from([("9".to_owned(), 40)]));
    let unreplied = top(&namespace, &["--exact", "--where", "unreplied"]);
    let listed_unreplied =
        listed(&namespace, |line| line.contains("[UNREPLIED]").to_string())["true"];
    assert_eq!(unreplied["entries"], listed_unreplied);
    assert_eq!(all["unreplied_read"], listed_unreplied);
    let assured = listed(&namespace, |line| line.contains("[ASSURED]").to_string())["true"];
    assert_eq!(all["assured_read"], assured);
    // Masquerade keeps the only address: nothing is translated here.
    let nat = counts(&top(&namespace, &["--exact", "--by", "nat"]));
    assert_eq!(nat.len(), 1, "{nat:?}");
    assert_eq!(top(&other, &["--exact"])["entries"], 50);
}

#[test]
fn a_translated_address_is_that_of_the_reply() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let namespace = Namespace::new();
    for rule in [
        "add chain inet t hide { type nat hook postrouting priority srcnat; }",
        "add rule inet t hide ip saddr 10.0.0.2 snat ip to 10.0.0.1",
    ] {
        namespace.exec("nft", &rule.split(' ').collect::<Vec<_>>());
    }
    namespace.exec("ip", &["link", "add", "sink", "type", "dummy"]);
    for address in ["10.0.0.1/8", "10.0.0.2/8"] {
        namespace.exec("ip", &["address", "add", address, "dev", "sink"]);
    }
    namespace.exec("ip", &["link", "set", "sink", "up"]);
    let _sockets = namespace.inside(|| {
        [("10.0.0.1", 3), ("10.0.0.2", 5)].map(|(source, number)| {
            let sockets = (0..number).map(|_| UdpSocket::bind((source, 0)).unwrap());
            let sockets: Vec<_> = sockets.collect();
            sockets.iter().for_each(|socket| _ = socket.send_to(b"x", "10.1.0.1:9").unwrap());
            sockets
        })
    });
    let nat = counts(&top(&namespace, &["--exact", "--by", "source,nat"]));
    let expected = [("10.0.0.1 null", 3), ("10.0.0.2 10.0.0.1", 5)];
    assert_eq!(nat, Counts::from(expected.map(|(key, number)| (key.to_owned(), number))));
    assert_eq!(top(&namespace, &["--exact", "--where", "nat=10.0.0.0/24"])["entries"], 5);
}

/// The example of docs/troubleshooting.md: one host has opened most connections.
#[test]
fn the_source_that_fills_the_table_is_first() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let namespace = Namespace::named("gateway".to_owned());
    keep_entries(&namespace);
    namespace.exec("ip", &["link", "add", "sink", "type", "dummy"]);
    namespace.exec("ip", &["link", "set", "sink", "up"]);
    let sources = [
        ("10.20.0.31", 443, 870),
        ("10.20.0.13", 53, 60),
        ("10.20.1.7", 53, 45),
        ("10.20.1.18", 53, 25),
    ];
    for (source, ..) in sources {
        namespace.exec("ip", &["address", "add", &format!("{source}/8"), "dev", "sink"]);
    }
    for (source, port, number) in sources {
        namespace.inside(|| {
            let socket = UdpSocket::bind((source, 0)).unwrap();
            for last in 0..number {
                socket
                    .send_to(b"x", format!("10.99.{}.{}:{port}", last / 250, 1 + last % 250))
                    .unwrap();
            }
        });
    }
    let shown = |options: &[&str]| {
        let mut command = ctpulse();
        let told = output(command.args(["top", "--netns", "gateway"]).args(options));
        println!("# ctpulse top --netns gateway {}\n{}", options.join(" "), text(&told.stdout));
        text(&told.stdout)
    };
    let told = shown(&["--exact", "--lines", "3"]);
    let expected = "1,000 entries\n\
        100% unreplied, 0.0% assured, 0.0% offloaded, 0.0% expired and not collected yet\n\
        \n\
        entries  share  source\n\
        \x20   870  87.0%  10.20.0.31\n\
        \x20    60   6.0%  10.20.0.13\n\
        \x20    45   4.5%  10.20.1.7\n\
        \x20    25   2.5%  (1 other)\n";
    assert_eq!(told, expected);
    let told = shown(&["--exact", "--by", "source/16,port", "--where", "source!=10.20.0.31"]);
    let expected = "130 entries\n\
        100% unreplied, 0.0% assured, 0.0% offloaded, 0.0% expired and not collected yet\n\
        \n\
        entries  share  source/16     port\n\
        \x20   130   100%  10.20.0.0/16  53\n";
    assert_eq!(told, expected);
    let told = shown(&["--sample", "1/4", "--lines", "2", "--by", "source,port"]);
    assert!(told.starts_with("about ") && told.contains("  10.20.0.31  443"), "{told}");
}

#[test]
fn a_sample_has_the_whole_tables_number_in_its_interval() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let namespace = Namespace::new();
    keep_entries(&namespace);
    let mut census = Census::load().unwrap();
    let inode = inode(&namespace);
    let mut within = 0;
    for _ in 0..10 {
        // Others each time: samples of the same entries overlap, and are not independent.
        namespace.exec("conntrack", &["-F"]);
        let _sockets = namespace.udp_flows(1000);
        let add = |number: &mut u64, entry: &Entry| *number += u64::from(entry.inode == inode);
        let (counted, pass) = census.pass(Sample::OneOf(4), || 0, add).unwrap();
        assert_eq!(pass.buckets_read, pass.buckets.div_ceil(4));
        let (_, low, high) = of_number(counted, pass.share());
        within += u32::from((low..=high).contains(&1000.0));
    }
    // Of 95 % each; fewer than 6 of 10 happen once in 15,000 runs.
    assert!(within >= 6, "{within} of 10");
}

/// The entries of one namespace, by their port, and the pass.
fn ports(census: &mut Census, inode: u32) -> Result<(BTreeMap<u16, u32>, Pass), CensusError> {
    let add = |ports: &mut BTreeMap<u16, u32>, entry: &Entry| {
        if entry.inode == inode {
            *ports.entry(entry.original.source_port).or_default() += 1;
        }
    };
    census.pass(Sample::Whole, BTreeMap::new, add)
}

fn inode(namespace: &Namespace) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    let path = format!("/run/netns/{}", namespace.name);
    u32::try_from(std::fs::metadata(path).unwrap().ino()).unwrap()
}

/// Entries move while the table is resized; each is read once all the same. Where resizes are faster than
/// passes, there is no result.
#[test]
fn a_resize_of_the_table_is_noticed() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let namespace = Namespace::new();
    keep_entries(&namespace);
    let _sockets = namespace.udp_flows(800);
    let mut census = Census::load().unwrap();
    let inode = inode(&namespace);
    let start = Instant::now();
    let (truth, _) = ports(&mut census, inode).unwrap();
    let pause = 5 * start.elapsed();
    assert_eq!((truth.len(), truth.values().sum::<u32>()), (800, 800));
    let buckets = Setting::new("nf_conntrack_buckets", 4096);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            let sizes = [8192, 16_384, 2048, 32_768].into_iter().cycle();
            for size in sizes.take_while(|_| !stop.load(Ordering::Relaxed)) {
                drop(Setting::new("nf_conntrack_buckets", size));
                std::thread::sleep(pause);
            }
        });
        let (mut restarts, mut results) = (0, 0);
        let start = Instant::now();
        while restarts < 5 || results == 0 {
            assert!(start.elapsed() < crate::SOON, "{restarts} restarts, {results} results");
            match ports(&mut census, inode) {
                Ok((found, pass)) => {
                    assert_eq!(found, truth, "{pass:?}");
                    restarts += pass.restarts;
                    results += 1;
                }
                Err(CensusError::Resized) => restarts += 1,
                Err(error) => panic!("{error}"),
            }
        }
    });
    drop(buckets);
}

/// Entries come and go on one CPU while the table is read on another.
#[test]
fn entries_that_stay_are_read_once_while_others_come_and_go() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let (lasting, churning) = (Namespace::new(), Namespace::new());
    keep_entries(&lasting);
    let _sockets = lasting.udp_flows(500);
    churning.inside(|| std::fs::write(UDP_TIMEOUT, "1").unwrap());
    let buckets = Setting::new("nf_conntrack_buckets", 2048);
    let mut census = Census::load().unwrap();
    let (lasting, other) = (inode(&lasting), inode(&churning));
    let (truth, _) = ports(&mut census, lasting).unwrap();
    assert_eq!((truth.len(), truth.values().sum::<u32>()), (500, 500));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(churning.udp_flows(200));
            }
        });
        let (mut passes, mut others) = (0, 0);
        while passes < 30 || others == 0 {
            let (found, pass) = ports(&mut census, lasting).unwrap();
            assert_eq!(pass.buckets_read, pass.buckets, "{pass:?}");
            assert_eq!(found, truth, "{pass:?}");
            others += ports(&mut census, other).unwrap().0.len();
            passes += 1;
        }
    });
    drop(buckets);
}

/// 5.10 has chains of any length; from 5.15 on the kernel refuses to make them longer than a run.
#[test]
fn chains_that_are_longer_than_a_run_are_missing_and_reported() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let namespace = Namespace::new();
    keep_entries(&namespace);
    // The kernel makes 512 buckets of it, each with two nodes for 512 entries on the average.
    let settings = (Setting::new("nf_conntrack_buckets", 16), Setting::max(200_000));
    let refused = send_to_many(&namespace, 100_000);
    let top = top(&namespace, &["--exact"]);
    let listed = listed(&namespace, |_| String::new())[""];
    drop(settings);
    let number = |name: &str| top[name].as_u64().unwrap();
    if refused == 0 {
        assert!(number("buckets_lost") > 400, "{top}");
        assert!(number("entries") < listed, "{top}");
    } else {
        assert_eq!((number("buckets_lost"), number("entries")), (0, listed), "{top}");
    }
}

#[test]
fn an_unloaded_module_ends_it_with_the_reason() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let mut modules = Modules::new();
    let mut census = Census::load().unwrap();
    modules.unload();
    let count = |census: &mut Census| census.pass(Sample::Whole, || 0, |number, _| *number += 1);
    assert!(matches!(count(&mut census), Err(CensusError::Unloaded)));
    assert!(matches!(Census::load(), Err(CensusError::Refused(EventsError::NoFunctions))));
    modules.load();
    assert!(matches!(count(&mut census), Err(CensusError::Unloaded)));
    assert!(count(&mut Census::load().unwrap()).is_ok());
}

/// Debian's 6.1 for arm64 has no `CONFIG_KALLSYMS_ALL`.
#[test]
fn without_variables_in_kallsyms_the_error_says_so() {
    in_guest();
    let is_function =
        |line: &&str| matches!(line.split_whitespace().nth(1), Some("t" | "T" | "w" | "W"));
    let _functions = Symbols::changed(|symbols| {
        symbols.lines().filter(is_function).flat_map(|line| [line, "\n"]).collect()
    });
    let refused = ctpulse().args(["top", "--once"]).output().unwrap();
    let error = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(error.contains("CONFIG_KALLSYMS_ALL") && error.contains("conntrack -L"), "{error}");
}

#[test]
fn without_capabilities_the_error_names_them() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let mut command = ctpulse();
    let refused = command.uid(NOBODY).gid(NOBODY).arg("top").output().unwrap();
    let error = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(error.contains("CAP_SYSLOG") || error.contains("CAP_BPF"), "{error}");
}
