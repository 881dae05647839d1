//! The screen of `ctpulse top`, in a terminal of 80 columns and 24 lines.

use std::net::UdpSocket;

use pty_process::blocking::Command;

use crate::drops::{UDP_TIMEOUT, send_to_many};
use crate::probes::Setting;
use crate::support::{Namespace, binary};
use crate::terminal::Terminal;
use crate::{Modules, in_guest, track, track_no_more, track_no_more_in};

fn start(arguments: &[&str]) -> Terminal {
    let command = Command::new(binary()).args(["top", "--interval", "1s"]).args(arguments);
    Terminal::spawn(80, 24, command.env("TERM", "xterm-256color").env("LANG", "C.UTF-8"))
}

/// Has `source` send a packet to port `port` of each of these addresses.
fn send(namespace: &Namespace, source: &str, port: u16, addresses: std::ops::Range<u32>) {
    namespace.inside(|| {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        for number in addresses {
            let to = format!("10.99.{}.{}:{port}", number / 250, 1 + number % 250);
            socket.send_to(b"x", to).unwrap();
        }
    });
}

/// The example of docs/troubleshooting.md: one host has opened most connections.
fn gateway() -> Namespace {
    let namespace = Namespace::named("gateway".to_owned());
    namespace.inside(|| std::fs::write(UDP_TIMEOUT, "600").unwrap());
    namespace.exec("ip", &["link", "add", "sink", "type", "dummy"]);
    namespace.exec("ip", &["link", "set", "sink", "up"]);
    let sources = [
        ("10.20.0.31", 443, 870),
        ("10.20.0.13", 53, 60),
        ("10.20.1.7", 53, 45),
        ("10.20.1.18", 53, 25),
    ];
    for (source, port, number) in sources {
        namespace.exec("ip", &["address", "add", &format!("{source}/8"), "dev", "sink"]);
        send(&namespace, source, port, 0..number);
    }
    namespace
}

/// The number of the line of the screen that shows all of these words.
fn line_with(screen: &vt100::Screen, words: &[&str]) -> Option<usize> {
    let contents = screen.contents();
    contents.lines().position(|line| {
        let found: Vec<&str> = line.split_whitespace().collect();
        words.iter().all(|word| found.contains(word))
    })
}

fn until_line(terminal: &Terminal, words: &[&str]) {
    terminal.until(&words.join(" "), |screen| line_with(screen, words).is_some());
}

fn print(terminal: &Terminal, what: &str) {
    println!("# {what}\n{}", terminal.contents());
}

#[test]
fn keys_lead_from_the_heaviest_source_to_its_port() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let namespace = gateway();
    let mut terminal = start(&["--netns", "gateway"]);
    until_line(&terminal, &["870", "87.0%", "0", "10.20.0.31"]);
    terminal.until_shown("1,000 entries, net change 0/s");
    terminal.until_shown("By source, most entries first");
    print(&terminal, "ctpulse top --netns gateway");
    terminal.press("4");
    until_line(&terminal, &["870", "87.0%", "443"]);
    terminal.until_shown("By port, most entries first");
    terminal.press("wprt=53\r");
    terminal.until_shown("'prt' is not a key; did you mean port?");
    terminal.press("\x15port=53\r");
    terminal.until_shown("By port, most entries first; only where port=53");
    terminal.press("1");
    until_line(&terminal, &["60", "46.2%", "10.20.0.13"]);
    terminal.until_shown("130 entries");
    terminal.press("q");
    assert!(terminal.wait().success());
    terminal.assert_restored();
    drop(namespace);
}

/// The lines of the table, the first one first.
fn lines(screen: &vt100::Screen) -> Vec<String> {
    let contents = screen.contents();
    let lines = contents.lines().skip_while(|line| !line.contains("net change/s")).skip(1);
    lines.map(str::to_owned).collect()
}

#[test]
fn the_source_that_grows_is_first_in_the_other_order() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let _limit = Setting::max(1200);
    let namespace = gateway();
    let mut terminal = start(&["--netns", "gateway"]);
    // Some connections of the source with the fewest entries between two looks.
    let (mut sent, mut clock) = (25, String::new());
    let mut send_more = |screen: &vt100::Screen| {
        let title = screen.contents().lines().next().unwrap_or_default().to_owned();
        if title != clock {
            send(&namespace, "10.20.1.18", 53, sent..sent + 5);
            (sent, clock) = (sent + 5, title);
        }
    };
    let grows = |line: &String| line.contains("  10.20.1.18 ") && line.contains(" +");
    terminal.until("the growth of 10.20.1.18", |screen| {
        send_more(screen);
        lines(screen).get(1..).unwrap_or_default().iter().any(grows)
    });
    print(&terminal, "ctpulse top --netns gateway");
    terminal.press("o");
    terminal.until("10.20.1.18 in the first line", |screen| {
        send_more(screen);
        screen.contents().contains("By source, fastest growth first")
            && lines(screen).first().is_some_and(grows)
    });
    print(&terminal, "the same after o");
    terminal.press("p");
    terminal.until_shown("PAUSED");
    namespace.exec("conntrack", &["-F"]);
    terminal.press("r");
    terminal.until("an empty table", |screen| {
        screen.contents().lines().any(|line| line.starts_with("0 entries"))
    });
    terminal.press("\x1b");
    assert!(terminal.wait().success());
    terminal.assert_restored();
}

#[test]
fn a_module_that_is_loaded_again_is_read_again() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let mut modules = Modules::new();
    let namespace = Namespace::new();
    let sockets = namespace.udp_flows(20);
    let mut terminal = start(&["--all-namespaces", "--by", "port"]);
    terminal.until_shown("all network namespaces");
    terminal.until_shown("By port, most entries first");
    track_no_more_in(&namespace);
    modules.unload();
    terminal.until_shown("the table cannot be read: nf_conntrack is not loaded");
    terminal.until_shown("it is tried again every 1s");
    print(&terminal, "the module was unloaded");
    modules.load();
    track();
    terminal.until_gone("the table cannot be read");
    terminal.until_shown("entries, net change");
    track_no_more();
    drop((sockets, namespace));
    terminal.press("\x03");
    assert!(terminal.wait().success());
    terminal.assert_restored();
}

/// The memory of its own that a process has now, in KiB.
fn own_memory(terminal: &Terminal) -> u64 {
    let path = format!("/proc/{}/status", terminal.child.id());
    let status = std::fs::read_to_string(path).unwrap();
    let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    own.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
}

/// More values than are kept apart take no more memory than as many as are.
#[test]
fn many_values_take_bounded_memory() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let _settings = (Setting::max(200_000), Setting::new("nf_conntrack_buckets", 65_536));
    let namespace = Namespace::new();
    namespace.inside(|| std::fs::write(UDP_TIMEOUT, "600").unwrap());
    let arguments = ["--netns", &namespace.name, "--by", "destination", "--exact"];
    let mut terminal = start(&arguments);
    terminal.until_shown("0 entries, net change 0/s");
    let none = own_memory(&terminal);
    assert_eq!(send_to_many(&namespace, 60_000), 0);
    terminal.until_shown("60,000 entries, net change 0/s");
    let some = own_memory(&terminal);
    assert_eq!(send_to_many(&namespace, 120_000), 0);
    terminal.until_shown("180,000 entries, net change 0/s");
    terminal.until_shown("warning: there are too many different values to keep apart");
    let many = own_memory(&terminal);
    println!("{none} KiB without entries, {some} KiB with 60,000 values, {many} KiB with 120,000");
    assert!(many < some + (4 << 10), "{some} KiB, {many} KiB");
    terminal.press("q");
    assert!(terminal.wait().success());
}
