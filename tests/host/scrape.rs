//! `run --listen`: what a scrape gets, and what clients cannot do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Running, copy_of, ctpulse, fixture, number, repository, roots, text};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketType, connect, socket};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(30);
const OPEN_METRICS: &str = "Accept: application/openmetrics-text;version=1.0.0\r\n";

/// A run that listens, and where.
struct Listening {
    running: Running,
    address: SocketAddr,
    printed: BufReader<std::process::ChildStderr>,
}

impl Listening {
    /// On the files of a fixture, with ten rows a second.
    fn of(root: &Path, more: &[&str]) -> Self {
        Self::each("100ms", root, more)
    }

    fn each(interval: &str, root: &Path, more: &[&str]) -> Self {
        let mut command = ctpulse();
        command.args(["run", "--listen", ":0", "--interval", interval]);
        command.args(roots(root)).args(more).stderr(Stdio::piped());
        let mut running = Running::start(&mut command);
        let mut printed = BufReader::new(running.child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert_ne!(printed.read_line(&mut line).unwrap(), 0, "it ended");
            if let Some((_, url)) = line.split_once("listening on http://") {
                let (address, _) = url.split_once("/metrics").unwrap();
                break address.parse().unwrap();
            }
        };
        let listening = Self { running, address, printed };
        let start = Instant::now();
        while listening.get("/healthz", "").0 != 200 {
            assert!(start.elapsed() < SOON, "no sample");
            std::thread::sleep(Duration::from_millis(20));
        }
        listening
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// Sends one request on a connection of its own. Returns status, head and body.
    fn ask(&self, request: &str) -> (u16, String, String) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str, headers: &str) -> (u16, String, String) {
        let close = "Host: x\r\nConnection: close\r\n";
        self.ask(&format!("GET {path} HTTP/1.1\r\n{close}{headers}\r\n"))
    }

    /// Ends the program. Returns whether this took less than a second, and the other messages.
    fn end(mut self) -> (bool, String) {
        self.running.signal(Signal::TERM);
        let (status, time) = self.running.wait();
        assert!(status.success());
        let mut printed = String::new();
        self.printed.read_to_string(&mut printed).unwrap();
        (time < Duration::from_secs(1), printed)
    }
}

/// The exposition without this version's number and this host's name.
fn golden(name: &str, text: &str) {
    let uname = rustix::system::uname();
    let host = format!("host=\"{}\"", uname.nodename().to_str().unwrap());
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION").replace(&host, "host=\"HOST\"");
    let path = repository().join("tests/golden").join(name);
    if std::env::var_os("CTPULSE_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs", path.display());
}

#[test]
fn both_formats_are_complete() {
    // One read only: rates would differ from run to run.
    let listening = Listening::each("1h", &fixture("5.15"), &[]);
    let (status, head, plain) = listening.get("/metrics", "");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    golden("scrape.prometheus", &plain);
    let (status, head, open) = listening.get("/metrics", OPEN_METRICS);
    assert_eq!(status, 200);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.contains(kind), "{head}");
    golden("scrape.openmetrics", &open);
}

#[test]
fn paths_and_methods() {
    let listening = Listening::of(&fixture("5.15"), &[]);
    assert!(listening.address.ip().is_loopback());
    let (status, head, body) = listening.get("/", "");
    assert!(status == 200 && head.contains("text/html") && body.contains("/metrics"));
    assert_eq!(listening.get("/healthz", "").2, "ok\n");
    assert_eq!(listening.get("/metrics?x=1", "").0, 200);
    assert_eq!(listening.get("/metricsx", "").0, 404);
    let ask = |request: &str| listening.ask(&format!("{request}\r\nConnection: close\r\n\r\n"));
    let (status, head, _) = ask("DELETE /metrics HTTP/1.1\r\nHost: x");
    assert!(status == 405 && head.contains("allow: get, head"), "{head}");
    let (status, head, body) = ask("HEAD /metrics HTTP/1.1\r\nHost: x");
    assert!(status == 200 && body.is_empty() && head.contains("content-length: "), "{head}");
    assert_eq!(ask("GET /metrics HTTP/1.0").0, 200);
    assert_eq!(ask("this is no HTTP").0, 400);
    // A connection stays for the next request, and for one that was sent before the answer came.
    let mut stream = listening.connect();
    let one = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{one}{one}{last}").as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
}

#[test]
fn a_scrape_sees_the_latest_row() {
    let files = copy_of("5.15");
    let listening = Listening::of(files.path(), &["--sample-interval", "10ms"]);
    let count = files.path().join("proc/sys/net/netfilter/nf_conntrack_count");
    std::fs::write(&count, "4711\n").unwrap();
    let start = Instant::now();
    while !listening.get("/metrics", "").2.contains("} 4711\n") {
        assert!(start.elapsed() < SOON);
    }
    // Bursts and extremes are gauges.
    let body = listening.get("/metrics", "").2;
    for family in ["conntrack_drop_rate_max", "conntrack_entries_max", "conntrack_drop_rate"] {
        assert!(body.contains(&format!("# TYPE {family} gauge\n")), "{body}");
    }
    assert!(body.contains("# TYPE conntrack_drop_total counter\n"), "{body}");
}

#[test]
fn an_input_without_samples_is_unhealthy() {
    let files = copy_of("5.15");
    let listening = Listening::of(files.path(), &[]);
    // They stay open, so that taking them away would change nothing.
    let sysctls = std::fs::read_dir(files.path().join("proc/sys/net/netfilter")).unwrap();
    let sysctls = sysctls.map(|entry| entry.unwrap().path());
    for path in sysctls.chain([files.path().join("proc/net/stat/nf_conntrack")]) {
        std::fs::write(path, "").unwrap();
    }
    let start = Instant::now();
    let reason = loop {
        let (status, _, body) = listening.get("/healthz", "");
        if status == 503 {
            break body;
        }
        assert!(start.elapsed() < SOON);
        std::thread::sleep(Duration::from_millis(50));
    };
    // Rows go on without a value in them; health is patient for three intervals and two seconds.
    let printed = reason.strip_prefix("conntrack: nothing could be read for ");
    let (seconds, hint) = printed.unwrap_or_else(|| panic!("{reason}")).split_once(' ').unwrap();
    assert_eq!(hint, "s (ctpulse doctor says why)\n");
    assert!((2..30).contains(&seconds.parse().unwrap()), "{reason}");
}

#[test]
fn rows_go_to_standard_output_only_if_asked_for() {
    let quiet = Listening::of(&fixture("5.15"), &[]);
    assert_eq!(quiet.running.line(Duration::from_millis(300)), None);
    let both = Listening::of(&fixture("5.15"), &["--format", "influx"]);
    assert!(both.running.line(SOON).unwrap().starts_with("conntrack"));
}

#[test]
fn an_address_in_use_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = ctpulse();
    command.args(["run", "--listen", &address]).args(roots(&fixture("5.15")));
    let output = command.output().unwrap();
    let printed = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(printed.contains(&format!("cannot listen on {address}: ")), "{printed}");
    assert!(printed.contains("take another port"), "{printed}");
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let listening = Listening::of(&fixture("5.15"), &[]);
    let with = |bytes: usize| {
        let close = "Host: x\r\nConnection: close\r\n";
        let request = format!("GET /metrics HTTP/1.1\r\n{close}X: {}\r\n\r\n", "a".repeat(bytes));
        let mut stream = listening.connect();
        // It may be refused before it is sent, and the answer lost with the rest.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 200 ")
    };
    assert!(with(8 << 10));
    // More than the limit, and less than what the library would take without one.
    assert!(!with(200 << 10));
    assert!(with(8 << 10));
    // A body is not read either.
    let request = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n";
    assert_eq!(listening.ask(request).0, 405);
}

/// So many answers that no socket buffer has room for them all.
const ANSWERS: usize = 64;

/// Options that make each answer some hundred kilobytes.
const LARGE: [&str; 3] = ["--collect", "all,percpu", "--percpu-rates"];

/// A client that has asked for more than fits on the way, and reads none of it.
fn asked_and_not_read(address: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_recv_buffer_size(&socket, 4096).unwrap();
    connect(&socket, &address).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{OPEN_METRICS}\r\n");
    stream.write_all(request.repeat(ANSWERS).as_bytes()).unwrap();
    stream
}

/// Whether such a client got less than it asked for, and the last of it torn: the server had not
/// been able to write.
fn is_cut_off(mut stream: TcpStream) -> bool {
    let mut received = Vec::new();
    // An end, or a reset.
    let _ = stream.read_to_end(&mut received);
    let received = String::from_utf8_lossy(&received);
    let whole = received.matches("# EOF\n").count();
    received.starts_with("HTTP/1.1 200 ") && whole < ANSWERS && !received.ends_with("# EOF\n")
}

#[test]
fn clients_that_stall_do_not_keep_others_out() {
    // Less than the server's patience with who does not read, 10 s; with who is silent while all
    // places are taken it is 1 s.
    const WAIT: Duration = Duration::from_secs(5);
    let listening = Listening::each("1s", &fixture("cpus-128"), &LARGE);
    // Answers not read, while there is room: once all places are taken each gets one answer, which
    // fits on the way.
    let unread: Vec<_> = (0..16).map(|_| asked_and_not_read(listening.address)).collect();
    for stream in &unread {
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1, "it is not served");
    }
    std::thread::sleep(Duration::from_secs(1));
    // With these, more than are served at once: without a word, or with half a request.
    let silent: Vec<TcpStream> = (0..32)
        .map(|number| {
            let mut stream = listening.connect();
            let said: &[u8] = [b"", &b"GET /metrics HTTP/1.1\r\nHo"[..]][number % 2];
            stream.write_all(said).unwrap();
            stream
        })
        .collect();
    let start = Instant::now();
    assert_eq!(listening.get("/metrics", "").0, 200);
    let waited = start.elapsed();
    assert!(waited < WAIT, "it waited {waited:?}");
    let (soon, _) = listening.end();
    assert!(soon, "SIGTERM waits for stalled clients");
    let cut_off = unread.into_iter().map(is_cut_off).filter(|cut_off| *cut_off).count();
    assert_eq!(cut_off, 16, "some got all that they asked for: they did not stall");
    drop(silent);
}

#[test]
fn a_client_that_does_not_read_is_disconnected() {
    // The server's patience is 10 s, and its machine may be busy.
    const LATER: Duration = Duration::from_secs(14);
    let listening = Listening::each("1s", &fixture("cpus-128"), &LARGE);
    let unread = asked_and_not_read(listening.address);
    std::thread::sleep(LATER);
    // As long as it had its place it would now get all that it asked for.
    assert!(is_cut_off(unread));
    assert_eq!(listening.get("/metrics", "").0, 200);
}

#[test]
fn a_thousand_scrapers_at_once_are_answered_and_bounded() {
    const SCRAPERS: usize = 1000;
    let more = ["--format", "influx", "--sample-interval", "10ms"];
    let listening = Listening::of(&fixture("5.15"), &more);
    let status = format!("/proc/{}/status", listening.running.child.id());
    let resident = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = resident();
    // All connected before any asks.
    let streams: Vec<TcpStream> = (0..SCRAPERS).map(|_| listening.connect()).collect();
    let answered = std::thread::scope(|scope| {
        let pieces = streams.chunks(SCRAPERS / 8).map(|streams| {
            scope.spawn(move || {
                let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                // A connection that waited longer than the server's patience may be closed.
                for mut stream in streams {
                    let _ = stream.write_all(request);
                }
                let whole = |mut stream: &TcpStream| {
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).is_ok() && answer.contains(" 200 OK")
                };
                streams.iter().filter(|stream| whole(stream)).count()
            })
        });
        let pieces: Vec<_> = pieces.collect();
        pieces.into_iter().map(|piece| piece.join().unwrap()).sum::<usize>()
    });
    assert_eq!(answered, SCRAPERS);
    let grown = resident().saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB for a thousand scrapers");
    // Nothing was lost meanwhile, and the rows went on.
    let last = std::iter::from_fn(|| listening.running.line(Duration::from_millis(300)))
        .filter(|line| line.contains("cpu=all"))
        .take(20)
        .last()
        .unwrap();
    assert_eq!(number(&last, "rows_lost"), Some("0i"), "{last}");
}
