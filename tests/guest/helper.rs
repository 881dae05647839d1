//! The effects of the helper modules of connection tracking: connections that were expected, and
//! entries that are dying before they are in the table, as a helper is unloaded.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use conntrack_ebpf::Event;

use crate::clash::{HIDDEN, hidden_sockets};
use crate::drops::{Drops, of_cause};
use crate::events::{settled, watch};
use crate::probes::{attach_all, sum};
use crate::support::{Namespace, integer, output, statistics};
use crate::{Stop, in_guest};

/// FTP's data connections are related to the control connection that announced them.
#[test]
fn expected_connections_are_distinguished_from_new_ones() {
    const TRANSFERS: u8 = 5;
    in_guest();
    let namespace = Namespace::new();
    for rules in [
        "add ct helper inet t ftp { type \"ftp\" protocol tcp; }",
        "add rule inet t out tcp dport 21 ct helper set \"ftp\"",
    ] {
        namespace.exec("nft", &rules.split(' ').collect::<Vec<_>>());
    }
    let events = attach_all(&[&namespace]);
    let running = watch(&[&namespace]);
    let _streams: Vec<_> = namespace.inside(|| {
        let listener = TcpListener::bind("127.0.0.1:21").unwrap();
        let mut client = TcpStream::connect("127.0.0.1:21").unwrap();
        let mut server = listener.accept().unwrap().0;
        let mut streams = Vec::new();
        // The first line only shows the helper where lines begin.
        client.write_all(b"USER x\r\n").unwrap();
        server.read_exact(&mut [0; 8]).unwrap();
        for port in 1..=TRANSFERS {
            let data = TcpListener::bind(("127.0.0.1", 1024 + u16::from(port))).unwrap();
            let command = format!("PORT 127,0,0,1,4,{port}\r\n");
            client.write_all(command.as_bytes()).unwrap();
            server.read_exact(&mut vec![0; command.len()]).unwrap();
            let stream = TcpStream::connect(data.local_addr().unwrap()).unwrap();
            streams.extend([stream, data.accept().unwrap().0]);
        }
        streams.extend([client, server]);
        streams
    });
    let transfers = u64::from(TRANSFERS);
    let line = settled(&running, "", "insert", transfers + 1);
    let field = |name| integer(&line, name).unwrap();
    let counted = [Event::New, Event::ExpectNew, Event::Insert].map(|event| sum(&events, event));
    assert_eq!(counted, [transfers + 1, transfers, transfers + 1], "{line}");
    assert_eq!((field("new"), field("expect_new")), (1, transfers), "{line}");
    // Over loopback the helper sees each command twice.
    assert_eq!(field("expect_create"), field("expect_delete"), "{line}");
}

/// Whether this kernel drops what is on its way while it takes a helper from all entries: 5.10 marks
/// it as dying, and 6.1 sees that it is of an older generation. Releases of 2026 do neither.
pub(crate) fn drops_while_a_helper_goes() -> bool {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
    ["nf_ct_unconfirmed_destroy", "nf_ct_ext_bump_genid"].iter().any(|name| symbols.contains(name))
}

/// Unloads and loads a helper until packets of the socket are dropped meanwhile; the ports that they
/// were for.
pub(crate) fn unload_while_sending(namespace: &Namespace, socket: &UdpSocket) -> BTreeSet<u64> {
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut refused = BTreeSet::new();
            for port in 1.. {
                if enough.load(Ordering::Relaxed) {
                    break;
                }
                if socket.send_to(b"x", ("10.1.0.1", port)).is_err() {
                    refused.insert(u64::from(port));
                }
            }
            refused
        });
        let stop = Stop(&enough);
        for _ in 0..if drops_while_a_helper_goes() { 5 } else { 1 } {
            output(Command::new("rmmod").arg("nf_conntrack_ftp"));
            output(Command::new("insmod").arg("/modules/nf_conntrack_ftp.ko"));
            if integer(&statistics(&namespace.name), "insert_failed").unwrap() > 0 {
                break;
            }
        }
        drop(stop);
        sender.join().unwrap()
    })
}

#[test]
fn entries_that_die_before_they_are_in_the_table_are_named() {
    in_guest();
    let (namespace, [socket, _]) = hidden_sockets();
    // With an extension: these are why the kernel drops what is on its way.
    namespace.inside(|| std::fs::write("/proc/sys/net/netfilter/nf_conntrack_acct", "1").unwrap());
    let drops = Drops::json(&[&namespace]);
    let running = watch(&[&namespace]);
    let refused = unload_while_sending(&namespace, &socket);
    let counters = statistics(&namespace.name);
    let failed = integer(&counters, "insert_failed").unwrap();
    // One that was in the table already is killed there, and counted in `drop` alone
    // (`nf_ct_ext_valid_post` in `__nf_conntrack_confirm`, Linux 6.1).
    let killed = integer(&counters, "drop").unwrap();
    assert_eq!(failed > 0, drops_while_a_helper_goes(), "{counters}");
    settled(&running, "", "insert_failed", failed);
    let line = settled(&running, "", "drop", killed);
    let (records, printed) = drops.records();
    println!("{line}\n{printed}");
    let all = failed + killed;
    if drops_while_a_helper_goes() && !crate::shows_variables() {
        // The generation of connections is not known.
        assert_eq!(of_cause(&records, "chaintoolong").len() as u64, all, "{records:?}");
        assert!(printed.contains("warning: dying entries are reported as chains"), "{printed}");
        return;
    }
    let dying = of_cause(&records, "dying");
    let port = |record: &&serde_json::Value| {
        assert_eq!((&record["source"], &record["source_port"]), (&HIDDEN[0].into(), &53.into()));
        record["destination_port"].as_u64().unwrap()
    };
    assert_eq!(dying.iter().map(port).collect::<BTreeSet<_>>(), refused, "{records:?}");
    assert_eq!((dying.len() as u64, records.len() as u64), (all, all), "{records:?}");
    assert_eq!(integer(&line, "drop_dying"), Some(all), "{line}");
}
