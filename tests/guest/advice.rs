//! `ctpulse doctor --advise` beside causes that were made, and beside neighbouring ones.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use crate::clash::{SYN, race, slow_namespace};
use crate::drops::{UDP_TIMEOUT, send_to_many};
use crate::helper::{drops_while_a_helper_goes, unload_while_sending};
use crate::probes::{CPUS, Setting};
use crate::support::{Namespace, ctpulse, integer, statistics, text};
use crate::{Modules, in_guest, wait_for};

/// Samples of a look that are past its first row, which comes after half a second at most.
const SOME_SAMPLES: u64 = 60;

/// How often the threads of a process that sample have slept, between two samples each time; 0 where it
/// has none.
fn samples(process: &Path) -> u64 {
    let threads = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let slept = threads.filter_map(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
        let value = |name: &str| {
            status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        let is_sampler = value("Name:")? == "sampler";
        is_sampler.then(|| value("voluntary_ctxt_switches:")?.parse::<u64>().ok()).flatten()
    });
    slept.sum()
}

/// Waits until rows have come since, in the look that is under way.
fn a_row_passes() {
    let mut looking = None;
    // Once, since each process that is asked takes the look's time on an emulated CPU.
    wait_for("a look", || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        looking = processes.map(|process| process.path()).find(|process| samples(process) > 0);
        looking.is_some()
    });
    let looking = looking.unwrap();
    let enough = samples(&looking) + SOME_SAMPLES;
    wait_for("more samples", || samples(&looking) >= enough);
}

/// Runs `command`, and in the middle of its look what is to `happen`.
fn advise_by(mut command: Command, happen: impl FnOnce() + Send) -> (Option<i32>, String) {
    std::thread::scope(|scope| {
        let advising = scope.spawn(move || command.output().unwrap());
        a_row_passes();
        happen();
        let advised = advising.join().unwrap();
        println!("{}{}", text(&advised.stderr), text(&advised.stdout));
        (advised.status.code(), text(&advised.stdout))
    })
}

/// What is advised by a look of `seconds` at a namespace.
fn advise_for(
    seconds: u32,
    namespace: &Namespace,
    happen: impl FnOnce() + Send,
) -> (Option<i32>, String) {
    let mut command = ctpulse();
    command.args(["doctor", "--advise", "--look", &format!("{seconds}s")]);
    command.args(["--netns", &namespace.name]);
    advise_by(command, happen)
}

fn advise(namespace: &Namespace, happen: impl FnOnce() + Send) -> (Option<i32>, String) {
    advise_for(6, namespace, happen)
}

/// The titles of what was found, with their marks; an emulated CPU misses samples.
fn titles(advised: &str) -> Vec<&str> {
    let titles = advised.lines().filter(|line| !line.starts_with(' '));
    titles.filter(|title| *title != "!   samples were missed").collect()
}

const UNREPLIED: &str = "!   most entries were never answered";

#[test]
fn a_table_that_is_too_small_is_found_with_its_numbers() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let namespace = Namespace::new();
    // No entry expires before the test is over.
    namespace.inside(|| std::fs::write(UDP_TIMEOUT, "600").unwrap());
    let max = Setting::max(60);
    let mut sockets = Vec::new();
    let (code, advice) = advise(&namespace, || sockets = namespace.udp_flows(300).1);
    drop(max);
    let line = statistics(&namespace.name);
    let dropped = integer(&line, "drop").unwrap();
    assert_eq!(code, Some(1), "{advice}");
    assert_eq!(titles(&advice), ["!!  the table is too small", UNREPLIED]);
    assert!(advice.contains(" of 60 entries ("), "{advice}");
    assert!(advice.contains(&format!(", {dropped} packets dropped")), "{advice}");
    let wanted = (60 + dropped).next_power_of_two();
    assert!(advice.contains(&format!("nf_conntrack_max={wanted} or more")), "{advice}");
    // Who holds the entries, and who is turned away.
    let holders = format!(
        "-> the sources that hold most entries: 127.0.0.1 (100%); ctpulse top --netns {} --by \
         source,port shows more",
        namespace.name
    );
    assert!(advice.contains(&holders), "{advice}");
    let drops = format!("-> ctpulse drops --netns {} --top cause,source,port", namespace.name);
    assert!(advice.contains(&format!("{drops} shows who is turned away")), "{advice}");

    // The same in a table with room.
    let (code, advice) = advise(&namespace, || sockets.extend(namespace.udp_flows(20).1));
    assert_eq!(code, Some(0), "{advice}");
    assert_eq!(titles(&advice), [UNREPLIED]);
}

/// A table that has room, and few buckets: from 5.15 on the kernel refuses to make chains longer.
#[test]
fn long_chains_are_no_full_table() {
    in_guest();
    let namespace = Namespace::new();
    namespace.inside(|| std::fs::write(UDP_TIMEOUT, "600").unwrap());
    let settings = (Setting::new("nf_conntrack_buckets", 16), Setting::max(100_000));
    let mut refused = 0;
    let (code, advice) = advise_for(30, &namespace, || refused = send_to_many(&namespace, 30_000));
    drop(settings);
    let few = "!   there are few buckets for the table's size";
    if refused == 0 {
        assert_eq!((code, titles(&advice)), (Some(0), vec![few, UNREPLIED]));
        return;
    }
    assert_eq!(
        (code, titles(&advice)),
        (Some(1), vec!["!!  hash chains are too long", few, UNREPLIED])
    );
    assert!(advice.contains("nf_conntrack_buckets=100000 "), "{advice}");
}

/// A namespace that hides its addresses behind `ports` of one.
fn behind_ports(ports: &str) -> Namespace {
    crate::nat::behind(&format!("udp dport 9 masquerade to :{ports}"))
}

/// New connections to one destination; how many were refused.
fn to_one_destination(namespace: &Namespace, flows: usize) -> (u64, Vec<UdpSocket>) {
    namespace.inside(|| {
        let sockets = (0..flows).map(|_| UdpSocket::bind("0.0.0.0:0").unwrap());
        let sockets: Vec<_> = sockets.collect();
        let refused = sockets.iter().filter(|socket| socket.send_to(b"x", "10.1.0.1:9").is_err());
        (refused.count() as u64, sockets)
    })
}

/// Advice without probes, as a user without capabilities has it.
fn advise_nobody(
    seconds: u32,
    namespace: &Namespace,
    happen: impl FnOnce() + Send,
) -> (Option<i32>, String) {
    let mut command = ctpulse();
    let look = format!("{seconds}s");
    command.uid(crate::NOBODY).gid(crate::NOBODY).args(["doctor", "--advise", "--look", &look]);
    namespace.inside(|| advise_by(command, happen))
}

/// The kernel raises the same counters for both, but for `found`.
#[test]
fn ports_that_ran_out_are_no_race() {
    in_guest();
    let namespace = behind_ports("20000-20099");
    let mut refused = (0, Vec::new());
    let (code, advice) = advise(&namespace, || refused = to_one_destination(&namespace, 250));
    assert_eq!(refused.0, 150);
    assert_eq!((code, titles(&advice)[0]), (Some(1), "!!  NAT runs out of ports"), "{advice}");
    assert!(
        advice.contains("    150 packets lost before their entry was inserted in "),
        "{advice}"
    );
    assert!(advice.contains(": no port was free for any of them\n"), "{advice}");
    let drops = format!("ctpulse drops --netns {} --top nat,destination,port", namespace.name);
    assert!(advice.contains(&format!("-> NAT ports: {drops} shows the address")), "{advice}");
    assert!(!advice.contains("-> races") && !advice.contains("random"), "{advice}");

    // Without probes, by the number of ports that were found taken.
    let (code, advice) =
        advise_nobody(6, &namespace, || assert_eq!(to_one_destination(&namespace, 40).0, 40));
    assert_eq!((code, titles(&advice)), (Some(1), vec!["!!  NAT runs out of ports"]), "{advice}");
    assert!(
        advice.contains("    40 insertions failed, and their packets were lost in "),
        "{advice}"
    );
    // By the numbers alone it could be 40 % exhaustion of a wide range, and 60 % races.
    let least = advice.split_once(": at least ").and_then(|(_, share)| share.split_once('%'));
    let least: f64 = least.unwrap_or_else(|| panic!("{advice}")).0.parse().unwrap();
    // 100 to 107 ports of 248: a search also finds those of the searches beside it. Where the failures
    // are in two rows, what the row with fewer of them shows is taken off.
    assert!((30.0..=44.0).contains(&least), "{advice}");
    assert!(!advice.contains("ctpulse drops") && !advice.contains("random"), "{advice}");

    // In one burst, a range of eight ports could be a mixture with races by the numbers alone.
    let few = behind_ports("1000-1007");
    // Their sockets stay open: a later flow from the same source port would have its entry already.
    let mut held = Vec::new();
    let (code, advice) = advise_nobody(6, &few, || held = to_one_destination(&few, 100).1);
    let title = "!!  NAT runs out of ports, and first packets may race";
    assert_eq!((code, titles(&advice)[0]), (Some(1), title), "{advice}");
    assert!(advice.contains("a range of about 8 ports is exhausted"), "{advice}");
    assert!(!advice.contains("random"), "{advice}");
    // In several rows it is not.
    let (code, advice) = advise_nobody(15, &few, || {
        for _ in 0..4 {
            assert_eq!(to_one_destination(&few, 20).0, 20);
            a_row_passes();
        }
    });
    assert_eq!((code, titles(&advice)[0]), (Some(1), "!!  NAT runs out of ports"), "{advice}");
    assert!(advice.contains("a range of about 8 ports is exhausted"), "{advice}");
    // Probes know it at once.
    let (code, advice) = advise(&few, || assert_eq!(to_one_destination(&few, 20).0, 20));
    assert_eq!((code, titles(&advice)[0]), (Some(1), "!!  NAT runs out of ports"), "{advice}");
    assert!(advice.contains(": no port was free for any of them\n"), "{advice}");
    assert_eq!(held.len(), 100);
}

#[test]
fn ports_that_are_nearly_used_up_are_found_before_any_packet_is_lost() {
    const FINDING: &str = "!   NAT ports are nearly used up";
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let namespace = behind_ports("20000-20099");
    // As many buckets as a host with more than 4 GiB of memory has.
    let buckets = Setting::new("nf_conntrack_buckets", 262_144);
    let (mut refused, mut held) = (0, Vec::new());
    let (code, advice) =
        advise(&namespace, || (refused, held) = to_one_destination(&namespace, 90));
    assert_eq!((refused, code, held.len()), (0, Some(0), 90), "{advice}");
    assert!(titles(&advice).contains(&FINDING), "{advice}");
    let numbers = advice.lines().find(|line| line.trim_start().starts_with("90 of "));
    let numbers = numbers.unwrap_or_else(|| panic!("{advice}"));
    for part in [" ports from about 200", " of 10.0.0.1 to 10.1.0.1:9 (udp) are taken ("] {
        assert!(numbers.contains(part), "{numbers}");
    }
    let command = format!("-> ctpulse top --netns {} --by nat,destination,port", namespace.name);
    assert!(advice.contains(&command), "{advice}");

    // As many behind another address, which has all its ports.
    let wide = crate::nat::behind("udp dport 9 snat ip to 10.0.0.3");
    let (_, advice) = advise(&wide, || held = to_one_destination(&wide, 90).1);
    drop(buckets);
    assert_eq!(titles(&advice), [UNREPLIED], "{advice}");
}

/// Both at the same time, each with its number.
#[test]
fn ports_that_ran_out_and_races_are_both_named() {
    in_guest();
    let rules = "udp dport 9 snat ip to 10.0.0.1:20000-20099; snat ip to 10.0.0.1";
    let (namespace, sockets) = crate::clash::hidden_sockets_by(rules);
    namespace.inside(|| std::fs::write(UDP_TIMEOUT, "600").unwrap());
    let (exhausted, lost) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut held = Vec::new();
    let (code, advice) = advise_for(40, &namespace, || {
        let (refused, flows) = to_one_destination(&namespace, 150);
        held = flows;
        exhausted.fetch_add(refused, Ordering::Relaxed);
        race(
            &namespace,
            |cpu, to| {
                if sockets[cpu].send_to(b"x", (to, 53)).is_err() {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            },
            || lost.load(Ordering::Relaxed) >= 2,
        );
    });
    let title = "!!  NAT runs out of ports, and first packets race";
    assert_eq!((code, titles(&advice)[0]), (Some(1), title), "{advice}");
    let (exhausted, lost) = (exhausted.into_inner(), lost.into_inner());
    assert_eq!(exhausted, 50);
    let numbers = format!("no port was free for {exhausted} of them, and {lost} lost a race");
    assert!(advice.contains(&numbers), "{advice}");
    let lookups = format!("{lost} of {lost} that were reported went to port 53");
    assert!(advice.contains(&lookups), "{advice}");
    assert!(advice.contains("-> NAT ports") && advice.contains("-> races: name"), "{advice}");
    assert!(!advice.contains("random"), "{advice}");
}

#[test]
fn a_race_is_no_lack_of_ports() {
    in_guest();
    let namespace = slow_namespace("");
    let sockets = namespace.inside(|| {
        [(); CPUS]
            .map(|()| socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::TCP)).unwrap())
    });
    let lost = || integer(&statistics(&namespace.name), "drop").unwrap();
    let (code, advice) = advise_for(30, &namespace, || {
        race(
            &namespace,
            |cpu, to| {
                _ = sendto(&sockets[cpu], &SYN, SendFlags::empty(), &SocketAddrV4::new(to, 0));
            },
            || lost() >= 2,
        );
    });
    assert_eq!((code, titles(&advice)[0]), (Some(1), "!!  first packets race"), "{advice}");
    assert!(advice.contains(": all of them lost a race"), "{advice}");
    assert!(!advice.contains("NAT ports"), "{advice}");
}

/// Acknowledgements of connections that nothing is known of.
fn stray_acks(namespace: &Namespace, packets: u16) {
    namespace.inside(|| {
        let loose = "/proc/sys/net/netfilter/nf_conntrack_tcp_loose";
        std::fs::write(loose, "0").unwrap();
        let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::TCP)).unwrap();
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        for port in 1024..1024 + packets {
            let mut header = SYN;
            header[..2].copy_from_slice(&port.to_be_bytes());
            header[13] = 0x10;
            sendto(&socket, &header, SendFlags::empty(), &to).unwrap();
        }
    });
}

/// TCP connections over loopback, both ends of them.
fn connections(namespace: &Namespace, number: usize) -> Vec<TcpStream> {
    namespace.inside(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = |_| {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            [client, listener.accept().unwrap().0]
        };
        (0..number).flat_map(connect).collect()
    })
}

#[test]
fn invalid_packets_are_found_and_valid_ones_are_not() {
    in_guest();
    let namespace = Namespace::new();
    let (code, advice) = advise(&namespace, || stray_acks(&namespace, 400));
    assert_eq!((code, titles(&advice)), (Some(0), vec!["!   packets are INVALID"]));
    let command = format!("ctpulse drops --netns {} --invalid shows", namespace.name);
    assert!(advice.contains(&command), "{advice}");
    assert!(advice.contains("; the reasons: "), "{advice}");

    // The counter stays above 0: it was another time.
    let (code, advice) = advise(&namespace, || {});
    assert_eq!(code, Some(0), "{advice}");
    assert!(titles(&advice)[0].starts_with("!   no tracked traffic in "), "{advice}");

    let other = Namespace::new();
    let (code, advice) = advise(&other, || {});
    assert_eq!((code, titles(&advice)), (Some(0), vec!["!   nothing is tracked here"]));
    let mut streams = Vec::new();
    let (code, advice) = advise(&other, || streams = connections(&other, 20));
    assert_eq!((code, titles(&advice)), (Some(0), vec!["ok  nothing is wrong"]));
}

#[test]
fn unanswered_entries_are_found_and_answered_ones_are_not() {
    in_guest();
    let (lost, answered) = (Namespace::new(), Namespace::new());
    let mut sockets = Vec::new();
    let (code, advice) = advise(&lost, || sockets = lost.udp_flows(100).1);
    assert_eq!((code, titles(&advice)), (Some(0), vec![UNREPLIED]));
    assert!(advice.contains("    100% of 100 entries that were read are unreplied"), "{advice}");

    let (code, advice) = advise(&answered, || {
        sockets.extend(answered.udp_flows(100).1);
        let server = &sockets[sockets.len() - 101];
        for _ in 0..100 {
            let (_, from) = server.recv_from(&mut [0; 16]).unwrap();
            server.send_to(b"y", from).unwrap();
        }
    });
    assert_eq!((code, titles(&advice)), (Some(0), vec!["ok  nothing is wrong"]));
    assert!(advice.contains(", 0.0% of the entries unreplied, in "), "{advice}");
}

#[test]
fn assured_entries_that_fill_a_table_are_found_beside_a_scan() {
    in_guest();
    let namespace = Namespace::new();
    let max = Setting::max(200);
    let mut streams = Vec::new();
    // From 190 on the kernel's garbage collector evicts some.
    let (code, advice) = advise(&namespace, || streams = connections(&namespace, 165));
    let filling = "!   the table is filling";
    assert_eq!(code, Some(0));
    assert_eq!(titles(&advice), [filling, "!   hardly any entry can be evicted"]);
    let mut sockets = Vec::new();
    let (code, advice) = advise(&namespace, || sockets = namespace.udp_flows(24).1);
    drop(max);
    assert_eq!(code, Some(0));
    assert_eq!(titles(&advice), [filling, "!   most entries cannot be evicted"]);
}

#[test]
fn silent_connections_are_found_and_those_of_today_are_not() {
    in_guest();
    let max = Setting::max(100);
    let entries = |left: &str| {
        let namespace = Namespace::new();
        for port in 1..=60 {
            let tuple = ["-I", "-p", "tcp", "-s", "10.0.0.1", "-d", "10.0.0.2", "--dport", "80"];
            let state = ["--state", "ESTABLISHED", "-u", "ASSURED,SEEN_REPLY", "-t", left];
            let port = ["--sport", &format!("{port}")];
            namespace.exec("conntrack", &[&tuple[..], &state, &port].concat());
        }
        namespace
    };
    // Kept for 5 days, and silent for one.
    let silent = "!   silent TCP connections keep their entries";
    for (left, expected) in [("345600", silent), ("431990", "ok  nothing is wrong")] {
        let (code, advice) = advise(&entries(left), || {});
        assert_eq!((code, titles(&advice)), (Some(0), vec![expected]), "{left}");
    }
    drop(max);
}

/// Some kernels drop what is on its way while they take a helper from all entries.
#[test]
fn dying_entries_are_found_where_a_helper_is_unloaded() {
    in_guest();
    let is_dropped = drops_while_a_helper_goes();
    let (namespace, [socket, _]) = crate::clash::hidden_sockets();
    namespace.inside(|| std::fs::write("/proc/sys/net/netfilter/nf_conntrack_acct", "1").unwrap());
    let (_, advice) = advise_for(20, &namespace, || _ = unload_while_sending(&namespace, &socket));
    let title = "!!  entries die before they are inserted";
    assert_eq!(titles(&advice).contains(&title), is_dropped, "{advice}");
    assert!(!advice.contains("conntrack -F") && !advice.contains("race"), "{advice}");
}

#[test]
fn without_statistics_it_is_unknown() {
    in_guest();
    let mut modules = Modules::new();
    modules.unload();
    let advised = ctpulse().args(["doctor", "--advise", "--look", "1s"]).output().unwrap();
    let advice = text(&advised.stdout);
    assert_eq!(advised.status.code(), Some(3), "{advice}{}", text(&advised.stderr));
    assert!(titles(&advice)[0].starts_with("??  "), "{advice}");
    assert!(advice.contains("the statistics cannot be read: "), "{advice}");
    modules.load();
}
