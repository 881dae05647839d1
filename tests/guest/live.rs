//! `ctpulse live` with probes, in a terminal of 80 columns and 24 lines.

use std::io::{Read, Write};
use std::num::NonZero;
use std::time::Instant;

use pty_process::Size;
use pty_process::blocking::{Command, open};

use crate::support::{Namespace, ctpulse};
use crate::{SOON, in_guest};

#[test]
fn the_screen_shows_the_counts_of_probes() {
    in_guest();
    let namespace = Namespace::new();
    let (mut pty, pts) = open().unwrap();
    pty.resize(Size::new(24, 80)).unwrap();
    let agent = ctpulse();
    let command = Command::new(agent.get_program()).args(["live", "--ebpf", "on"]);
    let command = command.args(["--netns", &namespace.name]).env("TERM", "xterm-256color");
    let mut child = command.spawn(pts).unwrap();
    let mut screen = vt100::Parser::new(NonZero::new(24).unwrap(), NonZero::new(80).unwrap(), 0);
    let mut buffer = [0; 8192];
    let start = Instant::now();
    let mut sockets = Vec::new();
    loop {
        let length = pty.read(&mut buffer).unwrap();
        screen.process(&buffer[..length]);
        let shown = screen.screen().contents();
        let line = |series: &str| {
            let found = shown.lines().find(|line| line.trim_start().starts_with(series));
            found.unwrap_or_default().to_owned()
        };
        // The source of the numbers, and a rate that moved.
        let moved = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(1) == Some(&"events") && words.get(4).is_some_and(|peak| *peak != "0")
        };
        if moved(&line("insert ")) && moved(&line("delete ")) {
            println!("{shown}");
            break;
        }
        assert!(start.elapsed() < 2 * SOON, "{shown}");
        if line("insert ").contains("events") {
            sockets.extend(namespace.udp_flows(20).1);
            namespace.exec("conntrack", &["-F"]);
        }
    }
    pty.write_all(b"q").unwrap();
    // What it still draws must be read, or it would wait.
    while let Ok(1..) = pty.read(&mut buffer) {}
    assert!(child.wait().unwrap().success());
}
